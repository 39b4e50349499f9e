"""Events: one line each, whatever else a process prints; time left that does not count what was done before."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hssl.events import (
    Done,
    Failed,
    Losses,
    Message,
    Metrics,
    Phase,
    Progress,
    ProgressMeter,
    from_line,
    stop_file,
    to_line,
)


@pytest.mark.parametrize(
    "event",
    [
        Phase(name="store", index=1, count=2),
        Progress(phase="training", step=3, total=None, fraction=0.5, eta_seconds=1.5),
        Losses(step=5, values={"image": 0.5}, learning_rate=1e-3),
        Metrics(step=5, values={"validation_dice": 0.5}),
        Message(level="warning", text="Zeile\nzwei – ünïcode"),
        Done(stopped=True, result={"run": "x", "rows": [1, None]}),
        Failed(kind="InputError", message="m", hint="h", exit_code=4),
    ],
)
def test_every_event_survives_its_line(event):
    line = to_line(event)
    assert "\n" not in line
    assert from_line(line + "\n") == event


@given(st.text())
def test_anything_else_a_process_prints_is_no_event_and_no_error(text):
    assert from_line(text) is None or text.strip().startswith("{")


@pytest.mark.parametrize(
    "line", ['{"event": "unknown"}', '{"event": "progress"}', "{", '{"event": "done", "stopped": "x"}']
)
def test_broken_events_are_told_apart(line):
    assert from_line(line) is None


def test_a_resumed_run_does_not_count_what_was_done_for_its_rate():
    seen = []
    meter = ProgressMeter(seen.append, "training", None, done=0.8, interval=0)
    time.sleep(0.05)
    meter.update(1, 0.81)
    gained_a_second = (1 - 0.81) / 0.01
    assert seen[-1].eta_seconds >= 0.05 * gained_a_second


def test_a_stop_file_asks_to_stop_once_it_exists(tmp_path):
    stop = stop_file(tmp_path / "stop")
    assert not stop()
    (tmp_path / "stop").touch()
    assert stop()
