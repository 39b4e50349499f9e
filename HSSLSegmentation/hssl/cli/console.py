"""Runs a job at a terminal: events become progress bars for people or JSON lines for programs, errors exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..events import Done, Event, Failed, OnEvent, Stop

    Job = Callable[[OnEvent, Stop], Done[Any]]


WAYS_OUT = {
    "frame": "--frame",
    "channel": "--channel",
    "check": "hssl catalogue check",
    "create": "hssl catalogue create",
    "overwrite": "--overwrite",
    "spacing": "--spacing",
    "structures": "--structure",
    "pattern": "--pattern",
    "label_pattern": "--label-pattern",
    "mixed": "--mixed",
    "nan_is_background": "--nan-is-background",
    "patient": "--patient",
    "modality": "--modality",
    "islands": "hssl predict --all-components",
}
"""What the command line calls the way out of an error."""


SPINS = "3000"
"""How long torch's threads wait for each other before they let others work, in rounds of libgomp, which reads it when torch is
loaded. By its own hundred times as many, 30 steps of a fine-tuning with two threads took over a minute beside one busy process
on two cores, and take 10 s; alone 2.4 instead of 2.3 s."""


class _Console(Console):
    """Tells by an exception that nobody reads any more, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError that rich has caught where it calls this


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)


class _StopRequest:
    """Becomes true by the stop file, by SIGTERM, Ctrl+C or a closed terminal, or when what is told can no longer be written.

    Attributes:
        unwritten: why the last of it could not be written; None as long as all could.
    """

    def __init__(self, file: Path | None):
        self.file = file
        self.asked = False
        self.unwritten: OSError | None = None

    def __call__(self) -> bool:
        return self.asked or self.by_file()

    def by_file(self) -> bool:
        return self.file is not None and self.file.exists()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True

    def tell(self, write: Callable[[], None]) -> None:
        """Calls what writes to the standard output. Where that fails (whoever read it is gone, the disk is full), the job
        is to end at its next checkpoint rather than be lost, and nothing more is written."""
        try:
            write()
        except OSError as error:
            self.asked, self.unwritten = True, error
            with suppress(OSError, ValueError):  # a stream without a file
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_job(
    job: Job, as_json: bool, show: Callable[[Done[Any]], None] | None = None, stop_file: Path | None = None
) -> NoReturn:
    """Runs a job, tells its end, and ends the process with its exit code: 0 done, 10 stopped, 11 done in part,
    otherwise the error's.

    Args:
        job: called with `on_event` and `stop`.
        as_json: print one JSON object per line instead of progress bars.
        show: prints the result for people.
        stop_file: the job is asked to stop as soon as this file exists.
    """
    from ..errors import HSSLError
    from ..events import Failed, to_line

    stop = _StopRequest(stop_file)
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)  # SIGHUP tells that the terminal is closed; Windows has none
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):  # nohup
            signal.signal(number, stop.on_signal)
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    _take_every_character(as_json)
    bars = None if as_json else _Bars()

    def on_event(event: Event) -> None:
        if bars is not None:
            stop.tell(lambda: bars.show(event))
        else:
            stop.tell(lambda: print(to_line(event), flush=True))

    failed: Failed | None = None
    done: Done[Any] | None = None
    try:
        done = job(on_event, stop)
    except HSSLError as error:
        failed = Failed.of(error)
    except KeyboardInterrupt:
        failed = Failed(kind="KeyboardInterrupt", message="interrupted", exit_code=130)
    except Exception as error:
        traceback.print_exc()
        failed = Failed(kind=type(error).__name__, message=str(error) or type(error).__name__)
    finally:
        if bars is not None:
            stop.tell(bars.close)
    if failed is not None:
        if as_json:
            on_event(failed)
        else:
            _print_error(failed)
        sys.exit(failed.exit_code)
    assert done is not None
    if os.environ.get("RANK", "0") != "0":
        pass  # of the processes that torchrun started the first speaks for all
    elif as_json:
        on_event(done)
    elif done.stopped:
        stop.tell(lambda: out.print(f"[yellow]Stopped.[/] {_how_to_go_on(stop)}", soft_wrap=True))
    elif show is not None:
        stop.tell(lambda: show(done))
    if stop.unwritten is not None and not isinstance(stop.unwritten, BrokenPipeError):
        sys.exit(_unwritten(stop.unwritten, done.stopped))
    sys.exit(_exit_code(done))


def _take_every_character(as_json: bool) -> None:
    """Has the standard output take what its encoding has no character for (an arrow, a name in another script), which would
    end the job: as an escape for people, as UTF-8 for programs."""
    with suppress(AttributeError, OSError, ValueError):  # none, or one that is no file
        sys.stdout.reconfigure(  # type: ignore[union-attr]
            encoding="utf-8" if as_json else None, errors="backslashreplace"
        )


def _how_to_go_on(stop: _StopRequest) -> str:
    from rich.markup import escape

    if stop.by_file():
        return escape(f"{stop.file} is there: once it is removed, the same command goes on from here.")
    return "The same command goes on from here."


def _unwritten(error: OSError, stopped: bool) -> int:
    from ..errors import OutputError
    from ..events import Failed

    what_is_left = "The same command goes on from here." if stopped else "What was asked for is done."
    failure = OutputError("the standard output", f"cannot be written: {error.strerror or error}", what_is_left)
    _print_error(Failed.of(failure))
    return failure.exit_code


def _exit_code(done: Done[Any]) -> int:
    from ..errors import PARTIAL_EXIT_CODE, STOPPED_EXIT_CODE
    from ..results import EvaluateResult, PredictResult

    if done.stopped:
        return STOPPED_EXIT_CODE
    in_part = isinstance(done.result, PredictResult | EvaluateResult) and bool(done.result.failed)
    in_part |= isinstance(done.result, EvaluateResult) and bool(done.result.without_prediction)
    return PARTIAL_EXIT_CODE if in_part else 0


def _print_error(failed: Failed) -> None:
    from rich.markup import escape

    way_out = f"({WAYS_OUT[failed.way_out]})" if failed.way_out else ""
    with suppress(OSError):  # nobody reads it; the exit code tells it too
        err.print(f"[bold red]Error:[/] {escape(failed.message)}", soft_wrap=True)
        if failed.hint or way_out:
            err.print(escape(f"{failed.hint} {way_out}".strip()), soft_wrap=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", key: int = 0) -> None:
    """Prints a table, no cell of which is cut.

    Where the terminal is narrow, cells are broken; what no terminal shows is as wide as it needs to be, with a line for
    each row. Columns without anything are left out.

    Args:
        columns: their headings.
        rows: a text for each column.
        title: above the table; empty for none.
        key: the column that is broken last: what it tells is typed again.
    """
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    shown = [at for at in range(len(columns)) if any(row[at] for row in rows)]
    if not shown:
        return
    table = Table(title=Text(title) if title else None)
    for at in shown:
        whole = at == key and max(len(row[at]) for row in rows) <= out.width // 2
        table.add_column(Text(columns[at]), overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(Text(row[at]) for at in shown))
    if out.is_terminal:
        out.print(table)
    else:
        width = Measurement.get(out, out.options.update(max_width=sys.maxsize), table).maximum
        _Console(highlight=False, width=width).print(table)


class _Bars:
    """Shows events as the bars of the present phase, with losses beside them and messages above; where no terminal shows
    them, messages alone."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.table import Column

        whole = Column(no_wrap=True)
        self.progress: Progress = Progress(
            TextColumn("{task.description}", table_column=whole),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            TaskProgressColumn(table_column=whole),
            TextColumn("{task.fields[eta]}", table_column=whole),
            TextColumn("[dim]{task.fields[detail]}", table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis")),
            console=out,
            expand=True,
            disable=not out.is_interactive,
        )
        self.progress.start()
        self.bars: dict[str, TaskID] = {}
        self.place = self.detail = self.losses = ""

    def show(self, event: Event) -> None:
        from rich.markup import escape

        if event.event == "phase":
            for bar in self.bars.values():
                self.progress.remove_task(bar)
            self.bars.clear()
            self.place = f" {event.index}/{event.count}" if event.count > 1 else ""
            self.detail, self.losses = event.detail, ""
        elif event.event == "progress":
            if event.phase not in self.bars:
                name = escape(event.phase + self.place)
                self.bars[event.phase] = self.progress.add_task(name, total=1.0, eta="", detail="")
            over = event.eta_seconds is None or event.fraction >= 1
            eta = "" if over else f"{_duration(event.eta_seconds or 0)} left"
            losses = self.losses if event.phase == "training" else ""
            steps = f"{event.step}/{event.total}" if event.total else f"step {event.step}"
            self.progress.update(
                self.bars[event.phase],
                completed=event.fraction,
                eta=eta,
                detail=escape(event.detail or losses or self.detail or steps),
            )
        elif event.event == "losses":
            total_first = sorted(event.values.items(), key=lambda loss: loss[0] != "total")
            self.losses = f"step {event.step}  " + "  ".join(f"{k} {v:.3g}" for k, v in total_first)
        elif event.event == "metrics":
            self.progress.print(
                f"step {event.step}: " + ", ".join(f"{escape(k)} {v:.3f}" for k, v in event.values.items())
            )
        elif event.event == "message":
            color = {"info": "", "warning": "[yellow]", "error": "[red]"}[event.level]
            way_out = f" ({WAYS_OUT[event.way_out]})" if event.way_out else ""
            self.progress.print(f"{color}{escape(event.text + way_out)}", soft_wrap=True)

    def close(self) -> None:
        self.progress.stop()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
