"""How much memory a pretraining will take: asked of the engine in a short process, before the start."""

from typing import TYPE_CHECKING

import qt
from slicer.i18n import tr as _

import slicer
from hssl.errors import HSSLError

from .. import colors, wording
from ..jobs.job import Job
from ..refusal import Refusal

if TYPE_CHECKING:
    from hssl.results import EstimateResult

MILLISECONDS_TO_WAIT = 600


class MemoryEstimate:
    """Keeps a label up to date with the memory that the chosen options need.

    Args:
        logic: the module's Logic.
        label: shows the answer.
    """

    def __init__(self, logic, label):
        self._logic = logic
        self._label = label
        self._asked: tuple = ()
        self._job: Job | None = None
        self._options: tuple = ()
        # The user may click through several options: only the last one is asked about.
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(MILLISECONDS_TO_WAIT)
        self._timer.connect("timeout()", self._ask)
        label.setVisible(False)

    def want(self, workspace: str, imageCount: int, networkSize: str, start: str, device: str) -> None:
        """Says for which options the estimate is wanted; the same ones are asked about once."""
        self._options = (workspace, imageCount, networkSize, start, device)
        if self._options != self._asked and imageCount:
            self._timer.start()

    def release(self) -> None:
        """Ends the process and the timer."""
        self._timer.stop()
        self._timer.disconnect("timeout()", self._ask)
        if self._job is not None:
            self._job.removeObserver(self._told)
            self._job.endNow(0.0)
            self._job = None

    def _ask(self) -> None:
        if self._job is not None:
            return
        self._asked = self._options
        workspace, _count, networkSize, start, _device = self._options
        options = {"network": {"size": networkSize}, "start": start}
        try:
            self._job = self._logic.estimateMemory(workspace, options=options)
        except (Refusal, HSSLError):  # a click on Start says why
            self._asked = ()
            self._label.setVisible(False)
            return
        self._job.addObserver(self._told)

    def _told(self, job: Job, event) -> None:
        if job.isRunning():
            return
        self._job = None
        if job.state == "done":
            self._show(job.result)
        else:
            self._label.setVisible(False)
        if self._options != self._asked:
            self._timer.start()

    def _show(self, result: "EstimateResult") -> None:
        needed, free = result.bytes, _freeMemory() if result.device == "cpu" else None
        text = _("Needs about {size} of memory on {device}.").format(size=wording.size(needed), device=result.device)
        scarce = free is not None and needed > free
        if free is not None:
            text += " " + _("{size} are free.").format(size=wording.size(free))
        if scarce:
            text += " " + _("Choose a smaller network, or close other programs.")
        self._label.text = text
        self._label.styleSheet = colors.PROBLEM_STYLE if scarce else ""
        self._label.setVisible(True)


def _freeMemory() -> int | None:
    try:
        from hssl.machine import available_memory
    except ImportError:
        slicer.util.showStatusMessage(_("The free memory cannot be read: psutil is not installed."), 3000)
        return None
    return available_memory()
