"""From a preprocessed volume to class probabilities, slab by slab, and back onto the source's voxels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from monai.inferers.utils import sliding_window_inference
from torch import Tensor

from ..preprocessing.grid import WorkingGrid, slices_first
from ..preprocessing.planes import Planes, left_right_of
from .description import ModelDescription
from .device import computes_bf16, out_of_memory
from .model import Model
from .network import MULTIPLE, SMALLEST

AThing = TypeVar("AThing")

SLICES_AT_ONCE = {"cpu": 8, "cuda": 64, "mps": 16}
PIXELS_ON_CPU = 2**19
"""On a CPU more pixels at once gain no speed, and keep progress and a stop waiting."""
WHOLE = 1.25
"""2D networks see so many times the largest patches of the training at once, rounded up; larger slices are seen in windows of
that size: a hippocampus of 64 rows in windows of 48 loses one to three points, a heart in a slice of 256 rows seen whole as
much against windows of 160, and five with norms that take the statistics of a window round each place."""
OVERLAP = {2: 0.4, 3: 0.25}
"""Of neighbouring windows, by the network's dimensions; 0.4 of a window is what two of 1.25 patches share in two patches."""


class Segmenter:
    """A network that is ready to predict.

    2D networks see slices whole, where these are about as large as what they were trained on (`WHOLE`). Else, and in 3D,
    networks see overlapping windows of about the size that they were trained on (MONAI's sliding window): their norms would
    take other statistics from more.

    Args:
        description: what the network is.
        state: its weights.
        device: where to compute.
        batch_size: slices (windows) at once; 0 chooses by the device and, on a CPU, by the size of the slices.
        flips: average with the mirrored image where the model was trained with mirroring.
        fast: one slice plane only, where the model was trained in several (see `plane_mean`).

    Attributes:
        chosen: the device that it was made for; `device` is where it computes now.
        planes: axes of working arrays along which it predicts slices, the first one (0) first.
    """

    def __init__(
        self,
        description: ModelDescription,
        state: dict[str, Tensor],
        device: torch.device,
        batch_size: int = 0,
        flips: bool = False,
        fast: bool = False,
    ):
        self.description, self.chosen, self.device = description, device, device
        self.network = Model(description, state).network(device)
        self.bf16 = computes_bf16(device)
        self.batch_size = batch_size or (SLICES_AT_ONCE[device.type] if description.network.spatial_dims == 2 else 1)
        self._pixels = PIXELS_ON_CPU if device.type == "cpu" and not batch_size else math.inf
        self.flips = flips and description.mirrored
        self.planes: Planes = (0,) if fast else description.planes.get(description.tasks[0].name, (0,))

    def move(self, device: torch.device) -> None:
        """Computes on a device from now on, in the precision that suits it."""
        self.network.to(device)  # also where it is said to be there: memory may have run out on the way
        if device != self.device:
            self.device, self.bf16 = device, computes_bf16(device)

    def fewer_at_once(self) -> bool:
        """Halves the batch; returns False where it is one slice (window) already."""
        if self.batch_size == 1:
            return False
        self.batch_size //= 2
        return True

    @torch.inference_mode()
    def probabilities(self, array: np.ndarray, low: float, first: int, last: int, axis: int = 0) -> Tensor:
        """Returns the class probabilities of slices `first` to `last` (exclusive), as they are found in this plane.

        Args:
            array: normalised volume on the working grid, slices × rows × columns.
            low: value beyond the volume.
            axis: of the working array, that these slices lie along.

        Returns:
            float32 tensor on the CPU: classes × slices × rows × columns.
        """
        if self.description.network.spatial_dims == 3:
            return self._by_windows(array, low, first, last, axis)
        step = self.slices_at_once(array.shape[1:])
        parts = [
            self._of_slices(array, low, np.arange(begin, min(begin + step, last)), axis)
            for begin in range(first, last, step)
        ]
        return torch.cat(parts, 1)

    def slices_at_once(self, size: Sequence[int]) -> int:
        """Returns how many slices or windows of this size (rows, columns) a 2D network takes at once."""
        return max(1, int(min(self.batch_size, self._pixels // math.prod(size))))

    def _of_slices(self, array: np.ndarray, low: float, slices: np.ndarray, axis: int) -> Tensor:
        half = self.description.network.in_slices // 2
        neighbours = np.clip(slices[:, None] + np.arange(-half, half + 1), 0, len(array) - 1)
        # Each slice is read and converted once, however many neighbours it serves.
        needed, index = np.unique(neighbours, return_inverse=True)
        images = torch.from_numpy(np.asarray(array[needed], np.float32)).to(self.device)
        size = images.shape[-2:]
        pads = padding(size, (MULTIPLE, MULTIPLE), (SMALLEST, SMALLEST))
        images = F.pad(images, pads, value=low)
        stacked = images[torch.from_numpy(index.reshape(neighbours.shape)).to(self.device)]
        result = self._in_windows(stacked, axis)
        top, left = pads[2], pads[0]
        return result[:, :, top : top + size[0], left : left + size[1]].transpose(0, 1).cpu()

    def _by_windows(self, array: np.ndarray, low: float, first: int, last: int, axis: int) -> Tensor:
        patch = self.description.patch_size
        margin = patch[0] // 2
        begin, end = max(0, first - margin), min(len(array), last + margin)
        volume = torch.from_numpy(np.asarray(array[begin:end], np.float32))[None, None]
        pads = padding(volume.shape[2:], (1, 1, 1), patch)
        size = volume.shape[2:]
        volume = F.pad(volume, pads, value=low)
        result = sliding_window_inference(
            volume,
            patch,
            self.batch_size,
            partial(self.of_images, axis=axis),
            OVERLAP[3],
            mode="gaussian",
            sw_device=self.device,
            device="cpu",
        )
        corner = (pads[4], pads[2], pads[0])
        result = result[0][(slice(None), *(slice(c, c + n) for c, n in zip(corner, size, strict=True)))]
        return result[:, first - begin : last - begin]

    def _in_windows(self, images: Tensor, axis: int) -> Tensor:
        size = tuple(images.shape[2:])
        most = (MULTIPLE * math.ceil(WHOLE * p / MULTIPLE) for p in self.description.patch_size)
        window = tuple(min(pair) for pair in zip(size, most, strict=True))
        if window == size:
            return self.of_images(images, axis)
        predictor = partial(self.of_images, axis=axis)
        return sliding_window_inference(
            images, window, self.slices_at_once(window), predictor, OVERLAP[2], mode="gaussian"
        )

    @torch.no_grad()
    def of_images(self, images: Tensor, axis: int = 0) -> Tensor:
        """Returns the class probabilities of images as the network takes them: B × channels × spatial, float32.

        Args:
            axis: of the working array, that they are slices along.
        """
        images = images.to(self.device)
        result = self._softmax(images)
        if self.flips:
            side = left_right_of(self.description.own_fingerprint, axis) + images.ndim - 3
            other = self._softmax(images.flip(side))
            # Across a slice its neighbours change places, and it stays where it is.
            result = (result + (other if side == 1 else other.flip(side))) / 2
        return result

    def _softmax(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.network(images)
        return logits.float().softmax(1)


def in_smaller_batches(segmenter: Segmenter, work: Callable[[], AThing]) -> AThing:
    """Does some work of a segmenter, again with half its batch whenever memory runs out."""
    while True:
        try:
            return work()
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or not segmenter.fewer_at_once():
                raise


def padding(size: tuple[int, ...] | torch.Size, multiple: tuple[int, ...], least: tuple[int, ...]) -> list[int]:
    """Returns F.pad's argument that brings sides to multiples and to at least some size, with the image centred."""
    pads: list[int] = []
    for length, unit, shortest in zip(reversed(size), reversed(multiple), reversed(least), strict=True):
        wanted = max(unit * math.ceil(length / unit), shortest)
        before = (wanted - length) // 2
        pads += [before, wanted - length - before]
    return pads


def slab_thickness(channels: int, shape: tuple[int, ...], megabytes: int) -> int:
    """Returns how many slices of a volume (slices, rows, columns) have probabilities of at most so many megabytes."""
    return max(1, int(megabytes * 2**20 / (8 * channels * shape[1] * shape[2])))


def on_source(
    predict: Callable[[int, int], Tensor], channels: int, grid: WorkingGrid, slab_megabytes: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Brings probabilities to the source's voxels, slab by slab along the slice axis (linear interpolation).

    Working and source grid share their edges, so the position of each voxel is known exactly.

    Args:
        predict: gives the probabilities of a range of working slices: channels × slices × rows × columns.
        channels: number of classes with background.
        slab_megabytes: bound on a slab's probabilities at the source's resolution.

    Yields:
        First and last (exclusive) source slice along the slice axis, in LPS orientation, and their probabilities.
    """
    order = slices_first(grid.slice_axis)
    wanted = tuple(grid.oriented_size[axis] for axis in order)
    working = grid.shape
    thickness = slab_thickness(channels, wanted, slab_megabytes)
    ratio = working[0] / wanted[0]
    # The slices that the last slab ended on are what the next one begins with.
    kept_first, kept = 0, None
    for first in range(0, wanted[0], thickness):
        last = min(first + thickness, wanted[0])
        places = (torch.arange(first, last) + 0.5) * ratio - 0.5
        places = places.clamp(0, working[0] - 1)
        below = places.floor().long()
        above = below if working[0] == wanted[0] else (below + 1).clamp(max=working[0] - 1)
        low, high = int(below[0]), int(above[-1]) + 1
        if kept is not None and kept_first <= low < kept_first + kept.shape[1]:
            old = kept[:, low - kept_first :]
            start = low + old.shape[1]
            slab = torch.cat([old, predict(start, high)], 1) if start < high else old[:, : high - low]
        else:
            slab = predict(low, high)
        kept_first, kept = high - min(2, slab.shape[1]), slab[:, -2:].clone()
        if working[0] != wanted[0]:
            share = (places - below).reshape(1, -1, 1, 1)
            slab = slab[:, below - low] * (1 - share) + slab[:, above - low] * share
        if working[1:] != wanted[1:]:
            slab = F.interpolate(slab, size=wanted[1:], mode="bilinear", align_corners=False)
        yield first, last, slab


def from_slices_first(array: np.ndarray, slice_axis: int) -> np.ndarray:
    """Undoes `slices_first`: back to z, y, x."""
    return array.transpose(np.argsort(slices_first(slice_axis)))
