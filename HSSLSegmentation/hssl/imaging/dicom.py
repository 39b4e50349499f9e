"""DICOM series: which there are in a folder, in which order their slices stand, and which slices are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, encodable
from ..threads import itk_reads
from .formats import is_dicom


@dataclass(frozen=True)
class Series:
    """The slices of one series in one folder, in the order of their positions.

    `size`, `spacing` (mm), `origin` (mm, LPS) and `direction` (row-major 3×3) are in x, y, z order, as in SimpleITK.
    """

    folder: Path
    uid: str
    """Series instance UID; "" for files that are no slices."""
    files: tuple[Path, ...]
    modality: str = ""
    problem: str | None = None
    """Why the series cannot be read as a volume; None: it can, and the geometry below is known."""
    size: tuple[int, int, int] = (0, 0, 0)
    spacing: tuple[float, float, float] = (0.0, 0.0, 0.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = ()
    components: int = 1
    pixel_type: str = ""


@dataclass
class _Slice:
    file: Path
    uid: str
    modality: str
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: np.ndarray
    direction: tuple[float, ...]
    components: int
    pixel_type: str
    along: float = field(default=0.0)
    """Position along the normal of the slices, mm."""


def series_in(folder: str | Path) -> list[Series]:
    """Finds the series whose slices lie in this folder (not in folders below it).

    Files that claim to be DICOM and are no readable slices come as a series of their own with UID "".

    Raises:
        InputError: the folder cannot be listed.
    """
    folder = Path(folder)
    try:
        files = sorted(p for p in folder.iterdir() if p.is_file() and is_dicom(p))
    except OSError as error:
        raise InputError(folder, f"cannot be read: {error.strerror or error}") from error
    slices: dict[str, list[_Slice]] = {}
    unreadable: dict[Path, str] = {}
    for file in files:
        try:
            one = _read_slice(file)
        except RuntimeError as error:
            unreadable[file] = reason_of(error)
            continue
        slices.setdefault(one.uid, []).append(one)
    found = [_series(folder, uid, members) for uid, members in sorted(slices.items())]
    if unreadable:
        first, why = next(iter(unreadable.items()))
        problem = f"{len(unreadable)} DICOM files are no readable images, the first is {first.name}: {why}"
        found.append(Series(folder, "", tuple(unreadable), problem=problem))
    return found


def find_series(folder: str | Path, uid: str | None) -> Series:
    """Returns the series of that UID, or the only one there is.

    Raises:
        InputError: there is none or, without a UID, more than one; or the series has a problem.
    """
    found = series_in(folder)
    readable = [s for s in found if s.uid]
    if uid is not None:
        readable = [s for s in readable if s.uid == uid]
    if not readable:
        reason = f"has no series {uid}" if uid is not None else "has no DICOM series"
        broken = next((s.problem for s in found if not s.uid), None)
        raise InputError(folder, f"{reason} ({broken})" if broken else reason)
    if len(readable) > 1:
        raise InputError(folder, f"has {len(readable)} series, choose one: {', '.join(s.uid for s in readable)}")
    if readable[0].problem:
        raise InputError(folder, f"series {readable[0].uid}: {readable[0].problem}")
    return readable[0]


def reason_of(error: Exception) -> str:
    """Returns the sentence that matters out of an ITK exception, without addresses and source lines."""
    lines = [line.strip() for line in encodable(str(error)).splitlines() if line.strip()]
    for line in reversed(lines):
        for mark in ("ITK ERROR:", "itk::ERROR:", "sitk::ERROR:"):
            if mark in line:
                text = line.split(mark, 1)[1].strip()
                head, found, tail = text.partition("): ")
                return tail if found and "(0x" in head else text
    return lines[-1] if lines else type(error).__name__


def tag(reader: sitk.ImageFileReader, key: str) -> str:
    """Returns the text of a DICOM tag such as "0008|0060", or "" when it is absent."""
    return encodable(reader.GetMetaData(key).strip("\0 ")) if reader.HasMetaDataKey(key) else ""


def _read_slice(file: Path) -> _Slice:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    with itk_reads:
        reader.ReadImageInformation()
    return _Slice(
        file=file,
        uid=tag(reader, "0020|000e") or "unknown",
        modality=tag(reader, "0008|0060"),
        size=reader.GetSize(),
        spacing=reader.GetSpacing(),
        origin=np.array(reader.GetOrigin()[:3]),
        direction=reader.GetDirection(),
        components=reader.GetNumberOfComponents(),
        pixel_type=sitk.GetPixelIDValueAsString(reader.GetPixelID()),
    )


def _series(folder: Path, uid: str, slices: list[_Slice]) -> Series:
    first = slices[0]
    files = tuple(s.file for s in slices)
    if any(len(s.size) != 3 for s in slices):
        return Series(folder, uid, files, first.modality, f"{first.file.name} has {len(first.size)} dimensions")
    if len(slices) > 1:
        axes = np.array(first.direction).reshape(3, 3)
        normal = np.cross(axes[:, 0], axes[:, 1])
        for one in slices:
            one.along = float(one.origin @ normal)
        slices.sort(key=lambda s: (s.along, s.file))
        files = tuple(s.file for s in slices)
        problem = _differing(slices) or _uneven(slices, normal)
        if problem:
            return Series(folder, uid, files, first.modality, problem)
        first = slices[0]
        step = (slices[-1].along - first.along) / (len(slices) - 1)
        direction = tuple(np.column_stack([axes[:, 0], axes[:, 1], normal]).ravel().tolist())
    else:
        step, direction = first.spacing[2], first.direction
    return Series(
        folder,
        uid,
        files,
        first.modality,
        size=(first.size[0], first.size[1], len(slices) if len(slices) > 1 else first.size[2]),
        spacing=(first.spacing[0], first.spacing[1], step),
        origin=(float(first.origin[0]), float(first.origin[1]), float(first.origin[2])),
        direction=direction,
        components=first.components,
        pixel_type=first.pixel_type,
    )


def _differing(slices: list[_Slice]) -> str | None:
    first = slices[0]
    for one in slices:
        for what, here, there in (
            ("size", one.size, first.size),
            ("pixel type", (one.pixel_type, one.components), (first.pixel_type, first.components)),
        ):
            if here != there:
                return f"its slices differ in {what}: {first.file.name} has {there}, {one.file.name} has {here}"
        if not np.allclose(one.direction, first.direction, atol=1e-3):
            return f"its slices differ in orientation: {first.file.name} and {one.file.name}"
        if not np.allclose(one.spacing[:2], first.spacing[:2], rtol=1e-3):
            return f"its slices differ in spacing: {first.file.name} and {one.file.name}"
    if first.size[2] != 1:
        return f"it has several volumes of {first.size[2]} slices each, {len(slices)} files"
    return None


def _uneven(slices: list[_Slice], normal: np.ndarray) -> str | None:
    steps = np.diff([s.along for s in slices])
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])  # a gap among few slices must not shift it
    twice = [i for i, step in enumerate(steps) if step < 1e-3]
    if twice:
        names = ", ".join(f"{slices[i].file.name} and {slices[i + 1].file.name}" for i in twice[:3])
        return f"{len(twice)} slices have the position of another one ({names}): duplicates, phases or echoes"
    wide = [i for i, step in enumerate(steps) if step > 1.5 * usual]
    if wide:
        names = "; ".join(f"between {slices[i].file.name} and {slices[i + 1].file.name}" for i in wide[:3])
        missing = sum(round(float(steps[i]) / usual) - 1 for i in wide)
        return f"{missing} slices are missing, {names}"
    if np.abs(steps - usual).max() > max(0.05 * usual, 0.02):
        return f"its slices are unevenly spaced, {steps.min():.3f} to {steps.max():.3f} mm"
    shift = slices[-1].origin - slices[0].origin
    across = shift - (shift @ normal) * normal
    if np.linalg.norm(across) > 0.5 * min(slices[0].spacing[:2]):
        return f"its slices are shifted by {np.linalg.norm(across):.1f} mm against each other (tilted gantry)"
    return None
