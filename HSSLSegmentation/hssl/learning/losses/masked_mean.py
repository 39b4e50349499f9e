"""The mean over those windows of a batch of which a loss can be asked."""

from __future__ import annotations

from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the mean of B values where a mask of B bools holds, 0 where it holds nowhere; None holds everywhere."""
    if mask is None:
        return values.mean()
    return (values * mask).sum() / mask.sum().clamp_min(1)
