"""The module's logic: everything that the panel does, without the panel; and the state of the panel in the scene."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModuleLogic,
)

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

from .jobs.job import Job
from .jobs.process import JobProcess, QtProcess
from .steps import atOnce


@parameterNodeWrapper
class HSSLSegmentationParameterNode:
    """The state of the panel; it is saved with the scene."""

    workspace: str = ""

    addFrom: str = "folder"
    addFolder: str = ""
    addLabelsFolder: str = ""
    addVolume: vtkMRMLScalarVolumeNode
    addSegmentation: vtkMRMLSegmentationNode
    addTask: str = ""
    addGroup: str = ""
    addModality: str = ""
    addPattern: str = ""
    addLabelPattern: str = ""
    addPatient: str = ""
    addStructures: str = ""
    addClasses: str = ""
    addFrame: str = ""
    addChannel: str = ""
    addSpacing: str = ""
    addAnatomy: str = ""
    addMixed: bool = False
    addNanIsBackground: bool = False
    labelNextTask: str = ""

    pretrainMinutes: Annotated[float, WithinRange(0, 10000)] = 30.0
    pretrainSteps: Annotated[int, WithinRange(0, 10000000)] = 0
    networkSize: str = "small"
    imageLoss: bool = True
    taskLoss: bool = True
    groupLoss: bool = True
    reconstructionLoss: bool = True
    denseLoss: bool = True
    positionLoss: bool = True
    withLabels: bool = False
    pretrainStart: str = ""
    """"": the start that ships (`workspace.contents.usualPretrainStart`)."""
    pretrainRun: str = ""

    fineTuneTask: str = ""
    fineTuneStart: str = ""
    """"": the best there is (`workspace.contents.bestStart`)."""
    fineTuneCases: str = "all"
    fineTuneCaseCount: Annotated[int, WithinRange(1, 100000)] = 3
    fineTuneMinutes: Annotated[float, WithinRange(0, 10000)] = 5.0
    fineTuneSteps: Annotated[int, WithinRange(0, 10000000)] = 0
    fineTuneTeacher: str = ""
    mirror: bool = False

    segmentWhat: str = "volume"
    inputVolume: vtkMRMLScalarVolumeNode
    inputFolder: str = ""
    outputFolder: str = ""
    outputSegmentation: vtkMRMLSegmentationNode
    model: str = ""
    flips: bool = False
    keepLargest: str = ""
    """"": the model decides; "on", "off"."""
    uncertainty: bool = False
    fast: bool = False
    segmentNanIsBackground: bool = False
    overwrite: bool = False
    probabilities: bool = False
    dicomSegmentation: bool = True
    segmentFrame: str = ""
    segmentSpacing: str = ""


class HSSLSegmentationLogic(ScriptedLoadableModuleLogic):
    """All that the panel does, without the panel.

    Long work runs in a process of its own and returns a `Job`; with `waitForCompletion=True` the call waits, with the
    application responsive, and raises `JobError` with the job's reason when it fails.

    Args:
        makeProcess: makes the process of a job; a test can give its own.

    Example::

        from HSSLSegmentation import HSSLSegmentationLogic
        logic = HSSLSegmentationLogic()
        logic.createWorkspace("/data/liver")
        logic.addFolder("/data/liver", "/data/scans", task="Liver", group="Abdomen CT", modality="CT")
        logic.addVolume("/data/liver", volumeNode, task="Liver", segmentationNode=segmentationNode)
        logic.pretrain("/data/liver", minutes=30, waitForCompletion=True)
        job = logic.fineTune("/data/liver", task="Liver", minutes=10, waitForCompletion=True)
        segmentationNode = logic.segment(volumeNode, model=job.model).segmentationNode
    """

    def __init__(self, parent=None, makeProcess: Callable[[], JobProcess] = QtProcess):
        from .jobs.jobStarter import JobStarter

        ScriptedLoadableModuleLogic.__init__(self, parent)
        self.starter = JobStarter(makeProcess)
        self._parameterNode: Any = None

    def getParameterNode(self):
        """Returns the state of the panel in the scene: the same object for the same node.

        Each of these objects observes the node for each of its parameters, and Slicer crashes when one of them is
        collected as garbage in the middle of an event of the node.

        Example::

            logic.getParameterNode().workspace = "/data/liver"
        """
        node = super().getParameterNode()
        if self._parameterNode is None or self._parameterNode.parameterNode is not node:
            self._parameterNode = HSSLSegmentationParameterNode(node)  # type: ignore[call-arg]  # the wrapper's
        return self._parameterNode

    def forgetParameterNode(self) -> None:
        """Lets go of the state, such as when the scene closes: its node has no values any more then.

        Example::

            logic.forgetParameterNode()
            state = logic.getParameterNode()  # with its defaults
        """
        self._parameterNode = None

    # Dataset -----------------------------------------------------------------------------------------------------

    def createWorkspace(self, workspace: str | Path, name: str = "") -> Path:
        """Makes a workspace: a folder with a catalogue of images, where runs and models will lie too.

        Example::

            logic.createWorkspace("/data/liver")
        """
        from hssl.workspace.catalogue import Catalogue

        return Catalogue.create(workspace, name).workspace

    def addFolder(
        self,
        workspace: str | Path,
        folder: str | Path,
        task: str,
        group: str = "",
        modality: str = "",
        labelsFolder: str | Path | None = None,
        options: dict[str, Any] | None = None,
        waitForCompletion: bool = True,
    ) -> Job:
        """Adds all volumes (files and DICOM series) under a folder to the workspace, with their labels.

        Args:
            workspace: the workspace.
            folder: a folder of volumes or of DICOM files, or a data set as it was downloaded.
            task, group, modality: of all these images; "" leaves group and modality to what the files say.
            labelsFolder: where the label maps lie, when they lie elsewhere.
            options: further fields of `hssl.configuration.AddConfig`, such as `{"pattern": "{id}_ct.nii.gz"}`; with
                `{"dry_run": True}` the job tells what would be taken, and writes nothing.

        Example::

            job = logic.addFolder("/data/liver", "/data/scans", task="Liver", group="Abdomen CT", modality="CT",
                                  labelsFolder="/data/labels")
            print(job.result.added, job.result.refused)
        """
        from .jobs import datasetJobs

        values = {
            "workspace": workspace,
            "source": str(folder),
            "task": task,
            "group": group,
            "modality": modality,
            "labels": str(labelsFolder) if labelsFolder else None,
            "check": True,
            **(options or {}),
        }
        return self._finished(datasetJobs.add(self.starter, values), waitForCompletion)

    def addDicom(
        self,
        workspace: str | Path,
        folder: str | Path,
        task: str,
        group: str = "",
        modality: str = "",
        waitForCompletion: bool = True,
    ) -> Job:
        """Adds all DICOM series under a folder to the workspace, with the DICOM SEG and RTSTRUCT there as their labels.

        Example::

            logic.addDicom("/data/liver", "/media/cd", task="Liver", group="Abdomen CT")
        """
        return self.addFolder(workspace, folder, task, group, modality, waitForCompletion=waitForCompletion)

    def addVolume(
        self,
        workspace: str | Path,
        volumeNode,
        task: str,
        segmentationNode=None,
        group: str = "",
        modality: str = "",
        classes: dict[str, str] | None = None,
    ) -> str:
        """Copies a volume of the scene, with a segmentation as its label, into the workspace; returns the image's id.

        The volume is written as it stands in the world: a linear transform is hardened into the copy.

        Args:
            workspace: the workspace.
            volumeNode: the volume.
            task: what is to be segmented; a new one gets a class for each segment.
            segmentationNode: the label; None adds the volume without one.
            classes: name of a segment → name of its class; "" leaves the segment out, a new name makes a new class. A
                segment that is not named here must bear the name (or the specific terminology) of a class of the task.

        Raises:
            Refusal: the volume or the segmentation cannot be used, or a segment has no class.

        Example::

            volumeNode, segmentationNode = slicer.util.getNode("CT"), slicer.util.getNode("Liver seg")
            imageId = logic.addVolume("/data/liver", volumeNode, "Liver", segmentationNode,
                                      classes={"Segment_1": "tumour", "try": ""})
        """
        from .scene import cases as sceneCases

        return atOnce(sceneCases.addingVolume(workspace, volumeNode, task, segmentationNode, group, modality, classes))

    def createSampleWorkspace(self, workspace: str | Path, size: str = "demo", waitForCompletion: bool = True) -> Job:
        """Generates a small set of scans (no download) and makes a workspace of it.

        Example::

            logic.createSampleWorkspace("/tmp/hssl-sample")
        """
        from .jobs import datasetJobs

        return self._finished(datasetJobs.createSampleWorkspace(self.starter, workspace, size), waitForCompletion)

    def checkImages(self, workspace: str | Path, waitForCompletion: bool = True) -> Job:
        """Reads every new or changed image and label once, and notes in the catalogue which cannot be used and why.

        Example::

            logic.checkImages("/data/liver").result.problems
        """
        from .jobs import datasetJobs

        return self._finished(datasetJobs.checkImages(self.starter, workspace), waitForCompletion)

    def suggestGroups(self, workspace: str | Path, waitForCompletion: bool = True) -> Job:
        """Compares the tasks' images and suggests which tasks belong into one group; nothing is changed.

        Example::

            logic.suggestGroups("/data/liver").result.groups
        """
        from .jobs import datasetJobs

        return self._finished(datasetJobs.suggestGroups(self.starter, workspace), waitForCompletion)

    def images(self, workspace: str | Path, task: str | None = None, labelled: bool | None = None) -> list[str]:
        """Returns the ids of the usable images of a workspace.

        Example::

            logic.images("/data/liver", task="Liver", labelled=True)
        """
        from hssl.workspace.catalogue import Catalogue

        return [image.id for image in Catalogue.load(workspace).usable(task, labelled)]

    # Labelling ---------------------------------------------------------------------------------------------------

    def suggest(
        self,
        workspace: str | Path,
        task: str,
        model: str | Path = "",
        count: int = 5,
        options: dict[str, Any] | None = None,
        waitForCompletion: bool = True,
    ) -> Job:
        """Ranks the images of a task that have no label by what a label would teach.

        Args:
            workspace: the workspace.
            task: what is to be segmented.
            model: name or path of a fine-tuned model, or of a pretraining; empty takes the latest fine-tuning of the
                task, or else the latest pretraining.
            count: how many images to suggest.
            options: further fields of `hssl.configuration.SuggestConfig`.

        Example::

            for row in logic.suggest("/data/liver", task="Liver", count=3).result.suggestions:
                print(row.rank, row.id, row.uncertainty, row.novelty)
        """
        from .jobs import datasetJobs

        values = {"task": task, "model": str(model), "count": count, **(options or {})}
        return self._finished(datasetJobs.suggest(self.starter, workspace, values), waitForCompletion)

    def openForLabelling(self, workspace: str | Path, imageId: str):
        """Opens an image in the Segment Editor, with an empty segment for each class of its task.

        Returns:
            The segmentation node.

        Example::

            segmentationNode = logic.openForLabelling("/data/liver", "scan_07")
        """
        from hssl.workspace.catalogue import Catalogue

        from .scene import labelling

        return labelling.open(Catalogue.load(workspace), imageId)

    def checkLabels(
        self,
        workspace: str | Path,
        task: str,
        start: str | Path = "best",
        folds: int = 5,
        minutes: float | None = None,
        steps: int | None = None,
        options: dict[str, Any] | None = None,
        waitForCompletion: bool = False,
    ) -> Job:
        """Ranks the labelled images of a task by how much a network that has not seen their label disagrees with it.

        Args:
            workspace: the workspace.
            task: whose labels are looked at.
            start: what each fold starts from, as for `fineTune`.
            folds: how many short trainings.
            minutes, steps: when each of them ends; neither: the engine's own short budget.
            options: further fields of `hssl.configuration.CheckLabelsConfig`, and of the recipe's `FinetuneConfig`.

        Example::

            job = logic.checkLabels("/data/liver", task="Liver", minutes=1, waitForCompletion=True)
            print([(row.id, row.dice) for row in job.result.rows[:8]])
        """
        from hssl.configuration import CheckLabelsConfig

        from .jobs import trainingJobs

        values = {"folds": folds, **_withRecipe(CheckLabelsConfig, task, minutes, steps, options)}
        return self._finished(trainingJobs.checkLabels(self.starter, workspace, start, values), waitForCompletion)

    def learningCurve(
        self,
        workspace: str | Path,
        task: str,
        start: str | Path = "best",
        caseCounts: list[int] | None = None,
        folds: int = 5,
        minutes: float | None = None,
        steps: int | None = None,
        options: dict[str, Any] | None = None,
        waitForCompletion: bool = False,
    ) -> Job:
        """Tells whether more labels still help: Dice of unseen images over the number of labels, cross-validated.

        Args:
            workspace: the workspace.
            task: whose labels are counted.
            start: what each training starts from, as for `fineTune`; no model that has learned from these labels.
            caseCounts: numbers of labelled images; None: 1, 2, 4, … up to what the folds leave, the largest five of them.
            folds: how many; each of them trains once for every number of labels.
            minutes, steps: when each training ends; neither: the engine's own short budget.
            options: further fields of `hssl.configuration.LearningCurveConfig`, and of the recipe's `FinetuneConfig`.

        Example::

            job = logic.learningCurve("/data/liver", task="Liver", steps=200, waitForCompletion=True)
            print(job.result.verdict, [(p.count, p.dice.mean) for p in job.result.points])
        """
        from hssl.configuration import LearningCurveConfig

        from .jobs import trainingJobs

        values = {
            "folds": folds,
            "case_counts": caseCounts or [],
            **_withRecipe(LearningCurveConfig, task, minutes, steps, options),
        }
        return self._finished(trainingJobs.learningCurve(self.starter, workspace, start, values), waitForCompletion)

    def nextCase(self, workspace: str | Path, task: str) -> str | None:
        """Returns the id of the image of a task that is to be labelled next, or None when none is left.

        Suggested images come first (`suggest`), skipped ones last, and not those that cannot be labelled.

        Example::

            while (imageId := logic.nextCase("/data/liver", task="Liver")) is not None:
                segmentationNode = logic.draft("/data/liver", imageId).segmentationNode
                logic.setLabel("/data/liver", imageId, slicer.util.getNode(imageId), segmentationNode)
        """
        from hssl.workspace.catalogue import Catalogue
        from hssl.workspace.review import next_image

        return next_image(Catalogue.load(workspace), task)

    def draft(self, workspace: str | Path, imageId: str, model: str | Path = "", waitForCompletion: bool = True) -> Job:
        """Opens an image for labelling and fills its segments with what a model finds, to be corrected and kept.

        Args:
            workspace: the workspace.
            imageId: the image's id.
            model: a fine-tuning run's folder or a model file; "" takes the latest of the image's task.

        Returns:
            The job; at its end `segmentationNode` has the draft, and `writer` can undo it. What has been drawn while it
            ran is left as it is, and the job fails with that as its reason.

        Raises:
            Refusal: there is no model of the task.

        Example::

            job = logic.draft("/data/liver", "scan_07")
            logic.setLabel("/data/liver", "scan_07", job.volumeNode, job.segmentationNode)
        """
        from .jobs import labellingJobs

        return self._finished(labellingJobs.draft(self.starter, workspace, imageId, model), waitForCompletion)

    def review(self, workspace: str | Path, imageIds: list[str], status: str, remark: str | None = None) -> None:
        """Says of labels that they are "approved" or "flagged", of images that they are "skipped" or "impossible".

        Args:
            workspace: the workspace.
            imageIds: ids of the images.
            status: one of these words, or "" to take it back.
            remark: in a person's own words; None leaves what is there.

        Example::

            logic.review("/data/liver", ["scan_07"], "flagged", remark="the tail is missing")
        """
        from hssl.workspace.review import set_review

        set_review(workspace, imageIds, status, remark)  # type: ignore[arg-type]  # checked there, with the choices told

    def setLabel(
        self, workspace: str | Path, imageId: str, volumeNode, segmentationNode, classes: dict[str, str] | None = None
    ) -> Path:
        """Writes a segmentation as the label of an image of the workspace; returns the label's file.

        Args:
            workspace: the workspace.
            imageId: the image's id.
            volumeNode: the volume node that shows the image.
            segmentationNode: the label.
            classes: name of a segment → name of its class, as for `addVolume`.

        Example::

            volumeNode, segmentationNode = slicer.util.getNode("scan_07"), slicer.util.getNode("Segmentation")
            logic.setLabel("/data/liver", "scan_07", volumeNode, segmentationNode)
        """
        from .scene import cases as sceneCases

        return atOnce(sceneCases.settingLabel(workspace, imageId, volumeNode, segmentationNode, classes))

    # Training ----------------------------------------------------------------------------------------------------

    def pretrain(
        self,
        workspace: str | Path,
        minutes: float | None = None,
        steps: int | None = None,
        start: str | Path = "best",
        run: str = "",
        options: dict[str, Any] | None = None,
        waitForCompletion: bool = False,
    ) -> Job:
        """Learns from all images of the workspace, without labels.

        Args:
            workspace: the workspace.
            minutes, steps: when to end, at the first that is reached; neither: after half an hour.
            start: what to go on from: "best" ("general", which comes with HSSL, unless `options` have a network: then
                scratch), "scratch", "general", a run's name, or a model file; it brings its network.
            run: name of the run; empty lets HSSL choose one.
            options: further fields of `hssl.configuration.PretrainConfig`, such as `{"network": {"size": "medium"}}`.

        Example::

            job = logic.pretrain("/data/liver", minutes=30)
            print(job.progress, job.etaSeconds)
            job.stop(); job.wait(); job = job.resume()
        """
        from .jobs import trainingJobs
        from .workspace import contents as workspaceContents

        chosen = workspaceContents.pretrainStartCalled(start, "network" in (options or {}))
        values = {
            "run": run, "start": chosen, **_budget(minutes, steps), **(options or {})
        }  # fmt: skip
        return self._finished(trainingJobs.pretrain(self.starter, workspace, values), waitForCompletion)

    def estimateMemory(
        self, workspace: str | Path, options: dict[str, Any] | None = None, waitForCompletion: bool = False
    ) -> Job:
        """Tells how much memory a pretraining with these options would take.

        Example::

            job = logic.estimateMemory("/data/liver", {"network": {"size": "large"}}, waitForCompletion=True)
            print(job.result.bytes / 1e9, "GB on", job.result.device)
        """
        from .jobs import trainingJobs

        return self._finished(trainingJobs.estimateMemory(self.starter, workspace, options or {}), waitForCompletion)

    def fineTune(
        self,
        workspace: str | Path,
        task: str,
        start: str | Path = "best",
        cases: list[str] | None = None,
        caseCount: int = 0,
        minutes: float | None = None,
        steps: int | None = None,
        run: str = "",
        teacher: str | Path = "",
        options: dict[str, Any] | None = None,
        waitForCompletion: bool = False,
    ) -> Job:
        """Learns one task from its labelled images.

        Args:
            workspace: the workspace.
            task: what to segment.
            start: "best" (the latest finished pretraining, else the start that ships), "pretrained" (the same,
                refused where there is none), "scratch", a run's name, or a model file.
            cases: ids of the labelled images to learn from; None means `caseCount` of them, or all when that is 0.
            caseCount: how many of the labelled images to draw.
            minutes, steps: when to end, at the first that is reached; neither: after five minutes.
            run: name of the run; empty lets HSSL choose one.
            teacher: a fine-tuned model of the same classes (a run's name, or a model file) to learn from too, on the images
                without a label as well: so a small network, which is fast, learns what a large one knows.
            options: further fields of `hssl.configuration.FinetuneConfig`.

        Example::

            job = logic.fineTune("/data/liver", task="Liver", minutes=10, waitForCompletion=True)
            print(job.result.validation_dice, job.model)
        """
        from .jobs import trainingJobs

        values = {
            "run": run,
            "task": task,
            "start": str(start),
            "cases": cases or [],
            "case_count": 0 if cases else caseCount,
            **_budget(minutes, steps),
            "teacher": str(teacher),
            **(options or {}),
        }
        return self._finished(trainingJobs.fineTune(self.starter, workspace, values), waitForCompletion)

    def compare(
        self,
        workspace: str | Path,
        task: str,
        start: str | Path = "best",
        caseCounts: list[int] | None = None,
        seeds: list[int] | None = None,
        minutes: float | None = None,
        steps: int | None = None,
        options: dict[str, Any] | None = None,
        waitForCompletion: bool = False,
    ) -> Job:
        """Fine-tunes from the start and from scratch with the same recipe; tests both on images that neither has seen.

        Args:
            workspace: the workspace.
            task: what to segment.
            start: what is compared with scratch, as for `fineTune`.
            caseCounts, seeds: numbers of labelled cases, and seeds that each draw their own; None: the engine's own.
            minutes, steps: when each fine-tuning ends; neither: after five minutes.
            options: further fields of `hssl.configuration.CompareConfig` (such as `test`), and of the recipe's
                `FinetuneConfig`.

        Example::

            job = logic.compare("/data/liver", task="Liver", caseCounts=[1, 3], minutes=5, waitForCompletion=True)
            for row in job.result.rows:
                print(row.start, row.case_count, row.dice)
        """
        from hssl.configuration import CompareConfig

        from .jobs import trainingJobs

        values = _withRecipe(CompareConfig, task, minutes, steps, options)
        if caseCounts:
            values["case_counts"] = caseCounts
        if seeds:
            values["seeds"] = seeds
        return self._finished(trainingJobs.compare(self.starter, workspace, start, values), waitForCompletion)

    def resume(self, run: str | Path, waitForCompletion: bool = False) -> Job:
        """Goes on with a run that was stopped, in this session or an earlier one.

        Args:
            run: the run's folder.

        Example::

            logic.resume(logic.runs("/data/liver")[-1].path)
        """
        from .jobs import trainingJobs

        return self._finished(trainingJobs.resume(self.starter, run), waitForCompletion)

    def runs(self, workspace: str | Path) -> list:
        """Returns the runs of a workspace, oldest first, with name, path, kind, state, task and result.

        Example::

            [run.name for run in logic.runs("/data/liver") if run.state == "unfinished"]
        """
        from .workspace import contents as workspaceContents

        return workspaceContents.runs(workspace)

    # Segmentation ------------------------------------------------------------------------------------------------

    def segment(
        self,
        volumeNode,
        model: str | Path,
        outputSegmentation=None,
        flips: bool = False,
        largestComponent: bool | None = None,
        uncertainty: bool = False,
        options: dict[str, Any] | None = None,
        waitForCompletion: bool = True,
    ) -> Job:
        """Segments a volume of the scene.

        Args:
            volumeNode: the volume; a linear transform that it is under is taken into account.
            model: a fine-tuning run's folder (`job.model`) or a model file.
            outputSegmentation: the node to write into; None makes a new one.
            flips: average over mirrored copies, where the model has learned from such: slower, a little better.
            largestComponent: keep only the largest piece of each structure (False: all of them); None lets the model decide,
                by whether its structures are one piece in the labels that it learned from.
            uncertainty: also show where the result is doubtful, as a volume over the image.
            options: further fields of `hssl.configuration.PredictConfig`, such as `fast`.

        Returns:
            The job; at its end it has `segmentationNode`, `uncertaintyNode`, and a `writer` that can undo.

        Example::

            job = logic.segment(slicer.util.getNode("CT"), model="/data/liver/models/liver.zip")
            print(job.segmentationNode.GetName())
        """
        from .jobs import segmentationJobs

        values = {
            "flips": flips,
            "largest_component": largestComponent,
            "uncertainty": uncertainty,
            **(options or {}),
        }
        job = segmentationJobs.segment(self.starter, volumeNode, model, outputSegmentation, values)
        return self._finished(job, waitForCompletion)

    def learnFromSlices(
        self,
        volumeNode,
        segmentationNode,
        model: str | Path = "",
        completeSlices: list[tuple[int, int]] | None = None,
        wholeVolume: bool = False,
        largestComponent: bool | None = None,
        nanIsBackground: bool = False,
        waitForCompletion: bool = True,
    ) -> Job:
        """Learns segments from the slices that are painted of them, and fills the rest of the volume.

        The Segment Editor effect HSSL does the same with a preview, and goes on from round to round. A segment's draft (a
        result that was applied before) stays beyond the slices that were corrected.

        Args:
            volumeNode: the volume; a linear transform that it is under is taken into account.
            segmentationNode: the segments; hidden and completed ones take no part. They are filled, as far as masking and
                overwrite mode of the Segment Editor allow, when it edits this segmentation.
            model: a run's folder or a model file whose features to start from; empty starts from the scan alone.
            completeSlices: (axis of the array: k, j, i → 0, 1, 2; index) of the slices on which what is not painted is
                background. None takes the fewest slices that hold all that is painted; an empty list none, so that only
                painted voxels are learned from, which needs two segments at least.
            wholeVolume: fill all of the volume, not only the surroundings of what is painted.
            largestComponent: leave out what hangs together with nothing painted (False: nothing); None leaves it out of
                segments that are one piece on their slices.
            nanIsBackground: voxels that are NaN are background, as they are where the effect was told so; else such a
                volume is refused.

        Returns:
            The job, with the segmentation as `segmentationNode` and a `writer` that can undo the filling at the end.

        Example::

            segmentationNode = slicer.util.getNode("Segmentation")  # "Liver" is painted on axial slices 12, 30 and 48
            logic.learnFromSlices(slicer.util.getNode("CT"), segmentationNode, model="/data/liver/runs/pretrain-1")
        """
        from .jobs import interactiveJobs

        job = interactiveJobs.learnFromSlices(
            self.starter,
            volumeNode,
            segmentationNode,
            model,
            completeSlices,
            wholeVolume,
            largestComponent,
            nanIsBackground,
        )
        return self._finished(job, waitForCompletion)

    def segmentFolder(
        self,
        folder: str | Path,
        model: str | Path,
        outputFolder: str | Path,
        flips: bool = False,
        largestComponent: bool | None = None,
        uncertainty: bool = False,
        overwrite: bool = False,
        options: dict[str, Any] | None = None,
        waitForCompletion: bool = False,
    ) -> Job:
        """Segments every volume in a folder; the label maps are written into another folder.

        Files that are there already are replaced only with `overwrite=True`, or where they are unchanged results of
        the same model and options; a volume never is.

        Args:
            folder: a folder of volumes, or of a DICOM series; a volume's file does too.
            model, flips, largestComponent: as for `segment`.
            outputFolder: gets `<name>.nii.gz`; none that is read from.
            uncertainty: also write where each result is doubtful.
            overwrite: replace what is there.
            options: further fields of `hssl.configuration.PredictConfig`, such as `frame` and `probabilities`.

        Example::

            model = "/data/liver/models/liver.zip"
            job = logic.segmentFolder("/data/new", model, "/data/new-labels", waitForCompletion=True)
            print(job.result.outputs, job.result.failed)
        """
        from .jobs import segmentationJobs

        values = {
            "flips": flips,
            "largest_component": largestComponent,
            "uncertainty": uncertainty,
            "overwrite": overwrite,
            **(options or {}),
        }
        job = segmentationJobs.segmentFolder(self.starter, folder, model, outputFolder, values)
        return self._finished(job, waitForCompletion)

    def evaluate(
        self,
        predictions: str | Path,
        references: str | Path,
        outputFolder: str | Path,
        model: str | Path | None = None,
        overwrite: bool = False,
        options: dict[str, Any] | None = None,
        waitForCompletion: bool = True,
    ) -> Job:
        """Compares label maps with true ones, file by file of the same name.

        Args:
            predictions, references: folders of label maps, or two files.
            outputFolder: gets `evaluation.csv`, `.json` and `.png`; none that is read from.
            model: names the classes.
            overwrite: replace such files that are no unchanged results of the same evaluation.
            options: further fields of `hssl.configuration.EvaluateConfig`, such as `ignore_value`.

        Example::

            job = logic.evaluate("/data/new-labels", "/data/true-labels", "/data/evaluation")
            print(job.result.summary)
        """
        from .jobs import segmentationJobs

        paths = {"predictions": predictions, "references": references, "output": outputFolder, "model": model}
        values: dict[str, Any] = {name: None if path is None else str(path) for name, path in paths.items()}
        job = segmentationJobs.evaluate(self.starter, {**values, "overwrite": overwrite, **(options or {})})
        return self._finished(job, waitForCompletion)

    # Models ------------------------------------------------------------------------------------------------------

    def models(self, workspace: str | Path) -> list:
        """Returns the model files of a workspace, with name, path, kind and description.

        Example::

            [model.name for model in logic.models("/data/liver")]
        """
        from .workspace import contents as workspaceContents

        return workspaceContents.models(workspace)

    def exportModel(
        self,
        model: str | Path,
        file: str | Path,
        licence: str = "",
        overwrite: bool = False,
        waitForCompletion: bool = True,
    ) -> Job:
        """Writes a run as one .zip file that holds weights, classes, terminology, licence and origin.

        A file that is there already is replaced only with `overwrite=True`.

        Example::

            logic.exportModel(job.model, "/data/liver.zip", licence="CC BY-SA 4.0")
        """
        from .jobs import modelJobs

        return self._finished(modelJobs.exportModel(self.starter, model, file, licence, overwrite), waitForCompletion)

    def importModel(
        self, file: str | Path, workspace: str | Path | None = None, name: str = "", waitForCompletion: bool = True
    ) -> Job:
        """Checks a model file and copies it into a workspace, the last used one unless another is named.

        Example::

            job = logic.importModel("/downloads/liver.zip", "/data/liver")
            logic.segment(volumeNode, model=job.result.file)
        """
        from .jobs import modelJobs

        return self._finished(modelJobs.importModel(self.starter, file, workspace, name), waitForCompletion)

    def _finished(self, job: Job, waitForCompletion: bool) -> Job:
        return job.wait() if waitForCompletion else job


def _withRecipe(
    configuration: type, task: str, minutes: float | None, steps: int | None, options: dict[str, Any] | None
) -> dict[str, Any]:
    """Returns the values of a job that trains by a recipe: `options` are of its own configuration, else of the recipe's."""
    fields = configuration.model_fields  # type: ignore[attr-defined]  # pydantic's, which may not be there yet
    own = {name: value for name, value in (options or {}).items() if name in fields}
    recipe = {name: value for name, value in (options or {}).items() if name not in own}
    return {"finetune": {"task": task, **_budget(minutes, steps), **recipe}, **own}


def _budget(minutes: float | None, steps: int | None) -> dict[str, Any]:
    """Returns when a training ends; nothing where nobody says it, so that the engine's own budget holds."""
    return {} if minutes is None and steps is None else {"budget": {"minutes": minutes, "steps": steps}}
