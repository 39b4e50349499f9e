"""The one training loop: pretraining and fine-tuning differ in their learner, not in how they are trained.

It takes care of the budget (steps, epochs, minutes), the learning rate, mixed precision, several processes, NaN,
checkpoints, exact resume, `metrics.csv` and the events.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from ..configuration import RunConfig
from ..errors import ConfigurationError, NumericalError
from ..events import Losses, Message, Metrics, OnEvent, ProgressMeter, Stop
from ..models.description import ModelDescription
from ..models.run_folder import BEST, RunFolder
from .distributed import Processes

LOG_EVERY = 5
"""Steps over which losses are averaged for `metrics.csv` and the curves."""
RISE = 0.03
"""Share of the budget over which the learning rate rises to its full value."""
BF16_GAIN = 1.15
"""bf16 is used where a trial step is at least this much faster."""


@dataclass
class Rated:
    """Parameters with a learning rate of their own: the base rate times `factor`."""

    parameters: list[nn.Parameter]
    factor: float
    weight_decay: float


class Learner(Protocol):
    """What is trained: turns batches into losses, and knows what else must be kept in a checkpoint."""

    module: nn.Module
    """Called with what `prepared` returns, gives the losses by name with "total" among them."""
    loss_names: tuple[str, ...]
    description: ModelDescription
    every_parameter: bool
    """Whether each step gives each parameter a gradient, so that several processes need not look for the others."""

    @property
    def steps_per_epoch(self) -> int:
        """Returns the number of steps after which every image was likely seen."""

    def read(self, step: int, rank: int, ranks: int) -> Any:
        """Reads a step's batch from the store, or this process's part of it; runs in a thread of its own."""

    def prepared(self, batch: Any) -> Any:
        """Moves a batch to the training device and augments it."""

    def ids(self, batch: Any) -> list[str]:
        """Returns the ids of the images in a batch, for messages."""

    def rated(self) -> list[Rated]:
        """Returns all trained parameters with their rates."""

    def begin(self, bf16: bool) -> None:
        """Called before the first step, with the precision that steps will have; the clock runs already."""

    def after_step(self, fraction: float) -> None:
        """Called after each optimiser step, with the share of the budget that is used up."""

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold besides the optimiser; "network" is what predictions use."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned."""

    def measure(self) -> dict[str, float]:
        """Returns measurements such as "validation_dice"; empty when there is nothing to measure on."""

    def measure_at(self) -> tuple[float, ...]:
        """Returns the fractions of the budget at which to measure."""


@dataclass
class State:
    """Where a training stands; lives in the checkpoint, so that curves and clocks go on after a resume."""

    step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0
    measured: int = 0
    best: float = -math.inf
    bf16: bool | None = None
    device: str = ""


def train(
    learner: Learner, config: RunConfig, run: RunFolder, processes: Processes, on_event: OnEvent, stop: Stop
) -> tuple[State, bool]:
    """Trains until the budget is used up or a stop is asked for; goes on from the run's checkpoint if there is one.

    Returns:
        Where the training stands, and whether it was stopped before its end.

    Raises:
        NumericalError: a loss became NaN or infinite; the last checkpoint is kept and the message names the batch.
        ConfigurationError: the budget has no limit.
    """
    steps, minutes = _limits(config, learner.steps_per_epoch)
    device = processes.device
    learner.module.to(device)
    rated = learner.rated()
    optimizer = torch.optim.AdamW(
        [{"params": r.parameters, "weight_decay": r.weight_decay, "lr": 0.0} for r in rated],
        betas=(0.9, 0.99),
        foreach=True,
    )
    state = State()
    if run.can_resume:
        content = run.load_checkpoint()
        learner.load_state(content)
        optimizer.load_state_dict(content["optimizer"])
        state = State(**content["state"])
        if state.device != device.type:
            state.bf16 = None  # what was quickest on one device is not on another
        on_event(Message(text=f"Resumed after step {state.step}"))
    state.device = device.type
    if state.bf16 is None:
        state.bf16 = _choose_bf16(learner, config, processes, on_event)
    began = last_save = last_metrics = time.monotonic()
    if state.step == 0:
        learner.begin(state.bf16)
    module: nn.Module = learner.module
    if processes.count > 1:
        module = nn.parallel.DistributedDataParallel(
            module,
            find_unused_parameters=not learner.every_parameter,
            gradient_as_bucket_view=True,
            broadcast_buffers=False,  # none changes a buffer that another's step reads
        )
    columns = ["step", "seconds", "learning_rate", "total", *learner.loss_names, "validation_dice"]

    def fraction() -> float:
        share = state.step / steps if steps else 0.0
        if minutes:
            share = max(share, state.seconds / (60 * minutes))
        return min(share, 1.0)

    def save(name: str | None = None) -> None:
        if not processes.first:
            return
        content = {
            **learner.state(),
            "description": learner.description.model_dump(mode="json"),
            "optimizer": optimizer.state_dict(),
            "state": dict(state.__dict__),
        }
        if name:
            run.save_checkpoint({k: content[k] for k in ("network", "description")}, name)
        else:
            run.save_checkpoint(content)
            run.write_metrics(columns, state.rows)

    def note(values: dict[str, float]) -> None:
        row = {"step": float(state.step), "seconds": state.seconds, **values}
        if state.rows and state.rows[-1]["step"] == state.step:
            state.rows[-1].update(row)
        else:
            state.rows.append(row)

    def measure() -> None:
        values = learner.measure()
        if not values:
            return
        note(values)
        on_event(Metrics(step=state.step, values=values))
        if values.get("validation_dice", -math.inf) >= state.best:
            state.best = values["validation_dice"]
            save(BEST)

    meter = ProgressMeter(on_event, "training", steps, done=fraction())
    reader = ThreadPoolExecutor(1)
    coming: Future[Any] | None = None
    seconds_before = state.seconds
    try:
        module.train()
        asked, _ = processes.agreed(stop(), state.seconds)
        while fraction() < 1 and not asked:
            batch = (coming or reader.submit(learner.read, state.step, processes.rank, processes.count)).result()
            coming = reader.submit(learner.read, state.step + 1, processes.rank, processes.count)
            rate = config.learning_rate * _schedule(fraction())
            for group, r in zip(optimizer.param_groups, rated, strict=True):
                group["lr"] = rate * r.factor
            prepared = learner.prepared(batch)
            with torch.autocast(device.type, torch.bfloat16, enabled=state.bf16):
                losses = module(prepared)
            means = processes.means(losses)  # they travel while gradients are computed
            optimizer.zero_grad(set_to_none=True)
            losses["total"].backward()
            values = means()
            if not all(math.isfinite(v) for v in values.values()):
                raise NumericalError(_describe(learner, batch, values, state.step, run))
            trained = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            norm = nn.utils.clip_grad_norm_(trained, config.gradient_clip, foreach=True)
            if not math.isfinite(float(norm)):
                raise NumericalError(_describe(learner, batch, {"gradient": float(norm)}, state.step, run))
            optimizer.step()
            state.step += 1
            asked, state.seconds = processes.agreed(stop(), seconds_before + time.monotonic() - began)
            learner.after_step(fraction())
            for name, value in values.items():
                state.sums[name] = state.sums.get(name, 0.0) + value
            state.summed += 1
            if state.step % LOG_EVERY == 0:
                mean = {name: total / state.summed for name, total in state.sums.items()}
                state.sums, state.summed = {}, 0
                note({**mean, "learning_rate": rate})
                on_event(Losses(step=state.step, values=mean, learning_rate=rate))
                if processes.first and time.monotonic() - last_metrics > 2:
                    run.write_metrics(columns, state.rows)
                    last_metrics = time.monotonic()
            meter.update(state.step, fraction())
            due = [f for f in learner.measure_at() if f <= fraction()]
            if len(due) > state.measured:
                state.measured = len(due)
                if processes.first:
                    measure()
                module.train()
                processes.wait()
            if time.monotonic() - last_save > 60 * config.checkpoint_minutes:
                save()
                last_save = time.monotonic()
        save()
    finally:
        if coming is not None:
            coming.cancel()
        reader.shutdown(wait=True)
    meter.update(state.step, fraction(), force=True)
    return state, fraction() < 1


def _limits(config: RunConfig, steps_per_epoch: int) -> tuple[int | None, float | None]:
    budget = config.budget
    limits = [budget.steps] if budget.steps else []
    if budget.epochs:
        limits.append(max(1, math.ceil(budget.epochs * steps_per_epoch)))
    if not limits and not budget.minutes:
        raise ConfigurationError("a training needs a limit: steps, epochs or minutes")
    return (min(limits) if limits else None), budget.minutes


def _schedule(fraction: float) -> float:
    rise = min(1.0, (fraction + 1e-3) / RISE)
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fraction)))


def _choose_bf16(learner: Learner, config: RunConfig, processes: Processes, on_event: OnEvent) -> bool:
    device = processes.device
    if config.precision != "auto":
        return config.precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if processes.count > 1:
        return False  # a trial would have to be agreed upon; float32 is what one process and several share
    prepared = learner.prepared(learner.read(0, 0, 1))
    # The shortest of several tries: other programs only ever make one longer.
    times = {False: math.inf, True: math.inf}
    for bf16 in (False, True) * 4:
        began = time.monotonic()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            learner.module(prepared)["total"].backward()
        times[bf16] = min(times[bf16], time.monotonic() - began)
    learner.module.zero_grad(set_to_none=True)
    faster = times[False] / times[True]
    on_event(Message(text=f"bf16 is {faster:.1f} times as fast as float32 here"))
    return faster >= BF16_GAIN


def _describe(learner: Learner, batch: Any, values: dict[str, float], step: int, run: RunFolder) -> str:
    bad = ", ".join(f"{name} = {value}" for name, value in values.items() if not math.isfinite(value))
    kept = "the last good checkpoint is kept" if run.can_resume else "there is no checkpoint yet"
    return f"step {step}: {bad}; {kept}. The batch held {', '.join(learner.ids(batch))}"
