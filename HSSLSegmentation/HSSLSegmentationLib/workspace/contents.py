"""What a workspace folder holds, as the panel lists it: runs (finished or not) and models, and the best to go on from."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ..refusal import Refusal

if TYPE_CHECKING:
    from hssl.results import CheckLabelsResult, LearningCurveResult

CATALOGUE_FILE = "dataset.json"
SCRATCH, BEST, PRETRAINED = "scratch", "best", "pretrained"
"""Starts of a fine-tuning that are no names: nothing, the best there is, the latest pretraining."""

_PART = r"(?:pretrained|scratch)-\d+-\d+|fold-\d+(?:-\d+)?"
"""What the name of a run has behind that of the comparison, check of labels or learning curve that it is a part of."""


@dataclass(frozen=True)
class RunInfo:
    """A run of the workspace.

    Attributes:
        kind: "pretrain" or "finetune".
        state: "finished", "unfinished" (it has a checkpoint to go on from), or "empty".
        task: what a fine-tuning segments.
        start: where a fine-tuning started from.
        comparison: name of the comparison, check of labels or learning curve that the run is a part of; "" for a run of its
            own.
        result: what the engine wrote at the end (a `PretrainResult` or `FinetuneResult` of `hssl.results`); None before it.
    """

    name: str
    path: Path
    kind: str
    state: str
    task: str = ""
    start: str = ""
    comparison: str = ""
    result: Any = None

    @property
    def dice(self) -> float | None:
        """The Dice on the validation cases, where it was measured."""
        return self.result.validation_dice if self.kind == "finetune" and self.result is not None else None


@dataclass(frozen=True)
class ModelInfo:
    """A model file of the workspace; `problem` says why it cannot be used."""

    name: str
    path: Path
    kind: str = ""
    description: Any = None
    problem: str = ""

    @property
    def tasks(self) -> list:
        """The tasks (`hssl.workspace.catalogue.Task`) that the model was made for."""
        return list(self.description.tasks) if self.description is not None else []


def isWorkspace(path: str | Path) -> bool:
    """Tells whether the folder is a workspace."""
    return bool(str(path)) and os.path.isfile(Path(path) / CATALOGUE_FILE)  # of a drive that does not answer no error


def runs(workspace: str | Path) -> list[RunInfo]:
    """Returns the runs of a workspace, oldest first."""
    from hssl.errors import InputError
    from hssl.models.run_folder import all_runs

    folders = [
        c for kind in ("comparisons", "checks", "curves") for c in (Path(workspace) / kind).glob("*") if c.is_dir()
    ]
    comparisons = sorted((c.name for c in folders), key=len)
    renamed = _renamedTasks(workspace)
    found = []
    for folder in all_runs(Path(workspace)):
        try:
            config = folder.read_config()
            result = folder.read_result() if folder.finished else None
        except InputError:
            # A damaged run is listed, so that the user sees it; it just cannot be chosen.
            found.append(RunInfo(folder.path.name, folder.path, "", "empty"))
            continue
        state = "finished" if folder.finished else "unfinished" if folder.can_resume else "empty"
        task, start = (config.task, config.start) if config.kind == "finetune" else ("", "")
        task = renamed.get(task, task)
        comparison = _comparisonOf(folder.path.name, comparisons)
        found.append(RunInfo(folder.path.name, folder.path, config.kind, state, task, start, comparison, result))
    return found


def _renamedTasks(workspace: str | Path) -> dict[str, str]:
    from hssl.errors import WorkspaceError
    from hssl.workspace.catalogue import Catalogue

    try:
        return {old: task.name for task in Catalogue.load(workspace).tasks for old in task.formerly}
    except WorkspaceError:
        return {}


def _comparisonOf(run: str, comparisons: list[str]) -> str:
    own = (name for name in comparisons if re.fullmatch(rf"{re.escape(name)}-({_PART})", run))
    return next(own, "")


def models(workspace: str | Path) -> list[ModelInfo]:
    """Returns the model files of a workspace by name."""
    from hssl.errors import HSSLError
    from hssl.models.model_file import read_description

    found = []
    for path in sorted((Path(workspace) / "models").glob("*.zip")):
        try:
            description = read_description(path)
            found.append(ModelInfo(path.stem, path, description.kind, description))
        except HSSLError as error:
            found.append(ModelInfo(path.stem, path, problem=str(error)))
    return found


def latestCheck(workspace: str | Path, task: str) -> "CheckLabelsResult | None":
    """Returns what the latest check of the labels of a task has found, or None."""
    from hssl.models.run_folder import with_runs_of
    from hssl.results import CheckLabelsResult

    check = _latest(workspace, "checks", task, CheckLabelsResult)
    return None if check is None else check.model_copy(update={"rows": with_runs_of(workspace, check.rows)})


def latestCurve(workspace: str | Path, task: str) -> "LearningCurveResult | None":
    """Returns what the latest learning curve of a task has found, or None."""
    from hssl.results import LearningCurveResult

    return _latest(workspace, "curves", task, LearningCurveResult)


def _latest(workspace: str | Path, folder: str, task: str, result: Any) -> Any:
    """A task that was renamed since has its results still; a damaged one is passed over."""
    from pydantic import ValidationError

    from hssl.errors import InputError
    from hssl.files import read_json

    renamed = _renamedTasks(workspace)
    files = sorted((Path(workspace) / folder).glob("*/*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files:
        try:
            found = result.model_validate({**read_json(file), "folder": file.parent})
        except (InputError, ValidationError, TypeError):
            continue
        if found.rows and task in (found.task, renamed.get(found.task)):
            return found
    return None


def latestPretraining(runs: list[RunInfo]) -> str:
    """Returns the name of the latest finished pretraining, "" when there is none."""
    return next((r.name for r in reversed(runs) if r.kind == "pretrain" and r.state == "finished"), "")


def bestStart(runs: list[RunInfo]) -> str:
    """Returns what a fine-tuning best starts from: the latest pretraining of the workspace, else what ships."""
    return latestPretraining(runs) or usualPretrainStart()


def usualPretrainStart() -> str:
    """Returns what a pretraining goes on from where nobody says it: what ships, else nothing."""
    return next(iter(shippedStarts()), SCRATCH)


def pretrainStartCalled(start: str | Path, hasNetwork: bool) -> str:
    """Returns a pretraining's start as the engine wants it: "best" becomes what it stands for.

    Args:
        hasNetwork: whether a network was asked for, which a start would not have.
    """
    if str(start) == BEST:
        return SCRATCH if hasNetwork else usualPretrainStart()
    return str(start)


def shippedStarts() -> list[str]:
    """Returns the starts that come with the module; none where an installation has lost them."""
    from hssl.errors import ConfigurationError
    from hssl.models.find import GENERAL, general_start

    try:
        general_start()
    except ConfigurationError:
        return []
    return [GENERAL]


def bestModel(runs: list[RunInfo], models: list[ModelInfo], task: str = "") -> Path | None:
    """Returns what a segmentation is best made with, or None.

    That is the latest fine-tuning that came to its end, else the latest that was stopped, else an imported model. The
    legs of comparisons are left out: they were trained to be compared, on fewer labels.

    Args:
        task: only models of this task; "" means any.
    """
    own = [r for r in runs if r.kind == "finetune" and not r.comparison and task in ("", r.task)]
    for state in ("finished", "unfinished"):
        for run in reversed(own):
            if run.state == state:
                return run.path
    imported = [m for m in models if m.kind == "segmentation" and task in ("", *(t.name for t in m.tasks))]
    return imported[-1].path if imported else None


def startCalled(workspace: str | Path, start: str | Path) -> str:
    """Returns a start as the engine wants it: "best" and "pretrained" become what they stand for.

    Raises:
        Refusal: "pretrained", and there is no pretraining to start from.
    """
    if str(start) == BEST:
        return bestStart(runs(workspace))
    if str(start) != PRETRAINED:
        return str(start)
    name = latestPretraining(runs(workspace))
    if not name:
        raise Refusal(
            _("The workspace has no finished pretraining to start from: pretrain first, or start from scratch.")
        )
    return name


def modelToSuggestWith(runs: list[RunInfo], task: str) -> str:
    """Returns the name of the latest finished fine-tuning of the task, or of the latest finished pretraining.

    Raises:
        Refusal: there is neither.
    """
    own = [r for r in runs if r.kind == "finetune" and r.state == "finished" and r.task == task and not r.comparison]
    name = own[-1].name if own else latestPretraining(runs)
    if not name:
        raise Refusal(_("Pretrain in section 2, or fine-tune this task in section 3, first."))
    return name
