"""Vector prediction and boundary-focused reconstruction (VectorPOSE, Zhang et al., "A point in the right direction", 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...configuration import PretrainConfig
from ...models.architecture import FILTERS
from ...models.network import EncoderDecoder, Features
from ..losses.boundaries import boundaries
from ..losses.reconstruction import in_unit_range, masked
from ..losses.vectors import vector_count, vector_loss, view_vectors
from . import register
from .pretext import Pretext, TaskTable, Views, both

LEVELS = 3
"""Levels of the encoder that tell the vectors, the deepest ones."""


@register("vector")
class VectorPrediction(Pretext):
    """A view's encoder tells where its centre and corners lie; its decoder restores the image and its boundaries.

    The corruption is ours: changed intensities and hidden blocks.
    """

    loss_names = ("vectors", "reconstruction", "boundaries")
    every_parameter = True

    def __init__(self, config: PretrainConfig, network: EncoderDecoder, tasks: TaskTable):
        super().__init__(config, network, tasks)
        convolution = nn.Conv2d if config.network.spatial_dims == 2 else nn.Conv3d
        self.vectors = _DeepHead(config, 3 * vector_count(config.network.spatial_dims))
        self.boundary_head = convolution(FILTERS[config.network.size][0], config.network.in_slices, 1)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Returns "vectors", "reconstruction", "boundaries" and "total", their sum."""
        features = self.network.features(masked(both(views.changed), [*views.rngs, *views.rngs]))
        clean = both(views.clean)
        there = [view_vectors(warp, views.positions, views.extents, views.axes) for warp in views.warps]
        vectors = torch.cat(there)
        restored = self.network.output_block(features.decoder[0])
        edges = self.boundary_head(features.decoder[0])
        losses = {
            "vectors": vector_loss(self.vectors(features).view_as(vectors), vectors, views.real.repeat(2)),
            "reconstruction": F.l1_loss(restored.float(), in_unit_range(clean)),
            "boundaries": F.l1_loss(edges.float(), boundaries(clean)),
        }
        return {**losses, "total": torch.stack(list(losses.values())).sum()}


class _DeepHead(nn.Module):
    """One vector an image from the deepest levels together; channels are mixed before pooling, as in `PooledHead`."""

    def __init__(self, config: PretrainConfig, out_channels: int, hidden: int = 128):
        super().__init__()
        convolution = nn.Conv2d if config.network.spatial_dims == 2 else nn.Conv3d
        filters = FILTERS[config.network.size][-LEVELS:]
        self.mix = nn.ModuleList(nn.Sequential(convolution(f, hidden, 1), nn.ReLU()) for f in filters)
        self.out = nn.Sequential(nn.Linear(LEVELS * hidden, hidden), nn.ReLU(), nn.Linear(hidden, out_channels))

    def forward(self, features: Features) -> Tensor:
        """Returns B × out_channels."""
        levels = features.encoder[-LEVELS:]
        return self.out(torch.cat([mix(f).flatten(2).mean(2) for mix, f in zip(self.mix, levels, strict=True)], 1))
