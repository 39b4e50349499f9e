"""Campaign: a workspace that moves between two sessions, and two processes that work on one workspace at once.

    PYTHONPATH=HSSLSegmentation python Testing/robustness/shared_workspace.py --count 12 --seed 1

Moved: a training is stopped at a random moment, the folder with workspace and scans is renamed (to a name with spaces
and accents), and the run goes on there to the same weights and curve as without. Shared: two processes build one store
and train two runs; both edit the catalogue; both want the same run. Nothing is lost, and whoever is refused is told
by whom.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kills import (
    TASK,
    Failure,
    FineTuning,
    Forked,
    Ground,
    Place,
    Predicting,
    Pretraining,
    StoreBuilding,
    Training,
    check_store,
    finished,
    places,
)

from hssl.errors import LockedError
from hssl.files import TEMPORARY_PREFIX
from hssl.workspace.catalogue import Catalogue


def move(place: Training, folder: Path, draw: random.Random) -> None:
    """Interrupts a training, renames the folder around its workspace, and goes on there."""
    place.fresh(folder)
    process = Forked(place.job, folder)
    if process.wait(draw.uniform(0.2, 0.9) * place.seconds) is None:
        process.end(draw.choice(["stop file", "kill"]))
    place.folder = folder.rename(folder.with_name(f"{folder.name} añd moved"))
    finished(place.job, place.folder)
    place.whole()
    if place.made() != place.expected:
        raise Failure("after the move the run came to another end")
    shutil.rmtree(place.folder)


def predict_from_moved(place: Predicting, folder: Path) -> None:
    """Predicts with a run whose workspace has another name now."""
    place.fresh(folder)
    moved = folder / "moved workspace"
    shutil.copytree(place.run.parents[1], moved, symlinks=True)
    before, place.run = place.run, moved / "runs" / place.run.name
    finished(place.job, folder)
    place.run = before
    if place.made() != place.expected:
        raise Failure("a moved run predicts something else")


def together(jobs: list[Callable[[], None]], folder: Path) -> list[tuple[int | None, str]]:
    """Runs jobs at the same time, each in its process; returns exit codes and outputs."""
    processes = []
    for number, job in enumerate(jobs):
        (folder / f"log-{number}").mkdir(exist_ok=True)
        processes.append(Forked(lambda stop, job=job: job(), folder / f"log-{number}"))
    return [(process.wait(), process.log.read_text()) for process in processes]


def two_trainings(place: Pretraining, folder: Path, draw: random.Random) -> None:
    """Two runs of one workspace whose store is not there yet; both build it."""
    place.fresh(folder)
    shutil.rmtree(folder / "workspace" / "store")
    other = Pretraining(place.ground)
    other.folder, other.run_name = folder, "other"
    pause = draw.uniform(0, 0.4)

    def later() -> None:
        time.sleep(pause)
        other.job(lambda: False)

    results = together([lambda: place.job(lambda: False), later], folder)
    if any(code != 0 for code, _ in results):
        raise Failure(f"one of two trainings failed: {[r for r in results if r[0] != 0][0][1][-2500:]}")
    check_store(place.workspace, place.ground.store)
    if place.made() != place.expected or other.made() != place.expected:
        raise Failure("two trainings at once came to another end than one")
    _no_leftovers(folder)


def one_run_twice(place: Pretraining, folder: Path, draw: random.Random) -> None:
    """Two processes want the same run: one trains, the other is refused and told by whom."""
    place.fresh(folder)
    process = Forked(place.job, folder)
    lock = place.workspace / "runs" / "run" / ".lock"
    while not lock.exists() or not lock.read_bytes():
        time.sleep(0.005)
    ((code, said),) = together([lambda: place.job(lambda: False)], folder)
    if code != LockedError.exit_code or f"process {process.pid}" not in said:
        raise Failure(f"the second process was not refused: {code} {said[-2000:]}")
    if process.wait() != 0 or place.made() != place.expected:
        raise Failure(f"the first process was disturbed: {process.log.read_text()[-2000:]}")


def two_editors(place: Place, folder: Path, draw: random.Random) -> None:
    """Two processes add images to one catalogue, one by one."""
    place.fresh(folder)
    (folder / "workspace" / "dataset.json").unlink()
    catalogue = Catalogue.create(folder / "workspace")
    catalogue.set_task(next(t for t in Catalogue.load(place.ground.workspace).tasks if t.name == TASK))
    catalogue.save()
    records = place.ground.images(TASK)

    def edit(who: str) -> None:
        for number in range(10):
            for record in records:
                with Catalogue.editing(folder / "workspace", wait=60) as mine:
                    mine.add_images([record.model_copy(update={"id": f"{record.id}-{who}-{number}"})])

    results = together([lambda: edit("a"), lambda: edit("b")], folder)
    if any(code != 0 for code, _ in results):
        raise Failure(f"an editor failed: {results}")
    found = len(Catalogue.load(folder / "workspace").images)
    if found != 20 * len(records):
        raise Failure(f"{20 * len(records) - found} images of {20 * len(records)} were lost")
    _no_leftovers(folder)


def _no_leftovers(folder: Path) -> None:
    left = [str(p.relative_to(folder)) for p in folder.rglob(TEMPORARY_PREFIX + "*")]
    if left:
        raise Failure(f"half written files are left: {left}")


def campaign(count: int, seed: int, folder: Path) -> Counter[str]:
    """Makes `count` attempts, going round the kinds; returns how many there were of each.

    Raises:
        Failure: the message has the seed and the number of the attempt.
    """
    names = [k.__name__ for k in (StoreBuilding, Pretraining, FineTuning, Predicting)]
    store, pretraining, finetuning, predicting = places(Ground(folder), names)
    kinds: dict[str, Callable[[Path, random.Random], None]] = {
        "pretraining moved": lambda f, draw: move(pretraining, f, draw),
        "fine-tuning moved": lambda f, draw: move(finetuning, f, draw),
        "prediction by a moved run": lambda f, draw: predict_from_moved(predicting, f),
        "two trainings, one store": lambda f, draw: two_trainings(pretraining, f, draw),
        "two processes, one run": lambda f, draw: one_run_twice(pretraining, f, draw),
        "two editors, one catalogue": lambda f, draw: two_editors(store, f, draw),
    }
    tally: Counter[str] = Counter()
    for number in range(count):
        kind = list(kinds)[number % len(kinds)]
        mine = folder / f"attempt-{number}"
        try:
            kinds[kind](mine, random.Random(f"{seed}/{number}"))
        except Exception as error:
            raise Failure(f"seed {seed}, attempt {number} ({kind}), in {mine}: {error}") from error
        tally[kind] += 1
        shutil.rmtree(mine, ignore_errors=True)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.count} attempts", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="shared-workspace-"))
    began = time.monotonic()
    try:
        tally = campaign(given.count, given.seed, folder)
    except Failure as failure:
        print(f"FAILED: {failure}")
        return 1
    shutil.rmtree(folder)
    for what, times in sorted(tally.items()):
        print(f"{what:40} {times:4}")
    print(f"{given.count} attempts, nothing lost; {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
