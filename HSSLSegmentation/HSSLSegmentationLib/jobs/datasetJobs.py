"""Jobs on what a workspace holds: adding and checking scans, suggesting groups and what to label, sample scans."""

from pathlib import Path

from slicer.i18n import tr as _

from .. import settings
from ..workspace import contents as workspaceContents
from .job import Job
from .jobStarter import JobStarter


def addFolder(
    starter: JobStarter,
    workspace: str | Path,
    folder: str | Path,
    task: str,
    group: str,
    modality: str,
    labelsFolder: str | Path | None,
) -> Job:
    """Starts the scan of a folder; see `HSSLSegmentationLogic.addFolder`."""
    arguments = ["catalogue", "add", str(workspace), str(folder), "--task", task, "--check", "--json"]
    for option, value in (("--group", group), ("--modality", modality), ("--labels", labelsFolder)):
        if value:
            arguments += [option, str(value)]
    return starter.start("scan", arguments)


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


def suggest(starter: JobStarter, workspace: str | Path, task: str, model: str | Path, count: int) -> Job:
    """Starts the choice of what to label next; see `HSSLSegmentationLogic.suggest`."""
    configuration = {
        "workspace": str(Path(workspace).expanduser().absolute()),
        "task": task,
        "model": str(model) or latestModel(workspaceContents.runs(workspace), task),
        "count": count,
        "device": settings.value("device"),
        "threads": settings.value("threads"),
    }
    return starter.configured("suggest", configuration)


def latestModel(runs: list, task: str) -> str:
    """Returns the name of the latest finished fine-tuning of the task, or of the latest finished pretraining.

    Raises:
        ValueError: there is neither.
    """
    finished = [run for run in runs if run.state == "finished"]
    names = [run.name for run in finished if run.kind == "pretrain"]
    names += [run.name for run in finished if run.kind == "finetune" and run.task == task]
    if not names:
        raise ValueError(_("Pretrain in section 2, or fine-tune this task in section 3, first."))
    return names[-1]
