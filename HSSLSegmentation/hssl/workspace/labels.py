"""The label map of an image of the catalogue, in whatever form it lies: values are those of the task's classes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..imaging.formats import is_volume, stem_of, suffix_of
from .catalogue import Catalogue, Image, LabelClass

if TYPE_CHECKING:
    import SimpleITK as sitk

    from ..imaging.labels import Say


def read_label(catalogue: Catalogue, image: Image, like: sitk.Image, say: Say = lambda text: None) -> sitk.Image:
    """Reads the label of an image.

    A label file with several frames gives the frame of its image (M&Ms: a 4D scan with a 4D label). Where a file names
    its segments (Slicer's, DICOM SEG, RTSTRUCT), they are the classes of those names, whatever their values. A folder
    of masks is joined: the file `liver.nii.gz` is where the class "liver" is (TotalSegmentator). Where masks overlap,
    the later class has the voxel, as the upper one of a scene's segments.

    Args:
        catalogue: tells where the label is, and the classes.
        image: its record, with a label.
        like: the image's voxels; a label on another grid is refused.
        say: told what was rounded or left out, and where masks overlap.

    Returns:
        A 3D image of 8- or 16-bit unsigned integers on exactly the grid of `like`.

    Raises:
        InputError: as `imaging.labels.read_label_map`; also a folder of masks none of which is a class.

    Example:
        >>> volume = read_volume(catalogue.image_path(image), image.series, image.frame)  # doctest: +SKIP
        >>> label_map = read_label(catalogue, image, volume)  # doctest: +SKIP
    """
    from ..imaging.labels import read_label_map
    from ..imaging.volumes import read_header

    path = catalogue.label_path(image)
    if path is None:
        raise InputError(image.image, "has no label")
    if path.is_dir():
        return _joined(path, catalogue.task(image.task).classes, like, say)
    source = catalogue.image_path(image)
    # A NIfTI may say twice where it lies, and its label may have been placed by the other of the two.
    header = read_header(source) if suffix_of(source) in (".nii", ".nii.gz", ".hdr") else None
    classes = catalogue.task(image.task).classes
    return read_label_map(path, like, image.frame, classes, image.structures, header, say)


def masks_in(folder: str | Path) -> dict[str, str]:
    """Returns the volumes of a folder of masks by their names without suffix, which are the classes' names."""
    with os.scandir(folder) as entries:
        files = sorted(e.path for e in entries if is_volume(e.name) and e.is_file())
    return {stem_of(path): path for path in files}


def _joined(folder: Path, classes: list[LabelClass], like: sitk.Image, say: Say) -> sitk.Image:
    import numpy as np
    import SimpleITK as sitk

    from ..imaging.labels import read_label_map

    try:
        masks = masks_in(folder)
    except OSError as error:
        raise InputError(folder, f"cannot be read: {error.strerror or error}") from error
    chosen = [c for c in classes if c.name in masks]
    if not chosen:
        known = ", ".join(c.name for c in classes) or "none"
        raise InputError(folder, f"has no mask of a class of the task (classes: {known})")
    joined = np.zeros(like.GetSize()[::-1], np.uint16 if max(c.value for c in chosen) > 255 else np.uint8)
    for one in chosen:
        label_map = read_label_map(masks[one.name], like=like)
        mask = sitk.GetArrayViewFromImage(label_map) > 0
        covered = joined[mask]
        if covered.any():
            others = ", ".join(c.name for c in chosen if (covered == c.value).any())
            say(f"its masks overlap: {one.name} takes {np.count_nonzero(covered)} voxels of {others}")
        joined[mask] = one.value
    result = sitk.GetImageFromArray(joined)
    result.CopyInformation(like)
    return result
