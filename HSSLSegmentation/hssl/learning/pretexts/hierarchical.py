"""HSSL: image, task and group losses over the hierarchy, and reconstruction (Zheng et al., MICCAI 2021), with points
below the image as a level of our own: dense contrast and position."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ...configuration import PretrainConfig
from ...errors import ConfigurationError
from ...models.network import EncoderDecoder
from ..losses.dense import corresponding_points, dense_loss, points_of, same_shape, sampled
from ..losses.distillation import feature_distillation_loss
from ..losses.group import group_loss
from ..losses.image import image_loss
from ..losses.position import points_in_volume, position_loss
from ..losses.reconstruction import masked, reconstruction_loss
from ..losses.segmentation import LabelHeads
from ..losses.task import task_loss
from . import register
from .pretext import PointHead, PooledHead, Pretext, TaskTable, Views, both

PROJECTION = 128


@register("hssl")
class HierarchicalPretext(Pretext):
    """The four losses of the paper, dense contrast and position, jointly; a loss of weight 0 costs nothing.

    With labels there is a seventh: "segmentation", by a light head for each task that has any. Where it goes on from a
    start there is "distillation": what the start makes of the views before their intensities were changed and before they
    were masked. Without it the other losses undo what the start knows.

    Raises:
        ConfigurationError: no loss is left.
    """

    loss_names: tuple[str, ...] = (
        "image",
        "task",
        "group",
        "reconstruction",
        "dense",
        "position",
        "segmentation",
        "distillation",
    )
    reads_labels = True
    group_of_task: Tensor

    def __init__(self, config: PretrainConfig, network: EncoderDecoder, tasks: TaskTable):
        super().__init__(config, network, tasks)
        weights = config.weights.model_dump()
        groups = len(set(tasks.groups))
        # With one task or one group there is nothing to tell apart.
        weights["task"] *= len(tasks.groups) > 1
        weights["group"] *= groups > 1
        weights["segmentation"] *= any(tasks.channels)
        weights["distillation"] *= config.learns_from_start
        self.weights = {name: weight for name, weight in weights.items() if weight}
        if not self.weights.keys() - {"distillation"}:
            raise ConfigurationError(
                "there is nothing to learn by: no loss has a weight, but for those that want several tasks, several groups or "
                "labels",
                "Give another loss a weight.",
            )
        # Without reconstruction nothing asks for the network's output, and a batch may lack the labels of a task.
        self.every_parameter = "reconstruction" in self.weights and "segmentation" not in self.weights
        self.loss_names = tuple(self.weights)
        self.register_buffer("group_of_task", torch.tensor(tasks.groups), persistent=False)
        levels = config.levels
        if "image" in self.weights:
            self.image_head = PooledHead(config, levels.image, PROJECTION)
        if "task" in self.weights:
            self.task_head = PooledHead(config, levels.task, len(tasks.groups))
        if "group" in self.weights:
            self.group_head = PooledHead(config, levels.group, groups)
        if "dense" in self.weights:
            self.dense_head = PointHead(config, levels.dense)
        if "position" in self.weights:
            self.position_head = PointHead(config, levels.position, 3)
        if "segmentation" in self.weights:
            self.label_heads = LabelHeads(config, tasks.channels)
        if "distillation" in self.weights:
            self.teacher = copy.deepcopy(network).requires_grad_(False)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Returns the losses that have a weight, and "total"."""
        config = self.config
        images = both(views.changed)
        if "reconstruction" in self.weights:
            images = masked(images, [*views.rngs, *views.rngs])
        features = self.network.features(images)
        losses: dict[str, Tensor] = {}
        if "image" in self.weights:
            first, second = self.image_head(features).chunk(2)
            losses["image"] = image_loss(first, second, views.volumes, config.temperature)
        tasks, real = views.tasks.repeat(2), views.real
        if "task" in self.weights:
            losses["task"] = task_loss(self.task_head(features), tasks, real.repeat(2))
        if "group" in self.weights:
            losses["group"] = group_loss(self.group_head(features), tasks, self.group_of_task, real.repeat(2))
        if "reconstruction" in self.weights:
            restored = self.network.output_block(features.decoder[0])
            losses["reconstruction"] = reconstruction_loss(restored, both(views.clean))
        level_of = {name: getattr(config.levels, name) for name in ("dense", "position") if name in self.weights}
        if level_of:
            places = corresponding_points(*views.warps, views.clean[0], views.rngs, points_of(len(views.tasks)))
            at_points = {level: sampled(features.level(level), torch.cat(places)) for level in set(level_of.values())}
        if "dense" in self.weights:
            first, second = self.dense_head(at_points[level_of["dense"]]).chunk(2)
            alike = None if views.shapes is None else same_shape(views.shapes, places[0])
            losses["dense"] = dense_loss(first, second, config.temperature, alike)
        if "position" in self.weights:
            found = self.position_head(at_points[level_of["position"]])
            where = [
                points_in_volume(warp, points, views.positions, views.extents, views.axes)
                for warp, points in zip(views.warps, places, strict=True)
            ]
            losses["position"] = position_loss(found, torch.cat(where), real.repeat(2))
        if "segmentation" in self.weights:
            assert views.labels is not None
            losses["segmentation"] = self.label_heads(features, torch.cat(views.labels), tasks)
        if "distillation" in self.weights:
            with torch.no_grad():
                before = self.teacher.features(both(views.clean))
            losses["distillation"] = feature_distillation_loss(features.decoder, before.decoder)
        losses["total"] = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
        return losses
