"""Dense contrast: the same place in two views attracts, all other places of the batch repel.

A level of points below the image, ours: a global contrast says nothing of where things are, and segmentation is
about where. In the line of the local loss of Chaitanya et al. (2020), DenseCL (Wang et al. 2021) and vox2vec
(Goncharov et al. 2023).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..augmentation import Warp
from ..distributed import all_gather, rank_offset
from .contrast import info_nce

POINTS = 48
"""At most so many points an image."""
FEWEST_POINTS = 8
MOST_SHAPES = 256
"""More than the shapes that a generated window has."""
MOST_POINTS = 1024
"""Points of a batch, over all processes: time and memory of their contrast grow with the square."""


def points_of(images: int) -> int:
    """Returns the number of points an image in a batch of which this process has so many images."""
    return max(FEWEST_POINTS, min(POINTS, MOST_POINTS // rank_offset(images)[1]))


def corresponding_points(
    first: Warp, second: Warp, image: Tensor, rngs: list[np.random.Generator], count: int
) -> tuple[Tensor, Tensor]:
    """Draws places that both views show, preferring body over background.

    Args:
        first, second: the affine warps of the two views (no elastic part).
        image: the first view, B × C × spatial; brighter than a tenth of its range counts as body.
        count: of places an image.

    Returns:
        Two B × count × d tensors: the places in each view's coordinates, −1 to 1, x first.
    """
    batch, dims = image.shape[0], image.ndim - 2
    candidates = torch.from_numpy(
        np.stack([rng.uniform(-0.97, 0.97, (12 * count, dims)) for rng in rngs]).astype(np.float32)
    ).to(image.device)
    there = torch.from_numpy(np.stack([rng.random(12 * count) for rng in rngs]).astype(np.float32)).to(image.device)
    linear = torch.linalg.solve(second.matrix[:, :, :dims], first.matrix[:, :, :dims])
    shift = torch.linalg.solve(second.matrix[:, :, :dims], (first.matrix - second.matrix)[:, :, dims:])
    with torch.autocast(image.device.type, enabled=False):  # bf16 knows places to a 256th
        partners = candidates @ linear.transpose(1, 2) + shift.transpose(1, 2)
    span = tuple(range(1, image.ndim))
    low, high = image.amin(span), image.amax(span)
    values = sampled(image.mean(1, keepdim=True), candidates).squeeze(2)
    body = values > (low + 0.1 * (high - low)).unsqueeze(1)
    # Those that both views show come first, body before background, else in random order.
    order = there + 2.0 * ~body + 4.0 * (partners.abs() > 0.97).any(2)
    chosen = order.argsort(1)[:, :count].unsqueeze(2).expand(batch, count, dims)
    return candidates.gather(1, chosen), partners.gather(1, chosen).clamp(-1, 1)


def sampled(features: Tensor, points: Tensor) -> Tensor:
    """Samples feature maps (B × C × spatial) at points (B × N × d, −1 to 1): B × N × C, float32."""
    dims = points.shape[2]
    grid = points.reshape(points.shape[0], points.shape[1], *[1] * (dims - 1), dims)
    values = F.grid_sample(features.float(), grid, mode="bilinear", align_corners=False)
    return values.flatten(2).transpose(1, 2)


def same_shape(shapes: Tensor, points: Tensor) -> Tensor:
    """Returns a number for each point, the same for points that lie on one generated shape.

    Args:
        shapes: label maps, B × C × spatial, −1 in windows that show no generated shapes.
        points: B × N × d, −1 to 1.

    Returns:
        B × N, int64. All points of other windows have numbers of their own, as have the shapes of all processes.
    """
    dims, (batch, count) = points.shape[2], points.shape[:2]
    grid = points.reshape(batch, count, *[1] * (dims - 1), dims)
    middle = shapes[:, shapes.shape[1] // 2 : shapes.shape[1] // 2 + 1]
    labels = F.grid_sample(middle, grid, mode="nearest", align_corners=False).reshape(batch, count).round().long()
    begin, total = rank_offset(batch)
    window = begin + torch.arange(batch, device=points.device)[:, None]
    own = window * count + torch.arange(count, device=points.device)
    return torch.where(labels >= 0, total * count + window * MOST_SHAPES + labels, own)


def dense_loss(first: Tensor, second: Tensor, temperature: float, alike: Tensor | None = None) -> Tensor:
    """Returns the contrastive loss between places.

    Args:
        first, second: projections at corresponding points of the two views, B × N × C.
        alike: B × N, points of one number are no negatives of each other; None where all are.
    """
    ignored = None
    if alike is not None:
        every = all_gather(alike.flatten())
        ignored = torch.eq(every.unsqueeze(0), every.unsqueeze(1))
    return info_nce(first.flatten(0, 1), second.flatten(0, 1), temperature, ignored)
