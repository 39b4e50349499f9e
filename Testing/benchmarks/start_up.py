"""Benchmark, row 8: `hssl --help`, and the first prediction of a process whose model is loaded.

    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/start_up.py

The prediction is of a generated volume of 96 × 96 × 24 voxels with a network of fresh weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from measuring import Measures, Side, alternated, figures, spread, write

LATER = ("torch", "monai", "pydantic", "SimpleITK", "numpy")
"""What `--help` must not import."""


def help_page() -> Callable[[], Measures]:
    def work() -> Measures:
        start, cpu = time.perf_counter(), sum(os.times()[2:4])
        subprocess.run([sys.executable, "-m", "hssl", "--help"], check=True, capture_output=True)
        return {"wall": time.perf_counter() - start, "cpu": sum(os.times()[2:4]) - cpu}

    script = "import sys, hssl.cli; print(*[m for m in sys.argv[1:] if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script, *LATER], check=True, capture_output=True, text=True)
    assert not found.stdout.strip(), f"imported at start: {found.stdout}"
    return work


def first_prediction() -> Callable[[], Measures]:
    """A segmenter is made anew in each round, so that each is the first prediction of a model."""
    import torch

    from hssl.configuration import NetworkConfig
    from hssl.models.description import ModelDescription
    from hssl.models.device import chosen_device
    from hssl.models.inference import Segmenter
    from hssl.models.network import build_network
    from hssl.models.prediction import predict_volume
    from hssl.preprocessing.fingerprint import Fingerprint
    from hssl.workspace.catalogue import LabelClass, Task

    network = NetworkConfig()
    description = ModelDescription(
        kind="segmentation", name="fresh", network=network, patch_size=(96, 96), out_channels=2,
        tasks=[Task(name="task", classes=[LabelClass(value=1, name="class")])],
        fingerprints={"task": Fingerprint(
            spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(24, 96, 96)
        )},
    )  # fmt: skip
    state = build_network(network, 2).state_dict()
    volume = sitk.GetImageFromArray(np.random.default_rng(0).normal(100, 20, (24, 96, 96)).astype(np.float32))
    device: torch.device = chosen_device("cpu")

    def work() -> Measures:
        segmenter = Segmenter(description, state, device)
        start = time.perf_counter()
        predict_volume(volume, segmenter)
        return {"wall": time.perf_counter() - start}

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    sides = {"help": Side(help_page), "first_prediction": Side(first_prediction)}
    # No warm-up: a first prediction is what is asked for.
    measured = alternated(sides, given.rounds, warm_up=0)
    write(
        "start_up.json", "8", "start-up", {"help_seconds": "at most 0.4", "first_prediction_seconds": "at most 1.5"},
        {f"{side}_seconds": spread([m["wall"] for m in rounds]) for side, rounds in measured.items()},
        figures=figures(measured), rounds=given.rounds,
    )  # fmt: skip


if __name__ == "__main__":
    main()
