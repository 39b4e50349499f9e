"""Learning from a few annotated slices: one volume, seconds, and corrections that feed the next round.

The volume's features come once from a frozen pretrained network; a light head learns on the annotated voxels alone.
Beside the features the head sees what the annotated slices suggest (`slice_hints`): a shape, interpolated between them,
and labels that grow from them along the image. During learning both are drawn from all *other* annotated slices, so
that the head learns how far to trust them and where the features know better.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigurationError
from ..events import OnEvent, ProgressMeter, Stop, Stopped, ignore, never
from ..imaging.intensities import TAIL, tail_of
from ..models.model import Model
from ..models.network import EncoderDecoder
from ..preprocessing.fingerprint import Fingerprint
from ..preprocessing.normalisation import ANISOTROPY, normalised, slice_axis_of
from ..preprocessing.working import in_float32
from .slice_features import Region, SliceFeatures, slice_features
from .slice_pieces import one_piece_on_slices, without_islands
from .slice_priors import FARTHEST, Growth, Plane, Shape, surroundings

HIDDEN = 64
FIRST_STEPS, NEXT_STEPS = 150, 60
"""Steps of learning in the first round and in a correction round."""
VOXELS_A_STEP = 2048
MOST_KNOWN = 2**19
"""Voxels of a label that are learned from; torch draws from at most 2²⁴."""
CONTOUR_STEPS = 100
"""Further steps, of scribbles alone, near the contours where labels that grow from them meet."""
MOST_AT_CONTOURS = 30_000
"""Voxels near such contours."""
ROUNDING = 1e-3
"""Of distances that were clipped in one unit and interpolated in another."""
NEAR_CONTOUR_SHARE = 0.5
"""Share of the voxels of a step that are drawn near the contours, where decisions are made."""
DROPPED = 26
"""Of 256 inputs of the head in learning."""
MOST_IN_ALL_PLANES = 2**19
"""Voxels of a near-isotropic region up to which the network sees the slices along all axes. That doubles a round's time, to
five CPU seconds for the first and two for a correction in a region of so many, which is not felt as waiting on two cores."""
HINT_UNIT = 5.0
"""Distances are divided by this before the head sees them, or it would look at little else."""
OWN_PERCENTILES = Fingerprint(spacing=(1.0, 1.0, 1.0), slice_axis=0, normalisation="percentiles", median_size=(1, 1, 1))
"""Any volume is normalised by its own values: it need not be of a task that the network knows."""


@dataclass(frozen=True)
class Preview:
    """What a round gives.

    Attributes:
        volume: whose grid it is on.
        labels: the segments' values (z, y, x) of the whole volume; annotated voxels are as the user painted them.
        region: outside of it nothing but what was painted is there.
        entropy: float32, 0 to 1, of the region.
        next_slice: where a further annotation would teach most, None where nothing is uncertain.
        place: the most uncertain voxel (z, y, x) of that slice.
        seconds: time that the round took.
        spans: where each label was filled (start and stop along z, y, x); nothing is said of it elsewhere.
    """

    volume: sitk.Image
    labels: np.ndarray
    region: Region
    entropy: np.ndarray
    next_slice: Plane | None
    place: tuple[int, int, int] | None
    seconds: float
    spans: dict[int, list[tuple[int, int]]]

    @property
    def label_map(self) -> sitk.Image:
        """Returns the labels as an image on the volume's grid."""
        return _like(self.labels, self.volume)

    @property
    def uncertainty(self) -> sitk.Image:
        """Returns the entropy as an image on the volume's grid, 0 outside of the region."""
        whole = np.zeros(self.labels.shape, np.float32)
        whole[self.region.slices] = self.entropy
        return _like(whole, self.volume)


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
    model: Model | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0

    def __post_init__(self) -> None:
        self._spacing = tuple(self.volume.GetSpacing()[::-1])
        values = sitk.GetArrayFromImage(in_float32(self.volume)).astype(np.float32, copy=False)
        tails = tail_of(values) >= TAIL
        self._array = normalised(values, OWN_PERCENTILES.model_copy(update={"tails": tails}))
        self._network: EncoderDecoder | None = None
        if self.model is not None:
            if self.model.description.network.spatial_dims != 2:
                raise ConfigurationError("learning from slices needs a 2D network, this one is 3D")
            self._network = self.model.network(self.device)
        self._features: SliceFeatures | None = None
        self._head: _Head | None = None
        self._values: list[int] = []
        self._hints = (False, False)

    def learn(
        self,
        annotation: sitk.Image,
        planes: Sequence[Plane],
        on_event: OnEvent = ignore,
        stop: Stop = never,
        whole_volume: bool = False,
        background: int | None = None,
        largest_component: bool | None = None,
    ) -> Preview:
        """Learns from what is painted so far and fills the rest; a further call goes on from the last one.

        Args:
            annotation: label map on the volume's grid; 0 is "not painted".
            planes: the slices that are annotated completely, of all labels or of some. Elsewhere only painted voxels are
                learned from.
            background: value of the annotation that means "painted, and none of the labels".
            whole_volume: fill the whole volume, not only the surroundings of what is painted. Where several slices of one
                orientation are complete, nothing is filled beyond the first and the last of them.
            largest_component: leave out what is filled of a label and hangs together with nothing painted of it, of each
                label or of none; None of those that are one piece on their complete slices (see `slice_pieces`).

        Raises:
            ConfigurationError: nothing is painted, or nothing tells what background is.
            Stopped: `stop` asked for it; the session is of no use any more.
        """
        began = time.monotonic()
        painted = sitk.GetArrayViewFromImage(annotation)
        values = self._painted_values(painted, planes, background)
        known, exclusions, own_planes = _known(painted, planes, values, background)
        # Scribbles do not cover a structure: it may reach as far as anything that is painted.
        spans = [
            self._span(known == channel if own else known >= 0, own, whole_volume)
            for channel, own in enumerate(own_planes, 1)
        ]
        wanted = self._wanted_region(spans, planes, whole_volume)
        exclusions = _outside_of_spans(known, exclusions, spans)
        if self._features is None or not self._features.region.holds(wanted):
            self._features = slice_features(
                self._array, wanted, self._network, self.device, on_event, stop, self._axes(wanted)
            )
        features = self._features
        region = features.region
        labels = torch.from_numpy(np.ascontiguousarray(known[region.slices]))
        possible = _possible(len(values), exclusions)
        shape = Shape(known, own_planes, region, self._spacing)
        growth = Growth(self._array, labels, planes, len(values), region, self._spacing, exclusions)
        channels = sum(features.channels)
        first_round = self._head is None or self._values != values or self._head.channels != channels
        if first_round:
            torch.manual_seed(self.seed)
            self._head = _Head(channels, len(values), shape.useful)
            self._values = values
        head = self._head
        assert head is not None
        # With the second slice there are hints, which the head has not seen yet.
        hints = (shape.useful, growth.useful)
        new = first_round or any(now and not before for now, before in zip(hints, self._hints, strict=True))
        self._hints, head.shape_useful = hints, shape.useful
        self._train(head, features, labels, possible, shape, growth, new, on_event, stop)
        if growth.useful and not planes:
            self._train_at_contours(head, features, labels, shape, growth, on_event, stop)
        shares = self._apply(head, features, shape, growth, [_within(span, region) for span in spans])
        shares, definite = _within_what_is_possible(shares, labels, possible)
        found, entropy = _decided(shares)
        found[definite] = labels.numpy()[definite]
        entropy[definite] = 0
        if largest_component is not False:
            scribbled = growth.useful and not planes
            whole = _in_one_piece(known, own_planes, scribbled, every=bool(largest_component))
            found = without_islands(found, known[region.slices], whole)
        table = np.array([0, *values], painted.dtype)
        result = np.array(painted)
        if background is not None:
            result[result == background] = 0
        result[region.slices] = table[found]
        next_slice = self._next_slice(entropy, region, planes)
        return Preview(
            self.volume, result, region, entropy, next_slice, _highest_in(entropy, region, next_slice),
            time.monotonic() - began, dict(zip(values, spans, strict=True)),
        )  # fmt: skip

    def _painted_values(self, painted: np.ndarray, planes: Sequence[Plane], background: int | None) -> list[int]:
        """Returns the labels that are painted.

        Raises:
            ConfigurationError: there is none, or nothing to learn background from.
        """
        if painted.shape != self._array.shape:
            raise ConfigurationError(
                f"the annotation has {painted.shape[::-1]} voxels, the volume {self._array.shape[::-1]}"
            )
        values = [int(v) for v in np.unique(painted[painted != 0]) if v != background]
        if not values:
            raise ConfigurationError("nothing is painted yet", "Paint a segment on at least one slice.")
        tells_background = background is not None and bool((painted == background).any())
        if not planes and len(values) < 2 and not tells_background:
            raise ConfigurationError(
                "nothing tells what is background", "Mark a slice as complete, or paint a second segment."
            )
        return values

    # Where to work ---------------------------------------------------------------------------------------------

    def _span(self, there: np.ndarray, own: Sequence[Plane], whole: bool) -> list[tuple[int, int]]:
        """First and last (exclusive) index along each axis at which a class is filled.

        Whoever annotates several slices of one orientation has chosen the first and the last of them, unless what is
        painted across them, in another orientation, goes on beyond.
        """
        found = []
        for axis, size in enumerate(there.shape):
            painted = np.flatnonzero(there.any(tuple(a for a in range(3) if a != axis)))
            first, last = int(painted[0]), int(painted[-1]) + 1
            margin = max(8, round(0.25 * (last - first)))
            low, high = (0, size) if whole else (max(0, first - margin), min(size, last + margin))
            indices = sorted({p.index for p in own if p.axis == axis})
            if indices and not whole:
                low, high = min(low, indices[0]), max(high, indices[-1] + 1)
            if len(indices) > 1:
                low = indices[0] if first >= indices[0] else low
                high = indices[-1] + 1 if last <= indices[-1] + 1 else high
            found.append((low, high))
        return found

    def _wanted_region(
        self, spans: Sequence[Sequence[tuple[int, int]]], planes: Sequence[Plane], whole: bool
    ) -> Region:
        slice_axis = (
            _usual_axis(planes) if self._isotropic and planes else slice_axis_of(self._spacing, self._array.shape)
        )
        size = self._array.shape
        if whole:
            return Region((0, 0, 0), (size[0], size[1], size[2]), slice_axis)
        start = [min(span[axis][0] for span in spans) for axis in range(3)]
        stop = [max(span[axis][1] for span in spans) for axis in range(3)]
        return Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), slice_axis)

    @property
    def _isotropic(self) -> bool:
        return 1 not in self._array.shape and max(self._spacing) < ANISOTROPY * min(self._spacing)

    def _axes(self, region: Region) -> list[int]:
        """Returns along which axes the network sees slices of a region, its own first."""
        all_planes = self._isotropic and math.prod(region.shape) <= MOST_IN_ALL_PLANES
        return [region.slice_axis, *(region.rest if all_planes else ())]

    # Learning --------------------------------------------------------------------------------------------------

    def _train(
        self,
        head: _Head,
        features: SliceFeatures,
        labels: Tensor,
        possible: Tensor,
        shape: Shape,
        growth: Growth,
        new: bool,
        on_event: OnEvent,
        stop: Stop,
    ) -> None:
        steps = FIRST_STEPS if new else NEXT_STEPS
        generator = torch.Generator().manual_seed(self.seed)
        places = _places_to_learn_from(labels, generator)
        inputs = features.at(places)
        hints, doubt = shape.at(places, without_own_plane=True)
        grown = growth.at(places, without_own_plane=True)
        allowed = possible[labels.reshape(-1)[places].long()]
        if new and shape.useful:
            head.usual_doubt.copy_(doubt[doubt.isfinite()].mean().clamp_min(1e-3))
        if shape.useful:
            head.fading.fill_(0.5 + 0.5 * _agreement(hints > 0, allowed))
        weight = _drawing_weights(labels, places)
        lessons = _Lessons(inputs, hints, doubt, grown, allowed, weight)
        self._fit(head, lessons, steps, generator, on_event, stop)

    def _train_at_contours(
        self,
        head: _Head,
        features: SliceFeatures,
        labels: Tensor,
        shape: Shape,
        growth: Growth,
        on_event: OnEvent,
        stop: Stop,
    ) -> None:
        """Scribbles tell nothing of what lies near a contour, where decisions are made.

        So the head learns there too, from what grows and what it sees itself, where the two agree.
        """
        generator = torch.Generator().manual_seed(self.seed)
        own = _places_to_learn_from(labels, generator)
        every = torch.arange(labels.numel())
        ahead, first = growth.at(every, without_own_plane=False).max(1)
        grown = torch.where(ahead < 0, 0, first + 1)
        near = _is_near_contour(grown.reshape(labels.shape).to(torch.int16)) & (labels.reshape(-1) < 0)
        places = torch.nonzero(near).squeeze(1)
        places = places[torch.randperm(len(places), generator=generator)[:MOST_AT_CONTOURS]]
        inputs, nothing = features.at(places), torch.zeros(len(places), growth.classes)
        with torch.inference_mode():
            agreed = head(inputs.float(), nothing, nothing, nothing).max(1).indices == grown[places]
        places, inputs, nothing = places[agreed], inputs[agreed], nothing[agreed]
        if not len(places):
            return
        taught = labels.clone()
        taught.reshape(-1)[places] = grown[places].to(taught.dtype)
        hints, doubt = shape.at(own, without_own_plane=True)
        one = F.one_hot(taught.reshape(-1)[torch.cat([own, places])].long(), growth.classes + 1).bool()
        lessons = _Lessons(
            torch.cat([features.at(own), inputs]),
            torch.cat([hints, nothing]),
            torch.cat([doubt, nothing]),
            torch.cat([growth.at(own, without_own_plane=True), nothing]),
            one,
            torch.cat([_drawing_weights(labels, own), _drawing_weights(taught, places)]),
        )
        self._fit(head, lessons, CONTOUR_STEPS, generator, on_event, stop)

    @staticmethod
    def _fit(
        head: _Head, lessons: _Lessons, steps: int, generator: torch.Generator, on_event: OnEvent, stop: Stop
    ) -> None:
        optimizer = torch.optim.AdamW(head.parameters(), 4e-3, weight_decay=1e-2, fused=True)
        meter = ProgressMeter(on_event, "learning", steps)
        head.train()
        order = torch.multinomial(lessons.weight, steps * VOXELS_A_STEP, replacement=True, generator=generator)
        for step, drawn in enumerate(order.split(VOXELS_A_STEP)):
            if stop():
                raise Stopped
            for group in optimizer.param_groups:
                group["lr"] = 4e-3 * (1 - step / steps)
            inputs, hints, doubt = lessons.inputs[drawn].float(), lessons.hints[drawn], lessons.doubt[drawn]
            logits = head(inputs, hints, doubt, lessons.grown[drawn])
            # Cross entropy, of the sum of the labels that a voxel can have where several are possible.
            possible = logits.masked_fill(~lessons.allowed[drawn], -torch.inf)
            loss = (logits.logsumexp(1) - possible.logsumexp(1)).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            meter.update(step + 1)
        head.eval()

    @torch.inference_mode()
    def _apply(
        self, head: _Head, features: SliceFeatures, shape: Shape, growth: Growth, spans: list[tuple[slice, ...]]
    ) -> Tensor:
        """Returns the shares of background and classes in the region: classes + 1, z, y, x; beyond its span, no class."""
        region = features.region
        shares = torch.zeros(shape.classes + 1, *region.shape)
        shares[0] = 1
        outside = None
        if any(span != spans[0] for span in spans):
            outside = torch.ones(shape.classes, *region.shape, dtype=torch.bool)
            for channel, span in enumerate(spans):
                outside[channel][span] = False
        union = [slice(min(s[a].start for s in spans), max(s[a].stop for s in spans)) for a in range(3)]
        across = union[region.slice_axis]
        for number in range(across.start, across.stop):
            rows, columns = (union[axis] for axis in region.rest)
            size = (rows.stop - rows.start, columns.stop - columns.start)
            hints, doubt = shape.of_slice(number, rows, columns)
            grown = growth.of_slice(number, rows, columns)
            near = torch.ones(size, dtype=torch.bool)
            if shape.useful:
                near = ((hints > -FARTHEST + ROUNDING) | (grown > 0)).any(1).view(size)
                if not near.any():
                    continue
            part = tuple(_extent(near.any(1 - axis)) for axis in range(2))
            near = near[part]
            hints, doubt, grown = (values.view(*size, -1)[part][near] for values in (hints, doubt, grown))
            rows, columns = (
                slice(whole.start + own.start, whole.start + own.stop)
                for whole, own in zip((rows, columns), part, strict=True)
            )
            inputs = features.projected(number, rows, columns, head.of_inputs)[near]
            logits = head.from_projected(inputs, hints, doubt, grown)
            if outside is not None:
                there = outside.select(region.slice_axis + 1, number)[:, rows, columns][:, near]
                logits[:, 1:].masked_fill_(there.T, -torch.inf)
            shares.select(region.slice_axis + 1, number)[:, rows, columns][:, near] = logits.softmax(1).T
        return shares

    def _next_slice(self, entropy: np.ndarray, region: Region, planes: Sequence[Plane]) -> Plane | None:
        axis = _usual_axis(planes) if planes else region.slice_axis
        doubt = entropy.sum(tuple(a for a in range(3) if a != axis))
        known = np.array([p.index - region.start[axis] for p in planes if p.axis == axis])
        if len(known):
            # Far from what is known, more is learned: a slice beside a known one is doubtful for the same reason.
            doubt = doubt * np.abs(np.arange(len(doubt))[:, None] - known).min(1)
        if not doubt.any():
            return None
        return Plane(axis, region.start[axis] + int(doubt.argmax()))


@dataclass(frozen=True)
class _Lessons:
    """Voxels that are learned from: what the head sees of each (`_Head.forward`), the labels that it can have (N ×
    classes + 1), and how often it is drawn."""

    inputs: Tensor
    hints: Tensor
    doubt: Tensor
    grown: Tensor
    allowed: Tensor
    weight: Tensor


class _Head(nn.Module):
    """Per voxel: what shape and growth suggest, corrected by a small network that sees them and the features.

    The error of linear interpolation grows with the product of the distances to both neighbours, and gaps are half as
    wide in use as in learning. So where shapes agree with the slices that were left out, corrections fade with that
    product, against its mean in learning; where they do not, with its root.
    """

    usual_doubt: Tensor
    fading: Tensor

    def __init__(self, channels: int, classes: int, shape_useful: bool):
        super().__init__()
        self.channels, self.shape_useful = channels, shape_useful
        self.first = nn.Linear(channels + 2 * classes, HIDDEN)
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        self.out = nn.Linear(HIDDEN, classes + 1)
        self.trust = nn.Parameter(torch.tensor(1.0))
        self.trust_in_growth = nn.Parameter(torch.tensor(3.0))
        self.register_buffer("usual_doubt", torch.tensor(1.0))
        self.register_buffer("fading", torch.tensor(1.0))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, inputs: Tensor, hints: Tensor, doubt: Tensor, grown: Tensor) -> Tensor:
        """Returns logits, N × (classes + 1), from inputs N × C, signed distances, their doubt and growth N × classes."""
        projected = F.linear(_thinned(inputs) if self.training else inputs, self.of_inputs)
        return self.from_projected(projected, hints, doubt, grown)

    @property
    def of_inputs(self) -> Tensor:
        """Returns the part of the first layer's weights that belongs to the inputs."""
        return self.first.weight[:, : self.channels]

    def from_projected(self, projected: Tensor, hints: Tensor, doubt: Tensor, grown: Tensor) -> Tensor:
        """Returns the same from inputs that were multiplied by `of_inputs`."""
        shape = hints / HINT_UNIT if self.shape_useful else torch.zeros_like(hints)
        suggested = torch.cat([shape, grown], 1)
        correction = self.out(
            self.body(projected + F.linear(suggested, self.first.weight[:, self.channels :], self.first.bias))
        )
        trusted = self.trust_in_growth * grown
        if self.shape_useful:
            fade = (doubt / self.usual_doubt).clamp(max=1.0).pow(self.fading)
            correction = torch.cat([fade.mean(1, keepdim=True), fade], 1) * correction
            trusted = trusted + self.trust * hints
        return F.pad(trusted, (1, 0)) + correction


def _thinned(inputs: Tensor) -> Tensor:
    """Inputs with dropout (`DROPPED` of 256 are 0), drawn by the byte: torch's own takes as long as the rest of a step."""
    drawn = torch.empty(-(-inputs.numel() // 8), dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)
    kept = drawn[: inputs.numel()].view(inputs.shape) >= DROPPED
    return inputs * kept * (256 / (256 - DROPPED))


def _known(
    painted: np.ndarray, planes: Sequence[Plane], values: Sequence[int], background: int | None
) -> tuple[np.ndarray, list[frozenset[int]], list[list[Plane]]]:
    """Returns what is known of each voxel (int16), the exclusions in it, and the planes of each label.

    -1: nothing; 0: background; 1, …: the label of `values`; beyond: that it has none of an exclusion's labels.
    """
    known = np.full(painted.shape, -1, np.int16)
    for channel, value in enumerate(values, 1):
        known[painted == value] = channel
    if background is not None:
        known[painted == background] = 0
    everything = frozenset(range(1, len(values) + 1))
    exclusions: list[frozenset[int]] = []
    own_planes: list[list[Plane]] = [[] for _ in values]
    for plane in planes:
        complete = everything if plane.values is None else {c for c in everything if values[c - 1] in plane.values}
        for channel in complete:
            own_planes[channel - 1].append(plane)
        view = np.moveaxis(known, plane.axis, 0)[plane.index]
        _exclude(view, slice(None), frozenset(complete), exclusions, len(values))
    return known, exclusions, own_planes


def _exclude(
    known: np.ndarray,
    where: slice | np.ndarray,
    channels: frozenset[int],
    exclusions: list[frozenset[int]],
    classes: int,
) -> None:
    """Makes it known that voxels have none of some labels, where it is not known what they have."""
    part = known[where]
    for code in np.unique(part):
        if 0 <= code <= classes:
            continue
        excluded = channels | (exclusions[code - classes - 1] if code > classes else frozenset())
        if len(excluded) == classes:
            new = 0
        elif excluded:
            if excluded not in exclusions:
                exclusions.append(excluded)
            new = classes + 1 + exclusions.index(excluded)
        else:
            continue
        part[part == code] = new
    known[where] = part


def _outside_of_spans(
    known: np.ndarray, exclusions: list[frozenset[int]], spans: Sequence[Sequence[tuple[int, int]]]
) -> list[frozenset[int]]:
    """Where part of the labels is excluded, those are too that are not filled there; returns the exclusions."""
    if exclusions:
        for channel, span in enumerate(spans, 1):
            outside = known > len(spans)
            outside[tuple(slice(*ends) for ends in span)] = False
            _exclude(known, outside, frozenset({channel}), exclusions, len(spans))
    return exclusions


def _possible(classes: int, exclusions: Sequence[frozenset[int]]) -> Tensor:
    """Returns which labels are possible for each kind of knowledge: kinds × (classes + 1)."""
    rows = [[label == kind for label in range(classes + 1)] for kind in range(classes + 1)]
    rows += [[label not in excluded for label in range(classes + 1)] for excluded in exclusions]
    return torch.tensor(rows)


def _decided(shares: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels of which most is there (int16) and the entropy (0 to 1), slice by slice: regions can be large."""
    found = np.empty(shares.shape[1:], np.int16)
    entropy = np.empty(shares.shape[1:], np.float32)
    for number in range(shares.shape[1]):
        part = shares[:, number]
        found[number] = part.max(0).indices.numpy()
        entropy[number] = torch.special.entr(part).sum(0).div_(np.log(len(shares))).numpy()
    return found, entropy


def _within_what_is_possible(shares: Tensor, labels: Tensor, possible: Tensor) -> tuple[Tensor, np.ndarray]:
    """Returns the shares, of voxels that may be some labels only among those; and where the label is known.

    Args:
        shares: labels with background × slices × rows × columns.
        labels: what is known there: a channel, −1, or a number beyond the channels that stands for a row of `possible`.
    """
    undecided = labels >= len(shares)
    if undecided.any():
        there = possible[labels[undecided].long()].T * shares[:, undecided]
        shares = shares.clone()  # the other one is an inference tensor
        shares[:, undecided] = there / there.sum(0).clamp_min(1e-12)
    return shares, ((labels >= 0) & ~undecided).numpy()


def _in_one_piece(known: np.ndarray, own_planes: Sequence[Sequence[Plane]], scribbled: bool, every: bool) -> list[int]:
    """Returns the channels of which only what hangs together with something painted is kept."""
    if every:
        return list(range(1, 1 + len(own_planes)))
    # Nothing but scribbles says where a structure is that something was painted around.
    around = surroundings(known) if scribbled else []
    return [
        channel
        for channel, own in enumerate(own_planes, 1)
        if one_piece_on_slices(known == channel, own) or (scribbled and channel not in around)
    ]


def _extent(there: Tensor) -> slice:
    """From the first to the last of the places, of which there is one at least."""
    found = torch.nonzero(there)
    return slice(int(found[0]), int(found[-1]) + 1)


def _within(span: Sequence[tuple[int, int]], region: Region) -> tuple[slice, ...]:
    return tuple(
        slice(max(low, start) - start, min(high, stop) - start)
        for (low, high), start, stop in zip(span, region.start, region.stop, strict=True)
    )


def _highest_in(entropy: np.ndarray, region: Region, plane: Plane | None) -> tuple[int, int, int] | None:
    if plane is None:
        return None
    view = entropy.take(plane.index - region.start[plane.axis], plane.axis)
    place = [int(i) for i in np.unravel_index(int(view.argmax()), view.shape)]
    place.insert(plane.axis, plane.index - region.start[plane.axis])
    z, y, x = (i + start for i, start in zip(place, region.start, strict=True))
    return z, y, x


def _usual_axis(planes: Sequence[Plane]) -> int:
    """The axis that most of the planes are across."""
    return int(np.bincount([p.axis for p in planes], minlength=3).argmax())


def _agreement(suggested: Tensor, allowed: Tensor) -> float:
    """Returns the Dice of suggested structures, N × classes, and the labels, of N × (classes + 1) possible ones."""
    certain = allowed.sum(1, keepdim=True) == 1
    decided = certain | ~allowed[:, 1:]
    there = certain & allowed[:, 1:]
    suggested = suggested & decided
    return float(2 * (suggested & there).sum() / (suggested.sum() + there.sum()).clamp_min(1))


def _places_to_learn_from(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Flat places of the known voxels; of a label with very many of them, so many at random."""
    found = []
    for label in range(int(labels.max()) + 1):
        own = torch.nonzero(labels.reshape(-1) == label).squeeze(1)
        if len(own) > MOST_KNOWN:
            own = own[torch.randperm(len(own), generator=generator)[:MOST_KNOWN]]
        found.append(own)
    return torch.cat(found).sort().values


def _drawing_weights(labels: Tensor, places: Tensor) -> Tensor:
    """Voxels near a contour share one half of the draws, the rest of each class the other half."""
    known = labels.reshape(-1)[places].long()
    near = _is_near_contour(labels)[places].float()
    counts = torch.bincount(known, minlength=int(known.max()) + 1).clamp_min(1).float()
    by_class = 1 / counts[known]
    near_weight = near / near.sum().clamp_min(1)
    return NEAR_CONTOUR_SHARE * near_weight + (1 - NEAR_CONTOUR_SHARE) * by_class / by_class.sum()


def _is_near_contour(labels: Tensor) -> Tensor:
    """Whether another label lies within two voxels (flat); labels below 0 are none."""
    most = _highest_around(labels)
    least = -_highest_around(torch.where(labels < 0, torch.iinfo(labels.dtype).min, -labels))
    return (most != least).reshape(-1)


def _highest_around(values: Tensor) -> Tensor:
    """The highest value of the box that reaches two voxels in each direction; max_pool3d takes twenty times as long."""
    for axis in range(3):
        found = values.clone()
        for step in range(1, min(3, values.shape[axis])):
            count = values.shape[axis] - step
            for to, from_ in ((step, 0), (0, step)):
                part = found.narrow(axis, to, count)
                torch.maximum(part, values.narrow(axis, from_, count), out=part)
        values = found
    return values


def _like(array: np.ndarray, volume: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(volume)
    return image
