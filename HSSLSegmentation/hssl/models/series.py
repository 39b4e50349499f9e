"""Trainings that belong together: a file keeps what they have found so far, so that a stopped series goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import ConfigurationError, OutputError
from ..files import read_json, write_json

S = TypeVar("S", bound=BaseModel)


def kept_or_new(path: Path, new: S, what: str, same: Sequence[str]) -> S:
    """Returns what a series of trainings has found so far; a new one is begun, and marks its folder as one.

    Args:
        path: of its file; nothing but hidden files may be beside it when it is begun.
        new: what the file of a new one holds.
        what: such a series is called.
        same: fields that must be the same when it goes on.

    Raises:
        OutputError: the folder holds something else.
        ConfigurationError: the series was begun with something else in one of these fields.
    """
    if not path.exists():
        if any(not p.name.startswith(".") for p in path.parent.iterdir()):
            raise OutputError(path.parent, f"is there already and is no {what} of HSSL", "Choose another name.")
        keep(path, new)
        return new
    try:
        kept = type(new).model_validate(read_json(path))
    except ValidationError as error:
        raise OutputError(path, f"is there already and is no {what} of HSSL", "Choose another name.") from error
    differing = [name for name in same if getattr(kept, name) != getattr(new, name)]
    if differing:
        raise ConfigurationError(
            f"{path.parent}: this {what} was started with another {', '.join(differing)}",
            f"Choose another name for the {what}, or go on with its own configuration.",
        )
    return kept


def keep(path: Path, series: BaseModel) -> None:
    """Writes what a series has found so far, whole or not at all."""
    write_json(path, series.model_dump(mode="json"))
