"""On which slices somebody has painted, when nobody has watched: told from the painted voxels alone."""

from collections.abc import Generator

import numpy

from ..steps import atOnce, slabs

Plane = tuple[int, int]
"""A slice: axis of the array (k, j, i → 0, 1, 2) and index along it."""
ALONE = 0.5
"""Share of a slice's painted voxels without a painted neighbour before and behind, from which it was painted as a slice."""
ALL = 0.99
"""Share of the voxels that the slices of one orientation must hold to explain everything."""
GAPS = 0.7
"""Share of the slices from the first to the last up to which they are taken for several stacks with gaps in between."""
VOXELS_AT_ONCE = 2**20
"""Looked at in one step."""
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
        alone.append((yield from _alone(rest, axis)))
    planes: set[Plane] = set()
    first = None
    while rest.any():
        counts, found = [], []
        for axis in range(3):
            counts.append((yield from _counts(rest, axis)))
            single = yield from _counts(rest, axis, alone[axis])
            found.append(numpy.flatnonzero((counts[axis] > 0) & (single >= ALONE * counts[axis])).tolist())
        total = counts[0].sum()
        held = [int(counts[axis][found[axis]].sum()) for axis in range(3)]
        whole = [axis for axis in range(3) if found[axis] and held[axis] >= ALL * total]
        if whole:
            axis = min(whole, key=lambda a: (round(_density(found[a]), 2), a != usualAxis))
        elif any(found):
            axis = max(range(3), key=lambda a: (held[a], a == usualAxis))
        else:
            there = [numpy.flatnonzero(own).tolist() for own in counts]
            sparsest = min(range(3), key=lambda a: _density(there[a]))
            withGaps = _density(there[sparsest]) <= GAPS
            axis = sparsest if withGaps else _stackAxis(counts, usualAxis if first is None else first)
            found[axis] = there[axis]
        first = axis if first is None else first
        planes.update((axis, index) for index in found[axis])
        numpy.moveaxis(rest, axis, 0)[found[axis]] = False
        yield
    return sorted(planes)


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


def _counts(rest: numpy.ndarray, axis: int, alone: numpy.ndarray | None = None) -> Generator[None, None, numpy.ndarray]:
    """How many voxels each slice across an axis has; those that are `alone` only, where it is given."""
    found = numpy.zeros(rest.shape[axis], int)
    others = tuple(a for a in range(3) if a != axis)
    for slab in slabs(rest.shape, VOXELS_AT_ONCE):
        here = rest[slab] if alone is None else rest[slab] & alone[slab]
        found[slab if axis == 0 else slice(None)] += numpy.count_nonzero(here, others)
        yield
    return found


def _density(indices: list[int]) -> float:
    return len(indices) / (indices[-1] - indices[0] + 1)


def _stackAxis(counts: list[numpy.ndarray], usualAxis: int) -> int:
    """The axis along which a block ends most sharply: its outermost slices are as large as those in the middle."""
    sharpness = []
    for own in counts:
        there = own[own > 0]
        sharpness.append(min(there[0], there[-1]) / there.max())
    best = max(range(3), key=lambda a: sharpness[a])
    return best if sharpness[best] > SHARPER * sharpness[usualAxis] else usualAxis
