"""Benchmark, row 7: two processes of torchrun on one core each against one process on one core, the same joint batch.

    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/several_processes.py

Generated scans. Both sides run `hssl pretrain` with the same configuration and float32, one after the other in each
round; images a second come from the run's own metrics, without the start. The curves of both are compared too.
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


def trained(workspace: Path, run: str, processes: int, batch: int, steps: int) -> tuple[Measures, list[float]]:
    """Returns images a second of a run, and its total losses."""
    from hssl.configuration import Budget, PretrainConfig
    from hssl.runs import RunFolder, run_path

    config = PretrainConfig(
        workspace=workspace, run=run, budget=Budget(steps=steps), threads=1, batch_size=batch, precision="float32",
        device="cpu", checkpoint_minutes=1000,
    )  # fmt: skip
    file = workspace / f"{run}.json"
    file.write_text(json.dumps(config.model_dump(mode="json")))
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"] if processes > 1 else []
    cores = ",".join(str(n) for n in range(processes))
    command = ["taskset", "-c", cores, sys.executable, *launcher, "-m", "hssl", "pretrain", "--config", str(file), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    rows = RunFolder(run_path(workspace, run)).read_metrics()
    first, last = rows[0], rows[-1]
    seconds = (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
    return {"images_a_second": batch / seconds}, [row["total"] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=16)
    given = parser.parse_args()
    from hssl.sample import sample

    measured: dict[str, list[Measures]] = {"one": [], "two": []}
    apart = 0.0
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name) / "workspace"
        sample(workspace, size="demo")
        trained(workspace, "warm-up", 1, given.batch_size, 10)  # builds the store
        for number in range(given.rounds):
            curves = []
            for side, processes in (("one", 1), ("two", 2)):
                measures, curve = trained(workspace, f"{side}-{number}", processes, given.batch_size, given.steps)
                print(side, measures, flush=True)
                measured[side].append(measures)
                curves.append(curve)
            apart = max(apart, *(abs(a - b) / a for a, b in zip(*curves, strict=True)))
    write(
        "several_processes.json", "7", "two processes against one", {"two_over_one_images_a_second": "at least 1.8"},
        {"two_over_one_images_a_second": ratios(measured, "two", "one", "images_a_second")},
        figures=figures(measured), curves_apart_at_most=apart, settings=vars(given),
    )  # fmt: skip
    print(f"the loss curves differ by at most {100 * apart:.2f} %")


if __name__ == "__main__":
    main()
