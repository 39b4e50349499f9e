"""Augmentation: reproducible for each window, whatever batch it is in, and true to geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hssl.learning.augmentation import FINETUNING, Strength, change_intensities, draw_warp, generators

CPU = torch.device("cpu")


@pytest.mark.parametrize("patch", [(32, 48), (16, 32, 32)])
def test_a_window_is_augmented_the_same_in_any_batch(patch):
    window = tuple(int(1.25 * p) for p in patch)
    windows = torch.randn(6, 3 if len(patch) == 2 else 1, *window)

    def augmented(numbers):
        rngs = generators(4, np.array(numbers), 0)
        return change_intensities(draw_warp(rngs, window, patch, FINETUNING, CPU)(windows[numbers]), rngs, FINETUNING)

    together, alone = augmented([0, 1, 2, 3, 4, 5]), torch.cat([augmented([n]) for n in range(6)])
    assert together.shape[2:] == patch
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together[0], together[1])


def test_without_strength_nothing_changes():
    none = Strength(rotation=0, scale=0, shift=0, flip=0, elastic=0, intensity=0)
    windows = torch.randn(2, 1, 20, 20)
    rngs = generators(0, np.arange(2), 0)
    patch = draw_warp(rngs, (20, 20), (16, 16), none, CPU)(windows)
    assert torch.allclose(patch, windows[:, :, 2:18, 2:18], atol=1e-5)
    assert change_intensities(patch, rngs, none) is patch


def test_rotation_keeps_lengths_on_patches_that_are_not_square():
    turn = Strength(rotation=90, scale=0, shift=0, elastic=0, intensity=0)
    axes = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    windows = torch.stack(axes)[None].repeat(4, 1, 1, 1)
    patch = draw_warp(generators(0, np.arange(4), 0), (40, 80), (16, 32), turn, CPU)(windows)
    middle = patch[:, :, 6:10, 12:20]
    steps = (middle[..., 1:] - middle[..., :-1]).square().sum(1).sqrt()
    assert torch.allclose(steps, torch.ones_like(steps), atol=1e-3)


def test_mirroring_happens_as_often_as_asked():
    mirror = Strength(rotation=0, scale=0, shift=0, flip=0.5, elastic=0, intensity=0)
    ramp = torch.linspace(-1, 1, 16).expand(1, 1, 16, 16).repeat(200, 1, 1, 1)
    patch = draw_warp(generators(0, np.arange(200), 0), (16, 16), (16, 16), mirror, CPU)(ramp)
    mirrored = (patch[:, 0, 8, 0] > 0).float().mean()
    assert 0.35 < mirrored < 0.65


@pytest.mark.parametrize("size", [(3, 16, 32), (1, 16, 24, 32)])
@pytest.mark.parametrize("side", [0, 1, 2])
def test_left_and_right_are_mirrored_wherever_they_lie_in_a_window(size, side):
    mirror = Strength(rotation=0, scale=0, shift=0, flip=1.0, elastic=0, intensity=0)
    windows, patch = torch.randn(2, *size), size[1:]
    warp = draw_warp(generators(0, np.arange(2), 0), patch, patch, mirror, CPU, [side, 2])
    expected = torch.stack([windows[0].flip(side + len(size) - 3), windows[1].flip(-1)])
    assert torch.allclose(warp(windows), expected, atol=1e-4)
    assert torch.allclose(warp.of(torch.tensor([1]))(windows[1:]), expected[1:], atol=1e-4)
    if len(size) == 3 and side == 0:  # the slice itself stays, and so does its label
        assert torch.allclose(warp(windows[:, :1])[0], windows[0, :1], atol=1e-4)


def test_labels_and_images_move_together():
    windows = torch.zeros(4, 1, 40, 40)
    windows[:, :, 12:24, 15:30] = 1
    warp = draw_warp(generators(1, np.arange(4), 0), (40, 40), (32, 32), FINETUNING, CPU)
    image, label = warp(windows), warp(windows, mode="nearest")
    assert ((image > 0.5) == (label > 0.5)).float().mean() > 0.97
