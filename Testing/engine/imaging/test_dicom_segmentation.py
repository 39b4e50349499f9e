from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dicom_files as files
import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from hssl.errors import InputError
from hssl.imaging.dicom import find_series
from hssl.imaging.dicom_labels import reference_of
from hssl.imaging.dicom_segmentation import write_dicom_segmentation
from hssl.imaging.labels import read_label_map, structures_in
from hssl.imaging.volumes import read_volume

SHAPE = (6, 12, 16)
LIVER = (
    "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^"
    "~Anatomic codes - DICOM master list~^^~^^"
)
KIDNEY = (
    "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
    "~SCT^4147007^Mass~SCT^24028007^Right~Anatomic codes - DICOM master list~SCT^64033007^Kidney~SCT^7771000^Left"
)


@dataclass(frozen=True)
class Class:
    value: int
    name: str
    terminology: str | None = None
    color: tuple[float, float, float] | None = None


CLASSES = [Class(2, "Leber (groß)", LIVER, (0.8, 0.2, 0.1)), Class(7, "lesion", KIDNEY), Class(300, "plain")]


def labels(like: sitk.Image) -> sitk.Image:
    label = sitk.GetImageFromArray(np.random.default_rng(1).choice([0, 0, 2, 7, 300], SHAPE).astype(np.uint16))
    label.CopyInformation(like)
    return label


def study(folder: Path, direction=(1, 0, 0, 0, 1, 0), change=lambda made, number: None) -> Path:
    raw = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)
    order = [3, 0, 5, 1, 4, 2]  # files' names do not follow the positions
    files.write_slices(
        folder, raw[order], np.array(order) * 2.0, change, spacing=(0.8, 1.1), direction=direction, origin=(4, -3, 10)
    )
    return folder


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)])
def test_a_segmentation_is_the_label_map_voxel_by_voxel(tmp_path, direction):
    folder = study(tmp_path / "CT", direction)
    image = read_volume(folder)
    label = labels(image)
    path = tmp_path / "a.seg.dcm"
    write_dicom_segmentation(label, find_series(folder, None), CLASSES, path, algorithm="liver model")
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(read_label_map(path, image, classes=CLASSES)), sitk.GetArrayFromImage(label)
    )
    # And by highdicom alone, from its own geometry.
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    own = sitk.GetImageFromArray(volume.array.astype(np.uint16))
    axes = volume.affine[:3, :3][:, ::-1]
    lengths = np.linalg.norm(axes, axis=0)
    own.SetSpacing(lengths.tolist())
    own.SetDirection((axes / lengths).ravel().tolist())
    own.SetOrigin(volume.affine[:3, 3].tolist())
    brought = sitk.Resample(own, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    expected = np.searchsorted([0, 2, 7, 300], sitk.GetArrayFromImage(label))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(brought), expected)


def test_a_segmentation_says_what_its_segments_are_and_which_slices_they_lie_on(tmp_path):
    folder = study(tmp_path / "CT")
    path = tmp_path / "a.seg.dcm"
    write_dicom_segmentation(labels(read_volume(folder)), find_series(folder, None), CLASSES, path, algorithm="m" * 99)
    told = reference_of(path)
    assert (told.patient, told.study, told.series, told.frame_of_reference) == ("p 7", "1.2.3", ("1.2.3.9",), "1.2.3.4")
    first, second, third = structures_in(path)
    assert (first.name, first.terminology) == ("Leber (groß)", LIVER)
    assert first.color == pytest.approx((0.8, 0.2, 0.1), abs=0.02)
    assert second.terminology == KIDNEY
    assert "SCT^85756007^Tissue~SCT^85756007^Tissue" in (third.terminology or "")
    made = pydicom.dcmread(path)
    assert made.PatientName == "Doe^Jane" and made.SeriesInstanceUID != "1.2.3.9"
    referred = {i.ReferencedSOPInstanceUID for i in made.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referred == {pydicom.dcmread(f).SOPInstanceUID for f in folder.iterdir()}
    sources = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence
    assert len(sources) == 1 and sources[0].ReferencedSOPInstanceUID in referred


def test_the_same_label_map_is_the_same_instance(tmp_path):
    folder = study(tmp_path / "CT")
    label, series = labels(read_volume(folder)), find_series(folder, None)
    for name, change in (("a", 0), ("b", 0), ("c", 2)):
        write_dicom_segmentation(label * (1 if not change else 0), series, CLASSES, tmp_path / name)
    a, b, c = (pydicom.dcmread(tmp_path / name) for name in "abc")
    assert a.SOPInstanceUID == b.SOPInstanceUID != c.SOPInstanceUID


def test_an_empty_label_map_is_written_too(tmp_path):
    folder = study(tmp_path / "CT")
    image = read_volume(folder)
    write_dicom_segmentation(labels(image) * 0, find_series(folder, None), CLASSES, tmp_path / "a.dcm")
    assert not sitk.GetArrayFromImage(read_label_map(tmp_path / "a.dcm", image)).any()


def test_frames_of_an_enhanced_image_out_of_order_are_referred_to(tmp_path):
    raw = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.uint16)
    order = [3, 0, 5, 1, 4, 2]
    path = files.write_frames(tmp_path / "MR" / "a.dcm", raw[order], np.array(order) * 3.0)
    image = read_volume(path)
    label = labels(image)
    write_dicom_segmentation(label, find_series(path.parent, None), CLASSES, tmp_path / "a.dcm")
    back = read_label_map(tmp_path / "a.dcm", image, classes=CLASSES)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(label))


def test_a_series_that_lacks_the_patient_s_data_is_enough_but_a_frame_of_reference_is_needed(tmp_path):
    def bare(made, number):
        for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
            delattr(made, keyword)

    folder = study(tmp_path / "CT", change=bare)
    write_dicom_segmentation(labels(read_volume(folder)), find_series(folder, None), CLASSES, tmp_path / "a.dcm")
    folder = study(tmp_path / "none", change=lambda made, number: delattr(made, "FrameOfReferenceUID"))
    with pytest.raises(InputError, match="it has no FrameOfReferenceUID"):
        write_dicom_segmentation(labels(read_volume(folder)), find_series(folder, None), CLASSES, tmp_path / "b.dcm")
    assert not (tmp_path / "b.dcm").exists()
