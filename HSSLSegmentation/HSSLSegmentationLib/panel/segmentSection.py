"""Section Segment: a volume of the scene, or a folder of volumes, with a fine-tuned model."""

import os
from pathlib import Path

from slicer.i18n import tr as _

import slicer

from .. import choices, numbers, wording
from ..jobs.job import Job
from ..scene import annotations, results
from ..scene import segmentations as sceneSegmentations
from ..scene import volumes as sceneVolumes
from ..scene.modelClasses import classesOfModel
from ..steps import atOnce
from ..workspace import contents as workspaceContents
from . import asking
from .telling import told


class SegmentSection:
    """Starts segmentations and hands the result to the Segment Editor."""

    def __init__(self, panel):
        self.panel = panel
        self.widget, self.ui = panel.loadSection("Segment.ui", panel.ui.segmentButton)
        self.jobView = panel.newJobView(self.ui.jobHolder, self._told)
        self._last: Job | None = None
        self._stamp: tuple = ()
        """What the last result's segments were when it was written: an undo would take later edits away too."""
        self._shownInput = None
        ui = self.ui
        ui.whatCombo.connect("currentIndexChanged(int)", self.onWhat)
        ui.modelCombo.connect("currentIndexChanged(int)", self.onModel)
        ui.largestCombo.connect("currentIndexChanged(int)", self.onLargest)
        ui.folderEdit.connect("currentPathChanged(QString)", self.onFolder)
        ui.outputEdit.connect("currentPathChanged(QString)", self.onOutput)
        ui.startButton.connect("clicked(bool)", self.onStart)
        ui.undoButton.connect("clicked(bool)", self.onUndo)
        ui.editButton.connect("clicked(bool)", self.onEdit)
        ui.resultLabel.setVisible(False)

    def release(self) -> None:
        self._releaseWriter()

    def sceneCloses(self) -> None:
        """Lets go of the nodes that are about to vanish."""
        if self._last is not None:
            self._last.writer.sceneCloses()
            self._last = None
        self._shownInput = None
        self.ui.resultLabel.setVisible(False)

    def update(self) -> None:
        """Shows the state of the parameter node and of the workspace."""
        panel, ui, parameters = self.panel, self.ui, self.panel.parameterNode
        choices.fill(
            ui.whatCombo,
            [("volume", _("a volume of the scene")), ("folder", _("a folder of volumes"))],
            parameters.segmentWhat,
        )
        single = parameters.segmentWhat == "volume"
        self._followInput()
        for widget in (ui.volumeLabel, ui.volumeSelector, ui.segmentationLabel, ui.segmentationSelector):
            widget.setVisible(single)
        ofFiles = [ui.folderLabel, ui.folderEdit, ui.outputLabel, ui.outputEdit]
        ofFiles += [ui.overwriteCheck, ui.probabilitiesCheck, ui.dicomCheck]
        ofFiles += [ui.frameLabel, ui.frameEdit, ui.spacingLabel, ui.spacingEdit]
        for widget in ofFiles:
            widget.setVisible(not single)
        choices.fill(
            ui.largestCombo,
            [("", _("as the model decides")), ("on", _("the largest only")), ("off", _("all"))],
            parameters.keepLargest,
        )
        for edit, path in ((ui.folderEdit, parameters.inputFolder), (ui.outputEdit, parameters.outputFolder)):
            if edit.currentPath != path:
                edit.setCurrentPath(path)
        best = workspaceContents.bestModel(panel.runs, panel.modelFiles)
        models = self._models()
        choices.fill(ui.modelCombo, models, parameters.model or str(best or ""))
        reason = self._reasonNotToStart()
        panel.offer(ui.startButton, reason, _("Segments with the chosen model; the scan itself is not changed."))
        done = (
            parameters.outputSegmentation is not None
            and parameters.outputSegmentation.GetSegmentation().GetNumberOfSegments() > 0
        )
        ui.editButton.setVisible(single)
        panel.offer(
            ui.editButton, "" if done else _("There is no result to correct yet."), _("Corrects the result by hand.")
        )
        ui.undoButton.setVisible(single and self._canUndo())
        if not models:
            ui.hintLabel.text = _("<b>Next:</b> fine-tune a model in section 3, or import one in section 5.")
        elif single and parameters.inputVolume is None:
            ui.hintLabel.text = _("<b>Next:</b> load a scan into Slicer and choose it here.")
        elif not choices.value(ui.modelCombo):
            ui.hintLabel.text = _("<b>Next:</b> choose a model.")
        elif done and single:
            ui.hintLabel.text = _("<b>Next:</b> look at the result, and correct it in the Segment Editor.")
        else:
            ui.hintLabel.text = _("<b>Next:</b> press Segment.")

    def _models(self) -> list[tuple]:
        runs = [r for r in reversed(self.panel.runs) if r.kind == "finetune" and r.state in ("finished", "unfinished")]
        items: list[tuple] = []
        # What was trained to be compared comes last: it has seen fewer labels, or started from nothing.
        for run in sorted(runs, key=lambda run: bool(run.comparison)):
            text = (
                f"{run.name}"
                if run.dice is None
                else _("{name} (Dice {dice:.2f})").format(name=run.name, dice=run.dice)
            )
            tip = _("Segments {task}.").format(task=run.task)
            if run.comparison:
                tip += " " + _("A part of the comparison {name}.").format(name=run.comparison)
            items.append((str(run.path), text, tip))
        for model in self.panel.modelFiles:
            if model.kind == "segmentation":
                items.append((str(model.path), _("{name} (imported)").format(name=model.name)))
        return items

    def _reasonNotToStart(self) -> str:
        parameters = self.panel.parameterNode
        reason = self.panel.reasonNotReady()
        if reason:
            return reason
        if not choices.value(self.ui.modelCombo):
            return _("Choose a model: fine-tune one in section 3, or import one in section 5.")
        if parameters.segmentWhat == "volume":
            return sceneVolumes.reasonNotUsable(parameters.inputVolume) or self._reasonNotInto()
        if not os.path.isdir(parameters.inputFolder):
            return _("Choose a folder of volumes that exists.")
        if not parameters.outputFolder:
            return _("Choose a folder to write to.")
        if os.path.isdir(parameters.outputFolder) and os.path.samefile(parameters.outputFolder, parameters.inputFolder):
            return _("Choose another folder to write to: label maps must not lie among the volumes.")
        return ""

    def _reasonNotInto(self) -> str:
        chosen, volume = self.panel.parameterNode.outputSegmentation, self.panel.parameterNode.inputVolume
        owner = results.ownerOf(chosen)
        if owner is None or owner is volume:
            return "" if chosen is None or volume is None else sceneSegmentations.reasonNotWritable(chosen, volume)
        return _("{result} belongs to {owner}: choose a new segmentation, or one of {volume}.").format(
            result=chosen.GetName(), owner=owner.GetName(), volume=volume.GetName()
        )

    def _followInput(self) -> None:
        """A result belongs to its volume: with another volume its own last result is chosen, or a new one."""
        parameters = self.panel.parameterNode
        volume = parameters.inputVolume
        if volume is self._shownInput:
            return
        known, self._shownInput = self._shownInput, volume
        # A scene that was just loaded brings both, and they are left as they are when they fit.
        if volume is None or (known is None and not self._reasonNotInto()):
            return
        parameters.outputSegmentation = results.of(volume, results.SEGMENTATION)

    def onWhat(self, index: int) -> None:
        self.panel.parameterNode.segmentWhat = choices.value(self.ui.whatCombo)

    def onModel(self, index: int) -> None:
        self.panel.parameterNode.model = choices.value(self.ui.modelCombo)

    def onFolder(self, path: str) -> None:
        parameters = self.panel.parameterNode
        if path != parameters.inputFolder:
            # The results of one folder do not go among those of another. A disc has nothing beside it.
            folder = Path(path)
            parameters.outputFolder = folder.with_name(f"{folder.name}-segmented").as_posix() if folder.name else ""
        parameters.inputFolder = path

    def onOutput(self, path: str) -> None:
        self.panel.parameterNode.outputFolder = path

    def onStart(self) -> None:
        panel, parameters = self.panel, self.panel.parameterNode
        largest = {"on": True, "off": False}.get(parameters.keepLargest)
        options = (parameters.flips, largest, parameters.uncertainty)
        if parameters.segmentWhat == "volume":
            if not self._mayReplace():
                return
            job = panel.startJob(
                self.jobView,
                lambda: panel.logic.segment(
                    parameters.inputVolume,
                    choices.value(self.ui.modelCombo),
                    parameters.outputSegmentation,
                    *options,
                    options=self._options(),
                    waitForCompletion=False,
                ),
            )
        else:
            job = panel.startJob(
                self.jobView,
                lambda: panel.logic.segmentFolder(
                    parameters.inputFolder,
                    choices.value(self.ui.modelCombo),
                    parameters.outputFolder,
                    *options,
                    overwrite=parameters.overwrite,
                    options=self._options() | self._optionsOfFiles(),
                ),
            )
        if job is not None:
            self.ui.resultLabel.setVisible(False)

    def _mayReplace(self) -> bool:
        """Asks whether segments that somebody has drawn or corrected are replaced by the result, where there are such."""
        chosen, volume = self.panel.parameterNode.outputSegmentation, self.panel.parameterNode.inputVolume
        if chosen is None:
            return True
        with told(_("The job could not be started."), waitCursor=True):
            classes = classesOfModel(choices.value(self.ui.modelCombo))
            segmentIds = filter(None, sceneSegmentations.segmentsOfClasses(classes, chosen))
            names = atOnce(annotations.corrected(chosen, segmentIds, volume))
            return not names or asking.replacesDrawn(names, chosen)
        return False

    def _options(self) -> dict:
        parameters = self.panel.parameterNode
        return {"fast": parameters.fast, "nan_is_background": parameters.segmentNanIsBackground}

    def _optionsOfFiles(self) -> dict:
        parameters = self.panel.parameterNode
        return {
            "probabilities": parameters.probabilities,
            "dicom_segmentation": parameters.dicomSegmentation,
            "frame": numbers.whole(parameters.segmentFrame, _("Frame")),
            "spacing": numbers.spacing(parameters.segmentSpacing),
        }

    def onLargest(self, index: int) -> None:
        self.panel.parameterNode.keepLargest = choices.value(self.ui.largestCombo)

    def onUndo(self) -> None:
        if self._canUndo():
            self._last.writer.undo()
        self.panel.refresh()

    def _canUndo(self) -> bool:
        last = self._last
        if last is None or not slicer.mrmlScene.IsNodePresent(last.segmentationNode):
            return False
        if last.segmentationNode is not self.panel.parameterNode.outputSegmentation or not last.writer.canUndo():
            return False
        return _stampOf(last.segmentationNode) == self._stamp

    def onEdit(self) -> None:
        parameters = self.panel.parameterNode
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(parameters.outputSegmentation)
        editor.setSourceVolumeNode(parameters.inputVolume)

    def _told(self, job, event) -> None:
        if job.state == "done" and job.segmentationNode is not None:
            self._releaseWriter()
            self._last, self._stamp = job, _stampOf(job.segmentationNode)
            parameters = self.panel.parameterNode
            if parameters is not None and parameters.inputVolume is job.volumeNode:
                parameters.outputSegmentation = job.segmentationNode
            if job.uncertaintyNode is not None and _isInTheViews(job.volumeNode):
                slicer.util.setSliceViewerLayers(foreground=job.uncertaintyNode, foregroundOpacity=0.5)
            return
        outputs = getattr(job.result, "outputs", None)
        if job.state not in ("done", "stopped") or outputs is None or job.volumeNode is not None:
            return
        failed = job.result.failed
        text = wording.count(len(outputs), _("1 volume was segmented."), _("{count} volumes were segmented."))
        if failed:
            text += "\n" + _("{count} could not be:").format(count=len(failed))
            text += "".join(f"\n{item.input.name}: {item.reason}" for item in failed[:10])
        self.ui.resultLabel.text = text
        self.ui.resultLabel.setVisible(True)

    def _releaseWriter(self) -> None:
        if self._last is not None:
            self._last.writer.release()
            self._last = None


def _stampOf(segmentationNode) -> tuple:
    return annotations.stampOf(segmentationNode, segmentationNode.GetSegmentation().GetSegmentIDs())


def _isInTheViews(volumeNode) -> bool:
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return any(node.GetBackgroundVolumeID() == volumeNode.GetID() for node in composites)
