"""What learning from slices sees of each voxel: intensities, and a network's decoder levels at their own resolution.

Levels are kept as coarse as they are and interpolated at the voxels that are asked for. A linear layer commutes with
that interpolation, so a layer can be applied to the coarse map first (`projected`), which is many times cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..events import OnEvent, ProgressMeter, Stop, Stopped
from ..models.device import computes_bf16
from ..models.network import MULTIPLE, SMALLEST, EncoderDecoder

SLICES_AT_ONCE = 8
LEVELS = (0, 1, 2)
"""Decoder levels that are kept, finest first."""
SIGMAS = (1.0, 2.5)
"""Of the smoothed intensities, in voxels of the slice."""


@dataclass(frozen=True)
class Region:
    """Part of an array (z, y, x): start and stop along each axis, and the axis across its slices."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    slice_axis: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Returns its size (z, y, x)."""
        a, b = self.start, self.stop
        return (b[0] - a[0], b[1] - a[1], b[2] - a[2])

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Returns it as an index of the array."""
        a, b = self.start, self.stop
        return (slice(a[0], b[0]), slice(a[1], b[1]), slice(a[2], b[2]))

    @property
    def rest(self) -> tuple[int, int]:
        """Returns the two axes within the slices."""
        first, second = (a for a in range(3) if a != self.slice_axis)
        return first, second

    def holds(self, other: Region) -> bool:
        """Returns whether another region lies inside this one and has the same slices."""
        inside = all(
            a <= c and d <= b for a, b, c, d in zip(self.start, self.stop, other.start, other.stop, strict=True)
        )
        return inside and self.slice_axis == other.slice_axis


@dataclass
class SliceFeatures:
    """Features of a region's voxels, each channel of zero mean and unit deviation over the region.

    Attributes:
        region: where; places are flat indices into it.
        intensities: half, slices × rows × columns × channels: the voxel, smoothed twice, and the gradient.
        levels: half, slices × channels × rows × columns each, at the level's resolution; empty without a network.
        origin: row and column of the region's first voxel in the finest level, whose margin the network needed.
    """

    region: Region
    intensities: Tensor
    levels: list[Tensor] = field(default_factory=list)
    origin: tuple[int, int] = (0, 0)

    @property
    def channels(self) -> list[int]:
        """Returns the numbers of channels of the intensities and of each level, in the order of `at`."""
        return [self.intensities.shape[3], *(level.shape[1] for level in self.levels)]

    def at(self, places: Tensor) -> Tensor:
        """Returns half, N × sum(channels), at flat places of the region."""
        found = torch.empty(len(places), sum(self.channels), dtype=torch.half)
        for which, number, rows, columns in self._by_slice(places):
            parts = [self.intensities[number, rows, columns]]
            parts += [self._interpolated(level[number], rows, columns).half() for level in self.levels]
            found[which] = torch.cat(parts, 1)
        return found

    def projected(self, places: Tensor, weight: Tensor) -> Tensor:
        """Returns `at(places) @ weight.T`, float32, N × rows of weight, without ever making `at(places)`."""
        parts = weight.split(self.channels, 1)
        found = torch.empty(len(places), len(weight))
        for which, number, rows, columns in self._by_slice(places):
            total = self.intensities[number, rows, columns].float() @ parts[0].T
            for level, part in zip(self.levels, parts[1:], strict=True):
                total += self._interpolated(torch.einsum("oc,cyx->oyx", part, level[number].float()), rows, columns)
            found[which] = total
        return found

    def _by_slice(self, places: Tensor) -> Iterator[tuple[Tensor, int, Tensor, Tensor]]:
        coordinates = torch.unravel_index(places, self.region.shape)
        number = coordinates[self.region.slice_axis]
        rows, columns = (coordinates[a] for a in self.region.rest)
        order = number.argsort(stable=True)
        there, counts = number[order].unique_consecutive(return_counts=True)
        for index, which in zip(there.tolist(), order.split(counts.tolist()), strict=True):
            yield which, index, rows[which], columns[which]

    def _interpolated(self, level: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        rows, columns = rows + self.origin[0], columns + self.origin[1]
        if level.shape[1:] == self.levels[0].shape[2:]:
            return level[:, rows, columns].T.float()
        height, width = self.levels[0].shape[2:]
        grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], 1)
        values = F.grid_sample(level[None].float(), grid[None, None], padding_mode="border", align_corners=False)
        return values[0, :, 0].T


def slice_features(
    array: np.ndarray,
    region: Region,
    network: EncoderDecoder | None,
    device: torch.device,
    on_event: OnEvent,
    stop: Stop,
) -> SliceFeatures:
    """Computes the features of a region.

    Args:
        array: float32, normalised, z, y, x; the network sees slices beyond the region where they are neighbours.
        network: 2D; None gives intensities alone.
        stop: asked before every few slices.

    Raises:
        Stopped: `stop` asked for it.
    """
    part = torch.from_numpy(np.ascontiguousarray(np.moveaxis(array[region.slices], region.slice_axis, 0)))
    smooth = [_smoothed(part, sigma) for sigma in SIGMAS]
    gradient = sum(smooth[0].diff(dim=d, append=smooth[0].select(d, -1).unsqueeze(d)) ** 2 for d in (1, 2))
    channels = [part, *smooth, torch.as_tensor(gradient).sqrt()]
    intensities = torch.stack([_standardised(channel, channel).half() for channel in channels], 3)
    if network is None:
        return SliceFeatures(region, intensities)
    # Some surroundings too, since the network's view reaches beyond the region.
    whole = np.moveaxis(array, region.slice_axis, 0)
    bounds = [
        (max(0, region.start[axis] - MULTIPLE), min(array.shape[axis], region.stop[axis] + MULTIPLE))
        for axis in region.rest
    ]
    (top, bottom), (left, right) = bounds
    slices = whole[:, top:bottom, left:right]
    half = network.config.in_slices // 2
    first, count = region.start[region.slice_axis], len(part)
    levels: list[Tensor] = []
    meter = ProgressMeter(on_event, "features", count)
    for begin in range(0, count, SLICES_AT_ONCE):
        if stop():
            raise Stopped
        centres = first + np.arange(begin, min(begin + SLICES_AT_ONCE, count))
        neighbours = np.clip(centres[:, None] + np.arange(-half, half + 1), 0, len(whole) - 1)
        found = _of_slices(network, slices[neighbours], device)
        if not levels:
            levels = [torch.zeros(count, *level.shape[1:], dtype=torch.half) for level in found]
        for level, values in zip(levels, found, strict=True):
            level[begin : begin + len(centres)] = values
        meter.update(begin + len(centres))
    origin = (region.start[region.rest[0]] - top, region.start[region.rest[1]] - left)
    for level in levels:
        # Over the region alone: margin and padding would count for more in a small region.
        scale = level.shape[2] / levels[0].shape[2]
        rows, columns = (
            slice(int(first * scale), max(int(first * scale) + 1, math.ceil((first + length) * scale)))
            for first, length in zip(origin, part.shape[1:], strict=True)
        )
        for channel in level.unbind(1):
            values = channel.float()
            channel.copy_(_standardised(values, values[:, rows, columns]))
    return SliceFeatures(region, intensities, levels, origin)


@torch.inference_mode()
def _of_slices(network: EncoderDecoder, stacks: np.ndarray, device: torch.device) -> list[Tensor]:
    images = torch.from_numpy(np.ascontiguousarray(stacks)).to(device)
    below, right = (max(n + -n % MULTIPLE, SMALLEST) - n for n in images.shape[-2:])
    images = F.pad(images, (0, right, 0, below), mode="replicate")
    with torch.autocast(device.type, torch.bfloat16, enabled=computes_bf16(device)):
        decoder = network.features(images).decoder
    return [decoder[n].half().cpu() for n in LEVELS]


def _smoothed(volume: Tensor, sigma: float) -> Tensor:
    reach = int(np.ceil(3 * sigma))
    offsets = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    planes = F.pad(volume[:, None], (reach, reach, reach, reach), mode="replicate")
    planes = F.conv2d(planes, kernel.reshape(1, 1, -1, 1))
    return F.conv2d(planes, kernel.reshape(1, 1, 1, -1))[:, 0]


def _standardised(channel: Tensor, part: Tensor) -> Tensor:
    """The channel with zero mean and unit deviation over a part of it."""
    return (channel - part.mean()) / part.std().clamp_min(1e-4)
