"""Barlow Twins as BT-Unet uses it for an encoder (Zbontar et al. 2021; Punn and Agarwal 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...configuration import PretrainConfig
from ...models.network import EncoderDecoder
from ..distributed import all_gather
from . import register
from .pretext import PooledHead, Pretext, TaskTable, Views, both

REDUNDANCY = 5e-3


@register("barlow")
class BarlowTwins(Pretext):
    """The cross-correlation of two views' projections is driven to the identity."""

    loss_names = ("redundancy",)

    def __init__(self, config: PretrainConfig, network: EncoderDecoder, tasks: TaskTable):
        super().__init__(config, network, tasks)
        self.head = PooledHead(config, "bottleneck", 256)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Returns "redundancy" and "total"."""
        first, second = (
            all_gather(half.float()) for half in self.head(self.network.features(both(views.changed))).chunk(2)
        )
        first, second = ((t - t.mean(0)) / t.std(0).clamp_min(1e-5) for t in (first, second))
        correlation = first.T @ second / len(first)
        diagonal = torch.diagonal(correlation)
        off = correlation.square().sum() - diagonal.square().sum()
        loss = (diagonal - 1).square().sum() + REDUNDANCY * off
        return {"redundancy": loss, "total": loss}
