"""Pretraining: from the images of a workspace, labelled or not, to an encoder–decoder. Labels are never read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..configuration import PretrainConfig
from ..errors import ConfigurationError
from ..events import Done, OnEvent, Phase, Stop, ignore, never
from ..learning.augmentation import PRETRAINING, change_intensities, draw_warp, generators
from ..learning.distributed import Processes
from ..learning.patches import patch_size, typical_shapes, window_size
from ..learning.pretexts import pretext_named
from ..learning.pretexts.pretext import Views
from ..learning.sampling import Batch, Sampler
from ..learning.training import Rated, State
from ..learning.training_run import in_run, in_turn, train_in_memory
from ..models.description import ModelDescription
from ..models.network import build_network
from ..models.run_folder import RunFolder
from ..preprocessing.fingerprint import Fingerprint
from ..preprocessing.store import StoredVolume, build, clean, task_fingerprint
from ..provenance import versions
from ..workspace.catalogue import Catalogue


def pretrain(config: PretrainConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done:
    """Pretrains a network (paper, sections 2 and 3).

    A run of that name that has a checkpoint is continued.

    Args:
        config: what to train on, with which losses, and for how long.
        on_event: receives the events.
        stop: asked after every step.

    Returns:
        The Done event, whose result has "run" (folder), "steps", "minutes" and "losses" (the last means).

    Raises:
        HSSLError: with the reason; what was trained so far is kept.

    Example:
        >>> from hssl import PretrainConfig, pretrain
        >>> done = pretrain(PretrainConfig(workspace=workspace, run="night", budget={"steps": 2}))
        >>> done.result["steps"]
        2
    """
    return in_run(config, f"pretrain-{config.pretext}", _pretrained, on_event, stop)


def _pretrained(config: PretrainConfig, run: RunFolder, processes: Processes, on_event: OnEvent, stop: Stop) -> Done:
    catalogue = Catalogue.load(config.workspace)
    names = config.tasks or [t.name for t in catalogue.tasks if catalogue.usable(t.name)]
    catalogue.require(config.exclude, "to be left out")
    excluded = set(config.exclude)
    images = [i for name in names for i in catalogue.usable(catalogue.task(name).name) if i.id not in excluded]
    if not images:
        raise ConfigurationError(f"{config.workspace}: there is no usable image to pretrain on")
    on_event(Phase(name="store", index=1, count=2))

    def build_store() -> tuple[dict[str, Fingerprint], list[StoredVolume]]:
        if processes.first:
            clean(config.workspace)
        fingerprints = {
            name: task_fingerprint(catalogue, catalogue.task(name), config.exclude, on_event, stop)
            for name in names
            if any(i.task == name for i in images)
        }
        volumes = build(catalogue, images, fingerprints, with_labels=False, on_event=on_event, stop=stop)
        return fingerprints, volumes

    stored = in_turn(build_store, processes)
    if stored is None:
        return Done(stopped=True, result={"run": str(run.path), "steps": 0, "minutes": 0.0, "losses": {}})
    fingerprints, volumes = stored
    on_event(Phase(name="training", index=2, count=2))
    _, state, stopped = train_in_memory(
        lambda size, device: PretrainLearner(config, catalogue, volumes, fingerprints, size, device),
        config.network.spatial_dims, 2, config, run, processes, on_event, stop,
    )  # fmt: skip
    result = {"run": str(run.path), "steps": state.step, "minutes": state.seconds / 60, "losses": last_losses(state)}
    if processes.first and not stopped:
        run.write_result(result)
    return Done(stopped=stopped, result=result)


def last_losses(state: State) -> dict[str, float]:
    """Returns the latest mean losses of a training."""
    for row in reversed(state.rows):
        if "total" in row:
            return {k: v for k, v in row.items() if k not in ("step", "seconds", "learning_rate", "validation_dice")}
    return {}


class PretrainLearner:
    """Draws two views of each window and lets the pretext compare them (see `hssl.learning.training.Learner`)."""

    def __init__(
        self,
        config: PretrainConfig,
        catalogue: Catalogue,
        volumes: Sequence[StoredVolume],
        fingerprints: dict[str, Fingerprint],
        size: int,
        device: torch.device,
    ):
        self.config, self.device = config, device
        network = config.network
        shapes = typical_shapes([v.shape for v in volumes], [v.task for v in volumes])
        self.patch = patch_size(network, shapes, config.patch_size, device)
        self.window = window_size(self.patch)
        self.sampler = Sampler(volumes, self.window, size, config.seed, network.in_slices)
        groups = [catalogue.group_of(task) for task in self.sampler.tasks]
        group_of_task = [sorted(set(groups)).index(group) for group in groups]
        torch.manual_seed(config.seed)
        kind = pretext_named(config.pretext)
        pretext = kind(config, build_network(network, network.in_slices), group_of_task)
        self.module: nn.Module = pretext
        self.loss_names, self.every_parameter = kind.loss_names, pretext.every_parameter
        self.description = ModelDescription(
            kind="pretrained",
            name=config.run,
            network=network,
            patch_size=self.patch,
            tasks=[catalogue.task(task) for task in self.sampler.tasks],
            fingerprints=fingerprints,
            out_channels=network.in_slices,
            provenance={
                "catalogue": catalogue.content_hash(),
                "images": len(volumes),
                "configuration": config.model_dump(mode="json", exclude={"workspace"}),
                "versions": versions(),
            },
        )

    @property
    def steps_per_epoch(self) -> int:
        return self.sampler.steps_per_epoch

    def read(self, step: int, rank: int, ranks: int) -> Batch:
        return self.sampler.batch(step, rank, ranks)

    def ids(self, batch: Batch) -> list[str]:
        return self.sampler.ids(batch)

    def prepared(self, batch: Batch) -> Views:
        windows = torch.from_numpy(batch.images).to(self.device, non_blocking=True)
        clean, changed, warps = [], [], []
        for view in (0, 1):
            rngs = generators(self.config.seed, batch.samples, view)
            warp = draw_warp(rngs, self.window, self.patch, PRETRAINING, self.device)
            clean.append(warp(windows))
            changed.append(change_intensities(clean[-1], rngs, PRETRAINING))
            warps.append(warp)
        return Views(
            clean=(clean[0], clean[1]),
            changed=(changed[0], changed[1]),
            warps=(warps[0], warps[1]),
            tasks=torch.from_numpy(batch.tasks).to(self.device),
            volumes=torch.from_numpy(batch.volumes).to(self.device),
            positions=torch.from_numpy(batch.positions).to(self.device),
            extents=torch.from_numpy(batch.extents).to(self.device),
            rngs=generators(self.config.seed, batch.samples, 2),
        )

    def rated(self) -> list[Rated]:
        return [Rated(list(self.module.parameters()), 1.0, self.config.weight_decay)]

    def begin(self, bf16: bool) -> None:
        pass

    def after_step(self, fraction: float) -> None:
        pass

    def state(self) -> dict[str, Any]:
        module = self.module.state_dict()
        prefix = "network."
        return {
            "network": {k.removeprefix(prefix): v for k, v in module.items() if k.startswith(prefix)},
            "heads": {k: v for k, v in module.items() if not k.startswith(prefix)},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        merged: dict[str, Tensor] = {f"network.{k}": v for k, v in state["network"].items()}
        self.module.load_state_dict({**merged, **state["heads"]})

    def measure(self) -> dict[str, float]:
        return {}

    def measure_at(self) -> tuple[float, ...]:
        return ()
