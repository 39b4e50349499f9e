"""A pretend GPU: what runs on one runs on the CPU here, and is refused where a GPU would refuse it.

`pretended()` lets torch believe in a device. Tensors that are brought or made there are tensors of the CPU whose storage is
marked; all calls of torch from Python are watched meanwhile, and raise as CUDA does where marked and unmarked tensors meet.
Gradients, dtypes and autocast are those of the CPU.

    with pretended() as device:
        images = torch.ones(2, 1, 32, 32, device="cuda")
        images + torch.ones(32)    # RuntimeError: Expected all tensors to be on the same device …
        images.numpy()             # TypeError: can't convert cuda:0 device type tensor to numpy …
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

JOINING = {"cat", "concat", "stack", "hstack", "vstack", "matmul", "mm", "bmm", "linear"}
"""Functions that take no scalar of the CPU among tensors of a GPU; those that work voxel by voxel do."""
MEETING = {"copy_", "view_as", "expand_as", "reshape_as", "_has_compatible_shallow_copy_type"}
"""Functions that take tensors of both."""
WAITING = {"item", "tolist", "nonzero", "unique", "masked_select", "__bool__", "__float__", "__int__", "__index__"}
"""Functions whose result the CPU waits for."""
LIKE = {"zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like"}


class PretendDevice(TorchFunctionMode):
    """Watches all calls of torch from this thread while it is entered (see `pretended`).

    Attributes:
        device: what marked tensors say that they lie on.
        most_bytes: a tensor of the device that is larger does not fit into its memory.
        waits: how often the CPU has waited for a result of the device.
        made: how many tensors the device has been asked for.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.device = torch.device(kind, 0)
        self.most_bytes: float = float("inf")
        self.waits = self.made = 0

    def holds(self, tensor: Tensor) -> bool:
        """Returns whether a tensor lies on the device."""
        with torch._C.DisableTorchFunction():
            return hasattr(tensor.untyped_storage(), "pretended")

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = func.__name__
        if name in ("__get__", "__set__"):
            return self._property(func, name, *args)
        if name in ("to", "cpu", "cuda"):
            return self._moved(name, *args, **kwargs)
        tensors = list(_tensors((args, kwargs)))
        here = [t for t in tensors if self.holds(t)]
        if not here and not self._is_own(kwargs.get("device")):
            return func(*args, **kwargs)
        if name in ("numpy", "__array__"):
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                "memory first."
            )
        elsewhere = [t for t in tensors if not self.holds(t)]
        self._refuse_mixed(name, args, kwargs, here, elsewhere)
        self.waits += name in WAITING or (name == "__getitem__" and _has_mask(args[1]))
        wanted = kwargs.pop("device", self.device)
        result = func(*args, **kwargs)
        if self._is_own(wanted):
            self._mark(result, elsewhere)
        return result

    def _property(self, func: Any, kind: str, tensor: Tensor, *value: Any) -> Any:
        name, here = func.__self__.__name__, self.holds(tensor)
        if kind == "__set__":
            if name == "grad" and isinstance(value[0], Tensor) and self.holds(value[0]) != here:
                raise RuntimeError("attempting to assign a gradient with device type another than the tensor's")
            return func(tensor, *value)
        if here and name in ("device", "is_cuda", "is_mps", "is_cpu"):
            return self.device if name == "device" else name == f"is_{self.device.type}"
        result = func(tensor, *value)
        if here:
            self._mark(result, [])
        return result

    def _moved(self, name: str, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Tensor.to with all its signatures, .cpu and .cuda."""
        given = [*args, *kwargs.values()]
        like = next((g for g in given if isinstance(g, Tensor)), None)
        dtype = next((g for g in given if isinstance(g, torch.dtype)), None if like is None else like.dtype)
        here = self.holds(tensor)
        goes_here = here
        if name != "to":
            goes_here = name == "cuda"
        elif like is not None:
            goes_here = self.holds(like)
        elif devices := [g for g in given if isinstance(g, str | torch.device)]:
            if torch.device(devices[0]).type not in ("cpu", self.device.type):
                return tensor.to(*args, **kwargs)
            goes_here = self._is_own(devices[0])
        result = tensor if dtype is None else tensor.to(dtype)
        moved = goes_here != here or bool(kwargs.get("copy"))
        if moved and result.untyped_storage()._cdata == tensor.untyped_storage()._cdata:
            result = result.clone()
        self.waits += here and not goes_here
        if goes_here:
            self._mark(result, [] if moved or here else [tensor])
        return result

    def _refuse_mixed(self, name: str, args: Any, kwargs: Any, here: list[Tensor], elsewhere: list[Tensor]) -> None:
        if any(isinstance(value, torch.Generator) for value in [*args, *kwargs.values()]):
            raise RuntimeError(f"Expected a '{self.device.type}' device type for generator but found 'cpu'")
        if name in MEETING or not here:
            return
        if name in ("__getitem__", "__setitem__"):
            tensor, index, *value = args
            if not self.holds(tensor) and any(map(self.holds, _tensors(index))):
                raise RuntimeError(
                    "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
                )  # the reverse is allowed, and slices are filled by copying
            if not any(True for _ in _tensors(index)):
                return
            elsewhere = [v for v in value if isinstance(v, Tensor) and not self.holds(v)]
        changed = name.endswith("_") and not name.endswith("__") and any(t is args[0] for t in elsewhere)
        if changed or any(t.dim() or name in JOINING for t in elsewhere):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {self.device} and cpu! "
                f"(in {name})"
            )

    def _mark(self, result: Any, elsewhere: list[Tensor]) -> None:
        """Marks what a call has made; what it only hands on lies where it lay."""
        others = {t.untyped_storage()._cdata for t in elsewhere}
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if storage._cdata in others or hasattr(storage, "pretended"):
                continue
            if self.device.type == "mps" and tensor.dtype == torch.float64:
                raise TypeError(
                    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
                )
            if storage.nbytes() > self.most_bytes:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {storage.nbytes()} bytes.")
            storage.pretended = True
            self.made += 1

    def _is_own(self, device: Any) -> bool:
        return isinstance(device, str | torch.device) and torch.device(device).type == self.device.type

    def _location(self, storage: Any) -> str | None:
        """What torch.save writes of where a tensor lay."""
        return str(self.device) if hasattr(storage, "pretended") else None

    def _restored(self, storage: Any, location: str) -> Any:
        if location.startswith(self.device.type):
            storage.pretended = True
            return storage
        return None


@contextmanager
def pretended(kind: str = "cuda", major: int = 8) -> Iterator[PretendDevice]:
    """Lets torch believe in one device of a kind.

    Args:
        kind: "cuda", or "mps", which knows no float64.
        major: of the compute capability; cards compute bfloat16 from 8 on.
    """
    found = PretendDevice(kind)
    autocast = torch.autocast.__init__
    grouped = torch._C._group_tensors_by_device_and_dtype

    def begins(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        autocast(self, "cpu" if device_type == kind else device_type, *args, **kwargs)

    def by_device(lists: Any, *args: Any) -> Any:
        first = next(iter(_tensors(lists)), None)
        device = found.device if first is not None and found.holds(first) else torch.device("cpu")
        return {(device, dtype): group for (_, dtype), group in grouped(lists, *args).items()}

    on_cuda = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_properties": lambda device=None: SimpleNamespace(major=major, minor=0, name="pretended"),
        "get_device_capability": lambda device=None: (major, 0),
        "manual_seed_all": lambda seed: None,
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: None,
        "reset_peak_memory_stats": lambda device=None: None,
        "max_memory_allocated": lambda device=None: 0,
    }
    registry = torch.serialization._package_registry
    with ExitStack() as stack:
        for name, function in on_cuda.items() if kind == "cuda" else ():
            stack.enter_context(patch.object(torch.cuda, name, function))
        stack.enter_context(patch.object(torch.autocast, "__init__", begins))
        stack.enter_context(patch.object(torch._C, "_group_tensors_by_device_and_dtype", by_device))
        stack.enter_context(patch.object(torch.serialization, "_package_registry", [*registry]))
        torch.serialization.register_package(0, found._location, found._restored)
        stack.enter_context(found)
        yield found


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)


def _has_mask(index: Any) -> bool:
    return any(t.dtype == torch.bool for t in _tensors(index))
