"""Pieces: which structures are one, by the slices that were painted of them, and what of a filling hangs together with those.

As a model decides by its training labels (`hssl.models.components`), so does a session by its painted slices: what is filled of a
structure that is one piece, and hangs together with nothing that was painted of it, is an island.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models.components import one_piece, touching
from .slice_priors import Plane


def one_piece_on_slices(painted: np.ndarray, planes: Sequence[Plane]) -> bool:
    """Returns whether a structure is one piece, as far as its complete slices tell: two of one orientation at least.

    Each slice shows it in one component, and it overlaps from each slice to the next. Where it does not, such as in lesions
    that were painted on one slice each, or where gaps are too wide to tell, nothing is said to be an island.

    Args:
        painted: bool, z, y, x, where it was painted.
        planes: the slices that are complete for it.
    """
    told = False
    for axis in range(3):
        indices = sorted({p.index for p in planes if p.axis == axis})
        slices = [s for s in (np.moveaxis(painted, axis, 0)[i] for i in indices) if s.any()]
        if not slices:
            continue
        if not all(one_piece([s[None]]) for s in slices):
            return False
        if any(not (a & b).any() for a, b in zip(slices, slices[1:], strict=False)):
            return False
        told = told or len(slices) > 1
    return told


def without_islands(found: np.ndarray, painted: np.ndarray, channels: Sequence[int]) -> np.ndarray:
    """Returns the channels of a filling, where those pieces of some channels that hold nothing painted are background.

    Args:
        found, painted: integers, z, y, x; `painted` holds what is known of each voxel, by the same channels.
        channels: whose islands go.
    """
    kept = found.copy()
    for channel in channels:
        own = found == channel
        kept[own & ~touching(own, painted == channel)] = 0
    return kept
