"""Position: where in its volume a point lies.

Ours. Segmentation with few labels is mostly about telling places apart, and scans of one task show the same part of the
body: where a point lies is known without a label and asks for what an annotator looks at. In the line of relative
position (Doersch et al. 2015), PCL (Zeng et al. 2021) and body part regression (Yan et al. 2018), for each point.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..augmentation import Warp
from .masked_mean import masked_mean

COORDINATES = ((0, 1, 2), (0, 2, 1), (2, 0, 1))
"""For slices along each axis of a working array, where (column, row, slice) hold its last, middle and first coordinate."""


def points_in_volume(
    warp: Warp, points: Tensor, positions: Tensor, extents: Tensor, axes: Tensor | None = None
) -> Tensor:
    """Returns where points of a view lie in the volume, −1 to 1 from end to end, x first.

    Args:
        warp: how the view was cut from its window (no elastic part).
        points: B × N × d in the view's coordinates.
        positions, extents: B × 3 (slice, row, column), centre and extent of the windows in lengths of the volume.
        axes: B, the axis of the working array that the windows' slices lie along; None for the first everywhere.

    Returns:
        B × N × 3, in the order of the working array, the last axis first: whatever the plane, a place is the same place.
    """
    dims = points.shape[2]
    with torch.autocast(points.device.type, enabled=False):  # bf16 knows places to a 256th
        inside = points @ warp.matrix[:, :, :dims].transpose(1, 2) + warp.matrix[:, :, dims:].transpose(1, 2)
    inside = torch.cat([inside, inside.new_zeros(*inside.shape[:2], 3 - dims)], 2)
    centre, extent = (2 * positions - 1).flip(1).unsqueeze(1), extents.flip(1).unsqueeze(1)
    found = centre + inside * extent
    if axes is None:
        return found
    order = torch.tensor(COORDINATES, device=found.device)[axes]
    return found.gather(2, order.unsqueeze(1).expand(found.shape))


def position_loss(found: Tensor, places: Tensor, real: Tensor | None = None) -> Tensor:
    """Returns the mean smooth absolute error, quadratic below a tenth of half the volume.

    Args:
        found, places: B × N × 3, from −1 to 1.
        real: B, bool, False for generated images, which lie nowhere.
    """
    return masked_mean(F.smooth_l1_loss(found.float(), places, beta=0.1, reduction="none").mean((1, 2)), real)
