"""A workspace that is not there, or goes while it is used (deleted, moved, its drive disconnected), is told as that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ..errors import HSSLError, WorkspaceError

FILE_NAME = "dataset.json"
GONE = "is no longer there: it was moved or deleted, or its drive is not connected"
ADD_AGAIN = (
    "If the scans (or the workspace alone) were moved, add them again under their task: they are known by content."
)
"""The way out where what the catalogue names has gone."""

P = ParamSpec("P")
R = TypeVar("R")


def is_there(workspace: str | Path) -> bool:
    """Tells whether a folder is a workspace that can be reached; a drive that does not answer has none."""
    return os.path.isfile(Path(workspace) / FILE_NAME)


def require_there(workspace: str | Path) -> None:
    """Checks that a folder is a workspace.

    Raises:
        WorkspaceError: there is no such folder, or it has no catalogue, or it is a file.
    """
    if is_there(workspace):
        return
    if os.path.isdir(workspace):
        raise WorkspaceError(workspace, f"is not a workspace: it has no {FILE_NAME}", "Create one.", "create")
    if os.path.isfile(workspace):
        raise WorkspaceError(workspace, "is not a workspace: it is a file", "Name the folder of the workspace.")
    reason = "is not a workspace: there is no such folder"
    raise WorkspaceError(workspace, reason, "If it lies on a drive, connect that; else create one.", "create")


def require_still_there(workspace: str | Path) -> None:
    """Checks that a workspace has not gone since it was opened: what is written into it would make an empty one of it.

    Raises:
        WorkspaceError: it has.
    """
    if not is_there(workspace):
        raise WorkspaceError(
            workspace,
            GONE,
            "Bring it back; what was saved in it until then goes on from there.",
        )


@contextmanager
def while_there(workspace: str | Path) -> Iterator[None]:
    """Raises WorkspaceError in place of whatever code stumbles over once the workspace has gone.

    Example:
        >>> with while_there("/media/drive/five"):  # doctest: +SKIP
        ...     Path("/media/drive/five/runs/night/log.txt").read_text()
        Traceback (most recent call last):
        hssl.errors.WorkspaceError: /media/drive/five: is no longer there: …
    """
    try:
        yield
    except (HSSLError, OSError) as error:
        try:
            require_still_there(workspace)
        except WorkspaceError as gone:
            raise gone from error
        raise


def in_workspace(job: Callable[P, R]) -> Callable[P, R]:
    """Makes a job, whose first argument is its configuration, begin with a workspace that is there, and tell when it goes."""

    @wraps(job)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        config: Any = args[0] if args else kwargs["config"]
        workspace = Path(getattr(config, "finetune", config).workspace).expanduser().absolute()
        require_there(workspace)
        with while_there(workspace):
            done = job(*args, **kwargs)
            require_still_there(workspace)
        return done

    return run
