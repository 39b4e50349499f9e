"""The fake process calls back as a real one would."""

from __future__ import annotations

from harness.fake_process import FakeProcess


def started():
    process, told = FakeProcess(), []
    process.onOutput = told.append
    process.onFinished = lambda code, crashed: told.append((code, crashed))
    process.onFailedToStart = told.append
    process.start("python", ["-m", "hssl", "--config", "job.json"], {"OMP_NUM_THREADS": "1"})
    return process, told


def test_it_prints_lines_and_events_and_ends_once():
    process, told = started()
    process.say("log", {"event": "done"})
    process.end(10)
    process.end(0)
    assert told == [b'log\n{"event": "done"}\n', (10, False)] and not process.isRunning()


def test_it_tells_how_it_was_started():
    process, _ = started()
    assert process.program == "python" and process.argument("--config") == "job.json" and process.isRunning()


def test_killed_it_ends_by_a_signal():
    process, told = started()
    process.terminate()
    assert process.terminated and process.isRunning()
    process.killTree()
    assert told == [(9, True)]


def test_it_can_refuse_to_start():
    process, told = started()
    process.refuse("no such file")
    assert told == ["no such file"] and not process.isRunning()
