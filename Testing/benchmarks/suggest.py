"""Benchmark: what to label next. Dice after 3 and 5 labels, chosen by `suggest` against chosen at random.

    python Testing/benchmarks/suggest.py --data DIR --preset cpu --out FOLDER

DIR and FOLDER are those of `evidence.py`, whose main pretraining is used (and done, where it is not there yet). Every
choice and every training ends in a JSON file and is not done again, so a run that was interrupted is simply started
again. In each repetition all ways to choose begin with the same label, choose from the same pool and train with the
same seed; test cases are seen by none of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from experiments.choosing import COUNTS, POOL, RANDOM, trials
from experiments.data import SOURCES, Data
from experiments.paired import comparison
from experiments.presets import PRESETS
from experiments.runner import Runner

HERE = Path(__file__).parent
ENOUGH_TO_CHOOSE = ("msd_hippocampus", "hn_ct_openkbp", "mouse_brain_mr")
"""The other sources have 4 and 6 cases that may be labelled."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="workspace, choices and trials")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=ENOUGH_TO_CHOOSE)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where the figures go")
    given = parser.parse_args()
    preset = PRESETS[given.preset]
    runner = Runner(Data(given.data, given.out / "workspace"), given.out, preset)
    if preset.threads:
        torch.set_num_threads(preset.threads)
    rows = [
        {**runner.measured(trial), "chosen": trial.cases}
        for task in given.sources
        for trial in trials(runner, task, given.repetitions)
    ]
    path = given.results / f"suggest-{preset.name}.json"
    sizes = {"counts": COUNTS, "pool": POOL, "repetitions": given.repetitions}
    runner.record(path, "suggest", comparison(rows, RANDOM), rows, [runner.main], **sizes)


if __name__ == "__main__":
    main()
