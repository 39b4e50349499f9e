"""Each loss against a value computed by hand, and its gradients' directions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hssl.learning.augmentation import PRETRAINING, draw_warp, generators
from hssl.learning.losses.contrast import info_nce
from hssl.learning.losses.dense import corresponding_points, dense_loss, points_of, sampled
from hssl.learning.losses.group import group_loss
from hssl.learning.losses.image import image_loss
from hssl.learning.losses.position import points_in_volume, position_loss
from hssl.learning.losses.reconstruction import masked, reconstruction_loss
from hssl.learning.losses.task import task_loss


def reference_nt_xent(a, b, temperature, ignored=None):
    """NT-Xent as in the SimCLR paper, by loops."""
    vectors = F.normalize(torch.cat([a, b]).double(), dim=1).numpy()
    n, total = len(a), 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        terms = [
            math.exp(vectors[i] @ vectors[j] / temperature)
            for j in range(2 * n)
            if j != i and (j == partner or ignored is None or not ignored[i % n][j % n])
        ]
        total -= math.log(math.exp(vectors[i] @ vectors[partner] / temperature) / sum(terms))
    return total / (2 * n)


def test_the_contrast_is_that_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(6, 5, generator=generator), torch.randn(6, 5, generator=generator)
    assert info_nce(a, b, 0.3).item() == pytest.approx(reference_nt_xent(a, b, 0.3), rel=1e-5)


def test_windows_of_one_volume_are_neither_attracted_nor_repelled():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(5, 4, generator=generator), torch.randn(5, 4, generator=generator)
    volumes = torch.tensor([0, 1, 0, 2, 2])
    same = (volumes[:, None] == volumes[None]).tolist()
    assert image_loss(a, b, volumes, 0.2).item() == pytest.approx(reference_nt_xent(a, b, 0.2, same), rel=1e-5)
    alone = torch.zeros(5, dtype=torch.long)
    assert image_loss(a, b, alone, 0.2).item() == pytest.approx(0, abs=1e-6)


def test_the_contrast_refuses_sets_of_different_size():
    with pytest.raises(ValueError, match="of one shape"):
        info_nce(torch.ones(3, 2), torch.ones(4, 2), 0.1)


def test_task_and_group_losses_are_cross_entropies_of_the_right_classes():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    tasks = torch.tensor([0, 2])
    expected = -torch.log_softmax(logits, 1)[[0, 1], [0, 2]].mean()
    assert torch.isclose(task_loss(logits, tasks), expected)
    group_of_task = torch.tensor([1, 1, 0])
    groups = logits[:, :2]
    expected = -torch.log_softmax(groups, 1)[[0, 1], [1, 0]].mean()
    assert torch.isclose(group_loss(groups, tasks, group_of_task), expected)


def test_reconstruction_is_the_mean_squared_error_in_shares_of_the_range():
    clean = torch.rand(2, 1, 4, 4) * torch.tensor([10.0, 1000.0]).reshape(2, 1, 1, 1)
    low, high = clean.amin((1, 2, 3), keepdim=True), clean.amax((1, 2, 3), keepdim=True)
    assert reconstruction_loss((clean - low) / (high - low) + 0.3, clean).item() == pytest.approx(0.09, rel=1e-3)
    assert torch.isfinite(reconstruction_loss(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 7.0)))
    with pytest.raises(ValueError, match="differ in shape"):
        reconstruction_loss(clean, clean[:1])


def test_masking_hides_about_its_share_and_nothing_else():
    images = torch.randn(64, 2, 32, 32)
    rngs = [np.random.default_rng(i) for i in range(64)]
    hidden = masked(images, rngs, 0.4)
    changed = (hidden != images).all(1)
    assert 0.3 < changed.float().mean() < 0.5
    assert torch.equal(hidden[~changed[:, None].expand_as(hidden)], images[~changed[:, None].expand_as(images)])


@pytest.mark.parametrize(("images", "points"), [(1, 48), (16, 48), (64, 16), (256, 8), (1000, 8)])
def test_large_batches_have_fewer_points_an_image(images, points):
    assert points_of(images) == points


@pytest.mark.parametrize("dims", [2, 3])
def test_corresponding_points_show_the_same_place_in_both_views(dims):
    size, patch = (60, 50, 40)[:dims], (48, 32, 32)[:dims]
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in size], indexing="ij")
    # Each channel holds a coordinate of the window, so sampled values tell the place.
    windows = torch.stack([*axes, torch.ones(size)])[None].repeat(5, 1, *[1] * dims)
    warps = [draw_warp(generators(0, np.arange(5), v), size, patch, PRETRAINING, torch.device("cpu")) for v in (0, 1)]
    views = [warp(windows) for warp in warps]
    first, second = corresponding_points(*warps, views[0], generators(0, np.arange(5), 2), 30)
    there, here = sampled(views[0], first), sampled(views[1], second)
    inside = (second.abs() < 0.95).all(2) & (there[..., :dims].abs() < 0.95).all(2)
    assert inside.float().mean() > 0.5
    assert (there - here)[inside].abs().max() < 0.06


@pytest.mark.parametrize("dims", [2, 3])
def test_places_are_exact_under_autocast(dims):
    """bf16 knows places to a 256th: a third of a pixel in patches of 128."""
    size, patch = (60, 50, 40)[:dims], (48, 32, 32)[:dims]
    warps = [draw_warp(generators(0, np.arange(3), v), size, patch, PRETRAINING, torch.device("cpu")) for v in (0, 1)]
    images = torch.randn(3, 2, *patch, generator=torch.Generator().manual_seed(0))
    where = torch.full((3, 3), 0.5)

    def found(bf16: bool) -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            first, second = corresponding_points(*warps, images, generators(0, np.arange(3), 2), 9)
            return [first, second, points_in_volume(warps[0], first, where, where), sampled(images.bfloat16(), first)]

    for one, other in zip(found(True), found(False), strict=True):
        assert torch.equal(one, other)
    exact = sampled(images.bfloat16().float(), found(False)[0])
    assert torch.allclose(found(True)[3], exact, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_corresponding_points_lie_on_the_body_where_both_views_show_enough_of_it(dims):
    size = (60, 50, 40)[:dims]
    windows = torch.zeros(5, 1, *size)
    windows[:, :, :, 20:] = 800 + 200 * torch.rand(5, 1, *windows[:, :, :, 20:].shape[2:])
    warps = [draw_warp(generators(0, np.arange(5), v), size, size, PRETRAINING, torch.device("cpu")) for v in (0, 1)]
    views = [warp(windows - 1000) for warp in warps]
    first, second = corresponding_points(*warps, views[0], generators(0, np.arange(5), 2), 10)
    low, high = (getattr(views[0], which)(tuple(range(1, dims + 2))) for which in ("amin", "amax"))
    values = sampled(views[0], first)[..., 0]
    both = (second.abs() <= 0.97).all(2)
    assert both.float().mean() > 0.9
    assert (values > (low + 0.1 * (high - low))[:, None])[both].all()


def test_dense_contrast_falls_when_the_same_places_look_alike():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(3, 7, 8, generator=generator)
    assert dense_loss(a, a.clone(), 0.1) < 0.2 < 2 < dense_loss(a, a.roll(1, 1), 0.1)


@pytest.mark.parametrize("patch", [(32, 48), (16, 32, 32)])
def test_a_points_place_is_where_its_window_was_cut_from_the_volume(patch):
    """A volume whose voxels hold their own coordinates tells where each point of a warped view really lies."""
    size, dims = (20, 60, 80), len(patch)
    window = tuple(int(1.2 * p) for p in patch)
    start = [3, 5, 7] if dims == 3 else [6, 5, 7]
    extent = [1, *window] if dims == 2 else list(window)
    axes = [(np.arange(s, s + n) + 0.5) / length * 2 - 1 for s, n, length in zip(start, extent, size, strict=True)]
    coordinates = np.stack(np.meshgrid(*axes, indexing="ij")[::-1]).astype(np.float32)
    windows = torch.from_numpy(coordinates if dims == 3 else coordinates[:, 0])[None]
    rngs = [np.random.default_rng(3)]
    warp = draw_warp(rngs, window, patch, PRETRAINING, torch.device("cpu"))
    points = torch.rand(1, 50, dims, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.6
    expected = sampled(warp(windows), points)
    centres = torch.tensor([[(s + n / 2) / length for s, n, length in zip(start, extent, size, strict=True)]])
    extents = torch.tensor([[n / length for n, length in zip(extent, size, strict=True)]])
    found = points_in_volume(warp, points, centres, extents)
    assert torch.allclose(found[..., :dims], expected[..., :dims], atol=0.02)
    if dims == 2:
        assert torch.allclose(found[..., 2], torch.full((1, 50), 2 * 6.5 / 20 - 1))
    assert position_loss(expected[..., :3], found) < 1e-3
