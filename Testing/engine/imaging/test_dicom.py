from __future__ import annotations

import shutil
from pathlib import Path

import dicom_files as files
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from hssl.errors import InputError
from hssl.imaging.dicom import contents_of, kind_of, series_in
from hssl.imaging.dicom_labels import reference_of
from hssl.imaging.volumes import read_header, read_volume

RNG = np.random.default_rng(3)
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"


def values(count=8, kind=np.int16, size=(12, 16)) -> np.ndarray:
    return RNG.integers(-900 if np.dtype(kind).kind == "i" else 0, 900, (count, *size)).astype(kind)


def array(path, **choice) -> np.ndarray:
    return sitk.GetArrayFromImage(read_volume(path, **choice))


def reason(path, **choice) -> str:
    with pytest.raises(InputError) as caught:
        read_volume(path, **choice)
    return caught.value.reason


def temporal(phases: int):
    def change(group: Dataset, number: int) -> None:
        content = Dataset()
        content.TemporalPositionIndex = number % phases + 1
        group.FrameContentSequence = [content]

    return change


def test_frames_are_sorted_by_their_positions(tmp_path):
    truth = values(20, np.uint16)
    order = [*range(0, 20, 3), *range(1, 20, 3), *range(2, 20, 3)]
    path = files.write_frames(tmp_path / "a" / "a.dcm", truth[order], [3.0 * k for k in order])
    for named in (path, path.parent):
        image = read_volume(named)
        assert image.GetSpacing() == pytest.approx((1, 1, 3)) and image.GetOrigin() == (0, 0, 0)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), truth)
    down = files.write_frames(tmp_path / "b" / "b.dcm", truth[::-1], [3.0 * k for k in range(19, -1, -1)])
    np.testing.assert_array_equal(array(down), truth)


def test_frames_get_the_checks_that_slices_get(tmp_path):
    path = files.write_frames(tmp_path / "a" / "a.dcm", values(5, np.uint16), [0, 3, 9, 12, 15])
    assert "1 slice is missing, between frame 2 and frame 3" in reason(path)
    path = files.write_frames(tmp_path / "b" / "b.dcm", values(5, np.uint16), [0, 3, 5.5, 9, 12])
    assert "unevenly spaced" in reason(path)


def test_a_tilted_gantry_is_told_with_the_way_out(tmp_path):
    for number, path in enumerate(write_series(tmp_path, positions=[2.5 * n for n in range(8)])):
        plane = pydicom.dcmread(path)
        plane.ImagePositionPatient = [0, -2.5 * number * np.tan(np.deg2rad(15)), 2.5 * number]
        plane.save_as(path)
    told = reason(tmp_path)
    assert "shifted by 4.7 mm" in told and "tilted gantry" in told and "_Tilt" in told


def test_frames_with_slopes_of_their_own_have_each_their_values(tmp_path):
    slopes = [(2.0, 5.0), (3.0, 5.0), (0.25, -7.5), (1.0, 0.0)]

    def change(group: Dataset, number: int) -> None:
        scale = Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = *map(str, slopes[number]), "US"
        group.PixelValueTransformationSequence = [scale]

    raw = values(4, np.uint16)
    path = files.write_frames(tmp_path / "a.dcm", raw, [0, 3, 6, 9], change)
    expected = np.stack([plane * slope + intercept for plane, (slope, intercept) in zip(raw, slopes, strict=True)])
    np.testing.assert_allclose(array(path), expected, rtol=1e-6)


def test_phases_of_an_enhanced_image_are_listed_and_chosen(tmp_path):
    truth = values(12, np.uint16)
    path = files.write_frames(tmp_path / "a.dcm", truth, np.repeat([0.0, 3, 6, 9], 3), temporal(3))
    why = reason(path)
    assert "has 3 volumes and none is chosen" in why and "1: temporal position 2 (4 slices of 16×12)" in why
    for phase in range(3):
        np.testing.assert_array_equal(array(path, frame=phase), truth[phase::3])
        assert read_header(path, frame=phase).frames == 3
    assert "no frame 3" in reason(path, frame=3)


def echo(made: Dataset, number: int) -> None:
    made.EchoTime = [4.6, 2.3][number % 2]
    made.EchoNumbers = None


def nothing(made: Dataset, number: int) -> None:
    pass


@pytest.mark.parametrize("change", [echo, nothing])
def test_echoes_of_a_series_are_told_apart_by_what_the_headers_say_or_by_their_numbers(tmp_path, change):
    truth = values(8)
    files.write_slices(tmp_path, truth, np.repeat([0.0, 2, 4, 6], 2), change)
    assert "has 2 volumes" in reason(tmp_path)
    first, second = (truth[1::2], truth[0::2]) if change is echo else (truth[0::2], truth[1::2])
    np.testing.assert_array_equal(array(tmp_path, frame=0), first)
    np.testing.assert_array_equal(array(tmp_path, frame=1), second)
    if change is echo:
        assert "0: echo time 2.3" in reason(tmp_path)


def test_echoes_in_phases_are_told_apart_by_both(tmp_path):
    def change(made: Dataset, number: int) -> None:
        made.TemporalPositionIdentifier, made.EchoTime = number // 2 % 2 + 1, [2.3, 4.6][number % 2]

    truth = values(12)
    files.write_slices(tmp_path, truth, np.repeat([0.0, 2, 4], 4), change)
    assert "3: temporal position 2, echo time 4.6" in reason(tmp_path)
    np.testing.assert_array_equal(array(tmp_path, frame=2), truth[2::4])


def test_trigger_times_that_differ_from_slice_to_slice_still_give_phases(tmp_path):
    def change(made: Dataset, number: int) -> None:
        made.TriggerTime = 10.0 * (number % 3) + 0.1 * (number // 3)

    truth = values(12)
    files.write_slices(tmp_path, truth, np.repeat([0.0, 2, 4, 6], 3), change)
    np.testing.assert_array_equal(array(tmp_path, frame=1), truth[1::3])


@pytest.mark.parametrize("positions", [np.arange(12) * 2 + 12.7, np.arange(12) * 2 + 22.9, 24.5 + np.arange(12) * 2.5])
def test_two_passes_of_a_series_are_listed_and_chosen(tmp_path, positions):
    truth = values(24)
    files.write_slices(tmp_path, truth[:12], np.arange(12) * 2.0, prefix="A")
    files.write_slices(tmp_path, truth[12:], positions, prefix="B")
    assert "0: 0.0 to 22.0 mm (12 slices of 16×12)" in reason(tmp_path)
    for frame, part in enumerate((truth[:12], truth[12:])):
        image = read_volume(tmp_path, frame=frame)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), part)
        assert image.GetOrigin()[2] == pytest.approx([0, positions[0]][frame])


def test_a_scout_is_left_aside_and_said(tmp_path):
    def change(made: Dataset, number: int) -> None:
        if number == 7:
            made.ImageOrientationPatient, made.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [20, 0, 40]

    truth = values(8)
    files.write_slices(tmp_path, truth, np.arange(8) * 2.0, change)
    np.testing.assert_array_equal(array(tmp_path), truth[:7])
    (remark,) = read_header(tmp_path).remarks
    assert "the largest of 2 volumes is taken" in remark and "1: sagittal (1 slice of 16×12, IM007.dcm)" in remark
    assert read_volume(tmp_path, frame=1).GetSize() == (16, 12, 1)


def test_slices_of_another_size_are_another_volume(tmp_path):
    files.write_slices(tmp_path, values(4), np.arange(4) * 2.0, prefix="A")
    other = values(3, size=(12, 20))
    files.write_slices(tmp_path, other, np.arange(3) * 2.0, prefix="B")
    assert read_volume(tmp_path).GetSize() == (16, 12, 4)
    np.testing.assert_array_equal(array(tmp_path, frame=1), other)


def test_a_copied_file_is_dropped_and_said(tmp_path):
    truth = values(6)
    written = files.write_slices(tmp_path, truth, np.arange(6) * 2.0)
    shutil.copy(written[3], tmp_path / "copy of IM003.dcm")
    np.testing.assert_array_equal(array(tmp_path), truth)
    assert "1 file is a copy of another" in read_header(tmp_path).remarks[0]


def test_a_second_slice_at_a_position_is_not_mixed_into_the_volume(tmp_path):
    truth = values(6)
    files.write_slices(tmp_path, truth, np.arange(6) * 2.0)
    files.write_slices(tmp_path, values(1), [4.0], lambda made, number: setattr(made, "InstanceNumber", 99), prefix="Z")
    np.testing.assert_array_equal(array(tmp_path), truth)
    assert "Z000.dcm" in read_header(tmp_path).remarks[0]


def test_slices_with_slopes_of_their_own_are_read_as_real_numbers(tmp_path):
    def change(made: Dataset, number: int) -> None:
        made.RescaleSlope = "1" if number == 0 else f"{0.5 + 0.013 * number:.4f}"

    raw = values(6)
    files.write_slices(tmp_path, raw, np.arange(6) * 2.0, change, files.PET, "PT")
    expected = np.stack([p * (1 if n == 0 else round(0.5 + 0.013 * n, 4)) for n, p in enumerate(raw)])
    assert read_header(tmp_path).pixel_type == "32-bit float" == read_volume(tmp_path).GetPixelIDTypeAsString()
    np.testing.assert_allclose(array(tmp_path), expected, rtol=1e-6)


def test_an_intercept_that_leaves_the_first_slice_s_type_is_no_overflow(tmp_path):
    def change(made: Dataset, number: int) -> None:
        made.RescaleIntercept = "-1024" if number else "0"

    raw = values(4, np.uint16)
    files.write_slices(tmp_path, raw, np.arange(4) * 2.0, change)
    np.testing.assert_array_equal(array(tmp_path)[1:], raw[1:].astype(int) - 1024)


@pytest.mark.parametrize(
    ("kind", "intercept", "expected"),
    [
        (np.int16, 0, "16-bit signed integer"),
        (np.uint16, 0, "16-bit unsigned integer"),
        (np.int16, 40_000, "32-bit unsigned integer"),
        (np.int16, -40_000, "32-bit signed integer"),
        (np.uint16, 0.5, "32-bit float"),
    ],
)
def test_the_type_of_the_voxels_is_told_before_they_are_read(tmp_path, kind, intercept, expected):
    def change(made: Dataset, number: int) -> None:
        made.RescaleIntercept = str(intercept)

    files.write_slices(tmp_path, values(3, kind), np.arange(3) * 2.0, change)
    assert read_header(tmp_path).pixel_type == expected == read_volume(tmp_path).GetPixelIDTypeAsString()


@pytest.mark.parametrize(
    ("stored", "expected"),
    [(12, "16-bit signed integer"), (15, "16-bit signed integer"), (16, "32-bit signed integer")]
    + [(damaged, "32-bit signed integer") for damaged in (0, 17)],
)
def test_a_type_holds_what_the_bits_that_are_stored_can_hold(tmp_path, stored, expected):
    def change(made: Dataset, number: int) -> None:
        made.BitsStored, made.HighBit, made.RescaleIntercept = stored, max(stored, 1) - 1, "-1024"

    files.write_slices(tmp_path, values(3, np.uint16), np.arange(3) * 2.0, change)
    assert read_header(tmp_path).pixel_type == expected


@pytest.mark.parametrize("step", [-4.0, 4.0])
def test_a_spect_whose_slices_run_down_has_a_positive_spacing(tmp_path, step):
    truth, made, detector = values(5, np.uint16), files.dataset(files.NUCLEAR, "NM"), Dataset()
    files.put_pixels(made, truth)
    made.PixelSpacing, made.SliceThickness, made.SpacingBetweenSlices = [4, 4], "4", str(step)
    made.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    detector.ImageOrientationPatient, detector.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 10]
    made.DetectorInformationSequence = [detector]
    image = read_volume(files.write(made, tmp_path / "a.dcm"))
    assert image.GetSpacing() == (4, 4, 4)
    assert image.GetOrigin()[2] == (10 - 16 if step < 0 else 10)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), truth[::-1] if step < 0 else truth)
    made.ImageType = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    assert "no positions" in reason(files.write(made, tmp_path / "flat.dcm"))


def test_doses_structures_and_reports_are_no_images(tmp_path):
    files.write_slices(tmp_path, values(4), np.arange(4) * 2.0)
    dose = files.dataset(files.DOSE, "RTDOSE")
    files.put_pixels(dose, values(4, np.uint16))
    files.write(dose, tmp_path / "RD.dcm")
    files.write_structures(tmp_path / "RS.dcm", {"x": [np.array([[1.0, 1, 2], [5, 1, 2], [5, 5, 2]])]})
    report = files.dataset("1.2.840.10008.5.1.4.1.1.88.11", "SR")
    files.write(report, tmp_path / "SR.dcm")
    found = contents_of(tmp_path)
    assert [(s.uid, s.modality, s.patient) for s in found.series] == [("1.2.3.9", "CT", "p 7")]
    assert {(o.file.name, o.kind) for o in found.objects} == {
        ("RD.dcm", "other"),
        ("RS.dcm", "structures"),
        ("SR.dcm", "other"),
    }
    assert read_volume(tmp_path).GetSize() == (16, 12, 4)
    assert "modality RTDOSE, no image" in reason(tmp_path / "RD.dcm")
    (tmp_path / "alone").mkdir()
    shutil.copy(tmp_path / "RD.dcm", tmp_path / "alone")
    assert "no DICOM series (of images, only RTDOSE)" in reason(tmp_path / "alone")


CT, PDF, OWN = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.104.1", "1.2.826.0.1.3680043.2.1"


@pytest.mark.parametrize(
    ("sop", "modality", "pixels", "kind"),
    [
        (CT, "CT", True, "image"),
        (CT, "", False, "image"),
        (CT, "RTDOSE", True, "other"),
        (CT, "SEG", True, "segmentation"),
        (PDF, "CT", True, "other"),
        (PDF, "DOC", False, "other"),
        (OWN, "MR", True, "image"),
        (OWN, "MR", False, "other"),
        (OWN, "SR", True, "other"),
        (OWN, "RTSTRUCT", False, "structures"),
        ("", "MR", True, "image"),
        ("", "", False, "other"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "CT", True, "segmentation"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "", False, "structures"),
    ],
)
def test_what_an_object_is_is_told_by_its_class_or_its_modality(sop, modality, pixels, kind):
    made = Dataset()
    made.SOPClassUID, made.Modality = sop, modality
    if pixels:
        made.Rows = 3
    assert kind_of(made) == kind


def test_files_without_preamble_are_read(tmp_path):
    truth = values(4)
    for number, path in enumerate(files.write_slices(tmp_path / "whole", truth, np.arange(4) * 2.0)):
        (tmp_path / "headless").mkdir(exist_ok=True)
        (tmp_path / "headless" / f"IM{number}").write_bytes(path.read_bytes()[132:])
        made = pydicom.dcmread(path)
        bare = Dataset()
        bare.update({e.tag: e for e in made})
        (tmp_path / "bare").mkdir(exist_ok=True)
        with open(tmp_path / "bare" / f"IM{number}", "wb") as file:
            pydicom.dcmwrite(file, bare, implicit_vr=True, little_endian=True)
    for folder in ("headless", "bare"):
        np.testing.assert_array_equal(array(tmp_path / folder), truth)


def test_a_series_without_pixel_spacing_asks_for_it(tmp_path):
    files.write_slices(tmp_path, values(4), np.arange(4) * 2.0, lambda made, number: made.__delattr__("PixelSpacing"))
    with pytest.raises(InputError) as caught:
        read_header(tmp_path)
    assert caught.value.way_out == "spacing"
    assert read_volume(tmp_path, spacing=(0.5, 0.5, 2)).GetSpacing() == (0.5, 0.5, 2)


def test_a_truncated_multi_frame_file_is_refused(tmp_path):
    path = files.write_frames(tmp_path / "a.dcm", values(8, np.uint16), np.arange(8) * 3.0)
    path.write_bytes(path.read_bytes()[:-20])
    assert "truncated" in reason(path)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("NumberOfFrames", -1),
        ("NumberOfFrames", 2**31 - 1),
        ("BitsAllocated", 0),
        ("BitsAllocated", 65535),
        ("ImagePositionPatient", ["0", "0", "nan"]),
        ("PixelSpacing", ["1", "inf"]),
        ("RescaleSlope", "nan"),
        ("SpacingBetweenSlices", "inf"),
        ("Columns", None),
        ("PixelSpacing", "1"),
    ],
)
def test_numbers_that_no_image_has_are_refused(tmp_path, keyword, value):
    path = files.write_slices(tmp_path, values(3), np.arange(3) * 2.0)[1]
    made = pydicom.dcmread(path)
    made.compress(RLELossless, generate_instance_uid=False)  # of compressed pixels nothing says how many there are
    with pydicom.config.disable_value_validation():
        setattr(made, keyword, value)
        if value is None:
            delattr(made, keyword)
        made.save_as(path)
    assert "damaged header" in reason(path)
    whole, broken = series_in(tmp_path)
    assert (len(whole.files), broken.files) == (2, (path,)) or (len(broken.files), whole.files) == (2, (path,))


def test_only_the_listed_elements_are_read(tmp_path):
    files.write_slices(tmp_path, values(2), [0, 2.0])
    (series,) = series_in(tmp_path)
    assert series.patient == "p 7"
    assert "Doe" not in repr(series) and "19700101" not in repr(series)


def test_an_ordinary_folder_of_files_is_not_taken_for_dicom(tmp_path):
    for name, content in (("a.txt", b"\x08\x00 no DICOM at all, only text"), ("b.bin", bytes(range(256)) * 4)):
        (tmp_path / name).write_bytes(content)
    assert series_in(tmp_path) == []
    assert Path(tmp_path / "a.txt").exists()


@pytest.mark.parametrize("several", [False, True], ids=["slices", "frames"])
def test_compressed_pixels_are_read(tmp_path, several):
    truth = values(6, np.uint16)
    if several:
        written = [files.write_frames(tmp_path / "a.dcm", truth, np.arange(6) * 3.0)]
    else:
        written = files.write_slices(tmp_path, truth, np.arange(6) * 3.0)
    for path in written:
        made = pydicom.dcmread(path)
        made.compress(RLELossless, generate_instance_uid=False)
        made.save_as(path)
    np.testing.assert_array_equal(array(tmp_path), truth)


def test_big_endian_files_are_read(tmp_path):
    truth = values(4)
    for path in files.write_slices(tmp_path, truth, np.arange(4) * 2.0):
        made = pydicom.dcmread(path)
        made.PixelData = made.pixel_array.astype(">i2").tobytes()
        made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        pydicom.dcmwrite(path, made, implicit_vr=False, little_endian=False)
    np.testing.assert_array_equal(array(tmp_path), truth)


def test_a_mosaic_is_no_volume(tmp_path):
    files.write_slices(
        tmp_path / "mosaic",
        values(2),
        [0, 2.0],
        lambda m, n: setattr(m, "ImageType", ["ORIGINAL", "PRIMARY", "MOSAIC"]),
    )
    assert "tiled into single images (mosaic)" in reason(tmp_path / "mosaic")


def test_frames_of_a_cine_are_taken_as_slices_and_that_is_said(tmp_path):
    truth, said = values(5, np.uint16), []
    cine = files.dataset(ULTRASOUND, "US")
    files.put_pixels(cine, truth)
    path = files.write(cine, tmp_path / "cine.dcm")
    image = read_volume(path, spacing=(0.2, 0.3, 1.0), say=said.append)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), truth)
    assert image.GetSpacing() == (0.2, 0.3, 1.0)
    assert said == ["its 5 frames have no positions and are taken as slices"]
    cine.Modality = "NM"
    assert "no positions" in reason(files.write(cine, tmp_path / "raw.dcm"), spacing=(0.2, 0.3, 1.0))


@pytest.mark.parametrize(("regions", "found"), [(1, (0.2, 0.3)), (2, (0.2, 0.3)), (3, None)])
def test_ultrasound_has_the_spacing_of_its_regions_where_they_agree(tmp_path, regions, found):
    made = files.dataset(ULTRASOUND, "US")
    files.put_pixels(made, values(1, np.uint8)[0])
    made.SequenceOfUltrasoundRegions = []
    for number in range(regions):
        region = Dataset()
        region.RegionSpatialFormat = region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
        region.RegionSpatialFormat = 1
        region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, -0.03 if number < 2 else 0.05
        made.SequenceOfUltrasoundRegions.append(region)
    trace = Dataset()  # of a velocity, over time
    trace.RegionSpatialFormat, trace.PhysicalUnitsXDirection, trace.PhysicalUnitsYDirection = 3, 4, 7
    trace.PhysicalDeltaX, trace.PhysicalDeltaY = 0.01, 1.0
    made.SequenceOfUltrasoundRegions.append(trace)
    path = files.write(made, tmp_path / "us.dcm")
    if found is None:
        assert "does not say how large its voxels are" in reason(path)
    else:
        assert read_header(path).spacing[:2] == pytest.approx(found)


@pytest.mark.parametrize("step", [0.05, 0.004, 0.0005])
def test_slices_of_a_micro_ct_are_told_from_each_other(tmp_path, step):
    truth = values(6)
    files.write_slices(tmp_path, truth, np.arange(6) * step, spacing=(step, step))
    np.testing.assert_array_equal(array(tmp_path), truth)
    assert read_header(tmp_path).spacing == pytest.approx((step, step, step))


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_bright_is_bright_in_an_x_ray_whose_white_is_the_lowest_value(tmp_path, bits):
    stored = RNG.integers(0, 2**bits, (12, 16)).astype(np.uint8 if bits == 8 else np.uint16)
    found = []
    for name in ("MONOCHROME1", "MONOCHROME2"):
        made = files.dataset("1.2.840.10008.5.1.4.1.1.1", "CR")
        files.put_pixels(made, stored)
        made.PhotometricInterpretation, made.PixelSpacing = name, [0.1, 0.1]
        made.BitsStored, made.HighBit = bits, bits - 1
        found.append(array(files.write(made, tmp_path / f"{name}.dcm"))[0])
    np.testing.assert_array_equal(found[1], stored)
    np.testing.assert_array_equal(found[0].astype(int), 2**bits - 1 - stored.astype(int))


def test_a_projection_has_the_spacing_of_its_detector(tmp_path):
    made = files.dataset("1.2.840.10008.5.1.4.1.1.1", "CR")
    files.put_pixels(made, values(1, np.uint16)[0])
    made.ImagerPixelSpacing = [0.2, 0.1]
    image = read_volume(files.write(made, tmp_path / "a.dcm"))
    assert image.GetSize() == (16, 12, 1) and image.GetSpacing()[:2] == pytest.approx((0.1, 0.2))


def test_an_enhanced_file_of_one_frame_is_one_slice(tmp_path):
    truth = values(1, np.uint16)
    image = read_volume(files.write_frames(tmp_path / "a.dcm", truth, [7.0]))
    assert image.GetSize() == (16, 12, 1) and image.GetOrigin()[2] == 7
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), truth)


def test_several_enhanced_files_of_one_series_are_one_volume(tmp_path):
    truth = values(9, np.uint16)
    for number in range(3):
        part = slice(number, None, 3)
        files.write_frames(tmp_path / f"{number}.dcm", truth[part], (np.arange(9) * 3.0)[part])
    np.testing.assert_array_equal(array(tmp_path), truth)


@pytest.mark.parametrize("gone", [(1,), (2,), (6,), (1, 3), (1, 3, 5), (2, 3)])
@pytest.mark.parametrize("marked", [False, True])
def test_a_volume_with_missing_slices_is_never_taken_for_several_whole_ones(tmp_path, gone, marked):
    def change(made: Dataset, number: int) -> None:
        if marked:  # two packages of slices, one after the other
            made.AcquisitionNumber = number % 2 + 1

    written = files.write_slices(tmp_path, values(9), np.arange(9) * 2.0, change)
    for number in gone:
        written[number].unlink()
    assert "missing" in reason(tmp_path) or "unevenly" in reason(tmp_path)


def test_an_element_of_an_unknown_representation_is_told_by_its_tag_not_by_bytes(tmp_path):
    path = files.write_structures(tmp_path / "rs.dcm", {"Liver": [np.array([[1.0, 1, 0], [5, 1, 0], [5, 5, 0]])]})
    content = path.read_bytes()
    assert content.count(b"\x06\x30\x20\x00SQ") == 1
    path.write_bytes(content.replace(b"\x06\x30\x20\x00SQ", b"\x06\x30\x20\x00S="))
    with pytest.raises(InputError) as told:
        reference_of(path)
    assert told.value.reason.endswith("Unknown Value Representation in tag (3006,0020)")


def test_a_screenshot_is_a_colour_image_and_no_image_whose_spacing_is_to_be_stated(tmp_path):
    files.write_slices(tmp_path / "a", np.zeros((1, 4, 4), np.int16), [0.0])
    file = next((tmp_path / "a").iterdir())
    dataset = pydicom.dcmread(file)
    del dataset.PixelSpacing
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = 7, 0, bytes(4 * 4 * 3)
    dataset.save_as(file)
    with pytest.raises(InputError, match=r"series \S+: is a colour image: 3 values") as told:
        read_header(tmp_path / "a")
    assert told.value.way_out == ""
