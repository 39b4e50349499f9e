"""Which slices form a volume: one series may hold several, told apart by what their headers say and where they lie."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..plural import counted, shortened

MARKS = {
    "TemporalPositionIdentifier": "temporal position",
    "TemporalPositionIndex": "temporal position",
    "NominalPercentageOfCardiacPhase": "cardiac phase",
    "TimeSlotVector": "time slot",
    "RRIntervalVector": "R-R interval",
    "EnergyWindowVector": "energy window",
    "EchoNumbers": "echo",
    "EchoTime": "echo time",
    "EffectiveEchoTime": "echo time",
    "InversionTime": "inversion time",
    "FlipAngle": "flip angle",
    "DiffusionBValue": "b value",
    "DiffusionDirectionality": "diffusion",
    "ImageType": "type",
    "FrameType": "type",
    "ConvolutionKernel": "kernel",
    "KVP": "kVp",
    "StackID": "stack",
    "AcquisitionNumber": "acquisition",
    "TriggerTime": "trigger time",
    "NominalCardiacTriggerDelayTime": "trigger delay",
}
"""DICOM keywords whose values tell the volumes of one series apart, the plainest first, and how each is called."""

_MOST_RUNS = 4
"""Slices that fall into more evenly spaced runs than this are rather one damaged volume than several whole ones."""


@dataclass
class DicomSlice:
    """One slice: a file, or a frame of one. Spacing, position and thickness in mm, `position` in LPS."""

    file: Path
    frame: int
    size: tuple[int, int]
    """Columns and rows."""
    spacing: tuple[float, float] | None
    """Along a row and along a column; None: the file does not say."""
    position: np.ndarray | None
    axes: np.ndarray
    """3×3, its columns are the directions of a row, of a column, and of the normal."""
    thickness: float
    """Distance to the next slice as the header states it; 0: unknown."""
    components: int
    bits: int
    """Allocated for a value."""
    stored: int
    """Bits of them that are used."""
    signed: bool
    rescale: tuple[float, float]
    """Slope and intercept that turn stored values into the image's."""
    read_as: tuple[float, float]
    """Those of the file's first frame, which GDCM applies to every frame."""
    number: int
    """Instance number, or the frame's place in its file."""
    marks: dict[str, Any] = field(default_factory=dict)
    is_counted: bool = False
    """Whether its position is no more than its number among the frames: the file says none."""
    along: float = 0.0
    """Position along the normal."""


@dataclass(frozen=True)
class Stack:
    """The planes of one volume, in the order of their positions along the normal."""

    planes: tuple[DicomSlice, ...]
    name: str = ""
    """What tells it from the others of its series, such as "temporal position 3"."""
    problem: str | None = None
    """Why it is no volume; None: it is."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of its planes, each once."""
        return tuple(dict.fromkeys(p.file for p in self.planes))

    @property
    def description(self) -> str:
        """Such as "temporal position 3 (20 slices of 512×512)"."""
        first, count = self.planes[0], len(self.planes)
        text = f"{counted(count, 'slice')} of {first.size[0]}×{first.size[1]}"
        if count == 1:
            text += f", {first.file.name}"
        return f"{self.name} ({text})" if self.name else text


def stacks_of(planes: Sequence[DicomSlice]) -> list[Stack]:
    """Sorts the planes of one series into volumes, the one of most slices first.

    Planes of another size, spacing, orientation or pixel format are another volume. Where positions repeat, the value
    that tells them apart (`MARKS`) splits them; where none does, the first of each position belong together, the
    second, and so on. Where distances are uneven, the planes may be passes of their own spacing or offset.
    """
    groups: list[list[DicomSlice]] = []
    for plane in planes:
        group = next((g for g in groups if _alike(g[0], plane)), None)
        if group is None:
            groups.append([plane])
        else:
            group.append(plane)
    several = len(groups) > 1
    stacks = []
    for group in groups:
        _put_along(group)
        stacks += [
            Stack(tuple(s.planes), s.name or (_pose(s.planes[0]) if several else ""), s.problem)
            for s in _split(sorted(group, key=lambda p: (p.along, p.number, p.file, p.frame)))
        ]
    order = sorted(range(len(stacks)), key=lambda i: (-len(stacks[i].planes), i))
    return [stacks[i] for i in order]


def _alike(one: DicomSlice, other: DicomSlice) -> bool:
    if (one.size, one.components, one.spacing is None, one.position is None) != (
        other.size,
        other.components,
        other.spacing is None,
        other.position is None,
    ):
        return False
    if one.spacing and other.spacing and not np.allclose(one.spacing, other.spacing, rtol=1e-3):
        return False
    return bool(np.allclose(one.axes, other.axes, atol=1e-3))


def _put_along(group: list[DicomSlice]) -> None:
    normal = group[0].axes[:, 2]
    for plane in group:
        plane.along = 0.0 if plane.position is None else float(plane.position @ normal)


def _pose(plane: DicomSlice) -> str:
    """Names how a stack's slices lie and what they are, to tell it from others of its series."""
    plane_names = ("sagittal", "coronal", "axial")
    return plane_names[int(np.abs(plane.axes[:, 2]).argmax())]


def _split(ordered: list[DicomSlice]) -> list[Stack]:
    """Splits planes that differ in position only, or in nothing, into volumes."""
    if len(ordered) > 1 and any(p.position is None for p in ordered):
        return [Stack(tuple(ordered), problem=f"its {counted(len(ordered), 'slice')} have no positions")]
    most = max(Counter(_place(p, ordered[0]) for p in ordered).values())
    if most == 1:
        problem = unevenness(ordered)
        if problem is None:
            return [Stack(tuple(ordered))]
        for named in _by_marks(ordered):
            runs = [Stack(tuple(g), name) for name, g in named]
            whole = all(len(g) > 1 and unevenness(g) is None for _, g in named)
            if whole and (_behind([g for _, g in named]) or not _on_one_lattice(ordered)):
                return runs
        if _on_one_lattice(ordered):
            return [Stack(tuple(ordered), problem=problem)]
        runs = [Stack(tuple(r), f"{r[0].along:.1f} to {r[-1].along:.1f} mm") for r in _runs(ordered)]
        return runs or [Stack(tuple(ordered), problem=problem)]
    for named in _by_marks(ordered):
        if len(named) == most and all(_apart(g) for _, g in named):
            break
    else:
        named = _by_rank(ordered)
    stacks = []
    for name, group in named:
        inner = _split(group)
        stacks += [Stack(s.planes, " ".join(filter(None, (name, s.name))), s.problem) for s in inner]
    return stacks


def _place(plane: DicomSlice, first: DicomSlice) -> int:
    """Returns a number that two planes share when they lie within `_precision` of each other."""
    return round((plane.along - first.along) / _precision(first))


def _precision(plane: DicomSlice) -> float:
    """Returns within how many mm two positions are one: a hundredth, or a tenth of a pixel where these are smaller (micro-CT)."""
    return min(0.01, 0.1 * min(plane.spacing or (1.0,)))


def _apart(group: list[DicomSlice]) -> bool:
    return len({_place(p, group[0]) for p in group}) == len(group)


def _by_marks(ordered: list[DicomSlice]) -> Iterable[list[tuple[str, list[DicomSlice]]]]:
    """Yields the planes as each mark, and then each pair of marks, groups them."""
    varying = [key for key in MARKS if len({repr(p.marks.get(key)) for p in ordered}) > 1]
    for keys in itertools.chain(((k,) for k in varying), itertools.combinations(varying, 2)):
        groups: dict[tuple, list[DicomSlice]] = {}
        for plane in ordered:
            groups.setdefault(tuple(plane.marks.get(k) for k in keys), []).append(plane)
        yield [
            (", ".join(f"{MARKS[k]} {_text(v)}" for k, v in zip(keys, values, strict=True)), groups[values])
            for values in sorted(groups, key=lambda values: [_sortable(v) for v in values])
        ]


def _sortable(value: Any) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, _text(value))


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:g}"
    return "/".join(map(str, value)) if isinstance(value, tuple) else re.sub(r"\s+", " ", str(value))


def _by_rank(ordered: list[DicomSlice]) -> list[tuple[str, list[DicomSlice]]]:
    ranks: dict[int, list[DicomSlice]] = {}
    count: Counter[int] = Counter()
    for plane in ordered:  # within a position in the order of their numbers
        place = _place(plane, ordered[0])
        ranks.setdefault(count[place], []).append(plane)
        count[place] += 1
    return [(f"number {rank + 1} of each position", group) for rank, group in ranks.items()]


def _on_one_lattice(ordered: list[DicomSlice]) -> bool:
    """Tells whether all planes stand where those of one volume would: some are missing then, and there is no other."""
    along = np.array([p.along for p in ordered])
    usual = float(np.sort(np.diff(along))[(len(along) - 2) // 2])
    places = (along - along[0]) / usual
    return bool(np.abs(places - np.rint(places)).max() <= 0.05)


def _behind(groups: list[list[DicomSlice]]) -> bool:
    """Tells whether groups of planes lie one behind the other, and do not interlock."""
    ends = sorted((g[0].along, g[-1].along) for g in groups)
    return all(end < start for (_, end), (start, _) in itertools.pairwise(ends))


def _runs(ordered: list[DicomSlice]) -> list[list[DicomSlice]]:
    """Returns the evenly spaced volumes that planes at different positions are made of; [] when they are of none."""
    along = np.array([p.along for p in ordered])
    for numbers in (_behind_each_other(along), *(_interleaved(along, step) for step in _steps(along))):
        runs = [[ordered[i] for i in run] for run in numbers]
        if 1 < len(runs) <= _MOST_RUNS and all(len(r) > 2 and unevenness(r) is None for r in runs):
            return runs
    return []


def _steps(along: np.ndarray) -> list[float]:
    """Returns the distances that may be the spacing of interleaved passes, the most frequent first."""
    steps = np.concatenate([np.diff(along), along[2:] - along[:-2], along[3:] - along[:-3]])
    return [step for step, _ in Counter(np.round(steps, 2).tolist()).most_common(6) if step > 0]


def _behind_each_other(along: np.ndarray) -> list[list[int]]:
    runs: list[list[int]] = [[0]]
    for i in range(1, len(along)):
        run = runs[-1]
        step = along[i] - along[run[-1]]
        usual = along[run[1]] - along[run[0]] if len(run) > 1 else step
        if abs(step - usual) <= max(0.05 * usual, 0.02):
            run.append(i)
        else:
            runs.append([i])
    return runs


def _interleaved(along: np.ndarray, step: float) -> list[list[int]]:
    runs: list[list[int]] = []
    for i, place in enumerate(along):
        offsets = [abs(place - along[run[-1]] - step) for run in runs]
        if offsets and min(offsets) <= max(0.05 * step, 0.02):
            runs[int(np.argmin(offsets))].append(i)
        else:
            runs.append([i])
    return runs


def unevenness(ordered: Sequence[DicomSlice]) -> str | None:
    """Tells why planes in the order of their positions are not evenly spaced, or None when they are."""
    if len(ordered) < 2:
        return None
    steps = np.diff([p.along for p in ordered])
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])  # a gap among few slices must not shift it
    wide = [i for i, step in enumerate(steps) if step > 1.5 * usual]
    if wide:
        names = shortened((f"between {_name(ordered[i])} and {_name(ordered[i + 1])}" for i in wide), 3, "; ")
        missing = sum(round(float(steps[i]) / usual) - 1 for i in wide)
        return f"{counted(missing, 'slice is', 'slices are')} missing, {names}"
    if np.abs(steps - usual).max() > max(0.05 * usual, 2 * _precision(ordered[0])):
        return f"its slices are unevenly spaced, {steps.min():.3f} to {steps.max():.3f} mm"
    first, last = ordered[0], ordered[-1]
    if first.position is not None and last.position is not None and first.spacing is not None:
        shift, normal = last.position - first.position, first.axes[:, 2]
        across = shift - (shift @ normal) * normal
        if np.linalg.norm(across) > 0.5 * min(first.spacing):
            return (
                f"its slices are shifted by {np.linalg.norm(across):.1f} mm against each other (tilted gantry); convert it "
                "first, by dcm2niix for example, and take the file with _Tilt in its name"
            )
    return None


def _name(plane: DicomSlice) -> str:
    return plane.file.name if plane.frame < 0 else f"frame {plane.frame + 1}"


def are_one_volume(parts: Sequence[Stack]) -> bool:
    """Tells whether several stacks, of one series in several folders, are parts of one evenly spaced volume."""
    planes = [plane for part in parts for plane in part.planes]
    if any(not _alike(planes[0], plane) or plane.position is None for plane in planes):
        return False
    _put_along(planes)
    ordered = sorted(planes, key=lambda p: p.along)
    return _apart(ordered) and (unevenness(ordered) is None or _on_one_lattice(ordered))


def largest(stacks: Sequence[Stack]) -> int | None:
    """Returns the number of the stack that has more slices than any other, or None when the choice is the user's."""
    if len(stacks) == 1:
        return 0
    return 0 if len(stacks[0].planes) > len(stacks[1].planes) else None
