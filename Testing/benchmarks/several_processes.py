"""Benchmark, row 7: two processes of torchrun on one core each against one process on one core, the same joint batch.

    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/several_processes.py

Generated scans. Both sides run `hssl pretrain` with the same configuration and float32, one after the other in each
round; images a second come from the run's own metrics, without the start. The curves of both are compared too. A third
side, "apart", are two runs that know nothing of each other, each with half the batch: what the machine has to give.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Measures, figures, ratios, write

BATCH = 64
"""As in rows 1 to 3. Of a smaller batch, what is told between the processes takes a larger share."""


def started(workspace: Path, run: str, cores: str, batch: int, steps: int) -> subprocess.Popen[bytes]:
    """Starts a pretraining with one process on each of the cores, such as "0" or "0,1"."""
    from hssl.configuration import Budget, PretrainConfig

    config = PretrainConfig(
        workspace=workspace, run=run, budget=Budget(steps=steps), threads=1, batch_size=batch, precision="float32",
        device="cpu", checkpoint_minutes=1000,
    )  # fmt: skip
    file = workspace / f"{run}.json"
    file.write_text(json.dumps(config.model_dump(mode="json")))
    count = len(cores.split(","))
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"] if count > 1 else []
    command = [
        "taskset",
        "-c",
        cores,
        sys.executable,
        *launcher,
        "-m",
        "hssl",
        "pretrain",
        "--config",
        str(file),
        "--json",
    ]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)


def outcome(workspace: Path, run: str, process: subprocess.Popen[bytes], batch: int) -> tuple[float, list[float]]:
    """Waits for a run; returns its images a second and its total losses."""
    from hssl.models.run_folder import RunFolder, run_path

    if process.wait():
        raise RuntimeError(f"{run} ended with exit code {process.returncode}; its reason stands above")
    rows = RunFolder(run_path(workspace, run)).read_metrics()
    first, last = rows[0], rows[-1]
    seconds = (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
    return batch / seconds, [row["total"] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=BATCH, help="of both processes together")
    given = parser.parse_args()
    from hssl.demo.workspace import sample

    batch, steps = given.batch_size, given.steps
    measured: dict[str, list[Measures]] = {"one": [], "two": [], "apart": []}
    differ = 0.0
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name) / "workspace"
        sample(workspace, size="demo")
        outcome(workspace, "warm-up", started(workspace, "warm-up", "0", batch, 10), batch)  # builds the store
        for number in range(given.rounds):
            curves = []
            for side, cores in (("one", "0"), ("two", "0,1")):
                run = f"{side}-{number}"
                speed, curve = outcome(workspace, run, started(workspace, run, cores, batch, steps), batch)
                measured[side].append({"images_a_second": speed})
                curves.append(curve)
            differ = max(differ, *(abs(a - b) / a for a, b in zip(*curves, strict=True)))
            alone = {f"apart-{number}-{core}": core for core in ("0", "1")}
            both = {run: started(workspace, run, core, batch // 2, steps) for run, core in alone.items()}
            speeds = [outcome(workspace, run, process, batch // 2)[0] for run, process in both.items()]
            measured["apart"].append({"images_a_second": sum(speeds)})
            print({side: rounds[-1] for side, rounds in measured.items()}, flush=True)
    write(
        f"several_processes{'' if batch == BATCH else f'-batch-{batch}'}.json", "7",
        f"two processes against one, {batch} images a step", {"two_over_one_images_a_second": "at least 1.8"},
        {
            f"{side}_over_one_images_a_second": ratios(measured, side, "one", "images_a_second")
            for side in ("two", "apart")
        },
        figures=figures(measured), curves_differ_at_most=differ, settings=vars(given),
    )  # fmt: skip
    print(f"the loss curves differ by at most {100 * differ:.2f} %")


if __name__ == "__main__":
    main()
