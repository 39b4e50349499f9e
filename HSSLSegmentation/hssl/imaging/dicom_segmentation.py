"""A label map as DICOM SEG: segments with their terminology, on the series that was segmented, for PACS and viewers."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import SimpleITK as sitk

from .. import __version__
from ..errors import InputError, OutputError, encodable
from .dicom import Series, flat
from .stacks import Stack
from .structures import NamedClass

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept
    from pydicom.dataset import Dataset

_TISSUE = ("SCT", "85756007", "Tissue")
"""What Slicer gives a segment that nobody described: the plainest category and type of DICOM's lists."""
_LONGEST = 64
"""Characters of a DICOM long string (LO)."""
_MUST_BE_THERE = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
"""Elements that every object of a study carries, empty where they are not known (type 2)."""
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


class ColoredClass(NamedClass, Protocol):
    """A class of a task as a viewer shows it."""

    @property
    def color(self) -> tuple[float, float, float] | None: ...


def write_dicom_segmentation(
    label_map: sitk.Image,
    series: Series,
    classes: Sequence[ColoredClass],
    path: str | Path,
    frame: int | None = None,
    algorithm: str = "HSSL",
) -> None:
    """Writes a label map of a DICOM series as a DICOM Segmentation (binary, one segment for each class).

    Segments carry the terminology of their class, which is Slicer's serialised form (context~category~type~…), or
    "Tissue" where it has none. The object belongs to the series' study and patient; each of its frames refers to the
    slice that it was made from, and lies where the label map has it. Texts are in UTF-8, whatever the series has, so that
    names of patients and of classes fit in. The same label map of the same images always gets the same instance UID.

    Args:
        label_map: the classes' values on exactly the grid of the series.
        series: the images that were segmented.
        classes: value, name, terminology and colour of each segment, in this order.
        path: where the object goes; any name.
        frame: which volume of a series that has several.
        algorithm: name of what made it, such as the model's.

    Raises:
        InputError: the series lacks what a segmentation must state, such as a frame of reference.
        OutputError: the file cannot be written.

    Example:
        >>> series = find_series("CT", None)  # doctest: +SKIP
        >>> write_dicom_segmentation(label_map, series, task.classes, "CT.seg.dcm")  # doctest: +SKIP
    """
    import highdicom
    import pydicom

    stack = series.stack(frame)
    values = sitk.GetArrayViewFromImage(label_map)
    numbers = np.zeros(values.shape, np.uint16)
    for number, one in enumerate(classes, 1):
        numbers[values == one.value] = number
    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")  # of an empty prediction, and of odd values in the series
            sources = _sources(stack, label_map)
            volume = highdicom.Volume(
                numbers, _affine(label_map), "PATIENT", frame_of_reference_uid=sources[0].FrameOfReferenceUID
            )
            told = [series.uid, str(frame), algorithm, __version__, *(str(s.SOPInstanceUID) for s in sources)]
            told += [f"{c.value} {c.name} {c.terminology} {c.color}" for c in classes]
            key = hashlib.sha256("\n".join(told).encode() + numbers.tobytes()).hexdigest()
            segmentation = highdicom.seg.Segmentation(
                source_images=sources,
                pixel_array=volume,
                segmentation_type="BINARY",
                segment_descriptions=[_described(number, one, algorithm) for number, one in enumerate(classes, 1)],
                series_instance_uid=pydicom.uid.generate_uid(entropy_srcs=[key, "series"]),
                series_number=900,
                sop_instance_uid=pydicom.uid.generate_uid(entropy_srcs=[key, "instance"]),
                instance_number=1,
                manufacturer="HSSL",
                manufacturer_model_name=_long_string(algorithm),
                software_versions=__version__,
                device_serial_number="0",
                content_label="HSSL",
                content_description=_long_string(algorithm),
                specific_character_set="ISO_IR 192",
            )
            for _ in segmentation.iterall():  # what was copied is understood while it is known how that was written
                pass
            segmentation.SeriesDescription = _long_string(f"Segmentation by {algorithm}")
    except InputError:
        raise
    except Exception as error:  # highdicom raises whatever an incomplete series makes it stumble over
        reason = f"cannot become a DICOM segmentation: {encodable(str(error))[:300]}"
        raise InputError(series.folder, reason) from error
    try:
        segmentation.save_as(path)
    except OSError as error:
        raise OutputError(path, f"cannot be written: {error.strerror or error}") from error


def _sources(stack: Stack, label_map: sitk.Image) -> list[Dataset]:
    """Returns the files of a volume, with its slices where the label map has them.

    highdicom refers frames to slices only where every one of them lies within a micrometre of its slice, and to all that
    lie there. Real slices stand a little off their even spacing, or say how they lie each for itself, and an enhanced image
    may have several volumes in one place: frames of the others are put beyond this one.
    """
    import highdicom
    from pydicom.dataset import Dataset

    affine, (columns, rows, step) = _affine(label_map), label_map.GetSpacing()
    orientation = np.array(label_map.GetDirection()).reshape(3, 3).T[:2].ravel().tolist()
    numbers = {(plane.file, max(plane.frame, 0)): number for number, plane in enumerate(stack.planes)}
    sources = []
    for file in stack.files:
        source = _source(file)
        groups = [group for keyword in _GROUPS for group in (source.get(keyword) or [])[:1]]
        stated = (source.get("SliceThickness"), *(flat(group).get("SliceThickness") for group in groups))
        thickness = next((one for one in stated if one), step)
        source.ImageOrientationPatient, source.PixelSpacing = orientation, [rows, columns]
        source.SliceThickness, source.SpacingBetweenSlices = thickness, step
        places = [
            (affine @ (numbers.get((file, frame), len(stack.planes) + frame), 0, 0, 1))[:3].tolist()
            for frame in range(int(source.get("NumberOfFrames") or 1))
        ]
        source.ImagePositionPatient = places[0]
        shared, frames = Dataset(), []
        shared.PlaneOrientationSequence = highdicom.PlaneOrientationSequence("PATIENT", orientation)
        shared.PixelMeasuresSequence = highdicom.PixelMeasuresSequence([rows, columns], thickness, step)
        for place in places:
            frames.append(Dataset())
            frames[-1].PlanePositionSequence = highdicom.PlanePositionSequence("PATIENT", place)
        source.SharedFunctionalGroupsSequence, source.PerFrameFunctionalGroupsSequence = [shared], frames
        sources.append(source)
    return sources


def _source(file: Path) -> Dataset:
    import pydicom

    dataset = pydicom.dcmread(file, force=True, stop_before_pixels=True)
    for keyword in _MUST_BE_THERE:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    missing = [k for k in ("FrameOfReferenceUID", "StudyInstanceUID", "SOPInstanceUID") if not dataset.get(k)]
    if missing:
        raise InputError(file, f"cannot be referred to by a segmentation: it has no {', '.join(missing)}")
    return dataset


def _affine(image: sitk.Image) -> np.ndarray:
    """Returns the matrix from (slice, row, column) to mm in LPS."""
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = axes[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine


def _described(number: int, one: ColoredClass, algorithm: str) -> object:
    import highdicom
    from pydicom.sr.codedict import codes

    parts = (one.terminology or "").split("~")
    category, kind = (_code(parts[n]) if len(parts) > n else None for n in (1, 2))
    region = _code(parts[5]) if len(parts) > 5 else None
    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=_long_string(one.name),
        segmented_property_category=category if category and kind else _concept(_TISSUE),
        segmented_property_type=kind if category and kind else _concept(_TISSUE),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=_long_string(algorithm), version=__version__, family=codes.cid7162.ArtificialIntelligence
        ),
        anatomic_regions=[region] if region else None,
        display_color=None
        if one.color is None
        else highdicom.color.CIELabColor.from_rgb(*(round(255 * part) for part in one.color)),
    )
    _add_modifier(described.SegmentedPropertyTypeCodeSequence, parts, 3, "SegmentedPropertyTypeModifierCodeSequence")
    if region:
        _add_modifier(described.AnatomicRegionSequence, parts, 6, "AnatomicRegionModifierSequence")
    return described


def _add_modifier(items: Sequence[Dataset], parts: list[str], place: int, keyword: str) -> None:
    modifier = _code(parts[place]) if len(parts) > place else None
    if modifier is not None:
        setattr(items[0], keyword, [modifier])


def _code(text: str) -> CodedConcept | None:
    """Reads "scheme^value^meaning"; None where it is empty."""
    scheme, _, rest = text.partition("^")
    value, _, meaning = rest.partition("^")
    return _concept((scheme, value, meaning)) if scheme and value and meaning else None


def _concept(code: tuple[str, str, str]) -> CodedConcept:
    from highdicom.sr import CodedConcept

    scheme, value, meaning = code
    return CodedConcept(value, scheme, _long_string(meaning))


def _long_string(text: str) -> str:
    """Returns a text as DICOM's LO: at most 64 characters, no backslash or control character."""
    return re.sub(r"[\\\x00-\x1f\x7f]+", " ", text).strip()[:_LONGEST] or "unnamed"
