"""Where files keep their voxels, for every pixel type that ITK writes, and to the byte."""

from __future__ import annotations

import gzip
import itertools
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from hssl.errors import InputError
from hssl.imaging.volumes import grid_difference, read_header
from hssl.imaging.voxel_data import SLACK, Storage, inspect, verify

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
FORMATS = (".nii", ".nii.gz", ".img", ".nrrd", ".nhdr", ".mha", ".mhd")


def written(folder: Path, suffix: str, kind: str, compressed: bool, channels: int = 1) -> tuple[Path, np.ndarray]:
    shape = (5, 4, 3) if channels == 1 else (5, 4, 3, channels)
    values = np.random.default_rng(len(suffix)).integers(0, 100, shape).astype(kind)
    sitk.WriteImage(sitk.GetImageFromArray(values, channels > 1), str(folder / f"a{suffix}"), compressed)
    return folder / ("a.hdr" if suffix == ".img" else f"a{suffix}"), values


def stored(where: Storage) -> bytes:
    stream = where.file.read_bytes()[where.start :]
    stream = zlib.decompress(stream, 47) if where.compressed else stream
    return stream[where.skipped : where.skipped + where.expected]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("compressed", [False, True])
def test_the_voxels_lie_where_it_is_said(tmp_path, suffix, compressed):
    for number, kind in enumerate(TYPES):
        folder = tmp_path / kind
        folder.mkdir()
        channels = 1 + number % 2 * (suffix in (".nrrd", ".mha"))
        path, values = written(folder, suffix, kind, compressed, channels)
        where = inspect(path)
        assert where is not None and where.path == path
        assert stored(where) == values.tobytes()
        assert where.compressed == (suffix == ".nii.gz" or compressed and suffix not in (".nii", ".img"))
        assert where.scale == (1.0, 0.0)
        assert where.real == (f"<{kind}" if kind[0] == "f" and suffix in (".nii", ".nii.gz", ".img") else "")
        verify(where)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_lacks_one_byte_is_truncated(tmp_path, suffix, compressed):
    where = inspect(written(tmp_path, suffix, "u1", compressed)[0])
    assert where is not None
    where.file.write_bytes(where.file.read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated|damaged"):
        verify(inspect(where.path) or where)


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, True), (SLACK, True), (SLACK + 1, False)])
def test_what_stands_behind_the_voxels_is_padding_up_to_a_limit(tmp_path, more, fits):
    path, values = written(tmp_path, ".nii", "i2", False)
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(path.read_bytes() + bytes(more)))
    if fits:
        where = inspect(packed)
        assert where is not None and stored(where) == values.tobytes()
        verify(where)
    else:
        with pytest.raises(InputError, match=f"unpacks to more than the {values.nbytes} bytes"):
            inspect(packed)


@pytest.mark.parametrize("members", [2, 3])
def test_a_stream_of_several_gzip_members_is_one(tmp_path, members):
    path, values = written(tmp_path, ".nii", "f4", False)
    whole = path.read_bytes()
    cuts = [len(whole) * n // members for n in range(members + 1)]
    parts = [gzip.compress(whole[a:b]) for a, b in itertools.pairwise(cuts)]
    (tmp_path / "b.nii.gz").write_bytes(b"".join(parts))
    where = inspect(tmp_path / "b.nii.gz")
    assert where is not None and verify(where) is None
    (tmp_path / "b.nii.gz").write_bytes(b"".join(parts[:-1]))
    with pytest.raises(InputError, match="truncated"):
        inspect(tmp_path / "b.nii.gz")


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("place", [0, 17, 59])
def test_every_nan_is_found_where_it_is_and_nothing_else(tmp_path, kind, place):
    path, values = written(tmp_path, ".nii.gz", kind, True)
    values.flat[place] = np.nan
    head = gzip.decompress(path.read_bytes())[:352]
    path.write_bytes(gzip.compress(head + values.tobytes() + np.full(9, np.nan).tobytes()))
    where = inspect(path)
    assert where is not None
    with pytest.raises(InputError, match="NaN"):
        verify(where)
    missing = verify(where, nan_allowed=True)
    assert missing is not None and np.flatnonzero(missing).tolist() == [place]
    assert missing.size == values.size
    values.flat[(place + 1) % 60] = np.inf
    path.write_bytes(gzip.compress(head + values.tobytes()))
    with pytest.raises(InputError, match="NaN or infinite"):
        verify(where, nan_allowed=True)


@settings(max_examples=40)
@given(
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1),
    angle=st.floats(-3.1, 3.1),
    flip=st.booleans(),
    spacing=st.tuples(*[st.floats(0.1, 9)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
)
def test_both_forms_of_a_nifti_put_the_voxels_where_itk_does(tmp_path_factory, axis, angle, flip, spacing, origin):
    image = sitk.Image(5, 4, 3, sitk.sitkInt16)
    direction = np.array(sitk.VersorTransform(axis, angle).GetMatrix()).reshape(3, 3)
    direction[:, 2] *= -1 if flip else 1
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    path = tmp_path_factory.mktemp("forms") / "a.nii"
    sitk.WriteImage(image, str(path))
    where = inspect(path)
    assert where is not None and set(where.forms) == {"sform", "qform"} and not where.analyze
    for form in where.forms.values():
        for index in itertools.product((0, 4), (0, 3), (0, 2)):
            left_posterior = (form @ [*index, 1])[:3] * (-1, -1, 1)
            assert left_posterior == pytest.approx(image.TransformIndexToPhysicalPoint(index), abs=0.05)


def placed(seed: int) -> sitk.Image:
    rng = np.random.default_rng(seed)
    image = sitk.Image(5, 4, 3, sitk.sitkInt16)
    direction = np.array(sitk.VersorTransform(rng.normal(size=3), rng.uniform(0.5, 2.5)).GetMatrix()).reshape(3, 3)
    direction[:, 2] *= rng.choice([-1, 1])
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing((0.5, 1.25, 3.0))
    image.SetOrigin(rng.uniform(-200, 200, 3).tolist())
    return image


@pytest.mark.parametrize("seed", range(12))
def test_of_two_forms_that_contradict_each_other_the_other_one_is_known(tmp_path, seed):
    mixed = []
    for number in range(2):
        sitk.WriteImage(placed(2 * seed + number), str(tmp_path / f"{number}.nii"))
        mixed.append(bytearray((tmp_path / f"{number}.nii").read_bytes()))
    data, other = mixed
    data[76:80], data[256:280] = other[76:80], other[256:280]  # the second one's quaternion and offset
    (tmp_path / "both.nii").write_bytes(data)
    header = read_header(tmp_path / "both.nii")
    assert "sform and qform contradict each other" in header.remarks[0]
    alone = []
    for name, code in (("qform", 254), ("sform", 252)):
        only = bytearray(data)
        only[code : code + 2] = bytes(2)
        (tmp_path / f"{name}.nii").write_bytes(only)
        alone.append(read_header(tmp_path / f"{name}.nii"))
        assert alone[-1].other_form is None and alone[-1].remarks == ()
    assert sorted(grid_difference(header, one) is None for one in alone) == [False, True]
    assert sorted(grid_difference(header.by_other_form(), one) is None for one in alone) == [False, True]
    assert grid_difference(header, header.by_other_form())


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ((2.0, -3.0), (2.0, -3.0)),
        ((0.0, 5.0), (1.0, 0.0)),
        ((float("nan"), 0.0), (1.0, 0.0)),
        ((2.0, float("inf")), (1.0, 0.0)),
    ],
)
def test_a_scale_that_is_none_is_1(tmp_path, scale, expected):
    path, _ = written(tmp_path, ".nii", "i2", False)
    data = bytearray(path.read_bytes())
    data[112:120] = np.array(scale, "<f4").tobytes()
    path.write_bytes(data)
    where = inspect(path)
    assert where is not None and where.scale == expected


def test_a_big_endian_nifti_is_understood(tmp_path):
    path, values = written(tmp_path, ".nii", "f4", False)
    data = bytearray(path.read_bytes())
    fields = np.dtype(
        [("size", "i4"), ("", "V36"), ("dim", "i2", 8), ("", "V14"), ("type", "i2", 3), ("pixdim", "f4", 8)]
        + [("offset", "f4", 3), ("", "V132"), ("codes", "i2", 2), ("forms", "f4", 18), ("", "V20")]
    )
    assert fields.itemsize == 348
    head = np.frombuffer(bytes(data[:348]), fields)
    data[:348] = head.astype(fields.newbyteorder(">")).tobytes()
    data[352:] = values.astype(">f4").tobytes()
    path.write_bytes(data)
    where = inspect(path)
    assert where is not None and (where.real, where.expected, where.skipped) == (">f4", values.nbytes, 352)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), values)
    verify(where)
