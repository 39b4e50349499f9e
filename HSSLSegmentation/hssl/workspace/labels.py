"""The label map of an image of the catalogue, in whatever form it lies: values are those of the task's classes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..imaging.formats import is_dicom, is_volume, stem_of, suffix_of
from ..plural import counted, shortened
from .catalogue import Catalogue, Image, LabelClass

if TYPE_CHECKING:
    import numpy as np
    import SimpleITK as sitk

    from ..imaging.structures import Say
    from ..imaging.volumes import Header

MOST_CLASSES = 255
"""A label map with more values is of no use; parcellations of the cortex have up to 1000."""
FEW_CLASSES = 24
"""With more values than this a label map is solid: neighbouring voxels mostly have the same."""


READINGS = 0.6
"""From this Dice on two masks are readings of one structure: of a lesion two readers agree by 0.6 to 0.9, of an organ by more,
and structures that touch share a few voxels."""
HALF = 0.5
"""A structure that loses more than that to a larger one is a part of it that was drawn before it."""
PART = 0.95
"""Of a structure that is a part of another so much lies in it."""


def read_label(catalogue: Catalogue, image: Image, like: sitk.Image, say: Say = lambda text: None) -> sitk.Image:
    """Reads the label of an image.

    A label file with several frames gives the frame of its image (M&Ms: a 4D scan with a 4D label). Where a file names
    its segments (Slicer's, DICOM SEG, RTSTRUCT), they are the classes of those names, whatever their values. A folder
    of masks is joined: the file `liver.nii.gz` is where the class "liver" is (TotalSegmentator); so are several files of
    one image. Where they overlap, the later class has the voxel (of structures that were chosen the later one), as the
    upper one of a scene's segments.

    Args:
        catalogue: tells where the label is, and the classes.
        image: its record, with a label.
        like: the image's voxels; a label on another grid is refused.
        say: told what was rounded or left out, and where masks overlap.

    Returns:
        A 3D image of 8- or 16-bit unsigned integers on exactly the grid of `like`.

    Raises:
        InputError: as `imaging.labels.read_label_map`; also masks none of which is a class, one with several values, two
            that are readings of one structure, or a structure that overlaps take away whole, or
            mostly and for a larger one.

    Example:
        >>> volume = read_volume(catalogue.image_path(image), image.series, image.frame)  # doctest: +SKIP
        >>> label_map = read_label(catalogue, image, volume)  # doctest: +SKIP
    """
    from ..imaging.labels import other_form_of, read_label_map

    path = catalogue.label_path(image)
    if path is None:
        raise InputError(image.image, "has no label")
    header = other_form_of(catalogue.image_path(image))
    classes = catalogue.task(image.task).classes
    parts = [(catalogue.absolute(part.path), part.structure) for part in image.parts]
    if path.is_dir() and not parts:
        try:
            parts = [(Path(mask), name) for name, mask in masks_in(path).items()]
        except OSError as error:
            raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    elif not parts:
        return read_label_map(path, like, image.frame, classes, image.structures, header, say)

    def read(file: Path, structures: Sequence[str], chosen: Sequence[LabelClass]) -> sitk.Image:
        try:
            return read_label_map(file, like, image.frame, chosen, structures, header, say)
        except InputError as error:
            raise InputError(path, f"{file.name}: {error.reason}", error.hint, error.way_out) from error

    return _joined(path, parts, classes, image.structures, read, like, say)


def no_label_map(label: sitk.Image, values: Sequence[int]) -> str | None:
    """Tells why these voxels, of so many values above 0, are no label map that can be learned; None: they are one."""
    import SimpleITK as sitk

    from .content import is_grainy

    if len(values) > FEW_CLASSES and is_grainy(sitk.GetArrayViewFromImage(label)):
        return f"has {counted(len(values), 'different value')}: an image, not a label map"
    if len(values) > MOST_CLASSES:
        many = counted(len(values), "different value")
        return f"has {many}, and {MOST_CLASSES} structures are the most of a task: an image, or too fine a parcellation"
    return None


def file_problem(path: str, like: Header, frame: int | None) -> str | None:
    """Tells why a file cannot be the label of an image with that header; None: nothing speaks against it.

    The voxels are looked at, too, but those of files that name their structures, which the check reads with the image.
    """
    from ..imaging.labels import header_problem, read_label_map, structures_in, values_in

    try:
        if (not suffix_of(path) and is_dicom(path)) or structures_in(path):
            return header_problem(path, like, frame)
        label = read_label_map(path, like, frame, other_form=lambda: like)
    except InputError as error:
        return error.reason
    return no_label_map(label, values_in(label))


def masks_in(folder: str | Path) -> dict[str, str]:
    """Returns the volumes of a folder of masks by their names without suffix, which are the classes' names."""
    with os.scandir(folder) as entries:
        files = sorted(e.path for e in entries if is_volume(e.name) and e.is_file())
    return {stem_of(path): path for path in files}


def _joined(
    path: Path,
    parts: Sequence[tuple[Path, str]],
    classes: Sequence[LabelClass],
    structures: Sequence[str],
    read: Callable[[Path, Sequence[str], Sequence[LabelClass]], sitk.Image],
    like: sitk.Image,
    say: Say,
) -> sitk.Image:
    """Draws the classes that the parts hold into one label map, in the order of the choice or of the classes."""
    import numpy as np
    import SimpleITK as sitk

    masks = _masks(path, parts, classes, structures, read)
    if not masks:
        known = ", ".join(c.name for c in classes) or "none"
        raise InputError(path, f"has no mask of a class of the task (classes: {known})")
    order = [_key(name) for name in structures] or [_key(c.name) for c in classes]
    masks.sort(key=lambda m: order.index(_key(m[0].name)))
    joined = np.zeros(like.GetSize()[::-1], np.uint16 if max(c.value for c, _ in masks) > 255 else np.uint8)
    drawn: list[LabelClass] = []
    sizes: dict[int, int] = {}
    lost: list[str] = []
    for one, mask_of in masks:  # one mask at a time: there may be a hundred
        mask = mask_of()
        covered, sizes[one.value] = joined[mask], int(np.count_nonzero(mask))
        if covered.any():
            shared = {c.name: (c, n) for c in drawn if (n := int(np.count_nonzero(covered == c.value)))}
            for other, count in shared.values() if not structures else ():
                _check_readings(path, (other.name, sizes[other.value]), (one.name, sizes[one.value]), count)
                if is_lost(sizes[other.value], sizes[one.value], count):
                    lost.append(f"{100 * count / sizes[other.value]:.0f} % of {other.name} to {one.name}")
            say(f"its masks overlap: {one.name} takes {np.count_nonzero(covered)} voxels of {', '.join(shared)}")
        joined[mask] = one.value
        drawn += [one] if mask.any() else []
    left = np.bincount(joined.ravel(), minlength=1 + max(c.value for c, _ in masks))
    gone = [one.name for one in drawn if not left[one.value]]
    if gone or lost:
        reason = f"{', '.join(gone)} would vanish: all of its voxels lie in what is drawn later"
        raise InputError(
            path,
            reason if gone else f"it would lose {', '.join(lost)}, which is larger and drawn later",
            "Choose structures in the order in which they are drawn, the last one has the voxel.",
            "structures",
        )
    result = sitk.GetImageFromArray(joined)
    result.CopyInformation(like)
    return result


def is_lost(size: int, later: int, shared: int) -> bool:
    """Tells whether a structure loses most of itself to a larger one that is drawn later: it is a part of it.

    Args:
        size, later, shared: voxels of the structure, of the one that is drawn later, and those that both have.

    Example:
        >>> is_lost(size=18, later=1176, shared=18)
        True
    """
    return size < later and shared > HALF * size


def readings_dice(size: int, size2: int, shared: int) -> float | None:
    """Returns the Dice of two structures where they are mostly the same and none is a part of the other, as two readings of
    one structure are; None of any others.

    Args:
        size, size2, shared: voxels of each, and those that both have.

    Example:
        >>> readings_dice(100, 110, 90)  # doctest: +ELLIPSIS
        0.857...
    """
    dice = 2 * shared / (size + size2)
    return dice if dice > READINGS and shared < PART * min(size, size2) else None


def _check_readings(path: Path, one: tuple[str, int], other: tuple[str, int], shared: int) -> None:
    """Raises InputError where two masks, each a name and its number of voxels, are mostly the same and none is a part."""
    (name, size), (name2, size2) = one, other
    dice = readings_dice(size, size2, shared)
    if dice is not None:
        raise InputError(
            path,
            f"{name} and {name2} are mostly the same voxels (Dice {100 * dice:.0f} %), as two readings of one structure are",
            "Take one of them by a pattern of labels; if they are structures, choose them in the order in which they are drawn.",
            "structures",
        )


def _masks(
    path: Path,
    parts: Sequence[tuple[Path, str]],
    classes: Sequence[LabelClass],
    structures: Sequence[str],
    read: Callable[[Path, Sequence[str], Sequence[LabelClass]], sitk.Image],
) -> list[tuple[LabelClass, Callable[[], np.ndarray]]]:
    """Returns the classes that the parts hold, each with what reads its voxels."""
    import numpy as np
    import SimpleITK as sitk

    from ..imaging.labels import structures_in

    by_name = {_key(c.name): c for c in classes}
    wanted = {_key(name) for name in structures} or set(by_name)
    found: dict[int, tuple[LabelClass, Callable[[], np.ndarray]]] = {}

    def mask_in(file: Path, structure: str) -> np.ndarray:
        values = sitk.GetArrayFromImage(read(file, (), ()))
        several = np.unique(values[values > 0])
        if len(several) > 1:
            shown = shortened(several.tolist(), 6)
            raise InputError(path, f"{file.name} is the mask of {structure} and has several values: {shown}")
        return values > 0

    for file, structure in parts:
        own: list[tuple[LabelClass, Callable[[], np.ndarray]]] = []
        if structure:
            one = by_name.get(_key(structure))
            if one is None or _key(structure) not in wanted:
                continue
            own.append((one, partial(mask_in, file, structure)))
        else:
            chosen = [s.name for s in structures_in(file) if _key(s.name) in wanted] if structures else []
            if structures and not chosen:
                continue
            values = sitk.GetArrayFromImage(read(file, chosen, classes))
            own += [(c, partial(np.equal, values, c.value)) for c in classes if (values == c.value).any()]
        for one, mask_of in own:
            if one.value in found:
                raise InputError(path, f"two of its files label {one.name}, the second is {file.name}")
            found[one.value] = (one, mask_of)
    return list(found.values())


def _key(name: str) -> str:
    return name.strip().casefold()
