"""An image's own range of values: what normalisation is relative to, whatever unit and scale the values have."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .voxel_data import AIR_HU

BODY = 0.1
"""In images of arbitrary values the body begins at this share of the range above its lower end."""
SPARSE = 0.98
"""Where one value has more than this share of the voxels, the range is that of the others."""
PADDING = 0.25
"""A lowest value below 0 that lies by more than this share of the others' range below them is none that was measured."""
LEAST_DEVIATION = 0.01
"""A body that deviates by less than this share of the range is one value (a two-valued image)…"""
DEVIATION_OF_ONE_VALUE = 0.25
"""…and this share of the range stands for its deviation."""
TAIL = 3.0
"""Images whose brightest voxels (99.95 percentile) lie so many ranges above the lower end have a tail: what one looks for may
be in it, such as lesions in PET or vessels in microscopy, all of which would be one value. Of heads, hearts and mouse brains in
MR the median is 1.2 to 1.4 and the largest 2.6; of forty heads in CT one has 3.7 (of CTs only learning from slices asks)."""
SAMPLE = 500_000
"""Voxels that a range is measured on."""


class Range(NamedTuple):
    """Values are clipped at `lower` and `upper`; `center` and `scale` are mean and deviation of the body."""

    lower: float
    upper: float
    center: float
    scale: float


def own_range(array: np.ndarray) -> Range | None:
    """Measures the range of an image's values.

    It goes from the 0.5 to the 99.5 percentile; the body is what lies more than `BODY` of the range above the lower
    one. In a sparse image, one of whose values has nearly all voxels, percentiles and body are those of the others.
    What a scanner has padded its field of view with (see `PADDING`), such as -3024 in a CT, is left out. Every floor is a
    share of the range, so that values of 1e-9 are as good as those of 1e3.

    Args:
        array: finite values, any shape.

    Returns:
        The range; None where all values are the same.

    Example:
        >>> own_range(np.arange(1000, dtype=np.float32)).upper.round()
        np.float32(994.0)
        >>> own_range(np.zeros(9)) is None
        True
    """
    thinned = _thinned(array)
    if (lowest := thinned.min()) < 0 and (others := thinned[thinned > lowest]).size:
        low, high = np.percentile(others, [0.5, 99.5])
        if low - lowest > PADDING * (high - low) > 0:
            thinned, array = others, array[array > lowest]
    lower, upper = np.percentile(thinned, [0.5, 99.5])
    # If any value has more than half of the voxels, it is the median.
    commonest = np.percentile(thinned, 50, method="nearest")
    if not upper > lower or np.mean(thinned == commonest) > SPARSE:
        others = array[array != commonest]
        if not others.size:
            return None
        body = _thinned(others)
        low, high = np.percentile(body, [0.5, 99.5])
        lower, upper = min(low, commonest), max(high, commonest)
        body = np.clip(body, lower, upper)
    else:
        thinned = np.clip(thinned, lower, upper)
        body = thinned[thinned > lower + BODY * (upper - lower)]
        body = body if len(body) > 1 else thinned
    extent, deviation = float(upper) - float(lower), float(body.std())
    if deviation < LEAST_DEVIATION * extent:
        deviation = DEVIATION_OF_ONE_VALUE * extent
    return Range(lower, upper, body.mean(), deviation)


def tail_of(array: np.ndarray) -> float:
    """Returns how many of its ranges an image's brightest voxels lie above the lower end (see `TAIL`); 0 of a constant image."""
    own = own_range(array)
    if own is None:
        return 0.0
    return float((np.percentile(_thinned(array), 99.95) - own.lower) / (own.upper - own.lower))


def check_hounsfield(image: sitk.Image, path: str | Path) -> None:
    """Checks that a CT shows a body.

    Raises:
        InputError: all of it is air; nothing would be left after normalisation.
    """
    highest = sitk.GetArrayViewFromImage(image).max()
    if highest <= AIR_HU:
        raise InputError(path, f"is all air as a CT: its highest value is {highest:g} HU", "Is it no CT?")


def _thinned(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1)[:: max(1, array.size // SAMPLE)]
