"""Contrast without negatives of one's own kind: unsupervised feature clustering (Zhang et al., BIBM 2022, arXiv 2211.08557)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from ...configuration import PretrainConfig
from ...models.network import EncoderDecoder
from ..distributed import all_gather
from ..losses.contrast import info_nce
from ..losses.reconstruction import masked, reconstruction_loss
from . import register
from .pretext import PooledHead, Pretext, TaskTable, Views, both

EACH = 4
"""Windows of a batch that share a pseudo-class, on average."""
CELLS = 2
"""Cells a side in which the bottleneck describes an image."""


@register("clustering")
class FeatureClustering(Pretext):
    """NT-Xent in which images of one pseudo-class do not repel each other.

    Pseudo-classes come from clustering what an autoencoder makes of the images hierarchically. There the autoencoder is
    trained before, and all images are clustered once; here it is the network itself, which restores masked images
    beside, and the images of a batch are clustered at each step.
    """

    loss_names = ("image", "reconstruction")
    every_parameter = True

    def __init__(self, config: PretrainConfig, network: EncoderDecoder, tasks: TaskTable):
        super().__init__(config, network, tasks)
        self.head = PooledHead(config, "bottleneck", 128)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Returns "image", "reconstruction" and "total"; reconstruction is weighted as in the default pretext."""
        features = self.network.features(masked(both(views.changed), [*views.rngs, *views.rngs]))
        pool = F.adaptive_avg_pool2d if views.clean[0].ndim == 4 else F.adaptive_avg_pool3d
        described = pool(features.level("bottleneck").detach().float(), CELLS).flatten(1)
        first, second = described.chunk(2)
        classes = pseudo_classes(all_gather(first + second))
        first, second = self.head(features).chunk(2)
        losses = {
            "image": info_nce(first, second, self.config.temperature, ignored=classes[:, None] == classes[None]),
            "reconstruction": reconstruction_loss(self.network.output_block(features.decoder[0]), both(views.clean)),
        }
        return {**losses, "total": losses["image"] + self.config.weights.reconstruction * losses["reconstruction"]}


def pseudo_classes(features: Tensor) -> Tensor:
    """Returns the pseudo-class of each image, by Ward's hierarchical clustering: M, int64, numbered from 1.

    Args:
        features: M × C; channels count alike, whatever their range.
    """
    standard = (features - features.mean(0)) / features.std(0, correction=0).clamp_min(1e-6)
    tree = linkage(standard.cpu().double().numpy(), "ward")
    found = fcluster(tree, max(2, len(features) // EACH), "maxclust")
    return torch.from_numpy(found).long().to(features.device)
