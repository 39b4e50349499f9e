"""The gain over scratch at few labelled cases, on every source."""

from __future__ import annotations

from typing import Any

from .paired import Row, comparison
from .runner import Runner, Trial


def trials(runner: Runner) -> list[Trial]:
    """Returns both starts for each source, number of cases, draw and repetition."""
    return [
        runner.trial(task, start, count, draw, repeat=repeat, pretraining=pretraining)
        for draw in range(runner.preset.draws)
        for repeat in range(runner.preset.seeds)
        for task in runner.preset.sources
        for count in runner.preset.counts
        for start, pretraining in (("pretrained", runner.main), ("scratch", None))
    ]


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns the comparison by source and number of cases, and by source alone."""
    return {
        **comparison(rows, "scratch"),
        "sources": {t: _gain(rows, t) for t in dict.fromkeys(r["task"] for r in rows)},
    }


def _gain(rows: list[Row], task: str) -> dict[str, Any] | None:
    return comparison([r for r in rows if r["task"] == task], "scratch")["overall"].get("pretrained")
