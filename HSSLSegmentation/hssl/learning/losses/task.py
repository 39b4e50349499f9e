"""The task level: of which task (dataset) an image is (paper, section 2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def task_loss(logits: Tensor, tasks: Tensor) -> Tensor:
    """Returns the cross-entropy of the task.

    Args:
        logits: B × number of tasks.
        tasks: B, index of each image's task.
    """
    return F.cross_entropy(logits.float(), tasks)
