"""Benchmark, row 9, and the start that ships, on a GPU: one command that spends at most nine minutes of it.

    python Testing/benchmarks/gpu.py --data DIR --out FOLDER [--preset gpu]

First the speed of pretraining: images per second and peak memory against the batch, up to the largest that fits, beside the
bare network's forward, backward and optimizer step in bfloat16. Then a general start with the small and with the medium
network on the sources that may ship (see `general_start.py`), and three fine-tunings from each, tested. FOLDER gets
`gpu.json` and the two model files. Without hssl installed, set PYTHONPATH=HSSLSegmentation. `--preset smoke` goes through
all of it in a minute on a CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from experiments.data import Data
from experiments.general import sources
from general_start import configuration, export
from recording import record

from hssl.configuration import FinetuneConfig, NetworkConfig, PretrainConfig
from hssl.events import ignore, never
from hssl.jobs.compare import evaluate_on_cases
from hssl.jobs.evaluate import summary_of
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.learning.distributed import Processes
from hssl.learning.pretraining import PretrainLearner
from hssl.learning.start import SCRATCH, Start
from hssl.learning.training import ReadAhead
from hssl.models.device import chosen_device, computes_bf16, out_of_memory
from hssl.models.network import EncoderDecoder
from hssl.preprocessing.store import build, task_fingerprint


@dataclass(frozen=True)
class Spending:
    """How the time is spent.

    Attributes:
        batches: batch sizes whose speed is measured, as far as memory goes, for `seconds` each.
        pretraining: budget of each general start.
        finetuning: budget of each fine-tuning, on `tasks` with three labels, tested on `test_cases`.
    """

    batches: tuple[int, ...]
    seconds: float
    pretraining: dict[str, float]
    finetuning: dict[str, float]
    tasks: tuple[str, ...]
    test_cases: int


PRESETS = {
    "gpu": Spending(
        (64, 128, 256, 512, 1024, 2048), 3, {"minutes": 2.0}, {"minutes": 0.15},
        ("msd_hippocampus", "hn_ct_openkbp", "mouse_brain_mr"), 8,
    ),
    "smoke": Spending((2, 4), 0.1, {"steps": 2}, {"steps": 1}, ("cardiac_cine_scd",), 1),
}  # fmt: skip
SIZES = ("small", "medium")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--out", type=Path, required=True, help="workspace, model files and gpu.json")
    parser.add_argument("--preset", choices=PRESETS, default="gpu")
    given = parser.parse_args()
    spending, began = PRESETS[given.preset], time.monotonic()
    data = Data(given.data, given.out / "workspace")
    found: dict[str, Any] = {"row": "9", "name": "GPU", "preset": given.preset, "speed": {}, "general": {}}
    for size in SIZES:
        config = _general(data, given.preset, size)
        found["speed"][size] = _speeds(data, config, spending)
        record(given.out / "gpu.json", found)
    for size in SIZES:
        config = _general(data, given.preset, size).model_copy(update={"budget": _budget(spending.pretraining)})
        done = pretrain(config)
        path = given.out / f"hssl-general-{size}.zip"
        export(done.result.run, path, config.tasks)
        entry = {"bytes": path.stat().st_size, **{k: getattr(done.result, k) for k in ("steps", "minutes", "losses")}}
        found["general"][size] = {
            **entry, "fine-tuned": {task: _finetuned(data, task, path, spending) for task in spending.tasks}
        }  # fmt: skip
        found["minutes"] = (time.monotonic() - began) / 60
        record(given.out / "gpu.json", found)
    print(given.out / "gpu.json", f"{found['minutes']:.1f} minutes", flush=True)


def _general(data: Data, preset: str, size: str) -> PretrainConfig:
    network = NetworkConfig.checked({"size": size}).model_dump()
    return configuration(data, preset, [], None, network=network, run=f"general-{size}")


def _budget(limit: dict[str, float]) -> Any:
    return PretrainConfig.checked({"workspace": ".", "budget": limit}).budget


def _speeds(data: Data, config: PretrainConfig, spending: Spending) -> list[dict[str, Any]]:
    """Returns images per second and peak memory for each batch that fits; two views of a window are two images."""
    catalogue, device = data.catalogue, chosen_device(config.device)
    chosen = [i for task in sources() for i in catalogue.usable(task) if i.id not in set(config.exclude)]
    prints = {
        task: task_fingerprint(catalogue, catalogue.task(task), config.exclude, ignore, never) for task in sources()
    }
    volumes = build(catalogue, chosen, prints, with_labels=False, on_event=ignore, stop=never)
    plain = config.model_copy(update={"with_labels": False})
    rows: list[dict[str, Any]] = []
    for batch in spending.batches:
        try:
            learner = PretrainLearner(
                plain, catalogue, Start.named(SCRATCH, data.workspace), volumes, prints, batch, device
            )
            learner.module.to(device).train()
            images_at_once = torch.cat(learner.prepared(learner.read(0, 0, 1)).changed)
            network = cast(EncoderDecoder, learner.module.network)
            row: dict[str, Any] = {"batch": batch, "patch": list(learner.patch)}
            with ReadAhead(learner, Processes(0, 1, device), 0) as batches:
                losses = {
                    "engine": partial(_loss_of_next, learner, batches),
                    "bare network": partial(_loss_alone, network, images_at_once),
                }
                for name, loss in losses.items():
                    module = learner.module if name == "engine" else network
                    rate, peak = _timed(_stepping(module, loss, device), spending.seconds, device)
                    row[name] = {"images_per_second": 2 * batch * rate, "peak_bytes": peak}
            row["share_of_bare"] = row["engine"]["images_per_second"] / row["bare network"]["images_per_second"]
            rows.append(row)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            break
    return rows


def _loss_of_next(learner: PretrainLearner, batches: ReadAhead) -> torch.Tensor:
    """Everything that a step of the engine does, from the store to the losses."""
    return learner.module(learner.prepared(batches.next()))["total"]


def _loss_alone(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    return network(images).square().mean()


def _stepping(module: torch.nn.Module, loss: Callable[[], torch.Tensor], device: torch.device) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(module.parameters(), 1e-6, foreach=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=computes_bf16(device)):
            value = loss()
        value.backward()
        optimizer.step()

    return step


def _timed(step: Callable[[], None], seconds: float, device: torch.device) -> tuple[float, int]:
    """Returns steps per second, and the most bytes of a GPU's memory that were in use (0 on a CPU)."""
    gpu = device.type == "cuda"
    step()
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds or not count:
        step()
        count += 1
        if gpu:
            torch.cuda.synchronize()
    return count / (time.monotonic() - began), torch.cuda.max_memory_allocated() if gpu else 0


def _finetuned(data: Data, task: str, start: Path, spending: Spending) -> dict[str, Any]:
    found = {}
    for name in (str(start), SCRATCH):
        values = {
            "workspace": data.workspace, "task": task, "cases": data.drawn(task, min(3, len(data.pool(task))), 0),
            "exclude": data.unseen(), "start": name, "budget": spending.finetuning,
        }  # fmt: skip
        done = finetune(FinetuneConfig.checked(values))
        images = [data.catalogue.image(case) for case in data.test(task, spending.test_cases)]
        rows = evaluate_on_cases(done.result.run, data.catalogue, images, "auto", ignore, never)
        label = "scratch" if name == SCRATCH else "general"
        found[label] = {"dice": summary_of(rows).mean_dice, "steps": done.result.steps}
    return found


if __name__ == "__main__":
    main()
