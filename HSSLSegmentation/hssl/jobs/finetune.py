"""Fine-tuning: from a pretrained network (or scratch) and a few labelled cases to a segmentation model.

Which cases, their store, the run and its result; what is learned from them is in `hssl.learning.finetuning`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..configuration import FinetuneConfig
from ..errors import ConfigurationError, ModelFileError
from ..events import Done, Message, OnEvent, Phase, Stop, ignore, never
from ..learning.distributed import Processes
from ..learning.finetuning import FinetuneLearner
from ..learning.start import Start, loaded_text
from ..learning.training_run import in_run, main_process_first, require_same_classes, train_in_memory
from ..models.description import ModelDescription
from ..models.find import find_model
from ..models.model import Model
from ..models.model_file import load_model
from ..models.run_folder import BEST, RunFolder
from ..plural import counted, shortened
from ..preprocessing.fingerprint import Fingerprint
from ..preprocessing.store import (
    StoredVolume,
    as_coarse_as_structures_allow,
    as_labels_need,
    build,
    clean,
    task_fingerprint,
)
from ..results import FinetuneResult
from ..workspace.catalogue import Catalogue, Image, Task
from ..workspace.presence import in_workspace

HELD_OUT = 5
"""One labelled case in this many is held out for validation, when none are named and there are enough…"""
ENOUGH_TO_HOLD_OUT = 10
"""…and with fewer than this many, every label is used for training: the last weights are then the result, since the
learning rate has fallen to almost nothing by the end of the budget."""
MOST_VALIDATED = 8


@in_workspace
def finetune(config: FinetuneConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done[FinetuneResult]:
    """Fine-tunes a network for one task; a run of that name that has a checkpoint is continued.

    Returns:
        The Done event with a `FinetuneResult`.

    Raises:
        HSSLError: with the reason; what was trained so far is kept.

    Example:
        >>> from hssl import FinetuneConfig, finetune
        >>> config = FinetuneConfig(workspace=workspace, task="brain_mr", start="night", case_count=1, run="brain",
        ...                         budget={"steps": 2})
        >>> done = finetune(config)
        >>> len(done.result.cases)
        1
    """
    return in_run(config, f"finetune-{config.task}", _finetuned, on_event, stop)


def choose_cases(catalogue: Catalogue, config: FinetuneConfig) -> tuple[list[Image], list[Image]]:
    """Returns the labelled images to train and to validate on.

    Named ones are taken as they are. Otherwise `case_count` of the task's labelled images are drawn by the seed, one
    patient after the other; where no validation is named and at least `ENOUGH_TO_HOLD_OUT` are left, one in `HELD_OUT`
    of them is held out for it. Of patients with an image that is excluded or validated on, none is drawn.

    Raises:
        ConfigurationError: there are not enough labelled images, an id is unknown, a named one has no usable label, or it is
            named for two things that contradict each other.
    """
    catalogue.require(config.exclude, "to be left out")
    labelled = {i.id: i for i in catalogue.usable(config.task, labelled=True)}
    for id in [*config.cases, *config.validation]:
        if id not in labelled:
            image = catalogue.image(id)
            why = image.problem or image.label_problem or image.doubt or (
                f"it belongs to task {image.task!r}" if image.task != config.task else "it has no label"
            )  # fmt: skip
            raise ConfigurationError(f"case {id!r} cannot be used: {why}")
    _refuse_contradictions({"trained on": config.cases, "validated on": config.validation, "left out": config.exclude})
    taken = catalogue.with_patients([*config.validation, *config.exclude])
    if config.cases:
        chosen = list(dict.fromkeys(config.cases))
    else:
        free = sorted(id for id in labelled if id not in taken)
        count = config.case_count or len(free)
        if count > len(free):
            raise ConfigurationError(
                f"task {config.task!r} has {len(free)} labelled images to choose from, {count} were asked for"
            )
        chosen = drawn_by_patient(catalogue, free, config.seed)[:count]
    validation = list(dict.fromkeys(config.validation))
    if not config.cases and not validation and len(chosen) >= ENOUGH_TO_HOLD_OUT:
        held = catalogue.with_patients(chosen[: min(MOST_VALIDATED, len(chosen) // HELD_OUT)])
        if rest := [id for id in chosen if id not in held]:
            chosen, validation = rest, [id for id in chosen if id in held]
    if not chosen:
        raise ConfigurationError(f"task {config.task!r} has no labelled image to train on", "Add labels first.")
    return [labelled[id] for id in chosen], [labelled[id] for id in validation]


def _refuse_contradictions(named: dict[str, list[str]]) -> None:
    """Refuses a case that is named for two purposes: a test case that is left out must not choose the best weights, say."""
    for (one, ids), (other, others) in itertools.combinations(named.items(), 2):
        if both := sorted({*ids} & {*others}):
            raise ConfigurationError(f"cases {', '.join(both)} are to be {one} and {other} at once")


def drawn_by_patient(catalogue: Catalogue, ids: Sequence[str], seed: int) -> list[str]:
    """Returns the ids in an order drawn by the seed, those of one patient behind each other."""
    of_patient: dict[str, list[str]] = defaultdict(list)
    for id in sorted(ids):
        of_patient[catalogue.patient_of(catalogue.image(id))].append(id)
    patients = np.random.default_rng(seed).permutation(sorted(of_patient))
    return [id for patient in patients for id in of_patient[str(patient)]]


def _begun(run: RunFolder, task: Task) -> ModelDescription | None:
    """Returns what a run that goes on was when it was stopped; None where it has not begun.

    Raises:
        ConfigurationError: the task has other classes now.
    """
    if not run.can_resume:
        return None
    begun = load_model(run.path).description
    require_same_classes(begun.tasks[0], task)
    return begun


def _with_the_cases_of(
    begun: ModelDescription, config: FinetuneConfig, catalogue: Catalogue, on_event: OnEvent
) -> FinetuneConfig:
    """Returns the configuration with the cases that a run began with, as far as they are still there.

    What was labelled since would give another draw, in which it would be validated on what it has learned.

    Raises:
        ConfigurationError: none of them is left.
    """
    known = begun.provenance
    if config.cases or "validation" not in known:  # an earlier version did not write it
        return config
    labelled = {i.id for i in catalogue.usable(config.task, labelled=True)}
    cases, validation = ([id for id in known[what] if id in labelled] for what in ("cases", "validation"))
    if not cases:
        raise ConfigurationError(
            f"none of the cases that this run began with has a label now: {shortened(known['cases'], 5)}",
            "Begin another run, with this one as its start.",
        )
    if gone := [id for id in [*known["cases"], *known["validation"]] if id not in labelled]:
        text = f"This run began with the labels of {shortened(gone, 5)}, which cannot be used any more, and goes on without"
        on_event(Message(level="warning", text=text))
    later = sorted(labelled - {*cases, *validation} - catalogue.with_patients([*validation, *config.exclude]))
    if later and not config.case_count:
        text = f"This run began without the labels of {shortened(later, 5)} and goes on without"
        on_event(Message(level="warning", text=f"{text}; another run, with this one as its start, takes all"))
    return config.model_copy(update={"cases": cases, "validation": validation})


def _teacher(config: FinetuneConfig, task: Task, dims: int) -> Model | None:
    """Reads the teacher, where one is named.

    Raises:
        ModelFileError: it segments nothing, or something else, or slices where volumes are learned.
    """
    if not config.teacher:
        return None
    path = find_model(config.teacher, config.workspace)
    teacher = load_model(path)
    own = teacher.description
    if own.kind != "segmentation":
        raise ModelFileError(path, "is a pretrained network and segments nothing", "Take it as the start instead.")
    found, wanted = ([c.name for c in t.classes] for t in (own.tasks[0], task))
    if found != wanted:
        reason = f"segments {', '.join(found)}, and the task has {', '.join(wanted)}"
        raise ModelFileError(path, reason, "A teacher has the same classes in the same order.")
    if own.network.spatial_dims != dims:
        raise ModelFileError(
            path, f"is a {own.network.spatial_dims}D network and cannot teach a {dims}D one", "Change the dimensions."
        )
    return teacher


@dataclass(frozen=True)
class _Stored:
    """What a fine-tuning reads, on the working grid of the fingerprint."""

    fingerprint: Fingerprint
    trained: list[StoredVolume]
    validated: list[StoredVolume]
    unlabelled: list[StoredVolume]


def _finetuned(
    config: FinetuneConfig, run: RunFolder, processes: Processes, on_event: OnEvent, stop: Stop
) -> Done[FinetuneResult]:
    catalogue = Catalogue.load(config.workspace)
    task = catalogue.task(config.task)
    config = config.model_copy(update={"task": task.name})  # it may have been renamed since the run began
    if not task.classes:
        raise ConfigurationError(f"task {task.name!r} has no classes", "A check finds them in the labels.", "check")
    begun = _begun(run, task)
    choice = config if begun is None else _with_the_cases_of(begun, config, catalogue, on_event)
    cases, validation = choose_cases(catalogue, choice)
    start = Start.named(config.start, config.workspace)
    start.tell_of_network(config.network, on_event)
    dims = start.network(config.network).spatial_dims
    teacher = _teacher(config, task, dims)
    on_event(Phase(name="store", index=1, count=2))

    def build_store() -> _Stored:
        if processes.is_main:
            clean(config.workspace)
        return _stored(config, catalogue, start, teacher, begun, cases, validation, on_event, stop)

    stored = main_process_first(build_store, processes)
    if stored is None:
        return Done(stopped=True, result=FinetuneResult(run=run.path))
    lost = _without_the_unusable(task, cases, validation, stored, on_event)
    on_event(Phase(name="training", index=2, count=2))
    if not stored.validated:
        on_event(Message(text="No validation: all labels are trained on, and the last weights are the result"))

    def make(size: int, device: torch.device) -> FinetuneLearner:
        learner = FinetuneLearner(
            config,
            catalogue,
            start,
            stored.trained,
            stored.validated,
            stored.unlabelled,
            stored.fingerprint,
            size,
            device,
            teacher,
        )
        on_event(Message(text=loaded_text(learner.report)))
        return learner

    learner, state, stopped = train_in_memory(make, dims, 1, config, run, processes, on_event, stop)
    result = FinetuneResult(
        run=run.path,
        steps=state.step,
        minutes=state.seconds / 60,
        validation_dice=state.best if stored.validated and state.best >= 0 else None,
        cases=[v.id for v in stored.trained],
        validation=[v.id for v in stored.validated],
        left_out=lost,
        precision="bfloat16" if state.bf16 else "float32",
        tensors_loaded=len(learner.report.loaded) if learner.report else 0,
        tensors_skipped=len(learner.report.skipped) if learner.report else 0,
    )
    if processes.is_main and not stopped:
        if hardly := learner.hardly_found():
            names = ", ".join(f"{name} (Dice {dice:.2f})" for name, dice in hardly.items())
            text = f"Hardly found, even in the images that were trained on: {names}"
            on_event(Message(level="warning", text=f"{text}; train for longer"))
        _tell_of_pieces(learner.description, len(stored.trained), on_event)
        if not stored.validated:
            description = learner.description.model_dump(mode="json")
            run.save_checkpoint({"network": learner.state()["network"], "description": description}, BEST)
        run.write_result(result)
    return Done(stopped=stopped, result=result)


def _tell_of_pieces(description: ModelDescription, labels: int, on_event: OnEvent) -> None:
    """Tells which classes will lose islands: with few labels, a class of several lesions may be one piece by chance."""
    if names := [c.name for c in description.tasks[0].classes if c.value in description.one_piece]:
        text = f"Predictions leave out islands of {', '.join(names)}: one piece in {counted(labels, 'label')}"
        on_event(Message(text=text, way_out="islands"))


def _stored(
    config: FinetuneConfig,
    catalogue: Catalogue,
    start: Start,
    teacher: Model | None,
    begun: ModelDescription | None,
    cases: Sequence[Image],
    validation: Sequence[Image],
    on_event: OnEvent,
    stop: Stop,
) -> _Stored:
    """Builds the store; a teacher also labels the images that are neither trained on, validated on nor left out."""
    task = catalogue.task(config.task)
    left_out = catalogue.with_patients(config.exclude)
    excluded = catalogue.with_patients([*config.exclude, *(i.id for i in validation)])
    both = sorted({*(i.id for i in cases if i.id in excluded), *(i.id for i in validation if i.id in left_out)})
    if both:
        text = f"The patients of the cases {', '.join(both)} are among those validated on or left out too"
        on_event(Message(level="warning", text=text))
    own = {i.id for i in cases}
    extra = [i for i in catalogue.usable(task.name) if teacher and i.id not in excluded and i.id not in own]
    # A run that goes on stays on its working grid, whatever images came since.
    same = begun if begun is not None or teacher is None else teacher.description
    if same is None:

        def measured() -> Fingerprint:
            own = task_fingerprint(catalogue, task, sorted(left_out), on_event, stop)
            return as_labels_need(catalogue, task, own, cases)

        fingerprint = start.fingerprint(catalogue, task, measured, on_event)
        fingerprint = as_coarse_as_structures_allow(catalogue, task, fingerprint, cases, on_event)
    else:
        fingerprint = same.own_fingerprint
    known = {task.name: fingerprint}
    return _Stored(
        fingerprint,
        build(catalogue, cases, known, with_labels=True, on_event=on_event, stop=stop),
        build(catalogue, validation, known, with_labels=True, on_event=on_event, stop=stop),
        build(catalogue, extra, known, with_labels=False, on_event=on_event, stop=stop),
    )


def _without_the_unusable(
    task: Task, cases: Sequence[Image], validation: Sequence[Image], stored: _Stored, on_event: OnEvent
) -> list[str]:
    """Returns the ids of the cases that could not be stored, and tells of classes that no label holds.

    Raises:
        ConfigurationError: none is left to train on.
    """
    used = {v.id for v in [*stored.trained, *stored.validated]}
    lost = [i.id for i in [*cases, *validation] if i.id not in used]
    if not stored.trained:
        raise ConfigurationError(
            f"none of the {counted(len(cases), 'labelled case')} of task {task.name!r} can be used: {shortened(lost, 5)}",
            "The reasons are above; check the images and their labels.",
            "check",
        )
    absent = [c.name for n, c in enumerate(task.classes) if not any(v.holds(n + 1) for v in stored.trained)]
    if absent:
        on_event(Message(level="warning", text=f"No label of the training cases holds {', '.join(absent)}"))
    return lost
