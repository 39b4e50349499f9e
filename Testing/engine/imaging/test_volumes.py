from __future__ import annotations

import gzip
import itertools
import math
import os
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from hypothesis import assume, given
from hypothesis import strategies as st

from hssl.errors import InputError, OutputError
from hssl.imaging.labels import read_label_map
from hssl.imaging.volumes import (
    FEWEST_OTHERS,
    check_values,
    grid_difference,
    header_of_series,
    read_header,
    read_volume,
    series_in,
    write_volume,
)
from hssl.threads import in_threads


def volume(size=(9, 8, 7), kind=np.float32, seed=0) -> sitk.Image:
    values = np.random.default_rng(seed).normal(100, 30, size[::-1]).astype(kind)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.5, 0.75, 3.0))
    image.SetOrigin((-12.5, 40.0, 7.25))
    return image


def oblique(image: sitk.Image, flip: bool = False) -> sitk.Image:
    transform = sitk.VersorTransform((0.3, 0.2, 0.9), 0.5)
    direction = np.array(transform.GetMatrix()).reshape(3, 3)
    if flip:
        direction[:, 2] *= -1
    image.SetDirection(direction.ravel().tolist())
    return image


def plain_nifti(path: Path, kind=np.float32) -> bytearray:
    sitk.WriteImage(volume(kind=kind), str(path))
    return bytearray(path.read_bytes())


def reason(function, *arguments, kind=InputError, **named) -> str:
    with pytest.raises(kind) as caught:
        function(*arguments, **named)
    assert str(arguments[0]) in str(caught.value), "the message must name the file"
    return caught.value.reason


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_every_format_gives_voxels_and_geometry_back(tmp_path, suffix):
    image = oblique(volume())
    path = tmp_path / f"Übung mit Leerzeichen 脑{suffix}"
    sitk.WriteImage(image, str(path))
    header, read = read_header(path), read_volume(path)
    assert header.size == image.GetSize() == read.GetSize()
    assert header.pixel_type == "32-bit float"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))
    for measured in (header.spacing, read.GetSpacing()):
        np.testing.assert_allclose(measured, image.GetSpacing(), rtol=1e-6)
    for measured in (header.direction, read.GetDirection()):
        np.testing.assert_allclose(measured, image.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(read.GetOrigin(), image.GetOrigin(), atol=1e-4)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_left_handed_direction_is_kept(tmp_path, suffix):
    path = tmp_path / f"left{suffix}"
    write_volume(oblique(volume(), flip=True), path)
    assert np.linalg.det(np.array(read_volume(path).GetDirection()).reshape(3, 3)) == pytest.approx(-1)
    assert np.linalg.det(np.array(read_header(path).direction).reshape(3, 3)) == pytest.approx(-1)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_file_is_refused(tmp_path, suffix, compressed):
    path = tmp_path / f"cut{suffix}"
    sitk.WriteImage(volume((20, 20, 20)), str(path), compressed)
    data = next((p for p in (tmp_path / "cut.raw", tmp_path / "cut.zraw") if p.exists()), path)
    data.write_bytes(data.read_bytes()[: data.stat().st_size * 6 // 10])
    why = reason(read_volume, path)
    assert "truncated" in why or "damaged" in why


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha"])
def test_truncation_is_seen_by_the_header_alone(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    sitk.WriteImage(volume((20, 20, 20)), str(path))
    path.write_bytes(path.read_bytes()[:-3000])
    assert "truncated" in reason(read_header, path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", [np.float32, np.int16])
def test_a_flipped_bit_in_compressed_voxels_is_refused(tmp_path, suffix, kind):
    path = tmp_path / f"flipped{suffix}"
    sitk.WriteImage(volume((30, 30, 30), kind), str(path), True)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) * 2 // 3] ^= 0x40
    path.write_bytes(damaged)
    assert "damaged" in reason(read_volume, path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_refused_in_every_format(tmp_path, suffix, bad):
    image = volume()
    image[1, 2, 3] = float(bad)
    path = tmp_path / f"nan{suffix}"
    sitk.WriteImage(image, str(path))
    assert "NaN" in reason(lambda p: check_values(read_volume(p), p), path)


def test_a_constant_volume_is_refused(tmp_path):
    assert "constant" in reason(lambda p: check_values(sitk.Image(4, 4, 4, sitk.sitkInt16) + 7, p), tmp_path / "a.nii")


@given(
    size=st.integers(1, 6).flatmap(lambda x: st.tuples(st.just(x), st.integers(1, 7), st.integers(1, 9))),
    others=st.integers(1, 10),
    kind=st.sampled_from([np.uint8, np.int16, np.float32]),
    seed=st.integers(0, 1000),
)
def test_a_volume_all_of_whose_voxels_but_a_few_are_equal_is_refused(size, others, kind, seed):
    rng = np.random.default_rng(seed)
    values = np.full(size, rng.integers(100), kind)
    assume(others < values.size / 2)
    # Evenly spaced ones too: a sample must not meet them alone.
    places = np.arange(others) * (values.size // others) if seed % 2 else rng.permutation(values.size)[:others]
    values.flat[places] = 100 + rng.integers(100, size=others)
    image = sitk.GetImageFromArray(values)
    if others < FEWEST_OTHERS and 10 * others < values.size:
        assert f"nearly constant: all but {others} voxel" in reason(lambda p: check_values(image, p), Path("a.nii"))
    else:
        check_values(image, Path("a.nii"))


def test_a_volume_that_memory_does_not_hold_is_refused_before_it_is_read(tmp_path, monkeypatch):
    write_volume(sitk.Image(1 << 7, 1 << 7, 1 << 7, sitk.sitkUInt8), tmp_path / "fits.nii.gz")
    write_volume(sitk.Image(1 << 7, 1 << 7, 1 << 8, sitk.sitkUInt8), tmp_path / "large.nii.gz")
    monkeypatch.setattr("hssl.imaging.volumes.available_memory", lambda: 32 << 20)
    assert read_volume(tmp_path / "large.nii.gz").GetSize()[2] == 1 << 8
    monkeypatch.setattr("hssl.imaging.volumes.available_memory", lambda: (32 << 20) - 1)
    assert read_volume(tmp_path / "fits.nii.gz").GetSize()[2] == 1 << 7
    assert "of memory to be read" in reason(read_volume, tmp_path / "large.nii.gz")


@pytest.mark.parametrize("dimensions", [3, 5, 6, 7])
def test_a_nifti_whose_further_dimensions_are_of_one_is_a_volume(tmp_path, dimensions):
    path = tmp_path / "a.nii"
    data = bytearray(plain_nifti(path))
    struct.pack_into("<h", data, 40, dimensions)
    struct.pack_into("<4h", data, 48, 1, 1, 1, 1)
    path.write_bytes(data)
    assert read_volume(path).GetDimension() == 3


@pytest.mark.parametrize(
    ("name", "offset", "values", "expected"),
    [
        ("zero spacing", 80, struct.pack("<f", 0.0), "spacing of 0"),
        ("negative spacing", 84, struct.pack("<f", -1.0), "spacing of -1"),
        ("spacing that is no number", 88, struct.pack("<f", float("nan")), "spacing of nan"),
        ("no voxels", 42, struct.pack("<h", 0), "impossible sizes"),
        ("negative size", 42, struct.pack("<h", -5), "impossible sizes"),
        ("nine dimensions", 40, struct.pack("<h", 9), "impossible sizes"),
        ("10^12 voxels", 42, struct.pack("<3h", 10000, 10000, 10000), "truncated"),
        ("wrong magic", 0, b"abcd", "not a NIfTI"),
        ("position that is no number", 280, struct.pack("<f", float("nan")), "not a number"),
        ("huge offset", 108, struct.pack("<f", 1e9), "truncated"),
        ("unknown type", 70, struct.pack("<h", 999), "cannot be read"),
    ],
)
def test_a_nifti_header_with_something_impossible_is_refused(tmp_path, name, offset, values, expected):
    path = tmp_path / f"{name}.nii"
    data = plain_nifti(path)
    data[offset : offset + len(values)] = values
    path.write_bytes(data)
    assert expected in reason(read_header, path)


def test_a_singular_and_a_sheared_direction_are_refused(tmp_path):
    path = tmp_path / "a.nii"
    data = plain_nifti(path)
    struct.pack_into("<2h", data, 252, 0, 1)
    for rows in ([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0], [1, 0.4, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]):
        struct.pack_into("<12f", data, 280, *rows)
        path.write_bytes(data)
        assert "orthonormal" in reason(read_header, path)
    path = tmp_path / "a.mha"
    sitk.WriteImage(volume(), str(path))
    identity, text = b"TransformMatrix = 1 0 0 0 1 0 0 0 1", path.read_bytes()
    path.write_bytes(text.replace(identity, b"TransformMatrix = 1 0 0 1 0 0 0 0 1"))
    assert "singular" in reason(read_header, path)
    path.write_bytes(text.replace(identity, b"TransformMatrix = 1 0 0 0.5 1 0 0 0 1"))
    assert "sheared" in reason(read_header, path)
    path.write_bytes(text.replace(b"ElementSpacing = 0.5", b"ElementSpacing = 0"))
    assert "spacing" in reason(read_header, path)


def test_a_header_of_10_to_the_12_voxels_is_refused_before_anything_is_allocated(tmp_path):
    path = tmp_path / "a.nrrd"
    path.write_bytes(
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: 10000 10000 10000\nendian: little\nencoding: gzip\n\n"
        + gzip.compress(bytes(1 << 20))
    )
    assert "announces" in reason(read_header, path)
    path = tmp_path / "a.mha"
    sitk.WriteImage(volume(), str(path))
    path.write_bytes(path.read_bytes().replace(b"DimSize = 9 8 7", b"DimSize = 10000 10000 10000"))
    assert "announces" in reason(read_header, path)


@pytest.mark.parametrize(("slices", "fits"), [(2048, True), (2049, False)])
def test_more_than_2048_slices_of_2048_by_2048_voxels_cannot_be_meant(tmp_path, slices, fits):
    path = tmp_path / "a.nhdr"
    path.write_text(
        f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2048 2048 {slices}\nencoding: raw\ndata file: a.raw\n\n"
    )
    (tmp_path / "a.raw").touch()
    os.truncate(tmp_path / "a.raw", 2048 * 2048 * slices)  # no byte of it is on the disk
    if fits:
        assert read_header(path).size == (2048, 2048, 2048)
    else:
        assert "announces 2048×2048×2049 voxels, more than can be meant" in reason(read_header, path)


def test_a_gzip_bomb_is_not_unpacked_beyond_what_its_header_announces(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    head = bytes(plain_nifti(tmp_path / "a.nii"))
    packer = zlib.compressobj(9, wbits=31)
    with open(path, "wb") as file:
        file.write(packer.compress(head))
        file.writelines(packer.compress(bytes(1 << 20)) for _ in range(64))
        file.write(packer.flush())
    assert "unpacks to more than" in reason(read_header, path)


def test_a_few_padding_bytes_behind_the_voxels_are_accepted(tmp_path):
    path = tmp_path / "padded.nii.gz"
    path.write_bytes(gzip.compress(bytes(plain_nifti(tmp_path / "a.nii")) + bytes(512)))
    assert read_volume(path).GetSize() == (9, 8, 7)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.nii.gz", b"", "empty"),
        ("text.nii", b"this is no image" * 40, "not a NIfTI"),
        ("short.nii", b"abc", "truncated"),
        ("second.nii", struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(600), "is NIfTI-2"),
        ("second.nii.gz", gzip.compress(struct.pack(">i", 540) + bytes(600), mtime=0), "is NIfTI-2"),
        ("not gzip.nii.gz", b"\0" * 400, "not a gzip"),
        (
            "lfs.nii.gz",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "pointer of Git LFS",
        ),
        ("a.nrrd", b"PNG", "not a NRRD"),
        ("a.mha", b"DimSize = 3 3 3\n", "not a MetaImage"),
        *(
            (
                "b.mha",
                b"DimSize = 3 3 3\nElementType = MET_CHAR\nElementNumberOfChannels = %s\nElementDataFile = LOCAL\n" % n,
                "impossible sizes",
            )
            for n in (b"x", b"-1", b"1 1")
        ),
        ("a.png", b"\x89PNG", "no format that is read"),
        ("a.dcm", b"\0" * 200, "cannot be read"),
        ("a.mgz", b"\0" * 200, "does not read"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert expected in reason(read_header, tmp_path / name)


def test_a_missing_file_and_a_missing_data_file_are_named(tmp_path):
    assert "No such file" in reason(read_header, tmp_path / "absent.nii")
    sitk.WriteImage(volume(), str(tmp_path / "a.mhd"))
    (tmp_path / "a.raw").unlink()
    assert "a.raw is missing" in reason(read_header, tmp_path / "a.mhd")


def test_a_name_that_is_not_utf_8_is_refused_since_itk_would_end_the_process(tmp_path):
    odd = tmp_path / os.fsdecode(b"m\xfcller.nii.gz")
    write_volume(volume(), tmp_path / "plain.nii.gz")
    (tmp_path / "plain.nii.gz").rename(odd)
    with pytest.raises(InputError, match="UTF-8") as told:
        read_volume(odd)
    str(told.value.path).encode("utf-8")
    with pytest.raises(OutputError, match="UTF-8"):
        write_volume(volume(), tmp_path / os.fsdecode(b"new\xfc.nii.gz"))
    assert os.listdir(os.fsencode(tmp_path)) == [b"m\xfcller.nii.gz"]


def test_a_reason_that_quotes_a_damaged_header_can_be_written_down(tmp_path):
    path = tmp_path / "a.mhd"
    sitk.WriteImage(volume(), str(path))
    path.write_bytes(path.read_bytes().replace(b"ElementDataFile = a.raw", b"ElementDataFile = a\x8d.raw"))
    reason(read_header, path).encode("utf-8")


def test_a_2d_image_becomes_a_volume_of_one_slice(tmp_path):
    path = tmp_path / "flat.nii.gz"
    write_volume(volume()[:, :, 3], path)
    assert read_header(path).size == (9, 8, 1)
    assert read_volume(path).GetSize() == (9, 8, 1)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_4d_image_needs_a_choice_of_frame(tmp_path, suffix):
    frames = [volume(seed=s) for s in range(3)]
    path = tmp_path / f"four{suffix}"
    sitk.WriteImage(sitk.JoinSeries(frames), str(path))
    assert read_header(path).frames == 3
    assert "3 frames and none is chosen" in reason(read_volume, path)
    assert "no frame 3" in reason(read_volume, path, frame=3)
    chosen = read_volume(path, frame=1)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(chosen), sitk.GetArrayFromImage(frames[1]))
    np.testing.assert_allclose(chosen.GetSpacing(), frames[1].GetSpacing(), rtol=1e-6)


def test_a_sequence_kept_as_vector_voxels_is_read_frame_by_frame(tmp_path):
    frames = [volume(kind=np.int16, seed=s) for s in range(4)]
    path = tmp_path / "sequence.seq.nrrd"
    sitk.WriteImage(sitk.Compose(frames), str(path))
    assert read_header(path).frames == 4
    chosen = read_volume(path, frame=2)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(chosen), sitk.GetArrayFromImage(frames[2]))


def test_a_colour_image_is_refused(tmp_path):
    path = tmp_path / "colour.nrrd"
    sitk.WriteImage(sitk.Image([4, 5, 6], sitk.sitkVectorUInt8, 3), str(path))
    assert "colour" in reason(read_header, path)


def test_label_maps_of_any_whole_number_type_are_accepted(tmp_path):
    values = np.zeros((7, 8, 9))
    values[2:4] = 1
    values[4:5] = 300
    for number, kind in enumerate((np.float64, np.int32, np.uint16)):
        path = tmp_path / f"{number}.nrrd"
        sitk.WriteImage(sitk.GetImageFromArray(values.astype(kind)), str(path))
        label = read_label_map(path)
        assert label.GetPixelID() == sitk.sitkUInt16
        np.testing.assert_array_equal(sitk.GetArrayFromImage(label), values)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (0.5, "not whole"),
        (-1, "from -1"),
        (16777216, "to 16777216; they must be 0 to 65535: number its structures anew"),
    ],
)
def test_label_values_that_cannot_be_classes_are_refused(tmp_path, bad, expected):
    values = np.zeros((4, 4, 4), np.float32)
    values[1, 1, 1] = bad
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "label.nrrd"))
    assert expected in reason(read_label_map, tmp_path / "label.nrrd")


def test_a_label_on_another_grid_is_refused_with_the_reason(tmp_path):
    image = volume()
    for change, expected in (
        (lambda i: i[1:], "size"),
        (lambda i: (i.SetOrigin((-12.5, 40.0, 8.0)), i)[1], "origin"),
        (lambda i: (i.SetSpacing((0.5, 0.75, 2.5)), i)[1], "spacing"),
        (lambda i: oblique(i), "direction"),
    ):
        label = sitk.Cast(image > 100, sitk.sitkUInt8)
        label = change(label)
        sitk.WriteImage(label, str(tmp_path / "label.nrrd"))
        why = reason(read_label_map, tmp_path / "label.nrrd", like=image)
        assert "another grid" in why
        assert expected in why


@given(shift=st.floats(0, 0.2), scale=st.floats(0, 0.02), flip=st.booleans(), thin=st.booleans())
def test_two_grids_are_one_where_no_corner_is_off_by_more_than_a_tenth_of_a_voxel(shift, scale, flip, thin):
    one, other = (oblique(volume((9, 8, 1 if thin else 7)), flip) for _ in range(2))
    one.SetSpacing((0.5, 0.75, 3.0 + scale))
    other.SetOrigin([o + shift * d for o, d in zip(other.GetOrigin(), (0.5, 0.1, -0.2), strict=True)])
    corners = list(itertools.product(*((0, n - 1) for n in one.GetSize())))
    off = max(math.dist(*(i.TransformIndexToPhysicalPoint(corner) for i in (one, other))) for corner in corners)
    assume(abs(off - 0.05) > 1e-9)
    assert (grid_difference(one, other) is None) == (off < 0.05)


def test_rounding_of_the_geometry_is_no_other_grid_and_the_image_s_grid_is_taken(tmp_path):
    image = oblique(volume())
    label = sitk.Cast(image > 100, sitk.sitkUInt8)
    label.SetOrigin([o + 0.004 for o in image.GetOrigin()])
    assert grid_difference(image, label) is None
    write_volume(label, tmp_path / "label.nrrd")
    read = read_label_map(tmp_path / "label.nrrd", image)
    assert (read.GetOrigin(), read.GetDirection()) == (image.GetOrigin(), image.GetDirection())


def test_a_packed_file_beside_an_unpacked_one_of_its_name_is_refused_since_itk_mixes_them_up(tmp_path):
    write_volume(volume(), tmp_path / "a.nii.gz")
    assert read_volume(tmp_path / "a.nii.gz")
    write_volume(volume() + 1, tmp_path / "a.nii")
    assert "in place of its own" in reason(read_volume, tmp_path / "a.nii.gz")
    assert read_volume(tmp_path / "a.nii")


def test_a_volume_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    write_volume(volume(), path)
    before = path.read_bytes()
    assert "format" in reason(lambda p: write_volume(volume(), p), tmp_path / "a.png", kind=OutputError)

    def fail_half_way(image, name, compressed):
        Path(name).write_bytes(b"half")
        raise RuntimeError("ITK ERROR: no space left")

    monkeypatch.setattr(sitk, "WriteImage", fail_half_way)
    assert "no space left" in reason(lambda p: write_volume(volume(), p), path, kind=OutputError)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.nii.gz"]


def test_a_series_is_read_in_the_order_of_positions_not_of_names(tmp_path):
    positions = [7.5, 0.0, 5.0, 2.5]
    files = write_series(tmp_path / "CT", positions=positions)
    (series,) = series_in(tmp_path / "CT")
    assert [f.name for f in series.files] == [files[i].name for i in np.argsort(positions)]
    image = read_volume(tmp_path / "CT")
    assert image.GetSize() == (16, 12, 4)
    assert image.GetSpacing() == pytest.approx((0.75, 0.75, 2.5))
    header = read_header(tmp_path / "CT")
    assert header.modality == "CT"
    first = sitk.GetArrayFromImage(sitk.ReadImage(str(files[1])))[0]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image)[0], first)
    assert grid_difference(image, header) is None


def test_a_sagittal_series_keeps_its_orientation(tmp_path):
    write_series(tmp_path, direction=(0, 1, 0, 0, 0, -1), positions=[-3, -1.5, 0])
    image = read_volume(tmp_path)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(direction, [[0, 0, -1], [1, 0, 0], [0, -1, 0]], atol=1e-6)
    assert image.GetOrigin() == pytest.approx((3, 0, 0))


def test_several_series_in_a_folder_are_told_apart(tmp_path):
    write_series(tmp_path, uid="1.2.3.4", prefix="a")
    write_series(tmp_path, uid="1.2.3.5", prefix="b", positions=[0, 1, 2], modality="MR", seed=1)
    assert [(s.uid, s.modality, header_of_series(s).size) for s in series_in(tmp_path)] == [
        ("1.2.3.4", "CT", (16, 12, 4)),
        ("1.2.3.5", "MR", (16, 12, 3)),
    ]
    assert "1.2.3.4, 1.2.3.5" in reason(read_volume, tmp_path)
    assert read_volume(tmp_path, series="1.2.3.5").GetSize() == (16, 12, 3)
    assert "no series 9" in reason(read_volume, tmp_path, series="9")


def test_missing_and_unevenly_spaced_slices_are_named(tmp_path):
    write_series(tmp_path / "missing", positions=[0, 2.5, 7.5, 10])
    assert "1 slice is missing, between slice001.dcm and slice002.dcm" in reason(read_volume, tmp_path / "missing")
    # Each side of the gap would be a volume; half of a scan is never taken for the whole.
    write_series(tmp_path / "halves", positions=[2.5 * n for n in range(20) if n not in (7, 13, 14)])
    for read in (read_header, read_volume):
        assert "3 slices are missing, between slice006.dcm and slice007.dcm; between" in reason(
            read, tmp_path / "halves"
        )
    write_series(tmp_path / "uneven", positions=[0, 2.5, 5.5, 7.7])
    assert "unevenly" in reason(read_header, tmp_path / "uneven")


def test_a_truncated_slice_is_refused_with_its_name(tmp_path):
    files = write_series(tmp_path)
    files[2].write_bytes(files[2].read_bytes()[:300])
    assert "slice002.dcm" in next(s.problem for s in series_in(tmp_path) if not s.uid)


def test_odd_bytes_in_a_dicom_tag_can_be_written_down_and_the_series_is_found_again(tmp_path):
    before, after = (b"\x20\x00\x0e\x00\x0a\x00\x00\x001.2.3." + end for end in (b"4567", b"\xfc567"))
    for file in write_series(tmp_path, uid="1.2.3.4567"):
        file.write_bytes(file.read_bytes().replace(before, after))
    (series,) = series_in(tmp_path)
    assert series.uid != "1.2.3.4567"
    series.uid.encode("utf-8")
    assert read_volume(tmp_path, series=series.uid).GetSize() == (16, 12, 4)


def test_a_folder_without_a_series_says_so(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    assert "no DICOM series" in reason(read_header, tmp_path)


def test_itk_reads_one_file_at_a_time_in_whatever_thread(tmp_path, monkeypatch):
    inside, seen = [], []

    class Watched(sitk.ImageFileReader):
        def watch(self, read):
            inside.append(threading.get_ident())
            time.sleep(0.01)
            seen.append(len(inside))
            try:
                return read()
            finally:
                inside.pop()

        def ReadImageInformation(self):
            return self.watch(super().ReadImageInformation)

        def Execute(self):
            return self.watch(super().Execute)

    monkeypatch.setattr(sitk, "ImageFileReader", Watched)
    files = [tmp_path / f"{i}.nii.gz" for i in range(4)]
    for seed, file in enumerate(files):
        write_volume(volume(seed=seed), file)
    write_series(tmp_path / "series")
    read = list(in_threads(read_volume, [*files, tmp_path / "series"], lambda: False, threads=4))
    assert len(read) == 5 and len(seen) > 10 and set(seen) == {1}


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_a_header_without_a_spacing_is_told_and_a_stated_one_is_taken(tmp_path, name):
    """What Python packages write of a bare array."""
    array = np.random.default_rng(0).integers(0, 99, (3, 4, 5)).astype(np.int16)
    head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 3\nendian: little\nencoding: raw\n\n"
    if name == "a.mha":
        head = "ObjectType = Image\nNDims = 3\nDimSize = 5 4 3\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    (tmp_path / name).write_bytes(head.encode() + array.tobytes())
    header = read_header(tmp_path / name)
    assert header.spacing == (1, 1, 1) and "does not say how large its voxels are" in header.remarks[0]
    header = read_header(tmp_path / name, spacing=(1, 2, 3))
    assert header.spacing == (1, 2, 3) and header.remarks == ()
    volume = read_volume(tmp_path / name, spacing=(1, 2, 3))
    assert volume.GetSpacing() == (1, 2, 3)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(volume), array)


def test_values_that_single_precision_cannot_tell_apart_are_refused():
    with pytest.raises(InputError, match="from 1099511627776 to 1099511627800, which single precision cannot"):
        check_values(sitk.GetImageFromArray(2**40 + np.arange(25, dtype=np.int64).reshape(1, 5, 5)), "a.nrrd")


def test_a_name_that_tells_the_wrong_compression_is_told_with_the_way_out(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(24).reshape(2, 3, 4).astype(np.int16)), str(tmp_path / "a.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(24).reshape(2, 3, 4).astype(np.int16)), str(tmp_path / "b.nii"))
    (tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    (tmp_path / "b.nii").rename(tmp_path / "b.nii.gz")
    for name, way_out in (("a.nii", "end in .nii.gz"), ("b.nii.gz", "must end in .nii.")):
        with pytest.raises(InputError) as told:
            read_header(tmp_path / name)
        assert way_out in told.value.hint
