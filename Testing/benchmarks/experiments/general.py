"""The start that ships, on sources that it has not seen: for each a general start of all other sources.

Beside it stand scratch and a pretraining on all sources, this one among them; frozen, after 15 s and 60 s, and after the
usual steps.
"""

from __future__ import annotations

from typing import Any

from .paired import Row, comparison
from .runner import NO_TRAINING, Pretraining, Runner, Trial

LICENCES = {
    "msd_hippocampus": "CC BY-SA 4.0 (Medical Segmentation Decathlon, Task04; Antonelli et al. 2022)",
    "hn_ct_openkbp": "MIT (OpenKBP; Babier et al. 2021)",
    "cardiac_cine_scd": "CC0 (Sunnybrook Cardiac Data; Radau et al. 2009)",
    "em_fib25_neuroproof": "CC BY (FIB-25; Parag et al. 2015)",
}
"""Sources that may be learned from, with the licence that lets what was learned be passed on. The mouse brains are not
among them: their licence (GPL) says nothing of weights."""
RECIPE: dict[str, Any] = {"with_labels": True, "generated": 0.25, "remapped": 0.25}
"""What differs from a user's pretraining."""
BUDGETS: dict[str, dict[str, Any]] = {
    "frozen": NO_TRAINING,
    "15 s": {"budget": {"minutes": 0.25}},
    "60 s": {"budget": {"minutes": 1}},
    "usual": {},
}


def sources(without: str = "") -> list[str]:
    """Returns the sources of a general start, but for one that it must not see."""
    return [name for name in LICENCES if name != without]


def trials(runner: Runner) -> list[Trial]:
    """Returns the general start, pretraining on the source too, and scratch, for each source, count, draw and budget."""
    found = []
    for draw in range(runner.preset.draws):
        for task in runner.preset.sources:
            general = Pretraining(
                runner.preset.pretraining, {**RECIPE, "tasks": sources(task)}, runner.preset.networks[0]
            )
            starts = {"general": general, "pretrained": runner.main, "scratch": None}
            for count in runner.preset.counts:
                for values in BUDGETS.values():
                    for start, pretraining in starts.items():
                        more = {"pretraining": pretraining, **values}
                        found.append(runner.trial(task, start, count, draw, **more))
    return found


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns the comparison with scratch for each budget."""
    named = [{**row, "time": _name(row["budget"])} for row in rows]
    return {
        time: comparison([r for r in named if r["time"] == time], "scratch")
        for time in dict.fromkeys(r["time"] for r in named)
    }


def _name(budget: dict[str, float]) -> str:
    for name, values in BUDGETS.items():
        if values.get("budget") == budget:
            return name
    return "usual"
