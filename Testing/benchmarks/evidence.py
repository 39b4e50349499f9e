"""Benchmark: the evidence. Regenerates every figure of few-label segmentation on real volumes.

    python Testing/benchmarks/evidence.py --data DIR --preset cpu --out FOLDER [--only gain,time]

DIR holds one folder for each source (see docs/results.md). FOLDER keeps a workspace and a JSON file for each training that
was tested; what is there is not done again, so a run that was interrupted is simply started again, and processes that do a part
each (`--part 1/2`, `--part 2/2`) can share the work, once the workspace is there; a last run makes the figures. Test cases are
never seen by a pretraining, nor are other images of their patients. Each experiment ends in
`<results>/evidence-<experiment>-<preset>.json`; `render.py` makes tables and plots of them. Without hssl installed,
set PYTHONPATH=HSSLSegmentation. The experiment "hierarchy" needs scikit-learn (`pip install .[benchmarks]`).
"""

from __future__ import annotations

import argparse
import importlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.data import SOURCES, Data
from experiments.presets import PRESETS
from experiments.runner import NETWORKS, Runner, Start

HERE = Path(__file__).parent
EXPERIMENTS = {
    "split": "split",
    "gain": "gain",
    "time": "time_to_accuracy",
    "ablations": "ablations",
    "frozen": "frozen",
    "general": "general",
    "going-on": "going_on",
    "baselines": "baselines",
    "hierarchy": "hierarchy",
}
"""Name on the command line → module."""
DRAWS = ("draws", "other_draws", "brief_draws", "costly_draws")
"""Numbers of draws among the sizes of a preset."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="workspace and trials; a folder of its own a preset")
    parser.add_argument("--only", default=",".join(EXPERIMENTS), help="names of experiments, with commas")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where the figures go")
    parser.add_argument("--draws", type=int, help="draws of the labelled cases, instead of the preset's numbers")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, help="fewer than the preset's")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="instead of the preset's, its main one first")
    parser.add_argument(
        "--part", default="1/1", help="n/m: only the n-th of m parts of the starts (scratch is one), no figures"
    )
    parser.add_argument("--so-far", action="store_true", help="measure nothing: figures of the trials that are there")
    given = parser.parse_args()
    number = re.fullmatch(r"(\d+)/(\d+)", given.part)
    if number is None or not 1 <= int(number[1]) <= int(number[2]):
        parser.error(f"--part is n/m with 1 ≤ n ≤ m, not {given.part}")
    part, parts = int(number[1]), int(number[2])
    if (given.draws or given.sources or given.networks or given.so_far) and given.results == HERE / "results":
        parser.error("less than the preset or other than it needs a --results of its own, beside the preset's figures")
    names = given.only.split(",")
    unknown = sorted(set(names) - EXPERIMENTS.keys())
    if unknown:
        parser.error(f"no experiment named {', '.join(unknown)}; there are {', '.join(EXPERIMENTS)}")
    preset = PRESETS[given.preset]
    if given.draws:
        preset = replace(preset, **dict.fromkeys(DRAWS, given.draws))
    if given.sources:
        preset = replace(preset, sources=tuple(given.sources), other_sources=tuple(given.sources))
    if given.networks:
        if given.networks[0] != preset.networks[0]:
            parser.error(f"--networks begins with the preset's main one, {preset.networks[0]}")
        preset = replace(preset, networks=tuple(given.networks))
    runner = Runner(Data(given.data, given.out / "workspace"), given.out, preset)
    modules = {name: importlib.import_module(f"experiments.{EXPERIMENTS[name]}") for name in names}
    trials = {name: module.trials(runner) if name != "hierarchy" else [] for name, module in modules.items()}
    every = [trial for own in trials.values() for trial in own]
    print(runner.outlook(every), flush=True)
    if parts > 1:
        starts: list[Start] = []
        for trial in every:
            if trial.pretraining not in starts:
                starts.append(trial.pretraining)
        mine = starts[part - 1 :: parts]
        for trial in every:
            if trial.pretraining in mine:
                runner.measured(trial)
        return
    for name, module in modules.items():
        if name == "hierarchy":
            rows: list[dict[str, Any]] = []
            figures = module.result(runner)
        else:
            chosen = [trial for trial in trials[name] if not given.so_far or runner.is_measured(trial)]
            rows = [runner.measured(trial) for trial in chosen]
            figures = module.figures(rows)
        path = given.results / f"evidence-{name}-{preset.name}.json"
        used = [trial.pretraining for trial in chosen] if trials[name] else [runner.main]
        runner.record(path, name, figures, rows, used)


if __name__ == "__main__":
    main()
