"""Vector prediction: where the centre and the corners of a view lie, seen from the middle of its volume.

The global half of VectorPOSE (Zhang et al., "A point in the right direction", 2022): together the vectors hold a view's
position, scale and orientation.
"""

from __future__ import annotations

from itertools import product

import torch.nn.functional as F
from torch import Tensor

from ..augmentation import Warp
from .masked_mean import masked_mean
from .position import points_in_volume


def view_vectors(warp: Warp, positions: Tensor, extents: Tensor, axes: Tensor) -> Tensor:
    """Returns the vectors from the middle of each volume to the centre and the corners of a view of it.

    Args:
        warp: how the views were cut from their windows (no elastic part).
        positions, extents: B × 3, centre and extent of the windows in lengths of the volume.
        axes: B, the axis of the working array that the windows' slices lie along.

    Returns:
        B × (1 + 2^d) × 3, in halves of the volume, the last axis of the working array first.
    """
    dims = warp.matrix.shape[1]
    points = warp.matrix.new_tensor([(0.0,) * dims, *product((-1.0, 1.0), repeat=dims)])
    return points_in_volume(warp, points.expand(len(positions), -1, -1), positions, extents, axes)


def vector_loss(found: Tensor, vectors: Tensor, real: Tensor | None = None) -> Tensor:
    """Returns the mean error in length (absolute) and direction (1 − cosine).

    The method compares spherical coordinates; a cosine says the same of both angles and has no seam. Directions of
    short vectors say little and count by their length.

    Args:
        found, vectors: B × N × 3.
        real: B, bool, False for generated images, which lie nowhere.
    """
    found = found.float()
    length = vectors.norm(dim=2)
    # The norm of an exact zero has no gradient.
    of_length = ((found.square().sum(2) + 1e-8).sqrt() - length).abs()
    of_direction = (1 - F.cosine_similarity(found, vectors, dim=2)) * length.clamp(max=1)
    return masked_mean((of_length + of_direction).mean(1), real)


def vector_count(dims: int) -> int:
    """Returns how many vectors a view has."""
    return 1 + 2**dims
