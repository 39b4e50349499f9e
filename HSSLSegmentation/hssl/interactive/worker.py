"""A warm process for interactive work: commands come as JSON lines on stdin, events go as JSON lines to stdout.

One volume is open at a time. The models that were read and the volume's features stay in memory between commands, so
that a further round takes seconds. An error ends its command, not the process; the end of stdin ends the process.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import SimpleITK as sitk
import torch
from pydantic import Field, NonNegativeInt, TypeAdapter, ValidationError

from ..configuration import Configuration
from ..errors import ConfigurationError, HSSLError, MemoryExhaustedError, ModelFileError
from ..events import Done, Event, Failed, OnEvent, Phase, Stop, Stopped, ignore, never
from ..files import sha256
from ..imaging.labels import read_label_map
from ..imaging.volumes import check_format, check_values, read_volume, write_volume
from ..models.description import ModelDescription
from ..models.device import chosen_device, out_of_memory, use_threads
from ..models.find import find_model
from ..models.inference import Segmenter
from ..models.model_file import load_model
from ..models.prediction import predict_volume
from ..outputs import check_outputs
from .session import InteractiveSession
from .slice_priors import Plane

PlaneNumbers = tuple[Literal[0, 1, 2], NonNegativeInt]
"""Axis of the array (z, y, x → 0, 1, 2) and index along it."""
Model = tuple[ModelDescription, dict[str, torch.Tensor]]


class _Command(Configuration):
    id: int
    """Chosen by the sender; the events of the command carry it as their `command_id`."""


class _WritingCommand(_Command):
    """Writes a label map and, where it is named, the uncertainty.

    Attributes:
        label_map, uncertainty: files to write; without `uncertainty` it is not written.
        overwrite: replace such files where they are, and are no inputs.
    """

    label_map: Path
    uncertainty: Path | None = None
    overwrite: bool = False


class OpenCommand(_Command):
    """Opens a volume in place of the one before, which is let go even when this fails.

    Attributes:
        model: a run's folder or a model file whose features `learn` starts from; empty means none.
    """

    command: Literal["open"] = "open"
    volume: Path
    model: str = ""
    device: str = "auto"
    threads: int = Field(default=0, ge=0)


class LearnCommand(_WritingCommand):
    """Learns from what is painted and fills the rest; a further one goes on from the last.

    Attributes:
        annotation: label map on the volume's grid.
        planes: slices that are annotated completely.
        whole_volume: fill the whole volume, not only the surroundings of the annotated slices.
    """

    command: Literal["learn"] = "learn"
    annotation: Path
    planes: list[PlaneNumbers] = []
    whole_volume: bool = False


class PredictCommand(_WritingCommand):
    """Segments the open volume with a fine-tuned model.

    Attributes:
        model: a fine-tuning run's folder, or a model file.
    """

    command: Literal["predict"] = "predict"
    model: str
    flips: bool = False
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
    """What the process holds between commands, and what each command does with it."""

    def __init__(self) -> None:
        self._volume: sitk.Image | None = None
        self._sources: list[Path] = []
        self._own: dict[Path, str] = {}
        self._model: Model | None = None
        self._session: InteractiveSession | None = None
        self._device = torch.device("cpu")
        self._models: dict[Path, Model] = {}
        self._read_at: dict[Path, int] = {}
        self._segmenters: dict[tuple[Path, str, bool], Segmenter] = {}

    def do(self, command: Command, on_event: OnEvent = ignore, stop: Stop = never) -> Done:
        """Does one command.

        Raises:
            HSSLError: it cannot be done.
            Stopped: `stop` asked for it; what a round had learned until then is dropped.
        """
        if isinstance(command, OpenCommand | LearnCommand | PredictCommand):
            on_event(Phase(name=command.command, index=1, count=1))
        match command:
            case OpenCommand():
                return self._open(command)
            case LearnCommand():
                return self._learn(command, on_event, stop)
            case PredictCommand():
                return self._predict(command, on_event, stop)
            case _:
                self._volume = self._session = None
                return Done()

    def _open(self, command: OpenCommand) -> Done:
        self._volume = self._session = None
        use_threads(command.threads)
        device = chosen_device(command.device)
        volume = read_volume(command.volume)
        check_values(volume, command.volume)
        model = self._models[self._read(command.model)] if command.model else None
        session = InteractiveSession(volume, model, device)
        self._volume, self._model, self._device, self._session = volume, model, device, session
        self._sources = [command.volume, *([find_model(command.model)] if command.model else [])]
        return Done(result={"size": list(volume.GetSize()), "device": str(device)})

    def _learn(self, command: LearnCommand, on_event: OnEvent, stop: Stop) -> Done:
        volume = self._opened()
        self._check_outputs(command, command.annotation)
        annotation = read_label_map(command.annotation, like=volume)
        planes = [Plane(axis, index) for axis, index in command.planes]
        for plane in planes:
            count = volume.GetSize()[2 - plane.axis]
            if plane.index >= count:
                raise ConfigurationError(f"there is no slice {plane.index} along axis {plane.axis}: it has {count}")

        if self._session is None:
            self._session = InteractiveSession(volume, self._model, self._device)
        try:
            preview = self._session.learn(annotation, planes, on_event, stop, command.whole_volume)
        except HSSLError:
            raise
        except BaseException:
            # A round that ends in its middle leaves features and head unfinished.
            self._session = None
            raise
        axis, index = preview.next_slice.axis, preview.next_slice.index
        return self._written(command, preview.label_map, preview.uncertainty, (axis, index), preview.seconds)

    def _predict(self, command: PredictCommand, on_event: OnEvent, stop: Stop) -> Done:
        volume = self._opened()
        self._check_outputs(command, find_model(command.model))
        path = self._read(command.model)
        description, state = self._models[path]
        if description.kind != "segmentation":
            raise ModelFileError(
                command.model, "is a pretrained network, not a segmentation model", "Fine-tune it first."
            )
        key = (path, str(self._device), command.flips)
        if key not in self._segmenters:
            self._segmenters[key] = Segmenter(description, state, self._device, flips=command.flips)
        prediction = predict_volume(
            volume, self._segmenters[key], command.largest_component, uncertainty=True, on_event=on_event, stop=stop
        )
        assert prediction.uncertainty is not None
        task = description.tasks[0]
        axis = description.fingerprints[task.name].slice_axis
        doubt = sitk.GetArrayViewFromImage(prediction.uncertainty).sum(tuple(a for a in range(3) if a != axis))
        place = (axis, int(doubt.argmax()))
        return self._written(command, prediction.label_map, prediction.uncertainty, place, None)

    def _check_outputs(self, command: _WritingCommand, source: Path) -> None:
        files = [command.label_map, *([command.uncertainty] if command.uncertainty else [])]
        for file in files:
            check_format(file)
        # The result of an earlier round gives way to the next one's.
        check_outputs(
            files, [*self._sources, source], command.overwrite, lambda file: self._own.get(file) == sha256(file)
        )

    def _written(
        self,
        command: LearnCommand | PredictCommand,
        label_map: sitk.Image,
        uncertainty: sitk.Image,
        next_slice: tuple[int, int],
        seconds: float | None,
    ) -> Done:
        result: dict[str, Any] = {"label_map": str(command.label_map), "next_slice": list(next_slice)}
        if command.uncertainty is not None:
            write_volume(uncertainty, command.uncertainty)
            result["uncertainty"] = str(command.uncertainty)
        write_volume(label_map, command.label_map)
        self._own |= {file: sha256(file) for file in (command.label_map, command.uncertainty) if file is not None}
        if seconds is not None:
            result["seconds"] = seconds
        return Done(result=result)

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
    worker = InteractiveWorker()
    while (item := waiting.get()) is not None:
        when, command = item
        if isinstance(command, Failed):
            on_event(command)
            continue
        tell = _with_id(on_event, command.id)

        def stop(when: int = when) -> bool:
            return cancellations > when

        tell(_outcome(worker, command, tell, stop))


def _outcome(worker: InteractiveWorker, command: Command, on_event: OnEvent, stop: Stop) -> Done | Failed:
    try:
        return worker.do(command, on_event, stop)
    except Stopped:
        return Done(stopped=True)
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
