"""Runs a job at a terminal: events become progress bars for people or JSON lines for programs, errors exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
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
}
"""What the command line calls the way out of an error."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class _StopRequest:
    """Becomes true by the stop file, by SIGTERM or Ctrl+C, or when nobody reads the events any more."""

    def __init__(self, file: Path | None):
        self.file = file
        self.asked = False

    def __call__(self) -> bool:
        return self.asked or (self.file is not None and self.file.exists())

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


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
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.on_signal)
    bars = None if as_json else _Bars()

    def on_event(event: Event) -> None:
        if bars is not None:
            bars.show(event)
            return
        try:
            print(to_line(event), flush=True)
        except BrokenPipeError:
            # Whoever started the job is gone: end it at the next checkpoint rather than lose it.
            stop.asked = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

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
            bars.close()
    if failed is not None:
        if as_json:
            on_event(failed)
        else:
            _print_error(failed)
        sys.exit(failed.exit_code)
    assert done is not None
    if as_json:
        # Of the processes that torchrun started the first speaks for all.
        if os.environ.get("RANK", "0") == "0":
            on_event(done)
    elif done.stopped:
        out.print("[yellow]Stopped.[/] The same command goes on from here.")
    elif show is not None:
        show(done)
    sys.exit(_exit_code(done))


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

    err.print(f"[bold red]Error:[/] {escape(failed.message)}", soft_wrap=True)
    way_out = f"({WAYS_OUT[failed.way_out]})" if failed.way_out else ""
    if failed.hint or way_out:
        err.print(escape(f"{failed.hint} {way_out}".strip()), soft_wrap=True)


class _Bars:
    """Shows events as one progress bar a phase, with losses beside it and messages above."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self.progress: Progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[eta]}"),
            TextColumn("[dim]{task.fields[detail]}"),
            console=out,
        )
        self.progress.start()
        self.bars: dict[str, TaskID] = {}
        self.detail = ""

    def show(self, event: Event) -> None:
        from rich.markup import escape

        if event.event == "phase":
            self.bars.clear()
            self.detail = event.detail
        elif event.event == "progress":
            if event.phase not in self.bars:
                self.bars[event.phase] = self.progress.add_task(escape(event.phase), total=1.0, eta="", detail="")
            eta = "" if event.eta_seconds is None else f"{_duration(event.eta_seconds)} left"
            steps = f"{event.step}/{event.total}" if event.total else f"step {event.step}"
            self.progress.update(
                self.bars[event.phase],
                completed=event.fraction,
                eta=eta,
                detail=escape(event.detail or self.detail or steps),
            )
        elif event.event == "losses":
            self.detail = f"step {event.step}  " + "  ".join(f"{k} {v:.3g}" for k, v in event.values.items())
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
