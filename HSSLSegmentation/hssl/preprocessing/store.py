"""The store: every image of the workspace, preprocessed once, memory-mapped by all processes that train.

`store/<task fingerprint>/<image>.npy` holds the normalised slices (float16, slices first) and `<image>.json`, written
last, what is known of them; a volume without its `.json` is not there. `<label>.npy` and its `.json` likewise.
Keys are hashes of the content and of the preprocessing, so a changed file or fingerprint builds anew and nothing stale
is ever read.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import ConfigurationError, InputError
from ..events import Message, OnEvent, ProgressMeter, Stop, Stopped
from ..files import read_json, remove_unfinished, sha256_of, whole_file, write_json
from ..imaging.volumes import check_values
from ..imaging.voxel_data import AIR_HU
from ..machine import available_memory, cores
from ..plural import shortened
from ..spread import evenly
from ..workspace.catalogue import Catalogue, Image, Task
from ..workspace.identity import stamp_of_label
from ..workspace.images import read_image
from ..workspace.labels import read_label
from ..workspace.presence import ADD_AGAIN, GONE, require_still_there
from .fingerprint import Fingerprint, coarsened, x_first
from .grid import labels_to_working, orientation_for, slices_first, working_grid
from .normalisation import VolumeMeasure, body_mask, fingerprint_of, volume_measure
from .working import working_volume

FORMAT = 7
"""Changes when what the store holds changes, so that old entries are built anew."""
MEASURE = 4
"""Changes when fingerprints are measured otherwise, so that they are measured anew."""
UNLABELLED = 255
"""Channel of voxels that nobody labelled (a task's `ignore_value`): left out of losses and measures."""
MEASURED_VOLUMES = 48
"""A fingerprint is measured on at most this many volumes of the task, evenly spread over the catalogue."""
BYTES_A_VOXEL = 32
"""Memory that an image and its label take while they are brought to the working grid, for each voxel of the finer grid."""
THINNED = 0.5
"""A class that keeps less than this share of its volume on the working grid is too thin for it."""
AERATED = 0.1
"""A structure of whose voxels at least this share is air lies in lungs, or is them…"""
ASKED_LABELS = 4
"""…as so many labels say."""
LARGE_SLICE = 512
"""Slices with a longer side, in voxels, such as X-rays, may be learned on a coarser grid…"""
HANDY_SLICE = 256
"""…where the longer side has so many: lungs and heart in drawn X-rays of 1280 × 1024 pixels have a Dice of 19 after 60 steps
and 42 after 300 as they are, of 44, 90 and 93 after 60 with 640, 320 and 160 pixels along the longer side, since a patch shows so
little of them…"""
LEAST_WIDTH = 32
"""…or as many as leave every structure so many voxels wide…"""
LEAST_COARSENING = 1.5
"""…if it is at least so much coarser."""
ASKED_SLICES = 4
"""Slices of a label in which the width of a structure is measured."""
MAPPED_BYTES = 192 * 2**20
"""At most this much of the store stays mapped into one process, so that memory does not grow with the data."""


@dataclass(frozen=True)
class SliceContents:
    """What the slices along one axis of a working array hold.

    Attributes:
        body: share of body voxels of each slice.
        classes: for each class the slices that hold it; empty without a label.
    """

    body: np.ndarray
    classes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class StoredVolume:
    """A preprocessed image, and its label where one was asked for.

    Attributes:
        shape: slices, rows, columns on the working grid.
        low: smallest value, used to pad beyond the volume.
        along: what the slices along each axis of the working array hold.
        kept: share of each class's volume that its label still has on the working grid; None where it has none.
    """

    id: str
    task: str
    path: Path
    shape: tuple[int, int, int]
    low: float
    along: tuple[SliceContents, SliceContents, SliceContents]
    label_path: Path | None = None
    kept: tuple[float | None, ...] = ()

    def holds(self, channel: int) -> bool:
        """Returns whether the label has a voxel of a class, by its channel (from 1 on)."""
        return bool(self.along[0].classes[channel - 1])


class Reader:
    """Reads windows of stored arrays through memory maps, of which only the most recently used stay open."""

    def __init__(self, mapped_bytes: int = MAPPED_BYTES):
        self._limit = mapped_bytes
        self._maps: OrderedDict[Path, np.ndarray] = OrderedDict()
        self._bytes = 0

    def array(self, path: Path) -> np.ndarray:
        """Returns the whole stored array as a read-only memory map."""
        mapped = self._maps.pop(path, None)
        if mapped is None:
            try:
                mapped = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise InputError(path, f"store entry cannot be read: {error}", "Delete the folder `store`.") from error
            self._bytes += mapped.nbytes
        self._maps[path] = mapped
        while self._bytes > self._limit and len(self._maps) > 1:
            self._bytes -= self._maps.popitem(last=False)[1].nbytes
        return mapped


def task_fingerprint(
    catalogue: Catalogue, task: Task, exclude: Sequence[str], on_event: OnEvent, stop: Stop
) -> Fingerprint:
    """Returns the fingerprint of a task, measured on its usable images except the excluded ones.

    It is remembered in `store/fingerprints.json`, keyed by what it was measured on.

    Raises:
        ConfigurationError: the task has no image that can be read.
    """
    images = [i for i in catalogue.usable(task.name) if i.id not in set(exclude)]
    images = [images[i] for i in evenly(len(images), MEASURED_VOLUMES)]
    key = sha256_of([FORMAT, MEASURE, task.modality, [_identity(catalogue, i) for i in images]])
    path = catalogue.workspace / "store" / "fingerprints.json"
    known = read_json(path) if path.exists() else {}
    if key in known:
        return Fingerprint.model_validate(known[key])
    meter = ProgressMeter(on_event, "fingerprint", len(images))
    measures: list[VolumeMeasure] = []
    for number, image in enumerate(images, 1):
        if stop():
            raise Stopped
        try:
            measures.append(volume_measure(_checked_volume(catalogue, image)))
        except InputError as error:
            on_event(Message(level="warning", text=f"{task.name}: {error}; left out"))
        meter.update(number, detail=task.name)
    if not measures:
        raise ConfigurationError(f"task {task.name!r} has no usable image to measure", "Check the images.", "check")
    fingerprint = fingerprint_of(measures, task.modality)
    require_still_there(catalogue.workspace)
    # Read again: another process may have added its own meanwhile.
    known = read_json(path) if path.exists() else {}
    write_json(path, {**known, key: fingerprint.model_dump(mode="json")})
    return fingerprint


def as_labels_need(catalogue: Catalogue, task: Task, fingerprint: Fingerprint, cases: Sequence[Image]) -> Fingerprint:
    """Returns the fingerprint of a task for some of its labels: without lungs, where no structure of theirs is in them.

    What is denser is learned sooner without (soft organs of drawn chests: Dice 92 and 93 instead of 86 and 91 after 100
    steps), and what is in lungs hardly at all (ground glass: 34 instead of 95 after 40).
    """
    if fingerprint.lungs is None:
        return fingerprint
    every, air = np.zeros(UNLABELLED + 1, np.int64), np.zeros(UNLABELLED + 1, np.int64)
    for volume, channels in _asked(catalogue, task, cases):
        for label, values in zip(sitk.GetArrayViewFromImage(channels), sitk.GetArrayViewFromImage(volume), strict=True):
            every += np.bincount(label.reshape(-1), minlength=len(every))
            air += np.bincount(label[values < AIR_HU], minlength=len(air))
    drawn = np.flatnonzero(every[1:UNLABELLED]) + 1
    if not len(drawn) or (air[drawn] >= AERATED * every[drawn]).any():
        return fingerprint
    return fingerprint.model_copy(update={"lungs": None})


def as_coarse_as_structures_allow(
    catalogue: Catalogue, task: Task, fingerprint: Fingerprint, cases: Sequence[Image], on_event: OnEvent
) -> Fingerprint:
    """Returns the fingerprint of a task for some of its labels: on a coarser grid, where slices are large (see `LARGE_SLICE`)
    and so are all structures in them."""
    in_plane = slices_first(fingerprint.slice_axis)[1:]
    longest = max(fingerprint.median_size[axis] for axis in in_plane)
    if longest <= LARGE_SLICE:
        return fingerprint
    found: dict[int, list[float]] = {}
    for _, channels in _asked(catalogue, task, cases):
        for channel, width in _widths(channels, fingerprint).items():
            found.setdefault(channel, []).append(width)
    if not found:
        return fingerprint
    pixel = min(fingerprint.spacing[axis] for axis in in_plane)
    narrowest = min(float(np.median(widths)) for widths in found.values()) / pixel
    coarsening = min(longest / HANDY_SLICE, narrowest / LEAST_WIDTH)
    if coarsening < LEAST_COARSENING:
        return fingerprint
    coarse = coarsened(fingerprint, coarsening * pixel)
    shown = " × ".join(str(coarse.median_size[axis]) for axis in in_plane[::-1])
    on_event(Message(text=f"{task.name}: all structures are wide, and are learned in slices of {shown} voxels"))
    return coarse


def _asked(catalogue: Catalogue, task: Task, cases: Sequence[Image]) -> Iterator[tuple[sitk.Image, sitk.Image]]:
    """Reads some of the labelled cases: each one's volume, and the channels of its label."""
    for image in (cases[n] for n in evenly(len(cases), ASKED_LABELS)):
        try:
            volume = _checked_volume(catalogue, image)
            yield volume, channels_of(read_label(catalogue, image, volume), task, catalogue.image_path(image))
        except InputError:  # told where the image is to be stored
            continue


def _widths(channels: sitk.Image, fingerprint: Fingerprint) -> dict[int, float]:
    """Returns how wide each class is in the slices, in mm: as a strip whose voxels are as far from its border on average."""
    size, spacing = channels.GetSize(), channels.GetSpacing()
    axes, _ = orientation_for(size, spacing, channels.GetDirection(), fingerprint.clear_slice_axis)
    own = axes[fingerprint.slice_axis]
    array = np.moveaxis(sitk.GetArrayViewFromImage(channels), own, 0)
    steps = [spacing[::-1][axis] for axis in range(3) if axis != own]
    holding = np.array([np.bincount(plane.reshape(-1), minlength=UNLABELLED + 1) > 0 for plane in array])
    widths = {}
    for channel in np.flatnonzero(holding[:, 1:UNLABELLED].any(0)) + 1:
        slices = np.flatnonzero(holding[:, channel])
        distances = [_to_border(array[slices[n]] == channel, steps) for n in evenly(len(slices), ASKED_SLICES)]
        widths[int(channel)] = 4 * float(np.concatenate(distances).mean())
    return widths


def _to_border(mask: np.ndarray, steps: Sequence[float]) -> np.ndarray:
    """Returns how far each voxel of a mask (rows, columns; `steps` mm apart) is from what is not of it, in mm."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    # Distances are measured to what is there, so that some of what surrounds the mask must be, too.
    box = mask[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 1) : columns[-1] + 2]
    image = sitk.GetImageFromArray(box.astype(np.uint8))
    image.SetSpacing(tuple(steps)[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    half = min(np.array(box.shape) * steps) / 2  # all there is, where nothing surrounds it
    return np.minimum(sitk.GetArrayViewFromImage(distance)[box], half)


def build(
    catalogue: Catalogue,
    images: Sequence[Image],
    fingerprints: dict[str, Fingerprint],
    with_labels: bool,
    on_event: OnEvent,
    stop: Stop,
) -> list[StoredVolume]:
    """Brings images into the store, where they are not there yet, and returns those that could be.

    Images that turn out to be unusable are left out with a warning event that names file and reason.

    Args:
        images: usable images of the catalogue.
        fingerprints: one for each task of the images.
        with_labels: also their labels; an image whose label cannot be used is left out then.

    Raises:
        Stopped: `stop` asked for it.
        WorkspaceError: the workspace has gone.
    """
    require_still_there(catalogue.workspace)
    for folder in {_folder(catalogue, fingerprints[i.task]) for i in images}:
        folder.mkdir(parents=True, exist_ok=True)
    meter = ProgressMeter(on_event, "store", len(images))
    stored: list[StoredVolume] = []

    def one(image: Image) -> StoredVolume | InputError:
        if stop():
            raise Stopped
        require_still_there(catalogue.workspace)
        try:
            return _stored(catalogue, image, fingerprints[image.task], with_labels)
        except InputError as error:
            return error

    # SimpleITK works outside the interpreter's lock, so threads are enough (and Slicer has no process pools).
    with ThreadPoolExecutor(_at_once(images, fingerprints)) as pool:
        for number, result in enumerate(pool.map(one, images), 1):
            if isinstance(result, InputError):
                on_event(Message(level="warning", text=f"{result}; left out"))
            else:
                stored.append(result)
            meter.update(number)
    for task in dict.fromkeys(volume.task for volume in stored):
        _tell_of_thinned(catalogue.task(task), [v for v in stored if v.task == task], fingerprints[task], on_event)
    return stored


def _tell_of_thinned(task: Task, volumes: Sequence[StoredVolume], fingerprint: Fingerprint, on_event: OnEvent) -> None:
    """Tells of classes that are too thin for the working grid, which would be learned as what little is left of them."""
    for channel, one in enumerate(task.classes):
        kept = {v.id: share for v in volumes if v.kept and (share := v.kept[channel]) is not None}
        thinned = [id for id, share in kept.items() if share < THINNED]
        if thinned:
            text = (
                f"{task.name}: on the working grid of {x_first(fingerprint.spacing)} mm, the median of the task's scans, "
                f"{one.name} keeps less than half of its voxels in {shortened(thinned, 5)}; finer scans are best a task of "
                "their own"
            )
            on_event(Message(level="warning", text=text))


def _at_once(images: Sequence[Image], fingerprints: dict[str, Fingerprint]) -> int:
    """Returns how many of the images are brought into the store at once: as many of the largest one as memory is free for."""
    voxels = [0.0]
    for image in images:
        if image.size and image.spacing:
            # Whatever its axes: a voxel's volume is the same along all orders of them.
            finer = math.prod(image.spacing) / math.prod(fingerprints[image.task].spacing)
            voxels.append(math.prod(image.size) * max(1.0, finer))
    fitting = available_memory() / max(1.0, max(voxels) * BYTES_A_VOXEL)
    return max(1, min(4, cores(), int(fitting)))


def expected_shapes(
    catalogue: Catalogue, images: Sequence[Image]
) -> dict[str, tuple[tuple[int, int, int], Fingerprint]]:
    """Returns the typical shape of each task on the working grid, and its geometry, from what the catalogue knows of headers.

    The fingerprint says nothing of intensities.
    """
    shapes: dict[str, tuple[tuple[int, int, int], Fingerprint]] = {}
    for task in catalogue.tasks:
        measures = [
            VolumeMeasure(image.size, image.spacing, image.direction, np.zeros(1, np.float32))
            for image in images
            if image.task == task.name and image.size and image.spacing and image.direction
        ]
        if measures:
            fingerprint = fingerprint_of(measures, "any")
            order = slices_first(fingerprint.slice_axis)
            size = fingerprint.median_size
            shapes[task.name] = (size[order[0]], size[order[1]], size[order[2]]), fingerprint
    return shapes


def clean(workspace: Path) -> int:
    """Removes what killed processes left half written in the store; returns how many files."""
    root = workspace / "store"
    return sum(remove_unfinished(folder) for folder in [root, *root.glob("*/")]) if root.is_dir() else 0


def _folder(catalogue: Catalogue, fingerprint: Fingerprint) -> Path:
    return catalogue.workspace / "store" / sha256_of([FORMAT, fingerprint.model_dump(mode="json")])[:16]


def _identity(catalogue: Catalogue, image: Image) -> str:
    return sha256_of([_content(catalogue.image_path(image), image.content), image.series, image.frame])[:24]


def _content(path: Path, known: str) -> str:
    # Size and time of change tell a file that was overwritten after it was catalogued.
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise InputError(path, GONE, ADD_AGAIN) from error
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    return f"{known}:{status.st_size}:{status.st_mtime_ns}"


def _checked_volume(catalogue: Catalogue, image: Image) -> sitk.Image:
    path = catalogue.image_path(image)
    volume = read_image(catalogue, image)
    check_values(volume, path)
    return volume


def _stored(catalogue: Catalogue, image: Image, fingerprint: Fingerprint, with_label: bool) -> StoredVolume:
    folder = _folder(catalogue, fingerprint)
    key = _identity(catalogue, image)
    path = catalogue.image_path(image)
    label = catalogue.label_path(image) if with_label else None
    volume: sitk.Image | None = None

    def source() -> sitk.Image:
        nonlocal volume
        volume = volume if volume is not None else _checked_volume(catalogue, image)
        return volume

    def image_array() -> tuple[np.ndarray, dict[str, object]]:
        array, low, _ = working_volume(source(), fingerprint, path)
        body = body_mask(array, fingerprint.tails)
        shares = [[round(float(b), 4) for b in body.mean(_others(axis))] for axis in range(3)]
        return array, {"low": low, "body": shares}

    def label_array() -> tuple[np.ndarray, dict[str, object]]:
        assert label is not None
        grid = working_grid(source().GetSize(), source().GetSpacing(), source().GetDirection(), fingerprint, path)
        channels = channels_of(read_label(catalogue, image, source()), catalogue.task(image.task), label)
        array = labels_to_working(channels, grid)
        found: list[list[list[int]]] = [[], [], []]
        before, after = (_voxels_of(values) for values in (sitk.GetArrayViewFromImage(channels), array))
        after = after * (before.sum() / array.size)
        kept = []
        for channel in range(1, 1 + len(catalogue.task(image.task).classes)):
            mask = array == channel
            kept.append(round(float(after[channel] / before[channel]), 3) if before[channel] else None)
            for axis, slices in enumerate(found):
                slices.append(np.flatnonzero(mask.any(_others(axis))).tolist())
        return array, {"classes": found, "kept": kept}

    known = _entry(folder, key, image_array)
    z, y, x = (SliceContents(np.array(body, np.float32)) for body in known["body"])
    stored = StoredVolume(
        id=image.id,
        task=image.task,
        path=folder / f"{key}.npy",
        shape=tuple(known["shape"]),
        low=known["low"],
        along=(z, y, x),
    )
    if label is None:
        return stored
    # Values decide the channels; names, terminology and the choice of structures, which voxels have them.
    task = catalogue.task(image.task)
    classes = [[c.value, c.name, c.terminology] for c in task.classes]
    label_stamp = stamp_of_label(catalogue.label_files(image))
    label_key = sha256_of([key, label_stamp, classes, task.ignore_value, image.structures])[:24]
    labelled = _entry(folder, label_key, label_array)
    z, y, x = (
        replace(contents, classes=tuple(tuple(slices) for slices in classes))
        for contents, classes in zip(stored.along, labelled["classes"], strict=True)
    )
    return replace(stored, label_path=folder / f"{label_key}.npy", along=(z, y, x), kept=tuple(labelled["kept"]))


def _voxels_of(channels: np.ndarray) -> np.ndarray:
    """Returns how many voxels each channel has, slice by slice: counting takes eight bytes for each voxel."""
    return np.sum([np.bincount(part.reshape(-1), minlength=UNLABELLED + 1) for part in channels], axis=0)


def _entry(folder: Path, key: str, make: Callable[[], tuple[np.ndarray, dict[str, object]]]) -> dict:
    description = folder / f"{key}.json"
    if not description.exists():
        array, known = make()
        with whole_file(folder / f"{key}.npy") as temporary:
            with open(temporary, "wb") as file:
                np.save(file, array, allow_pickle=False)
        write_json(description, {"shape": array.shape, **known})
    return read_json(description)


def _others(axis: int) -> tuple[int, int]:
    first, second = (a for a in range(3) if a != axis)
    return first, second


def channels_of(label_map: sitk.Image, task: Task, path: Path) -> sitk.Image:
    """Turns label values into channel numbers: 0 background, i the task's i-th class, `UNLABELLED` (uint8).

    Raises:
        InputError: the label map holds a value that is no class of the task, or there are more than 254 classes.
    """
    if len(task.classes) >= UNLABELLED:
        raise InputError(path, f"task {task.name!r} has {len(task.classes)} classes; {UNLABELLED - 1} can be learned")
    array = sitk.GetArrayViewFromImage(label_map)
    values = np.unique(array)
    known = {c.value: channel for channel, c in enumerate(task.classes, 1)}
    if task.ignore_value is not None:
        known[task.ignore_value] = UNLABELLED
    unknown = [int(v) for v in values if v != 0 and int(v) not in known]
    if unknown:
        raise InputError(
            path, f"label values {unknown} are no classes of task {task.name!r} (they are {sorted(known)})"
        )
    channels = np.zeros(array.shape, np.uint8)
    for value in values:
        if value != 0:
            channels[array == value] = known[int(value)]
    image = sitk.GetImageFromArray(channels)
    image.CopyInformation(label_map)
    return image
