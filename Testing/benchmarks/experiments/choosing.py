"""Which cases to label: chosen by `suggest`, by coverage alone, or at random, round after round from one first label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hssl.configuration import SuggestConfig
from hssl.files import read_json, sha256, sha256_of, write_json
from hssl.jobs import suggest as engine
from hssl.jobs.suggest import suggest

from .laboratory import Laboratory, Leg

COUNTS = (3, 5)
"""Labels after each round; the first one is the draw's own, so that there is a model to ask."""
POOL = 60
"""A draw chooses among at most so many cases of a source."""
RANDOM = "random"
WAYS = (RANDOM, "coverage", "suggest")


def legs(lab: Laboratory, task: str, draws: int) -> Iterator[Leg]:
    """Yields a fine-tuning for each draw, way to choose and number of labels, choosing as it goes.

    All start from the main pretraining; those of a draw share the first label, the pool and the seed.
    """
    for number in range(draws):
        pool = lab.data.drawn(task, min(POOL, len(lab.data.pool(task))), number)
        for way in WAYS:
            cases = pool[:1]
            for count in COUNTS:
                if way == RANDOM:
                    cases = pool[:count]
                else:
                    cases = cases + _asked(lab, task, way, number, pool, cases, count - len(cases))
                yield lab.leg(task, way, count, number, cases=tuple(cases), pretraining=lab.main)


def _asked(
    lab: Laboratory, task: str, way: str, number: int, pool: list[str], labelled: list[str], count: int
) -> list[str]:
    """Returns what is to be labelled next; the answer is remembered."""
    start = lab.pretrained(lab.main)
    leg = lab.leg(task, way, len(labelled), number, cases=tuple(labelled), pretraining=lab.main)
    # Another rule or other networks give other answers.
    asked = sha256_of([sha256(engine.__file__), start.name, way, leg.seed, leg.budget, pool, labelled, count])
    path = lab.folder / "choices" / f"{task}-{asked[:12]}.json"
    if not path.exists():
        config = SuggestConfig.checked(
            {
                "workspace": _workspace(lab, task, pool, labelled),
                "task": task,
                "model": str(start if way == "coverage" else lab.finetuned(leg)),
                "features": "" if way == "coverage" else str(start),
                "count": count,
                "threads": lab.preset.threads,
            }
        )
        write_json(path, suggest(config).result["suggestions"])
    return [row["id"] for row in read_json(path)]


def _workspace(lab: Laboratory, task: str, pool: list[str], labelled: list[str]) -> Path:
    """Returns a workspace of the pool alone, in which only some cases have their label."""
    # As deep in the tree as the workspace of all sources, so that relative paths hold.
    folder = lab.data.workspace.with_name("asking")
    folder.mkdir(exist_ok=True)
    if not (folder / "store").exists():
        (folder / "store").symlink_to(lab.data.workspace / "store", target_is_directory=True)
    values = read_json(lab.data.workspace / "dataset.json")
    images = [i for i in values["images"] if i["task"] == task and i["id"] in pool]
    values["images"] = [i if i["id"] in labelled else {**i, "label": None} for i in images]
    write_json(folder / "dataset.json", values)
    return folder
