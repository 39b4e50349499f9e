"""A pretraining that goes on from the start that ships, with the scans of the source that is then labelled.

What the start gives as it is stands beside. Neither has seen the source's labels; the start has not seen its images.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from .general import starts
from .paired import Row, comparison
from .runner import Pretraining, Runner, Trial


def trials(runner: Runner) -> list[Trial]:
    """Returns brief fine-tunings of the two fewest counts, and usual ones of the fewest, from either start."""
    preset, found = runner.preset, []
    counts = sorted(preset.counts)
    brief: dict[str, Any] = {"budget": preset.brief_finetuning}
    blocks: list[tuple[dict[str, Any], int, int]] = [
        *((brief, count, preset.brief_draws) for count in counts[:2]),
        ({}, counts[0], preset.draws),
    ]
    for task, (values, count, draws) in product(preset.sources, blocks):
        general = starts(runner, task)["general"]
        own = Pretraining(preset.short_pretraining, {"tasks": [task]}, preset.networks[0], general)
        for draw, (name, start) in product(range(draws), (("general", general), ("and its scans", own))):
            found.append(runner.trial(task, name, count, draw, pretraining=start, **values))
    return found


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns the comparison with the start as it is, after "brief" and after "usual" fine-tunings."""
    lengths = sorted({row["budget"]["steps"] for row in rows})
    return {
        name: comparison([row for row in rows if row["budget"]["steps"] == steps], "general")
        for name, steps in zip(("brief", "usual"), lengths, strict=False)
    }
