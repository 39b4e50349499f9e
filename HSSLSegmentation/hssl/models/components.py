"""Connected components of a segmentation: which classes are one piece, and keeping the largest piece of those.

nnU-Net (Isensee et al., Nature Methods 2021) decides so by its training cases too. Far from a structure a network that was
trained on few slices finds islands; a class that is one piece in the labels has none.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import SimpleITK as sitk

WHOLE = 0.99
"""A label is one piece where its largest component holds at least this share of it: resampling may leave crumbs."""
NEARLY_ALL = 0.95
"""Share of the labels that must be one piece."""


COMPARABLE = 0.5
"""Pieces so many times as large as the largest one stay where nobody asked for the largest alone: a network that finds two
such does not know which one is the structure, and the larger may be the wrong one."""


def largest_components(channels: np.ndarray, which: Iterable[int], least: float = 1.0) -> np.ndarray:
    """Keeps the largest connected component (26 neighbours) of some channels; ties keep the first.

    Args:
        channels: uint8 channel numbers of a volume.
        which: channels of which the rest becomes background; the others stay as they are.
        least: below 1, components of at least so many times the largest one's size stay too.
    """
    kept = channels.copy()
    for channel in which:
        mask = channels == channel
        if mask.any():
            kept[mask & ~_largest(mask, least)] = 0
    return kept


def touching(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns the connected components (26 neighbours) of a mask that hold a voxel of another one.

    Args:
        mask, known: bool, of one shape.
    """
    labels = _components(mask)
    kept = np.zeros(int(labels.max()) + 1, bool)
    kept[labels[mask & known]] = True
    return kept[labels] & mask


def one_piece(masks: Iterable[np.ndarray]) -> bool:
    """Returns whether a class is one component in nearly all of the labels that hold it; False where none does."""
    found = [bool(_largest(mask).sum() >= WHOLE * mask.sum()) for mask in masks if mask.any()]
    return bool(found) and float(np.mean(found)) >= NEARLY_ALL


def _components(mask: np.ndarray) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))


def _largest(mask: np.ndarray, least: float = 1.0) -> np.ndarray:
    labels = _components(mask)
    sizes = np.bincount(labels.reshape(-1))
    sizes[0] = 0
    kept = sizes >= least * sizes.max() if least < 1 else np.arange(len(sizes)) == sizes.argmax()
    return kept[labels]
