"""Writes DICOM series for tests, with every slice's position under the test's control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


def write_series(
    folder: Path,
    uid: str = "1.2.826.0.1.3680043.8.498.1",
    positions: Sequence[float] = (0.0, 2.5, 5.0, 7.5),
    size: tuple[int, int] = (16, 12),
    modality: str = "CT",
    direction: Sequence[float] = (1, 0, 0, 0, 1, 0),
    prefix: str = "slice",
    seed: int = 0,
) -> list[Path]:
    """Writes one file a position (mm along the normal) and returns the files in that order."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    normal = np.cross(direction[:3], direction[3:])
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    files = []
    for number, position in enumerate(positions):
        image = sitk.GetImageFromArray(generator.integers(-1000, 1000, size=(1, size[1], size[0])).astype(np.int16))
        image.SetSpacing((0.75, 0.75, 2.5))
        x, y, z = normal * position
        for tag, value in {
            "0008|0060": modality,
            "0020|000d": uid + ".1",
            "0020|000e": uid,
            "0020|0052": uid + ".2",
            "0008|0018": f"{uid}.{seed + 3}.{number + 1}",
            "0020|0013": str(number + 1),
            "0020|0032": f"{x:.6g}\\{y:.6g}\\{z:.6g}",
            "0020|0037": "\\".join(f"{d:.6g}" for d in direction),
            "0028|1052": "0",
            "0028|1053": "1",
        }.items():
            image.SetMetaData(tag, value)
        path = folder / f"{prefix}{number:03d}.dcm"
        writer.SetFileName(str(path))
        writer.Execute(image)
        files.append(path)
    return files


CT, MR, ENHANCED_MR, PET, DOSE, STRUCTURES, NUCLEAR, CR = (
    f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "4", "4.1", "128", "481.2", "481.3", "20", "1")
)


def dataset(sop_class: str, modality: str, series: str = "1.2.3.9") -> Dataset:
    """Returns what every DICOM object says of itself; all of one patient, study and frame of reference."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    made = Dataset()
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    made.PatientID, made.PatientName, made.StudyInstanceUID, made.SeriesInstanceUID = "p 7", "Doe^Jane", "1.2.3", series
    made.PatientBirthDate, made.PatientSex, made.AccessionNumber, made.StudyID = "19700101", "F", "1", "1"
    made.StudyDate, made.StudyTime, made.ReferringPhysicianName = "20260101", "120000", "Roe^Richard"
    made.SeriesNumber, made.InstanceNumber = 1, 1
    made.Modality, made.FrameOfReferenceUID, made.PositionReferenceIndicator = modality, "1.2.3.4", ""
    return made


def put_pixels(made: Dataset, values: np.ndarray) -> None:
    """Gives an object its pixels: (rows, columns), or (frames, rows, columns)."""
    made.Rows, made.Columns = values.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = values.dtype.itemsize * 8
    made.HighBit, made.PixelRepresentation = made.BitsAllocated - 1, int(values.dtype.kind == "i")
    made.PixelData = values.tobytes()
    if values.ndim == 3:
        made.NumberOfFrames = len(values)


def write(made: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def write_slices(
    folder: Path,
    values: np.ndarray,
    positions: Sequence[float],
    change: Callable[[Dataset, int], None] = lambda made, number: None,
    sop_class: str = CT,
    modality: str = "CT",
    series: str = "1.2.3.9",
    spacing: tuple[float, float] = (1.0, 1.0),
    direction: Sequence[float] = (1, 0, 0, 0, 1, 0),
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    prefix: str = "IM",
) -> list[Path]:
    """Writes values (z, y, x) as one file for each position (mm along the normal); `change` sees each before."""
    normal = np.cross(direction[:3], direction[3:])
    files = []
    for number, (plane, along) in enumerate(zip(values, positions, strict=True)):
        made = dataset(sop_class, modality, series)
        put_pixels(made, plane)
        made.PixelSpacing, made.ImageOrientationPatient = (
            [spacing[1], spacing[0]],
            [float(f"{d:.9g}") for d in direction],
        )
        made.ImagePositionPatient = [float(f"{p:.9g}") for p in np.array(origin) + normal * along]
        made.SliceThickness, made.InstanceNumber = 2.0, number + 1
        made.RescaleSlope, made.RescaleIntercept = "1", "0"
        change(made, number)
        files.append(write(made, folder / f"{prefix}{number:03d}.dcm"))
    return files


def write_frames(
    path: Path,
    values: np.ndarray,
    positions: Sequence[float],
    change: Callable[[Dataset, int], None] = lambda group, number: None,
) -> Path:
    """Writes an enhanced MR image with one frame for each position; `change` sees each frame's functional groups."""
    made = dataset(ENHANCED_MR, "MR")
    put_pixels(made, values)
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [1, 1], "3"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    made.SharedFunctionalGroupsSequence, groups = [shared], []
    for number, along in enumerate(positions):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, float(along)]
        group.PlanePositionSequence = [place]
        change(group, number)
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    return write(made, path)


def write_structures(
    path: Path, contours: dict[str, list[np.ndarray]], series: str = "1.2.3.9", kind: str = "CLOSED_PLANAR"
) -> Path:
    """Writes an RTSTRUCT: for each structure its contours, arrays of points (n, 3) in mm."""
    made = dataset(STRUCTURES, "RTSTRUCT", "1.2.3.77")
    made.StructureSetLabel, made.StructureSetROISequence, made.ROIContourSequence = "x", [], []
    refers, study, frame = Dataset(), Dataset(), Dataset()
    refers.SeriesInstanceUID, refers.ContourImageSequence = series, []
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", "1.2.3"
    study.RTReferencedSeriesSequence = [refers]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = "1.2.3.4", [study]
    made.ReferencedFrameOfReferenceSequence = [frame]
    for number, (name, polygons) in enumerate(contours.items(), 1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, "1.2.3.4"
        drawn.ReferencedROINumber, drawn.ROIDisplayColor, drawn.ContourSequence = number, [255, 0, 10 * number], []
        for points in polygons:
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
            item.ContourData = [float(f"{v:.3f}") for v in np.asarray(points).ravel()]
            drawn.ContourSequence.append(item)
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(drawn)
    return write(made, path)


def write_segmentation(
    path: Path,
    sources: Sequence[Path],
    masks: np.ndarray,
    names: Sequence[str],
    kind: str = "BINARY",
) -> Path:
    """Writes a SEG of the slices' files with highdicom; `masks` (slices, rows, columns, segments), or values for LABELMAP."""
    import highdicom

    code = highdicom.sr.CodedConcept
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=code("123037004", "SCT", "Anatomical Structure"),
            segmented_property_type=code("10200004", "SCT", "Liver") if number == 1 else code("4147007", "SCT", "Mass"),
            algorithm_type="MANUAL",
        )
        for number, name in enumerate(names, 1)
    ]
    made = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(f) for f in sources],
        pixel_array=masks,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="tests",
        manufacturer_model_name="tests",
        software_versions="1",
        device_serial_number="1",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path)
    return path
