"""Figure 3: Dice after so many seconds of fine-tuning; each time is a training of its own with its own schedule."""

from __future__ import annotations

from typing import Any

from .laboratory import Laboratory, Leg
from .paired import Row, comparison


def legs(lab: Laboratory) -> list[Leg]:
    """Returns both starts for each source, draw and time."""
    return [
        lab.leg(task, start, lab.preset.few, draw, pretraining=pretraining, budget=budget)
        for draw in range(lab.preset.costly_draws)
        for task in lab.preset.sources
        for budget in lab.preset.times
        for start, pretraining in (("pretrained", lab.main), ("scratch", None))
    ]


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns the comparison by source and seconds (or steps), and where pretrained is at scratch's end."""
    for row in rows:
        row["time"] = round(60 * row["budget"]["minutes"]) if "minutes" in row["budget"] else row["budget"]["steps"]
    result = comparison(rows, "scratch", ("task", "time"))
    reached: dict[str, float | None] = {}
    for task in dict.fromkeys(r["task"] for r in rows):
        cells = sorted((c for c in result["cells"] if c["task"] == task), key=lambda c: c["time"])
        aim = cells[-1]["starts"]["scratch"]["mean"]
        times = [c["time"] for c in cells if c["starts"]["pretrained"]["mean"] >= aim]
        reached[task] = min(times) if times else None
    return {**result, "pretrained_reaches_the_last_of_scratch_at": reached}
