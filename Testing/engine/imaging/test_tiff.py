from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.errors import InputError
from hssl.imaging.tiff import Pages
from hssl.imaging.volumes import read_header, read_volume

SPACING = (0.1, 0.1, 0.5)
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels DimensionOrder="{order}" SizeC="2" SizeT="1" SizeX="7" SizeY="5" SizeZ="6" Type="uint16">'
    '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
)


def write_pages(
    path: Path,
    pages: Sequence[np.ndarray],
    description: str = "",
    big: bool = False,
    extra: Sequence[dict[int, tuple[int, ...]]] = (),
) -> Path:
    """Writes grey pages without compression, each with its directory behind it; `extra` are more tags of each page."""
    offset, count, head = ("Q", "Q", 16) if big else ("I", "H", 8)
    out = bytearray(struct.pack("<2sHHHQ" if big else "<2sHI", *((b"II", 43, 8, 0, 16) if big else (b"II", 42, 8))))
    link = head - struct.calcsize(offset)
    for number, page in enumerate(pages):
        pixels, text = len(out), len(out) + page.nbytes
        out += page.tobytes()
        words = description.encode() + b"\0" if number == 0 and description else b""
        out += words
        tags: dict[int, tuple[int, ...]] = {
            256: (page.shape[1],),
            257: (page.shape[0],),
            258: (8 * page.itemsize,),
            259: (1,),
            262: (1,),
            273: (pixels,),
            277: (1,),
            278: (page.shape[0],),
            279: (page.nbytes,),
            339: ({"u": 1, "i": 2, "f": 3}[page.dtype.kind],),
            **(extra[number] if number < len(extra) else {}),
        }
        entries = {tag: (4, values) for tag, values in tags.items()}
        if words:
            entries[270] = (2, (text,))
        behind = bytearray()
        place = len(out)
        length = struct.calcsize("<" + count) + len(entries) * (20 if big else 12) + struct.calcsize(offset)
        table = bytearray(struct.pack("<" + count, len(entries)))
        for tag, (kind, values) in sorted(entries.items()):
            many = len(words) if tag == 270 else len(values)
            if kind == 4 and many > 1:
                values, start = (place + length + len(behind),), values
                behind += struct.pack(f"<{many}I", *start)
            table += struct.pack("<HH" + ("QQ" if big else "II"), tag, kind, many, values[0])
        out += table + struct.pack("<" + offset, 0) + behind
        out[link : link + struct.calcsize(offset)] = struct.pack("<" + offset, place)
        link = place + length - struct.calcsize(offset)
    path.write_bytes(out)
    return path


def numbered(count: int, kind=np.uint16) -> list[np.ndarray]:
    """Returns pages that tell their number in each pixel's hundreds."""
    noise = np.random.default_rng(0).integers(0, 50, (5, 7))
    return [(100 * number + noise).astype(kind) for number in range(count)]


def pages_in(path: Path, frame: int | None = None) -> list[int]:
    values = sitk.GetArrayFromImage(read_volume(path, spacing=SPACING, frame=frame))
    return [round(page.mean()) // 100 for page in values]


def reason(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_volume(path, spacing=SPACING)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    "description", ["", "ImageJ=1.54f\nimages=4\nslices=4\nunit=micron\n", '{"shape": [4, 5, 7]}', "by hand"]
)
def test_the_pages_of_a_stack_are_its_slices(tmp_path, description, big):
    path = write_pages(tmp_path / "a.tif", numbered(4), description, big)
    assert read_header(path, spacing=SPACING).size == (7, 5, 4)
    assert pages_in(path) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("description", "what", "second"),
    [
        ("ImageJ=1.54f\nimages=12\nchannels=2\nslices=6\nhyperstack=true\n", "2 channels", [1, 3, 5, 7, 9, 11]),
        ("ImageJ=1.54f\nimages=12\nslices=6\nframes=2\nhyperstack=true\n", "2 time points", [6, 7, 8, 9, 10, 11]),
        (OME.format(order="XYCZT"), "2 channels", [1, 3, 5, 7, 9, 11]),
        (OME.format(order="XYZCT"), "2 channels", [6, 7, 8, 9, 10, 11]),
        ('{"axes": "ZCYX", "shape": [6, 2, 5, 7]}', "2 channels", [1, 3, 5, 7, 9, 11]),
        ('{"axes": "CZYX", "shape": [2, 6, 5, 7]}', "2 channels", [6, 7, 8, 9, 10, 11]),
    ],
)
def test_channels_and_time_points_of_a_microscope_are_volumes_of_their_own(tmp_path, description, what, second):
    path = write_pages(tmp_path / "a.tif", numbered(12), description)
    assert f"has 2 frames ({what}) and none is chosen" in reason(path)
    assert read_header(path, spacing=SPACING).frames == 2
    assert pages_in(path, frame=1) == second
    assert sorted(pages_in(path, frame=0) + second) == list(range(12))


def test_pages_along_three_axes_are_found():
    pages = Pages(3, channels=2, times=2)
    assert pages.description == "2 channels × 2 time points"
    assert [pages.of(n) for n in range(pages.volumes)] == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]


def test_time_points_of_one_slice_are_taken_as_slices_and_that_is_said(tmp_path):
    path, said = write_pages(tmp_path / "a.tif", numbered(4), "ImageJ=1.54f\nimages=4\nframes=4\n"), []
    assert read_volume(path, spacing=SPACING, say=said.append).GetSize() == (7, 5, 4)
    assert said == ["its 4 time points of one slice are taken as slices"]


def test_an_array_of_four_axes_that_does_not_say_which_are_slices_is_refused(tmp_path):
    path = write_pages(tmp_path / "a.tif", numbered(12), '{"shape": [6, 2, 5, 7]}')
    assert "does not say which of its axes are slices" in reason(path)


def test_a_file_without_all_pages_that_it_announces_is_refused(tmp_path):
    path = write_pages(tmp_path / "a.tif", numbered(1), "ImageJ=1.54f\nimages=300\nslices=300\n")
    assert "announces 300 pages, and 1 can be read" in reason(path)


def test_a_truncated_stack_is_refused(tmp_path):
    path = write_pages(tmp_path / "a.tif", numbered(6))
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 150, len(whole) - 3):
        path.write_bytes(whole[:length])
        assert "truncated" in reason(path)


@pytest.mark.parametrize("other", [np.zeros((2, 3), np.uint16), np.ones((5, 7), np.float32)])
def test_pages_that_are_no_slices_of_one_volume_are_refused(tmp_path, other):
    path = write_pages(tmp_path / "a.tif", [*numbered(1), other])
    assert "pages that are no slices of one volume" in reason(path)


def test_a_preview_among_the_pages_is_no_slice(tmp_path):
    path = write_pages(tmp_path / "a.tif", [*numbered(2), np.zeros((2, 3), np.uint16)], extra=[{}, {}, {254: (1,)}])
    assert pages_in(path) == [0, 1]


def test_colors_by_a_table_and_single_bits_are_refused_with_the_way_out(tmp_path):
    table = tuple(256 * (value % 251) for value in range(3 * 256))
    path = write_pages(tmp_path / "a.tif", numbered(1, np.uint8), extra=[{262: (3,), 320: table}])
    assert "has a color table" in reason(path)
    bits = write_pages(tmp_path / "b.tif", [np.full((16, 2), 0xA5, np.uint8)], extra=[{256: (16,), 258: (1,)}])
    assert "has pixels of 1 bit, which are not read" in reason(bits)
    turned = write_pages(tmp_path / "c.tif", numbered(1, np.uint8), extra=[{274: (3,)}])
    assert "turned (orientation 3)" in reason(turned)
