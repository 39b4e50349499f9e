"""The working grid: there and exactly back, whatever the orientation and spacing."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hssl.models.inference import from_slices_first, on_source
from hssl.models.prediction import doubtful_size
from hssl.preprocessing.fingerprint import Fingerprint, clear_slices
from hssl.preprocessing.grid import (
    WorkingGrid,
    _keep_all_values,
    _resampled,
    labels_to_source,
    labels_to_working,
    orientation,
    orientation_for,
    to_working,
    working_grid,
)
from hssl.preprocessing.normalisation import fingerprint_of, volume_measure


def fingerprint(spacing: tuple[float, float, float], slice_axis: int) -> Fingerprint:
    return Fingerprint(spacing=spacing, slice_axis=slice_axis, normalisation="percentiles", median_size=(1, 1, 1))


def rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def blobs(rng: np.random.Generator, size: tuple[int, int, int]) -> np.ndarray:
    """A label map (z, y, x) of two boxes that keep some voxels of distance from each other and the border."""
    z, y, x = size
    array = np.zeros(size, np.uint8)
    array[z // 5 : z // 2, y // 5 : y // 2, x // 5 : -x // 5] = 1
    array[z // 2 + 2 : -z // 6, y // 3 : -y // 6, x // 5 : x // 2] = 2
    return array


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(*[st.integers(14, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5.0)] * 3),
    factor=st.tuples(*[st.floats(0.55, 1.8)] * 3),
    slice_axis=st.integers(0, 2),
    left_handed=st.booleans(),
)
def test_a_label_map_comes_back_from_the_working_grid_within_half_a_voxel(
    seed, size, spacing, factor, slice_axis, left_handed
):
    rng = np.random.default_rng(seed)
    direction = rotation(rng)
    if left_handed:
        direction[:, 0] *= -1
    source = sitk.GetImageFromArray(blobs(rng, size))
    source.SetSpacing(spacing)
    source.SetOrigin(rng.uniform(-200, 200, 3).tolist())
    source.SetDirection(direction.reshape(-1).tolist())
    clear = clear_slices(size, spacing[::-1])
    nearest, _ = orientation(source.GetDirection())
    slices = None if clear is None else nearest.index(clear)
    axes, _ = orientation_for(size[::-1], spacing, source.GetDirection(), slices)
    wanted = [spacing[::-1][axes[a]] * factor[a] for a in range(3)]
    of_task = fingerprint(tuple(wanted), slice_axis)
    assume(slices in (None, of_task.clear_slice_axis))  # else other axes than these may be brought onto its spacing
    grid = working_grid(size[::-1], spacing, source.GetDirection(), of_task)

    working = labels_to_working(source, grid)
    assert working.shape == grid.shape
    shares = torch.nn.functional.one_hot(torch.from_numpy(working).long(), 3).movedim(-1, 0).float()
    order = (slice_axis, *(a for a in range(3) if a != slice_axis))
    back = np.zeros([grid.oriented_size[a] for a in order], np.uint8)
    for first, last, slab in on_source(lambda a, b: shares[:, a:b], 3, grid, 16):
        back[first:last] = slab.argmax(0).numpy()
    result = labels_to_source(from_slices_first(back, slice_axis), grid, source)

    assert result.GetSize() == source.GetSize()
    assert result.GetSpacing() == source.GetSpacing()
    assert result.GetOrigin() == source.GetOrigin()
    assert result.GetDirection() == source.GetDirection()
    before, after = sitk.GetArrayFromImage(source), sitk.GetArrayFromImage(result)
    coarsening = max(max(factor), 1.0)
    for value in (1, 2):
        for axis in range(3):
            rest = tuple(a for a in range(3) if a != axis)
            there, found = (np.flatnonzero((array == value).any(rest)) for array in (before, after))
            # Half a voxel of the coarser of the two grids, in source voxels; borders fall on whole voxels.
            assert abs(there[0] - found[0]) <= np.ceil(coarsening / 2)
            assert abs(there[-1] - found[-1]) <= np.ceil(coarsening / 2)
        middle = [np.argwhere(array == value).mean(0) for array in (before, after)]
        # Half a working voxel by rounding there, and half a source voxel by rounding back.
        assert np.abs(middle[0] - middle[1]).max() <= 0.5 * (coarsening + 1)


@pytest.mark.parametrize("slab_megabytes", [16, 64])
def test_without_resampling_the_way_back_is_the_identity(slab_megabytes):
    rng = np.random.default_rng(3)
    source = sitk.GetImageFromArray(rng.integers(0, 3, (20, 31, 27)).astype(np.uint8))
    source.SetDirection((0.0, -1.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0))
    grid = working_grid(source.GetSize(), (1, 1, 1), source.GetDirection(), fingerprint((1.0, 1.0, 1.0), 2))
    working = labels_to_working(source, grid)
    shares = torch.nn.functional.one_hot(torch.from_numpy(working).long(), 3).movedim(-1, 0).float()
    back = np.concatenate([s.argmax(0).numpy() for _, _, s in on_source(lambda a, b: shares[:, a:b], 3, grid, 16)])
    result = labels_to_source(from_slices_first(back.astype(np.uint8), 2), grid, source)
    assert (sitk.GetArrayFromImage(result) == sitk.GetArrayFromImage(source)).all()


@pytest.mark.parametrize("spacing", [(1.7, 1.3, 1.3), (0.6, 1.0, 1.0), (1.0, 1.0, 1.0)])
def test_slabs_do_not_change_the_result(spacing):
    rng = np.random.default_rng(0)
    grid = working_grid((64, 64, 300), (1, 1, 1), (1, 0, 0, 0, 1, 0, 0, 0, 1), fingerprint(spacing, 0))
    shares = torch.from_numpy(rng.random((3, *grid.shape), np.float32))
    slabs = [
        torch.cat([s for _, _, s in on_source(lambda a, b: shares[:, a:b], 3, grid, megabytes)], 1)
        for megabytes in (8, 4096)
    ]
    assert slabs[0].shape == (3, 300, 64, 64)
    assert torch.allclose(*slabs, atol=1e-6)


def test_intensities_keep_their_place_in_space():
    array = np.zeros((30, 40, 50), np.float32)
    array[8:12, 20:24, 10:14] = 1
    source = sitk.GetImageFromArray(array)
    source.SetDirection((-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    grid = working_grid(source.GetSize(), (1, 1, 1), source.GetDirection(), fingerprint((1.0, 2.0, 2.0), 0))
    working = to_working(source, grid)
    assert working.shape == (30, 20, 25)
    z, y, x = (np.arange(n) for n in working.shape)
    mass = working / working.sum()
    centre = [(mass.sum((1, 2)) * z).sum(), (mass.sum((0, 2)) * y).sum(), (mass.sum((0, 1)) * x).sum()]
    # Axes x and z run backwards in the source: voxel 9.5 of 30 from the other end is 19.5, and so on.
    assert np.allclose(centre, [19.5, (21.5 + 0.5) / 2 - 0.5, (49 - 11.5 + 0.5) / 2 - 0.5], atol=0.1)


@pytest.mark.parametrize("axis", range(3))
def test_what_a_coarser_grid_cannot_hold_is_smoothed_away_along_its_axis_and_nothing_else(axis):
    def brought(values: np.ndarray, factor: float) -> np.ndarray:
        shape = [3, 3, 3]
        shape[axis] = len(values)
        array = np.broadcast_to(np.expand_dims(values, [a for a in range(3) if a != axis]), shape)
        spacing = [1.0, 1.0, 1.0]
        spacing[axis] = factor
        grid = working_grid(shape[::-1], (1, 1, 1), np.eye(3).ravel(), fingerprint(tuple(spacing), 0))
        working = to_working(sitk.GetImageFromArray(array.astype(np.float32)), grid)
        assert np.ptp(working, axis=tuple(a for a in range(3) if a != axis)).max() < 1e-5
        return np.moveaxis(working, axis, 0)[:, 0, 0]

    alternating = np.where(np.arange(80) % 2, 1.0, -1.0)
    assert np.abs(brought(alternating, 2.5)[2:-2]).max() < 0.01
    assert np.abs(brought(alternating, 1.15)).max() > 0.8  # hardly coarser: as it is
    wave = np.cos(2 * np.pi * (np.arange(400) + 0.5) / 20)
    for factor in (1.6, 2.5, 4.0):
        sigma = 0.5 * (factor**2 - 1) ** 0.5
        found = brought(wave, factor)[20:-20]
        place = np.cos(2 * np.pi * (np.arange(20, 20 + len(found)) + 0.5) * 400 / round(400 / factor) / 20)
        np.testing.assert_allclose(found, np.exp(-2 * (np.pi * sigma / 20) ** 2) * place, atol=0.02)
    np.testing.assert_allclose(brought(np.array([1.0, 2.0, 6.0]), 3.0), [2.0])  # too few to be smoothed


def test_the_working_label_map_does_not_share_memory_with_an_image_that_may_be_gone():
    source = sitk.GetImageFromArray(np.ones((8, 8, 8), np.uint8))
    grid = working_grid(source.GetSize(), source.GetSpacing(), source.GetDirection(), fingerprint((1.0, 1.0, 1.0), 0))
    labels = labels_to_working(source, grid)
    assert not np.shares_memory(labels, sitk.GetArrayViewFromImage(source))


def test_slices_are_taken_along_the_coarsest_axis():
    volume = sitk.Image((20, 30, 10), sitk.sitkInt16)
    volume.SetSpacing((1.0, 5.0, 1.0))
    found = fingerprint_of([volume_measure(volume + 7)], "MR")
    assert found.slice_axis == 1
    assert found.spacing == (1.0, 5.0, 1.0)
    assert found.median_size == (10, 30, 20)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(*[st.integers(1, 24)] * 3),
    factor=st.tuples(*[st.floats(0.4, 2.5)] * 3),
)
def test_a_structure_is_looked_at_where_it_lies_and_comes_out_as_if_all_had_been(seed, size, factor):
    """Each of a hundred classes went through the whole volume, which took minutes a scan."""
    rng = np.random.default_rng(seed)
    array = np.zeros(size, np.uint16)
    for value in rng.permutation([1, 2, 3, 300]):
        first = [int(rng.integers(0, n)) for n in size]
        array[tuple(slice(a, a + int(rng.integers(1, 9))) for a in first)] = value
    image = sitk.GetImageFromArray(array)
    wanted = tuple(max(1, round(n / f)) for n, f in zip(size, factor, strict=True))
    grid = WorkingGrid(size[::-1], (0, 1, 2), (False, False, False), wanted, 0)
    best, expected = np.zeros(grid.size, np.float32), np.zeros(grid.size, np.uint16)
    for value in np.unique(array):
        whole = sitk.GetImageFromArray((array == value).astype(np.float32))
        share = _resampled(whole, array.shape, grid.size, sitk.sitkLinear)
        expected[share > best] = value
        best = np.maximum(best, share)
    _keep_all_values(array, expected)
    assert np.array_equal(labels_to_working(image, grid), expected if array.shape != grid.size else array)


@pytest.mark.parametrize("seed", range(8))
def test_a_structure_of_one_voxel_keeps_a_voxel_on_a_much_coarser_grid(seed):
    rng = np.random.default_rng(seed)
    array = np.zeros((20, 30, 40), np.uint8)
    array[4:16, 8:20, 8:20] = 1
    for value in (2, 3, 7, 9):
        array[tuple(rng.integers(0, n) for n in array.shape)] = value
    there = set(np.unique(array).tolist())
    image = sitk.GetImageFromArray(array)
    coarse = Fingerprint(spacing=(5, 5, 5), slice_axis=seed % 3, normalisation="percentiles", median_size=(4, 6, 8))
    labels = labels_to_working(image, working_grid(image.GetSize(), (1, 1, 1), image.GetDirection(), coarse))
    assert set(np.unique(labels).tolist()) == there
    assert all((labels == value).sum() == 1 for value in there - {0, 1}), "and no more than a voxel"


@pytest.mark.parametrize(
    ("source", "labels", "expected"),
    [
        ([1, 1, 1, 1, 2, 3], [1, 1, 2], [1, 3, 2]),  # 2 is alone there, its neighbour is not
        ([3, 2, 1, 1, 1, 1], [2, 1, 1], [2, 3, 1]),
        ([1, 1, 1, 2, 4, 3], [1, 1, 4, 2], [1, 1, 4, 2]),  # each of those around is the last of its value
        ([3, 4, 2, 1, 1, 1], [2, 4, 1, 1], [2, 4, 1, 1]),
    ],
)
def test_a_value_that_is_lost_gets_a_voxel_beside_it_within_the_volume(source, labels, expected):
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = -1
        found = np.array(labels).reshape(shape)
        _keep_all_values(np.array(source).reshape(shape), found)
        assert found.ravel().tolist() == expected


def placed(array: np.ndarray, spacing: tuple[float, float, float], direction: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetDirection(direction.ravel().tolist())
    return image


SHORT_AXIS = np.array([[0.70, -0.53, -0.48], [0.65, 0.18, 0.74], [-0.30, -0.83, 0.47]])
"""Directions of a usual short-axis cine; its slices lie between all three of the patient's axes."""


def short_axes(count: int, degrees: float) -> list[np.ndarray]:
    """Directions of several patients, whose hearts lie a little differently."""
    rng = np.random.default_rng(0)
    base = Rotation.from_matrix(SHORT_AXIS)
    return [(Rotation.from_rotvec(np.radians(rng.normal(0, degrees, 3))) * base).as_matrix() for _ in range(count)]


@pytest.mark.parametrize("left_handed", [False, True])
def test_oblique_slices_stay_slices_in_every_patient(left_handed):
    """The nearest axis of a heart's slices is another in one patient of three, whose pixels of 1.4 mm became 10 mm."""
    mirror = np.diag([1.0, -1.0 if left_handed else 1.0, 1.0])
    array = np.zeros((10, 32, 40), np.uint8)
    array[2:8, 4:20, 10:30] = 1
    array[3:5, 8:14, 12:22] = 2
    volumes = [placed(array, (1.4, 1.4, 10.0), direction @ mirror) for direction in short_axes(60, 12)]
    own = fingerprint_of([volume_measure(v) for v in volumes], "MR")
    assert (sorted(own.spacing), own.spacing[own.slice_axis]) == ([1.4, 1.4, 10.0], 10.0)
    for volume in volumes:
        grid = working_grid(volume.GetSize(), volume.GetSpacing(), volume.GetDirection(), own)
        working = labels_to_working(volume, grid)
        assert sorted(working.shape) == sorted(array.shape) and len(working) == 10
        assert np.array_equal(np.bincount(working.ravel()), np.bincount(array.ravel()))
        back = labels_to_source(from_slices_first(working, own.slice_axis), grid, volume)
        assert np.array_equal(sitk.GetArrayFromImage(back), array)
        direction = np.reshape(volume.GetDirection(), (3, 3))[::-1, ::-1]
        assert np.linalg.det(direction[:, grid.axes] * np.where(grid.flips, -1, 1)) > 0
        assert not doubtful_size(volume, own)


def test_single_slices_of_any_direction_are_slices():
    """Long-axis views of a heart and frames of ultrasound: along the nearest axis there were lines in every other one."""
    array = np.arange(24 * 30, dtype=np.int16).reshape(1, 24, 30)
    volumes = [placed(array, (1.0, 1.0, 8.0), d) for d in Rotation.random(40, random_state=1).as_matrix()]
    own = fingerprint_of([volume_measure(v) for v in volumes], "MR")
    for volume in volumes:
        grid = working_grid(volume.GetSize(), volume.GetSpacing(), volume.GetDirection(), own)
        assert len(to_working(volume, grid)) == 1


@pytest.mark.parametrize("degrees", [0, 25, 40])
def test_tilted_slices_are_oriented_as_before(degrees):
    tilt = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    volumes = [placed(np.zeros((9, 20, 30), np.uint8), (0.8, 0.8, 4.0), d) for d in (tilt, np.eye(3), tilt.T)]
    own = fingerprint_of([volume_measure(v) for v in volumes], "MR")
    assert own.slice_axis == 0
    for volume in volumes:
        grid = working_grid(volume.GetSize(), volume.GetSpacing(), volume.GetDirection(), own)
        assert (grid.axes, grid.flips) == orientation(volume.GetDirection()) and grid.shape == (9, 20, 30)


def test_slices_across_those_of_the_task_are_brought_onto_its_grid():
    sagittal = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    axial = [placed(np.zeros((9, 40, 40), np.uint8), (1.0, 1.0, 4.0), np.eye(3)) for _ in range(2)]
    other = placed(np.zeros((9, 40, 40), np.uint8), (1.0, 1.0, 4.0), sagittal)
    own = fingerprint_of([volume_measure(v) for v in (*axial, other)], "MR")
    assert own.spacing == (4.0, 1.0, 1.0)
    grid = working_grid(other.GetSize(), other.GetSpacing(), other.GetDirection(), own)
    assert grid.axes == orientation(other.GetDirection())[0]
    assert doubtful_size(other, own)
