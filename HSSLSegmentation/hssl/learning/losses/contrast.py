"""InfoNCE between two sets of paired vectors, with the negatives of all processes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distributed import all_gather, rank_offset


def info_nce(first: Tensor, second: Tensor, temperature: float, ignored: Tensor | None = None) -> Tensor:
    """Returns the mean cross-entropy of finding each vector's partner among all others (NT-Xent; Chen et al. 2020).

    Args:
        first, second: N × C; row i of one is the partner of row i of the other. With several processes each gives
            its own rows, of the same number.
        temperature: τ.
        ignored: M × M bool over all rows of one set of all processes: pairs that are no negatives though they are no
            partners either; the diagonal is disregarded.

    Returns:
        Scalar: mean over this process's 2N anchors.

    Raises:
        ValueError: the shapes differ.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"expected two N × C tensors of one shape, got {tuple(first.shape)}, {tuple(second.shape)}")
    device, count = first.device, len(first)
    begin, total = rank_offset(count)
    # Similarities over the temperature are too coarse in bf16.
    with torch.autocast(device.type, enabled=False):
        a, b = (F.normalize(t.float(), dim=1) for t in (first, second))
        every = torch.cat(all_gather(torch.cat([a, b], 1)).chunk(2, 1))
        scores = torch.cat([a, b]) / temperature @ every.T
        own = torch.arange(begin, begin + count, device=device)
        rows, partners = torch.arange(2 * count, device=device), torch.cat([total + own, own])
        if ignored is not None:
            masked = ignored[own].repeat(2, 2)
            masked[rows, partners] = False
            scores.masked_fill_(masked, float("-inf"))
        scores[rows, torch.cat([own, total + own])] = float("-inf")
        return F.cross_entropy(scores, partners)
