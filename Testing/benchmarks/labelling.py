"""Benchmark: labelling with drafts. Voxels and slices that had to be corrected, and the Dice after 1, 2, 4 and 8 labels.

    python Testing/benchmarks/labelling.py --data DIR --out FOLDER [--draws 3] [--steps 200] [--start scratch]

DIR and FOLDER are those of `evidence.py`. The first image of a draw is labelled by hand; then a network is fine-tuned,
`suggest` names what to label next, the network makes the drafts, they are corrected to the true labels, and the next
network is fine-tuned from the last one on all labels so far. Each round ends in a JSON file and is not done again, so a run
that was interrupted is simply started again.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from experiments.data import SOURCES, Data
from experiments.labelling import COUNTS, Settings, figures, rows_of
from recording import record

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--out", type=Path, required=True, help="workspace, and the rounds")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=("msd_hippocampus", "hn_ct_openkbp"))
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200, help="of each fine-tuning")
    parser.add_argument("--test-cases", type=int, default=12)
    parser.add_argument("--pool", type=int, default=24, help="images of a source to choose from")
    parser.add_argument("--start", default="scratch", help="of the first network: a run or a model file")
    parser.add_argument("--preset", default="cpu", help="name under which the figures are kept")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where the figures go")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = Data(given.data, given.out / "workspace")
    settings = Settings(given.steps, given.test_cases, given.pool, given.start)
    rows = []
    for draw in range(given.draws):
        for task in given.sources:
            rows += rows_of(data, given.out, task, draw, settings)
            sizes = {"name": given.preset, **asdict(settings), "counts": COUNTS, "draws": draw + 1}
            sizes["start"] = Path(settings.start).name
            shown = [{key: value for key, value in row.items() if key != "run"} for row in rows]
            result = {"experiment": "labelling", "sizes": sizes, "figures": figures(rows), "rows": shown}
            record(given.results / f"labelling-{given.preset}.json", {**result, "pretrainings": []})


if __name__ == "__main__":
    main()
