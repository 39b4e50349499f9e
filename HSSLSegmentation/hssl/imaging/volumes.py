"""Volumes and label maps, from files to SimpleITK images and back; what cannot be used is refused with the reason."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, OutputError
from ..files import check_name, whole_file
from ..machine import available_memory
from ..plural import counted
from ..threads import itk_io
from . import dicom, tiff
from . import voxel_data as storage
from .dicom import Series, series_in
from .formats import READERS, UNSCALED_SUFFIXES, is_dicom, suffix_of, way_to_be_read
from .structures import Say

__all__ = [
    "Header",
    "Series",
    "check_format",
    "check_values",
    "chosen_frame",
    "grid_difference",
    "read_header",
    "read_volume",
    "series_in",
    "write_volume",
]

WRITTEN = (".nii", ".nii.gz", ".nrrd", ".mha")

FEWEST_OTHERS = 8
"""A volume all of whose voxels but fewer than this are equal shows nothing."""
MOST_VOXELS = 1 << 33
"""2048³. A header that announces more is taken for a damaged one."""

OF_COLOUR = "One channel is learned from: make it grey, or save the channel that shows most, as a volume of its own."
"""What to do about a colour image."""

SMALL = 16 << 20
"""Bytes that a process has left, as long as it runs at all: asking the system takes as long as reading a small file."""

_LARGEST_POINTER = 1024
_PERPENDICULAR = 1e-3
_CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))
_COLOURS = (3, 4)
_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"
_READERS_THERE = frozenset(sitk.ImageFileReader().GetRegisteredImageIOs())
GRID_TOLERANCE = 0.1
"""Two grids are one when no corner is off by more than this part of a voxel."""

_TYPE_NAMES = {
    **{f"u{n}": f"{8 * n}-bit unsigned integer" for n in (1, 2, 4)},
    **{f"i{n}": f"{8 * n}-bit signed integer" for n in (1, 2, 4)},
    **{f"f{n}": f"{8 * n}-bit float" for n in (4, 8)},
}

# ITK's warnings repeat for every file of a batch what is raised as an InputError where it matters.
sitk.ProcessObject.SetGlobalWarningDisplay(False)


@dataclass(frozen=True)
class Header:
    """What a file says of its volume, in x, y, z order: `spacing` mm, `origin` mm (LPS), `direction` row-major 3×3."""

    path: Path
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    components: int
    """Values in each voxel; 1 unless `frames` are kept as such."""
    dimension: int
    """As stored: 2, 3 or 4."""
    pixel_type: str
    """Such as "16-bit signed integer"."""
    frames: int = 1
    """Volumes in the file; more than one needs a choice."""
    frames_are: str = ""
    """What they are, where the file says it, such as "2 channels"."""
    modality: str | None = None
    """Of a DICOM series."""
    patient: str = ""
    """PatientID of a DICOM series."""
    remarks: tuple[str, ...] = ()
    """What the user should know of how the file was understood."""
    other_form: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]] | None = None
    """Spacing, origin and direction by the other of a NIfTI's two forms, where they contradict each other."""

    def by_other_form(self) -> Header:
        """Returns the header with the place that the form gives that was not taken."""
        if self.other_form is None:
            return self
        spacing, origin, direction = self.other_form
        return replace(self, spacing=_three(spacing, 1.0), origin=_three(origin, 0.0), direction=direction)


def read_header(
    path: str | Path,
    series: str | None = None,
    frame: int | None = None,
    spacing: Sequence[float] | None = None,
) -> Header:
    """Reads the header of a file, or of a DICOM series in a folder, without its voxels.

    Args:
        path: a file, or the folder of a DICOM series.
        series: the series' instance UID where the folder has several.
        frame: which volume of a DICOM series that has several, counted from 0, the one of most slices first.
        spacing: mm in x, y, z, for a file that does not say it (TIFF, and headers without it); no other file is changed
            by it.

    Raises:
        InputError: unreadable, empty, truncated, impossible size, spacing or direction, colour, or unknown spacing.
    """
    path = Path(path)
    if path.is_dir():
        return header_of_series(dicom.find_series(path, series), frame, spacing)
    if not suffix_of(_named(path)) and is_dicom(path):
        return header_of_series(dicom.series_of_file(path), frame, spacing)
    return open_volume(path, spacing).header


def header_of_series(series: Series, frame: int | None = None, spacing: Sequence[float] | None = None) -> Header:
    """Returns the header of a DICOM series that was found; `frame` and `spacing` as in `read_header`.

    Raises:
        InputError: the series has a problem, several volumes of which none is chosen, an impossible geometry, or
            colour.
    """
    stack = series.stack(frame)
    first, count = stack.planes[0], len(stack.planes)
    if first.components > 1:
        reason = f"is a colour image: {first.components} values in each voxel"
        raise InputError(series.folder, series.named(reason), OF_COLOUR)
    step = (stack.planes[-1].along - first.along) / (count - 1) if count > 1 else first.thickness or 1.0
    position = np.zeros(3) if first.position is None else first.position
    steps = None if first.spacing is None else (*first.spacing, step)
    return _checked(
        Header(
            path=series.folder,
            size=(*first.size, count),
            spacing=steps or _stated(series.folder, series.named("DICOM images without pixel spacing"), spacing),
            origin=(float(position[0]), float(position[1]), float(position[2])),
            direction=tuple(first.axes.ravel().tolist()),
            components=first.components,
            dimension=3,
            pixel_type=_TYPE_NAMES[dicom.pixel_type(stack).str[1:]],
            frames=1 if frame is None else len(series.stacks),
            modality=series.modality or None,
            patient=series.patient,
            remarks=series.remarks if frame is None else (),
        )
    )


def chosen_frame(header: Header, frame: int | None) -> int:
    """Returns the number of the volume to take of a file, the chosen one or the only one.

    Raises:
        InputError: there are several and none is chosen, or there is none of that number.
    """
    if frame is None and header.frames > 1:
        what = f" ({header.frames_are})" if header.frames_are else ""
        raise InputError(
            header.path, f"has {counted(header.frames, 'frame')}{what} and none is chosen", "Choose one.", "frame"
        )
    if frame is not None and not 0 <= frame < header.frames:
        raise InputError(header.path, f"has no frame {frame}: it has {header.frames}")
    return frame or 0


def read_volume(
    path: str | Path,
    series: str | None = None,
    frame: int | None = None,
    spacing: Sequence[float] | None = None,
    nan_is_background: bool = False,
    say: Say = lambda text: None,
) -> sitk.Image:
    """Reads one scalar volume; a 2D file becomes a volume of one slice.

    Args:
        path: a file, or the folder of a DICOM series.
        series: the series' instance UID where the folder has several.
        frame: which volume of a file or series that has several, counted from 0.
        spacing: as in `read_header`.
        nan_is_background: voxels that are NaN get the smallest value of the others, as those of functional and
            parametric maps outside the body; else they are an error.
        say: told how the file was understood, where a user should know of it.

    Returns:
        A 3D image with the pixel type of the file.

    Raises:
        InputError: as `read_header`; also damaged voxels, a missing choice of frame, NaN that a NIfTI reader would
            hide, or less free memory than the volume needs.
    """
    path = Path(path)
    if path.is_dir():
        return _read_series(dicom.find_series(path, series), frame, spacing, say)
    if not suffix_of(_named(path)) and is_dicom(path):
        return _read_series(dicom.series_of_file(path), frame, spacing, say)
    opened = open_volume(path, spacing)
    _tell(opened.header, say)
    return voxels_of(opened, chosen_frame(opened.header, frame), nan_is_background)


def voxels_of(opened: OpenVolume, number: int = 0, nan_is_background: bool = False) -> sitk.Image:
    """Reads the voxels of a file that was opened, of its volume of that number; raises as `read_volume`."""
    header, reader = opened.header, opened.reader
    at_once = opened.pages.volumes if opened.pages else header.components if header.dimension < 4 else 1
    _check_memory(header.path, math.prod(header.size) * at_once)
    missing = None
    if opened.stored is not None:
        missing = storage.verify(opened.stored, nan_is_background)
    if header.dimension == 4:
        reader.SetExtractSize([*header.size, 0])
        reader.SetExtractIndex([0, 0, 0, number])
    image = _executed(reader, header.path, opened.permissive)
    if image.GetNumberOfComponentsPerPixel() > 1:
        image = sitk.VectorIndexSelectionCast(image, number)
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    if opened.pages is not None and opened.pages.volumes > 1:
        image = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image)[opened.pages.of(number)])
    if nan_is_background:
        image = _with_background(image, missing, number)
    return _placed(image, header)


def _with_background(image: sitk.Image, missing: np.ndarray | None, number: int) -> sitk.Image:
    values = sitk.GetArrayViewFromImage(image)
    if missing is not None:
        missing = missing[number * values.size : (number + 1) * values.size].reshape(values.shape)
    filled = background_for_nan(values, missing)
    return image if filled is values else sitk.GetImageFromArray(filled)


def background_for_nan(values: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
    """Returns voxels with the smallest value of the others where they are NaN; the same array where none is.

    Args:
        values: any shape.
        missing: where they are NaN, when a reader has hidden that.

    Example:
        >>> background_for_nan(np.array([2.0, np.nan, 1.0]))
        array([2., 1., 1.])
    """
    if missing is None:
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if not missing.any():
        return values
    low = values[~missing].min() if not missing.all() else values.dtype.type(np.nan)
    return np.where(missing, low, values)


def check_values(image: sitk.Image, path: str | Path) -> None:
    """Checks that the voxels can be learned from.

    Raises:
        InputError: the volume is empty, has NaN or infinite voxels, or is constant but for a few voxels.
    """
    values = sitk.GetArrayViewFromImage(image)
    if values.size == 0:
        raise InputError(path, "is empty: it has no voxel")
    low, high = values.min(), values.max()  # NaN and infinity reach one of the two
    if not (np.isfinite(low) and np.isfinite(high)):
        raise storage.not_finite(path, values)
    if low == high:
        raise InputError(path, f"is constant: every voxel is {low:g}")
    with np.errstate(over="ignore"):
        alike = np.float32(low) == np.float32(high)
    if alike:
        raise InputError(path, f"has values from {low:.15g} to {high:.15g}, which single precision cannot tell apart")
    # If all voxels but fewer than these are equal, theirs is the value of more than half of so many.
    commonest = np.median(values.reshape(-1)[:: max(1, values.size // (2 * FEWEST_OTHERS + 1))])
    others = values.size - int(np.count_nonzero(values == commonest))
    if others < FEWEST_OTHERS and others < values.size / 10:
        raise InputError(path, f"is nearly constant: all but {counted(others, 'voxel is', 'voxels are')} {commonest:g}")


def grid_difference(one: sitk.Image | Header, other: sitk.Image | Header) -> str | None:
    """Tells how two grids differ, or None when every corner coincides within a tenth of a voxel."""
    (size, spacing, origin, direction), (size2, spacing2, origin2, direction2) = geometry_of(one), geometry_of(other)
    if size != size2:
        return f"size {_times(size)} against {_times(size2)}"
    worst = _apart(one, other)
    if worst <= GRID_TOLERANCE * min(*spacing, *spacing2):
        return None
    if any(abs(a - b) > 1e-3 * a for a, b in zip(spacing, spacing2, strict=True)):
        return f"spacing {_times(spacing)} mm against {_times(spacing2)} mm"
    if any(abs(a - b) > 1e-3 for a, b in zip(direction, direction2, strict=True)):
        return f"another direction, the corners are up to {worst:.2f} mm apart"
    return f"origin {_place(origin)} against {_place(origin2)} mm"


def _apart(one: sitk.Image | Header, other: sitk.Image | Header) -> float:
    """Returns the largest distance in mm between the same corner of two grids of one size."""
    (size, *place), (_, *place2) = geometry_of(one), geometry_of(other)
    corners = _CORNERS * (np.array(size) - 1)
    return float(np.linalg.norm(_points(corners, *place) - _points(corners, *place2), axis=1).max())


def check_format(path: str | Path) -> None:
    """Checks that a volume can be written to a file of this name.

    Raises:
        OutputError: the format is none of .nii, .nii.gz, .nrrd, .mha.
    """
    if suffix_of(Path(path)) not in WRITTEN:
        raise OutputError(path, f"cannot be written: the format must be one of {', '.join(WRITTEN)}")


def write_volume(image: sitk.Image, path: str | Path, compressed: bool = True) -> None:
    """Writes a volume or label map, compressed where the format can be and nothing else is said, whole or not at all.

    Raises:
        OutputError: the format is none of .nii, .nii.gz, .nrrd, .mha, or the file cannot be written.
    """
    path = Path(path)
    if "float" in image.GetPixelIDTypeAsString() and not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise OutputError(path, "cannot be written: the volume has voxels that are NaN or infinite")
    check_format(path)
    check_name(path, OutputError)
    with whole_file(path) as temporary:
        try:
            with itk_io:
                sitk.WriteImage(image, str(temporary), compressed and suffix_of(path) != ".nii")
        except RuntimeError as error:
            raise OutputError(path, f"cannot be written: {dicom.reason_of(error)}") from error
        # ITK writes NIfTI without looking whether the disk took it all.
        try:
            written = storage.inspect(temporary)
            if written is not None:
                storage.verify(written)
        except InputError as error:
            raise OutputError(path, f"cannot be written: what arrived on the disk {error.reason}") from error


@dataclass(frozen=True)
class OpenVolume:
    """A file whose header was read, ready for its voxels."""

    header: Header
    reader: sitk.ImageFileReader
    stored: storage.Storage | None
    permissive: bool
    pages: tiff.Pages | None = None
    """Of a TIFF."""


def _named(path: Path) -> Path:
    """Returns the file that is opened for a name: the header of a pair whose voxels were named."""
    if path.name.lower().endswith((".img", ".img.gz")):
        stem = path.name[: -len(".img.gz" if path.name.lower().endswith(".gz") else ".img")]
        for suffix in (".hdr", ".HDR"):
            if (path.parent / (stem + suffix)).is_file():
                return path.parent / (stem + suffix)
    return path


def open_volume(path: Path, spacing: Sequence[float] | None = None) -> OpenVolume:
    """Opens a file that is no DICOM and reads its header; raises as `read_header`."""
    check_name(path)
    path = _named(path)
    suffix = suffix_of(path)
    try:
        size = path.stat().st_size
        pointer = 0 < size < _LARGEST_POINTER and path.read_bytes().startswith(b"version https://git-lfs")
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    if size == 0:
        raise InputError(path, "is empty: the file has no bytes")
    if pointer:
        raise InputError(path, "is a pointer of Git LFS, which stands for the file itself", "Fetch it: git lfs pull.")
    if not suffix:
        raise InputError(
            path, f"is in no format that is read: {', '.join(READERS)}, DICOM", way_to_be_read([path.name])
        )
    if suffix == ".nii.gz" and path.with_name(path.name[: -len(".gz")]).exists():
        raise InputError(
            path,
            f"lies beside {path.name[: -len('.gz')]}, whose voxels ITK would show in place of its own",
            "Keep one of the two, or rename it.",
        )
    if READERS[suffix] not in _READERS_THERE:
        raise InputError(path, f"is in a format ({suffix}) that this SimpleITK does not read", "Convert it to NIfTI.")
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS[suffix])
    reader.SetFileName(str(path))
    stored = storage.inspect(path)
    permissive = stored is not None and _is_sheared(stored)
    try:
        with itk_io, _sheared_forms(permissive):
            reader.ReadImageInformation()
    except RuntimeError as error:
        # Damaged data has a better reason than ITK's.
        if stored is not None:
            storage.verify(stored)
        if suffix in UNSCALED_SUFFIXES:
            tiff.pages_of(path)
        raise InputError(path, f"cannot be read: {dicom.reason_of(error)}") from error
    pages = None
    if suffix in UNSCALED_SUFFIXES:
        pages = tiff.pages_of(path, reader.GetNumberOfComponents(), _three(reader.GetSize(), 1)[2])
    return OpenVolume(_header(path, reader, stored, spacing, pages), reader, stored, permissive, pages)


def _header(
    path: Path,
    reader: sitk.ImageFileReader,
    stored: storage.Storage | None,
    stated: Sequence[float] | None,
    pages: tiff.Pages | None,
) -> Header:
    dimension = reader.GetDimension()
    size, spacing, origin = reader.GetSize(), reader.GetSpacing(), reader.GetOrigin()
    matrix = np.array(reader.GetDirection()).reshape(dimension, dimension)
    components, kind = reader.GetNumberOfComponents(), reader.GetPixelID()
    frames = size[3] if dimension == 4 else 1
    segmented = reader.HasMetaDataKey("Segment0_ID") or reader.HasMetaDataKey("Segment0_Name")
    if components > 1 and frames == 1 and (segmented or kind != sitk.sitkVectorUInt8 or components not in _COLOURS):
        frames = components  # Slicer's sequences keep their frames so, and so do channels
    if pages is not None and pages.volumes > 1:
        size, frames = (*size[:2], pages.slices), pages.volumes
    spatial = min(dimension, 3)
    direction = np.eye(3)
    direction[:spatial, :spatial] = matrix[:spatial, :spatial]
    remarks = []
    if stored is not None and stored.analyze:
        remarks.append("is Analyze, which does not say how the volume lies; left and right may be swapped")
    if stored is not None and stored.unscaled:
        if stated is None:
            remarks.append("does not say how large its voxels are; 1 mm was taken, and a spacing can be stated")
        else:
            spacing = _stated(path, "a header without spacing", stated)
    if pages is not None:
        remarks += [pages.remark] if pages.remark else []
        spacing, origin, direction = _stated(path, "TIFF", stated), (0.0, 0.0, 0.0), np.eye(3)
    header = _checked(
        Header(
            path=path,
            size=_three(size, 1),
            spacing=_three(spacing, 1.0),
            origin=_three(origin, 0.0),
            direction=tuple(direction.ravel().tolist()),
            components=components,
            dimension=dimension,
            pixel_type=sitk.GetPixelIDValueAsString(kind),
            frames=frames,
            frames_are=pages.description if pages is not None else "",
            remarks=tuple(remarks),
        )
    )
    return header if stored is None else _with_other_form(header, stored.forms)


def _stated(path: Path, what: str, spacing: Sequence[float] | None) -> tuple[float, float, float]:
    if spacing is None:
        raise InputError(
            path, f"does not say how large its voxels are ({what})", "State their spacing in mm.", "spacing"
        )
    if len(spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise InputError(path, f"cannot have a spacing of {_times(tuple(spacing))} mm", "", "spacing")
    return (float(spacing[0]), float(spacing[1]), float(spacing[2]))


# NIfTI's two forms ---------------------------------------------------------------------------------------------


def _is_sheared(stored: storage.Storage) -> bool:
    """Tells whether a NIfTI's sform is sheared a little: by rounding, which ITK refuses unless it is told not to.

    Raises:
        InputError: it is sheared by more, and there is no other form.
    """
    if "sform" not in stored.forms:
        return False
    axes = stored.forms["sform"][:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not lengths.all():
        raise InputError(stored.path, "has a direction that is not orthonormal: an axis of its sform has no length")
    shear = float(np.abs((axes / lengths).T @ (axes / lengths) - np.eye(3)).max())
    if shear > _PERPENDICULAR and "qform" not in stored.forms:
        raise InputError(
            stored.path,
            f"has a direction that is not orthonormal: its sform is sheared by {shear:.3g} and it has no qform",
            "Resample it first.",
        )
    return 1e-7 < shear <= _PERPENDICULAR


@contextmanager
def _sheared_forms(allowed: bool) -> Iterator[None]:
    """Lets ITK make a NIfTI's direction orthonormal; the environment is the only way to ask SimpleITK for it."""
    if not allowed:
        yield
        return
    before = os.environ.get(_PERMISSIVE)
    os.environ[_PERMISSIVE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PERMISSIVE]
        else:
            os.environ[_PERMISSIVE] = before


def _with_other_form(header: Header, forms: dict[str, np.ndarray]) -> Header:
    """Adds the form that ITK did not take, where it puts the voxels elsewhere than the one that it took."""
    if len(forms) < 2:
        return header
    places = {}
    for name, form in forms.items():
        axes = np.diag([-1.0, -1.0, 1.0]) @ form[:3, :3]
        lengths = np.linalg.norm(axes, axis=0)
        if not lengths.all():
            continue
        origin = np.array([-1.0, -1.0, 1.0]) * form[:3, 3]
        places[name] = replace(
            header,
            spacing=_three(lengths.tolist(), 1.0),
            origin=_three(origin.tolist(), 0.0),
            direction=tuple((axes / lengths).ravel().tolist()),
        )
    away = {name: _apart(header, other) for name, other in places.items()}
    others = [name for name, distance in away.items() if distance > GRID_TOLERANCE * min(header.spacing)]
    if len(others) != 1:
        return header
    other = places[others[0]]
    taken = next((name for name in forms if name != others[0]), "")
    remark = (
        f"its sform and qform contradict each other (corners up to {away[others[0]]:.1f} mm apart): "
        f"{taken} was taken, spacing {_times(header.spacing)} mm; {others[0]} has spacing {_times(other.spacing)} mm"
    )
    return replace(
        header,
        other_form=(other.spacing, other.origin, other.direction),
        remarks=(*header.remarks, remark),
    )


def _executed(reader: sitk.ImageFileReader, path: Path, permissive: bool = False) -> sitk.Image:
    try:
        with itk_io, _sheared_forms(permissive):
            return reader.Execute()
    except RuntimeError as error:
        reason = dicom.reason_of(error)
        if "allocate" in reason:
            raise InputError(path, "needs more memory than there is") from error
        raise InputError(path, f"its voxels cannot be read: {reason}") from error


def _tell(header: Header, say: Say) -> None:
    for remark in header.remarks:
        say(remark)


def _read_series(series: Series, frame: int | None, spacing: Sequence[float] | None, say: Say) -> sitk.Image:
    header = header_of_series(series, frame, spacing)
    _tell(header, say)
    _check_memory(series.folder, math.prod(header.size))
    image = sitk.GetImageFromArray(dicom.values_of(series.stack(frame), _pixels_of))
    return _placed(image, header)


def _pixels_of(file: Path) -> np.ndarray:
    check_name(file)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    pixels = sitk.GetArrayFromImage(_executed(reader, file))
    return pixels if pixels.ndim > 2 else pixels[None]


def _placed(image: sitk.Image, header: Header) -> sitk.Image:
    image.SetSpacing(header.spacing)
    image.SetOrigin(header.origin)
    image.SetDirection(header.direction)
    return image


def _checked(header: Header) -> Header:
    path = header.path
    if header.dimension > 4 or header.dimension < 2:
        raise InputError(path, f"has {header.dimension} dimensions; 2, 3 or 4 are read")
    if header.components > 1 and header.frames == 1:
        reason = f"is a colour image: {header.components} values in each voxel ({header.pixel_type})"
        raise InputError(path, reason, OF_COLOUR)
    if header.components > 1 and header.dimension == 4:
        raise InputError(path, f"has {header.components} values in each voxel and 4 dimensions")
    if min(header.size) < 1:
        raise InputError(path, f"is empty: its size is {_times(header.size)}")
    if math.prod(header.size) * header.frames > MOST_VOXELS:
        raise InputError(path, f"announces {_times(header.size)} voxels, more than can be meant")
    if not all(math.isfinite(s) and s > 0 for s in header.spacing):
        raise InputError(path, f"has an impossible spacing: {_times(header.spacing)} mm")
    if not all(map(math.isfinite, (*header.origin, *header.direction))):
        raise InputError(path, "has a position or direction that is not a number")
    axes = np.array(header.direction).reshape(3, 3)
    if abs(np.linalg.det(axes)) < 1e-6:
        raise InputError(path, "has a singular direction: two of its axes coincide")
    shear = np.abs(axes.T @ axes - np.eye(3)).max()
    if shear > _PERPENDICULAR:
        raise InputError(path, "has a sheared direction: its axes are not perpendicular", "Resample it first.")
    if shear < 1e-9:
        return header
    left, _, right = np.linalg.svd(axes)  # the nearest orthonormal axes
    return replace(header, direction=tuple((left @ right).ravel().tolist()))


def _check_memory(path: Path, voxels: int) -> None:
    needed = voxels * 8
    if needed > SMALL and needed > (free := available_memory()):
        raise InputError(path, f"needs {needed / 1e9:.1f} GB of memory to be read, {free / 1e9:.1f} GB are free")


def geometry_of(
    of: sitk.Image | Header,
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Returns size, spacing, origin and direction."""
    if isinstance(of, Header):
        return of.size, of.spacing, of.origin, of.direction
    return of.GetSize(), of.GetSpacing(), of.GetOrigin(), of.GetDirection()


def _points(
    indices: np.ndarray, spacing: tuple[float, ...], origin: tuple[float, ...], direction: tuple[float, ...]
) -> np.ndarray:
    """Returns where voxels (one a row, x, y, z) lie, in mm."""
    return np.array(origin) + (indices * spacing) @ np.reshape(direction, (3, 3)).T


def _three(values: tuple, missing: float) -> tuple:
    return (tuple(values) + (missing, missing, missing))[:3]


def _times(values: tuple[float, ...]) -> str:
    return "×".join(str(round(v)) if 1e5 <= v < math.inf else f"{v:g}" for v in values)


def _place(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:.2f}" for v in values) + ")"
