"""Position-aware contrast: slices at the same place of the body attract across patients (PCL, Zeng et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...configuration import PretrainConfig
from ...models.network import EncoderDecoder
from ..distributed import all_gather, rank_offset
from . import register
from .pretext import PooledHead, Pretext, TaskTable, Views, both

NEAR = 0.1
"""Two slices of one task are partners when their relative positions differ by less than this."""


@register("position")
class PositionContrast(Pretext):
    """Supervised contrast (Khosla et al. 2020) with closeness of position as the label."""

    loss_names = ("position",)

    def __init__(self, config: PretrainConfig, network: EncoderDecoder, tasks: TaskTable):
        super().__init__(config, network, tasks)
        self.head = PooledHead(config, "bottleneck", 128)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Returns "position" and "total"."""
        vectors = F.normalize(self.head(self.network.features(both(views.changed))).float(), dim=1)
        # A generated window is at no place, whichever process has it, and slices along different axes have none in common.
        own = rank_offset(len(views.tasks))[0] + torch.arange(len(views.tasks), device=vectors.device)
        of_stack = torch.where(views.real, 3 * views.tasks + views.axes, -1 - own)
        places = torch.stack([of_stack.float(), views.positions[:, 0]], 1).repeat(2, 1)
        every, where = all_gather(vectors), all_gather(places)
        begin, total = rank_offset(len(vectors))
        itself = torch.eye(total, dtype=torch.bool, device=vectors.device)[begin : begin + len(vectors)]
        near = (places[:, None, 0] == where[None, :, 0]) & ((places[:, None, 1] - where[None, :, 1]).abs() < NEAR)
        partners = (near & ~itself).float()
        scores = (vectors @ every.T / self.config.temperature).masked_fill(itself, -1e9)
        found = (F.log_softmax(scores, 1) * partners).sum(1) / partners.sum(1).clamp_min(1)
        loss = -found.mean()
        return {"position": loss, "total": loss}
