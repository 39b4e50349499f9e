"""A job: what it makes of its process's output, how it is stopped, and how its end is told. The process is played."""

from __future__ import annotations

import types
from typing import get_args

import pytest
import qt

import slicer
from harness.fake_process import FakeProcess
from harness.fixtures import waitUntil
from hssl.events import PhaseName
from hssl.results import CheckResult, Unused
from hssl.workspace.catalogue import FILE_NAME
from HSSLSegmentationLib import steps, wording
from HSSLSegmentationLib.jobs.engineProcess import Lines
from HSSLSegmentationLib.jobs.interpreter import Command
from HSSLSegmentationLib.jobs.job import Job, JobError, runningJobs
from HSSLSegmentationLib.workspace.contents import CATALOGUE_FILE

DONE = {"event": "done", "result": {"run": "/w/runs/a", "steps": 42}}


@pytest.fixture
def process():
    return FakeProcess()


@pytest.fixture
def job(process, tmp_path):
    made = Job("pretrain", Command("python", ["-m", "hssl"], {}), tmp_path / "stop", process)
    made.stopGraceSeconds = made.terminateGraceSeconds = made.exitGraceSeconds = 0.05
    made.start()
    yield made
    process.end(0)


def test_lines_may_end_anywhere_even_inside_a_character():
    lines, data = Lines(), "Leber ü\r\nzweite ✓ Zeile\nRest".encode()
    found = [line for i in range(len(data)) for line in lines.feed(data[i : i + 1])]
    assert [*found, *lines.end()] == ["Leber ü", "zweite ✓ Zeile", "Rest"]


def test_bytes_that_are_no_text_and_endless_lines_do_no_harm():
    lines = Lines()
    assert lines.feed(b"\xff\xfe\n") == ["\ufffd\ufffd"]
    found = lines.feed(b"x" * 3_000_000)
    assert sum(map(len, found)) == 3_000_000
    assert lines.end() == []


def test_events_are_followed_and_everything_else_is_the_log(process, job):
    process.say({"event": "phase", "name": "training", "index": 2, "count": 2})
    process.say({"event": "progress", "phase": "training", "step": 5, "total": 10, "fraction": 0.5, "eta_seconds": 60})
    process.say("a warning of some library", '{"event": "unknown"}', "{broken", '["no event"]')
    process.say({"event": "losses", "step": 5, "values": {"image": 2.0}, "learning_rate": 0.001})
    assert (job.phase, job.progress, job.etaSeconds) == ("training", 0.5, 60)
    assert job.losses[0].values == {"image": 2.0}
    assert list(job.lastLines) == ["a warning of some library", '{"event": "unknown"}', "{broken", '["no event"]']


def test_the_result_is_there_when_the_process_has_ended(process, job):
    process.say(DONE)
    assert job.isRunning()
    process.end(0)
    assert job.state == "done"
    assert job.result.steps == 42
    assert job not in runningJobs()


def test_a_process_that_hangs_after_its_result_is_killed_and_the_result_counts(process, job):
    process.say(DONE)
    waitUntil(lambda: not job.isRunning(), 5)
    assert process.killed
    assert (job.state, job.result.steps) == ("done", 42)


def test_a_failure_is_told_with_its_reason_and_what_to_do(process, job):
    process.say(
        {"event": "failed", "kind": "InputError", "message": "a.nii: is empty", "hint": "Remove it.", "exit_code": 4}
    )
    process.end(4)
    with pytest.raises(JobError, match="a.nii: is empty\nRemove it."):
        job.wait()


def test_a_stop_asks_through_a_file_and_a_job_that_obeys_is_not_killed(process, job, tmp_path):
    job.stopGraceSeconds = 60
    job.stop()
    assert (tmp_path / "stop").exists()
    assert job.state == "stopping"
    process.say({"event": "done", "stopped": True, "result": {"run": "/w/runs/a"}})
    process.end(10)
    assert job.state == "stopped"
    assert job.run.name == "a"
    assert not process.terminated and not process.killed


def test_a_job_that_does_not_stop_is_terminated_and_then_killed_with_its_children(process, job):
    job.stop()
    waitUntil(lambda: process.terminated, 5)
    waitUntil(lambda: process.killed, 5)
    assert job.state == "stopped"
    assert job.detail == "It had to be ended by force."


@pytest.mark.parametrize(
    ("exitCode", "crashed", "words"),
    [
        (9, True, "killed from outside, most often because the computer ran out of memory"),
        (8, False, "not enough memory on the device"),
        (11, True, "without a result (signal 11)"),
        (1, False, "without a result (exit code 1)"),
        (0, False, "without a result (exit code 0)"),
    ],
)
def test_a_death_is_told_with_its_last_lines_and_what_to_try(process, job, exitCode, crashed, words):
    process.say("Traceback", "ImportError: libtorch.so")
    process.end(exitCode, crashed)
    assert job.state == "failed"
    assert words in job.error
    assert job.hint
    assert "libtorch.so" in job.error or "memory" in job.error


def test_a_program_that_cannot_be_started_is_a_failed_job(process, job):
    process.refuse("No such file")
    assert job.state == "failed"
    assert "No such file" in job.error
    assert "Settings" in job.hint


def test_a_stopped_job_says_that_it_is_stopped_and_not_what_it_was_at(process, job):
    process.say(
        {"event": "progress", "phase": "training", "step": 5, "total": 10, "fraction": 0.5, "detail": "scan_07"}
    )
    assert "scan_07" in wording.state(job)
    job.stop()
    process.say({"event": "done", "stopped": True, "result": {"run": "/w/runs/a"}})
    process.end(10)
    assert job.state == "stopped" and wording.state(job) == "Stopped."


def test_silence_is_noticed(process, job):
    job.silenceSeconds = 0.0
    waitUntil(lambda: job.silentFor > 0.3, 5)
    process.say("still here")
    assert job.silentFor < 0.3


def test_waiting_keeps_the_application_responsive_and_gives_up_when_told_to(process, job):
    seen = []
    timer = qt.QTimer()
    timer.setInterval(5)
    timer.connect("timeout()", lambda: seen.append(1))
    timer.start()
    with pytest.raises(TimeoutError):
        job.wait(seconds=0.2)
    timer.stop()
    assert len(seen) > 5


def test_a_result_that_cannot_be_taken_over_is_a_failure_with_that_reason(process, tmp_path):
    def takeOver(job):
        yield
        raise ValueError("The volume was removed.")

    job = Job("predict", Command("python", [], {}), tmp_path / "stop", process, whenDone=takeOver).start()
    process.say(DONE)
    process.end(0)
    assert (job.state, job.error) == ("failed", "The volume was removed.")


def test_what_comes_before_the_process_and_after_it_is_done_in_steps_and_part_of_the_job(
    process, tmp_path, monkeypatch
):
    monkeypatch.setattr(steps, "SECONDS_AT_ONCE", 0.0)
    done = []

    def some(name, count=3):
        for number in range(count):
            done.append((name, number))
            yield

    job = Job(
        "predict", Command("python", [], {}), tmp_path / "stop", process, whenDone=lambda job: some("after"),
        before=some("before"),
    ).start()  # fmt: skip
    assert done == [("before", 0)] and not process.isRunning() and job.isRunning()
    waitUntil(process.isRunning, 5)
    assert done == [("before", n) for n in range(3)]
    process.say({"event": "done", "result": {}})
    process.end(0)
    assert done[3:] == [("after", 0)] and job.isRunning()
    job.stop()
    waitUntil(lambda: not job.isRunning(), 5)
    assert (job.state, done[3:]) == ("done", [("after", n) for n in range(3)])


@pytest.mark.parametrize("how", ["stop", "endNow"])
def test_a_job_that_is_ended_before_its_process_has_begun_never_starts_it(process, tmp_path, monkeypatch, how):
    monkeypatch.setattr(steps, "SECONDS_AT_ONCE", 0.0)
    closed = []

    def before():
        try:
            while True:
                yield
        finally:
            closed.append(True)

    job = Job("predict", Command("python", [], {}), tmp_path / "stop", process, before=before()).start()
    getattr(job, how)()
    assert job.state == "stopped" and not runningJobs()
    waitUntil(lambda: closed, 5)
    assert process.program == ""


def test_what_cannot_be_passed_on_is_a_failure_with_that_reason(process, tmp_path):
    def before():
        yield
        raise ValueError("The disk is full.")

    job = Job("predict", Command("python", [], {}), tmp_path / "stop", process, before=before()).start()
    assert (job.state, job.error, process.program) == ("failed", "The disk is full.", "")


def test_an_observer_that_fails_does_not_take_the_job_with_it(process, job):
    told = []
    job.addObserver(lambda job, event: 1 / 0)
    job.addObserver(lambda job, event: told.append(event))
    process.say({"event": "message", "text": "hello"})
    process.say(DONE)
    process.end(0)
    assert job.state == "done"
    assert [event.event for event in told if event is not None] == ["message", "done"]


def test_the_application_that_goes_takes_the_process_with_it(process, job):
    job.endNow(0.0)
    assert process.killed
    assert not job.isRunning()
    assert not runningJobs()
    slicer.app.processEvents()


def test_every_phase_of_the_engine_has_words():
    for name in get_args(PhaseName):
        assert wording.phase(name), name


def test_what_a_check_has_found_is_told_with_the_nouns_of_its_numbers():
    def told(usable: int, labelled: int, problems: int) -> str:
        unused = [Unused(path="a", reason="b")] * problems
        found = CheckResult(read=1, unchanged=0, usable=usable, labelled=labelled, problems=unused, classes={})
        return wording.outcome(types.SimpleNamespace(kind="check", result=found))

    assert told(1, 1, 1) == "1 scan can be used, 1 with a label. 1 problem (see Health)."
    assert told(3, 0, 2) == "3 scans can be used, 0 with a label. 2 problems (see Health)."
    assert told(0, 0, 0) == "0 scans can be used, 0 with a label."


def test_the_catalogue_has_one_name():
    assert CATALOGUE_FILE == FILE_NAME
