"""A job's operating-system process, behind a protocol so that tests can fake it: started, read, killed as a tree."""

import contextlib
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Protocol

import qt


class JobProcess(Protocol):
    """What a job needs of a process. The three callbacks are set before `start` and called on the main thread."""

    onOutput: Callable[[bytes], None]
    onFinished: Callable[[int, bool], None]
    """Called once with the exit code and whether a signal ended the process (the code is the signal's number then)."""
    onFailedToStart: Callable[[str], None]

    def start(self, program: str, arguments: list[str], environment: dict[str, str]) -> None:
        """Starts the program; returns at once."""

    def write(self, data: bytes) -> None:
        """Sends bytes to the standard input of the process."""

    def isRunning(self) -> bool:
        """Tells whether the process lives."""

    def processId(self) -> int:
        """Returns the process id, 0 when there is none."""

    def terminate(self) -> None:
        """Asks the process to end."""

    def killTree(self) -> None:
        """Ends the process and all its children at once."""

    def waitForFinished(self, milliseconds: int) -> bool:
        """Blocks until the process has ended or the time is over; returns whether it has ended."""


class QtProcess:
    """The real process: a `qt.QProcess` with standard error merged into standard output."""

    def __init__(self):
        self.onOutput = lambda data: None
        self.onFinished = lambda exitCode, crashed: None
        self.onFailedToStart = lambda reason: None
        self._process = None

    def start(self, program: str, arguments: list[str], environment: dict[str, str]) -> None:
        self._process = process = qt.QProcess()
        process.setProcessChannelMode(qt.QProcess.MergedChannels)
        qtEnvironment = qt.QProcessEnvironment()
        for name, value in environment.items():
            qtEnvironment.insert(name, value)
        process.setProcessEnvironment(qtEnvironment)
        process.connect("readyReadStandardOutput()", self._read)
        process.connect("finished(int,QProcess::ExitStatus)", self._finished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._failed)
        process.start(program, arguments)

    def write(self, data: bytes) -> None:
        if self.isRunning():
            self._process.write(data)

    def isRunning(self) -> bool:
        return self._process is not None and self._process.state() != qt.QProcess.NotRunning

    def processId(self) -> int:
        return int(self._process.processId()) if self.isRunning() else 0

    def terminate(self) -> None:
        if self.isRunning():
            self._process.terminate()

    def killTree(self) -> None:
        if self.isRunning():
            killChildren(self.processId())
            self._process.kill()

    def waitForFinished(self, milliseconds: int) -> bool:
        return not self.isRunning() or bool(self._process.waitForFinished(milliseconds)) or not self.isRunning()

    def _read(self) -> None:
        data = bytes(self._process.readAllStandardOutput().data())
        if data:
            self.onOutput(data)

    def _finished(self, exitCode, exitStatus) -> None:
        self._read()
        process, self._process = self._process, None
        self._release(process)
        self.onFinished(int(exitCode), exitStatus == qt.QProcess.CrashExit)

    def _failed(self, error) -> None:
        # Every other error is followed by finished().
        if self._process is not None and error == qt.QProcess.FailedToStart:
            process, self._process = self._process, None
            reason = process.errorString()
            self._release(process)
            self.onFailedToStart(reason)

    def _release(self, process) -> None:
        # A connection holds a reference to this object; deleting at once would be inside the process's own signal.
        process.disconnect("readyReadStandardOutput()", self._read)
        process.disconnect("finished(int,QProcess::ExitStatus)", self._finished)
        process.disconnect("errorOccurred(QProcess::ProcessError)", self._failed)
        process.deleteLater()


def killChildren(processId: int) -> None:
    """Kills all descendants of a process; the process itself is left to its owner."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(processId)], capture_output=True, check=False)
        return
    try:
        import psutil
    except ImportError:
        logging.warning("psutil is not installed: children of the job's process %d cannot be looked up", processId)
        return
    try:
        children = psutil.Process(processId).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
