"""SimCLR: global contrast of two views (Chen et al. 2020); trains the encoder only."""

from __future__ import annotations

from torch import Tensor

from ...configuration import PretrainConfig
from ...models.network import EncoderDecoder
from ..losses.contrast import info_nce
from . import register
from .pretext import PooledHead, Pretext, TaskTable, Views, both


@register("simclr")
class SimCLR(Pretext):
    """NT-Xent between the bottlenecks of two views."""

    loss_names = ("image",)

    def __init__(self, config: PretrainConfig, network: EncoderDecoder, tasks: TaskTable):
        super().__init__(config, network, tasks)
        self.head = PooledHead(config, "bottleneck", 128)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Returns "image" and "total"."""
        first, second = self.head(self.network.features(both(views.changed))).chunk(2)
        loss = info_nce(first, second, self.config.temperature)
        return {"image": loss, "total": loss}
