"""What a person sees: bars and tables of a narrow terminal, output that nobody reads or that cannot be written."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hssl.cli import console
from hssl.events import Losses, Message, Phase, Progress

JOB = """
import sys, time
from hssl.cli.console import run_job
from hssl.events import Done, Message
from hssl.results import Result

def job(on_event, stop):
    for _ in range(200):
        on_event(Message(text={text!r}))
        if stop():
            return Done(stopped=True, result=Result())
        time.sleep(0.05 if {waits} else 0)
    return Done(result=Result())

run_job(job, as_json={as_json})
"""
HAS_FULL = Path("/dev/full").exists()


def started(text: str = "told", waits: bool = False, as_json: bool = False, **options) -> subprocess.Popen:
    script = JOB.format(text=text, waits=waits, as_json=as_json)
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, **options)


@pytest.fixture
def terminal(monkeypatch):
    """Has the command line show what it shows on a terminal of so many columns; returns the text of what was shown."""

    def of(columns: int) -> io.StringIO:
        shown = io.StringIO()
        monkeypatch.setattr(
            console, "out", Console(file=shown, width=columns, force_terminal=True, highlight=False, color_system=None)
        )
        return shown

    return of


def lines_of(bars: console._Bars, columns: int) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=columns, color_system=None).print(bars.progress.get_renderable())
    return screen.getvalue().splitlines()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_training_shows_how_far_it_is_and_its_loss_however_narrow_the_terminal(terminal, columns):
    terminal(columns)
    bars = console._Bars()
    names = ("image", "task", "group", "reconstruction", "dense", "position", "total")
    bars.show(Phase(name="training", index=2, count=2))
    bars.show(Losses(step=25, values=dict.fromkeys(names, 1.234), learning_rate=0.1))
    bars.show(Progress(phase="training", step=25, fraction=0.5, eta_seconds=3700))
    bars.close()
    (line,) = lines_of(bars, columns)
    assert line.startswith("training 2/2 ") and " 50% " in line and "1:01:40 left" in line
    assert "step 25" in line and (columns == 60 or "total 1.23" in line)


def test_the_bar_of_the_present_volume_is_not_pushed_out_by_those_before(terminal):
    terminal(80)
    bars = console._Bars()
    for number in range(1, 41):
        bars.show(Phase(name="prediction", index=number, count=40, detail=f"case_{number}"))
        bars.show(Progress(phase="prediction", step=1, total=2, fraction=0.5, eta_seconds=1))
    bars.close()
    (line,) = lines_of(bars, 80)
    assert line.startswith("prediction 40/40 ") and "case_40" in line


def test_what_no_terminal_shows_are_messages_alone(capfd):
    bars = console._Bars()
    bars.show(Progress(phase="store", step=1, total=2, fraction=0.5))
    bars.show(Message(text="said"))
    bars.close()
    assert capfd.readouterr().out == "said\n"


ROWS = [
    ("a_name_that_is_typed_again_01", "head and neck", "512×512×200", "", "label has values that are no class: 7"),
    ("a_name_that_is_typed_again_02", "head and neck", "512×512×200", "", ""),
]


@pytest.mark.parametrize("columns", [60, 80])
def test_a_table_shows_every_name_whole_on_a_narrow_terminal(terminal, columns):
    shown = terminal(columns)
    console.print_table(("id", "task", "size", "patient", "problem"), ROWS, "Images")
    text = shown.getvalue()
    assert all(len(line) <= columns for line in text.splitlines())
    assert "…" not in text and "patient" not in text
    assert columns == 60 or all(row[0] in text for row in ROWS)


def test_a_table_that_goes_into_a_file_has_a_line_for_each_row(capfd):
    console.print_table(("id", "task", "size", "patient", "problem"), ROWS)
    lines = capfd.readouterr().out.splitlines()
    for row in ROWS:
        assert any(all(cell in line for cell in row) for line in lines)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_job_whose_output_nobody_reads_any_more_ends_at_its_next_checkpoint(as_json):
    job = started(waits=True, as_json=as_json, stdout=subprocess.PIPE)
    assert b"told" in job.stdout.readline()
    job.stdout.close()
    assert job.wait(60) == 10
    assert job.stderr.read() == b""


@pytest.mark.skipif(not HAS_FULL, reason="a device that is always full is Linux's")
@pytest.mark.parametrize("as_json", [False, True])
def test_a_job_whose_output_cannot_be_written_ends_at_its_next_checkpoint_and_says_why(as_json):
    with open("/dev/full", "wb") as full:
        job = started(waits=True, as_json=as_json, stdout=full)
        assert job.wait(60) == 9
    told = job.stderr.read().decode()
    assert "No space left on device" in told and "goes on" in told and "Traceback" not in told


@pytest.mark.skipif(not HAS_FULL, reason="a device that is always full is Linux's")
def test_a_command_whose_result_cannot_be_written_says_so(tmp_path):
    words = [sys.executable, "-m", "hssl", "catalogue"]
    subprocess.run([*words, "create", str(tmp_path / "w")], check=True, capture_output=True)
    with open("/dev/full", "wb") as full:
        listed = subprocess.run([*words, "list", str(tmp_path / "w")], stdout=full, stderr=subprocess.PIPE)
    assert listed.returncode == 9
    assert b"No space left on device" in listed.stderr and b"Traceback" not in listed.stderr


def test_a_character_that_the_terminal_has_not_ends_no_job():
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUTF8"} | {"PYTHONIOENCODING": "cp1252"}
    for as_json, wanted in ((False, b"\\u819d \\u2190"), (True, "膝 ←".encode())):
        job = started("膝 ←", as_json=as_json, stdout=subprocess.PIPE, env=environment)
        told, errors = job.communicate(timeout=60)
        assert (job.returncode, errors) == (0, b"") and wanted in told


def test_who_leaves_the_stop_file_there_is_told_to_remove_it(tmp_path, capfd):
    from hssl.events import Done
    from hssl.results import Result

    stop = tmp_path / "stop"
    stop.touch()
    with pytest.raises(SystemExit) as ended:
        console.run_job(lambda *_: Done(stopped=True, result=Result()), as_json=False, stop_file=stop)
    assert ended.value.code == 10
    assert f"{stop} is there: once it is removed" in capfd.readouterr().out


@pytest.mark.parametrize("as_json", [False, True])
def test_of_several_processes_the_first_tells_the_result(monkeypatch, capfd, as_json):
    from hssl.events import Done
    from hssl.results import Result

    for rank, told in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit):
            console.run_job(lambda *_: Done(result=Result()), as_json, show=lambda _: print("done"))
        assert ("done" in capfd.readouterr().out) == told


@pytest.mark.parametrize("own", [None, "7"])
def test_the_threads_of_a_job_let_others_work_unless_one_has_chosen(monkeypatch, own):
    """Beside one busy process a training on two cores came nowhere: its threads waited for each other by spinning."""
    from hssl.events import Done
    from hssl.results import Result

    monkeypatch.setenv("GOMP_SPINCOUNT", own or "")
    if own is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    seen = []

    def job(*_):
        seen.append(os.environ["GOMP_SPINCOUNT"])
        return Done(result=Result())

    with pytest.raises(SystemExit):
        console.run_job(job, as_json=False)
    assert seen == [own or console.SPINS]
