"""InfoNCE between two sets of paired vectors, with the negatives of all processes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..processes import gathered, own_place


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
    count = len(first)
    a, b = (F.normalize(t.float(), dim=1) for t in (first, second))
    all_a, all_b = gathered(a), gathered(b)
    begin, total = own_place(count)
    own = torch.arange(begin, begin + count, device=a.device)
    masked = torch.zeros(count, total, dtype=torch.bool, device=a.device)
    if ignored is not None:
        masked = ignored[own].clone()
    partner_masked = masked.clone()
    partner_masked[torch.arange(count), own] = False
    masked[torch.arange(count), own] = True
    loss = first.new_zeros((), dtype=torch.float32)
    for anchor, same, other in ((a, all_a, all_b), (b, all_b, all_a)):
        to_other = (anchor @ other.T / temperature).masked_fill(partner_masked, float("-inf"))
        to_same = (anchor @ same.T / temperature).masked_fill(masked, float("-inf"))
        loss = loss + F.cross_entropy(torch.cat([to_other, to_same], 1), own)
    return loss / 2
