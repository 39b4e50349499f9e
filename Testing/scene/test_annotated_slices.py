"""On which slices somebody has painted, told from the voxels alone, and what that is worth to learning."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from drawn import STRUCTURES, along, evenly, on, scribbled

from HSSLSegmentationLib.scene import annotatedSlices
from HSSLSegmentationLib.scene.annotatedSlices import paintedSlices


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("name", STRUCTURES)
def test_painted_slices_are_recognised(name, axis):
    truth = along(name, axis)
    for count in (3, 5, 7):
        planes = [(axis, index) for index in evenly(truth, axis, count)]
        assert paintedSlices(on(truth, planes)) == planes, count


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("name", [name for name in STRUCTURES if "sheet" not in name])
def test_adjacent_slices_are_recognised(name, axis):
    truth = along(name, axis)
    first = evenly(truth, axis, 5)[1]
    planes = [(axis, first + step) for step in (0, 1, 15, 16, 17)]
    assert paintedSlices(on(truth, planes)) == planes


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("count", [3, 4, 5])
@pytest.mark.parametrize("further", [[], [0, 4, 8]])
def test_slices_side_by_side_at_the_end_of_a_structure_are_recognised(further, count, axis):
    truth = along("cone", axis)
    there = np.flatnonzero(truth.any(tuple(a for a in range(3) if a != axis))).tolist()
    planes = [(axis, there[n]) for n in (*further, *range(len(there) - count, len(there)))]
    assert paintedSlices(on(truth, planes), usualAxis=axis) == planes


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("name", STRUCTURES)
def test_any_slices_are_recognised(name, axis):
    truth, rng = along(name, axis), np.random.default_rng(0)
    there = np.flatnonzero(truth.any(tuple(a for a in range(3) if a != axis)))
    for count in 3 * (3, 5, 8, 12):
        planes = [(axis, int(index)) for index in sorted(rng.choice(there, count, replace=False))]
        assert paintedSlices(on(truth, planes)) == planes


@pytest.mark.parametrize("axis", range(3))
def test_slices_of_two_orientations_are_told_apart(axis):
    truth = along("ball", axis)
    other = (axis + 2) % 3
    planes = [*((axis, index) for index in (20, 30, 40)), *((other, index) for index in (25, 38))]
    assert paintedSlices(on(truth, planes)) == sorted(planes)


def test_a_single_slice_is_its_own_and_nothing_is_none():
    for axis in range(3):
        truth = along("cord", axis)
        assert paintedSlices(on(truth, [(axis, 30)])) == [(axis, 30)]
    assert paintedSlices(np.zeros((3, 4, 5), bool)) == []


def test_of_a_body_that_is_painted_wholly_every_slice_is_complete():
    truth = along("ball", 0)
    assert paintedSlices(truth) == [(0, int(index)) for index in np.flatnonzero(truth.any((1, 2)))]


@pytest.mark.parametrize(
    ("name", "axis", "least"),
    [("cord", 0, 0.85), ("cord", 1, 0.85), ("cord", 2, 0.85), ("thin cord", 0, 0.75), ("shell", 0, 0.85), ("sheet", 0, 0.7),
     ("ball", 2, 0.95), ("at the border", 1, 0.9), ("oblique cord", 0, 0.8)],
)  # fmt: skip
def test_seven_slices_that_nobody_has_named_fill_the_structure(name, axis, least):
    from hssl.interactive.session import InteractiveSession
    from hssl.interactive.slice_priors import Plane

    truth = along(name, axis)
    painted = on(truth, [(axis, index) for index in evenly(truth, axis, 7)])
    noise = np.random.default_rng(0).normal(0, 20, truth.shape)
    volume = sitk.GetImageFromArray((100 * truth + noise).astype(np.float32))
    planes = [Plane(a, index) for a, index in paintedSlices(painted)]
    found = InteractiveSession(volume).learn(sitk.GetImageFromArray(painted.astype(np.uint8)), planes).labels > 0
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice > least, dice


@pytest.mark.parametrize(
    ("name", "axis", "least"),
    [("cord", 0, 0.7), ("thin cord", 0, 0.55), ("shell", 0, 0.6), ("ball", 2, 0.95), ("oblique cord", 1, 0.7)],
)
def test_scribbles_within_a_painted_frame_fill_the_structure_and_nothing_that_looks_like_it(name, axis, least):
    """Strokes are no outline: a structure reaches farther than they do; and they alone say where it is."""
    from hssl.interactive.session import InteractiveSession

    truth, labels = along(name, axis), scribbled(along(name, axis), axis, 5)
    bright = truth.copy()
    bright[2:9, 2:9, 2:9] = True
    noise = np.random.default_rng(0).normal(0, 20, truth.shape)
    volume = sitk.GetImageFromArray((100 * bright + noise).astype(np.float32))
    found = InteractiveSession(volume).learn(sitk.GetImageFromArray(labels), []).labels == 1
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice > least, dice
    assert not found[4:7, 4:7, 4:7].any()


@pytest.mark.parametrize("seed", range(20))
def test_slices_are_found_in_slabs_of_any_size_as_at_once(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(2, 10, 3))
    structure, painted = rng.random(shape) < 0.8, np.zeros(shape, bool)
    for axis in rng.integers(0, 3, 4):
        index = int(rng.integers(shape[axis]))
        np.moveaxis(painted, axis, 0)[index] = np.moveaxis(structure, axis, 0)[index]
    painted[: shape[0] // 2] |= structure[: shape[0] // 2] & bool(seed % 2)
    found = []
    for voxels in (1, 30, 2**20):
        monkeypatch.setattr(annotatedSlices, "VOXELS_AT_ONCE", voxels)
        found.append(paintedSlices(painted, seed % 3))
    assert found[0] == found[1] == found[2]
    for axis, index in found[0]:
        np.moveaxis(painted, axis, 0)[index] = False
    assert not painted.any(), "they explain everything"
