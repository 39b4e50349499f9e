"""Benchmark: learning from a few annotated slices, against the Segment Editor's own means; time and memory.

    python Testing/benchmarks/interactive.py --data DIR --preset cpu --out FOLDER

DIR and FOLDER are those of `evidence.py`, whose pretrainings are used (and done, where they are not there yet). Each
volume ends in a JSON file of its own and is not done again. Slices are annotated as the true labels have them. Needs
`pip install .[benchmarks]` and slicer-core.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from experiments.data import SOURCES, Data
from experiments.general import starts
from experiments.learning_from_slices import figures, models, rows_of, times
from experiments.presets import FEATURES, PRESETS
from experiments.runner import Runner

from hssl.files import read_json, sha256, sha256_of, write_json
from hssl.interactive import session as interactive
from hssl.interactive import slice_features, slice_priors
from hssl.models.find import GENERAL, find_model
from hssl.models.model_file import load_model
from HSSLSegmentationLib.scene import annotatedSlices

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="workspace and volumes' results")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, help="fewer than the preset's, say, to share the work")
    parser.add_argument(
        "--features", nargs="+", choices=FEATURES, help="HSSL and what it is compared with, instead of the preset's"
    )
    parser.add_argument("--cases", type=int, help="volumes of a source, instead of the preset's number")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where the figures go")
    given = parser.parse_args()
    preset = PRESETS[given.preset]
    if (given.sources or given.cases or given.features) and given.results == HERE / "results":
        parser.error(
            "other than the preset's needs a --results of its own: it would take the place of the whole figures"
        )
    features = given.features or preset.interactive_features
    if "HSSL" not in features:
        parser.error("--features needs HSSL, which the others are compared with")
    if given.sources:
        preset = replace(preset, sources=tuple(given.sources))
    if given.cases:
        preset = replace(preset, interactive_cases=given.cases)
    runner = Runner(Data(given.data, given.out / "workspace"), given.out, preset)
    if preset.threads:
        torch.set_num_threads(preset.threads)
    general = find_model(GENERAL)
    # Other weights or another way to learn are other results.
    ways = [sha256(str(m.__file__)) for m in (interactive, slice_features, slice_priors, annotatedSlices)]
    version = sha256_of([sha256(general), features, *ways])[:12]
    folder = given.out / "interactive" / version
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "times.json").exists():  # first, since the peak of memory is the process's
        write_json(folder / "times.json", times(load_model(general), preset.timed_size, preset.timed_sessions))
    rows = []
    for task in preset.sources:
        networks = None
        for case in runner.data.test(task, preset.interactive_cases):
            path = folder / f"{task}-{case}.json"
            if not path.exists():
                networks = networks or models(runner, task, features)
                print(task, case, flush=True)
                write_json(path, rows_of(runner, task, case, networks))
            rows += read_json(path)
    used = [starts(runner, task)["general"] for task in preset.sources]
    used += [runner.main] if "pretrained" in features else []
    found = {**figures(rows), "times": read_json(folder / "times.json")}
    runner.record(given.results / f"interactive-{preset.name}.json", "interactive", found, rows, used)


if __name__ == "__main__":
    main()
