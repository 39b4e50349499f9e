"""Slice planes: along which axes of a working array a 2D network sees slices.

A network of slices can learn the slices along all three axes of a near-isotropic volume, and the mean of what it finds in
each is better than any of them (Perslev et al., "One network to segment them all", MICCAI 2019).
"""

from __future__ import annotations

import numpy as np

from .fingerprint import Fingerprint
from .grid import slices_first
from .normalisation import ANISOTROPY

Planes = tuple[int, ...]
"""Axes of a working array; 0 is the task's own slice axis."""


def planes_of(fingerprint: Fingerprint, spatial_dims: int, wanted: str) -> Planes:
    """Returns the axes along which slices are learned: the first one, and every other that is about as coarse.

    Along a finer axis the slices would have coarse pixels, which says less than the slices along the coarse one. Where
    volumes have one slice, there are lines along the others.

    Args:
        spatial_dims: of the network; in 3D there are no slices, and the one axis stands for the volume as it is.
        wanted: "all", or "one" for the first axis alone.
    """
    if spatial_dims == 3 or wanted == "one" or fingerprint.median_size[fingerprint.slice_axis] == 1:
        return (0,)
    steps = [fingerprint.spacing[axis] for axis in slices_first(fingerprint.slice_axis)]
    return tuple(axis for axis in range(3) if axis == 0 or steps[axis] * ANISOTROPY >= max(steps))


def in_plane(shape: tuple[int, int, int], axis: int) -> tuple[int, int, int]:
    """Returns the shape of a working array whose slices lie along `axis`: slices, rows, columns."""
    rest = [length for a, length in enumerate(shape) if a != axis]
    return (shape[axis], rest[0], rest[1])


def slices_along(array: np.ndarray, axis: int) -> np.ndarray:
    """Returns a view of a working array with `axis` first and the other two in their order."""
    return np.moveaxis(array, axis, 0)


def left_right_of(fingerprint: Fingerprint, axis: int) -> int:
    """Returns along which axis of slices, rows and columns (0, 1, 2) left and right lie in slices along a working axis.

    Example:
        >>> of = Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(9, 9, 9))
        >>> left_right_of(of, 0), left_right_of(of, 2)  # axial slices; sagittal ones, where they lie across
        (2, 0)
    """
    x = slices_first(fingerprint.slice_axis).index(2)
    return 0 if x == axis else 1 + [a for a in range(3) if a != axis].index(x)
