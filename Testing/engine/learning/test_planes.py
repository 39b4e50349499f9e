"""All three slice planes: what is drawn, where it lies, and that labels and starts take part in pretraining."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import hssl.learning.finetuning
import hssl.preprocessing.store
from hssl.configuration import Budget, FinetuneConfig, PretrainConfig
from hssl.errors import ConfigurationError
from hssl.events import Losses, Message
from hssl.jobs.estimate import estimate
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.learning.augmentation import PRETRAINING, Strength, change_intensities, draw_warp, generators
from hssl.learning.finetuning import FinetuneLearner
from hssl.learning.generated import MOST_LABELS, label_maps, painted
from hssl.learning.losses.dense import same_shape
from hssl.learning.losses.position import points_in_volume
from hssl.learning.pretraining import PretrainLearner
from hssl.learning.sampling import UNLABELLED, Sampler
from hssl.models.model_file import load_model
from hssl.models.run_folder import RunFolder
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.preprocessing.grid import slices_first
from hssl.preprocessing.normalisation import fingerprint_of
from hssl.preprocessing.planes import in_plane, left_right_of, planes_of, slices_along
from hssl.preprocessing.store import Reader, SliceContents, StoredVolume
from hssl.workspace.catalogue import Catalogue

QUICK = {"patch_size": 32, "batch_size": 4, "precision": "float32", "device": "cpu", "threads": 1}
SHAPE = (20, 24, 28)


def fingerprint(spacing: tuple[float, float, float]) -> Fingerprint:
    axis = int(np.argmax(spacing)) if max(spacing) >= 1.25 * min(spacing) else 0
    return Fingerprint(spacing=spacing, slice_axis=axis, normalisation="percentiles", median_size=(9, 9, 9))


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [((1, 1, 1), (0, 1, 2)), ((1.2, 1, 1), (0, 1, 2)), ((5, 1, 1), (0,)), ((1, 5, 1), (0,)), ((2.5, 4.2, 4.2), (0, 2))],
)
def test_planes_are_those_whose_slices_lie_along_a_coarse_axis(spacing, expected):
    assert planes_of(fingerprint(spacing), 2, "all") == expected
    assert planes_of(fingerprint(spacing), 2, "one") == planes_of(fingerprint(spacing), 3, "all") == (0,)


def stored(folder: Path) -> StoredVolume:
    """A volume in which each voxel holds its own number, and a label with one class in a corner of it."""
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.float32)
    label = np.zeros(SHAPE, np.uint8)
    label[2:5, 10:14, 20:26] = 1
    np.save(folder / "image.npy", array)
    np.save(folder / "label.npy", label)
    z, y, x = (
        SliceContents(np.ones(SHAPE[a]), (tuple(np.flatnonzero(np.moveaxis(label, a, 0).any((1, 2))).tolist()),))
        for a in range(3)
    )
    return StoredVolume("case", "task", folder / "image.npy", SHAPE, -1.0, (z, y, x), folder / "label.npy")


def test_windows_come_from_all_planes_and_say_where_they_lie(tmp_path):
    volume = stored(tmp_path)
    planes = {"task": (0, 1, 2)}
    sampler = Sampler([volume], (8, 8), 16, 0, in_slices=3, labelled=True, planes=planes)
    assert sampler.steps_per_epoch == -(-sum(SHAPE) // 16)
    batches = [sampler.batch(step) for step in range(4)]
    assert set(np.concatenate([b.axes for b in batches]).tolist()) == {0, 1, 2}
    hits = 0
    for batch in batches:
        for n, axis in enumerate(batch.axes):
            array = slices_along(Reader().array(volume.path), axis)
            labels = slices_along(Reader().array(volume.label_path), axis)
            shape = np.array(in_plane(SHAPE, axis))
            corner = np.round(batch.positions[n] * shape - batch.extents[n] * shape / 2).astype(int)
            s, r, c = corner
            assert np.array_equal(batch.images[n, 1], array[s, r : r + 8, c : c + 8])
            assert np.array_equal(batch.labels[n], labels[s, r : r + 8, c : c + 8])
            hits += bool(batch.labels[n].any())
    assert hits > 32  # most windows are placed on the class, in whatever plane


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_what_processes_draw_is_together_what_one_draws(tmp_path, processes):
    sampler = Sampler([stored(tmp_path)], (8, 8), 12, 0, labelled=True, planes={"task": (0, 1, 2)})
    for step in (0, 5):
        whole = sampler.batch(step)
        parts = [sampler.batch(step, rank, processes) for rank in range(processes)]
        for name in ("images", "labels", "tasks", "axes", "positions", "extents", "volumes", "samples"):
            np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name))
        assert whole.samples.tolist() == list(range(12 * step, 12 * (step + 1)))


def test_windows_without_a_label_say_so(tmp_path):
    volume = stored(tmp_path)
    bare = StoredVolume("bare", "other", volume.path, SHAPE, -1.0, tuple(SliceContents(c.body) for c in volume.along))
    batch = Sampler([volume, bare], (8, 8), 8, 0, labelled=True).batch(0)
    unlabelled = (batch.labels == UNLABELLED).all((1, 2))
    assert unlabelled.tolist() == (batch.tasks == 0).tolist()
    assert not (batch.labels == UNLABELLED)[~unlabelled].any()


def test_a_point_has_one_place_in_whatever_plane_it_is_seen():
    size = np.array([20.0, 30.0, 40.0])
    point = np.array([5.0, 12.0, 31.0])  # z, y, x
    window = draw_warp(generators(0, np.arange(1), 0), (8, 8), (8, 8), Strength(0, 0, 0, 0, 0, 0), torch.device("cpu"))
    found = []
    for axis in range(3):
        own, lengths = np.r_[point[axis], np.delete(point, axis)], np.r_[size[axis], np.delete(size, axis)]
        centre = own + np.array([0.0, 1.0, -2.0])
        inside = torch.tensor([[[2.0 / 4, -1.0 / 4]]])  # the point from that centre, in half windows: column, row
        places = points_in_volume(
            window, inside, torch.tensor((centre / lengths)[None]).float(),
            torch.tensor((np.array([1, 8, 8]) / lengths)[None]).float(), torch.tensor([axis]),
        )  # fmt: skip
        found.append(places[0, 0])
    expected = torch.tensor(2 * point / size - 1).flip(0).float()
    assert all(torch.allclose(place, expected, atol=1e-5) for place in found)


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_left_and_right_lie_where_it_is_said_in_every_plane_of_every_stack(slice_axis, axis):
    values = {"spacing": (1, 1, 1), "normalisation": "percentiles", "median_size": (9, 9, 9)}
    x = np.broadcast_to(np.arange(4), (2, 3, 4)).transpose(slices_first(slice_axis))  # z, y, x on the working grid
    slices = slices_along(x, axis)
    lies = left_right_of(Fingerprint(slice_axis=slice_axis, **values), axis)
    assert [bool(np.diff(slices, axis=a).any()) for a in range(3)] == [a == lies for a in range(3)]


@pytest.mark.parametrize("slice_axis", [0, 2])
def test_training_mirrors_left_and_right_in_every_plane(workspace, monkeypatch, slice_axis):
    """The sampled windows of each axis, and what becomes of them."""
    seen = []

    def watched(rngs, window, patch, strength, device, left_right=None):
        seen.append((strength.flip, left_right))
        return draw_warp(rngs, window, patch, strength, device, left_right)

    whole = FinetuneLearner.read
    axes = []

    def read(self, *given):
        batch = whole(self, *given)
        axes.append(batch.labelled.axes.tolist())
        return batch

    made = fingerprint_of

    def along(measures, modality):
        return made(measures, modality).model_copy(update={"slice_axis": slice_axis, "spacing": (6.0, 6.0, 6.0)})

    monkeypatch.setattr(hssl.learning.finetuning, "draw_warp", watched)
    monkeypatch.setattr(FinetuneLearner, "read", read)
    monkeypatch.setattr(hssl.preprocessing.store, "fingerprint_of", along)
    task = Catalogue.load(workspace).tasks[0].name
    config = {"workspace": workspace, "task": task, "run": "run", "budget": Budget(steps=2), "mirror": True, **QUICK}
    finetune(FinetuneConfig.checked(config))
    drawn = {0: [2, 2, 0], 2: [0, 1, 1]}[slice_axis]
    assert {axis for own in axes for axis in own} == {0, 1, 2}
    told = [[drawn[axis] for axis in own] for own in axes]
    assert all(flip == 0.5 for flip, _ in seen) and [sides for _, sides in seen] == told[: len(seen)]


@pytest.mark.parametrize("size", [(3, 40, 48), (1, 40, 48), (1, 16, 24, 24)])
def test_generated_shapes_are_painted_anew_in_each_view(size):
    maps = label_maps(generators(1, np.arange(6), 4), size, torch.device("cpu"))
    assert maps.shape == (6, *size) and torch.equal(maps, maps.round()) and maps.min() >= 0 and maps.max() < MOST_LABELS
    assert all(len(one.unique()) > 2 for one in maps)
    views = [painted(maps, generators(1, np.arange(6), view)) for view in (0, 1)]
    again = painted(maps, generators(1, np.arange(6), 0))
    assert torch.equal(views[0], again) and torch.isfinite(views[0]).all()
    for first, second, shapes in zip(*views, maps, strict=True):
        assert not torch.allclose(first, second)
        # What a label explains of an image is more than what brightness is shared by the two views.
        for view in (first, second):
            within = torch.stack([view[shapes == v].var() * (shapes == v).float().mean() for v in shapes.unique()])
            assert within.nansum() < 0.9 * view.var()


def test_points_of_one_generated_shape_are_told():
    shapes = torch.full((2, 1, 4, 4), -1.0)
    shapes[1, 0, :, :2], shapes[1, 0, :, 2:] = 3, 5
    points = torch.tensor([[-0.5, 0.0], [-0.6, 0.5], [0.5, 0.0]]).expand(2, 3, 2)
    numbers = same_shape(shapes, points)
    assert len(numbers[0].unique()) == 3 and numbers[1, 0] == numbers[1, 1] != numbers[1, 2]


@pytest.mark.parametrize("generated", [0.0, 0.5, 1.0])
def test_a_batch_still_says_where_it_came_from_when_shapes_were_shown_instead(workspace, monkeypatch, generated):
    told = []
    whole = PretrainLearner.prepared

    def watched(self, batch):
        before = batch.volumes.copy()
        views = whole(self, batch)
        told.append((before, batch.volumes, self.ids(batch), views))
        return views

    monkeypatch.setattr(PretrainLearner, "prepared", watched)
    done = pretrain(pretraining(workspace, "run", 3, generated=generated))
    sums = RunFolder(done.result.run).load_checkpoint()["state"]["sums"]
    for name in ("task", "group", "position"):
        assert (sums[name] == 0) == (generated == 1), "what is generated is of no task, no group and no place"
    for before, after, ids, views in told:
        np.testing.assert_array_equal(before, after)
        assert ids
        shown = ~views.real.numpy()
        np.testing.assert_array_equal(views.volumes[~shown], before[~shown])
        numbers = views.volumes[shown].tolist()
        assert all(n < 0 for n in numbers) and len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("seed", range(5))
def test_points_of_other_windows_and_other_shapes_have_other_numbers(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 100, 255], (4, 3, 4, 4)).astype(np.float32)
    labels[0] = -1
    labels[2, 1] = labels[1, 1]
    cells = rng.integers(0, 4, (4, 30, 2))
    numbers = same_shape(torch.from_numpy(labels), torch.from_numpy((cells - 1.5) / 2).float()).numpy()
    there = labels[np.arange(4)[:, None], 1, cells[..., 1], cells[..., 0]]
    window = np.broadcast_to(np.arange(4)[:, None], there.shape)
    alike = (there[..., None, None] == there) & (window[..., None, None] == window) & (there >= 0)
    own = np.eye(there.size, dtype=bool).reshape(*there.shape, *there.shape)
    np.testing.assert_array_equal(numbers[..., None, None] == numbers, alike | own)


def test_a_curve_of_intensities_keeps_range_and_edges():
    images = torch.linspace(-1, 2, 64).reshape(1, 1, 8, 8).repeat(16, 1, 1, 1)
    changed = change_intensities(images, generators(0, np.arange(16), 0), Strength(intensity=0, remapped=1.0))
    assert torch.allclose(changed.amin((1, 2, 3)), torch.tensor(-1.0), atol=0.15)
    assert torch.allclose(changed.amax((1, 2, 3)), torch.tensor(2.0), atol=0.15)
    falls = (changed.flatten(1).diff(dim=1) < 0).any(1)
    assert falls.any()
    same = change_intensities(images, generators(0, np.arange(16), 0), Strength(intensity=0))
    assert torch.equal(same, images)


def pretraining(workspace: Path, run: str, steps: int, **more) -> PretrainConfig:
    return PretrainConfig.checked({"workspace": workspace, "run": run, "budget": Budget(steps=steps), **QUICK, **more})


def test_labels_take_part_in_pretraining_only_when_asked(workspace, monkeypatch):
    seen, batches = [], []
    whole = PretrainLearner.prepared

    def watched(learner, batch):
        views = whole(learner, batch)
        batches.append(views)
        return views

    monkeypatch.setattr(PretrainLearner, "prepared", watched)
    done = pretrain(pretraining(workspace, "without", 1), seen.append)
    assert all(views.labels is None for views in batches)
    assert "segmentation" not in RunFolder(done.result.run).load_checkpoint()["state"]["sums"]
    seen.clear()
    only = {"image": 0, "task": 0, "group": 0, "dense": 0, "position": 0, "reconstruction": 0}
    more = {"with_labels": True, "generated": 0.3, "remapped": 0.3, "batch_size": 6, "learning_rate": 1e-2}
    config = pretraining(workspace, "with", 20, weights=only, **more)
    done = pretrain(config, seen.append)
    values = [e.values["segmentation"] for e in seen if isinstance(e, Losses)]
    assert np.mean(values[-1:]) < 0.9 * np.mean(values[:1])
    assert not all(views.real.all() for views in batches[-20:])  # some windows show generated shapes
    description = load_model(done.result.run)[0]
    assert description.provenance["labels"] > 0
    assert set(description.planes) == {task.name for task in description.tasks}


@pytest.mark.parametrize("planes", ["all", "one"])
def test_the_estimate_knows_the_patches_of_all_planes(workspace, planes):
    config = pretraining(workspace, "run", 1, patch_size=0, planes=planes)
    expected = estimate(config).result.patch_size
    description, _ = load_model(pretrain(config).result.run)
    assert list(description.patch_size) == expected


def test_only_a_pretext_with_such_a_loss_takes_labels(workspace):
    with pytest.raises(ConfigurationError, match="no loss of labels"):
        pretrain(pretraining(workspace, "run", 1, pretext="mae", with_labels=True))


def test_pretraining_goes_on_from_any_start(workspace):
    first = pretrain(pretraining(workspace, "first", 2, network={"in_slices": 5}))
    texts = []
    more = pretraining(workspace, "second", 1, start="first", learning_rate=1e-9)
    done = pretrain(
        more, lambda event: texts.append(getattr(event, "text", "")) if isinstance(event, Message) else None
    )
    before, after = (RunFolder(d.result.run).load_checkpoint()["network"] for d in (first, done))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert any(text.endswith("0 start anew ()") for text in texts)
    description = load_model(done.result.run)[0]
    assert description.network.in_slices == 5 and description.provenance["start"] == "first"
    assert PRETRAINING.remapped == 0
