"""MV-MR: dependence between views, and on representations that are not learned (Kinakh et al. 2023, arXiv 2303.12130)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...configuration import PretrainConfig
from ...models.network import EncoderDecoder
from ..distributed import all_gather
from ..losses.dependence import distance_correlation
from ..losses.reconstruction import in_unit_range
from . import register
from .pretext import PooledHead, Pretext, TaskTable, Views

CELLS = 8
"""Cells a side in which a representation that is not learned describes an image."""
WEIGHTS = {"agreement": 25.0, "spread": 25.0, "dependence": 1.0, "representations": 1.0}
"""As VICReg weighs agreement and spread (Bardes et al. 2022). Dependence does not change with the embedding's scale, so that
its gradient is the larger the smaller that is: at equal weights the embedding never spread."""
MARGIN = 1.0
"""Deviation that each channel of the embedding should have over a batch."""


@register("mvmr")
class MultiRepresentation(Pretext):
    """An augmented view's embedding depends on that of the unchanged one, and on its intensities, gradients and texture.

    No negatives, no stop of gradients. The method's scattering transform is left out.
    """

    loss_names = ("agreement", "spread", "dependence", "representations")

    def __init__(self, config: PretrainConfig, network: EncoderDecoder, tasks: TaskTable):
        super().__init__(config, network, tasks)
        self.head = PooledHead(config, "bottleneck", 256)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Returns the four losses and "total", their weighted sum."""
        original = views.clean[1]
        embedded = self.head(self.network.features(torch.cat([views.changed[0], original])))
        changed, unchanged = (all_gather(half.float()) for half in embedded.chunk(2))
        described = {name: all_gather(r) for name, r in representations(original).items()}
        dependences = [1 - distance_correlation(r, changed) for r in described.values()]
        losses = {
            "agreement": F.mse_loss(changed, unchanged),
            "spread": (MARGIN - changed.std(0)).relu().mean() + (MARGIN - unchanged.std(0)).relu().mean(),
            "dependence": 1 - distance_correlation(changed, unchanged),
            "representations": torch.stack(dependences).sum(),
        }
        return {**losses, "total": torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()}


def representations(images: Tensor) -> dict[str, Tensor]:
    """Returns what describes images without being learned: "intensities", "gradients" by direction, "texture".

    Gradients are rising and falling ones along each axis (a histogram of oriented gradients with as many directions),
    texture is the deviation of three voxels along each axis; all in cells.

    Args:
        images: B × C × spatial.

    Returns:
        B × features each.
    """
    images = in_unit_range(images.float())
    dims = images.ndim - 2
    mean, pool = (F.avg_pool2d, F.adaptive_avg_pool2d) if dims == 2 else (F.avg_pool3d, F.adaptive_avg_pool3d)
    slopes = torch.gradient(images, dim=tuple(range(2, images.ndim)))
    gradients = torch.cat([part for slope in slopes for part in (slope.relu(), (-slope).relu())], 1)
    around = F.pad(images, [1, 1] * dims, mode="replicate")
    variance = mean(around.square(), 3, 1) - mean(around, 3, 1).square()
    found = {"intensities": images, "gradients": gradients, "texture": variance.clamp_min(0).sqrt()}
    return {name: pool(maps, CELLS).flatten(1) for name, maps in found.items()}
