"""Prediction: from volumes to label maps on exactly their own grid, with probabilities and uncertainty on request."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from ..configuration import PredictConfig
from ..errors import ConfigurationError, HSSLError, InputError, MemoryExhaustedError, ModelFileError
from ..events import Done, Message, OnEvent, Phase, ProgressMeter, Stop, Stopped, ignore, never
from ..files import remove_unfinished
from ..imaging.volumes import READERS, check_values, read_volume, series_in, suffix_of, write_volume
from ..learning.distributed import chosen_device
from ..learning.memory import out_of_memory
from ..models.find import find_model
from ..models.inference import Segmenter, from_slices_first, on_source
from ..models.model_file import load_model
from ..preprocessing.grid import labels_to_source, to_working, working_grid
from ..preprocessing.normalisation import normalised


@dataclass(frozen=True)
class Source:
    """A volume to predict: a file, or a series of a folder, and the name its results get."""

    path: Path
    name: str
    series: str | None = None


@dataclass
class Prediction:
    """What is predicted of one volume, all on the source's grid.

    Attributes:
        label_map: uint8, the task's label values.
        uncertainty: float32, entropy of the classes, 0 (sure) to 1 (all equally likely).
        probabilities: float32, by class name.
    """

    label_map: sitk.Image
    uncertainty: sitk.Image | None = None
    probabilities: dict[str, sitk.Image] = field(default_factory=dict)


def predict(config: PredictConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done:
    """Predicts every input; one that cannot be used is listed with the reason, and the others go on.

    Returns:
        The Done event, whose result has "outputs" (input, label_map, probabilities, uncertainty: paths) and "failed"
        (input, reason).

    Raises:
        HSSLError: the model cannot be used, or every input failed.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    description, state = load_model(find_model(config.model))
    if description.kind != "segmentation":
        raise ModelFileError(config.model, "is a pretrained network, not a segmentation model", "Fine-tune it first.")
    segmenter = Segmenter(description, state, chosen_device(config.device), config.batch_size, config.flips)
    if config.flips and not description.mirrored:
        on_event(Message(level="warning", text="Test-time flips are left out: the model was trained without mirroring"))
    if config.output.is_dir():
        remove_unfinished(config.output)
    sources, failed = sources_in(config.inputs)
    outputs: list[dict[str, object]] = []
    stopped = False
    for number, source in enumerate(sources, 1):
        on_event(Phase(name=f"prediction of {source.name}", index=number, count=len(sources)))
        try:
            volume = read_volume(source.path, series=source.series)
            check_values(volume, source.path)
            result = predict_volume(
                volume, segmenter, config.largest_component, config.probabilities, config.uncertainty,
                config.slab_megabytes, on_event, stop,
            )  # fmt: skip
            outputs.append({"input": str(source.path), **_write(result, config.output, source.name)})
        except InputError as error:
            if "cannot be written" in error.reason:
                raise
            on_event(Message(level="error", text=f"{source.path}: {error.reason}"))
            failed.append({"input": str(source.path), "reason": error.reason})
        except Stopped:
            stopped = True
            break
    if failed and not outputs and not stopped:
        raise InputError(failed[0]["input"], failed[0]["reason"], f"{len(failed)} of {len(failed)} inputs failed.")
    done = Done(stopped=stopped, result={"outputs": outputs, "failed": failed})
    on_event(done)
    return done


def predict_volume(
    volume: sitk.Image,
    segmenter: Segmenter,
    largest_component: bool = False,
    probabilities: bool = False,
    uncertainty: bool = False,
    slab_megabytes: int = 512,
    on_event: OnEvent = ignore,
    stop: Stop = never,
) -> Prediction:
    """Predicts one volume in memory.

    When memory runs out, batches and slabs are halved, and at last the CPU is used; each is told by an event.

    Raises:
        Stopped: `stop` asked for it.
        InputError: on the model's spacing the volume has absurdly many voxels.
        MemoryExhaustedError: not even the smallest slab fits.
    """
    while True:
        try:
            return _predicted(
                volume, segmenter, largest_component, probabilities, uncertainty, slab_megabytes, on_event, stop
            )
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if segmenter.batch_size > 1:
                segmenter.batch_size //= 2
                text = f"going on with {segmenter.batch_size} at once"
            elif slab_megabytes > 16:
                slab_megabytes //= 2
                text = f"going on with slabs of {slab_megabytes} MB"
            elif segmenter.device.type != "cpu":
                segmenter.device = torch.device("cpu")
                segmenter.network.to("cpu")
                text = "going on on the CPU"
            else:
                raise MemoryExhaustedError("the volume does not fit into memory", "Close other programs.") from error
            on_event(Message(level="warning", text=f"Out of memory; {text}"))


def _predicted(
    volume: sitk.Image,
    segmenter: Segmenter,
    largest_component: bool,
    probabilities: bool,
    uncertainty: bool,
    slab_megabytes: int,
    on_event: OnEvent,
    stop: Stop,
) -> Prediction:
    description = segmenter.description
    task = description.tasks[0]
    fingerprint = description.fingerprints[task.name]
    grid = working_grid(volume.GetSize(), volume.GetSpacing(), volume.GetDirection(), fingerprint)
    array = normalised(to_working(volume, grid), fingerprint).astype(np.float16)
    low = float(array.min())
    meter = ProgressMeter(on_event, "prediction", grid.shape[0])

    def of_slices(first: int, last: int) -> torch.Tensor:
        parts = []
        for begin in range(first, last, step):
            if stop():
                raise Stopped
            parts.append(segmenter.probabilities(array, low, begin, min(begin + step, last)))
            meter.update(min(begin + step, last))
        return torch.cat(parts, 1)

    # A 3D network computes a margin around what it is asked for, so it is asked for a whole slab.
    step = segmenter.slices_at_once(grid.shape[1:]) if description.network.spatial_dims == 2 else grid.shape[0]
    order = [axis for axis in range(3) if axis != fingerprint.slice_axis]
    shape = (grid.oriented_size[fingerprint.slice_axis], *(grid.oriented_size[axis] for axis in order))
    channels = np.zeros(shape, np.uint8)
    entropy = np.zeros(shape, np.float32) if uncertainty else None
    shares = {c.name: np.zeros(shape, np.float32) for c in task.classes} if probabilities else {}
    for first, last, slab in on_source(of_slices, description.out_channels, grid, slab_megabytes):
        channels[first:last] = slab.max(0).indices.to(torch.uint8).numpy()
        if entropy is not None:
            entropy[first:last] = -(slab * slab.clamp_min(1e-8).log()).sum(0).numpy() / math.log(slab.shape[0])
        for channel, name in enumerate(shares, 1):
            shares[name][first:last] = slab[channel].numpy()
    if largest_component:
        channels = largest_components(channels, len(task.classes))
    values = np.zeros(1 + len(task.classes), np.uint16 if max(c.value for c in task.classes) > 255 else np.uint8)
    values[1:] = [c.value for c in task.classes]

    def onto_source(result: np.ndarray) -> sitk.Image:
        return labels_to_source(from_slices_first(result, fingerprint.slice_axis), grid, volume)

    return Prediction(
        onto_source(values[channels]),
        None if entropy is None else onto_source(entropy),
        {name: onto_source(share) for name, share in shares.items()},
    )


def largest_components(channels: np.ndarray, classes: int) -> np.ndarray:
    """Keeps the largest connected component (26 neighbours) of each class; ties keep the first."""
    kept = np.zeros_like(channels)
    for channel in range(1, classes + 1):
        mask = channels == channel
        if not mask.any():
            continue
        components = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
        labels = sitk.GetArrayViewFromImage(components)
        sizes = np.bincount(labels.reshape(-1))
        sizes[0] = 0
        kept[labels == sizes.argmax()] = channel
    return kept


def sources_in(inputs: list[Path]) -> tuple[list[Source], list[dict[str, str]]]:
    """Returns the volumes that the inputs name, each with a name of its own, and what could not be used and why."""
    found: list[Source] = []
    failed: list[dict[str, str]] = []
    for path in inputs:
        if path.is_file():
            found.append(Source(path, _stem(path)))
            continue
        if not path.is_dir():
            failed.append({"input": str(path), "reason": "there is no such file or folder"})
            continue
        files = sorted(f for f in path.iterdir() if f.is_file() and suffix_of(f) in READERS)
        found += [Source(f, _stem(f)) for f in files]
        if not files:
            try:
                series = series_in(path)
            except HSSLError as error:
                failed.append({"input": str(path), "reason": str(error)})
                continue
            found += [Source(Path(s.folder), f"{path.name}_{n}" if len(series) > 1 else path.name, s.uid)
                      for n, s in enumerate(series, 1)]  # fmt: skip
            if not series:
                failed.append({"input": str(path), "reason": "holds no volume"})
    taken: dict[str, int] = {}
    sources = []
    for source in found:
        taken[source.name] = taken.get(source.name, 0) + 1
        name = source.name if taken[source.name] == 1 else f"{source.name}_{taken[source.name]}"
        sources.append(Source(source.path, name, source.series))
    if not sources and not failed:
        raise ConfigurationError("there is nothing to predict")
    return sources, failed


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(suffix_of(path))]


def _write(result: Prediction, folder: Path, name: str) -> dict[str, object]:
    paths: dict[str, object] = {"label_map": str(folder / f"{name}.nii.gz")}
    if result.uncertainty is not None:
        paths["uncertainty"] = str(folder / f"{name}_uncertainty.nii.gz")
        write_volume(result.uncertainty, folder / f"{name}_uncertainty.nii.gz")
    if result.probabilities:
        # Class names may hold anything; a file's name may not.
        plain = [f"{n}_{re.sub(r'[^A-Za-z0-9-]+', '_', c)[:60]}" for n, c in enumerate(result.probabilities, 1)]
        files = {c: folder / f"{name}_probability_{p}.nii.gz" for c, p in zip(result.probabilities, plain, strict=True)}
        for c, file in files.items():
            write_volume(result.probabilities[c], file)
        paths["probabilities"] = {c: str(file) for c, file in files.items()}
    # The label map comes last: where it is, the rest is too.
    write_volume(result.label_map, folder / f"{name}.nii.gz")
    return paths
