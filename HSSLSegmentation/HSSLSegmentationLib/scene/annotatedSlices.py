"""What a user has annotated: which slices count as complete, and what a correction of an applied result adds to it."""

from dataclasses import dataclass

import numpy

Plane = tuple[int, int]
"""A slice: axis of the array (k, j, i → 0, 1, 2) and index along it."""


@dataclass(frozen=True)
class Annotation:
    """Label map of what is painted (0: not painted), and the slices on which what is not painted is background."""

    labels: numpy.ndarray
    planes: list[Plane]


def paintedSlices(painted: numpy.ndarray) -> list[Plane]:
    """Returns the fewest slices, of any of the three orientations, that hold all painted voxels, found greedily.

    Painting happens in slice views, so these are the slices that were painted on: a contour in an axial slice crosses
    many sagittal ones, but it takes only one axial slice to hold it.
    """
    places = numpy.argwhere(painted)
    planes = []
    while len(places):
        counts = [numpy.bincount(places[:, axis]) for axis in range(3)]
        axis = max(range(3), key=lambda a: counts[a].max())
        index = int(counts[axis].argmax())
        planes.append((axis, index))
        places = places[places[:, axis] != index]
    return sorted(planes)


def corrected(before: Annotation, applied: numpy.ndarray, present: numpy.ndarray) -> Annotation:
    """Returns the annotation after a result was applied and then corrected by hand.

    The applied result is not annotation: only the slices that were changed since then are, and those completely, since
    the user has seen and mended them.

    Args:
        before: what the result was learned from.
        applied: the segments just after it was applied.
        present: the segments now.
    """
    labels = before.labels.copy()
    planes = paintedSlices(present != applied)
    for axis, index in planes:
        numpy.moveaxis(labels, axis, 0)[index] = numpy.moveaxis(present, axis, 0)[index]
    return Annotation(labels, sorted({*before.planes, *planes}))


def isCorrection(before: Annotation, applied: numpy.ndarray, present: numpy.ndarray) -> bool:
    """Tells whether the segments are the applied result with changes; otherwise it was undone."""
    changes = numpy.count_nonzero(present != applied)
    return bool(changes < numpy.count_nonzero(present != before.labels))
