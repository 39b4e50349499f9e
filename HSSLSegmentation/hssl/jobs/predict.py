"""Prediction: from volumes to label maps on exactly their own grid, with probabilities and uncertainty on request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from ..configuration import PredictConfig
from ..errors import ConfigurationError, HSSLError, InputError, ModelFileError
from ..events import Done, Message, OnEvent, Phase, Stop, Stopped, ignore, never
from ..files import remove_unfinished
from ..imaging.volumes import READERS, check_values, read_volume, series_in, suffix_of, write_volume
from ..models.device import chosen_device
from ..models.find import find_model
from ..models.inference import Segmenter
from ..models.model_file import load_model
from ..models.prediction import Prediction, predict_volume


@dataclass(frozen=True)
class Source:
    """A volume to predict: a file, or a series of a folder, and the name its results get."""

    path: Path
    name: str
    series: str | None = None


def predict(config: PredictConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done:
    """Predicts every input; one that cannot be used is listed with the reason, and the others go on.

    Returns:
        The Done event, whose result has "outputs" (input, label_map, probabilities, uncertainty: paths) and "failed"
        (input, reason).

    Raises:
        HSSLError: the model cannot be used, or every input failed.

    Example:
        >>> from hssl import Catalogue, predict
        >>> from hssl.configuration import PredictConfig
        >>> catalogue = Catalogue.load(workspace)
        >>> scan = catalogue.image_path(catalogue.usable("brain_mr")[0])
        >>> config = PredictConfig(model=workspace / "runs" / "brain", inputs=[scan], output=workspace / "found")
        >>> done = predict(config)
        >>> [Path(output["label_map"]).name for output in done.result["outputs"]]
        ['brain_mr_001.nii.gz']
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    description, state = load_model(find_model(config.model))
    if description.kind != "segmentation":
        raise ModelFileError(config.model, "is a pretrained network, not a segmentation model", "Fine-tune it first.")
    device = chosen_device(config.device)
    segmenter = Segmenter(description, state, device, config.batch_size, config.flips, config.fast)
    if config.flips and not description.mirrored:
        on_event(Message(level="warning", text="Test-time flips are left out: the model was trained without mirroring"))
    if config.output.is_dir():
        remove_unfinished(config.output)
    sources, failed = sources_in(config.inputs)
    outputs: list[dict[str, object]] = []
    stopped = False
    for number, source in enumerate(sources, 1):
        on_event(Phase(name="prediction", index=number, count=len(sources), detail=source.name))
        try:
            volume = read_volume(source.path, series=source.series)
            check_values(volume, source.path)
            result = predict_volume(
                volume, segmenter, config.largest_component, config.probabilities, config.uncertainty,
                config.slab_megabytes, on_event, stop,
            )  # fmt: skip
            outputs.append({"input": str(source.path), **_write(result, config.output, source.name)})
        except InputError as error:
            on_event(Message(level="error", text=f"{source.path}: {error.reason}"))
            failed.append({"input": str(source.path), "reason": error.reason})
        except Stopped:
            stopped = True
            break
    if failed and not outputs and not stopped:
        raise InputError(failed[0]["input"], failed[0]["reason"], f"{len(failed)} of {len(failed)} inputs failed.")
    return Done(stopped=stopped, result={"outputs": outputs, "failed": failed})


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
