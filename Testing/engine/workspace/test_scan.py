from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import write_series

from hssl.errors import ConfigurationError
from hssl.events import Message, Progress
from hssl.imaging.volumes import write_volume
from hssl.workspace import scan as scanning
from hssl.workspace.candidates import Candidate
from hssl.workspace.catalogue import Catalogue, Image, LabelClass, Task
from hssl.workspace.scan import add, scan
from hssl.workspace.sources import find


def write(path: Path, seed: int, size=(8, 7, 6), label: Path | None = None, kind=np.int16) -> Path:
    values = np.random.default_rng(seed).integers(0, 900, size[::-1]).astype(kind)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.5, 0.75, 2.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(image, path)
    if label is not None:
        label.parent.mkdir(parents=True, exist_ok=True)
        write_volume(sitk.Cast(image > 450, sitk.sitkUInt8), label)
    return path


@pytest.fixture
def data(tmp_path):
    for number in range(4):
        label = tmp_path / "data" / "labels" / f"c{number}.nii.gz" if number < 2 else None
        write(tmp_path / "data" / "images" / f"c{number}.nii.gz", number, label=label)
    return tmp_path / "data"


@pytest.fixture
def catalogue(tmp_path):
    catalogue = Catalogue.create(tmp_path / "workspace")
    catalogue.set_task(Task(name="t"))
    catalogue.save()
    return catalogue


def opened(monkeypatch) -> list[str]:
    """Returns the list in which every look at a file is noted from now on."""
    looks, look = [], scanning.look_at
    monkeypatch.setattr(
        scanning,
        "look_at",
        lambda c, *more, **named: (looks.append(os.path.basename(c.image)), look(c, *more, **named))[1],
    )
    return looks


def test_images_come_in_with_geometry_label_and_identity(catalogue, data):
    report = scan(catalogue, find(data).candidates, "t")
    assert report.added == ["c0", "c1", "c2", "c3"]
    image = catalogue.image("c0")
    assert (image.image, image.label) == ("../data/images/c0.nii.gz", "../data/labels/c0.nii.gz")
    assert image.size == (8, 7, 6)
    assert image.spacing == pytest.approx((0.5, 0.75, 2.0))
    assert image.content
    assert image.problem is None
    assert catalogue.image("c2").label is None
    catalogue.save()


def test_nothing_is_opened_again_when_nothing_has_changed(catalogue, data, monkeypatch):
    shutil.copy(data / "images" / "c0.nii.gz", data / "images" / "copy.nii.gz")
    (data / "images" / "broken.nii.gz").write_bytes(b"broken")
    write_series(data / "images" / "series")
    first = scan(catalogue, find(data).candidates, "t")
    assert (len(first.added), len(first.duplicates), len(first.refused)) == (5, 1, 1)
    looks = opened(monkeypatch)
    second = scan(catalogue, find(data).candidates, "t")
    assert looks == []
    assert (second.added, second.refused, second.duplicates, second.unchanged) == ([], [], [], 7)


def test_only_what_has_changed_is_opened_again(catalogue, data, monkeypatch):
    scan(catalogue, find(data).candidates, "t")
    content = catalogue.image("c1").content
    catalogue.image("c1").quality = "kept"
    write(data / "images" / "c1.nii.gz", 77, size=(9, 9, 9))
    looks = opened(monkeypatch)
    report = scan(catalogue, find(data).candidates, "t")
    assert looks == ["c1.nii.gz"]
    assert report.changed == ["c1"]
    changed = catalogue.image("c1")
    assert changed.size == (9, 9, 9)
    assert changed.content != content
    assert changed.quality == "kept"
    assert "another grid" in changed.label_problem


def test_a_label_that_comes_later_or_changes_is_noticed(catalogue, data):
    scan(catalogue, find(data).candidates, "t")
    write(data / "x.nii.gz", 2, label=data / "labels" / "c2.nii.gz")
    (data / "x.nii.gz").unlink()
    write(data / "x.nii.gz", 9, size=(3, 3, 3), label=data / "labels" / "c0.nii.gz")
    report = scan(catalogue, find(data).candidates, "t")
    assert report.changed == ["c0", "c2"]
    assert catalogue.image("c2").label == "../data/labels/c2.nii.gz"
    assert "another grid" in catalogue.image("c0").label_problem


def test_what_is_refused_is_listed_with_the_reason_and_the_rest_goes_on(catalogue, data):
    (data / "images" / "empty.nii.gz").write_bytes(b"")
    (data / "images" / "text.nrrd").write_text("hello")
    four = sitk.JoinSeries([sitk.Image(4, 4, 4, sitk.sitkInt16)] * 3)
    sitk.WriteImage(four, str(data / "images" / "four.nii.gz"))
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3), str(data / "images" / "colour.mha"))
    write(data / "images" / "cut.nii.gz", 5, size=(30, 30, 30))
    whole = (data / "images" / "cut.nii.gz").read_bytes()
    (data / "images" / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    events = []
    report = scan(catalogue, find(data).candidates, "t", events.append)
    assert len(report.added) == 4
    reasons = {os.path.basename(r.path): r.reason for r in catalogue.refused}
    assert {
        name: word in reasons[name]
        for name, word in {
            "empty.nii.gz": "empty",
            "text.nrrd": "not a NRRD",
            "four.nii.gz": "3 frames",
            "colour.mha": "colour",
            "cut.nii.gz": "truncated",
        }.items()
    } == dict.fromkeys(reasons, True)
    told = [e.text for e in events if isinstance(e, Message)]
    assert len(told) == 5
    assert any(isinstance(e, Progress) and e.fraction == 1 for e in events)


def test_a_folder_of_masks_that_cannot_be_read_is_told_of_its_image(catalogue, data, monkeypatch):
    def denied(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(scanning, "masks_in", denied)
    (data / "masks").mkdir()
    scan(catalogue, [Candidate(str(data / "images" / "c0.nii.gz"), str(data / "masks"))], "t")
    (image,) = catalogue.images
    assert image.problem is None and "cannot be read" in image.label_problem and "denied" in image.label_problem


def test_a_file_that_was_mended_is_taken_and_no_longer_refused(catalogue, data):
    (data / "images" / "late.nii.gz").write_bytes(b"not yet")
    scan(catalogue, find(data).candidates, "t")
    assert len(catalogue.refused) == 1
    write(data / "images" / "late.nii.gz", 42)
    report = scan(catalogue, find(data).candidates, "t")
    assert report.added == ["late"]
    assert catalogue.refused == []


def test_a_file_that_broke_keeps_its_place_with_the_problem(catalogue, data):
    scan(catalogue, find(data).candidates, "t")
    (data / "images" / "c3.nii.gz").write_bytes(b"gone")
    scan(catalogue, find(data).candidates, "t")
    assert "gzip" in catalogue.image("c3").problem
    assert [i.id for i in catalogue.usable()] == ["c0", "c1", "c2"]


def test_a_file_that_was_moved_stays_the_image_that_it_was(catalogue, data):
    scan(catalogue, find(data).candidates, "t")
    (data / "images" / "c3.nii.gz").rename(data / "images" / "moved.nii.gz")
    report = scan(catalogue, find(data).candidates, "t")
    assert (report.relinked, report.added) == (["c3"], [])
    assert catalogue.image("c3").image == "../data/images/moved.nii.gz"
    catalogue.set_task(Task(name="u"))
    (data / "images" / "moved.nii.gz").rename(data / "images" / "again.nii.gz")
    assert scan(catalogue, find(data / "images" / "again.nii.gz").candidates, "u").relinked == [], "of another task"


def test_another_choice_of_frame_is_another_look(catalogue, data, tmp_path):
    frames = [sitk.GetImageFromArray(np.full((3, 4, 5), s, np.int16)) for s in range(3)]
    path = tmp_path / "four.nii.gz"
    sitk.WriteImage(sitk.JoinSeries(frames), str(path))
    assert len(scan(catalogue, find(path).candidates, "t").refused) == 1
    assert scan(catalogue, find(path, frame=3).candidates, "t").refused[0].reason == "has no frame 3: it has 3"
    assert scan(catalogue, find(path, frame=1).candidates, "t").added == ["four-frame1"]
    assert scan(catalogue, find(path, frame=2).candidates, "t").added == ["four-frame2"]
    assert scan(catalogue, find(path, frame=2).candidates, "t").unchanged == 1


def test_the_same_image_twice_is_noticed_in_a_task_and_allowed_in_another(catalogue, data):
    shutil.copy(data / "images" / "c1.nii.gz", data / "images" / "z copy.nii.gz")
    report = scan(catalogue, find(data).candidates, "t")
    assert "z_copy" not in report.added
    assert report.duplicates[0].reason == "is the same image as c1 (../data/images/c1.nii.gz)"
    catalogue.set_task(Task(name="u"))
    assert len(scan(catalogue, find(data / "images" / "c1.nii.gz").candidates, "u").added) == 1


def test_large_files_that_differ_in_one_voxel_are_no_duplicates(catalogue, tmp_path):
    values = np.zeros((40, 100, 100), np.int16)
    values[0, 0, 0] = 1
    for name, at in (("a.nii", 11), ("b.nii", 12)):
        values[20, 50, at] = 5
        (tmp_path / "large").mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "large" / name))
        values[20, 50, at] = 0
    assert scan(catalogue, find(tmp_path / "large").candidates, "t").added == ["a", "b"]


def test_several_series_of_a_folder_become_several_images(catalogue, tmp_path):
    folder = tmp_path / "dicom" / "patient 7"
    write_series(folder, uid="1.2.3.4", prefix="a")
    write_series(folder, uid="1.2.3.5", prefix="b", seed=1, modality="MR")
    write_series(folder, uid="1.2.3.6", prefix="c", positions=[0, 2.5, 7.5], seed=2)
    report = scan(catalogue, find(tmp_path / "dicom").candidates, "t")
    assert report.added == ["patient_7-4", "patient_7-5"]
    assert [i.series for i in catalogue.images] == ["1.2.3.4", "1.2.3.5"]
    assert [i.modality for i in catalogue.images] == ["CT", "MR"]
    assert "1 slice is missing" in catalogue.refused[0].reason
    assert scan(catalogue, find(tmp_path / "dicom").candidates, "t").unchanged == 1
    write_series(folder, uid="1.2.3.7", prefix="d", seed=3)
    assert scan(catalogue, find(tmp_path / "dicom").candidates, "t").added == ["patient_7-7"]


def test_files_of_the_same_name_get_ids_of_their_own(catalogue, tmp_path):
    for number in range(3):
        write(tmp_path / "data" / f"p{number}" / "ct.nii.gz", number)
    assert scan(catalogue, find(tmp_path / "data").candidates, "t").added == ["p0", "p1", "p2"]


def test_a_stop_keeps_what_was_read(catalogue, data):
    asked = iter([False, False, True, True])
    report = scan(catalogue, find(data).candidates, "t", stop=lambda: next(asked))
    assert report.stopped
    assert report.added == ["c0", "c1"]
    report = scan(catalogue, find(data).candidates, "t")
    assert (report.added, report.unchanged, report.stopped) == (["c2", "c3"], 2, False)


def test_an_unknown_task_is_an_error(catalogue, data):
    with pytest.raises(ConfigurationError, match="no task named 'x'"):
        scan(catalogue, find(data).candidates, "x")


def test_paths_that_cannot_be_are_refused(catalogue):
    report = scan(catalogue, [Candidate("/nowhere/a.nii.gz"), Candidate("/nowhere/\0.nii.gz")], "t")
    assert len(report.refused) == 2


def test_adding_a_source_makes_the_task_and_saves(catalogue, data):
    source = find(data)
    source.modality, source.classes = "MRI", {1: "thing"}
    add(catalogue.workspace, source, Task(name="new", group="g"))
    after = Catalogue.load(catalogue.workspace)
    task = after.task("new")
    assert (task.modality, task.group, [c.name for c in task.classes]) == ("MR", "g", ["thing"])
    assert len(after.images) == 4


@pytest.mark.parametrize(
    "before", [{}, {"group": "old", "anatomy": "head", "modality": "MR", "nan_is_background": True}]
)
@pytest.mark.parametrize("said", [{}, {"group": "g", "anatomy": "chest", "modality": "CT", "nan_is_background": True}])
@pytest.mark.parametrize("of_source", ["", "PET"])
def test_a_task_keeps_what_it_has_and_takes_what_it_lacks(catalogue, data, before, said, of_source):
    with Catalogue.editing(catalogue.workspace) as edited:
        edited.set_task(Task(name="t", **before))
    source = find(data)
    source.modality = of_source
    add(catalogue.workspace, source, Task(name="t", **said), mixed=True)
    after = Catalogue.load(catalogue.workspace).task("t")
    expected = {"group": "", "anatomy": "", "modality": of_source or "unknown", "nan_is_background": False}
    assert {name: getattr(after, name) for name in expected} == expected | said | before


def test_what_a_source_refuses_is_told_and_listed_and_adding_again_changes_nothing(catalogue, data):
    source = find(data)
    source.refused = [(str(data / "x.nii.gz"), "is a label without an image of that name"), (str(data / "y"), "is odd")]
    for unchanged in (0, 4):
        events: list = []
        report = add(catalogue.workspace, source, Task(name="t"), events.append)
        assert [r.reason for r in report.refused] == [reason for _, reason in source.refused]
        assert report.unchanged == unchanged
        told = [e.text for e in events if isinstance(e, Message)]
        expected = [f"{catalogue.relative(path)}: {reason}" for path, reason in source.refused]
        assert told == ([] if unchanged else expected)
        before = (catalogue.workspace / "dataset.json").stat().st_mtime_ns
    assert [(r.path, r.reason) for r in Catalogue.load(catalogue.workspace).refused] == [
        (catalogue.relative(path), reason) for path, reason in source.refused
    ]
    source.refused[1] = (str(data / "y"), "is odd in another way")
    add(catalogue.workspace, source, Task(name="t"))
    assert (catalogue.workspace / "dataset.json").stat().st_mtime_ns > before


def test_adding_again_changes_neither_the_task_nor_the_file(catalogue, data):
    add(catalogue.workspace, find(data), Task(name="t", modality="CT", classes=[LabelClass(value=1, name="a")]))
    file = catalogue.workspace / "dataset.json"
    before = file.stat().st_mtime_ns, file.read_bytes()
    report = add(catalogue.workspace, find(data), Task(name="t"))
    assert report.unchanged == 4
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before


def test_edits_made_while_headers_are_read_are_not_lost(catalogue, data, monkeypatch):
    look = scanning.look_at

    def look_and_edit(candidate, thorough):
        if candidate.image.endswith("c2.nii.gz"):
            with Catalogue.editing(catalogue.workspace) as other:
                other.set_task(Task(name="meanwhile"))
                other.add_images([Image(id="c0", task="meanwhile", image="x.nii")])
        return look(candidate, thorough)

    monkeypatch.setattr(scanning, "look_at", look_and_edit)
    add(catalogue.workspace, find(data), Task(name="t"))
    after = Catalogue.load(catalogue.workspace)
    assert [i.id for i in after.images] == ["c0", "c0-2", "c1", "c2", "c3"]


def test_the_modality_of_dicom_files_becomes_the_task_s(catalogue, tmp_path):
    write_series(tmp_path / "d", modality="MR")
    add(catalogue.workspace, find(tmp_path / "d"), Task(name="t"))
    assert Catalogue.load(catalogue.workspace).task("t").modality == "MR"


def test_an_image_in_another_format_is_a_copy_and_others_are_not(tmp_path):
    one = write(tmp_path / "data" / "a.nii.gz", 0)
    shutil.copy(one, tmp_path / "data" / "b.nii.gz")
    write(tmp_path / "data" / "c.nrrd", 0)
    write(tmp_path / "data" / "d.nrrd", 1)
    catalogue = Catalogue.create(tmp_path / "workspace")
    catalogue.set_task(Task(name="t"))
    report = scan(catalogue, find(tmp_path / "data").candidates, "t")
    assert [Path(i.image).name for i in catalogue.images] == ["a.nii.gz", "d.nrrd"]
    assert {Path(r.path).name: r.reason.partition(" as ")[0] for r in report.duplicates} == {
        "b.nii.gz": "is the same image",
        "c.nrrd": "has the same voxels",
    }


@pytest.mark.parametrize("moved", [False, True])
def test_a_copys_label_is_the_images_own_only_where_it_lies_on_its_grid(tmp_path, moved):
    one = write(tmp_path / "data" / "a.nii.gz", 0)
    copy, label = tmp_path / "again" / "b.nrrd", tmp_path / "again" / "b-label.nrrd"
    write(copy, 0, label=label)
    for file in (copy, label) if moved else ():  # as of a file that was exported anew
        image = sitk.ReadImage(str(file))
        image.SetOrigin((30.0, 0.0, 0.0))
        write_volume(image, file)
    catalogue = Catalogue.create(tmp_path / "workspace")
    catalogue.set_task(Task(name="t"))
    report = scan(catalogue, [Candidate(str(one)), Candidate(str(copy), str(label))], "t")
    (image,), (told,) = catalogue.images, report.duplicates
    assert (image.label is None) is moved
    assert ("is left aside: of that one it is on another grid" in told.reason) is moved


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_series_that_calls_itself_ct_has_to_be_in_hounsfield_units(tmp_path, modality):
    for file in write_series(tmp_path / "series", modality=modality):
        dataset = pydicom.dcmread(file)
        dataset.RescaleIntercept, dataset.RescaleSlope = 1000, 1
        dataset.save_as(file)
    catalogue = Catalogue.create(tmp_path / "workspace")
    catalogue.set_task(Task(name="t"))
    scan(catalogue, find(tmp_path / "series").candidates, "t")
    assert ("no value below 0" in (catalogue.images[0].doubt or "")) == (modality == "CT")
