"""Several processes: one that dies takes all of them back to the last checkpoint, and the run comes to its end."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import hssl
from hssl.configuration import Budget, PretrainConfig
from hssl.models.run_folder import RunFolder, run_path

STEPS = 20


def test_a_killed_process_restarts_all_from_the_last_checkpoint(workspace, tmp_path):
    config = PretrainConfig(
        workspace=workspace, run="r", budget=Budget(steps=STEPS), patch_size=32, batch_size=4, precision="float32",
        device="cpu", threads=1, checkpoint_minutes=0.001,
    )  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.model_dump(mode="json")))
    environment = {
        **os.environ, "PYTHONPATH": str(Path(hssl.__file__).parents[1]), "OMP_NUM_THREADS": "1",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }  # fmt: skip
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "--max-restarts=1",
        "-m", "hssl", "pretrain", "--config", str(file), "--json",
    ]  # fmt: skip
    run = RunFolder(run_path(workspace, "r"))
    output = tmp_path / "output.txt"
    with open(output, "w") as written:
        job = subprocess.Popen(command, env=environment, stdout=written, stderr=subprocess.STDOUT)
        try:
            while not run.can_resume and job.poll() is None:
                time.sleep(0.01)
            workers = [p for p in psutil.Process(job.pid).children() if "pretrain" in p.cmdline()]
            os.kill(max(p.pid for p in workers), signal.SIGKILL)
            assert job.wait(timeout=300) == 0, output.read_text()
        finally:
            if job.poll() is None:
                job.terminate()
                job.wait()
    said = output.read_text()
    assert "Resumed after step" in said, said
    assert "FutureWarning" not in said, said
    assert run.finished and run.load_checkpoint()["state"]["step"] == STEPS, said
    assert [row["step"] for row in run.read_metrics()] == list(range(5, STEPS + 1, 5))


@pytest.mark.parametrize("file", ["docs/command-line.md", "tools/slurm_pretrain.sh"])
def test_torchrun_leaves_the_options_of_hssl_alone(file):
    from torch.distributed.run import get_args_parser

    text = (Path(__file__).parents[3] / file).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^(?:srun )?torchrun (.*hssl.*)$", text, re.MULTILINE)
    assert commands
    for command in commands:
        words = shlex.split(command)
        given = get_args_parser().parse_args([*words, "--start", "general"])
        assert given.module and given.training_script == "hssl"
        assert given.training_script_args == [*words[words.index("pretrain") :], "--start", "general"]
