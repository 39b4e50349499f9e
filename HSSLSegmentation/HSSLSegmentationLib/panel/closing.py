"""Asks once before Slicer closes while a job runs, or volumes are being added."""

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

import slicer

from .. import wording
from ..jobs.job import runningJobs


class CloseQuestion(qt.QWidget):
    """An event filter on the main window; installed only while there is something to ask about.

    Args:
        isAdding: tells whether volumes are being added.
    """

    def __init__(self, isAdding: Callable[[], bool]):
        qt.QWidget.__init__(self)
        self._window = None
        self._isAdding = isAdding

    def watch(self) -> None:
        """Installs the filter, or takes it away when nothing is under way."""
        self._use(slicer.util.mainWindow() if runningJobs() or self._isAdding() else None)

    def release(self) -> None:
        """Takes the filter away."""
        self._use(None)

    def _use(self, window) -> None:
        if window is self._window:
            return
        if self._window is not None:
            self._window.removeEventFilter(self)
        self._window = window
        if window is not None:
            window.installEventFilter(self)

    def eventFilter(self, watched, event):
        """Called by Qt for every event of the main window; returns whether the event ends here."""
        if event.type() != qt.QEvent.Close or mayClose(self._isAdding()):
            return False
        event.ignore()
        return True


def mayClose(isAdding: bool = False) -> bool:
    """Asks whether what is under way may be stopped; returns whether Slicer may close.

    Nothing is stopped yet: Slicer may still ask a question of its own, and its user think better of it. It is stopped
    when the panel is let go.

    Args:
        isAdding: whether volumes are being added.
    """
    jobs = [job for job in runningJobs() if job.kind not in ("estimate", "preview")]
    names = [wording.job(job.kind) for job in jobs] + ([wording.job("add")] if isAdding else [])
    if not names:
        return True
    question = wording.count(
        len(names),
        _("{names} is still running. Stop it and close Slicer?"),
        _("{names} are still running. Stop them and close Slicer?"),
    ).format(names=", ".join(names))
    if any(job.isResumable() for job in jobs):
        question += " " + _("What was learned so far is saved, and it can be resumed in the next session.")
    return slicer.util.confirmYesNoDisplay(question, windowTitle=_("HSSL is working"))
