"""What every training job does around the loop: joins processes, opens the run, backs off when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from ..configuration import RunConfig
from ..errors import ConfigurationError, MemoryExhaustedError
from ..events import Done, Message, OnEvent, Stop, Stopped, ignore
from ..models.device import chosen_device, device_text, give_back_freed_memory, out_of_memory
from ..models.run_folder import RunFolder, free_name, opened
from ..workspace.catalogue import Task
from .distributed import Processes, process_group
from .patches import batch_size
from .training import Learner, State, Trainer

AConfig = TypeVar("AConfig", bound=RunConfig)
ALearner = TypeVar("ALearner", bound=Learner)
AThing = TypeVar("AThing")


def require_same_classes(begun: Task, present: Task) -> None:
    """Refuses to go on with a run whose task has other classes by now: a head of one would learn another.

    Raises:
        ConfigurationError: with the task's present name.
    """
    if [c.value for c in begun.classes] != [c.value for c in present.classes]:
        raise ConfigurationError(
            f"the classes of task {present.name!r} have changed since this run began",
            "Begin another run, with this one as its start.",
        )


def in_run(
    config: AConfig,
    wish: str,
    work: Callable[[AConfig, RunFolder, Processes, OnEvent, Stop], Done],
    on_event: OnEvent,
    stop: Stop,
) -> Done:
    """Does the work of a job inside its run folder, alone or as one of the processes that torchrun started.

    Args:
        wish: name of the run where the configuration has none; a number is added where it is taken.
        work: the job; only the first process's events are told.

    Raises:
        ConfigurationError: several processes, and the run has no name.
    """
    with process_group(config.device, config.threads) as processes:
        if not processes.is_main:
            on_event = ignore
        if not config.run:
            if processes.world_size > 1:
                raise ConfigurationError("several processes need the run's name")
            config = config.model_copy(update={"run": free_name(config.workspace, wish)})
        with opened(config, on_event, write=processes.is_main) as (run, tell):
            return work(config, run, processes, tell, stop)


def main_process_first(work: Callable[[], AThing], processes: Processes) -> AThing | None:
    """Lets the first process do a piece of work whose result the others then find on the disk, such as the store.

    Returns:
        What the work returned; None in all processes where one of them was stopped in it.
    """
    if not processes.is_main:
        processes.wait()
    try:
        found = work()
    except Stopped:
        found = None
    if processes.is_main:
        processes.wait()
    stopped, _ = processes.agreed(found is None, 0.0)
    return None if stopped else found


def train_in_memory(
    make: Callable[[int, torch.device], ALearner],
    dims: int,
    smallest: int,
    config: RunConfig,
    run: RunFolder,
    processes: Processes,
    on_event: OnEvent,
    stop: Stop,
) -> tuple[ALearner, State, bool]:
    """Trains with half the batch whenever memory runs out, and at last on the CPU.

    Args:
        make: returns a learner for a batch size and a device.
        dims: spatial dimensions of the network, for the device's usual batch size.
        smallest: batch size below which there is no sense in going.

    Returns:
        The learner, where its training stands, and whether it was stopped before its end.

    Raises:
        ConfigurationError: the processes cannot share the batch evenly.
        MemoryExhaustedError: not even the smallest batch fits on the CPU.
    """
    on_event(Message(text=device_text(processes.device)))
    size = batch_size(processes.device, dims, config.batch_size, processes.world_size)
    learner: ALearner | None
    while True:
        try:
            learner = make(size, processes.device)
            return learner, *Trainer(learner, config, run, processes, on_event, stop).run()
        except (MemoryError, RuntimeError) as error:
            # Several processes would have to agree on it.
            if not out_of_memory(error) or processes.world_size > 1:
                raise
            if size // 2 >= smallest:
                size //= 2
                text = f"going on with batches of {size}"
            elif processes.device.type != "cpu":
                processes = replace(processes, device=chosen_device("cpu"))
                size = batch_size(processes.device, dims, config.batch_size, processes.world_size)
                text = "going on on the CPU"
            else:
                raise MemoryExhaustedError(
                    f"not even {size} patches fit on {processes.device}",
                    "Choose a smaller network or patch size, or another device.",
                ) from error
            on_event(Message(level="warning", text=f"Out of memory; {text}"))
        learner = None
        gc.collect()  # an optimizer refers to itself, and to all weights, gradients and moments
        give_back_freed_memory()
