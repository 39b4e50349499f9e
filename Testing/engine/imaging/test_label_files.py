from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dicom_files as files
import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from hssl.errors import InputError
from hssl.imaging.dicom_labels import masks_of, reference_of
from hssl.imaging.labels import header_problem, named_values, other_form_of, read_label_map, structures_in
from hssl.imaging.volumes import read_header, read_volume

TISSUE = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~~^^~^^"
)
LIVER_CODE = "x~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~y~^^~^^"


@dataclass(frozen=True)
class Class:
    value: int
    name: str
    terminology: str | None = None


CLASSES = [Class(1, "liver"), Class(5, "Tumour")]
SHAPE = (6, 12, 16)


def ball(radius: float, centre=(3, 6, 8)) -> np.ndarray:
    grid = np.indices(SHAPE) - np.array(centre)[:, None, None, None]
    return (grid**2).sum(0) < radius**2


LARGE, SMALL = ball(5.2), ball(2.2)


def scan(path: Path, size=SHAPE) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 9, size).astype(np.float32))
    image.SetSpacing((1, 1, 2))
    image.SetOrigin((4, -3, 10))
    sitk.WriteImage(image, str(path))
    return read_volume(path)


def segmentation(
    path: Path, array: np.ndarray, segments, origin=(4, -3, 10), endings: str = "\n", tags: str = ""
) -> Path:
    """Writes what Slicer writes: array (z, y, x), or (z, y, x, layer); segments are (name, value, layer)."""
    layers = array.ndim == 4
    sizes = array.shape[::-1] if not layers else (array.shape[3], *array.shape[2::-1])
    lines = [
        "NRRD0004",
        f"type: {array.dtype}",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {'none ' if layers else ''}(1,0,0) (0,1,0) (0,0,2)",
        f"kinds: {'list ' if layers else ''}domain domain domain",
        "endian: little",
        "encoding: raw",
        f"space origin: ({','.join(map(str, origin))})",
    ]
    for number, (name, value, layer) in enumerate(segments):
        lines += [
            f"Segment{number}_ID:=Segment_{number}",
            f"Segment{number}_Name:={name}",
            f"Segment{number}_LabelValue:={value}",
            f"Segment{number}_Layer:={layer}",
            f"Segment{number}_Color:=0.5 0.25 1",
        ]
        if tags:
            lines.append(f"Segment{number}_Tags:=TerminologyEntry:{tags}|Segmentation.Status:inprogress|")
    path.write_bytes(endings.join(lines).encode() + b"\n\n" + np.ascontiguousarray(array).tobytes())
    return path


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def meanings(path: Path, structures: Sequence[str] = ()) -> dict[int, str]:
    return {value: one.name for value, one in named_values(path, structures).items()}


def reason(*arguments, **named) -> str:
    with pytest.raises(InputError) as caught:
        read_label_map(*arguments, **named)
    return caught.value.reason


TRUTH = np.where(SMALL, 5, LARGE * 1)


# Segmentations of Slicer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("liver", "tumour"), ("TUMOUR", "Liver")])
def test_values_are_told_by_the_names_of_the_segments(tmp_path, order):
    image = scan(tmp_path / "a.nrrd")
    own = {name.lower(): number for number, name in enumerate(order, 1)}
    array = np.where(SMALL, own["tumour"], LARGE * own["liver"]).astype(np.uint8)
    path = segmentation(tmp_path / "a.seg.nrrd", array, [(n, v, 0) for v, n in enumerate(order, 1)])
    assert [(s.name, s.value, s.color) for s in structures_in(path)] == [
        (n, v, (0.5, 0.25, 1)) for v, n in enumerate(order, 1)
    ]
    label = read_label_map(path, image, classes=CLASSES)
    np.testing.assert_array_equal(values(label), TRUTH)
    np.testing.assert_array_equal(values(read_label_map(path, image)), array)


def test_a_segment_that_is_no_class_is_an_error_unless_it_is_empty_or_left_out(tmp_path):
    image = scan(tmp_path / "a.nrrd")
    array = np.where(SMALL, 2, LARGE * 1).astype(np.uint8)
    path = segmentation(tmp_path / "a.seg.nrrd", array, [("liver", 1, 0), ("spleen", 2, 0), ("gall bladder", 3, 0)])
    assert "its segment 'spleen' is no class of the task (they are liver, Tumour)" in reason(
        path, image, classes=CLASSES
    )
    label = read_label_map(path, image, classes=CLASSES, structures=["liver"])
    np.testing.assert_array_equal(values(label), LARGE & ~SMALL)
    assert "has no structure 'kidney' (there: liver, spleen, gall bladder)" in reason(path, structures=["kidney"])


def test_a_segment_of_another_name_is_the_class_of_its_terminology(tmp_path):
    image = scan(tmp_path / "a.nrrd")
    path = segmentation(tmp_path / "a.seg.nrrd", LARGE.astype(np.uint8), [("Leber", 1, 0)], tags=LIVER_CODE)
    classes = [Class(3, "liver", LIVER_CODE.replace("x~", "another context~")), Class(4, "tumour", TISSUE)]
    np.testing.assert_array_equal(values(read_label_map(path, image, classes=classes)), LARGE * 3)
    path = segmentation(tmp_path / "b.seg.nrrd", LARGE.astype(np.uint8), [("Leber", 1, 0)], tags=TISSUE)
    assert "is no class" in reason(path, image, classes=classes)  # Slicer's default says nothing


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
@pytest.mark.parametrize("layers", [2, 3])
def test_segments_that_overlap_are_refused_until_an_order_is_chosen(tmp_path, kind, layers):
    image = scan(tmp_path / "a.nrrd")
    array = np.stack([LARGE, SMALL, ~LARGE][:layers], 3).astype(kind)
    segments = [("liver", 1, 0), ("tumour", 1, 1), ("rest", 1, 2)][:layers]
    path = segmentation(tmp_path / "a.seg.nrrd", array, segments)
    why = reason(path, image)
    assert f"its segments overlap ({layers} layers): liver and tumour share {SMALL.sum()} voxels" in why
    label = read_label_map(path, image, classes=CLASSES, structures=["liver", "tumour"])
    np.testing.assert_array_equal(values(label), TRUTH)
    label = read_label_map(path, image, classes=CLASSES, structures=["tumour", "liver"])
    np.testing.assert_array_equal(values(label), LARGE)


def test_layers_that_do_not_overlap_need_no_choice_and_values_may_repeat(tmp_path):
    image = scan(tmp_path / "a.nrrd")
    array = np.stack([LARGE & ~SMALL, SMALL], 3).astype(np.uint8)
    path = segmentation(tmp_path / "a.seg.nrrd", array, [("liver", 1, 0), ("tumour", 1, 1)])
    np.testing.assert_array_equal(values(read_label_map(path, image, classes=CLASSES)), TRUTH)
    np.testing.assert_array_equal(values(read_label_map(path, image)), np.where(SMALL, 2, LARGE))


@pytest.mark.parametrize("layers", [1, 2])
def test_segments_that_say_no_value_are_numbered_or_each_a_layer(tmp_path, layers):
    image = scan(tmp_path / "a.nrrd")
    array = np.where(SMALL, 2, LARGE).astype(np.uint8) if layers == 1 else np.stack([LARGE, ~LARGE], 3).astype(np.uint8)
    path = segmentation(tmp_path / "a.seg.nrrd", array, [("liver", 1, 0), ("tumour", 2, 1)])
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(line for line in lines if b"_LabelValue:" not in line and b"_Layer:" not in line))
    assert [(s.value, s.layer) for s in structures_in(path)] == ([(1, 0), (2, 0)] if layers == 1 else [(1, 0), (1, 1)])
    expected = np.where(SMALL, 2, LARGE) if layers == 1 else np.where(LARGE, 1, 2)
    label = read_label_map(path, image, classes=[Class(1, "liver"), Class(2, "tumour")])
    np.testing.assert_array_equal(values(label), expected)


def test_two_segments_of_one_name_are_an_error(tmp_path):
    image = scan(tmp_path / "a.nrrd")
    path = segmentation(tmp_path / "a.seg.nrrd", TRUTH.astype(np.uint8), [("liver", 1, 0), ("liver", 5, 0)])
    assert "two segments of one name: liver" in reason(path, image, classes=CLASSES)


def test_a_segmentation_that_was_cropped_is_put_back_and_one_that_reaches_further_is_cut(tmp_path):
    image = scan(tmp_path / "a.nrrd")
    part = LARGE[1:5, 2:11, 4:14].astype(np.uint8)
    path = segmentation(tmp_path / "a.seg.nrrd", part, [("liver", 1, 0)], origin=(8, -1, 12))
    expected = np.zeros(SHAPE, bool)
    expected[1:5, 2:11, 4:14] = part
    np.testing.assert_array_equal(values(read_label_map(path, image)), expected)
    assert read_label_map(path, image).GetOrigin() == image.GetOrigin()
    told: list[str] = []
    path = segmentation(tmp_path / "b.seg.nrrd", np.ones((6, 12, 20), np.uint8), [("liver", 1, 0)], origin=(2, -3, 10))
    assert values(read_label_map(path, image, say=told.append)).all()
    assert f"{6 * 12 * 4} labelled voxels lie outside" in told[0]
    path = segmentation(tmp_path / "c.seg.nrrd", part, [("liver", 1, 0)], origin=(8.5, -1, 12))
    assert "another grid" in reason(path, image)


@settings(max_examples=60)
@given(
    first=st.tuples(*(st.integers(-4, n + 1) for n in SHAPE)),
    size=st.tuples(*[st.integers(2, 9)] * 3),
    off=st.sampled_from([0.0, 0.09, -0.09, 0.11, -0.11]),
    order=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
)
def test_a_part_of_a_lattice_lies_where_its_voxels_lie_however_its_axes_run(
    tmp_path_factory, first, size, off, order, flips
):
    folder = tmp_path_factory.mktemp("part")
    image = scan(folder / "a.nrrd")
    part = np.random.default_rng(sum(size)).integers(0, 2, size, np.uint8)
    label = sitk.GetImageFromArray(part)
    label.SetSpacing(image.GetSpacing())
    place = image.TransformContinuousIndexToPhysicalPoint([float(n) for n in first[::-1]])
    label.SetOrigin((place[0], place[1] + off, place[2]))
    label = sitk.Flip(sitk.PermuteAxes(label, order), flips)
    for key, text in (("ID", "s"), ("Name", "liver"), ("LabelValue", "1"), ("Layer", "0")):
        label.SetMetaData(f"Segment0_{key}", text)
    path = folder / "a.seg.nrrd"
    sitk.WriteImage(label, str(path))
    expected = np.zeros([n + 40 for n in SHAPE], bool)
    expected[tuple(slice(20 + f, 20 + f + n) for f, n in zip(first, size, strict=True))] = part
    inside = expected[20:-20, 20:-20, 20:-20]
    told: list[str] = []
    if abs(off) > 0.1:
        assert "another grid" in reason(path, image)
    elif part.any() and not inside.any():
        assert "lies outside its image" in reason(path, image)
    else:
        read = read_label_map(path, image, say=told.append)
        np.testing.assert_array_equal(values(read), inside)
        assert (read.GetOrigin(), read.GetDirection()) == (image.GetOrigin(), image.GetDirection())
        lost = int(part.sum() - inside.sum())
        assert [text for text in told if "axes" not in text] == [
            f"{lost} labelled voxel{'s lie' if lost > 1 else ' lies'} outside the image, and left out"
        ] * (lost > 0)


def test_a_plain_label_map_has_no_structures(tmp_path):
    scan(tmp_path / "a.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(LARGE.astype(np.uint8)), str(tmp_path / "b.nrrd"))
    assert structures_in(tmp_path / "b.nrrd") == []
    assert "does not name its values" in reason(tmp_path / "b.nrrd", structures=["liver"])


@pytest.mark.parametrize(
    ("segment", "color", "expected"),
    [
        (("liver", "x", 0), "", "has a damaged header"),
        (("liver", 1, "x"), "", "has a damaged header"),
        (("liver", 1, 0), "0.5 red 1", "has a damaged header"),
        (("liver", 1, 1), "", "has 1 layer, and its segment 0 is in layer 1"),
        (("liver", 1, -1), "", "is in layer -1"),
    ],
)
def test_damaged_fields_of_segments_are_refused(tmp_path, segment, color, expected):
    path = segmentation(tmp_path / "a.seg.nrrd", LARGE.astype(np.uint8), [segment])
    if color:
        path.write_bytes(path.read_bytes().replace(b"0.5 0.25 1", color.encode()))
    with pytest.raises(InputError, match="a.seg.nrrd") as caught:
        structures_in(path)
    assert expected in caught.value.reason and expected in reason(path, scan(tmp_path / "a.nrrd"))


def test_a_value_without_a_name_among_named_ones_is_told(tmp_path):
    path = segmentation(tmp_path / "a.seg.nrrd", TRUTH.astype(np.uint8), [("liver", 1, 0)])
    assert "names its values, and not all of them: 5" in reason(path)
    label = read_label_map(path, structures=["liver"])
    np.testing.assert_array_equal(values(label), TRUTH == 1)


# Segmentations of MITK, and tables of names in NIfTI -----------------------------------------------------------


def on_the_scan(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetOrigin((4, -3, 10))
    image.SetSpacing((1, 1, 2))
    return image


def of_mitk(path: Path, names: Sequence[str], array: np.ndarray) -> None:
    """Writes what MITK has written since 2023."""
    image = on_the_scan(array.astype(np.uint16))
    color = {"type": "ColorProperty", "value": [0.5, 0.25, 1]}
    labels = [{"name": name, "value": value, "color": color} for value, name in enumerate(names, 1)]
    image.SetMetaData("modality", "org.mitk.multilabel.segmentation")
    image.SetMetaData("org.mitk.multilabel.segmentation.labelgroups", json.dumps([{"labels": labels}]))
    sitk.WriteImage(image, str(path))


def of_mitk_before_2023(path: Path, names: Sequence[str], array: np.ndarray) -> None:
    image = on_the_scan(array.astype(np.uint16))
    image.SetMetaData("modality", "org.mitk.image.multilabel")
    image.SetMetaData("layers", "1")
    image.SetMetaData("layer_000", str(len(names) + 1))
    for value, name in enumerate(["exterior", *names]):
        text = f"""<property key="name" type="StringProperty"><string value="{name}"/></property>"""
        text += f"""<property key="value" type="UIntProperty"><uint value="{value}"/></property>"""
        image.SetMetaData(f"label_000_{value:05d}", f"<Label>{text}</Label>")
    sitk.WriteImage(image, str(path))


def with_a_table(path: Path, names: Sequence[str], array: np.ndarray) -> None:
    """Writes what TotalSegmentator writes with `--ml`."""
    sitk.WriteImage(on_the_scan(array.astype(np.uint8)), str(path).removesuffix(".gz"))
    data = bytearray(Path(str(path).removesuffix(".gz")).read_bytes())
    labels = "".join(
        f"""<Label Key="{value}" Red="0.5" Green="0.25" Blue="1" Alpha="1"><![CDATA[{name}]]></Label>"""
        for value, name in enumerate(["background", *names])
    )
    xml = f"""<?xml version="1.0" encoding="UTF-8"?> <CaretExtension><VolumeInformation Index="0"><LabelTable>{labels}
        </LabelTable></VolumeInformation></CaretExtension>""".encode()
    xml += b"\0" * (-(len(xml) + 8) % 16)
    data[108:112] = np.array(352 + 8 + len(xml), "<f4").tobytes()
    data[348] = 1
    data[352:352] = np.array([8 + len(xml), 0], "<i4").tobytes() + xml
    Path(str(path).removesuffix(".gz")).unlink()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


def with_a_table_beside(path: Path, names: Sequence[str], array: np.ndarray) -> None:
    """Writes what BIDS wants."""
    sitk.WriteImage(on_the_scan(array.astype(np.uint8)), str(path))
    rows = "".join(f"{value}\t{name}\n" for value, name in enumerate(["background", *names]))
    (path.parent / "dseg.tsv").write_text(f"index\tname\n{rows}", encoding="utf-8")


NAMED = [
    ("a.nrrd", of_mitk), ("a.nrrd", of_mitk_before_2023), ("a.nii.gz", with_a_table), ("a.nii", with_a_table),
    ("a_dseg.nii.gz", with_a_table_beside),
]  # fmt: skip


@pytest.mark.parametrize(("name", "written"), NAMED)
def test_the_names_that_other_programs_give_to_values_tell_the_classes(tmp_path, name, written):
    image = scan(tmp_path / "scan.nrrd")
    for names in (["liver", "tumour"], ["Tumour ", "liver"]):
        value = {n.strip().casefold(): v for v, n in enumerate(names, 1)}
        path = tmp_path / name
        written(path, names, np.where(SMALL, value["tumour"], LARGE * value["liver"]))
        found = {s.name.strip().casefold(): s.value for s in structures_in(path)}
        assert found == value
        label = read_label_map(path, image, classes=CLASSES)
        np.testing.assert_array_equal(values(label), TRUTH)
        assert header_problem(path, read_header(tmp_path / "scan.nrrd")) is None
        np.testing.assert_array_equal(values(read_label_map(path, image, structures=["liver"])) > 0, LARGE > SMALL)
    assert "'spleen' is no class" in reason(written_as(written, path, ["liver", "spleen"]), image, classes=CLASSES)


def written_as(written, path: Path, names: Sequence[str]) -> Path:
    written(path, names, np.where(SMALL, 2, LARGE))
    return path


def test_a_table_of_names_none_of_which_is_a_class_is_left_aside_and_that_is_said(tmp_path):
    """Programs that renumber a label map keep its header."""
    path = written_as(with_a_table, tmp_path / "a.nii.gz", ["spleen", "kidney"])
    told: list[str] = []
    label = read_label_map(path, classes=[Class(1, "liver"), Class(2, "tumour")], say=told.append)
    np.testing.assert_array_equal(values(label), np.where(SMALL, 2, LARGE))
    assert told == [
        "the names of its values (spleen, kidney) are none of the task's (liver, tumour); they are taken by number"
    ]


@pytest.mark.parametrize("cut", [0, 340, 350, 356, 370, 400])
def test_a_damaged_table_of_names_names_nothing(tmp_path, cut):
    path = written_as(with_a_table, tmp_path / "a.nii", ["liver", "tumour"])
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    assert structures_in(path) == []
    path.write_bytes(data.replace(b"</Label>", b"</Lebal>", 1))
    assert structures_in(path) == []
    np.testing.assert_array_equal(values(read_label_map(path)), np.where(SMALL, 2, LARGE))


@pytest.mark.parametrize("said", ["{", "[1]", '[{"labels": [{"name": "a"}]}]', '[{"labels": [{"value": "x"}]}]'])
def test_damaged_labels_of_mitk_are_refused(tmp_path, said):
    image = sitk.GetImageFromArray(TRUTH.astype(np.uint16))
    image.SetMetaData("org.mitk.multilabel.segmentation.labelgroups", said)
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    assert "damaged header" in reason(tmp_path / "a.nrrd")


# Plain label maps ----------------------------------------------------------------------------------------------


def test_values_a_hundredth_off_are_rounded_and_said(tmp_path):
    array = (TRUTH - 0.009 * LARGE).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "a.nii.gz"))
    told: list[str] = []
    np.testing.assert_array_equal(values(read_label_map(tmp_path / "a.nii.gz", say=told.append)), TRUTH)
    assert "rounded, the furthest by 0.009" in told[0]
    sitk.WriteImage(sitk.GetImageFromArray((array - 0.01 * SMALL).astype(np.float32)), str(tmp_path / "b.nii.gz"))
    assert "not whole numbers, such as 4.981" in reason(tmp_path / "b.nii.gz")


def test_the_scale_that_made_values_broken_is_named(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(TRUTH.astype(np.uint8)), str(tmp_path / "a.nii"))
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = np.array([0.3, 0], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    assert "such as 0.3 (they are stored through a scale: scl_slope 0.3" in reason(tmp_path / "a.nii")


@pytest.mark.parametrize("scale", [(0.0, 5.0), (np.nan, 0.0), (1.0, 0.0)])
def test_of_a_scale_that_is_none_nothing_is_said(tmp_path, scale):
    sitk.WriteImage(sitk.GetImageFromArray((TRUTH + 0.25).astype(np.float32)), str(tmp_path / "a.nii"))
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = np.array(scale, "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    why = reason(tmp_path / "a.nii")
    assert "not whole numbers" in why and "scale" not in why


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_the_label_of_a_frame_is_that_frame(tmp_path, suffix):
    frames = [sitk.GetImageFromArray((LARGE * number).astype(np.uint8)) for number in (1, 2, 3)]
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / f"a{suffix}"))
    for number in range(3):
        label = read_label_map(tmp_path / f"a{suffix}", frame=number)
        np.testing.assert_array_equal(values(label), LARGE * (number + 1))
    assert "holds 3 label maps" in reason(tmp_path / f"a{suffix}")
    sitk.WriteImage(frames[1], str(tmp_path / f"one{suffix}"))
    np.testing.assert_array_equal(values(read_label_map(tmp_path / f"one{suffix}", frame=2)), LARGE * 2)


MIRRORED_ELSEWHERE = (-1, 0, 0, 15, 0, 1, 0, 0, 0, 0, 1, 0)
MIRRORED_IN_PLACE = (1, 0, 0, -15, 0, -1, 0, 0, 0, 0, 1, 0)


def contradicting(path: Path, array: np.ndarray, sform: Sequence[float] = MIRRORED_ELSEWHERE) -> None:
    """Writes a NIfTI whose qform is the identity (in LPS) and whose sform (in RAS) is another one."""
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    data = bytearray(path.read_bytes())
    data[252:256] = np.array([1, 2], "<i2").tobytes()
    data[280:328] = np.array(sform, "<f4").tobytes()
    path.write_bytes(data)


def with_the_sform_only(path: Path, array: np.ndarray, sform: Sequence[float]) -> None:
    """Writes what nibabel writes of an array and the affine of such an image."""
    contradicting(path, array, sform)
    data = bytearray(path.read_bytes())
    data[252:254] = b"\0\0"
    path.write_bytes(data)


def test_forms_that_contradict_are_named_and_a_label_by_the_other_form_fits(tmp_path):
    contradicting(tmp_path / "a.nii", np.random.default_rng(0).normal(0, 9, SHAPE).astype(np.float32))
    header, image = read_header(tmp_path / "a.nii"), read_volume(tmp_path / "a.nii")
    assert "sform and qform contradict each other" in header.remarks[0] and "qform was taken" in header.remarks[0]
    with_the_sform_only(tmp_path / "b.nii", TRUTH.astype(np.uint8), MIRRORED_ELSEWHERE)
    why = reason(tmp_path / "b.nii", image)
    assert "another grid" in why
    told: list[str] = []
    label = read_label_map(tmp_path / "b.nii", image, other_form=lambda: header, say=told.append)
    np.testing.assert_array_equal(values(label), TRUTH)
    assert label.GetDirection() == image.GetDirection() and "the other of its two forms" in told[0]
    # A label that fits neither is refused, with the two forms named.
    moved = sitk.GetImageFromArray(TRUTH.astype(np.uint8))
    moved.SetOrigin((3, 0, 0))
    sitk.WriteImage(moved, str(tmp_path / "c.nii"))
    assert "a.nii: its sform and qform contradict" in reason(tmp_path / "c.nii", image, other_form=lambda: header)


def test_a_label_by_the_other_form_is_not_mirrored_where_the_forms_are_mirror_images_in_one_place(tmp_path):
    contradicting(
        tmp_path / "a.nii", np.random.default_rng(0).normal(0, 9, SHAPE).astype(np.float32), MIRRORED_IN_PLACE
    )
    image = read_volume(tmp_path / "a.nii")
    truth = np.roll(TRUTH, 3, 2).astype(np.uint8)
    with_the_sform_only(tmp_path / "b.nii", truth, MIRRORED_IN_PLACE)
    told: list[str] = []
    label = read_label_map(tmp_path / "b.nii", image, other_form=other_form_of(tmp_path / "a.nii"), say=told.append)
    np.testing.assert_array_equal(values(label), truth)
    assert "the other of its two forms" in told[0] and len(told) == 1
    # Of an image that says only once where it lies, such a label runs the other way.
    sitk.WriteImage(image, str(tmp_path / "c.nii"))
    label = read_label_map(tmp_path / "b.nii", image, other_form=other_form_of(tmp_path / "c.nii"), say=told.append)
    np.testing.assert_array_equal(values(label), truth[:, :, ::-1])
    assert "another order or direction" in told[1]


# DICOM ---------------------------------------------------------------------------------------------------------

OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)


@pytest.fixture(params=[(1, 0, 0, 0, 1, 0), OBLIQUE], ids=["axial", "oblique"])
def study(request, tmp_path) -> tuple[Path, list[Path], sitk.Image]:
    folder = tmp_path / "CT"
    raw = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)
    written = files.write_slices(
        folder, raw, np.arange(6) * 2.0, spacing=(0.8, 1.1), direction=request.param, origin=(4, -3, 10)
    )
    return folder, written, read_volume(folder)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_a_segmentation_is_read_voxel_by_voxel(tmp_path, study, kind):
    _, sources, image = study
    masks = np.stack([LARGE & ~SMALL, SMALL], 3)
    if kind == "FRACTIONAL":
        masks = np.where(masks, 0.75, 0.25 * LARGE[..., None])
    path = files.write_segmentation(
        tmp_path / "SEG.dcm", sources, masks.astype(np.uint8 if kind == "BINARY" else float), ["liver", "tumour"], kind
    )
    told = reference_of(path)
    assert (told.kind, told.patient, told.series) == ("segmentation", "p 7", ("1.2.3.9",))
    assert told.labels("1.2.3.9", "", "") and not told.labels("1.2.3.8", "1.2.3.4", "1.2.3")
    liver = structures_in(path)[0]
    assert liver.name == "liver" and "~SCT^10200004^Liver~" in (liver.terminology or "")
    label = read_label_map(path, image, classes=CLASSES)
    np.testing.assert_array_equal(values(label), TRUTH)
    assert label.GetDirection() == image.GetDirection() and label.GetOrigin() == image.GetOrigin()
    assert meanings(path) == {1: "liver", 2: "tumour"}


def test_a_label_map_segmentation_is_read(tmp_path, study):
    _, sources, image = study
    path = files.write_segmentation(
        tmp_path / "SEG.dcm", sources, np.where(SMALL, 2, LARGE).astype(np.uint8), ["liver", "tumour"], "LABELMAP"
    )
    np.testing.assert_array_equal(values(read_label_map(path, image, classes=CLASSES)), TRUTH)


def test_segments_of_a_segmentation_that_overlap_need_an_order(tmp_path, study):
    _, sources, image = study
    masks = np.stack([LARGE, SMALL], 3).astype(np.uint8)
    path = files.write_segmentation(tmp_path / "SEG.dcm", sources, masks, ["liver", "tumour"])
    assert "its segments overlap (2 layers): liver and tumour share" in reason(path, image)
    label = read_label_map(path, image, classes=CLASSES, structures=["liver", "tumour"])
    np.testing.assert_array_equal(values(label), TRUTH)


def test_a_segmentation_of_some_slices_fills_only_those(tmp_path, study):
    _, sources, image = study
    some = [0, 2, 3, 5]
    masks = LARGE[some][..., None].astype(np.uint8)
    path = files.write_segmentation(tmp_path / "SEG.dcm", [sources[n] for n in some], masks, ["liver"])
    expected = np.zeros(SHAPE, bool)
    expected[some] = LARGE[some]
    np.testing.assert_array_equal(values(read_label_map(path, image)), expected)


def test_a_segmentation_of_another_grid_is_refused(tmp_path, study):
    _, sources, image = study
    path = files.write_segmentation(tmp_path / "SEG.dcm", sources, LARGE[..., None].astype(np.uint8), ["liver"])
    finer = sitk.Expand(image, (2, 2, 1))
    assert "is on another grid than its image" in reason(path, finer)
    shifted = sitk.Image(image)
    shifted.SetOrigin((100, 0, 0))
    told: list[str] = []
    with pytest.raises(InputError):
        read_label_map(path, shifted, say=told.append)


def test_a_segmentation_on_a_flipped_image_lies_at_the_same_place(tmp_path, study):
    _, sources, image = study
    path = files.write_segmentation(tmp_path / "SEG.dcm", sources, LARGE[..., None].astype(np.uint8), ["liver"])
    flipped = sitk.PermuteAxes(sitk.Flip(image, (True, False, True)), (1, 0, 2))
    expected = sitk.GetArrayFromImage(
        sitk.PermuteAxes(sitk.Flip(sitk.GetImageFromArray(LARGE.astype(np.uint8)), (True, False, True)), (1, 0, 2))
    )
    np.testing.assert_array_equal(values(read_label_map(path, flipped)), expected)


def ring(image: sitk.Image, z: float, radius: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    index = np.column_stack([8 + radius * np.cos(angle), 6 + radius * np.sin(angle), np.full(90, z)])
    return np.array([image.TransformContinuousIndexToPhysicalPoint(row.tolist()) for row in index])


def test_structures_are_filled_on_the_series_that_they_refer_to(tmp_path, study):
    _, _, image = study
    contours = {
        "Liver": [ring(image, z, r) for z in range(1, 5) for r in (5.4, 2.3)],
        "core": [ring(image, z, 2.3) for z in range(1, 5)],
        "BODY": [ring(image, z, 30) for z in range(6)],
    }
    path = files.write_structures(tmp_path / "RS.dcm", contours)
    assert reference_of(path).series == ("1.2.3.9",)
    assert [(s.name, s.value) for s in structures_in(path)] == [("Liver", 1), ("core", 2), ("BODY", 3)]
    assert [s.color for s in structures_in(path)] == [(1, 0, 10 * n / 255) for n in (1, 2, 3)]
    label = read_label_map(path, image, structures=["Liver", "core"])
    assert meanings(path, ["Liver", "core"]) == {1: "Liver", 2: "core"}
    z, y, x = np.indices(SHAPE)
    distance = ((x - 8) ** 2 + (y - 6) ** 2) ** 0.5
    expected = np.where(distance < 2.3, 2, np.where(distance < 5.4, 1, 0)) * ((z > 0) & (z < 5))
    np.testing.assert_array_equal(values(label), expected)
    ordered = read_label_map(path, image, structures=["BODY", "core"], classes=[Class(9, "core"), Class(4, "body")])
    np.testing.assert_array_equal(values(ordered), np.where((distance < 2.3) & (z > 0) & (z < 5), 9, 4))
    assert "its segments overlap" in reason(path, image)


def test_damaged_and_empty_labels_say_what_they_are(tmp_path, study):
    folder, sources, image = study
    empty = files.write_structures(tmp_path / "RS.dcm", {})
    assert "holds no segment or closed contour" in reason(empty, image)
    open_only = files.write_structures(tmp_path / "RO.dcm", {"line": [ring(image, 2, 4)]}, kind="OPEN_PLANAR")
    assert structures_in(open_only) == []
    assert "modality CT, neither SEG nor RTSTRUCT" in reason(sources[0], image)
    path = files.write_segmentation(tmp_path / "SEG.dcm", sources, LARGE[..., None].astype(np.uint8), ["liver"])
    made = pydicom.dcmread(path)
    del made.PixelData
    made.save_as(tmp_path / "cut.dcm")
    assert "cannot be read as a segmentation" in reason(tmp_path / "cut.dcm", image)
    assert "without that image" in reason(path)
    assert highdicom.seg.segread(path).SegmentationType == "BINARY" and folder.exists()
    assert len(masks_of(path, image)) == 1


@pytest.mark.parametrize("damage", ["gone", "short", "nan"])
@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_frame_that_does_not_say_where_it_lies_is_refused(tmp_path, study, keyword, damage):
    _, sources, image = study
    path = files.write_segmentation(tmp_path / "SEG.dcm", sources, LARGE[..., None].astype(np.uint8), ["liver"])
    made = pydicom.dcmread(path)
    for element in [*made.iterall()]:
        for item in element.value if element.VR == "SQ" else ():
            if keyword in item and damage == "gone":
                delattr(item, keyword)
            elif keyword in item:
                with pydicom.config.disable_value_validation():
                    setattr(
                        item,
                        keyword,
                        item[keyword].value[:1] if damage == "short" else ["nan"] * len(item[keyword].value),
                    )
    made.save_as(tmp_path / "cut.dcm")
    with pytest.raises(InputError, match="cut.dcm"):
        read_label_map(tmp_path / "cut.dcm", image)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [False, True])
def test_a_structure_smaller_than_a_voxel_has_the_nearest_one_unless_it_lies_beside_the_image(
    tmp_path, study, axis, end
):
    _, _, image = study
    last = image.GetSize()[axis] - 1

    def written(at: float) -> Path:
        middle = np.array([8.0, 6.0, 2.0])
        middle[axis] = at
        corners = [middle + np.array([x, y, 0.0]) for x, y in ((-0.2, -0.2), (0.2, -0.2), (0.2, 0.2), (-0.2, 0.2))]
        points = np.array([image.TransformContinuousIndexToPhysicalPoint(c.tolist()) for c in corners])
        return files.write_structures(tmp_path / "RS.dcm", {"core": [points]})

    inside = values(read_label_map(written(last - 0.3 if end else 0.3), image))
    place = [8, 6, 2]
    place[axis] = last if end else 0
    assert np.argwhere(inside).tolist() == [place[::-1]]
    assert "lies outside its image" in reason(written(last + 1 if end else -1), image)


def test_points_that_are_no_numbers_are_refused(tmp_path, study):
    _, _, image = study
    path = files.write_structures(tmp_path / "RS.dcm", {"Liver": [ring(image, 2, 4)]})
    made = pydicom.dcmread(path)
    contour = made.ROIContourSequence[0].ContourSequence[0]
    del contour.ContourData
    contour.add_new(pydicom.tag.Tag("ContourData"), "LO", ["1.0", "2.0", "x"])  # as a byte that was changed makes it
    made.save_as(path)
    assert "damaged header" in reason(path, image)
    far = files.write_structures(tmp_path / "far.dcm", {"Liver": [ring(image, 2, 4) + [0, 0, 3e6]]})
    assert "mm away" in reason(far, image)


def test_numbers_of_structures_beyond_those_of_a_label_map_are_counted_anew(tmp_path, study):
    _, _, image = study
    path = files.write_structures(tmp_path / "RS.dcm", {"Liver": [ring(image, 2, 4)], "core": [ring(image, 3, 4)]})
    made = pydicom.dcmread(path)
    for number, (roi, drawn) in enumerate(zip(made.StructureSetROISequence, made.ROIContourSequence, strict=True)):
        roi.ROINumber = drawn.ReferencedROINumber = 65535 + number
    made.save_as(path)
    assert meanings(path) == {1: "Liver", 2: "core"}
    assert set(np.unique(values(read_label_map(path, image)))) == {0, 1, 2}
    assert meanings(path, ["Liver"]) == {65535: "Liver"}


# Where a label lies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["RAS", "SRA", "PIL"])
@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (0.8, -0.48, 0.36, 0.6, 0.64, -0.48, 0, 0.6, 0.8)])
def test_a_label_whose_axes_run_in_another_order_is_taken_voxel_by_voxel(tmp_path, axes, direction):
    image = scan(tmp_path / "a.nrrd")
    image.SetDirection(direction)
    label = sitk.GetImageFromArray(TRUTH.astype(np.uint8))
    label.CopyInformation(image)
    label = sitk.DICOMOrient(label, axes)
    sitk.WriteImage(label, str(tmp_path / "b.nii.gz"))
    for number, (name, value) in enumerate((("liver", 1), ("tumour", 5))):
        label.SetMetaData(f"Segment{number}_ID", name)
        label.SetMetaData(f"Segment{number}_Name", name)
        label.SetMetaData(f"Segment{number}_LabelValue", str(value))
    sitk.WriteImage(label, str(tmp_path / "b.seg.nrrd"))
    header = read_header(tmp_path / "b.nii.gz")
    assert header.size != image.GetSize() or header.direction != image.GetDirection()
    for name in ("b.nii.gz", "b.seg.nrrd"):
        told: list[str] = []
        read = read_label_map(tmp_path / name, image, classes=CLASSES, say=told.append)
        np.testing.assert_array_equal(values(read), TRUTH)
        assert read.GetDirection() == image.GetDirection() and "another order or direction" in told[0]
        sitk.WriteImage(image, str(tmp_path / "image.nrrd"))
        assert header_problem(tmp_path / name, read_header(tmp_path / "image.nrrd")) is None


def test_a_mirrored_label_is_another_grid(tmp_path):
    image = scan(tmp_path / "a.nrrd")
    label = sitk.GetImageFromArray(TRUTH.astype(np.uint8))
    label.CopyInformation(image)
    label.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))  # about the first voxel, so that it lies beside the image
    sitk.WriteImage(label, str(tmp_path / "b.nii.gz"))
    assert "is on another grid than its image" in reason(tmp_path / "b.nii.gz", image)
    assert "is on another grid" in (header_problem(tmp_path / "b.nii.gz", read_header(tmp_path / "a.nrrd")) or "")


def test_a_label_that_cannot_be_read_is_a_problem_with_its_reason(tmp_path):
    scan(tmp_path / "a.nrrd")
    (tmp_path / "b.nii.gz").write_bytes(b"no volume")
    assert header_problem(tmp_path / "b.nii.gz", read_header(tmp_path / "a.nrrd")) == reason(tmp_path / "b.nii.gz")


def test_a_label_all_of_which_lies_outside_its_image_is_refused_and_a_part_is_said(tmp_path, study):
    _, sources, image = study
    beyond = {"Liver": [ring(image, z, 3) for z in (20, 21, 22)]}
    assert "lies outside its image: no contour of Liver" in reason(
        files.write_structures(tmp_path / "a.dcm", beyond), image
    )
    told: list[str] = []
    partly = {"Liver": [ring(image, z, 3) for z in (2, 3, 4, 5, 6, 7, 8)], "Heart": [ring(image, 2, 1.5)]}
    path = files.write_structures(tmp_path / "b.dcm", partly)
    assert values(read_label_map(path, image, structures=["Heart", "Liver"], say=told.append)).any()
    assert told == ["contours of Liver that reach out of the image are cut: 3 of 7"]
    path = files.write_segmentation(tmp_path / "SEG.dcm", sources, LARGE[..., None].astype(np.uint8), ["liver"])
    away = sitk.Image(image)
    away.SetOrigin(image.TransformIndexToPhysicalPoint((100, 0, 0)))
    assert "lies outside its image: none of the voxels of liver" in reason(path, away)
    told.clear()
    assert (values(read_label_map(path, image, say=told.append)) == LARGE).all() and told == []
    away.SetOrigin(image.TransformIndexToPhysicalPoint((8, 0, 0)))
    assert (values(read_label_map(path, away, say=told.append))[..., :8] == LARGE[..., 8:]).all()
    assert told == [f"{LARGE[..., :8].sum()} labelled voxels lie outside the image, and left out"]
    array = LARGE.astype(np.uint8)
    path = segmentation(tmp_path / "c.seg.nrrd", array, [("liver", 1, 0)], origin=(104, -3, 10))
    assert "lies outside its image" in reason(path, scan(tmp_path / "a.nrrd"))


def test_a_structure_smaller_than_a_voxel_keeps_one(tmp_path, study):
    _, _, image = study
    told: list[str] = []
    centre = image.TransformContinuousIndexToPhysicalPoint((8.4, 6.4, 2))
    tiny = np.array(centre) + 0.1 * (ring(image, 2, 1) - image.TransformContinuousIndexToPhysicalPoint((8, 6, 2)))
    path = files.write_structures(tmp_path / "RS.dcm", {"lesion": [tiny]})
    label = values(read_label_map(path, image, say=told.append))
    assert np.argwhere(label).tolist() == [[2, 6, 8]] and "smaller than a voxel" in told[0]


def test_contours_that_enclose_nothing_are_said(tmp_path, study):
    _, _, image = study
    path = files.write_structures(
        tmp_path / "RS.dcm", {"Liver": [ring(image, z, 4) for z in (1, 2, 3)], "Isocentre": [ring(image, 2, 1)[:1]]}
    )
    made = pydicom.dcmread(path)
    made.ROIContourSequence[0].ContourSequence[2].ContourGeometricType = "OPEN_PLANAR"
    made.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = "POINT"
    made.save_as(path)
    told: list[str] = []
    label = values(read_label_map(path, image, say=told.append))
    assert label[1:3].any() and not label[4:].any()
    assert told == [
        "structures without a closed contour are left out: Isocentre",
        "contours of Liver that are open, or points, are left out: 1 of 3",
    ]
