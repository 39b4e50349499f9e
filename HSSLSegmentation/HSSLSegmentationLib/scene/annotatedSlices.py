"""On which slices somebody has painted, when nobody has watched: told from the painted voxels alone."""

from collections.abc import Generator

import numpy

from ..steps import atOnce, slabs

Plane = tuple[int, int]
"""A slice: axis of the array (k, j, i → 0, 1, 2) and index along it."""
ALONE = 2.0
"""How often a painted voxel without a painted neighbour before and behind counts more, for the slice it lies in."""
GAPS = 2.0
"""How often more the slices of an orientation count of which nearly all, from the first to the last, have nothing."""
USUAL, AGAIN = 1.1, 2.0
"""How many times as much a slice counts that is of the usual orientation, or of one of which another slice was painted."""
VOXELS_AT_ONCE = 2**20
"""Looked at in one step."""


def paintedSlices(painted: numpy.ndarray, usualAxis: int = 0) -> list[Plane]:
    """Returns the slices, of any of the three orientations, on which the painted voxels were painted.

    As few slices as can be explain all that is painted: a few cross-sections are many slices of another orientation.
    Painting happens in slice views, and mostly with gaps: what was painted on an axial slice has no painted voxel above
    or below, however many sagittal slices it crosses. And who has painted on one axial slice will have on others.

    Args:
        painted: bool, k, j, i.
        usualAxis: the orientation that counts where nothing else tells it.
    """
    return atOnce(findingSlices(painted, usualAxis))


def findingSlices(painted: numpy.ndarray, usualAxis: int = 0) -> Generator[None, None, list[Plane]]:
    """Does what `paintedSlices` does in steps."""
    rest = numpy.array(painted, bool)
    counts, worth = [], []
    for axis in range(3):
        there = yield from _counts(rest, axis)
        single = yield from _counts((yield from _alone(rest, axis)), axis)
        counts.append(there)
        usual = USUAL if axis == usualAxis else 1.0
        worth.append(usual * (1 + GAPS * _empty(there)) * (1 + ALONE * single / numpy.maximum(there, 1)))
    planes: list[Plane] = []
    while counts[0].any():
        values = [counts[axis] * worth[axis] for axis in range(3)]
        axis = max(range(3), key=lambda a: values[a].max())
        index = int(values[axis].argmax())
        if not any(plane[0] == axis for plane in planes):
            worth[axis] *= AGAIN
        planes.append((axis, index))
        plane = numpy.moveaxis(rest, axis, 0)[index]
        for along, other in enumerate(a for a in range(3) if a != axis):
            counts[other] -= numpy.count_nonzero(plane, 1 - along)
        counts[axis][index] = 0
        plane[...] = False
        yield
    return sorted((yield from _needed(painted, planes)))


def _needed(painted: numpy.ndarray, planes: list[Plane]) -> Generator[None, None, list[Plane]]:
    """Leaves out the slices of which all that is painted lies on others too, the last ones first."""
    bare = [numpy.ones(length, bool) for length in painted.shape]
    for axis, index in planes:
        bare[axis][index] = False
    kept = []
    for axis, index in reversed(planes):
        first, second = (bare[a] for a in range(3) if a != axis)
        if numpy.moveaxis(painted, axis, 0)[index][first][:, second].any():
            kept.append((axis, index))
        else:
            bare[axis][index] = True
        yield
    return kept


def _alone(painted: numpy.ndarray, axis: int) -> Generator[None, None, numpy.ndarray]:
    """Where a voxel is painted, and neither the one before nor the one behind it along the axis."""
    found = painted.copy()
    yield
    for slab in slabs(painted.shape, VOXELS_AT_ONCE):
        # Along the first axis, a neighbour can lie in another slab.
        start, stop = (slab.start, slab.stop) if axis == 0 else (0, painted.shape[axis])
        for shift in (-1, 1):
            low, high = max(start, -shift), min(stop, painted.shape[axis] - shift)
            here, there = ([slab, slice(None), slice(None)] for _side in range(2))
            here[axis], there[axis] = slice(low, high), slice(low + shift, high + shift)
            found[tuple(here)] &= ~painted[tuple(there)]
        yield
    return found


def _empty(counts: numpy.ndarray) -> float:
    """The share of slices without anything, from the first to the last that has something."""
    there = numpy.flatnonzero(counts)
    return 1 - len(there) / (there[-1] - there[0] + 1) if len(there) else 0.0


def _counts(painted: numpy.ndarray, axis: int) -> Generator[None, None, numpy.ndarray]:
    """How many voxels each slice across an axis has."""
    found = numpy.zeros(painted.shape[axis], int)
    others = tuple(a for a in range(3) if a != axis)
    for slab in slabs(painted.shape, VOXELS_AT_ONCE):
        found[slab if axis == 0 else slice(None)] += numpy.count_nonzero(painted[slab], others)
        yield
    return found
