"""A job as a section shows it: progress, what it is doing, its curves, Stop and Resume, and its log."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

import slicer

from .. import colors, wording
from ..jobs.job import Job
from .plots import Curves

if TYPE_CHECKING:
    from hssl.results import CurvePoint

SECONDS_BETWEEN_PLOTS = 1.0
PLOT_HEIGHT = 240
POINTS_OF_A_CURVE = 2


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
        self._plotView: Any = None
        self._plotViewNode: Any = None
        self._lastPlot = 0.0
        self._linesShown: tuple = ()
        self.widget = slicer.util.loadUI(resourcePath("UI/Job.ui"))
        self.ui = ui = slicer.util.childWidgetVariables(self.widget)
        ui.stopButton.connect("clicked(bool)", self.onStop)
        ui.resumeButton.connect("clicked(bool)", self.onResume)
        ui.logButton.connect("toggled(bool)", self.onLog)
        ui.layoutButton.connect("clicked(bool)", self.onLayout)
        for widget in (ui.plotHolder, ui.legendLabel, ui.layoutButton, ui.logEdit, self.widget):
            widget.setVisible(False)

    def show(self, job: Job) -> None:
        """Shows this job from now on."""
        self.forget()
        self.job = job
        job.addObserver(self._told)
        self._linesShown = ()
        self.widget.setVisible(True)
        self._showEarlier(job)
        self.update()

    def forget(self) -> None:
        """Lets go of the job; its nodes in the scene stay, they belong to the user."""
        if self.job is not None:
            self.job.removeObserver(self._told)
            self.job.removeObserver(self.told)
            self.job = None
        self.curves = {}

    def sceneCloses(self) -> None:
        """Lets go of the nodes that are about to vanish."""
        self.curves = {}
        # A view's node is one that stays when a scene closes, and inside the event none may be removed.
        qt.QTimer.singleShot(0, self._hidePlot())

    def release(self) -> None:
        """Lets go of everything."""
        self.forget()
        removeView = self._hidePlot()
        removeView()

    def _told(self, job: Job, event) -> None:
        # The trainings of folds follow each other too fast for curves of their own.
        ofFolds = job.kind in ("check_labels", "learning_curve")
        if event is not None and event.event in ("losses", "metrics") and not ofFolds:
            self._add(event.event, event.step, event.values)
        if job.kind == "learning_curve" and job.state == "done" and not self.curves:
            self._addLearningCurve(job.result.points)
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
        ui.statusLabel.styleSheet = colors.PROBLEM_STYLE if job.state == "failed" else ""
        ui.stopButton.setVisible(running)
        ui.stopButton.enabled = job.state == "running"
        ui.stopButton.toolTip = (
            _("Asks the job to save its state and end; it can be resumed.")
            if job.isResumable()
            else _("Asks the job to end; what it has not finished is lost.")
        )
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
                if curves.show() and curves.points() >= POINTS_OF_A_CURVE:
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
            name = self.job.run.name if self.job.run is not None else wording.job(self.job.kind)
            self.curves[key] = Curves(f"{name}: {title}", yTitle, hidden=hidden)
        return self.curves[key]

    def _add(self, key: str, step: float, values: dict[str, float]) -> None:
        if key == "losses":
            curves = self._curves(key, _("Training loss"), _("Loss"))
        else:
            curves = self._curves(key, _("Dice on held-out cases"), _("Dice"))
        curves.add(step, self._named(values))

    def _addLearningCurve(self, points: "list[CurvePoint]") -> None:
        curves = Curves(_("Do more labels help?"), _("Dice of unseen scans"), _("Labelled scans"), marked=True)
        low, high = _("95 % interval, lower end"), _("upper end")
        for point in points:
            dice, limits = point.dice, {}
            if dice.low is not None and dice.high is not None:
                limits = {low: max(0.0, dice.low), high: min(1.0, dice.high)}  # no Dice lies beyond
            curves.add(point.count, {_("mean of the folds"): dice.mean, **limits})
        self.curves["learning"] = curves

    def _showEarlier(self, job: Job) -> None:
        """The curves of a run that goes on begin where the run began."""
        from hssl.models.run_folder import RunFolder

        if job.run is None or not job.run.is_dir():
            return
        for row in RunFolder(job.run).read_metrics():
            step = row["step"]
            losses = {name: v for name, v in row.items() if name not in ("step", "seconds", "learning_rate")}
            dice = {name: losses.pop(name) for name in ("validation_dice",) if name in losses}
            if losses:
                self._add("losses", step, losses)
            if dice:
                self._add("metrics", step, dice)

    def _showPlot(self, curves: Curves) -> None:
        # The first chart stays: the Dice of a fine-tuning comes later and is looked at in the views or the table.
        if self._plotView is None:
            # Made in Python: it has no Designer plugin. Only when it is needed: it has an OpenGL context of its own.
            self._plotView = slicer.qMRMLPlotView()
            self._plotView.setMinimumHeight(PLOT_HEIGHT)
            self._plotView.setMaximumHeight(PLOT_HEIGHT)
            self.ui.plotHolder.layout().addWidget(self._plotView)
        if self._plotViewNode is None:
            self._plotViewNode = slicer.vtkMRMLPlotViewNode()
            self._plotViewNode.SetName("HSSL")
            self._plotViewNode.SetLayoutName(f"HSSL {id(self._plotViewNode)}")
            self._plotViewNode.SetHideFromEditors(True)
            self._plotViewNode.SetSaveWithScene(False)
            slicer.mrmlScene.AddNode(self._plotViewNode)
            self._plotView.setMRMLScene(slicer.mrmlScene)
            self._plotView.setMRMLPlotViewNode(self._plotViewNode)
        self._plotViewNode.SetPlotChartNodeID(curves.chart.GetID())
        self.ui.legendLabel.text = curves.legend()
        self.ui.legendLabel.setVisible(bool(self.ui.legendLabel.text))
        self.ui.plotHolder.setVisible(True)
        self.ui.layoutButton.setVisible(True)
        self._plotView.fitToContent()

    def _hidePlot(self) -> Callable[[], None]:
        """Lets go of the plot; returns what takes the view's node out of the scene."""
        for widget in (self.ui.plotHolder, self.ui.legendLabel):
            widget.setVisible(False)
        self.ui.layoutButton.setVisible(False)
        viewNode, self._plotViewNode = self._plotViewNode, None
        if viewNode is not None:
            self._plotView.setMRMLPlotViewNode(None)

        def remove() -> None:
            if viewNode is not None and slicer.mrmlScene.IsNodePresent(viewNode):
                slicer.mrmlScene.RemoveNode(viewNode)

        return remove

    @staticmethod
    def _named(values: dict[str, float]) -> dict[str, float]:
        return {wording.curve(name): value for name, value in values.items()}
