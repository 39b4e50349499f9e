"""Labels that name what they label, in the catalogue: classes by name, choices that last, other labels by hand."""

from __future__ import annotations

from pathlib import Path

import dicom_files as files
import numpy as np
import pytest
import SimpleITK as sitk

from hssl.configuration import AddConfig
from hssl.errors import InputError
from hssl.imaging.volumes import read_volume, write_volume
from hssl.jobs.add import add
from hssl.workspace.catalogue import Catalogue, LabelClass, Task
from hssl.workspace.check import check_workspace
from hssl.workspace.labels import read_label
from hssl.workspace.scan import relabel
from hssl.workspace.sources import find

SHAPE = (6, 12, 16)
OUTER = np.zeros(SHAPE, bool)
OUTER[1:5, 2:10, 3:13] = True
INNER = np.zeros(SHAPE, bool)
INNER[2:4, 4:8, 6:10] = True


def scan(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(sitk.GetImageFromArray(np.random.default_rng(seed).normal(0, 9, SHAPE).astype(np.float32)), path)


def slicer_segmentation(path: Path, names: list[str], overlapping: bool = False) -> None:
    """Writes "outer" and "inner", in the order of the names, the way Slicer does."""
    own = {name: number for number, name in enumerate(names, 1)}
    layers = [OUTER if overlapping else OUTER & ~INNER, INNER]
    if overlapping:
        image = sitk.Compose([sitk.GetImageFromArray(layer.astype(np.uint8)) for layer in layers])
        own = {"outer": 1, "inner": 1}
    else:
        image = sitk.GetImageFromArray(sum(m * own[n] for n, m in zip(("outer", "inner"), layers, strict=True)))
        image = sitk.Cast(image, sitk.sitkUInt8)
    for number, name in enumerate(names):
        image.SetMetaData(f"Segment{number}_ID", f"Segment_{number}")
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(own[name]))
        image.SetMetaData(f"Segment{number}_Layer", str(("outer", "inner").index(name) if overlapping else 0))
        image.SetMetaData(f"Segment{number}_Color", "0.2 0.4 0.6")
    sitk.WriteImage(image, str(path))


def label_of(workspace: Path, id: str) -> np.ndarray:
    catalogue = Catalogue.load(workspace)
    image = catalogue.image(id)
    return sitk.GetArrayFromImage(read_label(catalogue, image, read_volume(catalogue.image_path(image), image.series)))


TRUTH = np.where(INNER, 2, OUTER * 1)


def test_segments_in_another_order_are_the_same_classes(tmp_path):
    for number, names in enumerate((["outer", "inner"], ["inner", "outer"])):
        scan(tmp_path / "data" / f"case{number}.nrrd", number)
        slicer_segmentation(tmp_path / "data" / f"case{number}.seg.nrrd", names)
    Catalogue.create(tmp_path / "w")
    done = add(AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t", check=True))
    assert not done.result.problems
    classes = Catalogue.load(tmp_path / "w").task("t").classes
    assert [(c.value, c.name, c.color) for c in classes] == [
        (1, "outer", (0.2, 0.4, 0.6)),
        (2, "inner", (0.2, 0.4, 0.6)),
    ]
    for id in ("case0", "case1"):
        np.testing.assert_array_equal(label_of(tmp_path / "w", id), TRUTH)


def test_segments_of_one_name_are_one_class_and_that_is_told(tmp_path):
    scan(tmp_path / "data" / "case.nrrd", 0)
    slicer_segmentation(tmp_path / "data" / "case.seg.nrrd", ["outer", "inner"])
    path = tmp_path / "data" / "case.seg.nrrd"
    path.write_bytes(path.read_bytes().replace(b"Segment1_Name:=inner", b"Segment1_Name:=Outer"))
    Catalogue.create(tmp_path / "w")
    done = add(AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t"))
    assert (
        "case.seg.nrrd: 'outer', 'Outer' have the same name, case and spaces aside, and are one class"
        in done.result.notes
    )
    assert [c.name for c in Catalogue.load(tmp_path / "w").task("t").classes] == ["outer"]


def test_a_file_that_disagrees_with_the_task_is_a_named_problem(tmp_path):
    scan(tmp_path / "data" / "a.nrrd", 0)
    slicer_segmentation(tmp_path / "data" / "a.seg.nrrd", ["outer", "inner"])
    catalogue = Catalogue.create(tmp_path / "w")
    catalogue.set_task(Task(name="t", classes=[LabelClass(value=1, name="outer"), LabelClass(value=2, name="rim")]))
    catalogue.save()
    done = add(AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t", check=True))
    (problem,) = done.result.problems
    assert "its segment 'inner' is no class of the task (they are outer, rim)" in problem.reason


def test_an_order_that_is_chosen_later_counts(tmp_path):
    scan(tmp_path / "data" / "a.nrrd", 0)
    slicer_segmentation(tmp_path / "data" / "a.seg.nrrd", ["outer", "inner"], overlapping=True)
    config = AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t", check=True)
    Catalogue.create(tmp_path / "w")
    assert "its segments overlap (2 layers)" in add(config).result.problems[0].reason
    done = add(config.model_copy(update={"structures": ["outer", "inner"]}))
    assert not done.result.problems and done.result.changed == ["a"]
    np.testing.assert_array_equal(label_of(tmp_path / "w", "a"), TRUTH)
    assert add(config.model_copy(update={"structures": ["outer", "inner"]})).result.unchanged == 1
    add(config.model_copy(update={"structures": ["inner", "outer"]}))
    np.testing.assert_array_equal(label_of(tmp_path / "w", "a"), OUTER)


def test_a_segmentation_given_by_hand_names_the_classes_of_a_task_that_had_none(tmp_path):
    raw = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)
    sources = files.write_slices(tmp_path / "CT", raw, np.arange(6) * 2.0)
    Catalogue.create(tmp_path / "w")
    add(AddConfig(workspace=tmp_path / "w", source=tmp_path / "CT", task="t"))
    masks = np.stack([OUTER, INNER], 3).astype(np.uint8)
    path = files.write_segmentation(tmp_path / "elsewhere" / "SEG.dcm", sources, masks, ["Outer", "Inner"])
    with pytest.raises(InputError, match=r"has no structure 'Rim' \(there: Outer, Inner\)"):
        relabel(tmp_path / "w", "CT", path, ["Rim"])
    record = relabel(tmp_path / "w", "CT", path, ["outer", "Inner"])
    assert record.structures == ["Outer", "Inner"] and record.label_problem is None
    report = check_workspace(tmp_path / "w")
    assert not report.problems and [c.name for c in report.classes["t"]] == ["Outer", "Inner"]
    np.testing.assert_array_equal(label_of(tmp_path / "w", "CT"), TRUTH)
    assert relabel(tmp_path / "w", "CT", None).structures == []


def test_what_the_voxels_of_a_label_given_by_hand_say_against_it_is_told_at_once(tmp_path):
    scan(tmp_path / "data" / "a.nrrd", 0)
    Catalogue.create(tmp_path / "w")
    add(AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t"))
    write_volume(sitk.GetImageFromArray((0.5 * OUTER).astype(np.float32)), tmp_path / "half.nii.gz")
    assert "not whole numbers" in relabel(tmp_path / "w", "a", tmp_path / "half.nii.gz").label_problem
    write_volume(sitk.GetImageFromArray(OUTER.astype(np.uint8)), tmp_path / "whole.nii.gz")
    assert relabel(tmp_path / "w", "a", tmp_path / "whole.nii.gz").label_problem is None


def test_a_label_lies_in_another_folder_and_of_two_series_only_one_is_labelled(tmp_path):
    raw = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)
    ct = files.write_slices(tmp_path / "study" / "p1", raw, np.arange(6) * 2.0, series="1.2.3.9.1", prefix="A")
    files.write_slices(tmp_path / "study" / "p1", raw + 1, np.arange(6) * 2.0, series="1.2.3.9.2", prefix="B")
    files.write_segmentation(tmp_path / "labels" / "x" / "s.dcm", ct, OUTER[..., None].astype(np.uint8), ["Outer"])
    Catalogue.create(tmp_path / "w")
    config = AddConfig(workspace=tmp_path / "w", source=tmp_path / "study", labels=tmp_path / "labels", task="t")
    add(config.model_copy(update={"check": True}))
    images = {i.series: i for i in Catalogue.load(tmp_path / "w").images}
    assert {s: i.label is not None for s, i in images.items()} == {"1.2.3.9.1": True, "1.2.3.9.2": False}
    assert images["1.2.3.9.1"].label_values == [1] and {i.id for i in images.values()} == {"p1-1", "p1-2"}
    assert add(config).result.unchanged == 2


def test_a_labelled_series_that_is_alone_in_its_folder_is_called_after_it(tmp_path):
    raw = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)
    for case in ("p1", "p2"):
        ct = files.write_slices(tmp_path / "study" / case, raw, np.arange(6) * 2.0, series=f"1.2.3.9.{case[1]}")
        files.write_segmentation(tmp_path / "study" / case / "s.dcm", ct, OUTER[..., None].astype(np.uint8), ["Outer"])
        raw = raw + 1
    Catalogue.create(tmp_path / "w")
    done = add(AddConfig(workspace=tmp_path / "w", source=tmp_path / "study", task="t"))
    assert any("the labels name 1 structure, it is taken: Outer" in note for note in done.result.notes)
    images = Catalogue.load(tmp_path / "w").images
    assert [i.id for i in images] == ["p1", "p2"] and all(i.label for i in images)


def test_a_label_of_another_series_is_refused_with_the_reason(tmp_path):
    raw = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)
    other = files.write_slices(tmp_path / "gone", raw, np.arange(6) * 2.0, series="1.2.3.9.8")
    files.write_segmentation(tmp_path / "data" / "s.dcm", other, OUTER[..., None].astype(np.uint8), ["Outer"])
    files.write_slices(tmp_path / "data" / "CT", raw, np.arange(6) * 2.0, series="1.2.3.9.1")
    Catalogue.create(tmp_path / "w")
    done = add(AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t"))
    assert done.result.labelled == 0
    assert [r.reason for r in done.result.refused] == ["labels no series that is here"]


@pytest.mark.parametrize("where", ["data/labels/p1", "data", "elsewhere/p1"])
@pytest.mark.parametrize("length", [140, 215, 900])
def test_a_label_that_is_cut_is_told_wherever_it_lies(tmp_path, where, length):
    raw = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)
    sources = files.write_slices(tmp_path / "data" / "images" / "p1", raw, np.arange(6) * 2.0)
    path = files.write_segmentation(tmp_path / where / "s.dcm", sources, OUTER[..., None].astype(np.uint8), ["Outer"])
    path.write_bytes(path.read_bytes()[:length])
    Catalogue.create(tmp_path / "w")
    more = {"labels": tmp_path / "elsewhere"} if where.startswith("elsewhere") else {}
    done = add(AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t", **more))
    assert done.result.labelled == 0
    (refused,) = done.result.refused
    assert "s.dcm" in f"{refused.path} {refused.reason}" and len(Catalogue.load(tmp_path / "w").images) == 1


def test_what_the_store_keeps_of_a_label_goes_with_the_choice_of_structures(tmp_path):
    from hssl.preprocessing.store import build, task_fingerprint

    scan(tmp_path / "data" / "a.nrrd", 0)
    slicer_segmentation(tmp_path / "data" / "a.seg.nrrd", ["outer", "inner"], overlapping=True)
    Catalogue.create(tmp_path / "w")
    kept = []
    for structures in (["outer", "inner"], ["inner", "outer"]):
        add(AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t", structures=structures))
        catalogue = Catalogue.load(tmp_path / "w")
        fingerprint = task_fingerprint(catalogue, catalogue.task("t"), [], lambda event: None, lambda: False)
        (stored,) = build(catalogue, catalogue.images, {"t": fingerprint}, True, lambda event: None, lambda: False)
        assert stored.label_path is not None
        kept.append(np.load(stored.label_path))
    assert np.unique(kept[0]).tolist() == [0, 1, 2] and np.unique(kept[1]).tolist() == [0, 1]


def test_labels_of_one_series_in_several_objects_are_joined_where_their_structures_differ(tmp_path):
    raw = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)
    ct = files.write_slices(tmp_path / "data" / "CT", raw, np.arange(6) * 2.0)
    for name, mask in (("outer", OUTER), ("inner", INNER)):
        files.write_segmentation(tmp_path / "data" / f"{name}.dcm", ct, mask[..., None].astype(np.uint8), [name])
    Catalogue.create(tmp_path / "w")
    config = AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t", structures=["outer", "inner"])
    done = add(config.model_copy(update={"check": True}))
    assert (done.result.labelled, done.result.refused, done.result.problems) == (1, [], [])
    assert done.result.pairs == ["CT ← inner.dcm + outer.dcm"]
    assert [c.name for c in Catalogue.load(tmp_path / "w").task("t").classes] == ["outer", "inner"]
    image = Catalogue.load(tmp_path / "w").images[0]
    assert [Path(part.path).name for part in image.parts] == ["inner.dcm", "outer.dcm"]
    np.testing.assert_array_equal(label_of(tmp_path / "w", image.id), TRUTH)
    assert add(config).result.unchanged == 1
    (tmp_path / "data" / "inner.dcm").unlink()
    assert add(config.model_copy(update={"structures": []})).result.changed == [image.id]


def test_two_labels_of_one_series_that_hold_the_same_structure_are_both_named_with_the_way_out(tmp_path):
    raw = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)
    ct = files.write_slices(tmp_path / "data" / "CT", raw, np.arange(6) * 2.0)
    both = np.stack([OUTER, INNER], 3).astype(np.uint8)
    files.write_segmentation(tmp_path / "data" / "r1.dcm", ct, both[..., :1], ["Liver"])
    files.write_segmentation(tmp_path / "data" / "r2.dcm", ct, both, ["liver", "tumour"])
    Catalogue.create(tmp_path / "w")
    config = AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t")
    reasons = {Path(r.path).name: r.reason for r in add(config).result.refused}
    assert "it holds Liver, and so does r2.dcm" in reasons["r1.dcm"]
    assert "choose structures that only one has (tumour), or take the others away" in reasons["r1.dcm"]
    assert "it holds liver, and so does r1.dcm" in reasons["r2.dcm"]
    chosen = add(config.model_copy(update={"structures": ["tumour"]}))
    assert (chosen.result.labelled, chosen.result.refused) == (1, [])


def test_labels_that_do_not_name_their_values_beside_labels_that_do_are_told(tmp_path):
    for number in range(2):
        scan(tmp_path / "data" / f"case{number}.nrrd", number)
    slicer_segmentation(tmp_path / "data" / "case0.seg.nrrd", ["outer", "inner"])
    sitk.WriteImage(sitk.GetImageFromArray(OUTER.astype(np.uint8)), str(tmp_path / "data" / "case1_seg.nrrd"))
    Catalogue.create(tmp_path / "w")
    notes = add(AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t")).result.notes
    told = [note for note in notes if "does not name their values" in note]
    assert told == [
        "1 label does not name their values, such as case1_seg.nrrd: they are taken by number, 1 as outer, 2 as inner"
    ]


def test_a_file_beside_a_series_that_a_structure_set_labels_is_not_passed_over(tmp_path):
    values = np.random.default_rng(0).integers(-999, 999, SHAPE).astype(np.int16)
    positions = [2.0 * n for n in range(len(values))]
    for series in ("1.2.3.9", "1.2.3.8"):
        files.write_slices(tmp_path / "data" / "p1" / "CT", values, positions, series=series, prefix=series[-1])
        values = values[:-1]
        positions = positions[:-1]
    square = np.array([[2, 2, 4], [8, 2, 4], [8, 8, 4], [2, 8, 4]])
    contours = files.write_structures(tmp_path / "data" / "p1" / "RT" / "rs.dcm", {"Liver": [square]})
    drawn = tmp_path / "data" / "p1" / "CT_seg.nii.gz"
    write_volume(sitk.GetImageFromArray((OUTER * 1).astype(np.uint8)), drawn)
    found = {c.series: c.label for c in find(tmp_path / "data").candidates}
    assert found == {"1.2.3.9": str(contours), "1.2.3.8": str(drawn)}  # whose grid is another, which the scan tells
    for file in (tmp_path / "data" / "p1" / "CT").glob("8*"):
        file.unlink()
    source = find(tmp_path / "data")
    assert [c.label for c in source.candidates] == [None]
    reasons = dict(source.refused)
    assert "is a label of a series that p1/RT/rs.dcm labels too: take the wrong one away" in reasons[str(drawn)]
    assert "is one of two labels of its series" in reasons[str(contours)]
    chosen = find(tmp_path / "data", structures=["liver"])
    assert [c.label for c in chosen.candidates] == [str(contours)]
    assert chosen.refused == [(str(drawn), "is left aside, since p1/RT/rs.dcm has the structures that were chosen")]
