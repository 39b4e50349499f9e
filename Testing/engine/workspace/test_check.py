from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.events import Message
from hssl.workspace import check as checking
from hssl.workspace.catalogue import Catalogue, LabelClass, Task
from hssl.workspace.check import check, check_workspace
from hssl.workspace.scan import scan
from hssl.workspace.sources import find


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), True)


def noise(seed: int, size=(5, 6, 7)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def label(*values: int, size=(5, 6, 7)) -> np.ndarray:
    array = np.zeros(size, np.uint8)
    array.ravel()[: len(values)] = values
    return array


@pytest.fixture
def catalogue(tmp_path):
    catalogue = Catalogue.create(tmp_path / "workspace")
    catalogue.set_task(Task(name="t"))
    return catalogue


def fill(catalogue: Catalogue, images: dict[str, np.ndarray], labels: dict[str, np.ndarray] | None = None) -> Path:
    root = catalogue.workspace.parent / "data"
    for name, values in images.items():
        write(root / "images" / name, values)
    for name, values in (labels or {}).items():
        write(root / "labels" / name, values)
    scan(catalogue, find(root).candidates, "t")
    return root


@pytest.mark.parametrize("modality", ["unknown", "CT", "MR"])
def test_what_looks_like_ct_is_told_where_nobody_says_the_modality(catalogue, modality):
    """As of volumes that came from a scene. It is told once, when the voxels are read."""
    catalogue.set_task(Task(name="t", modality=modality))
    fill(catalogue, {f"{n}.nii.gz": 100 * noise(n) - level for n, level in enumerate((700, 700, 0))})
    rounds = []
    for _ in range(2):
        events: list = []
        check(catalogue, events.append)
        rounds.append([e.text for e in events if isinstance(e, Message) and e.way_out == "modality"])
    wanted = "task t: the values of 2 of 3 images reach below -500, as those of CTs do"
    assert [[text[: len(wanted)] for text in told] for told in rounds] == [[wanted] * (modality == "unknown"), []]


def test_nan_constant_and_missing_volumes_are_found(catalogue):
    nan = noise(1)
    nan[2, 2, 2] = np.nan
    root = fill(
        catalogue,
        {
            "good.nii.gz": noise(0),
            "nan.nii.gz": nan,
            "nan.nrrd": nan,
            "flat.nii": noise(2) * 0 + 3,
            "lost.nii": noise(4),
        },
    )
    (root / "images" / "lost.nii").unlink()
    report = check(catalogue)
    problems = {i.id: i.problem for i in catalogue.images}
    assert problems["good"] is None
    assert "NaN" in problems["nan"]
    assert "NaN" in problems["nan-2"]
    assert "constant" in problems["flat"]
    assert "No such file" in problems["lost"]
    assert report.read == 5
    assert {one.id for one in report.problems} == {"nan", "nan-2", "flat", "lost"}


def test_labels_that_cannot_be_used_are_found_and_their_images_stay_usable(catalogue):
    catalogue.set_task(Task(name="t", classes=[LabelClass(value=1, name="a"), LabelClass(value=2, name="b")]))
    fill(
        catalogue,
        {f"{n}.nii.gz": noise(i) for i, n in enumerate(["good", "unknown", "empty", "grid", "half"])},
        {
            "good.nii.gz": label(1, 2),
            "unknown.nii.gz": label(1, 7, 9),
            "empty.nii.gz": label(),
            "grid.nii.gz": label(1, size=(5, 6, 8)),
            "half.nii.gz": label(1).astype(np.float32) * 0.5,
        },
    )
    check(catalogue)
    problems = {i.id: i.label_problem for i in catalogue.images}
    assert problems["good"] is None
    assert "7, 9 (classes: 1, 2)" in problems["unknown"]
    assert problems["empty"] is None and catalogue.image("empty").label_values == []
    assert "another grid" in problems["grid"]
    assert "whole" in problems["half"]
    assert len(catalogue.usable()) == 5
    healthy = "a healthy case is a labelled one"
    assert [i.id for i in catalogue.usable(labelled=True)] == ["empty", "good"], healthy


def test_a_label_without_a_background_is_told(catalogue):
    """Programs that count from 1 write such: what is nothing is a class."""
    catalogue.set_task(Task(name="t"))
    values = np.where(label(1) > 0, 2, 1).astype(np.uint8)
    fill(catalogue, {"a.nii.gz": noise(0), "b.nii.gz": noise(1)}, {"a.nii.gz": values, "b.nii.gz": label(1)})
    events: list = []
    assert check(catalogue, events.append).problems == []
    told = [e.text for e in events if isinstance(e, Message) and "no background" in e.text]
    assert len(told) == 1 and "a.nii.gz: has no background: no voxel is 0, and each of its values (1, 2)" in told[0]


def test_the_value_of_voxels_that_nobody_labelled_is_no_class_and_no_problem(catalogue):
    catalogue.set_task(Task(name="t", ignore_value=9))
    fill(catalogue, {"a.nii.gz": noise(0), "b.nii.gz": noise(1)}, {"a.nii.gz": label(1, 9), "b.nii.gz": label(9)})
    assert check(catalogue).problems == []
    assert [c.value for c in catalogue.task("t").classes] == [1]


def test_a_ct_of_nothing_but_air_is_a_problem(catalogue):
    catalogue.set_task(Task(name="t", modality="CT"))
    fill(catalogue, {"a.nii.gz": noise(0) - 5000, "b.nii.gz": noise(1)})
    check(catalogue)
    assert "all air" in catalogue.image("a").problem and catalogue.image("b").problem is None


def test_a_task_without_classes_gets_them_from_all_its_labels(catalogue):
    fill(
        catalogue,
        {"a.nii.gz": noise(0), "b.nii.gz": noise(1)},
        {"a.nii.gz": label(1, 4), "b.nii.gz": label(2).astype(np.float64)},
    )
    report = check(catalogue)
    assert [(c.value, c.name) for c in catalogue.task("t").classes] == [(1, "class 1"), (2, "class 2"), (4, "class 4")]
    assert report.classes["t"] == catalogue.task("t").classes
    assert report.problems == []


def test_an_image_taken_for_a_label_gives_no_classes(catalogue):
    many = np.arange(5 * 6 * 7, dtype=np.int32).reshape(5, 6, 7) * 7
    many = np.repeat(np.arange(300, dtype=np.int32), 10).reshape(10, 20, 15)
    fill(catalogue, {"a.nii.gz": noise(0, (10, 20, 15))}, {"a.nii.gz": many})
    check(catalogue)
    assert "an image, or too fine a parcellation" in catalogue.image("a").label_problem
    assert catalogue.task("t").classes == []


def test_what_was_checked_is_not_read_again_until_it_changes(catalogue, monkeypatch):
    root = fill(catalogue, {f"{n}.nii.gz": noise(n) for n in range(3)}, {"1.nii.gz": label(1)})
    assert check(catalogue).read == 3
    again = check(catalogue)
    assert (again.read, again.unchanged) == (0, 3)
    write(root / "images" / "0.nii.gz", noise(0) * 0)
    write(root / "labels" / "1.nii.gz", label(1, 3))
    third = check(catalogue)
    assert (third.read, third.unchanged) == (2, 1)
    assert "constant" in catalogue.image("0").problem
    assert "no class" in catalogue.image("1").label_problem


def test_a_changed_file_gets_its_new_geometry_and_identity(catalogue):
    root = fill(catalogue, {"a.nii.gz": noise(0)})
    check(catalogue)
    content = catalogue.image("a").content
    write(root / "images" / "a.nii.gz", noise(9, (4, 4, 4)))
    check(catalogue)
    assert catalogue.image("a").size == (4, 4, 4)
    assert catalogue.image("a").content != content


def test_other_classes_are_judged_without_reading_again(catalogue):
    fill(catalogue, {"a.nii.gz": noise(0)}, {"a.nii.gz": label(1, 2)})
    check(catalogue)
    catalogue.task("t").classes = [LabelClass(value=1, name="only")]
    assert check(catalogue).read == 0
    assert "2 (classes: 1)" in catalogue.image("a").label_problem
    catalogue.task("t").classes = [LabelClass(value=1, name="one"), LabelClass(value=2, name="two")]
    check(catalogue)
    assert catalogue.image("a").label_problem is None


def test_a_missing_file_that_comes_back_is_usable_again(catalogue):
    root = fill(catalogue, {"a.nii.gz": noise(0)})
    (root / "images" / "a.nii.gz").rename(root / "elsewhere")
    check(catalogue)
    assert catalogue.usable() == []
    (root / "elsewhere").rename(root / "images" / "a.nii.gz")
    check(catalogue)
    assert len(catalogue.usable()) == 1


def test_only_the_task_asked_for_is_read(catalogue):
    root = fill(catalogue, {"a.nii.gz": noise(0)})
    catalogue.set_task(Task(name="u"))
    write(root / "other" / "b.nii.gz", noise(1))
    scan(catalogue, find(root / "other").candidates, "u")
    assert check(catalogue, task="u").read == 1


def test_a_stop_keeps_what_was_read_and_names_no_classes_yet(catalogue):
    fill(catalogue, {f"{n}.nii.gz": noise(n) for n in range(4)}, {f"{n}.nii.gz": label(n + 1) for n in range(4)})
    asked = iter([False, False, True, True])
    report = check(catalogue, stop=lambda: next(asked))
    assert (report.read, report.stopped) == (2, True)
    assert catalogue.task("t").classes == []
    report = check(catalogue)
    assert (report.read, report.unchanged) == (2, 2)
    assert [c.value for c in catalogue.task("t").classes] == [1, 2, 3, 4]


def test_no_more_volumes_are_held_than_there_are_threads(catalogue, monkeypatch):
    fill(catalogue, {f"{n}.nii.gz": noise(n) for n in range(12)})
    held, most, lock, examine = 0, 0, threading.Lock(), checking._examine

    def counted(*arguments):
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        try:
            return examine(*arguments)
        finally:
            with lock:
                held -= 1

    monkeypatch.setattr(checking, "_examine", counted)
    monkeypatch.setattr("hssl.threads.cores", lambda: 3)
    check(catalogue)
    assert most <= 3


def test_a_label_that_was_changed_by_another_process_meanwhile_is_left_alone(catalogue, monkeypatch):
    fill(catalogue, {"a.nii.gz": noise(0)}, {"a.nii.gz": label(1)})
    catalogue.save()
    examine = checking._examine

    def examine_and_edit(known, record):
        with Catalogue.editing(catalogue.workspace) as other:
            other.image("a").label = None
            other.image("a").label_problem = None
        return examine(known, record)

    monkeypatch.setattr(checking, "_examine", examine_and_edit)
    check_workspace(catalogue.workspace)
    after = Catalogue.load(catalogue.workspace).image("a")
    assert after.label is None
    assert after.label_values is None


@pytest.mark.parametrize(("usual", "other"), [(1, 255), (255, 1)])
def test_masks_of_one_structure_with_two_values_are_no_two_classes(catalogue, usual, other):
    values = {"a.nii.gz": usual, "b.nii.gz": usual, "c.nii.gz": other}
    fill(catalogue, {name: noise(n) for n, name in enumerate(values)}, {n: label(v, v) for n, v in values.items()})
    check(catalogue)
    assert [c.value for c in catalogue.tasks[0].classes] == [usual]
    problems = {image.id: image.label_problem for image in catalogue.images}
    assert problems["a"] is None and problems["b"] is None
    assert f"no class of the task: {other} (classes: {usual})" in problems["c"]


def test_a_label_that_has_both_values_has_two_classes(catalogue):
    fill(catalogue, {"a.nii.gz": noise(0), "b.nii.gz": noise(1)}, {"a.nii.gz": label(1, 255), "b.nii.gz": label(1)})
    check(catalogue)
    assert [c.value for c in catalogue.tasks[0].classes] == [1, 255]
