"""The store: built once, rebuilt when something changed, never half; and what is drawn from it."""

from __future__ import annotations

import math
import os
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import hssl.preprocessing.store
from hssl.configuration import NetworkConfig
from hssl.errors import ConfigurationError, InputError
from hssl.events import Message, ignore, never
from hssl.learning.patches import larger_patches, patch_size
from hssl.learning.sampling import Sampler, cut
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.preprocessing.grid import slices_first
from hssl.preprocessing.normalisation import fingerprint_of, volume_measure
from hssl.preprocessing.store import (
    BYTES_A_VOXEL,
    UNLABELLED,
    Reader,
    as_coarse_as_structures_allow,
    as_labels_need,
    build,
    channels_of,
    task_fingerprint,
)
from hssl.workspace.catalogue import Catalogue, Image, LabelClass, Task


def built(workspace, with_labels=False, on_event=ignore, names=None):
    catalogue = Catalogue.load(workspace)
    tasks = [t.name for t in catalogue.tasks if names is None or t.name in names]
    prints = {name: task_fingerprint(catalogue, catalogue.task(name), [], on_event, never) for name in tasks}
    images = [i for name in tasks for i in catalogue.usable(name, labelled=True if with_labels else None)]
    return build(catalogue, images, prints, with_labels, on_event, never)


def files(workspace):
    return {p: p.stat().st_mtime_ns for p in (workspace / "store").rglob("*.np*")}


def test_the_store_is_built_once(workspace):
    volumes = built(workspace, with_labels=True)
    before = files(workspace)
    assert len(before) == 2 * len(volumes)
    assert built(workspace, with_labels=True)[0].shape == volumes[0].shape
    assert files(workspace) == before


def test_a_changed_image_is_built_anew_and_the_others_are_not(workspace):
    built(workspace)
    before = files(workspace)
    catalogue = Catalogue.load(workspace)
    image = catalogue.usable()[0]
    path = catalogue.image_path(image)
    volume = sitk.ReadImage(str(path)) + 100
    sitk.WriteImage(volume, str(path))
    os.utime(path, ns=(1, 1))
    catalogue_task = image.task
    after_volumes = built(workspace, names=None)
    new = set(files(workspace)) - set(before)
    # The task's fingerprint is measured anew, so its images are too; other tasks' entries stay.
    assert {v.path for v in after_volumes if v.path in new} == {
        v.path for v in after_volumes if v.task == catalogue_task and v.path in new
    }
    assert any(v.id == image.id and v.path in new for v in after_volumes)


def test_a_volume_without_its_description_is_not_there(workspace):
    volume = built(workspace)[0]
    volume.path.with_suffix(".json").unlink()
    volume.path.write_bytes(volume.path.read_bytes()[:100])
    again = next(v for v in built(workspace) if v.id == volume.id)
    assert Reader().array(again.path).shape == volume.shape


def test_labels_hold_channels_not_values(workspace):
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0]
    values = [c.value for c in task.classes]
    volumes = built(workspace, with_labels=True, names=[task.name])
    channels = np.unique(np.concatenate([np.unique(Reader().array(v.label_path)) for v in volumes]))
    assert channels.max() <= len(values)
    for volume in volumes:
        array = Reader().array(volume.label_path)
        for channel, slices in enumerate(volume.along[0].classes, 1):
            assert set(slices) == set(np.flatnonzero((array == channel).any((1, 2))))


def test_an_image_whose_label_has_unknown_values_is_left_out_with_the_reason(workspace):
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0]
    task.classes = [LabelClass(value=99, name="other")]
    catalogue.save()
    messages = []
    with pytest.raises(ConfigurationError):
        Sampler(built(workspace, True, messages.append, [task.name]), (32, 32), 4, 0, labelled=True)
    assert any("no classes of task" in m.text for m in messages if isinstance(m, Message))


def test_few_maps_stay_open(workspace):
    volumes = built(workspace)
    reader = Reader(mapped_bytes=2 * Reader().array(volumes[0].path).nbytes)
    for volume in volumes:
        reader.array(volume.path)
    assert sum(m.nbytes for m in reader._maps.values()) <= reader._limit
    assert len(volumes) > len(reader._maps) >= 1


def test_every_task_has_its_share_of_every_batch(workspace):
    volumes = built(workspace)
    first = volumes[0].task
    # One task with a single volume beside the others with all of theirs.
    few = [v for v in volumes if v.task != first] + [volumes[0]]
    sampler = Sampler(few, (32, 32), 4 * len({v.task for v in few}), 0)
    for step in range(5):
        counts = np.bincount(sampler.batch(step).tasks, minlength=len(sampler.tasks))
        assert (counts == 4).all()


def test_batches_depend_on_seed_and_step_alone(workspace):
    volumes = built(workspace, with_labels=True)
    one, other = (Sampler(volumes, (40, 24), 6, seed, 3, labelled=True) for seed in (0, 1))
    batch = one.batch(7)
    assert batch.images.shape == (6, 3, 40, 24) and batch.labels.shape == (6, 40, 24)
    assert np.array_equal(batch.images, Sampler(volumes, (40, 24), 6, 0, 3, labelled=True).batch(7).images)
    assert not np.array_equal(batch.images, other.batch(7).images)
    parts = [one.batch(7, rank, 2) for rank in (0, 1)]
    assert np.array_equal(np.concatenate([p.images for p in parts]), batch.images)
    assert np.array_equal(np.concatenate([p.samples for p in parts]), batch.samples)


def test_slices_of_pure_background_are_skipped(workspace):
    from dataclasses import replace

    volume = built(workspace)[0]
    body = np.zeros_like(volume.along[0].body)
    body[3] = 0.5
    along = (replace(volume.along[0], body=body), *volume.along[1:])
    sampler = Sampler([replace(volume, along=along)], (32, 32), 8, 0)
    centres = sampler.batch(0).positions[:, 0] * volume.shape[0] - 0.5
    assert np.allclose(centres, 3)


@pytest.mark.parametrize("start", [(-2, -3), (5, 6), (20, 20), (-30, 0)])
def test_a_window_beyond_the_volume_is_padded_in_place(start):
    array = np.arange(2 * 8 * 9, dtype=np.float16).reshape(2, 8, 9)
    window = cut(array, (np.array([1, 0]), *start), (6, 7), -1.0)
    assert window.shape == (2, 6, 7) and window.dtype == np.float32
    for row in range(6):
        for column in range(7):
            y, x = start[0] + row, start[1] + column
            expected = array[[1, 0], y, x] if 0 <= y < 8 and 0 <= x < 9 else [-1, -1]
            assert np.array_equal(window[:, row, column], expected)


def test_patches_hold_a_median_slice_and_are_multiples_of_sixteen():
    network = NetworkConfig()
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert patch_size(network, [(10, 50, 90)] * 3, 0, gpu) == (64, 96)
    assert patch_size(network, [(10, 500, 20)], 0, gpu) == (128, 48)
    assert patch_size(network, [(10, 500, 20)], 0, cpu) == (64, 48)
    assert patch_size(network, [], 128, cpu) == (128, 128)
    with pytest.raises(ConfigurationError, match="multiple of 16"):
        patch_size(network, [], 40, cpu)


def test_a_segmentation_network_sees_larger_patches_too_up_to_the_whole_slice():
    assert larger_patches((64, 64), [(10, 300, 300)], 16, 1) == [((96, 96), 7), ((128, 128), 4)]
    assert larger_patches((64, 64), [(10, 100, 70)], 16, 1) == [((96, 80), 9), ((112, 80), 7)]
    assert larger_patches((64, 64), [(10, 60, 60)], 16, 1) == []
    assert larger_patches((64, 48), [(10, 300, 40)], 4, 3) == [((96, 48), 3), ((128, 48), 3)]
    assert larger_patches((32, 64, 64), [(100, 300, 300)], 2, 1) == []


def test_values_become_channels_and_what_nobody_labelled_stays_unlabelled(tmp_path):
    values = np.array([0, 3, 7, 250, 3], np.uint8).reshape(1, 1, 5)
    task = Task(name="t", classes=[LabelClass(value=7, name="a"), LabelClass(value=3, name="b")], ignore_value=250)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1, 2, 3))
    found = channels_of(image, task, tmp_path)
    assert sitk.GetArrayFromImage(found).ravel().tolist() == [0, 2, 1, UNLABELLED, 2]
    assert found.GetSpacing() == (1, 2, 3)
    with pytest.raises(InputError, match=r"label values \[250\] are no classes of task 't' \(they are \[3, 7\]\)"):
        channels_of(image, task.model_copy(update={"ignore_value": None}), tmp_path)
    for count in (UNLABELLED, UNLABELLED + 45):
        many = [LabelClass(value=n, name=f"c{n}") for n in range(1, count + 1)]
        with pytest.raises(InputError, match="254 can be learned"):
            channels_of(image, Task(name="t", classes=many), tmp_path)


@pytest.mark.parametrize(("free", "most"), [(0.1, 1), (1.5, 1), (2.5, 2), (99, 3)])
def test_so_many_images_are_stored_at_once_as_memory_is_free_for(workspace, monkeypatch, free, most):
    """Four scans of 700 × 700 × 400 voxels at once took 20 GB, whatever the machine had."""
    catalogue = Catalogue.load(workspace)
    voxels = max(math.prod(i.size) for i in catalogue.usable())
    monkeypatch.setattr("hssl.preprocessing.store.available_memory", lambda: int(free * voxels * BYTES_A_VOXEL))
    monkeypatch.setattr("hssl.preprocessing.store.cores", lambda: 3)
    asked = []
    pool = hssl.preprocessing.store.ThreadPoolExecutor
    monkeypatch.setattr(
        hssl.preprocessing.store, "ThreadPoolExecutor", lambda count: asked.append(count) or pool(count)
    )
    coarse = Fingerprint(spacing=(30, 30, 30), slice_axis=0, normalisation="percentiles", median_size=(9, 9, 9))
    build(catalogue, catalogue.usable(), {t.name: coarse for t in catalogue.tasks}, False, ignore, never)
    assert asked == [most]


def test_a_hundred_classes_take_no_more_memory_than_one(tmp_path):
    array = np.zeros((40, 64, 64), np.uint8)
    array[5:30, 10:50, 10:50] = 1
    image = sitk.GetImageFromArray(array + np.random.default_rng(0).normal(0, 1, array.shape).astype(np.float32))
    sitk.WriteImage(image, str(tmp_path / "a.nii"))
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "a_label.nii"))
    peaks = []
    for count in (1, 100):
        catalogue = Catalogue.create(tmp_path / f"w{count}")
        task = Task(name="t", modality="MR", classes=[LabelClass(value=n, name=f"{n}") for n in range(1, 1 + count)])
        catalogue.set_task(task)
        files = {"image": str(tmp_path / "a.nii"), "label": str(tmp_path / "a_label.nii")}
        catalogue.images.append(Image(id="a", task="t", **files))
        own = task_fingerprint(catalogue, task, [], ignore, never)
        tracemalloc.start()
        (stored,) = build(catalogue, catalogue.images, {"t": own}, True, ignore, never)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert [bool(slices) for slices in stored.along[2].classes] == [True] + [False] * (count - 1)
    assert peaks[1] < peaks[0] + 20 * array.size


@pytest.mark.parametrize("finer", [1.0, 0.5])
def test_a_class_that_is_too_thin_for_the_working_grid_is_told_and_others_are_not(tmp_path, finer):
    array = np.zeros((6, 80, 80), np.uint8)
    array[:, 10:40, 10:40] = 1
    array[:, 61, 5:75] = 2
    image = sitk.GetImageFromArray(array * 100 + np.random.default_rng(0).normal(0, 1, array.shape).astype(np.float32))
    label = sitk.GetImageFromArray(array)
    for name, one in (("a.nii", image), ("a_label.nii", label)):
        one.SetSpacing((finer, finer, 3.0))
        sitk.WriteImage(one, str(tmp_path / name))
    catalogue = Catalogue.create(tmp_path / "w")
    catalogue.set_task(
        Task(name="t", modality="MR", classes=[LabelClass(value=1, name="disc"), LabelClass(value=2, name="line")])
    )
    catalogue.images.append(Image(id="a", task="t", image=str(tmp_path / "a.nii"), label=str(tmp_path / "a_label.nii")))
    own = Fingerprint(spacing=(3, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(6, 80, 80))
    for _ in ("built", "found in the store"):
        told: list = []
        (stored,) = build(catalogue, catalogue.images, {"t": own}, True, told.append, never)
        texts = [e.text for e in told if isinstance(e, Message)]
        if finer == 1:
            assert stored.kept == (1, 1) and not texts
        else:
            assert stored.kept[0] == pytest.approx(1, abs=0.1) and stored.kept[1] < 0.5
            assert (
                len(texts) == 1
                and "line keeps less than half of its voxels in a;" in texts[0]
                and "1 × 1 × 3 mm" in texts[0]
            )


@pytest.mark.parametrize(
    ("structures", "seen"), [([-850], True), ([60], False), ([60, -850], True), ([], True)]
)  # HU of what is labelled
def test_lungs_are_seen_where_a_label_is_of_something_in_them(tmp_path, structures, seen):
    array = np.full((4, 30, 30), 60, np.int16)
    array[:, 5:15] = -850
    array += np.random.default_rng(0).integers(-30, 30, array.shape).astype(np.int16)
    label = np.zeros(array.shape, np.uint8)
    for number, value in enumerate(structures, 1):
        label[np.abs(array - value) < 25] = number
    for name, values in (("a", array), ("a_label", label)):
        sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / f"{name}.nii"))
    catalogue = Catalogue.create(tmp_path / "w")
    task = Task(name="t", modality="CT", classes=[LabelClass(value=n, name=f"{n}") for n in (1, 2)])
    catalogue.set_task(task)
    case = Image(id="a", task="t", image=str(tmp_path / "a.nii"), label=str(tmp_path / "a_label.nii"))
    window = {"lower": -100.0, "upper": 200.0, "center": 50.0, "scale": 90.0, "lungs": -990.0}
    own = Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="window", median_size=(4, 30, 30), **window)
    assert as_labels_need(catalogue, task, own, [case]) == own.model_copy(update={"lungs": -990.0 if seen else None})


@pytest.mark.parametrize(
    ("size", "radius", "sagittal", "found"),
    [
        ((1, 800, 640), 150, False, (1, 256, 205)),  # as an X-ray: the radius is that of the smallest structure
        ((1, 800, 640), 60, False, (1, 320, 256)),
        ((1, 800, 640), 15, False, (1, 800, 640)),
        ((1, 500, 400), 100, False, (1, 500, 400)),
        ((3, 800, 640), 150, True, (3, 256, 205)),
    ],
)
def test_wide_structures_in_large_slices_are_learned_on_a_coarser_grid(tmp_path, size, radius, sagittal, found):
    _, y, x = np.mgrid[: size[0], : size[1], : size[2]]
    label = (np.hypot(y - size[1] / 2, x - size[2] / 2) < radius).astype(np.uint8)
    label[label == 0] = 2 * (y[label == 0] > size[1] / 2)
    array = (100 * label + np.random.default_rng(0).integers(0, 90, label.shape)).astype(np.int16)
    catalogue = Catalogue.create(tmp_path / "w")
    task = Task(name="t", modality="DX", classes=[LabelClass(value=n, name=f"{n}") for n in (1, 2)])
    catalogue.set_task(task)
    for name, values in (("a", array), ("a_label", label)):
        volume = sitk.GetImageFromArray(values)
        volume.SetSpacing((0.2, 0.2, 3.0))
        if sagittal:
            volume.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
        sitk.WriteImage(volume, str(tmp_path / f"{name}.nii"))
    case = Image(id="a", task="t", image=str(tmp_path / "a.nii"), label=str(tmp_path / "a_label.nii"))
    own = fingerprint_of([volume_measure(sitk.ReadImage(str(tmp_path / "a.nii")))], "DX")
    told = []
    coarse = as_coarse_as_structures_allow(catalogue, task, own, [case], told.append)
    order = slices_first(own.slice_axis)
    assert coarse.slice_axis == own.slice_axis == (2 if sagittal else 0)
    assert coarse.spacing[own.slice_axis] == own.spacing[own.slice_axis] == 3
    assert [coarse.median_size[axis] for axis in order] == pytest.approx(found, rel=0.1)
    assert len(told) == (found != size)
    stored = build(catalogue, [case], {"t": coarse}, True, ignore, never)[0]
    assert stored.shape == tuple(coarse.median_size[axis] for axis in order)
    assert min(stored.kept) > 0.9


def test_what_fills_its_slice_is_as_wide_as_it(tmp_path):
    catalogue = Catalogue.create(tmp_path / "w")
    task = Task(name="t", classes=[LabelClass(value=1, name="1")])
    catalogue.set_task(task)
    array = np.random.default_rng(0).integers(0, 90, (1, 600, 700)).astype(np.int16)
    for name, values in (("a", array), ("a_label", np.ones(array.shape, np.uint8))):
        sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / f"{name}.nii"))
    case = Image(id="a", task="t", image=str(tmp_path / "a.nii"), label=str(tmp_path / "a_label.nii"))
    own = Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=array.shape)
    assert as_coarse_as_structures_allow(catalogue, task, own, [case], ignore).median_size == (1, 219, 256)
