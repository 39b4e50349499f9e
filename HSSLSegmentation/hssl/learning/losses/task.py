"""The task level: of which task (dataset) an image is (paper, section 2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .masked_mean import masked_mean


def task_loss(logits: Tensor, tasks: Tensor, real: Tensor | None = None) -> Tensor:
    """Returns the cross-entropy of the task.

    Args:
        logits: B × number of tasks.
        tasks: B, index of each image's task.
        real: B, bool, False for generated images, which have none.
    """
    return masked_mean(F.cross_entropy(logits.float(), tasks, reduction="none"), real)
