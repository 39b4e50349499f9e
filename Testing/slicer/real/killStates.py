"""Inside Slicer: works until it is killed, or kills the engine's processes while they work. See `kills.py`."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import qt

import slicer

PATIENCE = 120.0
"""Seconds for anything to begin or to end; the longest round of these takes some ten."""
FOREVER = 600.0

sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
from waiting import settle, wait  # noqa: E402


class Work:
    """What is killed.

    Args:
        report: file that says how far it is: `{"pid": …, "at_work": …, "run": …, "problems": […], "killed": {…}}`.
        python: Python for the jobs.
        workspace: has a fine-tuned run.
        scene: where the scene is saved before the work begins.
    """

    def __init__(self, report: Path, python: str, workspace: Path, scene: Path):
        from HSSLSegmentationLib import settings

        self._report, self._workspace, self._scene = report, workspace, scene
        self.told: dict = {"pid": os.getpid(), "at_work": False, "run": "", "problems": [], "killed": {}}
        settings.setValue("python", python)

    def tell(self, **values) -> None:
        self.told.update(values)
        temporary = self._report.with_suffix(".part")
        temporary.write_text(json.dumps(self.told), encoding="utf-8")
        temporary.replace(self._report)

    def expect(self, holds: object, otherwise: str) -> None:
        if not holds:
            self.tell(problems=[*self.told["problems"], otherwise])

    # The application is killed in these --------------------------------------------------------------------------

    def pretrain(self) -> None:
        panel = self._panel()
        panel.parameterNode.pretrainMinutes, panel.parameterNode.pretrainSteps = 30.0, 0
        settle()
        panel.pretrain.ui.startButton.click()
        self._train(panel.job)

    def fineTune(self) -> None:
        panel = self._panel()
        panel.parameterNode.fineTuneMinutes, panel.parameterNode.fineTuneSteps = 30.0, 0
        settle()
        panel.fineTune.ui.startButton.click()
        self._train(panel.job)

    def _train(self, job) -> None:
        self.tell(at_work=True, run=str(job.run))
        wait(lambda: not job.isRunning(), FOREVER)
        self.expect(False, f"the training ended by itself: {job.state} {job.error}")

    def segment(self) -> None:
        from HSSLSegmentationLib.scene import pictures

        panel = self._panel()
        ids = [i.id for i in panel.catalogue.usable(panel.catalogue.tasks[0].name)[:2]]
        self.tell(at_work=True)
        end = time.monotonic() + FOREVER
        while time.monotonic() < end:
            for id in ids:
                panel.parameterNode.inputVolume = pictures.show(panel.catalogue, id)
                settle()
                panel.segment.ui.startButton.click()
                wait(lambda: not panel.job.isRunning(), PATIENCE)
                self.expect(panel.job.state == "done", f"the segmentation failed: {panel.job.error}")

    def round(self) -> None:
        controller = self._editor()
        self.tell(at_work=True)
        end = time.monotonic() + FOREVER
        while time.monotonic() < end:
            self._round(controller)
            controller.options.applyButton.click()
            wait(lambda: not controller.session.busy, PATIENCE)
            settle()

    # The engine's processes are killed by these ------------------------------------------------------------------

    def worker(self, count: int, seed: int) -> None:
        """Kills the worker at random moments of rounds; every fourth time the next round is waited for."""
        from HSSLSegmentationLib.effect import worker as workers

        controller, draw = self._editor(), random.Random(seed)
        segmentId = self.case.editor.currentSegmentID()
        began = time.monotonic()
        self._round(controller)
        longest = time.monotonic() - began
        painted = self.case.where(segmentId)
        for number in range(count):
            controller.options.startButton.click()
            settle(draw.uniform(0, longest))
            session, process = controller.session, workers._shared._engine._process
            moment = session.phase or "start" if session.busy else "idle"
            os.kill(process.processId(), signal.SIGKILL)
            wait(lambda w=workers: w._shared is None or not w._shared.isAlive(), PATIENCE)
            settle()
            self.expect(not session.busy, f"kill {number}: the round never ended")
            self.expect(
                moment == "idle" or "killed" in session.problem, f"kill {number} is not told: {session.problem!r}"
            )
            self.expect((self.case.where(segmentId) == painted).all(), f"kill {number} changed a segment")
            self._count(moment)
            if number % 4 == 3:
                self._round(controller)

    def job(self, count: int, seed: int) -> None:
        """Kills the process of a pretraining at random moments, and goes on with it."""
        panel, draw = self._panel(), random.Random(seed)
        panel.parameterNode.pretrainMinutes, panel.parameterNode.pretrainSteps = 30.0, 0
        settle()
        panel.pretrain.ui.startButton.click()
        for number in range(count):
            job = panel.job
            wait(lambda job=job: job.losses or not job.isRunning(), PATIENCE)
            settle(draw.uniform(0, 3))
            if number % 2:  # a stopped training keeps a checkpoint, from which the next one goes on
                job.stop()
                wait(lambda job=job: not job.isRunning(), PATIENCE)
                self.expect(job.state == "stopped" and job.canResume(), f"stop {number}: {job.state} {job.error}")
                panel.job = job.resume()
                continue
            moment = job.phase
            os.kill(job._engine._process.processId(), signal.SIGKILL)
            wait(lambda job=job: not job.isRunning(), PATIENCE)
            self.expect(job.state == "failed" and job.error, f"kill {number}: {job.state} {job.error!r}")
            self._count(moment)
            panel.job = job.resume()
        panel.job.stop()
        wait(lambda: not panel.job.isRunning(), PATIENCE)
        self.expect(panel.job.state == "stopped", f"the last training: {panel.job.state} {panel.job.error}")

    def _count(self, moment: str) -> None:
        killed = self.told["killed"]
        killed[moment] = killed.get(moment, 0) + 1
        self.tell()

    # Ways to the work --------------------------------------------------------------------------------------------

    def _panel(self):
        from HSSLSegmentationLib.scene import pictures

        slicer.util.selectModule("HSSLSegmentation")
        settle(0.5)
        panel = slicer.util.getModuleWidget("HSSLSegmentation").panel
        panel.dataset.ui.workspaceEdit.setCurrentPath(str(self._workspace))
        settle(0.5)
        catalogue = panel.catalogue
        pictures.show(catalogue, catalogue.usable(catalogue.tasks[0].name)[0].id)
        self._save()
        return panel

    def _editor(self):
        from HSSLEffectTest import HSSLEffectTest

        self.case = HSSLEffectTest("test_1_without_segments_the_effect_cannot_be_chosen")
        self.case.setUp()
        self.case.paintSlices(self.case.addSegment(), self.case.truth)
        self._save()
        return self.case.openEffect()

    def _save(self) -> None:
        self.expect(slicer.util.saveScene(str(self._scene)), "the scene cannot be saved")

    def _round(self, controller) -> None:
        controller.options.startButton.click()
        wait(lambda: not controller.session.busy, PATIENCE)
        settle()
        self.expect(
            not controller.session.problem and self.case.preview() is not None,
            f"a round gave nothing: {controller.session.problem}",
        )


def main() -> None:
    report, state, python, workspace, scene = Path(sys.argv[1]), *sys.argv[2:4], *map(Path, sys.argv[4:6])
    numbers = [int(text) for text in sys.argv[6:]]
    slicer.util.getModule("HSSLSegmentation")
    work = Work(report, python, workspace, scene)
    try:
        getattr(work, state)(*numbers)
    except Exception:
        work.expect(False, traceback.format_exc().split("\n", 1)[1])
    work.tell(at_work=False)
    slicer.util.exit(1 if work.told["problems"] else 0)


qt.QTimer.singleShot(2000, main)
