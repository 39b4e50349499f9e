"""Benchmark: a larger network as the teacher of a small one, in Dice and in speed.

    python Testing/benchmarks/distillation.py --data DIR --out FOLDER [--preset cpu] [--teacher medium]

On the same labels and for as many steps: the larger network, the small one alone, and the small one that learns from the
larger one too, on the images without a label as well. DIR holds one folder for each source; what is in FOLDER
is not done again. Without hssl installed, set PYTHONPATH=HSSLSegmentation.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from experiments.data import SOURCES, Data
from experiments.paired import comparison
from experiments.presets import PRESETS
from experiments.runner import NETWORKS, Runner, Trial

from hssl.models.device import chosen_device, use_threads
from hssl.models.inference import Segmenter
from hssl.models.model_file import load_model
from hssl.models.prediction import predict_volume
from hssl.workspace.images import read_image

HERE = Path(__file__).parent


def starts(runner: Runner, task: str, draw: int, teacher: str) -> list[Trial]:
    """Returns the trials of one source and draw: the teacher, the small network alone, and the taught one."""
    kind, count = NETWORKS[runner.preset.networks[0]], runner.preset.few

    def trial(start: str, size: str, **changes: str) -> Trial:
        return runner.trial(task, start, count, draw, changes={"network": {**kind, "size": size}, **changes})

    large = trial(teacher, teacher)
    return [large, trial("small", "small"), trial("small, taught", "small", teacher=runner.finetuned(large).name)]


def seconds(runner: Runner, trial: Trial) -> float:
    """Returns the CPU time that predicting a test volume takes, the median over the test cases."""
    use_threads(runner.preset.threads)
    segmenter = Segmenter(*load_model(runner.finetuned(trial)), chosen_device("cpu"))
    found = []
    for case in trial.test:
        volume = read_image(runner.data.catalogue, runner.data.catalogue.image(case))
        began = time.process_time()
        with torch.inference_mode():
            predict_volume(volume, segmenter)
        found.append(time.process_time() - began)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="workspace and trials; a folder of its own a preset")
    parser.add_argument("--teacher", choices=("medium", "large"), default="medium")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where the figures go")
    parser.add_argument("--draws", type=int, help="draws of the labelled cases, instead of the preset's number")
    parser.add_argument("--steps", type=int, help="instead of the preset's budget")
    parser.add_argument("--case-count", type=int, help="labelled cases, instead of the preset's few")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, help="instead of the preset's")
    given = parser.parse_args()
    preset = PRESETS[given.preset]
    changes: dict[str, Any] = {"finetuning": {"steps": given.steps}} if given.steps else {}
    changes |= {"few": given.case_count} if given.case_count else {}
    changes |= {"other_draws": given.draws} if given.draws else {}
    changes |= {"other_sources": tuple(given.sources)} if given.sources else {}
    if changes and given.results == HERE / "results":
        parser.error("other sizes need a --results of their own, beside the preset's figures")
    runner = Runner(Data(given.data, given.out / "workspace"), given.out, replace(preset, **changes))
    rows, took = [], {}
    for draw in range(runner.preset.other_draws):
        for task in runner.preset.other_sources:
            trials = starts(runner, task, draw, given.teacher)
            rows += [runner.measured(trial) for trial in trials]
            if draw == 0:
                took[task] = {trial.start: seconds(runner, trial) for trial in trials[:2]}
    figures = {"dice": comparison(rows, "small"), "seconds": took}
    path = given.results / f"distillation-{runner.preset.name}.json"
    runner.record(path, "distillation", figures, rows, [])


if __name__ == "__main__":
    main()
