"""Which slices count as complete, and what a correction of an applied result adds."""

from __future__ import annotations

import numpy as np

from HSSLSegmentationLib.scene.annotatedSlices import Annotation, corrected, isCorrection, paintedSlices


def ball(shape=(20, 24, 28), centre=(10, 12, 14), radius=7) -> np.ndarray:
    places = np.indices(shape)
    return sum((p - c) ** 2 for p, c in zip(places, centre, strict=True)) <= radius**2


def kept(planes) -> np.ndarray:
    """The ball, as somebody would paint it who paints these slices only."""
    whole, painted = ball(), np.zeros_like(ball())
    for axis, index in planes:
        np.moveaxis(painted, axis, 0)[index] = np.moveaxis(whole, axis, 0)[index]
    return painted


def test_slices_that_were_painted_are_found_in_each_orientation():
    for axis in range(3):
        planes = [(axis, 8), (axis, 11), (axis, 13)]
        assert paintedSlices(kept(planes)) == planes


def test_slices_of_two_orientations_are_told_apart():
    planes = [(0, 6), (0, 12), (2, 15)]
    assert paintedSlices(kept(planes)) == planes


def test_nothing_painted_means_no_slices():
    assert paintedSlices(np.zeros((3, 4, 5), bool)) == []


def test_a_correction_adds_its_slices_and_leaves_out_what_was_only_proposed():
    planes = [(0, 8), (0, 12)]
    before = Annotation(kept(planes).astype(np.uint8), planes)
    applied = ball(radius=8).astype(np.uint8)
    present = applied.copy()
    present[10] = ball()[10]
    assert isCorrection(before, applied, present)
    after = corrected(before, applied, present)
    assert after.planes == [(0, 8), (0, 10), (0, 12)]
    assert (after.labels.astype(bool) == kept(after.planes)).all()


def test_an_undone_result_is_no_correction():
    planes = [(0, 8), (0, 12)]
    before = Annotation(kept(planes).astype(np.uint8), planes)
    assert not isCorrection(before, ball().astype(np.uint8), kept([*planes, (0, 10)]).astype(np.uint8))
