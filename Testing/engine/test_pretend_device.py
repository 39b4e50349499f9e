"""The pretend GPU refuses what a GPU refuses, and lets through what one lets through."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from pretend_device import PretendDevice, pretended
from torch import nn


@pytest.fixture
def gpu() -> Iterator[PretendDevice]:
    with pretended() as device:
        yield device


MIXED = {
    "a sum": lambda here, there: here + there,
    "a sum the other way round": lambda here, there: there * here,
    "a sum in place on the CPU": lambda here, there: there.add_(here),
    "joining": lambda here, there: torch.cat([here, there]),
    "joining scalars": lambda here, there: torch.stack([here.sum(), there.sum()]),
    "a choice": lambda here, there: torch.where(there > 0, here, 0.0),
    "a layer": lambda here, there: nn.Linear(3, 2)(here),
    "weights of a loss": lambda here, there: nn.functional.cross_entropy(here, here.argmax(1), there[0]),
    "an index of the GPU on the CPU": lambda here, there: there[here[0].long()],
    "an index where CUDA wants its own": lambda here, there: here.index_select(0, torch.tensor([0])),
    "values behind an index": lambda here, there: here.__setitem__(torch.tensor([0]), there[:1]),
    "many at once": lambda here, there: torch._foreach_add_([here], [there]),
    "what was brought back": lambda here, there: here.cpu() - here,
}


@pytest.mark.parametrize("name", MIXED)
def test_the_pretend_device_refuses_tensors_of_two_devices(gpu, name):
    with pytest.raises(RuntimeError, match=r"same device|either on cpu"):
        MIXED[name](torch.ones(2, 3, device="cuda"), torch.ones(2, 3))


def test_the_pretend_device_gives_numpy_nothing_and_takes_no_generator_of_the_cpu(gpu):
    images = torch.ones(2, 3, device=gpu.device)
    for read in (images.numpy, images[0].detach().numpy, lambda: np.asarray(images)):
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            read()
    with pytest.raises(RuntimeError, match="generator"):
        torch.randperm(3, generator=torch.Generator(), device="cuda")
    assert images.cpu().numpy().shape == (2, 3)


def test_the_pretend_device_takes_what_cuda_takes(gpu):
    images = torch.from_numpy(np.ones((2, 3), np.float32)).to("cuda", non_blocking=True)
    places = {
        "a scalar of the CPU": images + torch.tensor(1.0), "an index of the CPU": images[torch.tensor([0])],
        "a view": images[:1].flatten(), "a type": images.to(torch.float64), "the same": images.new_zeros(2),
    }  # fmt: skip
    assert {name: str(t.device) for name, t in places.items()} == dict.fromkeys(places, "cuda:0")
    images[0] = torch.zeros(3)
    assert images.tolist() == [[0, 0, 0], [1, 1, 1]] and str(torch.zeros(2).copy_(images[1, :2]).device) == "cpu"
    source = np.ones(3, np.float32)
    there = torch.from_numpy(source).to(gpu.device)
    source[:] = 7
    assert there.sum() == 3  # memory of its own


def test_a_network_learns_on_the_pretend_device_in_its_precision(gpu):
    layer = nn.Linear(3, 2).to("cuda")
    optimizer = torch.optim.AdamW(layer.parameters(), foreach=True)
    with torch.autocast("cuda", torch.bfloat16):
        output = layer(torch.ones(4, 3, device="cuda"))
    assert output.dtype == torch.bfloat16
    output.float().square().sum().backward()
    assert layer.weight.grad.is_cuda and nn.utils.clip_grad_norm_(layer.parameters(), 1.0).is_cuda
    optimizer.step()
    assert {str(t.device) for t in optimizer.state[layer.weight].values()} == {
        "cpu",
        "cuda:0",
    }  # steps are counted on the CPU
    assert str(layer.to("cpu").weight.device) == "cpu"


def test_what_the_pretend_device_saves_says_where_it_lay():
    file = io.BytesIO()
    with pretended():
        torch.save({"weights": torch.ones(2, device="cuda")}, file)
        file.seek(0)
        assert torch.load(file, weights_only=True)["weights"].is_cuda
    file.seek(0)
    with pytest.raises(RuntimeError, match="deserialize object on a CUDA device"):
        torch.load(file, weights_only=True)
    file.seek(0)
    assert torch.load(file, weights_only=True, map_location="cpu")["weights"].tolist() == [1, 1]


def test_the_pretend_device_counts_waits_and_has_an_end(gpu):
    images = torch.ones(4, 4, device="cuda")
    images.sum().add(1).sqrt()
    assert not gpu.waits
    images[images > 0], images.sum().item(), bool(images.any()), images.cpu()
    assert gpu.waits == 4
    gpu.most_bytes = 100
    with pytest.raises(torch.cuda.OutOfMemoryError):
        torch.cat([images, images])


def test_a_pretend_apple_gpu_knows_no_float64_and_no_lists_of_tensors():
    with pretended("mps"):
        images = torch.ones(2, device="mps", requires_grad=True)
        with pytest.raises(TypeError, match="float64"):
            images.double()
        images.sum().backward()
        with pytest.raises(RuntimeError, match="foreach"):
            nn.utils.clip_grad_norm_([images], 1.0, foreach=True)
        assert nn.utils.clip_grad_norm_([images], 1.0) > 0
    assert not hasattr(torch.ones(2).untyped_storage(), "pretended")
