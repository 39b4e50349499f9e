"""Section Fine-tune: learning one task from a few labelled scans, and comparing with scratch."""

import html
from typing import Any

from slicer.i18n import tr as _

import slicer

from .. import choices, wording
from ..refusal import Refusal
from ..scene import cases as sceneCases
from ..workspace import contents as workspaceContents
from . import classChoice, plots
from .sceneAdding import SceneCase
from .startChoices import startChoices
from .telling import told


class FineTuneSection:
    """Starts, shows, stops and resumes fine-tunings and comparisons."""

    def __init__(self, panel):
        self.panel = panel
        self.widget, self.ui = panel.loadSection("FineTune.ui", panel.ui.fineTuneButton)
        self.jobView = panel.newJobView(self.ui.jobHolder, self._told)
        ui = self.ui
        ui.taskCombo.connect("currentIndexChanged(int)", self.onTask)
        ui.casesCombo.connect("currentIndexChanged(int)", self.onCases)
        ui.startCombo.connect("currentIndexChanged(int)", self.onStartFrom)
        ui.teacherCombo.connect("currentIndexChanged(int)", self.onTeacher)
        ui.startButton.connect("clicked(bool)", self.onStart)
        ui.compareButton.connect("clicked(bool)", self.onCompare)
        ui.resumeRunButton.connect("clicked(bool)", self.onResumeRun)
        ui.stopAddingButton.connect("clicked(bool)", self.onStopAdding)
        ui.resultLabel.setVisible(False)

    def release(self) -> None:
        pass

    def update(self) -> None:
        """Shows the state of the parameter node and of the workspace."""
        panel, ui, parameters = self.panel, self.ui, self.panel.parameterNode
        catalogue = panel.catalogue
        tasks = catalogue.tasks if catalogue is not None else []
        labelled = {t.name: panel.counts.labelled[t.name] for t in tasks}
        names = [t.name for t in tasks]
        if names and parameters.fineTuneTask not in names:
            parameters.fineTuneTask = max(names, key=lambda name: labelled[name])
        count = labelled.get(parameters.fineTuneTask, 0)
        choices.fill(
            ui.taskCombo,
            [(n, _("{task} ({count} labelled)").format(task=n, count=labelled[n])) for n in names],
            parameters.fineTuneTask,
        )
        choices.fill(
            ui.casesCombo,
            [
                ("all", _("all labelled scans ({count})").format(count=count)),
                ("some", _("some, drawn at random")),
                ("approved", _("approved labels alone ({count})").format(count=len(self._approvedCases()))),
                ("chosen", _("the rows chosen in the table (section 1)")),
                ("scene", _("volumes with a segmentation in the scene")),
            ],
            parameters.fineTuneCases,
        )
        for widget in (ui.countLabel, ui.countBox):
            widget.setVisible(parameters.fineTuneCases == "some")
        self._fillStart()
        self._fillTeacher()
        own = [r for r in panel.runs if r.kind == "finetune" and not r.comparison]
        unfinished = [r for r in reversed(own) if r.state == "unfinished"]
        busy = panel.job is not None and panel.job.isRunning() and panel.job.kind in ("finetune", "compare")
        choices.fill(ui.unfinishedCombo, [(r.name, r.name) for r in unfinished], choices.value(ui.unfinishedCombo))
        if unfinished and not choices.value(ui.unfinishedCombo):
            ui.unfinishedCombo.setCurrentIndex(0)
        for widget in (ui.unfinishedLabel, ui.unfinishedCombo, ui.resumeRunButton):
            widget.setVisible(bool(unfinished) and not busy)
        reason = self._reasonNotToStart(count)
        panel.offer(ui.startButton, reason, _("Learns to segment {task}.").format(task=parameters.fineTuneTask))
        if not reason and choices.value(ui.startCombo) == workspaceContents.SCRATCH:
            reason = _("Choose a pretraining or a model to start from; it is compared with scratch.")
        if not reason and count < 3:
            reason = _("A comparison needs at least three labelled scans, because some are kept for the test.")
        panel.offer(
            ui.compareButton,
            reason,
            _(
                "Fine-tunes twice with the same recipe, from the chosen start and from scratch, and tests both on scans "
                "that neither has seen."
            ),
        )
        panel.offer(ui.resumeRunButton, panel.reasonNotReady(), _("Goes on from the last saved state."))
        ui.optionsWidget.enabled = not busy
        self._showAdding()
        ui.hintLabel.text = self._hint(bool(names), count, busy, any(r.state == "finished" for r in own))

    def _hint(self, hasTasks: bool, count: int, busy: bool, hasModel: bool) -> str:
        parameters = self.panel.parameterNode
        if busy:
            return _("<b>Now:</b> it learns. You may go on using Slicer, or close this section.")
        if self.panel.adding.text:
            return _("<b>Now:</b> {what}").format(what=html.escape(self.panel.adding.text))
        if not hasTasks:
            return _("<b>Next:</b> add scans in section 1.")
        if not count and parameters.fineTuneCases != "scene":
            return _(
                "<b>Next:</b> label one to five scans of {task} in the Segment Editor, and choose "
                "<i>volumes with a segmentation in the scene</i> as cases."
            ).format(task=html.escape(parameters.fineTuneTask))
        if hasModel:
            return _("<b>Next:</b> open section 4 and segment a scan with the model.")
        return _("<b>Next:</b> choose what to segment and where to start from, and start.")

    def _showAdding(self) -> None:
        """Shows how many volumes of the scene have been added, while that can be stopped, and when it was."""
        ui, adding = self.ui, self.panel.adding
        ui.addingWidget.setVisible(bool(adding.text) and adding.count > 1)
        ui.addingBar.setRange(0, adding.count)
        ui.addingBar.setValue(adding.place)
        ui.stopAddingButton.enabled = not adding.isStopping
        ui.stopAddingButton.text = _("Stopping…") if adding.isStopping else _("Stop")
        ui.addedLabel.setVisible(bool(adding.outcome))
        ui.addedLabel.text = _("{outcome} Start again to add the others.").format(outcome=adding.outcome)

    def _fillStart(self) -> None:
        panel, parameters = self.panel, self.panel.parameterNode
        starts = startChoices(panel.runs, panel.modelFiles)
        choices.fill(self.ui.startCombo, starts, parameters.fineTuneStart or workspaceContents.bestStart(panel.runs))

    def _fillTeacher(self) -> None:
        panel, parameters = self.panel, self.panel.parameterNode
        task = (
            next((t for t in panel.catalogue.tasks if t.name == parameters.fineTuneTask), None)
            if panel.catalogue
            else None
        )
        runs = [r for r in reversed(panel.runs) if r.kind == "finetune" and r.state == "finished" and not r.comparison]
        teachers = [("", _("none"))] + [(r.name, r.name) for r in runs if task is not None and r.task == task.name]
        for model in panel.modelFiles:
            if task is not None and model.kind == "segmentation" and not model.problem:
                if [c.name for c in model.tasks[0].classes] == [c.name for c in task.classes]:
                    teachers.append((str(model.path), _("model {name}").format(name=model.name)))
        choices.fill(self.ui.teacherCombo, teachers, parameters.fineTuneTeacher)

    def _reasonNotToStart(self, count: int) -> str:
        panel, parameters = self.panel, self.panel.parameterNode
        reason = panel.reasonNotReady()
        if reason:
            return reason
        if not parameters.fineTuneTask:
            return _("Add scans of a task first (section Dataset).")
        if parameters.fineTuneCases == "scene":
            pairs = sceneCases.segmentedVolumes()
            if not pairs:
                return _("There is no volume with a segmentation in the scene.")
            if reason := sceneCases.reasonNotCases(pairs):
                return reason
        elif not count:
            return _("No scan of this task has a label yet.")
        elif parameters.fineTuneCases == "approved" and not self._approvedCases():
            return _("No label of this task is approved yet (Actions in section 1).")
        elif parameters.fineTuneCases == "chosen" and not self._chosenCases():
            return _("None of the rows chosen in the table (section 1) is a labelled scan of this task.")
        elif parameters.fineTuneCases == "some" and parameters.fineTuneCaseCount > count:
            return wording.count(
                count,
                _("Only 1 scan of this task has a label."),
                _("Only {count} scans of this task have a label."),
            )
        if not choices.value(self.ui.startCombo):
            return _("Choose where to start from.")
        if self.ui.teacherCombo.currentIndex < 0:
            return _("The chosen teacher does not segment this task: choose another, or none (More options).")
        if not parameters.fineTuneMinutes and not parameters.fineTuneSteps:
            return _("Set a time, or a number of steps (More options).")
        return ""

    def onTask(self, index: int) -> None:
        self.panel.parameterNode.fineTuneTask = choices.value(self.ui.taskCombo)

    def onCases(self, index: int) -> None:
        self.panel.parameterNode.fineTuneCases = choices.value(self.ui.casesCombo)

    def onStartFrom(self, index: int) -> None:
        self.panel.parameterNode.fineTuneStart = choices.value(self.ui.startCombo)

    def onTeacher(self, index: int) -> None:
        self.panel.parameterNode.fineTuneTeacher = choices.value(self.ui.teacherCombo)

    def onStart(self) -> None:
        panel, parameters = self.panel, self.panel.parameterNode
        # What was chosen now, also where volumes are added first.
        chosen: dict[str, Any] = {
            "workspace": panel.workspace,
            "task": parameters.fineTuneTask,
            "start": choices.value(self.ui.startCombo),
            "minutes": parameters.fineTuneMinutes or None,
            "steps": parameters.fineTuneSteps or None,
            "options": self._options(),
        }

        def start(cases: list[str] | None, caseCount: int = 0) -> None:
            job = panel.startJob(self.jobView, lambda: panel.logic.fineTune(cases=cases, caseCount=caseCount, **chosen))
            if job is not None:
                self.ui.resultLabel.setVisible(False)

        if parameters.fineTuneCases == "scene":
            with told(_("The volume could not be added.")):
                panel.adding.start(self._sceneCases(), parameters.fineTuneTask, start)
        elif parameters.fineTuneCases == "some":
            start(None, parameters.fineTuneCaseCount)
        elif parameters.fineTuneCases == "approved":
            start(self._approvedCases())
        elif parameters.fineTuneCases == "chosen":
            start(self._chosenCases())
        else:
            start(None)

    def onCompare(self) -> None:
        panel, parameters = self.panel, self.panel.parameterNode
        count = panel.counts.labelled[parameters.fineTuneTask]
        # A third of the labelled scans is kept for the test.
        caseCount = (
            parameters.fineTuneCaseCount if parameters.fineTuneCases == "some" else count - max(1, round(count / 3))
        )
        job = panel.startJob(
            self.jobView,
            lambda: panel.logic.compare(
                panel.workspace,
                parameters.fineTuneTask,
                choices.value(self.ui.startCombo),
                caseCounts=[max(1, caseCount)],
                minutes=parameters.fineTuneMinutes or None,
                steps=parameters.fineTuneSteps or None,
                options=self._options(),
            ),
        )
        if job is not None:
            self.ui.resultLabel.setVisible(False)

    def onStopAdding(self) -> None:
        self.panel.adding.stop()

    def onResumeRun(self) -> None:
        panel, name = self.panel, choices.value(self.ui.unfinishedCombo)
        run = next(r for r in panel.runs if r.name == name)
        panel.startJob(self.jobView, lambda: panel.logic.resume(run.path))

    def _options(self) -> dict:
        parameters = self.panel.parameterNode
        options: dict = {
            "teacher": choices.value(self.ui.teacherCombo),
            "mirror": parameters.mirror,
        }
        if choices.value(self.ui.startCombo) == workspaceContents.SCRATCH:
            options["network"] = {"size": parameters.networkSize}
        return options

    def _sceneCases(self) -> list[SceneCase]:
        panel = self.panel
        task = panel.catalogue.task(panel.parameterNode.fineTuneTask)
        cases: list[SceneCase] = []
        said: dict[str, str] = {}
        pairs = sceneCases.segmentedVolumes()
        for volume, segmentation in pairs:
            # Of what is there already, nothing is asked again.
            isAdded = panel.adding.hasAdded(volume, segmentation, task.name)
            classes = (
                {} if isAdded else classChoice.ask(segmentation, task, panel.widget, said if len(pairs) > 1 else None)
            )
            if classes is None:
                raise Refusal(_("It was not said which class each segment is."))
            said |= classes
            cases.append(SceneCase(volume, segmentation, classes))
        return cases

    def _approvedCases(self) -> list[str]:
        catalogue, task = self.panel.catalogue, self.panel.parameterNode.fineTuneTask
        usable = catalogue.usable(task, labelled=True) if catalogue is not None and task else []
        return [image.id for image in usable if image.review == "approved"]

    def _chosenCases(self) -> list[str]:
        panel = self.panel
        chosen = set(panel.dataset.selectedImages())
        if not chosen:
            return []
        usable = panel.catalogue.usable(panel.parameterNode.fineTuneTask, labelled=True)
        return [image.id for image in usable if image.id in chosen]

    def _told(self, job, event) -> None:
        parameters = self.panel.parameterNode
        if job.state != "done":
            return
        if job.kind == "finetune":
            dice = job.result.validation_dice
            text = _("The model {name} is ready.").format(name=job.run.name)
            if dice is not None:
                text += " " + _("Dice on held-out cases: {dice:.3f} (1 is perfect).").format(dice=dice)
            self._showTable(_("Fine-tuning {name}").format(name=job.run.name), [self._summary(job)])
            if parameters is not None and self.panel.isOfWorkspace(job.run):
                parameters.model = str(job.run)
        else:
            rows = job.result.rows
            text = "\n".join(
                _("{start}, {cases}: Dice {dice:.3f}").format(
                    start=row.start,
                    cases=wording.count(row.case_count, _("1 case"), _("{count} cases")),
                    dice=row.dice,
                )
                for row in rows
                if row.dice is not None
            )
            flat = [row.model_dump(mode="json", exclude={"classes"}) | row.classes for row in rows]
            self._showTable(_("Comparison with scratch"), flat)
        self.ui.resultLabel.text = text
        self.ui.resultLabel.setVisible(True)

    @staticmethod
    def _summary(job) -> dict:
        result = job.result
        return {
            "run": job.run.name,
            "validation Dice": result.validation_dice,
            "steps": result.steps,
            "minutes": result.minutes,
            "tensors loaded": result.tensors_loaded,
            "tensors skipped": result.tensors_skipped,
            "cases": len(result.cases),
        }

    @staticmethod
    def _showTable(name: str, rows: list[dict]) -> None:
        with slicer.util.tryWithErrorDisplay(_("The results could not be put into a table.")):
            plots.resultTable(name, rows)
