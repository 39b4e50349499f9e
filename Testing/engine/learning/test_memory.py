"""Out of memory: jobs go on with less, say so, and finish. What GPUs have to do with it is in `engine/test_on_a_gpu.py`."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from hssl.configuration import Budget, FinetuneConfig, PretrainConfig
from hssl.errors import MemoryExhaustedError
from hssl.events import Message
from hssl.imaging.volumes import read_volume
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.learning.finetuning import FinetuneLearner, Read
from hssl.learning.pretraining import PretrainLearner
from hssl.models.inference import Segmenter
from hssl.models.model_file import load_model
from hssl.models.prediction import predict_volume
from hssl.workspace.catalogue import Catalogue

QUICK = {"patch_size": 32, "batch_size": 8, "precision": "float32", "device": "cpu", "threads": 1}


def told(events: list) -> list[str]:
    return [e.text for e in events if isinstance(e, Message) and e.text.startswith("Out of memory")]


def fitting(monkeypatch: pytest.MonkeyPatch, learner: type, most: int) -> None:
    """Lets a learner have memory for batches of `most` windows only."""
    prepared = learner.prepared

    def limited(self, batch):
        windows = batch.labelled if isinstance(batch, Read) else batch
        if len(windows.images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return prepared(self, batch)

    monkeypatch.setattr(learner, "prepared", limited)


def test_pretraining_goes_on_with_smaller_batches(workspace, monkeypatch):
    fitting(monkeypatch, PretrainLearner, 2)
    events: list = []
    done = pretrain(PretrainConfig(workspace=workspace, run="r", budget=Budget(steps=2), **QUICK), events.append)
    assert done.result.steps == 2 and not done.stopped
    assert told(events) == [f"Out of memory; going on with batches of {size}" for size in (4, 2)]


def test_fine_tuning_goes_on_with_smaller_batches(workspace, monkeypatch):
    fitting(monkeypatch, FinetuneLearner, 4)
    events: list = []
    task = Catalogue.load(workspace).tasks[0].name
    done = finetune(
        FinetuneConfig(workspace=workspace, task=task, run="r", budget=Budget(steps=2), **QUICK), events.append
    )
    assert done.result.steps == 2 and not done.stopped
    assert told(events) == ["Out of memory; going on with batches of 4"]


def test_what_did_not_fit_is_gone_before_the_next_try(workspace, monkeypatch):
    begin, alive, made = PretrainLearner.__init__, [], []

    def seen(self, *arguments):
        alive.append([weight() is not None for weight in made])
        begin(self, *arguments)
        made.append(weakref.ref(next(self.module.parameters())))

    monkeypatch.setattr(PretrainLearner, "__init__", seen)
    fitting(monkeypatch, PretrainLearner, 2)
    gc.collect()
    gc.disable()
    try:
        pretrain(PretrainConfig(workspace=workspace, run="r", budget=Budget(steps=1), **QUICK))
    finally:
        gc.enable()
    assert alive == [[], [False], [False, False]]


def test_memory_that_runs_out_later_costs_no_step(workspace, monkeypatch):
    config = {"workspace": workspace, "run": "r", **QUICK}
    pretrain(PretrainConfig(budget=Budget(steps=3), **config))
    fitting(monkeypatch, PretrainLearner, 4)
    events: list = []
    done = pretrain(PretrainConfig(budget=Budget(steps=6), **config), events.append)
    assert done.result.steps == 6 and len(told(events)) == 1
    assert [e.text for e in events if isinstance(e, Message) and "Resumed" in e.text][-1] == "Resumed after step 3"


def test_what_does_not_fit_at_all_is_an_error_with_advice(workspace, monkeypatch):
    fitting(monkeypatch, PretrainLearner, 0)
    with pytest.raises(MemoryExhaustedError, match="not even") as caught:
        pretrain(PretrainConfig(workspace=workspace, run="r", budget=Budget(steps=2), **QUICK))
    assert "smaller" in caught.value.hint


@pytest.fixture
def volume_and_segmenter(workspace: Path) -> tuple[sitk.Image, Segmenter]:
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0].name
    done = finetune(FinetuneConfig(workspace=workspace, task=task, run="m", budget=Budget(steps=1), **QUICK))
    volume = read_volume(catalogue.image_path(catalogue.usable(task)[0]))
    return volume, Segmenter(*load_model(done.result.run), torch.device("cpu"), batch_size=4)


def test_prediction_goes_on_with_fewer_slices_and_thinner_slabs(volume_and_segmenter, monkeypatch):
    volume, segmenter = volume_and_segmenter
    segmenter.bf16 = False
    whole = predict_volume(volume, segmenter)
    compute, failures = Segmenter.probabilities, iter([True] * 4)

    def limited(self, *arguments):
        if next(failures, False):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
        return compute(self, *arguments)

    monkeypatch.setattr(Segmenter, "probabilities", limited)
    events: list = []
    result = predict_volume(volume, segmenter, slab_megabytes=64, on_event=events.append)
    assert told(events) == [
        "Out of memory; going on with 2 at once", "Out of memory; going on with 1 at once",
        "Out of memory; going on with slabs of 32 MB", "Out of memory; going on with slabs of 16 MB",
    ]  # fmt: skip
    found, expected = (sitk.GetArrayFromImage(p.label_map) for p in (result, whole))
    assert (found != expected).mean() < 1e-3


def test_prediction_that_fits_nowhere_is_an_error(volume_and_segmenter, monkeypatch):
    volume, segmenter = volume_and_segmenter

    def never_fits(self, *arguments):
        raise MemoryError

    monkeypatch.setattr(Segmenter, "probabilities", never_fits)
    with pytest.raises(MemoryExhaustedError, match="does not fit"):
        predict_volume(volume, segmenter, slab_megabytes=16)


def test_other_errors_are_not_taken_for_a_lack_of_memory(volume_and_segmenter, monkeypatch):
    volume, segmenter = volume_and_segmenter
    monkeypatch.setattr(Segmenter, "probabilities", lambda self, *a: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        predict_volume(volume, segmenter)


def test_slices_at_once_shrink_with_their_size_on_a_cpu(volume_and_segmenter):
    _, chosen = volume_and_segmenter
    free = Segmenter(chosen.description, chosen.network.state_dict(), torch.device("cpu"))
    assert [free.slices_at_once((n, n)) for n in (64, 256, 512, 2048)] == [8, 8, 2, 1]
    assert chosen.slices_at_once((2048, 2048)) == 4  # what a user asks for is not changed
    array = np.zeros((5, 40, 48), np.float16)
    assert free.probabilities(array, 0.0, 1, 4).shape[1:] == (3, 40, 48)
