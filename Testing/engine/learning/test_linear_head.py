"""The linear head in closed form: posteriors of Gaussians, batches, classes without a point, and its use in fine-tuning."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hssl.configuration import Budget, FinetuneConfig, PretrainConfig
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.learning.finetuning import FinetuneLearner
from hssl.learning.linear_head import LinearDiscriminant
from hssl.models.run_folder import RunFolder

QUICK = {"patch_size": 32, "batch_size": 4, "precision": "float32", "device": "cpu", "threads": 1}
MEANS = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]])


def points(counts: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns points of Gaussians around `MEANS` with unit covariance, as images of one row, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    found = MEANS[labels] + torch.randn(len(labels), 2, generator=generator)
    return found.T[None, :, None], labels[None, None]


def posteriors(head: tuple[torch.Tensor, torch.Tensor], at: torch.Tensor) -> torch.Tensor:
    weight, bias = head
    return (at @ weight.T + bias).softmax(1)


def test_its_softmax_is_the_posterior_of_the_classes():
    counts = (20_000, 10_000, 2_000)
    discriminant = LinearDiscriminant(3, 2)
    discriminant.add(*points(counts))
    at = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.5], [0.5, 2.0]])
    densities = torch.exp(-torch.cdist(at, MEANS).square() / 2) * torch.tensor(counts)
    expected = densities / densities.sum(1, keepdim=True)
    assert torch.allclose(posteriors(discriminant.head(0.0), at), expected, atol=0.03)


def test_balance_raises_a_small_class_as_the_loss_does():
    discriminant = LinearDiscriminant(3, 2)
    discriminant.add(*points((20_000, 10_000, 2_000)))
    at = torch.tensor([[0.0, 1.5]])
    plain, even = (posteriors(discriminant.head(balance), at)[0] for balance in (0.0, 1.0))
    assert even[2] / even[0] == pytest.approx(float(plain[2] / plain[0]) * 10, rel=0.1)


def test_batches_add_up():
    features, labels = points((500, 300, 200))
    whole, parts = LinearDiscriminant(3, 2), LinearDiscriminant(3, 2)
    whole.add(features, labels)
    for part in (slice(0, 400), slice(400, None)):
        parts.add(features[..., part], labels[..., part])
    for one, other in zip(whole.head(0.6), parts.head(0.6), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_class_without_a_point_is_the_least_likely_but_can_be_learned():
    discriminant = LinearDiscriminant(3, 2)
    features, labels = points((2_000, 1_000))
    discriminant.add(features, labels)
    weight, bias = discriminant.head(0.6)
    assert bool(weight.isfinite().all() and bias.isfinite().all())
    found = posteriors((weight, bias), features[0, :, 0].T)
    assert not bool((found.argmax(1) == 2).any()) and float(found[:, 2].min()) > 0


def test_channels_that_are_the_same_everywhere_do_no_harm():
    features, labels = points((500, 300, 200))
    discriminant = LinearDiscriminant(3, 4)
    discriminant.add(torch.cat([features, torch.zeros_like(features)], 1), labels)
    found = posteriors(discriminant.head(0.0), torch.cat([MEANS, torch.zeros(3, 2)], 1))
    assert found.argmax(1).tolist() == [0, 1, 2]


def pretraining(workspace, steps: int, **more) -> None:
    values = {"workspace": workspace, "run": "pre", "budget": Budget(steps=steps), **QUICK, **more}
    pretrain(PretrainConfig.checked(values))


def finetuning(workspace, run: str, **more) -> FinetuneConfig:
    values = {"workspace": workspace, "task": "brain_mr", "run": run, "budget": Budget(steps=1), **QUICK, **more}
    return FinetuneConfig.checked(values)


def first_loss(workspace, run: str, **more) -> float:
    """Returns the cross-entropy of the first step: of the network as it begins."""
    seen = []

    def look(learner, fraction):
        with torch.no_grad():
            seen.append(learner.module(learner.prepared(learner.read(0, 0, 1))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FinetuneLearner, "after_step", look)
        finetune(finetuning(workspace, run, learning_rate=1e-12, **more))
    return float(seen[0]["cross_entropy"])


@pytest.mark.parametrize("start", ["scratch", "pre"])
@pytest.mark.parametrize("network", [{}, {"spatial_dims": 3, "in_slices": 1}])
def test_every_head_begins_with_it(workspace, monkeypatch, network, start):
    if start == "pre":
        pretraining(workspace, 3, network=network)
    more = {"start": start, "network": network}
    calls = []
    head = LinearDiscriminant.head
    monkeypatch.setattr(LinearDiscriminant, "head", lambda self, balance: calls.append(1) or head(self, balance))
    closed = first_loss(workspace, "closed", **more)
    assert len(calls) == 3  # the output and two coarser levels
    monkeypatch.setattr(FinetuneLearner, "begin", lambda self, bf16: None)
    assert closed < 0.8 * first_loss(workspace, "random", **more)


def test_the_averaged_network_begins_with_it_too(workspace):
    pretraining(workspace, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FinetuneLearner, "after_step", lambda learner, fraction: None)
        done = finetune(finetuning(workspace, "fine", start="pre", learning_rate=1e-12))
    content = RunFolder(done.result.run).load_checkpoint()
    for name in ("output_block.conv.conv.weight", "output_block.conv.conv.bias"):
        np.testing.assert_allclose(content["network"][name], content["module"][f"network.{name}"], atol=1e-6)


def test_it_is_computed_once_and_a_resumed_run_goes_on_exactly(workspace, monkeypatch):
    pretraining(workspace, 3)
    begun, steps = [], []
    begin, after_step = FinetuneLearner.begin, FinetuneLearner.after_step
    monkeypatch.setattr(FinetuneLearner, "begin", lambda self, bf16: begun.append(1) or begin(self, bf16))
    monkeypatch.setattr(FinetuneLearner, "after_step", lambda self, f: steps.append(1) or after_step(self, f))
    more = {"start": "pre", "budget": Budget(steps=8)}
    whole = finetune(finetuning(workspace, "whole", **more))
    assert finetune(finetuning(workspace, "parts", **more), stop=lambda: len(steps) >= 8 + 3).stopped
    second = finetune(finetuning(workspace, "parts", **more))
    assert len(steps) == 16
    assert begun == [1, 1]
    one, other = (RunFolder(done.result.run).load_checkpoint()["network"] for done in (whole, second))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_features_are_found_under_autocast_and_summed_without(workspace, monkeypatch):
    seen = []
    add = LinearDiscriminant.add

    def look(self, features, labels):
        seen.append((features.dtype, torch.is_autocast_enabled("cpu")))
        add(self, features, labels)

    monkeypatch.setattr(LinearDiscriminant, "add", look)
    finetune(finetuning(workspace, "cast", precision="bfloat16"))
    assert set(seen) == {(torch.bfloat16, False)}


def test_features_that_never_vary_give_a_finite_head():
    discriminant = LinearDiscriminant(2, 3)
    discriminant.add(torch.zeros(1, 3, 4, 4), torch.arange(16).view(1, 4, 4) % 2)
    assert all(bool(part.isfinite().all()) for part in discriminant.head(0.6))
