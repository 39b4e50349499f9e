"""A model as a value: its description and its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .description import ModelDescription

if TYPE_CHECKING:
    import torch

    from .network import EncoderDecoder


class Model(NamedTuple):
    """What a model file or a checkpoint holds; nothing is computed yet.

    Attributes:
        description: what the network is and was trained on.
        state: state dict of the network that the description builds, on the CPU.
    """

    description: ModelDescription
    state: dict[str, torch.Tensor]

    def network(self, device: torch.device) -> EncoderDecoder:
        """Returns the network with these weights, on a device, ready to predict."""
        from .network import build_network

        network = build_network(self.description.network, self.description.out_channels)
        network.load_state_dict(self.state)
        return network.to(device).eval()
