"""The warm process behind the Segment Editor: real processes on tiny generated scans."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
import torch

import hssl.interactive.worker
from hssl.cli.interactive import worker
from hssl.configuration import NetworkConfig
from hssl.errors import ConfigurationError, InputError
from hssl.events import Stopped
from hssl.interactive.worker import InteractiveWorker, LearnCommand, OpenCommand, PredictCommand
from hssl.models import model_file as modelfile
from hssl.models.description import ModelDescription
from hssl.models.network import build_network
from hssl.models.prediction import Prediction
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.workspace.catalogue import Catalogue, LabelClass, Task

ENGINE = Path(modelfile.__file__).parents[2]


class Client:
    """The other end of the worker's pipes."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ENGINE), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hssl", "interactive-worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip
        self.events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.put(json.loads(line))
        self.events.put(None)

    def send(self, **command: Any) -> None:
        self.say(json.dumps(command))

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def next(self, *kinds: str) -> dict[str, Any]:
        """Returns the next event of one of the kinds."""
        while True:
            event = self.events.get(timeout=120)
            assert event is not None, "the worker ended"
            self.seen.append(event)
            if event["event"] in kinds:
                return event

    def ask(self, **command: Any) -> dict[str, Any]:
        """Sends a command and returns its Done or Failed."""
        self.send(**command)
        event = self.next("done", "failed")
        assert event["command_id"] == command["id"]
        return event

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(60)


CLOSING = 0
"""Number of the command between two tests."""


@pytest.fixture(scope="module")
def clients():
    made: list[Client] = []
    yield made
    for one in made:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def client(clients: list[Client]) -> Client:
    """A worker in which nothing is open: that of the test before, as long as it is there."""
    if not clients or clients[-1].process.poll() is not None:
        clients.append(Client())
    one = clients[-1]
    one.send(id=CLOSING, command="close")
    while one.next("done", "failed")["command_id"] != CLOSING:
        pass  # what a test that failed has not waited for
    one.seen.clear()
    return one


@pytest.fixture
def scan(shared_workspace: Path, tmp_path: Path) -> tuple[Path, sitk.Image, Path]:
    """A volume, its true label map, and a label map with three annotated slices."""
    image = Catalogue.load(shared_workspace).usable("liver_spleen_ct", labelled=True)[0]
    volume = shared_workspace / image.image
    truth = sitk.ReadImage(str(shared_workspace / image.label))
    painted = sitk.GetArrayFromImage(truth)
    kept = np.zeros_like(painted)
    for index in PLANES:
        kept[index] = painted[index]
    annotation = sitk.GetImageFromArray(kept)
    annotation.CopyInformation(truth)
    file = tmp_path / "annotation.nrrd"
    sitk.WriteImage(annotation, str(file))
    return volume, truth, file


PLANES = (2, 4, 7)
LIVER = 1


def model_file(path: Path, kind: str = "segmentation", **more: Any) -> Path:
    """Writes a model with weights as they come."""
    task = Task(name="brain", group="head", modality="MR", classes=[LabelClass(value=3, name="brain")])
    description = ModelDescription(
        kind=kind,
        name="brain",
        network=NetworkConfig(),
        patch_size=(32, 32),
        tasks=[task],
        fingerprints={
            "brain": Fingerprint(
                spacing=(6.0, 6.0, 6.0), slice_axis=0, normalisation="percentiles", median_size=(12, 32, 32)
            )
        },
        out_channels=2 if kind == "segmentation" else 3,
        **more,
    )
    network = build_network(description.network, description.out_channels)
    modelfile.write_model(path, description, network.state_dict())
    return path


def learning(number: int, annotation: Path, folder: Path, planes: tuple[int, ...] = PLANES) -> dict[str, Any]:
    return {
        "id": number,
        "command": "learn",
        "annotation": str(annotation),
        "planes": [[0, index] for index in planes],
        "label_map": str(folder / "labels.nii"),
        "uncertainty": str(folder / "doubt.nii"),
    }


def dice(one: np.ndarray, other: np.ndarray, value: int) -> float:
    return float(2 * ((one == value) & (other == value)).sum() / ((one == value).sum() + (other == value).sum()))


def test_the_rest_of_the_volume_is_filled_and_a_second_round_goes_on_from_the_first(client, scan, tmp_path):
    volume, truth, annotation = scan
    model = model_file(tmp_path / "start.zip", "pretrained")
    opened = client.ask(id=1, command="open", volume=str(volume), model=str(model), device="cpu", threads=1)
    assert opened["result"]["size"] == list(truth.GetSize())
    first = client.ask(**learning(2, annotation, tmp_path))
    assert first["event"] == "done", first
    labels = sitk.ReadImage(first["result"]["label_map"])
    assert labels.GetDirection() == pytest.approx(truth.GetDirection(), abs=1e-5)
    between = [index for index in range(min(PLANES), max(PLANES)) if index not in PLANES]
    assert dice(sitk.GetArrayFromImage(labels)[between], sitk.GetArrayFromImage(truth)[between], LIVER) > 0.6
    doubt = sitk.GetArrayFromImage(sitk.ReadImage(first["result"]["uncertainty"]))
    assert doubt.min() >= 0 and doubt.max() <= 1 and doubt.any()
    axis, index = first["result"]["next_slice"]
    assert axis == 0 and index not in PLANES
    client.ask(**learning(3, annotation, tmp_path))
    assert [e["phase"] for e in client.seen if e["event"] == "progress" and e["command_id"] == 2][0] == "features"
    assert not [
        e for e in client.seen if e["event"] == "progress" and e["command_id"] == 3 and e["phase"] == "features"
    ]


def test_arrays_go_in_and_out_without_image_files(client, scan, tmp_path):
    """The part that is painted comes, the part that is filled goes back; places tell where they are."""
    path, truth, annotation = scan
    volume = sitk.ReadImage(str(path))
    np.save(tmp_path / "volume.npy", sitk.GetArrayFromImage(volume))
    painted = sitk.GetArrayFromImage(sitk.ReadImage(str(annotation)))
    kept = np.where(painted == LIVER, LIVER, 0).astype(np.uint8)
    low = [int(index.min()) for index in np.nonzero(kept)]
    np.save(tmp_path / "part.npy", kept[low[0] :, low[1] :, low[2] :])
    direction = np.array(volume.GetDirection()).reshape(3, 3) * volume.GetSpacing()
    geometry = np.vstack([np.column_stack([direction, volume.GetOrigin()]), [0, 0, 0, 1]]).tolist()
    opening = {"command": "open", "volume": str(tmp_path / "volume.npy"), "device": "cpu"}
    assert "without its geometry" in client.ask(id=1, **opening)["message"]
    assert client.ask(id=2, geometry=geometry, **opening)["event"] == "done"
    asked = {**learning(3, tmp_path / "part.npy", tmp_path), "label_map": str(tmp_path / "labels.npy"), "start": low}
    del asked["uncertainty"]
    asked["planes"] = [[0, index, [LIVER]] for index in PLANES]
    done = client.ask(**asked)
    assert done["event"] == "done", done
    found, start = np.load(tmp_path / "labels.npy"), done["result"]["start"]
    whole = np.zeros(kept.shape, np.uint8)
    whole[tuple(slice(a, a + n) for a, n in zip(start, found.shape, strict=True))] = found
    assert all((whole[index] == kept[index]).all() for index in PLANES)
    assert dice(whole, sitk.GetArrayFromImage(truth), LIVER) > 0.6
    assert done["result"]["spans"][str(LIVER)][0] == [min(PLANES), max(PLANES) + 1]
    assert found.any((1, 2)).all() and done["result"]["place"][0] == done["result"]["next_slice"][1]
    beyond = client.ask(**{**asked, "id": 4, "start": [kept.shape[0] - 1, 0, 0]})
    assert "goes beyond the volume" in beyond["message"]
    (tmp_path / "part.npy").write_bytes(b"torn")
    assert "is not a whole array" in client.ask(**{**asked, "id": 5})["message"]


def test_a_fine_tuned_model_predicts_the_open_volume_on_its_grid(client, scan, tmp_path):
    volume, truth, _ = scan
    model = model_file(tmp_path / "brain.zip")
    client.ask(id=1, command="open", volume=str(volume), device="cpu")
    asked = {"command": "predict", "model": str(model), "label_map": str(tmp_path / "p.nii")}
    done = client.ask(id=2, **asked)
    labels = sitk.ReadImage(done["result"]["label_map"])
    assert labels.GetSize() == truth.GetSize() and set(np.unique(sitk.GetArrayFromImage(labels))) <= {0, 3}
    assert done["result"]["uncertainty"] is None
    assert client.ask(id=3, **asked)["event"] == "done"


@pytest.mark.parametrize("stored", list(itertools.permutations(range(3))))
def test_the_slice_to_look_at_lies_across_the_models_slices_however_the_volume_is_stored(tmp_path, monkeypatch, stored):
    """The model's slices run along the patient's axis z; of a sagittal series that is no first axis of the array."""
    volume = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 9, (5, 9, 8)).astype(np.float32))
    volume.SetSpacing((6.0, 6.0, 6.0))
    direction = np.zeros((3, 3))
    for index, axis in enumerate(stored):  # the patient's axis x, y, z of the image's i, j, k
        direction[axis, index] = 1
    volume.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(volume, str(tmp_path / "volume.nii"))
    doubt = np.zeros((5, 9, 8), np.float32)
    doubt[3, 6, 2] = 1

    def predicted(volume, *given, **more):
        found = [sitk.GetImageFromArray(array) for array in (doubt.astype(np.uint8), doubt)]
        for one in found:
            one.CopyInformation(volume)
        return Prediction(*found)

    monkeypatch.setattr(hssl.interactive.worker, "predict_volume", predicted)
    warm = InteractiveWorker()
    warm.do(OpenCommand(id=1, volume=tmp_path / "volume.nii", device="cpu"))
    asked = PredictCommand(id=2, model=str(model_file(tmp_path / "brain.zip")), label_map=tmp_path / "p.nii")
    result = warm.do(asked).result
    across = 2 - stored.index(2)
    assert result.next_slice == (across, (3, 6, 2)[across]) and result.place == (3, 6, 2)


def test_a_prediction_is_as_fast_as_is_asked_whatever_was_asked_before(tmp_path, monkeypatch):
    volume = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 9, (5, 9, 8)).astype(np.float32))
    volume.SetSpacing((6.0, 6.0, 6.0))
    sitk.WriteImage(volume, str(tmp_path / "volume.nii"))
    asked, usual = [], hssl.interactive.worker.predict_volume

    def predicted(volume, segmenter, *given, **more):
        asked.append(segmenter.planes)
        return usual(volume, segmenter, *given, **more)

    monkeypatch.setattr(hssl.interactive.worker, "predict_volume", predicted)
    warm = InteractiveWorker()
    warm.do(OpenCommand(id=1, volume=tmp_path / "volume.nii", device="cpu"))
    model = str(model_file(tmp_path / "brain.zip", planes={"brain": (0, 1, 2)}))
    for number, fast in enumerate((False, True, False)):
        target = tmp_path / f"{number}.nii"
        warm.do(PredictCommand(id=2 + number, model=model, fast=fast, label_map=target))
    assert asked == [(0, 1, 2), (0,), (0, 1, 2)]


@pytest.mark.parametrize(("spacing", "warned"), [(11.0, False), (13.0, True)])
def test_a_volume_much_coarser_than_what_a_model_was_made_for_is_warned_of(tmp_path, spacing, warned):
    """Nothing is refused: it takes long and may be wrong, which somebody wants to know before."""
    volume = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 9, (5, 9, 8)).astype(np.float32))
    volume.SetSpacing((6.0, 6.0, spacing))
    file, seen = tmp_path / "volume.nii", []
    sitk.WriteImage(volume, str(file))
    warm = InteractiveWorker()
    warm.do(OpenCommand(id=1, volume=file, device="cpu"))
    model = model_file(tmp_path / "brain.zip")
    warm.do(PredictCommand(id=2, model=str(model), label_map=tmp_path / "p.nii"), seen.append)
    texts = [event.text for event in seen if event.event == "message" and event.level == "warning"]
    assert [text for text in texts if "made for 6 × 6 × 6 mm" in text] == texts
    assert bool(texts) == warned


ON_NOTHING = "nothing is painted on z:3, z:5; slices are counted from 0, and what is painted lies on z:2, z:4, z:7"


@pytest.mark.parametrize(
    ("planes", "told"),
    [
        ([[0, 2], [0, 1]], ""),
        ([[0, 3], [0, 5]], ON_NOTHING),
        ([[0, 2, [LIVER, 9]], [0, 4]], "labels that slices are said to be complete for are painted nowhere: 9"),
    ],
)  # fmt: skip
def test_planes_that_are_probably_mistyped_are_told(scan, tmp_path, planes, told):
    """Whoever counts from 1 names the slices beside those that are painted."""
    volume, _, annotation = scan
    events: list = []
    warm = InteractiveWorker()
    warm.do(OpenCommand(id=1, volume=volume, device="cpu"))
    warm.do(LearnCommand(id=2, annotation=annotation, planes=planes, label_map=tmp_path / "out.nii"), events.append)
    texts = [event.text for event in events if event.event == "message"]
    assert texts == ([f"{annotation}: {told}"] if told else [])


def test_an_error_ends_its_command_and_not_the_worker(client, scan, tmp_path):
    volume, _, annotation = scan
    assert client.ask(**learning(1, annotation, tmp_path))["message"] == "no volume is open"
    gone = client.ask(id=2, command="open", volume=str(tmp_path / "gone.nii"))
    assert gone["event"] == "failed" and "gone.nii" in gone["message"]
    assert client.ask(id=3, command="open", volume=str(volume), device="cpu")["event"] == "done"
    other = sitk.Image(4, 4, 4, sitk.sitkUInt8)
    sitk.WriteImage(other, str(tmp_path / "other.nrrd"))
    assert "other.nrrd" in client.ask(**learning(4, tmp_path / "other.nrrd", tmp_path))["message"]
    assert "no slice 99" in client.ask(**learning(5, annotation, tmp_path, (99,)))["message"]
    pretrained = model_file(tmp_path / "start.zip", "pretrained")
    refused = client.ask(id=6, command="predict", model=str(pretrained), label_map=str(tmp_path / "p.nii"))
    assert "not a segmentation model" in refused["message"] and refused["hint"] == "Fine-tune it first."
    assert client.ask(**learning(7, annotation, tmp_path))["event"] == "done"


@pytest.mark.parametrize(
    ("line", "number", "why"),
    [
        ("no json", -1, "Invalid JSON"),
        ('{"id": 7, "command": "dance"}', 7, "does not match any of the expected tags"),
        ('{"id": 8, "command": "open"}', 8, "open.volume: Field required"),
        ('{"id": 9, "command": "close", "force": true}', 9, "close.force: Extra inputs"),
    ],
)
def test_a_line_that_is_no_command_is_told_with_the_reason(line, number, why):
    from hssl.events import Event
    from hssl.interactive.worker import serve

    told: list[Event] = []
    serve([line], told.append)
    assert [e.event for e in told] == ["failed"] and told[0].command_id == number and why in told[0].message


def test_a_cancelled_round_is_stopped_and_the_next_one_starts_afresh(client, scan, tmp_path):
    volume, _, annotation = scan
    model = model_file(tmp_path / "start.zip", "pretrained")
    client.ask(id=1, command="open", volume=str(volume), model=str(model), device="cpu", threads=1)
    client.send(**learning(2, annotation, tmp_path))
    client.send(**learning(3, annotation, tmp_path))
    client.next("progress")
    client.send(id=4, command="cancel")
    ends = [client.next("done", "failed") for _ in range(2)]
    assert [(e["event"], e["command_id"], e["stopped"]) for e in ends] == [("done", 2, True), ("done", 3, True)]
    assert not (tmp_path / "labels.nii").exists()
    done = client.ask(**learning(5, annotation, tmp_path))
    assert not done["stopped"] and (tmp_path / "labels.nii").exists()
    assert [e for e in client.seen if e["event"] == "progress" and e["command_id"] == 5 and e["phase"] == "features"]


def test_a_round_that_is_cancelled_before_its_turn_is_stopped_whatever_became_of_the_opening(tmp_path):
    command = LearnCommand(id=2, annotation=tmp_path / "annotation.npy", label_map=tmp_path / "labels.npy")
    with pytest.raises(Stopped):
        InteractiveWorker().do(command, stop=lambda: True)


def test_an_opening_that_is_cancelled_reads_no_further(scan, monkeypatch):
    asked = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) > 1

    monkeypatch.setattr(InteractiveWorker, "_read", lambda worker, name: pytest.fail("the model was read"))
    worker = InteractiveWorker()
    with pytest.raises(Stopped):
        worker.do(OpenCommand(id=1, volume=scan[0], model="some model"), stop=stop)
    with pytest.raises(ConfigurationError, match="no volume is open"):
        worker.do(PredictCommand(id=2, model="some model", label_map="x.nii.gz"))


def test_its_threads_do_not_spin_while_other_jobs_have_the_cores(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    seen = []
    monkeypatch.setattr("hssl.interactive.worker.serve", lambda *_: seen.append(os.environ.get("OMP_WAIT_POLICY")))
    worker()
    assert seen == ["PASSIVE"]


def test_a_closed_volume_is_let_go(client, scan, tmp_path):
    volume, _, annotation = scan
    client.ask(id=1, command="open", volume=str(volume), device="cpu")
    assert client.ask(id=2, command="close")["event"] == "done"
    assert client.ask(**learning(3, annotation, tmp_path))["message"] == "no volume is open"


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="memory is kept with glibc alone"
)
def test_memory_that_a_round_has_left_is_given_back_when_nothing_waits():
    from hssl.interactive.worker import serve
    from hssl.models.device import chosen_device, give_back_freed_memory

    def megabytes() -> float:
        return psutil.Process().memory_info().rss / 1e6

    chosen_device("cpu")
    give_back_freed_memory()  # of the tests before
    before = megabytes()
    large = torch.ones(64_000_000)
    del large
    assert megabytes() > before + 200, "within a round it is kept: the next step needs it again"

    def lines():
        yield '{"id": 1, "command": "close"}'
        until = time.monotonic() + 20
        while megabytes() > before + 50 and time.monotonic() < until:
            time.sleep(0.01)
        seen.append(megabytes())

    seen: list[float] = []
    serve(lines(), lambda event: None)
    assert seen[0] < before + 50


def test_the_worker_ends_when_nobody_talks_to_it_any_more(client, scan, tmp_path):
    volume, _, annotation = scan
    client.ask(id=1, command="open", volume=str(volume), device="cpu")
    client.send(**learning(2, annotation, tmp_path))
    assert client.end() == 0


def test_one_round_runs_from_the_command_line(scan, tmp_path):
    from typer.testing import CliRunner

    from hssl.cli import app

    volume, truth, annotation = scan
    output = tmp_path / "filled.nii.gz"
    arguments = ["interactive", str(volume), str(annotation), "--output", str(output), "--device", "cpu"]
    result = CliRunner().invoke(app, [*arguments, *(f"--plane=z:{index}" for index in PLANES)])
    assert result.exit_code == 0, result.output
    assert "Most uncertain" in result.output and "z:" in result.output
    true = sitk.GetArrayFromImage(truth)
    assert dice(sitk.GetArrayFromImage(sitk.ReadImage(str(output))), true, LIVER) > 0.6
    wrong = CliRunner().invoke(app, [*arguments, "--plane", "q:1"])
    assert wrong.exit_code == 2 and "'q:1'" in wrong.output


def test_nan_in_an_array_is_an_error_unless_it_is_background(tmp_path):
    values = np.random.default_rng(0).normal(size=(6, 16, 16)).astype(np.float32)
    values[0] = np.nan
    np.save(tmp_path / "volume.npy", values)
    command = OpenCommand(id=1, volume=tmp_path / "volume.npy", geometry=np.eye(4).tolist(), device="cpu")
    worker = InteractiveWorker()
    with pytest.raises(InputError, match="NaN") as told:
        worker.do(command)
    assert told.value.way_out == "nan_is_background"
    worker.do(command.model_copy(update={"nan_is_background": True}))
    painted = np.zeros(values.shape, np.uint8)
    painted[:, 4:9, 4:9] = 1
    np.save(tmp_path / "painted.npy", painted)
    learning = LearnCommand(
        id=2, annotation=tmp_path / "painted.npy", planes=[(0, 1), (0, 4)], label_map=tmp_path / "labels.npy"
    )
    assert worker.do(learning).result.label_map.exists()


def test_an_annotation_is_that_of_the_frame_and_a_scan_is_none(tmp_path):
    scans = np.random.default_rng(0).integers(0, 900, (2, 6, 16, 16)).astype(np.int16)
    painted = np.zeros((6, 16, 16), np.int16)
    painted[:, 4:9, 4:9] = 1
    for name, frames in (("cine", scans), ("annotation", (painted, scans[1]))):
        sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(f) for f in frames]), str(tmp_path / f"{name}.nii.gz"))
    worker = InteractiveWorker()
    worker.do(OpenCommand(id=1, volume=tmp_path / "cine.nii.gz", frame=1, device="cpu"))
    command = LearnCommand(id=2, annotation=tmp_path / "annotation.nii.gz", label_map=tmp_path / "out.npy")
    with pytest.raises(InputError, match="an image, not a label map"):
        worker.do(command)
