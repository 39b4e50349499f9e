"""A workspace of generated scans to try everything on: labelled and unlabelled, four tasks in three groups."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from ..errors import WorkspaceError
from ..events import Done, OnEvent, Phase, Stop, Stopped, ignore, never
from ..results import SampleResult
from ..workspace import scan, sources
from ..workspace.catalogue import Catalogue
from . import scans as demo


def sample(
    workspace: str | Path,
    size: Literal["demo", "tiny"] = "demo",
    seed: int = 0,
    on_event: OnEvent = ignore,
    stop: Stop = never,
) -> Done[SampleResult]:
    """Generates scans into `workspace/scans` and makes a workspace of them, whole or not at all.

    Args:
        workspace: a new or empty folder.
        size: of the scans, as in `hssl.demo.scans.generate`.
        seed: of everything random.
        on_event: receives the events.
        stop: asked before each scan.

    Returns:
        The Done event with a `SampleResult`.

    Raises:
        WorkspaceError: there is something in the folder already.
        OutputError: the folder cannot be written to.
    """
    workspace = Path(workspace).expanduser().absolute()
    if workspace.exists() and (not workspace.is_dir() or any(workspace.iterdir())):
        raise WorkspaceError(workspace, "is not an empty folder", "Choose another folder for the sample scans.")
    unfinished = workspace.with_name(f"{workspace.name}-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    on_event(Phase(name="generate", index=1, count=2))
    try:
        folders = demo.generate(unfinished / "scans", seed, size=size, on_event=on_event, stop=stop)
    except Stopped:
        shutil.rmtree(unfinished, ignore_errors=True)  # before the first scan there is nothing
        return Done(stopped=True, result=SampleResult())
    on_event(Phase(name="scan", index=2, count=2))
    Catalogue.create(unfinished, name=workspace.name)
    for task in demo.tasks():
        if not stop():
            scan.add(unfinished, sources.find(folders[task.name]), task, on_event, stop)
    if stop():
        shutil.rmtree(unfinished)
        return Done(stopped=True, result=SampleResult())
    if workspace.exists():
        workspace.rmdir()
    unfinished.rename(workspace)
    return Done(result=SampleResult(workspace=workspace, images=len(Catalogue.load(workspace).images)))
