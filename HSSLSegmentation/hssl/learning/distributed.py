"""One process or several (torchrun): who we are, on which device, and gathering tensors with their gradients."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import ConfigurationError
from ..models.device import chosen_device, use_threads
from ..plural import counted


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and tells events."""
        return self.rank == 0

    def wait(self) -> None:
        """Waits until all processes are here."""
        if self.world_size > 1:
            dist.barrier()

    def means(self, values: dict[str, Tensor]) -> Callable[[], dict[str, float]]:
        """Begins to take the mean of each scalar over the processes; what it returns waits for them."""
        stacked = torch.stack([value.detach().float() for value in values.values()])
        travelling = dist.all_reduce(stacked, async_op=True) if self.world_size > 1 else None

        def wait() -> dict[str, float]:
            if travelling is not None:
                travelling.wait()
            return dict(zip(values, (stacked / self.world_size).tolist(), strict=True))

        return wait

    def agreed(self, stop: bool, seconds: float) -> tuple[bool, float]:
        """Returns whether any of the processes is to stop, and the first one's seconds (all must ask)."""
        if self.world_size == 1:
            return stop, seconds
        shared = torch.tensor([float(stop), seconds if self.is_main else 0.0], dtype=torch.float64, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return bool(shared[0]), float(shared[1])


@contextmanager
def process_group(device: str, threads: int) -> Iterator[Processes]:
    """Joins the processes that torchrun started; without torchrun there is just this one.

    Args:
        device: as in the configuration; with several processes and GPUs each takes the one of its local rank.
        threads: CPU threads for torch; 0 takes as many as there are cores for this process.

    Raises:
        ConfigurationError: the device cannot be used, there are fewer GPUs than processes, or these cannot be joined.
    """
    use_threads(threads)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(0, 1, chosen_device(device))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", local + 1))
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if device.startswith("cuda:") or 0 < gpus < here:
        have = f"all would take {device}" if device.startswith("cuda:") else f"there are {counted(gpus, 'GPU')}"
        raise ConfigurationError(
            f"each of {here} processes takes a GPU of its own, and {have}",
            "Start as many processes as there are GPUs, on the device cuda, or compute on the cpu.",
        )
    if gpus:
        mine = chosen_device(f"cuda:{local}")
        torch.cuda.set_device(mine)
    else:
        mine = chosen_device("cpu" if device == "auto" else device)
    try:
        # The others wait while the first one builds the store, which takes hours for thousands of volumes.
        dist.init_process_group("nccl" if mine.type == "cuda" else "gloo", timeout=timedelta(days=1))
    except (RuntimeError, ValueError) as error:
        # After a restart torchrun's shared store still tells the addresses of the processes that are gone.
        restarted = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        raise ConfigurationError(
            f"the {count} processes could not be joined: {str(error).splitlines()[0]}",
            "Start torchrun with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment." if restarted else "",
        ) from error
    try:
        yield Processes(dist.get_rank(), count, mine)
    finally:
        dist.destroy_process_group()


def all_gather(tensor: Tensor) -> Tensor:
    """Returns the tensors of all processes one behind the other (dim 0), with gradients to each of them.

    Together with DDP's averaging of gradients, a mean over this process's anchors against gathered negatives has
    the gradient of the mean over the joint batch.
    """
    if not _together() or dist.get_world_size() == 1:
        return tensor
    return _Gathered.apply(tensor)


class _Gathered(torch.autograd.Function):
    """torch's own gathering with gradients, `torch.distributed.nn`, is deprecated, and nothing public takes its place."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.count = len(tensor)
        every = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(every, tensor.contiguous())
        return torch.cat(every)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.count
        return total[first : first + ctx.count]


def all_reduce(values: Tensor) -> Tensor:
    """Returns the sum of a tensor over the processes, the tensor itself where there is one process only."""
    if _together():
        dist.all_reduce(values)
    return values


def rank_offset(count: int) -> tuple[int, int]:
    """Returns where this process's `count` rows begin in a gathered tensor, and how many rows that has."""
    if not _together():
        return 0, count
    return dist.get_rank() * count, dist.get_world_size() * count


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()
