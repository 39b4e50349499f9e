"""How large patches, windows and batches are, where the configuration leaves it to the images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..configuration import NetworkConfig
from ..errors import ConfigurationError
from ..models.network import MULTIPLE, SMALLEST
from ..preprocessing.planes import Planes, in_plane

MARGIN = 1.2
"""Windows are this much larger than patches, so that rotated patches find image at their corners."""
LIMITS = {2: (48, 128), 3: (16, 64)}
"""Smallest and largest side of patches that are chosen automatically."""
LARGER = (1.5, 2.0)
"""Sides of the larger patches that a segmentation network sees too, in sides of the usual ones."""
LARGEST_ON_CPU = 64
"""Largest side on a CPU: in the same time four times as many patches, placed on the classes, teach far more than large
ones (head and neck CT with one label after 80 s: Dice 50 instead of 2)."""


def patch_size(
    network: NetworkConfig, shapes: Sequence[tuple[int, int, int]], wanted: int, device: torch.device
) -> tuple[int, ...]:
    """Returns the size of patches along the network's spatial axes, multiples of `MULTIPLE`.

    Args:
        shapes: of volumes on the working grid, slices first; the patch holds a whole slice (volume) of the median size,
            within `LIMITS`. With several tasks, one typical shape of each, so that a large task does not decide alone.
        wanted: side of a square (cube) instead; 0 chooses.
        device: on which to train.

    Raises:
        ConfigurationError: `wanted` is no multiple.
    """
    dims = network.spatial_dims
    if wanted:
        if wanted % MULTIPLE or wanted < SMALLEST:
            raise ConfigurationError(f"patch_size must be a multiple of {MULTIPLE} from {SMALLEST} on, got {wanted}")
        return (wanted,) * dims
    median = np.median(shapes, axis=0)[-dims:]
    low, high = LIMITS[dims]
    if device.type == "cpu":
        high = min(high, LARGEST_ON_CPU)
    sides = [_holding(m, low, high) for m in median]
    return (*sides[:-1], max(sides[-1], SMALLEST))


def larger_patches(
    patch: tuple[int, ...], shapes: Sequence[tuple[int, int, int]], count: int, fewest: int
) -> list[tuple[tuple[int, ...], int]]:
    """Returns what a segmentation network trains on beside its usual patches, each with its number of windows a step.

    Instance norms see the statistics of whatever they are given. A 2D network that has seen small patches only is lost
    in whole slices (cardiac MR: Dice 72 instead of 80), which is how it predicts. All batches have about as many pixels.

    Args:
        patch: the usual patches; nothing is added in 3D, where prediction takes windows of that size too.
        shapes: of volumes on the working grid, slices first; patches larger than the median slice are pointless.
        count: number of windows of the usual size a step.
        fewest: smallest number of windows a step.
    """
    if len(patch) == 3:
        return []
    median = np.median(shapes, axis=0)[-2:]
    found: dict[tuple[int, ...], int] = {}
    for factor in LARGER:
        size = tuple(
            _holding(m, side, MULTIPLE * round(factor * side / MULTIPLE)) for side, m in zip(patch, median, strict=True)
        )
        found[size] = max(fewest, round(count * np.prod(patch) / np.prod(size)))
    found.pop(patch, None)
    return list(found.items())


def _holding(length: float, low: int, high: int) -> int:
    """Returns the side of a patch that holds a length, within limits that are multiples of `MULTIPLE`."""
    return int(np.clip(MULTIPLE * np.ceil(length / MULTIPLE), low, high))


def typical_shapes(shapes: Sequence[tuple[int, int, int]], tasks: Sequence[str]) -> list[tuple[int, int, int]]:
    """Returns the median shape of each task.

    Args:
        shapes: of volumes on the working grid.
        tasks: the task of each.
    """
    found = []
    for task in sorted(set(tasks)):
        median = np.median([s for s, t in zip(shapes, tasks, strict=True) if t == task], axis=0)
        found.append((int(median[0]), int(median[1]), int(median[2])))
    return found


def shapes_in_planes(shape: tuple[int, int, int], planes: Planes) -> list[tuple[int, int, int]]:
    """Returns the shapes (slices, rows, columns) in which a volume is seen along each of its planes."""
    return [in_plane(shape, axis) for axis in planes]


def window_size(patch: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the size of the windows that patches of this size are cut from."""
    return tuple(int(np.ceil(MARGIN * p)) for p in patch)


def batch_size(device: torch.device, dims: int, wanted: int, processes: int = 1) -> int:
    """Returns the number of windows a step: what is wanted, or a default for the device, the same for each process.

    Raises:
        ConfigurationError: what is wanted is no multiple of the number of processes.
    """
    if wanted:
        if wanted % processes:
            raise ConfigurationError(f"{processes} processes cannot share a batch of {wanted} evenly")
        return wanted
    small = device.type == "cpu"
    usual = {2: 16 if small else 64, 3: 2 if small else 8}[dims]
    return processes * -(-usual // processes)
