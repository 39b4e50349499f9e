"""Distillation: a network learns what another one finds, its doubts included (Hinton, Vinyals and Dean 2015).

The form is that of the loss on labels, Dice and cross-entropy, with probabilities in the place of labels. The Dice is the
Dice semimetric loss (Wang et al., MICCAI 2023), which is the usual one for certain targets, and for doubtful ones least
where both agree.

A pretraining that goes on from a start learns the start's features (Romero et al., *FitNets*, ICLR 2015), which keeps what
it knows (Li and Hoiem, *Learning without forgetting*, ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def distillation_loss(output: Tensor, teacher: Tensor, balance: float) -> Tensor:
    """Returns Dice loss over the whole batch + relative entropy; 0 where the network finds what the teacher finds.

    Args:
        output: logits, B × classes × spatial.
        teacher: its probabilities, of the same shape.
        balance: how far small classes count more in the entropy: by the teacher's voxels to the power of −`balance`.
    """
    logarithms = output.float().log_softmax(1)
    found = logarithms.exp()
    span = (0, *range(2, output.ndim))
    sizes = found.sum(span) + teacher.sum(span)
    apart = (found - teacher).abs().sum(span)
    dice = (apart / sizes.clamp_min(1e-5))[1:].mean()
    counts = teacher.sum(span)
    weights = torch.where(counts > 0, counts.clamp_min(1) ** -balance, 0.0).view(1, -1, *[1] * (output.ndim - 2))
    entropy = (weights * torch.xlogy(teacher, teacher)).sum() - (weights * teacher * logarithms).sum()
    return dice + entropy / (weights * teacher).sum()


def feature_distillation_loss(features: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Returns the mean squared difference of feature maps, the mean over levels; 0 where they are the teacher's.

    Args:
        features: of each level, B × C × spatial.
        teacher: the same of the teacher, behind instance norms as they are, so that all levels count alike.
    """
    apart = [(own.float() - theirs.float()).square().mean() for own, theirs in zip(features, teacher, strict=True)]
    return torch.stack(apart).mean()
