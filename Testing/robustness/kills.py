"""Campaign: kill -9, SIGTERM and the stop file at random moments of everything that writes; nothing is lost or half.

    PYTHONPATH=HSSLSegmentation python Testing/robustness/kills.py --count 200 --seed 1

Each attempt starts a job in a process of its own, ends it at a random moment, and asserts that every file is whole or
absent, that no process and no lock is left, and that the same job, started again, comes to the very same end as one
that was never interrupted: the same bytes of catalogue, store, label maps and model file, the same weights, and the
same loss curve. Processes are forked from this one, which has imported torch but never computed with it. A failure
prints the seed that replays it (up to the machine's timing) and keeps its folder.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # this process must not start threads that a fork would lose

import numpy as np
import psutil
import torch
import torch._dynamo  # optimizers import it late: a third of a training's seconds, and of the moments of its end

from hssl.configuration import Budget, FinetuneConfig, NetworkConfig, PredictConfig, PretrainConfig
from hssl.demo import scans as demo
from hssl.errors import HSSLError
from hssl.events import Stop, Stopped, ignore, stop_file
from hssl.files import TEMPORARY_PREFIX, sha256
from hssl.jobs.finetune import finetune
from hssl.jobs.predict import predict
from hssl.jobs.pretrain import pretrain
from hssl.locks import FolderLock
from hssl.models.model_file import export_model, read_model
from hssl.outputs import RECORD
from hssl.preprocessing.store import build, clean, task_fingerprint
from hssl.workspace.catalogue import Catalogue, Image

TASK = "heart_mr"
STEPS = 12
OFTEN = 1e-6
"""Minutes between checkpoints: one after every step."""
HOW = ("kill", "terminate", "stop file")
PATIENCE = 120.0
"""Seconds that a job may take before it counts as hung."""


class Failure(AssertionError):
    """Something was lost, half, left over, or different after an interruption."""


# Processes ---------------------------------------------------------------------------------------------------------


class Forked:
    """A job in a process (and session) of its own; its output goes to `log`."""

    def __init__(self, job: Callable[[Stop], None], folder: Path):
        self.stop, self.log = folder / "stop", folder / "job.log"
        self.stop.unlink(missing_ok=True)
        sys.stdout.flush()
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setsid()
                output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(output, 1)
                os.dup2(output, 2)
                torch.set_num_threads(1)
                job(stop_file(self.stop))
                code = 0
            except HSSLError as error:
                print(f"{type(error).__name__}: {error}", flush=True)
                code = error.exit_code
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """Returns the exit code (negative: the signal), or None when the job is not over after so many seconds."""
        until = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until:
                return None
            time.sleep(0.002)

    def end(self, how: str) -> bool:
        """Asks or forces the job to end, and waits for it; returns False when it came to its end just before."""
        if how == "stop file":
            self.stop.touch()
        else:
            os.kill(self.pid, signal.SIGKILL if how == "kill" else signal.SIGTERM)
        code = self.wait()
        if code is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise Failure(f"the job did not end after {how}")
        expected = {"kill": -signal.SIGKILL, "terminate": -signal.SIGTERM, "stop file": 0}[how]
        if code not in (expected, 0):
            raise Failure(f"the job ended with {code} after {how}:\n{self.log.read_text()[-2000:]}")
        return code == expected

    def orphans(self) -> list[int]:
        """Returns the processes of the job's session that are still there."""
        found = []
        for pid in psutil.pids():
            try:
                if os.getsid(pid) == self.pid:
                    found.append(pid)
            except (ProcessLookupError, PermissionError):
                continue
        return found


def finished(job: Callable[[Stop], None], folder: Path) -> float:
    """Runs a job to its end in a process of its own; returns the seconds it took."""
    process = Forked(job, folder)
    code = process.wait()
    if code != 0:
        if code is None:
            os.killpg(process.pid, signal.SIGKILL)
        raise Failure(f"the uninterrupted job ended with {code}:\n{process.log.read_text()[-3000:]}")
    return time.monotonic() - process.began


# What is interrupted ------------------------------------------------------------------------------------------------


class Ground:
    """Generated scans, a workspace of them, and what uninterrupted jobs make of it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.workspace = folder / "workspace"
        finished(lambda stop: self._prepare(), folder)
        self.store = _store(self.workspace)

    def _prepare(self) -> None:
        demo.generate(self.folder / "scans", seed=3, size="tiny")
        catalogue = Catalogue.create(self.workspace)
        for task in demo.tasks():
            catalogue.set_task(task)
            catalogue.add_images(self.images(task.name))
        catalogue.save()
        build_store(self.workspace, lambda: False)

    def images(self, task: str) -> list[Image]:
        """Returns records of the task's scans with paths from the workspace."""
        found = []
        for path in sorted((self.folder / "scans" / task).glob("*/*.nii.gz")):
            if path.parent.name != "labels":
                label = path.parent.with_name("labels") / path.name if path.parent.name == "images" else None
                name = path.name.removesuffix(".nii.gz")
                records = [f"../{p.relative_to(self.folder).as_posix()}" if p else None for p in (path, label)]
                found.append(Image(id=name, task=task, image=records[0], label=records[1], content=sha256(path)))
        return found


def build_store(workspace: Path, stop: Stop) -> None:
    """Builds the whole store with labels, as jobs do."""
    catalogue = Catalogue.load(workspace)
    clean(workspace)
    fingerprints = {t.name: task_fingerprint(catalogue, t, [], ignore, stop) for t in catalogue.tasks}
    build(catalogue, catalogue.usable(labelled=True), fingerprints, with_labels=True, on_event=ignore, stop=stop)
    build(catalogue, catalogue.usable(labelled=False), fingerprints, with_labels=False, on_event=ignore, stop=stop)


def _store(workspace: Path) -> dict[str, str]:
    """Returns the hash of each file of the store by its name."""
    return {p.name: sha256(p) for p in (workspace / "store").rglob("*") if p.is_file() and p.name[0] != "."}


class Place:
    """One of the things that write. `job` is interrupted, checked by `whole`, run again, and checked by `same`."""

    stops = True
    """Whether the job obeys a stop file."""

    def __init__(self, ground: Ground):
        self.ground = ground
        self.seconds = 0.0
        self.expected: Any = None
        self.needed = 0

    def fresh(self, folder: Path) -> None:
        """Prepares the attempt's folder."""
        self.folder = folder
        (folder / "workspace").mkdir(parents=True)
        shutil.copyfile(self.ground.workspace / "dataset.json", folder / "workspace" / "dataset.json")
        if not (folder / "scans").exists():
            (folder / "scans").symlink_to(self.ground.folder / "scans")

    def learn(self, folder: Path) -> None:
        """Runs the job without interruption, and keeps how long it takes and what it makes."""
        self.fresh(folder)
        self.seconds = finished(self.job, folder)
        self.expected = self.made()

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def job(self, stop: Stop) -> None:
        raise NotImplementedError

    def whole(self) -> None:
        """Raises Failure when a file is neither whole nor absent."""
        raise NotImplementedError

    def made(self) -> Any:
        """Returns what the job has made, such that equal means the same to the last bit."""
        raise NotImplementedError

    def leftovers(self) -> list[str]:
        """Returns what should have been cleaned up once the job has been run again."""
        found = self.folder.rglob(TEMPORARY_PREFIX + "*")
        return [str(p.relative_to(self.folder)) for p in found]


class CatalogueWriting(Place):
    """Images are added one by one, the catalogue being saved after each."""

    stops = False

    def fresh(self, folder: Path) -> None:
        super().fresh(folder)
        (folder / "workspace" / "dataset.json").unlink()
        catalogue = Catalogue.create(folder / "workspace", name="kills")
        for task in demo.tasks():
            catalogue.set_task(task)
        catalogue.save()

    def _records(self) -> list[Image]:
        return [i.model_copy(update={"id": f"{i.id}-{n}"}) for n in range(6) for i in self.ground.images(TASK)]

    def job(self, stop: Stop) -> None:
        there = {image.id for image in Catalogue.load(self.workspace).images}
        for record in self._records():
            if record.id not in there:
                with Catalogue.editing(self.workspace) as catalogue:
                    catalogue.add_images([record])

    def whole(self) -> None:
        ids = [i.id for i in Catalogue.load(self.workspace).images]
        if ids != [r.id for r in self._records()][: len(ids)]:
            raise Failure(f"the catalogue has lost or mixed images: {ids}")

    def made(self) -> str:
        return sha256(self.workspace / "dataset.json")


class StoreBuilding(Place):
    """The store of a workspace is built from nothing."""

    def job(self, stop: Stop) -> None:
        with contextlib.suppress(Stopped):
            build_store(self.workspace, stop)

    def whole(self) -> None:
        check_store(self.workspace, self.ground.store)

    def made(self) -> dict[str, str]:
        return _store(self.workspace)


def check_store(workspace: Path, expected: dict[str, str]) -> None:
    """Raises Failure when an entry that a job would take for whole is not what an uninterrupted build makes."""
    for description in (workspace / "store").rglob("*.json"):
        if description.name.startswith(TEMPORARY_PREFIX):
            continue
        known = json.loads(description.read_text())
        if description.name == "fingerprints.json":
            continue
        array = np.load(description.with_suffix(".npy"), allow_pickle=False)
        if list(array.shape) != known["shape"]:
            raise Failure(f"{description.stem}: {array.shape} instead of {known['shape']}")
        for path in (description, description.with_suffix(".npy")):
            if path.name in expected and sha256(path) != expected[path.name]:
                raise Failure(f"{path.name} differs from an uninterrupted build")


class Training(Place):
    """What pretraining and fine-tuning share: their store is there, so that it is training that is interrupted."""

    run_name = "run"

    def fresh(self, folder: Path) -> None:
        super().fresh(folder)
        shutil.copytree(self.ground.workspace / "store", folder / "workspace" / "store")

    def whole(self) -> None:
        check_store(self.workspace, self.ground.store)
        run = self.workspace / "runs" / self.run_name
        for name in ("last.pt", "best.pt"):
            if (run / name).exists():
                content = torch.load(run / name, weights_only=True)
                if not all(bool(t.isfinite().all()) for t in content["network"].values()):
                    raise Failure(f"{name} holds NaN")
        for name in ("config.json", "result.json"):
            if (run / name).exists():
                json.loads((run / name).read_text())
        if (run / "metrics.csv").exists():
            _curve(run)
        if run.exists():
            with FolderLock(run):
                pass

    def made(self) -> Any:
        run = self.workspace / "runs" / self.run_name
        content = torch.load(run / "last.pt", weights_only=True)
        result = json.loads((run / "result.json").read_text())
        weights = {n: t.numpy().tobytes() for n, t in sorted(content["network"].items())}
        return weights, _curve(run), result["steps"]


def _curve(run: Path) -> list[tuple[str, ...]]:
    """Returns the rows of metrics.csv without the clock."""
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    if any(value is None for row in rows for value in row.values()):
        raise Failure("metrics.csv has a row cut off")
    return [tuple(f"{k}={v}" for k, v in row.items() if k != "seconds") for row in rows]


class Pretraining(Training):
    """A pretraining that saves a checkpoint after every step."""

    def job(self, stop: Stop) -> None:
        pretrain(
            PretrainConfig(
                workspace=self.workspace,
                run=self.run_name,
                device="cpu",
                precision="float32",
                threads=1,
                budget=Budget(steps=STEPS),
                batch_size=4,
                patch_size=32,
                checkpoint_minutes=OFTEN,
                network=NetworkConfig(in_slices=1),
            ),
            stop=stop,
        )


class FineTuning(Training):
    """A fine-tuning with validation that saves a checkpoint after every step."""

    def job(self, stop: Stop) -> None:
        labelled = [i.id for i in Catalogue.load(self.workspace).usable(TASK, labelled=True)]
        finetune(
            FinetuneConfig(
                workspace=self.workspace,
                run=self.run_name,
                task=TASK,
                cases=labelled[:2],
                validation=labelled[2:],
                device="cpu",
                precision="float32",
                threads=1,
                budget=Budget(steps=STEPS),
                batch_size=4,
                patch_size=32,
                checkpoint_minutes=OFTEN,
                network=NetworkConfig(in_slices=1),
            ),
            stop=stop,
        )


class Predicting(Place):
    """Several volumes are predicted by the fine-tuned model into a folder, with their uncertainty."""

    def __init__(self, ground: Ground, run: Path):
        super().__init__(ground)
        self.run = run

    def job(self, stop: Stop) -> None:
        scans = self.ground.folder / "scans" / TASK
        predict(
            PredictConfig(
                model=self.run,
                inputs=[scans / "images", scans / "unlabelled"],
                output=self.folder / "predictions",
                uncertainty=True,
                device="cpu",
                threads=1,
            ),
            stop=stop,
        )

    def whole(self) -> None:
        for name, digest in self.made().items():
            if self.expected.get(name) != digest:
                raise Failure(f"{name} is half written, or not what is predicted without interruption")
            if not name.endswith("_uncertainty.nii.gz"):
                other = name.removesuffix(".nii.gz") + "_uncertainty.nii.gz"
                if other not in self.made():
                    raise Failure(f"{name} is there without {other}")

    def made(self) -> dict[str, str]:
        folder = self.folder / "predictions"
        others = (TEMPORARY_PREFIX, RECORD)
        found = {p.name: sha256(p) for p in folder.glob("*") if not p.name.startswith(others)}
        unknown = found.items() - _recorded(folder)
        if unknown:
            raise Failure(f"results are there that the record does not know: {sorted(unknown)}")
        return found


def _recorded(folder: Path) -> set[tuple[str, str]]:
    """Returns the results that a folder's record knows, with their hashes; of its lines the last may be cut."""
    entries = set()
    lines = (folder / RECORD).read_bytes().split(b"\n") if (folder / RECORD).exists() else []
    for line in filter(None, lines):
        with contextlib.suppress(json.JSONDecodeError):
            entry = json.loads(line)
            entries.add((entry["file"], entry["sha256"]))
    return entries


class Exporting(Place):
    """The model file of the fine-tuned run is written, several times over."""

    stops = False

    def __init__(self, ground: Ground, run: Path):
        super().__init__(ground)
        self.run = run

    def job(self, stop: Stop) -> None:
        for _ in range(8):
            export_model(self.run, self.folder / "model.zip", overwrite=True)

    def whole(self) -> None:
        if (self.folder / "model.zip").exists():
            read_model(self.folder / "model.zip")

    def made(self) -> str:
        return sha256(self.folder / "model.zip")


# The campaign ------------------------------------------------------------------------------------------------------


def attempt(place: Place, folder: Path, draw: random.Random) -> tuple[str, bool]:
    """Interrupts a place once and runs it again; returns how, and whether the job was still at work then.

    Raises:
        Failure: something was not as it must be.
    """
    place.fresh(folder)
    how = draw.choice(HOW if place.stops else HOW[:2])
    moment = draw.uniform(0, 1) * place.seconds
    process = Forked(place.job, folder)
    code = process.wait(moment)
    interrupted = False
    if code is None:
        interrupted = process.end(how)
    elif code != 0:
        raise Failure(f"the job failed by itself with {code}:\n{process.log.read_text()[-2000:]}")
    if not interrupted:
        place.seconds = min(place.seconds, time.monotonic() - process.began)  # so that fewer come too late
    if process.orphans():
        raise Failure(f"processes are left: {process.orphans()}")
    place.whole()
    finished(place.job, folder)
    place.whole()
    if place.made() != place.expected:
        raise Failure(f"after {how} at {moment:.2f} s and a second start the result is another one")
    if place.leftovers():
        raise Failure(f"half written files are left: {place.leftovers()}")
    return how, interrupted


KINDS = (CatalogueWriting, StoreBuilding, Pretraining, FineTuning, Predicting, Exporting)
NAMES = tuple(kind.__name__ for kind in KINDS)


def places(ground: Ground, names: Sequence[str] = NAMES) -> list[Place]:
    """Returns the places of these names, each knowing what it makes without interruption."""
    wanted = [kind for kind in KINDS if kind.__name__ in names]
    found: list[Place] = []
    run = ground.folder / f"expected-{FineTuning.__name__}" / "workspace" / "runs" / "run"
    if not run.exists() and {Predicting, Exporting} & {*wanted}:
        FineTuning(ground).learn(run.parents[2])
    for kind in wanted:
        place = kind(ground, run) if kind in (Predicting, Exporting) else kind(ground)
        expected = ground.folder / f"expected-{kind.__name__}"
        shutil.rmtree(expected, ignore_errors=True)
        place.learn(expected)
        found.append(place)
    return found


def campaign(
    count: int, seed: int, folder: Path, names: Sequence[str] = NAMES, say: Callable[[str], None] = lambda text: None
) -> Counter[str]:
    """Interrupts jobs `count` times, going round the places; returns how many times, by place and means.

    Jobs that were over before their moment came are counted too, but not among the `count`.

    Raises:
        Failure: the message has the seed and the number of the attempt.
    """
    chosen = places(Ground(folder), names)
    say("uninterrupted: " + ", ".join(f"{type(p).__name__} {p.seconds:.1f} s" for p in chosen))
    tally: Counter[str] = Counter()
    number = done = 0
    while done < count:
        place = chosen[done % len(chosen)]
        draw = random.Random(f"{seed}/{number}")
        mine = folder / f"attempt-{number}"
        try:
            how, interrupted = attempt(place, mine, draw)
        except Exception as error:
            raise Failure(f"seed {seed}, attempt {number} ({type(place).__name__}), in {mine}: {error}") from error
        tally[f"{type(place).__name__:18} {how if interrupted else 'over before'}"] += 1
        shutil.rmtree(mine)
        number += 1
        done += interrupted
        if interrupted and done % 20 == 0:
            say(f"{done} interruptions")
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--places", nargs="+", choices=NAMES, default=NAMES)
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.count} interruptions", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    began = time.monotonic()
    try:
        tally = campaign(given.count, given.seed, folder, given.places, lambda text: print(text, flush=True))
    except Failure as failure:
        print(f"FAILED: {failure}")
        return 1
    shutil.rmtree(folder)
    for what, times in sorted(tally.items()):
        print(f"{what:40} {times:4}")
    print(
        f"{given.count} interruptions at work in {sum(tally.values())} attempts: every file whole or absent, every "
        f"result the same after a second start, no orphan, no stale lock; {time.monotonic() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
