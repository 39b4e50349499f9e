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
from hssl.imaging.dicom import find_series, series_of_file
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


@pytest.mark.parametrize(
    ("encoding", "patient"),
    [
        (None, "Doe^Jane"),
        ("ISO_IR 100", "Müller^Jürgen"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_are_whole_whatever_the_series_is_written_in(tmp_path, encoding, patient):
    def written_so(made, number):
        if encoding is not None:
            made.SpecificCharacterSet = encoding
        made.PatientName = patient
        procedure = pydicom.Dataset()
        procedure.CodeValue, procedure.CodingSchemeDesignator, procedure.CodeMeaning = "1", "99X", patient
        made.ProcedureCodeSequence = [procedure]

    folder = study(tmp_path / "CT", change=written_so)
    classes = [Class(2, "печень"), Class(7, "腎臓"), Class(300, "Übergangszone")]
    write_dicom_segmentation(labels(read_volume(folder)), find_series(folder, None), classes, tmp_path / "a.dcm")
    made = pydicom.dcmread(tmp_path / "a.dcm")
    assert (made.SpecificCharacterSet, made.PatientName) == ("ISO_IR 192", patient)
    assert made.ProcedureCodeSequence[0].CodeMeaning == patient
    assert [segment.SegmentLabel for segment in made.SegmentSequence] == [c.name for c in classes]
    assert [s.name for s in structures_in(tmp_path / "a.dcm")] == [c.name for c in classes]


def referred(path: Path, sources: dict[str, pydicom.Dataset]) -> list[tuple[pydicom.Dataset, int, float]]:
    """Returns for each frame the one source that it refers to, which frame of it, and how many mm apart they lie."""
    found = []
    for group in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        (derivation,) = group.DerivationImageSequence
        (item,) = derivation.SourceImageSequence
        assert item.SpatialLocationsPreserved == "YES"
        source, frame = sources[item.ReferencedSOPInstanceUID], int(item.get("ReferencedFrameNumber", 1)) - 1
        place = source if "ReferencedFrameNumber" not in item else source.PerFrameFunctionalGroupsSequence[frame]
        place = place if "ImagePositionPatient" in place else place.PlanePositionSequence[0]
        away = np.array(group.PlanePositionSequence[0].ImagePositionPatient) - np.array(place.ImagePositionPatient)
        found.append((source, frame, float(np.linalg.norm(away))))
    return found


def by_instance(folder: Path) -> dict[str, pydicom.Dataset]:
    return {(made := pydicom.dcmread(file)).SOPInstanceUID: made for file in folder.iterdir()}


def test_a_frame_refers_to_its_slice_though_that_is_a_hair_beside_an_even_spacing(tmp_path):
    def by_hand(made, number):
        made.ImagePositionPatient = [p + 0.02 * (number % 2) for p in made.ImagePositionPatient]
        made.ImageOrientationPatient = [1, 1e-6 * number, 0, -1e-6 * number, 1, 0]
        made.SliceThickness = 5.0  # slices may overlap

    folder = study(tmp_path / "CT", change=by_hand)
    image = read_volume(folder)
    label = labels(image)
    write_dicom_segmentation(label, find_series(folder, None), CLASSES, tmp_path / "a.dcm")
    back = read_label_map(tmp_path / "a.dcm", image, classes=CLASSES)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(label))
    found = referred(tmp_path / "a.dcm", by_instance(folder))
    assert len(found) == 18 and len({source.SOPInstanceUID for source, _, _ in found}) == 6
    assert max(away for _, _, away in found) < 0.05
    (measures,) = pydicom.dcmread(tmp_path / "a.dcm").SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (5, pytest.approx(image.GetSpacing()[2]))


@pytest.mark.parametrize("shared", [True, False])
def test_frames_of_an_enhanced_image_with_several_volumes_are_those_of_the_chosen_one(tmp_path, shared):
    def change(group, number):
        content = pydicom.Dataset()
        content.TemporalPositionIndex = 1 + number % 2
        group.FrameContentSequence = [content]
        if not shared:
            orientation, measures = pydicom.Dataset(), pydicom.Dataset()
            orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            measures.PixelSpacing, measures.SliceThickness = [1, 1], "3"
            group.PlaneOrientationSequence, group.PixelMeasuresSequence = [orientation], [measures]

    raw = np.random.default_rng(0).integers(0, 100, (12, *SHAPE[1:])).astype(np.uint16)
    path = files.write_frames(tmp_path / "MR" / "a.dcm", raw, [3.0 * (n // 2) for n in range(12)], change)
    if not shared:
        made = pydicom.dcmread(path)
        made.SharedFunctionalGroupsSequence = [pydicom.Dataset()]
        made.save_as(path)
    series = find_series(path.parent, None)
    for volume in range(2):
        image = read_volume(path, frame=volume)
        label = labels(image)
        out = tmp_path / f"{volume}.dcm"
        write_dicom_segmentation(label, series, CLASSES, out, volume)
        back = read_label_map(out, image, classes=CLASSES)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(label))
        shared_groups = pydicom.dcmread(out).SharedFunctionalGroupsSequence[0]
        assert shared_groups.PixelMeasuresSequence[0].SliceThickness == 3
        found = referred(out, by_instance(path.parent))
        assert {frame % 2 for _, frame, _ in found} == {volume} and max(away for _, _, away in found) < 1e-3


def test_nothing_found_in_two_files_of_one_series_is_two_instances(tmp_path):
    """As in the phases of a series that are given file by file: an archive keeps one of two objects of one UID."""
    for name in "ab":
        path = files.write_frames(tmp_path / f"{name}.dcm", np.zeros(SHAPE, np.uint16), np.arange(6) * 3.0)
        image = read_volume(path)
        write_dicom_segmentation(labels(image) * 0, series_of_file(path), CLASSES, tmp_path / f"{name}.seg.dcm")
    first, second = (pydicom.dcmread(tmp_path / f"{name}.seg.dcm") for name in "ab")
    assert first.SOPInstanceUID != second.SOPInstanceUID
