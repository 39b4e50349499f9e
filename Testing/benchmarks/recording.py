"""Where a benchmark's figures were measured: hardware, versions and commit, written with them as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
import torch

from hssl.files import write_text
from hssl.provenance import versions

LINE = 110
"""Characters of an object that is written in one line, at most."""


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
    write_text(path, as_text({**result, **circumstances()}) + "\n")


def as_text(value: Any, indent: int = 0) -> str:
    """Returns JSON for people and for diffs: a row of a table a line, and short objects in one line."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = " " * (indent + 1)
    if isinstance(value, dict) and indent + len(line) > LINE:
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {as_text(item, indent + 1)}" for key, item in value.items()]
        return f"{{\n{inner}" + f",\n{inner}".join(parts) + f"\n{' ' * indent}}}"
    if isinstance(value, list | tuple) and any(isinstance(item, dict | list) for item in value):
        rows = [json.dumps(item, ensure_ascii=False, allow_nan=False) for item in value]
        return f"[\n{inner}" + f",\n{inner}".join(rows) + f"\n{' ' * indent}]"
    return line


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
