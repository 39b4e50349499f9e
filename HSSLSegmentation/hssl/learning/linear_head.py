"""A linear head in closed form, so that a pretrained network's features are of use before the first step."""

from __future__ import annotations

import torch
from torch import Tensor

from ..preprocessing.store import UNLABELLED
from .distributed import all_reduce, rank_offset

SHRINKAGE = 0.02
"""Share of the mean variance that is added to each channel's, so that channels which hardly vary do not decide."""


class LinearDiscriminant:
    """Gathers features of labelled points, batch by batch, and gives their linear discriminant (Fisher 1936).

    Args:
        classes: C, the number of classes with the background.
        channels: F, of the features.
    """

    def __init__(self, classes: int, channels: int):
        self._counts = torch.zeros(classes, dtype=torch.float64)
        self._sums = torch.zeros(classes, channels, dtype=torch.float64)
        self._products = torch.zeros(classes, channels, channels, dtype=torch.float64)

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Takes in a batch: features B × F × spatial, labels B × spatial. Not under autocast: bf16 is too coarse.

        Points that are `UNLABELLED` are left out.
        """
        points = features.detach().float().movedim(1, -1).flatten(0, -2)
        of_point = labels.flatten()
        for number in set(of_point.unique().tolist()) - {UNLABELLED}:
            own = points[of_point == number]
            self._counts[number] += len(own)
            self._sums[number] += own.sum(0).cpu().double()
            self._products[number] += (own.T @ own).cpu().double()

    def join(self, device: torch.device) -> None:
        """Adds up what all processes have gathered; they talk through tensors on `device`."""
        if rank_offset(1)[1] == 1:
            return
        for mine in (self._counts, self._sums, self._products):
            mine.copy_(all_reduce(mine.to(device)))

    def head(self, balance: float) -> tuple[Tensor, Tensor]:
        """Returns weights (C × F) and biases (C) whose softmax is the posterior of classes of equal covariance.

        A class without a point gets the features' mean, and the prior of a single point. Without any point all is 0.

        Args:
            balance: each class counts by its number of points to the power of 1 − this, as in the loss that follows.
        """
        counts = self._counts.clamp_min(1)
        means = torch.where(self._counts[:, None] > 0, self._sums / counts[:, None], self._sums.sum(0) / counts.sum())
        scatter = self._products - self._counts[:, None, None] * means[:, :, None] * means[:, None]
        weights = self._counts.sign() * counts**-balance
        covariance = (weights[:, None, None] * scatter).sum(0) / (weights * self._counts).sum().clamp_min(1)
        covariance += (
            SHRINKAGE * covariance.diagonal().mean().clamp_min(1e-6) * torch.eye(len(covariance), dtype=torch.float64)
        )
        directions = torch.linalg.solve(covariance, means.T).T
        priors = counts ** (1 - balance)
        bias = (priors / priors.sum()).log() - (directions * means).sum(1) / 2
        # What all classes have in common changes no probability; without it weights are small enough to learn further.
        return (directions - directions.mean(0)).float(), (bias - bias.mean()).float()
