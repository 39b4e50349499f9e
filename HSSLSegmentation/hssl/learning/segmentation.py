"""The segmentation loss: Dice + cross-entropy with deep supervision, and what a teacher finds where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configuration import NetworkConfig
from ..models.network import DeepSupervision, EncoderDecoder, PointConvolution
from .losses.distillation import distillation_loss
from .losses.segmentation import dice_and_cross_entropy


class SegmentationModule(nn.Module):
    """The network with its losses: Dice + cross-entropy at the output and at two coarser levels."""

    def __init__(self, network: EncoderDecoder, config: NetworkConfig, out_channels: int, deep_supervision: bool):
        super().__init__()
        self.network = network
        self.deep = DeepSupervision(config, out_channels) if deep_supervision else None

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
        dice = cross = logits.new_zeros((), dtype=torch.float32)
        weights = [0.5**n for n in range(len(outputs))]
        for weight, output in zip(weights, outputs, strict=True):
            labels = resized(prepared.labels, output.shape[2:])
            found = dice_and_cross_entropy(output, labels, prepared.balance)
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
    """

    images: Tensor
    labels: Tensor
    teacher: Tensor | None = None
    balance: float = 0.0


def resized(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Returns labels (B × spatial) on a grid of another size, by the nearest voxel."""
    if labels.shape[1:] == tuple(size):
        return labels
    return F.interpolate(labels[:, None].float(), size=tuple(size), mode="nearest")[:, 0].long()
