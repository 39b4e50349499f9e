"""What fine-tuning learns and how: labelled windows of one task, from any start.

Pretrained and scratch go through the same recipe: strong augmentation, Dice + cross-entropy with deep supervision,
heads that begin as linear discriminants of their features, averaged weights. A pretrained start differs in one way
only: loaded tensors can move at a rate of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..configuration import FinetuneConfig
from ..models.components import COMPARABLE, largest_components, one_piece
from ..models.description import ModelDescription
from ..models.inference import Segmenter, in_smaller_batches
from ..models.model import Model
from ..models.network import build_network
from ..models.plane_mean import plane_mean, slabs
from ..preprocessing.fingerprint import Fingerprint
from ..preprocessing.planes import Planes, left_right_of, planes_of
from ..preprocessing.store import UNLABELLED, Reader, StoredVolume
from ..provenance import versions
from ..workspace.catalogue import Catalogue
from ..workspace.seen import SEEN, also_seen, seen_images
from .augmentation import FINETUNING, Strength, change_intensities, draw_warp, generators
from .averaging import AveragedNetwork
from .distributed import rank_offset
from .linear_head import LinearDiscriminant
from .patches import larger_patches, patch_size, shapes_in_planes, window_size
from .sampling import Batch, Sampler
from .segmentation import Prepared, SegmentationModule, resized
from .start import Start
from .training import ParameterGroup

MEASURED_AT = (0.3, 0.5, 0.7, 0.85, 1.0)
"""Fractions of the budget at which the validation Dice is measured."""
USUAL_SHARE = 0.5
"""Share of the steps with patches of the usual size; the others have larger ones."""
BALANCE = 0.6
"""At first the cross-entropy weighs classes by their number of voxels to the power of minus this; it falls to 0 over the
budget. Without it a small class is never found in one of ten short trainings; with it to the end, large ones suffer."""
HELP_AFTER = 100
"""Steps after which a class that is still not found counts more (see `class_weights`), which falls to 0 over the budget too.
Before that nothing is found yet, and what is said of everything helps nobody."""
HARDLY_FOUND = 0.1
"""Below this Dice in the training's own windows a class is as good as not found."""
HEAD_BATCHES = 8
"""Batches whose features give the head that fine-tuning begins with."""
TAUGHT_SHARE = 0.5
"""Share of each batch that is of images without a label, where there are any and a teacher."""


@dataclass(frozen=True)
class PatchKind:
    """Patches of one size, and where they are drawn from; without a label only what a teacher is asked of."""

    patch: tuple[int, ...]
    labelled: Sampler
    unlabelled: Sampler | None


class Read(NamedTuple):
    """A step's batch: what kind of patches, the labelled ones, and those without a label."""

    kind: PatchKind
    labelled: Batch
    others: Batch | None


class FinetuneLearner:
    """Learns one task from labelled windows (see `hssl.learning.training.Learner`).

    Args:
        unlabelled: of the task's images, what a teacher is asked of beside those with a label; none without a teacher.
        teacher: a segmentation model of the same classes, working grid and dimensions.
    """

    every_parameter = True

    def __init__(
        self,
        config: FinetuneConfig,
        catalogue: Catalogue,
        start: Start,
        trained: Sequence[StoredVolume],
        held: Sequence[StoredVolume],
        unlabelled: Sequence[StoredVolume],
        fingerprint: Fingerprint,
        size: int,
        device: torch.device,
        teacher: Model | None = None,
    ):
        self.config, self.device, self.held = config, device, list(held)
        task = catalogue.task(config.task)
        network = start.network(config.network)
        own = planes_of(fingerprint, network.spatial_dims, config.planes)
        self.teacher: Segmenter | None = None
        self.slices, self.teacher_slices = network.in_slices, 0
        if teacher is not None:
            self.teacher = Segmenter(*teacher, device)
            self.teacher_slices = teacher.description.network.in_slices
            own = tuple(axis for axis in own if axis in self.teacher.planes)
        planes = {task.name: own}
        shapes = [shape for v in trained for shape in shapes_in_planes(v.shape, planes[task.name])]
        usual = patch_size(network, shapes, config.patch_size, device)
        _, fewest = rank_offset(1)  # one window for each process
        self.kinds = []
        slices = max(self.slices, self.teacher_slices)
        for patch, count in [(usual, size), *larger_patches(usual, shapes, size, fewest)]:
            window, others = window_size(patch), None
            if unlabelled:
                taught = max(fewest, round(TAUGHT_SHARE * count))
                count = max(fewest, count - taught)
                others = Sampler(unlabelled, window, taught, config.seed + 1, slices, planes=planes)
            labelled = Sampler(trained, window, count, config.seed, slices, labelled=True, planes=planes)
            self.kinds.append(PatchKind(patch, labelled, others))
        self.loss_names = ("dice", "cross_entropy", *(["distillation"] if teacher is not None else []))
        self.strength = Strength(**{**FINETUNING.__dict__, "flip": 0.5 if config.mirror else 0.0})
        channels = 1 + len(task.classes)
        torch.manual_seed(config.seed)
        body = build_network(network, channels)
        self.report = start.load(body, same_output=False)
        self._segmentation = SegmentationModule(body, network, channels, config.deep_supervision)
        self.module: nn.Module = self._segmentation
        self.average = AveragedNetwork(body, device, config.ema_decay)
        self.fraction = 0.0
        self.pieces = _one_piece(trained, len(task.classes))
        self._reader = Reader()
        self.description = self._description(catalogue, start, fingerprint, planes, teacher)

    def _description(
        self,
        catalogue: Catalogue,
        start: Start,
        fingerprint: Fingerprint,
        planes: dict[str, Planes],
        teacher: Model | None,
    ) -> ModelDescription:
        config, task = self.config, catalogue.task(self.config.task)
        unlabelled = self.kinds[0].unlabelled
        read = [*self.kinds[0].labelled.volumes, *self.held, *(unlabelled.volumes if unlabelled else [])]
        return ModelDescription(
            kind="segmentation",
            name=config.run,
            network=start.network(config.network),
            patch_size=self.kinds[-1].patch,
            tasks=[task],
            fingerprints={task.name: fingerprint},
            out_channels=1 + len(task.classes),
            planes=planes,
            one_piece=tuple(task.classes[channel - 1].value for channel in self.pieces),
            mirrored=config.mirror,
            provenance={
                "catalogue": catalogue.content_hash(),
                "start": config.start,
                "pretraining": start.description.provenance if start.description else None,
                "teacher": teacher.description.provenance if teacher is not None else None,
                "cases": [v.id for v in self.kinds[0].labelled.volumes],
                "validation": [v.id for v in self.held],
                SEEN: seen_images(catalogue, {v.id for v in read}),
                "tensors_loaded": len(self.report.loaded) if self.report else 0,
                "configuration": config.model_dump(mode="json", exclude={"workspace"}),
                "versions": versions(),
            },
        )

    @property
    def steps_per_epoch(self) -> int:
        return self.kinds[0].labelled.steps_per_epoch

    def read(self, step: int, rank: int, world_size: int) -> Read:
        rng = np.random.default_rng([self.config.seed, step, 5])
        larger = self.kinds[1:] if rng.random() >= USUAL_SHARE else []
        kind = larger[rng.integers(len(larger))] if larger else self.kinds[0]
        others = kind.unlabelled.batch(step, rank, world_size) if kind.unlabelled else None
        return Read(kind, kind.labelled.batch(step, rank, world_size), others)

    def ids(self, batch: Read) -> list[str]:
        kind, labelled, others = batch
        return sorted(
            {*kind.labelled.ids(labelled), *(kind.unlabelled.ids(others) if kind.unlabelled and others else [])}
        )

    def prepared(self, batch: Read) -> Prepared:
        kind, labelled, others = batch
        left = 1 - self.fraction
        help = left if self.average.steps >= HELP_AFTER else 0.0
        images, labels = self._augmented(kind, labelled)
        assert labels is not None
        if others is not None:
            images = torch.cat([images, self._augmented(kind, others)[0]])
        found = None if self.teacher is None else self.teacher.of_images(_middle(images, self.teacher_slices))
        return Prepared(_middle(images, self.slices), labels, found, BALANCE * left, help)

    def _augmented(self, kind: PatchKind, batch: Batch) -> tuple[Tensor, Tensor | None]:
        rngs = generators(self.config.seed, batch.samples, 0 if batch.labels is not None else 2)
        sides = [left_right_of(self.description.own_fingerprint, axis) for axis in batch.axes.tolist()]
        warp = draw_warp(rngs, kind.labelled.window, kind.patch, self.strength, self.device, sides)
        images = change_intensities(warp(torch.from_numpy(batch.images).to(self.device)), rngs, self.strength)
        if batch.labels is None:
            return images, None
        labels = torch.from_numpy(batch.labels).to(self.device)[:, None].float()
        return images, warp(labels, mode="nearest")[:, 0].long()

    def parameter_groups(self) -> list[ParameterGroup]:
        config = self.config
        loaded = set(self.report.loaded) if self.report else set()
        named = dict(self.module.named_parameters())
        old = [p for name, p in named.items() if name.removeprefix("network.") in loaded]
        new = [p for name, p in named.items() if name.removeprefix("network.") not in loaded]
        groups = [ParameterGroup(new, 1.0, config.weight_decay)]
        if old:
            groups.append(ParameterGroup(old, config.pretrained_rate, config.weight_decay))
        return groups

    @torch.no_grad()
    def begin(self, bf16: bool) -> None:
        """Lets the heads begin as the linear discriminants of their features.

        A head at random would take its first dozens of steps to find what features hold, and spoil them meanwhile.
        """
        network, heads = self._segmentation.network, self._segmentation.heads
        found = [LinearDiscriminant(head.out_channels, head.in_channels) for head in heads]
        rank, world_size = rank_offset(1)
        for step in range(HEAD_BATCHES):
            kind, labelled, _ = self.read(step, rank, world_size)
            images, labels = self._augmented(kind, labelled)
            assert labels is not None
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                decoder = network.features(_middle(images, self.slices)).decoder
            for discriminant, features in zip(found, decoder, strict=False):
                discriminant.add(features, resized(labels, features.shape[2:]))
        for discriminant, head in zip(found, heads, strict=True):
            discriminant.join(self.device)
            weight, bias = discriminant.head(BALANCE)
            head.weight.copy_(weight.view_as(head.weight))
            assert head.bias is not None
            head.bias.copy_(bias)
        self.average.restart(network)

    def after_step(self, fraction: float) -> None:
        self.fraction = fraction
        self.average.follow(self._segmentation.network)

    def state(self) -> dict[str, Any]:
        progress = {"learner_steps": self.average.steps, "learner_fraction": self.fraction}
        found = {"learner_found": self._segmentation.found.sums}
        return {"network": self.average.network.state_dict(), "module": self.module.state_dict(), **progress, **found}

    def load_state(self, state: dict[str, Any]) -> None:
        self.average.network.load_state_dict(state["network"])
        self.module.load_state_dict(state["module"])
        self.average.steps, self.fraction = state["learner_steps"], state["learner_fraction"]
        if "learner_found" in state:  # an earlier version did not write it
            self._segmentation.found.sums = state["learner_found"]
        also_seen(self.description.provenance, state["description"]["provenance"])

    def hardly_found(self) -> dict[str, float]:
        """Returns the Dice of each class that is not even found in the training's own windows, by name."""
        dice = self._segmentation.found.dice.tolist()[1:]
        classes = self.description.tasks[0].classes
        return {c.name: d for c, d in zip(classes, dice, strict=True) if d < HARDLY_FOUND}

    def measure_at(self) -> tuple[float, ...]:
        return MEASURED_AT if self.held else ()

    def measure(self) -> dict[str, float]:
        """Measures the Dice of the averaged network on the held-out cases, on the working grid.

        A class loses its islands where its labels are one piece and these cases do not lose by it.
        """
        segmenter = Segmenter(self.description, self.average.network.state_dict(), self.device)
        scores: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for volume in self.held:
            array = self._reader.array(volume.path)
            assert volume.label_path is not None
            truth = self._reader.array(volume.label_path)
            found = in_smaller_batches(segmenter, partial(_found, segmenter, array, volume.low))
            whole = largest_components(found, self.pieces, COMPARABLE)
            known = truth != UNLABELLED
            found, whole = found * known, whole * known
            for channel in range(1, self.description.out_channels):
                if volume.holds(channel) or (found == channel).any():
                    scores[channel].append((_dice(found, truth, channel), _dice(whole, truth, channel)))
        if not scores:
            return {}
        means = {channel: np.mean(pairs, 0) for channel, pairs in scores.items()}
        kept = [channel for channel in self.pieces if channel not in means or means[channel][1] >= means[channel][0]]
        classes = self.description.tasks[0].classes
        self.description.one_piece = tuple(classes[channel - 1].value for channel in kept)
        dice = [pair[channel in kept] for channel, pairs in scores.items() for pair in pairs]
        self.description.figures = {"validation_dice": float(np.mean(dice))}
        return dict(self.description.figures)


def _found(segmenter: Segmenter, array: np.ndarray, low: float) -> np.ndarray:
    """Returns the channel that is most likely at each voxel of a working array."""
    with plane_mean(segmenter, array, low) as of_slices:
        parts = [of_slices(*slab).max(0).indices.to(torch.uint8).numpy() for slab in slabs(segmenter, array.shape)]
    return np.concatenate(parts)


def _middle(images: Tensor, slices: int) -> Tensor:
    """Returns the middle ones of the neighbouring slices that the channels of images are: B × slices × spatial."""
    first = (images.shape[1] - slices) // 2
    return images[:, first : first + slices]


def _dice(found: np.ndarray, truth: np.ndarray, channel: int) -> float:
    a, b = found == channel, truth == channel
    both = float(a.sum() + b.sum())
    # Where an island was all that was found of a class that is not there, nothing is left without it.
    return 2 * float((a & b).sum()) / both if both else 1.0


def _one_piece(volumes: Sequence[StoredVolume], classes: int) -> list[int]:
    """Returns the channels that are one piece in (nearly) all labels."""
    reader = Reader()
    labels = [reader.array(v.label_path) for v in volumes if v.label_path is not None]
    return [channel for channel in range(1, 1 + classes) if one_piece(label == channel for label in labels)]
