"""A learning curve: folds that share no patient, fewer labels within more, and a verdict that follows from the figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.configuration import CheckLabelsConfig, FinetuneConfig, LearningCurveConfig
from hssl.errors import ConfigurationError, OutputError
from hssl.imaging.volumes import write_volume
from hssl.jobs.check_labels import check_labels
from hssl.jobs.finetune import finetune
from hssl.jobs.learning_curve import conclusion, learning_curve
from hssl.results import FoldTrial
from hssl.workspace import scan, sources
from hssl.workspace.catalogue import Catalogue, LabelClass, Task

TASK, COUNT = "ball", 4


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Bright balls at random places in noise."""
    folder = tmp_path_factory.mktemp("curve")
    generator = np.random.default_rng(0)
    k, j, i = np.mgrid[:12, :48, :48]
    for number in range(COUNT):
        centre = generator.integers([4, 14, 14], [8, 34, 34])
        ball = ((k - centre[0]) * 2) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2 < 64
        image = generator.normal(100, 15, ball.shape) + 80 * ball
        for where, values in (("images", image.astype(np.float32)), ("labels", ball.astype(np.uint8))):
            write_volume(sitk.GetImageFromArray(values), folder / "scans" / where / f"c{number}.nii.gz")
    Catalogue.create(folder / "workspace")
    task = Task(name=TASK, modality="MR", classes=[LabelClass(value=1, name="ball")])
    scan.add(folder / "workspace", sources.find(folder / "scans"), task)
    return folder / "workspace"


def asked(
    workspace, name: str, start: str = "scratch", steps: int = 6, teacher: str = "", **values
) -> LearningCurveConfig:
    recipe = FinetuneConfig(
        workspace=workspace,
        task=TASK,
        start=start,
        budget={"steps": steps},
        device="cpu",
        patch_size=32,
        teacher=teacher,
    )
    return LearningCurveConfig(finetune=recipe, name=name, **values)


def rows_of(dice: dict[int, list[float | None]]) -> list[FoldTrial]:
    return [
        FoldTrial(count=count, fold=fold, dice=value, classes={"ball": value}, minutes=1.0, steps=9)
        for count, values in dice.items()
        for fold, value in enumerate(values, 1)
    ]


def test_every_image_is_held_out_once_and_fewer_labels_lie_within_more(workspace):
    events: list = []

    def after_the_first() -> bool:
        return any(e.event == "metrics" for e in events)

    half = learning_curve(asked(workspace, "one", folds=2), events.append, after_the_first)
    assert half.stopped and [(r.fold, r.count) for r in half.result.rows] == [(1, 1)]
    trained: dict[tuple[str, int], list[str]] = {}

    def follow(event) -> None:
        for path in (workspace / "runs").glob("one-fold-*/result.json"):
            _, _, fold, count = path.parent.name.split("-")
            trained[fold, int(count)] = json.loads(path.read_text())["cases"]

    done = learning_curve(asked(workspace, "one", folds=2), follow)
    rows = done.result.rows
    assert rows[0] == half.result.rows[0]
    assert [(r.fold, r.count, len(r.cases)) for r in rows] == [(1, 1, 2), (1, 2, 2), (2, 1, 2), (2, 2, 2)]
    assert {id for r in rows if r.count == 1 for id in r.cases} == {f"c{n}" for n in range(COUNT)}
    assert set(trained["2", 1]) < set(trained["2", 2])
    assert not set(trained["2", 2]) & set(rows[-1].cases)
    assert done.result.text == conclusion(rows).text
    assert {p.count: p.dice.count for p in done.result.points} == {1: 2, 2: 2}
    folder = workspace / "curves" / "one"
    assert json.loads((folder / "curve.json").read_text())["verdict"] == done.result.verdict
    assert (folder / "curve.png").stat().st_size > 1000
    assert not list((workspace / "runs").glob("one-*")), "the trainings of a curve are of no use to anybody"
    with pytest.raises(ConfigurationError, match="this learning curve was started with another recipe"):
        learning_curve(asked(workspace, "one", folds=2, steps=7))


@pytest.mark.parametrize("what", ["start", "teacher"])
def test_a_start_or_teacher_that_has_learned_from_the_labels_is_refused(workspace, what):
    recipe = FinetuneConfig(
        workspace=workspace, task=TASK, case_count=1, budget={"steps": 1}, device="cpu", patch_size=32, run="known"
    )
    case = finetune(recipe).result.cases[0]
    with pytest.raises(ConfigurationError, match=f"known has learned from labels of 1 of the {COUNT} images \\({case}"):
        learning_curve(asked(workspace, "cheat", **{what: "known"}))
    with pytest.raises(ConfigurationError, match="known has learned"):
        check_labels(CheckLabelsConfig(finetune=asked(workspace, "", **{what: "known"}).finetune, folds=2))
    assert not (workspace / "curves" / "cheat").exists()


def test_what_cannot_be_asked_is_told(workspace):
    with pytest.raises(ConfigurationError, match="3 labels are asked for, and the folds leave 2"):
        learning_curve(asked(workspace, "many", folds=2, case_counts=[1, 3]))
    few = asked(workspace, "few")
    few.finetune.exclude = ["c0", "c1"]
    with pytest.raises(ConfigurationError, match="labels of 2 patients, too few for a learning curve"):
        learning_curve(few)
    mine = workspace / "curves" / "mine"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="no learning curve of HSSL"):
        learning_curve(asked(workspace, "mine"))


def test_without_a_budget_the_trainings_are_short(tmp_path):
    recipe = FinetuneConfig(workspace=tmp_path, task=TASK)
    assert LearningCurveConfig(finetune=recipe).finetune.budget.steps == 200
    none = {"workspace": tmp_path, "task": TASK, "budget": {"minutes": None, "steps": None}}
    assert CheckLabelsConfig.checked({"finetune": none}).finetune.budget.steps == 200
    own = FinetuneConfig(workspace=tmp_path, task=TASK, budget={"minutes": 5})
    assert LearningCurveConfig(finetune=own).finetune.budget.minutes == 5


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        ([0.80, 0.81, 0.79, 0.82], "yes"),
        ([0.70, 0.705, 0.701, 0.702], "hardly"),
        ([0.60, 0.61, 0.60, 0.60], "hardly"),
        ([0.90, 0.50, 0.85, 0.70], "unclear"),
        ([0.80, None, None, None], "unclear"),
    ],
)
def test_the_verdict_follows_from_the_last_two_numbers_of_labels(last, verdict):
    found = conclusion(rows_of({1: [0.2] * 4, 2: [0.70, 0.70, 0.70, 0.70], 4: last}))
    assert found.verdict == verdict
    assert (found.gain.before, found.gain.after) == (2, 4)
    known = [value - 0.7 for value in last if value is not None]
    assert found.gain.dice.mean == pytest.approx(np.mean(known))
    assert f"{100 * np.mean(known):+.1f} points" in found.text
    assert found.points[0].classes == {"ball": pytest.approx(0.2)}


def test_labels_in_which_nothing_could_be_measured_are_told():
    with pytest.raises(ConfigurationError, match="no held-out image"):
        conclusion(rows_of({1: [0.5, None], 2: [None, None]}))
