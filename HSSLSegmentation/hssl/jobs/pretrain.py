"""Pretraining: from the images of a workspace, labelled or not, to an encoder–decoder.

Labels are read only where the configuration says `with_labels`.
"""

from __future__ import annotations

from functools import partial

import torch

from ..configuration import PretrainConfig
from ..errors import ConfigurationError
from ..events import Done, Message, OnEvent, Phase, Stop, ignore, never
from ..learning.distributed import Processes
from ..learning.pretraining import PretrainLearner
from ..learning.start import Start, loaded_text
from ..learning.training import State
from ..learning.training_run import in_run, main_process_first, require_same_classes, train_in_memory
from ..models.description import ModelDescription
from ..models.model_file import load_model
from ..models.run_folder import RunFolder
from ..plural import counted
from ..preprocessing.fingerprint import Fingerprint
from ..preprocessing.store import StoredVolume, build, clean, task_fingerprint
from ..results import PretrainResult
from ..workspace.catalogue import Catalogue, Task
from ..workspace.presence import in_workspace


@in_workspace
def pretrain(config: PretrainConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done[PretrainResult]:
    """Pretrains a network (paper, sections 2 and 3).

    A run of that name that has a checkpoint is continued.

    Args:
        config: what to train on, with which losses, and for how long.
        on_event: receives the events.
        stop: asked after every step.

    Returns:
        The Done event with a `PretrainResult`.

    Raises:
        HSSLError: with the reason; what was trained so far is kept.

    Example:
        >>> from hssl import PretrainConfig, pretrain
        >>> done = pretrain(PretrainConfig(workspace=workspace, run="night", budget={"steps": 2}))
        >>> done.result.steps
        2
    """
    return in_run(config, f"pretrain-{config.pretext}", _pretrained, on_event, stop)


def _pretrained(
    config: PretrainConfig, run: RunFolder, processes: Processes, on_event: OnEvent, stop: Stop
) -> Done[PretrainResult]:
    catalogue = Catalogue.load(config.workspace)
    # A task may have been renamed since the run began.
    wanted = [catalogue.task(name).name for name in config.tasks]
    names = wanted or [t.name for t in catalogue.tasks if catalogue.usable(t.name)]
    known = load_model(run.path).description if run.can_resume else None
    begun = _tasks_of(known, catalogue, config.with_labels) if known is not None else []
    if begun:
        later = [name for name in names if name not in {t.name for t in begun}]
        if later:
            text = f"This run began without {', '.join(later)} and goes on without"
            on_event(Message(level="warning", text=f"{text}; another run, with this one as its start, takes all"))
        names = [t.name for t in begun]
    catalogue.require(config.exclude, "to be left out")
    excluded = catalogue.with_patients(config.exclude)
    images = [i for name in names for i in catalogue.usable(name) if i.id not in excluded]
    if not images:
        raise ConfigurationError(f"{config.workspace}: there is no usable image to pretrain on")
    start = Start.named(config.start, config.workspace)
    start.tell_of_network(config.network, on_event)
    config = config.model_copy(update={"network": start.network(config.network)})
    # A run that goes on stays on its working grids, whatever images came since.
    grids = (
        {now.name: known.fingerprints[then.name] for then, now in zip(known.tasks, begun, strict=True)} if known else {}
    )
    on_event(Phase(name="store", index=1, count=2))

    def build_store() -> tuple[dict[str, Fingerprint], list[StoredVolume]]:
        if processes.is_main:
            clean(config.workspace)
        fingerprints = {
            name: grids.get(name) or _fingerprint(catalogue, name, start, excluded, on_event, stop)
            for name in names
            if any(i.task == name for i in images)
        }
        volumes: list[StoredVolume] = []
        if config.with_labels:
            labelled = {i.id for name in names for i in catalogue.usable(name, labelled=True)}
            own = [i for i in images if i.id in labelled]
            volumes += build(catalogue, own, fingerprints, with_labels=True, on_event=on_event, stop=stop)
        # An image whose label cannot be used is still an image.
        known = {v.id for v in volumes}
        others = [i for i in images if i.id not in known]
        volumes += build(catalogue, others, fingerprints, with_labels=False, on_event=on_event, stop=stop)
        return fingerprints, sorted(volumes, key=lambda v: (v.task, v.id))

    stored = main_process_first(build_store, processes)
    if stored is None:
        return Done(stopped=True, result=PretrainResult(run=run.path))
    fingerprints, volumes = stored
    if not volumes:
        raise ConfigurationError(
            f"{config.workspace}: none of the {counted(len(images), 'image')} can be read", "", "check"
        )
    on_event(Phase(name="training", index=2, count=2))

    def make(size: int, device: torch.device) -> PretrainLearner:
        learner = PretrainLearner(config, catalogue, start, volumes, fingerprints, size, device, begun)
        on_event(Message(text=loaded_text(learner.report)))
        return learner

    dims = config.network.spatial_dims
    _, state, stopped = train_in_memory(make, dims, 2, config, run, processes, on_event, stop)
    result = PretrainResult(run=run.path, steps=state.step, minutes=state.seconds / 60, losses=last_losses(state))
    if processes.is_main and not stopped:
        run.write_result(result)
    return Done(stopped=stopped, result=result)


def _fingerprint(
    catalogue: Catalogue, name: str, start: Start, excluded: set[str], on_event: OnEvent, stop: Stop
) -> Fingerprint:
    task = catalogue.task(name)
    measured = partial(task_fingerprint, catalogue, task, sorted(excluded), on_event, stop)
    return start.fingerprint(catalogue, task, measured, on_event)


def _tasks_of(description: ModelDescription, catalogue: Catalogue, with_labels: bool) -> list[Task]:
    """Returns the tasks of a run that goes on, in the order of its heads, in the groups in which it began.

    They bear the names that they have now: neither a new name nor another group may give one task the head of another.

    Raises:
        ConfigurationError: one of them is no longer in the workspace, or has other classes, where labels are learned.
    """
    begun = []
    for known in description.tasks:
        present = catalogue.task(known.name)
        if with_labels:
            require_same_classes(known, present)
        # A task without a group is one of its own, of the name that it had.
        group = known.group or ("" if present.name == known.name else known.name)
        begun.append(present.model_copy(update={"group": group}))
    return begun


def last_losses(state: State) -> dict[str, float]:
    """Returns the latest mean losses of a training."""
    for row in reversed(state.rows):
        if "total" in row:
            return {k: v for k, v in row.items() if k not in ("step", "seconds", "learning_rate", "validation_dice")}
    return {}
