"""What the benchmarks compute without training: draws of labelled cases, paired differences, their intervals."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
MODULE = BENCHMARKS.parents[1] / "HSSLSegmentation"
if str(BENCHMARKS) not in sys.path:
    sys.path.insert(0, str(BENCHMARKS))

from experiments import ablations  # noqa: E402
from experiments.data import SOURCES, SPLITS, draw, patient_of  # noqa: E402
from experiments.intervals import Differences, bootstrap  # noqa: E402
from experiments.labelling import corrections  # noqa: E402
from experiments.labelling import figures as labelling_figures  # noqa: E402
from experiments.learning_from_slices import _ellipsoids, _on, _round, dice_of  # noqa: E402
from experiments.paired import comparison, differences  # noqa: E402
from experiments.spoiling import LOOKED_AT, WAYS  # noqa: E402
from experiments.spoiling import figures as spoiling_figures  # noqa: E402
from experiments.tables import NAMES, interval, of_comparison, spread  # noqa: E402
from recording import as_text, record  # noqa: E402
from whole_slices import FRAME, framed  # noqa: E402

from hssl.interactive.session import InteractiveSession  # noqa: E402
from hssl.interactive.slice_priors import Plane  # noqa: E402
from hssl.intervals import student  # noqa: E402
from HSSLSegmentationLib.scene.annotatedSlices import paintedSlices  # noqa: E402

CARDIAC = ["scd1_ph07", "scd1_ph18", "scd4_ph06", "scd4_ph19", "scd5_ph06", "scd5_ph19"]


def heart(case):
    return patient_of("cardiac_cine_scd", case)


def test_the_lists_of_cases_are_those_of_the_published_table_and_share_no_case():
    lists = json.loads(SPLITS.read_text(encoding="utf-8"))
    assert set(SOURCES) <= set(lists)
    published = lists["msd_hippocampus"]
    assert [len(set(published[name])) for name in ("train_10pct", "train_25pct", "test")] == [21, 52, 52]
    assert not {*published["train_10pct"], *published["train_25pct"]} & {*published["test"]}
    assert all(len(set(of["test"])) == len(of["test"]) > 0 for of in lists.values())


def row(start, number, seed, dice, count=1, task="t"):
    """A row of a trial on as many test cases as there are Dice."""
    cases = {f"case{n}": d for n, d in enumerate(dice)}
    known = [d for d in dice if d is not None]
    return {
        "task": task, "count": count, "start": start, "draw": number, "seed": seed,
        "dice": sum(known) / len(known) if known else None, "cases": cases,
    }  # fmt: skip


def test_a_larger_draw_holds_the_smaller_one():
    cases = [f"c{n}" for n in range(20)]
    assert draw(cases, 5, 0)[:3] == draw(cases, 3, 0)


def test_draws_differ_and_do_not_depend_on_the_order_of_the_cases():
    cases = [f"c{n}" for n in range(20)]
    assert draw(cases, 5, 0) != draw(cases, 5, 1)
    assert draw(cases, 5, 0) == draw(cases[::-1], 5, 0)


@pytest.mark.parametrize("number", range(5))
def test_every_patient_is_drawn_once_before_any_is_drawn_twice(number):
    assert len({heart(c) for c in draw(CARDIAC, 3, number, heart)}) == 3
    assert sorted(draw(CARDIAC, 6, number, heart)) == CARDIAC


def test_more_cases_than_there_are_cannot_be_drawn():
    with pytest.raises(ValueError, match="7 of 6"):
        draw(CARDIAC, 7, 0, heart)


def cell(values, draws=None, patients=None):
    rows, columns = values.shape
    return Differences(values, tuple(draws or range(rows)), tuple(patients or map(str, range(columns))))


def test_students_interval_is_the_textbooks():
    found = student([1.0, 2.0, 3.0])
    # t(0.975, 2) = 4.303, standard error 1 / sqrt(3).
    assert (found.mean, found.count) == (2.0, 3)
    assert found.low == pytest.approx(2 - 4.3027 / np.sqrt(3), abs=1e-3)
    assert found.high == pytest.approx(2 + 4.3027 / np.sqrt(3), abs=1e-3)


def test_one_difference_has_no_interval():
    assert (student([4.0]).low, student([4.0]).high) == (None, None)
    assert bootstrap([[cell(np.array([[4.0]]))]]).low is None


def test_the_bootstrap_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        values = 1.0 + rng.normal(0, 1, (12, 1)) + rng.normal(0, 1, (1, 12)) + rng.normal(0, 1, (12, 12))
        found = bootstrap([[cell(values)]], repeats=300, seed=trial)
        covered += found.low <= 1.0 <= found.high
    assert covered >= 85


def test_strata_weigh_alike_however_many_cases_they_have():
    assert bootstrap([[cell(np.zeros((3, 50)))], [cell(np.full((3, 2), 10.0))]]).mean == 5.0


def test_cells_of_one_source_are_not_taken_for_independent():
    values = np.random.default_rng(0).normal(0, 1, (3, 12))
    alone, twice = bootstrap([[cell(values)]]), bootstrap([[cell(values), cell(values)]])
    assert (twice.low, twice.high) == (alone.low, alone.high)
    apart = bootstrap([[cell(values)], [cell(values)]])
    assert apart.high - apart.low < 0.85 * (alone.high - alone.low)


def test_images_of_one_patient_are_drawn_together():
    values = np.repeat([[0.0, 10.0]], 6, 1)  # six images of each of two patients, one draw
    found = bootstrap([[cell(values, patients=["a"] * 6 + ["b"] * 6)]])
    assert (found.low, found.high) == (0, 10)
    assert bootstrap([[cell(values, patients=["a"] * 12)]]).low is None


def test_a_draw_that_is_missing_in_one_cell_takes_no_part_there():
    whole, part = cell(np.array([[0.0], [2.0]])), cell(np.array([[5.0]]), draws=[1])
    found = bootstrap([[whole, part]])
    assert (found.mean, found.low, found.high) == (3.0, 0.0, 3.5)


def test_seeds_of_a_draw_are_averaged_and_pairs_are_kept():
    rows = [
        row("pretrained", 0, 0, [0.6, 0.8]), row("scratch", 0, 0, [0.5, 0.8]),
        row("pretrained", 0, 1, [0.6, 0.8]), row("scratch", 0, 1, [0.3, 0.8]),
        row("pretrained", 1, 2, [0.9, 0.9]), row("scratch", 1, 2, [0.9, 0.8]),
        row("pretrained", 2, 3, [0.9, 0.9]),
    ]  # fmt: skip
    found = differences(rows, "pretrained", "scratch")
    np.testing.assert_allclose(found.values, [[20, 0], [0, 10]], atol=1e-9)
    assert found.draws == (0, 1)


def test_a_test_case_that_has_no_dice_in_one_run_is_left_out_of_the_pairs():
    rows = [row("pretrained", 0, 0, [0.6, None]), row("scratch", 0, 0, [0.5, 0.8])]
    assert differences(rows, "pretrained", "scratch").values.shape == (1, 1)


def test_a_comparison_tells_gain_by_cell_and_counts_failures():
    rows = [row(s, d, d, [v + 0.1 * d], count) for count in (1, 3) for d in (0, 1)
            for s, v in (("pretrained", 0.5), ("scratch", 0.45 if count == 1 else 0.55))]  # fmt: skip
    found = comparison([*rows, row("scratch", 5, 5, [None])], "scratch")
    gains = {c["count"]: c["starts"]["pretrained"]["difference"]["mean"] for c in found["cells"]}
    assert gains == {1: pytest.approx(5), 3: pytest.approx(-5)}
    assert found["positive"]["pretrained"] == [1, 2]
    assert found["overall"]["pretrained"]["mean"] == pytest.approx(0)
    assert found["failed"] == 1


def test_half_of_the_way_from_ten_percent_to_all_labels_is_told_and_what_each_loss_adds():
    rows = [
        {**row(f"{start} at {share} %", 0, 0, [dice]), "count": share}
        for start, share, dice in (
            ("pretrained", 10, 0.7), ("scratch", 10, 0.6), ("pretrained", 100, 0.8), ("scratch", 100, 0.8),
        )
    ]  # fmt: skip
    variants = [row("scratch", 0, 0, [0.5]), row("image", 0, 0, [0.6]), row("+ task", 0, 0, [0.5])]
    found = ablations.figures([*rows, *variants])
    assert found["bridged"] == {"t": pytest.approx(0.5)}
    broken = [{**r, "dice": None} if r["start"] == "pretrained at 10 %" else r for r in rows]
    assert ablations.figures([*map(dict, broken), *variants])["bridged"] == {"t": None}
    assert found["added"]["image"]["mean"] == pytest.approx(10)
    assert found["added"]["+ task"]["mean"] == pytest.approx(-10)


def test_tables_show_a_dash_for_what_was_not_measured():
    text = of_comparison(comparison([row("scratch", 0, 0, [0.5])], "scratch"), {"task": "source", "count": "labelled"})
    assert text.splitlines()[2] == "| t | 1 | 50.0 |"
    assert (interval(None), spread(None)) == ("–", "–")


def test_results_have_one_row_a_line_and_keep_their_values(tmp_path):
    rows = [{"case": f"c{n}", "dice": 0.1 + n / 3, "classes": {"a": n, "b": None}} for n in range(20)]
    result = {"experiment": "é", "figures": {"rows": rows, "steps": [1, 2, 3], "none": []}, "sizes": {"name": "cpu"}}
    record(tmp_path / "deep" / "result.json", result)
    text = (tmp_path / "deep" / "result.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert {key: found[key] for key in result} == result
    assert {*found} - {*result} == {"hardware", "versions", "commit"}
    assert sum('"case"' in line for line in text.splitlines()) == 20
    assert text.count('"name": "cpu"') == 1 and ' "sizes": {"name": "cpu"},' in text.splitlines()


def test_what_is_read_and_written_again_is_the_same_text(tmp_path):
    record(tmp_path / "r.json", {"times": ({"minutes": 0.25}, {"minutes": 1}), "rows": [{"a": 1}]})
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert text == as_text(json.loads(text)) + "\n"


def test_all_results_are_written_like_that():
    for path in sorted((BENCHMARKS / "results").glob("*.json")):
        text = path.read_text(encoding="utf-8")
        assert text == as_text(json.loads(text)) + "\n", path.name


def disc(size: int, radius: float, slices: int = 6) -> np.ndarray:
    """A cylinder along the first axis that leaves the first and the last slice empty."""
    j, i = np.mgrid[:size, :size] - size // 2
    found = np.zeros((slices, size, size), np.uint8)
    found[1:-1] = j**2 + i**2 < radius**2
    return found


def read_from_page() -> set[tuple[str, ...]]:
    """Returns the rows of all tables of docs/results.md, as cells of plain text."""
    text = (
        (BENCHMARKS.parents[1] / "docs" / "results.md").read_text(encoding="utf-8").replace("−", "-").replace("*", "")
    )
    lines = [line.strip("| ") for line in text.splitlines() if line.startswith("|")]
    return {tuple(cell.strip() for cell in line.split("|")) for line in lines}


def of_starts(figures: dict, *further: dict) -> list[tuple[str, ...]]:
    """Returns for each start its means of all sources and its difference, and the same of `further` figures."""
    rows = []
    for start in figures["cells"][0]["starts"]:
        cells: list[str] = []
        for one in (figures, *further):
            means = [spread(cell["starts"][start]) for cell in one["cells"]]
            cells += [*means, interval(one["overall"].get(start))]
        rows.append(tuple(cells))
    return rows


def shown_of(experiment: str, figures: dict) -> list[tuple[str, ...]]:
    """Returns what rows of tables in docs/results.md must end with."""
    if experiment == "ablations":
        return of_starts(figures["losses"])
    if experiment == "baselines":
        return of_starts(figures["frozen"], figures["fine-tuned"])
    if experiment == "interactive":
        methods = ("HSSL", "no features", "fill between slices", "grow from seeds")
        even = [cell["mean"] for cell in figures["cells"] if cell["slices"] == "even"]
        return [tuple(f"{mean[method]:.1f}" for method in methods) for mean in even]
    both = {"general": ("scratch", "general"), "going-on": ("general", "and its scans")}.get(
        experiment, ("scratch", "pretrained")
    )
    if experiment == "time":
        gains: dict[float, list[float]] = {}
        for cell in figures["cells"]:
            means = [cell["starts"][start]["mean"] for start in both]
            gains.setdefault(cell["time"], []).append(means[1] - means[0])
        return [("points of Dice", *(f"{np.mean(of):+.1f}" for _, of in sorted(gains.items())))]
    return [
        (
            NAMES[cell["task"]],
            str(cell["count"]),
            *(spread(cell["starts"][start]) for start in both),
            interval(cell["starts"][both[1]]["difference_bootstrap"]),
        )
        for cells in ([figures["brief"], figures["usual"]] if "brief" in figures else [figures])
        for cell in cells["cells"]
    ]


@pytest.mark.parametrize("experiment", ["gain", "general", "going-on", "time", "ablations", "baselines", "interactive"])
def test_the_tables_of_the_page_are_those_of_the_results(experiment):
    name = f"{'' if experiment == 'interactive' else 'evidence-'}{experiment}-cpu.json"
    page = read_from_page()
    wanted = shown_of(experiment, json.loads((BENCHMARKS / "results" / name).read_text(encoding="utf-8"))["figures"])
    assert wanted
    for cells in wanted:
        assert any(row[-len(cells) :] == cells for row in page), cells


def test_what_the_results_say_of_the_gain_is_what_their_rows_give():
    result = json.loads((BENCHMARKS / "results" / "evidence-gain-cpu.json").read_text(encoding="utf-8"))
    assert as_text(comparison(result["rows"], "scratch")["cells"]) == as_text(result["figures"]["cells"])


def test_a_draft_as_right_as_a_second_persons_outline_needs_no_correction():
    truth, larger = disc(30, 8), disc(30, 9)
    same = corrections(truth, truth, 0)
    assert (same["wrong_voxels"], same["wrong_slices"], same["slices_to_correct"], same["dice"]) == (0, 0, 0, 1.0)
    assert (same["voxels"], same["slices"]) == (int(truth.sum()), 4)
    found = corrections(larger, truth, 0)
    assert found["wrong_voxels"] == int(larger.sum() - truth.sum()) and found["wrong_slices"] == 4
    assert found["slices_to_correct"] == 0
    assert corrections(disc(30, 11), truth, 0)["slices_to_correct"] == 4
    assert corrections(np.moveaxis(larger, 0, 2), np.moveaxis(truth, 0, 2), 2) == found


def test_what_a_draft_missed_invented_or_took_for_another_is_to_be_corrected():
    truth = disc(30, 8)
    missed, invented, other = truth.copy(), truth.copy(), truth.copy()
    missed[1] = 0
    invented[0, 3, 3] = 1
    other[2][truth[2] > 0] = 2
    thin = np.zeros_like(truth)
    thin[3, 10:20, 10] = 1
    for draft, true, slices in ((missed, truth, 1), (invented, truth, 1), (other, truth, 1), (thin * 0, thin, 1)):
        found = corrections(draft, true, 0)
        assert found["slices_to_correct"] == found["wrong_slices"] == slices


def test_shares_that_are_left_to_do_are_formed_in_each_draw():
    draft = {"voxels": 100, "wrong_voxels": 10, "slices": 10, "wrong_slices": 9, "slices_to_correct": 2, "dice": 0.9}
    worse = {**draft, "wrong_voxels": 30, "slices_to_correct": 6}
    rows = [
        {"task": "t", "draw": n, "count": count, "dice": 0.8, "drafts": [one] if count == 1 else []}
        for n, one in enumerate((draft, worse))
        for count in (1, 2)
    ]
    first, last, every = labelling_figures(rows)["cells"]
    assert (first["wrong_voxels"]["mean"], first["slices_to_correct"]["mean"]) == (20.0, 40.0)
    assert first["saved_slices"]["mean"] == 6 and first["wrong_voxels"]["count"] == 2
    assert last["drafts"] == 0 and last["dice"]["mean"] == pytest.approx(80)
    assert every["wrong_voxels"] == first["wrong_voxels"]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_spoil_a_label_changes_it_and_keeps_its_classes(way):
    label = disc(30, 6)
    label[:, :, :13] *= 2
    other = np.zeros((8, 24, 26), np.uint8)
    other[2:5, 3:9, 4:9], other[2:5, 12:20, 4:9] = 1, 2
    for seed in range(4):
        spoiled = WAYS[way](label, other, np.random.default_rng(seed))
        assert spoiled.shape == label.shape and spoiled.dtype == label.dtype
        assert (spoiled != label).sum() > 20 and set(np.unique(spoiled)) <= {0, 1, 2}


def test_what_is_found_is_counted_in_each_draw():
    spoiled = [{"case": "a", "way": "w", "rank": LOOKED_AT, "rank_by_dice": LOOKED_AT + 1}]
    found = spoiling_figures([{"source": "s", "spoiled": spoiled}, {"source": "s", "spoiled": spoiled * 2}])["cells"]
    assert [(c["found"], c["found_by_dice"], c["ways"]) for c in found] == [([1, 2], [0, 0], {"w": [LOOKED_AT] * 3})]


def test_a_framed_heart_is_in_the_middle_of_what_is_of_others_and_holds_no_heart():
    rng = np.random.default_rng(0)
    own, label = rng.uniform(1, 2, (3, 110, 110)), np.zeros((3, 110, 110), np.uint8)
    label[:, 50:60, 50:60] = 1
    others = [(100.0 * n + rng.uniform(0, 1, (4, 110, 110)), np.zeros((4, 110, 110), np.uint8)) for n in (3, 5, 7)]
    others[0][1][:, 0:5, 50:60] = 1
    wide, where = framed(own, label, others, rng)
    assert wide.shape == where.shape == (3, 110 + 2 * FRAME, 110 + 2 * FRAME)
    assert np.allclose(wide[:, FRAME:-FRAME, FRAME:-FRAME], own) and where.sum() == label.sum()
    assert (where[:, FRAME:-FRAME, FRAME:-FRAME] == label).all()
    # Bands are as bright as the volume itself, and of one with a structure there none is taken.
    frame = np.delete(wide[0], np.s_[FRAME:-FRAME], 0)
    assert 1.8 < frame.mean() < 2.1
    for _, structure in others:
        structure[:] = 1
    with pytest.raises(ValueError, match="outer band"):
        framed(own, label, others, rng)


def test_the_dice_of_a_round_is_that_of_what_it_found():
    volume, labels = _ellipsoids((12, 40, 40))
    truth, slices = labels == 1, [4, 6, 8]
    dice, _, _ = _round(InteractiveSession(volume), volume, truth, 0, slices)
    painted = _on(truth, 0, slices)
    annotation = sitk.GetImageFromArray(painted.astype(np.uint8))
    annotation.CopyInformation(volume)
    preview = InteractiveSession(volume).learn(annotation, [Plane(*plane) for plane in paintedSlices(painted)])
    assert dice == dice_of(preview.labels > 0, truth) > 0.8


SCRIPTS = sorted(path for room in ("benchmarks", "robustness") for path in BENCHMARKS.with_name(room).glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_uses_the_options_that_it_has(path):
    """No type tells what a parser gives, and a long benchmark is not run by any test."""
    tree = list(ast.walk(ast.parse(path.read_text())))
    calls = [node for node in tree if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"]
    names = [[a.value for a in call.args if isinstance(a, ast.Constant)] for call in calls]
    options = {next((n for n in own if n.startswith("--")), own[0]).strip("-").replace("-", "_") for own in names}
    used = {
        node.attr
        for node in tree
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "given"
    }
    assert used == options


def test_the_benchmarks_find_what_they_import_outside_the_application_and_its_tests():
    """What they take from the panel's side must come without Slicer's own Python modules."""
    modules = ", ".join(path.stem for path in SCRIPTS if path.parent == BENCHMARKS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (BENCHMARKS, MODULE)))}
    done = subprocess.run([sys.executable, "-c", f"import {modules}"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
