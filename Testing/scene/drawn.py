"""Structures drawn into a small volume: thin, long, hollow, flat, oblique, and at the border."""

from __future__ import annotations

import numpy as np

SIZE = (60, 64, 68)
_z, _y, _x = np.indices(SIZE)
_away = np.sqrt((_z - 30) ** 2 + (_y - 32) ** 2 + (_x - 34) ** 2)

STRUCTURES = {
    "cord": (_y - 30 - 5 * np.sin(_z / 15)) ** 2 + (_x - 32) ** 2 < 3.2**2,
    "thin cord": (_y - 30) ** 2 + (_x - 32 - 4 * np.sin(_z / 9)) ** 2 < 1.6**2,
    "shell": (_away > 18) & (_away < 21),
    "sheet": (np.abs(_x - 34 - 4 * np.sin(_z / 9)) < 1.0) & (np.abs(_y - 32) < 20) & (np.abs(_z - 30) < 25),
    "oblique sheet": (np.abs(_x - _y + 2) < 1.5) & (np.abs(_y - 32) < 20) & (np.abs(_z - 30) < 25),
    "ball": _away < 20,
    "at the border": (_y - 3) ** 2 + (_x - 2) ** 2 < 5**2,
    "cone": ((_y - 32) ** 2 + ((_x - 34) / 1.4) ** 2 < ((45 - _z) / 3) ** 2) & (_z > 12) & (_z < 42),
    "oblique cord": (_y - 32 - (_z - 30) * 0.6) ** 2 + (_x - 34 + (_z - 30) * 0.5) ** 2 < 3.5**2,
}
"""Painted on slices of the first axis."""


def along(name: str, axis: int) -> np.ndarray:
    """Returns a structure, turned so that it is to be painted on slices of an axis."""
    order = [a for a in range(3) if a != 0]
    order.insert(axis, 0)
    return STRUCTURES[name].transpose(order)


def evenly(where: np.ndarray, axis: int, count: int) -> list[int]:
    """Returns so many slices from a structure's first to its last."""
    there = np.flatnonzero(where.any(tuple(a for a in range(3) if a != axis)))
    return sorted({int(index) for index in np.linspace(there[0], there[-1], count).round()})


def on(where: np.ndarray, planes) -> np.ndarray:
    """Returns a structure as somebody paints it who paints these slices alone."""
    painted = np.zeros_like(where)
    for axis, index in planes:
        np.moveaxis(painted, axis, 0)[index] = np.moveaxis(where, axis, 0)[index]
    return painted


def scribbled(where: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Returns strokes through the middle of a structure (1) and frames around it (2), on so many of its slices."""
    labels = np.zeros(where.shape, np.uint8)
    for index in evenly(where, axis, count):
        there, painted = np.moveaxis(where, axis, 0)[index], np.moveaxis(labels, axis, 0)[index]
        rows, columns = np.nonzero(there)
        box = tuple(slice(max(0, n.min() - 5), n.max() + 6) for n in (rows, columns))
        frame = np.zeros_like(there)
        frame[box] = True
        frame[box[0].start + 2 : box[0].stop - 2, box[1].start + 2 : box[1].stop - 2] = False
        painted[frame & ~there] = 2
        middle = int(np.median(rows))
        painted[middle - 1 : middle + 2][there[middle - 1 : middle + 2]] = 1
    return labels
