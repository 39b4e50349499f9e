"""Benchmark, rows 1 to 3: a training step of the engine, data to optimiser, against two other ways to do the same.

    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/training.py overhead pretrain
    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/training.py overhead finetune
    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/training.py monai pretrain
    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/training.py monai finetune

`overhead` compares with bare steps on random tensors that lie in memory: "bare_network" is forward, backward and
optimiser of the encoder–decoder alone; "bare_learner" has the heads and losses too. `monai` compares with MONAI's
documented pipeline: CacheDataset, dictionary transforms of the same strength a sample, DataLoader, the same network and
losses in float32. The engine's side is the job itself: the time between the ends of its steps, whatever they wait for.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from measuring import Measures, Side, alternated, figures, ratios, write

ROW = {
    ("overhead", "pretrain"): "1",
    ("monai", "pretrain"): "2",
    ("overhead", "finetune"): "3a",
    ("monai", "finetune"): "3b",
}
AIM = {
    "1": ("engine_over_bare_network", "at most 1.10"),
    "2": ("monai_over_engine", "at least 3"),
    "3a": ("engine_over_bare_network", "at most 1.15"),
    "3b": ("monai_over_engine", "at least 2"),
}


def config(
    job: str, workspace: Path, run: str, steps: int, batch: int, threads: int, precision: str, device: str
) -> Any:
    from hssl.configuration import Budget, FinetuneConfig, PretrainConfig
    from hssl.workspace.catalogue import Catalogue

    values: dict[str, Any] = {
        "workspace": workspace, "run": run, "budget": Budget(steps=steps), "batch_size": batch, "threads": threads,
        "precision": precision, "device": device,
    }  # fmt: skip
    if job == "pretrain":
        return PretrainConfig(**values)
    return FinetuneConfig(**values, task=Catalogue.load(workspace).tasks[0].name, case_count=3)


def engine(job: str, workspace: Path, batch: int, steps: int, threads: int, precision: str, device: str) -> Callable:
    """The job itself; a round lasts from the end of its first step to the end of its last one."""
    from hssl.configuration import PretrainConfig
    from hssl.events import Event, Losses, Progress
    from hssl.jobs.finetune import finetune
    from hssl.jobs.pretrain import pretrain

    numbers = itertools.count()

    def work() -> Measures:
        ends: dict[int, tuple[float, float]] = {}

        def watch(event: Event) -> None:
            if isinstance(event, Losses) or (isinstance(event, Progress) and event.phase == "training"):
                ends.setdefault(event.step, (perf_counter(), sum(os.times()[:2])))

        run = f"speed-{os.getpid()}-{next(numbers)}"
        given = config(job, workspace, run, 1 + steps, batch, threads, precision, device)
        if isinstance(given, PretrainConfig):
            pretrain(given, watch)
        else:
            finetune(given, watch)
        first, last = min(ends), max(ends)
        wall, cpu = (b - a for a, b in zip(ends[first], ends[last], strict=True))
        return {"wall": wall / (last - first), "cpu": cpu / (last - first)}

    return work


def learner(job: str, workspace: Path, batch: int, threads: int, device: str) -> Any:
    """Returns the engine's learner, on a store that is built where it was not yet."""
    import torch

    from hssl.events import ignore, never
    from hssl.jobs.finetune import choose_cases
    from hssl.learning.finetuning import FinetuneLearner
    from hssl.learning.pretraining import PretrainLearner
    from hssl.learning.start import SCRATCH, Start
    from hssl.models.device import chosen_device
    from hssl.preprocessing.store import build, task_fingerprint
    from hssl.workspace.catalogue import Catalogue

    torch.set_num_threads(threads)
    settings = config(job, workspace, "bare", 1, batch, threads, "float32", device)
    catalogue, where = Catalogue.load(workspace), chosen_device(device)
    scratch = Start.named(SCRATCH, workspace)
    prints = {t.name: task_fingerprint(catalogue, t, [], ignore, never) for t in catalogue.tasks}
    if job == "pretrain":
        volumes = build(catalogue, catalogue.usable(), prints, False, ignore, never)
        made: Any = PretrainLearner(settings, catalogue, scratch, volumes, prints, batch, where)
    else:
        cases, _ = choose_cases(catalogue, settings)
        volumes = build(catalogue, cases, prints, True, ignore, never)
        made = FinetuneLearner(settings, catalogue, scratch, volumes, [], [], prints[settings.task], batch, where)
    made.module.to(where).train()
    return made


def bare(
    job: str, workspace: Path, batch: int, steps: int, threads: int, precision: str, device: str, whole: bool
) -> Callable[[], Measures]:
    """Forward, backward and optimiser on tensors that lie in memory: of the network alone, or of all that learns."""
    import torch

    made = learner(job, workspace, batch, threads, device)
    prepared = made.prepared(made.read(0, 0, 1))
    images = torch.randn_like(torch.cat(prepared.changed) if job == "pretrain" else prepared.images)
    module = made.module if whole else made.module.network
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3, foreach=True)

    def work() -> Measures:
        start, cpu = perf_counter(), sum(os.times()[:2])
        for _ in range(steps):
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
                loss = module(prepared)["total"] if whole else module(images).float().square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss.item()
        return {"wall": (perf_counter() - start) / steps, "cpu": (sum(os.times()[:2]) - cpu) / steps}

    return work


def _transforms(both: bool, window: tuple[int, ...], patch: tuple[int, ...]) -> list[Any]:
    """MONAI's transforms from a volume to a patch: with its label (`both`), or to two views of it."""
    from monai import transforms as T

    keys = ["image", "label"] if both else ["image"]
    modes = ["bilinear", "nearest"] if both else "bilinear"

    def view(name: str) -> list:
        warped = [name, "label"] if both else [name]
        return [
            T.RandAffined(warped, prob=1, rotate_range=0.35, scale_range=0.25, shear_range=None, mode=modes,
                          translate_range=[0.08 * n for n in patch], padding_mode="border",
                          spatial_size=patch),
            *([T.Rand2DElasticd(warped, (24, 24), (0, 2), prob=1, mode=modes, padding_mode="border")] if both else []),
            *([] if both else [T.CopyItemsd([name], names=[f"clean_{name}"])]),
            T.RandBiasFieldd([name], prob=0.3),
            T.RandAdjustContrastd([name], prob=0.5, gamma=(0.7, 1.4), retain_stats=True),
            T.RandScaleIntensityd([name], 0.3, prob=0.5),
            T.RandShiftIntensityd([name], 0.3, prob=0.5),
            T.RandGaussianSmoothd([name], (0.5, 1.25), (0.5, 1.25), prob=0.25),
            T.RandSimulateLowResolutiond([name], prob=0.2, zoom_range=(0.5, 0.5), upsample_mode="bilinear"),
            T.RandGaussianNoised([name], prob=0.4, std=0.15),
        ]  # fmt: skip

    squeeze = [T.Lambdad(["image"], lambda x: x[0]), *([T.Lambdad(["label"], lambda x: x[0, 1:2])] if both else [])]
    return [
        T.SpatialPadd(keys, window), T.RandSpatialCropd(keys, window, random_size=False), *squeeze,
        *([] if both else [T.CopyItemsd(["image"], names=["other"])]),
        *view("image"), *([] if both else view("other")), T.ToTensord(keys if both else ["image", "other"], track_meta=False),
    ]  # fmt: skip


def monai(job: str, workspace: Path, batch: int, steps: int, threads: int, workers: int) -> Callable[[], Measures]:
    """MONAI's pipeline; a round is a number of steps of an epoch that goes on from one to the next."""
    import numpy as np
    import torch
    from monai import transforms as T
    from monai.data import CacheDataset, DataLoader

    from hssl.learning.pretexts.pretext import Views
    from hssl.learning.segmentation import Prepared
    from hssl.models import device as devices
    from hssl.models import network as networks
    from hssl.preprocessing.store import Reader

    # What the engine does to be quick is not what a user of MONAI would have.
    devices.keep_freed_memory = lambda: None
    networks.INSTANCE_NORM = "instance"
    made = learner(job, workspace, batch, threads, "cpu")
    usual = made.kinds[0] if job == "finetune" else None
    reader = Reader()
    sampler, patch = (usual.labelled, usual.patch) if usual else (made.sampler, made.patch)
    items = [
        {
            "image": np.asarray(reader.array(v.path), np.float32)[None],
            **({"label": np.asarray(reader.array(v.label_path))[None]} if v.label_path else {}),
            "task": sampler.tasks.index(v.task),
            "volume": number,
        }
        for number, v in enumerate(sampler.volumes)
    ]
    both = job == "finetune"
    window = (3 if made.config.network.in_slices == 3 else 1, *sampler.window)
    dataset = CacheDataset(
        [items[n % len(items)] for n in range(max(len(items), 4 * batch))],
        T.Compose(_transforms(both, window, patch)),
        progress=False,
    )
    # Forked as by a script on Linux: this process was spawned, and its children would be too.
    how: dict[str, Any] = {"multiprocessing_context": "fork", "persistent_workers": True} if workers else {}
    loader = DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True, num_workers=workers, **how)

    def endless() -> Iterator[dict[str, torch.Tensor]]:
        while True:
            yield from loader

    # Where the views were cut from is not told by MONAI's transforms; the dense loss takes places of another batch.
    example = made.prepared(made.read(0, 0, 1))
    optimizer = torch.optim.AdamW(made.module.parameters(), 1e-3)
    batches = endless()

    def prepared(batch_: dict[str, torch.Tensor]) -> Any:
        if both:
            return Prepared(batch_["image"].float(), batch_["label"][:, 0].long())
        return Views(
            clean=(batch_["clean_image"].float(), batch_["clean_other"].float()),
            changed=(batch_["image"].float(), batch_["other"].float()),
            warps=example.warps, tasks=batch_["task"], volumes=batch_["volume"], axes=example.axes,
            positions=example.positions, extents=example.extents, rngs=example.rngs,
        )  # fmt: skip

    def work() -> Measures:
        start = perf_counter()
        for _ in range(steps):
            loss = made.module(prepared(next(batches)))["total"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        return {"wall": (perf_counter() - start) / steps}

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("against", choices=["overhead", "monai"])
    parser.add_argument("job", choices=["pretrain", "finetune"])
    parser.add_argument("--data", type=Path, help="a workspace; without it, scans are generated")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, default=2, help="of MONAI's DataLoader")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    row = ROW[given.against, given.job]
    with tempfile.TemporaryDirectory() as name:
        workspace = given.data
        if workspace is None:
            from hssl.demo.workspace import sample

            workspace = Path(name) / "workspace"
            sample(workspace, size="demo")
        one = (given.job, workspace, given.batch_size, given.steps, given.threads)
        learner(given.job, workspace, given.batch_size, given.threads, given.device)  # builds the store
        found: dict[str, Measures] = {}
        measured: dict[str, list[Measures]] = {}
        if given.against == "overhead":
            for precision in ("float32", "bfloat16"):
                sides = {
                    f"engine_{precision}": Side(engine, *one, precision, given.device),
                    f"bare_network_{precision}": Side(bare, *one, precision, given.device, False),
                    f"bare_learner_{precision}": Side(bare, *one, precision, given.device, True),
                }
                measured |= alternated(sides, given.rounds)
                found |= {
                    f"engine_over_{other}_{precision}_{key}": ratios(
                        measured, f"engine_{precision}", f"{other}_{precision}", key
                    )
                    for other in ("bare_network", "bare_learner")
                    for key in ("wall", "cpu")
                }
        else:
            sides = {
                "engine": Side(engine, *one, "auto", given.device),
                "monai": Side(monai, *one, given.workers),
                "engine_float32": Side(engine, *one, "float32", given.device),
            }
            measured = alternated(sides, given.rounds)
            found = {
                f"monai_over_{side}_wall": ratios(measured, "monai", side, "wall") for side in sides if side != "monai"
            }
    aim, value = AIM[row]
    write(
        f"training-{given.against}-{given.job}.json", row, f"{given.job}: {given.against}",
        {ratio: value for ratio in found if ratio.startswith(aim) and ratio.endswith("wall")}, found,
        seconds_a_step=figures(measured),
        settings={k: v for k, v in vars(given).items() if k != "data"}, data="given" if given.data else "generated",
    )  # fmt: skip


if __name__ == "__main__":
    main()
