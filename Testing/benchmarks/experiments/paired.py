"""What follows from rows of legs: mean Dice of each start, and paired differences with their confidence intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from .intervals import bootstrap, paired_t

Row = dict[str, Any]


def comparison(rows: Sequence[Row], against: str, by: Sequence[str] = ("task", "count")) -> dict[str, Any]:
    """Returns means and differences in points of Dice.

    Args:
        rows: of legs; a leg that failed has no Dice, takes no part and is counted.
        against: the start that the others are compared with, on the same labelled cases, seed and test cases.
        by: labels that tell the cells of the table.

    Returns:
        "cells": one for each combination of `by`, with "starts" (start → mean, sd, runs and, but for `against`,
        "difference": over draws by Student, "difference_bootstrap": over draws and test cases); "overall": start →
        difference over all cells, which weigh alike; "positive": start → cells with a mean above zero, of how many;
        "failed".
    """
    good = [r for r in rows if r["dice"] is not None]
    starts = list(dict.fromkeys(r["start"] for r in good))
    cells, strata = [], defaultdict(list)
    for values in dict.fromkeys(tuple(r[b] for b in by) for r in good):
        own = [r for r in good if tuple(r[b] for b in by) == values]
        found: dict[str, Any] = {}
        for start in starts:
            dice = [100 * r["dice"] for r in own if r["start"] == start]
            if not dice:
                continue
            found[start] = {"mean": float(np.mean(dice)), "sd": _deviation(dice), "runs": len(dice)}
            if start == against:
                continue
            matrix = differences(own, start, against)
            if matrix.size:
                strata[start].append(matrix)
                found[start]["difference"] = asdict(paired_t(matrix.mean(1)))
                found[start]["difference_bootstrap"] = asdict(bootstrap([matrix]))
        cells.append({**dict(zip(by, values, strict=True)), "starts": found})
    positive = {start: [sum(float(m.mean()) > 0 for m in found), len(found)] for start, found in strata.items()}
    return {
        "against": against,
        "cells": cells,
        "overall": {start: asdict(bootstrap(found)) for start, found in strata.items()},
        "positive": positive,
        "failed": len(rows) - len(good),
    }


def differences(rows: Iterable[Row], start: str, against: str) -> np.ndarray:
    """Returns differences in points of Dice, draws × test cases; the seeds of a draw are averaged.

    A test case without any class in its label, or in a run, is left out.
    """
    pairs: dict[tuple[int, int], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        pairs[row["draw"], row["seed"]][row["start"]] = row
    whole = {key: both for key, both in pairs.items() if start in both and against in both}
    cases = [
        case
        for case in dict.fromkeys(case for both in whole.values() for case in both[start]["cases"])
        if all(both[s]["cases"].get(case) is not None for both in whole.values() for s in (start, against))
    ]
    by_draw: dict[int, list[list[float]]] = defaultdict(list)
    for (number, _), both in whole.items():
        by_draw[number].append([100 * (both[start]["cases"][c] - both[against]["cases"][c]) for c in cases])
    if not by_draw or not cases:
        return np.zeros((0, 0))
    return np.array([np.mean(of_draw, axis=0) for of_draw in by_draw.values()])


def _deviation(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
