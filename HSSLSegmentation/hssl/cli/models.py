"""Commands about models: export, import, info."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..plural import counted
from .console import run_job
from .options import Json, Overwrite

if TYPE_CHECKING:
    from ..events import Done, OnEvent, Stop
    from ..models.model_file import DescribedModel
    from ..results import ModelFileResult


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command(name="export")(export)
    app.command(name="import")(import_)
    app.command()(info)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    file: Annotated[Path, typer.Argument(help="The model file to write (.zip).")],
    licence: Annotated[str, typer.Option(help="Licence under which the model is passed on.")] = "",
    half: Annotated[
        bool, typer.Option("--half", help="Store weights as float16: half the size, three digits.")
    ] = False,
    overwrite: Overwrite = None,
    json: Json = False,
) -> None:
    """Write a run's model into one file: weights, configuration, classes, provenance."""

    def job(on_event: OnEvent, stop: Stop) -> Done[ModelFileResult]:
        from ..events import Done, Message
        from ..models.model_file import export_model
        from ..results import ModelFileResult

        description = export_model(run, file, licence, half, bool(overwrite))
        if description.sources:
            said = "; ".join(f"{source}: {of_source}" for source, of_source in description.sources.items())
            on_event(Message(text=f"What it learned from has licences of its own, which the file says too: {said}"))
        return Done(result=ModelFileResult(file=file, name=description.name))

    run_job(job, json, show=lambda done: typer.echo(done.result.file))


def import_(
    file: Annotated[Path, typer.Argument(help="A model file.")],
    workspace: Annotated[Path, typer.Argument(help="Folder of the workspace.")],
    name: Annotated[str, typer.Option(help="Name in the workspace. (default: the model's own)")] = "",
    json: Json = False,
) -> None:
    """Check a model file and copy it into a workspace."""

    def job(on_event: OnEvent, stop: Stop) -> Done[ModelFileResult]:
        from ..events import Done
        from ..models.model_file import install_model
        from ..results import ModelFileResult

        return Done(result=ModelFileResult(file=install_model(file, workspace, name)))

    run_job(job, json, show=lambda done: typer.echo(done.result.file))


def info(
    model: Annotated[Path, typer.Argument(help="A model file, the folder of a run, or general.")],
    json: Json = False,
) -> None:
    """Tell what a model or a run is: classes, training data, figures, licence."""

    def job(on_event: OnEvent, stop: Stop) -> Done[DescribedModel]:
        from ..events import Done
        from ..models.find import find_model
        from ..models.model_file import describe

        return Done(result=describe(find_model(model)))

    def show(done: Done[DescribedModel]) -> None:
        from rich.console import Console
        from rich.table import Table

        from ..models.architecture import in_words

        found, description = done.result, done.result.description
        table = Table.grid("", "", padding=(0, 2))
        table.add_row("name", description.name)
        table.add_row("kind", found.kind)
        table.add_row("size", f"{found.bytes / 2**20:.1f} MB")
        table.add_row("network", in_words(description.network))
        for task in description.tasks:
            classes = ", ".join(f"{c.value} {c.name}" for c in task.classes)
            count = len(description.planes.get(task.name, [0]))
            planes = f", {count} slice planes" if count > 1 else ""
            table.add_row("task", f"{task.name} ({task.modality}{planes}): {classes}")
        pieces = [c.name for t in description.tasks for c in t.classes if c.value in description.one_piece]
        if pieces:
            table.add_row("one piece", f"{', '.join(pieces)} (predictions leave out islands)")
        for name, value in description.figures.items():
            table.add_row(name, f"{value:.4g}")
        table.add_row("licence", description.licence or "none given")
        cases = description.provenance.get("cases")
        if cases and isinstance(cases, list):
            table.add_row("trained on", counted(len(cases), "case"))
        for source, licence in description.sources.items():
            table.add_row("source", f"{source}: {licence}")
        Console(highlight=False, markup=False).print(table)

    run_job(job, json, show=show)
