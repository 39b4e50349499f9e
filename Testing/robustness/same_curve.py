"""Campaign: a pretraining by one, two or four processes learns the same; the SLURM script starts, ends and goes on.

    PYTHONPATH=HSSLSegmentation python Testing/robustness/same_curve.py --processes 1 2 4 --steps 60

On generated scans, on CPUs, with one thread each: every run draws the same joint batches, so that the losses of every step
are those of one process but for the order in which numbers are added. `--slurm` runs `tools/slurm_pretrain.sh` as it is on two
hosts that are both this one: SLURM's variables are set, and `scontrol` and `srun` are small scripts that print the hosts and
run a command once for each. The job is ended as SLURM ends one (SIGTERM) and put back into the queue: it must go on from
its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hssl.configuration import Budget, NetworkConfig, PretrainConfig
from hssl.demo.workspace import sample
from hssl.models.run_folder import RunFolder, run_path

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 0.01
"""Share of the loss by which two curves may differ: numbers are added in another order, and a training is chaotic."""
HOSTS, PER_HOST = 2, 1
PATIENCE = 300.0
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT / "HSSLSegmentation"),
    "OMP_NUM_THREADS": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def curve(workspace: Path, count: int, steps: int, batch: int) -> list[dict[str, float]]:
    """Pretrains with so many processes; returns the rows of the run's metrics."""
    run = f"by-{count}"
    config = PretrainConfig(
        workspace=workspace, run=run, budget=Budget(steps=steps), threads=1, batch_size=batch, patch_size=32,
        precision="float32", device="cpu", network=NetworkConfig(in_slices=1),
    )  # fmt: skip
    file = workspace / f"{run}.json"
    file.write_text(json.dumps(config.model_dump(mode="json")))
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"] if count > 1 else []
    command = [sys.executable, *launcher, "-m", "hssl", "pretrain", "--config", str(file), "--json"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{count} processes ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return RunFolder(run_path(workspace, run)).read_metrics()


def compare(workspace: Path, counts: list[int], steps: int, batch: int) -> bool:
    """Prints the curves beside each other; returns whether they are one."""
    curves = {count: curve(workspace, count, steps, batch) for count in counts}
    print("step   " + "".join(f"{count} processes".rjust(14) for count in counts))
    worst = 0.0
    for rows in zip(*curves.values(), strict=True):
        totals = [row["total"] for row in rows]
        worst = max(worst, (max(totals) - min(totals)) / abs(totals[0]))
        print(f"{rows[0]['step']:4.0f}   " + "".join(f"{total:14.5f}" for total in totals))
    print(f"the curves differ by at most {100 * worst:.3f} %")
    return worst < TOLERANCE


def slurm(workspace: Path, folder: Path) -> None:
    """Runs the SLURM script twice: ended by SIGTERM once it trains, and gone on with from its checkpoint.

    Raises:
        SystemExit: it did not come to its first steps, or did not go on.
    """
    tools, script = folder / "bin", ROOT / "tools" / "slurm_pretrain.sh"
    tools.mkdir()
    subprocess.run(["bash", "-n", script], check=True)
    _write(tools / "scontrol", "#!/bin/sh\n" + "echo 127.0.0.1\n" * HOSTS)
    _write(tools / "srun", '#!/bin/bash\nfor n in $(seq "$SLURM_NNODES"); do "$@" & done\nwait\n')
    environment = {
        **ENVIRONMENT,
        "PATH": f"{tools}{os.pathsep}{ENVIRONMENT['PATH']}",
        "SLURM_JOB_NODELIST": "host[1-2]",
        "SLURM_NNODES": str(HOSTS),
        "SLURM_GPUS_ON_NODE": str(PER_HOST),
        "SLURM_JOB_ID": str(os.getpid()),
        "CUDA_VISIBLE_DEVICES": "",
    }
    steps = []
    for _ in range(2):  # as it is queued, and as it is put back
        log = folder / "slurm.log"
        with open(log, "w") as file:
            command = ["bash", script, workspace, "slurm", "1"]
            job = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
            try:
                _wait(lambda log=log: log.read_text().count('"losses"') >= 2, job, log)
                os.killpg(job.pid, signal.SIGTERM)
                job.wait(PATIENCE)
            finally:
                if job.poll() is None:
                    os.killpg(job.pid, signal.SIGKILL)
        said = log.read_text()
        if ("Resumed after step" in said) != bool(steps):
            raise SystemExit(f"it did not go on from its checkpoint:\n{said[-3000:]}")
        _wait_for_end(job.pid)
        steps.append(RunFolder(run_path(workspace, "slurm")).load_checkpoint()["state"]["step"])
    print(
        f"tools/slurm_pretrain.sh on {HOSTS} hosts with {PER_HOST} process each: ended after step {steps[0]}, resumed, {steps[1]}"
    )
    if not 0 < steps[0] < steps[1]:
        raise SystemExit("it did not get on")


def _wait(condition: Callable[[], bool], job: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if job.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the job did not come to its first steps:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)


def _wait_for_end(session: int) -> None:
    """Waits until no process of the job's session is left."""
    import psutil

    end = time.monotonic() + PATIENCE
    while any(os.getsid(p) == session for p in psutil.pids() if psutil.pid_exists(p)):
        if time.monotonic() > end:
            raise SystemExit("processes of the job are left")
        time.sleep(0.2)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process stays
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=8, help="of all processes together")
    parser.add_argument("--slurm", action="store_true", help="run the SLURM script too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name) / "workspace"
        sample(workspace, size="tiny")
        same = compare(workspace, given.processes, given.steps, given.batch_size)
        if given.slurm:
            slurm(workspace, Path(name))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
