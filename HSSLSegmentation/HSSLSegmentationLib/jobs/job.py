"""A job in the background: what it tells while it works, how it is stopped, and how it ended."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

import slicer
from hssl.errors import STOPPED_EXIT_CODE, HSSLError, MemoryExhaustedError

from ..refusal import Refusal
from ..steps import inSteps
from .engineProcess import EngineProcess
from .interpreter import Command
from .process import JobProcess
from .wayOut import hintOf

if TYPE_CHECKING:
    from ..scene.segmentations import SegmentWriter

_running: list["Job"] = []


def runningJobs() -> list["Job"]:
    """Returns the jobs of this application that have not ended."""
    return list(_running)


class JobError(RuntimeError):
    """A job failed. The message says why and what to try; `job` is the job."""

    def __init__(self, job: "Job"):
        super().__init__("\n".join(text for text in (job.error, job.hint) if text))
        self.job = job


class Job:
    """One run of the engine in a process of its own. All of it happens on the main thread.

    Attributes:
        kind: "pretrain", "finetune", "compare", "predict", …
        state: "running", "stopping", "done", "stopped" (can be resumed), or "failed".
        progress: 0 to 1 within the present phase.
        phase, etaSeconds, detail: what is going on.
        events: every event of the engine so far (`hssl.events`).
        losses, metrics: those events of theirs.
        lastLines: the last lines of the log.
        result: what the engine returned (`hssl.results`); None until the end.
        run: folder of the run, where the job has one.
        model: what `segment` takes as its model: the run of a fine-tuning.
        error, hint: why the job failed, and what to try.
        failure: the kind of error, such as "ConfigurationError"; "" where the engine told none.
        wayOut: what gets one out of the error (`hssl.errors.WayOut`), such as "frame"; "" where nothing is named.
        volumeNode: the volume of the scene that the job is about, where there is one.
        segmentationNode: the segmentation of the scene that the result was written into; None until then.
        uncertaintyNode: the volume of the scene that shows the uncertainty, where it was asked for.
        writer: wrote the result into the segments, and can undo it.

    Example::

        job = logic.pretrain(workspace, minutes=10)
        while job.isRunning():
            slicer.app.processEvents()
            print(f"{job.progress:.0%}")
        job.stop(); job.wait()
    """

    stopGraceSeconds = 60.0
    """A stop is asked for; after this time the process is told to terminate …"""
    terminateGraceSeconds = 5.0
    """… and after this one killed with its children."""
    exitGraceSeconds = 5.0
    """How long the process may take to exit after it has told its result (macOS is known to hang there)."""
    silenceSeconds = 120.0
    """Without a line for this long, the panel says that the job is silent."""

    def __init__(
        self,
        kind: str,
        command: Command,
        stopFile: Path | None,
        process: JobProcess,
        run: Path | None = None,
        whenDone: Callable[["Job"], Iterator[None]] | None = None,
        startAgain: Callable[[], "Job"] | None = None,
        before: Iterator[None] | None = None,
    ):
        self.kind = self._engineKind = kind
        self.command = command
        self.stopFile = stopFile
        self.run = run
        self.state = "running"
        self.phase = ""
        self.phaseIndex, self.phaseCount = 0, 0
        self.progress = 0.0
        self.etaSeconds: float | None = None
        self.detail = ""
        self.events: list = []
        self.result: Any = None
        self.error = self.hint = self.failure = self.wayOut = ""
        self.volumeNode = self.segmentationNode = self.uncertaintyNode = None
        self.writer: SegmentWriter | None = None
        self._engine = EngineProcess(process, self._event, self._finished, self._failedToStart)
        self._whenDone = whenDone
        self._startAgain = startAgain
        self._before = iter(()) if before is None else before
        self._isStarted = self._isTakingOver = False
        self._observers: list[Callable[[Job, object], None]] = []
        self._outcome: Any = None
        self._startTime = time.monotonic()
        self._deadline: float | None = None
        self._terminated = self._killed = False
        self._timer = qt.QTimer()
        self._timer.setInterval(250)
        self._timer.connect("timeout()", self._tick)

    # What the outside does ---------------------------------------------------------------------------------------

    def start(self) -> "Job":
        """Does what comes before the process, and starts it; returns the job itself."""
        _running.append(self)
        self._timer.start()
        inSteps(
            self._before,
            self._startProcess,
            lambda problem: self._end("failed", self._reasonOf(problem)),
            lambda: self.state == "running",
        )
        return self

    def isRunning(self) -> bool:
        """Tells whether the job has not ended yet."""
        return self.state in ("running", "stopping")

    def stop(self) -> None:
        """Asks the job to write a checkpoint and end; one that does not is terminated, then killed with its children."""
        if self.state != "running" or self._isTakingOver:
            return
        if not self._isStarted:
            self._end("stopped")
            return
        self.state = "stopping"
        grace = 0.0
        if self.stopFile is not None:
            try:
                self.stopFile.parent.mkdir(parents=True, exist_ok=True)
                self.stopFile.touch()
                grace = self.stopGraceSeconds
            except OSError as error:
                logging.warning("%s cannot be written (%s): the job is terminated instead", self.stopFile, error)
        self._deadline = time.monotonic() + grace
        self._tell(None)

    def wait(self, seconds: float | None = None) -> "Job":
        """Waits for the end while the application stays responsive; returns the job itself.

        Raises:
            JobError: the job failed; the message is its reason.
            TimeoutError: the job still runs after `seconds`.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while self.isRunning():
            slicer.app.processEvents()
            if end is not None and time.monotonic() > end and self.isRunning():
                raise TimeoutError(_("The job still runs after {seconds} s.").format(seconds=seconds))
            time.sleep(0.01)
        if self.state == "failed":
            raise JobError(self)
        return self

    def resume(self) -> "Job":
        """Goes on where a stopped or failed job has left its checkpoint; returns the new job.

        Raises:
            RuntimeError: the job still runs, or is of a kind that keeps no checkpoint.
        """
        if self.isRunning() or self._startAgain is None:
            raise RuntimeError(_("Only a training that was stopped can be resumed."))
        return self._startAgain()

    def isResumable(self) -> bool:
        """Tells whether the job is of a kind that keeps a checkpoint."""
        return self._startAgain is not None

    def canResume(self) -> bool:
        """Tells whether `resume` would go on from something: one that failed must have left a checkpoint."""
        from hssl.models.run_folder import RunFolder

        if self._startAgain is None or self.isRunning() or self.state == "done":
            return False
        return self.state == "stopped" or (self.run is not None and RunFolder(self.run).can_resume)

    def endNow(self, seconds: float | None = None) -> None:
        """Ends the process before the application goes: asks, waits without processing events, then kills the tree.

        Args:
            seconds: how long to wait; None: as long as a stop may take.
        """
        if not self.isRunning():
            return
        if self._isTakingOver:
            self._ended("stopped")
            return
        seconds = self.stopGraceSeconds if seconds is None else seconds
        self.stop()
        if not self._isStarted:
            return
        if self.stopFile is None:
            self._engine.terminate()
        if not self._engine.waitForFinished(int(seconds * 1000)):
            self._killed = True
            self._engine.killTree()
            self._engine.waitForFinished(2000)
        if self.isRunning():
            self._finished(0, True)

    def addObserver(self, callback: Callable[["Job", object], None]) -> None:
        """Calls `callback(job, event)` for each event of the engine, and with None when the state changes."""
        self._observers.append(callback)

    def removeObserver(self, callback: Callable[["Job", object], None]) -> None:
        """Ends `addObserver`."""
        if callback in self._observers:
            self._observers.remove(callback)

    @property
    def lastLines(self) -> deque[str]:
        """The last lines of the log."""
        return self._engine.lastLines

    @property
    def model(self) -> Path | None:
        """The model that the job made, as `segment` and `exportModel` take it."""
        return self.run if self.kind == "finetune" and self.state in ("done", "stopped") else None

    @property
    def losses(self) -> list:
        """The losses so far: events with `step`, `values` and `learning_rate`."""
        return [event for event in self.events if event.event == "losses"]

    @property
    def metrics(self) -> list:
        """The measurements so far: events with `step` and `values`."""
        return [event for event in self.events if event.event == "metrics"]

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._startTime

    @property
    def silentFor(self) -> float:
        """Seconds since the job gave a sign of life."""
        return time.monotonic() - self._engine.lastSign

    # What comes before and after the process -----------------------------------------------------------------------

    def _startProcess(self) -> None:
        self._isStarted = True
        self._engine.start(self.command)

    def _takeOver(self) -> None:
        assert self._whenDone is not None
        self._isTakingOver = True
        inSteps(
            self._whenDone(self),
            lambda: self._ended("done"),
            lambda problem: self._ended("failed", self._reasonOf(problem)),
            lambda: self._isTakingOver,
        )

    def _reasonOf(self, problem: Exception) -> str:
        if not isinstance(problem, Refusal | HSSLError):
            logging.error("The job %s met a fault", self.kind, exc_info=problem)
        return str(problem)

    # What the process tells --------------------------------------------------------------------------------------

    def _event(self, event) -> None:
        self.events.append(event)
        if event.event == "phase":
            self.phase, self.phaseIndex, self.phaseCount = event.name, event.index, event.count
            self.progress, self.etaSeconds, self.detail = 0.0, None, event.detail
        elif event.event == "progress":
            self.progress, self.etaSeconds, self.detail = event.fraction, event.eta_seconds, event.detail
            if not self.phaseCount:  # short jobs have no phases of their own
                self.phase = event.phase
        elif event.event in ("done", "failed") and self._outcome is None:
            self._outcome = event
            if event.event == "done":
                self._take(event)
            self._deadline = time.monotonic() + self.exitGraceSeconds
        self._tell(event)

    def _take(self, done) -> None:
        from pydantic import ValidationError

        from hssl.events import Failed
        from hssl.results import RESULTS, Result

        # What was stopped early has nothing to tell yet.
        model = Result if done.stopped and not done.result else RESULTS[self._engineKind]
        try:
            self.result = model.model_validate(done.result)
        except ValidationError as error:
            self._outcome = Failed(kind="ValidationError", message=f"{self.kind}: {error}")
        self.run = getattr(self.result, "run", self.run)

    def _failedToStart(self, reason: str) -> None:
        self._end(
            "failed",
            _("The job could not be started: {reason} ({program})").format(reason=reason, program=self.command.program),
            _("Check the Python for the jobs in Settings."),
        )

    def _finished(self, exitCode: int, crashed: bool) -> None:
        outcome, self.detail = self._outcome, ""
        if outcome is not None and outcome.event == "done":
            self._end("stopped" if outcome.stopped else "done")
        elif outcome is not None:
            self.failure, self.wayOut = outcome.kind, outcome.way_out
            self._end("failed", outcome.message, hintOf(outcome))
        elif self._killed or self._terminated:
            self.detail = _("It had to be ended by force.")
            if self._startAgain is not None:
                self.detail += " " + _("It goes on from its last checkpoint.")
            self._end("stopped")
        elif exitCode == STOPPED_EXIT_CODE and not crashed:
            self._end("stopped")
        elif crashed and exitCode == 9:
            self._end(
                "failed",
                _("The job was killed from outside, most often because the computer ran out of memory."),
                _("Close other programs, or choose a smaller network, a smaller batch, or fewer threads; then resume."),
            )
        elif exitCode == MemoryExhaustedError.exit_code and not crashed:
            self._end(
                "failed",
                _("There is not enough memory on the device."),
                _("Choose a smaller network or another device in the options."),
            )
        else:
            how = _("signal {number}") if crashed else _("exit code {number}")
            self._end(
                "failed",
                _("The job ended without a result ({how}). Its last lines:\n{lines}").format(
                    how=how.format(number=exitCode), lines=self._engine.tail(8) or _("(none)")
                ),
                _("If the lines do not tell the reason, install the Python packages anew in Settings."),
            )

    def _tick(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            if self._outcome is None and not self._terminated:
                self._terminated = True
                self._deadline = time.monotonic() + self.terminateGraceSeconds
                self._engine.terminate()
            else:
                self._killed = True
                self._deadline = None
                self._engine.killTree()
        if self.isRunning():
            self._tell(None)

    def _end(self, state: str, error: str = "", hint: str = "") -> None:
        if not self.isRunning() or self._isTakingOver:
            return
        self._timer.stop()
        self._timer.disconnect("timeout()", self._tick)
        self._deadline = None
        if state == "done" and self._whenDone is not None:
            self._takeOver()
        else:
            self._ended(state, error, hint)

    def _ended(self, state: str, error: str = "", hint: str = "") -> None:
        self._isTakingOver, self._whenDone = False, None
        _running.remove(self)
        self.state, self.error, self.hint = state, error, hint
        if state == "done":
            self.progress, self.etaSeconds = 1.0, 0.0
        elif self.writer is not None:
            self.writer.release()  # there is no result to be undone
        self._tell(None)
        self._observers.clear()

    def _tell(self, event) -> None:
        for observer in list(self._observers):
            try:
                observer(self, event)
            except Exception:  # one observer's fault must not take the job or the other observers with it
                logging.exception("An observer of the job %s failed", self.kind)
