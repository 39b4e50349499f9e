"""DICOM objects that label a series: segmentations (SEG) and radiotherapy structure sets (RTSTRUCT)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, encodable
from ..plural import counted, shortened
from .contours import Contour, filled
from .dicom import Kind, flat, header_of, kind_of, text_of, understood
from .structures import Say, Structure, chosen_structures

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

TAGS = (
    *("SOPClassUID", "Modality", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"),
    *("SegmentSequence", "SegmentationType", "ReferencedSeriesSequence"),
    *("StructureSetROISequence", "RTROIObservationsSequence", "ROIContourSequence"),
    "ReferencedFrameOfReferenceSequence",
)
"""The only elements of a label's header that are read, besides the frames of a segmentation."""

FARTHEST = 1e5
"""No point of a patient's contour is so many mm from the origin."""

FRACTION = 0.5
"""A voxel belongs to a segment of fractions or probabilities from this share on."""

_GRID_TOLERANCE = 0.1
_CONTEXT = "Segmentation category and type - DICOM master list"
_ANATOMY_CONTEXT = "Anatomic codes - DICOM master list"


@dataclass(frozen=True)
class Reference:
    """What a label object says of the images that it labels."""

    file: Path
    kind: Kind
    patient: str
    study: str
    frame_of_reference: str
    series: tuple[str, ...]
    """Instance UIDs of the series that it refers to."""
    structures: tuple[Structure, ...]

    def labels(self, series: str, frame_of_reference: str, study: str) -> bool:
        """Tells whether it labels that series: it names it, or names none and shares its frame of reference."""
        if self.series:
            return series in self.series
        return bool(frame_of_reference) and (self.frame_of_reference, self.study) == (frame_of_reference, study)


def reference_of(path: str | Path) -> Reference:
    """Reads to which series a SEG or RTSTRUCT belongs, and the structures in it.

    Raises:
        InputError: it is none of the two, or damaged.
    """
    path = Path(path)
    dataset = header_of(path, TAGS)
    kind = _kind(path, dataset)
    with understood(path):
        frames = {text_of(dataset, "FrameOfReferenceUID")}
        if kind == "segmentation":
            items = list(dataset.get("ReferencedSeriesSequence") or [])
        else:
            items = []
            for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
                frames.add(text_of(frame, "FrameOfReferenceUID"))
                for study in frame.get("RTReferencedStudySequence") or []:
                    items += list(study.get("RTReferencedSeriesSequence") or [])
        frames.discard("")
        series = dict.fromkeys(filter(None, (text_of(item, "SeriesInstanceUID") for item in items)))
        structures = _structures(kind, dataset)
    return Reference(
        path,
        kind,
        text_of(dataset, "PatientID"),
        text_of(dataset, "StudyInstanceUID"),
        min(frames, default=""),
        tuple(series),
        tuple(structures),
    )


def masks_of(
    path: str | Path, like: sitk.Image, names: Sequence[str] = (), say: Say = lambda text: None
) -> list[tuple[Structure, np.ndarray]]:
    """Returns structures with their voxels (boolean, z, y, x) on the grid of the image that they label.

    Args:
        path: a SEG or an RTSTRUCT.
        like: the image; a segmentation on another grid is refused, contours may lie anywhere.
        names: the structures to take, in this order; all of them for no names.
        say: told what lies outside the image, and which contours are left out.

    Raises:
        InputError: as `reference_of`; also a name that is not there, a SEG on another grid, or a label all of which lies
            outside the image.
    """
    path = Path(path)
    reference = reference_of(path)
    if not reference.structures:
        raise InputError(path, "holds no segment or closed contour")
    wanted = chosen_structures(path, reference.structures, names)
    if reference.kind == "structures":
        with understood(path):
            contours = _contours(path, wanted, not names, say)
        masks = [(s, _filled(s, drawn, like, say)) for s, drawn in zip(wanted, contours, strict=True)]
        if masks and not any(mask.any() for _, mask in masks):
            raise InputError(path, f"lies outside its image: no contour of {_listed(wanted)} has a voxel in it")
        return masks
    return _segment_masks(path, wanted, like, say)


def _filled(structure: Structure, contours: Sequence[Contour], like: sitk.Image, say: Say) -> np.ndarray:
    """Fills the contours of a structure; one that lies between the centres of voxels has the nearest of them."""
    mask = filled(contours, like)
    to_index = np.linalg.inv(np.array(like.GetDirection()).reshape(3, 3) * np.array(like.GetSpacing()))
    indices = [(c.points - like.GetOrigin()) @ to_index.T for c in contours]
    size = np.array(like.GetSize())
    out = sum(bool(((i < -0.6) | (i > size - 0.4)).any()) for i in indices)
    if out:
        say(f"contours of {structure.name} that reach out of the image are cut: {out} of {len(contours)}")
    if not mask.any():
        nearest = [np.rint(i.mean(0)).astype(int) for i in indices]
        inside = [n for n in nearest if ((n >= 0) & (n < size)).all()]
        for x, y, z in inside:
            mask[z, y, x] = True
        if inside:
            say(f"{structure.name} is smaller than a voxel and has the nearest one")
    return mask


def _listed(structures: Sequence[Structure]) -> str:
    return shortened((s.name for s in structures), 8)


def _kind(path: Path, dataset: Dataset) -> Kind:
    kind = kind_of(dataset)
    if kind not in ("segmentation", "structures"):
        modality = text_of(dataset, "Modality") or "unknown"
        raise InputError(path, f"is a DICOM object of modality {modality}, neither SEG nor RTSTRUCT")
    return kind


def _structures(kind: Kind, dataset: Dataset) -> list[Structure]:
    if kind == "segmentation":
        # In a label map every segment is of one layer; the others have a frame for each segment.
        single = text_of(dataset, "SegmentationType") == "LABELMAP"
        return [
            Structure(
                text_of(item, "SegmentLabel") or f"Segment {int(item.SegmentNumber)}",
                int(item.SegmentNumber),
                _lab_color(item.get("RecommendedDisplayCIELabValue")),
                _terminology(
                    item.get("SegmentedPropertyCategoryCodeSequence"),
                    item.get("SegmentedPropertyTypeCodeSequence"),
                    item.get("AnatomicRegionSequence"),
                ),
                0 if single else number,
            )
            for number, item in enumerate(dataset.get("SegmentSequence") or [])
            if int(item.SegmentNumber) > 0
        ]
    drawn = {
        int(item.ReferencedROINumber): item
        for item in dataset.get("ROIContourSequence") or []
        if any(_is_closed(contour) for contour in item.get("ContourSequence") or [])
    }
    found: list[Structure] = []
    for item in dataset.get("StructureSetROISequence") or []:
        number = int(item.ROINumber)
        if number in drawn:
            color = drawn[number].get("ROIDisplayColor")
            rgb = None if not color else tuple(int(part) / 255 for part in color)
            name = text_of(item, "ROIName") or f"ROI {number}"
            found.append(Structure(name, number, rgb if rgb and len(rgb) == 3 else None, None, len(found)))
    return found


def _is_closed(contour: Dataset) -> bool:
    return text_of(contour, "ContourGeometricType").upper() in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


def _contours(path: Path, wanted: Sequence[Structure], every: bool, say: Say) -> list[list[Contour]]:
    """Returns the closed contours of each structure, and says what is left out; `every`: of all structures."""
    dataset = header_of(path, TAGS)
    drawn: dict[int, list[Contour]] = {s.value: [] for s in wanted}
    names = {s.value: s.name for s in wanted}
    without = [
        text_of(item, "ROIName") or f"ROI {item.ROINumber}"
        for item in dataset.get("StructureSetROISequence") or []
        if every and int(item.ROINumber) not in drawn
    ]
    if without:
        say(f"structures without a closed contour are left out: {', '.join(without)}")
    for item in dataset.get("ROIContourSequence") or []:
        number = int(item.ReferencedROINumber)
        contours = item.get("ContourSequence") or [] if number in drawn else []
        open_ones = sum(not _is_closed(contour) for contour in contours)
        if open_ones:
            say(f"contours of {names[number]} that are open, or points, are left out: {open_ones} of {len(contours)}")
        for contour in contours:
            if not _is_closed(contour):
                continue
            numbers = np.array(contour.get("ContourData") or [], float)
            if numbers.size % 3 or not np.isfinite(numbers).all():
                raise InputError(path, f"has a contour of structure {number} whose points are no triples of numbers")
            if np.abs(numbers).max(initial=0) > FARTHEST:
                raise InputError(
                    path, f"has a contour of structure {number} with a point {np.abs(numbers).max():g} mm away"
                )
            exclusive = text_of(contour, "ContourGeometricType").upper() == "CLOSEDPLANAR_XOR"
            drawn[number].append(Contour(numbers.reshape(-1, 3), exclusive))
    return [drawn[s.value] for s in wanted]


# Segmentations -------------------------------------------------------------------------------------------------


def _segment_masks(
    path: Path, wanted: Sequence[Structure], like: sitk.Image, say: Say
) -> list[tuple[Structure, np.ndarray]]:
    import highdicom
    import pydicom

    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            segmentation = highdicom.seg.Segmentation.from_dataset(pydicom.dcmread(path, force=True), copy=False)
            frames = segmentation.pixel_array
            shared = flat((segmentation.get("SharedFunctionalGroupsSequence") or [{}])[0])
            own = [{**shared, **flat(group)} for group in segmentation.PerFrameFunctionalGroupsSequence]
            kind = str(segmentation.SegmentationType)
            most = int(segmentation.get("MaximumFractionalValue") or 1)
    except Exception as error:  # highdicom and its decoders raise whatever a damaged object makes them stumble over
        raise InputError(path, f"cannot be read as a segmentation: {encodable(str(error))[:300]}") from error
    frames = frames if frames.ndim == 3 else frames[None]
    if len(frames) != len(own):
        raise InputError(path, f"describes {counted(len(own), 'frame')} and holds {len(frames)}")
    masks = {s.value: np.zeros(like.GetSize()[::-1], bool) for s in wanted}
    outside = 0
    for values, group in zip(frames, own, strict=True):
        if kind == "LABELMAP":
            drawn = {number: values == number for number in masks}
        else:
            number = int(group.get("ReferencedSegmentNumber", 0))
            drawn = (
                {number: values >= FRACTION * most if kind == "FRACTIONAL" else values > 0} if number in masks else {}
            )
        for number, inside in drawn.items():
            if inside.any():
                outside += _draw(path, masks[number], inside, group, like)
    if outside and not any(mask.any() for mask in masks.values()):
        raise InputError(path, f"lies outside its image: none of the voxels of {_listed(wanted)} is in it")
    if outside:
        say(f"{counted(outside, 'labelled voxel lies', 'labelled voxels lie')} outside the image, and left out")
    return [(s, masks[s.value]) for s in wanted]


def _draw(path: Path, mask: np.ndarray, inside: np.ndarray, group: dict[str, Any], like: sitk.Image) -> int:
    """Draws a frame's pixels into the voxels that they are, wherever its rows and columns run; returns how many miss."""
    with understood(path):
        orientation = np.array(group["ImageOrientationPatient"], float).reshape(2, 3)
        position = np.array(group["ImagePositionPatient"], float).reshape(3)
        down, right = np.array(group["PixelSpacing"], float).reshape(2).tolist()
        if not all(np.isfinite(numbers).all() for numbers in (orientation, position, (down, right))):
            raise ValueError("the position or spacing of a frame is not a number")
    to_index = np.linalg.inv(np.array(like.GetDirection()).reshape(3, 3) * np.array(like.GetSpacing()))
    first = to_index @ (position - like.GetOrigin())
    column, row = to_index @ (orientation[0] * right), to_index @ (orientation[1] * down)
    whole = [np.rint(v).astype(int) for v in (first, column, row)]
    last = first + column * (inside.shape[1] - 1) + row * (inside.shape[0] - 1)
    expected = whole[0] + whole[1] * (inside.shape[1] - 1) + whole[2] * (inside.shape[0] - 1)
    off = max(float(np.abs(first - whole[0]).max()), float(np.abs(last - expected).max()))
    if off > _GRID_TOLERANCE:
        raise InputError(
            path,
            f"is on another grid than its image: a frame is up to {off:.3g} voxels off (pixels of {right:g}×{down:g} mm,"
            f" the image has {like.GetSpacing()[0]:g}×{like.GetSpacing()[1]:g})",
        )
    rows, columns = np.nonzero(inside)
    voxels = whole[0] + columns[:, None] * whole[1] + rows[:, None] * whole[2]
    there = ((voxels >= 0) & (voxels < like.GetSize())).all(1)
    x, y, z = voxels[there].T
    mask[z, y, x] = True
    return int(np.count_nonzero(~there))


def _terminology(category: Any, kind: Any, anatomy: Any) -> str | None:
    """Returns the codes of a segment in Slicer's serialised form."""

    def code(items: Any) -> str:
        if not items:
            return "^^"
        parts = (text_of(items[0], key) for key in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning"))
        return "^".join(part.replace("^", " ").replace("~", " ") for part in parts)

    def modifier(items: Any, keyword: str) -> str:
        return code(items[0].get(keyword)) if items else "^^"

    if not category or not kind:
        return None
    return "~".join(
        [
            _CONTEXT,
            code(category),
            code(kind),
            modifier(kind, "SegmentedPropertyTypeModifierCodeSequence"),
            _ANATOMY_CONTEXT,
            code(anatomy),
            modifier(anatomy, "AnatomicRegionModifierSequence"),
        ]
    )


def _lab_color(values: Any) -> tuple[float, float, float] | None:
    """Returns a recommended display colour (PS3.3 C.10.7.1.1) as RGB in 0…1."""
    if values is None or len(values) != 3:
        return None
    from highdicom.color import CIELabColor

    red, green, blue = CIELabColor.from_dicom_value([int(v) for v in values]).to_rgb()
    return (red / 255, green / 255, blue / 255)
