"""What this process may use of the machine: memory and cores, within the limits of its container or batch job."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux keeps control groups, and where it says which ones this process is in."""


def available_memory() -> int:
    """Returns the bytes that can be taken: the smaller of what the host has free and what a control group leaves.

    Limits of control groups (v1 and v2, of every group above too) are those of containers and batch systems; whoever
    goes beyond is killed, however much the host has.
    """
    free = psutil.virtual_memory().available
    for folder in _groups("memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            # Cached files count as used, and give way.
            free = min(free, max(0, int(limit - used + _statistic(folder / "memory.stat", "inactive_file"))))
    return free


def cores() -> int:
    """Returns the number of cores that can work for this process: affinity and quotas count; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    for folder in _groups("cpu"):
        both = _words(folder / "cpu.max")
        both = both or [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
        if len(both) == 2 and both[0].isdecimal() and both[1].isdecimal():  # "max" and -1 are no limit
            count = min(count, int(both[0]) / max(int(both[1]), 1))
    return max(1, math.ceil(count))


def _groups(controller: str) -> Iterator[Path]:
    """Yields the folders of the control groups that this process is in, from its own up to the root."""
    try:
        lines = OWN.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers and controller not in controllers.split(","):
            continue
        root = ROOT / controller if controllers else ROOT
        own = root / path.lstrip("/")
        # A container sees its own group as the root.
        yield from [folder for folder in [own, *own.parents] if folder == root or root in folder.parents]


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []


def _number(file: Path) -> int | None:
    words = _words(file)
    return int(words[0]) if words and words[0].isdecimal() else None


def _statistic(file: Path, name: str) -> int:
    words = _words(file)
    for key, value in zip(words[::2], words[1::2], strict=False):
        if key in (name, f"total_{name}") and value.isdecimal():
            return int(value)
    return 0
