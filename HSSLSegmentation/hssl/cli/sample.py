"""`hssl sample`: makes a workspace of generated scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import run_job
from .options import Json, StopFile

if TYPE_CHECKING:
    from ..events import Done, OnEvent, Stop
    from ..results import SampleResult


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command()(sample)


def sample(
    workspace: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    size: Annotated[str, typer.Option(help="demo, or tiny for tests.")] = "demo",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 0,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Make a workspace of generated scans, labelled and unlabelled, to try everything on."""

    def job(on_event: OnEvent, stop: Stop) -> Done[SampleResult]:
        from ..demo import workspace as samples
        from ..errors import ConfigurationError

        if size not in ("demo", "tiny"):
            raise ConfigurationError(f"size is demo or tiny, got {size!r}")
        return samples.sample(workspace, "tiny" if size == "tiny" else "demo", seed, on_event, stop)

    run_job(job, json, stop_file=stop_file, show=lambda done: typer.echo(done.result.workspace))
