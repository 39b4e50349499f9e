"""Section Pretrain: learning from all scans without labels."""

from slicer.i18n import tr as _

from .. import choices, settings, wording
from ..workspace import contents as workspaceContents
from .memoryEstimate import MemoryEstimate
from .startChoices import startChoices


class PretrainSection:
    """Starts, shows, stops and resumes pretrainings, and chooses the one to fine-tune from."""

    def __init__(self, panel):
        self.panel = panel
        self.widget, self.ui = panel.loadSection("Pretrain.ui", panel.ui.pretrainButton)
        self.jobView = panel.newJobView(self.ui.jobHolder, self._told)
        self.memory = MemoryEstimate(panel.logic, self.ui.memoryLabel)
        panel.ui.pretrainButton.connect("contentsCollapsed(bool)", self.onCollapsed)
        self.ui.networkCombo.connect("currentIndexChanged(int)", self.onNetwork)
        self.ui.startCombo.connect("currentIndexChanged(int)", self.onStartFrom)
        self.ui.startButton.connect("clicked(bool)", self.onStart)
        self.ui.runCombo.connect("currentIndexChanged(int)", self.onRun)
        self.ui.resumeRunButton.connect("clicked(bool)", self.onResumeRun)

    def release(self) -> None:
        self.memory.release()

    def onCollapsed(self, collapsed: bool) -> None:
        if not collapsed and self.panel.parameterNode is not None:
            self.update()

    def update(self) -> None:
        """Shows the state of the parameter node and of the workspace."""
        panel, ui, parameters = self.panel, self.ui, self.panel.parameterNode
        catalogue = panel.catalogue
        choices.fill(
            ui.networkCombo,
            [("small", _("small")), ("medium", _("medium")), ("large", _("large"))],
            parameters.networkSize,
        )
        start = self._start
        choices.fill(ui.startCombo, startChoices(panel.runs, panel.modelFiles), start)
        scratch = start == workspaceContents.SCRATCH
        panel.offer(
            ui.networkCombo,
            "" if scratch else _("The start brings its network."),
            _("Larger networks learn more and need more time and memory."),
        )
        runs = [run for run in panel.runs if run.kind == "pretrain" and run.state != "empty"]
        unfinished = _("{name} (unfinished)")
        items = [(r.name, r.name if r.state == "finished" else unfinished.format(name=r.name)) for r in reversed(runs)]
        name = parameters.pretrainRun or (runs[-1].name if runs else "")
        choices.fill(ui.runCombo, items, name)
        for widget in (ui.runsLabel, ui.runCombo):
            widget.setVisible(bool(items))
        chosen = next((run for run in runs if run.name == name), None)
        busy = panel.job is not None and panel.job.isRunning() and panel.job.kind == "pretrain"
        working = busy and chosen is not None and panel.job.run == chosen.path
        ui.runLabel.text = _("It is running now.") if working else self._description(chosen)
        ui.runLabel.setVisible(chosen is not None)
        ui.resumeRunButton.setVisible(chosen is not None and chosen.state == "unfinished" and not working)
        panel.offer(ui.resumeRunButton, panel.reasonNotReady(), _("Goes on from the last saved state."))
        panel.offer(
            ui.startButton,
            self._reasonNotToStart(catalogue),
            _("Learns from all scans of the workspace, and from their labels.")
            if parameters.withLabels
            else _("Learns from all scans of the workspace, without labels."),
        )
        ui.optionsWidget.enabled = not busy
        if not panel.ui.pretrainButton.collapsed and not panel.reasonNotReady() and catalogue is not None:
            options = (parameters.networkSize, start, settings.value("device"))
            self.memory.want(panel.workspace, panel.counts.usable, *options)
        finished = [run for run in runs if run.state == "finished"]
        if busy:
            ui.hintLabel.text = _("<b>Now:</b> it learns. You may go on using Slicer, or close this section.")
        elif catalogue is None or not panel.counts.usable:
            ui.hintLabel.text = _("<b>Next:</b> add scans in section 1; labels are not needed for this step.")
        elif not finished:
            ui.hintLabel.text = _(
                "<b>Next:</b> choose a time and start. The longer, the better; it can be stopped and resumed."
            )
        else:
            ui.hintLabel.text = _("<b>Next:</b> open section 3 and fine-tune from a pretraining.")

    @property
    def _start(self) -> str:
        return self.panel.parameterNode.pretrainStart or workspaceContents.usualPretrainStart()

    def _reasonNotToStart(self, catalogue) -> str:
        parameters = self.panel.parameterNode
        reason = self.panel.reasonNotReady()
        if not reason and catalogue is not None and not self.panel.counts.usable:
            reason = _("Add scans first (section Dataset).")
        if not reason and not choices.value(self.ui.startCombo):
            reason = _("Choose where to start from.")
        if not reason and not any(self._weights().values()) and not parameters.withLabels:
            reason = _("Choose at least one way to learn (More options).")
        if not reason and not parameters.pretrainMinutes and not parameters.pretrainSteps:
            reason = _("Set a time, or a number of steps (More options).")
        return reason

    def _weights(self) -> dict[str, float]:
        from hssl.configuration import LossWeights

        parameters, default = self.panel.parameterNode, LossWeights()
        chosen = {
            "image": parameters.imageLoss,
            "task": parameters.taskLoss,
            "group": parameters.groupLoss,
            "reconstruction": parameters.reconstructionLoss,
            "dense": parameters.denseLoss,
            "position": parameters.positionLoss,
        }
        return {name: getattr(default, name) if on else 0.0 for name, on in chosen.items()}

    @staticmethod
    def _description(run) -> str:
        if run is None:
            return ""
        if run.state == "unfinished":
            return _("This pretraining was stopped before its end; resume it, or start a new one.")
        if run.result is None:
            return ""
        return wording.learned(run.result) + "."

    def onNetwork(self, index: int) -> None:
        self.panel.parameterNode.networkSize = choices.value(self.ui.networkCombo)

    def onStartFrom(self, index: int) -> None:
        self.panel.parameterNode.pretrainStart = choices.value(self.ui.startCombo)

    def onRun(self, index: int) -> None:
        self.panel.parameterNode.pretrainRun = choices.value(self.ui.runCombo)

    def onStart(self) -> None:
        panel, parameters = self.panel, self.panel.parameterNode
        panel.startJob(
            self.jobView,
            lambda: panel.logic.pretrain(
                panel.workspace,
                minutes=parameters.pretrainMinutes or None,
                steps=parameters.pretrainSteps or None,
                start=self._start,
                options={
                    "network": {"size": parameters.networkSize},
                    "weights": self._weights(),
                    "with_labels": parameters.withLabels,
                },
            ),
        )

    def onResumeRun(self) -> None:
        panel = self.panel
        run = next(r for r in panel.runs if r.name == choices.value(self.ui.runCombo))
        panel.startJob(self.jobView, lambda: panel.logic.resume(run.path))

    def _told(self, job, event) -> None:
        parameters = self.panel.parameterNode
        if job.state == "done" and parameters is not None and self.panel.isOfWorkspace(job.run):
            parameters.pretrainRun = job.run.name
            parameters.fineTuneStart = job.run.name
