"""From a volume to the array that networks see: on the working grid, normalised, as float16; the one place for it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .fingerprint import Fingerprint
from .grid import WorkingGrid, to_working, working_grid
from .normalisation import normalised

LEAST_EXTENT = 0.05
"""A normalised volume whose values span less shows nothing; those of real images span 3 and more."""
LARGEST = float(np.finfo(np.float16).max)
PLAIN = (1e-15, 1e15)
"""Between these, squares of values are float32 too."""


class WorkingVolume(NamedTuple):
    """A volume as networks see it.

    Attributes:
        array: float16, slices first, about zero mean and unit deviation in the body.
        low: its smallest value, which stands for what is beyond the volume.
        grid: how the array lies in its source.
    """

    array: np.ndarray
    low: float
    grid: WorkingGrid


def working_volume(volume: sitk.Image, fingerprint: Fingerprint, path: str | Path = "volume") -> WorkingVolume:
    """Brings a volume to the working grid and its values to the common range.

    Args:
        volume: 3D scalar volume with finite voxels.
        fingerprint: of the task, or of the model.
        path: what messages name.

    Raises:
        InputError: the working grid would have absurdly many voxels, or nothing is left of the image's contrast.
    """
    grid = working_grid(volume.GetSize(), volume.GetSpacing(), volume.GetDirection(), fingerprint, path)
    if fingerprint.normalisation == "percentiles":
        volume = in_float32(volume)
    array = normalised(to_working(volume, grid), fingerprint)
    array = np.clip(array, -LARGEST, LARGEST).astype(np.float16)
    low, high = float(array.min()), float(array.max())
    if not high - low >= LEAST_EXTENT:
        window = "on the working grid all of its values are the same"
        if fingerprint.normalisation == "window":
            window = (
                f"its values do not differ within the task's window from {fingerprint.lower:g} to {fingerprint.upper:g}"
            )
        raise InputError(path, f"is empty after normalisation: {window}", "Is it of another modality than its task?")
    return WorkingVolume(array, low, grid)


def in_float32(volume: sitk.Image) -> sitk.Image:
    """Returns a volume of huge or tiny values with its largest one brought to 1; a common factor means nothing there."""
    if volume.GetPixelID() not in (sitk.sitkFloat32, sitk.sitkFloat64):
        return volume
    values = sitk.GetArrayViewFromImage(volume)
    largest = max(abs(float(values.min())), abs(float(values.max())))
    if not largest or PLAIN[0] < largest < PLAIN[1]:
        return volume
    scaled = sitk.GetImageFromArray(values.astype(np.float64) / largest)
    scaled.CopyInformation(volume)
    return scaled
