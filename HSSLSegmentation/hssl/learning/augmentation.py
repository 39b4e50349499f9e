"""Augmentation of whole batches as tensors on the training device.

Each window draws its parameters from its own number in the run, so the result depends neither on the batch it shares
nor on the number of processes. Geometry is drawn first (`Warp`), so that losses can relate places in two views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CONTROL_POINTS = 5
"""Control points an axis of elastic deformations and of bias fields."""
CURVE_POINTS = 6
"""Points that a random curve of intensities goes through, from the darkest to the brightest."""


@dataclass(frozen=True)
class Strength:
    """How strongly to augment. Angles in degrees, lengths as shares of the patch, probabilities 0 to 1."""

    rotation: float = 25.0
    scale: float = 0.25
    """Zoom by a factor between 1 − scale and 1 + scale, per axis half of it independently."""
    shift: float = 0.08
    flip: float = 0.0
    """Probability of mirroring left and right; 0 keeps them apart."""
    elastic: float = 0.03
    intensity: float = 1.0
    """Scales contrast, brightness, gamma, bias field, noise, blur and low resolution together; 0 switches them off."""
    remapped: float = 0.0
    """Probability that intensities go through a random curve, which need not rise: the same shapes as if of another
    modality (Models Genesis, Zhou et al. 2021)."""


PRETRAINING = Strength(rotation=20.0, scale=0.25, shift=0.1, flip=0.0, elastic=0.0, intensity=1.0)
FINETUNING = Strength(rotation=25.0, scale=0.25, shift=0.08, flip=0.0, elastic=0.03, intensity=1.0)


@dataclass(frozen=True)
class Warp:
    """Maps places of the patch to places of the window it is cut from; both run from −1 to 1 along each axis.

    Attributes:
        matrix: B × d × (d + 1), axes in grid_sample's order (x first).
        grid: B × spatial × d, the same for each voxel of the patch, elastic deformation included.
        reversed: B, bool, windows whose neighbouring slices come in the opposite order: mirrored across the slices.
    """

    matrix: Tensor
    grid: Tensor
    reversed: Tensor

    def __call__(self, windows: Tensor, mode: str = "bilinear") -> Tensor:
        """Samples windows (B × C × spatial) at the patch's voxels; beyond the window its border goes on."""
        if bool(self.reversed.any()):
            windows = torch.where(self.reversed.view(-1, *[1] * (windows.ndim - 1)), windows.flip(1), windows)
        return F.grid_sample(windows, self.grid, mode=mode, padding_mode="border", align_corners=False)

    def of(self, chosen: Tensor) -> Warp:
        """Returns the warp of some windows of the batch, by their indices."""
        return Warp(self.matrix[chosen], self.grid[chosen], self.reversed[chosen])


def generators(seed: int, samples: np.ndarray, view: int) -> list[np.random.Generator]:
    """Returns one random generator for each window of a batch."""
    return [np.random.default_rng([seed, int(sample), view, 77]) for sample in samples]


def draw_warp(
    rngs: list[np.random.Generator],
    window: tuple[int, ...],
    patch: tuple[int, ...],
    strength: Strength,
    device: torch.device,
    left_right: Sequence[int] | None = None,
) -> Warp:
    """Draws a random similarity with anisotropic zoom, and an elastic deformation, for each window.

    Args:
        window, patch: sizes in voxels, rows and columns last.
        left_right: of each window, along which axis of slices, rows and columns (0, 1, 2) left and right lie (see
            `preprocessing.planes.left_right_of`); None: along the columns.
    """
    dims = len(patch)
    # From patch to window, both in −1…1: the patch is a part of the window.
    share = np.array([p / w for p, w in zip(patch, window, strict=True)][::-1])
    aspect = np.array(patch[::-1], float)
    matrices = np.empty((len(rngs), dims, dims + 1), np.float32)
    across = np.zeros(len(rngs), bool)
    sides = [2] * len(rngs) if left_right is None else left_right
    for number, (matrix, rng, side) in enumerate(zip(matrices, rngs, sides, strict=True)):
        zoom = 1 + strength.scale * rng.uniform(-1, 1) + strength.scale / 2 * rng.uniform(-1, 1, dims)
        linear = _rotation(rng, dims, strength.rotation) @ np.diag(1 / zoom)
        if rng.random() < strength.flip:
            mirror = np.ones(3)
            mirror[2 - side] = -1  # x comes first
            linear = linear @ np.diag(mirror[:dims])
            across[number] = dims == 2 and side == 0
        # Rotation happens in voxels, so the aspect of the patch is taken out and put back.
        matrix[:, :dims] = np.diag(share / aspect) @ linear @ np.diag(aspect)
        matrix[:, dims] = share * strength.shift * rng.uniform(-2, 2, dims)
    theta = torch.from_numpy(matrices).to(device)
    grid = F.affine_grid(theta, [len(rngs), 1, *patch], align_corners=False)
    if strength.elastic:
        nodes = np.stack([rng.standard_normal((dims,) + (CONTROL_POINTS,) * dims) for rng in rngs])
        field = _smooth_field(nodes * 2 * strength.elastic, patch, device)
        grid = grid + field.movedim(1, -1) * torch.from_numpy(share.astype(np.float32)).to(device)
    return Warp(theta, grid, torch.from_numpy(across).to(device))


def change_intensities(images: Tensor, rngs: list[np.random.Generator], strength: Strength) -> Tensor:
    """Changes contrast, brightness, gamma, bias field, resolution, sharpness and noise, each with its probability.

    Args:
        images: B × C × spatial, normalised; neighbouring slices (C) change alike, apart from noise.
    """
    amount = strength.intensity
    if strength.remapped:
        images = _remapped(images, rngs, strength.remapped)
    if not amount:
        return images
    device, dims = images.device, images.ndim - 2
    draws = np.stack([rng.uniform(-1, 1, 6) for rng in rngs]).astype(np.float32)
    chances = np.stack([rng.random(6) for rng in rngs])

    def column(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(device).reshape(-1, *[1] * (dims + 1))

    # Bias field: a smooth factor.
    chosen = np.flatnonzero(chances[:, 0] < 0.3)
    if len(chosen):
        nodes = np.stack([rngs[i].standard_normal((1,) + (CONTROL_POINTS,) * dims) for i in chosen])
        field = _smooth_field(0.15 * amount * nodes, tuple(images.shape[2:]), device).exp()
        index = torch.from_numpy(chosen).to(device)
        low = images.amin(tuple(range(1, images.ndim)), keepdim=True)[index]
        images = images.index_copy(0, index, (images[index] - low) * field + low)
    # Gamma, on intensities brought to 0…1, inverted for half of them.
    span = tuple(range(1, images.ndim))
    low, high = images.amin(span, keepdim=True), images.amax(span, keepdim=True)
    unit = (images - low) / (high - low).clamp_min(1e-6)
    gamma = column(np.where(chances[:, 1] < 0.5, np.exp(0.35 * amount * draws[:, 1]), 1.0))
    invert = column((draws[:, 0] > 0).astype(np.float32))
    unit = (unit + invert - 2 * unit * invert).clamp_min(1e-6) ** gamma
    images = (unit + invert - 2 * unit * invert) * (high - low) + low
    # Contrast and brightness.
    contrast = column(np.where(chances[:, 2] < 0.5, np.exp(0.3 * amount * draws[:, 2]), 1.0))
    brightness = column(np.where(chances[:, 2] < 0.5, 0.3 * amount * draws[:, 3], 0.0))
    images = images * contrast + brightness
    # Lower resolution and blur.
    chosen = np.flatnonzero(chances[:, 3] < 0.25)
    if len(chosen):
        images = _blurred(images, chosen, 0.5 + 0.75 * amount * (1 + draws[chosen, 4]) / 2)
    chosen = np.flatnonzero(chances[:, 4] < 0.2)
    if len(chosen):
        index = torch.from_numpy(chosen).to(device)
        coarse = F.interpolate(images[index], scale_factor=0.5, mode="area")
        fine = F.interpolate(coarse, size=images.shape[2:], mode="bilinear" if dims == 2 else "trilinear")
        images = images.index_copy(0, index, fine)
    # Noise.
    chosen = np.flatnonzero(chances[:, 5] < 0.4)
    if len(chosen):
        noise = torch.from_numpy(np.stack([rngs[i].standard_normal(images.shape[1:], np.float32) for i in chosen])).to(
            device
        )
        sigma = column(0.15 * amount * (1 + draws[chosen, 5]) / 2)
        index = torch.from_numpy(chosen).to(device)
        images = images.index_add(0, index, noise * sigma)
    return images


def _remapped(images: Tensor, rngs: list[np.random.Generator], probability: float) -> Tensor:
    draws = [(rng.random(), rng.random(CURVE_POINTS)) for rng in rngs]
    chosen = [n for n, (chance, _) in enumerate(draws) if chance < probability]
    if not chosen:
        return images
    index = torch.tensor(chosen, device=images.device)
    part = images[index].float()
    span = tuple(range(1, images.ndim))
    low, high = part.amin(span, keepdim=True), part.amax(span, keepdim=True)
    curves = torch.from_numpy(np.stack([draws[n][1] for n in chosen]).astype(np.float32)).to(images.device)
    # The whole range stays in use, or a flat curve would leave an image without contrast.
    curves = (curves - curves.amin(1, keepdim=True)) / (curves.amax(1, keepdim=True) - curves.amin(1, keepdim=True))
    places = ((part - low) / (high - low).clamp_min(1e-6)).flatten(1) * (CURVE_POINTS - 1)
    below = places.floor().long().clamp(0, CURVE_POINTS - 2)
    share = places - below
    unit = curves.gather(1, below) * (1 - share) + curves.gather(1, below + 1) * share
    return images.index_copy(0, index, (unit.view_as(part) * (high - low) + low).to(images.dtype))


def _rotation(rng: np.random.Generator, dims: int, degrees: float) -> np.ndarray:
    # In 3D mostly within the slices: planes of acquisition are tilted far less than patients are turned.
    matrix = np.eye(dims)
    planes = [(0, 1)] if dims == 2 else [(0, 1), (0, 2), (1, 2)]
    for number, (i, j) in enumerate(planes):
        angle = np.deg2rad(degrees * (1.0 if number == 0 else 0.5)) * rng.uniform(-1, 1)
        turn = np.eye(dims)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def _smooth_field(nodes: np.ndarray, size: tuple[int, ...], device: torch.device) -> Tensor:
    values = torch.from_numpy(nodes.astype(np.float32)).to(device)
    if len(size) == 2:
        return F.interpolate(values, size=size, mode="bicubic", align_corners=True)
    return F.interpolate(values, size=size, mode="trilinear", align_corners=True)


def _blurred(images: Tensor, chosen: np.ndarray, sigmas: np.ndarray) -> Tensor:
    offsets = np.arange(-3, 4)
    kernels = np.exp(-0.5 * (offsets / sigmas[:, None]) ** 2)
    weights = torch.from_numpy((kernels / kernels.sum(1, keepdims=True)).astype(np.float32)).to(images.device)
    index = torch.from_numpy(chosen).to(images.device)
    part = images[index]
    count, channels, dims = *part.shape[:2], images.ndim - 2
    # One group a window: each is convolved with its own kernel, axis by axis.
    flat = part.reshape(1, count * channels, *part.shape[2:])
    kernel = weights.repeat_interleave(channels, 0)
    convolve = F.conv2d if dims == 2 else F.conv3d
    for axis in range(dims):
        shape = [count * channels, 1] + [1] * dims
        shape[2 + axis] = len(offsets)
        pad = [0, 0] * dims
        pad[2 * (dims - 1 - axis)] = pad[2 * (dims - 1 - axis) + 1] = 3
        flat = convolve(F.pad(flat, pad, mode="replicate"), kernel.reshape(shape), groups=count * channels)
    return images.index_copy(0, index, flat.reshape(part.shape))
