"""DICOM folders: which series of images there are, in which order their slices stand, and what else lies there."""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import InputError, encodable
from ..plural import counted, shortened
from .formats import is_dicom
from .stacks import MARKS, DicomSlice, Stack, largest, stacks_of
from .voxel_data import DEFLATE_LIMIT

if TYPE_CHECKING:  # pydicom takes a while to load, and most files are none of its
    from pydicom.dataset import Dataset

TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Modality", "PatientID", "InstanceNumber"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing"),
    *("SliceThickness", "SpacingBetweenSlices"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("PhotometricInterpretation", "RescaleSlope", "RescaleIntercept"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("DetectorInformationSequence", "SliceVector", "SequenceOfUltrasoundRegions"),
    *MARKS,
)
"""The only elements of an image's header that are read (for labels see `dicom_labels.TAGS`).

None of them but the patient's ID tells who the patient is, and that alone goes into a catalogue: images of one patient
belong on one side of a split.
"""

NO_IMAGES = frozenset(
    {
        *("ANN", "ASMT", "AU", "DOC", "ECG", "EPS", "FID", "HD", "KER", "KO", "LEN", "M3D", "OAM", "PLAN", "PR", "REG"),
        *("RESP", "RTDOSE", "RTIMAGE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG"),
        *("SMR", "SR", "SRF", "STAIN", "TEXTUREMAP", "VA", "XAPROTOCOL"),
    }
)
"""Modalities (DICOM PS3.3 C.7.3.1.1.1) whose objects are no volumes to learn from, even where they have pixels."""

FLAT = frozenset(
    {
        *("BDUS", "BI", "CR", "DF", "DMS", "DS", "DX", "ES", "GM", "IO", "IVOCT", "IVUS"),
        *("LS", "MG", "OP", "OPT", "PX", "RF", "RG", "SM", "TG", "US", "XA", "XC"),
    }
)
"""Modalities each of whose files is an image of its own, and no slice: projections, ultrasound, photographs, microscopy."""

_BYTES = re.compile(r" ?'(?:0x[0-9a-fA-F]{2} ?)+'")
"""How pydicom shows a value representation that is none; where it stands, says more."""

_OF_REGIONS = "spacing in the regions of an ultrasound image"
_TWO_DIMENSIONAL, _CENTIMETRES = 1, 3
"""What DICOM calls them (PS3.3 C.8.5.5.1)."""

DEFLATED = "1.2.840.10008.1.2.1.99"
"""Transfer syntax of files that are compressed as a whole."""

_MOST_LISTED = 20
_OF_KIND = ("SOPClassUID", "Modality", "Rows", "NumberOfFrames", "ImagePositionPatient")

Kind = Literal["image", "segmentation", "structures", "other"]

_KINDS: dict[str, Kind] = {
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "segmentation",  # label map segmentation
    "1.2.840.10008.5.1.4.1.1.481.3": "structures",
}


@dataclass(frozen=True)
class Series:
    """The images of one series in one folder."""

    folder: Path
    uid: str
    """Series instance UID; "" for files that are no slices."""
    files: tuple[Path, ...]
    """Each once, in the order of the slices of its volumes."""
    modality: str = ""
    problem: str | None = None
    """Why nothing of the series can be read."""
    patient: str = ""
    """PatientID, "" where there is none."""
    study: str = ""
    frame_of_reference: str = ""
    stacks: tuple[Stack, ...] = ()
    """The volumes in it, the one of most slices first; a choice of `frame` counts them from 0."""
    remarks: tuple[str, ...] = ()
    """What a user should know of how the series was taken."""

    def stack(self, frame: int | None = None) -> Stack:
        """Returns the volume of that number, or the one that has more slices than any other.

        Raises:
            InputError: the series or the volume has a problem, the number is unknown, or there is no largest one.
        """
        if self.problem:
            raise InputError(self.folder, self.named(self.problem))
        chosen = largest(self.stacks) if frame is None else frame
        if chosen is None:
            listed = shortened((f"{n}: {s.description}" for n, s in enumerate(self.stacks)), _MOST_LISTED, "; ")
            raise InputError(
                self.folder,
                self.named(f"has {counted(len(self.stacks), 'volume')} and none is chosen: {listed}"),
                "Choose one.",
                "frame",
            )
        if not 0 <= chosen < len(self.stacks):
            raise InputError(self.folder, self.named(f"has no frame {chosen}: it has {len(self.stacks)}"))
        stack = self.stacks[chosen]
        if stack.problem:
            raise InputError(self.folder, self.named(stack.problem))
        return stack

    def named(self, reason: str) -> str:
        """Returns a reason with the series that it is the reason of: a folder may have several."""
        return f"series {self.uid}: {reason}" if self.uid else reason


@dataclass(frozen=True)
class Object:
    """A DICOM file that is no image: a segmentation, a structure set, a dose, a report."""

    file: Path
    kind: Kind
    modality: str
    patient: str = ""
    study: str = ""
    frame_of_reference: str = ""


@dataclass
class Contents:
    """What lies in a folder, or in a list of files."""

    series: list[Series] = field(default_factory=list)
    objects: list[Object] = field(default_factory=list)


@dataclass
class _File:
    path: Path
    kind: Kind
    uid: str
    instance: str
    modality: str
    patient: str
    study: str
    frame_of_reference: str
    planes: list[DicomSlice]


def series_in(folder: str | Path) -> list[Series]:
    """Finds the series of images whose slices lie in this folder (not in folders below it).

    Files that claim to be DICOM and are no readable slices come as a series of their own with UID "".

    Raises:
        InputError: the folder cannot be listed.
    """
    return contents_of(folder).series


def contents_of(folder: str | Path) -> Contents:
    """Finds the series of images in a folder as `series_in`, and the DICOM objects beside them that are no images.

    Raises:
        InputError: the folder cannot be listed.
    """
    folder = Path(folder)
    try:
        files = sorted(p for p in folder.iterdir() if p.is_file() and is_dicom(p))
    except OSError as error:
        raise InputError(folder, f"cannot be read: {error.strerror or error}") from error
    return _contents(folder, files)


def images_of_their_own(files: Sequence[Path]) -> list[Path]:
    """Returns the files, in their order, where each is an image of its own (see `FLAT`), such as the X-rays of a folder, or one
    that has none; [] where any is a slice, labels others, or cannot be read, or there is one image only, which is called
    after its folder as a series is."""
    alone = []
    for file in files:
        try:
            dataset = header_of(file, _OF_KIND)
        except InputError:
            return []
        kind = kind_of(dataset)
        flat = text_of(dataset, "Modality").upper() in FLAT
        if kind in ("segmentation", "structures") or (kind == "image" and not flat):
            return []
        if kind == "image" and "ImagePositionPatient" in dataset and "NumberOfFrames" not in dataset:
            return []
        alone += [file] if kind == "image" else []
    return alone if len(alone) > 1 else []


def series_of_file(file: str | Path) -> Series:
    """Returns the series that one file makes alone.

    Raises:
        InputError: it is no image.
    """
    file = Path(file)
    found = _contents(file, [file])
    if found.objects:
        raise InputError(file, f"is a DICOM object of modality {found.objects[0].modality or 'unknown'}, no image")
    return found.series[0]


def find_series(folder: str | Path, uid: str | None) -> Series:
    """Returns the series of that UID, or the only one there is.

    Raises:
        InputError: there is none or, without a UID, more than one; or the series has a problem.
    """
    found = contents_of(folder)
    readable = [s for s in found.series if s.uid]
    if uid is not None:
        readable = [s for s in readable if s.uid == uid]
    if not readable:
        reason = f"has no series {uid}" if uid is not None else "has no DICOM series"
        broken = next((s.problem for s in found.series if not s.uid), None)
        if broken is None and found.objects:
            broken = "of images, only " + ", ".join(sorted({o.modality or "unknown" for o in found.objects}))
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


def header_of(file: Path, tags: Sequence[str]) -> Dataset:
    """Reads the named elements of a DICOM file, with or without preamble; never its pixels.

    Raises:
        InputError: it is no DICOM file, or its header is damaged.
    """
    return _header(file, tags)[0]


def _header(path: Path, tags: Sequence[str]) -> tuple[Dataset, int]:
    """Returns the elements, and how many bytes there are from the pixels on."""
    import pydicom

    try:
        # Odd values are common, and of no concern here.
        with open(path, "rb") as file, pydicom.config.disable_value_validation():
            dataset = pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(tags))
            for _ in dataset.iterall():  # values are understood when they are first looked at
                pass
            return dataset, os.fstat(file.fileno()).st_size - file.tell()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # pydicom raises whatever a damaged value makes it stumble over
        said = _BYTES.sub("", encodable(str(error)))[:200]
        raise InputError(path, f"is no DICOM file that can be read: {said}") from error


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Makes an InputError of whatever values that are not what their elements should hold make code stumble over."""
    try:
        yield
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
        raise InputError(path, f"has a damaged header: {encodable(str(error))[:200]}") from error


def text_of(dataset: Dataset, keyword: str) -> str:
    """Returns an element as text, "" where it is absent or empty."""
    value = dataset.get(keyword)
    return "" if value is None else encodable(str(value)).strip("\0 ")


def kind_of(dataset: Dataset) -> Kind:
    """Tells what a DICOM object is, from its SOP class, or its modality where that is unknown."""
    from pydicom.uid import UID

    sop, modality = text_of(dataset, "SOPClassUID"), text_of(dataset, "Modality").upper()
    if sop in _KINDS:
        return _KINDS[sop]
    by_modality: dict[str, Kind] = {"SEG": "segmentation", "RTSTRUCT": "structures"}
    if modality in by_modality:
        return by_modality[modality]
    name = UID(sop).name if sop else ""
    if modality in NO_IMAGES or (name != sop and "Image Storage" not in name):
        return "other"
    return "image" if "Rows" in dataset or name != sop else "other"


# Reading -------------------------------------------------------------------------------------------------------


def _contents(folder: Path, files: Iterable[Path]) -> Contents:
    found = Contents()
    series: dict[str, list[_File]] = {}
    unreadable: dict[Path, str] = {}
    for path in files:
        try:
            one = _read(path)
        except InputError as error:
            unreadable[path] = error.reason
            continue
        if one.kind == "image":
            series.setdefault(one.uid, []).append(one)
        else:
            found.objects.append(Object(path, one.kind, one.modality, one.patient, one.study, one.frame_of_reference))
    found.series = [_series(folder, uid, members) for uid, members in sorted(series.items())]
    if unreadable:
        first, why = next(iter(unreadable.items()))
        many = counted(len(unreadable), "DICOM file is no readable image", "DICOM files are no readable images")
        problem = f"{many}, the first is {first.name}: {why}"
        found.series.append(Series(folder, "", tuple(unreadable), problem=problem))
    return found


def _read(path: Path) -> _File:
    dataset, present = _header(path, TAGS)
    kind = kind_of(dataset)
    if "Rows" not in dataset and (kind == "image" or not text_of(dataset, "SOPClassUID")):
        raise InputError(path, "cannot be read: it has no DICOM header of an image, or a truncated one")
    planes = []
    if kind == "image":
        with understood(path):
            planes = _planes(path, dataset, present)
        _check_length(path, dataset, planes[0], present)
    return _File(
        path,
        kind,
        text_of(dataset, "SeriesInstanceUID") or "unknown",
        text_of(dataset, "SOPInstanceUID"),
        text_of(dataset, "Modality"),
        text_of(dataset, "PatientID"),
        text_of(dataset, "StudyInstanceUID"),
        text_of(dataset, "FrameOfReferenceUID"),
        planes,
    )


def _check_length(path: Path, dataset: Dataset, plane: DicomSlice, present: int) -> None:
    """Refuses a file that is shorter than its uncompressed pixels, which GDCM would fill up."""
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if syntax is not None and (not syntax.is_transfer_syntax or syntax.is_compressed or syntax.is_deflated):
        return
    frames = int(dataset.get("NumberOfFrames") or 1)
    expected = plane.size[0] * plane.size[1] * plane.components * frames * plane.bits // 8
    if present < expected:
        raise InputError(path, f"is truncated: its pixels are {expected} bytes, {present} are there")


def _planes(path: Path, dataset: Dataset, present: int) -> list[DicomSlice]:
    frames = int(dataset.get("NumberOfFrames") or 1)
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame is not None and len(per_frame) != frames:
        raise ValueError(f"it announces {counted(frames, 'frame')} and describes {len(per_frame)}")
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    # However well they are compressed, each takes a byte.
    most = path.stat().st_size * DEFLATE_LIMIT if syntax == DEFLATED else max(present, 1)
    if not 1 <= frames <= most:
        raise ValueError(f"it announces {counted(frames, 'frame')}, and {present} bytes of pixels are there")
    common = {} if shared is None else flat(shared)
    if per_frame is None and frames > 1:
        return _classic_frames(path, dataset, frames)
    planes = []
    for frame in range(frames):
        own = {} if per_frame is None else flat(per_frame[frame])
        values = {**_plain_values(dataset), **common, **own}
        planes.append(_plane(path, values, frame if "NumberOfFrames" in dataset else -1))
    for plane in planes:
        plane.read_as = planes[0].rescale
    return planes


def _plain_values(dataset: Dataset) -> dict[str, Any]:
    values = {e.keyword: e.value for e in dataset if e.VR != "SQ"}
    return {**values, _OF_REGIONS: _spacing_in_regions(dataset)}


def flat(group: Dataset) -> dict[str, Any]:
    """Returns the elements of a functional group's items, which are as many sequences of one item each."""
    values: dict[str, Any] = {}
    for element in group:
        if element.VR == "SQ" and element.value:
            if not element.tag.is_private:
                values.update({e.keyword: e.value for e in element.value[0] if e.VR != "SQ" and e.keyword})
    return values


def _classic_frames(path: Path, dataset: Dataset, frames: int) -> list[DicomSlice]:
    """The frames of an object from before functional groups: nuclear medicine says in vectors what each is."""
    values = _plain_values(dataset)
    for item in dataset.get("DetectorInformationSequence") or []:
        values = {**values, **{e.keyword: e.value for e in item if e.VR != "SQ" and e.keyword}}
        break
    step = float(values.get("SpacingBetweenSlices") or values.get("SliceThickness") or 0)
    tomographic = "RECON TOMO" in [str(v) for v in values.get("ImageType") or []] or "SliceVector" in values
    vectors = {k: list(v) for k, v in values.items() if k.endswith("Vector") and v and len(v) == frames}
    planes = []
    for frame in range(frames):
        plane = _plane(path, {**values, **{k: v[frame] for k, v in vectors.items()}}, frame)
        if plane.position is not None and step and tomographic:
            place = int(vectors["SliceVector"][frame]) - 1 if "SliceVector" in vectors else frame
            plane.position = plane.position + place * step * plane.axes[:, 2]
        elif text_of(dataset, "Modality").upper() in FLAT:
            plane.position, plane.is_counted = frame * (step or 1.0) * plane.axes[:, 2], True
        else:
            plane.position = None
        planes.append(plane)
    return planes


def _plane(path: Path, values: dict[str, Any], frame: int) -> DicomSlice:
    position, orientation = values.get("ImagePositionPatient"), values.get("ImageOrientationPatient")
    # Projections state the spacing at the detector.
    spacing = values.get("PixelSpacing") or values.get("ImagerPixelSpacing") or values.get(_OF_REGIONS)
    axes = np.eye(3)
    if orientation is not None and len(orientation) == 6:
        row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
        normal = np.cross(row, column)
        if not np.isfinite(normal).all() or np.linalg.norm(normal) < 0.5:
            raise ValueError(f"its orientation is {', '.join(map(str, orientation))}")
        axes = np.column_stack([row, column, normal])
    thickness = values.get("SpacingBetweenSlices") or values.get("SliceThickness") or 0
    rescale = (float(values.get("RescaleSlope") or 1), float(values.get("RescaleIntercept") or 0))
    palette = values.get("PhotometricInterpretation") == "PALETTE COLOR"
    bits = _whole(values, "BitsAllocated", 16)
    if not 1 <= bits <= 64:
        raise ValueError(f"its values have {bits} bits")
    stored = _whole(values, "BitsStored", bits)
    numbers = (*rescale, thickness, *(spacing or ()), *(position or ()))
    if not np.isfinite(np.array(numbers, float)).all():
        raise ValueError("its position, spacing, slope or intercept is not a number")
    return DicomSlice(
        file=path,
        frame=frame,
        size=(int(values["Columns"]), int(values["Rows"])),
        spacing=None if not spacing else (float(spacing[1]), float(spacing[0])),
        position=None if position is None or len(position) != 3 else np.array(position, float),
        axes=axes,
        thickness=abs(float(thickness)),
        components=3 if palette else _whole(values, "SamplesPerPixel", 1),
        bits=bits,
        stored=stored if 1 <= stored <= bits else bits,
        signed=_whole(values, "PixelRepresentation", 0) == 1,
        rescale=rescale,
        read_as=rescale,
        number=frame if frame >= 0 else _whole(values, "InstanceNumber", 0),
        marks={k: _plain(values[k]) for k in MARKS if values.get(k) not in (None, "")},
    )


def _spacing_in_regions(dataset: Dataset) -> list[float] | None:
    """Returns the distance of rows and of columns in mm where the regions of an ultrasound image say it, and say the same."""
    found = set()
    for region in dataset.get("SequenceOfUltrasoundRegions") or []:
        if region.get("RegionSpatialFormat") == _TWO_DIMENSIONAL:
            units = region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")
            steps = [abs(10 * float(region.get(f"PhysicalDelta{axis}") or 0)) for axis in "YX"]
            found.add(tuple(steps) if units == (_CENTIMETRES, _CENTIMETRES) and all(steps) else None)
    only = found.pop() if len(found) == 1 else None
    return None if only is None else list(only)


def _whole(values: dict[str, Any], keyword: str, missing: int) -> int:
    value = values.get(keyword)
    return missing if value in (None, "") else int(value)


def _plain(value: Any) -> Any:
    """Returns an element's value as a number, a text, or a tuple of texts."""
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        return encodable(value)
    return tuple(encodable(str(v)) for v in value) if hasattr(value, "__iter__") else encodable(str(value))


def values_of(stack: Stack, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    """Puts the slices of a volume together (z, y, x), each with its own slope and intercept.

    Args:
        stack: the volume.
        read: returns the pixels of a file (frames, rows, columns), all with the slope and intercept of its first
            frame, as GDCM gives them.
    """
    first = stack.planes[0]
    values = np.empty((len(stack.planes), first.size[1], first.size[0]), pixel_type(stack))
    file, frames = None, np.empty(0)
    for number, plane in enumerate(stack.planes):
        if plane.file != file:
            file, frames = plane.file, read(plane.file)
        pixels = frames[max(plane.frame, 0)]
        if plane.read_as != plane.rescale:
            raw = np.rint((pixels - plane.read_as[1]) / plane.read_as[0])
            pixels = raw * plane.rescale[0] + plane.rescale[1]
        values[number] = pixels
    return values


def pixel_type(stack: Stack) -> np.dtype:
    """Returns the smallest type that holds what any of the slices can hold, once its slope was applied."""
    planes = stack.planes
    low = min(min(_ends(p)) for p in planes)
    high = max(max(_ends(p)) for p in planes)
    if any(not v.is_integer() for p in planes for v in p.rescale):
        return np.dtype(np.float32 if max(p.bits for p in planes) <= 16 else np.float64)
    kinds = ("u1", "i1", "u2", "i2", "u4", "i4")
    return np.dtype(next((k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max), "f8"))


def _ends(plane: DicomSlice) -> tuple[float, float]:
    slope, intercept = plane.rescale
    bits = plane.bits if plane.rescale == (1.0, 0.0) else plane.stored
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if plane.signed else (0, 2**bits - 1)
    return low * slope + intercept, high * slope + intercept


def _series(folder: Path, uid: str, members: list[_File]) -> Series:
    first = members[0]
    kept, dropped = _without_copies(members)
    stacks = stacks_of([p for one in kept for p in one.planes])
    problem = None
    if any("MOSAIC" in str(p.marks.get("ImageType")) for one in kept for p in one.planes):
        problem = "its slices are tiled into single images (mosaic); convert it first, to NIfTI by dcm2niix for example"
    remarks = []
    if dropped:
        names = shortened((f.name for f in dropped), 3)
        remarks.append(
            f"{counted(len(dropped), 'file is a copy of another', 'files are copies of others')} and left out ({names})"
        )
    if counts := {len(s.planes) for s in stacks if s.planes[0].is_counted}:
        remarks.append(f"its {max(counts)} frames have no positions and are taken as slices")
    if len(stacks) > 1 and largest(stacks) is not None:
        others = "; ".join(f"{n}: {s.description}" for n, s in enumerate(stacks) if n)
        remarks.append(
            f"the largest of {counted(len(stacks), 'volume')} is taken, 0: {stacks[0].description}; there are {others}"
        )
    return Series(
        folder,
        encodable(uid),
        tuple(dict.fromkeys(file for stack in stacks for file in stack.files)),
        first.modality,
        problem,
        first.patient,
        first.study,
        first.frame_of_reference,
        tuple(stacks),
        tuple(remarks),
    )


def _without_copies(members: list[_File]) -> tuple[list[_File], list[Path]]:
    """Drops files that are another one of the same instance byte for byte."""
    kept: list[_File] = []
    dropped: list[Path] = []
    known: dict[str, list[_File]] = {}
    for one in members:
        twins = known.setdefault(one.instance or str(one.path), [])
        if any(filecmp.cmp(twin.path, one.path, shallow=False) for twin in twins):
            dropped.append(one.path)
        else:
            twins.append(one)
            kept.append(one)
    return kept, dropped
