"""Trainings and what they gave: each is done once, remembered as JSON, and taken up where it was interrupted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from recording import circumstances, record

from hssl.configuration import FinetuneConfig, NetworkConfig, PretrainConfig
from hssl.errors import NumericalError
from hssl.events import Event, Message, ignore, never
from hssl.files import read_json, sha256_of, write_json
from hssl.jobs.compare import evaluate_on_cases
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.models.find import find_model
from hssl.models.run_folder import RESULT, RunFolder

from .data import Data
from .presets import Limit, Preset

NETWORKS: dict[str, dict[str, Any]] = {
    "2D": {"spatial_dims": 2, "in_slices": 1},
    "2.5D": {"spatial_dims": 2, "in_slices": 3},
    "3D": {"spatial_dims": 3, "in_slices": 1},
}
NO_TRAINING: dict[str, Any] = {"budget": {"steps": 1}, "changes": {"learning_rate": 1e-12}}
"""One step that moves nothing: what is left of a fine-tuning is the head that it begins with."""
NEVER_TESTED: dict[str, Any] = {"dice": None, "cases": {}, "minutes": None, "steps": None}


@dataclass(frozen=True)
class Shipped:
    """A start that ships with HSSL, by its name."""

    name: str


@dataclass(frozen=True)
class Pretraining:
    """One pretraining: `changes` are what differs from the defaults of `PretrainConfig`, `start` is what it goes on from."""

    budget: Limit
    changes: dict[str, Any] = field(default_factory=dict)
    network: str = "2.5D"
    start: Pretraining | Shipped | None = None


Start = Pretraining | Shipped | None
"""What a fine-tuning begins with; None is scratch."""


@dataclass(frozen=True)
class Trial:
    """One fine-tuning, and its test.

    Attributes:
        start: name under which figures show it; "scratch" has no `pretraining`.
        count: number of labelled cases, or what figures call it.
        draw: number of the draw of labelled cases; runs of one draw and seed are compared in pairs.
    """

    task: str
    start: str
    count: int
    draw: int
    seed: int
    cases: tuple[str, ...]
    test: tuple[str, ...]
    budget: Limit
    pretraining: Start = None
    network: str = "2.5D"
    changes: dict[str, Any] = field(default_factory=dict)


class Runner:
    """Runs pretrainings and trials in one folder.

    Args:
        data: the workspace.
        folder: where results of trials are kept.
        preset: sizes.
    """

    def __init__(self, data: Data, folder: Path, preset: Preset):
        self.data, self.folder, self.preset = data, folder, preset

    @property
    def main(self) -> Pretraining:
        """Returns the main pretraining, whose network is the preset's first."""
        return self.main_of(self.preset.networks[0])

    def main_of(self, network: str) -> Pretraining:
        """Returns the main pretraining of another network."""
        first = network == self.preset.networks[0]
        return Pretraining(self.preset.pretraining if first else self.preset.other_pretraining, {}, network)

    def short(self, changes: dict[str, Any]) -> Pretraining:
        """Returns a pretraining that is compared with others, of the main network and with the short budget."""
        return Pretraining(self.preset.short_pretraining, changes, self.preset.networks[0])

    def trial(self, task: str, start: str, count: int, draw: int, repeat: int = 0, **more: Any) -> Trial:
        """Returns a trial with the preset's budget and test cases, on the cases of a draw.

        Each repetition of each draw has a seed of its own, the same in all experiments, which so share trials.
        """
        values: dict[str, Any] = {
            "cases": tuple(self.data.drawn(task, count, draw)),
            "test": tuple(self.data.test(task, self.preset.test_cases)),
            "budget": self.preset.finetuning,
            "network": self.preset.networks[0],
            **more,
        }
        return Trial(task, start, count, draw, draw * self.preset.seeds + repeat, **values)

    def pretrained(self, pretraining: Pretraining) -> Path:
        """Returns the run of a pretraining, which is trained where it is not there yet. It never sees a test case."""
        folder = self._run_of(pretraining)
        if not RunFolder(folder).finished:
            _say(f"pretraining {pretraining.network} {pretraining.changes or ''} for {_text(pretraining.budget)}")
            more = {"run": folder.name, "precision": self._precision(), "start": self.started(pretraining.start)}
            pretrain(PretrainConfig.checked({**self._pretraining(pretraining), **more}), _warnings)
        return folder

    def started(self, start: Start) -> str:
        """Returns what a fine-tuning calls a start, which is trained where it is not there yet."""
        if isinstance(start, Pretraining):
            return str(self.pretrained(start))
        return start.name if start else "scratch"

    def spent_on(self, starts: Iterable[Start]) -> list[dict[str, Any]]:
        """Returns what each of the pretrainings among the starts is, with its "minutes", "steps" and last "losses"."""
        found = {self._run_of(p): asdict(p) for p in starts if isinstance(p, Pretraining)}
        results = [(values, read_json(folder / RESULT)) for folder, values in found.items()]
        return [{**values, **{k: r[k] for k in ("minutes", "steps", "losses")}} for values, r in results]

    def is_measured(self, trial: Trial) -> bool:
        """Returns whether a trial is done."""
        return self._path(trial).exists()

    def outlook(self, trials: Sequence[Trial]) -> str:
        """Returns in a sentence how much there is to do."""
        left = {self._path(trial): trial for trial in trials if not self.is_measured(trial)}.values()
        starts = [trial.pretraining for trial in left if isinstance(trial.pretraining, Pretraining)]
        runs = {self._run_of(start): start for start in starts}
        budgets = [trial.budget for trial in left]
        budgets += [p.budget for folder, p in runs.items() if not RunFolder(folder).finished]
        hours = sum(b.get("minutes", 0) for b in budgets) / 60
        steps = sum(b.get("steps", 0) for b in budgets)
        return f"{len(left)} fine-tunings are left; with pretraining {hours:.1f} hours and {steps} steps, without tests"

    def record(
        self,
        path: Path,
        experiment: str,
        figures: dict[str, Any],
        rows: list[dict[str, Any]],
        used: Iterable[Start],
        **sizes: Any,
    ) -> None:
        """Writes an experiment's result with its circumstances.

        Args:
            rows: what was measured; `figures` are made of them.
            used: the pretrainings that they started from; None is scratch.
            sizes: beside those of the preset.
        """
        values = {"figures": figures, "pretrainings": self.spent_on(used), "rows": rows}
        record(path, {"experiment": experiment, "sizes": {**asdict(self.preset), **sizes}, **values})
        print(path, flush=True)

    def finetuned(self, trial: Trial) -> Path:
        """Returns the run of a trial, which is kept for those who want its network."""
        folder = self.data.workspace / "runs" / f"kept-{self._path(trial).stem}"
        if not RunFolder(folder).finished:
            _say(f"{trial.task}, {trial.count} labelled, {trial.start}, {_text(trial.budget)}")
            finetune(self._configuration(trial, folder.name), _warnings)
        return folder

    def measured(self, trial: Trial) -> dict[str, Any]:
        """Returns the trial's labels together with what its fine-tuning gave.

        Keys beside the trial's: "dice" (mean over test cases of the mean over classes), "classes", "cases" (test case →
        Dice), "minutes", "steps", "precision" and "commit", of the engine that measured it. A training that broke down
        is reported as such, with "failed".
        """
        path = self._path(trial)
        if not path.exists():
            found = self._measure(trial, path.stem)
            write_json(path, {"trial": _labels(trial), **found, "commit": circumstances()["commit"]})
        found = read_json(path)
        return {**_labels(trial), **found["measured"], "commit": found["commit"]}

    def _run_of(self, pretraining: Pretraining) -> Path:
        config = PretrainConfig.checked(self._pretraining(pretraining)).model_dump(mode="json", exclude={"workspace"})
        return self.data.workspace / "runs" / f"pretrained-{sha256_of(config)[:12]}"

    def _pretraining(self, pretraining: Pretraining) -> dict[str, Any]:
        return {
            **self.preset.recipe(),
            "workspace": self.data.workspace,
            "budget": pretraining.budget,
            "network": self._network(pretraining.network),
            "exclude": self.data.unseen(),
            "start": self._name(pretraining.start),
            **pretraining.changes,
        }

    def _name(self, start: Start) -> str:
        """Returns the name of a start that may not be trained yet."""
        return self._run_of(start).name if isinstance(start, Pretraining) else self.started(start)

    def _network(self, name: str) -> dict[str, Any]:
        return NetworkConfig.checked({**NETWORKS[name], "size": self.preset.size}).model_dump()

    def _finetuning(self, trial: Trial) -> dict[str, Any]:
        return {
            **self.preset.recipe(),
            "workspace": self.data.workspace,
            "task": trial.task,
            "cases": list(trial.cases),
            "exclude": self.data.unseen(),
            "seed": trial.seed,
            "budget": trial.budget,
            "network": self._network(trial.network),
            **trial.changes,
        }

    def _path(self, trial: Trial) -> Path:
        """The name holds a hash of all that decides the result but for the engine's version, so that experiments share trials.

        What a trial was trained with stands in its file; a folder is for one version.
        """
        config = FinetuneConfig.checked(self._finetuning(trial)).model_dump(mode="json", exclude={"workspace"})
        before: Any = None
        if isinstance(trial.pretraining, Pretraining):
            values = PretrainConfig.checked(self._pretraining(trial.pretraining))
            before = values.model_dump(mode="json", exclude={"workspace"})
        elif isinstance(trial.pretraining, Shipped):
            before = sha256(find_model(trial.pretraining.name).read_bytes()).hexdigest()
        return self.folder / "trials" / f"{trial.task}-{sha256_of([config, before, list(trial.test)])[:12]}.json"

    def _configuration(self, trial: Trial, run: str) -> FinetuneConfig:
        values = {
            **self._finetuning(trial),
            "run": run,
            "start": self.started(trial.pretraining),
            "precision": self._precision(),
        }
        return FinetuneConfig.checked(values)

    def _measure(self, trial: Trial, run: str) -> dict[str, Any]:
        config = self._configuration(trial, run)
        _say(
            f"{trial.task}, {trial.count} labelled, draw {trial.draw}, seed {trial.seed}, {trial.start}, {_text(trial.budget)}"
        )
        try:
            done = finetune(config, _warnings)
        except NumericalError as error:
            _say(str(error))
            return {"measured": {**NEVER_TESTED, "failed": str(error)}}
        folder = done.result.run
        images = [self.data.catalogue.image(case) for case in trial.test]
        with torch.inference_mode():
            rows = evaluate_on_cases(folder, self.data.catalogue, images, config.device, ignore, never)
        shutil.rmtree(folder)
        cases = {c: _mean([r.dice for r in rows if r.case == c]) for c in trial.test}
        names = dict.fromkeys(r.class_name for r in rows)
        measured = {
            "dice": _mean(list(cases.values())),
            "classes": {name: _mean([r.dice for r in rows if r.class_name == name]) for name in names},
            "cases": cases,
            **done.result.model_dump(include={"minutes", "steps", "precision"}),
        }
        training = done.result.model_dump(mode="json", exclude={"run"})
        return {"training": training, "measured": measured}

    def _precision(self) -> str:
        """One trial decides for all trainings of this folder, or noise of the machine would tell starts apart."""
        path = self.folder / "precision.json"
        if not path.exists():
            trial = self.trial(self.preset.sources[0], "scratch", 1, 0, budget={"steps": 1})
            config = FinetuneConfig.checked(
                {**self._finetuning(trial), "run": f"trial-{self._path(trial).stem}-{os.getpid()}"}
            )
            done = finetune(config, _warnings)
            shutil.rmtree(done.result.run)
            write_json(path, done.result.precision)
        return str(read_json(path))


def _labels(trial: Trial) -> dict[str, Any]:
    return {
        key: value for key, value in asdict(trial).items() if key not in ("cases", "test", "pretraining", "changes")
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _text(budget: Limit) -> str:
    return ", ".join(f"{value:g} {unit}" for unit, value in budget.items())


def _say(text: str) -> None:
    print(text, flush=True)


def _warnings(event: Event) -> None:
    if isinstance(event, Message) and event.level != "info":
        _say(f"  {event.text}")
