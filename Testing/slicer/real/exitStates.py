"""Inside Slicer: brings the application into a state, closes it as its user does, and answers what is asked. See `run.py`."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

import qt

import slicer

PATIENCE = 300.0

sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
from waiting import settle, wait  # noqa: E402


class Exit:
    """One state, and the answers to the questions that come when the window is closed.

    Args:
        report: file that says what was asked.
        python: Python for the jobs.
    """

    def __init__(self, report: Path, python: str):
        self._report, self._python = report, python
        self.asked: list[str] = []
        self.problems: list[str] = []
        self._answers: list[str] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(200)
        self._timer.connect("timeout()", self._answer)
        self._timer.start()

    def write(self) -> None:
        self._report.write_text(json.dumps({"asked": self.asked, "problems": self.problems}), encoding="utf-8")

    def close(self, *answers: str) -> None:
        """Closes the main window; the texts of the buttons that are pressed in the questions that follow."""
        self._answers = list(answers)
        slicer.util.mainWindow().close()
        settle(0.5)
        if self._answers:
            self.problems.append(f"never asked what {self._answers} would have answered; asked {self.asked}")
        self.write()

    def _answer(self) -> None:
        for box in slicer.app.topLevelWidgets():
            if box.className() not in ("QMessageBox", "ctkMessageBox") or not box.isVisible():
                continue
            self.asked.append(box.text)
            wanted = self._answers.pop(0) if self._answers else ""
            buttons = {button.text.replace("&", ""): button for button in box.buttons()}
            button = next((b for text, b in buttons.items() if wanted and text.startswith(wanted)), None)
            if button is None:
                self.problems.append(f"{box.text!r} has no answer {wanted!r}: {list(buttons)}")
                box.reject()
            else:
                button.click()
            self.write()
            return

    # States -------------------------------------------------------------------------------------------------------

    def job(self) -> None:
        """A pretraining runs: No keeps it, Yes and then Slicer's own Cancel too (P8), Yes and Exit end it resumably."""
        from HSSLSegmentationLib import settings

        settings.setValue("python", self._python)
        slicer.util.selectModule("HSSLSegmentation")
        settle(1.0)
        widget = slicer.util.getModuleWidget("HSSLSegmentation")
        panel, workspace = widget.panel, self._report.parent / "my scans"
        widget.logic.createSampleWorkspace(workspace, size="tiny")
        panel.dataset.ui.workspaceEdit.setCurrentPath(str(workspace))
        settle(0.5)
        panel.parameterNode.pretrainMinutes = 30.0
        settle(0.5)
        panel.pretrain.ui.startButton.click()
        wait(lambda: panel.job.losses or not panel.job.isRunning(), PATIENCE)
        self.expect(panel.job.isRunning(), f"the job did not run: {panel.job.error}")
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "something that is not saved")
        self.close("No")
        self.expect(panel.job.state == "running", "No stopped the job")
        self.close("Yes", "Cancel")
        self.expect(panel.job.state == "running", "a cancelled exit stopped the job")
        self.close("Yes", "Exit")

    def effect(self) -> None:
        """The tool is open."""
        self._editor()
        self.close("Exit")

    def round(self) -> None:
        """A round is learned."""
        controller = self._editor()
        controller.options.startButton.click()
        self.expect(controller.session is not None and controller.session.busy, "no round runs")
        self.close("Exit")

    def preview(self) -> None:
        """A preview is shown."""
        controller = self._editor()
        controller.options.startButton.click()
        wait(lambda: not controller.session.busy, PATIENCE)
        settle(0.5)
        names = [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
        self.expect("HSSL preview" in names, f"there is no preview: {controller.options.statusLabel.text}")
        self.close("Exit")

    def _editor(self):
        from HSSLEffectTest import HSSLEffectTest

        from HSSLSegmentationLib import settings

        settings.setValue("python", self._python)
        case = HSSLEffectTest("test_1_without_segments_the_effect_cannot_be_chosen")
        case.setUp()
        case.paintSlices(case.addSegment(), case.truth)
        return case.openEffect()

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.problems.append(otherwise)
            self.write()


def main() -> None:
    report, state, python = Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
    slicer.util.getModule("HSSLSegmentation")
    case = Exit(report, python)
    try:
        getattr(case, state)()
        # The window is closed; what remains would keep the application alive.
        qt.QTimer.singleShot(60000, lambda: slicer.util.exit(2))
    except Exception:
        traceback.print_exc()
        case.problems.append("an error, see the log")
        case.write()
        slicer.util.exit(1)


qt.QTimer.singleShot(2000, main)
