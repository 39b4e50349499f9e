"""Global-local masked autoencoder: GL-MAE (Zhuang et al. 2023, arXiv 2306.08913)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...configuration import PretrainConfig
from ...models.network import EncoderDecoder
from ..losses.reconstruction import masked, reconstruction_loss
from . import register
from .mae import SHARE
from .pretext import PooledHead, Pretext, TaskTable, Views

PROJECTION = 128
LOCAL = 0.5
"""Side of a local view, in sides of a global one."""


@register("glmae")
class GlobalLocalMasked(Pretext):
    """Masked global and local views are restored, and told to agree with the complete global view, the anchor.

    How it is an anchor is our choice: gradients stop at it, and the masked views' projections go through a predictor
    (SimSiam, Chen and He 2021), so that nothing collapses.
    """

    loss_names = ("global_reconstruction", "local_reconstruction", "global_consistency", "local_consistency")
    every_parameter = True

    def __init__(self, config: PretrainConfig, network: EncoderDecoder, tasks: TaskTable):
        super().__init__(config, network, tasks)
        self.head = PooledHead(config, "bottleneck", PROJECTION)
        self.predictor = nn.Sequential(
            nn.Linear(PROJECTION, PROJECTION // 2), nn.ReLU(), nn.Linear(PROJECTION // 2, PROJECTION)
        )

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Returns the four losses and "total"; reconstructions are weighted as in the default pretext."""
        complete, local = views.clean[0], local_views(views.clean[1], views.rngs)
        images = torch.cat([complete, local])
        features = self.network.features(masked(images, [*views.rngs, *views.rngs], SHARE))
        with torch.no_grad():
            anchor = self.head(self.network.features(complete)).float()
        found = self.predictor(self.head(features)).float()
        restored = self.network.output_block(features.decoder[0])
        losses = {}
        for name, own, clean, own_found in zip(
            ("global", "local"), restored.chunk(2), (complete, local), found.chunk(2), strict=True
        ):
            losses[f"{name}_reconstruction"] = reconstruction_loss(own, clean)
            losses[f"{name}_consistency"] = (1 - F.cosine_similarity(own_found, anchor)).mean()
        weight = self.config.weights.reconstruction
        parts = [loss * (weight if "reconstruction" in name else 1) for name, loss in losses.items()]
        return {**losses, "total": torch.stack(parts).sum()}


def local_views(images: Tensor, rngs: list[np.random.Generator]) -> Tensor:
    """Returns a part of each image, at a random place, enlarged to the image's size: B × C × spatial."""
    dims = images.ndim - 2
    theta = np.zeros((len(rngs), dims, dims + 1), np.float32)
    theta[:, :, :dims] = LOCAL * np.eye(dims)
    theta[:, :, dims] = np.stack([rng.uniform(LOCAL - 1, 1 - LOCAL, dims) for rng in rngs])
    grid = F.affine_grid(torch.from_numpy(theta).to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)
