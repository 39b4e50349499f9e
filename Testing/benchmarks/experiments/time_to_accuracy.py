"""Dice after so many seconds of fine-tuning; each time is a training of its own with its own schedule."""

from __future__ import annotations

from typing import Any

from .paired import Row, comparison
from .runner import Runner, Trial


def trials(runner: Runner) -> list[Trial]:
    """Returns both starts for each source, draw and time."""
    return [
        runner.trial(task, start, runner.preset.few, draw, pretraining=pretraining, budget=budget)
        for draw in range(runner.preset.costly_draws)
        for task in runner.preset.sources
        for budget in runner.preset.times
        for start, pretraining in (("pretrained", runner.main), ("scratch", None))
    ]


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns the comparison by source and seconds (or steps), and where pretrained is at scratch's end."""
    rows = [
        {**r, "time": round(60 * r["budget"]["minutes"]) if "minutes" in r["budget"] else r["budget"]["steps"]}
        for r in rows
    ]
    result = comparison(rows, "scratch", ("task", "time"))
    reached: dict[str, float | None] = {}
    for task in dict.fromkeys(r["task"] for r in rows):
        cells = [c for c in result["cells"] if c["task"] == task]
        of = {
            s: {c["time"]: c["starts"][s]["mean"] for c in cells if s in c["starts"]} for s in ("pretrained", "scratch")
        }
        aim = of["scratch"].get(max(c["time"] for c in cells), float("inf"))
        reached[task] = min((time for time, dice in of["pretrained"].items() if dice >= aim), default=None)
    return {**result, "pretrained_reaches_the_last_of_scratch_at": reached}
