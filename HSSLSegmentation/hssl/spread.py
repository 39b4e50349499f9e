"""Evenly spread samples of what is too much to look at whole."""

from __future__ import annotations

import numpy as np


def evenly(count: int, most: int) -> list[int]:
    """Returns indices of at most `most` of `count` things, from the first to the last at even distances.

    Example:
        >>> evenly(9, 3), evenly(2, 3)
        ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist() if count else []
