"""The real process: output in pieces, an end by itself, by a signal, with its children, or none at all."""

from __future__ import annotations

import os
import signal
import sys
import time

import psutil
import pytest

from harness.fixtures import waitUntil
from HSSLSegmentationLib.jobs import interpreter
from HSSLSegmentationLib.jobs.process import QtProcess


class Told:
    def __init__(self, process: QtProcess):
        self.output, self.ends, self.refusals = b"", [], []
        process.onOutput = self.take
        process.onFinished = lambda exitCode, crashed: self.ends.append((exitCode, crashed))
        process.onFailedToStart = self.refusals.append

    def take(self, data: bytes) -> None:
        self.output += data


@pytest.fixture
def process():
    made = QtProcess()
    yield made
    made.killTree()
    made.waitForFinished(3000)


def started(process, code: str, environment: dict | None = None) -> Told:
    told = Told(process)
    process.start(sys.executable, ["-c", code], dict(os.environ) if environment is None else environment)
    return told


def test_output_and_errors_come_together_and_the_exit_code_is_told_once(process):
    told = started(process, "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(7)")
    waitUntil(lambda: told.ends, 20)
    assert told.output.split() == [b"out", b"err"]
    assert told.ends == [(7, False)]
    assert not process.isRunning() and process.processId() == 0


def test_a_process_that_is_killed_from_outside_is_told_with_the_signal(process):
    told = started(process, "import time; time.sleep(60)")
    waitUntil(process.processId, 10)
    os.kill(process.processId(), signal.SIGKILL)
    waitUntil(lambda: told.ends, 10)
    assert told.ends == [(9, True)]


def test_killing_ends_the_grandchildren_too(process):
    told = started(
        process,
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)",
    )
    waitUntil(lambda: told.output.endswith(b"\n"), 20)
    grandchild = psutil.Process(int(told.output))
    process.killTree()
    waitUntil(lambda: told.ends, 10)
    time.sleep(0.1)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_a_program_that_does_not_exist_is_refused_with_the_reason(process):
    told = Told(process)
    process.start("/nowhere/python", [], {})
    waitUntil(lambda: told.refusals, 10)
    assert told.refusals and not told.ends
    assert not process.isRunning()


def test_the_users_own_python_gets_an_environment_without_slicers(process, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/slicer")
    monkeypatch.setenv("PYTHONPATH", "/slicer/lib")
    own = interpreter.environmentFor(sys.executable)
    assert "PYTHONHOME" not in own
    assert own["PYTHONPATH"] == str(interpreter.ENGINE_FOLDER)
    slicers = interpreter.environmentFor()
    assert slicers["PYTHONHOME"] == "/slicer"
    assert slicers["PYTHONPATH"].split(os.pathsep) == [str(interpreter.ENGINE_FOLDER), "/slicer/lib"]
    told = started(process, "import hssl, sys; print(hssl.__file__)", own)
    waitUntil(lambda: told.ends, 20)
    assert told.output.decode().strip() == str(interpreter.ENGINE_FOLDER / "hssl" / "__init__.py")


def test_a_missing_python_is_refused_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(interpreter.InterpreterError, match="Choose a Python for the jobs in Settings"):
        interpreter.jobPython()
    with pytest.raises(interpreter.InterpreterError, match="/no/python is not a Python that can be run"):
        interpreter.jobPython("/no/python")
