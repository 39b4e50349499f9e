"""Boundary-focused reconstruction: beside the image, where its boundaries are.

The local half of VectorPOSE (Zhang et al., "A point in the right direction", 2022). Plain reconstruction is content with
smooth interiors; segmentation is about what lies between them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .reconstruction import in_unit_range

FAINTEST, GAIN = 0.01, 30.0
"""Gradients in shares of the image's range per voxel: below the first there is no boundary, 1/30 above it a full one."""
DERIVATIVE, SMOOTHING = (-0.5, 0.0, 0.5), (3 / 16, 10 / 16, 3 / 16)
"""Scharr's filter along an axis and across it."""


def boundaries(images: Tensor) -> Tensor:
    """Returns how much of a boundary is at each voxel, 0 to 1, whatever the image's unit: B × C × spatial.

    Scharr's gradient of the slightly smoothed image (a mean of three voxels along each axis; a median of five there).

    Args:
        images: B × C × spatial, C neighbouring slices, each for itself.
    """
    dims = images.ndim - 2
    flat = in_unit_range(images.float()).flatten(0, 1).unsqueeze(1)
    mean = F.avg_pool2d if dims == 2 else F.avg_pool3d
    flat = mean(F.pad(flat, [1, 1] * dims, mode="replicate"), 3, 1)
    squares = torch.zeros_like(flat)
    for axis in range(dims):
        along = flat
        for other in range(dims):
            along = _filtered(along, DERIVATIVE if other == axis else SMOOTHING, other)
        squares = squares + along.square()
    steepness = (squares / dims).sqrt()
    return ((steepness - FAINTEST) * GAIN).clamp(0, 1).view_as(images)


def _filtered(images: Tensor, weights: tuple[float, float, float], axis: int) -> Tensor:
    dims = images.ndim - 2
    shape, pad = [1, 1] + [1] * dims, [0, 0] * dims
    shape[2 + axis] = 3
    pad[2 * (dims - 1 - axis)] = pad[2 * (dims - 1 - axis) + 1] = 1
    convolve = F.conv2d if dims == 2 else F.conv3d
    with torch.autocast(images.device.type, enabled=False):  # bf16 is coarser than the faintest boundary
        return convolve(F.pad(images, pad, mode="replicate"), images.new_tensor(weights).reshape(shape))
