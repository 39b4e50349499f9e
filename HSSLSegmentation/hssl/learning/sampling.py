"""Draws training batches from the store: balanced over tasks, without slices of pure background.

Every batch is a function of (seed, step) alone, so that a resumed run and several processes see what one
uninterrupted process would have seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import ConfigurationError
from ..preprocessing.planes import Planes, in_plane, slices_along
from ..preprocessing.store import UNLABELLED, Reader, SliceContents, StoredVolume

MIN_BODY = 0.02
"""A slice with a smaller share of body voxels is background."""
FOREGROUND_SHARE = 2 / 3
"""Share of the windows of a labelled batch that are placed on a class, drawn uniformly over the classes. The others lie
anywhere on the body, since what a network has not seen far from a structure it takes for the structure. Windows take
turns, so that every batch of three and more has both."""


@dataclass(frozen=True)
class Batch:
    """Windows of volumes on the working grid.

    Attributes:
        images: float32, B × C × spatial; C is the number of neighbouring slices of a 2D network, 1 in 3D.
        tasks: int64, B: index of each window's task in the sampler's `tasks`.
        axes: int64, B: the axis of the working array that each window's slices lie along; 0 in 3D.
        positions: float32, B × 3: centre of each window in its volume (slice, row, column), 0 to 1.
        extents: float32, B × 3: extent of each window in volumes' lengths; slice extent is that of one slice in 2D.
        volumes: index of each window's volume in the sampler's `volumes`.
        labels: uint8, B × spatial, channel numbers, `UNLABELLED` in volumes without a label; None without labels.
        samples: number of each window in the whole run, which seeds its augmentation.
    """

    images: np.ndarray
    tasks: np.ndarray
    axes: np.ndarray
    positions: np.ndarray
    extents: np.ndarray
    volumes: np.ndarray
    samples: np.ndarray
    labels: np.ndarray | None = None


class Window(NamedTuple):
    """One window of a batch; see `Batch` for what its fields mean."""

    image: np.ndarray
    label: np.ndarray | None
    task: int
    axis: int
    position: list[float]
    extent: list[float]
    volume: int


class Sampler:
    """Draws windows of a fixed size.

    Args:
        volumes: what to draw from.
        window: size of the windows in voxels: rows, columns (2D) or slices, rows, columns (3D).
        batch_size: windows per step, over all processes together.
        in_slices: number of neighbouring slices that enter a 2D network.
        labelled: reads labels too, where there are any, and places most windows of labelled volumes on the classes.
        planes: for each task the axes along which a 2D network sees slices; the first alone where it is not named.
        tasks: order of the tasks, which batches go through in turn; empty: by name.

    Raises:
        ConfigurationError: there is nothing to draw from.
    """

    def __init__(
        self,
        volumes: Sequence[StoredVolume],
        window: tuple[int, ...],
        batch_size: int,
        seed: int,
        in_slices: int = 1,
        labelled: bool = False,
        planes: Mapping[str, Planes] | None = None,
        tasks: Sequence[str] = (),
    ):
        if not volumes:
            raise ConfigurationError("there is no volume to train on")
        self.volumes = list(volumes)
        self.window, self.batch_size, self.seed = window, batch_size, seed
        self.in_slices, self.labelled = in_slices, labelled
        self.planes = [(planes or {}).get(volume.task, (0,)) for volume in self.volumes]
        by_task: dict[str, list[int]] = defaultdict(list)
        for index, volume in enumerate(self.volumes):
            by_task[volume.task].append(index)
        self.tasks = list(tasks) or sorted(by_task)
        if empty := [task for task in self.tasks if task not in by_task]:
            raise ConfigurationError(f"there is no volume to train on of {', '.join(empty)}")
        self._of_task = [by_task[task] for task in self.tasks]
        self._positives = [[i for i in own if _has_class(self.volumes[i])] for own in self._of_task]
        self._negatives = {
            i
            for own, positives in zip(self._of_task, self._positives, strict=True)
            for i in own
            if positives and self.volumes[i].label_path is not None and not _has_class(self.volumes[i])
        }
        """Healthy cases of tasks that have others."""
        self._bodies = [
            {axis: _slices_with_body(volume.along[axis]) for axis in planes}
            for volume, planes in zip(self.volumes, self.planes, strict=True)
        ]
        self._reader = Reader()

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which as many windows were drawn as there are slices with body (2D) or volumes (3D)."""
        slices = sum(len(body) for bodies in self._bodies for body in bodies.values())
        units = len(self.volumes) if len(self.window) == 3 else slices
        return max(1, -(-units // self.batch_size))

    def ids(self, batch: Batch) -> list[str]:
        """Returns the ids of the images that a batch was drawn from, sorted."""
        return sorted({self.volumes[i].id for i in batch.volumes})

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """Returns the batch of a step, or the part of it that process `rank` of `world_size` works on."""
        first, last = rank * self.batch_size // world_size, (rank + 1) * self.batch_size // world_size
        # Consecutive windows go through the tasks in turn, from another one at each step.
        windows = [self._window(step, number) for number in range(first, last)]
        return Batch(
            images=np.stack([w.image for w in windows]),
            labels=np.stack([w.label for w in windows if w.label is not None]) if self.labelled else None,
            tasks=np.array([w.task for w in windows], np.int64),
            axes=np.array([w.axis for w in windows], np.int64),
            positions=np.array([w.position for w in windows], np.float32),
            extents=np.array([w.extent for w in windows], np.float32),
            volumes=np.array([w.volume for w in windows], np.int64),
            samples=np.arange(step * self.batch_size + first, step * self.batch_size + last),
        )

    def _window(self, step: int, number: int) -> Window:
        rng = np.random.default_rng([self.seed, step, number])
        turn, task = divmod(step * self.batch_size + number, len(self.tasks))
        on_class = int((turn + 1) * FOREGROUND_SHARE) > int(turn * FOREGROUND_SHARE)
        index = self._of_task[task][rng.integers(len(self._of_task[task]))]
        if on_class and index in self._negatives:
            # As many windows lie on a class as if there were no healthy cases, however many there are.
            index = self._positives[task][rng.integers(len(self._positives[task]))]
        volume, planes = self.volumes[index], self.planes[index]
        axis = planes[rng.integers(len(planes))] if len(planes) > 1 else 0
        shape = in_plane(volume.shape, axis)
        slice_index, channel = self._slice(rng, index, axis, on_class)
        size = (1, *self.window) if len(self.window) == 2 else self.window
        start = [_start(rng, length, wanted) for length, wanted in zip(shape, size, strict=True)]
        start[0] = slice_index if len(self.window) == 2 else _covering(rng, slice_index, shape[0], size[0])
        labels = None
        if self.labelled and volume.label_path is not None:
            labels = slices_along(self._reader.array(volume.label_path), axis)
            if channel is not None:
                start[1:] = _on_class(rng, labels[slice_index] == channel, start[1:], size[1:])
        array = slices_along(self._reader.array(volume.path), axis)
        if len(self.window) == 2:
            half = self.in_slices // 2
            slices = np.clip(np.arange(slice_index - half, slice_index + half + 1), 0, shape[0] - 1)
            image = cut(array, (slices, start[1], start[2]), self.window, volume.low)
        else:
            image = cut(array, tuple(start), self.window, volume.low)[None]
        label = None
        if labels is not None:
            here = (np.array([slice_index]), *start[1:]) if len(self.window) == 2 else tuple(start)
            label = cut(labels, here, self.window, 0).reshape(self.window)
        elif self.labelled:
            label = np.full(self.window, UNLABELLED, np.uint8)
        centre = [(s + w / 2) / n for s, w, n in zip(start, size, shape, strict=True)]
        extent = [w / n for w, n in zip(size, shape, strict=True)]
        return Window(image, label, task, axis, centre, extent, index)

    def _slice(self, rng: np.random.Generator, index: int, axis: int, on_class: bool) -> tuple[int, int | None]:
        """Draws a slice of a volume, and the class that it was drawn for, if for any."""
        contents = self.volumes[index].along[axis]
        present = [channel for channel, slices in enumerate(contents.classes, 1) if slices]
        if present and on_class:
            channel = int(rng.choice(present))
            return int(rng.choice(contents.classes[channel - 1])), channel
        return int(rng.choice(self._bodies[index][axis])), None


def _has_class(volume: StoredVolume) -> bool:
    return any(volume.along[0].classes)


def _on_class(rng: np.random.Generator, mask: np.ndarray, start: list[int], size: tuple[int, ...]) -> list[int]:
    """Returns a first row and column from where the window covers a place of the mask; `start` where it holds it all."""
    if all(length <= wanted for length, wanted in zip(mask.shape, size, strict=True)):
        return start
    rows, columns = np.nonzero(mask)
    pick = int(rng.integers(len(rows)))
    return [
        _covering(rng, int(position), length, wanted)
        for position, length, wanted in zip((rows[pick], columns[pick]), mask.shape, size, strict=True)
    ]


def cut(array: np.ndarray, start: tuple, window: tuple[int, ...], pad: float) -> np.ndarray:
    """Cuts a window out of an array, padded where it reaches beyond.

    Args:
        array: slices × rows × columns.
        start: first row and column, preceded by an array of slices (2D windows) or the first slice (3D windows); may
            be negative.
        window: rows, columns; or slices, rows, columns.

    Returns:
        Slices × rows × columns, float32 for images and the stored type for labels.
    """
    first = start[0]
    slices: slice | np.ndarray
    if isinstance(first, np.ndarray):
        slices, depth, before = first, len(first), 0
    else:
        depth, before = window[0], max(0, -first)
        slices = slice(max(0, first), max(0, first + depth))
    inside = [slice(max(0, s), max(0, s + w)) for s, w in zip(start[1:], window[-2:], strict=True)]
    part = array[slices, inside[0], inside[1]]
    dtype = np.float32 if array.dtype == np.float16 else array.dtype
    out = np.full((depth, *window[-2:]), pad, dtype)
    corner = (before, max(0, -start[1]), max(0, -start[2]))
    out[tuple(slice(c, c + n) for c, n in zip(corner, part.shape, strict=True))] = part
    return out


def _slices_with_body(contents: SliceContents) -> np.ndarray:
    slices = np.flatnonzero(contents.body >= MIN_BODY)
    return slices if len(slices) else np.arange(len(contents.body))


def _start(rng: np.random.Generator, length: int, wanted: int) -> int:
    low, high = min(0, length - wanted), max(0, length - wanted)
    return int(rng.integers(low, high + 1))


def _covering(rng: np.random.Generator, position: int, length: int, wanted: int) -> int:
    low, high = min(0, length - wanted), max(0, length - wanted)
    first, last = max(low, position - wanted + 1), min(high, position)
    return int(rng.integers(first, last + 1))
