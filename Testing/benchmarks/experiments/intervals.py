"""Confidence intervals of paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with the limits of its 95 % confidence interval; None where there is too little to say."""

    mean: float
    low: float | None
    high: float | None
    count: int


def paired_t(differences: Sequence[float]) -> Interval:
    """Returns the mean of paired differences with Student's interval; needs two of them for limits."""
    values = np.asarray(differences, float)
    if len(values) < 2:
        return Interval(float(values.mean()), None, None, len(values))
    half = stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(float(values.mean()), float(values.mean() - half), float(values.mean() + half), len(values))


def bootstrap(strata: Sequence[np.ndarray], repeats: int = 4000, seed: int = 0) -> Interval:
    """Returns the mean over strata with a percentile bootstrap over draws and test cases.

    Args:
        strata: differences, draws × test cases, one array for each source (or source and number of labels). Draws and
            cases are drawn anew independently of each other within each stratum; strata weigh alike and stay.

    Returns:
        The interval; "count" is the number of differences. With a single draw the limits speak
        of the test cases alone; without either there are none.
    """
    rng = np.random.default_rng(seed)
    mean = float(np.mean([s.mean() for s in strata]))
    count = int(sum(s.size for s in strata))
    if all(s.size < 2 for s in strata):
        return Interval(mean, None, None, count)
    means = np.zeros(repeats)
    for s in strata:
        rows = rng.integers(s.shape[0], size=(repeats, s.shape[0], 1))
        columns = rng.integers(s.shape[1], size=(repeats, 1, s.shape[1]))
        means += s[rows, columns].mean((1, 2)) / len(strata)
    low, high = np.quantile(means, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return Interval(mean, float(low), float(high), count)
