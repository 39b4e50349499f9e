"""The published split of the hippocampus, 10 % and 25 % of the labels, 2D, 2.5D and 3D."""

from __future__ import annotations

from typing import Any

from .paired import Row, comparison
from .runner import Runner, Trial

TASK = "msd_hippocampus"
PUBLISHED = {"train_10pct": 78.33, "train_25pct": 84.13}
"""The best 2D method of the table: MACL (S. Zeng et al., IEEE JBHI 2026, arXiv 2309.11876)."""
PUBLISHED_ALL_LABELS = 87.00


def trials(runner: Runner) -> list[Trial]:
    """Returns both starts for each list, network and seed. The lists are fixed, so that "draw" counts the runs."""
    found = []
    for share in PUBLISHED:
        cases = tuple(runner.data.splits[TASK][share])
        for network in runner.preset.networks:
            budget = runner.preset.split_volumes if network == "3D" else runner.preset.split_finetuning
            for seed in range(runner.preset.split_seeds if network == runner.preset.networks[0] else 1):
                for start in ("pretrained", "scratch"):
                    found.append(
                        Trial(
                            TASK,
                            start,
                            len(cases),
                            seed,
                            seed,
                            cases,
                            tuple(runner.data.test(TASK)),
                            budget,
                            runner.main_of(network) if start == "pretrained" else None,
                            network,
                        )
                    )
    return found


def figures(rows: list[Row]) -> dict[str, Any]:
    """Returns the comparison by number of cases and network, with the published figures."""
    published = dict(zip(sorted({r["count"] for r in rows}), PUBLISHED.values(), strict=False))
    return {
        **comparison(rows, "scratch", ("count", "network")),
        "published": published,
        "published_all_labels": PUBLISHED_ALL_LABELS,
    }
