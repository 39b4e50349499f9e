"""The engine in a process of its own: what it prints becomes events and the lines of a log, on the main thread."""

import codecs
import json
import time
from collections import deque
from collections.abc import Callable

from .interpreter import Command
from .process import JobProcess

LONGEST_LINE = 1 << 20
KEPT_LINES = 200


class Lines:
    """Cuts a stream of bytes into lines of text: chunks may end inside a line or inside a character."""

    def __init__(self):
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """Returns the lines that are complete now; a line without an end is cut at 1 MiB."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        if len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = ""
        return [line.rstrip("\r") for line in lines]

    def end(self) -> list[str]:
        """Returns what is left when the stream has ended."""
        rest, self._rest = self._rest + self._decoder.decode(b"", True), ""
        return [rest] if rest else []


class EngineProcess:
    """One process of the engine, for a job or for the worker of the Segment Editor.

    Attributes:
        lastLines: the last lines of the log: what was printed and is no event, and the texts of messages.
        lastSign: when the process printed something last, on `time.monotonic`.

    Args:
        process: not started yet; tests give their own.
        onEvent: called with each event (`hssl.events`).
        onEnd: called once, when the process has ended, with its exit code and whether a signal ended it.
        onFailedToStart: called instead, with the reason, when there never was a process.
    """

    def __init__(
        self,
        process: JobProcess,
        onEvent: Callable[[object], None],
        onEnd: Callable[[int, bool], None],
        onFailedToStart: Callable[[str], None],
    ):
        self.lastLines: deque[str] = deque(maxlen=KEPT_LINES)
        self.lastSign = time.monotonic()
        self._process = process
        self._lines = Lines()
        self._onEvent, self._onEnd, self._onFailedToStart = onEvent, onEnd, onFailedToStart

    def start(self, command: Command) -> None:
        """Starts the process; returns at once."""
        process = self._process
        process.onOutput, process.onFinished = self._output, self._finished
        process.onFailedToStart = self._onFailedToStart
        process.start(command.program, command.arguments, command.environment)

    def send(self, values: dict) -> None:
        """Writes a command, as a line of JSON, to the process."""
        self._process.write(json.dumps(values).encode("ascii") + b"\n")

    def terminate(self) -> None:
        """Asks the process to end."""
        self._process.terminate()

    def killTree(self) -> None:
        """Ends the process and all its children at once."""
        self._process.killTree()

    def waitForFinished(self, milliseconds: int) -> bool:
        """Blocks until the process has ended or the time is over; returns whether it has ended."""
        return self._process.waitForFinished(milliseconds)

    def tail(self, count: int) -> str:
        """Returns the last lines of the log, for a message that has to explain an end."""
        return "\n".join(list(self.lastLines)[-count:])

    def _output(self, data: bytes) -> None:
        self.lastSign = time.monotonic()
        self._take(self._lines.feed(data))

    def _finished(self, exitCode: int, crashed: bool) -> None:
        self._take(self._lines.end())
        self._onEnd(exitCode, crashed)

    def _take(self, lines: list[str]) -> None:
        from hssl.events import from_line

        for line in lines:
            event = from_line(line)
            if event is None:
                if line.strip():
                    self.lastLines.append(line)
                continue
            if event.event == "message":
                self.lastLines.append(event.text)
            self._onEvent(event)
