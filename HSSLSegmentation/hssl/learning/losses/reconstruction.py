"""Reconstruction: the decoder restores the clean image from a corrupted and partly masked one (λ4 of the paper).

What is reconstructed is our choice (the paper's text does not say): the view before its intensities were changed and
blocks of it were masked.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BLOCKS_PER_SIDE = 8
MASKED_SHARE = 0.3


def reconstruction_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """Returns the mean squared error in shares of each image's range.

    With intensities from 0 to 1 the paper's λ4 = 50 makes this as large as its other losses; with intensities of unit
    deviation it would leave nothing to them for the first thousand steps.

    Args:
        restored: B × C × spatial, 0 for an image's lowest and 1 for its highest intensity.
        clean: the image, in any unit.

    Raises:
        ValueError: the shapes differ.
    """
    if restored.shape != clean.shape:
        raise ValueError(f"restored {tuple(restored.shape)} and clean {tuple(clean.shape)} differ in shape")
    return F.mse_loss(restored.float(), in_unit_range(clean))


def in_unit_range(images: Tensor) -> Tensor:
    """Returns images (B × C × spatial) with 0 for each one's lowest and 1 for its highest intensity."""
    span = tuple(range(1, images.ndim))
    low, high = images.amin(span, keepdim=True), images.amax(span, keepdim=True)
    return (images - low) / (high - low).clamp_min(1e-6)


def masked(images: Tensor, rngs: list[np.random.Generator], share: float = MASKED_SHARE) -> Tensor:
    """Replaces blocks of each image by its mean.

    Args:
        images: B × C × spatial.
        share: expected share of masked voxels.
    """
    dims = images.ndim - 2
    hidden = np.stack([rng.random((1,) + (BLOCKS_PER_SIDE,) * dims) < share for rng in rngs]).astype(np.float32)
    mask = F.interpolate(torch.from_numpy(hidden).to(images.device), size=images.shape[2:], mode="nearest")
    mean = images.mean(tuple(range(1, images.ndim)), keepdim=True)
    return images * (1 - mask) + mean * mask
