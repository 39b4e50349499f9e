"""Draws training batches from the store: balanced over tasks, without slices of pure background.

Every batch is a function of (seed, step) alone, so that a resumed run and several processes see what one
uninterrupted process would have seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigurationError
from ..preprocessing.store import Reader, StoredVolume

MIN_BODY = 0.02
"""A slice with a smaller share of body voxels is background."""
FOREGROUND_SHARE = 2 / 3
"""Share of the windows of a labelled batch that are placed on a class, drawn uniformly over the classes."""


@dataclass(frozen=True)
class Batch:
    """Windows of volumes on the working grid.

    Attributes:
        images: float32, B × C × spatial; C is the number of neighbouring slices of a 2D network, 1 in 3D.
        tasks: int64, B: index of each window's task in the sampler's `tasks`.
        positions: float32, B × 3: centre of each window in its volume (slice, row, column), 0 to 1.
        extents: float32, B × 3: extent of each window in volumes' lengths; slice extent is that of one slice in 2D.
        volumes: index of each window's volume in the sampler's `volumes`.
        labels: uint8, B × spatial, channel numbers; None without labels.
        samples: number of each window in the whole run, which seeds its augmentation.
    """

    images: np.ndarray
    tasks: np.ndarray
    positions: np.ndarray
    extents: np.ndarray
    volumes: np.ndarray
    samples: np.ndarray
    labels: np.ndarray | None = None


class Sampler:
    """Draws windows of a fixed size.

    Args:
        volumes: what to draw from; those with a label when `labelled`.
        window: size of the windows in voxels: rows, columns (2D) or slices, rows, columns (3D).
        batch_size: windows a step, over all processes together.
        in_slices: number of neighbouring slices that enter a 2D network.
        labelled: reads labels too, and places most windows on the classes.

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
    ):
        if not volumes:
            raise ConfigurationError("there is no volume to train on")
        self.volumes = list(volumes)
        self.window, self.batch_size, self.seed, self.in_slices, self.labelled = (
            window,
            batch_size,
            seed,
            in_slices,
            labelled,
        )
        by_task: dict[str, list[int]] = defaultdict(list)
        for index, volume in enumerate(self.volumes):
            by_task[volume.task].append(index)
        self.tasks = sorted(by_task)
        self._of_task = [by_task[task] for task in self.tasks]
        self._bodies = [_slices_with_body(volume) for volume in self.volumes]
        self._reader = Reader()

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which as many windows were drawn as there are slices with body (2D) or volumes (3D)."""
        units = len(self.volumes) if len(self.window) == 3 else sum(len(body) for body in self._bodies)
        return max(1, -(-units // self.batch_size))

    def ids(self, batch: Batch) -> list[str]:
        """Returns the ids of the images that a batch was drawn from, sorted."""
        return sorted({self.volumes[i].id for i in batch.volumes})

    def batch(self, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Returns the batch of a step, or the part of it that process `rank` of `ranks` works on."""
        first, last = rank * self.batch_size // ranks, (rank + 1) * self.batch_size // ranks
        # Consecutive windows go through the tasks in turn, from another one at each step.
        windows = [self._window(step, number) for number in range(first, last)]
        return Batch(
            images=np.stack([w[0] for w in windows]),
            labels=np.stack([w[1] for w in windows]) if self.labelled else None,
            tasks=np.array([w[2] for w in windows], np.int64),
            positions=np.array([w[3] for w in windows], np.float32),
            extents=np.array([w[4] for w in windows], np.float32),
            volumes=np.array([w[5] for w in windows], np.int64),
            samples=np.arange(step * self.batch_size + first, step * self.batch_size + last),
        )

    def _window(self, step: int, number: int) -> tuple:
        rng = np.random.default_rng([self.seed, step, number])
        task = (step * self.batch_size + number) % len(self.tasks)
        index = self._of_task[task][rng.integers(len(self._of_task[task]))]
        volume = self.volumes[index]
        present = [channel for channel, slices in enumerate(volume.classes, 1) if slices]
        channel = int(rng.choice(present)) if present and rng.random() < FOREGROUND_SHARE else None
        if channel is not None:
            slice_index = int(rng.choice(volume.classes[channel - 1]))
        else:
            slice_index = int(rng.choice(self._bodies[index]))
        size = (1, *self.window) if len(self.window) == 2 else self.window
        start = [_start(rng, length, wanted) for length, wanted in zip(volume.shape, size, strict=True)]
        if len(self.window) == 2:
            start[0] = slice_index
        else:
            start[0] = _covering(rng, slice_index, volume.shape[0], size[0])
        if channel is not None:
            start[1:] = self._on_class(rng, volume, channel, slice_index, start[1:], size[1:])
        array = self._reader.array(volume.path)
        if len(self.window) == 2:
            half = self.in_slices // 2
            slices = np.clip(np.arange(slice_index - half, slice_index + half + 1), 0, volume.shape[0] - 1)
            image = cut(array, (slices, start[1], start[2]), self.window, volume.low)
        else:
            image = cut(array, tuple(start), self.window, volume.low)[None]
        label = None
        if self.labelled:
            assert volume.label_path is not None
            labels = self._reader.array(volume.label_path)
            if len(self.window) == 2:
                label = cut(labels, (np.array([slice_index]), start[1], start[2]), self.window, 0)[0]
            else:
                label = cut(labels, tuple(start), self.window, 0)
        centre = [(s + w / 2) / n for s, w, n in zip(start, size, volume.shape, strict=True)]
        extent = [w / n for w, n in zip(size, volume.shape, strict=True)]
        return image, label, task, centre, extent, index

    def _on_class(
        self,
        rng: np.random.Generator,
        volume: StoredVolume,
        channel: int,
        slice_index: int,
        start: list[int],
        size: tuple[int, ...],
    ) -> list[int]:
        if all(length <= wanted for length, wanted in zip(volume.shape[1:], size, strict=True)):
            return start
        assert volume.label_path is not None
        rows, columns = np.nonzero(self._reader.array(volume.label_path)[slice_index] == channel)
        pick = int(rng.integers(len(rows)))
        return [
            _covering(rng, int(position), length, wanted)
            for position, length, wanted in zip((rows[pick], columns[pick]), volume.shape[1:], size, strict=True)
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


def _slices_with_body(volume: StoredVolume) -> np.ndarray:
    slices = np.flatnonzero(volume.body >= MIN_BODY)
    return slices if len(slices) else np.arange(volume.shape[0])


def _start(rng: np.random.Generator, length: int, wanted: int) -> int:
    low, high = min(0, length - wanted), max(0, length - wanted)
    return int(rng.integers(low, high + 1))


def _covering(rng: np.random.Generator, position: int, length: int, wanted: int) -> int:
    low, high = min(0, length - wanted), max(0, length - wanted)
    first, last = max(low, position - wanted + 1), min(high, position)
    return int(rng.integers(first, last + 1))
