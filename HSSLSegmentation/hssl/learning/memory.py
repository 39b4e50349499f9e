"""Memory: how much a training step will take, telling that it ran out, and keeping what is freed for the next step."""

from __future__ import annotations

import ctypes
import sys

import torch

from ..configuration import NetworkConfig
from ..models.network import build_network


def out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception of torch or Python means that memory ran out."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )


def keep_freed_memory() -> None:
    """Lets glibc keep what large tensors leave behind, where it would give it back to the system each time.

    Paging it in anew costs up to half the time of a network on the CPU (malloc's manual, mallopt(3)). Elsewhere than
    with glibc nothing happens.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # names of mallopt's parameters, from malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)


def training_bytes(network: NetworkConfig, patch: tuple[int, ...], images: int) -> int:
    """Returns the bytes that a training step keeps: weights, optimiser, gradients, and what backward needs.

    The activations are counted by running the network on torch's meta device, which computes shapes and no values.

    Args:
        patch: size in voxels.
        images: patches at once (two views count twice).
    """
    seen: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        seen[id(tensor.untyped_storage())] = tensor.numel() * tensor.element_size()
        kept.append(tensor)
        return tensor

    kept: list[torch.Tensor] = []
    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        module = build_network(network, network.in_slices)
        output = module(torch.empty(images, network.in_slices, *patch))
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    # Gradients, two moments of the optimiser, an averaged copy; the output and its gradient.
    return sum(seen.values()) + 5 * weights + 3 * output.numel() * output.element_size()
