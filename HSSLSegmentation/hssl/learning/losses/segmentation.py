"""Dice + cross-entropy on labels, and a light head for each task whose labels take part in pretraining.

Supervised pretraining on the labels of many tasks, each with a head of its own, as MultiTalent (Ulrich et al., MICCAI
2023) and SuPreM (Li et al., ICLR 2024) have it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses.dice import DiceLoss
from torch import Tensor, nn

from ...configuration import PretrainConfig
from ...models.architecture import FILTERS
from ...models.network import Features
from ...preprocessing.store import UNLABELLED

LEVELS = 2
"""Decoder levels with heads, the finest first; the second counts half, as in fine-tuning (deep supervision)."""
BALANCE = 0.4
"""The cross-entropy weighs classes by their number of voxels to the power of minus this."""

# Over the whole batch: a patch without a class would otherwise count as much as one full of it.
_dice = DiceLoss(include_background=False, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)


def dice_and_cross_entropy(
    output: Tensor, labels: Tensor, balance: float, missing: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the Dice loss over the whole batch and the cross-entropy.

    Args:
        output: logits, B × classes × spatial.
        labels: B × spatial, int64 channel numbers; voxels that are `UNLABELLED` count in neither loss.
        balance: how far small classes count more in the cross-entropy (see `class_weights`).
        missing: how far each class has not been found yet (see `class_weights`); None is not at all.
    """
    output = output.float()
    known = labels != UNLABELLED
    target = F.one_hot(labels.where(known, 0), output.shape[1]).movedim(-1, 1).float()
    found = output.softmax(1)
    if not known.all():
        target, found = target * known.unsqueeze(1), found * known.unsqueeze(1)
        if not known.any():  # a mean over nothing would be NaN
            return _dice(found, target), 0 * output.mean()
    weights = class_weights(labels[known], output.shape[1], balance, missing)
    return _dice(found, target), F.cross_entropy(output, labels, weights, ignore_index=UNLABELLED)


def class_weights(labels: Tensor, channels: int, balance: float, missing: Tensor | None = None) -> Tensor:
    """Returns a weight for each class: its number of voxels in `labels` to the power of −`balance`, 0 if it has none.

    Args:
        missing: for each class, 0 to 1; at 1 it counts in sum as much as a class of all voxels would, however small it is.
    """
    counts = torch.bincount(labels.flatten(), minlength=channels).float()
    some = counts.clamp_min(1)
    weights = some**-balance
    if missing is not None:
        weights = weights * (counts.sum() / some) ** ((1 - balance) * missing)
    return torch.where(counts > 0, weights, 0.0)


class LabelHeads(nn.Module):
    """One linear head for each task with labels, on the decoder's finest levels.

    Args:
        config: the pretraining's configuration.
        channels_of_task: 1 + number of classes of each task, 0 where it has no labels.
    """

    def __init__(self, config: PretrainConfig, channels_of_task: list[int]):
        super().__init__()
        convolution = nn.Conv2d if config.network.spatial_dims == 2 else nn.Conv3d
        filters = FILTERS[config.network.size]
        self.heads = nn.ModuleDict(
            {
                str(task): nn.ModuleList(convolution(filters[level], channels, 1) for level in range(LEVELS))
                for task, channels in enumerate(channels_of_task)
                if channels
            }
        )

    def forward(self, features: Features, labels: Tensor, tasks: Tensor) -> Tensor:
        """Returns the mean over the tasks of the batch of Dice loss + cross-entropy; 0 where nothing has a label.

        Args:
            features: of B images.
            labels: B × spatial, int64; windows of `UNLABELLED` voxels are left out.
            tasks: B, index of each image's task.
        """
        labelled = (labels.flatten(1) != UNLABELLED).any(1)
        losses = []
        for task, heads in self.heads.items():
            assert isinstance(heads, nn.ModuleList)
            chosen = torch.nonzero(labelled & (tasks == int(task))).flatten()
            if not len(chosen):
                continue
            for level, head in enumerate(heads):
                output = head(features.decoder[level][chosen])
                own = F.interpolate(labels[chosen, None].float(), size=output.shape[2:], mode="nearest")[:, 0].long()
                dice, cross = dice_and_cross_entropy(output, own, BALANCE)
                losses.append(0.5**level * (dice + cross))
        if not losses:
            return 0 * features.decoder[0].float().mean()  # with a gradient, should it be the only loss
        levels = sum(0.5**level for level in range(LEVELS))
        return torch.stack(losses).sum() * LEVELS / (len(losses) * levels)
