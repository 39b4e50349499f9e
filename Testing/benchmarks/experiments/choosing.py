"""Which cases to label: chosen by `suggest`, by coverage alone, or at random, round after round from one first label."""

from __future__ import annotations

from collections.abc import Iterator

from hssl.configuration import SuggestConfig
from hssl.files import read_json, sha256, sha256_of, write_json
from hssl.jobs import suggest as engine
from hssl.jobs.suggest import suggest

from .runner import Runner, Trial

COUNTS = (3, 5)
"""Labels after each round; the first one is the draw's own, so that there is a model to ask."""
POOL = 60
"""A draw chooses among at most so many cases of a source."""
RANDOM = "random"
WAYS = (RANDOM, "coverage", "suggest")


def trials(runner: Runner, task: str, draws: int) -> Iterator[Trial]:
    """Yields a fine-tuning for each draw, way to choose and number of labels, choosing as it goes.

    All start from the main pretraining; those of a draw share the first label, the pool and the seed.
    """
    for number in range(draws):
        pool = runner.data.drawn(task, min(POOL, len(runner.data.pool(task))), number)
        for way in WAYS:
            cases = pool[:1]
            for count in COUNTS:
                if way == RANDOM:
                    cases = pool[:count]
                else:
                    cases = cases + _asked(runner, task, way, number, pool, cases, count - len(cases))
                yield runner.trial(task, way, count, number, cases=tuple(cases), pretraining=runner.main)


def _asked(
    runner: Runner, task: str, way: str, number: int, pool: list[str], labelled: list[str], count: int
) -> list[str]:
    """Returns what is to be labelled next; the answer is remembered."""
    start = runner.pretrained(runner.main)
    trial = runner.trial(task, way, len(labelled), number, cases=tuple(labelled), pretraining=runner.main)
    # Another rule or other networks give other answers.
    asked = sha256_of([sha256(engine.__file__), start.name, way, trial.seed, trial.budget, pool, labelled, count])
    path = runner.folder / "choices" / f"{task}-{asked[:12]}.json"
    if not path.exists():
        config = SuggestConfig.checked(
            {
                "workspace": runner.data.partly_labelled("asking", task, pool, labelled),
                "task": task,
                "model": str(start if way == "coverage" else runner.finetuned(trial)),
                "features": "" if way == "coverage" else str(start),
                "count": count,
                "threads": runner.preset.threads,
            }
        )
        write_json(path, [row.model_dump() for row in suggest(config).result.suggestions])
    return [row["id"] for row in read_json(path)]
