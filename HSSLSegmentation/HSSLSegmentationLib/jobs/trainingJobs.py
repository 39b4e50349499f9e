"""Pretraining, fine-tuning, comparison and cross-validation as jobs.

`values` are plain values of the fields of the job's configuration (`hssl.configuration`); it is checked before anything
starts.
"""

from pathlib import Path
from typing import Any

from .. import settings
from ..workspace import contents as workspaceContents
from .job import Job
from .jobStarter import JobStarter


def pretrain(starter: JobStarter, workspace: str | Path, values: dict[str, Any]) -> Job:
    """Starts a pretraining; see `HSSLSegmentationLogic.pretrain`."""
    return _trained(starter, "pretrain", workspace, "pretrain", values)


def fineTune(starter: JobStarter, workspace: str | Path, values: dict[str, Any]) -> Job:
    """Starts a fine-tuning; see `HSSLSegmentationLogic.fineTune`."""
    values = {**values, "start": workspaceContents.startCalled(workspace, values["start"])}
    return _trained(starter, "finetune", workspace, values["task"], values)


def compare(starter: JobStarter, workspace: str | Path, start: str | Path, values: dict[str, Any]) -> Job:
    """Starts a comparison with scratch; see `HSSLSegmentationLogic.compare`."""
    values = {**values, "finetune": {**values["finetune"], "workspace": workspace}}
    values["start"] = workspaceContents.startCalled(workspace, start)
    return starter.configured("compare", values, resumable=True)


def checkLabels(starter: JobStarter, workspace: str | Path, start: str | Path, values: dict[str, Any]) -> Job:
    """Starts a check of labels; see `HSSLSegmentationLogic.checkLabels`."""
    return _crossValidated(starter, "check_labels", workspace, start, values)


def learningCurve(starter: JobStarter, workspace: str | Path, start: str | Path, values: dict[str, Any]) -> Job:
    """Starts a learning curve; see `HSSLSegmentationLogic.learningCurve`."""
    return _crossValidated(starter, "learning_curve", workspace, start, values)


def estimateMemory(starter: JobStarter, workspace: str | Path, values: dict[str, Any]) -> Job:
    """Starts the estimate of a pretraining's memory; see `HSSLSegmentationLogic.estimateMemory`."""
    return starter.configured("estimate", {**values, "workspace": workspace})


def resume(starter: JobStarter, runFolder: str | Path) -> Job:
    """Goes on with a run of this or an earlier session; see `HSSLSegmentationLogic.resume`."""
    from hssl.models.run_folder import RunFolder

    run = Path(runFolder)
    configuration = RunFolder(run).read_config().model_dump(mode="json")
    # The workspace may have been moved or renamed since, and this computer may have another device.
    configuration |= {"workspace": str(run.parent.parent), "run": run.name, "device": settings.value("device")}
    return starter.configured(configuration["kind"], configuration, run=run, resumable=True)


def _trained(starter: JobStarter, kind: str, workspace: str | Path, wish: str, values: dict[str, Any]) -> Job:
    run = values.get("run") or _freeRun(workspace, wish)
    values = {**values, "workspace": workspace, "run": run}
    return starter.configured(kind, values, run=Path(workspace) / "runs" / run, resumable=True)


def _crossValidated(
    starter: JobStarter, kind: str, workspace: str | Path, start: str | Path, values: dict[str, Any]
) -> Job:
    recipe = {**values["finetune"], "workspace": workspace, "start": workspaceContents.startCalled(workspace, start)}
    return starter.configured(kind, {**values, "finetune": recipe}, resumable=True)


def _freeRun(workspace: str | Path, wish: str) -> str:
    from hssl.models.run_folder import free_name

    return free_name(Path(workspace), wish)
