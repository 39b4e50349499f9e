"""Features for learning from slices: interpolated where they are asked for, and projected without being made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hssl.configuration import NetworkConfig
from hssl.events import Stopped, ignore, never
from hssl.interactive import slice_features
from hssl.interactive.slice_features import Region, SliceFeatures
from hssl.models.network import build_network

SHAPE = (9, 70, 50)


def computed(region: Region, axes: Sequence[int] | None = None) -> SliceFeatures:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(in_slices=3), 2).eval()
    array = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    return slice_features.slice_features(array, region, network, torch.device("cpu"), ignore, never, axes)


REGION = ((2, 20, 3), (8, 60, 43))


@pytest.fixture(scope="module", params=[(0,), (2,), (0, 1, 2), (1, 2), (2, 0, 1)], ids=str)
def features(request):
    return computed(Region(*REGION, request.param[0]), request.param)


@pytest.mark.parametrize(
    ("rows", "columns"), [((0, 36), (0, 24)), ((1, 2), (3, 24)), ((5, 33), (7, 8)), ((11, 36), (0, 5))]
)
def test_coarse_levels_are_interpolated_as_torch_does_it(rows, columns):
    """A level that goes as far as a region needs it gives what the whole one gives: at places, and times weights."""
    rng = torch.Generator().manual_seed(1)
    finest, weight = (40, 32), torch.randn(7, 6, generator=rng)
    rows, columns = slice(*rows), slice(*columns)
    for step in (1, 2, 4):
        whole = torch.randn(2, 6, *(n // step for n in finest), generator=rng).half()
        # The region begins at the voxel (3, 6).
        boxes = [
            slice_features._elements(slice(first, first + n), step, count)
            for first, n, count in zip((3, 6), (36, 24), whole.shape[2:], strict=True)
        ]
        start = (step * boxes[0].start - 3, step * boxes[1].start - 6)
        level = slice_features.Level(whole[:, :, boxes[0], boxes[1]], step, start, 0)
        fine = F.interpolate(whole.float(), finest, mode="bilinear")[:, :, 3:39, 6:30]
        found = level.projected(1, rows, columns, weight)
        assert torch.allclose(found, torch.einsum("oc,cyx->yxo", weight, fine[1, :, rows, columns]), atol=1e-4)
        y, x = (part.reshape(-1) for part in torch.meshgrid(torch.arange(36), torch.arange(24), indexing="ij"))
        assert torch.allclose(level.at(1, y, x), fine[1].flatten(1).T, atol=1e-4)


def test_levels_are_kept_as_far_as_the_region_reaches_and_say_the_same(features, monkeypatch):
    region = features.region
    assert all(
        level.step * n < length + 4 * level.step
        for level in features.levels
        for n, length in zip(
            level.values.shape[2:], (region.shape[a] for a in range(3) if a != level.axis), strict=True
        )
    )
    monkeypatch.setattr(slice_features, "_elements", lambda voxels, step, count: slice(0, count))
    axes = list(dict.fromkeys(level.axis for level in features.levels))
    whole = computed(region, axes)
    everywhere = torch.arange(int(np.prod(region.shape)))
    assert len(whole.levels) == len(slice_features.LEVELS) * len(axes)
    assert whole.levels[0].values.shape[2] > features.levels[0].values.shape[2]
    assert torch.allclose(whole.at(everywhere).float(), features.at(everywhere).float(), atol=5e-3)


def test_a_projection_is_the_features_times_the_weights(features):
    region = features.region
    weight = torch.randn(5, sum(features.channels), generator=torch.Generator().manual_seed(2))
    rows, columns = (slice(n, region.shape[axis]) for n, axis in enumerate(region.rest, 1))
    for number in (0, 3, region.shape[region.slice_axis] - 1):
        places = torch.arange(int(np.prod(region.shape))).reshape(region.shape).select(region.slice_axis, number)
        expected = features.at(places[rows, columns].reshape(-1)).float() @ weight.T
        assert torch.allclose(features.projected(number, rows, columns, weight).reshape(-1, 5), expected, atol=0.05)


def test_what_the_slices_along_other_axes_show_is_what_a_region_of_those_slices_has():
    """Each further axis adds its levels behind, and what was there stays as it was."""
    everywhere = torch.arange(int(np.prod(Region(*REGION, 0).shape)))
    together = computed(Region(*REGION, 1), (1, 0, 2))
    found = together.at(everywhere)
    parts = [computed(Region(*REGION, axis)) for axis in (1, 0, 2)]
    first, *others = (part.at(everywhere) for part in parts)
    assert torch.equal(found, torch.cat([first, *(o[:, parts[0].channels[0] :] for o in others)], 1))


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
        slice_features.slice_features(array, region, network, torch.device("cpu"), ignore, lambda: next(asked))
    assert next(asked, None) is None
