"""The folder of a run: configuration, metrics.csv, checkpoints (last, best), log, result; locked while it is used."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ..configuration import FinetuneConfig, PretrainConfig, RunConfig
from ..errors import ConfigurationError, InputError, OutputError
from ..events import Event, Message, OnEvent, Phase
from ..files import read_json, remove_unfinished, whole_file, write_json, write_text
from ..locks import FolderLock
from ..names import safe_name
from ..results import DoubtfulLabel, FinetuneResult, PretrainResult, Trial
from ..workspace.catalogue import Catalogue
from ..workspace.presence import GONE, while_there

OfRun = TypeVar("OfRun", DoubtfulLabel, Trial)
"""A row of a check or of a comparison, which names the run that gave it."""
LAST, BEST, CONFIG, METRICS, RESULT, LOG = "last.pt", "best.pt", "config.json", "metrics.csv", "result.json", "log.txt"


RESERVED = ("scratch", "general")
"""Names of starts that no run may have, or nobody could say which is meant."""


class RunFolder:
    """Reads and writes the files of one run. Use `opened` for work on a run; construct it to read only."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._unlogged = ""

    @property
    def can_resume(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.path / LAST).exists()

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / RESULT).exists()

    def read_config(self) -> PretrainConfig | FinetuneConfig:
        """Returns the configuration that the run was started with; its `kind` tells what the run is.

        Raises:
            InputError: it is absent, damaged, or of another version of HSSL.
        """
        path = self.path / CONFIG
        values = _without_gone(read_json(path))
        kind = values.get("kind") if isinstance(values, dict) else None
        configs: dict[Any, type[PretrainConfig] | type[FinetuneConfig]] = {
            "pretrain": PretrainConfig,
            "finetune": FinetuneConfig,
        }
        if kind not in configs:
            raise InputError(path, "does not say what kind of run this is")
        try:
            return configs[kind].checked(values)
        except ConfigurationError as error:
            raise InputError(path, f"is no configuration of this version of HSSL: {error}") from error

    def save_checkpoint(self, content: dict[str, Any], name: str = LAST) -> None:
        """Writes tensors and plain values as a torch file, whole or not at all."""
        import torch

        self._require_there()
        # Into memory first: on a full disk torch's own writer dies without a reason.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        with whole_file(self.path / name) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load_checkpoint(self, name: str = LAST) -> dict[str, Any]:
        """Reads a checkpoint onto the CPU, without executing anything it holds.

        Raises:
            InputError: it is absent or damaged.
        """
        import torch

        path = self.path / name
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise InputError(path, "there is no such checkpoint") from error
        except Exception as error:  # torch raises what the damage happens to meet: zip, pickle, EOF, runtime errors
            raise InputError(path, f"is not a checkpoint: {str(error).splitlines()[0]}") from error
        if not isinstance(content, dict) or "description" not in content:
            raise InputError(path, "is not a checkpoint of HSSL")
        return content

    def write_metrics(self, columns: list[str], rows: list[dict[str, float]]) -> None:
        """Writes `metrics.csv` anew, whole or not at all."""
        self._require_there()
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if k != "step" else int(v) for k, v in row.items()} for row in rows)
        write_text(self.path / METRICS, text.getvalue())

    def read_metrics(self) -> list[dict[str, float]]:
        """Returns the rows of `metrics.csv`, without the cells that were not measured."""
        path = self.path / METRICS
        if not path.exists():
            return []
        with open(path, newline="", encoding="utf-8") as file:
            return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]

    def write_result(self, result: PretrainResult | FinetuneResult) -> None:
        """Writes `result.json`, which says that the run came to its end."""
        self._require_there()
        write_json(self.path / RESULT, result.model_dump(mode="json"))

    def read_result(self) -> PretrainResult | FinetuneResult:
        """Returns the result of a finished run.

        Raises:
            InputError: it or the run's configuration is absent or damaged.
        """
        path = self.path / RESULT
        values = read_json(path)
        kind = PretrainResult if self.read_config().kind == "pretrain" else FinetuneResult
        try:
            # The workspace may have been moved since.
            return kind.model_validate({**values, "run": self.path} if isinstance(values, dict) else values)
        except ValidationError as error:
            raise InputError(path, f"is not the result of a run: {error.errors()[0]['msg']}") from error

    def log(self, event: Event) -> None:
        """Appends messages and phases to `log.txt`, with the time of day; while another program holds it, they wait."""
        if isinstance(event, Message | Phase):
            if isinstance(event, Message):
                text = event.text
            else:
                text = f"{event.name} ({event.index} of {event.count}) {event.detail}".rstrip()
            self._require_there()
            self._unlogged += f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n"
            try:
                with open(self.path / LOG, "a", encoding="utf-8") as file:
                    file.write(self._unlogged)
                self._unlogged = ""
            except PermissionError:
                pass
            except OSError as error:
                raise OutputError(self.path / LOG, f"cannot be written: {error.strerror or error}") from error

    def _require_there(self) -> None:
        """Refuses to write where the folder has gone: it would be made anew, perhaps below a drive that is not connected."""
        if not self.path.is_dir():
            raise OutputError(self.path, GONE)


def run_path(workspace: Path, run: str) -> Path:
    """Returns the folder of a run by its name.

    Raises:
        ConfigurationError: the name is not a plain folder name, or that of a start.
    """
    if run in RESERVED:
        raise ConfigurationError(f"{run!r} is what a start is called; name the run otherwise")
    if not re.fullmatch(r"[\w][\w .+-]*", run):
        raise ConfigurationError(f"{run!r} cannot name a run: use letters, digits, '.', '-', '_' and spaces")
    return Path(workspace).expanduser().absolute() / "runs" / run


def run_of(workspace: str | Path, noted: str | Path) -> Path:
    """Returns where a run of a workspace lies that was noted by a path: the workspace may have been moved since, or be seen
    from another system.

    Example:
        >>> run_of("/data/five", "E:\\\\five\\\\runs\\\\night").as_posix()
        '/data/five/runs/night'
    """
    return Path(workspace) / "runs" / re.split(r"[/\\]", str(noted))[-1]


def with_runs_of(workspace: str | Path, rows: Sequence[OfRun]) -> list[OfRun]:
    """Returns rows of a comparison or a check with the places that their runs have now (see `run_of`)."""
    return [row.model_copy(update={"run": run_of(workspace, row.run)}) for row in rows]


def free_name(workspace: Path, wish: str) -> str:
    """Returns `wish`, or `wish-2`, `wish-3`… when that run exists already."""
    wish = safe_name(wish, "run")
    number, name = 1, wish
    while run_path(workspace, name).exists():
        number += 1
        name = f"{wish}-{number}"
    return name


def all_runs(workspace: Path) -> list[RunFolder]:
    """Returns the runs of a workspace, oldest first.

    Raises:
        WorkspaceError: it has gone meanwhile.
    """
    with while_there(workspace):
        folders = [c.parent for c in (Path(workspace) / "runs").glob(f"*/{CONFIG}")]
        return [RunFolder(f) for f in sorted(folders, key=lambda f: (f / CONFIG).stat().st_mtime)]


@contextmanager
def opened(config: RunConfig, on_event: OnEvent, write: bool = True) -> Iterator[tuple[RunFolder, OnEvent]]:
    """Opens a run for work: locks it, writes or compares its configuration, and logs its messages.

    Args:
        config: `run` must be set.
        write: False in the processes that do not write (every rank but the first).

    Yields:
        The folder, and an `on_event` that logs as well.

    Raises:
        LockedError: another process works on this run.
        OutputError: the folder holds something that is no run.
        ConfigurationError: the run exists with another configuration, or has ended and lost what it could go on from.
    """
    folder = RunFolder(run_path(config.workspace, config.run))
    if not write:
        yield folder, on_event
        return
    with FolderLock(folder.path, "this run"):
        remove_unfinished(folder.path)
        values = config.model_dump(mode="json")
        path = folder.path / CONFIG
        _check_is_run(folder.path, path)
        if path.exists() and folder.can_resume:
            default = type(config).model_construct().model_dump(mode="json")
            old = _completed({**default, **_EARLIER}, _without_gone(read_json(path)))
            catalogue = Catalogue.load(config.workspace)
            _same(_with_present_names(old, catalogue), _with_present_names(values, catalogue), path)
        elif folder.finished:
            raise ConfigurationError(
                f"{folder.path}: this run has come to its end, and without its {LAST} it cannot go on",
                "Choose another name for the run.",
            )
        else:
            # What an attempt has left that was killed before its first checkpoint is of its settings and cases.
            for name in (BEST, METRICS):
                (folder.path / name).unlink(missing_ok=True)
        # The budget may grow from one session to the next; everything else stays.
        write_json(path, values)

        def tell(event: Event) -> None:
            folder.log(event)
            on_event(event)

        yield folder, tell


_EARLIER = {"planes": "one"}
"""What runs of earlier versions did, where a configuration does not say it and today's default is another."""
_GONE = {"unlabelled": "none"}
"""What configurations of earlier versions say of options that there are no more, where it means nothing."""


def _without_gone(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: value for key, value in values.items() if key not in _GONE or value != _GONE[key]}


def _completed(default: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values with the defaults of what they do not say, within parts such as the weights of losses too."""
    found = {**default, **values}
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(default.get(key), dict):
            found[key] = _completed(default[key], value)
    return found


def _with_present_names(values: dict[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """Returns a configuration with the names that its tasks have now."""
    names = {old: task.name for task in catalogue.tasks for old in task.formerly} | {
        t.name: t.name for t in catalogue.tasks
    }
    found = dict(values)
    if "task" in values:
        found["task"] = names.get(values["task"], values["task"])
    if "tasks" in values:
        found["tasks"] = [names.get(name, name) for name in values["tasks"]]
    return found


def _check_is_run(folder: Path, config: Path) -> None:
    """Refuses a folder of somebody's files that only has the name of the run."""
    if config.exists():
        # Damaged JSON is told by its reader: whose it is cannot be said.
        values = read_json(config)
        ours = isinstance(values, dict) and {"workspace", "run", "seed", "budget"} <= values.keys()
    else:
        ours = all(path.name.startswith(".") for path in folder.iterdir())
    if not ours:
        raise OutputError(folder, "is there already and is no run of HSSL", "Choose another name for the run.")


_MAY_CHANGE = {"budget", "workspace", "run", "device", "threads", "checkpoint_minutes", "batch_size", "precision"}


def _same(old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
    differing = sorted(k for k in {*old, *new} - _MAY_CHANGE if old.get(k) != new.get(k))
    if differing:
        raise ConfigurationError(
            f"{path.parent}: this run was started with another {', '.join(differing)}",
            "Choose another name for the run, or resume it with its own configuration.",
        )
