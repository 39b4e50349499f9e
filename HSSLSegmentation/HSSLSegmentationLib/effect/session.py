"""Interactive work on one volume and one segmentation: rounds of learning or a prediction, on a warm worker."""

import logging
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import qt
from slicer.i18n import tr as _

import slicer

from .. import settings, temporary
from ..jobs.process import JobProcess
from ..scene import annotations
from ..scene import segmentations as sceneSegmentations
from ..scene import volumes as sceneVolumes
from ..scene.annotations import Annotation
from ..scene.annotationTags import SegmentAnnotation
from ..scene.modelClasses import classesOfModel
from ..scene.segmentations import Part, SegmentClass
from ..scene.volumes import SceneVolumeError
from ..steps import atOnce, inSteps
from . import models as effectModels
from .previewNode import Proposal
from .worker import WorkerClient, endSharedWorker, sharedWorker

CANCEL_GRACE_MS = 15000
"""A worker that has not answered for so long after a cancellation hangs, and is ended."""
SMALL_FILE = 2**20
"""Bytes of a label map that is read at once."""
OPENING_GRACES = 8
"""So many times as long it may take to start and to open a volume."""


class EffectSession:
    """Lives from the effect's opening, or the first round, until the volume or the segmentation changes.

    Attributes:
        busy: whether the worker is at work, or a result is being applied.
        isCancelling: whether it was told to stop, and has not answered yet.
        phase, progress, etaSeconds: what it is doing; progress is 0 to 1.
        problem: why the last round gave nothing, "" when it did.
        wayOut: the option that helps out of the problem (`hssl.errors.WayOut`), "" where none does.
        notice: what the user should know of the last round although nothing failed.
        proposal: what the last round gave.
        annotation: what the last round learned from, None for a prediction.

    Args:
        makeProcess: makes the worker's process.
        onChange: called whenever one of the attributes has changed.
        describing: within it, what is known of segments is written into their tags.
    """

    def __init__(
        self,
        volumeNode,
        segmentationNode,
        makeProcess: Callable[[], JobProcess],
        onChange: Callable[[], None],
        describing: Callable[[], AbstractContextManager] = nullcontext,
    ):
        sceneVolumes.check(volumeNode)
        sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
        self.volumeNode, self.segmentationNode = volumeNode, segmentationNode
        self.busy = self.isCancelling = False
        self.phase, self.progress, self.etaSeconds = "", 0.0, None
        self.problem = self.wayOut = self.notice = ""
        self.proposal: Proposal | None = None
        self.annotation: Annotation | None = None
        self._makeProcess, self._onChange = makeProcess, onChange
        self._describing = describing
        self._gathering: object | None = None
        self._applying: Generator[None, None, None] | None = None
        self._whenApplied: Callable[[], None] = lambda: None
        self._proposedAt = numpy.eye(4)
        self._proposedOf: int | None = None
        self._taken: tuple = ()
        self._values: dict[str, int] = {}
        self._round = self._opened = 0
        self._ended = False
        self._shared: WorkerClient | None = None
        self._waiting: list[Callable[[], None]] | None = None
        self._folder = temporary.newFolder()
        try:
            self._worker()
        except Exception:
            self.end()
            raise
        if self.problem:
            self.end()
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
        self.problem = self.wayOut = ""
        self._open(_opened(model))

    def learn(self, model: str, scribblesOnly: bool, largestComponent: bool | None = None) -> None:
        """Starts a round: the segments that are neither hidden nor completed are learned from what is painted of them.

        Args:
            model: a run's folder or a model file whose features to start from, or `effectModels.NONE`.
            scribblesOnly: only marked slices count as complete, not every slice that something is painted on.
            largestComponent: leave out what hangs together with nothing painted (False: nothing); None leaves it out of
                segments that are one piece on their slices.

        Raises:
            SceneVolumeError: nothing is painted, or it is not on the volume.
        """
        sceneVolumes.check(self.volumeNode)
        segments = self.segments()
        self._begin()
        self._gathering = token = object()
        inSteps(
            self._learned(model, segments, scribblesOnly, largestComponent),
            lambda: None,
            self._stepFailed,
            lambda: self._gathering is token,
        )

    def _learned(
        self, model: str, segments: dict[str, int], scribblesOnly: bool, largestComponent: bool | None
    ) -> Iterator[None]:
        """Gathers what is painted, makes known on which slices, and asks the worker."""
        node, volumeNode, file = self.segmentationNode, self.volumeNode, self._annotationFile()
        classes = [sceneSegmentations.asClass(node, i, value) for i, value in segments.items()]
        annotation, known = yield from annotations.gathered(node, segments, volumeNode, scribblesOnly)
        annotations.checkOverlaps(node, segments, annotation)
        with self._describing():
            for segmentId, own in known.items():
                annotations.keepPainted(node, segmentId, volumeNode, own)
        yield
        yield from sceneVolumes.writtenArray(annotation.labels.values, file)
        self._gathering, self.annotation = None, annotation
        self._open(_opened(model))
        self._ask(
            "learn",
            lambda result: self._propose(result, classes, list(segments)),
            annotation=str(file),
            start=annotation.labels.start,
            background=annotations.BACKGROUND,
            planes=[[*plane, values] for plane, values in sorted(annotation.planes.items())],
            largest_component=largestComponent,
            label_map=str(self._resultFile()),
        )

    def predict(self, model: str, largestComponent: bool | None = None, fast: bool = False) -> None:
        """Starts a prediction with a fine-tuned model.

        Args:
            model: a run's folder or a model file.
            largestComponent: keep only the largest piece of each structure (False: all of them); None lets the model decide.
            fast: in one slice plane only, where the model looks along all three axes.
        """
        classes = classesOfModel(model)
        segmentIds = sceneSegmentations.segmentsOfClasses(classes, self.segmentationNode)
        self.annotation = None
        self._open(None)
        self._begin()
        self._ask(
            "predict",
            lambda result: self._propose(result, classes, segmentIds, isPrediction=True),
            model=model,
            largest_component=largestComponent,
            fast=fast,
            label_map=str(self._resultFile()),
        )

    def discard(self) -> None:
        """Forgets the proposal; what was learned stays for the next round."""
        self.proposal = None

    def cancel(self) -> None:
        """Stops the round; a worker that does not answer is ended."""
        if not self.busy:
            return
        if self._gathering is not None or self._waiting:
            # The worker was not asked yet; a volume that is being written for it serves the next round.
            self._gathering, self.busy = None, False
            if self._waiting:
                self._waiting.clear()
            self.notice = _("Cancelled.")
            self._onChange()
            return
        worker, number = self._worker(), self._round
        self.isCancelling = True
        worker.cancel()

        def endIfHanging(waited: int) -> None:
            if not self.busy or self._round != number or self._ended:
                return
            if worker.isOpening() and waited < OPENING_GRACES:
                # It has not come to the cancellation yet, and what it has read serves the next round.
                qt.QTimer.singleShot(CANCEL_GRACE_MS, lambda: endIfHanging(waited + 1))
                return
            endSharedWorker(_("The worker did not answer and was ended; the next round starts another."))

        qt.QTimer.singleShot(CANCEL_GRACE_MS, lambda: endIfHanging(1))
        self._onChange()

    def end(self) -> None:
        """Lets go of the volume and removes the files; the worker stays for the next one. A result that is being written
        is written first: half of one would be taken for painting."""
        if self._ended:
            return
        self._finishApplying()
        wasBusy, self.busy, self._ended, self._gathering = self.busy, False, True, None
        worker = self._shared
        if worker is not None:
            worker.tellNoMore(self._died)
        if worker is not None and worker.isAlive() and worker.opened is not None and worker.opened[0] is self:
            worker.opened = None
            if wasBusy:
                worker.cancel()
            worker.ask("close", lambda event: None)
        shutil.rmtree(self._folder, ignore_errors=True)

    # What is painted ---------------------------------------------------------------------------------------------

    def segments(self) -> dict[str, int]:
        """Returns the segments that are learned from, with values that stay theirs from round to round."""
        segmentIds = sceneSegmentations.segmentsUnderWork(self.segmentationNode)
        values = {segmentId: self._values.setdefault(segmentId, len(self._values) + 1) for segmentId in segmentIds}
        if len(self._values) >= annotations.BACKGROUND:
            raise SceneVolumeError(
                _(
                    "{name} has more segments than {count}: hide or complete those that are finished, and learn from the others."
                ).format(name=self.segmentationNode.GetName(), count=annotations.BACKGROUND - 1)
            )
        return values

    # The result --------------------------------------------------------------------------------------------------

    def taken(self, segmentIds: list[str], visibleOnly: bool) -> dict[str, int]:
        """Returns how many voxels the proposal takes from those of some segments that have no part in it, by name."""
        proposal = self.proposal
        if proposal is None:
            return {}
        shown = sceneSegmentations.visibleSegments(self.segmentationNode)
        segmentation = self.segmentationNode.GetSegmentation()
        asked = [i for i in segmentIds if i not in proposal.segmentIds and (i in shown or not visibleOnly)]
        stamp = annotations.stampOf(self.segmentationNode, asked)
        if self._taken and self._taken[0] is proposal and self._taken[1] == stamp:
            return self._taken[2]
        found = {}
        for segmentId in asked:
            there = sceneSegmentations.segmentPart(self.segmentationNode, segmentId, self.volumeNode)
            count = int(numpy.count_nonzero(proposal.labels.within(there.slices)[there.values]))
            if count:
                found[segmentation.GetSegment(segmentId).GetName()] = count
        self._taken = (proposal, stamp, found)
        return found

    def apply(
        self,
        modify: Callable,
        protected: list[str],
        scribblesOnly: bool,
        isOverlapAllowed: bool,
        whenDone: Callable[[], None],
    ) -> None:
        """Writes the proposal into the segments; what was painted since stays as it was painted.

        Args:
            modify: called with a segment's id, a labelmap, and whether it is added or removed.
            protected: ids of segments that nothing is taken from.
            scribblesOnly: as for `learn`.
            isOverlapAllowed: whether what is added to one segment leaves the others as they are.
            whenDone: called when all is written.
        """
        proposal = self.proposal
        assert proposal is not None
        matrix = sceneSegmentations.matrixInNode(self.volumeNode, self.segmentationNode)
        # Of its stamp only the voxels: volume and segments may have been moved together.
        if not numpy.allclose(self._proposedAt, matrix) or self._proposedOf != self.stamp()[0]:
            raise SceneVolumeError(
                _("{name} was changed or moved since the preview was made; discard it and start again.").format(
                    name=self.volumeNode.GetName()
                )
            )
        self.busy, self.phase, self.progress, self.etaSeconds = True, "apply", 0.0, None
        for number, segmentId in enumerate(proposal.segmentIds):
            if segmentId and self.segmentationNode.GetSegmentation().GetSegment(segmentId) is None:
                self.busy = False
                raise SceneVolumeError(
                    _("The segment {name} was removed meanwhile; discard the preview and start again.").format(
                        name=proposal.classes[number].name
                    )
                )
        self._whenApplied = whenDone
        self._applying = work = self._written(proposal, modify, protected, scribblesOnly, isOverlapAllowed)
        inSteps(work, self._applied, self._notApplied, lambda: self._applying is work)

    def _finishApplying(self) -> None:
        work, self._applying = self._applying, None
        if work is not None and self.isAbout(self.volumeNode, self.segmentationNode):
            try:
                atOnce(work)
            except Exception as error:
                self._notApplied(error)
            else:
                self._applied()

    def _notApplied(self, error: Exception) -> None:
        self._applying = None
        self._stepFailed(error)

    def _written(self, proposal, modify, protected, scribblesOnly, isOverlapAllowed) -> Generator[None, None, None]:
        node, volumeNode = self.segmentationNode, self.volumeNode
        parts = []
        for segmentId in protected:
            if segmentId not in proposal.segmentIds:
                parts.append((yield from sceneSegmentations.readingPart(node, segmentId, volumeNode)))
        ids = [
            segmentId or sceneSegmentations.addSegment(segmentClass, node)
            for segmentClass, segmentId in zip(proposal.classes, proposal.segmentIds, strict=True)
        ]
        values = {segmentId: c.value for segmentId, c in zip(ids, proposal.classes, strict=True)}
        painted, known = yield from self._paintedNow(values, scribblesOnly)
        labels = yield from _withWhatWasPainted(proposal.labels, painted, list(values.values()))
        with sceneSegmentations.surfacesAtTheEnd(node):
            for number, (segmentId, value) in enumerate(values.items()):
                there = yield from sceneSegmentations.readingPart(node, segmentId, volumeNode)
                wanted = yield from annotations.wantedOf(painted, value, labels, there, isOverlapAllowed)
                yield from sceneSegmentations.changing(
                    node, segmentId, volumeNode, wanted, partial(modify, segmentId), parts
                )
                self.progress = (number + 1) / len(values)
                self._onChange()
        yield from annotations.applied(node, known, values, painted, volumeNode, self._describing)

    def _paintedNow(
        self, values: dict[str, int], scribblesOnly: bool
    ) -> Generator[None, None, tuple[Annotation | None, dict[str, SegmentAnnotation]]]:
        try:
            return (yield from annotations.gathered(self.segmentationNode, values, self.volumeNode, scribblesOnly))
        except SceneVolumeError:  # nothing is painted, as before a prediction
            known: dict[str, SegmentAnnotation] = {}
            for segmentId in values:
                known[segmentId] = yield from annotations.reading(self.segmentationNode, segmentId, self.volumeNode)
            return None, known

    def _applied(self) -> None:
        self.busy, self.proposal, self._applying = False, None, None
        self._whenApplied()
        self._onChange()

    # The worker --------------------------------------------------------------------------------------------------

    def _worker(self) -> WorkerClient:
        self._shared = sharedWorker(self._makeProcess, self._died)
        return self._shared

    def _annotationFile(self) -> Path:
        return self._folder / "annotation.npy"

    def _resultFile(self) -> Path:
        self._round += 1
        return self._folder / f"labels-{self._round}.npy"

    def stamp(self) -> tuple:
        """Returns what tells the volume, as it is now, from another or a changed one."""
        return sceneVolumes.stampOf(self.volumeNode)

    def _open(self, model: str | None) -> None:
        """Has the volume opened unless it is open as it is now; a `model` of None leaves the one that is there."""
        worker, stamp = self._worker(), self.stamp()
        known = worker.opened
        if known is not None and known[:2] == (self, stamp) and model in (None, known[2]):
            return
        sceneVolumes.check(self.volumeNode)
        worker.opened = (self, stamp, model or "")
        # One file for each: the worker may not have read the one before when it is opened with another model.
        self._opened += 1
        file = self._folder / f"volume-{self._opened}.npy"
        array = slicer.util.arrayFromVolume(self.volumeNode)
        self._waiting = []

        def written() -> None:
            waiting, self._waiting = self._waiting, None
            self._send(
                "open",
                lambda result: file.unlink(missing_ok=True),
                volume=str(file),
                geometry=sceneVolumes.toLps(sceneVolumes.worldMatrix(self.volumeNode)).tolist(),
                model=model or "",
                nan_is_background=sceneVolumes.isNanBackground(self.volumeNode),
                device=settings.value("device"),
                threads=settings.value("threads"),
            )
            for action in waiting or ():
                action()

        inSteps(sceneVolumes.writtenArray(array, file), written, self._stepFailed, lambda: not self._ended)

    def _stepFailed(self, error: Exception) -> None:
        if not isinstance(error, ValueError):
            logging.error("The effect met a fault", exc_info=error)
        self.busy, self._waiting, self._gathering, self.problem = False, None, None, str(error)
        if self._shared is not None and self._shared.opened is not None and self._shared.opened[0] is self:
            self._shared.opened = None
        self._onChange()

    def _begin(self) -> None:
        self.busy, self.isCancelling, self.problem, self.wayOut, self.notice = True, False, "", "", ""
        self.phase, self.progress, self.etaSeconds = "start", 0.0, None
        self._onChange()

    def _ask(self, command: str, whenDone: Callable[[dict], Iterator[None]], **values) -> None:
        if self._waiting is None:
            self._send(command, whenDone, **values)
        else:
            self._waiting.append(lambda: self._send(command, whenDone, **values))

    def _send(self, command: str, whenDone: Callable[[dict], Any], **values) -> None:
        last = command != "open"

        def told(event) -> None:
            if self._ended:
                return
            if event.event == "phase" and self.busy:
                self.phase, self.progress, self.etaSeconds = event.name, 0.0, None
            elif event.event == "progress":
                self.phase, self.progress, self.etaSeconds = event.phase, event.fraction, event.eta_seconds
            elif event.event == "message" and event.level != "info":
                self.notice = f"{self.notice}\n{event.text}".strip()
            elif event.event == "failed":
                self._failed(command, event)
            elif event.event == "done" and last:
                if event.stopped:
                    self.busy, self.notice = False, _("Cancelled.")
                else:
                    self._take(whenDone, event.result)
            elif event.event == "done" and not event.stopped:
                whenDone(event.result)
            elif event.event == "done":
                self._worker().opened = None
            self._onChange()

        self._worker().ask(command, told, **values)

    def _failed(self, command: str, event) -> None:
        if command == "open":
            self._worker().opened = None
        else:
            self.busy = False
        # What follows a failed opening fails too, with a reason that says less.
        reason = "\n".join(text for text in (event.message, event.hint) if text)
        if not self.problem:
            self.problem, self.wayOut = self._inWords(reason), event.way_out

    def _inWords(self, reason: str) -> str:
        """The user knows nodes, not the files that they were written to."""
        for file in (*self._folder.glob("volume-*.npy"), self._annotationFile()):
            node = self.volumeNode if file.name.startswith("volume") else self.segmentationNode
            reason = reason.replace(str(file), node.GetName()).replace(file.name, node.GetName())
        return reason

    def _take(self, proposed: Callable[[dict], Iterator[None]], result: dict) -> None:
        """Takes a round's result over, in steps."""
        self._gathering = token = object()
        inSteps(self._taking(proposed, result), self._proposed, self._notProposed, lambda: self._gathering is token)

    def _taking(self, proposed: Callable[[dict], Iterator[None]], result: dict) -> Iterator[None]:
        opened = self._worker().opened
        stamp: tuple = () if opened is None else opened[1]
        sceneVolumes.requireUnchanged(self.volumeNode, stamp)
        yield from proposed(result)
        self._proposedOf = stamp[0]

    def _proposed(self) -> None:
        self.busy, self._gathering = False, None
        self._onChange()

    def _notProposed(self, error: Exception) -> None:
        if not isinstance(error, SceneVolumeError):
            logging.error("The effect met a fault", exc_info=error)
        self.busy, self._gathering, self.problem = False, None, str(error)
        self._onChange()

    def _propose(
        self, result: dict, classes: list[SegmentClass], segmentIds: list[str], isPrediction: bool = False
    ) -> Iterator[None]:
        from hssl.results import RoundResult

        segmentation = self.segmentationNode.GetSegmentation()
        gone = [c.name for c, i in zip(classes, segmentIds, strict=True) if i and segmentation.GetSegment(i) is None]
        if gone:
            one, many = (
                _("{names} was removed meanwhile; the result is discarded."),
                _("{names} were removed meanwhile; the result is discarded."),
            )
            raise SceneVolumeError((one if len(gone) == 1 else many).format(names=", ".join(gone)))
        told = RoundResult.model_validate(result)
        labels = _mapped(told.label_map)
        for file in self._folder.glob("labels-*.npy"):
            if file != told.label_map:
                with suppress(OSError):  # Windows keeps what is still shown
                    file.unlink()
        assert told.start is not None
        values = {i: c.value for i, c in zip(segmentIds, classes, strict=True) if i}
        found = yield from annotations.withDrafts(
            Part(told.start, labels), told.spans, self.segmentationNode, values, self.volumeNode
        )
        self._proposedAt = sceneSegmentations.matrixInNode(self.volumeNode, self.segmentationNode)
        self.proposal = Proposal(found, classes, segmentIds, told.place, isPrediction)

    def _died(self, reason: str) -> None:
        """An idle worker's death takes nothing away: the next round starts another."""
        if self._ended:
            return
        self._waiting = None
        if self.busy or self.proposal is None:
            self.problem = reason
        self.busy = False
        self._onChange()


def _mapped(file: Path) -> numpy.ndarray:
    """Returns a label map that is read only as it is looked at; an empty one cannot be mapped."""
    labels = numpy.load(file, mmap_mode="r" if file.stat().st_size > SMALL_FILE else None)
    return labels.view(numpy.ndarray)


def _opened(model: str) -> str:
    """Returns a model as the worker wants it."""
    return "" if model == effectModels.NONE else model


def _withWhatWasPainted(labels: Part, painted: Annotation | None, values: list[int]) -> Generator[None, None, Part]:
    """The proposed labels, but as it is painted now wherever something is known."""
    if painted is None:
        return labels
    box = sceneSegmentations.around([labels, painted.labels])
    start = sceneSegmentations.cornerOf(box)
    found = numpy.empty([part.stop - part.start for part in box], labels.values.dtype)
    for slab in sceneSegmentations.inSlabs(box):
        here = found[slab[0].start - start[0] : slab[0].stop - start[0]]
        here[...] = labels.within(slab)
        for (axis, index), complete in painted.planes.items():
            view = Part(sceneSegmentations.cornerOf(slab), here).plane(axis, index)
            view[numpy.isin(view, complete)] = 0
        known = painted.labels.within(slab)
        here[known == annotations.BACKGROUND] = 0
        isPainted = (known > 0) & (known != annotations.BACKGROUND)
        here[isPainted] = known[isPainted]
        yield
    return Part(start, found)
