"""What annotated slices suggest for the voxels between them: the shape of a structure, and how it grows along the image.

Both can be asked for a voxel of an annotated slice as if that slice were not annotated, from the others alone. So a head
that learns on annotated voxels also learns how far each hint is to be trusted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor

from ..imaging.contours import signed_distance
from .slice_features import Region

FARTHEST = 15.0
"""Distances count up to this many voxels; farther outside of a shape nothing is filled, unless it grows there."""
LARGEST_GRID = 400_000
"""Cells of a growth's grid times its labels; a larger region grows on a coarser grid."""
FOLDS = 8
"""Growths without a part of the slices: with more slices than this, several are left out at once."""
STEP_COST = 0.03
"""What a voxel of the finest spacing costs beside the difference of intensities (normalised) to the next."""
SIGMA = 1.0
"""Of the smoothing (voxels of the finest spacing) where there are scribbles alone: noise adds up on the long way to them."""
SWEEPS = 4
"""Along all axes and back."""
UNREACHED = 1e4


@dataclass(frozen=True)
class Plane:
    """A slice that the user annotated completely: what is not painted there is background.

    `axis` counts the array's axes (z, y, x → 0, 1, 2), `index` the slices along it. `values` are the labels that were
    painted completely there, None for all: of the others nothing is known where they are not painted.
    """

    axis: int
    index: int
    values: frozenset[int] | None = None


@dataclass(frozen=True)
class _Stack:
    """The complete slices of one orientation of the classes that share them: signed distances and centres of each."""

    axis: int
    indices: np.ndarray
    channels: list[int]
    maps: Tensor
    centres: Tensor


class Shape:
    """The shape between completely annotated slices: signed distances (voxels of the finest spacing, inside > 0).

    Args:
        known: labels 1 to `classes` of the volume, z, y, x.
        planes: for each class, the slices on which it is complete.
        region: where to suggest.
        spacing: of the array.
    """

    def __init__(self, known: np.ndarray, planes: Sequence[Sequence[Plane]], region: Region, spacing: Sequence[float]):
        self.region, self.classes = region, len(planes)
        self.unit = min(spacing)
        self.spacing = spacing
        self.stacks: list[_Stack] = []
        for axis in range(3):
            together: dict[tuple[int, ...], list[int]] = {}
            for channel, own in enumerate(planes):
                together.setdefault(tuple(sorted({p.index for p in own if p.axis == axis})), []).append(channel)
            self.stacks += [self._stack(known, axis, s, c) for s, c in together.items() if len(s) > 1]

    def _stack(self, known: np.ndarray, axis: int, indices: Sequence[int], channels: list[int]) -> _Stack:
        rest = [a for a in range(3) if a != axis]
        spacing = (self.spacing[rest[0]], self.spacing[rest[1]])
        maps, centres = [], []
        for index in indices:
            plane = np.moveaxis(known, axis, 0)[index][self.region.slices[rest[0]], self.region.slices[rest[1]]]
            there = [plane == c + 1 for c in channels]
            maps.append(np.stack([_depth(t, spacing, FARTHEST * self.unit) / self.unit for t in there]))
            centres.append([_centre(t) for t in there])
        within = np.array(indices, int) - self.region.start[axis]
        return _Stack(axis, within, channels, torch.from_numpy(np.stack(maps)), torch.tensor(np.array(centres)))

    @property
    def useful(self) -> bool:
        """Whether at least two slices of one orientation are complete for a class."""
        return bool(self.stacks)

    def at(self, places: Tensor, without_own_plane: bool) -> tuple[Tensor, Tensor]:
        """Returns hints and how doubtful they are, both N × classes, at flat places of the region.

        Doubt is the product of the distances to the slice before and behind; beyond the outermost slice the distance
        times the mean gap; infinite where no shape suggests anything of a class.

        Args:
            without_own_plane: at an annotated slice, look at its neighbours instead.
        """
        coordinates = torch.stack(torch.unravel_index(places, self.region.shape), 1)
        return self._joined(len(places), [self._suggested(s, coordinates, without_own_plane) for s in self.stacks])

    def of_slice(self, number: int, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Returns the same of a part of a slice, row by row, much sooner than at its places one by one.

        Args:
            number: of the slice within the region.
            rows, columns: of the region.
        """
        across, rest = self.region.slice_axis, self.region.rest
        found, coordinates = [], None
        for stack in self.stacks:
            if stack.axis == across:
                found.append(self._suggested_on(stack, number, rows, columns))
                continue
            if coordinates is None:
                grid = torch.meshgrid(
                    torch.arange(rows.start, rows.stop), torch.arange(columns.start, columns.stop), indexing="ij"
                )
                coordinates = torch.full((grid[0].numel(), 3), number)
                coordinates[:, rest[0]], coordinates[:, rest[1]] = (part.reshape(-1) for part in grid)
            found.append(self._suggested(stack, coordinates, without_own_plane=False))
        return self._joined((rows.stop - rows.start) * (columns.stop - columns.start), found)

    def _joined(self, count: int, suggestions: Sequence[_Suggestion]) -> tuple[Tensor, Tensor]:
        hints = torch.zeros(count, self.classes)
        doubt = torch.zeros(count, self.classes)
        total = torch.zeros(count, self.classes)
        for channels, value, nearest, product in suggestions:
            weight = (1 / (1 + nearest))[:, None]
            hints[:, channels] += weight * value
            total[:, channels] += weight
            doubt[:, channels] += weight * product[:, None]
        suggested = total > 0
        hints = torch.where(suggested, hints / total, 0.0)
        return hints.clamp(-FARTHEST, FARTHEST), torch.where(suggested, doubt / total, torch.inf)

    def _suggested(self, stack: _Stack, coordinates: Tensor, without_own_plane: bool) -> _Suggestion:
        below, above, share, nearest, outside, product = self._between(
            stack, coordinates[:, stack.axis].contiguous(), without_own_plane
        )
        place = coordinates[:, [a for a in range(3) if a != stack.axis]].float()
        columns = []
        for c in range(len(stack.channels)):
            shift_low, shift_high = _shifts(stack.centres[below, c], stack.centres[above, c], share)
            a = bilinear(stack.maps[:, c], below, place - shift_low)
            b = bilinear(stack.maps[:, c], above, place - shift_high)
            columns.append(a * (1 - share) + b * share)
        # Beyond the outermost slice a shape closes like a cap.
        return stack.channels, torch.stack(columns, 1) - (nearest * outside)[:, None], nearest, product

    def _suggested_on(self, stack: _Stack, number: int, rows: slice, columns: slice) -> _Suggestion:
        """The same on a slice of the stack's own orientation: all of it lies between the same two slices."""
        below, above, share, nearest, outside, product = self._between(stack, torch.tensor([number]), False)
        at_rows, at_columns = (torch.arange(part.start, part.stop).float() for part in (rows, columns))
        values = []
        for c in range(len(stack.channels)):
            shifts = _shifts(stack.centres[below, c], stack.centres[above, c], share)
            a, b = (
                bilinear_grid(stack.maps[int(which), c], at_rows - shift[0, 0], at_columns - shift[0, 1])
                for which, shift in zip((below, above), shifts, strict=True)
            )
            values.append((a * (1 - share) + b * share).reshape(-1))
        return stack.channels, torch.stack(values, 1) - nearest * outside, nearest, product

    def _between(self, stack: _Stack, position: Tensor, without_own_plane: bool) -> tuple[Tensor, ...]:
        """Between which of a stack's slices positions lie.

        Returns:
            The slice below and above, the share of the latter, the distance to the nearest one, whether there is but one,
            and doubt.
        """
        known = torch.from_numpy(stack.indices)
        exact = torch.isin(position, known)
        slot = torch.searchsorted(known, position, right=True)
        below, above = slot - 1, slot
        if without_own_plane:
            below = torch.where(exact, below - 1, below)
        else:
            above = torch.where(exact, below, above)
        has_below, has_above = below >= 0, above < len(known)
        below_i, above_i = below.clamp(min=0), above.clamp(max=len(known) - 1)
        below_i = torch.where(has_below, below_i, above_i)
        above_i = torch.where(has_above, above_i, below_i)
        to_below, to_above = (position - known[below_i]).abs().float(), (known[above_i] - position).abs().float()
        gap = (to_below + to_above).clamp_min(1e-6)
        share = torch.where(to_below + to_above > 0, to_below / gap, torch.zeros_like(gap))
        outside = ~(has_below & has_above)
        step = self.spacing[stack.axis] / self.unit
        nearest = torch.minimum(to_below, to_above) * step
        mean_gap = float(np.diff(stack.indices).mean()) * step
        product = torch.where(outside, nearest * mean_gap, to_below * to_above * step**2)
        return below_i, above_i, share, nearest, outside, product


_Suggestion = tuple[list[int], Tensor, Tensor, Tensor]
"""Of a stack: the channels, their signed distances (N × channels), the distance to the nearest slice, and doubt (N or 1)."""


def _shifts(low: Tensor, high: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """How far each of two contours moves to where its centre would be between them; not at all where one has none."""
    there = torch.isfinite(low).all(1) & torch.isfinite(high).all(1)
    middle = low + (high - low) * share[:, None]
    nowhere = torch.zeros_like(low)
    return torch.where(there[:, None], middle - low, nowhere), torch.where(there[:, None], middle - high, nowhere)


class Growth:
    """Which label reaches a voxel first from the annotated ones, along paths of like intensities.

    This is "Grow from seeds" (GrowCut, Vezhnevets & Konouchine 2005) as the forest of cheapest paths that it comes to
    (Zhu et al. 2014), on a grid that is coarser where a region is large. Costs spread by sweeps along the axes, all labels
    at once: fast marching in SimpleITK takes ten times as long, and each slice that is left out needs a growth of its own.

    Args:
        array: float32, normalised, z, y, x.
        labels: integers, of the region: 0 for background, 1 to `classes`, -1 where nothing is known, and beyond `classes`
            the number of an exclusion.
        planes: the slices that are annotated completely.
        classes: without the background.
        region: where to grow.
        spacing: of the array.
        exclusions: labels that a voxel does not have, where that is all that is known of it; the first of them has the
            number `classes` + 1.
    """

    def __init__(
        self,
        array: np.ndarray,
        labels: Tensor,
        planes: Sequence[Plane],
        classes: int,
        region: Region,
        spacing: Sequence[float],
        exclusions: Sequence[frozenset[int]] = (),
    ):
        self.region, self.classes, self.exclusions = region, classes, exclusions
        self.kinds = classes + 1 + len(exclusions)
        lessons = self._lessons(labels, planes) if planes or surroundings(labels.numpy()) else []
        # Where no slice can be left out nothing tells how far it is to be trusted, but it says where labels begin.
        self.useful = len(lessons) > 1 or (bool(lessons) and not planes)
        if not self.useful:
            return
        side = max(1, math.ceil(math.sqrt(labels.numel() * self.kinds / LARGEST_GRID)))
        self.cell = tuple(side if axis in region.rest else 1 for axis in range(3))
        edges = self._edges(array, spacing, denoised=not planes)
        counts = self._counted(labels)
        self.whole = self._grown(counts, edges)
        self.own = torch.full(labels.shape, -1, dtype=torch.int16)
        self.folds: list[Tensor] = []
        for fold in range(min(FOLDS, len(lessons)) if len(lessons) > 1 else 0):
            others = counts.clone()
            for axis, index in itertools.chain.from_iterable(lessons[fold::FOLDS]):
                own = self.own.narrow(axis, index, 1)
                there = self._counted(labels.narrow(axis, index, 1).masked_fill(own == fold, -1), axis)
                own.fill_(fold)
                others.narrow(axis + 1, index // self.cell[axis], 1).sub_(there)
            self.folds.append(self._grown(others, edges))

    def at(self, places: Tensor, without_own_plane: bool) -> Tensor:
        """Returns N × classes at flat places of the region: 1 where the class is there at once, -1 where another is.

        Args:
            without_own_plane: at an annotated slice, grow from the others; 0 at voxels that are known beside the slices.
        """
        hints = torch.zeros(len(places), self.classes)
        if not self.useful:
            return hints
        if not without_own_plane:
            return self._read(self.whole, places)
        own = self.own.reshape(-1)[places]
        for fold, grown in enumerate(self.folds):
            which = own == fold
            hints[which] = self._read(grown, places[which])
        return hints

    def of_slice(self, number: int, rows: slice, columns: slice) -> Tensor:
        """Returns `at` of a part of a slice, row by row, much sooner than at its places one by one."""
        if not self.useful:
            return torch.zeros((rows.stop - rows.start) * (columns.stop - columns.start), self.classes)
        y, x = (
            (torch.arange(part.start, part.stop) + 0.5) / self.cell[axis] - 0.5
            for part, axis in zip((rows, columns), self.region.rest, strict=True)
        )
        return bilinear_grid(self.whole[number], y, x).reshape(-1, self.classes)

    def _lessons(self, labels: Tensor, planes: Sequence[Plane]) -> list[list[tuple[int, int]]]:
        """Returns what is left out together: each complete slice, or, of less than two, each run of scribbled ones too."""
        start, stop = self.region.start, self.region.stop
        complete = sorted(
            {(p.axis, p.index - start[p.axis]) for p in planes if start[p.axis] <= p.index < stop[p.axis]}
        )
        found = [[place] for place in complete]
        if len(found) > 1:
            return found
        scribbles = labels.numpy().copy()
        for axis, index in complete:
            np.moveaxis(scribbles, axis, 0)[index] = -1
        for axis in sorted(range(3), key=lambda a: (_density(_where(scribbles >= 0, a)), a != self.region.slice_axis)):
            there = _where(scribbles >= 0, axis)
            runs = np.split(there, np.flatnonzero(np.diff(there) > 1) + 1)
            kinds = [np.unique(np.moveaxis(scribbles, axis, 0)[run]) for run in runs]
            # Nothing is learned from leaving out the only place of a label.
            if all(sum(n in own for own in kinds) > 1 for n in np.unique(scribbles) if n >= 0):
                return found + [[(axis, int(index)) for index in run] for run in runs if len(run)]
        return found or [[]]

    def _edges(self, array: np.ndarray, spacing: Sequence[float], denoised: bool) -> list[np.ndarray]:
        """Along each axis, what it costs to come to a cell from the first one."""
        part = torch.from_numpy(np.ascontiguousarray(array[self.region.slices]))
        if denoised:
            variance = [(SIGMA * min(spacing) / along) ** 2 for along in reversed(spacing)]
            image = sitk.DiscreteGaussian(sitk.GetImageFromArray(part.numpy()), variance, useImageSpacing=False)
            part = torch.from_numpy(sitk.GetArrayFromImage(image))
        value = F.avg_pool3d(part[None, None], self.cell, self.cell, ceil_mode=True)[0, 0].numpy()
        found = []
        for axis in range(3):
            length = self.cell[axis] * spacing[axis] / min(spacing)
            steps = np.abs(np.diff(value, axis=axis, prepend=value.take([0], axis))) + STEP_COST * length
            found.append(np.cumsum(steps, axis=axis))
        return found

    def _counted(self, labels: Tensor, thin: int | None = None) -> Tensor:
        """Labels × grid: how many voxels of a cell have the label; along the axis `thin` there is one voxel."""
        cell = [1 if axis == thin else n for axis, n in enumerate(self.cell)]
        return torch.stack(
            [
                F.avg_pool3d((labels == n).float()[None], cell, cell, ceil_mode=True, divisor_override=1)[0]
                for n in range(self.kinds)
            ]
        )

    def _grown(self, counts: Tensor, edges: Sequence[np.ndarray]) -> Tensor:
        """Slices × rows × columns × classes: costs of the nearest other label less those of the class, over their sum."""
        most, label = counts.max(0)
        seeds = torch.where(most > 0, label, -1).numpy()
        costs = np.stack([np.where(seeds == n, 0, UNREACHED).astype(np.float32) for n in range(self.kinds)])
        for _ in range(SWEEPS):
            for axis, along in enumerate(edges, 1):
                costs = np.minimum(costs, along + np.minimum.accumulate(costs - along, axis=axis))
                back = np.flip(np.minimum.accumulate(np.flip(costs + along, axis), axis=axis), axis)
                costs = np.minimum(costs, back - along)
        found = []
        for n in range(1, self.classes + 1):
            others = [m for m in range(self.classes + 1) if m != n]
            others += [m for m, excluded in enumerate(self.exclusions, self.classes + 1) if n in excluded]
            other = costs[others].min(0)
            found.append((other - costs[n]) / (other + costs[n] + 1e-3))
        return torch.from_numpy(np.stack(found, -1)).movedim(self.region.slice_axis, 0)

    def _read(self, grown: Tensor, places: Tensor) -> Tensor:
        coordinates = torch.unravel_index(places, self.region.shape)
        within = torch.stack([(coordinates[a] + 0.5) / self.cell[a] - 0.5 for a in self.region.rest], 1)
        return bilinear(grown, coordinates[self.region.slice_axis], within)


def surroundings(labels: np.ndarray) -> list[int]:
    """Returns the labels (from 0) that were painted all around all others: only then is it near to something else."""
    boxes = {int(n): _box(labels == n) for n in np.unique(labels) if n >= 0}
    whole = _box(labels >= 0) if boxes else []
    return [n for n, box in boxes.items() if box == whole] if len(boxes) > 1 else []


def _box(there: np.ndarray) -> list[tuple[int, int]]:
    found = [_where(there, axis) for axis in range(3)]
    return [(int(indices[0]), int(indices[-1])) for indices in found]


def _where(there: np.ndarray, axis: int) -> np.ndarray:
    """Indices along an axis at which there is something."""
    return np.flatnonzero(there.any(tuple(a for a in range(3) if a != axis)))


def _density(indices: np.ndarray) -> float:
    return len(indices) / (indices[-1] - indices[0] + 1) if len(indices) else 1.0


def _depth(mask: np.ndarray, spacing: tuple[float, float], farthest: float) -> np.ndarray:
    """Distance to the mask's border in mm, inside positive; a plane without the class is far outside."""
    return np.clip(-signed_distance(mask, spacing), -farthest, farthest).astype(np.float32)


def _centre(mask: np.ndarray) -> list[float]:
    rows, columns = np.nonzero(mask)
    return [float(rows.mean()), float(columns.mean())] if len(rows) else [float("nan")] * 2


def bilinear(maps: Tensor, which: Tensor, place: Tensor) -> Tensor:
    """Returns the values of maps, N × rows × columns (× channels), at places M × 2 of the maps `which`: M (× channels)."""
    height, width = maps.shape[1:3]
    y, x = place[:, 0].clamp(0, height - 1).float(), place[:, 1].clamp(0, width - 1).float()
    y0, x0 = y.floor().long(), x.floor().long()
    y1, x1 = (y0 + 1).clamp(max=height - 1), (x0 + 1).clamp(max=width - 1)
    shape = (-1,) + (1,) * (maps.ndim - 3)
    fy, fx = (y - y0).reshape(shape), (x - x0).reshape(shape)
    top = maps[which, y0, x0] * (1 - fx) + maps[which, y0, x1] * fx
    bottom = maps[which, y1, x0] * (1 - fx) + maps[which, y1, x1] * fx
    return top * (1 - fy) + bottom * fy


def bilinear_grid(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Returns the values of an image, rows × columns (× channels), at all pairs of y and x: len(y) × len(x) (× channels)."""
    for axis, place in enumerate((y, x)):
        size = image.shape[axis]
        place = place.clamp(0, size - 1)
        low = place.floor().long()
        share = (place - low).reshape([-1 if a == axis else 1 for a in range(image.ndim)])
        image = torch.lerp(
            image.index_select(axis, low), image.index_select(axis, (low + 1).clamp(max=size - 1)), share
        )
    return image
