"""Where a benchmark's figures were measured: hardware, versions and commit, written with them as JSON."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
import torch

from hssl.files import write_json
from hssl.provenance import versions


def circumstances() -> dict[str, Any]:
    """Returns hardware, versions, commit, and how busy the machine is at the moment."""
    here = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no", "--", here.parents[1] / "HSSLSegmentation"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "hardware": {
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "load": [round(n, 1) for n in psutil.getloadavg()],
        },
        "versions": versions(),
        "commit": commit.stdout.strip() + (" with changes" if changed.stdout.strip() else ""),
    }


def record(path: Path, result: dict[str, Any]) -> None:
    """Writes a result together with its circumstances, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**result, **circumstances()})


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
