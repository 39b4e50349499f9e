"""What a pretraining learned, before any fine-tuning: the linear discriminant of its frozen features on the test volumes."""

from __future__ import annotations

from typing import Any

from . import ablations, neighbours
from .laboratory import Laboratory, Leg, Pretraining
from .paired import Row, comparison

NO_TRAINING: dict[str, Any] = {"budget": {"steps": 1}, "changes": {"learning_rate": 1e-12}}
"""One step that moves nothing: what is left of a fine-tuning is the head that it begins with."""
MAIN = "main pretraining"


def starts(lab: Laboratory, task: str) -> dict[str, Pretraining | None]:
    """Returns all pretrainings that are compared elsewhere, and the main one."""
    variants = ablations.variants(lab, task)
    if task not in lab.preset.other_sources:
        del variants[ablations.SINGLE]  # it would be trained for this alone
    return {**variants, **neighbours.others(lab), MAIN: lab.main}


def legs(lab: Laboratory) -> list[Leg]:
    """Returns each start on each source and draw."""
    return [
        lab.leg(task, start, lab.preset.few, draw, pretraining=pretraining, **NO_TRAINING)
        for draw in range(lab.preset.other_draws)
        for task in lab.preset.sources
        for start, pretraining in starts(lab, task).items()
    ]


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns all starts against a network without any training."""
    return comparison(rows, "scratch")
