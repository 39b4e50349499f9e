"""What a trained network needs to be used elsewhere: its architecture, tasks, fingerprints and provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from ..configuration import NetworkConfig
from ..errors import ModelFileError
from ..preprocessing.fingerprint import Fingerprint
from ..workspace.catalogue import Task
from ..workspace.seen import with_starts

MODEL_SCHEMA = 1


class ModelDescription(BaseModel):
    """Travels with the weights, in a checkpoint and in a model file."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = MODEL_SCHEMA
    kind: Literal["pretrained", "segmentation"]
    name: str
    network: NetworkConfig
    patch_size: tuple[PositiveInt, ...]
    """Voxels of the largest patches seen in training, along the network's spatial axes."""
    tasks: list[Task]
    """All tasks of a pretraining; the one task of a segmentation."""
    fingerprints: dict[str, Fingerprint]
    """One for each task, by its name."""
    out_channels: int = Field(ge=1, le=2**16)
    """1 + number of classes of a segmentation: channel 0 is background, channel i the task's i-th class."""
    planes: dict[str, tuple[int, ...]] = {}
    """For each task the axes of its working arrays (0 is its slice axis) along which a 2D network has learned slices; a
    task without an entry was learned along the first alone, as models of earlier versions were."""
    one_piece: tuple[int, ...] = ()
    """Values of the classes of a segmentation that are one piece in the labels it was trained on: of those, predictions
    keep the largest component alone unless told otherwise."""
    mirrored: bool = False
    """Whether training mirrored left and right, so that test-time flips make sense."""
    provenance: dict[str, Any] = {}
    """Catalogue hash, losses, steps, seeds, start, tensors loaded, versions of packages."""
    figures: dict[str, float] = {}
    """Measured, such as "validation_dice"."""
    licence: str = ""

    def require_segmentation(self, path: str | Path) -> None:
        """Checks that it is a model that segments.

        Args:
            path: of the model, for the message.

        Raises:
            ModelFileError: it is a pretrained network, whose tasks are many and none of them its own.
        """
        if self.kind != "segmentation":
            raise ModelFileError(path, "is a pretrained network, not a segmentation model", "Fine-tune it first.")

    @property
    def own_fingerprint(self) -> Fingerprint:
        """Returns the fingerprint of a segmentation, which has one task, under whatever name it was trained."""
        return self.fingerprints[self.tasks[0].name]

    @property
    def sources(self) -> dict[str, str]:
        """Returns what it, or a model that it learned from, says of the licences of its public sources, by their names."""
        said = [level.get("sources") for level in with_starts(self.provenance)]
        return {str(name): str(licence) for own in said if isinstance(own, dict) for name, licence in own.items()}

    @property
    def one_piece_channels(self) -> list[int]:
        """Returns the output channels of the classes that are one piece."""
        return [channel for channel, c in enumerate(self.tasks[0].classes, 1) if c.value in self.one_piece]

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if len(self.patch_size) != self.network.spatial_dims:
            raise ValueError(f"patch_size {self.patch_size} does not fit a {self.network.spatial_dims}D network")
        names = [task.name for task in self.tasks]
        if len(set(names)) != len(names) or set(names) != set(self.fingerprints):
            raise ValueError(f"each task needs one fingerprint: tasks {names}, fingerprints {list(self.fingerprints)}")
        for task_name, planes in self.planes.items():
            if task_name not in names or planes[:1] != (0,) or planes != tuple(sorted({*planes} & {0, 1, 2})):
                raise ValueError(f"planes of {task_name!r} are {planes}, not 0 and further axes of a known task")
        values = {c.value for task in self.tasks for c in task.classes}
        if not {*self.one_piece} <= values:
            raise ValueError(f"one_piece names {list(self.one_piece)}, the classes are {sorted(values)}")
        if self.kind == "segmentation":
            if len(self.tasks) != 1:
                raise ValueError(f"a segmentation has one task, got {len(self.tasks)}")
            if self.out_channels != 1 + len(self.tasks[0].classes):
                raise ValueError(
                    f"{len(self.tasks[0].classes)} classes and background need {1 + len(self.tasks[0].classes)} "
                    f"channels, got {self.out_channels}"
                )
        return self
