"""What a job tells while it works: typed events, one JSON object per line between processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .errors import HSSLError, WayOut

PhaseName = Literal[
    "generate", "scans", "scan", "headers", "voxels", "grouping", "fingerprint", "store", "pretraining",
    "fine-tuning", "training", "comparison", "cross-validation", "test", "prediction", "evaluation", "suggestion",
    "report", "open", "features", "learn", "learning", "predict",
]  # fmt: skip
"""What a job can be busy with. Doors have words of their own for each, so that a new one is told to them here."""


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    time: float = Field(default_factory=time.time)
    """Seconds since the epoch."""
    command_id: int | None = None
    """Which command of an interactive worker this belongs to; None in jobs, which are one command each."""


class Phase(_Event):
    """The job enters a phase."""

    event: Literal["phase"] = "phase"
    name: PhaseName
    index: int
    """Counted from 1."""
    count: int
    detail: str = ""
    """What it is about, such as the name of the volume that is predicted."""


class Progress(_Event):
    """`step` of `total` units of the present phase are done."""

    event: Literal["progress"] = "progress"
    phase: PhaseName
    step: int
    total: int | None = None
    """None when the end is a matter of minutes, not steps; `fraction` then tells how far."""
    fraction: float
    """0 to 1."""
    eta_seconds: float | None = None
    """None until a rate is known."""
    detail: str = ""


class Losses(_Event):
    """Losses of a training step (mean since the last such event)."""

    event: Literal["losses"] = "losses"
    step: int
    values: dict[str, float]
    learning_rate: float


class Metrics(_Event):
    """A measurement, such as the validation Dice after `step` steps."""

    event: Literal["metrics"] = "metrics"
    step: int
    values: dict[str, float]


class Message(_Event):
    """Something a person should read."""

    event: Literal["message"] = "message"
    level: Literal["info", "warning", "error"] = "info"
    text: str
    way_out: WayOut = ""
    """What gets one out of it, or changes it; the door that tells it adds its own name for that."""


R = TypeVar("R")


class Done(_Event, Generic[R]):
    """The job has ended well. `stopped` tells that it was asked to stop and can be resumed.

    `result` is what it brings: one of `hssl.results`, or, read from a line, the plain values of one.
    """

    event: Literal["done"] = "done"
    stopped: bool = False
    result: R


class Failed(_Event):
    """The job has ended with an error."""

    event: Literal["failed"] = "failed"
    kind: str
    """Name of the error's class."""
    message: str
    hint: str = ""
    way_out: WayOut = ""
    exit_code: int = 1

    @classmethod
    def of(cls, error: HSSLError) -> Self:
        """Tells an error that a user can mend."""
        return cls(
            kind=type(error).__name__,
            message=str(error),
            hint=error.hint,
            way_out=error.way_out,
            exit_code=error.exit_code,
        )


Event = Phase | Progress | Losses | Metrics | Message | Done[Any] | Failed
OnEvent = Callable[[Event], None]
Stop = Callable[[], bool]
"""Asked often by a job; answers whether it should end at the next safe moment."""


class Stopped(Exception):
    """A stop was asked for in the middle of a piece of work, which gives nothing then."""


_adapter: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def ignore(event: Event) -> None:
    """Takes an event and does nothing with it: the default of `on_event`."""


def never() -> bool:
    """Never asks to stop: the default of `stop`."""
    return False


def as_part(on_event: OnEvent) -> OnEvent:
    """Returns an `on_event` for a job that is part of another: its phases are not told as the whole's."""

    def tell(event: Event) -> None:
        if not isinstance(event, Phase):
            on_event(event)

    return tell


def stop_file(path: str | Path) -> Stop:
    """Returns a `Stop` that asks to stop as soon as the file exists (Windows has no useful signals)."""
    path = Path(path)
    return path.exists


def to_line(event: Event) -> str:
    """Returns the event as one line of JSON, without the line's end."""
    return event.model_dump_json()


def from_line(line: str) -> Event | None:
    """Returns the event that a line of a job's output holds, or None when the line is something else (a log)."""
    line = line.strip()
    if not line.startswith("{"):
        return None
    try:
        return _adapter.validate_json(line)
    except ValidationError:
        return None


class ProgressMeter:
    """Emits `Progress` at most every `interval` seconds, with the time left estimated from the rate so far.

    Args:
        on_event: receives the events.
        phase: what the job is busy with.
        total: number of units, or None when only a fraction is known.
        done: fraction that was done before (a resumed run); it does not count for the rate.
    """

    def __init__(
        self, on_event: OnEvent, phase: PhaseName, total: int | None, done: float = 0.0, interval: float = 0.5
    ):
        self.on_event, self.phase, self.total, self.interval = on_event, phase, total, interval
        self._start = time.monotonic()
        self._first_fraction = done
        self._last = -interval

    def update(self, step: int, fraction: float | None = None, detail: str = "", force: bool = False) -> None:
        """Tells that `step` units are done; `fraction` is needed where there is no total."""
        if fraction is None:
            fraction = step / self.total if self.total else 0.0
        now = time.monotonic()
        if now - self._last < self.interval and not force and fraction < 1:
            return
        self._last = now
        gained = fraction - self._first_fraction
        eta = (now - self._start) * (1 - fraction) / gained if gained > 1e-6 else None
        self.on_event(
            Progress(
                phase=self.phase,
                step=step,
                total=self.total,
                fraction=min(fraction, 1.0),
                eta_seconds=eta,
                detail=detail,
            )
        )
