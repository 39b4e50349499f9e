"""The network's levels, and taking over the tensors of a start."""

from __future__ import annotations

import pytest
import torch

from hssl.configuration import NetworkConfig
from hssl.errors import ConfigurationError
from hssl.models.architecture import FILTERS
from hssl.models.network import (
    DeepSupervision,
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
