"""Suggestion: which unlabelled images of a task to label next (see `hssl.learning.acquisition`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..configuration import SuggestConfig
from ..errors import ConfigurationError, MemoryExhaustedError
from ..events import Done, Message, OnEvent, Phase, ProgressMeter, Stop, Stopped, ignore, never
from ..learning.acquisition import FeatureSpace, ranked, uncertainty_of
from ..learning.start import Start
from ..models.description import ModelDescription
from ..models.device import chosen_device, out_of_memory, use_threads
from ..models.find import find_model
from ..models.inference import Segmenter, in_smaller_batches
from ..models.model import Model
from ..models.model_file import load_model
from ..preprocessing.fingerprint import Fingerprint
from ..preprocessing.store import Reader, StoredVolume, build, task_fingerprint
from ..results import Suggestion, SuggestResult
from ..workspace.catalogue import Catalogue, Task
from ..workspace.presence import in_workspace
from ..workspace.suggestions import suggestions_path, write_suggestions


@in_workspace
def suggest(config: SuggestConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done[SuggestResult]:
    """Ranks the unlabelled images of a task and writes `suggestions/<task>.json` into the workspace.

    Returns:
        The Done event with a `SuggestResult`.

    Raises:
        HSSLError: a model cannot be used for the task, or every image of it is labelled.

    Example:
        >>> from hssl import suggest
        >>> from hssl.configuration import SuggestConfig
        >>> done = suggest(SuggestConfig(workspace=workspace, task="brain_mr", model="brain", count=1))
        >>> [suggestion.rank for suggestion in done.result.suggestions]
        [1]
    """
    use_threads(config.threads)
    try:
        return _suggested(config, on_event, stop)
    except Stopped:
        return Done(stopped=True, result=SuggestResult(task=config.task))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise MemoryExhaustedError("a volume does not fit on the device", "Choose the CPU as the device.") from error


def _suggested(config: SuggestConfig, on_event: OnEvent, stop: Stop) -> Done[SuggestResult]:
    catalogue = Catalogue.load(config.workspace)
    task = catalogue.task(config.task)
    catalogue.require(config.exclude, "to be left out")
    excluded = catalogue.with_patients(config.exclude)
    labelled = [i for i in catalogue.usable(task.name, labelled=True) if i.id not in excluded]
    unlabelled = [i for i in catalogue.usable(task.name, labelled=False) if i.id not in excluded]
    if not unlabelled:
        raise ConfigurationError(f"task {task.name!r} has no usable image without a label", "Add more scans.")
    model = find_model(config.model, catalogue.workspace)
    loaded = load_model(model)
    device = chosen_device(config.device)
    segmenter: Segmenter | None = None
    space_path, space_model = model, loaded
    if loaded.description.kind == "segmentation":
        _check_same_task(loaded.description, task, model)
        segmenter = Segmenter(*loaded, device)
        space_path, space_model = _feature_model(config, catalogue, model, loaded, on_event)
    space = FeatureSpace(*space_model, device)

    on_event(Phase(name="store", index=1, count=2))
    if space.description.kind == "segmentation":
        fingerprint = space.description.own_fingerprint
    else:
        measured = partial(task_fingerprint, catalogue, task, config.exclude, on_event, stop)
        fingerprint = Start(space.description, {}).fingerprint(catalogue, task, measured, on_event)
    known = {task.name: fingerprint}
    centres = build(catalogue, labelled, known, with_labels=True, on_event=on_event, stop=stop)
    candidates = build(catalogue, unlabelled, known, with_labels=False, on_event=on_event, stop=stop)
    asked = _for_segmenter(segmenter, catalogue, task, fingerprint, candidates, on_event, stop)
    if not candidates:
        raise ConfigurationError(f"no unlabelled image of task {task.name!r} could be read")

    on_event(Phase(name="suggestion", index=2, count=2))
    expected = _expected(segmenter.description.tasks[0], task, centres) if segmenter is not None else []
    features, doubts = _seen(space, segmenter, [*centres, *candidates], asked, expected, on_event, stop)
    ids = [v.id for v in candidates]
    # Of one patient one image is suggested: a further one would teach little more.
    whose = {id: catalogue.patient_of(catalogue.image(id)) for id in ids}
    suggestions = ranked(
        ids,
        np.stack([features[id] for id in ids]),
        np.stack([features[v.id] for v in centres]) if centres else np.zeros((0, sum(space.channels))),
        None if segmenter is None else [doubts[id] for id in ids],
        config.count if len(set(whose.values())) == len(ids) else len(ids),
    )
    suggestions = _one_of_each_patient(suggestions, whose, {catalogue.patient_of(i) for i in labelled}, config.count)
    result = SuggestResult(
        task=task.name,
        model=model,
        features=space_path,
        labelled=len(centres),
        suggestions=suggestions,
        file=suggestions_path(catalogue.workspace, task.name),
    )
    write_suggestions(catalogue, result)
    return Done(result=result)


def _seen(
    space: FeatureSpace,
    segmenter: Segmenter | None,
    volumes: Sequence[StoredVolume],
    asked: dict[str, StoredVolume],
    expected: Sequence[bool],
    on_event: OnEvent,
    stop: Stop,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Returns by id the features of every volume, and the segmenter's doubt about those that it is asked about."""
    reader = Reader()
    meter = ProgressMeter(on_event, "suggestion", len(volumes))
    features: dict[str, np.ndarray] = {}
    doubts: dict[str, float] = {}
    for number, volume in enumerate(volumes, 1):
        features[volume.id] = space.of(reader.array(volume.path), volume.low, stop)
        if segmenter is not None and volume.id in asked:
            seen = asked[volume.id]
            doubt = partial(uncertainty_of, segmenter, reader.array(seen.path), seen.low, expected, stop)
            doubts[volume.id] = in_smaller_batches(segmenter, doubt)
        meter.update(number, detail=volume.id)
    return features, doubts


def _one_of_each_patient(
    suggestions: Sequence[Suggestion], whose: dict[str, str], labelled: set[str], count: int
) -> list[Suggestion]:
    """Takes the best image of each patient, of patients without a label first, and of others as far as they are needed."""
    best = list({whose[s.id]: s for s in reversed(suggestions)}.values())
    best.sort(key=lambda s: (whose[s.id] in labelled, s.rank))
    return [s.model_copy(update={"rank": rank}) for rank, s in enumerate(best[:count], 1)]


def _check_same_task(description: ModelDescription, task: Task, model: Path) -> None:
    own = description.tasks[0]
    # A task that was renamed since is still the same.
    if own.name != task.name and [c.name for c in own.classes] != [c.name for c in task.classes]:
        raise ConfigurationError(f"{model} segments {own.name!r}, not {task.name!r}", "Name a model of this task.")


def _feature_model(
    config: SuggestConfig,
    catalogue: Catalogue,
    model: Path,
    loaded: Model,
    on_event: OnEvent,
) -> tuple[Path, Model]:
    """The network whose features are compared: the one that is named, else the model's start, else the model itself."""
    if config.features:
        path = find_model(config.features, catalogue.workspace)
        return path, load_model(path)
    start = str(loaded.description.provenance.get("start", "scratch"))
    if start != "scratch":
        try:
            path = find_model(start, catalogue.workspace)
            return path, load_model(path)
        except ConfigurationError:
            on_event(
                Message(level="warning", text=f"{start}, which the model started from, is gone; its own features serve")
            )
    return model, loaded


def _for_segmenter(
    segmenter: Segmenter | None,
    catalogue: Catalogue,
    task: Task,
    fingerprint: Fingerprint,
    candidates: list[StoredVolume],
    on_event: OnEvent,
    stop: Stop,
) -> dict[str, StoredVolume]:
    """The candidates as the segmenter sees them, by their ids; those that cannot be read any more are taken out."""
    if segmenter is None:
        return {}
    own = segmenter.description.own_fingerprint
    if own == fingerprint:
        return {v.id: v for v in candidates}
    images = [catalogue.image(v.id) for v in candidates]
    stored = build(catalogue, images, {task.name: own}, with_labels=False, on_event=on_event, stop=stop)
    there = {v.id: v for v in stored}
    candidates[:] = [v for v in candidates if v.id in there]
    return there


def _expected(model_task: Task, task: Task, labelled: Sequence[StoredVolume]) -> list[bool]:
    """For each class of the model, whether every labelled image holds it; so it is where nothing is labelled."""
    places = {c.name: n for n, c in enumerate(task.classes)}
    return [c.name not in places or all(v.holds(places[c.name] + 1) for v in labelled) for c in model_task.classes]
