"""Whole jobs on a pretend GPU (see `pretend_device.py`): nothing mixes devices, and what was begun on one goes on on another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pretend_device import PretendDevice, pretended

from hssl.configuration import Budget, FinetuneConfig, PretrainConfig
from hssl.errors import ConfigurationError
from hssl.events import Message
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.learning.pretexts import pretext_named
from hssl.models import device as devices
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


def told(events: list) -> list[str]:
    return [e.text for e in events if isinstance(e, Message) and e.text.startswith("Out of memory")]


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
