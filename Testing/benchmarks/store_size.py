"""Benchmark, row 6: memory of pretraining from a store of 100,000 slices against one of 10,000 (both generated).

    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/store_size.py

Volumes of 100 slices of 96 × 96 voxels, uncompressed, in a temporary folder (4 GB); building the store belongs to what is
measured. "peak" is what the system counts for the process, mapped pages of the store included; "own" is without these,
which the system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from measuring import Measures, Side, alternated, figures, ratios, status_megabytes, write

SLICES, SIDE = 100, 96


def generate(folder: Path, volumes: int) -> Path:
    """Makes a workspace of two tasks whose volumes hold a bright ball in noise."""
    from hssl.workspace.catalogue import Catalogue, Task
    from hssl.workspace.check import check_workspace
    from hssl.workspace.scan import add
    from hssl.workspace.sources import find

    generator = np.random.default_rng(0)
    grid = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in (SLICES, SIDE, SIDE)), indexing="ij")
    ball = np.sum([g**2 for g in grid], axis=0) < 0.6
    workspace = folder / "workspace"
    Catalogue.create(workspace, "Generated")
    for task in ("first", "second"):
        (folder / task).mkdir()
        for number in range(volumes // 2):
            noise = generator.integers(-60, 60, ball.shape, dtype=np.int16)
            image = sitk.GetImageFromArray(np.where(ball, 400, 100).astype(np.int16) + noise)
            sitk.WriteImage(image, str(folder / task / f"volume_{number:04d}.mha"), False)
        add(workspace, find(folder / task), Task(name=task, modality="MR", group=task))
    check_workspace(workspace)
    return workspace


def pretraining(workspace: Path, steps: int) -> Callable[[], Measures]:
    """Returns what runs a pretraining and tells its peaks."""
    from hssl.configuration import Budget, PretrainConfig
    from hssl.jobs.pretrain import pretrain

    def work() -> Measures:
        most = 0.0
        done = threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.wait(0.05):
                most = max(most, status_megabytes("RssAnon"))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            run = f"run-{time.monotonic_ns()}"
            budget = Budget(steps=steps)
            pretrain(PretrainConfig(workspace=workspace, run=run, budget=budget, threads=1, precision="bfloat16"))
        finally:
            done.set()
            watcher.join()
        return {"own_megabytes": most}

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, nargs=2, default=(10_000, 100_000))
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    few, many = given.slices
    with tempfile.TemporaryDirectory() as name:
        sides = {}
        for slices in (few, many):
            folder = Path(name) / str(slices)
            folder.mkdir()
            sides[f"{slices}_slices"] = Side(pretraining, generate(folder, slices // SLICES), given.steps)
        # One round each, the store being built in it: a process's peak never falls again.
        measured = alternated(sides, 1, warm_up=0)
    names = list(sides)
    write(
        "store_size.json", "6", "memory of pretraining by size of the store",
        {"peak_many_over_few": "0.9 to 1.1", "own_many_over_few": "0.9 to 1.1"},
        {
            "peak_many_over_few": ratios(measured, names[1], names[0], "peak_megabytes"),
            "own_many_over_few": ratios(measured, names[1], names[0], "own_megabytes"),
        },
        figures=figures(measured), settings=vars(given),
    )  # fmt: skip


if __name__ == "__main__":
    main()
