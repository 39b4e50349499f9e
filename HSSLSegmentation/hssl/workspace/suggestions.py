"""Suggestions of what to label next, as `suggestions/<task>.json` of a workspace keeps them."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..errors import InputError
from ..files import read_json, sha256_of, write_json
from ..names import safe_name
from ..outputs import check_outputs
from ..results import Suggestion, SuggestResult
from .catalogue import Catalogue

_rows = TypeAdapter(list[Suggestion])


def suggestions_path(workspace: Path, task: str) -> Path:
    """Returns where the suggestions for a task are kept."""
    name = safe_name(task, "task")
    if name != task:  # "a b" and "a/b" are two tasks
        name = f"{name}-{sha256_of(task)[:8]}"
    return workspace / "suggestions" / f"{name}.json"


def write_suggestions(catalogue: Catalogue, result: SuggestResult) -> None:
    """Keeps what was suggested for a task, whole or not at all, in the file of `suggestions_path`.

    Raises:
        OutputError: a file of that name is none of ours, or cannot be written.
    """
    path = suggestions_path(catalogue.workspace, result.task)
    check_outputs([path], [], own=_is_own)
    values = result.model_dump(mode="json", exclude={"file"})
    write_json(path, {**values, "catalogue": catalogue.content_hash()})


def _is_own(path: Path) -> bool:
    try:
        values = read_json(path)
    except InputError:
        return False
    return isinstance(values, dict) and {"task", "suggestions"} <= values.keys()


def open_suggestions(catalogue: Catalogue, task: str) -> list[Suggestion]:
    """Returns what was suggested last for a task and has not been labelled or removed since, best first.

    Raises:
        InputError: the file is damaged.
    """
    path = suggestions_path(catalogue.workspace, task)
    if not path.exists():
        return []
    values = read_json(path)
    if not isinstance(values, dict) or values.get("task") != task:
        return []
    try:
        rows = _rows.validate_python(values.get("suggestions"))
    except ValidationError as error:
        raise InputError(path, "holds no suggestions", "Delete the file.") from error
    waiting = {i.id for i in catalogue.usable(task, labelled=False)}
    return [row for row in rows if row.id in waiting]
