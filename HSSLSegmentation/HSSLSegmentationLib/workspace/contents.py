"""What a workspace folder holds, as the panel lists it: runs (finished or not) and models."""

from dataclasses import dataclass, field
from pathlib import Path

CATALOGUE_FILE = "dataset.json"


@dataclass(frozen=True)
class RunInfo:
    """A run of the workspace.

    Attributes:
        kind: "pretrain" or "finetune".
        state: "finished", "unfinished" (it has a checkpoint to go on from), or "empty".
        task: what a fine-tuning segments.
        start: where a fine-tuning started from.
        result: what the engine wrote at the end.
    """

    name: str
    path: Path
    kind: str
    state: str
    task: str = ""
    start: str = ""
    result: dict = field(default_factory=dict)

    @property
    def dice(self) -> float | None:
        """The Dice on the validation cases, where it was measured."""
        return self.result.get("validation_dice")


@dataclass(frozen=True)
class ModelInfo:
    """A model file of the workspace; `problem` says why it cannot be used."""

    name: str
    path: Path
    kind: str = ""
    description: object = None
    problem: str = ""


def isWorkspace(path: str | Path) -> bool:
    """Tells whether the folder is a workspace."""
    return bool(str(path)) and (Path(path) / CATALOGUE_FILE).is_file()


def runs(workspace: str | Path) -> list[RunInfo]:
    """Returns the runs of a workspace, oldest first."""
    from hssl.errors import InputError
    from hssl.files import read_json
    from hssl.models.run_folder import RESULT, all_runs

    found = []
    for folder in all_runs(Path(workspace)):
        try:
            config = folder.read_config()
            result = read_json(folder.path / RESULT) if folder.finished else {}
        except InputError:
            # A damaged run is listed, so that the user sees it; it just cannot be chosen.
            found.append(RunInfo(folder.path.name, folder.path, "", "empty"))
            continue
        state = "finished" if folder.finished else "unfinished" if folder.can_resume else "empty"
        task, start = (config.task, config.start) if config.kind == "finetune" else ("", "")
        found.append(RunInfo(folder.path.name, folder.path, config.kind, state, task, start, result))
    return found


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
