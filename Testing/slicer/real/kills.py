"""Campaign: the application is killed at random moments of its work, and so are the engine's processes; nothing is lost.

    python Testing/slicer/real/kills.py /path/to/Slicer --applications 20 --workers 40 --jobs 8 --seed 1

Each time a Slicer saves a scene and works: a pretraining, a fine-tuning, segmentations from the panel, or rounds of the
effect. It is killed (SIGKILL) at a random moment. No process may be left a minute later; the saved scene and every file
of the workspace must be whole; a training must have a checkpoint and go on from it. Then the worker of the effect, and the
process of a pretraining, are killed by the Slicer that works with them: it must say so, change no segment, and go on.
Linux only. A failure prints the seed and the number that replay it, up to the machine's timing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from pathlib import Path

import run

STATES = ("pretrain", "fineTune", "segment", "round")
LONGEST = {"pretrain": 12.0, "fineTune": 12.0, "segment": 20.0, "round": 20.0}
"""Seconds after the work began in which the application is killed."""
PATIENCE = 180.0
"""Seconds until the work begins, and for a training to be resumed."""
SECONDS_TO_GO = 60.0
STEPS = 20


class Failure(AssertionError):
    """Something was lost, half, left over, or not told."""


class Engine:
    """The command line of the engine, in the Python for the jobs."""

    def __init__(self, python: str):
        self._python = python
        self._environment = {**os.environ, "PYTHONPATH": str(run.MODULE), "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str | Path) -> subprocess.Popen:
        command = [self._python, "-m", "hssl", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=self._environment)

    def done(self, *arguments: str | Path) -> str:
        """Runs a command to its end; returns what it printed."""
        process = self.start(*arguments)
        said = process.communicate(timeout=PATIENCE)[0]
        if process.returncode != 0:
            raise Failure(f"hssl {' '.join(map(str, arguments))} ended with {process.returncode}:\n{said[-2000:]}")
        return said


def ground(folder: Path, engine: Engine) -> Path:
    """Makes a workspace of generated scans with a fine-tuned run."""
    workspace = folder / "ground"
    engine.done("sample", workspace, "--size", "tiny")
    task = json.loads((workspace / "dataset.json").read_text(encoding="utf-8"))["tasks"][0]["name"]
    engine.done("finetune", workspace, "--task", task, "--steps", str(STEPS), "--run", "model", "--patch-size", "32")
    return workspace


def kill_application(
    state: str, draw: random.Random, ready: Path, folder: Path, engine: Engine, given: argparse.Namespace
) -> str:
    """Kills one Slicer at work; returns when.

    Raises:
        Failure: something is not as it must be.
    """
    workspace, scene, report = folder / "my scans", folder / "saved" / "scene.mrb", folder / "report.json"
    shutil.copytree(ready, workspace)
    scene.parent.mkdir()
    outcome: list[tuple[str, int | None]] = []
    arguments = (str(report), state, given.python, str(workspace), str(scene))

    def live() -> None:
        outcome.append(run.in_slicer(given, f"{folder.name}-{state}", "killStates.py", *arguments))

    slicer = threading.Thread(target=live, daemon=True)
    slicer.start()
    told = _wait_for(report, slicer, outcome)
    before = _checksums(scene.parent)
    moment = draw.uniform(0, LONGEST[state])
    time.sleep(moment)
    files = _checksums(workspace)
    os.kill(told["pid"], signal.SIGKILL)
    slicer.join(PATIENCE)
    problems = json.loads(report.read_text(encoding="utf-8"))["problems"]
    if left := run.left_behind(SECONDS_TO_GO):
        problems += [f"left behind: {process}" for process in left]
    if not before or _checksums(scene.parent) != before:
        problems.append("the saved scene has changed")
    with zipfile.ZipFile(scene) as packed:
        if packed.testzip() is not None:
            problems.append(f"the saved scene is damaged: {packed.testzip()}")
    gone = [name for name in files if not name.startswith(("runs/", "store/")) and not (workspace / name).exists()]
    problems += [f"{name} is gone" for name in gone]
    if problems:
        raise Failure("; ".join(problems))
    engine.done("catalogue", "check", workspace)
    if told["run"]:
        _resume(Path(told["run"]), workspace, "finetune" if state == "fineTune" else "pretrain", engine)
    return f"{moment:.1f} s"


def _wait_for(report: Path, slicer: threading.Thread, outcome: list[tuple[str, int | None]]) -> dict:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and slicer.is_alive():
        if report.exists() and (told := json.loads(report.read_text(encoding="utf-8")))["at_work"]:
            return told
        time.sleep(0.1)
    raise Failure(f"the work did not begin: {outcome[0][0][-2000:] if outcome else 'Slicer hangs'}")


def _resume(folder: Path, workspace: Path, command: str, engine: Engine) -> None:
    """Goes on with a training for a few steps, and stops it; where it had taken steps, from the checkpoint of these."""
    checkpoint = (folder / "last.pt").exists()
    if not checkpoint and (folder / "metrics.csv").exists():
        raise Failure("the training had taken steps, and there is no checkpoint of them")
    if not (folder / "config.json").exists():
        return  # killed before it was begun
    process = engine.start(command, "--config", folder / "config.json", "--json")
    assert process.stdout is not None
    said, watchdog = [], threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    for line in process.stdout:
        said.append(line)
        if '"losses"' in line:
            process.send_signal(signal.SIGTERM)
    code = process.wait()
    watchdog.cancel()
    resumed = any("Resumed after step" in line for line in said)
    if code != 10 or resumed != checkpoint:
        raise Failure(f"the training did not go on ({code}, checkpoint: {checkpoint}):\n{''.join(said)[-2000:]}")


def _checksums(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        try:
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        except (FileNotFoundError, IsADirectoryError):
            continue
    return found


def kill_processes(state: str, count: int, seed: int, ready: Path, folder: Path, given: argparse.Namespace) -> Counter:
    """Has a Slicer kill the processes that it works with; returns how many in which phase.

    Raises:
        Failure: something is not as it must be.
    """
    workspace, scene, report = folder / "my scans", folder / "saved" / "scene.mrb", folder / "report.json"
    shutil.copytree(ready, workspace)
    scene.parent.mkdir()
    arguments = (str(report), state, given.python, str(workspace), str(scene), str(count), str(seed))
    log, code = run.in_slicer(given, state, "killStates.py", *arguments)
    told = (
        json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"problems": ["nothing"], "killed": {}}
    )
    problems = told["problems"] + [f"left behind: {process}" for process in run.left_behind(SECONDS_TO_GO)]
    if code != 0 or problems:
        raise Failure(f"exit code {code}: {'; '.join(problems)}\n{log[-2000:]}")
    return Counter(told["killed"])


def _ended(*_: object) -> None:
    """The campaign itself is ended: nothing of it stays."""
    for process in run.left_behind(0):
        os.kill(int(process.split()[0]), signal.SIGKILL)
    sys.exit(143)


def main() -> int:
    signal.signal(signal.SIGTERM, _ended)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slicer", help="Slicer's executable (its launcher)")
    parser.add_argument("--applications", type=int, default=20, help="how many times Slicer is killed")
    parser.add_argument("--workers", type=int, default=40, help="how many times the effect's worker is killed")
    parser.add_argument("--jobs", type=int, default=8, help="how many times a pretraining is killed or stopped")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", type=int, help="only the application of this number")
    parser.add_argument("--python", default="", help="Python for the jobs, where Slicer's own has no torch")
    parser.add_argument("--minutes", type=float, default=20.0, help="longest time of one Slicer")
    parser.add_argument("--logs", type=Path, help="folder that keeps the logs")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    engine = Engine(given.python or "python3")
    with tempfile.TemporaryDirectory(prefix="hssl-kills-") as name:
        folder = Path(name)
        ready = ground(folder, engine)
        try:
            for number in range(given.applications) if given.only is None else [given.only]:
                state, mine = STATES[number % len(STATES)], folder / str(number)
                mine.mkdir()
                began = time.monotonic()
                when = kill_application(state, random.Random(f"{given.seed}/{number}"), ready, mine, engine, given)
                print(f"{number}: {state} killed after {when} ({time.monotonic() - began:.0f} s)", flush=True)
                shutil.rmtree(mine)
            for state, count in (("worker", given.workers), ("job", given.jobs)):
                if count and given.only is None:
                    mine = folder / state
                    mine.mkdir()
                    killed = kill_processes(state, count, given.seed, ready, mine, given)
                    print(
                        f"{state} killed: " + ", ".join(f"{n} in {phase!r}" for phase, n in killed.items()), flush=True
                    )
        except Failure as failure:
            print(f"FAILED (seed {given.seed}): {failure}")
            return 1
    print("nothing lost, nothing left behind, every training went on")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
