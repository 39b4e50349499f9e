"""Degenerate data: each works or says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.configuration import Budget, FinetuneConfig, PredictConfig, PretrainConfig
from hssl.errors import ConfigurationError
from hssl.events import Message
from hssl.jobs.finetune import finetune
from hssl.jobs.predict import predict
from hssl.jobs.pretrain import pretrain
from hssl.workspace.catalogue import Catalogue, Image, LabelClass, Task

QUICK = {"patch_size": 32, "precision": "float32", "device": "cpu", "threads": 1, "budget": Budget(steps=3)}


def volume(size: tuple[int, int, int], seed: int = 0, constant: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    array = rng.normal(0, 1, size).astype(np.float32)
    array[:, 8:20, 8:20] += 5
    return np.full_like(array, 7) if constant else array


def make(folder: Path, arrays: dict[str, list[np.ndarray]], labels: bool = True) -> Path:
    """Makes a workspace with a task for each name; the square is labelled 1, and class 2 is nowhere."""
    catalogue = Catalogue.create(folder)
    for name, many in arrays.items():
        catalogue.set_task(
            Task(name=name, classes=[LabelClass(value=1, name="square"), LabelClass(value=2, name="nowhere")])
        )
        for number, array in enumerate(many):
            image, label = folder / f"{name}{number}.nii.gz", folder / f"{name}{number}-label.nii.gz"
            sitk.WriteImage(sitk.GetImageFromArray(array), str(image))
            mask = np.zeros(array.shape, np.uint8)
            mask[:, 8:20, 8:20] = 1
            sitk.WriteImage(sitk.GetImageFromArray(mask), str(label))
            catalogue.add_images(
                [
                    Image(
                        id=f"{name}{number}", task=name, image=catalogue.relative(image),
                        label=catalogue.relative(label) if labels else None,
                    )
                ]
            )  # fmt: skip
    catalogue.save()
    return folder


def test_a_task_with_one_image_pretrains_with_a_batch_of_one(tmp_path):
    workspace = make(tmp_path / "w", {"a": [volume((6, 30, 30))]})
    done = pretrain(PretrainConfig(workspace=workspace, batch_size=1, **QUICK | {"budget": Budget(steps=5)}))
    # With one task and one group there is nothing to tell apart.
    assert set(done.result.losses) == {"image", "reconstruction", "dense", "position", "total"}


def test_one_slice_is_a_volume_too(tmp_path):
    workspace = make(tmp_path / "w", {"a": [volume((1, 30, 30), s) for s in (0, 1)]})
    assert pretrain(PretrainConfig(workspace=workspace, run="p", batch_size=2, **QUICK)).result.steps == 3
    done = finetune(FinetuneConfig(workspace=workspace, task="a", start="p", case_count=1, batch_size=1, **QUICK))
    predict(PredictConfig(model=done.result.run, inputs=[workspace / "a1.nii.gz"], output=tmp_path / "out"))
    assert sitk.ReadImage(str(tmp_path / "out" / "a1.nii.gz")).GetSize() == (30, 30, 1)


def test_a_constant_image_is_left_out_with_the_reason(tmp_path):
    workspace = make(tmp_path / "w", {"a": [volume((6, 30, 30)), volume((6, 30, 30), constant=True)]})
    seen: list = []
    pretrain(PretrainConfig(workspace=workspace, batch_size=2, **QUICK), seen.append)
    texts = [m.text for m in seen if isinstance(m, Message) and m.level == "warning"]
    assert any("a1.nii.gz" in t and "left out" in t for t in texts)


def test_only_constant_images_say_that_nothing_is_left(tmp_path):
    workspace = make(tmp_path / "w", {"a": [volume((6, 30, 30), constant=True)]})
    with pytest.raises(ConfigurationError, match="no usable image"):
        pretrain(PretrainConfig(workspace=workspace, batch_size=2, **QUICK))


def test_a_class_that_no_label_holds_is_told_and_never_predicted(tmp_path):
    workspace = make(tmp_path / "w", {"a": [volume((6, 30, 30), s) for s in (0, 1)]})
    seen: list = []
    config = FinetuneConfig(
        workspace=workspace, task="a", case_count=1, batch_size=2, **QUICK | {"budget": Budget(steps=40)}
    )
    done = finetune(config, seen.append)
    assert any("holds nowhere" in m.text for m in seen if isinstance(m, Message))
    predict(PredictConfig(model=done.result.run, inputs=[workspace / "a1.nii.gz"], output=tmp_path / "out"))
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "a1.nii.gz")))
    assert (labels == 2).mean() < 0.05


def test_a_task_without_any_label_says_so(tmp_path):
    workspace = make(tmp_path / "w", {"a": [volume((6, 30, 30))]}, labels=False)
    with pytest.raises(ConfigurationError, match="no labelled image"):
        finetune(FinetuneConfig(workspace=workspace, task="a", **QUICK))
    empty = make(tmp_path / "e", {})
    with pytest.raises(ConfigurationError, match="no usable image"):
        pretrain(PretrainConfig(workspace=empty, **QUICK))


def test_a_huge_spread_of_values_stays_finite(tmp_path):
    array = volume((6, 30, 30)).astype(np.float64) * 1e30
    array[0, 0, 0] = 1e38
    workspace = make(tmp_path / "w", {"a": [array.astype(np.float32), volume((6, 30, 30), 1)]})
    assert pretrain(PretrainConfig(workspace=workspace, batch_size=2, **QUICK)).result.steps == 3
