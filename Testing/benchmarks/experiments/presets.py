"""How large the experiments are: for a CPU overnight, for a GPU, and tiny to see that everything runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

Limit = dict[str, float]
"""A budget: {"minutes": …} or {"steps": …}."""


MEASURED = ("msd_hippocampus", "hn_ct_openkbp", "mouse_brain_mr", "cardiac_cine_scd")
"""Sources that figures are given of."""


FEATURES = ("HSSL", "pretrained", "untrained", "trained from scratch", "no features")
"""Where the features of learning from slices come from, as figures name it."""


@dataclass(frozen=True)
class Preset:
    """Sizes of all experiments.

    Budgets in steps are the same whatever else the machine does, and both starts take equally long for them.

    Attributes:
        pretraining: budget of the main pretraining.
        short_pretraining: budget of each pretraining that is compared with others.
        other_pretraining: budget of the pretrainings of `networks` other than the first.
        general_pretraining: budget of each general start without a source, and of the pretraining beside it.
        finetuning: budget of each fine-tuning, pretrained or not.
        brief_finetuning: what one waits for in front of the screen.
        split_finetuning: the same on the published split.
        split_volumes: the same of 3D networks, of which a step takes four to five times as long.
        times: budgets of the experiment on time to accuracy.
        sources: tasks that fine-tunings are measured on.
        other_sources: the same for ablations and other pretexts, which need many pretrainings, and for distillation.
        counts: numbers of labelled cases.
        few: number of labelled cases where only one is looked at.
        draws: draws of the labelled cases in the main experiment, with `seeds` runs on each.
        other_draws: draws in the others, with one run on each.
        brief_draws: draws where every run is brief, and of the start that ships.
        costly_draws: draws where there are many runs on each: times, and shares of the labels.
        split_seeds: runs on the published split; networks other than the first have one.
        networks: "2.5D", "2D", "3D"; the first is the main one.
        test_cases: at most so many in all but the published split; 0 is all.
        interactive_cases: at most so many volumes of a source for learning from slices.
        interactive_features: where the features come from that are compared there, of `FEATURES`.
        timed_size: of the volume (z, y, x) on which learning from slices is timed, `timed_sessions` times.
        probe_windows: windows of each task for the picture of the hierarchy.
    """

    name: str
    pretraining: Limit
    short_pretraining: Limit
    other_pretraining: Limit
    general_pretraining: Limit
    finetuning: Limit
    brief_finetuning: Limit
    split_finetuning: Limit
    split_volumes: Limit
    times: tuple[Limit, ...]
    sources: tuple[str, ...] = MEASURED
    other_sources: tuple[str, ...] = MEASURED
    counts: tuple[int, ...] = (1, 3, 5)
    few: int = 3
    draws: int = 3
    seeds: int = 2
    other_draws: int = 2
    brief_draws: int = 5
    costly_draws: int = 2
    split_seeds: int = 3
    networks: tuple[str, ...] = ("2.5D", "2D", "3D")
    size: str = "small"
    test_cases: int = 12
    interactive_cases: int = 10
    interactive_features: tuple[str, ...] = ("HSSL", "no features")
    timed_size: tuple[int, int, int] = (100, 256, 256)
    timed_sessions: int = 3
    probe_windows: int = 200
    threads: int = 0

    def recipe(self) -> dict[str, Any]:
        """Returns what all trainings share."""
        return {"threads": self.threads, **({"patch_size": 32, "batch_size": 4} if self.name == "smoke" else {})}


SECONDS = (15, 30, 60, 120, 300)

PRESETS = {
    "cpu": Preset(
        "cpu",
        pretraining={"steps": 5000},
        short_pretraining={"steps": 1000},
        other_pretraining={"steps": 1000},
        general_pretraining={"steps": 1500},
        finetuning={"steps": 500},
        brief_finetuning={"steps": 100},
        split_finetuning={"steps": 3000},
        split_volumes={"steps": 750},
        times=tuple({"minutes": s / 60} for s in SECONDS),
        other_sources=("hn_ct_openkbp", "mouse_brain_mr"),
        seeds=1,
        costly_draws=1,
        split_seeds=2,
        threads=1,
    ),
    "gpu": Preset(
        "gpu",
        pretraining={"minutes": 15},
        short_pretraining={"minutes": 4},
        other_pretraining={"minutes": 15},
        general_pretraining={"minutes": 4},
        finetuning={"steps": 1000},
        brief_finetuning={"steps": 100},
        split_finetuning={"minutes": 2},
        split_volumes={"minutes": 2},
        times=tuple({"minutes": s / 60} for s in SECONDS[:3]),
        size="medium",
        test_cases=0,
        interactive_features=FEATURES,
    ),
    "smoke": Preset(
        "smoke",
        pretraining={"steps": 2},
        short_pretraining={"steps": 1},
        other_pretraining={"steps": 1},
        general_pretraining={"steps": 1},
        finetuning={"steps": 3},
        brief_finetuning={"steps": 2},
        split_finetuning={"steps": 1},
        split_volumes={"steps": 1},
        times=({"steps": 1}, {"steps": 2}),
        sources=("cardiac_cine_scd",),
        other_sources=("cardiac_cine_scd",),
        counts=(1,),
        few=1,
        draws=2,
        seeds=1,
        other_draws=1,
        brief_draws=2,
        costly_draws=1,
        split_seeds=1,
        networks=("2.5D", "3D"),
        test_cases=1,
        interactive_cases=1,
        timed_size=(20, 64, 64),
        timed_sessions=1,
        probe_windows=12,
        threads=1,
    ),
}
PRESETS["cpu-long"] = replace(PRESETS["cpu"], name="cpu-long", split_finetuning={"steps": 8000}, split_seeds=1)
"""More steps on the published split; all else as "cpu"."""
PRESETS["cpu-medium"] = replace(PRESETS["cpu-long"], name="cpu-medium", size="medium")
"""The same with the larger network."""
