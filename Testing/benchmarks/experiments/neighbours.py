"""Figure 5: other pretexts in the same loop, with the same network and the same budget."""

from __future__ import annotations

from typing import Any

from .laboratory import Laboratory, Leg, Pretraining
from .paired import Row, comparison

PRETEXTS = ("hssl", "simclr", "barlow", "mae", "position")


def legs(lab: Laboratory) -> list[Leg]:
    """Returns each pretext, and scratch, on each source and draw."""
    network, budget = lab.preset.networks[0], lab.preset.short_pretraining
    # The default pretext without changes is the same leg as in the ablations, and is trained once.
    starts = {p: Pretraining(budget, {} if p == "hssl" else {"pretext": p}, network) for p in PRETEXTS}
    return [
        lab.leg(task, start, lab.preset.few, draw, pretraining=pretraining)
        for draw in range(lab.preset.other_draws)
        for task in lab.preset.other_sources
        for start, pretraining in {"scratch": None, **starts}.items()
    ]


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns all pretexts against scratch."""
    return comparison(rows, "scratch")
