"""Figure 4: what each loss adds, single domain against several, levels of the heads, λ4, and shares of the labels."""

from __future__ import annotations

from typing import Any

from .laboratory import Laboratory, Leg, Pretraining
from .paired import Row, comparison

NONE = {"image": 0, "task": 0, "group": 0, "reconstruction": 0, "dense": 0}
VARIANTS: dict[str, dict[str, Any]] = {
    "image": {"weights": {**NONE, "image": 1}},
    "+ task": {"weights": {**NONE, "image": 1, "task": 1}},
    "+ group": {"weights": {**NONE, "image": 1, "task": 1, "group": 1}},
    "+ reconstruction (the paper's four)": {"weights": {"dense": 0}},
    "+ dense (the default)": {},
    "λ4 = 1": {"weights": {"reconstruction": 1}},
    "λ4 = 100": {"weights": {"reconstruction": 100}},
    "shallow image, deep group": {"levels": {"image": 1, "task": 3, "group": "bottleneck"}},
    "task and group at the decoder": {"levels": {"task": "decoder", "group": "decoder"}},
}
SINGLE = "single domain"
SHARES = (5, 10, 25, 100)
SHARES_ON = ("msd_hippocampus", "hn_ct_openkbp")
"""Sources with so many labels that 5 % of them is a case or more."""


def variants(lab: Laboratory, task: str) -> dict[str, Pretraining | None]:
    """Returns the starts that are compared on a source, all at the same short budget."""
    network, budget = lab.preset.networks[0], lab.preset.short_pretraining
    found = {name: Pretraining(budget, changes, network) for name, changes in VARIANTS.items()}
    return {"scratch": None, **found, SINGLE: Pretraining(budget, {"tasks": [task]}, network)}


def legs(lab: Laboratory) -> list[Leg]:
    """Returns the variants on each source, then the shares of the labels with the main pretraining."""
    found = [
        lab.leg(task, start, lab.preset.few, draw, pretraining=pretraining)
        for draw in range(lab.preset.other_draws)
        for task in lab.preset.sources
        for start, pretraining in variants(lab, task).items()
    ]
    for draw in range(lab.preset.other_draws):
        for task in (t for t in SHARES_ON if t in lab.preset.sources):
            pool = len(lab.data.pool(task))
            for share in SHARES:
                for start, pretraining in (("pretrained", lab.main), ("scratch", None)):
                    count = max(1, round(pool * share / 100))
                    changes = {"cases": tuple(lab.data.drawn(task, count, draw)), "pretraining": pretraining}
                    found.append(lab.leg(task, f"{start} at {share} %", count, draw, **changes))
    return found


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns the variants against scratch, several domains against one, and the shares of the labels."""
    of_shares = [r for r in rows if r["start"].endswith(" %")]
    variants_only = [r for r in rows if not r["start"].endswith(" %")]
    for row in of_shares:
        row["start"], row["share"] = row["start"].split(" at ")
    default = "+ dense (the default)"
    return {
        "losses": comparison(variants_only, "scratch"),
        "domains": comparison([r for r in variants_only if r["start"] in (SINGLE, default)], SINGLE),
        "shares": comparison(of_shares, "scratch", ("task", "share")),
    }
