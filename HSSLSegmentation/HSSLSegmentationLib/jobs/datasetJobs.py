"""Jobs on what a workspace holds: adding and checking scans, suggesting groups and what to label, sample scans."""

from pathlib import Path
from typing import Any

from ..workspace import contents as workspaceContents
from .job import Job
from .jobStarter import JobStarter


def add(starter: JobStarter, values: dict[str, Any]) -> Job:
    """Starts the adding of a folder; `values` are fields of `hssl.configuration.AddConfig`."""
    return starter.configured("add", values)


def createSampleWorkspace(starter: JobStarter, workspace: str | Path, size: str) -> Job:
    """Starts the making of a workspace of generated scans; see `HSSLSegmentationLogic.createSampleWorkspace`."""
    folder = starter.newFolder()
    stopFile = folder / "stop"
    arguments = ["sample", str(workspace), "--size", size, "--json", "--stop-file", str(stopFile)]
    return starter.start("sample", arguments, folder, stopFile)


def checkImages(starter: JobStarter, workspace: str | Path) -> Job:
    """Starts the check of every new or changed image and label; see `HSSLSegmentationLogic.checkImages`."""
    return starter.start("check", ["catalogue", "check", str(workspace), "--json"])


def suggestGroups(starter: JobStarter, workspace: str | Path) -> Job:
    """Starts the comparison of the tasks; the result's "groups" has a group for each task."""
    return starter.start("group", ["catalogue", "group", str(workspace), "--json"])


def suggest(starter: JobStarter, workspace: str | Path, values: dict[str, Any]) -> Job:
    """Starts the choice of what to label next; `values` are fields of `hssl.configuration.SuggestConfig`."""
    model = str(values.get("model") or "")
    if not model:
        model = workspaceContents.modelToSuggestWith(workspaceContents.runs(workspace), values["task"])
    return starter.configured("suggest", {**values, "workspace": workspace, "model": model})
