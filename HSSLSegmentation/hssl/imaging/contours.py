"""Closed planar contours to voxels: holes and keyholes, several on a slice, between slices, on oblique volumes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

_SAME_PLANE = 0.1
"""Contours within this part of a slice distance are on one plane, and on a slice."""
_ON_CONTOUR = 1e-2
"""A voxel whose centre is nearer to a contour than this part of its size is on it: coordinates are rounded text."""
_TILT = 0.25
"""A contour that rises by more than this part of a slice distance does not lie in the slices."""
_BEYOND = 0.25
"""Of contours across the slices so much is looked at beyond the image, in image lengths: the borders of what is cut."""


@dataclass(frozen=True)
class Contour:
    """A closed polygon: points in mm, LPS, shape (n, 3)."""

    points: np.ndarray
    exclusive: bool = False
    """Its inside changes sides with every other contour that it shares points with (CLOSEDPLANAR_XOR)."""


def filled(contours: Sequence[Contour], like: sitk.Image) -> np.ndarray:
    """Returns the voxels whose centres lie in the contours, as a boolean array (z, y, x) on the grid of `like`.

    A contour inside another one is a hole, one inside a hole is solid again; contours that cross are joined. A voxel
    on a contour belongs to the structure. A keyhole (a narrow channel from an outer to an inner outline) is a hole.
    Slices between two planes of contours get the shape between theirs, by interpolation of signed distances (Raya and
    Udupa 1990); planes further apart than one and a half of their usual distance enclose nothing between them. The
    first and last plane stand for half of that distance outwards. Contours need not lie in the image's slices.

    Example:
        >>> square = Contour(np.array([[1.0, 1, 2], [5, 1, 2], [5, 5, 2], [1, 5, 2]]))
        >>> int(filled([square], sitk.Image(8, 8, 4, sitk.sitkUInt8)).sum())
        25
    """
    contours = _distinct([c for c in contours if len(c.points) > 2])
    if not contours:
        return np.zeros(like.GetSize()[::-1], bool)
    to_index = np.linalg.inv(_axes(like))
    indices = [(c.points - like.GetOrigin()) @ to_index.T for c in contours]
    if max(float(np.ptp(i[:, 2])) for i in indices) <= _TILT:
        return _in_slices(indices, [c.exclusive for c in contours], like.GetSize(), like.GetSpacing())
    return _across_slices(contours, like)


def _distinct(contours: list[Contour]) -> list[Contour]:
    """Drops contours that are there twice."""
    return list({c.points.tobytes(): c for c in contours}.values())


def _axes(image: sitk.Image) -> np.ndarray:
    return np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())


def _in_slices(
    indices: Sequence[np.ndarray], exclusive: Sequence[bool], size: tuple[int, ...], spacing: tuple[float, ...]
) -> np.ndarray:
    """Fills polygons whose points are continuous voxel indices, each at one height."""
    columns, rows, slices = size
    heights = np.array([float(np.median(i[:, 2])) for i in indices])
    planes: list[list[int]] = []
    for number in np.argsort(heights, kind="stable"):
        if planes and heights[number] - heights[planes[-1][0]] <= _SAME_PLANE:
            planes[-1].append(int(number))
        else:
            planes.append([int(number)])
    at = np.array([float(np.mean(heights[p])) for p in planes])
    shapes = [_polygons([indices[n][:, :2] for n in p], [exclusive[n] for n in p], (rows, columns)) for p in planes]
    steps = np.diff(at)
    usual = float(np.sort(steps)[(len(steps) - 1) // 2]) if len(steps) else 1.0
    result = np.zeros((slices, rows, columns), bool)
    distances: dict[int, np.ndarray] = {}

    def distance(plane: int) -> np.ndarray:
        if plane not in distances:
            distances[plane] = signed_distance(shapes[plane], spacing[1::-1])
        return distances[plane]

    first, last = max(int(np.ceil(at[0] - usual)), 0), min(int(np.floor(at[-1] + usual)), slices - 1)
    for number in range(first, last + 1):
        nearest = int(np.abs(at - number).argmin())
        above = int(np.searchsorted(at, number))
        if abs(at[nearest] - number) <= _SAME_PLANE:
            result[number] = shapes[nearest]
        elif 0 < above < len(at) and at[above] - at[above - 1] <= 1.5 * usual:
            share = (number - at[above - 1]) / (at[above] - at[above - 1])
            result[number] = (1 - share) * distance(above - 1) + share * distance(above) < 0
        elif abs(number - at[nearest]) < 0.5 * usual - 1e-6:
            result[number] = shapes[nearest]
    return result


def _across_slices(contours: Sequence[Contour], like: sitk.Image) -> np.ndarray:
    """Fills contours in a volume of their own, whose slices are their planes, and brings that onto the image's grid."""
    largest = max(contours, key=lambda c: float(np.ptp(c.points, axis=0).max()))
    normal = np.linalg.svd(largest.points - largest.points.mean(0))[2][2]
    order = np.argsort(np.abs(normal))
    row = np.cross(normal, np.eye(3)[order[0]])
    row /= np.linalg.norm(row)
    axes = np.column_stack([row, np.cross(normal, row), normal])
    flat = [c.points @ axes for c in contours]
    heights = np.unique(np.round([np.median(p[:, 2]) for p in flat], 3))
    finest = min(like.GetSpacing())
    gap = float(np.sort(np.diff(heights))[(len(heights) - 2) // 2]) if len(heights) > 1 else finest
    # Twice as fine as the image: what is interpolated again loses nothing that can be seen.
    steps = np.array([finest / 2, finest / 2, min(gap, finest) if len(heights) > 1 else finest / 2])
    # Not much further than the image goes, whatever lies beyond it.
    corners = np.array(list(itertools.product(*((-_BEYOND * n, (1 + _BEYOND) * n) for n in like.GetSize()))))
    corners = (corners @ _axes(like).T + like.GetOrigin()) @ axes
    low = np.maximum(np.min([p.min(0) for p in flat], axis=0), corners.min(0)) - 3 * steps - [0, 0, gap]
    high = np.minimum(np.max([p.max(0) for p in flat], axis=0), corners.max(0)) + 3 * steps + [0, 0, gap]
    if (low > high).any():
        return np.zeros(like.GetSize()[::-1], bool)
    low[2] = heights[0] - np.ceil((heights[0] - low[2]) / steps[2]) * steps[2]
    size = np.ceil((high - low) / steps).astype(int) + 1
    inside = _in_slices(
        [(p - low) / steps for p in flat], [c.exclusive for c in contours], tuple(size.tolist()), tuple(steps.tolist())
    )
    own = sitk.GetImageFromArray(signed_distance(inside, steps[::-1].tolist()).astype(np.float32))
    own.SetSpacing(steps.tolist())
    own.SetOrigin((axes @ low).tolist())
    own.SetDirection(axes.ravel().tolist())
    brought = sitk.Resample(own, like, sitk.Transform(), sitk.sitkLinear, 1.0, sitk.sitkFloat32)
    return sitk.GetArrayViewFromImage(brought) < 0


def signed_distance(inside: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Returns the distance of each voxel to the border of a mask, negative inside; half a voxel on either side of it."""
    from scipy.ndimage import distance_transform_edt

    if not inside.any() or inside.all():
        return np.full(inside.shape, -1e6 if inside.any() else 1e6)
    half = 0.5 * min(spacing)
    outward = distance_transform_edt(~inside, spacing) - half
    return np.where(inside, half - distance_transform_edt(inside, spacing), outward)


def _polygons(polygons: Sequence[np.ndarray], exclusive: Sequence[bool], shape: tuple[int, int]) -> np.ndarray:
    """Fills the polygons of one plane (columns and rows as continuous indices)."""
    import matplotlib  # noqa: F401 - the whole first: a thread could meet a part that another thread has half loaded
    from matplotlib.path import Path

    result = np.zeros(shape, bool)
    order = sorted(range(len(polygons)), key=lambda n: -_area(polygons[n]))
    paths = [Path(polygons[n]) for n in range(len(polygons))]
    for rank, number in enumerate(order):
        inside, on = _classified(polygons[number], paths[number], shape)
        around = sum(bool(paths[outer].contains_points(polygons[number]).all()) for outer in order[:rank])
        if exclusive[number]:
            result ^= inside | on
        elif around % 2:
            result &= ~inside | on
        else:
            result |= inside | on
    return result


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _classified(polygon: np.ndarray, path: object, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns which pixel centres are inside (even-odd rule) and which are on the polygon."""
    inside, on = np.zeros(shape, bool), np.zeros(shape, bool)
    low = np.maximum(np.floor(polygon.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(polygon.max(0)).astype(int), [shape[1] - 1, shape[0] - 1])
    if (low > high).any():
        return inside, on
    x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    centres = np.column_stack([x.ravel(), y.ravel()])
    box = (slice(low[1], high[1] + 1), slice(low[0], high[0] + 1))
    inside[box] = path.contains_points(centres).reshape(x.shape)  # type: ignore[attr-defined]
    for begin, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        _mark(on, begin, end)
    return inside & ~on, on


def _mark(on: np.ndarray, begin: np.ndarray, end: np.ndarray) -> None:
    """Marks the pixel centres on the edge between two points."""
    along = int(np.abs(end - begin).argmax())
    a, b = (begin, end) if begin[along] <= end[along] else (end, begin)
    last = on.shape[1 - along] - 1
    steps = np.arange(max(np.ceil(a[along] - _ON_CONTOUR), 0), min(np.floor(b[along] + _ON_CONTOUR), last) + 1)
    length = b[along] - a[along]
    share = np.clip((steps - a[along]) / length, 0, 1) if length > 0 else np.zeros(len(steps))
    across = a[1 - along] + share * (b[1 - along] - a[1 - along])
    near = np.abs(across - np.rint(across)) <= _ON_CONTOUR
    hits = np.empty((int(near.sum()), 2), int)
    hits[:, along], hits[:, 1 - along] = steps[near], np.rint(across[near])
    hits = hits[((hits >= 0) & (hits < [on.shape[1], on.shape[0]])).all(1)]
    on[hits[:, 1], hits[:, 0]] = True
