"""The start that ships, on sources that it has not seen.

Beside it stand scratch and a pretraining on all sources, this one among them; after a brief fine-tuning (100 steps are about
15 s of a quiet core), after the usual steps, and as features that nothing was trained on.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from hssl.models.find import GENERAL

from .paired import Row, comparison
from .runner import NO_TRAINING, Pretraining, Runner, Shipped, Start, Trial

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
    "weights": {"image": 0, "task": 0, "group": 0, "reconstruction": 0, "position": 0, "dense": 0.1, "distillation": 0},
}
"""What differs from a user's pretraining: labels of many tasks teach what fine-tuning needs, and of the losses without
labels only the dense one goes with them. Three sources, 1,000 to 1,500 steps; mouse brains and hippocampi, which they are
not, with one label after 100 steps, mean of two draws: scratch 34.9 and 70.5; all losses 37.5 and 70.4, with labels fifteen
times as heavy 38.8 and 70.3; labels alone 59.0 and 73.8; labels and dense contrast (0.2) 53.2 and 74.9, and better features
before any training (hippocampi 27.6; labels alone 17.6)."""


def sources(without: str = "") -> list[str]:
    """Returns the sources of a general start, but for one that it must not see."""
    return [name for name in LICENCES if name != without]


def starts(runner: Runner, task: str) -> dict[str, Start]:
    """Returns the starts that are compared on a source.

    "general" has not seen it: the file that ships, where the source is not among what it learned from, else a shorter
    start of the same recipe without it. "pretrained" is as long as that, by HSSL's own losses, on all sources.
    """
    budget, network = runner.preset.general_pretraining, runner.preset.networks[0]
    without = Pretraining(budget, {**RECIPE, "tasks": sources(task)}, network)
    return {
        "general": without if task in LICENCES else Shipped(GENERAL),
        "pretrained": Pretraining(budget, {}, network),
        "scratch": None,
    }


def trials(runner: Runner) -> list[Trial]:
    """Returns brief and usual fine-tunings of all counts, and features without any training with the fewest labels.

    With more than the fewest labels the start stands beside scratch alone, in the usual ones on fewer draws.
    """
    preset, found = runner.preset, []
    fewest = min(preset.counts)
    brief: dict[str, Any] = {"budget": preset.brief_finetuning}
    blocks: list[tuple[dict[str, Any], int, int, tuple[str, ...]]] = [
        (brief, fewest, preset.brief_draws, ("general", "scratch")),
        ({}, fewest, preset.brief_draws, ("general", "scratch")),
        *((brief, count, preset.brief_draws, ("general", "scratch")) for count in preset.counts if count != fewest),
        (NO_TRAINING, fewest, preset.brief_draws, ("general", "scratch")),
        (brief, fewest, preset.brief_draws, ("pretrained",)),
        ({}, fewest, preset.brief_draws, ("pretrained",)),
        (NO_TRAINING, fewest, preset.brief_draws, ("pretrained",)),
        *(({}, count, preset.draws, ("general", "scratch")) for count in preset.counts if count != fewest),
    ]
    for values, count, draws, names in blocks:
        for draw, task in product(range(draws), preset.sources):
            of_task = starts(runner, task)
            found += [runner.trial(task, name, count, draw, pretraining=of_task[name], **values) for name in names]
    return found


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns the comparison with scratch for each budget that was measured, the shortest first."""
    frozen = NO_TRAINING["budget"]["steps"]
    trained = sorted({row["budget"]["steps"] for row in rows} - {frozen})
    names = {frozen: "frozen", **dict(zip(trained, ("brief", "usual"), strict=False))}
    of_time = {name: [r for r in rows if r["budget"]["steps"] == steps] for steps, name in names.items()}
    return {name: comparison(own, "scratch") for name, own in of_time.items() if own}
