"""Figure 5: other pretexts in the same loop, with the same network and the same budget."""

from __future__ import annotations

from typing import Any

from .laboratory import Laboratory, Leg, Pretraining
from .paired import Row, comparison

PRETEXTS = ("simclr", "barlow", "mae", "position")


def others(lab: Laboratory) -> dict[str, Pretraining]:
    """Returns the pretexts beside `hssl`."""
    return {name: lab.short({"pretext": name}) for name in PRETEXTS}


def legs(lab: Laboratory) -> list[Leg]:
    """Returns each pretext, and scratch, on each source and draw."""
    # The default pretext without changes is the same leg as in the ablations, and is trained once.
    starts = {"scratch": None, "hssl": lab.short({}), **others(lab)}
    return [
        lab.leg(task, start, lab.preset.few, draw, pretraining=pretraining)
        for draw in range(lab.preset.other_draws)
        for task in lab.preset.other_sources
        for start, pretraining in starts.items()
    ]


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns all pretexts against scratch."""
    return comparison(rows, "scratch")
