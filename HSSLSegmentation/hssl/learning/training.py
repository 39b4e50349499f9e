"""The one training loop: pretraining and fine-tuning differ in their learner, not in how they are trained.

It takes care of the budget (steps, epochs, minutes), the learning rate, mixed precision, several processes, NaN,
checkpoints, exact resume, `metrics.csv` and the events.
"""

from __future__ import annotations

import math
import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import nn

from ..configuration import RunConfig
from ..errors import ConfigurationError, NumericalError, OutputError
from ..events import Losses, Message, Metrics, OnEvent, ProgressMeter, Stop
from ..files import is_held
from ..models.description import ModelDescription
from ..models.device import computes_bf16, learns_in_bf16
from ..models.run_folder import BEST, RunFolder
from .distributed import Processes

LOG_EVERY = 5
"""Steps over which losses are averaged for `metrics.csv` and the curves."""
WARM_UP = 0.03
"""Share of the budget over which the learning rate rises to its full value."""
BF16_GAIN = 1.15
"""bf16 is used where a trial step is at least this much faster."""


@dataclass
class ParameterGroup:
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

    def read(self, step: int, rank: int, world_size: int) -> Any:
        """Reads a step's batch from the store, or this process's part of it; runs in a thread of its own."""

    def prepared(self, batch: Any) -> Any:
        """Moves a batch to the training device and augments it."""

    def ids(self, batch: Any) -> list[str]:
        """Returns the ids of the images in a batch, for messages."""

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns all trained parameters with their rates."""

    def begin(self, bf16: bool) -> None:
        """Called before the first step, with the precision that steps will have; the clock runs already."""

    def after_step(self, fraction: float) -> None:
        """Called after each optimiser step, with the share of the budget that is used up."""

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold besides the optimiser; "network" is what predictions use."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned, and from its "description" what else must not be forgotten."""

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


class Trainer:
    """Trains a learner until the budget is used up or a stop is requested; goes on from the run's checkpoint if there is one.

    The steps have names (`run` reads as the loop does), and everything that a step decides is a function of the state in the
    checkpoint and of the step's number, so that a resumed run is the run.

    Args:
        learner: what is trained.
        config: budget, learning rate, precision, and how often to save.
        run: folder of checkpoints and metrics.
        processes: this process among those that train together.
        on_event: receives the events.
        stop: asked after every step.

    Raises:
        ConfigurationError: the budget has no limit.
    """

    def __init__(
        self, learner: Learner, config: RunConfig, run: RunFolder, processes: Processes, on_event: OnEvent, stop: Stop
    ):
        self.learner, self.config, self.run_folder, self.processes = learner, config, run, processes
        self.on_event, self.stop = on_event, stop
        self.most_steps, self.minutes = _limits(config, learner.steps_per_epoch)
        learner.module.to(processes.device)
        self.groups = learner.parameter_groups()
        self.optimizer = torch.optim.AdamW(
            [{"params": g.parameters, "weight_decay": g.weight_decay, "lr": 0.0} for g in self.groups],
            betas=(0.9, 0.99),
            foreach=True,
        )
        self.state = State()
        self.columns = ["step", "seconds", "learning_rate", "total", *learner.loss_names, "validation_dice"]

    def run(self) -> tuple[State, bool]:
        """Trains.

        Returns:
            Where the training stands, and whether it was stopped before its end.

        Raises:
            NumericalError: a loss became NaN or infinite; the last checkpoint is kept and the message names the batch.
        """
        state, processes = self.state, self.processes
        if self.run_folder.can_resume:
            state = self._resume()
            # Of a budget that has grown since, more of the measurements lie ahead.
            state.measured = min(state.measured, self._due)
        state.device = processes.device.type
        # An earlier version may have trained in bf16 where gradients are wrong in it.
        if state.bf16 is None or (state.bf16 and not _learns_in_bf16(self.learner, processes.device)):
            state.bf16 = _choose_bf16(self.learner, self.config, processes, self.on_event)
        self._start_clocks()
        if state.step == 0:
            self.learner.begin(state.bf16)
        module = self._wrapped()
        meter = ProgressMeter(self.on_event, "training", self.most_steps, done=self.fraction)
        with ReadAhead(self.learner, processes, state.step) as batches:
            module.train()
            stop_requested, _ = processes.agreed(self.stop(), state.seconds)
            while self.fraction < 1 and not stop_requested:
                values, rate = self._train_step(module, batches.next())
                state.step += 1
                stop_requested, state.seconds = processes.agreed(self.stop(), self._seconds())
                self.learner.after_step(self.fraction)
                self._log_step(values, rate)
                meter.update(state.step, self.fraction)
                self._validate_when_due(module)
                self._save_when_due()
            self._save()
        meter.update(state.step, self.fraction, force=True)
        return state, self.fraction < 1

    @property
    def fraction(self) -> float:
        """Returns the share of the budget that is used up."""
        share = self.state.step / self.most_steps if self.most_steps else 0.0
        if self.minutes:
            share = max(share, self.state.seconds / (60 * self.minutes))
        return min(share, 1.0)

    @property
    def _due(self) -> int:
        """Returns how many of the learner's measurements should have been made by now."""
        return sum(f <= self.fraction for f in self.learner.measure_at())

    def _resume(self) -> State:
        content = self.run_folder.load_checkpoint()
        self.learner.load_state(content)
        self.optimizer.load_state_dict(content["optimizer"])
        self.state = State(**content["state"])
        if self.state.device != self.processes.device.type:
            self.state.bf16 = None  # what was quickest on one device is not on another
        self.on_event(Message(text=f"Resumed after step {self.state.step}"))
        return self.state

    def _start_clocks(self) -> None:
        self._began = self._last_save = self._last_metrics = time.monotonic()
        self._seconds_before = self.state.seconds

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._began

    def _wrapped(self) -> nn.Module:
        if self.processes.world_size == 1:
            return self.learner.module
        with warnings.catch_warnings():
            # Older versions know this name only.
            warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
            return nn.parallel.DistributedDataParallel(
                self.learner.module,
                find_unused_parameters=not self.learner.every_parameter,
                gradient_as_bucket_view=True,
                broadcast_buffers=False,  # none changes a buffer that another's step reads
            )

    def _train_step(self, module: nn.Module, batch: Any) -> tuple[dict[str, float], float]:
        """Takes one step of the optimizer; returns the losses, means over all processes, and the learning rate."""
        rate = self.config.learning_rate * _schedule(self.fraction)
        for group, g in zip(self.optimizer.param_groups, self.groups, strict=True):
            group["lr"] = rate * g.factor
        prepared = self.learner.prepared(batch)
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=bool(self.state.bf16)):
            losses = module(prepared)
        means = self.processes.means(losses)  # they travel while gradients are computed
        self.optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        values = means()
        self._check_finite(batch, values)
        trained = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(trained, self.config.gradient_clip)
        self._check_finite(batch, {"gradient": float(norm)})
        self.optimizer.step()
        return values, rate

    def _check_finite(self, batch: Any, values: dict[str, float]) -> None:
        bad = ", ".join(f"{name} = {value}" for name, value in values.items() if not math.isfinite(value))
        if bad:
            kept = "the last good checkpoint is kept" if self.run_folder.can_resume else "there is no checkpoint yet"
            ids = ", ".join(self.learner.ids(batch))
            raise NumericalError(f"step {self.state.step}: {bad}; {kept}. The batch held {ids}")

    def _log_step(self, values: dict[str, float], rate: float) -> None:
        state = self.state
        for name, value in values.items():
            state.sums[name] = state.sums.get(name, 0.0) + value
        state.summed += 1
        if state.step % LOG_EVERY:
            return
        mean = {name: total / state.summed for name, total in state.sums.items()}
        state.sums, state.summed = {}, 0
        self._add_row({**mean, "learning_rate": rate})
        self.on_event(Losses(step=state.step, values=mean, learning_rate=rate))
        # A long run's table is long too: no more than a fiftieth of the time goes into writing it.
        if self.processes.is_main and time.monotonic() - self._last_metrics > max(2, 50 * self._metrics_took):
            began = time.monotonic()
            self._write_metrics()
            self._last_metrics = time.monotonic()
            self._metrics_took = self._last_metrics - began

    _metrics_took = 0.0
    _metrics_held = False

    def _add_row(self, values: dict[str, float]) -> None:
        row = {"step": float(self.state.step), "seconds": self.state.seconds, **values}
        if self.state.rows and self.state.rows[-1]["step"] == self.state.step:
            self.state.rows[-1].update(row)
        else:
            self.state.rows.append(row)

    def _validate_when_due(self, module: nn.Module) -> None:
        if self._due <= self.state.measured:
            return
        self.state.measured = self._due
        if self.processes.is_main:
            self._validate()
        module.train()
        self.processes.wait()

    def _validate(self) -> None:
        values = self.learner.measure()
        if not values:
            return
        self._add_row(values)
        self.on_event(Metrics(step=self.state.step, values=values))
        if values.get("validation_dice", -math.inf) >= self.state.best:
            self.state.best = values["validation_dice"]
            content = {k: v for k, v in self._content().items() if k in ("network", "description")}
            self.run_folder.save_checkpoint(content, BEST)

    def _save_when_due(self) -> None:
        if time.monotonic() - self._last_save > 60 * self.config.checkpoint_minutes:
            self._save()
            self._last_save = time.monotonic()

    def _save(self) -> None:
        if self.processes.is_main:
            self.run_folder.save_checkpoint(self._content())
            self._write_metrics()

    def _write_metrics(self) -> None:
        # The table is in the checkpoint too, and somebody may be looking at it in a program that keeps others from writing.
        try:
            self.run_folder.write_metrics(self.columns, self.state.rows)
        except OutputError as error:
            if not is_held(error):
                raise
            if not self._metrics_held:
                self.on_event(Message(level="warning", text=f"{error}. {error.hint} The training goes on without it"))
            self._metrics_held = True

    def _content(self) -> dict[str, Any]:
        return {
            **self.learner.state(),
            "description": self.learner.description.model_dump(mode="json"),
            "optimizer": self.optimizer.state_dict(),
            "state": dict(self.state.__dict__),
        }


class ReadAhead:
    """Reads the batch of the next step in a thread of its own while this one is trained on."""

    def __init__(self, learner: Learner, processes: Processes, step: int):
        self._learner, self._processes, self._step = learner, processes, step
        self._pool = ThreadPoolExecutor(1)
        self._coming: Future[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def next(self) -> Any:
        """Returns the batch of the next step."""
        batch = (self._coming or self._submit()).result()
        self._coming = self._submit()
        return batch

    def __exit__(self, *error: object) -> None:
        if self._coming is not None:
            self._coming.cancel()
        self._pool.shutdown(wait=True)

    def _submit(self) -> Future[Any]:
        processes = self._processes
        self._step += 1
        return self._pool.submit(self._learner.read, self._step - 1, processes.rank, processes.world_size)


def _limits(config: RunConfig, steps_per_epoch: int) -> tuple[int | None, float | None]:
    budget = config.budget
    limits = [budget.steps] if budget.steps else []
    if budget.epochs:
        limits.append(max(1, math.ceil(budget.epochs * steps_per_epoch)))
    if not limits and not budget.minutes:
        raise ConfigurationError("a training needs a limit: steps, epochs or minutes")
    return (min(limits) if limits else None), budget.minutes


def _schedule(fraction: float) -> float:
    warm_up = min(1.0, (fraction + 1e-3) / WARM_UP)
    return warm_up * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fraction)))


def _learns_in_bf16(learner: Learner, device: torch.device) -> bool:
    return learns_in_bf16(device, learner.description.network.spatial_dims)


def _choose_bf16(learner: Learner, config: RunConfig, processes: Processes, on_event: OnEvent) -> bool:
    device = processes.device
    right = _learns_in_bf16(learner, device)
    if config.precision == "bfloat16" and not right:
        raise ConfigurationError(
            "this processor gives 3D networks wrong gradients in bfloat16",
            "Let the precision be chosen, or take float32.",
        )
    if config.precision != "auto":
        return config.precision == "bfloat16"
    if not right:
        return False
    if device.type != "cpu" or not computes_bf16(device):
        return computes_bf16(device)
    if processes.world_size > 1:
        return False  # a trial would have to be agreed upon; float32 is what one process and several share
    prepared = learner.prepared(learner.read(0, 0, 1))
    # CPU time, and the shortest of several tries: other programs only ever make one longer.
    times = {False: math.inf, True: math.inf}
    for bf16 in (False, True) * 4:
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            learner.module(prepared)["total"].backward()
        times[bf16] = min(times[bf16], time.process_time() - began)
    learner.module.zero_grad(set_to_none=True)
    faster = times[False] / times[True]
    on_event(Message(text=f"bf16 is {faster:.1f} times as fast as float32 here"))
    return faster >= BF16_GAIN
