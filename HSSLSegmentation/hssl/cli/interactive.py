"""Commands for interactive segmentation: one round from files, and the worker that an editor keeps warm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from .console import run_job
from .options import Device, Json, Overwrite, Spacing, StopFile, Threads

if TYPE_CHECKING:
    from ..events import Done, Event, OnEvent, Stop
    from ..interactive.worker import PlaneNumbers
    from ..results import RoundResult

_AXES = "zyx"


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command()(interactive)
    app.command(name="interactive-worker")(worker)


def interactive(
    volume: Annotated[Path, typer.Argument(help="The volume.")],
    annotation: Annotated[Path, typer.Argument(help="Label map on the volume's grid; 0 is not painted.")],
    output: Annotated[Path, typer.Option(help="Label map to write.")],
    model: Annotated[
        str,
        typer.Option(
            help="Run, model file or general (ships with HSSL), whose features to start from. (default: none)",
            show_default=False,
        ),
    ] = "",
    plane: Annotated[
        list[str] | None,
        typer.Option(
            help="A completely annotated slice, such as z:12 (counted from 0), or z:12:1,3 where it is complete for the "
            "labels 1 and 3 alone; may be repeated.",
            metavar="z:12",
        ),
    ] = None,
    background: Annotated[
        int | None, typer.Option(help="Value of the annotation that means: none of the labels.", show_default=False)
    ] = None,
    uncertainty: Annotated[Path | None, typer.Option(help="Uncertainty volume to write.")] = None,
    whole_volume: Annotated[
        bool, typer.Option("--whole-volume", help="Fill all of the volume, not only around the annotated slices.")
    ] = False,
    largest_component: Annotated[
        bool | None,
        typer.Option(
            "--largest-component/--all-components",
            help="Leave out pieces that hold nothing painted, or keep all. (default: leave out, of labels in one piece on their "
            "slices)",
            show_default=False,
        ),
    ] = None,
    frame: Annotated[int | None, typer.Option(help="Volume to take of a 4D file, from 0.")] = None,
    spacing: Spacing = None,
    nan_is_background: Annotated[
        bool, typer.Option("--nan-is-background", help="Voxels that are NaN are background, not an error.")
    ] = False,
    overwrite: Overwrite = None,
    device: Device = None,
    threads: Threads = None,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Learn from a few annotated slices of a volume, and fill the rest of it."""
    planes = [_plane(text) for text in plane or []]

    def job(on_event: OnEvent, stop: Stop) -> Done[Any]:
        from ..events import Done, Stopped
        from ..interactive.worker import InteractiveWorker, LearnCommand, OpenCommand
        from ..results import Result

        worker = InteractiveWorker()
        opening = OpenCommand(
            id=0, volume=volume, model=model, frame=frame, spacing=spacing, nan_is_background=nan_is_background,
            device=device or "auto", threads=threads or 0,
        )  # fmt: skip
        learning = LearnCommand(
            id=1, annotation=annotation, planes=planes, label_map=output, uncertainty=uncertainty,
            whole_volume=whole_volume, background=background, largest_component=largest_component,
            overwrite=bool(overwrite),
        )  # fmt: skip
        try:
            worker.do(opening, on_event, stop)
            return worker.do(learning, on_event, stop)
        except Stopped:
            return Done(stopped=True, result=Result())

    def show(done: Done[RoundResult]) -> None:
        typer.echo(f"{done.result.label_map}: {done.result.seconds:.1f} s")
        if done.result.next_slice is not None:
            axis, index = done.result.next_slice
            typer.echo(f"Most uncertain, best annotated next: {_AXES[axis]}:{index}")

    run_job(job, json, show, stop_file)


def worker() -> None:
    """Read commands as JSON lines from standard input and answer with events, for an editor (not for people)."""
    import sys

    # Somebody waits, and other jobs may have the cores: threads that spin while they wait for each other make a round of
    # 0.3 s one of 20 s then. OpenMP reads it when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ..events import to_line
    from ..interactive.worker import serve

    def tell(event: Event) -> None:
        print(to_line(event), flush=True)

    try:
        serve(sys.stdin, tell)
    except BrokenPipeError:
        sys.exit(1)


def _plane(text: str) -> PlaneNumbers:
    axis, _, rest = text.partition(":")
    index, _, values = rest.partition(":")
    numbers = values.split(",") if values else []
    if axis not in tuple(_AXES) or not all(number.isdecimal() for number in [index, *numbers]):
        raise typer.BadParameter(
            f"{text!r} is not of the form z:12, y:12 or x:12, nor of the form z:12:1,3", param_hint="--plane"
        )
    plane = (_AXES.index(axis), int(index))
    return cast("PlaneNumbers", (*plane, [int(number) for number in numbers]) if numbers else plane)
