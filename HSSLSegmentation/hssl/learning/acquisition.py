"""Acquisition: which unlabelled images are worth a label, by what their labels would teach.

Two things are measured of each unlabelled image:

- uncertainty: how much a fine-tuned model doubts what it finds, class by class (see `uncertainty_of`); on real volumes
  this says more of the true Dice than the mean entropy in and around what is found;
- what it stands for: how many images are like it, in the feature space of a pretrained network. Of two images at distance d
  the one covers exp(-(d / r)²) of the other, where r is half the median distance between images.

What is suggested is the image whose label would cover most that is not covered yet, each image counted as much as it is
uncertain; each choice covers images like it. This is the greedy facility location of Wei, Iyer and Bilmes, "Submodularity
in data subset selection and active learning", ICML 2015, with a reach, as few labels need it (Yehuda et al., "Active
learning through a covering lens", NeurIPS 2022). Taking the most distant image again and again (k-centre, Sener and
Savarese, ICLR 2018) begins with the oddest ones, and on hippocampi that was worse than chance with three and five labels.

The features of a volume are the means over its body of every channel of every level of the encoder, so that deep levels
speak as well as those that still have enough voxels in a small image; levels count alike, however many channels they
have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..events import Stop, Stopped, never
from ..models.architecture import FILTERS
from ..models.description import ModelDescription
from ..models.inference import SLICES_AT_ONCE, Segmenter, padding
from ..models.model import Model
from ..models.network import MULTIPLE, SMALLEST
from ..models.plane_mean import plane_mean, slabs
from ..preprocessing.normalisation import body_mask
from ..spread import evenly
from ..workspace.suggestions import Suggestion

LOOKED_AT = 32
"""Slices (blocks of the patch size in 3D) of a volume that its features are taken from, evenly spread over its body."""
AT_ONCE = 1000
"""Images whose distances to all others are held at once."""


def ranked(
    ids: Sequence[str],
    features: np.ndarray,
    labelled: np.ndarray,
    uncertainties: Sequence[float] | None,
    count: int,
) -> list[Suggestion]:
    """Ranks images by the rule above; of equal ones the first in the list comes first.

    Args:
        ids: of the unlabelled images.
        features: their features, images × channels.
        labelled: those of the labelled images, images × channels; may have no row.
        uncertainties: of the unlabelled images; None without a fine-tuned model.
        count: how many to rank.
    """
    images = torch.from_numpy(features)
    weights = torch.tensor(uncertainties if uncertainties and any(uncertainties) else [1.0] * len(ids)).to(images)
    reach = _reach(torch.cat([images, torch.from_numpy(labelled)]))
    left = torch.ones(len(ids), dtype=torch.bool)
    novelty = torch.full((len(ids),), torch.inf, dtype=images.dtype)
    if len(labelled):
        novelty = _distances(images, torch.from_numpy(labelled)).min(1).values
    suggestions: list[Suggestion] = []
    for rank in range(1, min(count, len(ids)) + 1):
        before = _covered(novelty, reach)
        new = torch.cat(
            [
                (_covered(_distances(part, images), reach) - before).clamp_min(0) @ weights
                for part in images.split(AT_ONCE)
            ]
        )
        best = int(torch.where(left, new, -1.0).argmax())
        left[best] = False
        suggestions.append(
            Suggestion(
                id=ids[best],
                rank=rank,
                score=round(float(new[best] / weights.sum()), 6),
                uncertainty=None if uncertainties is None else round(float(uncertainties[best]), 6),
                novelty=round(float(novelty[best]), 6) if novelty[best].isfinite() else None,
            )
        )
        novelty = torch.minimum(novelty, _distances(images[best : best + 1], images)[0])
    return suggestions


def _reach(images: Tensor) -> float:
    """Returns half the median distance between images that differ (of so many that it stays quick)."""
    some = images[:: -(-len(images) // AT_ONCE)]
    distances = torch.pdist(some)
    apart = distances[distances > 0]
    return float(apart.median()) / 2 if len(apart) else 1.0


def _distances(some: Tensor, others: Tensor) -> Tensor:
    """By differences: by products of matrices, copies of an image would lie a little apart."""
    return torch.cdist(some, others, compute_mode="donot_use_mm_for_euclid_dist")


def _covered(distances: Tensor, reach: float) -> Tensor:
    return torch.exp(-((distances / reach) ** 2))


def uncertainty_of(
    segmenter: Segmenter, array: np.ndarray, low: float, expected: Sequence[bool], stop: Stop = never
) -> float:
    """Returns how unsure a model is of a volume: 1 − the Dice that it expects of itself, mean over the classes.

    The expected Dice of a class is that of what is found with its own probabilities, 2 Σ p [found] / (Σ p + Σ [found])
    (as Li et al., "Estimating model performance under domain shifts with class-specific confidence scores", MICCAI 2022,
    estimate it). So doubt within what is found and around it counts, and doubt elsewhere as far as there is any. A class
    that is found nowhere counts as 1 where it is expected, since the model misses it entirely; where it need not be
    there, as twice its highest probability: as how nearly it was found. Probabilities are those of a prediction: the mean of
    all slice planes that the segmenter has.

    Args:
        array: normalised volume on the working grid, slices × rows × columns.
        low: value beyond the volume.
        expected: for each class, whether every image holds it.

    Raises:
        Stopped: `stop` asked for it.
        OutputError: planes cannot wait in a temporary file.
    """
    classes = segmenter.description.out_channels - 1
    sure, shares, found, highest = (np.zeros(classes) for _ in range(4))
    with plane_mean(segmenter, array, low, stop) as of_slices:
        for first, last in slabs(segmenter, array.shape):
            slab = of_slices(first, last)
            channels = slab.max(0).indices
            for c, share in enumerate(slab[1:]):
                inside = channels == c + 1
                sure[c] += float(share[inside].double().sum())
                shares[c] += float(share.double().sum())
                found[c] += int(inside.sum())
                highest[c] = max(highest[c], float(share.max()))
    doubts = [
        1 - 2 * sure[c] / (shares[c] + found[c]) if found[c] else 1.0 if expected[c] else min(1.0, 2 * highest[c])
        for c in range(classes)
    ]
    return float(np.mean(doubts))


class FeatureSpace:
    """The space in which volumes are compared (see the module's text).

    Args:
        description: of a pretrained or fine-tuned network.
        state: its weights.
        device: where to compute.
    """

    def __init__(self, description: ModelDescription, state: dict[str, Tensor], device: torch.device):
        self.description, self.device = description, device
        self.network = Model(description, state).network(device)
        self.channels = FILTERS[description.network.size]

    @torch.inference_mode()
    def of(self, array: np.ndarray, low: float, stop: Stop = never) -> np.ndarray:
        """Returns the features of a volume, float64, one for each channel of the encoder.

        Args:
            array: normalised volume on the working grid, slices × rows × columns.
            low: value beyond the volume.

        Raises:
            Stopped: `stop` asked for it.
        """
        totals, weights = [np.zeros(c) for c in self.channels], np.zeros(len(self.channels))
        for images, mask in self._windows(array, body_mask(array), low):
            if stop():
                raise Stopped
            for n, level in enumerate(self.network.features(images.to(self.device)).encoder):
                shares = F.interpolate(mask.to(self.device), size=level.shape[2:], mode="area")
                totals[n] += (level.float() * shares).flatten(2).sum((0, 2)).cpu().numpy()
                weights[n] += float(shares.sum())
        means = [total / max(weight, 1e-6) for total, weight in zip(totals, weights, strict=True)]
        return np.concatenate([mean / math.sqrt(len(mean)) for mean in means])

    def _windows(self, array: np.ndarray, body: np.ndarray, low: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Images as the network takes them, B × C × spatial, and where they show body, B × 1 × spatial."""
        network = self.description.network
        if network.spatial_dims == 3:
            yield from self._blocks(array, body, low)
            return
        chosen = _spread(np.flatnonzero(body.any((1, 2))))
        pads = padding(array.shape[1:], (MULTIPLE, MULTIPLE), (SMALLEST, SMALLEST))
        around = np.arange(network.in_slices) - network.in_slices // 2
        size = SLICES_AT_ONCE[self.device.type]
        for begin in range(0, len(chosen), size):
            slices = chosen[begin : begin + size]
            neighbours = np.clip(slices[:, None] + around, 0, len(array) - 1)
            images = torch.from_numpy(np.asarray(array[neighbours], np.float32))
            mask = torch.from_numpy(body[slices].astype(np.float32))[:, None]
            yield F.pad(images, pads, value=low), F.pad(mask, pads)

    def _blocks(self, array: np.ndarray, body: np.ndarray, low: float) -> Iterator[tuple[Tensor, Tensor]]:
        patch = self.description.patch_size
        starts = np.stack(
            np.meshgrid(*(np.arange(0, n, p) for n, p in zip(array.shape, patch, strict=True)), indexing="ij"), -1
        ).reshape(-1, 3)
        blocks = [tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True)) for start in starts]
        blocks = [block for block in blocks if body[block].any()]
        for number in _spread(np.arange(len(blocks))):
            image = torch.from_numpy(np.asarray(array[blocks[number]], np.float32))[None, None]
            mask = torch.from_numpy(body[blocks[number]].astype(np.float32))[None, None]
            pads = padding(image.shape[2:], (1, 1, 1), patch)
            yield F.pad(image, pads, value=low), F.pad(mask, pads)


def _spread(indices: np.ndarray) -> np.ndarray:
    return indices[evenly(len(indices), LOOKED_AT)]
