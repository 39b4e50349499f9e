"""Evaluation of label maps, against values computed by hand."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.image import imread
from scipy.ndimage import binary_erosion, distance_transform_edt

from hssl.configuration import EvaluateConfig
from hssl.errors import ConfigurationError, InputError, OutputError
from hssl.events import Message
from hssl.files import NOT_UTF8
from hssl.jobs.evaluate import _files, evaluate, measure, summary_of
from hssl.outputs import PROBABILITY, RECORD, UNCERTAINTY
from hssl.workspace.catalogue import LabelClass

ONE = [LabelClass(value=1, name="box")]


def label_map(array, spacing=(1.0, 1.0, 1.0)):
    image = sitk.GetImageFromArray(np.asarray(array, np.uint8))
    image.SetSpacing(spacing)
    return image


def box(shape, start, size, value=1):
    array = np.zeros(shape, np.uint8)
    array[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = value
    return array


def ball(radius, spacing, extent):
    """A ball in mm on an anisotropic grid; spacing x, y, z."""
    axes = [np.arange(-extent, extent + 1e-6, s) for s in spacing[::-1]]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return (x**2 + y**2 + z**2 <= radius**2).astype(np.uint8)


def write(folder, name, array, spacing=(1.0, 1.0, 1.0)):
    folder.mkdir(exist_ok=True)
    sitk.WriteImage(label_map(array, spacing), str(folder / name))


@pytest.fixture
def folders(tmp_path):
    """Two cases with classes 1 and 2, one prediction too many and one too few."""
    a = box((8, 8, 8), (1, 1, 1), (4, 4, 4)) + box((8, 8, 8), (6, 6, 6), (2, 2, 2), 2)
    b = box((8, 8, 8), (2, 2, 2), (4, 4, 4))
    write(tmp_path / "truth", "a.nii.gz", a)
    write(tmp_path / "truth", "b.nii.gz", b)
    write(tmp_path / "truth", "c.nii.gz", b)
    write(tmp_path / "found", "a.nii.gz", a)
    write(tmp_path / "found", "b.mha", b)
    write(tmp_path / "found", "d.nii.gz", b)
    return EvaluateConfig(predictions=tmp_path / "found", references=tmp_path / "truth", output=tmp_path / "out")


def test_equal_masks_have_a_dice_of_one_and_no_distance():
    row = measure(
        label_map(box((6, 6, 6), (1, 1, 1), (3, 3, 3))), label_map(box((6, 6, 6), (1, 1, 1), (3, 3, 3))), ONE
    )[0]
    assert (row.dice, row.hd95_mm, row.asd_mm, row.volume_error_ml, row.absent) == (1, 0, 0, 0, "")


def test_a_box_shifted_along_z_is_measured_with_the_slice_thickness():
    # 4×4×4 voxels, shifted by one slice of 5 mm: 48 of 64 voxels shared, so Dice = 2·48/128.
    spacing = (0.5, 2.0, 5.0)
    reference = label_map(box((10, 8, 8), (2, 2, 2), (4, 4, 4)), spacing)
    prediction = label_map(box((10, 8, 8), (3, 2, 2), (4, 4, 4)), spacing)
    row = measure(prediction, reference, ONE)[0]
    assert row.dice == pytest.approx(0.75)
    # The shared middle slices have rings of 12 border voxels in both masks; of the 16 voxels of the slice that only
    # the prediction has, all are 5 mm away. That is more than 5 % of the border, so the 95th percentile is 5 mm.
    assert row.hd95_mm == pytest.approx(5.0)
    assert row.reference_ml == row.prediction_ml == pytest.approx(64 * 5.0 / 1000)
    assert row.volume_error_ml == 0


def test_the_mean_surface_distance_of_two_parallel_sheets_is_their_distance():
    # Sheets of one slice, two slices of 3 mm apart: every border voxel is exactly 6 mm from the other sheet.
    spacing = (1.0, 1.0, 3.0)
    row = measure(
        label_map(box((9, 6, 6), (5, 1, 1), (1, 4, 4)), spacing),
        label_map(box((9, 6, 6), (3, 1, 1), (1, 4, 4)), spacing),
        ONE,
    )[0]
    assert (row.dice, row.hd95_mm, row.asd_mm) == (0, pytest.approx(6), pytest.approx(6))


def test_two_balls_with_one_centre_differ_by_the_difference_of_their_radii():
    spacing = (0.5, 0.5, 1.0)
    row = measure(label_map(ball(12, spacing, 14), spacing), label_map(ball(9, spacing, 14), spacing), ONE)[0]
    assert row.asd_mm == pytest.approx(3, abs=0.3)
    assert row.hd95_mm == pytest.approx(3, abs=0.6)
    assert row.reference_ml == pytest.approx(4 / 3 * math.pi * 9**3 / 1000, rel=0.02)
    assert row.volume_error_percent == pytest.approx(100 * (12**3 / 9**3 - 1), rel=0.03)
    assert row.dice == pytest.approx(2 * 9**3 / (9**3 + 12**3), rel=0.02)


@pytest.mark.parametrize("flat", [0, 1, 2])
def test_on_a_grid_of_one_slice_the_distances_are_those_of_the_outlines_within_it(flat):
    true, found = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    true[5:35, 5:35], found[8:38, 5:35] = 1, 1
    spacing = [2.0, 0.5]
    spacing.insert(flat, 7.0)
    sides = [label_map(np.expand_dims(side, flat), spacing[::-1]) for side in (found, true)]
    row = measure(*sides, [LabelClass(value=1, name="a")])[0]
    outline = [side.astype(bool) & ~binary_erosion(side) for side in (found, true)]
    distances = [distance_transform_edt(~outline[1 - n], (2.0, 0.5))[outline[n]] for n in (0, 1)]
    assert row.hd95_mm == pytest.approx(max(np.percentile(d, 95) for d in distances))
    assert row.asd_mm == pytest.approx(np.concatenate(distances).mean())
    assert row.reference_ml == pytest.approx(900 * 7 / 1000)


def test_a_stray_voxel_does_not_move_the_95th_percentile():
    reference = box((20, 20, 20), (4, 4, 4), (8, 8, 8))
    prediction = reference.copy()
    prediction[19, 19, 19] = 1
    row = measure(label_map(prediction), label_map(reference), ONE)[0]
    assert row.hd95_mm == 0 and row.asd_mm > 0


def test_the_position_of_the_masks_in_the_volume_does_not_matter():
    near = measure(
        label_map(box((9, 9, 9), (0, 0, 0), (4, 4, 4))), label_map(box((9, 9, 9), (1, 0, 0), (4, 4, 4))), ONE
    )
    far = measure(
        label_map(box((40, 30, 30), (20, 9, 9), (4, 4, 4))), label_map(box((40, 30, 30), (21, 9, 9), (4, 4, 4))), ONE
    )
    assert near == far


@pytest.mark.parametrize(
    ("predicted", "true", "absent", "dice", "percent"),
    [(0, 1, "prediction", 0.0, -100.0), (1, 0, "reference", 0.0, None), (0, 0, "both", None, None)],
)
def test_a_class_that_is_absent_is_named_and_has_no_distance(predicted, true, absent, dice, percent):
    shape = (5, 5, 5)
    row = measure(
        label_map(box(shape, (1, 1, 1), (2, 2, 2), predicted)), label_map(box(shape, (1, 1, 1), (2, 2, 2), true)), ONE
    )[0]
    assert (row.absent, row.dice, row.volume_error_percent) == (absent, dice, percent)
    assert row.hd95_mm is None and row.asd_mm is None


def test_another_grid_is_refused():
    with pytest.raises(ConfigurationError, match="spacing"):
        measure(label_map(np.ones((4, 4, 4))), label_map(np.ones((4, 4, 4)), (1, 1, 2)), ONE)


def test_the_summary_has_mean_spread_and_median_and_counts_missed_classes_but_not_absent_ones():
    shape = (6, 6, 6)
    full, half, none = box(shape, (0, 0, 0), (4, 4, 4)), box(shape, (0, 0, 0), (2, 4, 4)), np.zeros(shape)
    rows = [
        *measure(label_map(full), label_map(full), ONE, "a"),  # Dice 1
        *measure(label_map(half), label_map(full), ONE, "b"),  # 2·32/96
        *measure(label_map(none), label_map(full), ONE, "c"),  # missed: 0
        *measure(label_map(none), label_map(none), ONE, "d"),  # nowhere: not counted
    ]
    summary = summary_of(rows)
    dice = summary.classes["box"]["dice"]
    assert dice.count == 3
    assert dice.mean == pytest.approx((1 + 2 / 3) / 3) == summary.mean_dice
    assert dice.median == pytest.approx(2 / 3)
    assert dice.std == pytest.approx(np.std([1, 2 / 3, 0], ddof=1))
    assert summary.classes["box"]["hd95_mm"].count == 2


def test_cases_are_matched_by_name_without_suffix_and_those_on_one_side_are_listed(folders):
    result = evaluate(folders).result
    assert [(r.case, r.class_name, r.dice) for r in result.rows] == [
        ("a", "1", 1.0),
        ("a", "2", 1.0),
        ("b", "1", 1.0),
        ("b", "2", None),
    ]
    assert result.without_prediction == ["c"] and result.without_reference == ["d"]


def test_what_is_written_is_what_is_returned(folders):
    result = evaluate(folders).result
    written = json.loads((folders.output / "evaluation.json").read_text())
    told = result.model_dump(mode="json")
    assert written["rows"] == told["rows"] and written["summary"] == told["summary"]
    with open(folders.output / "evaluation.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["case"] for line in lines] == ["a", "a", "b", "b"]
    assert float(lines[0]["dice"]) == 1 and lines[3]["dice"] == "" and lines[3]["absent"] == "both"
    assert imread(result.figure).shape[2] >= 3


def test_images_in_the_manner_of_nnunet_match_their_labels(tmp_path):
    array = box((5, 5, 5), (1, 1, 1), (2, 2, 2))
    write(tmp_path / "found", "case_1_0000.nii.gz", array)
    write(tmp_path / "truth", "case_1.nii.gz", array)
    config = EvaluateConfig(predictions=tmp_path / "found", references=tmp_path / "truth", output=tmp_path)
    assert [r.case for r in evaluate(config).result.rows] == ["case_1"]


def test_probabilities_and_uncertainties_beside_a_label_map_are_no_cases(folders):
    for name in ("a_uncertainty", "a_probability_liver"):
        write(folders.predictions, f"{name}.nii.gz", np.ones((8, 8, 8)))
    write(folders.predictions, "lonely_uncertainty.nii.gz", np.ones((8, 8, 8)))
    assert evaluate(folders).result.without_reference == ["d", "lonely_uncertainty"]


def test_maps_are_told_from_cases_as_by_comparing_each_name_with_each(tmp_path):
    parts = ["a", "_uncertainty", "_probability_", "_probability", "b", "_"]
    rng = np.random.default_rng(0)
    names = {"".join(rng.choice(parts, rng.integers(1, 5))) for _ in range(120)} - {"_"}
    for name in names:
        (tmp_path / f"{name}.nii.gz").touch()
    owners = {n: [o for o in names if o != n and n.startswith((o + PROBABILITY, o + UNCERTAINTY))] for n in names}
    assert set(_files(tmp_path)) == {name for name, found in owners.items() if not found}
    assert sum(map(bool, owners.values())) > 20


def test_a_folder_of_many_label_maps_is_listed_in_time_that_grows_with_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_dir", lambda path: True)
    monkeypatch.setattr(
        Path, "iterdir", lambda folder: (folder / f"case_{n}_uncertainty.nii.gz" for n in range(20_000))
    )
    assert len(_files(tmp_path)) == 20_000  # four hundred million comparisons would take minutes


def test_two_files_can_be_compared(tmp_path):
    array = box((5, 5, 5), (1, 1, 1), (2, 2, 2))
    write(tmp_path / "found", "x.nii.gz", array)
    write(tmp_path / "truth", "y.nii.gz", array)
    config = EvaluateConfig(
        predictions=tmp_path / "found" / "x.nii.gz", references=tmp_path / "truth" / "y.nii.gz", output=tmp_path
    )
    assert evaluate(config).result.rows[0].dice == 1


def write_named(path, segments):
    """Writes a segmentation as Slicer does; `segments` are names with their masks, numbered in that order."""
    image = label_map(sum(n * mask.astype(np.uint8) for n, mask in enumerate(segments.values(), 1)))
    for number, name in enumerate(segments):
        image.SetMetaData(f"Segment{number}_ID", f"Segment_{number}")
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(number + 1))
        image.SetMetaData(f"Segment{number}_Layer", "0")
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))


def test_files_that_name_their_segments_are_compared_by_the_names(tmp_path):
    liver, tumor, cyst = (box((8, 8, 8), (at, at, at), (2, 2, 2)) for at in (0, 3, 6))
    write_named(tmp_path / "truth" / "x.seg.nrrd", {"liver": liver, "tumor": tumor, "vein": cyst})
    write_named(tmp_path / "found" / "x.seg.nrrd", {"cyst": cyst, "Tumor ": tumor, "liver": liver})
    config = EvaluateConfig(predictions=tmp_path / "found", references=tmp_path / "truth", output=tmp_path / "out")
    rows = evaluate(config).result.rows
    assert {r.class_name: r.dice for r in rows} == {"liver": 1, "tumor": 1, "vein": 0, "cyst": 0}
    write(tmp_path / "found", "x.nii.gz", liver + 2 * tumor)
    (tmp_path / "found" / "x.seg.nrrd").unlink()
    events: list = []
    rows = evaluate(config.model_copy(update={"output": tmp_path / "by number"}), events.append).result.rows
    assert {r.class_name: r.dice for r in rows} == {"liver": 1, "tumor": 1, "vein": 0}
    (told,) = [e for e in events if isinstance(e, Message)]
    assert "taken by number, 1 as liver, 2 as tumor, 3 as vein, unless the model is named" in told.text


def test_a_class_has_one_row_in_each_case_whatever_its_value_there(tmp_path):
    liver, spleen = (box((8, 8, 8), (at, at, at), (2, 2, 2)) for at in (0, 3))
    for folder in ("truth", "found"):
        write_named(tmp_path / folder / "a.seg.nrrd", {"liver": liver, "spleen": spleen})
        write_named(tmp_path / folder / "b.seg.nrrd", {"Spleen": spleen})
    config = EvaluateConfig(predictions=tmp_path / "found", references=tmp_path / "truth", output=tmp_path / "out")
    result = evaluate(config).result
    assert [(r.case, r.class_name, r.dice, r.absent) for r in result.rows] == [
        ("a", "liver", 1, ""),
        ("a", "spleen", 1, ""),
        ("b", "liver", None, "both"),
        ("b", "spleen", 1, ""),
    ]
    assert {name: measures["dice"].count for name, measures in result.summary.classes.items()} == {
        "liver": 1,
        "spleen": 2,
    }


@pytest.mark.parametrize("cropped", ["found", "truth"])
def test_a_segmentation_that_slicer_cropped_is_compared_on_the_whole_grid(tmp_path, cropped):
    whole, part = ("truth", "found") if cropped == "found" else ("found", "truth")
    liver = box((8, 8, 8), (1, 2, 3), (3, 3, 3))
    write(tmp_path / whole, "x.nii.gz", liver)
    write_named(tmp_path / part / "x.seg.nrrd", {"liver": liver[:5, :6, :7]})
    config = EvaluateConfig(predictions=tmp_path / "found", references=tmp_path / "truth", output=tmp_path / "out")
    (row,) = evaluate(config).result.rows
    assert (row.class_name, row.dice) == ("liver", 1)


def test_a_prediction_on_another_grid_is_refused_by_name_and_the_others_go_on(folders):
    write(folders.predictions, "a.nii.gz", box((8, 8, 9), (1, 1, 1), (4, 4, 4)))
    events = []
    result = evaluate(folders, events.append).result
    assert {r.case for r in result.rows} == {"b"}
    assert result.failed[0].file.as_posix().endswith("found/a.nii.gz") and "size 9×8×8" in result.failed[0].reason
    assert any(e.event == "message" and e.level == "error" and "a.nii.gz" in e.text for e in events)


def test_a_damaged_file_is_refused_by_name_and_the_others_go_on(folders):
    (folders.references / "b.nii.gz").write_bytes(b"not a volume")
    result = evaluate(folders).result
    assert {r.case for r in result.rows} == {"a"}
    assert result.failed[0].file.as_posix().endswith("truth/b.nii.gz")


def test_a_pair_whose_names_are_not_utf_8_is_refused_and_the_others_go_on(folders):
    for folder in (folders.predictions, folders.references):
        (folder / "a.nii.gz").rename(folder / os.fsdecode(b"\xe4.nii.gz"))
    result = evaluate(folders).result
    assert {r.case for r in result.rows} == {"b"}
    assert [(f.case, f.reason) for f in result.failed] == [("\\udce4", NOT_UTF8)]
    assert json.loads(result.json_file.read_text())["failed"][0]["case"] == "\\udce4"


def test_figures_with_another_spacing_are_other_work(folders):
    evaluate(folders)
    before = (folders.output / "evaluation.csv").read_bytes()
    evaluate(folders)
    with pytest.raises(OutputError, match="evaluation.csv: is there already"):
        evaluate(folders.model_copy(update={"spacing": (1, 1, 4)}))
    assert (folders.output / "evaluation.csv").read_bytes() == before


def test_no_common_name_no_folder_and_the_same_name_twice_are_errors(folders, tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        evaluate(folders.model_copy(update={"predictions": tmp_path / "nowhere"}))
    write(tmp_path / "other", "z.nii.gz", np.ones((3, 3, 3)))
    with pytest.raises(InputError, match=r"none of its volumes \(1, such as z\) has the name .* \(3, such as a\)"):
        evaluate(folders.model_copy(update={"predictions": tmp_path / "other"}))
    write(folders.predictions, "a.nrrd", np.ones((3, 3, 3)))
    with pytest.raises(InputError, match="both of the case a"):
        evaluate(folders)


def test_names_that_macos_has_written_are_those_that_others_write(tmp_path):
    for folder, name in (("found", "Mu\u0308ller"), ("truth", "M\u00fcller")):
        write(tmp_path / folder, f"{name}.nii.gz", np.ones((3, 3, 3)))
    config = EvaluateConfig(predictions=tmp_path / "found", references=tmp_path / "truth", output=tmp_path / "out")
    assert [(row.case, row.dice) for row in evaluate(config).result.rows] == [("M\u00fcller", 1.0)]


def test_when_no_pair_can_be_compared_the_first_reason_is_raised_and_nothing_is_written(folders):
    for name in ("a.nii.gz", "b.mha"):
        (folders.predictions / name).write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        evaluate(folders)
    assert not folders.output.exists()


def test_a_stop_ends_without_a_result(folders):
    done = evaluate(folders, stop=lambda: True)
    assert done.stopped and not folders.output.exists()


def test_progress_ends_full(folders):
    events = []
    evaluate(folders, events.append)
    assert [e.fraction for e in events if e.event == "progress"][-1] == 1


def test_a_model_names_the_classes_unless_it_segments_nothing_and_unknown_values_are_told(folders, tmp_path):
    from hssl.configuration import NetworkConfig
    from hssl.models.description import ModelDescription
    from hssl.preprocessing.fingerprint import Fingerprint
    from hssl.workspace.catalogue import Task

    description = ModelDescription(
        kind="segmentation",
        name="m",
        network=NetworkConfig(),
        patch_size=(32, 32),
        tasks=[Task(name="t", classes=[LabelClass(value=1, name="liver")])],
        fingerprints={
            "t": Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(8, 8, 8))
        },
        out_channels=2,
    )
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    import torch

    torch.save({"description": description.model_dump(mode="json"), "network": {}}, folder / "last.pt")
    events = []
    result = evaluate(folders.model_copy(update={"model": folder}), events.append).result
    assert {r.class_name for r in result.rows} == {"liver"}
    assert any(e.event == "message" and "[2]" in e.text for e in events)

    one, other = (box((5, 5, 5), (at, at, at), (2, 2, 2)) for at in (0, 3))
    write_named(tmp_path / "named truth" / "a.seg.nrrd", {"hepar": one, "Liver": other})
    write(tmp_path / "seen", "a.nii.gz", other)
    named = {"predictions": tmp_path / "seen", "references": tmp_path / "named truth", "output": tmp_path / "by name"}
    events.clear()
    evaluate(folders.model_copy(update={"model": folder, **named}), events.append)
    (text,) = [e.text for e in events if e.event == "message"]
    assert text.endswith("left out: segments that are no class of the model: hepar")

    pretrained = description.model_copy(update={"kind": "pretrained"}).model_dump(mode="json")
    torch.save({"description": pretrained, "network": {}}, folder / "last.pt")
    with pytest.raises(InputError, match="not a segmentation model"):
        evaluate(folders.model_copy(update={"model": folder}))


def test_voxels_that_nobody_labelled_count_nowhere(folders):
    truth = np.zeros((6, 8, 10), np.uint8)
    truth[2:4, 2:6, 2:6] = 1
    found = truth.copy()
    truth[:, :, 6:] = 9
    for case in ("a", "b"):
        for folder, array in ((folders.references, truth), (folders.predictions, found)):
            for old in folder.glob(f"{case}.*"):
                old.unlink()
            write(folder, f"{case}.nii.gz", array)
    spoiled = found.copy()
    spoiled[:, :, 7:] = 1  # where nobody knows better
    write(folders.predictions, "b.nii.gz", spoiled)
    result = evaluate(folders.model_copy(update={"ignore_value": 9})).result
    assert [(r.case, r.value, r.dice, r.volume_error_ml) for r in result.rows] == [
        ("a", 1, 1.0, 0.0),
        ("b", 1, 1.0, 0.0),
    ]
    assert {r.value for r in evaluate(folders.model_copy(update={"overwrite": True})).result.rows} == {1, 9}


def test_voxels_that_nobody_labelled_count_nowhere_though_rounding_has_moved_a_grid_by_a_hair(tmp_path):
    """NIfTI keeps a place in single precision, and NRRD in double."""
    known = box((6, 8, 10), (2, 2, 2), (2, 4, 4))
    unknown = known + box((6, 8, 10), (0, 0, 7), (6, 8, 3), 9)
    for folder, name, array in (("found", "a.nii.gz", known + unknown // 9), ("truth", "a.nrrd", unknown)):
        image = label_map(array, (0.7031249, 0.7031249, 2.5))
        image.SetOrigin((-123.456789, 77.7777777, 1.23456789))
        (tmp_path / folder).mkdir()
        sitk.WriteImage(image, str(tmp_path / folder / name))
    config = EvaluateConfig(
        predictions=tmp_path / "found", references=tmp_path / "truth", output=tmp_path / "out", ignore_value=9
    )
    assert [(r.value, r.dice) for r in evaluate(config).result.rows] == [(1, 1.0)]


def test_the_mean_says_of_how_many_of_how_many_cases_it_is(folders):
    write(folders.references, "c.nii.gz", np.ones((3, 3, 3)))
    (folders.references / "b.nii.gz").write_bytes(b"not a volume")
    result = evaluate(folders).result
    assert (result.cases.measured, result.cases.of) == (1, 3) and len(result.failed) == 1


def test_a_link_to_nothing_is_a_case_that_cannot_be_read(folders):
    (folders.predictions / "a.nii.gz").unlink()
    (folders.predictions / "a.nii.gz").symlink_to(folders.predictions / "gone.nii.gz")
    result = evaluate(folders).result
    assert [(one.case, one.file.name) for one in result.failed] == [("a", "a.nii.gz")]
    assert "No such file" in result.failed[0].reason and result.cases.measured == 1


def test_references_that_are_compared_with_themselves_are_told(folders):
    events: list = []
    evaluate(folders.model_copy(update={"predictions": folders.references}), events.append)
    assert [e.text for e in events if isinstance(e, Message)] == [
        "The predictions are the references, byte for byte: they are compared with themselves"
    ]


def test_label_maps_whose_axes_run_in_another_order_are_compared_voxel_by_voxel(tmp_path):
    truth = label_map(box((6, 7, 8), (1, 1, 1), (3, 4, 5)), (1.0, 2.0, 3.0))
    for name, image in (("p", sitk.DICOMOrient(truth, "RAS")), ("t", truth)):
        (tmp_path / name).mkdir()
        sitk.WriteImage(image, str(tmp_path / name / "a.nii.gz"))
    config = EvaluateConfig(predictions=tmp_path / "p", references=tmp_path / "t", output=tmp_path / "out")
    assert evaluate(config).result.summary.mean_dice == 1


def test_a_scan_is_no_reference(folders):
    write(folders.references, "a.nii.gz", np.random.default_rng(0).integers(0, 200, (8, 8, 8)))
    result = evaluate(folders).result
    assert [(one.case, one.file.parent.name) for one in result.failed] == [("a", "truth")]
    assert "an image, not a label map" in result.failed[0].reason


def test_values_that_only_one_side_has_and_values_that_were_rounded_are_told(tmp_path):
    mask = box((6, 7, 8), (1, 1, 1), (3, 4, 5))
    write(tmp_path / "truth", "a.nii.gz", mask * 255)
    (tmp_path / "found").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(mask * np.float32(0.9999)), str(tmp_path / "found" / "a.nii.gz"))
    events: list = []
    config = EvaluateConfig(predictions=tmp_path / "found", references=tmp_path / "truth", output=tmp_path / "out")
    assert evaluate(config, events.append).result.summary.mean_dice == 0
    told = [e.text for e in events if isinstance(e, Message)]
    assert told[0].startswith(f"{config.predictions / 'a.nii.gz'}: label values were rounded")
    assert "the predictions have 1, the references 255; are they the same classes?" in told[1] and len(told) == 2
    write(tmp_path / "truth", "a.nii.gz", mask + box((6, 7, 8), (0, 0, 0), (1, 1, 1), 2))
    events.clear()
    evaluate(config.model_copy(update={"overwrite": True}), events.append)
    assert len([e for e in events if isinstance(e, Message)]) == 1


def test_a_reference_by_the_other_form_of_its_image_is_not_compared_with_its_mirror_image(tmp_path):
    """The image says twice where it lies (NIfTI): what is predicted has one of the two forms, and the reference the other."""
    truth = box((4, 6, 8), (1, 1, 0), (2, 3, 4))
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 9, truth.shape).astype(np.float32))
    sitk.WriteImage(image, str(tmp_path / "scan.nii"))
    write(tmp_path / "truth", "a.nii", truth)
    for path, codes in ((tmp_path / "scan.nii", (1, 2)), (tmp_path / "truth" / "a.nii", (0, 2))):
        data = bytearray(path.read_bytes())
        data[252:256] = np.array(codes, "<i2").tobytes()
        data[280:328] = np.array([1, 0, 0, -7, 0, -1, 0, 0, 0, 0, 1, 0], "<f4").tobytes()  # x backwards, in one place
        path.write_bytes(data)
    write(tmp_path / "found", "a.nii", truth)
    config = EvaluateConfig(predictions=tmp_path / "found", references=tmp_path / "truth", output=tmp_path / "out")
    events: list = []
    assert evaluate(config, events.append).result.summary.mean_dice == 0
    assert "another order or direction" in next(e.text for e in events if isinstance(e, Message))
    record = {"file": "a.nii", "input": str(tmp_path / "scan.nii"), "work": "", "sha256": ""}
    (tmp_path / "found" / RECORD).write_text(json.dumps(record) + "\n")
    assert evaluate(config).result.summary.mean_dice == 1
