"""What each loss adds, single domain against several, levels of the heads, λ4, and shares of the labels."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from .paired import Row, comparison
from .runner import Pretraining, Runner, Trial

NONE = {"image": 0, "task": 0, "group": 0, "reconstruction": 0, "dense": 0, "position": 0}
VARIANTS: dict[str, dict[str, Any]] = {
    "image": {"weights": {**NONE, "image": 1}},
    "+ task": {"weights": {**NONE, "image": 1, "task": 1}},
    "+ group": {"weights": {**NONE, "image": 1, "task": 1, "group": 1}},
    "+ reconstruction (the paper's four)": {"weights": {"dense": 0, "position": 0}},
    "+ dense": {"weights": {"position": 0}},
    "+ position (the default)": {},
    "λ4 = 1": {"weights": {"reconstruction": 1}},
    "λ4 = 100": {"weights": {"reconstruction": 100}},
    "shallow image, deep group": {"levels": {"image": 1, "task": 3, "group": "bottleneck"}},
    "task and group at the decoder": {"levels": {"task": "decoder", "group": "decoder"}},
}
DEFAULT = "+ position (the default)"
CUMULATIVE = list(VARIANTS)[: list(VARIANTS).index(DEFAULT) + 1]
"""Each has one loss more than the one before."""
SINGLE = "single domain"
SHARES = (5, 10, 25, 100)
SHARES_ON = ("msd_hippocampus", "hn_ct_openkbp")
"""Sources with so many labels that 5 % of them is a case or more."""


def variants(runner: Runner, task: str) -> dict[str, Pretraining | None]:
    """Returns the starts that are compared on a source, all at the same short budget."""
    found = {name: runner.short(changes) for name, changes in VARIANTS.items()}
    return {"scratch": None, **found, SINGLE: runner.short({"tasks": [task]})}


def trials(runner: Runner) -> list[Trial]:
    """Returns the variants on each source, then the shares of the labels with the main pretraining."""
    found = [
        runner.trial(task, start, runner.preset.few, draw, pretraining=pretraining)
        for draw in range(runner.preset.other_draws)
        for task in runner.preset.other_sources
        for start, pretraining in variants(runner, task).items()
    ]
    for draw in range(runner.preset.costly_draws):
        for task in (t for t in SHARES_ON if t in runner.preset.sources):
            pool = len(runner.data.pool(task))
            for share in SHARES:
                for start, pretraining in (("pretrained", runner.main), ("scratch", None)):
                    count = max(1, round(pool * share / 100))
                    found.append(runner.trial(task, f"{start} at {share} %", count, draw, pretraining=pretraining))
    return found


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns what the paper's four claims need.

    "shares": the gain at 5 % and more of the labels (claim a); "domains": several against one (b); "losses": all
    variants against scratch, and "added": each loss against the variant before it (c); "bridged": the share of the way
    from scratch at 10 % of the labels to scratch at all of them that pretraining goes at 10 % (d).
    """
    of_shares = [
        {**r, **dict(zip(("start", "share"), r["start"].split(" at "), strict=True))}
        for r in rows
        if r["start"].endswith(" %")
    ]
    variants_only = [r for r in rows if not r["start"].endswith(" %")]
    added = {}
    for before, after in pairwise(["scratch", *CUMULATIVE]):
        both = [r for r in variants_only if r["start"] in (before, after)]
        added[after] = comparison(both, before)["overall"].get(after)
    shares = comparison(of_shares, "scratch", ("task", "share"))
    return {
        "losses": comparison(variants_only, "scratch"),
        "added": added,
        "domains": comparison([r for r in variants_only if r["start"] in (SINGLE, DEFAULT)], SINGLE),
        "shares": shares,
        "bridged": {task: _bridged(shares, task) for task in dict.fromkeys(c["task"] for c in shares["cells"])},
    }


def _bridged(shares: dict[str, Any], task: str) -> float | None:
    """None where one of the three trainings broke down, or where all labels are no better than a tenth of them."""
    at = {(c["share"], s): f["mean"] for c in shares["cells"] if c["task"] == task for s, f in c["starts"].items()}
    few, pretrained, whole = (
        at.get(key) for key in (("10 %", "scratch"), ("10 %", "pretrained"), ("100 %", "scratch"))
    )
    if few is None or pretrained is None or whole is None or whole <= few:
        return None
    return float((pretrained - few) / (whole - few))
