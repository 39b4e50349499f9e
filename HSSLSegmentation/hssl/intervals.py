"""Confidence intervals of a mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with the limits of its 95 % confidence interval; None where there is too little to say."""

    mean: float
    low: float | None
    high: float | None
    count: int


def student(values: Sequence[float]) -> Interval:
    """Returns the mean of values, such as paired differences, with Student's interval; needs two of them for limits.

    Example:
        >>> found = student([1.0, 2.0, 3.0])
        >>> found.mean, round(found.low, 2), round(found.high, 2)
        (2.0, -0.48, 4.48)
    """
    from scipy import stats  # takes a second to import

    array = np.asarray(values, float)
    mean = float(array.mean())
    if len(array) < 2:
        return Interval(mean, None, None, len(array))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array)))
    return Interval(mean, mean - half, mean + half, len(array))
