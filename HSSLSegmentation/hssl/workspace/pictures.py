"""A small picture of a volume that is in doubt: one slice in grey, with the outline of what looks like its mask."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np

from ..errors import InputError
from .candidates import Candidate

LARGEST = 128
"""Pixels of the longer side."""
OUTLINE = (255, 64, 32)


def picture_of(candidate: Candidate, whose: str = "") -> str:
    """Returns a slice of a file as a PNG in base64: text that fits into an event, and into any door's own widgets.

    The slice is the one with most of the mask, or else the middle one.

    Args:
        candidate: what is in doubt.
        whose: the image that it seems to be a mask of: it is shown in grey, and the candidate as an outline.

    Returns:
        The text; "" where the file cannot be read (the scan says why).
    """
    try:
        voxels = _voxels(candidate)
        under = _voxels(Candidate(whose)) if whose else voxels
    except InputError:
        return ""
    if under.shape != voxels.shape:
        under = voxels
    mask = voxels != voxels[0, 0, 0]
    number = int(mask.sum((1, 2)).argmax()) if whose else len(voxels) // 2
    return base64.b64encode(_png(under[number], mask[number] if whose else None)).decode("ascii")


def _voxels(candidate: Candidate) -> np.ndarray:
    import SimpleITK as sitk

    from ..imaging.volumes import read_volume

    image = read_volume(
        Path(candidate.image), candidate.series, candidate.frame, candidate.spacing, candidate.nan_is_background
    )
    voxels: np.ndarray = np.nan_to_num(sitk.GetArrayFromImage(image))
    return voxels


def _png(plane: np.ndarray, mask: np.ndarray | None) -> bytes:
    from matplotlib.image import imsave

    step = max(1, -(-max(plane.shape) // LARGEST))
    low, high = (float(v) for v in np.percentile(plane, (1, 99)))
    if low >= high:
        low, high = float(plane.min()), float(plane.max())
    grey = np.clip((plane.astype(float) - low) / max(high - low, 1e-9), 0, 1)[::step, ::step]
    pixels = np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=2)
    if mask is not None:
        inside = mask[::step, ::step]
        padded = np.pad(inside, 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        pixels[inside & ~inner] = OUTLINE
    file = io.BytesIO()
    imsave(file, pixels, format="png")
    return file.getvalue()
