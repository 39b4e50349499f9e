"""A job as a section shows it: progress, what it is doing, its curves, Stop and Resume, and its log."""

import time
from collections.abc import Callable

from slicer.i18n import tr as _

import slicer

from ..jobs.job import Job
from . import wording
from .plots import Curves

SECONDS_BETWEEN_PLOTS = 1.0


class JobView:
    """Shows one job at a time; hidden until there is one.

    Args:
        resourcePath: finds the .ui file.
        resume: called with the job when the user wants to go on with it.
        told: the section's observer of the jobs that are shown here.
    """

    def __init__(
        self,
        resourcePath: Callable[[str], str],
        resume: Callable[[Job], None],
        told: Callable[[Job, object], None],
    ):
        self.told = told
        self.job: Job | None = None
        self.curves: dict[str, Curves] = {}
        self._resume = resume
        self._plotViewNode = None
        self._lastPlot = 0.0
        self._linesShown: tuple = ()
        self.widget = slicer.util.loadUI(resourcePath("UI/Job.ui"))
        self.ui = ui = slicer.util.childWidgetVariables(self.widget)
        ui.stopButton.connect("clicked(bool)", self.onStop)
        ui.resumeButton.connect("clicked(bool)", self.onResume)
        ui.logButton.connect("toggled(bool)", self.onLog)
        ui.layoutButton.connect("clicked(bool)", self.onLayout)
        for widget in (ui.plotView, ui.layoutButton, ui.logEdit, self.widget):
            widget.setVisible(False)

    def show(self, job: Job) -> None:
        """Shows this job from now on."""
        self.forget()
        self.job = job
        job.addObserver(self._told)
        self._linesShown = ()
        self.widget.setVisible(True)
        self.update()

    def forget(self) -> None:
        """Lets go of the job; its nodes in the scene stay, they belong to the user."""
        if self.job is not None:
            self.job.removeObserver(self._told)
            self.job = None
        self.curves = {}

    def sceneCloses(self) -> None:
        """Lets go of the nodes that are about to vanish."""
        self.curves = {}
        self._releasePlot()

    def release(self) -> None:
        """Lets go of everything."""
        self.forget()
        self._releasePlot()

    def _told(self, job: Job, event) -> None:
        if event is not None and event.event == "losses":
            self._curves("losses", _("What remains to be learned"), _("Loss")).add(
                event.step, self._named(event.values)
            )
        elif event is not None and event.event == "metrics":
            self._curves("metrics", _("Dice on held-out cases"), _("Dice")).add(event.step, self._named(event.values))
        if event is None or event.event in ("done", "failed", "phase"):
            self.update()

    def update(self) -> None:
        """Shows how the job stands."""
        job, ui = self.job, self.ui
        running = job.isRunning()
        ui.progressBar.setVisible(running)
        ui.progressBar.setValue(round(job.progress * 1000))
        ui.statusLabel.text = wording.state(job)
        # Red is for what went wrong; the text says it too.
        ui.statusLabel.styleSheet = "color: #c0392b" if job.state == "failed" else ""
        ui.stopButton.setVisible(running)
        ui.stopButton.enabled = job.state == "running"
        ui.stopButton.text = _("Stop") if job.state == "running" else _("Stopping…")
        ui.resumeButton.setVisible(job.canResume())
        if ui.logButton.checked and tuple(job.lastLines) != self._linesShown:
            self._linesShown = tuple(job.lastLines)
            ui.logEdit.setPlainText("\n".join(job.lastLines))
            bar = ui.logEdit.verticalScrollBar()
            bar.setValue(bar.maximum)
        now = time.monotonic()
        if now - self._lastPlot >= SECONDS_BETWEEN_PLOTS or not running:
            self._lastPlot = now
            for curves in self.curves.values():
                if curves.show():
                    self._showPlot(curves)

    def onStop(self) -> None:
        if self.job is not None:
            self.job.stop()

    def onResume(self) -> None:
        if self.job is not None and self.job.canResume():
            self._resume(self.job)

    def onLog(self, shown: bool) -> None:
        self.ui.logEdit.setVisible(shown)
        self._linesShown = ()
        if self.job is not None:
            self.update()

    def onLayout(self) -> None:
        for curves in self.curves.values():
            if curves.isInScene():
                curves.showInLayout()
                return

    def _curves(self, key: str, title: str, yTitle: str) -> Curves:
        if key not in self.curves or not self.curves[key].isInScene():
            hidden = (wording.curve("total"),)
            self.curves[key] = Curves(f"{wording.job(self.job.kind)}: {title}", yTitle, hidden=hidden)
        return self.curves[key]

    def _showPlot(self, curves: Curves) -> None:
        # The first chart stays: the Dice of a fine-tuning comes later and is looked at in the views or the table.
        if self._plotViewNode is None:
            self._plotViewNode = slicer.vtkMRMLPlotViewNode()
            self._plotViewNode.SetName("HSSL")
            self._plotViewNode.SetLayoutName(f"HSSL {id(self)}")
            self._plotViewNode.SetHideFromEditors(True)
            self._plotViewNode.SetSaveWithScene(False)
            slicer.mrmlScene.AddNode(self._plotViewNode)
            self.ui.plotView.setMRMLScene(slicer.mrmlScene)
            self.ui.plotView.setMRMLPlotViewNode(self._plotViewNode)
        self._plotViewNode.SetPlotChartNodeID(curves.chart.GetID())
        self.ui.plotView.setVisible(True)
        self.ui.layoutButton.setVisible(True)
        self.ui.plotView.fitToContent()

    def _releasePlot(self) -> None:
        self.ui.plotView.setVisible(False)
        self.ui.layoutButton.setVisible(False)
        if self._plotViewNode is not None:
            self.ui.plotView.setMRMLPlotViewNode(None)
            if slicer.mrmlScene.IsNodePresent(self._plotViewNode):
                slicer.mrmlScene.RemoveNode(self._plotViewNode)
            self._plotViewNode = None

    @staticmethod
    def _named(values: dict[str, float]) -> dict[str, float]:
        return {wording.curve(name): value for name, value in values.items()}
