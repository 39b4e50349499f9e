"""The command line: `hssl`, also `python -m hssl`. Imports of torch wait until a command needs them."""

from __future__ import annotations

import os

import typer

from .. import __version__
from . import catalogue, interactive, jobs, models, sample

app = typer.Typer(
    name="hssl",
    help="Learn to segment from unlabelled scans and few labels (hierarchical self-supervised learning).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(catalogue.app, name="catalogue")
jobs.register(app)
models.register(app)
interactive.register(app)
sample.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hssl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    from ..errors import InputError

    try:
        os.getcwd()
    except OSError:
        typer.echo("Error: the current folder is gone: it was deleted or moved. Change into another one.", err=True)
        raise typer.Exit(InputError.exit_code) from None


def main() -> None:
    """Runs the command line."""
    app()
