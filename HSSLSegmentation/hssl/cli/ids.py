"""Ids on the command line: each by itself, or a file with one per line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def read_ids(values: Sequence[str] | None) -> list[str] | None:
    """Returns the ids that options or arguments name; `@FILE` stands for those in a UTF-8 file, one per line.

    Empty lines are passed over, and so is a byte order mark (as Notepad and PowerShell write it).

    Raises:
        InputError: a file does not exist, cannot be read, or is no UTF-8.
    """
    from ..errors import InputError

    if values is None:
        return None
    ids: list[str] = []
    for value in values:
        if not value.startswith("@"):
            ids.append(value)
            continue
        path = Path(value[1:]).expanduser()
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise InputError(path, f"cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise InputError(path, "is no text in UTF-8", "Save it as UTF-8, with one id a line.") from error
        ids += [line.strip() for line in lines if line.strip()]
    return ids
