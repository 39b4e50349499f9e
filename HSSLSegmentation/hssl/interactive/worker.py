"""A warm process for interactive work: commands come as JSON lines on stdin, events go as JSON lines to stdout.

One volume is open at a time. The models that were read and the volume's features stay in memory between commands, so
that a further round takes seconds. An error ends its command, not the process; the end of stdin ends the process.

Volumes and label maps are image files, or arrays (`.npy`, z, y, x), which an editor can write and read without waiting:
their geometry and place come with the command.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import SimpleITK as sitk
import torch
from pydantic import Field, NonNegativeInt, TypeAdapter, ValidationError

from ..configuration import Configuration
from ..errors import ConfigurationError, HSSLError, InputError, MemoryExhaustedError
from ..events import Done, Event, Failed, Message, OnEvent, Phase, Stop, Stopped, ignore, never
from ..files import sha256
from ..imaging.labels import other_form_of, read_label_map, values_in
from ..imaging.volumes import background_for_nan, check_format, check_values, read_volume, write_volume
from ..models.device import chosen_device, give_back_freed_memory, out_of_memory, use_threads
from ..models.find import find_model
from ..models.inference import Segmenter
from ..models.model import Model
from ..models.model_file import load_model
from ..models.prediction import doubtful_size, predict_volume, tell_of_islands
from ..outputs import check_outputs
from ..plural import shortened
from ..preprocessing.grid import orientation_for
from ..results import OpenResult, Result, RoundResult
from ..workspace.labels import no_label_map
from .session import InteractiveSession
from .slice_priors import Plane

PlaneNumbers = tuple[Literal[0, 1, 2], NonNegativeInt] | tuple[Literal[0, 1, 2], NonNegativeInt, list[int]]
"""Axis of the array (z, y, x → 0, 1, 2), index along it, and the labels that are complete there; without them, all."""
ARRAY = ".npy"
_AXES = "zyx"
_Row = Annotated[list[float], Field(min_length=4, max_length=4)]


class _Command(Configuration):
    id: int
    """Chosen by the sender; the events of the command carry it as their `command_id`."""


class _WritingCommand(_Command):
    """Writes a label map and, where it is named, the uncertainty.

    Attributes:
        label_map, uncertainty: files to write; without `uncertainty` it is not written. An array holds the part of the
            volume that the result's `start` tells.
        overwrite: replace such files where they are, and are no inputs.
    """

    label_map: Path
    uncertainty: Path | None = None
    overwrite: bool = False


class OpenCommand(_Command):
    """Opens a volume in place of the one before, which is let go even when this fails.

    Attributes:
        model: a run's folder or a model file whose features `learn` starts from; empty means none.
        geometry: of an array: the 4 × 4 matrix from its indices (x, y, z) to LPS.
        frame: which volume of a file that has several, from 0.
        spacing: mm in x, y, z, of a file that does not say it (TIFF).
        nan_is_background: voxels that are NaN are background; else they are an error.
    """

    command: Literal["open"] = "open"
    volume: Path
    geometry: Annotated[list[_Row], Field(min_length=4, max_length=4)] | None = None
    model: str = ""
    frame: int | None = Field(default=None, ge=0)
    spacing: tuple[float, float, float] | None = None
    nan_is_background: bool = False
    device: str = "auto"
    threads: int = Field(default=0, ge=0)


class LearnCommand(_WritingCommand):
    """Learns from what is painted and fills the rest; a further one goes on from the last.

    Attributes:
        annotation: label map on the volume's grid, or an array of the part of it that starts at the voxel `start`.
        planes: slices that are annotated completely.
        background: value of the annotation that says that a voxel has none of the labels.
        whole_volume: fill the whole volume, not only the surroundings of the annotated slices.
        largest_component: leave out islands, of each label or of none; None decides by the annotated slices.
    """

    command: Literal["learn"] = "learn"
    annotation: Path
    start: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = (0, 0, 0)
    background: int | None = None
    planes: list[PlaneNumbers] = []
    whole_volume: bool = False
    largest_component: bool | None = None


class PredictCommand(_WritingCommand):
    """Segments the open volume with a fine-tuned model.

    Attributes:
        model: a fine-tuning run's folder, or a model file.
        flips, fast, largest_component: as in `PredictConfig`.
    """

    command: Literal["predict"] = "predict"
    model: str
    flips: bool = False
    fast: bool = False
    largest_component: bool | None = None


class CancelCommand(_Command):
    """Stops what is being done and what waits; those commands answer with `Done(stopped=True)`, this one with none."""

    command: Literal["cancel"] = "cancel"


class CloseCommand(_Command):
    """Lets go of the volume and what was learned on it; models stay."""

    command: Literal["close"] = "close"


Command = OpenCommand | LearnCommand | PredictCommand | CancelCommand | CloseCommand
_commands: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])


class InteractiveWorker:
    """What the process holds between commands, and what each command does with it.

    Args:
        warms_up: whether opening the first volume also loads what torch imports late, so that the first round need not.
    """

    def __init__(self, warms_up: bool = False) -> None:
        self._volume: sitk.Image | None = None
        self._sources: list[Path] = []
        self._frame: int | None = None
        self._own: dict[Path, str] = {}
        self._model: Model | None = None
        self._session: InteractiveSession | None = None
        self._device = torch.device("cpu")
        self._models: dict[Path, Model] = {}
        self._read_at: dict[Path, int] = {}
        self._segmenters: dict[tuple[Path, str, bool, bool], Segmenter] = {}
        self._warms_up = warms_up

    def do(self, command: Command, on_event: OnEvent = ignore, stop: Stop = never) -> Done[Any]:
        """Does one command.

        Raises:
            HSSLError: it cannot be done.
            Stopped: `stop` asked for it; what a round had learned until then is dropped.
        """
        if isinstance(command, OpenCommand | LearnCommand | PredictCommand):
            if stop():
                raise Stopped
            on_event(Phase(name=command.command, index=1, count=1))
        match command:
            case OpenCommand():
                return self._open(command, on_event, stop)
            case LearnCommand():
                return self._learn(command, on_event, stop)
            case PredictCommand():
                return self._predict(command, on_event, stop)
            case _:
                self._volume = self._session = None
                return Done(result=Result())

    def _open(self, command: OpenCommand, on_event: OnEvent, stop: Stop) -> Done[OpenResult]:
        def go_on() -> None:
            if stop():
                raise Stopped

        def say(text: str) -> None:
            on_event(Message(level="warning", text=f"{command.volume}: {text}"))

        self._volume = self._session = None
        use_threads(command.threads)
        device = chosen_device(command.device)
        if command.volume.suffix == ARRAY:
            volume = _array_volume(command)
        else:
            nan = command.nan_is_background
            volume = read_volume(command.volume, None, command.frame, command.spacing, nan, say)
        check_values(volume, command.volume)
        go_on()
        model = self._models[self._read(command.model)] if command.model else None
        go_on()
        session = InteractiveSession(volume, model, device)
        self._volume, self._model, self._device, self._session = volume, model, device, session
        self._frame = command.frame
        self._sources = [command.volume, *([find_model(command.model)] if command.model else [])]
        if self._warms_up:
            _warm_up(device)
            self._warms_up = False
        return Done(result=OpenResult(size=volume.GetSize(), device=str(device)))

    def _learn(self, command: LearnCommand, on_event: OnEvent, stop: Stop) -> Done[RoundResult]:
        volume = self._opened()
        self._check_outputs(command, command.annotation)
        annotation = self._annotation(command, volume, on_event)
        planes = [_plane(numbers, volume) for numbers in command.planes]
        if command.annotation.suffix != ARRAY:  # an editor names what it has watched
            for text in _mistyped(planes, annotation):
                on_event(Message(level="warning", text=f"{command.annotation}: {text}"))
        if self._session is None:
            self._session = InteractiveSession(volume, self._model, self._device)
        try:
            preview = self._session.learn(
                annotation, planes, on_event, stop, command.whole_volume, command.background, command.largest_component
            )
        except HSSLError:
            raise
        except BaseException:
            # A round that ends in its middle leaves features and head unfinished.
            self._session = None
            raise
        start = self._written(command, preview.labels, preview.uncertainty if command.uncertainty else None, volume)
        found = preview.next_slice
        return Done(
            result=RoundResult(
                label_map=command.label_map,
                uncertainty=command.uncertainty,
                start=start,
                next_slice=None if found is None else (found.axis, found.index),
                place=preview.place,
                seconds=preview.seconds,
                spans=preview.spans,
            )
        )

    def _predict(self, command: PredictCommand, on_event: OnEvent, stop: Stop) -> Done[RoundResult]:
        volume = self._opened()
        self._check_outputs(command, find_model(command.model))
        path = self._read(command.model)
        description, state = self._models[path]
        description.require_segmentation(command.model)
        if doubt := doubtful_size(volume, description.own_fingerprint):
            on_event(Message(level="warning", text=f"The volume {doubt}: it may take long, and be wrong."))
        key = (path, str(self._device), command.flips, command.fast)
        if key not in self._segmenters:
            self._segmenters[key] = Segmenter(description, state, self._device, flips=command.flips, fast=command.fast)
        prediction = predict_volume(
            volume, self._segmenters[key], command.largest_component, uncertainty=True, on_event=on_event, stop=stop
        )
        if command.largest_component is None:
            tell_of_islands([prediction.islands], on_event)
        assert prediction.uncertainty is not None
        # The model's slices run along one of the patient's axes, wherever that lies in the array.
        fingerprint = description.own_fingerprint
        axes, _ = orientation_for(
            volume.GetSize(), volume.GetSpacing(), volume.GetDirection(), fingerprint.clear_slice_axis
        )
        axis = axes[fingerprint.slice_axis]
        doubt = sitk.GetArrayViewFromImage(prediction.uncertainty)
        index = int(doubt.sum(tuple(a for a in range(3) if a != axis)).argmax())
        place = [int(i) for i in np.unravel_index(int(doubt.take(index, axis).argmax()), doubt.take(index, axis).shape)]
        place.insert(axis, index)
        labels = sitk.GetArrayViewFromImage(prediction.label_map)
        start = self._written(command, labels, prediction.uncertainty if command.uncertainty else None, volume)
        certain = not doubt.any()
        return Done(
            result=RoundResult(
                label_map=command.label_map,
                uncertainty=command.uncertainty,
                start=start,
                next_slice=None if certain else (axis, index),
                place=None if certain else (place[0], place[1], place[2]),
            )
        )

    def _check_outputs(self, command: _WritingCommand, source: Path) -> None:
        files = [command.label_map, *([command.uncertainty] if command.uncertainty else [])]
        if command.label_map.suffix == ARRAY:
            return  # an editor's own file, in a folder of its own
        for file in files:
            check_format(file)
        # The result of an earlier round gives way to the next one's.
        own = (lambda file: self._own.get(file) == sha256(file)) if self._own else None
        check_outputs(files, [*self._sources, source], command.overwrite, own)

    def _written(
        self,
        command: LearnCommand | PredictCommand,
        labels: np.ndarray,
        uncertainty: sitk.Image | None,
        volume: sitk.Image,
    ) -> tuple[int, int, int] | None:
        """Writes what a command asks for; returns where an array begins in the volume."""
        if uncertainty is not None and command.uncertainty is not None:
            write_volume(uncertainty, command.uncertainty)
        if command.label_map.suffix == ARRAY:
            box = _box(labels)
            # Nobody looks at it before this command's end, so it need not be flushed to the disk.
            np.save(command.label_map, labels[box])
            return box[0].start, box[1].start, box[2].start
        image = sitk.GetImageFromArray(labels)
        image.CopyInformation(volume)
        write_volume(image, command.label_map)
        self._own |= {file: sha256(file) for file in (command.label_map, command.uncertainty) if file is not None}
        return None

    def _annotation(self, command: LearnCommand, volume: sitk.Image, on_event: OnEvent) -> sitk.Image:
        path = command.annotation
        if path.suffix == ARRAY:
            return _placed_array(command, volume)

        def say(text: str) -> None:
            on_event(Message(level="warning", text=f"{path}: {text}"))

        annotation = read_label_map(path, volume, self._frame, other_form=other_form_of(self._sources[0]), say=say)
        if reason := no_label_map(annotation, values_in(annotation)):
            raise InputError(path, reason)
        return annotation

    def _opened(self) -> sitk.Image:
        if self._volume is None:
            raise ConfigurationError("no volume is open")
        return self._volume

    def _read(self, name: str) -> Path:
        """Reads a model unless it is here already and has not changed since; returns its path."""
        path = find_model(name).resolve()
        changed = path.stat().st_mtime_ns
        if self._read_at.get(path) != changed:
            self._models[path], self._read_at[path] = load_model(path), changed
            self._segmenters = {key: kept for key, kept in self._segmenters.items() if key[0] != path}
        return path


def _array_volume(command: OpenCommand) -> sitk.Image:
    if command.geometry is None:
        raise ConfigurationError(f"the array {command.volume.name} comes without its geometry")
    values = _array(command.volume)
    image = sitk.GetImageFromArray(background_for_nan(values) if command.nan_is_background else values)
    matrix = np.array(command.geometry)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    return image


def _array(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(path, f"is not a whole array ({error})") from error


def _placed_array(command: LearnCommand, volume: sitk.Image) -> sitk.Image:
    part, size = _array(command.annotation), volume.GetSize()[::-1]
    stop = [a + n for a, n in zip(command.start, part.shape, strict=True)]
    if any(s > n for s, n in zip(stop, size, strict=True)):
        raise InputError(command.annotation, "goes beyond the volume")
    whole = np.zeros(size, part.dtype)
    whole[tuple(slice(a, b) for a, b in zip(command.start, stop, strict=True))] = part
    image = sitk.GetImageFromArray(whole)
    image.CopyInformation(volume)
    return image


def _plane(numbers: PlaneNumbers, volume: sitk.Image) -> Plane:
    axis, index = numbers[:2]
    count = volume.GetSize()[2 - axis]
    if index >= count:
        raise ConfigurationError(f"there is no slice {index} along {_AXES[axis]}: it has {count}")
    return Plane(axis, index, frozenset(numbers[2]) if len(numbers) > 2 else None)


def _mistyped(planes: Sequence[Plane], annotation: sitk.Image) -> Iterator[str]:
    """Yields what is probably wrong with planes that a person has typed."""
    painted = sitk.GetArrayViewFromImage(annotation)
    if planes and not any(np.moveaxis(painted, p.axis, 0)[p.index].any() for p in planes):
        axis = planes[0].axis
        there = np.flatnonzero(painted.any(tuple(a for a in range(3) if a != axis)))
        named = shortened((f"{_AXES[p.axis]}:{p.index}" for p in planes), 5)
        has = shortened((f"{_AXES[axis]}:{index}" for index in there), 5)
        yield f"nothing is painted on {named}; slices are counted from 0, and what is painted lies on {has}"
    unknown = {value for p in planes for value in p.values or ()} - {*values_in(annotation)}
    if unknown:
        yield f"labels that slices are said to be complete for are painted nowhere: {shortened(sorted(unknown), 5)}"


def _box(labels: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest part of a label map that holds all labels, at least one voxel."""
    found = []
    for axis in range(3):
        there = np.flatnonzero(labels.any(tuple(a for a in range(3) if a != axis)))
        found.append(slice(int(there[0]), int(there[-1]) + 1) if len(there) else slice(0, 1))
    return found[0], found[1], found[2]


def _warm_up(device: torch.device) -> None:
    """Learns from a tiny volume: torch imports much of itself when it is first used, which the user need not wait for."""
    array = np.random.default_rng(0).normal(size=(6, 16, 16)).astype(np.float32)
    labels = np.zeros(array.shape, np.uint8)
    labels[:, 4:9, 4:9] = 1
    InteractiveSession(sitk.GetImageFromArray(array), None, device).learn(
        sitk.GetImageFromArray(labels), [Plane(0, 1), Plane(0, 4)]
    )


def serve(lines: Iterable[str], on_event: OnEvent) -> None:
    """Does the commands that come as lines, one after the other, until there are no more.

    Lines are read in a thread of their own, so that a cancellation and the end of the input are heard during work.

    Args:
        lines: such as `sys.stdin`.
        on_event: receives the events, each with the id of its command (-1: the line had none).
    """
    waiting: queue.Queue[tuple[int, Command | Failed] | None] = queue.Queue()
    cancellations = 0

    def listen() -> None:
        nonlocal cancellations
        for line in lines:
            command = _parsed(line)
            if isinstance(command, CancelCommand):
                cancellations += 1
            elif command is not None:
                waiting.put((cancellations, command))
        cancellations += 1
        waiting.put(None)

    threading.Thread(target=listen, name="commands", daemon=True).start()
    worker = InteractiveWorker(warms_up=True)
    while (item := waiting.get()) is not None:
        when, command = item
        if isinstance(command, Failed):
            on_event(command)
            continue
        tell = _with_id(on_event, command.id)

        def stop(when: int = when) -> bool:
            return cancellations > when

        tell(_outcome(worker, command, tell, stop))
        if waiting.empty():
            # Who paints the next slice, or has closed the volume, needs the memory elsewhere.
            give_back_freed_memory()


def _outcome(worker: InteractiveWorker, command: Command, on_event: OnEvent, stop: Stop) -> Done[Any] | Failed:
    try:
        return worker.do(command, on_event, stop)
    except Stopped:
        return Done(stopped=True, result=Result())
    except HSSLError as error:
        return Failed.of(error)
    except Exception as error:
        if out_of_memory(error):
            return Failed.of(MemoryExhaustedError("there is not enough memory for this", "Close other programs."))
        traceback.print_exc(file=sys.stderr)
        return Failed(kind=type(error).__name__, message=str(error) or type(error).__name__)


def _with_id(on_event: OnEvent, number: int) -> OnEvent:
    def tell(event: Event) -> None:
        on_event(event.model_copy(update={"command_id": number}))

    return tell


def _parsed(line: str) -> Command | Failed | None:
    """Returns the command of a line, a Failed where it is none, or None for an empty line."""
    if not line.strip():
        return None
    try:
        return _commands.validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = f"not a command: {where}: {problem['msg']}" if where else f"not a command: {problem['msg']}"
        failed = Failed.of(ConfigurationError(message))
        return failed.model_copy(update={"command_id": _id_of(line)})


def _id_of(line: str) -> int:
    try:
        number = json.loads(line)["id"]
    except (ValueError, TypeError, KeyError):
        return -1
    return number if isinstance(number, int) else -1
