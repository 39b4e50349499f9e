"""The options that several commands have, and how what they say becomes the configuration of a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .console import run_job
from .ids import read_ids

if TYPE_CHECKING:
    from ..events import Done, OnEvent, Stop
    from ..workspace.catalogue import LabelClass

Workspace = Annotated[Path | None, typer.Argument(help="Folder of the workspace.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line instead of progress bars.")]
StopFile = Annotated[Path | None, typer.Option(help="Stop, with a checkpoint, as soon as this file exists.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="JSON with the whole configuration; options win over it.")
]
Minutes = Annotated[
    float | None,
    typer.Option(
        help="Stop after this many minutes. (default without --steps and --epochs: 30 of a pretraining, 5 of a fine-tuning)",
        show_default=False,
    ),
]
MinutesOfEach = Annotated[
    float | None,
    typer.Option(help="Minutes of each fine-tuning. (default without --steps: 5)", show_default=False),
]
MinutesOfFold = Annotated[
    float | None,
    typer.Option(help="Minutes of each training. (default: 200 steps instead)", show_default=False),
]
Steps = Annotated[int | None, typer.Option(help="Stop after this many steps.")]
StepsOfEach = Annotated[int | None, typer.Option(help="Steps of each training.")]
Epochs = Annotated[float | None, typer.Option(help="Stop after this many epochs.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps. (default: auto)", show_default=False)]
Threads = Annotated[int | None, typer.Option(help="CPU threads. (default: torch's own choice)", show_default=False)]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random. (default: 0)", show_default=False)]
Run = Annotated[str | None, typer.Option(help="Name of the run; a run that was stopped goes on.")]
StartOfPretraining = Annotated[
    str | None,
    typer.Option(
        help="Go on from general (ships with HSSL), a run, or a model file. (default: scratch)", show_default=False
    ),
]
BatchSize = Annotated[int | None, typer.Option(help="Patches per step. (default: by the device)", show_default=False)]
PatchSize = Annotated[
    int | None,
    typer.Option(
        help="Side of the patches in voxels, a multiple of 16, at least 32. (default: by the images)",
        show_default=False,
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        help="Highest learning rate. (default: 0.001 of a pretraining, 0.003 of a fine-tuning)",
        show_default=False,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        help="Network of a start from scratch: small, medium or large. (default: small; other starts bring theirs)",
        show_default=False,
    ),
]
Dims = Annotated[
    int | None,
    typer.Option(help="Of a network from scratch: 2 for slices, 3 for volumes. (default: 2)", show_default=False),
]
Slices = Annotated[
    int | None,
    typer.Option(
        help="Of a 2D network from scratch: neighbouring slices that it sees (1, 3, 5). (default: 3)",
        show_default=False,
    ),
]
Planes = Annotated[
    str | None,
    typer.Option(
        help="Slices along all axes whose spacing allows it, or one. (default: all)",
        show_default=False,
        metavar="all|one",
    ),
]
Spacing = Annotated[
    tuple[float, float, float] | None,
    typer.Option(help="mm in x, y, z, of files that do not say it (TIFF).", show_default=False, metavar="X Y Z"),
]
Overwrite = Annotated[
    bool | None,
    typer.Option(
        "--overwrite", help="Replace files that are there and are no results of the same work; never an input."
    ),
]
Exclude = Annotated[
    list[str] | None, typer.Option(help="Id of an image to leave out, or @FILE with one per line; may be repeated.")
]


FIELDS = {
    "weight": "weights",
    "level": "levels",
    "case": "cases",
    "minutes": "budget.minutes",
    "steps": "budget.steps",
    "epochs": "budget.epochs",
    "size": "network.size",
    "dims": "network.spatial_dims",
    "slices": "network.in_slices",
}
"""Fields of the configuration that have another name or place than their option."""
_OF_FOLDS = {
    "minutes": "finetune.budget.minutes",
    "steps": "finetune.budget.steps",
    **{
        option: f"finetune.{option}"
        for option in ("workspace", "task", "start", "exclude", "seed", "device", "threads")
    },
}
FIELDS_OF = {
    "pretrain": {"task": "tasks"},
    "check_labels": _OF_FOLDS,
    "learning_curve": {"case_count": "case_counts", **_OF_FOLDS},
    "compare": {
        "case_count": "case_counts",
        "minutes": "finetune.budget.minutes",
        "steps": "finetune.budget.steps",
        **{option: f"finetune.{option}" for option in ("workspace", "task", "exclude", "device", "threads")},
    },
}
"""The same for single commands."""


def run_configured(context: typer.Context, show: Callable[[Done[Any]], None]) -> NoReturn:
    """Runs the job of a command and ends the process; its options are fields of the configuration (see `FIELDS`), and win
    over those of its file.

    Args:
        context: of the command, which has the job's name.
        show: prints the result for people.
    """
    options = dict(context.params)
    config, as_json, stop_file = options.pop("config"), options.pop("json"), options.pop("stop_file", None)
    assert context.command.name is not None
    kind = context.command.name.replace("-", "_")

    def job(on_event: OnEvent, stop: Stop) -> Done[Any]:
        from ..errors import ConfigurationError
        from ..files import read_json
        from ..jobs import JOBS

        given = read_json(config) if config is not None else {}
        if not isinstance(given, dict):
            raise ConfigurationError(f"{config}: a configuration is a JSON object")
        try:
            return JOBS[kind].run(_merged(given, _said(kind, options)), on_event, stop)
        except ConfigurationError as error:
            error.hint = error.hint or _said_by(kind, context.command.params, error.fields)
            raise

    run_job(job, as_json, show, stop_file)


def _said_by(kind: str, parameters: Sequence[Any], fields: Sequence[str]) -> str:
    """Returns what says fields of the configuration at the command line: nobody has typed "finetune.task"."""
    places = FIELDS | FIELDS_OF.get(kind, {})
    said = []
    for parameter in parameters:
        place = places.get(parameter.name, parameter.name)
        if any(field == place or field.startswith(f"{place}.") for field in fields):
            said.append(parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper())
    return f"Said by {', '.join(said)}." if said else ""


def _said(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of the configuration that the options say."""
    fields = FIELDS | FIELDS_OF.get(kind, {})
    found: dict[str, Any] = {}
    for option, value in options.items():
        if value is None or value == ():
            continue
        *folders, field = fields.get(option, option).split(".")
        place = found
        for folder in folders:
            place = place.setdefault(folder, {})
        place[field] = READERS[option](value) if option in READERS else value
    if options.get("dims") == 3:
        found["network"].setdefault("in_slices", 1)
    return found


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and key != "budget"
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _pairs(texts: Sequence[str], convert: Callable[[str], Any]) -> dict[str, Any]:
    from ..errors import ConfigurationError

    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            pairs[name] = convert(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigurationError(f"{text!r} is not of the form name=value")
    return pairs


def parsed_classes(texts: Sequence[str]) -> list[LabelClass]:
    """Reads "1=liver" into classes.

    Raises:
        ConfigurationError: a text is not a number, "=" and a name, or two have the same number or name.
    """
    from ..errors import ConfigurationError
    from ..workspace.catalogue import LabelClass

    classes = []
    for text in texts:
        value, mark, name = text.partition("=")
        if not mark or not value.strip().isdecimal() or not 0 < int(value) < 65536 or not name.strip():
            raise ConfigurationError(f'class {text!r} is not of the form "1=liver"')
        classes.append(LabelClass(value=int(value), name=name.strip()))
    for what in ("value", "name"):
        if len({getattr(c, what) for c in classes}) != len(classes):
            raise ConfigurationError(f"two classes have the same {what}: {', '.join(texts)}")
    return classes


READERS: dict[str, Callable[[Any], Any]] = {
    "weight": lambda texts: _pairs(texts, float),
    "level": lambda texts: _pairs(texts, lambda text: int(text) if text.isdigit() else text),
    "classes": lambda texts: {c.value: c.name for c in parsed_classes(texts)},
    **dict.fromkeys(("case", "validation", "exclude", "test"), read_ids),
}
"""How options are read that are more than a value."""
