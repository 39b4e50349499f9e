"""Benchmark: wrong labels. Five of forty labels are spoiled in different ways; how many of them are among the first eight.

    python Testing/benchmarks/wrong_labels.py --out FOLDER [--data DIR] [--seeds 0 1 2] [--steps 200]

On generated abdomens, and on hippocampi where DIR (see `evidence.py`) is given. FOLDER keeps workspaces and checks; a check
that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from experiments.spoiling import PHANTOMS, REAL, checked, figures
from recording import record

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="workspaces and checks")
    parser.add_argument("--data", type=Path, help="folder of the real sources")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200, help="of each fold's training")
    parser.add_argument("--recipe", type=json.loads, default={}, help="JSON of further fields of the recipe")
    parser.add_argument("--preset", default="cpu", help="name under which the figures are kept")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where the figures go")
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe: dict[str, Any] = {"budget": {"steps": given.steps}, "threads": 1, **given.recipe}
    checks = []
    for seed in given.seeds:
        for source in [PHANTOMS, *([REAL] if given.data else [])]:
            checks.append(checked(given.data, given.out, source, seed, recipe))
            for one in checks[-1]["spoiled"]:
                print(source, seed, one, flush=True)
            rows = [{"source": c["source"], "seed": c["seed"], **one} for c in checks for one in c["spoiled"]]
            sizes = {"name": given.preset, "steps": given.steps, "recipe": given.recipe, "seeds": given.seeds}
            result = {"experiment": "wrong-labels", "sizes": sizes, "figures": figures(checks), "rows": rows}
            record(given.results / f"wrong-labels-{given.preset}.json", {**result, "pretrainings": []})


if __name__ == "__main__":
    main()
