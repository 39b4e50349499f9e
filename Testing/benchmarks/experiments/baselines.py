"""Other pretexts in the same loop, with the same network and budget: frozen features, and after fine-tuning."""

from __future__ import annotations

from typing import Any

from .paired import Row, comparison
from .runner import NO_TRAINING, Pretraining, Runner, Trial

PRETEXTS = ("simclr", "barlow", "mae", "position", "vector", "clustering", "mvmr", "glmae")


def others(runner: Runner) -> dict[str, Pretraining]:
    """Returns the pretexts beside `hssl`."""
    return {name: runner.short({"pretext": name}) for name in PRETEXTS}


def trials(runner: Runner) -> list[Trial]:
    """Returns each pretext, and scratch, on each source and draw, before any fine-tuning and after it."""
    # The default pretext without changes is the same trial as in the ablations, and is trained once.
    starts = {"scratch": None, "hssl": runner.short({}), **others(runner)}
    return [
        runner.trial(task, start, runner.preset.few, draw, pretraining=pretraining, **values)
        for draw in range(runner.preset.other_draws)
        for task in runner.preset.other_sources
        for start, pretraining in starts.items()
        for values in (NO_TRAINING, {})
    ]


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns all pretexts against scratch, "frozen" and "fine-tuned"."""
    still = [row["budget"] == NO_TRAINING["budget"] for row in rows]
    return {
        name: comparison([row for row, frozen in zip(rows, still, strict=True) if frozen == wanted], "scratch")
        for name, wanted in (("frozen", True), ("fine-tuned", False))
    }
