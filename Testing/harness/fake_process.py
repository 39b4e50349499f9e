"""A job's process that does what the test says: it prints lines, ends, dies, or will not start."""

from __future__ import annotations

import json
import os


class FakeProcess:
    """Has the callbacks and the methods that a job needs of a process; the test plays the program.

    Example::

        process = FakeProcess()
        logic = HSSLSegmentationLogic(makeProcess=lambda: process)
        job = logic.pretrain(workspace, minutes=1)
        process.say({"event": "phase", "name": "training", "index": 1, "count": 1})
        process.end(0)
    """

    def __init__(self):
        self.onOutput = lambda data: None
        self.onFinished = lambda exitCode, crashed: None
        self.onFailedToStart = lambda reason: None
        self.program, self.arguments, self.environment = "", [], {}
        self.written = b""
        self.terminated = self.killed = self._running = False

    # What a job calls

    def start(self, program, arguments, environment):
        self.program, self.arguments, self.environment = program, list(arguments), dict(environment)
        self._running = True

    def write(self, data):
        self.written += data

    def isRunning(self):
        return self._running

    def processId(self):
        return os.getpid() if self._running else 0

    def terminate(self):
        self.terminated = True

    def killTree(self):
        self.killed = True
        self.end(9, crashed=True)

    def waitForFinished(self, milliseconds):
        return not self._running

    # What the test calls

    def say(self, *lines) -> None:
        """Print lines: text, or an event as a dictionary."""
        text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
        self.onOutput(text.encode("utf-8"))

    def sayBytes(self, data: bytes) -> None:
        """Print a piece of output that may end anywhere."""
        self.onOutput(data)

    def end(self, exitCode: int = 0, crashed: bool = False) -> None:
        if self._running:
            self._running = False
            self.onFinished(exitCode, crashed)

    def refuse(self, reason: str) -> None:
        """The program cannot be started."""
        self._running = False
        self.onFailedToStart(reason)

    def argument(self, option: str) -> str:
        """The value that the command line gives to an option."""
        return self.arguments[self.arguments.index(option) + 1]
