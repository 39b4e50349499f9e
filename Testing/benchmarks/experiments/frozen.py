"""What a pretraining learned, before any fine-tuning: the linear discriminant of its frozen features on the test volumes."""

from __future__ import annotations

from typing import Any

from . import ablations, baselines
from .paired import Row, comparison
from .runner import NO_TRAINING, Pretraining, Runner, Trial

MAIN = "main pretraining"


def starts(runner: Runner, task: str) -> dict[str, Pretraining | None]:
    """Returns all pretrainings that are compared elsewhere, and the main one."""
    variants = ablations.variants(runner, task)
    if task not in runner.preset.other_sources:
        del variants[ablations.SINGLE]  # it would be trained for this alone
    return {**variants, **baselines.others(runner), MAIN: runner.main}


def trials(runner: Runner) -> list[Trial]:
    """Returns each start on each source and draw."""
    return [
        runner.trial(task, start, runner.preset.few, draw, pretraining=pretraining, **NO_TRAINING)
        for draw in range(runner.preset.other_draws)
        for task in runner.preset.sources
        for start, pretraining in starts(runner, task).items()
    ]


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns all starts against a network without any training."""
    return comparison(rows, "scratch")
