"""Whole jobs on a pretend GPU (see `pretend_device.py`): nothing mixes devices, and what was begun on one goes on on another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from pretend_device import PretendDevice, pretended

from hssl.configuration import Budget, FinetuneConfig, PredictConfig, PretrainConfig, SuggestConfig
from hssl.errors import ConfigurationError
from hssl.events import Message
from hssl.imaging.volumes import read_volume
from hssl.interactive.session import InteractiveSession
from hssl.interactive.slice_priors import Plane
from hssl.interactive.worker import serve
from hssl.jobs.finetune import finetune
from hssl.jobs.predict import predict
from hssl.jobs.pretrain import pretrain
from hssl.jobs.suggest import suggest
from hssl.learning import distributed
from hssl.learning.pretexts import _registry, pretext_named
from hssl.models import device as devices
from hssl.models import prediction
from hssl.models.device import chosen_device, computes_bf16, out_of_memory
from hssl.models.inference import Segmenter
from hssl.models.model_file import load_model
from hssl.models.run_folder import RunFolder
from hssl.workspace.catalogue import Catalogue

QUICK: dict[str, Any] = {"patch_size": 32, "batch_size": 4, "threads": 1}
IN_3D: dict[str, Any] = {"network": {"spatial_dims": 3, "in_slices": 1}, "batch_size": 2}
pretext_named("hssl")  # registers all


@pytest.fixture
def gpu() -> Iterator[PretendDevice]:
    with pretended() as device:
        yield device


def pretrained(workspace: Path, run: str, steps: int = 1, on_event: Any = None, **values: Any) -> RunFolder:
    config = {"workspace": workspace, "run": run, "budget": Budget(steps=steps), **QUICK, **values}
    return RunFolder(pretrain(PretrainConfig.checked(config), *([on_event] if on_event else [])).result.run)


def finetuned(workspace: Path, run: str, steps: int = 2, on_event: Any = None, **values: Any) -> RunFolder:
    task, labelled = case_of(workspace)
    config = {
        "workspace": workspace, "run": run, "task": task, "budget": Budget(steps=steps), "validation": labelled[:1],
        **QUICK, **values,
    }  # fmt: skip
    return RunFolder(finetune(FinetuneConfig.checked(config), *([on_event] if on_event else [])).result.run)


def case_of(workspace: Path) -> tuple[str, list[str]]:
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0].name
    return task, [image.id for image in catalogue.usable(task, labelled=True)]


def scan_of(workspace: Path) -> Path:
    catalogue = Catalogue.load(workspace)
    return catalogue.image_path(catalogue.image(case_of(workspace)[1][0]))


def of_state(run: RunFolder) -> tuple[int, str, bool]:
    state = run.load_checkpoint()["state"]
    return state["step"], state["device"], state["bf16"]


def test_a_gpu_is_taken_where_there_is_one_and_in_the_precision_that_it_has():
    for major, bf16 in ((7, False), (8, True), (12, True)):
        with pretended(major=major):
            assert chosen_device("auto").type == "cuda" and computes_bf16(chosen_device("auto")) == bf16
    assert chosen_device("auto").type == "cpu"


def test_torch_is_asked_for_nothing_that_its_oldest_version_lacks(monkeypatch):
    """torch 2.2 ended every job on a GPU in a TypeError, and every error of torch in an AttributeError."""
    monkeypatch.delattr(torch, "OutOfMemoryError")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    with pretended():
        assert computes_bf16(chosen_device("cuda"))
    assert out_of_memory(torch.cuda.OutOfMemoryError()) and not out_of_memory(RuntimeError("shapes"))


def test_each_of_two_cards_has_its_own_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: {0: (7, 5), 1: (8, 9)}[device.index])
    assert [computes_bf16(torch.device("cuda", number)) for number in (0, 1)] == [False, True]


@pytest.mark.parametrize("pretext", sorted(_registry))
def test_every_pretext_learns_on_a_gpu(workspace, gpu, pretext):
    assert of_state(pretrained(workspace, "r", pretext=pretext)) == (1, "cuda", True)


@pytest.mark.parametrize(
    "values",
    [
        {"start": "general", "remapped": 0.5},
        {**IN_3D, "precision": "float32"},
        {"network": {"norm": "batch"}},
    ],
    ids=["general", "3D", "batch norms"],
)
def test_labels_and_generated_shapes_are_learned_on_a_gpu(workspace, gpu, values):
    run = pretrained(workspace, "r", with_labels=True, generated=0.5, **values)
    assert of_state(run)[:2] == (1, "cuda")


def test_a_step_waits_for_the_gpu_no_more_than_it_must(workspace, gpu):
    waits = [gpu.waits]
    for steps in (2, 4):
        pretrained(workspace, f"of {steps}", steps)
        waits.append(gpu.waits)
    first, second = np.diff(waits)
    # For whether windows are mirrored across slices (each view), for the losses, and for the gradient's norm.
    assert second - first == 2 * 4


def test_a_run_goes_on_on_another_device(workspace):
    steps = iter((1, 2, 3))
    for device in (pretended, None, pretended):
        if device is None:
            run = pretrained(workspace, "p", next(steps), device="cpu")
            assert of_state(run)[:2] == (2, "cpu")
        else:
            with device():
                run = pretrained(workspace, "p", next(steps))
    assert of_state(run)[:2] == (3, "cuda")
    with pretended():
        finetuned(workspace, "f", 1)
    assert of_state(finetuned(workspace, "f", 2, device="cpu"))[:2] == (2, "cpu")
    with pretended():
        assert of_state(finetuned(workspace, "f", 3))[:2] == (3, "cuda")


def test_a_fine_tuning_on_a_gpu_is_validated_predicts_and_teaches(workspace, gpu, tmp_path):
    general = finetuned(workspace, "general-start", start="general", mirror=True, planes="all")
    assert general.read_result().validation_dice is not None
    taught = finetuned(workspace, "taught", teacher=str(general.path))
    for number, run in enumerate((general, taught)):
        many = {"flips": True, "uncertainty": True, "probabilities": True} if number == 0 else {"fast": True}
        config = {
            "inputs": [scan_of(workspace)],
            "model": run.path,
            "output": tmp_path / f"{number}",
            "threads": 1,
            **many,
        }
        [output] = predict(PredictConfig.checked(config)).result.outputs
        assert output.label_map.exists()
    config = {"workspace": workspace, "task": case_of(workspace)[0], "model": "taught", "threads": 1}
    assert suggest(SuggestConfig.checked(config)).result.suggestions


def test_a_3d_network_is_fine_tuned_and_predicts_on_a_gpu(workspace, gpu, tmp_path):
    run = finetuned(workspace, "f", 1, precision="float32", **IN_3D)
    config = {"inputs": [scan_of(workspace)], "model": run.path, "output": tmp_path / "out", "threads": 1}
    assert predict(PredictConfig.checked(config)).result.outputs


def test_slices_are_learned_on_a_gpu(workspace, gpu):
    run = pretrained(workspace, "p")
    volume = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(6, 24, 24)).astype(np.float32))
    labels = np.zeros((6, 24, 24), np.uint8)
    labels[1:5, 6:16, 6:16] = 1
    annotation = sitk.GetImageFromArray(labels)
    made = gpu.made
    session = InteractiveSession(volume, load_model(run.path), chosen_device("auto"))
    assert session.learn(annotation, [Plane(0, 1), Plane(0, 4)]).labels.any() and gpu.made > made


def test_memory_of_a_gpu_is_given_back_when_nothing_waits(gpu, monkeypatch):
    """The worker stays as long as the editor does, and a training in another process needs it."""
    freed: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(True))

    def lines() -> Iterator[str]:
        yield '{"id": 1, "command": "close"}'
        until = time.monotonic() + 10
        while not freed and time.monotonic() < until:
            time.sleep(0.01)

    serve(lines(), lambda event: None)
    assert freed


def told(events: list) -> list[str]:
    return [e.text for e in events if isinstance(e, Message) and e.text.startswith("Out of memory")]


def test_what_does_not_fit_on_a_gpu_goes_on_in_smaller_batches_and_at_last_on_the_cpu(workspace, gpu):
    gpu.most_bytes = 2e6
    events: list = []
    run = pretrained(workspace, "smaller", 1, events.append, batch_size=16)
    assert of_state(run)[1] == "cuda" and told(events)[-1].startswith("Out of memory; going on with batches of")
    gpu.most_bytes = 1e5
    run = pretrained(workspace, "nothing", 1, events.append, batch_size=2)
    assert of_state(run)[1] == "cpu" and told(events)[-1] == "Out of memory; going on on the CPU"


def test_a_validation_that_does_not_fit_takes_fewer_slices_and_the_training_keeps_its_batch(
    workspace, gpu, monkeypatch
):
    """It looked like a training that does not fit, which began anew with half its batch each time, and ended on the CPU."""
    compute, sizes = Segmenter._softmax, []

    def limited(self: Segmenter, images: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cuda" and len(images) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        sizes.append(len(images))
        return compute(self, images)

    monkeypatch.setattr(Segmenter, "_softmax", limited)
    events: list = []
    run = finetuned(workspace, "f", on_event=events.append)
    assert of_state(run)[:2] == (2, "cuda") and not told(events) and max(sizes) <= 3
    config = {"workspace": workspace, "task": case_of(workspace)[0], "model": "f", "threads": 1}
    assert suggest(SuggestConfig.checked(config)).result.suggestions


def test_a_prediction_that_goes_on_on_the_cpu_computes_as_it_does_and_the_next_one_tries_the_gpu(
    workspace, monkeypatch
):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False, raising=False)
    volume = read_volume(scan_of(workspace))
    run = finetuned(workspace, "f", 1, device="cpu")
    compute, full, seen = Segmenter._softmax, [True], []

    def limited(self: Segmenter, images: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cuda" and full[0]:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        seen.append((self.device.type, self.bf16, next(self.network.parameters()).device.type))
        return compute(self, images)

    monkeypatch.setattr(Segmenter, "_softmax", limited)
    events: list = []
    with pretended():
        segmenter = Segmenter(*load_model(run.path), chosen_device("auto"), batch_size=2)
        prediction.predict_volume(volume, segmenter, slab_megabytes=16, on_event=events.append)
        assert told(events) == ["Out of memory; going on with 1 at once", "Out of memory; going on on the CPU"]
        assert {*seen} == {("cpu", False, "cpu")}
        full[0] = False
        prediction.predict_volume(volume, segmenter)
        assert seen[-1] == ("cuda", True, "cuda")


@pytest.mark.parametrize(
    "said",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "GET was unable to find an engine to execute this computation",
        "MPS backend out of memory (MPS allocated: 8.00 GB)",
    ],
)
def test_what_libraries_say_where_memory_runs_out_is_known(said):
    assert out_of_memory(RuntimeError(said)) and not out_of_memory(ValueError(said))


def test_an_apple_gpu_is_taken_where_it_is_asked_for_and_trains(workspace):
    with pretended("mps"):
        assert chosen_device("auto").type == "cpu"
        assert of_state(pretrained(workspace, "p", device="mps", generated=0.5))[1] == "mps"
        pretrained(workspace, "c", device="mps", pretext="clustering")
        assert of_state(finetuned(workspace, "f", device="mps"))[1] == "mps"


@pytest.mark.parametrize(
    ("device", "gpus", "said"), [("auto", 2, "2 GPUs"), ("cuda", 1, "1 GPU"), ("cuda:1", 4, "all would take cuda:1")]
)
def test_more_processes_than_gpus_are_refused(monkeypatch, device, gpus, said):
    """Some would wait for the others on the CPU, and these for them on GPUs: for a day, without a word."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *a, **k: pytest.fail("would wait"))
    for name, value in {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=said), distributed.process_group(device, 1):
        pass


def test_3d_networks_learn_in_bfloat16_on_a_cpu_only_where_its_gradients_are_right(workspace, monkeypatch):
    """Those of convolutions of two slices were read from memory that nobody had written, and the norm was 10³⁵ now and then."""
    monkeypatch.setattr(devices, "_right_3d_gradients", lambda: False)
    monkeypatch.setattr(devices, "computes_bf16", lambda device: True)
    values = {"device": "cpu", "precision": "bfloat16", **IN_3D}
    with pytest.raises(ConfigurationError, match="wrong gradients"):
        pretrained(workspace, "asked-for", **values)
    run = pretrained(workspace, "chosen", **{**values, "precision": "auto"})
    assert of_state(run) == (1, "cpu", False)


def test_gradients_of_3d_networks_are_those_of_float32_where_bfloat16_is_said_to_be_right():
    if not devices.learns_in_bf16(torch.device("cpu"), 3):
        pytest.skip("not here")
    rng = torch.Generator().manual_seed(1)
    images, weight = torch.randn(2, 64, 2, 2, 2, generator=rng), torch.randn(64, 64, 3, 3, 3, generator=rng) / 40
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        leaf = weight.clone().requires_grad_()
        torch.nn.functional.conv3d(images.to(dtype), leaf.to(dtype), padding=1).float().square().sum().backward()
        found.append(leaf.grad)
    assert torch.allclose(*found, atol=0.05 * float(found[0].abs().max()))
