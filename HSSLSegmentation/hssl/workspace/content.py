"""What the voxels say of a file that was taken for an image: whether it is one, or a mask, or nearly nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import SimpleITK as sitk

SURELY_FEW = 12
"""No scanner gives so few different whole values."""
FEW = 1000
"""Up to so many different whole values are a mask's, where neighbouring voxels mostly have the same (`SOLID`)."""
SOLID = 0.7
"""Share of neighbouring voxels of equal value, outside the background: about 0.9 in masks of organs and of a hundred
structures, below 0.3 in scans of 8 bits."""
NEARLY_ALL = 0.9995
"""Share of voxels of one value above which an image is nearly constant."""
LARGEST = 1e30
"""Beyond such values differences and squares leave the range of single precision."""

_PLANES = 16


@dataclass(frozen=True)
class Content:
    """What was seen of the voxels. Both empty: an image like any other."""

    suspicion: str = ""
    """Why it is probably no image, such as "it has 3 different whole values, in solid regions"."""
    mask: bool = False
    """Whether that is because it looks like a mask."""


def seen(image: sitk.Image) -> Content:
    """Looks at the voxels of a volume, on a sample of its slices where that is enough.

    Args:
        image: 3D, of any scalar type.

    Example:
        >>> import SimpleITK as sitk
        >>> mask = sitk.Image(8, 8, 8, sitk.sitkUInt8)
        >>> mask[2:5, 2:5, 2:5] = 1
        >>> seen(mask).suspicion
        'it has two values only, 0 and 1'
    """
    import SimpleITK as sitk

    voxels = sitk.GetArrayViewFromImage(image)
    planes = np.unique(np.linspace(0, len(voxels) - 1, min(_PLANES, len(voxels))).round().astype(int))
    content = _seen(voxels[planes])
    # A small structure may lie between the slices of the sample.
    return content if not content.suspicion or len(planes) == len(voxels) else _seen(voxels)


def _seen(voxels: np.ndarray) -> Content:
    finite = voxels if voxels.dtype.kind != "f" else voxels[np.isfinite(voxels)]
    if finite.size == 0:
        return Content()  # a named problem of its own
    low, high = float(finite.min()), float(finite.max())
    if max(abs(low), abs(high)) > LARGEST:
        return Content(f"it has values up to {max(abs(low), abs(high)):.2g}, more than can be computed with")
    values, counts = _different(finite)
    if len(values) == 2:
        return Content(f"it has two values only, {values[0]:g} and {values[1]:g}", mask=True)
    if len(values) and _whole(values) and values[0] >= -1:
        number = f"it has {len(values)} different whole values"
        if 1 < len(values) <= SURELY_FEW:
            return Content(f"{number}, {', '.join(f'{v:g}' for v in values[:4])}{', …' * (len(values) > 4)}", mask=True)
        if len(values) <= FEW and _solid(voxels, values[np.argmax(counts)]) >= SOLID:
            return Content(f"{number}, in solid regions", mask=True)
    if len(values):
        commonest, share = values[np.argmax(counts)], counts.max() / finite.size
    else:
        commonest = np.median(finite)
        share = float(np.mean(finite == commonest))
    if share >= NEARLY_ALL and low < high:
        return Content(f"it is nearly constant: {100 * share:.2f} % of its voxels are {commonest:g}")
    return Content()


def _different(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different values with their numbers, or nothing where there are more than `FEW`."""
    none = np.zeros(0), np.zeros(0, np.int64)
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        if high - low > 1 << 20:
            return none
        counts = np.bincount((values.astype(np.int64) - low).ravel())
        present = np.flatnonzero(counts)
        return none if len(present) > FEW else (present + low, counts[present])
    thinned = values.ravel()[:: max(1, values.size // 20_000)]
    if len(np.unique(thinned)) > FEW:
        return none
    found, numbers = np.unique(values, return_counts=True)
    return none if len(found) > FEW else (found, numbers)


def _whole(values: np.ndarray) -> bool:
    return bool(np.array_equal(np.rint(values), values))


def _solid(planes: np.ndarray, background: float) -> float:
    """Returns the share of equal values among neighbours in a row of which neither is background."""
    one, other = planes[..., :-1], planes[..., 1:]
    inside = (one != background) & (other != background)
    return float(np.mean(one[inside] == other[inside])) if inside.any() else 0.0


def nearest(path: str, others: Iterable[str]) -> str:
    """Returns the path that begins most like this one (and is not it), "" where there is none."""
    best, length = "", -1
    for other in others:
        alike = next(
            (n for n, (a, b) in enumerate(zip(path, other, strict=False)) if a != b), min(len(path), len(other))
        )
        if other != path and alike > length:
            best, length = other, alike
    return best


def grid_of(
    size: Sequence[int] | None, spacing: Sequence[float] | None, origin: Sequence[float] | None
) -> tuple[object, ...] | None:
    """Returns what two volumes on one grid have in common, rounded; None where it is not known."""
    if size is None or spacing is None or origin is None:
        return None
    return (tuple(size), tuple(round(s, 3) for s in spacing), tuple(round(o, 1) for o in origin))
