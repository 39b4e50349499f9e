"""Mutation testing: small faults are put into what decides right or wrong, one by one; do the tests notice?

    python -m venv FOLDER/tool && FOLDER/tool/bin/pip install "cosmic-ray>=8.4,<9"
    FOLDER/tool/bin/python Testing/robustness/mutants.py --count 300 --seed 1 --python .venv/bin/python --out FOLDER

A random sample of Cosmic Ray's mutants of the modules in `ROOMS`, in a copy of the repository under FOLDER. Each is run
against the tests of its module first, and against those of its room where these notice nothing. A row of JSON a mutant is
written to FOLDER/mutants.jsonl; the same command goes on where it was stopped. Ends with an error below `--least`.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shlex
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cosmic_ray.commands.init import _all_work_items  # the sampling needs all of them; there is no public way
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).resolve().parents[2]
ENGINE = "HSSLSegmentation/hssl"
ROOMS: dict[str, list[str]] = {
    "imaging": ["Testing/engine/imaging"],
    "workspace": ["Testing/engine/workspace"],
    "preprocessing": ["Testing/engine/preprocessing"],
    "learning/losses": ["Testing/engine/learning"],
    "learning/sampling.py": ["Testing/engine/learning"],
    "interactive/slice_priors.py": ["Testing/engine/interactive"],
    "models/components.py": ["Testing/engine/models"],
    "jobs/evaluate.py": ["Testing/engine/jobs/test_evaluate.py", "Testing/engine/jobs/test_table.py"],
}
"""What is mutated, and the tests of its room."""
TIMES = 4
"""A mutant that takes so many times what the tests take without it has been noticed: it does not end."""


def modules() -> Iterator[tuple[Path, list[str]]]:
    """Yields every module, relative to the repository, with the tests of its room."""
    for name, tests in ROOMS.items():
        path = ROOT / ENGINE / name
        for module in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            if module.name != "__init__.py":
                yield module.relative_to(ROOT), tests


def mutants(module: Path) -> list[MutationSpec]:
    """Returns the mutants of a module, but for those of annotations and docstrings, which nothing runs."""
    spans = list(_unread(ast.parse((ROOT / module).read_text(encoding="utf-8"))))
    found = [item.mutations[0] for item in _all_work_items([module], {})]
    return [m for m in found if not any(first <= m.start_pos < last for first, last in spans)]


def _unread(tree: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for node in ast.walk(tree):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts.append(node)
        for part in parts:
            if part is not None:
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def sample(count: int, seed: int) -> list[tuple[MutationSpec, list[str]]]:
    """Returns mutants at random, one a place, with the tests of their rooms; a larger count holds the smaller one's."""
    places: dict[tuple[str, object, object], list[MutationSpec]] = {}
    tests_of: dict[str, list[str]] = {}
    for module, tests in modules():
        tests_of[str(module)] = tests
        for mutant in mutants(module):
            places.setdefault((str(module), mutant.start_pos, mutant.end_pos), []).append(mutant)
    rng = random.Random(seed)
    # A place each, and one of its mutants: a sum alone has eleven, most of which no type allows.
    chosen = [rng.choice(at_place) for at_place in rng.sample(list(places.values()), len(places))][:count]
    return [(mutant, tests_of[str(mutant.module_path)]) for mutant in chosen]


def command(python: str, module: Path, tests: list[str]) -> str:
    """Returns the tests of a module and then those of its room, as one line."""
    pytest = f"{shlex.quote(python)} -m pytest -x -q -p no:cacheprovider --no-header"
    own = sorted(Path().glob(f"Testing/engine/**/test_{module.stem}.py"))
    runs = [f"{pytest} {' '.join(map(str, files))}" for files in (own, tests) if files]
    return f"sh -c {shlex.quote(' && '.join(runs))}"


def copied(folder: Path) -> None:
    """Copies what git knows of the repository, as it is on the disk."""
    files = subprocess.check_output(["git", "-C", ROOT, "ls-files", "-z"]).decode().split("\0")
    for name in filter(None, files):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--python", type=Path, default=ROOT / ".venv/bin/python", help="runs the tests")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--least", type=float, default=85, help="per cent that must be noticed")
    given = parser.parse_args()
    copy, log = given.out.resolve() / "copy", given.out.resolve() / "mutants.jsonl"
    python = str(given.python.absolute())
    os.chdir(ROOT)
    chosen = sample(given.count, given.seed)
    shutil.rmtree(copy, ignore_errors=True)
    copied(copy)
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy / "HSSLSegmentation"), "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"}
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1"}  # a mutant of the same second would be read from the cache
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {row["mutant"] for row in rows}
    seconds: dict[str, float] = {}
    for mutant, tests in chosen:
        name = f"{mutant.module_path}:{mutant.start_pos[0]}:{mutant.operator_name}:{mutant.occurrence}"
        if name in known:
            continue
        run = command(python, Path(mutant.module_path), tests)
        if run not in seconds:
            began = time.monotonic()
            subprocess.run(shlex.split(run), check=True, stdout=subprocess.DEVNULL)
            seconds[run] = time.monotonic() - began
        result = mutate_and_test([mutant], run, TIMES * seconds[run] + 60)
        noticed = result.test_outcome != TestOutcome.SURVIVED
        row = {"mutant": name, "noticed": noticed, "diff": "" if noticed else result.diff}
        rows.append(row)
        with log.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print("noticed " if noticed else "SURVIVED", name, flush=True)
    report(rows, given.seed, given.least)


def report(rows: list[dict[str, Any]], seed: int, least: float) -> None:
    """Prints the share that was noticed for each room, and the survivors; an error where it is too small."""
    counts: Counter[tuple[str, bool]] = Counter()
    for row in rows:
        counts[row["mutant"].removeprefix(f"{ENGINE}/").split("/")[0], row["noticed"]] += 1
    for room in sorted({room for room, _ in counts}):
        print(f"{room}: {counts[room, True]} of {counts[room, True] + counts[room, False]} noticed")
    for row in rows:
        if not row["noticed"]:
            print(row["diff"])
    share = 100 * sum(row["noticed"] for row in rows) / len(rows)
    print(f"seed {seed}: {share:.1f} % of {len(rows)} mutants noticed")
    if share < least:
        raise SystemExit(f"fewer than {least:g} %")


if __name__ == "__main__":
    main()
