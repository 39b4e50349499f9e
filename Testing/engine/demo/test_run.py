"""The whole demo, on tiny scans and for seconds; it is stopped once on its way, and goes on."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.demo.painted import FILLED, INTERPOLATED, interpolated
from hssl.demo.run import LABELLED, PHASES, TASK, run_demo
from hssl.events import Event, Phase
from hssl.results import DemoResult
from hssl.workspace.catalogue import Catalogue

WAYS = (FILLED, INTERPOLATED)


class Ran(NamedTuple):
    result: DemoResult
    events: list[Event]
    """Of the part after the stop."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Ran:
    folder = tmp_path_factory.mktemp("demo")
    phases: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, Phase):
            phases.append(event.name)

    stopped = run_demo(folder, watch, lambda: "pretraining" in phases, minutes=0.05, size="tiny")
    assert stopped.stopped and tuple(phases) == PHASES[:2] and not (folder / "report.html").exists()
    scan = next((folder / "workspace").rglob("*_001.nii.gz"))
    written = scan.stat().st_mtime_ns
    events: list[Event] = []
    done = run_demo(folder, events.append, minutes=0.05, size="tiny")
    assert not done.stopped and scan.stat().st_mtime_ns == written
    return Ran(done.result, events)


def test_the_phases_come_in_order_and_the_result_last(demo):
    assert tuple(e.name for e in demo.events if e.event == "phase") == PHASES
    assert "done" not in {e.event for e in demo.events}


def test_there_is_a_report_with_both_starts_and_pictures(demo):
    page = demo.result.report.read_text()
    assert "% pretrained" in page and "% from scratch" in page
    assert page.count('<figure class="slices">') >= 1
    assert "3 painted slices of each structure" in page and "% HSSL" in page
    assert page.index("% HSSL") < page.index("% pretrained")
    top = page[page.index('class="figures"') : page.index("<section>")]
    assert "3 painted slices" in top and "start from scratch" not in top
    assert "no prediction for" not in page


def test_painted_slices_are_filled_on_test_cases_as_they_were_painted(demo):
    workspace = demo.result.workspace
    files = {way: sorted((workspace / "predictions" / "slices" / way).glob("*.nii.gz")) for way in WAYS}
    assert files[FILLED] and [p.name for p in files[FILLED]] == [p.name for p in files[INTERPOLATED]]
    for path in files[FILLED]:
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(workspace / "predictions" / "truth" / path.name)))
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        for value in np.unique(truth[truth > 0]):
            axis = int(np.argmax(sitk.ReadImage(str(path)).GetSpacing()[::-1]))
            there = np.flatnonzero((truth == value).any(tuple(a for a in range(3) if a != axis)))
            first = np.moveaxis(truth == value, axis, 0)[there[0]]
            assert set(np.unique(np.moveaxis(found, axis, 0)[there[0]][first])) >= {value}
    assert set(WAYS) <= set(demo.result.dice)


def test_a_ball_is_interpolated_between_its_slices_and_not_beyond_them():
    z, y, x = np.mgrid[:21, :21, :21] - 10
    ball = z**2 + y**2 + x**2 <= 64
    found = interpolated(ball, 0, [2, 10, 18], (1.0, 1.0, 1.0))
    assert not found[:2].any() and not found[19:].any()
    assert (found[[2, 10, 18]] == ball[[2, 10, 18]]).all()
    assert 0.6 < 2 * (found & ball).sum() / (found.sum() + ball.sum()) < 1
    turned = interpolated(ball.transpose(1, 0, 2), 1, [2, 10, 18], (1.0, 1.0, 1.0))
    assert (turned == found.transpose(1, 0, 2)).all()


def test_test_cases_are_seen_by_no_training(demo):
    result = demo.result
    runs = result.workspace / "runs"
    tested = {path.name.removesuffix(".nii.gz") for path in (runs.parent / "predictions" / "truth").glob("*.gz")}
    pretraining = json.loads((runs / "pretraining" / "config.json").read_text())
    assert tested and tested <= set(pretraining["exclude"])
    for row in result.rows:
        assert not tested & set(row.cases) and len(row.cases) <= LABELLED


def test_both_starts_had_the_same_cases_and_predictions_lie_on_the_sources_grids(demo):
    result = demo.result
    assert {r.start for r in result.rows} == {"scratch", "pretrained"}
    assert len({tuple(sorted(r.cases)) for r in result.rows}) == 1
    workspace = result.workspace
    catalogue = Catalogue.load(workspace)
    for path in (workspace / "predictions" / "pretrained").glob("*.nii.gz"):
        source = catalogue.image_path(catalogue.image(path.name.removesuffix(".nii.gz")))
        one, other = (sitk.ReadImage(str(p)) for p in (path, source))
        assert one.GetSize() == other.GetSize()
        assert one.GetSpacing() == pytest.approx(other.GetSpacing())
        assert one.GetDirection() == pytest.approx(other.GetDirection(), abs=1e-5)


def test_every_task_is_in_the_catalogue_with_its_group_and_classes(demo):
    catalogue = Catalogue.load(demo.result.workspace)
    assert len(catalogue.tasks) >= 3 and not catalogue.refused
    task = catalogue.task(TASK)
    assert task.group == "brain MR" and [c.name for c in task.classes][0] == "lateral ventricle"
    assert task.classes[0].terminology
