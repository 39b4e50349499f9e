"""Measures the fingerprint of a task, and brings values to a common range by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from ..errors import ConfigurationError
from ..imaging.intensities import BODY, own_range
from ..imaging.voxel_data import AIR_HU
from .fingerprint import Fingerprint, clear_slices
from .grid import along, common_slice_axis, orientation_for

ANISOTROPY = 1.25
"""Slices are taken along the coarsest axis when it is this much coarser than the finest; else along z (axial)."""
LARGEST_HOUNSFIELD = 1e6
LEAST_HOUNSFIELD = 20.0
"""What is called CT and spans less than this is in another unit, and is measured relative to its own range."""


class VolumeMeasure(NamedTuple):
    """What a task's fingerprint needs of one volume: its geometry in SimpleITK's order, and a sample of CT values."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    direction: tuple[float, ...]
    body: np.ndarray


def volume_measure(volume: sitk.Image, seed: int = 0, count: int = 20_000) -> VolumeMeasure:
    """Measures one volume; its body's values are thinned to `count`."""
    values = sitk.GetArrayViewFromImage(volume).reshape(-1)
    values = np.random.default_rng(seed).choice(values, min(len(values), 4 * count), replace=False)
    values = np.clip(values, -LARGEST_HOUNSFIELD, LARGEST_HOUNSFIELD).astype(np.float32)
    body = values[values > AIR_HU]
    body = body if len(body) else values
    return VolumeMeasure(volume.GetSize(), volume.GetSpacing(), volume.GetDirection(), body[:count])


def fingerprint_of(measures: Iterable[VolumeMeasure], modality: str) -> Fingerprint:
    """Returns the fingerprint of a task from the measures of (a sample of) its volumes.

    CT: values are clipped at the 0.5 and 99.5 percentile of all bodies together, since Hounsfield units mean the same
    in every scan. Anything else: each image is normalised by its own percentiles (see `normalised`).

    Raises:
        ConfigurationError: there is no volume to measure.
    """
    volumes = list(measures)
    if not volumes:
        raise ConfigurationError("a task without a usable image has no fingerprint")
    slices = common_slice_axis([v[:3] for v in volumes])
    axes = [orientation_for(*v[:3], slices)[0] for v in volumes]
    spacings = [along(v.spacing, own) for v, own in zip(volumes, axes, strict=True)]
    spacing = np.median(spacings, axis=0)
    # A finite number of digits: the fingerprint's text is the key of the store.
    spacing = np.array([float(f"{s:.5g}") for s in spacing])
    sizes = [along(v.size, own) for v, own in zip(volumes, axes, strict=True)]
    z, y, x = (round(n) or 1 for n in np.median(np.array(sizes) * spacings / spacing, axis=0))
    fingerprint = Fingerprint(
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        slice_axis=slice_axis_of(spacing, (z, y, x)),
        normalisation="percentiles",
        median_size=(z, y, x),
    )
    if modality.upper() != "CT":
        return fingerprint
    return fingerprint.model_copy(
        update={"normalisation": "window", **_window(np.concatenate([v.body for v in volumes]))}
    )


def _window(body: np.ndarray) -> dict[str, float]:
    lower, upper = np.percentile(body, [0.5, 99.5])
    if upper - lower < LEAST_HOUNSFIELD:
        own = own_range(body)
        if own is None:
            return {"lower": float(lower), "upper": float(lower) + 1, "center": float(lower), "scale": 1.0}
        return {name: float(f"{value:.6g}") for name, value in own._asdict().items()}
    lower, upper = (float(np.round(p, 1)) for p in (lower, upper))
    clipped = np.clip(body, lower, upper)
    return {
        "lower": lower,
        "upper": upper,
        "center": float(np.round(clipped.mean(), 2)),
        "scale": float(np.round(clipped.std(), 2)),
    }


def slice_axis_of(spacing: Sequence[float] | np.ndarray, size: Sequence[int]) -> int:
    """Returns the axis along which slices are taken, from the spacing along an array's axes (see `ANISOTROPY`) and its size.

    The only slice of a volume is one, whatever spacing stands for its thickness: across it there are lines.

    Example:
        >>> slice_axis_of((1.0, 1.1, 1.0), (9, 9, 9)), slice_axis_of((0.9, 3.0, 0.9), (9, 9, 9))
        (0, 1)
        >>> slice_axis_of((1.0, 3.0, 3.0), (1, 9, 9))
        0
    """
    if (clear := clear_slices(size, list(spacing))) is not None:
        return clear
    coarsest = int(np.argmax(spacing))
    return coarsest if spacing[coarsest] >= ANISOTROPY * min(spacing) else 0


def normalised(array: np.ndarray, fingerprint: Fingerprint) -> np.ndarray:
    """Normalises intensities to about zero mean and unit deviation.

    "window": by the fingerprint's numbers. "percentiles": by the image's own range (see `imaging.intensities`).

    Args:
        array: float32, any shape.

    Returns:
        float32 array of the same shape; a constant image becomes zeros.
    """
    if fingerprint.normalisation == "window":
        assert fingerprint.lower is not None and fingerprint.upper is not None
        assert fingerprint.center is not None and fingerprint.scale is not None
        return (np.clip(array, fingerprint.lower, fingerprint.upper) - fingerprint.center) / fingerprint.scale
    own = own_range(array)
    if own is None:
        return np.zeros_like(array, dtype=np.float32)
    found = np.clip(array, own.lower, own.upper)
    found -= own.center
    found /= own.scale
    return found.astype(np.float32, copy=False)


def body_mask(array: np.ndarray) -> np.ndarray:
    """Returns where a normalised array shows more than background: more than `BODY` of its range above its minimum."""
    low, high = float(array.min()), float(array.max())
    return array > low + BODY * (high - low)
