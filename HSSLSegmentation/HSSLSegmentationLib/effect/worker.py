"""The engine's warm process as the Segment Editor uses it: commands go in, events come back, and its death is told.

There is one for the application, whatever number of volumes and editors: it takes seconds to start, and holds one volume.
"""

from collections import deque
from collections.abc import Callable

from slicer.i18n import tr as _

from .. import settings
from ..jobs.engineProcess import EngineProcess
from ..jobs.interpreter import engineCommand
from ..jobs.process import JobProcess

_shared: "WorkerClient | None" = None


def sharedWorker(makeProcess: Callable[[], JobProcess], onDeath: Callable[[str], None]) -> "WorkerClient":
    """Returns the application's worker, which is started when there is none that lives.

    Args:
        makeProcess: makes its process.
        onDeath: who is told of its death too, until `WorkerClient.tellNoMore`.

    Raises:
        InterpreterError: there is no Python to run it with.
    """
    global _shared
    if _shared is None or not _shared.isAlive():
        _shared = WorkerClient(makeProcess())
        _shared.tell(onDeath)
        _shared.start()
    _shared.tell(onDeath)
    return _shared


_users: set[int] = set()


def use(user: object) -> None:
    """Makes it known that somebody needs the worker until `release`."""
    _users.add(id(user))


def release(user: object) -> None:
    """Ends the worker when nobody else needs it."""
    _users.discard(id(user))
    if not _users:
        endSharedWorker()


def endSharedWorker(reason: str = "") -> None:
    """Ends the application's worker; the next one who needs it starts another. Who uses it is told the reason, if any."""
    global _shared
    worker, _shared = _shared, None
    if worker is not None:
        worker.end(reason)


class WorkerClient:
    """One process; it does its commands one after the other. All of it happens on the main thread.

    Attributes:
        opened: by whom, when and with what a volume was opened; set by who did, None when it is not.

    Args:
        process: not started yet; tests give their own.
    """

    def __init__(self, process: JobProcess):
        self._told: list[Callable[[str], None]] = []
        self.opened: tuple | None = None
        self._engine = EngineProcess(process, self._event, self._finished, self._failedToStart)
        self._listeners: dict[int | None, Callable[[object], None]] = {}
        self._openings: set[int] = set()
        self._count = 0
        self._ended = False

    @property
    def lastLines(self) -> deque[str]:
        """The last lines of the log."""
        return self._engine.lastLines

    def start(self) -> None:
        """Starts the process.

        Raises:
            InterpreterError: there is no Python to run it with.
        """
        self._engine.start(engineCommand(["interactive-worker"], settings.value("python")))

    def tell(self, onDeath: Callable[[str], None]) -> None:
        """Calls `onDeath` with the reason when the process ends without having been asked to."""
        if onDeath not in self._told:
            self._told.append(onDeath)

    def tellNoMore(self, onDeath: Callable[[str], None]) -> None:
        """Ends `tell`."""
        if onDeath in self._told:
            self._told.remove(onDeath)

    def ask(self, command: str, listener: Callable[[object], None], **values) -> None:
        """Sends a command; `listener` gets its events (`hssl.events`), the last of which is a done or failed one."""
        self._count += 1
        self._listeners[self._count] = listener
        if command == "open":
            self._openings.add(self._count)
        self._engine.send({"id": self._count, "command": command, **values})

    def cancel(self) -> None:
        """Stops what is being done and what waits; those commands end with a done event that says so."""
        self._count += 1
        self._engine.send({"id": self._count, "command": "cancel"})

    def isOpening(self) -> bool:
        """Tells whether it has yet to open a volume: the first time it still imports torch, and answers nothing."""
        return bool(self._openings)

    def isAlive(self) -> bool:
        """Tells whether the process can be asked."""
        return not self._ended

    def end(self, reason: str = "") -> None:
        """Ends the process at once; without a reason nobody is told anything any more."""
        self._ended = True
        self._listeners.clear()
        self._engine.killTree()
        self._engine.waitForFinished(2000)
        if reason:
            self._die(reason)

    def _event(self, event) -> None:
        listener = self._listeners.get(event.command_id)
        if event.event in ("done", "failed"):
            self._listeners.pop(event.command_id, None)
            self._openings.discard(event.command_id)
        if listener is not None:
            listener(event)

    def _failedToStart(self, reason: str) -> None:
        if not self._ended:
            self._die(
                _(
                    "The worker could not be started: {reason}. Check the Python for the jobs in the module's Settings."
                ).format(reason=reason)
            )

    def _finished(self, exitCode: int, crashed: bool) -> None:
        if self._ended:
            return
        if crashed and exitCode == 9:
            reason = _("The worker was killed from outside, most often because the computer ran out of memory.")
        else:
            how = _("signal {number}") if crashed else _("exit code {number}")
            reason = _("The worker ended unexpectedly ({how}).").format(how=how.format(number=exitCode))
        if self.lastLines:
            reason += "\n" + _("Its last lines:") + "\n" + self._engine.tail(6)
            reason += "\n" + _(
                "If they do not tell the reason, install the Python packages anew in the Settings of HSSL Segmentation."
            )
        self._die(reason)

    def _die(self, reason: str) -> None:
        self._ended = True
        for onDeath in list(self._told):
            onDeath(reason)
