"""Label maps: from any file that labels voxels to the values of a task's classes, by the names that the file has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, encodable
from ..plural import counted, shortened
from . import volumes
from .dicom_labels import masks_of, reference_of
from .formats import is_dicom, suffix_of
from .name_tables import named_beside, tables_beside
from .structures import LARGEST_VALUE, NamedClass, Say, Structure, chosen_structures, class_values
from .value_names import named_in_nifti, named_in_nrrd
from .volumes import Header, chosen_frame, grid_difference

_NRRD, _NIFTI = (".nrrd", ".nhdr"), (".nii", ".nii.gz")
ROUNDED = 1e-2
"""Label values that are off a whole number by less were saved through a scale, and are rounded."""


def structures_in(path: str | Path) -> list[Structure]:
    """Returns the segments that a label file names, in its order; [] for a file that has values only.

    Names are in segmentations of Slicer (`.seg.nrrd`) and MITK, in NIfTI files with a table of names, in tables beside
    label maps, BIDS's and the colour tables of Slicer (of those, which may list a whole atlas, the names of the values
    that are there), in DICOM SEG, and in DICOM RTSTRUCT.

    Example:
        >>> structures_in("study/RS.dcm")
        [Structure(name='Liver', value=3, ...), Structure(name='PTV 60', value=7, ...)]

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(path)
    if not suffix_of(path) and is_dicom(path):
        return list(reference_of(path).structures)
    if suffix_of(path) in _NRRD and (segments := named_in_nrrd(volumes.open_volume(path))):
        return segments
    named = _named_by_table(path)
    if not named or not tables_beside(path):
        return named
    status = path.stat()
    held = _values_held(path, status.st_mtime_ns, status.st_size)
    return [one for one in named if one.value in held]


def _named_by_table(path: Path) -> list[Structure]:
    """Returns the values that the table beside a label map, or in the header of a NIfTI, names; [] for most.

    Raises:
        InputError: as `named_beside`; also where the two contradict each other.
    """
    own, beside = named_in_nifti(path) if suffix_of(path) in _NIFTI else [], named_beside(path)
    known = {one.value: one.name for one in beside}
    for one in own:
        if known.setdefault(one.value, one.name).strip().casefold() != one.name.strip().casefold():
            reason = f"its header names the value {one.value} {one.name!r}, and {tables_beside(path)[0].name} names it"
            raise InputError(path, f"{reason} {known[one.value]!r}", "Correct the table, or take it away.")
    values = {one.value for one in beside}
    return beside + [one for one in own if one.value not in values]


@lru_cache(maxsize=4096)
def _values_held(path: Path, changed: int, size: int) -> frozenset[int]:
    """Returns the values above 0 in a label map, all its volumes together; it is read anew when it has changed."""
    opened = volumes.open_volume(path)
    frames = (volumes.voxels_of(opened, number) for number in range(opened.header.frames))
    return frozenset(v for image in frames for v in values_in(_whole_numbers(image, path, lambda text: None)))


def read_label_map(
    path: str | Path,
    like: sitk.Image | Header | None = None,
    frame: int | None = None,
    classes: Sequence[NamedClass] = (),
    structures: Sequence[str] = (),
    other_form: Callable[[], Header | None] = lambda: None,
    say: Say = lambda text: None,
    spacing: Sequence[float] | None = None,
) -> sitk.Image:
    """Reads a label map; where the file names its segments, the names decide which class they are.

    Args:
        path: a label map, a segmentation of Slicer (`.seg.nrrd`) or MITK, a DICOM SEG, or a DICOM RTSTRUCT.
        like: the image that it labels; a label map on another grid is refused. A structure set needs it.
        frame: which volume of a label map that has several, counted from 0: that of the image.
        classes: the task's classes. Named segments get the value of the class of the same name (or, where no name
            fits, of the same terminology) and must all be classes; without classes they keep their own values. Of a
            table of names, none of which is a class, nothing is taken: such tables outlive what they were for.
        structures: names of the segments to take; the others are left out. Where they overlap, the last of these has
            the voxel, as in a scene; without this choice, segments that overlap are refused.
        other_form: returns the image's header, whose second form is tried where the label does not fit `like` (NIfTI).
        say: told what was rounded or left out.
        spacing: without `like`, as in `read_header`; with it, a file that does not say its spacing has that of the image.

    Returns:
        A 3D image of 8- or 16-bit unsigned integers, on exactly the grid of `like`.

    Raises:
        InputError: as `read_volume`; also values that are no whole numbers from 0 to 65535, another grid, segments
            that are no classes, overlap, or are named twice, or a chosen structure that is not there.
    """
    path = Path(path)
    if not suffix_of(path) and is_dicom(path):
        if not isinstance(like, sitk.Image):
            raise InputError(path, "is a DICOM object that labels an image; it cannot be read without that image")
        there = masks_of(path, like, structures, say)
        return _placed(_merged(path, there, like.GetSize()[::-1], classes, structures), like)
    opened = volumes.open_volume(path, spacing if like is None else volumes.geometry_of(like)[1])
    for remark in opened.header.remarks if like is None else ():  # with an image it is seen whether they fit
        say(remark)
    segments = named_in_nrrd(opened) if suffix_of(path) in _NRRD else []
    if segments:
        label = _of_segments(path, opened, segments, classes, structures, say)
        return label if like is None else _onto(label, like, path, say)
    table = _of_the_task(_named_by_table(path), classes, say)
    if structures and not table:
        raise InputError(path, f"does not name its values, so no structure can be chosen ({', '.join(structures)})")
    number = _chosen_label(opened.header, frame)
    label = _whole_numbers(volumes.voxels_of(opened, number), path, say)
    if table:
        label = _renumbered(path, label, table, classes, structures)
    if like is None:
        return label
    laid = laid_on(label, opened.header, like, other_form, say)
    if laid is None:
        of_image = other_form()
        contradicted = next((h for h in (of_image, opened.header) if h is not None and h.other_form), None)
        forms = f"; {contradicted.path.name}: {contradicted.remarks[-1]}" if contradicted else ""
        raise InputError(path, _other_grid(label, like, forms))
    return laid


def laid_on(
    label: sitk.Image,
    header: Header,
    like: sitk.Image | Header,
    other_form: Callable[[], Header | None] = lambda: None,
    say: Say = lambda text: None,
) -> sitk.Image | None:
    """Returns a label map on exactly the grid of its image; None where it is on another one.

    Where grids differ, the label may have been placed by the other of the two forms that a NIfTI has (voxel by voxel it
    is as the image), or its axes may run in another order (`turned`). The former goes first: of an image whose forms are
    mirror images of each other, both would do, and only a program that had read the other form writes it.

    Args:
        label: the voxels.
        header: what the label's file says of where they lie.
        like: the image.
        other_form: as in `read_label_map`.
        say: told which of them it was.
    """
    if grid_difference(label, like) is None:
        return _placed(label, like)
    if _fits_the_other_form(header, label, like, other_form()):
        say("fits the image by the other of its two forms (sform, qform) and was taken so")
        return _placed(label, like)
    along = turned(label, like)
    if grid_difference(along, like) is None:
        say(_TURNED)
        return _placed(along, like)
    return None


def other_form_of(image: str | Path) -> Callable[[], Header | None]:
    """Returns what `read_label_map` asks for the header of the image in a file: a NIfTI may say twice where it lies."""
    path = Path(image)
    is_nifti = suffix_of(path) in (*_NIFTI, ".hdr")
    return lambda: volumes.read_header(path) if is_nifti else None


def header_problem(path: str | Path, like: Header, frame: int | None = None) -> str | None:
    """Tells from headers alone why a label cannot be used for an image; None: nothing speaks against it.

    Args:
        path: any file that `read_label_map` reads.
        like: header of the image.
        frame: the image's frame, where it is one of several.
    """
    path = Path(path)
    try:
        if not suffix_of(path) and is_dicom(path):
            return None if reference_of(path).structures else "holds no segment or closed contour"
        opened = volumes.open_volume(path, like.spacing)
        along = turned_header(opened.header, like)
        if suffix_of(path) in _NRRD and named_in_nrrd(opened):
            return None if _lattice(along, like)[1] else _other_grid(opened.header, like)
        _chosen_label(opened.header, frame)
    except InputError as error:
        return error.reason
    except (OSError, ValueError) as error:
        return encodable(f"cannot be read: {error}")
    if grid_difference(along, like) is None or _fits_the_other_form(opened.header, opened.header, like, like):
        return None
    return _other_grid(opened.header, like)


def _chosen_label(header: Header, frame: int | None) -> int:
    """Returns which of a file's label maps is the one of the image's frame."""
    if header.frames > 1 and frame is None:
        raise InputError(
            header.path,
            f"holds {counted(header.frames, 'label map')} (a fourth dimension, or channels), and its image is one volume",
            "Save the right one as a file of its own.",
        )
    return chosen_frame(header, frame) if header.frames > 1 else 0


def turned(label: sitk.Image, like: sitk.Image | Header, say: Say = lambda text: None) -> sitk.Image:
    """Returns a label with its axes in the order and direction of an image's: the same voxels at the same places.

    Programs write label maps in the order of axes that they like best. A label none of whose axes runs along one of the
    image's is returned as it is.

    Example:
        >>> image = sitk.Image(4, 5, 6, sitk.sitkUInt8)
        >>> turned(sitk.DICOMOrient(image, "SRA"), image).GetSize()
        (4, 5, 6)
    """
    turn = _turn(volumes.geometry_of(label), volumes.geometry_of(like))
    if turn is None:
        return label
    order, backwards, (_, spacing, origin, direction) = turn
    values = sitk.GetArrayViewFromImage(label).transpose(2, 1, 0).transpose(order)
    values = values[tuple(slice(None, None, -1 if back else 1) for back in backwards)].transpose(2, 1, 0)
    result = sitk.GetImageFromArray(np.ascontiguousarray(values))
    result.SetSpacing(spacing)
    result.SetOrigin(origin)
    result.SetDirection(direction)
    say(_TURNED)
    return result


def turned_header(header: Header, like: sitk.Image | Header) -> Header:
    """Returns the header that a label has once it is `turned` like an image."""
    turn = _turn(volumes.geometry_of(header), volumes.geometry_of(like))
    if turn is None:
        return header
    size, spacing, origin, direction = turn[2]
    return replace(
        header,
        size=(size[0], size[1], size[2]),
        spacing=(spacing[0], spacing[1], spacing[2]),
        origin=(origin[0], origin[1], origin[2]),
        direction=direction,
    )


_TURNED = "its axes run in another order or direction than the image's; it was taken voxel by voxel"

_Geometry = tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]]


def _turn(of: _Geometry, like: _Geometry) -> tuple[list[int], list[bool], _Geometry] | None:
    """Returns which axis becomes the first, second and third, which of them run backwards then, and the geometry that
    this gives; None where nothing is to be turned, or the axes are not those of `like`."""
    size, spacing, origin, direction = of
    own = np.array(direction).reshape(3, 3)
    share = np.array(like[3]).reshape(3, 3).T @ own
    whole = np.rint(share)
    order = [int(axis) for axis in np.abs(whole).argmax(1)]
    if np.abs(share - whole).max() > 1e-2 or sorted(order) != [0, 1, 2] or np.array_equal(whole, np.eye(3)):
        return None
    backwards = [whole[row, axis] < 0 for row, axis in enumerate(order)]
    first = np.array(origin)
    for axis, back in zip(order, backwards, strict=True):
        if back:
            first = first + own[:, axis] * spacing[axis] * (size[axis] - 1)
    signs = np.where(backwards, -1.0, 1.0)
    return (
        order,
        backwards,
        (
            tuple(size[axis] for axis in order),
            tuple(spacing[axis] for axis in order),
            tuple(first.tolist()),
            tuple((own[:, order] * signs).ravel().tolist()),
        ),
    )


def values_in(label: sitk.Image) -> list[int]:
    """Returns the values above 0 of a label map of unsigned integers."""
    present = np.zeros(1 << 16, bool)
    for part in sitk.GetArrayViewFromImage(label):
        present[part] = True
    return [int(v) for v in np.flatnonzero(present) if v > 0]


def named_values(path: str | Path, structures: Sequence[str] = ()) -> dict[int, Structure]:
    """Returns what the values mean that `read_label_map` gives without classes; {} for a file without names.

    Raises:
        InputError: the file cannot be read, or has none of the chosen structures.
    """
    path = Path(path)
    there = structures_in(path)
    wanted = chosen_structures(path, there, structures) if there else []
    named = {s.name: s for s in wanted}
    return {value: named[name] for name, value in class_values(path, wanted, ()).items()}


def structures_of(path: str | Path, classes: Sequence[NamedClass]) -> list[str]:
    """Returns the names in a label file that are classes, in the order of the classes; [] for a file without names."""
    there = {s.name.strip().casefold(): s.name for s in structures_in(path)}
    keys = [c.name.strip().casefold() for c in classes]
    return [there[key] for key in keys if key in there]


def _of_the_task(table: list[Structure], classes: Sequence[NamedClass], say: Say) -> list[Structure]:
    """Returns a label map's table of names, or [] where none of them is a class."""
    known = {c.name.strip().casefold() for c in classes}
    if not table or not known or known & {s.name.strip().casefold() for s in table}:
        return table
    names, theirs = (shortened(many, 3) for many in ([s.name for s in table], [c.name for c in classes]))
    say(f"the names of its values ({names}) are none of the task's ({theirs}); they are taken by number")
    return []


def _of_segments(
    path: Path,
    opened: volumes.OpenVolume,
    segments: Sequence[Structure],
    classes: Sequence[NamedClass],
    structures: Sequence[str],
    say: Say,
) -> sitk.Image:
    layers = [_whole_numbers(volumes.voxels_of(opened, n), path, say) for n in range(opened.header.frames)]
    if len(layers) == 1 and len({s.value for s in segments}) == len(segments):
        return _renumbered(path, layers[0], segments, classes, structures)
    there = [(s, sitk.GetArrayViewFromImage(layers[s.layer]) == s.value) for s in segments]
    label = _merged(path, there, opened.header.size[::-1], classes, structures)
    label.CopyInformation(layers[0])
    return label


def _renumbered(
    path: Path,
    label: sitk.Image,
    named: Sequence[Structure],
    classes: Sequence[NamedClass],
    structures: Sequence[str],
) -> sitk.Image:
    """Gives the values of one label map, each of which has a name, those of the classes; there may be a hundred.

    Raises:
        InputError: as `_merged`; also a value that is there and has no name, where none were chosen.
    """
    wanted = chosen_structures(path, named, structures)
    twice = {name for name, count in Counter(s.name for s in named).items() if count > 1}
    if twice & {s.name for s in wanted}:
        raise _one_name(path, twice)
    present = values_in(label)
    unnamed = [v for v in present if v not in {s.value for s in named}]
    if unnamed and not structures:
        shown = shortened(unnamed, 6)
        raise InputError(
            path,
            f"names its values, and not all of them: {shown}",
            "Name them too, or choose the structures to take.",
            "structures",
        )
    drawn = [s for s in wanted if s.value in present]
    values = class_values(path, drawn, classes) if classes else class_values(path, wanted, ())
    value_of = np.zeros(LARGEST_VALUE + 1, np.uint8 if max(values.values(), default=0) < 256 else np.uint16)
    for one in drawn:
        value_of[one.value] = values[one.name]
    result = sitk.GetImageFromArray(value_of[sitk.GetArrayViewFromImage(label)])
    result.CopyInformation(label)
    return result


def _one_name(path: Path, names: Iterable[str]) -> InputError:
    return InputError(path, f"has two segments of one name: {', '.join(sorted(names))}", "Rename one of them.")


def _merged(
    path: Path,
    there: Sequence[tuple[Structure, np.ndarray]],
    shape: tuple[int, ...],
    classes: Sequence[NamedClass],
    structures: Sequence[str],
) -> sitk.Image:
    """Draws the structures into one label map, in the order of the choice or of the file."""
    twice = [name for name, count in Counter(s.name for s, _ in there).items() if count > 1]
    wanted = chosen_structures(path, [s for s, _ in there], structures)
    if set(twice) & {s.name for s in wanted}:
        raise _one_name(path, twice)
    masks = {s.name: mask for s, mask in there}
    drawn = [s for s in wanted if masks[s.name].any()]
    values = class_values(path, drawn, classes) if classes else class_values(path, wanted, ())
    label = np.zeros(shape, np.uint8 if max(values.values(), default=0) < 256 else np.uint16)
    owner: dict[int, str] = {}
    for structure in drawn:
        mask, value = masks[structure.name], values[structure.name]
        if not structures:
            shared = label[mask]
            if shared.any():
                other = owner[int(shared[shared > 0][0])]
                layers = len({s.layer for s in drawn})
                raise InputError(
                    path,
                    f"its segments overlap ({layers} layers): {other} and {structure.name} share "
                    f"{counted(int(np.count_nonzero(shared)), 'voxel')}; choose structures in the order in which they are "
                    "drawn, the last one has the voxel",
                    "",
                    "structures",
                )
        label[mask] = value
        owner[value] = structure.name
    return sitk.GetImageFromArray(label)


def _whole_numbers(label: sitk.Image, path: Path, say: Say) -> sitk.Image:
    values = sitk.GetArrayViewFromImage(label)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(path, "has voxels that are NaN or infinite")
    if values.dtype.kind == "f":
        off = max(float(np.abs(part - np.rint(part)).max()) for part in values)
        if off > ROUNDED:
            part = next(p for p in values if np.abs(p - np.rint(p)).max() > ROUNDED)
            example = part.flat[int(np.abs(part - np.rint(part)).argmax())]
            raise InputError(path, f"has label values that are not whole numbers, such as {example:.6g}{_scale(path)}")
        if off > 0:
            say(f"label values were rounded, the furthest by {off:.2g}{_scale(path)}")
        label, low, high = sitk.Round(label), np.rint(low), np.rint(high)
    if low < 0 or high > LARGEST_VALUE:
        given = f"has label values from {low:.0f} to {high:.0f}; they must be 0 to {LARGEST_VALUE}"
        raise InputError(path, f"{given}: number its structures anew, in every label alike")
    kind = sitk.sitkUInt8 if high < 256 else sitk.sitkUInt16
    return label if label.GetPixelID() == kind else sitk.Cast(label, kind)


def _scale(path: Path) -> str:
    stored = volumes.open_volume(path).stored
    if stored is None or stored.scale == (1.0, 0.0):
        return ""
    return f" (they are stored through a scale: scl_slope {stored.scale[0]:g}, scl_inter {stored.scale[1]:g})"


def _fits_the_other_form(
    header: Header, label: sitk.Image | Header, like: sitk.Image | Header, other_form: Header | None
) -> bool:
    """Tells whether label and image coincide once one of them is placed by the form that was not taken."""
    if other_form is not None and other_form.other_form is not None:
        if grid_difference(label, other_form.by_other_form()) is None:
            return True
    return header.other_form is not None and grid_difference(header.by_other_form(), like) is None


def _onto(label: sitk.Image, like: sitk.Image | Header, path: Path, say: Say) -> sitk.Image:
    """Returns a segmentation, which may cover a part of the image's voxels or more than them, on the image's grid."""
    label = turned(label, like, say)
    if grid_difference(label, like) is None:
        return _placed(label, like)
    first, same = _lattice(label, like)
    if not same:
        raise InputError(path, _other_grid(label, like))
    size = volumes.geometry_of(like)[0]
    values = sitk.GetArrayViewFromImage(label)
    whole = np.zeros(tuple(size[::-1]), values.dtype)
    here, part = [], []
    for start, length, room in zip(first[::-1], values.shape, whole.shape, strict=True):
        low, high = max(start, 0), min(start + length, room)
        here.append(slice(low, max(high, low)))
        part.append(slice(low - start, max(high, low) - start))
    whole[tuple(here)] = values[tuple(part)]
    kept = int(np.count_nonzero(whole))
    lost = int(np.count_nonzero(values)) - kept
    if lost and not kept:
        raise InputError(path, "lies outside its image: none of its labelled voxels is in it")
    if lost:
        say(f"{counted(lost, 'labelled voxel lies', 'labelled voxels lie')} outside the image, and left out")
    return _placed(sitk.GetImageFromArray(whole), like)


def _lattice(label: sitk.Image | Header, like: sitk.Image | Header) -> tuple[np.ndarray, bool]:
    """Returns at which voxel of an image a label's first one lies, and whether all of them lie on the image's voxels."""
    _, spacing, origin, direction = volumes.geometry_of(label)
    _, spacing2, origin2, direction2 = volumes.geometry_of(like)
    same = np.allclose(spacing, spacing2, rtol=1e-3) and np.allclose(direction, direction2, atol=1e-3)
    axes = np.array(direction2).reshape(3, 3)
    offset = axes.T @ (np.array(origin) - np.array(origin2)) / np.array(spacing2)
    first = np.rint(offset).astype(int)
    return first, bool(same and np.abs(offset - first).max() <= volumes.GRID_TOLERANCE)


def _other_grid(label: sitk.Image | Header, like: sitk.Image | Header, forms: str = "") -> str:
    return f"is on another grid than its image: {grid_difference(label, like)}{forms}"


def _placed(label: sitk.Image, like: sitk.Image | Header) -> sitk.Image:
    spacing, origin, direction = volumes.geometry_of(like)[1:]
    label.SetSpacing(spacing)
    label.SetOrigin(origin)
    label.SetDirection(direction)
    return label
