"""Features for learning from slices: interpolated where they are asked for, and projected without being made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hssl.configuration import NetworkConfig
from hssl.events import Stopped, ignore, never
from hssl.interactive.slice_features import LEVELS, Region, slice_features
from hssl.models.network import build_network

SHAPE = (9, 70, 50)


@pytest.fixture(scope="module", params=[0, 2])
def features(request):
    torch.manual_seed(0)
    network = build_network(NetworkConfig(in_slices=3), 2).eval()
    array = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    region = Region((2, 20, 3), (8, 60, 43), request.param)
    return slice_features(array, region, network, torch.device("cpu"), ignore, never)


def test_coarse_levels_are_interpolated_as_torch_does_it(features):
    region = features.region
    places = torch.randperm(int(np.prod(region.shape)), generator=torch.Generator().manual_seed(1))[:500]
    found = features.at(places)
    number = torch.unravel_index(places, region.shape)[region.slice_axis]
    rows, columns = (torch.unravel_index(places, region.shape)[a] for a in region.rest)
    fine = features.levels[0].shape[2:]
    whole = [F.interpolate(level.float(), fine, mode="bilinear") for level in features.levels]
    top, left = features.origin
    expected = [level[number, :, rows + top, columns + left] for level in whole]
    assert len(whole) == len(LEVELS)
    assert torch.allclose(found[:, features.channels[0] :].float(), torch.cat(expected, 1), atol=5e-3)


def test_a_projection_is_the_features_times_the_weights(features):
    places = torch.arange(0, int(np.prod(features.region.shape)), 7)
    weight = torch.randn(5, sum(features.channels), generator=torch.Generator().manual_seed(2))
    assert torch.allclose(features.projected(places, weight), features.at(places).float() @ weight.T, atol=0.05)


def test_each_channel_has_zero_mean_and_unit_deviation_over_the_region(features):
    found = features.at(torch.arange(int(np.prod(features.region.shape)))).float()
    fine = sum(features.channels[:2])
    assert torch.allclose(found[:, :fine].mean(0), torch.zeros(fine), atol=0.01)
    assert torch.allclose(found[:, :fine].std(0), torch.ones(fine), atol=0.01)


def test_a_stop_ends_it_between_slices():
    network = build_network(NetworkConfig(in_slices=3), 2).eval()
    array = np.random.default_rng(0).normal(size=(20, 40, 40)).astype(np.float32)
    region, asked = Region((0, 0, 0), array.shape, 0), iter([False, True])
    with pytest.raises(Stopped):
        slice_features(array, region, network, torch.device("cpu"), ignore, lambda: next(asked))
    assert next(asked, None) is None
