"""From one volume to its label map on exactly its own grid, with probabilities and uncertainty on request."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import MemoryExhaustedError
from ..events import Message, OnEvent, ProgressMeter, Stop, ignore, never
from ..plural import counted
from ..preprocessing.fingerprint import Fingerprint, x_first
from ..preprocessing.grid import along, labels_to_source, orientation_for
from ..preprocessing.working import working_volume
from .components import COMPARABLE, largest_components
from .device import out_of_memory
from .inference import Segmenter, from_slices_first, on_source
from .plane_mean import SLAB_MEGABYTES, plane_mean, slices_in_planes

CRUMBS, MANY_ISLANDS = 0.01, 0.1
"""Shares of a structure from which its islands are told of, and from which one should look at what they are."""
FAR_TOO_COARSE, FAR_TOO_SMALL = 2.0, 4.0
"""Ratios of spacing and, along every axis, of extent from which a volume is doubtful (see `doubtful_size`)."""


@dataclass
class Prediction:
    """What is predicted of one volume, all on the source's grid.

    Attributes:
        label_map: uint8, the task's label values.
        uncertainty: float32, entropy of the classes, 0 (sure) to 1 (all equally likely).
        probabilities: float32, by class name.
        islands: of each class that lost islands, by name, the share of its voxels that they were.
    """

    label_map: sitk.Image
    uncertainty: sitk.Image | None = None
    probabilities: dict[str, sitk.Image] = field(default_factory=dict)
    islands: dict[str, float] = field(default_factory=dict)


def predict_volume(
    volume: sitk.Image,
    segmenter: Segmenter,
    largest_component: bool | None = None,
    probabilities: bool = False,
    uncertainty: bool = False,
    slab_megabytes: int = SLAB_MEGABYTES,
    on_event: OnEvent = ignore,
    stop: Stop = never,
    path: str | Path = "volume",
) -> Prediction:
    """Predicts one volume in memory.

    Args:
        volume: any grid; the result lies on it.
        segmenter: planes and flips are its own.
        largest_component: keep the largest component of each class, or all of them; None leaves out islands (less than
            half as large as the largest component) of the classes that were one piece in the model's labels.
        probabilities, uncertainty: make those volumes too.
        slab_megabytes: bound on a slab's probabilities at the source's resolution.
        path: of the volume, for messages.

    When memory runs out, batches and slabs are halved, and at last the CPU is used, for this volume; each is told by an event.

    Raises:
        Stopped: `stop` asked for it.
        InputError: on the model's spacing the volume has absurdly many voxels, or shows nothing in its range of values.
        MemoryExhaustedError: not even the smallest slab fits.
    """
    device = segmenter.chosen
    while True:
        try:
            segmenter.move(device)
            return _predicted(
                volume, segmenter, largest_component, probabilities, uncertainty, slab_megabytes, on_event, stop, path
            )
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if segmenter.fewer_at_once():
                text = f"going on with {segmenter.batch_size} at once"
            elif slab_megabytes > 16:
                slab_megabytes //= 2
                text = f"going on with slabs of {slab_megabytes} MB"
            elif device.type != "cpu":
                device = torch.device("cpu")
                text = "going on on the CPU"
            else:
                raise MemoryExhaustedError("the volume does not fit into memory", "Close other programs.") from error
            on_event(Message(level="warning", text=f"Out of memory; {text}"))


def _predicted(
    volume: sitk.Image,
    segmenter: Segmenter,
    largest_component: bool | None,
    probabilities: bool,
    uncertainty: bool,
    slab_megabytes: int,
    on_event: OnEvent,
    stop: Stop,
    path: str | Path,
) -> Prediction:
    description = segmenter.description
    task = description.tasks[0]
    fingerprint = description.own_fingerprint
    array, low, grid = working_volume(volume, fingerprint, path)
    meter = ProgressMeter(on_event, "prediction", slices_in_planes(segmenter, grid.shape))
    order = [axis for axis in range(3) if axis != fingerprint.slice_axis]
    shape = (grid.oriented_size[fingerprint.slice_axis], *(grid.oriented_size[axis] for axis in order))
    channels = np.zeros(shape, np.uint8)
    entropy = np.zeros(shape, np.float32) if uncertainty else None
    shares = {c.name: np.zeros(shape, np.float32) for c in task.classes} if probabilities else {}
    with plane_mean(segmenter, array, low, stop, meter.update) as of_slices:
        for first, last, slab in on_source(of_slices, description.out_channels, grid, slab_megabytes):
            channels[first:last] = slab.max(0).indices.to(torch.uint8).numpy()
            if entropy is not None:
                entropy[first:last] = -(slab * slab.clamp_min(1e-8).log()).sum(0).numpy() / math.log(slab.shape[0])
            for channel, name in enumerate(shares, 1):
                shares[name][first:last] = slab[channel].numpy()
    lost: dict[str, float] = {}
    if largest_component is not False:
        which = range(1, description.out_channels) if largest_component else description.one_piece_channels
        kept = largest_components(channels, which, 1.0 if largest_component else COMPARABLE)
        for channel in which:
            found, left = (np.count_nonzero(array == channel) for array in (channels, kept))
            if left < found:
                lost[task.classes[channel - 1].name] = 1 - left / found
        channels = kept
    values = np.zeros(1 + len(task.classes), np.uint16 if max(c.value for c in task.classes) > 255 else np.uint8)
    values[1:] = [c.value for c in task.classes]

    def onto_source(result: np.ndarray) -> sitk.Image:
        return labels_to_source(from_slices_first(result, fingerprint.slice_axis), grid, volume)

    return Prediction(
        onto_source(values[channels]),
        None if entropy is None else onto_source(entropy),
        {name: onto_source(share) for name, share in shares.items()},
        lost,
    )


def tell_of_islands(islands: Sequence[Mapping[str, float]], on_event: OnEvent) -> None:
    """Tells which classes lost islands, and how much of them that was: nobody sees what was left out.

    Args:
        islands: of each volume, as in `Prediction`.

    Example:
        >>> tell_of_islands([{"Tumour": 0.25}, {}, {"Tumour": 0.1, "Liver": 0.001}], lambda event: print(event.text))
        Left out as islands: Tumour in 2 of 3 volumes, at most 25 % of it
    """
    shares: dict[str, list[float]] = defaultdict(list)
    for of_volume in islands:
        for name, share in of_volume.items():
            if share >= CRUMBS:
                shares[name].append(share)
    if shares:
        whole = counted(len(islands), "volume")
        told = [
            f"{name} in {len(own)} of {whole}, at most {100 * max(own):.0f} % of it" for name, own in shares.items()
        ]
        level: Literal["warning", "info"] = "warning" if max(map(max, shares.values())) >= MANY_ISLANDS else "info"
        on_event(Message(level=level, text=f"Left out as islands: {'; '.join(told)}", way_out="islands"))


def doubtful_size(volume: sitk.Image, fingerprint: Fingerprint) -> str:
    """Tells where a volume is so much coarser or smaller than what a model was made for that its result is doubtful, else "".

    Lengths are compared and told along the patient's axes, x first: a sagittal scan of thick slices is coarse to a model of
    axial ones.

    Args:
        volume: 3D.
        fingerprint: of the model.

    Example:
        >>> made_for = Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(80, 80, 80))
        >>> doubtful_size(sitk.Image(8, 8, 8, sitk.sitkUInt8), made_for)
        'spans 8 × 8 × 8 mm, and what the model was made for 80 × 80 × 80 mm'
    """
    size, spacing = volume.GetSize(), volume.GetSpacing()
    axes, _ = orientation_for(size, spacing, volume.GetDirection(), fingerprint.clear_slice_axis)
    voxel, wanted = along(spacing, axes), fingerprint.spacing
    if max(own / theirs for own, theirs in zip(voxel, wanted, strict=True)) >= FAR_TOO_COARSE:
        return f"has voxels of {x_first(voxel)} mm, and the model was made for {x_first(wanted)} mm"
    extent = [n * s for n, s in zip(along(size, axes), voxel, strict=True)]
    usual = [n * s for n, s in zip(fingerprint.median_size, wanted, strict=True)]
    if all(FAR_TOO_SMALL * own <= theirs for own, theirs in zip(extent, usual, strict=True)):
        return f"spans {x_first(extent)} mm, and what the model was made for {x_first(usual)} mm"
    return ""
