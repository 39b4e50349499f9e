"""The device to compute on, and when its memory runs out."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import torch

from ..errors import ConfigurationError
from ..machine import cores

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "status_alloc_failed", "unable to find an engine")
"""What torch says where memory runs out. cuBLAS and cuDNN say it when their own does; the last is cuDNN's word for no room to
compute a convolution in."""


def chosen_device(name: str) -> torch.device:
    """Returns the device of that name, ready to compute; "auto" is a GPU on which a convolution really runs, else the CPU.

    An Apple GPU ("mps") is taken only where it is asked for: torch lacks there some of what trainings compute.

    Raises:
        ConfigurationError: the device was asked for by name and is not there, or does not compute.
    """
    if name == "auto":
        try:
            return chosen_device("cuda")
        except ConfigurationError:
            return chosen_device("cpu")
    try:
        device = torch.device(name)
        # is_available() answers yes for cards that torch has no kernels for; a small convolution does not.
        torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4, device=device), torch.ones(1, 1, 3, 3, device=device)).cpu()
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    if device.type == "cpu":
        keep_freed_memory()
    return device


def device_text(device: torch.device) -> str:
    """Tells on what a job computes: where no GPU is found, nobody sees it but by the time that it takes.

    Example:
        >>> device_text(torch.device("cpu")).startswith("Computing on the CPU")
        True
    """
    if device.type == "cuda":
        return f"Computing on {device} ({torch.cuda.get_device_name(device)})"
    if device.type != "cpu":
        return f"Computing on {device}"
    blind = "" if torch.version.cuda or torch.version.hip else " (this torch knows no CUDA)"
    return f"Computing on the CPU{blind}"


def computes_bf16(device: torch.device) -> bool:
    """Returns whether a device has instructions for bfloat16, so that autocast to it can pay."""
    if device.type == "cuda":
        return bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def learns_in_bf16(device: torch.device, dims: int) -> bool:
    """Returns whether a device computes right gradients in bfloat16 too, for networks of so many spatial dimensions.

    oneDNN 3.12 gives wrong ones, part of them from memory that it has not written, for 3D convolutions of two slices.
    """
    return dims == 2 or device.type != "cpu" or not computes_bf16(device) or _right_3d_gradients()


@cache
def _right_3d_gradients() -> bool:
    rng = torch.Generator().manual_seed(0)
    images, slopes = (torch.randn(2, 32, 2, 4, 4, generator=rng) for _ in range(2))
    weight = torch.zeros(32, 32, 3, 3, 3, requires_grad=True)
    found: list[torch.Tensor] = []
    with torch.inference_mode(False), torch.enable_grad():
        for dtype in (torch.float32, torch.bfloat16):
            output = torch.nn.functional.conv3d(images.to(dtype), weight.to(dtype), padding=1)
            found += torch.autograd.grad(output, weight, slopes.to(dtype))
    exact, rounded = found
    return bool((rounded - exact).abs().max() < 0.05 * exact.abs().max())


def use_threads(count: int) -> None:
    """Lets torch compute with so many CPU threads; 0: as many as it would itself, but no more than may work here."""
    torch.set_num_threads(count or min(torch.get_num_threads(), cores()))


def out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception of torch or Python means that memory ran out."""
    text = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(said in text for said in OUT_OF_MEMORY)
    )


def keep_freed_memory() -> None:
    """Lets glibc keep what large tensors leave behind, where it would give it back to the system each time.

    Paging it in anew costs up to half the time of a network on the CPU (malloc's manual, mallopt(3)). Elsewhere than
    with glibc nothing happens.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # names of mallopt's parameters, from malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)


def give_back_freed_memory() -> None:
    """Gives what `keep_freed_memory`, and torch on a GPU, have kept back to the system, where work is over for now."""
    malloc_trim = _of_glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
