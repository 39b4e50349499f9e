"""What a trained network needs to be used elsewhere: its architecture, tasks, fingerprints and provenance."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .catalogue import Task
from .configuration import NetworkConfig

MODEL_SCHEMA = 1


class Fingerprint(BaseModel):
    """How the volumes of a task are brought to the working grid, measured once and carried with every model.

    Axes are those of the array after reorientation to LPS, in z, y, x order; `slice_axis` is the one along which
    2D networks see slices. Values are normalised as (clip(v, lower, upper) − center) / scale, where for
    "percentiles" the four numbers are measured on each image itself and these are None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    spacing: tuple[float, float, float]
    """Working spacing in mm, z, y, x."""
    slice_axis: int = Field(ge=0, le=2)
    normalisation: Literal["window", "percentiles"]
    lower: float | None = None
    upper: float | None = None
    center: float | None = None
    scale: float | None = None
    median_size: tuple[int, int, int]
    """Median size on the working grid in voxels, z, y, x."""


class ModelDescription(BaseModel):
    """Travels with the weights, in a checkpoint and in a model file."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = MODEL_SCHEMA
    kind: Literal["pretrained", "segmentation"]
    name: str
    network: NetworkConfig
    patch_size: tuple[int, ...]
    """Voxels of the patches seen in training, along the network's spatial axes."""
    tasks: list[Task]
    """All tasks of a pretraining; the one task of a segmentation."""
    fingerprints: dict[str, Fingerprint]
    """One for each task, by its name."""
    out_channels: int = Field(ge=1)
    """1 + number of classes of a segmentation: channel 0 is background, channel i the task's i-th class."""
    provenance: dict[str, Any] = {}
    """Catalogue hash, losses, steps, seeds, start, tensors loaded, versions of packages."""
    figures: dict[str, float] = {}
    """Measured, such as "validation_dice"."""
    licence: str = ""
