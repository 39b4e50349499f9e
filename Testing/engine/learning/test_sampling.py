"""Where windows lie, read from arrays whose values are their places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hssl.errors import ConfigurationError
from hssl.learning.sampling import MIN_BODY, Sampler
from hssl.preprocessing.planes import in_plane, slices_along
from hssl.preprocessing.store import UNLABELLED, SliceContents, StoredVolume

SHAPE = (7, 13, 11)
PLACES = np.arange(np.prod(SHAPE), dtype=np.float16).reshape(SHAPE)
LOW = -7.0


def stored(
    folder: Path, name: str = "a", task: str = "t", label: np.ndarray | None = None, body: np.ndarray | None = None
) -> StoredVolume:
    np.save(folder / f"{name}.npy", PLACES)
    along = []
    for axis in range(3):
        share = np.ones(SHAPE[axis]) if body is None or axis else body
        classes = []
        for channel in range(1, 1 + (0 if label is None else 2)):
            found = (slices_along(label, axis) == channel).any((1, 2))
            classes.append(tuple(np.flatnonzero(found).tolist()))
        along.append(SliceContents(share, tuple(classes)))
    if label is not None:
        np.save(folder / f"{name}-label.npy", label)
    path = None if label is None else folder / f"{name}-label.npy"
    return StoredVolume(name, task, folder / f"{name}.npy", SHAPE, LOW, (along[0], along[1], along[2]), path)


def place_of(batch, number: int, window: tuple[int, ...]) -> tuple[list[int], tuple[int, ...], list[int]]:
    """Returns the first voxel of a window by its position, the shape of its volume, and its size."""
    shape = in_plane(SHAPE, int(batch.axes[number]))
    size = [*window] if len(window) == 3 else [1, *window]
    first = batch.positions[number] * shape - np.array(size) / 2
    assert np.abs(first - np.rint(first)).max() < 1e-4
    np.testing.assert_allclose(batch.extents[number], np.array(size) / shape, rtol=1e-6)
    return np.rint(first).astype(int).tolist(), shape, size


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    window=st.one_of(*(st.tuples(*[st.integers(1, 16)] * n) for n in (2, 3))),
    in_slices=st.sampled_from([1, 3, 5]),
    axes=st.sampled_from([(0,), (0, 2), (0, 1, 2)]),
    labelled=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_window_holds_what_lies_where_it_says(tmp_path, window, in_slices, axes, labelled, seed):
    label = (np.random.default_rng(seed).random(SHAPE) < 0.01).astype(np.uint8) * (1 + PLACES % 2).astype(np.uint8)
    volumes = [stored(tmp_path, label=label), stored(tmp_path, "b")]
    planes = {"t": axes if len(window) == 2 else (0,)}
    batch = Sampler(volumes, window, 12, seed, in_slices if len(window) == 2 else 1, labelled, planes).batch(3)
    assert set(batch.axes) <= set(axes)
    for number in range(12):
        axis = int(batch.axes[number])
        first, shape, size = place_of(batch, number, window)
        for start, length, wanted in zip(first, shape, size, strict=True):
            assert min(0, length - wanted) <= start <= max(0, length - wanted)
        places, labels = slices_along(PLACES, axis), slices_along(label, axis)
        wide = [(20, 20)] * 3
        around = np.pad(places.astype(np.float32), wide, constant_values=LOW)
        box = tuple(slice(20 + s, 20 + s + n) for s, n in zip(first, size, strict=True))
        if len(window) == 3:
            np.testing.assert_array_equal(batch.images[number], around[box][None])
        else:
            for channel, image in enumerate(batch.images[number]):
                beside = min(max(first[0] + channel - in_slices // 2, 0), shape[0] - 1)
                np.testing.assert_array_equal(image, around[20 + beside][box[1:]])
        if not labelled:
            assert batch.labels is None
        elif volumes[batch.volumes[number]].label_path is None:
            assert (batch.labels[number] == UNLABELLED).all()
        else:
            np.testing.assert_array_equal(batch.labels[number], np.pad(labels, wide)[box].reshape(window))


def firsts(sampler: Sampler, steps: int) -> list[list[int]]:
    found = []
    for step in range(steps):
        batch = sampler.batch(step)
        found += [place_of(batch, number, sampler.window)[0] for number in range(sampler.batch_size)]
    return found


@pytest.mark.parametrize("window", [(5, 8), (3, 5, 8), (9, 20, 8)])
def test_every_place_of_a_volume_is_drawn(tmp_path, window):
    found = np.array(firsts(Sampler([stored(tmp_path)], window, 50, 0), 12))
    size = window if len(window) == 3 else (1, *window)
    for axis in range(3):
        low, high = sorted((0, SHAPE[axis] - size[axis]))
        assert set(found[:, axis]) == set(range(low, high + 1))


@pytest.mark.parametrize("window", [(5, 4), (3, 5, 4), (9, 20, 4)])
def test_two_windows_of_three_cover_a_class_in_every_way_that_they_can(tmp_path, window):
    label = np.zeros(SHAPE, np.uint8)
    label[5, 1, 9] = 2
    found = np.array(firsts(Sampler([stored(tmp_path, label=label)], window, 30, 1, labelled=True), 20))
    on_class = found.reshape(-1, 3, 3)[:, 1:].reshape(-1, 3)
    size = window if len(window) == 3 else (1, *window)
    for axis, position in enumerate((5, 1, 9)):
        low, high = sorted((0, SHAPE[axis] - size[axis]))
        expected = set(range(max(low, position - size[axis] + 1), min(high, position) + 1))
        assert set(on_class[:, axis]) == expected
        low, high = sorted((0, SHAPE[axis] - size[axis]))
        assert set(found[::3, axis]) == set(range(low, high + 1)), "the others lie anywhere"


def test_classes_are_drawn_alike_however_large_they_are(tmp_path):
    label = np.zeros(SHAPE, np.uint8)
    label[1:4] = 1
    label[6, 3, 3] = 2
    sampler = Sampler([stored(tmp_path, label=label)], (3, 3), 30, 0, labelled=True)
    slices = np.array(firsts(sampler, 20)).reshape(-1, 3, 3)[:, 1:, 0].ravel()
    assert 0.4 < np.mean(slices == 6) < 0.6
    assert set(slices) == {1, 2, 3, 6}


def test_slices_with_less_body_than_a_fiftieth_are_background(tmp_path):
    body = np.array([0, MIN_BODY, MIN_BODY - 1e-6, 0.5, 0, 0, 1])
    volume = stored(tmp_path, body=body)
    sampler = Sampler([volume], (5, 5), 20, 0)
    assert {first[0] for first in firsts(sampler, 5)} == {1, 3, 6}
    assert sampler.steps_per_epoch == 1
    assert Sampler([volume], (5, 5), 2, 0).steps_per_epoch == 2
    empty = Sampler([stored(tmp_path, body=np.zeros(7))], (5, 5), 20, 0)
    assert {first[0] for first in firsts(empty, 5)} == set(range(7))


@pytest.mark.parametrize(
    ("window", "batch_size", "steps"),
    [((5, 5), 4, 10), ((5, 5), 37, 2), ((5, 5), 38, 1), ((5, 5), 99, 1), ((3, 5, 5), 1, 2), ((3, 5, 5), 2, 1)],
)
def test_an_epoch_has_as_many_windows_as_there_are_slices_or_volumes(tmp_path, window, batch_size, steps):
    volumes = [stored(tmp_path), stored(tmp_path, "b", "u")]  # 7 + 13 + 11 and 7 slices
    planes = {"t": (0, 1, 2)} if len(window) == 2 else {}
    assert Sampler(volumes, window, batch_size, 0, planes=planes).steps_per_epoch == steps


def test_tasks_take_turns_in_the_order_that_is_said(tmp_path):
    volumes = [stored(tmp_path, name, task) for name, task in (("a", "x"), ("b", "y"), ("c", "z"), ("d", "z"))]
    for order, expected in (((), ["x", "y", "z"]), (("z", "x", "y"), ["z", "x", "y"])):
        sampler = Sampler(volumes, (3, 3), 4, 0, tasks=order)
        assert sampler.tasks == expected
        assert [*sampler.batch(0).tasks, *sampler.batch(1).tasks] == [0, 1, 2, 0, 1, 2, 0, 1]
        batch = sampler.batch(5)
        assert [volumes[v].task for v in batch.volumes] == [expected[t] for t in batch.tasks]
        assert sampler.ids(batch) == sorted({volumes[v].id for v in batch.volumes})
        assert batch.samples.tolist() == [20, 21, 22, 23]
    assert {volumes[v].id for step in range(20) for v in sampler.batch(step).volumes} == {"a", "b", "c", "d"}
    with pytest.raises(ConfigurationError, match="no volume to train on of nothing"):
        Sampler(volumes, (3, 3), 4, 0, tasks=("x", "nothing"))
    with pytest.raises(ConfigurationError, match="there is no volume to train on"):
        Sampler([], (3, 3), 4, 0)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_processes_share_a_batch_without_gap_or_overlap(tmp_path, world_size):
    sampler = Sampler([stored(tmp_path)], (3, 3), 10, 0)
    parts = [sampler.batch(4, rank, world_size) for rank in range(world_size)]
    assert np.concatenate([p.samples for p in parts]).tolist() == list(range(40, 50))
    assert {len(p.samples) for p in parts} <= {10 // world_size, -(-10 // world_size)}
    np.testing.assert_array_equal(np.concatenate([p.images for p in parts]), sampler.batch(4).images)


def test_healthy_cases_are_drawn_too_but_not_where_a_class_is_wanted(tmp_path):
    label = np.zeros(SHAPE, np.uint8)
    label[2, 4, 4] = 1
    volumes = [stored(tmp_path, label=label)] + [
        stored(tmp_path, f"h{n}", label=np.zeros(SHAPE, np.uint8)) for n in range(3)
    ]
    sampler = Sampler(volumes, (3, 3), 30, 0, labelled=True)
    drawn = np.concatenate([sampler.batch(step).volumes for step in range(5)]).reshape(-1, 3)
    assert (drawn[:, 1:] == 0).all()
    assert set(drawn[:, 0]) == {0, 1, 2, 3}
    assert Sampler(volumes, (3, 3), 30, 0).batch(0).labels is None, "unless they are asked for"
    healthy = Sampler(volumes[1:], (3, 3), 30, 0, labelled=True)
    assert set(healthy.batch(0).volumes) == {0, 1, 2}
