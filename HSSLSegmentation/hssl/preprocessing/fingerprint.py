"""How the volumes of a task are brought to the working grid: measured once, carried with every model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

LIKE_SPACING = 1.25
"""Two spacings are alike up to this ratio: augmentation zooms by a quarter, so that a network knows structures of both."""
LIKE_WINDOW = 0.8
"""Two windows are alike from this share on that they have in common, of what either has."""

CLEARLY = 2.0
"""Slices that lie this much farther apart than their pixels, in both directions, are slices and nothing else."""


def clear_slices(size: Sequence[int], spacing: Sequence[float]) -> int | None:
    """Returns along which axis slices clearly lie (see `CLEARLY`): that of the only one, whatever stands for its thickness.

    Args:
        size, spacing: along the axes, in any order.

    Example:
        >>> clear_slices((9, 9, 9), (8.0, 1.4, 1.4)), clear_slices((9, 9, 9), (1.0, 1.5, 1.0)), clear_slices((9, 1, 9), (1, 1, 1))
        (0, None, 1)
    """
    if list(size).count(1) == 1:
        return list(size).index(1)
    middle, longest = sorted(spacing)[1:]
    return list(spacing).index(longest) if longest >= CLEARLY * middle else None


def x_first(lengths: Sequence[float]) -> str:
    """Returns lengths along z, y, x for people, who are used to the other order.

    Example:
        >>> x_first((3.0, 0.71484, 0.71484))
        '0.715 × 0.715 × 3'
    """
    return " × ".join(f"{length:.3g}" for length in reversed(lengths))


class Fingerprint(BaseModel):
    """How the volumes of a task are brought to the working grid, measured once and carried with every model.

    Axes are those of the array after reorientation to LPS, in z, y, x order; `slice_axis` is the one along which
    2D networks see slices. Values are normalised as (clip(v, lower, upper) − center) / scale (see
    `hssl.preprocessing.normalisation.normalised` for those of lungs, below), where for "percentiles" the four numbers are
    measured on each image itself and these are None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    spacing: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    """Working spacing in mm, z, y, x."""
    slice_axis: int = Field(ge=0, le=2)
    normalisation: Literal["window", "percentiles"]
    lower: float | None = None
    upper: float | None = None
    center: float | None = None
    scale: float | None = None
    lungs: float | None = None
    """Lowest value of the lungs, where they are a large part of a CT and are to be told from each other."""
    tails: bool = False
    """Whether values above an image's own range are told from each other, by their logarithms: what is looked for may be a few
    voxels that are far brighter than all others."""
    median_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Median size on the working grid in voxels, z, y, x."""

    @property
    def clear_slice_axis(self) -> int | None:
        """Returns the slice axis where the task's slices clearly lie along it."""
        return clear_slices(self.median_size, self.spacing)

    def is_like(self, other: Fingerprint) -> bool:
        """Tells whether a network that has learned on the one working grid knows what it sees on the other."""
        ratios = [a / b for a, b in zip(self.spacing, other.spacing, strict=True)]
        if self.normalisation != other.normalisation or not all(1 / LIKE_SPACING <= r <= LIKE_SPACING for r in ratios):
            return False
        if (self.lungs is None) != (other.lungs is None) or self.tails != other.tails:
            return False
        if self.lower is None or self.upper is None or other.lower is None or other.upper is None:
            return True
        both = min(self.upper, other.upper) - max(self.lower, other.lower)
        return both >= LIKE_WINDOW * (max(self.upper, other.upper) - min(self.lower, other.lower))

    @model_validator(mode="after")
    def _window_is_usable(self) -> Self:
        window = (self.lower, self.upper, self.center, self.scale)
        if self.normalisation == "percentiles":
            if any(number is not None for number in (*window, self.lungs)):
                raise ValueError(
                    "percentiles are measured on each image: lower, upper, center, scale and lungs must be null"
                )
        elif self.tails:
            raise ValueError("tails are those of an image's own range")
        elif self.lower is None or self.upper is None or self.center is None or self.scale is None:
            raise ValueError("a window needs lower, upper, center and scale")
        elif not (self.lower < self.upper and self.scale > 0):
            raise ValueError(f"a window needs lower < upper and scale > 0, got {window}")
        elif self.lungs is not None and not self.lungs < self.lower:
            raise ValueError(f"lungs lie below the window, got {self.lungs} and {self.lower}")
        return self


def coarsened(fingerprint: Fingerprint, voxel: float) -> Fingerprint:
    """Returns a fingerprint whose voxels are at least so long, in mm, along every axis but that of a single slice.

    Example:
        >>> of = Fingerprint(spacing=(1, 0.25, 0.25), slice_axis=0, normalisation="percentiles", median_size=(1, 900, 800))
        >>> coarse = coarsened(of, 2.0)
        >>> coarse.spacing, coarse.median_size
        ((1.0, 2.0, 2.0), (1, 112, 100))
    """
    spacing, size = list(fingerprint.spacing), list(fingerprint.median_size)
    for axis, (step, length) in enumerate(zip(fingerprint.spacing, fingerprint.median_size, strict=True)):
        if length > 1 and step < voxel:
            spacing[axis] = float(f"{voxel:.5g}")
            size[axis] = max(1, round(length * step / voxel))
    return Fingerprint.model_validate({**fingerprint.model_dump(), "spacing": spacing, "median_size": size})
