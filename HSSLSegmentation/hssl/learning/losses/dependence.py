"""Distance correlation: how much two sets of paired vectors depend on each other (Székely, Rizzo and Bakirov 2007)."""

from __future__ import annotations

import torch
from torch import Tensor


def distance_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Returns the distance correlation of N paired samples: 0 for independent ones, 1 where one is the other but for a
    rotation, a shift and a scale.

    Args:
        first, second: N × C and N × D.

    Raises:
        ValueError: the numbers of samples differ.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} samples are no pairs")
    a, b = _centred_distances(first), _centred_distances(second)
    own = (a.square().mean() * b.square().mean()).sqrt().clamp_min(1e-12)
    return ((a * b).mean() / own).clamp_min(1e-12).sqrt()


def _centred_distances(samples: Tensor) -> Tensor:
    with torch.autocast(samples.device.type, enabled=False):
        # By differences: by products of matrices, distances of samples that are alike would be noise.
        distances = torch.cdist(samples.float(), samples.float(), compute_mode="donot_use_mm_for_euclid_dist")
    return distances - distances.mean(0) - distances.mean(1, keepdim=True) + distances.mean()
