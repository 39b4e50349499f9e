"""Confidence intervals of paired differences over draws and test patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hssl.intervals import CONFIDENCE, Interval


@dataclass(frozen=True)
class Differences:
    """Paired differences of one cell.

    Attributes:
        values: draws × test cases.
        draws: the number of each row's draw.
        patients: whose image each test case is.
    """

    values: np.ndarray
    draws: tuple[int, ...]
    patients: tuple[str, ...]


def bootstrap(sources: Sequence[Sequence[Differences]], repeats: int = 4000, seed: int = 0) -> Interval:
    """Returns the mean over cells with a percentile bootstrap over draws and test patients.

    Args:
        sources: for each source its cells (such as numbers of labels). Cells of a source share their draws, whose labelled
            cases lie within each other, and their test patients, so both are drawn anew for all of them together. Cells
            weigh alike and stay.

    Returns:
        The interval; "count" is the number of differences. With a single draw the limits speak of the test patients alone;
        with neither several draws nor several patients there are none.
    """
    rng = np.random.default_rng(seed)
    cells = [cell for source in sources for cell in source]
    mean = float(np.mean([cell.values.mean() for cell in cells]))
    count = int(sum(cell.values.size for cell in cells))
    if all(len(set(cell.draws)) < 2 and len(set(cell.patients)) < 2 for cell in cells):
        return Interval(mean, None, None, count)
    means = []
    for source in sources:
        times_of_draws, draws = _drawn_anew(rng, [d for cell in source for d in cell.draws], repeats)
        times_of_patients, patients = _drawn_anew(rng, [p for cell in source for p in cell.patients], repeats)
        for cell in source:
            rows = times_of_draws[:, [draws[d] for d in cell.draws]]
            columns = times_of_patients[:, [patients[p] for p in cell.patients]]
            total = rows.sum(1) * columns.sum(1)
            sums = np.einsum("nd,dc,nc->n", rows, cell.values, columns)
            # Where a draw or a patient is missing in a cell, it may be that nothing of the cell was drawn.
            means.append(np.where(total > 0, sums / np.maximum(total, 1), np.nan))
    low, high = np.nanquantile(np.nanmean(means, axis=0), [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return Interval(mean, float(low), float(high), count)


def _drawn_anew(rng: np.random.Generator, names: Sequence[Any], repeats: int) -> tuple[np.ndarray, dict[Any, int]]:
    """How often each of the different names was drawn (repeats × names), and the column of each."""
    places = {name: n for n, name in enumerate(dict.fromkeys(names))}
    return rng.multinomial(len(places), np.full(len(places), 1 / len(places)), repeats), places
