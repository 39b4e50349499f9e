"""Which slices form a volume, told from positions and marks alone: limits to the point, and every mark."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hssl.imaging.stacks import MARKS, DicomSlice, Stack, are_one_volume, largest, stacks_of, unevenness

TURNED = np.array([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, -0.6]])
"""Axes of oblique slices, the normal last."""
COUNTER = itertools.count()


def plane(
    along: float, axes: np.ndarray = TURNED, across: float = 0.0, marks: dict | None = None, **other
) -> DicomSlice:
    number = next(COUNTER)
    made = {"size": (20, 30), "spacing": (0.7, 0.5), "thickness": 1.0, "components": 1, "bits": 16, "stored": 12}
    made |= {"position": np.array([3.0, -5.0, 7.0]) + along * axes[:, 2] + across * axes[:, 0], "axes": axes}
    made |= {"signed": True, "rescale": (1.0, 0.0), "read_as": (1.0, 0.0), "number": number, "marks": marks or {}}
    return DicomSlice(Path(f"{number}.dcm"), frame=-1, along=along, **{**made, **other})


def planes(places: Sequence[float], **named) -> list[DicomSlice]:
    return [plane(place, **named) for place in places]


def places(stack: Stack) -> list[float]:
    return [round(p.along - p.axes[:, 2] @ np.array([3.0, -5.0, 7.0]), 3) for p in stack.planes]


@given(st.permutations(range(7)), st.floats(0.1, 20), st.booleans())
def test_slices_are_in_the_order_of_their_positions(order, step, plain):
    axes = np.eye(3) if plain else TURNED
    (stack,) = stacks_of(planes([step * n for n in order], axes=axes))
    assert stack.problem is None
    assert places(stack) == pytest.approx([step * n for n in range(7)], abs=1e-3)


@pytest.mark.parametrize(
    ("step", "off", "even"),
    [(1.0, 0.049, True), (1.0, 0.051, False), (0.2, 0.019, True), (0.2, 0.021, False), (8.0, 0.39, True)],
)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("count", [4, 9])
def test_slices_may_be_off_by_a_twentieth_of_their_distance_or_a_fiftieth_of_a_millimeter(step, off, even, sign, count):
    uneven = unevenness(planes([step * n + (n == count - 1) * sign * off for n in range(count)]))
    assert (uneven is None) == even
    if not even:
        low, high = sorted((step, step + sign * off))
        assert uneven == f"its slices are unevenly spaced, {low:.3f} to {high:.3f} mm"


@pytest.mark.parametrize(
    ("gaps", "missing"),
    [({2: 1.49}, 0), ({2: 1.51}, 1), ({2: 2}, 1), ({2: 3}, 2), ({1: 2, 4: 4}, 4), ({0: 2, 2: 2, 4: 2, 6: 2}, 4)],
)
def test_missing_slices_are_counted_and_the_first_three_gaps_named(gaps, missing):
    ordered = planes(np.cumsum([0] + [1.25 * gaps.get(n, 1) for n in range(9)]).tolist())
    told = unevenness(ordered)
    names = [f"between {ordered[n].file} and {ordered[n + 1].file}" for n in gaps]
    shown = "; ".join(names[:3]) + "; …" * (len(names) > 3)
    if missing:
        assert told == f"{missing} slice{'s are' if missing > 1 else ' is'} missing, {shown}"
    else:
        assert "unevenly" in told


def test_a_gap_among_few_slices_is_one_and_two_slices_are_even_at_any_distance():
    assert "1 slice is missing" in unevenness(planes([0, 1, 3]))
    assert "1 slice is missing" in unevenness(planes([0, 2, 3]))
    assert unevenness(planes([0, 77])) is None
    assert unevenness(planes([4])) is None


@pytest.mark.parametrize(("across", "tilted"), [(0.24, False), (0.26, True), (-0.26, True)])
def test_slices_that_are_shifted_by_more_than_half_a_pixel_are_tilted(across, tilted):
    ordered = [plane(n, across=n * across / 4) for n in range(5)]
    told = unevenness(ordered)
    assert (told is not None) == tilted
    assert not tilted or "shifted by 0.3 mm" in told
    assert unevenness([plane(n, across=n * across / 4, spacing=None) for n in range(5)]) is None


@given(st.sampled_from([*MARKS]), st.integers(2, 4), st.integers(1, 5), st.randoms())
def test_volumes_that_repeat_positions_are_told_apart_by_any_mark(mark, phases, count, seed):
    made = [plane(2.5 * n, marks={mark: 10 * phase}) for phase in range(phases) for n in range(count)]
    seed.shuffle(made)
    found = stacks_of(made)
    assert [s.name for s in found] == [f"{MARKS[mark]} {10 * phase}" for phase in range(phases)]
    for phase, stack in enumerate(found):
        assert {p.marks[mark] for p in stack.planes} == {10 * phase}
        assert places(stack) == [2.5 * n for n in range(count)]
        assert stack.problem is None


def test_two_marks_together_tell_apart_what_neither_does_alone():
    made = [
        plane(n, marks={"EchoTime": echo, "FlipAngle": angle})
        for echo in (2.5, 30.0)
        for angle in (5, 9)
        for n in range(3)
    ]
    found = stacks_of(made)
    names = [f"echo time {echo}, flip angle {angle}" for echo in ("2.5", "30") for angle in (5, 9)]
    assert [s.name for s in found] == names
    assert all(places(s) == [0, 1, 2] for s in found)


@given(repeats=st.integers(2, 4), count=st.integers(1, 4))
def test_without_a_mark_the_first_of_each_position_belong_together(repeats, count):
    found = stacks_of([plane(3 * n) for _ in range(repeats) for n in range(count)])
    assert [s.name for s in found] == [f"number {n + 1} of each position" for n in range(repeats)]
    for rank, stack in enumerate(found):
        assert places(stack) == [3 * n for n in range(count)]
        numbers = [p.number for p in stack.planes]
        assert np.array_equal(np.array(numbers) - numbers[0], np.arange(count))
        assert numbers[0] - found[0].planes[0].number == rank * count


@pytest.mark.parametrize(("off", "stacks"), [(0.004, 2), (0.006, 1)])
def test_slices_within_a_hundredth_of_a_millimeter_lie_at_one_position(off, stacks):
    found = stacks_of(planes([0, 5, 10, 10 + off]))
    assert len(found) == stacks


@pytest.mark.parametrize(("runs", "length", "whole"), [(2, 3, True), (4, 3, True), (5, 3, False), (2, 2, False)])
def test_runs_of_their_own_distance_are_volumes_unless_they_are_many_or_short(runs, length, whole):
    made, start = [], 0.0
    for run in range(runs):
        made += [start + n * (1 + 0.37 * run) for n in range(length)]
        start = made[-1] + 23.3
    found = stacks_of(planes(made))
    assert len(found) == (runs if whole else 1)
    assert all((s.problem is None) == whole for s in found)
    if whole:
        assert sorted(p for s in found for p in places(s)) == pytest.approx(made, abs=1e-3)
        assert all(s.name.endswith(" mm") and " to " in s.name for s in found)


@pytest.mark.parametrize("length", [2, 3])
def test_runs_that_a_mark_tells_apart_are_called_by_it(length):
    made = [
        plane(10.4 * run + n * (1 + 0.3 * run), marks={"AcquisitionNumber": run})
        for run in (1, 0)
        for n in range(length)
    ]
    found = stacks_of(made)
    assert [(s.name, s.problem) for s in found] == [("acquisition 0", None), ("acquisition 1", None)]
    assert places(found[1]) == pytest.approx([10.4 + 1.3 * n for n in range(length)], abs=1e-3)
    # One slice of its own is no volume, and slices of two marks that interlock are one with a gap.
    assert [s.problem is None for s in stacks_of(made[1:])] == ([False] if length == 2 else [True, True])
    (stack,) = stacks_of([plane(n, marks={"AcquisitionNumber": n % 2}) for n in (0, 1, 2, 4, 5, 6)])
    assert "1 slice is missing" in stack.problem and stack.name == ""


@pytest.mark.parametrize("step", [4.0, 5.0])
@pytest.mark.parametrize("offset", [0.7, 1.1])
def test_interleaved_passes_are_volumes(step, offset):
    found = stacks_of(planes([step * n for n in range(6)] + [step * n + offset for n in range(5)]))
    assert [places(s) for s in found] == [
        [step * n for n in range(6)],
        [round(step * n + offset, 3) for n in range(5)],
    ]


def test_planes_that_stand_where_those_of_one_volume_would_are_one_with_a_gap():
    (stack,) = stacks_of(planes([0, 2, 4, 10, 12, 14]))
    assert "2 slices are missing" in stack.problem
    (stack,) = stacks_of(planes([0, 2, 4, 10.09, 12.09, 14.09]))
    assert "missing" in stack.problem
    assert len(stacks_of(planes([0, 2, 4, 10.3, 12.3, 14.3]))) == 2


@pytest.mark.parametrize(
    ("other", "apart"),
    [
        ({"size": (21, 30)}, True),
        ({"components": 3}, True),
        ({"spacing": (0.7, 0.5006)}, True),
        ({"spacing": (0.7, 0.5004)}, False),
        ({"spacing": None}, True),
        ({"axes": np.eye(3)}, True),
        ({"axes": TURNED + 0.0009}, False),
    ],
)
def test_planes_of_another_shape_or_pose_are_another_volume(other, apart):
    found = stacks_of(planes([0, 1, 2, 3]) + [plane(n, **other) for n in (4, 5, 6)])
    assert [len(s.planes) for s in found] == ([4, 3] if apart else [7])
    assert [s.name for s in found] == (["sagittal", "axial" if "axes" in other else "sagittal"] if apart else [""])


def test_slices_without_positions_are_no_volume_but_one_alone_is():
    found = stacks_of(planes([0, 1, 2], position=None))
    assert [s.problem for s in found] == ["its 3 slices have no positions"]
    assert stacks_of(planes([0], position=None))[0].problem is None


def test_the_largest_is_the_one_of_most_slices_and_nobody_s_choice_where_two_are_as_large():
    three, four, other = (Stack(tuple(planes(range(n)))) for n in (3, 4, 4))
    assert largest([three]) == 0
    assert largest([four, three]) == 0
    assert largest([four, other]) is None
    made = planes([0, 1]) + planes([0, 1, 2], size=(5, 5)) + planes([0, 1, 2], size=(6, 6))
    assert [s.planes[0].size for s in stacks_of(made)] == [(5, 5), (6, 6), (20, 30)]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ([0, 1, 2], [3, 4], True),
        ([0, 2, 4], [1, 3], True),
        ([0, 1, 2], [5, 6], True),  # with a gap, but on one lattice
        ([0, 1, 2], [3.4, 4.4], False),
        ([0, 1, 2], [2, 3], False),
    ],
)
def test_parts_of_a_series_in_two_folders_are_one_volume(one, other, together):
    parts = [Stack(tuple(planes(places))) for places in (one, other)]
    assert are_one_volume(parts) is together
    assert are_one_volume(parts[::-1]) is together
    assert not are_one_volume([parts[0], Stack(tuple(planes(other, size=(3, 3))))])
    assert not are_one_volume([parts[0], Stack(tuple(planes(other, position=None)))])
