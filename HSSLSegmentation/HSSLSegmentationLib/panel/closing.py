"""Asks once before Slicer closes while a job runs."""

import qt
from slicer.i18n import tr as _

import slicer

from .. import wording
from ..jobs.job import runningJobs


class CloseQuestion(qt.QWidget):
    """An event filter on the main window; installed only while a job runs."""

    def __init__(self):
        qt.QWidget.__init__(self)
        self._window = None

    def watch(self, jobsRun: bool) -> None:
        """Installs the filter, or takes it away when no job runs."""
        window = slicer.util.mainWindow() if jobsRun else None
        if window is self._window:
            return
        if self._window is not None:
            self._window.removeEventFilter(self)
        self._window = window
        if window is not None:
            window.installEventFilter(self)

    def eventFilter(self, watched, event):
        """Called by Qt for every event of the main window; returns whether the event ends here."""
        if event.type() != qt.QEvent.Close or not runningJobs():
            return False
        if mayClose():
            return False
        event.ignore()
        return True


def mayClose() -> bool:
    """Asks whether running jobs may be stopped; returns whether Slicer may close.

    Nothing is stopped yet: Slicer may still ask a question of its own, and its user think better of it. The jobs are
    stopped when the panel is let go.
    """
    jobs = [job for job in runningJobs() if job.kind not in ("estimate", "preview")]
    if not jobs:
        return True
    question = _("{names} is still running. Stop it and close Slicer?").format(
        names=", ".join(wording.job(job.kind) for job in jobs)
    )
    if any(job.isResumable() for job in jobs):
        question += " " + _("What was learned so far is saved, and it can be resumed in the next session.")
    return slicer.util.confirmYesNoDisplay(question, windowTitle=_("HSSL is working"))
