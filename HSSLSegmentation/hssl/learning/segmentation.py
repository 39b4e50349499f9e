"""The segmentation loss: Dice + cross-entropy with deep supervision, and what a teacher finds where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configuration import NetworkConfig
from ..models.network import DeepSupervision, EncoderDecoder, PointConvolution
from ..preprocessing.store import UNLABELLED
from .distributed import all_reduce
from .losses.distillation import distillation_loss
from .losses.segmentation import dice_and_cross_entropy

MEMORY = 0.95
"""Share of what was found in earlier batches that stays at each one."""
FOUND = 0.3
"""A class of this Dice in the training's own windows has been found, and needs no more help."""


class FoundClasses:
    """Follows how far each class is found in the training's own windows: the Dice of its latest batches together.

    Args:
        channels: C, the number of classes with the background.
    """

    def __init__(self, channels: int):
        self.sums = torch.zeros(2, channels)
        """Voxels on which output and labels agree, and half of those of both; C each."""

    @torch.no_grad()
    def follow(self, output: Tensor, labels: Tensor) -> None:
        """Takes in a batch: logits B × C × spatial, labels B × spatial, of all processes together."""
        channels, known = output.shape[1], labels != UNLABELLED
        found, labels = output.argmax(1)[known], labels[known]
        agreed, mine, true = (torch.bincount(v, minlength=channels) for v in (labels[found == labels], found, labels))
        self.sums = self.sums.to(output.device)
        self.sums.lerp_(all_reduce(torch.stack([agreed, (mine + true) / 2]).float()), 1 - MEMORY)

    @property
    def dice(self) -> Tensor:
        """Returns the Dice of each class, 1 where there was neither a label nor a finding."""
        agreed, sizes = self.sums
        return torch.where(sizes > 0, agreed / sizes.clamp_min(1e-9), 1.0)

    @property
    def missing(self) -> Tensor:
        """Returns for each class how far it has not been found, 0 to 1; the background is no class to be looked for."""
        far = (1 - self.dice / FOUND).clamp(0, 1)
        far[0] = 0
        return far


class SegmentationModule(nn.Module):
    """The network with its losses: Dice + cross-entropy at the output and at two coarser levels."""

    def __init__(self, network: EncoderDecoder, config: NetworkConfig, out_channels: int, deep_supervision: bool):
        super().__init__()
        self.network = network
        self.deep = DeepSupervision(config, out_channels) if deep_supervision else None
        self.found = FoundClasses(out_channels)

    @property
    def heads(self) -> list[PointConvolution]:
        """Returns the convolutions that make the outputs, the finest first."""
        found: list[nn.Module] = [self.network.head]
        if self.deep is not None:
            found += self.deep.heads
        return [head for head in found if isinstance(head, PointConvolution)]

    def forward(self, prepared: Prepared) -> dict[str, Tensor]:
        """Returns "dice", "cross_entropy", with a teacher "distillation", and "total", their sum."""
        labelled = len(prepared.labels)
        features = self.network.features(prepared.images)
        logits = self.network.output_block(features.decoder[0])
        outputs = [logits[:labelled]]
        if self.deep is not None:
            outputs += [output[:labelled] for output in self.deep(features)]
        self.found.follow(outputs[0], prepared.labels)
        missing = prepared.help * self.found.missing
        dice = cross = logits.new_zeros((), dtype=torch.float32)
        weights = [0.5**n for n in range(len(outputs))]
        for weight, output in zip(weights, outputs, strict=True):
            labels = resized(prepared.labels, output.shape[2:])
            found = dice_and_cross_entropy(output, labels, prepared.balance, missing)
            dice = dice + weight / sum(weights) * found[0]
            cross = cross + weight / sum(weights) * found[1]
        losses = {"dice": dice, "cross_entropy": cross}
        if prepared.teacher is not None:
            losses["distillation"] = distillation_loss(logits, prepared.teacher, prepared.balance)
        losses["total"] = torch.stack(list(losses.values())).sum()
        return losses


@dataclass(frozen=True)
class Prepared:
    """An augmented batch: B labelled images first, unlabelled ones behind them.

    Attributes:
        images: (B + U) × C × spatial.
        labels: B × spatial, int64 channel numbers.
        teacher: (B + U) × classes × spatial probabilities that the teacher gives the same images; None without one.
        balance: how far small classes count more in the cross-entropy (see `class_weights`).
        help: how far classes that are not found yet count more in it.
    """

    images: Tensor
    labels: Tensor
    teacher: Tensor | None = None
    balance: float = 0.0
    help: float = 0.0


def resized(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Returns labels (B × spatial) on a grid of another size, by the nearest voxel."""
    if labels.shape[1:] == tuple(size):
        return labels
    return F.interpolate(labels[:, None].float(), size=tuple(size), mode="nearest")[:, 0].long()
