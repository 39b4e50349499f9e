"""Inside Slicer: runs the tests of one file, writes a report after each of them, and leaves. Started by `run.py`."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
import traceback
import unittest
from pathlib import Path

import qt

import slicer

LONGEST_TURN = 0.1
"""Seconds that the main thread may be busy before it counts as a block."""


class Heartbeat:
    """Beats in the event loop; a beat that comes late tells how long the main thread was blocked."""

    def __init__(self):
        self.blocks: list[dict] = []
        self.test = "start"
        self._last, self._busy = time.perf_counter(), time.thread_time()
        self._timer = qt.QTimer()
        self._timer.setInterval(10)
        self._timer.connect("timeout()", self._beat)
        self._timer.start()

    def _beat(self) -> None:
        now, busy = time.perf_counter(), time.thread_time()
        # What the main thread itself worked: a busy computer delays a beat as well, and that is not our doing.
        if busy - self._busy > LONGEST_TURN:
            self.blocks.append({"test": self.test, "seconds": now - self._last, "worked": busy - self._busy})
        self._last, self._busy = now, busy


class Report(unittest.TestResult):
    """Writes what is known after each step, so that a crash tells where it happened."""

    def __init__(self, path: Path, heartbeat: Heartbeat, prepare):
        super().__init__()
        self._path, self._heartbeat, self._prepare = path, heartbeat, prepare
        self._tests: list[dict] = []
        self._began = 0.0
        self.write("start")

    def write(self, running: str, ended: bool = False) -> None:
        content = {"tests": self._tests, "running": running, "ended": ended, "blocks": self._heartbeat.blocks}
        self._path.write_text(json.dumps(content), encoding="utf-8")

    def startTest(self, test):
        super().startTest(test)
        self._prepare()
        self._began = time.monotonic()
        self._heartbeat.test = test._testMethodName
        self.write(test._testMethodName)

    def addSuccess(self, test):
        self._add(test, "ok", "")

    def addFailure(self, test, error):
        self._add(test, "FAILED", self._text(error))

    def addError(self, test, error):
        self._add(test, "FAILED", self._text(error))

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self._add(test, "FAILED", f"{subtest.params}\n{self._text(error)}")
        super().addSubTest(test, subtest, error)

    def addSkip(self, test, reason):
        self._add(test, "skipped", reason)

    def stopTest(self, test):
        super().stopTest(test)
        self.write("between tests")

    def _add(self, test, outcome: str, reason: str) -> None:
        name = getattr(test, "_testMethodName", str(test))
        seconds = time.monotonic() - self._began
        self._tests.append({"name": name, "outcome": outcome, "reason": reason, "seconds": seconds})

    @staticmethod
    def _text(error) -> str:
        # Not the word that the log is searched for: these are counted here already.
        return "".join(traceback.format_exception(*error)[1:])


def main() -> None:
    report, file, python = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    sys.path.insert(0, str(file.parent))
    heartbeat = Heartbeat()
    slicer.util.getModule("HSSLSegmentation")
    from HSSLSegmentationLib import settings

    def prepare() -> None:
        settings.setValue("python", python)

    prepare()
    result = Report(report, heartbeat, prepare)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    result.write("end", ended=True)
    slicer.util.exit(0 if result.wasSuccessful() else 1)


# The application is told to be ready first: effects and sample data register themselves then.
qt.QTimer.singleShot(2000, main)
