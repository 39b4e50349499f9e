"""A small multi-domain set of generated scans: two CT tasks of one group, a brain MR and a heart MR task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from ..errors import ConfigurationError
from ..events import OnEvent, ProgressMeter, Stop, Stopped, ignore, never
from ..imaging.volumes import write_volume
from ..workspace.catalogue import LabelClass, Task
from . import phantoms

_LIST = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGIONS = "Anatomic codes - DICOM master list"

Draw = Callable[[np.random.Generator, Sequence[int], Sequence[float]], tuple[phantoms.Field, phantoms.Labels]]


def _class(value: int, name: str, code: str, meaning: str, color: tuple[int, int, int]) -> LabelClass:
    terminology = f"{_LIST}~SCT^123037004^Anatomical Structure~SCT^{code}^{meaning}~^^~{_REGIONS}~^^~^^"
    red, green, blue = (round(c / 255, 3) for c in color)
    return LabelClass(value=value, name=name, color=(red, green, blue), terminology=terminology)


@dataclass(frozen=True)
class _Protocol:
    """How the scans of a task are taken; lengths in mm, angles in degrees, each varied from scan to scan."""

    task: Task
    draw: Draw
    field_of_view: float
    extent: float
    """Height of the stack of slices."""
    slices: int
    tilt: tuple[float, float, float]
    """How the scan's axes are turned against the patient's, about x, y and z."""
    orientations: tuple[str, ...]
    """Orders and directions in which scanners store the axes."""


def _upper_abdomen(
    rng: np.random.Generator, size: Sequence[int], spacing: Sequence[float]
) -> tuple[phantoms.Field, phantoms.Labels]:
    return phantoms.abdomen(rng, size, spacing, rng.uniform(35, 50), ["liver", "spleen"])


def _middle_abdomen(
    rng: np.random.Generator, size: Sequence[int], spacing: Sequence[float]
) -> tuple[phantoms.Field, phantoms.Labels]:
    return phantoms.abdomen(rng, size, spacing, rng.uniform(-35, -15), ["kidney", "aorta"])


_PROTOCOLS = (
    _Protocol(
        Task(
            name="liver_spleen_ct",
            modality="CT",
            anatomy="upper abdomen",
            group="abdominal CT",
            classes=[
                _class(1, "liver", "10200004", "Liver", (221, 130, 101)),
                _class(2, "spleen", "78961009", "Spleen", (157, 108, 162)),
            ],
        ),
        _upper_abdomen,
        field_of_view=355,
        extent=170,
        slices=24,
        tilt=(0, 0, 0),
        orientations=("LPS", "RAS", "LPI"),
    ),
    _Protocol(
        Task(
            name="kidney_ct",
            modality="CT",
            anatomy="middle abdomen",
            group="abdominal CT",
            classes=[
                _class(1, "kidney", "64033007", "Kidney", (185, 102, 83)),
                _class(2, "aorta", "15825003", "Aorta", (224, 97, 76)),
            ],
        ),
        _middle_abdomen,
        field_of_view=355,
        extent=150,
        slices=24,
        tilt=(3, 0, 0),
        orientations=("LPS", "RAS", "RPI"),
    ),
    _Protocol(
        Task(
            name="brain_mr",
            modality="MR",
            anatomy="brain",
            group="brain MR",
            classes=[
                _class(1, "lateral ventricle", "66720007", "Lateral ventricle", (88, 106, 215)),
                _class(2, "thalamus", "119406000", "Thalamus", (122, 101, 38)),
                _class(3, "putamen", "89278009", "Putamen", (210, 157, 166)),
            ],
        ),
        phantoms.head,
        field_of_view=212,
        extent=96,
        slices=24,
        tilt=(10, 4, 4),
        orientations=("LPS", "RAS", "PIR"),
    ),
    _Protocol(
        Task(
            name="heart_mr",
            modality="MR",
            anatomy="heart, short axis",
            group="cardiac MR",
            classes=[
                _class(1, "left ventricle cavity", "87878005", "Left Ventricle", (152, 55, 13)),
                LabelClass(value=2, name="left ventricle wall", color=(0.804, 0.804, 0.392)),
            ],
        ),
        phantoms.heart,
        field_of_view=240,
        extent=112,
        slices=14,
        tilt=(22, -14, 10),
        orientations=("LPS", "LPI", "RAS"),
    ),
)

_SIZES = {"demo": (96, 1.0, 10, 16), "tiny": (32, 0.5, 3, 2)}
"""Voxels across a slice, share of the slices, labelled and unlabelled volumes of each task."""


def tasks() -> list[Task]:
    """Returns the tasks of the set, each with its group, its classes and their terminology."""
    return [protocol.task.model_copy(deep=True) for protocol in _PROTOCOLS]


def generate(
    folder: str | Path,
    seed: int = 0,
    labelled: int | None = None,
    unlabelled: int | None = None,
    size: Literal["demo", "tiny"] = "demo",
    on_event: OnEvent = ignore,
    tasks: Collection[str] | None = None,
    stop: Stop = never,
) -> dict[str, Path]:
    """Writes the set as `folder/<task>/{images,labels,unlabelled}/*.nii.gz`.

    A volume depends on the seed, its task and its number alone, so that asking for more adds to the same set. Values
    are Hounsfield units in CT and arbitrary in MR; spacing, axes and tilt differ from volume to volume, and image and
    label lie on the same grid.

    Args:
        folder: made when it is not there; files of the same name are replaced.
        seed: of everything random.
        labelled: volumes with a label in each task; None: as many as the size has.
        unlabelled: volumes without a label in each task; None: as many as the size has.
        size: "demo" (96 × 96 × 24 voxels) or "tiny" (32 × 32 × 12, for tests).
        on_event: receives progress.
        tasks: names of those to write; None: all of them.
        stop: asked before each volume.

    Returns:
        The folder of each task, by its name.

    Raises:
        Stopped: `stop` asked for it; what was written stays.
        OutputError: the folder cannot be written to.
        ConfigurationError: there is no such task.
    """
    across, share, default_labelled, default_unlabelled = _SIZES[size]
    counts = (
        default_labelled if labelled is None else labelled,
        default_unlabelled if unlabelled is None else unlabelled,
    )
    unknown = {*(tasks or ())} - {p.task.name for p in _PROTOCOLS}
    if unknown:
        raise ConfigurationError(f"there are no generated scans of {', '.join(sorted(unknown))}")
    wanted = [(place, p) for place, p in enumerate(_PROTOCOLS) if tasks is None or p.task.name in tasks]
    meter = ProgressMeter(on_event, "generate", len(wanted) * sum(counts))
    folder, done = Path(folder), 0
    for place, protocol in wanted:
        name = protocol.task.name
        for kind, count in enumerate(counts):
            for number in range(1, count + 1):
                if stop():
                    raise Stopped
                rng = np.random.default_rng([seed, place, kind, number])
                image, label = _scan(protocol, rng, across, max(round(protocol.slices * share), 6))
                if kind == 0:
                    write_volume(image, folder / name / "images" / f"{name}_{number:03d}.nii.gz")
                    write_volume(label, folder / name / "labels" / f"{name}_{number:03d}.nii.gz")
                else:
                    write_volume(image, folder / name / "unlabelled" / f"{name}_u{number:03d}.nii.gz")
                done += 1
                meter.update(done, detail=name)
    return {protocol.task.name: folder / protocol.task.name for _, protocol in wanted}


def _scan(protocol: _Protocol, rng: np.random.Generator, across: int, slices: int) -> tuple[sitk.Image, sitk.Image]:
    pixel = protocol.field_of_view / across * rng.uniform(0.94, 1.08)
    height = protocol.extent / slices * rng.uniform(0.95, 1.05)
    slices = slices + int(rng.integers(-1, 2))
    # Rounded as scanners do, and representable in the float32 of a NIfTI header's affine.
    spacing = (round(pixel, 3), round(pixel, 3), round(height, 2))
    values, labels = protocol.draw(rng, (slices, across, across), spacing[::-1])

    turns = [np.deg2rad(mean + rng.normal(0, 0.25 * abs(mean))) for mean in protocol.tilt]
    placement = sitk.Euler3DTransform()
    placement.SetRotation(*turns)
    direction = np.reshape(placement.GetMatrix(), (3, 3))
    middle = rng.normal(0, 30, 3)
    origin = middle - direction @ (np.multiply(spacing, np.subtract(values.shape[::-1], 1)) / 2)
    axes = protocol.orientations[rng.integers(len(protocol.orientations))]
    images = []
    for array in (np.round(values).astype(np.int16), labels):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        image.SetOrigin(origin.tolist())
        image.SetDirection(direction.ravel().tolist())
        images.append(sitk.DICOMOrient(image, axes))
    return images[0], images[1]
