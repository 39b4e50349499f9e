"""Trainings that belong together: a file keeps what they have found so far, so that a stopped series goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import ConfigurationError, InputError, OutputError
from ..files import read_json, write_json
from ..names import safe_name

S = TypeVar("S", bound=BaseModel)


def series_name(folder: Path, wish: str, new: S, same: Sequence[str], is_done: Callable[[S], bool]) -> str:
    """Returns the name of a series that was stopped and goes on, or else the first free one, where nobody has named it.

    Args:
        folder: that of all such series; each has its own in it.
        wish: the name; a number is added where it is taken.
        new, same: as for `kept_or_new`.
        is_done: tells whether a series has come to its end.
    """
    wish = safe_name(wish, "series")
    for name in (wish if number == 1 else f"{wish}-{number}" for number in count(1)):
        if not (folder / name).exists():
            # Trainings of a series whose own folder is gone are not mixed with those of another.
            if not any(folder.parent.glob(f"runs/{name}-*")):
                break
            continue
        kept = _kept(folder / name, new)
        if kept is not None and not is_done(kept) and not _differing(kept, new, same):
            break
    return name


def _kept(folder: Path, new: S) -> S | None:
    """The series in a folder; None where there is none of this kind."""
    files = [file for file in folder.glob("*.json") if not file.name.startswith(".")]
    try:
        return type(new).model_validate(read_json(files[0])) if len(files) == 1 else None
    except (InputError, ValidationError):
        return None


def _differing(kept: S, new: S, same: Sequence[str]) -> list[str]:
    # None: an earlier version did not write it.
    return [name for name in same if getattr(kept, name) not in (None, getattr(new, name))]


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
    if differing := _differing(kept, new, same):
        raise ConfigurationError(
            f"{path.parent}: this {what} was started with another {', '.join(differing)}",
            f"Choose another name for the {what}, or go on with its own configuration.",
        )
    return kept


def keep(path: Path, series: BaseModel) -> None:
    """Writes what a series has found so far, whole or not at all."""
    write_json(path, series.model_dump(mode="json"))
