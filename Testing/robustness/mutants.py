"""Mutation testing: small faults are put into what decides right or wrong, one by one; do the tests notice?

    python -m venv FOLDER/tool && FOLDER/tool/bin/pip install "cosmic-ray>=8.4,<9" "coverage>=7.6,<8" "pytest-cov>=6,<8"
    FOLDER/tool/bin/python Testing/robustness/mutants.py --count 300 --seed 1 --python .venv/bin/python --out FOLDER

A random sample of Cosmic Ray's mutants of the modules in `ROOMS`, in a copy of the repository under FOLDER. `--python` and
the tool's Python are of one version (coverage's C part serves both). The rooms' tests run once to learn which of them run
which line. Each mutant then meets those that run its line: its own module's first, then its room's, then the others, quick
ones before slow ones. One that only an import runs meets its room's. A row of JSON a mutant is written to
FOLDER/mutants.jsonl; the same command goes on where it was stopped, as long as the code is the same. Ends
with an error below `--least`.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import difflib
import json
import os
import random
import shutil
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import cosmic_ray.plugins
import coverage
from cosmic_ray.commands.init import _all_work_items  # the sampling needs all of them; there is no public way
from cosmic_ray.mutating import use_mutation
from cosmic_ray.work_item import MutationSpec

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
LONGEST = 40.0
"""Seconds that the tests of a mutant take together: the last ones are left out."""
FIRST = 6
"""So many of them are run before the others are even collected, which takes seconds: most mutants get no further."""
TIMES, SPARE = 4, 20.0
"""A mutant that takes so many times what its tests take without it, and so many seconds, does not end: it is noticed."""
HOUR = 3600.0


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


class Pytest:
    """Runs pytest in forks of a process that has imported what the tests need."""

    def __init__(self, python: str):
        tool = str(Path(coverage.__file__).parents[1])
        server = [python, str(ROOT / "Testing/robustness/forked_tests.py"), tool]
        self._process = subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *arguments: str, seconds: float) -> int | None:
        """Returns the exit code, None where the time was over."""
        assert self._process.stdin is not None and self._process.stdout is not None
        always = ["-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        print(
            json.dumps({"arguments": [*always, *arguments], "seconds": seconds}), file=self._process.stdin, flush=True
        )
        return json.loads(self._process.stdout.readline())


@dataclass
class Tests:
    """The tests that pass without mutants.

    Attributes:
        seconds: what each takes, by its node's name.
        data: which of them runs which line.
    """

    seconds: dict[str, float]
    data: coverage.CoverageData

    @classmethod
    def measured(cls, pytest: Pytest, times: Path) -> Tests:
        """Runs the tests of all rooms, unless the file of their times is there already."""
        if not times.exists():
            rooms = sorted({test for tests in ROOMS.values() for test in tests})
            options = [f"--cov={ENGINE}", "--cov-context=test", "--cov-report=", f"--junitxml={times}"]
            began = time.monotonic()
            code = pytest.run(*rooms, *options, "-o", "junit_family=xunit1", seconds=HOUR)
            print(f"the tests of all rooms: {time.monotonic() - began:.0f} s, exit code {code}", flush=True)
        cases = list(ElementTree.parse(times).getroot().iter("testcase"))
        passed = {f"{c.get('file')}::{c.get('name')}": float(c.get("time", 0)) for c in cases if not len(c)}
        if pytest.run("--collect-only", *passed, seconds=HOUR) != 0:
            raise SystemExit("the tests are not found by their names")  # every mutant would look noticed
        data = coverage.CoverageData(os.environ["COVERAGE_FILE"])
        data.read()
        return cls(passed, data)

    def of(self, mutant: MutationSpec, room: list[str]) -> list[str]:
        """Returns the tests that a mutant meets, in that order."""
        module = Path(mutant.module_path)
        running = set[str]()
        # What an import runs counts for whichever test was the first to import it.
        if _in_function(ast.parse(module.read_text(encoding="utf-8")), mutant.start_pos[0]):
            contexts = self.data.contexts_by_lineno(str(module.absolute()))
            lines = range(mutant.start_pos[0], mutant.end_pos[0] + 1)
            running = {context.rpartition("|")[0] for line in lines for context in contexts.get(line, [])}
        inside = {test for test in self.seconds if test.startswith(tuple(room))}
        chosen = running & self.seconds.keys() or inside

        def place(test: str) -> tuple[bool, bool, float]:
            return f"/test_{module.stem}.py::" not in test, test not in inside, self.seconds[test]

        met, together = list[str](), 0.0
        for test in sorted(chosen, key=place):
            together += self.seconds[test]
            if together <= LONGEST:
                met.append(test)
        return met


def _in_function(tree: ast.AST, line: int) -> bool:
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
    return any(f.body[0].lineno <= line <= (f.end_lineno or line) for f in functions)


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
    out = given.out.resolve()
    copy, log = out / "copy", out / "mutants.jsonl"
    python = str(given.python.absolute())  # not resolved: the link is the environment's
    os.chdir(ROOT)
    chosen = sample(given.count, given.seed)
    copied(copy)  # anew: what was stopped may have left a mutant there
    # Caches that know their source by its content: by time, a mutant of the same second would be read from one.
    compileall.compile_dir(copy / ENGINE, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy / "HSSLSegmentation"), "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"}
    os.environ["COVERAGE_FILE"] = str(out / "coverage")
    pytest = Pytest(python)
    tests = Tests.measured(pytest, out / "tests.xml")
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {row["mutant"] for row in rows}
    for mutant, room in chosen:
        name = f"{mutant.module_path}:{mutant.start_pos[0]}:{mutant.operator_name}:{mutant.occurrence}"
        if name not in known:
            rows.append({"mutant": name, **outcome(mutant, tests.of(mutant, room), tests, pytest)})
            with log.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print("noticed " if rows[-1]["noticed"] else "SURVIVED", name, f"{rows[-1]['seconds']} s", flush=True)
    report(rows, given.seed, given.least)


def outcome(mutant: MutationSpec, met: list[str], tests: Tests, pytest: Pytest) -> dict[str, Any]:
    """Puts a mutant into the copy, runs tests, and takes it out again; returns what came of it."""
    operator = cosmic_ray.plugins.get_operator(mutant.operator_name)(**mutant.operator_args)
    began = time.monotonic()
    with use_mutation(Path(mutant.module_path), operator, mutant.occurrence) as (before, after):
        noticed = False
        for part in (met[:FIRST], met[FIRST:]):
            if part and not noticed:
                seconds = TIMES * sum(tests.seconds[test] for test in part) + SPARE
                noticed = pytest.run("-x", *part, seconds=seconds) != 0
    diff = "\n".join(difflib.unified_diff(before.split("\n"), after.split("\n"), str(mutant.module_path), n=2))
    taken = round(time.monotonic() - began, 1)
    return {"noticed": noticed, "seconds": taken, "tests": len(met), "diff": "" if noticed else diff}


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
