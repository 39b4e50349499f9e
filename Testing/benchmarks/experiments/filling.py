"""What a user of the Segment Editor has without HSSL: "Fill between slices" and "Grow from seeds".

Works in a process of its own: ITK's, Slicer's and torch's libraries in one process end in a damaged heap.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

INSIDE, OUTSIDE = 1, 2
MARGIN = 0.1
"""Grow from seeds works in the box around the seeds, grown by this share of its size, as the Segment Editor does."""


def filled(
    volume: np.ndarray, known: Sequence[np.ndarray], axis: int, slices: Sequence[Sequence[int]]
) -> list[dict[str, np.ndarray]]:
    """Returns the masks that both methods make of structures that are known on some slices.

    Args:
        volume: intensities.
        known: for each structure, bool, the structure on its annotated slices and elsewhere False.
        axis: of the array, across the slices.
        slices: the annotated slices of each.
    """
    with tempfile.TemporaryDirectory() as name:
        given, found = Path(name) / "given.npz", Path(name) / "found.npz"
        arrays = {f"slices{n}": np.array(s) for n, s in enumerate(slices)}
        arrays |= {f"known{n}": k for n, k in enumerate(known)}
        arrays |= {"volume": volume, "axis": np.array(axis), "count": np.array(len(known))}
        np.savez(given, allow_pickle=False, **arrays)
        subprocess.run([sys.executable, __file__, given, found], check=True)
        with np.load(found) as masks:
            return [
                {"fill between slices": masks[f"between{n}"], "grow from seeds": masks[f"grown{n}"]}
                for n in range(len(known))
            ]


def _between_slices(known: np.ndarray, axis: int) -> np.ndarray:
    """The structure interpolated between its annotated slices (Albu et al. 2008, as ITK has it)."""
    import itk

    image = itk.image_from_array(known.astype(np.uint8))
    return itk.array_from_image(itk.morphological_contour_interpolator(image, axis=2 - axis)) > 0


def _from_seeds(volume: np.ndarray, known: np.ndarray, axis: int, slices: Sequence[int]) -> np.ndarray:
    """The structure grown from the annotated slices, on which everything else is a seed of the background."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    import slicer

    seeds = np.zeros(known.shape, np.int16)
    plane = np.moveaxis(seeds, axis, 0)
    plane[slices] = np.where(np.moveaxis(known, axis, 0)[slices], INSIDE, OUTSIDE)
    box = _box(known, axis, slices)
    grow = slicer.vtkImageGrowCutSegment()
    images = _image(volume[box].astype(np.float32)), _image(seeds[box])
    grow.SetIntensityVolume(images[0])
    grow.SetSeedLabelVolume(images[1])
    grow.Update()
    grown = np.zeros(known.shape, bool)
    values = vtk_to_numpy(grow.GetOutput().GetPointData().GetScalars())
    grown[box] = values.reshape(grown[box].shape) == INSIDE
    return grown


def _box(known: np.ndarray, axis: int, slices: Sequence[int]) -> tuple[slice, ...]:
    """Across the slices from the first to the last annotated one, within them around the structure; both grown.

    The far background of an annotated slice is a seed itself, so nothing is lost by leaving it out.
    """
    box = []
    for a, length in enumerate(known.shape):
        there = np.flatnonzero(known.any(tuple(b for b in range(3) if b != a)))
        first, last = (min(slices), max(slices)) if a == axis else (int(there[0]), int(there[-1]))
        margin = max(1 if a == axis else 5, round(MARGIN * (last - first + 1)))
        box.append(slice(max(0, first - margin), min(length, last + margin + 1)))
    return tuple(box)


def _image(array: np.ndarray) -> Any:
    import vtk
    from vtkmodules.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True))
    return image


def _main(given: str, found: str) -> None:
    masks: dict[str, np.ndarray] = {}
    with np.load(given) as arrays:
        volume, axis = arrays["volume"], int(arrays["axis"])
        for n in range(int(arrays["count"])):
            known, slices = arrays[f"known{n}"], arrays[f"slices{n}"].tolist()
            masks[f"between{n}"] = _between_slices(known, axis)
            masks[f"grown{n}"] = _from_seeds(volume, known, axis, slices)
    np.savez(found, allow_pickle=False, **masks)


if __name__ == "__main__":
    _main(*sys.argv[1:])
