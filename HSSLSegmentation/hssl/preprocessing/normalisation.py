"""Measures the fingerprint of a task, and brings values to a common range by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from ..errors import ConfigurationError
from ..imaging.intensities import BODY, TAIL, own_range, tail_of
from ..imaging.voxel_data import AIR_HU
from ..spread import evenly
from .fingerprint import Fingerprint, clear_slices
from .grid import along, common_slice_axis, orientation, orientation_for

ANISOTROPY = 1.25
"""Slices are taken along the coarsest axis when it is this much coarser than the finest; else along z (axial)."""
LARGEST_HOUNSFIELD = 1e6
LEAST_HOUNSFIELD = 20.0
"""What is called CT and spans less than this is in another unit, and is measured relative to its own range."""

LUNGS = 0.1
"""From this share of the body on, the air that it encloses is lungs that one looks at: of chests a quarter and more, of heads
and necks (airways, tips of the lungs) 0.02 to 0.08."""
LUNG_RANGE = 2.0
"""Into so much below the window the values of lungs are brought, in deviations. As they are they span ten, and the finer
contrasts of what is denser are learned late."""
TAIL_END = 20.0
"""So many ranges above an image's own a tail ends: bladders in PET lie 12 above, vessels in microscopy 7, and what a fit that
failed gives in a map of T1 or ADC anywhere."""
AXIAL_SLICES, AXIAL_PIXELS = 16, 128
"""Slices, and pixels along each side of them, in which enclosed air is looked for."""


class VolumeMeasure(NamedTuple):
    """What a task's fingerprint needs of one volume.

    Attributes:
        size, spacing, direction: SimpleITK's.
        body: sample of values above air, as a CT.
        lungs: sample of the values of air that the body encloses.
        lung_share: of enclosed air in body and enclosed air.
        tail: how far the brightest voxels are above the image's own range (see `imaging.intensities.tail_of`).
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    direction: tuple[float, ...]
    body: np.ndarray
    lungs: np.ndarray = np.array([])
    lung_share: float = 0.0
    tail: float = 0.0


def volume_measure(volume: sitk.Image, seed: int = 0, count: int = 20_000) -> VolumeMeasure:
    """Measures one volume; its body's values are thinned to `count`."""
    array = sitk.GetArrayViewFromImage(volume)
    rng = np.random.default_rng(seed)
    values = rng.choice(array.reshape(-1), min(array.size, 4 * count), replace=False)
    values = np.clip(values, -LARGEST_HOUNSFIELD, LARGEST_HOUNSFIELD).astype(np.float32)
    body = values[values > AIR_HU]
    body = body if len(body) else values
    lungs, share = _enclosed_air(np.moveaxis(array, orientation(volume.GetDirection())[0][0], 0))
    lungs = rng.choice(lungs, min(len(lungs), count), replace=False)
    return VolumeMeasure(
        volume.GetSize(),
        volume.GetSpacing(),
        volume.GetDirection(),
        body[:count],
        lungs.astype(np.float32),
        share,
        tail_of(array),
    )


def _enclosed_air(axial: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the values of air that the body encloses in some axial slices, and their share of the body with them."""
    enclosed, body = [axial[:0].reshape(-1)], 0
    for number in evenly(len(axial), AXIAL_SLICES):
        rows, columns = (max(1, length // AXIAL_PIXELS) for length in axial.shape[1:])
        pixels = axial[number, ::rows, ::columns]
        inside = pixels > AIR_HU
        filled = sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(inside.astype(np.uint8)))) > 0
        enclosed.append(pixels[filled & ~inside])
        body += int(filled.sum())
    air = np.concatenate(enclosed)
    return air, len(air) / max(body, 1)


def fingerprint_of(measures: Iterable[VolumeMeasure], modality: str) -> Fingerprint:
    """Returns the fingerprint of a task from the measures of (a sample of) its volumes.

    CT: values are clipped at the 0.5 and 99.5 percentile of all bodies together, since Hounsfield units mean the same
    in every scan; where lungs are a large part of them (see `LUNGS`), their values are kept apart below. Anything
    else: each image is normalised by its own percentiles (see `normalised`), above which values are told from each other
    where most images have a tail of them (see `imaging.intensities.TAIL`).

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
        tails = bool(np.median([v.tail for v in volumes]) >= TAIL)
        return fingerprint.model_copy(update={"tails": tails})
    window = _window(np.concatenate([v.body for v in volumes]))
    if np.mean([v.lung_share for v in volumes]) >= LUNGS:
        lowest = float(np.round(np.percentile(np.concatenate([v.lungs for v in volumes]), 0.5), 1))
        if lowest < window["lower"]:
            window["lungs"] = lowest
    return fingerprint.model_copy(update={"normalisation": "window", **window})


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

    "window": by the fingerprint's numbers; from `lungs` to `lower`, where lungs are seen, values are brought into the
    `LUNG_RANGE` below. "percentiles": by the image's own range (see `imaging.intensities`), with values above it brought
    nearer by their logarithm where there are `tails`.

    Args:
        array: float32, any shape.

    Returns:
        float32 array of the same shape; a constant image becomes zeros.
    """
    if fingerprint.normalisation == "window":
        assert fingerprint.lower is not None and fingerprint.upper is not None
        assert fingerprint.center is not None and fingerprint.scale is not None
        found = (np.clip(array, fingerprint.lower, fingerprint.upper) - fingerprint.center) / fingerprint.scale
        if fingerprint.lungs is not None:
            below = fingerprint.lower - np.clip(array, fingerprint.lungs, fingerprint.lower)
            found -= LUNG_RANGE / (fingerprint.lower - fingerprint.lungs) * below
        return found
    own = own_range(array)
    if own is None:
        return np.zeros_like(array, dtype=np.float32)
    found = np.clip(array, own.lower, own.upper)
    if fingerprint.tails:
        extent = own.upper - own.lower
        above = np.clip((array - own.upper) / extent, 0, TAIL_END)
        found += (extent * np.log1p(above)).astype(np.float32)
    found -= own.center
    found /= own.scale
    return found.astype(np.float32, copy=False)


def body_mask(array: np.ndarray, tails: bool = False) -> np.ndarray:
    """Returns where a normalised array shows more than background: more than `BODY` of its range above its minimum; of its range
    without the tail, where there are `tails`."""
    low, high = float(array.min()), float(np.percentile(array, 99.5) if tails else array.max())
    return array > low + BODY * (high - low)
