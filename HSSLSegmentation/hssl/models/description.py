"""What a trained network needs to be used elsewhere: its architecture, tasks, fingerprints and provenance."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from ..configuration import NetworkConfig
from ..workspace.catalogue import Task

MODEL_SCHEMA = 1


class Fingerprint(BaseModel):
    """How the volumes of a task are brought to the working grid, measured once and carried with every model.

    Axes are those of the array after reorientation to LPS, in z, y, x order; `slice_axis` is the one along which
    2D networks see slices. Values are normalised as (clip(v, lower, upper) − center) / scale, where for
    "percentiles" the four numbers are measured on each image itself and these are None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    spacing: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    """Working spacing in mm, z, y, x."""
    slice_axis: int = Field(ge=0, le=2)
    normalisation: Literal["window", "percentiles"]
    lower: float | None = None
    upper: float | None = None
    center: float | None = None
    scale: float | None = None
    median_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Median size on the working grid in voxels, z, y, x."""

    @model_validator(mode="after")
    def _window_is_usable(self) -> Self:
        window = (self.lower, self.upper, self.center, self.scale)
        if self.normalisation == "percentiles":
            if any(number is not None for number in window):
                raise ValueError("percentiles are measured on each image: lower, upper, center and scale must be null")
        elif self.lower is None or self.upper is None or self.center is None or self.scale is None:
            raise ValueError("a window needs lower, upper, center and scale")
        elif not (self.lower < self.upper and self.scale > 0):
            raise ValueError(f"a window needs lower < upper and scale > 0, got {window}")
        return self


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
    mirrored: bool = False
    """Whether training mirrored the last axis (left and right in axial slices), so that test-time flips make sense."""
    provenance: dict[str, Any] = {}
    """Catalogue hash, losses, steps, seeds, start, tensors loaded, versions of packages."""
    figures: dict[str, float] = {}
    """Measured, such as "validation_dice"."""
    licence: str = ""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if len(self.patch_size) != self.network.spatial_dims:
            raise ValueError(f"patch_size {self.patch_size} does not fit a {self.network.spatial_dims}D network")
        names = [task.name for task in self.tasks]
        if len(set(names)) != len(names) or set(names) != set(self.fingerprints):
            raise ValueError(f"each task needs one fingerprint: tasks {names}, fingerprints {list(self.fingerprints)}")
        if self.kind == "segmentation":
            if len(self.tasks) != 1:
                raise ValueError(f"a segmentation has one task, got {len(self.tasks)}")
            if self.out_channels != 1 + len(self.tasks[0].classes):
                raise ValueError(
                    f"{len(self.tasks[0].classes)} classes and background need {1 + len(self.tasks[0].classes)} "
                    f"channels, got {self.out_channels}"
                )
        return self
