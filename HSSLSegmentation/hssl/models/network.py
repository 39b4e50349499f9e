"""The encoder–decoder: MONAI's DynUNet with access to its feature levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Norm
from monai.networks.nets import DynUNet
from torch import Tensor, nn

from ..configuration import Level, NetworkConfig
from ..errors import ConfigurationError
from .architecture import FILTERS, dynunet_arguments

INSTANCE_NORM = "hssl_instance"
"""The name under which MONAI builds the instance norm below."""
MULTIPLE = 2 ** (len(FILTERS["small"]) - 1)
"""Patches are multiples of this many voxels along each axis."""
SMALLEST = 2 * MULTIPLE
"""Shortest side that a network takes: with less, the bottleneck is one voxel and has no deviation to normalise by."""

PointConvolution = nn.Conv2d | nn.Conv3d
"""With kernels of one point: a linear function of each point's features."""


@dataclass(frozen=True)
class Features:
    """Feature maps of one batch: B × channels × spatial, finest level first.

    `encoder` ends with the bottleneck; `decoder` begins with the full resolution that the output sees.
    """

    encoder: list[Tensor]
    decoder: list[Tensor]

    def level(self, level: Level) -> Tensor:
        """Returns the encoder's level n, the bottleneck, or the decoder's last (full-resolution) map."""
        if level == "bottleneck":
            return self.encoder[-1]
        if level == "decoder":
            return self.decoder[0]
        return self.encoder[level]


class InstanceNorm(nn.GroupNorm):
    """Instance normalisation that trains on the CPU by torch's kernel for groups.

    nn.InstanceNorm gives a view there, and each gradient is copied on its way back through the in-place activation
    behind it. Names of the weights are the same, and so is every bit of a prediction.
    """

    def __init__(self, num_channels: int, affine: bool):
        super().__init__(num_channels, num_channels, affine=affine)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the normalised images: B × C × spatial."""
        if self.training and images.device.type == "cpu":
            return super().forward(images)
        return F.instance_norm(images, weight=self.weight, bias=self.bias, eps=self.eps)


@Norm.factory_function(INSTANCE_NORM)
def _instance_norm(dim: int) -> type[InstanceNorm]:
    return InstanceNorm


class EncoderDecoder(DynUNet):
    """DynUNet (Isensee et al. 2021 as MONAI builds it) whose feature levels can be asked for.

    Args:
        config: architecture.
        out_channels: channels of the output: classes and background, or reconstructed slices.
    """

    def __init__(self, config: NetworkConfig, out_channels: int):
        arguments = dynunet_arguments(config, out_channels)
        if config.norm == "instance":
            arguments["norm_name"][0] = INSTANCE_NORM
        super().__init__(**arguments)
        # DynUNet registers the same blocks twice, in order and nested; one set of names is enough.
        del self.skip_layers
        self.config = config

    def features(self, images: Tensor) -> Features:
        """Returns all feature levels.

        Args:
            images: B × in_slices × spatial (B × 1 × spatial in 3D), sides multiples of `MULTIPLE`.
        """
        encoder = [self.input_block(images)]
        for block in self.downsamples:
            encoder.append(block(encoder[-1]))
        encoder.append(self.bottleneck(encoder[-1]))
        decoder = [encoder[-1]]
        for block, skip in zip(self.upsamples, reversed(encoder[:-1]), strict=True):
            decoder.append(block(decoder[-1], skip))
        return Features(encoder, decoder[:0:-1])

    @property
    def head(self) -> PointConvolution:
        """Returns the convolution that makes the output of the decoder's last features."""
        found = self.output_block.conv.conv
        assert isinstance(found, PointConvolution)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Returns the output at full resolution: B × out_channels × spatial."""
        return self.output_block(self.features(images).decoder[0])


def channels_at(config: NetworkConfig, level: Level) -> int:
    """Returns the number of channels of a feature level.

    Raises:
        ConfigurationError: the network has no such level.
    """
    filters = FILTERS[config.size]
    if level == "bottleneck":
        return filters[-1]
    if level == "decoder":
        return filters[0]
    if not 0 <= level < len(filters):
        raise ConfigurationError(f"the network has levels 0 to {len(filters) - 1}, bottleneck and decoder, not {level}")
    return filters[level]


def build_network(config: NetworkConfig, out_channels: int) -> EncoderDecoder:
    """Builds the network with freshly drawn weights (torch's own random generator decides them)."""
    return EncoderDecoder(config, out_channels)


class DeepSupervision(nn.Module):
    """Outputs at the decoder's coarser levels, for training only (Lee et al. 2015; nnU-Net's weights 1, ½, ¼)."""

    def __init__(self, config: NetworkConfig, out_channels: int, levels: int = 2):
        super().__init__()
        convolution = nn.Conv2d if config.spatial_dims == 2 else nn.Conv3d
        self.heads = nn.ModuleList(convolution(FILTERS[config.size][n], out_channels, 1) for n in range(1, 1 + levels))

    def forward(self, features: Features) -> list[Tensor]:
        """Returns the outputs of the coarser levels, finer ones first."""
        return [head(features.decoder[n]) for n, head in enumerate(self.heads, 1)]


@dataclass(frozen=True)
class LoadReport:
    """How many tensors of a start were taken over, and which were not and why."""

    loaded: list[str]
    skipped: list[str]


def load_matching(
    network: nn.Module, state: dict[str, Tensor], ignore: tuple[str, ...] = ("output_block",)
) -> LoadReport:
    """Takes over every tensor whose name and shape fit; heads in `ignore` always stay fresh.

    Raises:
        ConfigurationError: not a single tensor fits: the start and the network have nothing in common.
    """
    own = network.state_dict()
    loaded, skipped = [], []
    for name, tensor in own.items():
        if name.startswith(ignore):
            skipped.append(f"{name}: belongs to the task")
        elif name not in state:
            skipped.append(f"{name}: not in the start")
        elif state[name].shape != tensor.shape:
            skipped.append(f"{name}: shape {tuple(state[name].shape)} instead of {tuple(tensor.shape)}")
        else:
            loaded.append(name)
    if not loaded:
        raise ConfigurationError("not one tensor of the start fits the network", "Is it a model of another program?")
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(state[name])
    return LoadReport(loaded, skipped)
