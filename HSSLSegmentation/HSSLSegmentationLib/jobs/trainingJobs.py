"""Pretraining, fine-tuning and comparison as jobs."""

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from .. import settings
from ..workspace import contents as workspaceContents
from .job import Job
from .jobStarter import JobStarter


def pretrain(
    starter: JobStarter,
    workspace: str | Path,
    minutes: float | None,
    steps: int | None,
    run: str,
    options: dict[str, Any] | None,
) -> Job:
    """Starts a pretraining; see `HSSLSegmentationLogic.pretrain`."""
    return _trained(
        starter, "pretrain", workspace, run or _freeRun(workspace, "pretrain"), minutes, steps, options or {}
    )


def fineTune(
    starter: JobStarter,
    workspace: str | Path,
    task: str,
    start: str | Path,
    cases: list[str] | None,
    caseCount: int,
    minutes: float | None,
    steps: int | None,
    run: str,
    options: dict[str, Any] | None,
) -> Job:
    """Starts a fine-tuning; see `HSSLSegmentationLogic.fineTune`."""
    own = {
        "task": task,
        "start": startOf(workspace, start),
        "cases": cases or [],
        "case_count": 0 if cases else caseCount,
    }
    return _trained(
        starter, "finetune", workspace, run or _freeRun(workspace, task), minutes, steps, {**own, **(options or {})}
    )


def compare(
    starter: JobStarter,
    workspace: str | Path,
    task: str,
    start: str | Path,
    caseCounts: list[int] | None,
    seeds: list[int] | None,
    minutes: float | None,
    steps: int | None,
    options: dict[str, Any] | None,
) -> Job:
    """Starts a comparison with scratch; see `HSSLSegmentationLogic.compare`."""
    recipe = _common(workspace, minutes, steps) | {"task": task} | (options or {})
    # Named here, so that a comparison that was stopped goes on under the same name.
    name = _freeRun(workspace, f"compare-{task}")
    configuration: dict[str, Any] = {"finetune": recipe, "start": startOf(workspace, start), "name": name}
    if caseCounts:
        configuration["case_counts"] = caseCounts
    if seeds:
        configuration["seeds"] = seeds
    return starter.configured("compare", configuration, resumable=True)


def estimateMemory(starter: JobStarter, workspace: str | Path, options: dict[str, Any] | None) -> Job:
    """Starts the estimate of a pretraining's memory; see `HSSLSegmentationLogic.estimateMemory`."""
    return starter.configured("estimate", _common(workspace, None, None) | (options or {}))


def resume(starter: JobStarter, runFolder: str | Path) -> Job:
    """Goes on with a run of this or an earlier session; see `HSSLSegmentationLogic.resume`."""
    from hssl.models.run_folder import RunFolder

    run = Path(runFolder)
    configuration = RunFolder(run).read_config().model_dump(mode="json")
    # The workspace may have been moved or renamed since, and this computer may have another device.
    configuration |= {"workspace": str(run.parent.parent), "run": run.name, "device": settings.value("device")}
    return starter.configured(configuration["kind"], configuration, run=run, resumable=True)


def startOf(workspace: str | Path, start: str | Path) -> str:
    """Returns the start as the engine wants it: "pretrained" becomes the latest finished pretraining.

    Raises:
        ValueError: there is no pretraining to start from.
    """
    if str(start) != "pretrained":
        return str(start)
    names = [
        run.name for run in workspaceContents.runs(workspace) if run.kind == "pretrain" and run.state == "finished"
    ]
    if not names:
        raise ValueError(
            _("The workspace has no finished pretraining to start from: pretrain first, or start from scratch.")
        )
    return names[-1]


def _trained(
    starter: JobStarter,
    kind: str,
    workspace: str | Path,
    run: str,
    minutes: float | None,
    steps: int | None,
    own: dict[str, Any],
) -> Job:
    configuration = _common(workspace, minutes, steps) | {"run": run} | own
    return starter.configured(kind, configuration, run=Path(workspace) / "runs" / run, resumable=True)


def _common(workspace: str | Path, minutes: float | None, steps: int | None) -> dict[str, Any]:
    return {
        "workspace": str(Path(workspace).expanduser().absolute()),
        "budget": {"minutes": minutes, "steps": steps},
        "device": settings.value("device"),
        "threads": settings.value("threads"),
    }


def _freeRun(workspace: str | Path, wish: str) -> str:
    from hssl.models.run_folder import free_name

    return free_name(Path(workspace), wish)
