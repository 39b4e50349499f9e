"""Interactive work on one volume and one segmentation: rounds of learning or a prediction, on a warm worker."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from slicer.i18n import tr as _

import slicer

from .. import settings
from ..jobs.process import JobProcess
from ..jobs.wayOut import hintOf
from ..scene import annotatedSlices
from ..scene import segmentations as sceneSegmentations
from ..scene import volumes as sceneVolumes
from ..scene.annotatedSlices import Annotation, Plane
from ..scene.modelClasses import classesOfModel
from ..scene.segmentations import SegmentClass
from ..scene.volumes import SceneVolumeError
from . import models as effectModels
from .previewNode import Proposal
from .worker import InteractiveWorker


class InteractiveSession:
    """Lives from the effect's opening, or the first round, until the volume or the segmentation changes.

    Attributes:
        busy: whether the worker is at work.
        phase, progress, etaSeconds: what it is doing; progress is 0 to 1.
        problem: why the last round gave nothing, "" when it did.
        proposal: what the last round gave.
        planes: the slices that the last round took for complete.
        dead: whether the worker has died; a new session is needed.

    Args:
        makeProcess: makes the worker's process.
        onChange: called whenever one of the attributes has changed.
    """

    def __init__(
        self, volumeNode, segmentationNode, makeProcess: Callable[[], JobProcess], onChange: Callable[[], None]
    ):
        sceneVolumes.check(volumeNode)
        self.volumeNode, self.segmentationNode = volumeNode, segmentationNode
        self.busy = self.dead = False
        self.phase, self.progress, self.etaSeconds = "", 0.0, None
        self.problem = ""
        self.proposal: Proposal | None = None
        self.planes: list[Plane] = []
        self._onChange = onChange
        self._values: dict[str, int] = {}
        self._annotation: Annotation | None = None
        self._applied: numpy.ndarray | None = None
        self._opened: Any = None
        self._folder = Path(tempfile.mkdtemp(prefix="HSSL-", dir=slicer.app.temporaryPath))
        self._worker = InteractiveWorker(makeProcess(), self._died)
        try:
            self._worker.start()
        except Exception:
            self.end()
            raise
        if self.dead:
            raise SceneVolumeError(self.problem)

    def isAbout(self, volumeNode, segmentationNode) -> bool:
        """Tells whether these are the session's nodes, and still in the scene."""
        return (
            self.volumeNode is volumeNode
            and self.segmentationNode is segmentationNode
            and slicer.mrmlScene.IsNodePresent(volumeNode)
            and slicer.mrmlScene.IsNodePresent(segmentationNode)
        )

    def prepare(self, model: str) -> None:
        """Has the worker read volume and model, so that a round with them need not wait for it.

        Args:
            model: as for `learn`.
        """
        self._open("" if model == effectModels.NONE else model)

    def learn(self, model: str, scribblesOnly: bool, marked: list[Plane]) -> None:
        """Starts a round: the visible segments are learned from what is painted of them.

        Args:
            model: a run's folder or a model file whose features to start from, or `effectModels.NONE`.
            scribblesOnly: only marked slices count as complete, not every slice that something is painted on.
            marked: the slices that the user marked as complete.

        Raises:
            SceneVolumeError: nothing is painted, or it is not on the volume.
        """
        annotation = self._annotated(scribblesOnly, marked)
        file = self._folder / "annotation.nrrd"
        sceneVolumes.writeArray(annotation.labels, sceneVolumes.worldMatrix(self.volumeNode), file, compress=False)
        segments = self._segments()
        classes = [sceneSegmentations.asClass(self.segmentationNode, i, value) for i, value in segments.items()]

        def learned(result: dict) -> None:
            self._annotation, self._applied = annotation, None
            self._propose(result, classes, list(segments))

        self.planes = annotation.planes
        self.prepare(model)
        self._ask(
            "learn",
            learned,
            annotation=str(file),
            planes=annotation.planes,
            label_map=str(self._folder / "labels.nii"),
            uncertainty=str(self._folder / "uncertainty.nii"),
            overwrite=True,  # the folder is this session's own
        )

    def predict(self, model: str, flips: bool = False) -> None:
        """Starts a prediction with a fine-tuned model."""
        classes = classesOfModel(model)
        segmentIds = [sceneSegmentations.segmentOfClass(c, self.segmentationNode) for c in classes]
        self.planes = []
        self._open(None)
        self._ask(
            "predict",
            lambda result: self._propose(result, classes, segmentIds),
            model=model,
            flips=flips,
            label_map=str(self._folder / "labels.nii"),
            uncertainty=str(self._folder / "uncertainty.nii"),
            overwrite=True,  # the folder is this session's own
        )

    def applied(self) -> None:
        """To be called when the proposal was written into the segments: later changes of them are corrections."""
        self.proposal = None
        self._applied = self._painted() if self._annotation is not None else None

    def discard(self) -> None:
        """Forgets the proposal; what was learned stays for the next round."""
        self.proposal = None

    def cancel(self) -> None:
        """Stops the round."""
        if self.busy:
            self._worker.cancel()

    def end(self) -> None:
        """Ends the worker and removes its files."""
        self.busy = False
        self.dead = True
        self._worker.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    # What is painted ---------------------------------------------------------------------------------------------

    def _segments(self) -> dict[str, int]:
        """Returns the visible segments, with values that stay theirs from round to round."""
        shown = sceneSegmentations.visibleSegments(self.segmentationNode)
        return {segmentId: self._values.setdefault(segmentId, len(self._values) + 1) for segmentId in shown}

    def _painted(self) -> numpy.ndarray:
        return sceneSegmentations.labelsOf(self.segmentationNode, self._segments(), self.volumeNode)

    def _annotated(self, scribblesOnly: bool, marked: list[Plane]) -> Annotation:
        painted = self._painted()
        before, applied = self._annotation, self._applied
        if before is not None and applied is not None and annotatedSlices.isCorrection(before, applied, painted):
            found = annotatedSlices.corrected(before, applied, painted)
        else:
            found = Annotation(painted, [] if scribblesOnly else annotatedSlices.paintedSlices(painted))
        return Annotation(found.labels, sorted({*found.planes, *marked}))

    # The worker --------------------------------------------------------------------------------------------------

    def _open(self, model: str | None) -> None:
        """Has the volume opened unless it is open as it is now; a `model` of None leaves the one that is there."""
        image = self.volumeNode.GetImageData()
        stamp = (image.GetMTime(), sceneVolumes.worldMatrix(self.volumeNode).tolist())
        if self._opened is not None and self._opened[0] == stamp and model in (None, self._opened[1]):
            return
        file = self._folder / "volume.nrrd"
        sceneVolumes.writeVolume(self.volumeNode, file)
        self._opened = (stamp, model or "")
        self._ask(
            "open",
            lambda result: None,
            volume=str(file),
            model=model or "",
            device=settings.value("device"),
            threads=settings.value("threads"),
        )

    def _ask(self, command: str, whenDone: Callable[[dict], None], **values) -> None:
        last = command != "open"
        self.busy = self.busy or last
        self.problem, self.proposal = "", None
        self.phase, self.progress, self.etaSeconds = command, 0.0, None

        def told(event) -> None:
            if event.event == "phase":
                self.phase, self.progress, self.etaSeconds = event.name, 0.0, None
            elif event.event == "progress":
                self.phase, self.progress, self.etaSeconds = event.phase, event.fraction, event.eta_seconds
            elif event.event == "message" and event.level != "info":
                self.problem = event.text
            elif event.event == "failed":
                self._failed(command, event)
            elif event.event == "done" and last:
                self.busy = False
                if event.stopped:
                    self.problem = self.problem or _("Cancelled.")
                else:
                    self._take(whenDone, event.result)
            self._onChange()

        self._worker.ask(command, told, **values)
        self._onChange()

    def _failed(self, command: str, event) -> None:
        if command == "open":
            self._opened = None
        else:
            self.busy = False
        # What follows a failed opening fails too, with a reason that says less.
        self.problem = self.problem or "\n".join(text for text in (event.message, hintOf(event)) if text)

    def _take(self, whenDone: Callable[[dict], None], result: dict) -> None:
        try:
            if not slicer.mrmlScene.IsNodePresent(self.volumeNode):
                raise SceneVolumeError(_("The volume was removed from the scene meanwhile."))
            whenDone(result)
        except SceneVolumeError as error:
            self.problem = str(error)

    def _propose(self, result: dict, classes: list[SegmentClass], segmentIds: list[str]) -> None:
        labels = sceneVolumes.readArray(result["label_map"], self.volumeNode)
        doubt = sceneVolumes.readArray(result["uncertainty"], self.volumeNode)
        axis, index = result["next_slice"]
        inSlice = numpy.moveaxis(doubt, axis, 0)[index]
        place = [int(i) for i in numpy.unravel_index(int(inSlice.argmax()), inSlice.shape)]
        place.insert(axis, index)
        k, j, i = place
        self.proposal = Proposal(labels, classes, segmentIds, (k, j, i))

    def _died(self, reason: str) -> None:
        self.end()
        self.problem = reason
        self._onChange()
