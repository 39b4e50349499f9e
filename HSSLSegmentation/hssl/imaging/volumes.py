"""Volumes and label maps, from files to SimpleITK images and back; what cannot be used is refused with the reason."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk

from ..errors import InputError, OutputError
from ..files import whole_file
from ..threads import itk_reads
from . import dicom
from . import voxel_data as storage
from .dicom import Series, series_in
from .formats import READERS, is_dicom, suffix_of

__all__ = [
    "Header",
    "Series",
    "check_values",
    "grid_difference",
    "read_header",
    "read_label_map",
    "read_volume",
    "series_in",
    "write_volume",
]

WRITTEN = (".nii", ".nii.gz", ".nrrd", ".mha")

MOST_VOXELS = 1 << 33
"""2048³. A header that announces more is taken for a damaged one."""

_PERPENDICULAR = 1e-3
_READERS_THERE = frozenset(sitk.ImageFileReader().GetRegisteredImageIOs())
_GRID_TOLERANCE = 0.1
"""Two grids are one when no corner is off by more than this part of a voxel."""

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
    modality: str | None = None
    """Of a DICOM series."""


def read_header(path: str | Path, series: str | None = None) -> Header:
    """Reads the header of a file, or of a DICOM series in a folder, without its voxels.

    Args:
        path: a file, or the folder of a DICOM series.
        series: the series' instance UID where the folder has several.

    Raises:
        InputError: unreadable, empty, truncated, impossible size, spacing or direction, colour.
    """
    path = Path(path)
    if path.is_dir():
        return header_of_series(dicom.find_series(path, series))
    reader = _opened(path)
    dimension = reader.GetDimension()
    size, spacing, origin = reader.GetSize(), reader.GetSpacing(), reader.GetOrigin()
    matrix = np.array(reader.GetDirection()).reshape(dimension, dimension)
    components, kind = reader.GetNumberOfComponents(), reader.GetPixelID()
    frames = size[3] if dimension == 4 else 1
    if components > 1 and frames == 1 and kind != sitk.sitkVectorUInt8:
        frames = components  # Slicer's sequences keep their frames so
    spatial = min(dimension, 3)
    direction = np.eye(3)
    direction[:spatial, :spatial] = matrix[:spatial, :spatial]
    return _checked(
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
            modality=dicom.tag(reader, "0008|0060") or None,
        )
    )


def header_of_series(series: Series) -> Header:
    """Returns the header of a DICOM series that was found.

    Raises:
        InputError: the series has a problem, an impossible geometry, or colour.
    """
    if series.problem:
        raise InputError(series.folder, f"series {series.uid}: {series.problem}" if series.uid else series.problem)
    return _checked(
        Header(
            path=series.folder,
            size=series.size,
            spacing=series.spacing,
            origin=series.origin,
            direction=series.direction,
            components=series.components,
            dimension=3,
            pixel_type=series.pixel_type,
            modality=series.modality or None,
        )
    )


def read_volume(path: str | Path, series: str | None = None, frame: int | None = None) -> sitk.Image:
    """Reads one scalar volume; a 2D file becomes a volume of one slice.

    Args:
        path: a file, or the folder of a DICOM series.
        series: the series' instance UID where the folder has several.
        frame: which volume of a file that has several, counted from 0.

    Returns:
        A 3D image with the pixel type of the file.

    Raises:
        InputError: as `read_header`; also damaged voxels, a missing choice of frame, NaN that a NIfTI reader would
            hide, or less free memory than the volume needs.
    """
    path = Path(path)
    if path.is_dir():
        return _read_series(path, series)
    header = read_header(path)
    if frame is None and header.frames > 1:
        raise InputError(path, f"has {header.frames} frames and none is chosen", "Choose one.", "frame")
    if frame is not None and not 0 <= frame < header.frames:
        raise InputError(path, f"has no frame {frame}: it has {header.frames}")
    _check_memory(path, math.prod(header.size) * (header.components if header.dimension < 4 else 1))
    stored = storage.inspect(path)
    if stored is not None:
        storage.verify(stored)
    reader = _opened(path)
    if header.dimension == 4:
        reader.SetExtractSize([*header.size, 0])
        reader.SetExtractIndex([0, 0, 0, frame or 0])
    image = _executed(reader, path)
    if image.GetNumberOfComponentsPerPixel() > 1:
        image = sitk.VectorIndexSelectionCast(image, frame or 0)
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    image.SetSpacing(header.spacing)
    image.SetOrigin(header.origin)
    image.SetDirection(header.direction)
    return image


def check_values(image: sitk.Image, path: str | Path) -> None:
    """Checks that the voxels can be learned from.

    Raises:
        InputError: the volume is empty, has NaN or infinite voxels, or is constant.
    """
    values = sitk.GetArrayViewFromImage(image)
    if values.size == 0:
        raise InputError(path, "is empty: it has no voxel")
    low, high = values.min(), values.max()  # NaN and infinity reach one of the two
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(path, "has voxels that are NaN or infinite")
    if low == high:
        raise InputError(path, f"is constant: every voxel is {low:g}")


def read_label_map(path: str | Path, like: sitk.Image | Header | None = None, frame: int | None = None) -> sitk.Image:
    """Reads a label map; floating-point voxels with whole values are accepted.

    Args:
        path: the file.
        like: the image that it labels; a label map on another grid is refused.
        frame: which label map of a file that has several, counted from 0.

    Returns:
        A 3D image of 8- or 16-bit unsigned integers, on exactly the grid of `like`.

    Raises:
        InputError: as `read_volume`; also values that are no whole numbers from 0 to 65535, or another grid.
    """
    label = read_volume(path, frame=frame)
    values = sitk.GetArrayViewFromImage(label)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(path, "has voxels that are NaN or infinite")
    if low < 0 or high > 65535:
        raise InputError(path, f"has label values from {low:g} to {high:g}; they must be 0 to 65535")
    if values.dtype.kind == "f" and any(not np.array_equal(np.rint(part), part) for part in values):
        raise InputError(path, "has label values that are not whole numbers")
    label = sitk.Cast(label, sitk.sitkUInt8 if high < 256 else sitk.sitkUInt16)
    if like is not None:
        difference = grid_difference(label, like)
        if difference:
            raise InputError(path, f"is on another grid than its image: {difference}")
        spacing, origin, direction = _geometry(like)[1:]
        label.SetSpacing(spacing)
        label.SetOrigin(origin)
        label.SetDirection(direction)
    return label


def grid_difference(one: sitk.Image | Header, other: sitk.Image | Header) -> str | None:
    """Tells how two grids differ, or None when every corner coincides within a tenth of a voxel."""
    (size, spacing, origin, direction), (size2, spacing2, origin2, direction2) = _geometry(one), _geometry(other)
    if size != size2:
        return f"size {_times(size)} against {_times(size2)}"
    tolerance = _GRID_TOLERANCE * min(*spacing, *spacing2)
    ends = [(0, n - 1) for n in size]
    worst = 0.0
    for corner in itertools.product(*ends):
        distance = math.dist(_point(corner, spacing, origin, direction), _point(corner, spacing2, origin2, direction2))
        worst = max(worst, distance)
    if worst <= tolerance:
        return None
    if any(abs(a - b) > 1e-3 * a for a, b in zip(spacing, spacing2, strict=True)):
        return f"spacing {_times(spacing)} mm against {_times(spacing2)} mm"
    if any(abs(a - b) > 1e-3 for a, b in zip(direction, direction2, strict=True)):
        return f"another direction, the corners are up to {worst:.2f} mm apart"
    return f"origin {_place(origin)} against {_place(origin2)} mm"


def write_volume(image: sitk.Image, path: str | Path) -> None:
    """Writes a volume or label map, compressed, whole or not at all.

    Raises:
        OutputError: the format is none of .nii, .nii.gz, .nrrd, .mha, or the file cannot be written.
    """
    path = Path(path)
    if "float" in image.GetPixelIDTypeAsString() and not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise OutputError(path, "cannot be written: the volume has voxels that are NaN or infinite")
    if suffix_of(path) not in WRITTEN:
        raise OutputError(path, f"cannot be written: the format must be one of {', '.join(WRITTEN)}")
    with whole_file(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), suffix_of(path) != ".nii")
        except RuntimeError as error:
            raise OutputError(path, f"cannot be written: {dicom.reason_of(error)}") from error
        # ITK writes NIfTI without looking whether the disk took it all.
        try:
            written = storage.inspect(temporary)
            if written is not None:
                storage.verify(written)
        except InputError as error:
            raise OutputError(path, f"cannot be written: what arrived on the disk {error.reason}") from error


def _opened(path: Path) -> sitk.ImageFileReader:
    suffix = suffix_of(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    if size == 0:
        raise InputError(path, "is empty: the file has no bytes")
    reader, stored = sitk.ImageFileReader(), None
    if suffix:
        if READERS[suffix] not in _READERS_THERE:
            raise InputError(
                path, f"is in a format ({suffix}) that this SimpleITK does not read", "Convert it to NIfTI."
            )
        reader.SetImageIO(READERS[suffix])
        stored = storage.inspect(path)
    elif is_dicom(path):
        reader.SetImageIO("GDCMImageIO")
    else:
        raise InputError(path, f"is in no format that is read: {', '.join(READERS)}, DICOM")
    reader.SetFileName(str(path))
    try:
        with itk_reads:
            reader.ReadImageInformation()
    except RuntimeError as error:
        if stored is not None:
            storage.verify(stored)  # damaged data has a better reason than ITK's
        raise InputError(path, f"cannot be read: {dicom.reason_of(error)}") from error
    return reader


def _executed(reader: sitk.ImageFileReader | sitk.ImageSeriesReader, path: Path) -> sitk.Image:
    try:
        with itk_reads:
            return reader.Execute()
    except RuntimeError as error:
        reason = dicom.reason_of(error)
        if "allocate" in reason:
            raise InputError(path, "needs more memory than there is") from error
        raise InputError(path, f"its voxels cannot be read: {reason}") from error


def _read_series(folder: Path, uid: str | None) -> sitk.Image:
    series = dicom.find_series(folder, uid)
    header = header_of_series(series)
    _check_memory(folder, math.prod(header.size))
    if len(series.files) == 1:
        image = _executed(_opened(series.files[0]), folder)
    else:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([str(f) for f in series.files])
        image = _executed(reader, folder)
    image.SetSpacing(header.spacing)
    image.SetOrigin(header.origin)
    image.SetDirection(header.direction)
    return image


def _checked(header: Header) -> Header:
    path = header.path
    if header.dimension > 4 or header.dimension < 2:
        raise InputError(path, f"has {header.dimension} dimensions; 2, 3 or 4 are read")
    if header.components > 1 and header.frames == 1:
        raise InputError(path, f"is a colour image: {header.components} values in each voxel ({header.pixel_type})")
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
    if np.abs(axes.T @ axes - np.eye(3)).max() > _PERPENDICULAR:
        raise InputError(path, "has a sheared direction: its axes are not perpendicular", "Resample it first.")
    return header


def _check_memory(path: Path, voxels: int) -> None:
    needed, free = voxels * 8, psutil.virtual_memory().available
    if needed > free:
        raise InputError(path, f"needs {needed / 1e9:.1f} GB of memory to be read, {free / 1e9:.1f} GB are free")


def _geometry(
    of: sitk.Image | Header,
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    if isinstance(of, Header):
        return of.size, of.spacing, of.origin, of.direction
    return of.GetSize(), of.GetSpacing(), of.GetOrigin(), of.GetDirection()


def _point(
    index: tuple[int, ...], spacing: tuple[float, ...], origin: tuple[float, ...], direction: tuple[float, ...]
) -> list[float]:
    steps = [i * s for i, s in zip(index, spacing, strict=True)]
    return [origin[row] + sum(direction[3 * row + column] * steps[column] for column in range(3)) for row in range(3)]


def _three(values: tuple, missing: float) -> tuple:
    return (tuple(values) + (missing, missing, missing))[:3]


def _times(values: tuple[float, ...]) -> str:
    return "×".join(f"{v:g}" if v < 1e5 else str(round(v)) for v in values)


def _place(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:.2f}" for v in values) + ")"
