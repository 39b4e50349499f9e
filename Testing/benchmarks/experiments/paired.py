"""What follows from rows of trials: mean Dice of each start, and paired differences with their confidence intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hssl.intervals import student

from .data import patient_of
from .intervals import Differences, bootstrap

Row = dict[str, Any]


def comparison(rows: Sequence[Row], against: str, by: Sequence[str] = ("task", "count")) -> dict[str, Any]:
    """Returns means and differences in points of Dice.

    Args:
        rows: of trials; a trial that failed has no Dice, takes no part and is counted.
        against: the start that the others are compared with, on the same labelled cases, seed and test cases.
        by: labels that tell the cells of the table.

    Returns:
        "cells": one for each combination of `by`, with "starts" (start → mean, sd, runs and, but for `against`,
        "difference": over draws by Student, "difference_bootstrap": over draws and test patients); "overall": start →
        difference over all cells, which weigh alike; "positive": start → cells with a mean above zero, of how many;
        "failed".
    """
    good = [r for r in rows if r["dice"] is not None]
    starts = list(dict.fromkeys(r["start"] for r in good))
    cells: list[dict[str, Any]] = []
    measured: dict[str, dict[str, list[Differences]]] = defaultdict(lambda: defaultdict(list))
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
            cell = differences(own, start, against)
            if cell.values.size:
                measured[start][own[0]["task"]].append(cell)
                found[start]["difference"] = asdict(student(cell.values.mean(1)))
                found[start]["difference_bootstrap"] = asdict(bootstrap([[cell]]))
        cells.append({**dict(zip(by, values, strict=True)), "starts": found})
    means = {start: [cell.values.mean() for own in found.values() for cell in own] for start, found in measured.items()}
    return {
        "against": against,
        "cells": cells,
        "overall": {start: asdict(bootstrap(list(found.values()))) for start, found in measured.items()},
        "positive": {start: [sum(float(m) > 0 for m in own), len(own)] for start, own in means.items()},
        "failed": len(rows) - len(good),
    }


def differences(rows: Sequence[Row], start: str, against: str) -> Differences:
    """Returns differences in points of Dice of one task; the seeds of a draw are averaged.

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
    values = np.array([np.mean(of_draw, axis=0) for of_draw in by_draw.values()]).reshape(len(by_draw), len(cases))
    return Differences(values, tuple(by_draw), tuple(patient_of(rows[0]["task"], case) for case in cases))


def _deviation(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
