"""Generated shapes whose appearance is drawn anew in each view, so that shape and not brightness makes a place.

Label maps are the argmax of smooth noises at scales of their own, often inside a body on dark background; each label is
painted with a mean, a texture and a sharpness of its own. After anatomix (Dey et al., "Learning general-purpose biomedical
volume representations using randomized synthesis", ICLR 2025) and SynthSeg (Billot et al., MedIA 2023).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MOST_LABELS = 12
"""Labels that a generated map may have."""
FEWEST_NODES, MOST_NODES = 3, 14
"""Control points per axis of the noises: the fewer, the larger the shapes."""
BODY_SHARE = 0.6
"""Share of the maps in which shapes lie inside a body, and label 0 around it."""
TEXTURE = 0.35
"""Largest deviation of a label's texture, where label means spread over about ±1.5."""


def label_maps(rngs: list[np.random.Generator], size: tuple[int, ...], device: torch.device) -> Tensor:
    """Draws label maps.

    Args:
        size: neighbouring slices, rows, columns (2D), or 1, slices, rows, columns (3D).

    Returns:
        B × size, float32 whole numbers below `MOST_LABELS`, so that a warp can sample them.
    """
    return torch.stack([_label_map(rng, size, device) for rng in rngs])


def painted(maps: Tensor, rngs: list[np.random.Generator]) -> Tensor:
    """Paints label maps with an appearance that each generator draws.

    Args:
        maps: B × C × spatial, as `label_maps` returns them, whole numbers.

    Returns:
        Of the same shape, float32, of about zero mean and unit deviation.
    """
    return torch.stack([_painted(one, rng) for one, rng in zip(maps, rngs, strict=True)])


def _label_map(rng: np.random.Generator, size: tuple[int, ...], device: torch.device) -> Tensor:
    count, nodes = int(rng.integers(3, MOST_LABELS)), int(rng.integers(FEWEST_NODES, MOST_NODES + 1))
    spatial = size[1:] if size[0] == 1 else size  # neighbouring slices show one shape, cut a little further on
    depth = (2,) if len(spatial) == 3 and size[0] > 1 else (nodes,) if len(spatial) == 3 else ()
    noise = rng.standard_normal((1, count, *depth, nodes, nodes)).astype(np.float32)
    mode = "trilinear" if depth else "bicubic"
    values = F.interpolate(torch.from_numpy(noise).to(device), size=spatial, mode=mode, align_corners=True)[0]
    labels = values.argmax(0).float() + 1
    if rng.random() < BODY_SHARE:
        radius = sum(
            torch.linspace(-1, 1, n, device=device).sub(rng.uniform(-0.3, 0.3)).div(rng.uniform(0.6, 1.0)).square()
            .reshape([-1 if a == axis else 1 for a in range(len(spatial))])
            for axis, n in enumerate(spatial) if axis > 0 or not depth or size[0] == 1
        )  # fmt: skip
        labels = torch.where(radius + 0.3 * values[0] < 1, labels, 0.0)
    return labels.reshape(size)


def _painted(labels: Tensor, rng: np.random.Generator) -> Tensor:
    device = labels.device
    index = labels.round().long()
    means = torch.from_numpy(rng.uniform(-1.5, 1.5, MOST_LABELS + 1).astype(np.float32)).to(device)
    means[0] = -1.5 if rng.random() < 0.8 else 1.5
    deviations = torch.from_numpy(rng.uniform(0, TEXTURE, MOST_LABELS + 1).astype(np.float32)).to(device)
    deviations[0] *= 0.2
    texture = torch.from_numpy(rng.standard_normal(labels.shape, np.float32)).to(device)
    image = means[index] + deviations[index] * _coarser(texture, int(rng.integers(1, 4)))
    return _coarser(image, 2) if rng.random() < 0.3 else image


def _coarser(image: Tensor, factor: int) -> Tensor:
    """Returns an image (C × spatial) without its finest detail, of the deviation that it had."""
    if factor == 1:
        return image
    mode = "bilinear" if image.ndim == 3 else "trilinear"
    size = [max(1, n // factor) for n in image.shape[1:]]
    coarse = F.interpolate(F.interpolate(image[None], size=size, mode="area"), size=image.shape[1:], mode=mode)[0]
    return coarse * (image.std() / coarse.std().clamp_min(1e-6)) if bool(coarse.std() > 0) else coarse
