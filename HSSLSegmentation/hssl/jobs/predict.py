"""Prediction: from volumes to label maps on exactly their own grid, with probabilities and uncertainty on request."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..configuration import PredictConfig
from ..errors import ConfigurationError, HSSLError, InputError, MemoryExhaustedError, encodable
from ..events import Done, Message, OnEvent, Phase, Stop, Stopped, ignore, never
from ..files import NOT_UTF8, has_plain_name
from ..imaging.dicom import Series, find_series, series_of_file
from ..imaging.dicom_segmentation import write_dicom_segmentation
from ..imaging.formats import is_dicom, is_volume, stem_of, way_to_be_read
from ..imaging.volumes import check_values, read_volume, series_in, write_volume
from ..models.description import ModelDescription
from ..models.device import chosen_device, device_text, use_threads
from ..models.find import find_model
from ..models.inference import Segmenter
from ..models.model import Model
from ..models.model_file import load_model
from ..models.prediction import Prediction, doubtful_size, predict_volume, tell_of_islands
from ..names import safe_name
from ..outputs import PROBABILITY, UNCERTAINTY, ResultFolder, portable, sources_of
from ..plural import counted, with_rest
from ..results import FailedInput, PredictedVolume, PredictResult
from ..workspace.candidates import modality_of
from ..workspace.catalogue import LabelClass, Task
from ..workspace.content import not_hounsfield, seen
from ..workspace.listing import listed
from ..workspace.pairing import pair
from ..workspace.places import Place
from ..workspace.presence import is_there

if TYPE_CHECKING:
    import SimpleITK as sitk

LONGEST_STEM = 120
"""Bytes of the name that results of one input share; longer ones are cut and told apart by a hash."""


@dataclass(frozen=True)
class Source:
    """A volume to predict: a file, or a series of a folder, and the name its results get."""

    path: Path
    name: str
    series: str | None = None
    modality: str = ""
    """Of a DICOM series."""

    @property
    def is_dicom(self) -> bool:
        """Whether it is a series of a folder, or a DICOM file."""
        return self.series is not None or (not is_volume(self.path.name) and is_dicom(self.path))

    @property
    def key(self) -> str:
        """What the record of results knows the source by."""
        path = os.path.join(os.path.realpath(self.path.parent), self.path.name)
        return f"{path} {self.series}" if self.series else path


def predict(config: PredictConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done[PredictResult]:
    """Predicts every input; one that cannot be used is listed with the reason, and the others go on.

    Where results go is checked before anything is computed (see `hssl.outputs`). Inputs of one name get names by the
    folders in which they differ.

    Returns:
        The Done event with a `PredictResult`.

    Raises:
        OutputError: a result would replace an input or what somebody else wrote, or cannot be written.
        HSSLError: the model cannot be used, or every input failed.

    Example:
        >>> from hssl import Catalogue, predict
        >>> from hssl.configuration import PredictConfig
        >>> catalogue = Catalogue.load(workspace)
        >>> scan = catalogue.image_path(catalogue.usable("brain_mr")[0])
        >>> config = PredictConfig(model=workspace / "runs" / "brain", inputs=[scan], output=workspace / "found")
        >>> done = predict(config)
        >>> [output.label_map.name for output in done.result.outputs]
        ['brain_mr_001.nii.gz']
    """
    use_threads(config.threads)
    path = find_model(config.model)
    model = load_model(path)
    segmenter = _segmenter(config, model, on_event)
    sources, failed = sources_in(config.inputs, on_event)
    task = model.description.tasks[0]
    files = _planned(config, sources, task.classes)
    for source in sources:
        if files[source.key].name != stem_of(source.path):
            on_event(Message(text=f"{source.path}: its results are named {files[source.key].name}"))
    options = config.model_dump(mode="json", include={"flips", "fast", "largest_component"})
    options |= config.model_dump(mode="json", include={"frame", "spacing", "nan_is_background"}, exclude_defaults=True)
    work = {"model": os.path.realpath(path), "options": options}
    results = ResultFolder(config.output, work, config.overwrite)
    results.plan(
        [(file, key) for key, of in files.items() for file in of.every],
        [*config.inputs, *(s.path for s in sources), path],
    )
    outputs: list[PredictedVolume] = []
    errors: list[InputError] = []
    exhausted: MemoryExhaustedError | None = None
    stopped = False
    for number, source in enumerate(sources, 1):
        own = files[source.key]

        def say(text: str, source: Source = source) -> None:
            on_event(Message(level="warning", text=f"{source.path}: {text}"))

        on_event(Phase(name="prediction", index=number, count=len(sources), detail=own.name))
        try:
            nan_is_background = config.nan_is_background or task.nan_is_background
            volume = read_volume(source.path, source.series, config.frame, config.spacing, nan_is_background, say)
            check_values(volume, source.path)
            for text in _doubts(source, volume, model.description):
                say(f"{text}; it is segmented all the same")
            result = predict_volume(
                volume, segmenter, config.largest_component, config.probabilities, config.uncertainty,
                config.slab_megabytes, on_event, stop, source.path,
            )  # fmt: skip
            segmentation = _segmentation(config, source, result, task, own, results, on_event)
            outputs.append(_written(config, result, source, own, segmentation, results))
        except MemoryExhaustedError as error:
            exhausted = error
            on_event(Message(level="error", text=f"{source.path}: {error}"))
            failed.append(FailedInput(input=source.path, reason=str(error)))
        except InputError as error:
            on_event(Message(level="error", text=f"{source.path}: {error.reason}", way_out=error.way_out))
            errors.append(error)
            failed.append(FailedInput(input=source.path, reason=error.reason))
        except Stopped:
            stopped = True
            break
    if failed and not outputs and not stopped:
        if exhausted is not None:
            raise exhausted
        first = next((e for e in errors if e.way_out), errors[0] if errors else None)
        told = f"{counted(len(failed), 'input')} failed." if len(failed) > 1 else ""
        if first is None:
            raise InputError(failed[0].input, failed[0].reason, told)
        raise InputError(first.path, first.reason, f"{told} {first.hint}".strip(), first.way_out)
    if config.largest_component is None:
        tell_of_islands([output.islands for output in outputs], on_event)
    return Done(stopped=stopped, result=PredictResult(outputs=outputs, failed=failed))


def _segmenter(config: PredictConfig, model: Model, on_event: OnEvent) -> Segmenter:
    model.description.require_segmentation(config.model)
    if config.flips and not model.description.mirrored:
        on_event(Message(level="warning", text="Test-time flips are left out: the model was trained without mirroring"))
    device = chosen_device(config.device)
    on_event(Message(text=device_text(device)))
    return Segmenter(*model, device, config.batch_size, config.flips, config.fast)


def _doubts(source: Source, volume: sitk.Image, description: ModelDescription) -> list[str]:
    """Returns why a volume is probably none that the model is for: nobody looks at it before it is segmented."""
    content, task = seen(volume), description.tasks[0]
    kind, found = modality_of(task.modality), modality_of(source.modality)
    doubts = (
        [f"it is {found}, and the model has learned {kind}"] if found and kind in ("CT", "MR") and found != kind else []
    )
    if reason := content.suspicion or (not_hounsfield(content) if kind == "CT" and not doubts else ""):
        doubts.append(f"it looks like a mask: {reason}" if content.mask else reason)
    if reason := doubtful_size(volume, description.own_fingerprint):
        doubts.append(f"it {reason}")
    return doubts


def sources_in(inputs: list[Path], on_event: OnEvent = ignore) -> tuple[list[Source], list[FailedInput]]:
    """Returns the volumes that the inputs name, each with a name of its own, and what could not be used and why.

    Results of earlier predictions in a folder are no inputs, as far as its record names them; a file that is named
    itself is one. A folder without volumes of its own stands for those in the folders below it.

    Raises:
        ConfigurationError: there is no input.
        OutputError: a folder's record of results cannot be read.
    """
    found: list[Source] = []
    failed: list[FailedInput] = []
    for path in inputs:
        if not has_plain_name(path):
            failed.append(FailedInput(input=Path(encodable(str(path))), reason=NOT_UTF8))
            continue
        if path.is_file():
            found.append(_named_file(path))
            continue
        if not path.is_dir():
            failed.append(FailedInput(input=path, reason="there is no such file or folder"))
            continue
        written = sources_of(path)
        listing = listed(path)
        refused = [FailedInput(input=Path(one), reason=why) for one, why in listing.refused]
        here = [one for one in refused if one.input.parent == path]
        failed += here
        own = (f for f in path.iterdir() if is_volume(f.name) and has_plain_name(f))
        volumes = sorted(f for f in own if f.is_file())
        files = [f for f in volumes if f.name not in written]
        if len(files) < len(volumes):
            results = f"{counted(len(volumes) - len(files), 'result')} of earlier predictions"
            if not files:
                failed.append(FailedInput(input=path, reason=f"holds {results}, and no other volume"))
                continue
            on_event(Message(level="warning", text=f"{path}: left out: {results}"))
        of_dicom = (Path(one) for one in listing.volumes if not is_volume(one))
        alone = [f for f in of_dicom if f.parent == path and f.is_file()]
        labels = _labels_among([*alone, *files], path)
        if labels:
            text = f"left out: {counted(len(labels), 'label')} of the other volumes, by their names"
            on_event(Message(level="warning", text=f"{path}: {text}: {with_rest([f.name for f in labels], 3)}"))
            files = [f for f in files if f not in labels]
        files = [*alone, *files]
        found += [_named_file(f) for f in files]
        try:
            series = series_in(path) if not files else []
        except HSSLError as error:
            failed.append(FailedInput(input=path, reason=str(error)))
            continue
        found += _named_series(path, series)
        below = _below(path, listing.volumes, on_event)
        if not files and not series:
            found += below
            failed += [one for one in refused if one not in here]
        elif below:
            text = f"{path}: left out: {counted(len(below), 'volume')} in folders below it, which can be named"
            on_event(Message(level="warning", text=text))
        if not files and not series and not below and not refused:
            is_workspace = "It is a workspace of HSSL; the scans lie elsewhere." if is_there(path) else ""
            hint = is_workspace or way_to_be_read(listing.not_read)
            failed.append(FailedInput(input=path, reason=f"holds no volume. {hint}" if hint else "holds no volume"))
    if not found and not failed:
        raise ConfigurationError("there is nothing to predict")
    return _distinct(found), failed


def _named_file(path: Path) -> Source:
    modality = ""
    if not is_volume(path.name) and is_dicom(path):
        with suppress(InputError):  # told where it is read
            modality = series_of_file(path).modality
    return Source(path, stem_of(path), modality=modality)


def _labels_among(files: Sequence[Path], folder: Path) -> list[Path]:
    """Returns the files of a folder that are labels of others in it: what is read from there are scans."""
    places = [Place.of(str(f), folder) for f in files]
    try:
        paired = pair(places, chosen=True)
    except InputError:  # several labels of one, say
        labels = {p.path for p in places if p.may_be_label}
        return [f for f in files if str(f) in labels] if len(labels) < len(files) else []
    labels = {label.path for many in paired.given.values() for label in many}
    return [f for f in files if str(f) in labels]


def _named_series(folder: Path, series: Sequence[Series]) -> list[Source]:
    name = folder.name if folder.name not in ("", "..") else Path(os.path.realpath(folder)).name
    return [
        Source(Path(s.folder), f"{name}_{n}" if len(series) > 1 else name, s.uid, s.modality)
        for n, s in enumerate(series, 1)
    ]


def _below(folder: Path, volumes: Sequence[str], on_event: OnEvent) -> list[Source]:
    """Returns those of the volumes that lie in folders below one, without labels and results."""
    found: list[Source] = []
    labels = 0
    for path in map(Path, volumes):
        parent = path if path.is_dir() else path.parent
        if parent == folder or (not path.is_dir() and path.name in sources_of(parent)):
            continue
        place = Place.of(str(path), folder)
        if place.role == "label" or place.may_be_label:
            labels += 1
        elif path.is_dir():
            found += _named_series(path, [s for s in series_in(path) if s.uid])
        else:
            found.append(_named_file(path))
    if labels and found:
        text = f"{folder}: left out: {counted(labels, 'file')} in folders below it that are called labels"
        on_event(Message(level="warning", text=text))
    return found


def _distinct(sources: Sequence[Source]) -> list[Source]:
    """Gives each source a name of its own: those that share one are told apart by the folders in which they differ.

    A source that was named twice is taken once. Names that differ in case alone count as one, since they are one file
    on many disks.
    """
    once = {s.key: s for s in sources}
    groups: dict[str, list[Source]] = defaultdict(list)
    for source in once.values():
        groups[portable(source.name)].append(source)
    named: dict[str, str] = {}
    for group in groups.values():
        if len(group) == 1:
            continue
        parents = [Path(os.path.abspath(s.path)).parent.parts for s in group]
        # Where all are in one folder, what tells them apart is the suffix.
        ends = [s.path.name.replace(".", "_") if len(set(parents)) < len(group) else s.name for s in group]
        first = len(os.path.commonprefix(parents))
        last = len(os.path.commonprefix([parts[first:][::-1] for parts in parents]))
        for source, parts, end in zip(group, parents, ends, strict=True):
            differing = [re.sub(r"[^\w.-]+", "_", part) for part in parts[first : len(parts) - last]]
            named[source.key] = "_".join([*differing, end])
    return [replace(source, name=_short(named.get(key, source.name))) for key, source in once.items()]


def _short(name: str) -> str:
    """Returns the name, or its start and a hash of it where files named after it would have names too long to be."""
    if len(os.fsencode(name)) <= LONGEST_STEM:
        return name
    start = os.fsencode(name)[: LONGEST_STEM - 9].decode("utf-8", "ignore")
    return f"{start}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


@dataclass(frozen=True)
class Files:
    """What is written for one source, under which name."""

    name: str
    label_map: Path
    segmentation: Path | None
    uncertainty: Path | None
    probabilities: dict[str, Path]
    """By the class's name."""

    @property
    def every(self) -> list[Path]:
        """All of them."""
        single = [file for file in (self.segmentation, self.uncertainty) if file is not None]
        return [*single, *self.probabilities.values(), self.label_map]


def _planned(config: PredictConfig, sources: Sequence[Source], classes: Sequence[LabelClass]) -> dict[str, Files]:
    """Returns the files of each source by its key; where two sources would share one, a number tells them apart."""
    taken: set[str] = set()
    planned: dict[str, Files] = {}
    # In an order of their own, so that names do not depend on the order in which inputs are given.
    for source in sorted(sources, key=lambda s: (s.name, s.key)):
        number, files = 1, _files(config, source.name, source.is_dicom, classes)
        while any(portable(file.name) in taken for file in files.every):
            number += 1
            files = _files(config, f"{source.name}_{number}", source.is_dicom, classes)
        taken |= {portable(file.name) for file in files.every}
        planned[source.key] = files
    return planned


def _files(config: PredictConfig, name: str, is_dicom: bool, classes: Sequence[LabelClass]) -> Files:
    folder = config.output
    suffix = ".nii.gz" if config.compressed else ".nrrd"
    plain = [f"{n}_{safe_name(c.name, 'class', ascii_only=True)[:60]}" for n, c in enumerate(classes, 1)]
    return Files(
        name=name,
        label_map=folder / f"{name}{suffix}",
        segmentation=folder / f"{name}.seg.dcm" if is_dicom and config.dicom_segmentation else None,
        uncertainty=folder / f"{name}{UNCERTAINTY}{suffix}" if config.uncertainty else None,
        probabilities={
            c.name: folder / f"{name}{PROBABILITY}{p}{suffix}"
            for c, p in zip(classes, plain, strict=True)
            if config.probabilities
        },
    )


def _segmentation(
    config: PredictConfig,
    source: Source,
    result: Prediction,
    task: Task,
    files: Files,
    results: ResultFolder,
    on_event: OnEvent,
) -> Path | None:
    """Writes the label map of a DICOM series as DICOM SEG; a series that lacks what that needs is told of."""
    if files.segmentation is None:
        return None
    try:
        series = series_of_file(source.path) if source.series is None else find_series(source.path, source.series)
        with results.writing(files.segmentation) as temporary:
            write_dicom_segmentation(result.label_map, series, task.classes, temporary, config.frame, task.name)
    except InputError as error:
        text = f"{source.path}: no DICOM segmentation was written, only {files.label_map.name}: {error.reason}"
        on_event(Message(level="warning", text=text))
        return None
    return files.segmentation


def _written(
    config: PredictConfig,
    result: Prediction,
    source: Source,
    files: Files,
    segmentation: Path | None,
    results: ResultFolder,
) -> PredictedVolume:
    if files.uncertainty is not None and result.uncertainty is not None:
        with results.writing(files.uncertainty) as temporary:
            write_volume(result.uncertainty, temporary, config.compressed)
    for name, file in files.probabilities.items():
        with results.writing(file) as temporary:
            write_volume(result.probabilities[name], temporary, config.compressed)
    # The label map comes last: where it is, the rest is too.
    with results.writing(files.label_map) as temporary:
        write_volume(result.label_map, temporary, config.compressed)
    return PredictedVolume(
        input=source.path,
        label_map=files.label_map,
        dicom_segmentation=segmentation,
        uncertainty=files.uncertainty,
        probabilities=files.probabilities,
        islands=result.islands,
    )
