"""Voxels that nobody labelled count in no loss; healthy cases are labelled cases, and do not crowd out the others."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.losses.dice import DiceLoss

from hssl.learning.linear_head import LinearDiscriminant
from hssl.learning.losses.segmentation import class_weights, dice_and_cross_entropy
from hssl.learning.sampling import FOREGROUND_SHARE, Sampler
from hssl.preprocessing.store import UNLABELLED, SliceContents, StoredVolume


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 4, 12, 10, generator=generator), torch.randint(0, 4, (3, 12, 10), generator=generator)


def test_where_every_voxel_is_labelled_the_losses_are_monais_and_torchs():
    output, labels = drawn()
    dice, cross = dice_and_cross_entropy(output, labels, 0.6)
    target = F.one_hot(labels, 4).movedim(-1, 1).float()
    monai = DiceLoss(include_background=False, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    assert dice.item() == monai(output, target).item()
    assert cross.item() == F.cross_entropy(output, labels, class_weights(labels, 4, 0.6)).item()


def test_unlabelled_voxels_change_neither_loss_nor_gradient_whatever_is_found_there():
    output, labels = drawn()
    labels[:, :, 6:] = UNLABELLED
    results = []
    for logits in (output, torch.cat([output[..., :6], 50 * output[..., 6:].flip(1)], -1), output[..., :6]):
        logits = logits.clone().requires_grad_(True)
        dice, cross = dice_and_cross_entropy(logits, labels[..., : logits.shape[-1]], 0.6)
        (dice + cross).backward()
        assert logits.grad is not None and not logits.grad[..., 6:].any()
        results.append((dice.item(), cross.item(), logits.grad[..., :6]))
    for other in results[1:]:
        assert other[:2] == pytest.approx(results[0][:2], rel=1e-6)
        assert torch.allclose(other[2], results[0][2], atol=1e-7)


def test_a_batch_without_a_labelled_voxel_gives_finite_losses_and_no_gradient():
    output, labels = drawn()
    output.requires_grad_(True)
    dice, cross = dice_and_cross_entropy(output, torch.full_like(labels, UNLABELLED), 0.6)
    (dice + cross).backward()
    assert torch.isfinite(dice) and torch.isfinite(cross)
    assert output.grad is not None and not output.grad.any()


def test_the_head_begins_with_labelled_points_alone():
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(2, 5, 8, 8, generator=generator), torch.randint(0, 3, (2, 8, 8), generator=generator)
    masked = labels.clone()
    masked[1] = UNLABELLED
    heads = []
    for f, of_point in ((features, masked), (features[:1], labels[:1])):
        discriminant = LinearDiscriminant(3, 5)
        discriminant.add(f, of_point)
        heads.append(discriminant.head(0.6))
    assert torch.allclose(heads[0][0], heads[1][0]) and torch.allclose(heads[0][1], heads[1][1])


def test_a_head_of_features_without_a_labelled_point_is_finite_and_prefers_nothing():
    discriminant = LinearDiscriminant(3, 5)
    discriminant.add(torch.randn(2, 5, 8, 8), torch.full((2, 8, 8), UNLABELLED))
    for part in discriminant.head(0.6):
        assert torch.allclose(part, torch.zeros_like(part), atol=1e-6)


def stored(folder: Path, name: str, lesion: bool) -> StoredVolume:
    rng = np.random.default_rng(len(name))
    image, label = rng.normal(size=(6, 16, 16)).astype(np.float16), np.zeros((6, 16, 16), np.uint8)
    if lesion:
        label[2, 5:7, 5:7] = 1
    np.save(folder / f"{name}.npy", image)
    np.save(folder / f"{name}-label.npy", label)
    along = tuple(
        SliceContents(
            np.ones(label.shape[axis], np.float32),
            (tuple(np.flatnonzero((label == 1).any(tuple(a for a in range(3) if a != axis))).tolist()),),
        )
        for axis in range(3)
    )
    return StoredVolume(name, "t", folder / f"{name}.npy", label.shape, -3.0, along, folder / f"{name}-label.npy")


def test_healthy_cases_leave_as_many_windows_on_a_class_as_there_were_without_them(tmp_path):
    volumes = [stored(tmp_path, f"case{n}", lesion=n == 0) for n in range(20)]
    batches = [Sampler(volumes, (8, 8), 16, 0, labelled=True).batch(step) for step in range(60)]
    labels = np.concatenate([b.labels for b in batches if b.labels is not None])
    chosen = np.concatenate([b.volumes for b in batches])
    assert (labels == 1).any((1, 2)).mean() == pytest.approx(FOREGROUND_SHARE, abs=0.06)
    assert len(set(chosen.tolist())) == 20, "healthy cases are seen too"
    assert (chosen != 0).mean() == pytest.approx((1 - FOREGROUND_SHARE) * 19 / 20, abs=0.06)


@pytest.mark.parametrize("size", [1, 4, 16])
def test_two_of_three_windows_lie_on_a_class_and_the_third_anywhere(tmp_path, size):
    volume = stored(tmp_path, "case", lesion=True)
    sampler = Sampler([volume], (4, 4), size, 0, labelled=True)
    batches = [sampler.batch(step) for step in range(192 // size)]
    shown = np.concatenate([b.labels for b in batches]).any((1, 2))
    slices = np.concatenate([b.positions[:, 0] for b in batches])
    # A window that was placed on the lesion shows it; of the others hardly any does, and they come from every slice.
    assert shown[1::3].all() and shown[2::3].all() and shown[::3].mean() < 0.25
    assert len(set(slices[::3].tolist())) == 6 and set(slices[1::3].tolist()) == {slices[1]}
    assert all(0 < b.labels.any((1, 2)).mean() < 1 for b in batches) or size == 1


def test_without_healthy_cases_nothing_is_drawn_otherwise_and_healthy_ones_alone_are_no_error(tmp_path):
    healthy = [stored(tmp_path, f"healthy{n}", lesion=False) for n in range(2)]
    labels = Sampler(healthy, (8, 8), 8, 0, labelled=True).batch(0).labels
    assert labels is not None and not labels.any()
