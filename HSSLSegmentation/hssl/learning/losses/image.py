"""The image level: two views of one image attract, other images repel (paper, section 2; NT-Xent of SimCLR)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..distributed import all_gather
from .contrast import info_nce


def image_loss(first: Tensor, second: Tensor, volumes: Tensor, temperature: float) -> Tensor:
    """Returns the contrastive loss between images.

    Windows of the same volume show the same patient at neighbouring places; they are neither attracted nor repelled.

    Args:
        first, second: projections of the two views, B × C.
        volumes: B, the volume of each window.
    """
    every = all_gather(volumes.float().unsqueeze(1)).squeeze(1).round().long()
    return info_nce(first, second, temperature, ignored=torch.eq(every.unsqueeze(0), every.unsqueeze(1)))
