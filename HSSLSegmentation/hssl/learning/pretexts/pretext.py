"""What every pretext is: a module around the network that turns two views of a batch into named losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...configuration import Level, PretrainConfig
from ...models.network import EncoderDecoder, Features, channels_at
from ..augmentation import Warp


@dataclass(frozen=True)
class Views:
    """Two views of a batch on the training device.

    Attributes:
        clean: the two views before their intensities were changed, B × C × spatial each.
        changed: the same after it.
        warps: how each was cut from its window.
        tasks, volumes: B, indices.
        axes: B, axis of the working array that the window's slices lie along; positions and extents are in its order.
        positions: B × 3, centre of the window in its volume (slice, row, column), 0 to 1.
        extents: B × 3, extent of the window in lengths of its volume.
        rngs: one generator per window, for what a pretext draws itself.
        labels: the labels of the two views, B × spatial, int64, `UNLABELLED` where there is none; None without labels.
        shapes: of the windows that show generated shapes, the label maps of the first view, B × C × spatial, −1 in
            all other windows; None where nothing is generated. Such a window has neither task nor position nor label.
    """

    clean: tuple[Tensor, Tensor]
    changed: tuple[Tensor, Tensor]
    warps: tuple[Warp, Warp]
    tasks: Tensor
    volumes: Tensor
    axes: Tensor
    positions: Tensor
    extents: Tensor
    rngs: list[np.random.Generator]
    labels: tuple[Tensor, Tensor] | None = None
    shapes: Tensor | None = None

    @property
    def real(self) -> Tensor:
        """Returns which windows show an image: B, bool."""
        if self.shapes is None:
            return torch.ones_like(self.tasks, dtype=torch.bool)
        return self.shapes.flatten(1)[:, 0] < 0


@dataclass(frozen=True)
class TaskTable:
    """What a pretext knows of the tasks, in the sampler's order.

    Attributes:
        groups: index of each task's group.
        channels: 1 + number of classes of each task that has labels to learn from, 0 of the others.
    """

    groups: list[int]
    channels: list[int]


class Pretext(nn.Module):
    """Base of the pretexts.

    Args:
        config: the pretraining's configuration.
        network: the encoder–decoder to train, with the weights of its start; its output has as many channels as its input.
        tasks: what there is to know of the tasks.
    """

    loss_names: tuple[str, ...] = ()
    every_parameter = False
    """Whether each step gives each parameter a gradient."""
    reads_labels = False
    """Whether there is a loss of labels."""

    def __init__(self, config: PretrainConfig, network: EncoderDecoder, tasks: TaskTable):
        super().__init__()
        self.config = config
        self.network = network

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Returns the losses by name (unweighted), and their weighted sum as "total"."""
        raise NotImplementedError


class PooledHead(nn.Module):
    """Turns a feature map into one vector an image.

    Channels are mixed by a 1×1 convolution and a ReLU before pooling: behind an instance norm the mean of each channel
    says nothing, only how channels go together in places does.
    """

    def __init__(self, config: PretrainConfig, level: Level, out_channels: int, hidden: int = 256):
        super().__init__()
        convolution = nn.Conv2d if config.network.spatial_dims == 2 else nn.Conv3d
        self.level: Level = level
        self.mix = nn.Sequential(convolution(channels_at(config.network, level), hidden, 1), nn.ReLU())
        self.out = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, out_channels))

    def forward(self, features: Features) -> Tensor:
        """Returns B × out_channels."""
        return self.out(self.mix(features.level(self.level)).flatten(2).mean(2))


class PointHead(nn.Module):
    """Turns features at places into vectors (to compare, or coordinates): B × N × C to B × N × out_channels."""

    def __init__(self, config: PretrainConfig, level: Level, out_channels: int = 64, hidden: int = 128):
        super().__init__()
        channels = channels_at(config.network, level)
        self.out = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, out_channels))

    def forward(self, values: Tensor) -> Tensor:
        """Returns B × N × out_channels."""
        return self.out(values)


def both(views: tuple[Tensor, Tensor]) -> Tensor:
    """Returns the two views as one batch, the second behind the first."""
    return torch.cat(views)
