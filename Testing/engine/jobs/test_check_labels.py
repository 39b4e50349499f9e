"""Wrong labels are found by networks that have not seen them: two drawn structures, of which a few labels are spoiled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import binary_dilation

from hssl.configuration import Budget, CheckLabelsConfig, FinetuneConfig
from hssl.errors import ConfigurationError
from hssl.imaging.volumes import write_volume
from hssl.jobs.check_labels import check_labels, ranked
from hssl.results import Agreement, DoubtfulLabel
from hssl.workspace import scan, sources
from hssl.workspace.catalogue import Catalogue, LabelClass, Task

TASK, COUNT = "balls", 12
MOVED, GROWN, MISSING = "c03", "c06", "c09"


def ball(where) -> np.ndarray:
    k, j, i = np.mgrid[:12, :48, :48]
    return ((k - where[0]) * 2) ** 2 + (j - where[1]) ** 2 + (i - where[2]) ** 2 < 64


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A bright and a dark ball in noise; one label is a little beside them, one too large, and one lacks the dark ball."""
    folder = tmp_path_factory.mktemp("balls")
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        bright, dark = (ball(generator.integers([4, 14, x], [8, 34, x + 6])) for x in (10, 32))
        image = generator.normal(100, 15, bright.shape) + 80 * bright - 80 * dark
        name = f"c{number:02}"
        label = np.where(bright, 1, np.where(dark, 2, 0))
        if name == MOVED:
            label = np.roll(label, 4, 1)
        elif name == GROWN:
            bright, dark = (binary_dilation(one, np.ones((1, 3, 3)), 2) for one in (bright, dark))
            label = np.where(bright, 1, np.where(dark, 2, 0))
        elif name == MISSING:
            label[dark] = 0
        write_volume(sitk.GetImageFromArray(image.astype(np.float32)), folder / "scans" / "images" / f"{name}.nii.gz")
        write_volume(sitk.GetImageFromArray(label.astype(np.uint8)), folder / "scans" / "labels" / f"{name}.nii.gz")
    Catalogue.create(folder / "workspace")
    classes = [LabelClass(value=value, name=name) for value, name in enumerate(("bright", "dark"), 1)]
    scan.add(folder / "workspace", sources.find(folder / "scans"), Task(name=TASK, modality="MR", classes=classes))
    return folder / "workspace"


def asked(workspace, name: str, folds: int = 3) -> CheckLabelsConfig:
    recipe = FinetuneConfig(
        workspace=workspace, task=TASK, budget={"steps": 30}, device="cpu", patch_size=32, batch_size=4, planes="one",
        precision="float32",
    )  # fmt: skip
    return CheckLabelsConfig(finetune=recipe, folds=folds, name=name)


def test_the_spoiled_labels_come_first_and_no_network_has_seen_the_label_that_it_judges(workspace):
    events: list = []

    def after_the_first_fold() -> bool:
        return any(e.event == "metrics" and any(name.startswith("dice c") for name in e.values) for e in events)

    half = check_labels(asked(workspace, "one"), events.append, after_the_first_fold)
    assert half.stopped and len(half.result.rows) == COUNT // 3
    done = check_labels(asked(workspace, "one"))
    rows = done.result.rows
    assert len(rows) == COUNT and {row.id for row in rows[:4]} > {MOVED, GROWN, MISSING}
    reasons = {row.id: row.reason for row in rows}
    assert reasons[MISSING].startswith("dark: Dice 0.00")
    assert [row.doubt for row in rows] == sorted((row.doubt for row in rows), reverse=True)
    for row in rows:
        assert row.id not in json.loads((row.run / "config.json").read_text())["cases"]


def test_without_a_name_a_stopped_check_goes_on_and_after_a_correction_a_new_one_begins(workspace, tmp_path):
    copy = Path(shutil.copytree(workspace, tmp_path / "workspace" / workspace.name))
    shutil.copytree(workspace.parent / "scans", tmp_path / "workspace" / "scans")
    calls: list = []

    def after_the_first_fold() -> bool:
        return any(e.event == "metrics" and any(name.startswith("dice c") for name in e.values) for e in calls)

    short = asked(copy, "")
    short = short.model_copy(update={"finetune": short.finetune.model_copy(update={"budget": Budget(steps=2)})})
    half = check_labels(short, calls.append, after_the_first_fold)
    assert half.stopped
    copy = copy.parent.rename(tmp_path / "moved") / copy.name
    short = short.model_copy(update={"finetune": short.finetune.model_copy(update={"workspace": copy})})
    whole = check_labels(short)
    assert all((row.run / "best.pt").is_file() for row in whole.result.rows)
    assert whole.result.folder.name == half.result.folder.name and whole.result.rows[0].id in {
        row.id for row in whole.result.rows
    }
    assert {row.id for row in half.result.rows} < {row.id for row in whole.result.rows}
    again = check_labels(short, stop=lambda: True)
    assert again.stopped and again.result.folder.name == f"{whole.result.folder.name}-2", "a check looks again"
    with Catalogue.editing(copy) as catalogue:
        catalogue.usable(TASK, labelled=True)[0].label_stamp = "corrected since"
    other = check_labels(short, stop=lambda: True)
    assert other.result.folder.name == f"{whole.result.folder.name}-3", "nothing is kept of what others were judged by"
    with pytest.raises(ConfigurationError, match="started with another labels"):
        check_labels(short.model_copy(update={"name": again.result.folder.name}))


def test_too_few_patients_for_the_folds_are_told(workspace):
    with pytest.raises(ConfigurationError, match="too few for 13 folds"):
        check_labels(asked(workspace, "many", folds=13))


def row(id: str, fold: int = 1, **classes: tuple[float | None, float | None, float | None]) -> DoubtfulLabel:
    named = {
        name: Agreement(dice=dice, distance_mm=distance, size=size) for name, (dice, distance, size) in classes.items()
    }
    return DoubtfulLabel(id=id, fold=fold, dice=0.5, measures=named, run="run")


def even(count: int, seed: int = 0) -> list[DoubtfulLabel]:
    """Labels of an easy structure and of one that is hard to find."""
    rng = np.random.default_rng(seed)
    return [
        row(
            f"c{n:02}",
            easy=(
                0.92 + 0.01 * rng.standard_normal(),
                0.5 + 0.05 * rng.standard_normal(),
                0.03 * rng.standard_normal(),
            ),
            hard=(rng.uniform(0.2, 0.8), rng.uniform(1, 6), -0.4 + 0.3 * rng.standard_normal()),
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        ((0.88, 1.5, 0.0), "easy: 1.5 mm from what was learned"),
        ((0.88, 0.6, 0.35), "easy: +42 % of what was learned in size"),
    ],
)
def test_an_easy_structure_that_is_wrong_is_not_hidden_by_a_hard_one(spoiled, reason):
    rows = even(39)
    rows.insert(20, row("wrong", easy=spoiled, hard=(0.6, 2.0, -0.4)))
    found = ranked(rows)
    assert found[0].id == "wrong" and found[0].reason.startswith(reason), found[0]
    means = {r.id: np.mean([m.dice for m in r.measures.values()]) for r in rows}
    hidden = sorted(means, key=means.__getitem__).index("wrong")
    assert hidden > 0, "the mean Dice would have found it too"


def test_a_network_that_has_learned_little_makes_no_label_doubtful():
    rng = np.random.default_rng(1)
    good = [row(f"g{n}", 1, a=(0.9 + 0.01 * rng.standard_normal(), 0.5, 0.0)) for n in range(8)]
    poor = [row(f"p{n}", 2, a=(0.3 + 0.05 * rng.standard_normal(), 5.0, 0.9)) for n in range(8)]
    found = ranked([*good, *poor, row("wrong", 1, a=(0.75, 1.2, 0.3))])
    assert found[0].id == "wrong" and found[0].doubt > 2 * found[1].doubt
    assert max(r.doubt for r in found if r.id.startswith("p")) < 4


def test_what_all_labels_share_is_no_fault_and_what_cannot_be_measured_is_not_doubted():
    small = [row(f"c{n}", a=(0.7, 2.0, -0.5)) for n in range(5)]
    found = ranked([*small, row("right size", a=(0.7, 2.0, 0.0)), row("empty", a=(None, None, None))])
    assert found[0].id == "right size" and found[0].doubt == pytest.approx(10)
    assert [r.doubt for r in found[1:]] == [0.0] * 6
    assert found[-1].reason == "nothing of it could be compared"
    assert ranked([]) == []


@pytest.mark.parametrize("in_a_fold", [1, 2])
def test_a_wrong_label_is_found_where_a_network_judges_it_alone_or_beside_one_other(in_a_fold):
    good = [row(f"g{n}", n // in_a_fold, a=(0.9 + 0.01 * n, 0.5, 0.02 * n)) for n in range(4)]
    found = ranked([row("wrong", 9, a=(0.6, 3.0, 0.6)), *good])
    assert found[0].id == "wrong" and found[0].doubt > 5 and max(r.doubt for r in found[1:]) < 2
    assert found[0].reason == "a: 3.0 mm from what was learned, most labels 0.5 mm"
    pair = ranked([row("right", 1, a=(0.9, 0.5, 0.0)), row("too large", 1, a=(0.85, 0.5, 0.5)), *good])
    assert pair[0].id == "too large" and pair[0].doubt > 4 * max(r.doubt for r in pair[1:])
