"""Campaign: the disk fills up, or cannot be written to, at a random moment of everything that writes.

    sudo PYTHONPATH=HSSLSegmentation python Testing/robustness/full_disk.py --count 60 --seed 1

Each attempt runs a job on a small file system in memory that has room for a random share of what the job needs. The
job must end with an error that names the file and the reason, not with a traceback; every file must be whole or
absent; and with room again the same job must come to the same end as if nothing had happened. Then each job is run in
a read-only workspace: it must say so, except those that only read from it. Mounting needs root (Linux).
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kills import NAMES, Failure, Forked, Ground, Place, finished, places

from hssl.errors import OutputError

ROOM = 400
"""MiB of the file system."""


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """Mounts a small file system in memory on a new folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def used(folder: Path) -> int:
    """Returns the bytes that the files of a folder take."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def failed_with_reason(place: Place, log: Path, reasons: tuple[str, ...]) -> bool:
    """Runs a job that may fail; returns whether it did.

    Raises:
        Failure: it failed in another way than with an OutputError that gives one of the reasons.
    """
    process = Forked(place.job, log)
    code = process.wait()
    if code == 0:
        return False
    said = process.log.read_text()
    if code != OutputError.exit_code or not any(reason in said for reason in reasons):
        raise Failure(f"the job ended with {code}:\n{said[-2500:]}")
    if process.orphans():
        raise Failure(f"processes are left: {process.orphans()}")
    return True


def fill(place: Place, folder: Path, log: Path, draw: random.Random) -> bool:
    """Runs a job with too little room, and again with enough; returns whether it ran out of room."""
    with mounted(folder):
        place.fresh(folder)
        free = int(draw.random() * place.needed)
        with open(folder / "filler", "wb") as file:
            size = shutil.disk_usage(folder).free - free
            while size > 0:
                size -= file.write(bytes(min(size, 2**20)))
        full = failed_with_reason(place, log, ("No space left on device", "cannot be written"))
        place.whole()
        (folder / "filler").unlink()
        finished(place.job, log)
        place.whole()
        if place.made() != place.expected:
            raise Failure("with room again the result is another one")
        if place.leftovers():
            raise Failure(f"half written files are left: {place.leftovers()}")
    return full


def read_only(place: Place, folder: Path, log: Path) -> None:
    """Runs a job in a workspace that cannot be written to."""
    with mounted(folder):
        place.fresh(folder)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        if not failed_with_reason(place, log, ("Read-only file system", "cannot be written")):
            raise Failure("wrote into a read-only workspace, or said nothing")


def campaign(count: int, seed: int, folder: Path, names: list[str]) -> Counter[str]:
    """Makes `count` attempts, going round the places, and one in a read-only workspace at each; returns the tally.

    Raises:
        Failure: the message has the seed and the number of the attempt.
    """
    chosen = places(Ground(folder), names)
    log = folder / "log"
    log.mkdir()
    for place in chosen:
        # What the job leaves, and as much again for what it writes before it replaces.
        place.needed = 2 * used(place.folder)
    tally: Counter[str] = Counter()
    for number in range(count):
        place = chosen[number % len(chosen)]
        draw = random.Random(f"{seed}/{number}")
        try:
            full = fill(place, folder / f"disk-{number}", log, draw)
        except Exception as error:
            raise Failure(f"seed {seed}, attempt {number} ({type(place).__name__}): {error}") from error
        tally[f"{type(place).__name__:18} {'ran out of room' if full else 'had room enough'}"] += 1
    for place in chosen:
        try:
            read_only(place, folder / f"read-only-{type(place).__name__}", log)
        except Exception as error:
            raise Failure(f"read-only ({type(place).__name__}): {error}") from error
        tally[f"{type(place).__name__:18} refused a read-only folder"] += 1
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--places", nargs="+", choices=NAMES, default=list(NAMES))
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.count} attempts", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="full-disk-"))
    began = time.monotonic()
    try:
        tally = campaign(given.count, given.seed, folder, given.places)
    except Failure as failure:
        print(f"FAILED: {failure}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for what, times in sorted(tally.items()):
        print(f"{what:50} {times:4}")
    print(f"{given.count} attempts and {len(given.places)} read-only: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
