"""The exponential moving average of a network's weights, which is what predictions and further trainings use."""

from __future__ import annotations

import copy

import torch
from torch import nn


class AveragedNetwork:
    """Follows a network (Tarvainen and Valpola 2017; the average of a run's end is better than its last weights).

    Args:
        network: the one that is trained; `network` is its average.
        device: where the average is kept.
        decay: share that stays at each step; fewer at first, when there is nothing worth remembering.
    """

    def __init__(self, network: nn.Module, device: torch.device, decay: float):
        self.network = copy.deepcopy(network).to(device).requires_grad_(False)
        self.decay, self.steps = decay, 0

    def restart(self, network: nn.Module) -> None:
        """Takes over the weights as they are."""
        self.network.load_state_dict(network.state_dict())

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Called after each step of the optimizer."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 9))
        own = [t for t in self.network.state_dict().values() if t.is_floating_point()]
        other = [t for t in network.state_dict().values() if t.is_floating_point()]
        torch._foreach_lerp_(own, other, 1 - decay)
