"""The network's levels, and taking over the tensors of a start."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hssl.configuration import NetworkConfig
from hssl.errors import ConfigurationError
from hssl.models.architecture import FILTERS
from hssl.models.network import (
    DeepSupervision,
    InstanceNorm,
    Tiling,
    build_network,
    channels_at,
    load_matching,
)


@pytest.mark.parametrize("dims", [2, 3])
def test_levels_are_finest_first_and_have_their_channels(dims):
    config = NetworkConfig(spatial_dims=dims, in_slices=3 if dims == 2 else 1)
    network = build_network(config, 4)
    images = torch.randn(2, config.in_slices, *(32,) * dims)
    features = network.features(images)
    for level, (tensor, channels) in enumerate(zip(features.encoder, FILTERS["small"], strict=True)):
        assert tensor.shape == (2, channels, *(32 // 2**level,) * dims)
    assert [t.shape[-1] for t in features.decoder] == [32, 16, 8, 4]
    for level in (0, 2, "bottleneck", "decoder"):
        assert features.level(level).shape[1] == channels_at(config, level)
    assert network(images).shape == (2, 4, *(32,) * dims)
    coarse = DeepSupervision(config, 4)(features)
    assert [t.shape[1:3] for t in coarse] == [(4, 16), (4, 8)]


def test_a_level_that_is_not_there_is_refused():
    with pytest.raises(ConfigurationError, match="levels 0 to 4"):
        channels_at(NetworkConfig(), 9)


def test_all_but_the_head_is_taken_over():
    config = NetworkConfig()
    start, network = build_network(config, 3), build_network(config, 5)
    report = load_matching(network, start.state_dict())
    assert len(report.loaded) == len(start.state_dict()) - 2
    assert all(s.startswith("output_block") for s in report.skipped)
    assert all(torch.equal(network.state_dict()[n], start.state_dict()[n]) for n in report.loaded)


def test_a_start_of_which_nothing_fits_is_an_error():
    network = build_network(NetworkConfig(), 2)
    with pytest.raises(ConfigurationError, match="not one tensor"):
        load_matching(network, {"encoder.weight": torch.zeros(3)})


def test_local_norms_take_the_statistics_of_the_window_around_a_place():
    norm = InstanceNorm(2, affine=True).eval()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    images = torch.randn(3, 2, 56, 40).cumsum(2)
    norm.tiling = Tiling((7, 5), (3, 5))
    found = norm(images)
    for row, first in ((0, 0), (3, 2), (6, 4)):  # the window is moved inwards at the borders
        tile = slice(8 * row, 8 * row + 8)
        window = F.instance_norm(images[:, :, 8 * first : 8 * first + 24], weight=norm.weight, bias=norm.bias)
        expected = window[:, :, 8 * (row - first) : 8 * (row - first) + 8]
        assert torch.allclose(found[:, :, tile], expected, atol=1e-4)
    norm.tiling = Tiling((7, 5), (7, 5))
    whole = F.instance_norm(images, weight=norm.weight, bias=norm.bias)
    assert torch.allclose(norm(images), whole, atol=1e-4)


def test_norms_are_local_only_where_slices_are_larger_than_the_window():
    network = build_network(NetworkConfig(), 3).eval()
    small, large = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 640)
    changed = large.clone()
    changed[..., 560:] = 30 * changed[..., 560:] + 50
    change = {}
    with torch.no_grad():
        for window in (None, (64, 64)):
            network.window = window
            change[window] = (network(changed) - network(large))[..., :64].abs().mean()
        local = network(small)
        network.window = None
        assert torch.equal(network(small), local)
    assert change[(64, 64)] < change[None] / 100
