"""Suggests which tasks form a group (paper, section 2: content and modality) from what their images look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..events import Message, OnEvent, ProgressMeter, Stop, ignore, never
from ..imaging.volumes import check_values
from ..imaging.voxel_data import AIR_HU
from ..spread import evenly
from ..threads import in_threads
from .catalogue import Catalogue, Image, Task
from .images import read_image

SAMPLES = 6
"""Images that are read of each task, evenly spread over it."""


@dataclass(frozen=True)
class Appearance:
    """What the images of a task look like; medians over its images."""

    extent: float
    """log2 of the geometric mean of the volume's edges in mm: a whole body, a head, a crop of the hippocampus."""
    spacing: float
    """log2 of the finest spacing in mm."""
    thickness: float
    """log2 of the coarsest over the finest spacing."""
    background: float
    """Share of voxels within 2 % of the range (1st to 99th percentile) of the darkest."""
    middle: float
    """Where the median lies in that range, 0 to 1."""
    spread: float
    """Distance between the quartiles as a share of that range."""
    roughness: float
    """log2 of the mean step between neighbouring voxels in a slice, as a share of that range."""


TOLERANCE = Appearance(extent=1.0, spacing=1.0, thickness=1.6, background=0.35, middle=0.25, spread=0.3, roughness=1.2)
"""Two tasks look alike when no feature differs by more than this."""


def suggest_groups(catalogue: Catalogue, on_event: OnEvent = ignore, stop: Stop = never) -> dict[str, str]:
    """Suggests a group for every task with usable images; the catalogue is not changed.

    The rule: tasks of different modality are never grouped (an unknown modality counts as CT when the darkest voxels
    are as dark as air in Hounsfield units). Of one modality, tasks are grouped when the same anatomy was stated for
    both; when different ones were stated they are not; otherwise when they look alike, each with each: no feature of
    their `Appearance` differs by more than its `TOLERANCE`. A group that was set by hand is kept, and a task without
    one joins it when it fits every task in it.

    Args:
        catalogue: at most `SAMPLES` images of each task are read.
        on_event: receives Progress.
        stop: ends early; the tasks that were not read are left out.

    Returns:
        Name of the group for each task.
    """
    chosen = [(task, image) for task in catalogue.tasks for image in _spread(catalogue.usable(task.name))]
    meter = ProgressMeter(on_event, "grouping", len(chosen))
    seen: dict[str, list[tuple[Appearance, float]]] = {}
    measures = in_threads(lambda pair: _measure(catalogue, pair[1]), chosen, stop)
    for number, ((task, image), measured) in enumerate(zip(chosen, measures, strict=False), start=1):
        meter.update(number, detail=image.id)
        if isinstance(measured, str):
            on_event(Message(level="warning", text=f"{image.image}: {measured}"))
        else:
            seen.setdefault(task.name, []).append(measured)
    looks = {
        name: (_median([a for a, _ in many]), float(np.median([d for _, d in many]))) for name, many in seen.items()
    }
    tasks = [t for t in catalogue.tasks if t.name in looks]
    return _grouped(
        tasks, {t.name: looks[t.name][0] for t in tasks}, {t.name: _kind(t, looks[t.name][1]) for t in tasks}
    )


def appearance_of(volume: sitk.Image) -> tuple[Appearance, float]:
    """Measures one volume.

    Returns:
        Its appearance, and its first percentile (which tells Hounsfield units).
    """
    array = sitk.GetArrayViewFromImage(volume)
    # A few slices say enough, and keep the memory bounded.
    planes = array[evenly(len(array), 24)].astype(np.float32)
    low, first, middle, third, high = np.percentile(planes[:, ::2, ::2], [1, 25, 50, 75, 99])
    width = max(float(high - low), 1e-6)
    clipped = np.clip(planes, low, high)
    steps = [np.abs(np.diff(clipped, axis=axis)).mean() for axis in (1, 2) if clipped.shape[axis] > 1]
    spacing = np.array(volume.GetSpacing())
    # A single slice has no extent across.
    extents = [s * n for s, n in zip(spacing, volume.GetSize(), strict=True) if n > 1] or [1.0]
    look = Appearance(
        extent=float(np.log2(extents).mean()),
        spacing=float(np.log2(spacing.min())),
        thickness=float(np.log2(spacing.max() / spacing.min())),
        background=float((planes <= low + 0.02 * width).mean()),
        middle=float(middle - low) / width,
        spread=float(third - first) / width,
        roughness=float(np.log2(max(float(np.mean(steps)) / width, 1e-4))) if steps else 0.0,
    )
    return look, float(low)


def difference(one: Appearance, other: Appearance) -> tuple[float, str]:
    """Returns the largest difference in units of its tolerance, and the feature that has it; up to 1 is alike."""
    names = [f.name for f in fields(Appearance)]
    parts = [abs(a - b) / t for a, b, t in zip(astuple(one), astuple(other), astuple(TOLERANCE), strict=True)]
    worst = int(np.argmax(parts))
    return parts[worst], names[worst]


def _measure(catalogue: Catalogue, image: Image) -> tuple[Appearance, float] | str:
    path = catalogue.image_path(image)
    try:
        volume = read_image(catalogue, image)
        check_values(volume, path)
    except InputError as error:
        return error.reason
    return appearance_of(volume)


def _spread(images: Sequence[Image]) -> list[Image]:
    return [images[i] for i in evenly(len(images), SAMPLES)]


def _median(looks: list[Appearance]) -> Appearance:
    return Appearance(*np.median([astuple(a) for a in looks], axis=0).tolist())


def _kind(task: Task, darkest: float) -> str:
    if task.modality and task.modality != "unknown":
        return task.modality
    return "CT" if darkest < AIR_HU else "unknown"


def _grouped(tasks: list[Task], looks: dict[str, Appearance], kinds: dict[str, str]) -> dict[str, str]:
    def apart(one: Task, other: Task) -> float:
        if kinds[one.name] != kinds[other.name]:
            return np.inf
        if one.anatomy and other.anatomy:
            return 0.0 if one.anatomy.casefold() == other.anatomy.casefold() else np.inf
        return difference(looks[one.name], looks[other.name])[0]

    def farthest(one: list[Task], other: list[Task]) -> float:
        return max(apart(a, b) for a in one for b in other)

    by_hand: dict[str, list[Task]] = {}
    for task in tasks:
        if task.group:
            by_hand.setdefault(task.group, []).append(task)
    groups = [[t] for t in tasks if not t.group]
    # Complete linkage: the two closest groups become one as long as all their tasks look alike.
    candidates = [*by_hand.values(), *groups]
    while True:
        pairs = [
            (farthest(one, other), i, j)
            for i, one in enumerate(candidates)
            for j, other in enumerate(candidates)
            if i < j and j >= len(by_hand)
        ]
        nearest = min(pairs, default=(np.inf, 0, 0))
        if nearest[0] > 1:
            break
        candidates[nearest[1]] = candidates[nearest[1]] + candidates.pop(nearest[2])
    names = [*by_hand, *_names(candidates[len(by_hand) :], kinds, set(by_hand))]
    return {task.name: name for name, members in zip(names, candidates, strict=True) for task in members}


def _names(groups: list[list[Task]], kinds: dict[str, str], taken: set[str]) -> list[str]:
    """Names a group by its modality, and its anatomy where it is stated; numbered where that is not enough."""
    plain = []
    for members in groups:
        anatomy = next((t.anatomy for t in members if t.anatomy), "")
        kind = kinds[members[0].name]
        name = f"{anatomy} {kind}".strip() if kind != "unknown" else anatomy
        plain.append(name or members[0].name)
    names: list[str] = []
    for name in plain:
        number, unique = 1, f"{name} 1" if plain.count(name) > 1 else name
        while unique in taken:
            number += 1
            unique = f"{name} {number}"
        taken.add(unique)
        names.append(unique)
    return names
