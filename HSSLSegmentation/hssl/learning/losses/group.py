"""The group level: of which group of tasks (content and modality) an image is (paper, section 2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .masked_mean import masked_mean


def group_loss(logits: Tensor, tasks: Tensor, group_of_task: Tensor, real: Tensor | None = None) -> Tensor:
    """Returns the cross-entropy of the group.

    Args:
        logits: B × number of groups.
        tasks: B, index of each image's task.
        group_of_task: number of tasks, index of each task's group.
        real: B, bool, False for generated images, which have none.
    """
    return masked_mean(F.cross_entropy(logits.float(), group_of_task[tasks], reduction="none"), real)
