"""What MONAI's DynUNet is built with, for HSSL's own network and for the bundle in a model file; without torch."""

from __future__ import annotations

from typing import Any

from ..configuration import NetworkConfig
from ..plural import counted

FILTERS: dict[str, tuple[int, ...]] = {
    "small": (16, 32, 64, 128, 192),
    "medium": (32, 64, 128, 256, 320),
    "large": (48, 96, 192, 384, 512),
}
"""Channels of the levels, finest first, by the size's name."""
NORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "instance": ("instance", {"affine": True}),
    "group": ("group", {"num_groups": 8, "affine": True}),
    "batch": ("batch", {"affine": True}),
}
"""MONAI's names and arguments of the normalisations."""


def in_words(network: NetworkConfig) -> str:
    """Returns what a network is, in words.

    Example:
        >>> in_words(NetworkConfig())
        'small, 2D, 3 slices in'
    """
    return f"{network.size}, {network.spatial_dims}D, {counted(network.in_slices, 'slice')} in"


def dynunet_arguments(config: NetworkConfig, out_channels: int) -> dict[str, Any]:
    """Returns the arguments of `monai.networks.nets.DynUNet`, as plain values.

    Args:
        out_channels: channels of the output: classes and background, or reconstructed slices.
    """
    filters = FILTERS[config.size]
    name, arguments = NORMS[config.norm]
    return {
        "spatial_dims": config.spatial_dims,
        "in_channels": config.in_slices,
        "out_channels": out_channels,
        "kernel_size": [3] * len(filters),
        "strides": [1] + [2] * (len(filters) - 1),
        "upsample_kernel_size": [2] * (len(filters) - 1),
        "filters": list(filters),
        "norm_name": [name, dict(arguments)],
    }
