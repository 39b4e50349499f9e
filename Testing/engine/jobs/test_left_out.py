"""Cases that turn out to be unusable are told as such, and a training with none left ends with an error that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from hssl.configuration import Budget, FinetuneConfig, PretrainConfig
from hssl.errors import ConfigurationError
from hssl.events import Message
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.workspace.catalogue import Catalogue


def recipe(workspace: Path, task: str) -> FinetuneConfig:
    return FinetuneConfig(
        workspace=workspace, task=task, budget=Budget(steps=1), patch_size=32, batch_size=2, precision="float32",
        device="cpu", threads=1, planes="one",
    )  # fmt: skip


def test_when_no_label_can_be_read_the_error_says_so(workspace):
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0].name
    labelled = catalogue.usable(task, labelled=True)
    for image in labelled:
        catalogue.label_path(image).write_bytes(b"no label map")
    seen: list = []
    with pytest.raises(
        ConfigurationError, match=f"none of the {len(labelled)} labelled cases .* can be used"
    ) as caught:
        finetune(recipe(workspace, task), seen.append)
    assert caught.value.way_out == "check" and labelled[0].id in str(caught.value)
    warnings = [e.text for e in seen if isinstance(e, Message) and e.level == "warning"]
    assert sum(text.endswith("left out") for text in warnings) == len(labelled)


def test_the_result_lists_what_was_trained_on_and_what_was_left_out(workspace):
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0].name
    first, *others = catalogue.usable(task, labelled=True)
    catalogue.label_path(first).write_bytes(b"no label map")
    result = finetune(recipe(workspace, task)).result
    assert result.left_out == [first.id]
    assert sorted(result.cases) == sorted(i.id for i in others)


def test_a_run_of_a_task_that_was_renamed_goes_on_with_its_images(workspace):
    config = recipe(workspace, Catalogue.load(workspace).tasks[0].name)
    before = sorted(i.id for i in Catalogue.load(workspace).usable(config.task, labelled=True))
    few = PretrainConfig(workspace=workspace, budget=Budget(steps=1), patch_size=32, device="cpu", tasks=[config.task])
    begun = config.model_copy(update={"run": "begun"})
    finetune(begun)
    pretrain(few.model_copy(update={"run": "pre"}))
    with Catalogue.editing(workspace) as catalogue:
        catalogue.rename_task(config.task, "another name")
    more = {"budget": Budget(steps=2)}
    assert finetune(begun.model_copy(update={**more, "task": "another name"})).result.steps == 2
    assert pretrain(few.model_copy(update={**more, "run": "pre", "tasks": ["another name"]})).result.steps == 2
    assert sorted(i.id for i in Catalogue.load(workspace).usable(config.task, labelled=True)) == before
    assert sorted(finetune(config).result.cases) == before
    assert pretrain(few).result.steps == 1


def test_when_no_image_can_be_read_pretraining_says_so(workspace):
    catalogue = Catalogue.load(workspace)
    for image in catalogue.images:
        catalogue.image_path(image).write_bytes(b"no volume")
    config = PretrainConfig(workspace=workspace, budget=Budget(steps=1), patch_size=32, device="cpu", threads=1)
    with pytest.raises(ConfigurationError, match=r"no usable image|can be read"):
        pretrain(config)


def test_a_patient_who_is_left_out_and_validated_on_with_another_image_is_told(workspace):
    task = Catalogue.load(workspace).tasks[0].name
    with Catalogue.editing(workspace) as catalogue:
        one, other, third = catalogue.usable(task, labelled=True)
        catalogue.set_patient([one.id, other.id], "p")
    seen: list = []
    named = {"cases": [third.id], "validation": [one.id], "exclude": [other.id]}
    finetune(recipe(workspace, task).model_copy(update=named), seen.append)
    assert any(f"The patients of the cases {one.id} are among" in e.text for e in seen if isinstance(e, Message))
