"""The working grid: LPS-oriented, with the task's spacing, slices first; there and exactly back.

The working grid covers the same box in space as the source: its edges coincide with the source's edges, so that its
spacing is the wanted one up to half a voxel over the whole length. Because both grids share their edges, going back is
a separable interpolation without any rounding of positions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .fingerprint import Fingerprint, clear_slices

T = TypeVar("T")

IN_PLANE_TOLERANCE = 0.05
"""An in-plane axis is resampled when its spacing differs by more than this share from the working spacing."""
THROUGH_PLANE_TOLERANCE = 0.35
"""The same for the slice axis: blurring between thick slices costs more than a mild mismatch of spacing."""


Axes = tuple[int, int, int]
"""For each axis of an LPS-oriented array (z, y, x) the axis of the volume's own array (z, y, x)."""
Flips = tuple[bool, bool, bool]
"""For each of those axes, whether it runs backwards in the volume."""
Box = tuple[slice, slice, slice]
"""A part of an array, z, y, x."""


@dataclass(frozen=True)
class WorkingGrid:
    """How an array on the working grid lies in its source volume.

    Attributes:
        source_size: size of the source, x, y, z.
        axes: for each axis of the LPS-oriented array (z, y, x) the axis of the source array (z, y, x).
        flips: for each of those axes, whether it runs backwards in the source.
        size: size on the working grid, in the order z, y, x.
        slice_axis: axis of the LPS-oriented array that comes first in working arrays.
    """

    source_size: tuple[int, int, int]
    axes: Axes
    flips: Flips
    size: tuple[int, int, int]
    slice_axis: int

    @property
    def oriented_size(self) -> tuple[int, int, int]:
        """Size of the source after reorientation, z, y, x, before resampling."""
        return along(self.source_size, self.axes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of working arrays: slices first."""
        order = slices_first(self.slice_axis)
        return (self.size[order[0]], self.size[order[1]], self.size[order[2]])


def slices_first(slice_axis: int) -> tuple[int, int, int]:
    """Returns the axis order that brings `slice_axis` of a z, y, x array to the front."""
    rest = [axis for axis in (0, 1, 2) if axis != slice_axis]
    return (slice_axis, rest[0], rest[1])


OBLIQUE = 0.2
"""Clear slices are taken along an axis where their normal has at least this component along it (up to 78° away). The
short-axis slices of hearts lie between all three axes, and the nearest one is another from patient to patient."""


def orientation(direction: Sequence[float], slices: tuple[int, int] | None = None) -> tuple[Axes, Flips]:
    """Returns axes and flips (see WorkingGrid) that bring a volume of this direction nearest to LPS.

    Args:
        direction: row-major 3×3 direction cosines, SimpleITK's order; oblique and left-handed ones are welcome.
        slices: an axis of the volume's array and the axis of the oriented one that it must become, both of z, y, x.
    """
    if slices is None:
        letters = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction)[::-1]
        z, y, x = (next(axis for axis, letter in enumerate(letters) if letter in pair) for pair in ("SI", "PA", "LR"))
        return (z, y, x), (letters[z] == "I", letters[y] == "A", letters[x] == "R")
    own, wanted = slices
    first, second = (axis for axis in range(3) if axis != own)
    cosines = _cosines(direction)
    best: tuple[Axes, Flips] = (0, 1, 2), (False, False, False)
    nearness = -math.inf
    for rest in ((first, second), (second, first)):
        left = iter(rest)
        z, y, x = (own if axis == wanted else next(left) for axis in range(3))
        for flips in itertools.product((False, True), repeat=3):
            turned = cosines[:, (z, y, x)] * np.where(flips, -1, 1)
            # A mirror image would have left where other volumes have right.
            if np.linalg.det(turned) > 0 and np.trace(turned) > nearness:
                best, nearness = ((z, y, x), (flips[0], flips[1], flips[2])), float(np.trace(turned))
    return best


def orientation_for(
    size: Sequence[int], spacing: Sequence[float], direction: Sequence[float], slice_axis: int | None
) -> tuple[Axes, Flips]:
    """Returns axes and flips that bring a volume nearest to LPS, its clear slices along those of its task, even if these are
    not quite the nearest axis (see `OBLIQUE`), and a single slice always.

    Args:
        size, spacing, direction: of the volume, SimpleITK's order.
        slice_axis: of z, y, x, along which the task's slices clearly lie; None where they do not.
    """
    own = clear_slices(tuple(size)[::-1], tuple(spacing)[::-1])
    if slice_axis is None or own is None:
        return orientation(direction)
    single = tuple(size)[::-1][own] == 1
    if single or abs(_cosines(direction)[slice_axis, own]) >= OBLIQUE:
        return orientation(direction, (own, slice_axis))
    return orientation(direction)


def common_slice_axis(
    geometries: Sequence[tuple[Sequence[int], Sequence[float], Sequence[float]]],
) -> int | None:
    """Returns the axis of z, y, x that is nearest to the clear slices of all volumes; None where most have none.

    Args:
        geometries: size, spacing and direction of each volume, SimpleITK's order.
    """
    normals = [
        np.abs(_cosines(direction)[:, own])
        for size, spacing, direction in geometries
        if (own := clear_slices(tuple(size)[::-1], tuple(spacing)[::-1])) is not None
    ]
    return int(np.sum(normals, 0).argmax()) if 2 * len(normals) > len(geometries) else None


def along(values: Sequence[T], axes: Axes) -> tuple[T, T, T]:
    """Returns what a volume has along x, y and z of its own, such as its size or spacing, along z, y, x of the oriented array."""
    own = tuple(values)[::-1]
    return (own[axes[0]], own[axes[1]], own[axes[2]])


def _cosines(direction: Sequence[float]) -> np.ndarray:
    """Rows are the patient's axes z, y, x (LPS), columns those of the volume's array."""
    return np.reshape(direction, (3, 3))[::-1, ::-1]


MOST_VOXELS, MOST_TIMES = 2**30, 8
"""A working grid of more voxels than this, and of so many times those of its volume, comes of a wrong spacing."""


def working_grid(
    size: tuple[int, ...],
    spacing: tuple[float, ...],
    direction: tuple[float, ...],
    fingerprint: Fingerprint,
    path: str | Path = "volume",
) -> WorkingGrid:
    """Returns the working grid of a volume, from its geometry alone.

    Raises:
        InputError: it would have absurdly many voxels; the message names `path`.
    """
    axes, flips = orientation_for(size, spacing, direction, fingerprint.clear_slice_axis)
    shape, steps = along(size, axes), along(spacing, axes)
    working = []
    for axis in range(3):
        ratio = steps[axis] / fingerprint.spacing[axis]
        tolerance = THROUGH_PLANE_TOLERANCE if axis == fingerprint.slice_axis else IN_PLANE_TOLERANCE
        same = abs(ratio - 1) <= tolerance
        working.append(shape[axis] if same else max(1, round(shape[axis] * ratio)))
    if math.prod(working) > max(MOST_VOXELS, MOST_TIMES * math.prod(size)):
        raise InputError(
            path,
            f"has {' × '.join(map(str, working[::-1]))} voxels on the working spacing of "
            f"{' × '.join(f'{s:g}' for s in fingerprint.spacing[::-1])} mm; its own spacing or that one must be wrong",
        )
    return WorkingGrid(
        (size[0], size[1], size[2]), axes, flips, (working[0], working[1], working[2]), fingerprint.slice_axis
    )


def to_working(volume: sitk.Image, grid: WorkingGrid) -> np.ndarray:
    """Brings intensities to the working grid: linear, smoothed first along axes that become coarser.

    Args:
        volume: 3D scalar volume with the geometry that `grid` was made from.

    Returns:
        float32 array of shape `grid.shape`.
    """
    array = _oriented(sitk.GetArrayViewFromImage(volume), grid).astype(np.float32)
    if array.shape != grid.size:
        image = sitk.GetImageFromArray(array)
        for axis in range(3):
            factor = array.shape[axis] / grid.size[axis]
            if factor > 1.2 and array.shape[axis] >= 4:  # the recursive filter needs four samples
                # Sigma of the Gaussian that takes away what the coarser grid cannot hold.
                image = sitk.RecursiveGaussian(image, 0.5 * (factor**2 - 1) ** 0.5, False, 0, 2 - axis)
        array = _resampled(image, array.shape, grid.size, sitk.sitkLinear)
    return np.ascontiguousarray(array.transpose(slices_first(grid.slice_axis)))


def labels_to_working(label_map: sitk.Image, grid: WorkingGrid) -> np.ndarray:
    """Brings a label map to the working grid: each voxel takes the label with the largest linear weight there.

    A value that would vanish, such as that of a lesion of one voxel on a coarser grid, keeps a voxel: or the case would
    say that there is none.

    Returns:
        Array of shape `grid.shape` in the label map's own integer type.
    """
    # A copy: without flips, axes and resampling to change, a view would be returned that outlives the image's memory.
    array = np.ascontiguousarray(_oriented(sitk.GetArrayFromImage(label_map), grid))
    if array.shape != grid.size:
        best = np.zeros(grid.size, np.float32)
        labels = np.zeros(grid.size, array.dtype)
        boxes = _boxes(array)
        for value in np.unique(array):
            source, box = _surroundings(boxes.get(int(value)), array.shape, grid.size)
            image = sitk.GetImageFromArray((array[source] == value).astype(np.float32))
            share = _resampled(image, array.shape, grid.size, sitk.sitkLinear, source, box)
            labels[box][share > best[box]] = value
            np.maximum(best[box], share, out=best[box])
        _keep_all_values(array, labels)
        array = labels
    return np.ascontiguousarray(array.transpose(slices_first(grid.slice_axis)))


def _boxes(array: np.ndarray) -> dict[int, Box]:
    """Returns where each value but 0 lies."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputePerimeterOff()
    shapes.Execute(sitk.GetImageFromArray(array))
    found: dict[int, Box] = {}
    for value in shapes.GetLabels():
        x, y, z, width, height, depth = shapes.GetBoundingBox(value)
        found[value] = (slice(z, z + depth), slice(y, y + height), slice(x, x + width))
    return found


def _surroundings(box: Box | None, shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[Box, Box]:
    """Returns a box (None: all) with the voxels beside it, and the part of the working grid where it can have any weight."""
    source, target = [], []
    for own, length, count in zip(box or (slice(0, n) for n in shape), shape, wanted, strict=True):
        first, last = max(0, own.start - 1), min(length, own.stop + 1)
        source.append(slice(first, last))
        step = length / count
        target.append(slice(max(0, int(first / step) - 1), min(count, int(last / step) + 2)))
    return (source[0], source[1], source[2]), (target[0], target[1], target[2])


def _keep_all_values(source: np.ndarray, labels: np.ndarray) -> None:
    """Gives each value of the source that `labels` (changed) lacks the voxel where it lies, or the nearest free one."""
    values, counts = np.unique(labels, return_counts=True)
    left = dict(zip(values.tolist(), counts.tolist(), strict=True))
    offsets = sorted(itertools.product((0, -1, 1), repeat=3), key=lambda offset: sum(map(abs, offset)))
    for value in sorted(set(np.unique(source).tolist()) - left.keys()):
        places = np.argwhere(source == value)
        middle = (places[len(places) // 2] + 0.5) * labels.shape // source.shape
        for offset in offsets:
            near = np.clip(middle + offset, 0, np.array(labels.shape) - 1).astype(int)
            voxel = (int(near[0]), int(near[1]), int(near[2]))
            there = int(labels[voxel])
            if left[there] > 1:  # else it is another value's last one
                left[there] -= 1
                labels[voxel], left[value] = value, 1
                break


def labels_to_source(labels: np.ndarray, grid: WorkingGrid, source: sitk.Image) -> sitk.Image:
    """Puts labels, already resampled to the source's voxels, into the source's geometry.

    Args:
        labels: array of shape `grid.oriented_size` in z, y, x order.
        source: the volume whose size, origin, spacing and direction the result takes over exactly.
    """
    image = sitk.GetImageFromArray(to_source_order(labels, grid))
    image.CopyInformation(source)
    return image


def to_source_order(array: np.ndarray, grid: WorkingGrid) -> np.ndarray:
    """Undoes the reorientation: an array of shape `grid.oriented_size` becomes the source's, z, y, x."""
    array = np.flip(array, tuple(axis for axis in range(3) if grid.flips[axis]))
    return np.ascontiguousarray(array.transpose(np.argsort(grid.axes)))


def _oriented(array: np.ndarray, grid: WorkingGrid) -> np.ndarray:
    return np.flip(array.transpose(grid.axes), tuple(axis for axis in range(3) if grid.flips[axis]))


def _resampled(
    image: sitk.Image,
    shape: tuple[int, ...],
    wanted: tuple[int, ...],
    interpolator: int,
    source: Box | None = None,
    target: Box | None = None,
) -> np.ndarray:
    """Brings voxels from a grid of one shape to another's (z, y, x); of the boxes `source` and `target` of them, if given."""
    source = source or (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    target = target or (slice(0, wanted[0]), slice(0, wanted[1]), slice(0, wanted[2]))
    steps = [shape[axis] / wanted[axis] for axis in (2, 1, 0)]
    image.SetOrigin([float(part.start) for part in source[::-1]])
    image.SetSpacing((1.0, 1.0, 1.0))
    out = sitk.Resample(
        image,
        [part.stop - part.start for part in target[::-1]],
        sitk.Transform(3, sitk.sitkIdentity),
        interpolator,
        [step / 2 - 0.5 + part.start * step for step, part in zip(steps, target[::-1], strict=True)],
        steps,
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        0.0,
        image.GetPixelID(),
        True,  # nearest neighbour beyond the outermost voxel centres
    )
    return sitk.GetArrayFromImage(out)
