"""The start that ships: makes `hssl-general.zip` anew from the sources whose licences allow it, by one command.

    python Testing/benchmarks/general_start.py --data DIR --out FOLDER [--without SOURCE] [--steps N] [--preset cpu]

DIR holds one folder for each source; FOLDER keeps the workspace, the run and the model file. A run that
was interrupted goes on exactly where it was when the same command is given again. Test cases are never seen, nor other
images of their patients. `--without SOURCE` makes a general start that has never seen a source, on which it can then be
measured. Without hssl installed, set PYTHONPATH=HSSLSegmentation.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from experiments.data import Data
from experiments.general import LICENCES, RECIPE

from hssl.configuration import PretrainConfig
from hssl.events import Event, Losses, Message
from hssl.jobs.pretrain import pretrain
from hssl.models.model_file import load_model, write_model
from hssl.models.run_folder import RunFolder

LICENCE = "CC BY-SA 4.0"
"""Of the model file: the strictest of the sources' licences."""
PRESETS: dict[str, dict[str, Any]] = {
    "cpu": {"network": {"size": "small"}, "threads": 1, "batch_size": 16, "budget": {"steps": 32_000}},
    "gpu": {"network": {"size": "small"}, "batch_size": 64, "patch_size": 96, "budget": {"minutes": 8}},
    "smoke": {"network": {"size": "small"}, "threads": 1, "batch_size": 4, "patch_size": 32, "budget": {"steps": 2}},
}


def configuration(data: Data, preset: str, left_out: list[str], steps: int | None, **changes: Any) -> PretrainConfig:
    """Returns the configuration of the general start, without the sources that are left out."""
    tasks = [name for name in LICENCES if name not in left_out]
    name = "-without-".join(["hssl-general", *left_out])
    values = {
        **RECIPE, **PRESETS[preset], "workspace": data.workspace, "tasks": tasks, "exclude": data.unseen(), "run": name
    }  # fmt: skip
    return PretrainConfig.checked({**values, **({"budget": {"steps": steps}} if steps else {}), **changes})


def export(run: Path, path: Path, tasks: list[str]) -> None:
    """Writes the model file of a run, with float16 weights, its sources and its licence."""
    description, state = load_model(run)
    sources = {task: LICENCES[task] for task in tasks}
    provenance = {**description.provenance, "sources": sources, "steps": _steps(run)}
    start = Path(provenance["start"]).name  # where it lay on the machine that made this says nothing
    kept = {k: v for k, v in provenance["configuration"].items() if k != "exclude"}
    provenance |= {"start": start, "configuration": {**kept, "start": start}}
    known = {"licence": LICENCE, "name": "hssl-general", "provenance": provenance}
    write_model(path, description.model_copy(update=known), state, half=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--out", type=Path, required=True, help="workspace, run and model file")
    parser.add_argument("--without", nargs="*", default=[], choices=LICENCES, help="sources to leave unseen")
    parser.add_argument("--steps", type=int, help="instead of the preset's budget")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--start", default="scratch", help="a run or model file to go on from")
    given = parser.parse_args()
    data = Data(given.data, given.out / "workspace")
    config = configuration(data, given.preset, given.without, given.steps, start=given.start)
    done = pretrain(config, _told)
    path = given.out / f"{config.run}.zip"
    export(done.result.run, path, config.tasks)
    print(f"{path}: {path.stat().st_size / 2**20:.2f} MB after {done.result.steps} steps", flush=True)


def _steps(run: Path) -> int:
    rows = RunFolder(run).read_metrics()
    return int(rows[-1]["step"]) if rows else 0


def _told(event: Event) -> None:
    if isinstance(event, Message):
        print(event.text, flush=True)
    elif isinstance(event, Losses) and event.step % 100 == 0:
        print(event.step, "  ".join(f"{name} {value:.3f}" for name, value in event.values.items()), flush=True)


if __name__ == "__main__":
    main()
