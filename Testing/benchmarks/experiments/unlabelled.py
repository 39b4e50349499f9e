"""Figure 6: the source's images without a label once more while fine-tuning (mean teacher)."""

from __future__ import annotations

from typing import Any

from .paired import Row, comparison
from .runner import Runner, Trial


def trials(runner: Runner) -> list[Trial]:
    """Returns both starts with and without the unlabelled images."""
    return [
        runner.trial(task, name, runner.preset.few, draw, pretraining=pretraining, changes=changes)
        for draw in range(runner.preset.other_draws)
        for task in runner.preset.other_sources
        for start, pretraining in (("pretrained", runner.main), ("scratch", None))
        for name, changes in ((start, {}), (f"{start}, mean teacher", {"unlabelled": "mean-teacher"}))
    ]


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns the gain by the unlabelled images from each start."""
    return {
        start: comparison([r for r in rows if r["start"].split(",")[0] == start], start)
        for start in ("pretrained", "scratch")
    }
