"""Hints between annotated slices: shapes move along, labels grow along the image, and a slice can be left out."""

from __future__ import annotations

import heapq
from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.ndimage import map_coordinates

from hssl.interactive import slice_priors as slice_hints
from hssl.interactive.slice_features import Region
from hssl.interactive.slice_priors import Growth, Plane, Shape, bilinear


def everywhere(region: Region) -> torch.Tensor:
    return torch.arange(int(np.prod(region.shape)))


def test_the_shape_between_two_slices_moves_along_with_its_centre():
    size = (11, 40, 40)
    known = np.full(size, -1, np.int16)
    for z, start in ((0, 5), (10, 25)):
        known[z] = 0
        known[z, start : start + 8, start : start + 8] = 1
    region = Region((0, 0, 0), size, 0)
    shape = Shape(known, [[Plane(0, 0), Plane(0, 10)]], region, (1.0, 1.0, 1.0))
    hints, doubt = shape.at(everywhere(region), without_own_plane=False)
    inside = (hints[:, 0] > 0).reshape(size).numpy()
    expected = np.zeros((40, 40), bool)
    expected[15:23, 15:23] = True
    assert (inside[5] & expected).sum() / expected.sum() > 0.9 and inside[5].sum() <= 1.15 * expected.sum()
    doubt = doubt.reshape(size)
    assert doubt[0].max() == doubt[10].max() == 0
    assert torch.allclose(doubt[5], torch.tensor(25.0))


def test_beyond_the_outermost_slices_a_shape_closes_and_doubt_grows_with_the_mean_gap():
    size, spacing = (20, 30, 30), (3.0, 1.5, 1.5)
    known = np.full(size, -1, np.int16)
    for z in (4, 6, 14):
        known[z] = 0
        known[z, 8:22, 8:22] = 1
    region = Region((0, 0, 0), size, 0)
    shape = Shape(known, [[Plane(0, z) for z in (4, 6, 14)]], region, spacing)
    hints, doubt = (t[:, 0].reshape(size).numpy() for t in shape.at(everywhere(region), without_own_plane=False))
    # In voxels of the finest spacing a slice is two away from the next, and gaps are 4 and 16: 10 in the mean.
    np.testing.assert_allclose(doubt[:, 15, 15], [10 * 2 * n for n in (4, 3, 2, 1)] + [0, 4, 0]
                               + [4 * n * (8 - n) for n in range(1, 8)] + [0] + [10 * 2 * n for n in range(1, 6)])  # fmt: skip
    np.testing.assert_allclose(hints[:5, 15, 15], hints[4, 15, 15] - np.array([8, 6, 4, 2, 0]), atol=1e-5)
    np.testing.assert_allclose(hints[14:18, 15, 15], hints[14, 15, 15] - np.array([0, 2, 4, 6]), atol=1e-5)


def test_values_between_places_are_those_of_linear_interpolation_and_beyond_the_border_the_border_s():
    rng = np.random.default_rng(0)
    maps, which = rng.random((3, 7, 9, 2)), rng.integers(0, 3, 200)
    place = rng.uniform(-2, 10, (200, 2)).astype(np.float32)
    found = bilinear(torch.from_numpy(maps), torch.from_numpy(which), torch.from_numpy(place)).numpy()
    for channel in range(2):
        for number in range(3):
            mine = which == number
            expected = map_coordinates(maps[number, ..., channel], place[mine].T, order=1, mode="nearest")
            np.testing.assert_allclose(found[mine, channel], expected, atol=1e-5)


@pytest.mark.parametrize("slice_axis", [0, 1])
def test_a_part_of_a_slice_is_told_what_its_places_are_told_one_by_one(slice_axis):
    """Slices of the region's orientation and of another, classes that are complete on slices of their own, gaps, no contour."""
    rng = np.random.default_rng(5)
    size = (13, 20, 18)
    truth = ndimage.gaussian_filter(rng.normal(size=size), 3)
    truth = np.digitize(truth, np.quantile(truth, (0.5, 0.75))).astype(np.int16)
    truth[8] = 0
    planes = [[Plane(0, 1), Plane(0, 8), Plane(0, 11), Plane(1, 4), Plane(1, 15)], [Plane(0, 3), Plane(0, 9)]]
    known = annotated(truth, [plane for own in planes for plane in own])
    region = Region((1, 2, 0), (13, 20, 17), slice_axis)
    shape = Shape(known, planes, region, (2.0, 1.0, 1.5))
    labels = torch.from_numpy(known[region.slices].astype(np.int64))
    array = rng.normal(size=size).astype(np.float32)
    growth = Growth(array, labels, [plane for own in planes for plane in own], 2, region, (2.0, 1.0, 1.5))
    places = everywhere(region).reshape(region.shape)
    rows, columns = slice(1, 9), slice(0, 14)
    for number in range(region.shape[slice_axis]):
        own = places.select(slice_axis, number)[rows, columns].reshape(-1)
        found = (*shape.of_slice(number, rows, columns), growth.of_slice(number, rows, columns))
        expected = (*shape.at(own, without_own_plane=False), growth.at(own, without_own_plane=False))
        assert growth.useful and expected[0].any()
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, atol=1e-4)


def grown(array: np.ndarray, known: np.ndarray, planes: list[Plane], classes: int = 1) -> tuple[Growth, np.ndarray]:
    region = Region((0, 0, 0), array.shape, 0)
    labels = torch.from_numpy(known.astype(np.int64))
    growth = Growth(array.astype(np.float32), labels, planes, classes, region, (1.0, 1.0, 1.0))
    hints = growth.at(everywhere(region), without_own_plane=False)
    return growth, hints.T.reshape(classes, *array.shape).numpy()


def annotated(truth: np.ndarray, planes: list[Plane]) -> np.ndarray:
    known = np.full(truth.shape, -1, np.int16)
    for plane in planes:
        np.moveaxis(known, plane.axis, 0)[plane.index] = np.moveaxis(truth, plane.axis, 0)[plane.index]
    return known


def test_labels_grow_along_what_looks_alike_and_not_across_a_border():
    truth = np.zeros((15, 30, 30), np.int16)
    for z in range(15):
        truth[z, 4 + z : 12 + z, 6:14] = 1
    alike = np.zeros(truth.shape, bool)
    alike[:, :, 20:26] = True  # as bright, and known to be background
    array = (truth + alike).astype(np.float32) + np.random.default_rng(0).normal(0, 0.05, truth.shape)
    planes = [Plane(0, 0), Plane(0, 14)]
    _, hints = grown(array, annotated(truth, planes), planes)
    found = hints[0] > 0
    assert 2 * (found & (truth > 0)).sum() / (found.sum() + (truth > 0).sum()) > 0.95
    assert not found[alike].any()


def cheapest(array: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Costs of the cheapest paths from seeds to all voxels, by Dijkstra."""
    costs = np.where(seeds, 0.0, np.inf)
    queue = [(0.0, tuple(i)) for i in np.argwhere(seeds)]
    while queue:
        cost, at = heapq.heappop(queue)
        if cost > costs[at]:
            continue
        for axis, step in product(range(3), (-1, 1)):
            to = tuple(i + step * (a == axis) for a, i in enumerate(at))
            if all(0 <= i < n for i, n in zip(to, array.shape, strict=True)):
                further = cost + abs(float(array[to]) - float(array[at])) + slice_hints.STEP_COST
                if further < costs[to]:
                    costs[to] = further
                    heapq.heappush(queue, (further, to))
    return costs


def test_costs_are_those_of_the_cheapest_paths():
    rng = np.random.default_rng(3)
    array = rng.random((6, 7, 8)).astype(np.float32)
    known = annotated(rng.integers(0, 3, array.shape).astype(np.int16), [Plane(0, 0), Plane(0, 5)])
    _, hints = grown(array, known, [Plane(0, 0), Plane(0, 5)], classes=2)
    costs = np.stack([cheapest(array, known == n) for n in range(3)])
    for n in (1, 2):
        other = np.delete(costs, n, 0).min(0)
        assert np.allclose(hints[n - 1], (other - costs[n]) / (other + costs[n] + 1e-3), atol=1e-3)


@pytest.mark.parametrize("cells", [10**9, 300], ids=["every voxel", "coarse"])
def test_what_a_slice_says_of_itself_is_left_out(cells, monkeypatch):
    monkeypatch.setattr(slice_hints, "LARGEST_GRID", cells)
    monkeypatch.setattr(slice_hints, "FOLDS", 3)
    rng = np.random.default_rng(1)
    array = rng.random((12, 14, 16))
    truth = rng.integers(0, 2, array.shape).astype(np.int16)
    planes = [Plane(0, 2), Plane(0, 6), Plane(0, 10), Plane(1, 7), Plane(2, 5)]
    growth, whole = grown(array, annotated(truth, planes), planes)
    for plane in planes:
        own = torch.from_numpy(
            np.moveaxis(np.arange(array.size).reshape(array.shape), plane.axis, 0)[plane.index].ravel()
        )
        crossed = torch.zeros(array.shape, dtype=torch.bool)
        for other in planes:
            if other.axis != plane.axis:
                crossed.select(other.axis, other.index).fill_(True)
        own = own[~crossed.reshape(-1)[own]]
        changed = truth.copy()
        np.moveaxis(changed, plane.axis, 0)[plane.index] ^= 1
        for other in planes:
            if other != plane:
                np.moveaxis(changed, other.axis, 0)[other.index] = np.moveaxis(truth, other.axis, 0)[other.index]
        otherwise, whole_otherwise = grown(array, annotated(changed, planes), planes)
        without = growth.at(own, without_own_plane=True)
        assert torch.equal(without, otherwise.at(own, without_own_plane=True))
        assert without.abs().max() > 0
        assert not np.array_equal(whole, whole_otherwise)


def test_scribbles_beside_slices_are_seeds_but_no_lesson():
    truth = np.zeros((9, 20, 20), np.int16)
    truth[:, 5:15, 5:15] = 1
    planes = [Plane(0, 0), Plane(0, 8)]
    known = annotated(truth, planes)
    known[4, 9:11, 9:11] = 1
    growth, hints = grown(truth.astype(np.float32), known, planes)
    scribble = torch.from_numpy(np.flatnonzero((known.ravel() >= 0) & (np.arange(known.size) // 400 == 4)))
    assert (growth.at(scribble, without_own_plane=True) == 0).all()
    assert (hints[0][4, 9:11, 9:11] > 0.99).all()


def test_where_there_are_scribbles_alone_a_run_of_slices_is_left_out_together():
    truth = np.zeros((15, 20, 20), np.int16)
    truth[:, 5:15, 5:15] = 1
    known = np.full(truth.shape, -1, np.int16)
    for index in (2, 3, 7, 12):
        known[index, 9:11, 5:15], known[index, 1:3, 2:18], known[index, 17:19, 2:18] = 1, 0, 0
    growth, hints = grown(truth.astype(np.float32), known, [])
    assert len(growth.folds) == 3 and (growth.own[2] == growth.own[3]).all()
    own = torch.from_numpy(np.flatnonzero(known.ravel() >= 0))
    assert ((growth.at(own, without_own_plane=True)[:, 0] > 0).numpy() == (known.ravel()[own] == 1)).all()
    assert ((hints[0] > 0) == (truth == 1)).mean() > 0.9


def test_a_run_of_slices_with_background_alone_is_left_out_too():
    truth = np.zeros((15, 20, 20), np.int16)
    truth[:9, 5:15, 5:15] = 1
    known = np.full(truth.shape, -1, np.int16)
    for index in (2, 3, 7):
        known[index, 9:11, 5:15], known[index, 1:3, 2:18] = 1, 0
    for index in (11, 12):
        known[index, 1:19, 2:18] = 0
    growth, _ = grown(truth.astype(np.float32), known, [])
    assert (
        len(growth.folds) == 3 and (growth.own[11] == growth.own[12]).all() and (growth.own[11] != growth.own[7]).all()
    )


def test_scribbles_far_from_each_other_do_not_tell_where_a_border_is():
    known = np.full((5, 20, 20), -1, np.int16)
    known[2, 9:11, 5:15], known[2, 1:3, 2:18] = 1, 0
    assert not grown(np.zeros(known.shape, np.float32), known, [])[0].useful


def test_scribbles_of_one_slice_are_where_labels_begin_though_none_can_be_left_out():
    truth = np.zeros((5, 20, 20), np.int16)
    truth[:, 5:15, 5:15] = 1
    known = np.full(truth.shape, -1, np.int16)
    known[2, 9:11, 5:15], known[2, 1:3, 2:18], known[2, 17:19, 2:18] = 1, 0, 0
    growth, hints = grown(truth.astype(np.float32), known, [])
    assert growth.useful and not growth.folds
    assert (growth.at(torch.from_numpy(np.flatnonzero(known.ravel() >= 0)), without_own_plane=True) == 0).all()
    assert ((hints[0] > 0) == (truth == 1)).mean() > 0.9
