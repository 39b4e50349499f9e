"""The mean of what a 2D network finds in several slice planes of a volume, with bounded memory.

Slices of the first plane are predicted as they are asked for, slab by slab. Those of the other planes run across all slabs:
they are predicted beforehand and wait in a temporary file, so that memory holds one slab whatever the volume's size.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ..errors import OutputError
from ..events import Stop, Stopped, never
from ..preprocessing.planes import in_plane, slices_along
from .inference import Segmenter, slab_thickness

SLAB_MEGABYTES = 512
"""Bound on the probabilities of a slab, where nobody says another one."""

OfSlices = Callable[[int, int], Tensor]
"""Gives the class probabilities of working slices, first to last (exclusive): classes × slices × rows × columns."""


@contextmanager
def plane_mean(
    segmenter: Segmenter,
    array: np.ndarray,
    low: float,
    stop: Stop = never,
    tell: Callable[[int], object] | None = None,
) -> Iterator[OfSlices]:
    """Yields a function that gives the probabilities of a range of slices, averaged over the segmenter's planes.

    Args:
        array: normalised volume on the working grid, slices × rows × columns.
        low: value beyond the volume.
        stop: asked before every few slices.
        tell: is told how many slices of all planes are done (see `slices_in_planes`).

    Raises:
        Stopped: `stop` asked for it.
        OutputError: the temporary file cannot be written.
    """
    done = 0

    def parts(view: np.ndarray, first: int, last: int, axis: int = 0) -> Iterator[Tensor]:
        nonlocal done
        # A 3D network computes a margin around what it is asked for, so it is asked for a whole slab.
        volumes = segmenter.description.network.spatial_dims == 3
        step = last - first if volumes else segmenter.slices_at_once(view.shape[1:])
        for begin in range(first, last, step):
            if stop():
                raise Stopped
            yield segmenter.probabilities(view, low, begin, min(begin + step, last), axis)
            done += min(begin + step, last) - begin
            if tell is not None:
                tell(done)

    if segmenter.planes == (0,):
        yield lambda first, last: torch.cat(list(parts(array, first, last)), 1)
        return
    with tempfile.TemporaryFile() as file:
        kept: list[np.ndarray] = []
        for axis in segmenter.planes[1:]:
            view = slices_along(array, axis)
            count, rows, columns = view.shape
            shape = (count, segmenter.description.out_channels, rows, columns)
            stored = _kept(file, parts(view, 0, count, axis), shape)
            kept.append(np.moveaxis(stored.transpose(1, 0, 2, 3), 1, 1 + axis))

        def of_slices(first: int, last: int) -> Tensor:
            total = torch.cat(list(parts(array, first, last)), 1)
            for one in kept:
                total += torch.from_numpy(np.asarray(one[:, first:last], np.float32))
            return total / len(segmenter.planes)

        try:
            yield of_slices
        finally:
            kept.clear()  # or the file could not go, on some systems


def _kept(file: IO[bytes], parts: Iterator[Tensor], shape: tuple[int, int, int, int]) -> np.ndarray:
    """Appends the probabilities of the slices of a plane to the file; returns them as they lie there, slices first.

    Raises:
        OutputError: the file cannot be written.
    """
    begin = file.tell()
    for part in parts:
        try:
            file.write(part.transpose(0, 1).half().contiguous().numpy().tobytes())
            file.flush()
        except OSError as error:
            raise OutputError(
                Path(tempfile.gettempdir()), f"cannot be written: {error.strerror or error}",
                "Predict in one plane only, or free some space.",
            ) from error  # fmt: skip
    return np.memmap(file, np.float16, "r", begin, shape)


def slices_in_planes(segmenter: Segmenter, shape: tuple[int, int, int]) -> int:
    """Returns how many slices a volume of this working shape has in all planes of the segmenter."""
    return sum(in_plane(shape, axis)[0] for axis in segmenter.planes)


def slabs(segmenter: Segmenter, shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yields the first and last (exclusive) slices of the slabs of a working array, whose probabilities fit into memory.

    A 3D network computes a margin around what it is asked for, so it is asked for as many slices as its patches have.
    """
    thickness = slab_thickness(segmenter.description.out_channels, shape, SLAB_MEGABYTES)
    if segmenter.description.network.spatial_dims == 3:
        thickness = max(thickness, segmenter.description.patch_size[0])
    for first in range(0, shape[0], thickness):
        yield first, min(first + thickness, shape[0])
