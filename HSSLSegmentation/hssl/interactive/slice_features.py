"""What learning from slices sees of each voxel: intensities, and a network's decoder levels at their own resolution.

The network looks at the slices along the annotated axis, and along others too where it is asked to. Levels are kept as
coarse as they are, as far as the region reaches, and interpolated at the voxels that are asked for. A linear layer
commutes with that interpolation, so a layer can be applied to the coarse map first (`projected`), which is many times
cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

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
        return _rest(self.slice_axis)

    def holds(self, other: Region) -> bool:
        """Returns whether another region lies inside this one and has the same slices."""
        inside = all(
            a <= c and d <= b for a, b, c, d in zip(self.start, self.stop, other.start, other.stop, strict=True)
        )
        return inside and self.slice_axis == other.slice_axis


@dataclass(frozen=True)
class Level:
    """A decoder level's values in a region, each channel of zero mean and unit deviation over it.

    Attributes:
        values: half, slices × channels × rows × columns, at the level's own resolution.
        step: voxels per element within the slices.
        start: row and column of the region at which the first element begins, 0 or less.
        axis: across its slices.
    """

    values: Tensor
    step: int
    start: tuple[int, int]
    axis: int

    def at(self, number: int, rows: Tensor, columns: Tensor) -> Tensor:
        """Returns float32, N × channels, at places of one of its slices."""
        values, (top, left) = self.values[number], self.start
        if self.step == 1:
            return values[:, rows - top, columns - left].T.float()
        height, width = (self.step * n for n in values.shape[1:])
        grid = torch.stack([(2 * (columns - left) + 1) / width - 1, (2 * (rows - top) + 1) / height - 1], 1)
        found = F.grid_sample(values[None].float(), grid[None, None], padding_mode="border", align_corners=False)
        return found[0, :, 0].T

    def projected(self, number: int, rows: slice, columns: slice, weight: Tensor) -> Tensor:
        """Returns the values of a part of one of its slices times the weights: float32, rows × columns × rows of weight."""
        boxes = [self._kept(n, part) for n, part in enumerate((rows, columns))]
        part = self.values[number, :, boxes[0][0], boxes[1][0]].float()
        found = (part.flatten(1).T @ weight.T).view(*part.shape[1:], -1)
        for n in (1, 0):
            found = self._fine(found, n, boxes[n][1])
        return found

    def across(self, place: int, along: int, slices: slice, voxels: slice, weight: Tensor) -> Tensor:
        """Returns the same of a plane that all of its slices cross, one line of each: slices × voxels × rows of weight.

        Args:
            place: where the plane lies, along the axis within the slices that is not `along`.
            along: whether lines run along the rows' axis (0: the first of the two within its slices) or the columns'.
            slices: the part of the plane along the level's own axis.
            voxels: and along the lines.
        """
        across = 1 - along
        count = self.values.shape[2 + across]
        at = min(max((place - self.start[across] + 0.5) / self.step - 0.5, 0), count - 1)
        low = math.floor(at)
        kept, within = self._kept(along, voxels)
        below, above = (
            self.values[slices].select(2 + across, min(low + n, count - 1))[:, :, kept].float() for n in (0, 1)
        )
        lines = torch.lerp(below, above, at - low)
        return self._fine(lines.movedim(1, 2) @ weight.T, 1, within)

    def _kept(self, axis: int, voxels: slice) -> tuple[slice, slice]:
        """Returns the elements that voxels of the region lie among, and these voxels from the first element kept."""
        start = self.start[axis]
        within = slice(voxels.start - start, voxels.stop - start)
        kept = _elements(within, self.step, self.values.shape[2 + axis])
        first = self.step * kept.start
        return kept, slice(within.start - first, within.stop - first)

    def _fine(self, values: Tensor, axis: int, within: slice) -> Tensor:
        return values if self.step == 1 else _stretched(values, axis, self.step, within)


def _stretched(values: Tensor, axis: int, step: int, voxels: slice) -> Tensor:
    """Interpolates linearly along an axis, with `step` voxels per element; voxels are counted from the first element.

    This is torch's "bilinear" for one axis, ten times as fast where channels come last.
    """
    count, length = values.shape[axis], voxels.stop - voxels.start
    ended = torch.cat([values.narrow(axis, 0, 1), values, values.narrow(axis, count - 1, 1)], axis)
    found = values.new_empty([length if a == axis else n for a, n in enumerate(values.shape)])
    for phase in range(min(step, length)):
        place = (voxels.start + phase + 0.5) / step - 0.5
        low = math.floor(place)
        out = found.movedim(axis, 0)[phase::step].movedim(0, axis)
        below, above = (ended.narrow(axis, low + n, out.shape[axis]) for n in (1, 2))
        torch.lerp(below, above, place - low, out=out)
    return found


def _elements(voxels: slice, step: int, count: int) -> slice:
    """Returns the elements of a level that voxels are interpolated from, which are counted from its first element."""
    first, last = math.floor((voxels.start + 0.5) / step - 0.5), math.ceil((voxels.stop - 0.5) / step - 0.5)
    return slice(max(0, first), min(count, last + 1))


@dataclass
class SliceFeatures:
    """Features of a region's voxels, each channel of zero mean and unit deviation over the region.

    Attributes:
        region: where; places are flat indices into it.
        intensities: half, slices × rows × columns × channels: the voxel, smoothed twice, and the gradient.
        levels: of the network's decoder, finest first, of the slices along one axis after the other; empty without a
            network.
    """

    region: Region
    intensities: Tensor
    levels: list[Level] = field(default_factory=list)

    @property
    def channels(self) -> list[int]:
        """Returns the numbers of channels of the intensities and of each level, in the order of `at`."""
        return [self.intensities.shape[3], *(level.values.shape[1] for level in self.levels)]

    def at(self, places: Tensor) -> Tensor:
        """Returns half, N × sum(channels), at flat places of the region."""
        found = torch.empty(len(places), sum(self.channels), dtype=torch.half)
        coordinates = torch.unravel_index(places, self.region.shape)
        numbers, rows, columns = (coordinates[axis] for axis in (self.region.slice_axis, *self.region.rest))
        begin = self.channels[0]
        found[:, :begin] = self.intensities[numbers, rows, columns]
        for axis, of_axis in groupby(self.levels, lambda level: level.axis):
            levels = list(of_axis)
            end = begin + sum(level.values.shape[1] for level in levels)
            numbers, rows, columns = (coordinates[a] for a in (axis, *_rest(axis)))
            order = numbers.argsort(stable=True)
            there, counts = numbers[order].unique_consecutive(return_counts=True)
            for number, which in zip(there.tolist(), order.split(counts.tolist()), strict=True):
                parts = [level.at(number, rows[which], columns[which]).half() for level in levels]
                found[which, begin:end] = torch.cat(parts, 1)
            begin = end
        return found

    def projected(self, number: int, rows: slice, columns: slice, weight: Tensor) -> Tensor:
        """Returns the features of a part of a slice times the weights, without ever making the features.

        Args:
            number: of the slice within the region.
            rows, columns: of the region.
            weight: outputs × sum(channels).

        Returns:
            float32, rows × columns × outputs.
        """
        of_intensities, *of_levels = weight.split(self.channels, 1)
        found = self.intensities[number, rows, columns].float() @ of_intensities.T
        axis = self.region.slice_axis
        for level, own in zip(self.levels, of_levels, strict=True):
            if level.axis == axis:
                found += level.projected(number, rows, columns, own)
                continue
            along = 1 - _rest(level.axis).index(axis)
            if level.axis == self.region.rest[0]:
                found += level.across(number, along, rows, columns, own)
            else:
                found += level.across(number, along, columns, rows, own).transpose(0, 1)
        return found


def slice_features(
    array: np.ndarray,
    region: Region,
    network: EncoderDecoder | None,
    device: torch.device,
    on_event: OnEvent,
    stop: Stop,
    axes: Sequence[int] | None = None,
) -> SliceFeatures:
    """Computes the features of a region.

    Args:
        array: float32, normalised, z, y, x; the network sees slices beyond the region where they are neighbours.
        network: 2D; None gives intensities alone.
        stop: asked before every few slices.
        axes: along which the network sees slices; None is the region's own.

    Raises:
        Stopped: `stop` asked for it.
    """
    part = np.moveaxis(array[region.slices], region.slice_axis, 0)
    intensities = torch.empty(*part.shape, len(SIGMAS) + 2, dtype=torch.half)
    for begin in range(0, len(part), SLICES_AT_ONCE):
        intensities[begin : begin + SLICES_AT_ONCE] = _intensities(part[begin : begin + SLICES_AT_ONCE])
    everywhere = slice(None)
    for channel in intensities.unbind(3):
        _standardise(channel, everywhere, everywhere)
    features = SliceFeatures(region, intensities)
    if network is None:
        return features
    along = [replace(region, slice_axis=axis) for axis in axes or (region.slice_axis,)]
    meter = ProgressMeter(on_event, "features", sum(own.shape[own.slice_axis] for own in along))
    done = 0
    for own in along:
        features.levels += _levels(array, own, network, device, meter, done, stop)
        done += own.shape[own.slice_axis]
    return features


def _levels(
    array: np.ndarray,
    region: Region,
    network: EncoderDecoder,
    device: torch.device,
    meter: ProgressMeter,
    done: int,
    stop: Stop,
) -> list[Level]:
    """Returns what the network finds in a region's slices, when `done` of other slices are."""
    # Some surroundings too, since the network's view reaches beyond the region.
    whole = np.moveaxis(array, region.slice_axis, 0)
    bounds = [
        (max(0, region.start[axis] - MULTIPLE), min(array.shape[axis], region.stop[axis] + MULTIPLE))
        for axis in region.rest
    ]
    (top, bottom), (left, right) = bounds
    slices = whole[:, top:bottom, left:right]
    half = network.config.in_slices // 2
    first, count = region.start[region.slice_axis], region.shape[region.slice_axis]
    size = [region.shape[axis] for axis in region.rest]
    origin = (region.start[region.rest[0]] - top, region.start[region.rest[1]] - left)
    reach = [slice(start, start + length) for start, length in zip(origin, size, strict=True)]
    levels: list[Level] = []
    for begin in range(0, count, SLICES_AT_ONCE):
        if stop():
            raise Stopped
        centres = first + np.arange(begin, min(begin + SLICES_AT_ONCE, count))
        neighbours = np.clip(centres[:, None] + np.arange(-half, half + 1), 0, len(whole) - 1)
        found = _of_slices(network, slices[neighbours], device)
        steps = [found[0].shape[2] // level.shape[2] for level in found]
        boxes = [
            [_elements(voxels, step, n) for voxels, n in zip(reach, level.shape[2:], strict=True)]
            for step, level in zip(steps, found, strict=True)
        ]
        parts = [level[:, :, rows, columns] for level, (rows, columns) in zip(found, boxes, strict=True)]
        if not levels:
            levels = [
                Level(
                    torch.empty(count, *values.shape[1:], dtype=torch.half),
                    step,
                    (step * rows.start - origin[0], step * columns.start - origin[1]),
                    region.slice_axis,
                )
                for values, step, (rows, columns) in zip(parts, steps, boxes, strict=True)
            ]
        for level, values in zip(levels, parts, strict=True):
            level.values[begin : begin + len(centres)] = values
        meter.update(done + begin + len(centres))
    for level in levels:
        # Over the region alone: a margin would count for more in a small region.
        rows, columns = (
            slice(-start // level.step, max(-start // level.step + 1, -(-(length - start) // level.step)))
            for start, length in zip(level.start, size, strict=True)
        )
        for channel in level.values.unbind(1):
            _standardise(channel, rows, columns)
    return levels


def _rest(axis: int) -> tuple[int, int]:
    first, second = (a for a in range(3) if a != axis)
    return first, second


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


def _intensities(slices: np.ndarray) -> Tensor:
    """Returns slices × rows × columns × channels: the voxel, smoothed, and the gradient's size."""
    part = torch.from_numpy(np.ascontiguousarray(slices))
    smooth = [_smoothed(part, sigma) for sigma in SIGMAS]
    gradient = sum(smooth[0].diff(dim=d, append=smooth[0].select(d, -1).unsqueeze(d)) ** 2 for d in (1, 2))
    return torch.stack([part, *smooth, torch.as_tensor(gradient).sqrt()], 3)


def _standardise(channel: Tensor, rows: slice, columns: slice) -> None:
    """Gives a channel (slices × rows × columns) zero mean and unit deviation over a part of it, in place."""
    values = channel.float()
    part = values[:, rows, columns]
    mean, deviation = part.mean(), part.std().clamp_min(1e-4)
    channel.copy_(values.sub_(mean).div_(deviation))
