"""Learning from a few annotated slices: one volume, seconds, and corrections that feed the next round.

The volume's features come once from a frozen pretrained network; a light head learns on the annotated voxels alone.
Beside the features the head sees the shape that the annotated slices suggest (signed distances, interpolated between
them and moved along with their centroids). During learning that shape is drawn from all *other* annotated slices, so
that the head learns how far to trust it and where the image knows better.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .description import Fingerprint, ModelDescription
from .errors import ConfigurationError
from .events import OnEvent, ProgressMeter, Stop, ignore, never
from .fingerprint import ANISOTROPY, normalised
from .networks import EncoderDecoder, build_network
from .slice_features import Region, SliceFeatures, slice_features

HIDDEN = 64
FIRST_STEPS, NEXT_STEPS = 150, 60
"""Steps of learning in the first round and in a correction round."""
VOXELS_A_STEP = 2048
NEAR_CONTOUR_SHARE = 0.5
"""Share of the voxels of a step that are drawn near the contours, where decisions are made."""
FARTHEST = 15.0
"""Distances count up to this many voxels; farther than that from any suggested shape nothing is filled."""
HINT_UNIT = 5.0
"""Distances are divided by this before the head sees them, or it would look at little else."""
OWN_PERCENTILES = Fingerprint(
    spacing=(1.0, 1.0, 1.0), slice_axis=0, normalisation="percentiles", median_size=(1, 1, 1)
)
"""Any volume is normalised by its own values: it need not be of a task that the network knows."""


@dataclass(frozen=True)
class Plane:
    """A slice that the user annotated completely: what is not painted there is background.

    `axis` counts the array's axes (z, y, x → 0, 1, 2), `index` the slices along it.
    """

    axis: int
    index: int


@dataclass(frozen=True)
class Preview:
    """What a round gives, on the volume's grid.

    Attributes:
        label_map: the segments' values; annotated voxels are as the user painted them.
        uncertainty: float32, entropy 0 to 1 inside the region, 0 outside.
        next_slice: where a further annotation would teach most.
        seconds: time that the round took.
    """

    label_map: sitk.Image
    uncertainty: sitk.Image
    next_slice: Plane
    seconds: float


@dataclass
class InteractiveSession:
    """Holds a volume, its features and the head between rounds.

    Args:
        volume: 3D scalar volume; everything works on its own voxels, in array order z, y, x.
        model: a pretrained (or fine-tuned) 2D network: description and weights; None works from intensities and shape
            alone.
        device: where to compute.
        seed: of the head's first weights and of the drawing of voxels.
    """

    volume: sitk.Image
    model: tuple[ModelDescription, dict[str, Tensor]] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0

    def __post_init__(self) -> None:
        self._spacing = tuple(self.volume.GetSpacing()[::-1])
        self._array = normalised(sitk.GetArrayFromImage(self.volume).astype(np.float32), OWN_PERCENTILES)
        self._network: EncoderDecoder | None = None
        if self.model is not None:
            description, state = self.model
            if description.network.spatial_dims != 2:
                raise ConfigurationError("learning from slices needs a 2D network, this one is 3D")
            self._network = build_network(description.network, description.out_channels)
            self._network.load_state_dict(state)
            self._network.to(self.device).eval()
        self._features: SliceFeatures | None = None
        self._head: _Head | None = None
        self._values: list[int] = []

    def learn(
        self,
        annotation: sitk.Image,
        planes: Sequence[Plane],
        on_event: OnEvent = ignore,
        stop: Stop = never,
        whole_volume: bool = False,
    ) -> Preview:
        """Learns from what is painted so far and fills the rest; a further call goes on from the last one.

        Args:
            annotation: label map on the volume's grid; 0 is "not painted".
            planes: the slices that are annotated completely. Elsewhere only painted voxels are learned from.
            whole_volume: fill the whole volume, not only the surroundings of what is painted. Where several slices of one
                orientation are complete, nothing is filled beyond the first and the last of them.

        Raises:
            ConfigurationError: nothing is painted, or nothing tells what background is.
        """
        began = time.monotonic()
        painted = sitk.GetArrayViewFromImage(annotation)
        if painted.shape != self._array.shape:
            raise ConfigurationError(
                f"the annotation has {painted.shape[::-1]} voxels, the volume {self._array.shape[::-1]}"
            )
        values = [int(v) for v in np.unique(painted) if v]
        if not values:
            raise ConfigurationError("nothing is painted yet", "Paint a segment on at least one slice.")
        if not planes and len(values) < 2:
            raise ConfigurationError(
                "nothing tells what is background", "Mark a slice as complete, or paint a second segment."
            )
        known = np.zeros(painted.shape, np.int16) - 1
        for channel, value in enumerate(values, 1):
            known[painted == value] = channel
        for plane in planes:
            view = np.moveaxis(known, plane.axis, 0)[plane.index]
            view[view < 0] = 0
        region = self._wanted_region(known, planes, whole_volume)
        if self._features is None or not self._features.region.holds(region):
            self._features = slice_features(self._array, region, self._network, self.device, on_event, stop)
        features = self._features
        region = features.region
        labels = torch.from_numpy(known[region.slices].astype(np.int64))
        shape = _Shape(known, planes, len(values), region, self._spacing)
        first_round = self._head is None or self._values != values
        if first_round:
            torch.manual_seed(self.seed)
            self._head = _Head(sum(features.channels), len(values), shape.useful)
            self._values = values
        head = self._head
        assert head is not None
        head.shape_useful = shape.useful
        steps = FIRST_STEPS if first_round else NEXT_STEPS
        self._train(head, features, labels, shape, steps, first_round, on_event, stop)
        shares = self._apply(head, features, shape)
        found = torch.where(labels >= 0, labels, shares.max(0).indices)
        entropy: Tensor = torch.special.entr(shares).sum(0) / np.log(shares.shape[0])
        entropy[labels >= 0] = 0
        table = np.array([0, *values], painted.dtype)
        result = np.array(painted)
        result[region.slices] = table[found.numpy()]
        uncertain = np.zeros(painted.shape, np.float32)
        uncertain[region.slices] = entropy.numpy()
        return Preview(
            _like(result, self.volume),
            _like(uncertain, self.volume),
            self._next_slice(entropy, region, planes),
            time.monotonic() - began,
        )

    # Where to work ---------------------------------------------------------------------------------------------

    def _wanted_region(self, known: np.ndarray, planes: Sequence[Plane], whole: bool) -> Region:
        size = known.shape
        spacing = np.array(self._spacing)
        if spacing.max() >= ANISOTROPY * spacing.min() or not planes:
            slice_axis = int(spacing.argmax()) if spacing.max() >= ANISOTROPY * spacing.min() else 0
        else:
            slice_axis = _usual_axis(planes)
        if whole:
            return Region((0, 0, 0), (size[0], size[1], size[2]), slice_axis)
        foreground = known > 0
        start, stop = [], []
        for axis in range(3):
            there = np.flatnonzero(foreground.any(tuple(a for a in range(3) if a != axis)))
            first, last = int(there[0]), int(there[-1]) + 1
            own = sorted(p.index for p in planes if p.axis == axis)
            # Whoever annotates several slices of one orientation has chosen the first and the last.
            margin = 0 if len(own) > 1 else max(8, round(0.25 * (last - first)))
            if own:
                first, last = min(first, own[0]), max(last, own[-1] + 1)
            start.append(max(0, first - margin))
            stop.append(min(size[axis], last + margin))
        return Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), slice_axis)

    # Learning --------------------------------------------------------------------------------------------------

    def _train(
        self,
        head: _Head,
        features: SliceFeatures,
        labels: Tensor,
        shape: _Shape,
        steps: int,
        first_round: bool,
        on_event: OnEvent,
        stop: Stop,
    ) -> None:
        places = torch.nonzero(labels.reshape(-1) >= 0).squeeze(1)
        inputs = features.at(places)
        hints, doubt = shape.at(places, without_own_plane=True)
        if first_round:
            head.usual_doubt.copy_(doubt.mean().clamp_min(1e-3))
        target = labels.reshape(-1)[places]
        weight = _drawing_weights(labels, places)
        optimizer = torch.optim.AdamW(head.parameters(), 4e-3, weight_decay=1e-2)
        generator = torch.Generator().manual_seed(self.seed)
        meter = ProgressMeter(on_event, "learning", steps)
        head.train()
        for step in range(steps):
            if stop():
                break
            for group in optimizer.param_groups:
                group["lr"] = 4e-3 * (1 - step / steps)
            drawn = torch.multinomial(weight, VOXELS_A_STEP, replacement=True, generator=generator)
            logits = head(inputs[drawn].float(), hints[drawn], doubt[drawn])
            loss = F.cross_entropy(logits, target[drawn])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            meter.update(step + 1)
        head.eval()

    @torch.inference_mode()
    def _apply(self, head: _Head, features: SliceFeatures, shape: _Shape) -> Tensor:
        """Returns the shares of background and classes in the region: classes + 1, z, y, x."""
        region = features.region
        count = int(np.prod(region.shape))
        shares = torch.zeros(count, shape.classes + 1)
        shares[:, 0] = 1
        # Slice by slice, whatever their axis: a coarse level is projected once for each slice that is touched.
        for places in torch.arange(count).reshape(region.shape).unbind(region.slice_axis):
            places = places.flatten()
            hints, doubt = shape.at(places, without_own_plane=False)
            if shape.useful:
                near = (hints > -FARTHEST).any(1)
                places, hints, doubt = places[near], hints[near], doubt[near]
            if len(places):
                inputs = features.projected(places, head.of_inputs)
                shares[places] = head.from_projected(inputs, hints, doubt).softmax(1)
        return shares.T.reshape(-1, *region.shape)

    def _next_slice(self, entropy: Tensor, region: Region, planes: Sequence[Plane]) -> Plane:
        axis = _usual_axis(planes) if planes else region.slice_axis
        doubt = entropy.numpy().sum(tuple(a for a in range(3) if a != axis))
        known = np.array([p.index - region.start[axis] for p in planes if p.axis == axis])
        if len(known):
            # Far from what is known, more is learned: a slice beside a known one is doubtful for the same reason.
            doubt = doubt * np.abs(np.arange(len(doubt))[:, None] - known).min(1)
        return Plane(axis, region.start[axis] + int(doubt.argmax()))


class _Head(nn.Module):
    """Per voxel: what the shape suggests, corrected by a small network that sees features and shape.

    The error of linear interpolation grows with the product of the distances to both neighbours, and gaps are half as
    wide in use as in learning; so corrections are scaled by that product, against its mean in learning.
    """

    usual_doubt: Tensor

    def __init__(self, channels: int, classes: int, shape_useful: bool):
        super().__init__()
        self.channels, self.shape_useful = channels, shape_useful
        self.first = nn.Linear(channels + classes, HIDDEN)
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        self.out = nn.Linear(HIDDEN, classes + 1)
        self.trust = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("usual_doubt", torch.tensor(1.0))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, inputs: Tensor, hints: Tensor, doubt: Tensor) -> Tensor:
        """Returns logits, N × (classes + 1), from inputs N × C, signed distances N × classes, and N."""
        projected = F.linear(F.dropout(inputs, 0.1, self.training), self.of_inputs)
        return self.from_projected(projected, hints, doubt)

    @property
    def of_inputs(self) -> Tensor:
        """Returns the part of the first layer's weights that belongs to the inputs."""
        return self.first.weight[:, : self.channels]

    def from_projected(self, projected: Tensor, hints: Tensor, doubt: Tensor) -> Tensor:
        """Returns the same from inputs that were multiplied by `of_inputs`."""
        shape = hints / HINT_UNIT if self.shape_useful else torch.zeros_like(hints)
        correction = self.out(
            self.body(projected + F.linear(shape, self.first.weight[:, self.channels :], self.first.bias))
        )
        if not self.shape_useful:
            return correction
        scale = (doubt / self.usual_doubt).clamp(max=1.0)[:, None]
        return F.pad(self.trust * hints, (1, 0)) + scale * correction


class _Shape:
    """The shape between completely annotated slices: signed distances (voxels of the finest spacing, inside > 0)."""

    def __init__(
        self, known: np.ndarray, planes: Sequence[Plane], classes: int, region: Region, spacing: Sequence[float]
    ):
        self.region, self.classes = region, classes
        self.unit = min(spacing)
        self.spacing = spacing
        self.axes: list[tuple[int, np.ndarray, Tensor, Tensor]] = []
        for axis in range(3):
            indices = np.array(sorted({p.index for p in planes if p.axis == axis}), int)
            if len(indices) < 2:
                continue
            rest = [a for a in range(3) if a != axis]
            maps, centres = [], []
            for index in indices:
                plane = np.moveaxis(known, axis, 0)[index][region.slices[rest[0]], region.slices[rest[1]]]
                distance = [
                    _signed_distance(plane == c, (spacing[rest[0]], spacing[rest[1]])) / self.unit
                    for c in range(1, classes + 1)
                ]
                maps.append(np.stack(distance))
                centres.append([_centre(plane == c) for c in range(1, classes + 1)])
            self.axes.append(
                (axis, indices - region.start[axis], torch.from_numpy(np.stack(maps)), torch.tensor(np.array(centres)))
            )

    @property
    def useful(self) -> bool:
        """Whether at least two slices of one orientation are complete."""
        return bool(self.axes)

    def at(self, places: Tensor, without_own_plane: bool) -> tuple[Tensor, Tensor]:
        """Returns hints (N × classes) and how doubtful they are (N) at flat places of the region.

        Doubt is the product of the distances to the slice before and behind; beyond the outermost slice the distance
        times the last gap.

        Args:
            without_own_plane: at an annotated slice, look at its neighbours instead.
        """
        coordinates = torch.stack(torch.unravel_index(places, self.region.shape), 1)
        hints = torch.zeros(len(places), self.classes)
        doubt = torch.zeros(len(places), 1)
        total = torch.zeros(len(places), 1)
        for axis, indices, maps, centres in self.axes:
            position = coordinates[:, axis].contiguous()
            known = torch.from_numpy(indices)
            own = torch.isin(position, known) if without_own_plane else torch.zeros(len(places), dtype=torch.bool)
            slot = torch.searchsorted(known, position, right=True)
            below, above = slot - 1, slot
            exact = torch.isin(position, known)
            if without_own_plane:
                below = torch.where(own, below - 1, below)
            else:
                above = torch.where(exact, below, above)
            has_below, has_above = below >= 0, above < len(indices)
            below_i, above_i = below.clamp(min=0), above.clamp(max=len(indices) - 1)
            below_i = torch.where(has_below, below_i, above_i)
            above_i = torch.where(has_above, above_i, below_i)
            to_below, to_above = (position - known[below_i]).abs().float(), (known[above_i] - position).abs().float()
            gap = (to_below + to_above).clamp_min(1e-6)
            share = torch.where(to_below + to_above > 0, to_below / gap, torch.zeros_like(gap))
            value = self._interpolated(coordinates, axis, maps, centres, below_i, above_i, share)
            outside = ~(has_below & has_above)
            step = self.spacing[axis] / self.unit
            nearest = torch.minimum(to_below, to_above) * step
            # Beyond the outermost slice a shape closes like a cap.
            value = value - (nearest * outside)[:, None]
            last_gap = float(np.diff(indices).mean()) * step
            product = torch.where(outside, nearest * last_gap, to_below * to_above * step**2)
            weight = (1 / (1 + nearest))[:, None]
            hints += weight * value
            total += weight
            doubt += weight * product[:, None]
        if self.axes:
            hints, doubt = hints / total, doubt / total
        return hints.clamp(-FARTHEST, FARTHEST), doubt[:, 0]

    def _interpolated(
        self, coordinates: Tensor, axis: int, maps: Tensor, centres: Tensor, below: Tensor, above: Tensor, share: Tensor
    ) -> Tensor:
        rest = [a for a in range(3) if a != axis]
        place = coordinates[:, rest].float()
        columns = []
        for c in range(self.classes):
            low, high = centres[below, c], centres[above, c]
            there = torch.isfinite(low).all(1) & torch.isfinite(high).all(1)
            # Each contour moves to where its centre would be at this slice.
            middle = low + (high - low) * share[:, None]
            shift_low = torch.where(there[:, None], middle - low, torch.zeros_like(low))
            shift_high = torch.where(there[:, None], middle - high, torch.zeros_like(high))
            a = _bilinear(maps[:, c], below, place - shift_low)
            b = _bilinear(maps[:, c], above, place - shift_high)
            columns.append(a * (1 - share) + b * share)
        return torch.stack(columns, 1)


def _usual_axis(planes: Sequence[Plane]) -> int:
    """The axis that most of the planes are across."""
    return int(np.bincount([p.axis for p in planes], minlength=3).argmax())


def _drawing_weights(labels: Tensor, places: Tensor) -> Tensor:
    """Voxels near a contour share one half of the draws, the rest of each class the other half."""
    known = labels.reshape(-1)[places]
    one_hot = F.one_hot(labels.clamp_min(0), int(known.max()) + 1).movedim(-1, 0)[None].float()
    one_hot[0, :, labels < 0] = 0
    for axis in range(3):
        size = [5 if a == axis else 1 for a in range(3)]
        one_hot = F.max_pool3d(one_hot, size, 1, [n // 2 for n in size])
    spread = one_hot[0].sum(0) > 1
    near = spread.reshape(-1)[places].float()
    counts = torch.bincount(known, minlength=int(known.max()) + 1).clamp_min(1).float()
    by_class = 1 / counts[known]
    near_weight = near / near.sum().clamp_min(1)
    return NEAR_CONTOUR_SHARE * near_weight + (1 - NEAR_CONTOUR_SHARE) * by_class / by_class.sum()


def _signed_distance(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Signed distance to the mask's border in mm, inside positive; a plane without the class is far outside."""
    if not mask.any():
        return np.full(mask.shape, -FARTHEST * min(spacing), np.float32)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    array = sitk.GetArrayFromImage(distance)
    # The map is zero on the mask's own border voxels; the border lies half a voxel further out.
    return (array + 0.5 * min(spacing)).astype(np.float32)


def _centre(mask: np.ndarray) -> list[float]:
    rows, columns = np.nonzero(mask)
    return [float(rows.mean()), float(columns.mean())] if len(rows) else [float("nan")] * 2


def _bilinear(maps: Tensor, which: Tensor, place: Tensor) -> Tensor:
    height, width = maps.shape[1:]
    y, x = place[:, 0].clamp(0, height - 1).float(), place[:, 1].clamp(0, width - 1).float()
    y0, x0 = y.floor().long(), x.floor().long()
    y1, x1 = (y0 + 1).clamp(max=height - 1), (x0 + 1).clamp(max=width - 1)
    fy, fx = y - y0, x - x0
    top = maps[which, y0, x0] * (1 - fx) + maps[which, y0, x1] * fx
    bottom = maps[which, y1, x0] * (1 - fx) + maps[which, y1, x1] * fx
    return top * (1 - fy) + bottom * fy


def _like(array: np.ndarray, volume: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(volume)
    return image
