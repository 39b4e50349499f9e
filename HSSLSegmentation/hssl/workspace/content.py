"""What the voxels say of a file that was taken for an image: whether it is one, or a mask, or nearly nothing."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..imaging.voxel_data import AIR_HU
from ..plural import counted, shortened
from ..spread import evenly

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
_NEAR_0 = 0.01
_RINGS = 0.5
"""So far beyond 0 and 1 a map may reach: masks that were resampled by splines or sinc reach −0.38 and 1.43."""


class Placed(Protocol):
    """A header, or an image's record: where a volume lies."""

    @property
    def size(self) -> tuple[int, int, int] | None: ...
    @property
    def spacing(self) -> tuple[float, float, float] | None: ...
    @property
    def origin(self) -> tuple[float, float, float] | None: ...


@dataclass(frozen=True)
class Content:
    """What was seen of the voxels. Both empty: an image like any other."""

    suspicion: str = ""
    """Why it is probably no image, such as "it has 3 different whole values, in solid regions"."""
    mask: bool = False
    """Whether that is because it looks like a mask."""
    share: bool = False
    """Whether its values are shares: about 0 to 1, most of them near 0. Beside an image of other values it is a map of it."""
    low: float = -np.inf
    """The lowest value that was seen."""


def seen(image: sitk.Image, thorough: bool = False) -> Content:
    """Looks at the voxels of a volume, on a sample of its slices where that is enough.

    Args:
        image: 3D, of any scalar type.
        thorough: look at every slice.

    Example:
        >>> import SimpleITK as sitk
        >>> mask = sitk.Image(8, 8, 8, sitk.sitkUInt8)
        >>> mask[2:5, 2:5, 2:5] = 1
        >>> seen(mask).suspicion
        'it has two values only, 0 and 1'
    """
    import SimpleITK as sitk

    voxels = sitk.GetArrayViewFromImage(image)
    sample = evenly(len(voxels), _PLANES)
    if not thorough and len(sample) < len(voxels):
        content = _seen([voxels[n] for n in sample])
        # What matters of a mask, or of nearly nothing, may lie between the slices of the sample.
        if content is not None and not content.suspicion:
            return content
    return _seen(voxels) or Content()


def _seen(planes: Sequence[np.ndarray] | np.ndarray) -> Content | None:
    """Returns what these slices look like; None where they are constant or hold no number, a problem of its own."""
    lows, highs = zip(*(_range(plane) for plane in planes), strict=True)
    low, high = min(lows), max(highs)
    if low >= high:
        return None
    if max(abs(low), abs(high)) > LARGEST:
        return Content(f"it has values up to {max(abs(low), abs(high)):.2g}, more than can be computed with")
    counts = {} if _surely_a_scan(planes[len(planes) // 2]) else _counted(planes)
    total = sum(plane.size for plane in planes)
    if counts:
        values = sorted(counts)
        commonest = max(values, key=lambda v: counts[v])
        share = counts[commonest] / total
        shown = shortened((f"{v:g}" for v in values), 4)
        if len(values) == 2:
            return Content(f"it has two values only, {values[0]:g} and {values[1]:g}", mask=True)
        if values[0] >= -1 and all(v == round(v) for v in values):
            if len(values) <= SURELY_FEW:
                return Content(f"it has {len(values)} different whole values, {shown}", mask=True)
            if _solid(planes, commonest) >= SOLID:
                return Content(f"it has {len(values)} different whole values, in solid regions", mask=True)
    else:
        same = {v: sum(np.count_nonzero(plane == v) for plane in planes) for v in {low, 0.0}}
        commonest = max(same, key=lambda v: same[v])
        share = same[commonest] / total
    if share >= NEARLY_ALL:
        return Content(f"it is nearly constant: {100 * share:.2f} % of its voxels are {commonest:g}")
    shares = planes[0].dtype.kind == "f" and low >= -_RINGS and _NEAR_0 < high <= 1 + _RINGS
    if shares:
        shares = sum(int(np.count_nonzero(np.abs(plane) < _NEAR_0)) for plane in planes) >= total / 2
    return Content(share=shares, low=low)


def not_hounsfield(content: Content) -> str:
    """Tells why a CT's values are no Hounsfield units; "" where they may be. Every scan has fat, or air, below 0."""
    if content.suspicion or content.low < 0 or content.low == np.inf:
        return ""
    return f"it has no value below 0, and a CT in Hounsfield units has (its lowest is {content.low:g})"


def unnamed_ct(contents: Sequence[Content]) -> str:
    """Returns what to say of images whose modality nobody has named and which mostly seem to be CTs, "" where they do not.

    Their values would be normalised as those of any scanner. Hardly any but a CT's reach down to air in Hounsfield units.
    """
    like = sum(not seen.suspicion and -np.inf < seen.low < AIR_HU for seen in contents)
    if 2 * like <= len(contents):
        return ""
    return (
        f"the values of {like} of {counted(len(contents), 'image')} reach below {AIR_HU:g}, as those of CTs do, and nothing says "
        "of which modality they are: name CT, and they are taken as Hounsfield units"
    )


def is_grainy(voxels: np.ndarray) -> bool:
    """Tells whether neighbouring voxels of a volume (z, y, x) mostly differ, as those of a scan do."""
    planes = [voxels[n] for n in evenly(len(voxels), _PLANES)]
    return _solid(planes, float(np.median(voxels[len(voxels) // 2]))) < SOLID / 2


def _surely_a_scan(plane: np.ndarray) -> bool:
    """Tells it at once of most scans: a few rows have many values, which their neighbours do not have."""
    rows = plane[:: max(1, len(plane) // 16)]
    values = np.unique(rows)
    return len(values) > 2 * SURELY_FEW and _solid([rows], values[0]) < SOLID / 2


def _range(plane: np.ndarray) -> tuple[float, float]:
    if plane.dtype.kind == "f":
        plane = plane[np.isfinite(plane)]
    return (float(plane.min()), float(plane.max())) if plane.size else (np.inf, -np.inf)


def _counted(planes: Sequence[np.ndarray] | np.ndarray) -> dict[float, int]:
    """Returns how often each value stands there, or nothing where more than `FEW` do."""
    counts: dict[float, int] = {}
    for plane in planes:
        values, numbers = np.unique(plane[::2, ::2] if plane.size > 1 << 22 else plane, return_counts=True)
        if len(values) > FEW:
            return {}
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + number
        if len(counts) > FEW:
            return {}
    return counts


def _solid(planes: Sequence[np.ndarray] | np.ndarray, background: float) -> float:
    """Returns the share of equal values among neighbours in a row of which neither is background."""
    equal = pairs = 0
    for plane in planes:
        one, other = plane[:, :-1], plane[:, 1:]
        inside = (one != background) & (other != background)
        pairs += int(np.count_nonzero(inside))
        equal += int(np.count_nonzero(inside & (one == other)))
    return equal / pairs if pairs else 0.0


class Neighbours:
    """The volumes that look like images, by their grids: one of them is what a mask is a mask of."""

    def __init__(self) -> None:
        self._paths: dict[object, list[str]] = {}

    def add(self, path: str, of: Placed) -> None:
        """Takes note of an image."""
        insort(self._paths.setdefault(_grid(of), []), path)

    def doubt(self, path: str, of: Placed, content: Content) -> str | None:
        """Returns why the file is probably no image, and whose mask it seems to be; None for an image."""
        if content.share and (whole := self.nearest(path, of)):
            beside = os.path.relpath(whole, os.path.dirname(path)).replace(os.sep, "/")
            return f"looks like a map of probabilities of {beside}: its values are about 0 to 1, most of them near 0"
        if not content.suspicion:
            return None
        if not content.mask:
            return content.suspicion
        neighbour = self.nearest(path, of)
        of_whom = f" of {os.path.relpath(neighbour, os.path.dirname(path)).replace(os.sep, '/')}" if neighbour else ""
        return f"looks like a mask{of_whom}: {content.suspicion}"

    def nearest(self, path: str, of: Placed) -> str:
        """Returns the image on the same grid whose path is most like this one, "" where there is none."""
        return _nearest(path, self._paths.get(_grid(of), []))


def _nearest(path: str, others: Sequence[str]) -> str:
    """Returns the path that begins most like this one and is not it, the first of several; "" where there is none.

    Args:
        others: in their order, in which those that begin alike stand together: thousands are not gone through for each.
    """
    here, behind = bisect_left(others, path), bisect_right(others, path)
    beside = [*others[max(here - 1, 0) : here], *others[behind : behind + 1]]
    alike = max((os.path.commonprefix([path, o]) for o in beside), key=len, default="")
    first = bisect_left(others, alike)
    return next((o for o in (*others[first : first + 1], *others[behind : behind + 1]) if o != path), "")


def _grid(of: Placed) -> tuple[object, ...] | None:
    if of.size is None or of.spacing is None or of.origin is None:
        return None
    return (tuple(of.size), tuple(round(s, 3) for s in of.spacing), tuple(round(o, 1) for o in of.origin))
