"""Memory: how much a training step will take."""

from __future__ import annotations

import torch

from ..configuration import NetworkConfig
from ..models.network import build_network


def training_bytes(network: NetworkConfig, patch: tuple[int, ...], images: int, teacher: bool = False) -> int:
    """Returns the bytes that a training step keeps: weights, optimiser, gradients, and what backward needs.

    The activations are counted by running the network on torch's meta device, which computes shapes and no values.

    Args:
        patch: size in voxels.
        images: patches at once (two views count twice).
        teacher: whether the features of a second network are learned, which needs no gradients.
    """
    seen: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        seen[id(tensor.untyped_storage())] = tensor.numel() * tensor.element_size()
        kept.append(tensor)
        return tensor

    kept: list[torch.Tensor] = []
    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        module = build_network(network, network.in_slices)
        shown = torch.empty(images, network.in_slices, *patch)
        features = module.features(shown)
        output = module.output_block(features.decoder[0])
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    # Gradients, two moments of the optimiser, an averaged copy; the output and its gradient.
    own = sum(seen.values()) + 5 * weights + 3 * output.numel() * output.element_size()
    known = weights + sum(t.numel() * t.element_size() for t in [*features.encoder, *features.decoder])
    return own + known * teacher
