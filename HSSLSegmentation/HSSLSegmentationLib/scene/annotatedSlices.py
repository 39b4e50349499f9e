"""On which slices somebody has painted, when nobody has watched: told from the painted voxels alone."""

from collections.abc import Generator

import numpy

from ..steps import atOnce

Plane = tuple[int, int]
"""A slice: axis of the array (k, j, i → 0, 1, 2) and index along it."""
ALONE = 0.5
"""Share of a slice's painted voxels without a painted neighbour before and behind, from which it was painted as a slice."""
ALL = 0.99
"""Share of the voxels that the slices of one orientation must hold to explain everything."""
GAPS = 0.7
"""Share of the slices from the first to the last up to which they are taken for several stacks with gaps in between."""
SHARPER = 1.25
"""How much sharper the ends along one axis must be than along the usual one, for a block to be a stack along it."""


def paintedSlices(painted: numpy.ndarray, usualAxis: int = 0) -> list[Plane]:
    """Returns the slices, of any of the three orientations, on which the painted voxels were painted.

    Painting happens in slice views, and mostly with gaps: what was painted on an axial slice has no painted voxel above
    or below, however many sagittal slices it crosses. Where one orientation explains everything, it is the one; of
    several such, that with the widest gaps, or else the usual one. A block without gaps is a stack along the axis on
    which its ends are cut sharply.

    Args:
        painted: bool, k, j, i.
        usualAxis: the orientation that counts where nothing else tells it.
    """
    return atOnce(findingSlices(painted, usualAxis))


def findingSlices(painted: numpy.ndarray, usualAxis: int = 0) -> Generator[None, None, list[Plane]]:
    """Does what `paintedSlices` does in steps."""
    rest = numpy.array(painted, bool)
    alone = []
    for axis in range(3):
        alone.append(_alone(rest, axis))
        yield
    planes: set[Plane] = set()
    first = None
    while rest.any():
        found = []
        for axis in range(3):
            found.append(_slices(rest, alone[axis], axis))
            yield
        total = numpy.count_nonzero(rest)
        whole = [axis for axis in range(3) if found[axis] and _held(rest, axis, found[axis]) >= ALL * total]
        if whole:
            axis = min(whole, key=lambda a: (round(_density(found[a]), 2), a != usualAxis))
        elif any(found):
            axis = max(range(3), key=lambda a: (_held(rest, a, found[a]), a == usualAxis))
        else:
            there = [numpy.flatnonzero(rest.any(_others(a))).tolist() for a in range(3)]
            sparsest = min(range(3), key=lambda a: _density(there[a]))
            withGaps = _density(there[sparsest]) <= GAPS
            axis = sparsest if withGaps else _stackAxis(rest, usualAxis if first is None else first)
            found[axis] = there[axis]
        first = axis if first is None else first
        planes.update((axis, index) for index in found[axis])
        numpy.moveaxis(rest, axis, 0)[found[axis]] = False
        yield
    return sorted(planes)


def _others(axis: int) -> tuple[int, int]:
    first, second = (a for a in range(3) if a != axis)
    return first, second


def _alone(painted: numpy.ndarray, axis: int) -> numpy.ndarray:
    """Where a voxel is painted, and neither the one before nor the one behind it along the axis."""
    along = numpy.moveaxis(painted, axis, 0)
    found = along.copy()
    found[1:] &= ~along[:-1]
    found[:-1] &= ~along[1:]
    return numpy.moveaxis(found, 0, axis)


def _slices(rest: numpy.ndarray, alone: numpy.ndarray, axis: int) -> list[int]:
    counts = numpy.count_nonzero(rest, _others(axis))
    single = numpy.count_nonzero(rest & alone, _others(axis))
    return numpy.flatnonzero((counts > 0) & (single >= ALONE * counts)).tolist()


def _held(rest: numpy.ndarray, axis: int, indices: list[int]) -> int:
    return int(numpy.count_nonzero(numpy.moveaxis(rest, axis, 0)[indices]))


def _density(indices: list[int]) -> float:
    return len(indices) / (indices[-1] - indices[0] + 1)


def _stackAxis(rest: numpy.ndarray, usualAxis: int) -> int:
    """The axis along which a block ends most sharply: its outermost slices are as large as those in the middle."""
    sharpness = []
    for axis in range(3):
        counts = numpy.count_nonzero(rest, _others(axis))
        there = counts[counts > 0]
        sharpness.append(min(there[0], there[-1]) / there.max())
    best = max(range(3), key=lambda a: sharpness[a])
    return best if sharpness[best] > SHARPER * sharpness[usualAxis] else usualAxis
