"""The start that ships, on sources that it has not seen: for each a general start of all other sources.

Beside it stand scratch and a pretraining on all sources, this one among them; frozen, after a brief fine-tuning (100 steps
are about 15 s of a quiet core), and after the usual steps.
"""

from __future__ import annotations

from typing import Any

from .paired import Row, comparison
from .presets import Preset
from .runner import NO_TRAINING, Pretraining, Runner, Trial

LICENCES = {
    "msd_hippocampus": "CC BY-SA 4.0 (Medical Segmentation Decathlon, Task04; Antonelli et al. 2022)",
    "hn_ct_openkbp": "MIT (OpenKBP; Babier et al. 2021)",
    "cardiac_cine_scd": "CC0 (Sunnybrook Cardiac Data; Radau et al. 2009)",
    "em_fib25_neuroproof": "CC BY (FIB-25; Parag et al. 2015)",
}
"""Sources that may be learned from, with the licence that lets what was learned be passed on. The mouse brains are not
among them: their licence (GPL) says nothing of weights."""
RECIPE: dict[str, Any] = {
    "with_labels": True,
    "generated": 0.25,
    "remapped": 0.25,
    "weights": {"image": 0, "task": 0, "group": 0, "reconstruction": 0, "position": 0, "dense": 0.1},
}
"""What differs from a user's pretraining: labels of many tasks teach what fine-tuning needs, and of the losses without
labels only the dense one goes with them. Three sources, 1,000 to 1,500 steps; mouse brains and hippocampi, which they are
not, with one label after 100 steps, mean of two draws: scratch 34.9 and 70.5; all losses 37.5 and 70.4, with labels fifteen
times as heavy 38.8 and 70.3; labels alone 59.0 and 73.8; labels and dense contrast (0.2) 53.2 and 74.9, and better features
before any training (hippocampi 27.6; labels alone 17.6)."""


def sources(without: str = "") -> list[str]:
    """Returns the sources of a general start, but for one that it must not see."""
    return [name for name in LICENCES if name != without]


def budgets(preset: Preset) -> dict[str, dict[str, Any]]:
    """Returns how long is fine-tuned, by the name that figures show."""
    return {"frozen": NO_TRAINING, "brief": {"budget": preset.brief_finetuning}, "usual": {}}


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
                for values in budgets(runner.preset).values():
                    for start, pretraining in starts.items():
                        more = {"pretraining": pretraining, **values}
                        found.append(runner.trial(task, start, count, draw, **more))
    return found


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns the comparison with scratch for each budget, the shortest first."""
    steps = sorted({row["budget"]["steps"] for row in rows})
    names = dict(zip(steps, ("frozen", "brief", "usual"), strict=True))
    named = [{**row, "time": names[row["budget"]["steps"]]} for row in rows]
    return {time: comparison([r for r in named if r["time"] == time], "scratch") for time in names.values()}
