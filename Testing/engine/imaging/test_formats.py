"""Formats that say little of themselves, directions that are rounded, and numbers whatever the locale."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.errors import InputError
from hssl.imaging import voxel_data
from hssl.imaging.formats import is_dicom, is_volume
from hssl.imaging.labels import read_label_map
from hssl.imaging.volumes import read_header, read_volume

VALUES = np.random.default_rng(0).integers(-500, 900, (7, 8, 9)).astype(np.int16)


def array(path, **choice) -> np.ndarray:
    return sitk.GetArrayFromImage(read_volume(path, **choice))


@pytest.mark.parametrize("suffix", [".tif", ".tiff"])
def test_a_tiff_stack_asks_for_its_spacing(tmp_path, suffix):
    path = tmp_path / f"stack{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), str(path))
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert caught.value.way_out == "spacing" and "how large its voxels are" in caught.value.reason
    image = read_volume(path, spacing=(0.4, 0.4, 1.5))
    assert image.GetSpacing() == (0.4, 0.4, 1.5) and read_header(path, spacing=(1, 1, 2)).size == (9, 8, 7)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VALUES)
    for wrong in ((1, 1), (0, 1, 1), (1, 1, float("nan"))):
        with pytest.raises(InputError, match="cannot have a spacing"):
            read_header(path, spacing=wrong)
    # Its label needs no spacing of its own; other formats keep what they say.
    label = tmp_path / f"label{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray((VALUES > 0).astype(np.uint8)), str(label))
    assert read_label_map(label, image).GetSpacing() == (0.4, 0.4, 1.5)
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), str(tmp_path / "a.nii"))
    assert read_volume(tmp_path / "a.nii", spacing=(5, 5, 5)).GetSpacing() == (1, 1, 1)


def test_a_colour_tiff_is_refused(tmp_path):
    colours = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    sitk.WriteImage(colours, str(tmp_path / "a.tif"))
    with pytest.raises(InputError, match="colour"):
        read_header(tmp_path / "a.tif", spacing=(1, 1, 1))


def pair(path: Path, magic: bytes) -> None:
    """Writes a header (.hdr) and its voxels (.img)."""
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), str(path.with_suffix(".nii")))
    whole = path.with_suffix(".nii").read_bytes()
    head = bytearray(whole[:348])
    head[344:348] = magic
    struct.pack_into("<f", head, 108, 0)
    if not magic.strip(b"\0"):
        head[252:328] = bytes(76)
    path.write_bytes(bytes(head))
    path.with_suffix(".img").write_bytes(whole[352:])
    path.with_suffix(".nii").unlink()


@pytest.mark.parametrize("magic", [b"ni1\0", b"\0\0\0\0"])
def test_a_pair_of_header_and_voxels_is_read_by_either_name(tmp_path, magic):
    pair(tmp_path / "a.hdr", magic)
    for name in ("a.hdr", "a.img"):
        np.testing.assert_array_equal(array(tmp_path / name), VALUES)
    assert is_volume("a.hdr") and not is_volume("a.img")
    analyze = not magic.strip(b"\0")
    assert any("left and right may be swapped" in r for r in read_header(tmp_path / "a.hdr").remarks) == analyze
    (tmp_path / "a.img").write_bytes((tmp_path / "a.img").read_bytes()[:-40])
    with pytest.raises(InputError, match="truncated"):
        read_header(tmp_path / "a.hdr")
    (tmp_path / "a.img").unlink()
    with pytest.raises(InputError, match="a.img is missing"):
        read_header(tmp_path / "a.hdr")


def sheared(path: Path, shear: float, qform: int = 0) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), str(path))
    data = bytearray(path.read_bytes())
    struct.pack_into("<2h", data, 252, qform, 2)
    struct.pack_into("<12f", data, 280, -1, -shear, 0, 4, 0, -1, 0, 5, 0, 0, 1, 6)
    path.write_bytes(data)


@pytest.mark.parametrize("before", [None, "0"])
@pytest.mark.parametrize("shear", [1e-6, 1e-5, 1e-4, 9e-4])
def test_a_direction_that_is_sheared_by_rounding_is_made_orthonormal(tmp_path, monkeypatch, shear, before):
    sheared(tmp_path / "a.nii", shear)
    if before is None:
        monkeypatch.delenv("ITK_NIFTI_SFORM_PERMISSIVE", raising=False)
    else:
        monkeypatch.setenv("ITK_NIFTI_SFORM_PERMISSIVE", before)
    for read in (read_header(tmp_path / "a.nii").direction, read_volume(tmp_path / "a.nii").GetDirection()):
        axes = np.array(read).reshape(3, 3)
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-7)
        np.testing.assert_allclose(axes, np.eye(3), atol=shear)
    np.testing.assert_array_equal(array(tmp_path / "a.nii"), VALUES)
    assert os.environ.get("ITK_NIFTI_SFORM_PERMISSIVE") == before


def test_a_direction_that_is_sheared_by_more_is_refused_in_our_words(tmp_path):
    sheared(tmp_path / "a.nii", 0.01)
    with pytest.raises(InputError, match="not orthonormal: its sform is sheared by 0.01 and it has no qform"):
        read_header(tmp_path / "a.nii")


def test_a_sheared_sform_beside_a_good_qform_is_told(tmp_path):
    sheared(tmp_path / "a.nii", 0.4, qform=1)
    header = read_header(tmp_path / "a.nii")
    assert "qform was taken" in header.remarks[0]
    np.testing.assert_array_equal(array(tmp_path / "a.nii"), VALUES)


def test_channels_of_eight_bits_can_be_chosen_where_they_are_no_colours(tmp_path):
    channels = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 2)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(channels, isVector=True), str(tmp_path / "a.nrrd"))
    assert read_header(tmp_path / "a.nrrd").frames == 2
    np.testing.assert_array_equal(array(tmp_path / "a.nrrd", frame=1), channels[..., 1])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".tif"])
def test_a_file_is_inspected_once_a_read(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), str(path))
    seen, made = [], []
    inspect, reader = voxel_data.inspect, sitk.ImageFileReader
    monkeypatch.setattr(voxel_data, "inspect", lambda p: (seen.append(p), inspect(p))[1])
    monkeypatch.setattr(sitk, "ImageFileReader", lambda: (made.append(1), reader())[1])
    read_volume(path, spacing=(1, 1, 1))
    assert seen == [path] and made == [1]


ELEMENT = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + bytes(300)
IMPLICIT = b"\x08\x00\x05\x00%s\x00\x00ISO_IR 100" + bytes(300)


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (ELEMENT[:15], False),
        (ELEMENT[:16], True),
        (ELEMENT[:17], True),
        (b"\x02" + ELEMENT[1:], True),
        (b"\x04" + ELEMENT[1:], False),
        (ELEMENT[:2] + b"\x20\x00" + ELEMENT[4:], True),
        (ELEMENT[:2] + b"\x21\x00" + ELEMENT[4:], False),
        (ELEMENT[:4] + b"XX\xff\xff" + ELEMENT[8:], False),
        (IMPLICIT % b"\x0a\x00", True),
        (IMPLICIT % b"\x00\x01", True),
        (IMPLICIT % b"\x01\x01", False),
        (IMPLICIT % b"\x00\x00", False),
        ((IMPLICIT % b"\x20\x00")[:32], True),
        ((IMPLICIT % b"\x21\x00")[:32], False),
        (bytes(128) + b"DICM", True),
        (bytes(127) + b"DICM", False),
        (b"", False),
    ],
)
def test_dicom_is_told_by_its_preamble_or_its_first_element(tmp_path, content, is_one):
    (tmp_path / "a").write_bytes(content)
    assert is_dicom(tmp_path / "a") is is_one
    (tmp_path / "a.dcm").write_bytes(b"")
    (tmp_path / "dicomdir").write_bytes(ELEMENT)
    assert is_dicom(tmp_path / "a.dcm") and not is_dicom(tmp_path / "dicomdir") and not is_dicom(tmp_path / "gone")


def test_text_that_begins_like_dicom_is_none(tmp_path):
    for name, content in (("a", b"\x08\x00 no DICOM at all, only text"), ("b", bytes(200)), ("c", b"\x08\x00\x05\x00")):
        (tmp_path / name).write_bytes(content)
        assert not is_dicom(tmp_path / name)


DECIMAL_COMMA = """
import locale, sys
locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
assert locale.localeconv()["decimal_point"] == ","
import numpy as np, SimpleITK as sitk
from hssl.imaging.volumes import read_header, read_volume, write_volume
image = sitk.GetImageFromArray(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
image.SetSpacing((0.75, 0.75, 2.5)); image.SetOrigin((1.25, -2.5, 3.75))
for suffix in (".nrrd", ".mha", ".nii.gz"):
    for path in (sys.argv[1] + "/there" + suffix, sys.argv[1] + "/here" + suffix):
        if "here" in path.rsplit("/", 1)[1][:4]:
            write_volume(image, path)
        read = read_volume(path)
        assert read.GetSpacing() == (0.75, 0.75, 2.5) == read_header(path).spacing, (path, read.GetSpacing())
        assert read.GetOrigin() == (1.25, -2.5, 3.75), (path, read.GetOrigin())
assert locale.localeconv()["decimal_point"] == ","
"""


def test_numbers_are_read_and_written_alike_under_a_decimal_comma(tmp_path):
    environment = dict(os.environ)
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout if shutil.which("locale") else ""
    if "de_DE.utf8" not in known:
        if shutil.which("localedef") is None:
            pytest.skip("this system has no locale with a decimal comma, and cannot make one")
        made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")])
        if not (tmp_path / "de_DE.UTF-8").exists():
            pytest.skip(f"localedef cannot make de_DE ({made.returncode})")
        environment["LOCPATH"] = str(tmp_path)
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    image.SetSpacing((0.75, 0.75, 2.5))
    image.SetOrigin((1.25, -2.5, 3.75))
    for suffix in (".nrrd", ".mha", ".nii.gz"):
        sitk.WriteImage(image, str(tmp_path / f"there{suffix}"))
    done = subprocess.run(
        [sys.executable, "-c", DECIMAL_COMMA, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for suffix in (".nrrd", ".mha", ".nii.gz"):
        assert sitk.ReadImage(str(tmp_path / f"here{suffix}")).GetSpacing() == (0.75, 0.75, 2.5)
