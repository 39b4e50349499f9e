"""What pretraining learns from: two views of each window of any image, compared by a pretext."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..configuration import PretrainConfig
from ..errors import ConfigurationError
from ..models.description import ModelDescription
from ..models.network import build_network
from ..preprocessing.fingerprint import Fingerprint
from ..preprocessing.planes import Planes, planes_of
from ..preprocessing.store import UNLABELLED, StoredVolume
from ..provenance import versions
from ..workspace.catalogue import Catalogue, Task
from ..workspace.seen import SEEN, also_seen, seen_images
from .augmentation import PRETRAINING, change_intensities, draw_warp, generators
from .averaging import AveragedNetwork
from .generated import label_maps, painted
from .patches import patch_size, shapes_in_planes, typical_shapes, window_size
from .pretexts import pretext_named
from .pretexts.pretext import Pretext, TaskTable, Views
from .sampling import Batch, Sampler
from .start import Start
from .training import ParameterGroup

AVERAGED = 0.998
"""Decay of the average of the weights, which is the result of a pretraining at whatever step it is looked at."""


class PretrainLearner:
    """Draws two views of each window and lets the pretext compare them (see `hssl.learning.training.Learner`).

    Args:
        config: what to learn with.
        catalogue: of the workspace.
        start: the weights to start from.
        volumes: what to draw from.
        fingerprints: one for each task of the volumes.
        size: windows per step.
        device: what to compute on.
        begun: of a run that goes on its tasks, in the order of its heads; empty: those of the volumes.
    """

    def __init__(
        self,
        config: PretrainConfig,
        catalogue: Catalogue,
        start: Start,
        volumes: Sequence[StoredVolume],
        fingerprints: dict[str, Fingerprint],
        size: int,
        device: torch.device,
        begun: Sequence[Task] = (),
    ):
        self.config, self.device = config, device
        network = config.network
        planes = {
            name: planes_of(fingerprint, network.spatial_dims, config.planes)
            for name, fingerprint in fingerprints.items()
        }
        seen = [(shape, v.task) for v in volumes for shape in shapes_in_planes(v.shape, planes[v.task])]
        shapes = typical_shapes([shape for shape, _ in seen], [task for _, task in seen])
        self.patch = patch_size(network, shapes, config.patch_size, device)
        self.window = window_size(self.patch)
        self.sampler = Sampler(
            volumes, self.window, size, config.seed, network.in_slices, labelled=config.with_labels, planes=planes,
            tasks=[task.name for task in begun],
        )  # fmt: skip
        tasks = list(begun) or [catalogue.task(task) for task in self.sampler.tasks]
        groups = [task.group_or_own for task in tasks]
        with_labels = {v.task for v in volumes if v.label_path is not None}
        table = TaskTable(
            groups=[sorted(set(groups)).index(group) for group in groups],
            channels=[1 + len(task.classes) if task.name in with_labels else 0 for task in tasks],
        )
        self.strength = replace(PRETRAINING, remapped=config.remapped)
        torch.manual_seed(config.seed)
        kind = pretext_named(config.pretext)
        if config.with_labels and not kind.reads_labels:
            raise ConfigurationError(f"the pretext {config.pretext!r} has no loss of labels", "Leave labels out.")
        body = build_network(network, network.in_slices)
        restores = _restores(start)
        self.report = start.load(body, same_output=restores)
        if self.report is not None and not restores:
            # From an output that nobody has trained a large loss would come, and change all that the start knows.
            for parameter in body.output_block.parameters():
                nn.init.zeros_(parameter)
        pretext = kind(config, body, table)
        self.average = AveragedNetwork(body, device, AVERAGED)
        self.module: nn.Module = pretext
        self.loss_names, self.every_parameter = pretext.loss_names, pretext.every_parameter
        self.description = self._description(catalogue, start, tasks, fingerprints, planes)

    def _description(
        self,
        catalogue: Catalogue,
        start: Start,
        tasks: list[Task],
        fingerprints: dict[str, Fingerprint],
        planes: dict[str, Planes],
    ) -> ModelDescription:
        return ModelDescription(
            kind="pretrained",
            name=self.config.run,
            network=self.config.network,
            patch_size=self.patch,
            tasks=tasks,
            fingerprints=fingerprints,
            planes=planes,
            out_channels=self.config.network.in_slices,
            provenance={
                "catalogue": catalogue.content_hash(),
                "images": len(self.sampler.volumes),
                SEEN: seen_images(catalogue, [v.id for v in self.sampler.volumes]),
                "labels": sum(v.label_path is not None for v in self.sampler.volumes),
                "start": self.config.start,
                "started_from": start.description.provenance if start.description else None,
                "configuration": self.config.model_dump(mode="json", exclude={"workspace"}),
                "versions": versions(),
            },
        )

    @property
    def steps_per_epoch(self) -> int:
        return self.sampler.steps_per_epoch

    def read(self, step: int, rank: int, world_size: int) -> Batch:
        return self.sampler.batch(step, rank, world_size)

    def ids(self, batch: Batch) -> list[str]:
        return self.sampler.ids(batch)

    def prepared(self, batch: Batch) -> Views:
        windows = torch.from_numpy(batch.images).to(self.device, non_blocking=True)
        labels = None
        if batch.labels is not None:
            labels = torch.from_numpy(batch.labels).to(self.device)[:, None].float()
        shown = self._generated(batch, windows.shape[1:])
        clean, changed, warps, warped, shapes = [], [], [], [], []
        for view in (0, 1):
            rngs = generators(self.config.seed, batch.samples, view)
            warp = draw_warp(rngs, self.window, self.patch, PRETRAINING, self.device)
            image = warp(windows)
            if shown is not None:
                chosen, maps = shown
                drawn = warp.of(chosen)(maps, mode="nearest")
                image = image.index_copy(0, chosen, painted(drawn, [rngs[n] for n in chosen.tolist()]))
                shapes.append(torch.full_like(image, -1).index_copy(0, chosen, drawn))
            clean.append(image)
            changed.append(change_intensities(image, rngs, self.strength))
            warps.append(warp)
            if labels is not None:
                warped.append(warp(labels, mode="nearest")[:, 0].long())
                if shown is not None:
                    warped[-1][shown[0]] = UNLABELLED
        volumes = torch.from_numpy(batch.volumes).to(self.device)
        if shown is not None:
            # Generated windows are of no volume: numbers that no other window of any process has.
            volumes = volumes.clone()  # on the CPU it is the batch's own memory
            volumes[shown[0]] = -1 - torch.from_numpy(batch.samples % self.sampler.batch_size).to(self.device)[shown[0]]
        return Views(
            clean=(clean[0], clean[1]),
            changed=(changed[0], changed[1]),
            warps=(warps[0], warps[1]),
            tasks=torch.from_numpy(batch.tasks).to(self.device),
            volumes=volumes,
            axes=torch.from_numpy(batch.axes).to(self.device),
            positions=torch.from_numpy(batch.positions).to(self.device),
            extents=torch.from_numpy(batch.extents).to(self.device),
            rngs=generators(self.config.seed, batch.samples, 2),
            labels=(warped[0], warped[1]) if warped else None,
            shapes=shapes[0] if shapes else None,
        )

    def _generated(self, batch: Batch, size: torch.Size) -> tuple[Tensor, Tensor] | None:
        """Returns which windows show generated shapes instead of their image, and the shapes; None where none does."""
        rngs = generators(self.config.seed, batch.samples, 4)
        chosen = [n for n, rng in enumerate(rngs) if rng.random() < self.config.generated]
        if not chosen:
            return None
        maps = label_maps([rngs[n] for n in chosen], tuple(size), self.device)
        return torch.tensor(chosen, device=self.device), maps

    def parameter_groups(self) -> list[ParameterGroup]:
        learned = [p for p in self.module.parameters() if p.requires_grad]
        return [ParameterGroup(learned, 1.0, self.config.weight_decay)]

    def begin(self, bf16: bool) -> None:
        pass

    def after_step(self, fraction: float) -> None:
        assert isinstance(self.module, Pretext)
        self.average.follow(self.module.network)

    def state(self) -> dict[str, Any]:
        average = {"network": self.average.network.state_dict(), "learner_steps": self.average.steps}
        return {**average, "module": self.module.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        own = {k: v.shape for k, v in self.module.state_dict().items()}
        theirs = {k: v.shape for k, v in state.get("module", {}).items()}
        if not theirs or any(name.startswith("teacher.") for name in own.keys() ^ theirs.keys()):
            raise ConfigurationError(
                "a pretraining by an earlier version cannot be continued",
                "Begin another run, with this one as its start.",
            )
        if own != theirs:
            raise ConfigurationError(
                "the classes or the labels of the tasks have changed since this run began",
                "Begin another run, with this one as its start.",
            )
        self.module.load_state_dict(state["module"])
        self.average.network.load_state_dict(state["network"])
        self.average.steps = state["learner_steps"]
        also_seen(self.description.provenance, state["description"]["provenance"])

    def measure(self) -> dict[str, float]:
        return {}

    def measure_at(self) -> tuple[float, ...]:
        return ()


def _restores(start: Start) -> bool:
    """Tells whether the start's output has learned to restore images, as that of a pretraining does."""
    if start.description is None or start.description.kind != "pretrained":
        return False
    known = start.description.provenance.get("configuration")
    weights = known.get("weights") if isinstance(known, dict) else None
    return isinstance(weights, dict) and bool(weights.get("reconstruction"))
