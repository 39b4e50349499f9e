from __future__ import annotations

from pathlib import Path

import dicom_files
import numpy as np
import pytest
import SimpleITK as sitk

from hssl.errors import InputError
from hssl.events import Message
from hssl.imaging.labels import values_in
from hssl.imaging.volumes import read_header, read_volume
from hssl.workspace.catalogue import Catalogue, Image, LabelClass, LabelPart, Task
from hssl.workspace.check import check
from hssl.workspace.labels import file_problem, masks_in, no_label_map, read_label
from hssl.workspace.scan import add
from hssl.workspace.sources import find

SHAPE = (4, 6, 8)


def write(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=False), str(path))
    return path


def box(x: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 2:4, x : x + 2] = 1
    return mask


@pytest.fixture
def catalogue(tmp_path):
    catalogue = Catalogue.create(tmp_path / "workspace")
    catalogue.set_task(
        Task(name="t", classes=[LabelClass(value=3, name="liver"), LabelClass(value=5, name="spleen")]),
    )
    values = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    image = write(tmp_path / "data" / "ct.nii.gz", values)
    catalogue.add_images([Image(id="a", task="t", image=str(image))])
    return catalogue


def read(catalogue: Catalogue) -> np.ndarray:
    image = catalogue.image("a")
    volume = read_volume(catalogue.image_path(image), image.series, image.frame)
    return sitk.GetArrayFromImage(read_label(catalogue, image, volume))


def test_a_folder_of_masks_is_joined_by_the_names_of_the_classes(catalogue, tmp_path):
    folder = tmp_path / "data" / "segmentations"
    write(folder / "liver.nii.gz", box(0))
    write(folder / "spleen.nii.gz", box(4) * 255)
    write(folder / "brain.nii.gz", box(0) * 0)
    write(folder / "._liver.nii.gz", box(0))
    catalogue.image("a").label = str(folder)
    assert sorted(masks_in(folder)) == ["brain", "liver", "spleen"]
    assert np.array_equal(read(catalogue), box(0) * 3 + box(4) * 5)
    check(catalogue)
    assert (catalogue.image("a").label_problem, catalogue.image("a").label_values) == (None, [3, 5])
    write(folder / "spleen.nii.gz", box(6))
    assert check(catalogue).read == 1


def test_where_masks_overlap_the_later_class_has_the_voxel_and_it_is_said(catalogue, tmp_path):
    folder = tmp_path / "data" / "segmentations"
    write(folder / "spleen.nii.gz", box(1))
    write(folder / "liver.nii.gz", box(0))
    catalogue.image("a").label = str(folder)
    expected = np.where(box(1) > 0, 5, box(0) * 3)
    assert np.array_equal(read(catalogue), expected)
    events = []
    check(catalogue, events.append)
    told = [e.text for e in events if isinstance(e, Message)]
    assert told == [f"{folder}: its masks overlap: spleen takes 4 voxels of liver"]
    catalogue.task("t").classes = [LabelClass(value=1, name="heart")]
    with pytest.raises(InputError, match=r"no mask of a class of the task \(classes: heart\)"):
        read(catalogue)


def parts(catalogue: Catalogue, **files: Path) -> None:
    image = catalogue.image("a")
    image.parts = [LabelPart(path=str(path), structure=name.strip("_")) for name, path in files.items()]
    image.label = image.parts[0].path


def test_files_of_single_structures_are_joined_and_overlaps_said(catalogue, tmp_path):
    parts(catalogue, spleen=write(tmp_path / "s.nii.gz", box(1) * 255), liver=write(tmp_path / "l.nii.gz", box(0)))
    assert np.array_equal(read(catalogue), np.where(box(1) > 0, 5, box(0) * 3))
    events = []
    check(catalogue, events.append)
    record = catalogue.image("a")
    assert (record.label_problem, record.label_values) == (None, [3, 5])
    assert [e.text for e in events if isinstance(e, Message)] == [
        f"{tmp_path / 's.nii.gz'}: its masks overlap: spleen takes 4 voxels of liver"
    ]
    record.structures = ["spleen", "liver"]  # the last one has the voxel
    assert np.array_equal(read(catalogue), np.where(box(0) > 0, 3, box(1) * 5))
    record.structures = ["liver"]
    assert np.array_equal(read(catalogue), box(0) * 3)
    assert check(catalogue).read == 0
    write(tmp_path / "l.nii.gz", box(4))
    assert check(catalogue).read == 1


def test_a_structure_that_another_would_take_whole_is_not_lost_in_silence(catalogue, tmp_path):
    lesion, liver = box(2), np.maximum(box(1), box(2))
    liver[:, :, 1:5] = 1
    parts(catalogue, liver=write(tmp_path / "l.nii.gz", lesion), spleen=write(tmp_path / "s.nii.gz", liver))
    with pytest.raises(InputError, match="liver would vanish: all of its voxels lie in what is drawn later") as told:
        read(catalogue)
    assert told.value.way_out == "structures"
    catalogue.image("a").structures = ["spleen", "liver"]
    assert set(np.unique(read(catalogue))) == {0, 3, 5}


def test_a_part_that_is_drawn_before_its_whole_is_not_lost_but_for_a_rim(catalogue, tmp_path):
    """A vessel that reaches out of its organ."""
    vessel, organ = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    vessel[1:3, 2:4, 1:8], organ[0:4, 0:6, 0:6] = 1, 1
    files = {"liver": write(tmp_path / "v.nii.gz", vessel), "spleen": write(tmp_path / "o.nii.gz", organ)}
    parts(catalogue, **files)
    with pytest.raises(
        InputError, match="it would lose 71 % of liver to spleen, which is larger and drawn later"
    ) as told:
        read(catalogue)
    assert told.value.way_out == "structures"
    catalogue.image("a").structures = ["spleen", "liver"]
    assert np.array_equal(read(catalogue), np.where(vessel > 0, 3, organ * 5))
    catalogue.image("a").structures = []
    parts(catalogue, liver=files["spleen"], spleen=files["liver"])  # the whole first
    assert np.array_equal(read(catalogue), np.where(vessel > 0, 5, organ * 3))


def test_two_readings_of_one_structure_are_not_joined_unless_an_order_is_chosen(catalogue, tmp_path):
    """Initials tell no more than names of structures do; the voxels tell."""
    one, other = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    one[1:4, 1:5, 0:6], other[1:4, 1:5, 1:7] = 1, 1
    parts(catalogue, liver=write(tmp_path / "JD.nii.gz", one), spleen=write(tmp_path / "MK.nii.gz", other))
    with pytest.raises(
        InputError, match=r"liver and spleen are mostly the same voxels \(Dice 83 %\), as two readings"
    ) as told:
        read(catalogue)
    assert told.value.way_out == "structures"
    check(catalogue)
    assert "mostly the same voxels" in (catalogue.image("a").label_problem or "")
    catalogue.image("a").structures = ["liver", "spleen"]
    assert np.array_equal(read(catalogue), np.where(other > 0, 5, one * 3))
    catalogue.image("a").structures = []
    part = one.copy()
    part[:, :, 5] = 0
    write(tmp_path / "MK.nii.gz", part)  # most of it, and within it
    assert np.array_equal(read(catalogue), np.where(part > 0, 5, one * 3))


def test_a_mask_of_several_values_is_no_mask(catalogue, tmp_path):
    several = write(tmp_path / "l.nii.gz", box(0) + 2 * box(4))
    parts(catalogue, liver=several, spleen=write(tmp_path / "s.nii.gz", box(2)))
    with pytest.raises(InputError, match="l.nii.gz is the mask of liver and has several values: 1, 2"):
        read(catalogue)
    folder = tmp_path / "segmentations"
    write(folder / "liver.nii.gz", box(0) + 2 * box(4))
    catalogue.image("a").parts, catalogue.image("a").label = [], str(folder)
    with pytest.raises(InputError, match="has several values"):
        read(catalogue)


def test_one_of_several_files_that_cannot_be_read_is_named(catalogue, tmp_path):
    parts(catalogue, liver=write(tmp_path / "l.nii.gz", box(0)), spleen=write(tmp_path / "s.nii.gz", box(0)[1:]))
    check(catalogue)
    assert "s.nii.gz: is on another grid" in (catalogue.image("a").label_problem or "")


def test_a_label_with_frames_gives_the_frame_of_its_image(catalogue, tmp_path):
    frames = [sitk.GetImageFromArray(box(x) * 3) for x in (0, 2, 4)]
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / "gt.nii.gz"))
    scans = [sitk.GetImageFromArray(np.random.default_rng(n).normal(size=SHAPE)) for n in range(3)]
    sitk.WriteImage(sitk.JoinSeries(scans), str(tmp_path / "data" / "cine.nii.gz"))
    image = catalogue.image("a")
    image.image, image.label, image.frame = str(tmp_path / "data" / "cine.nii.gz"), str(tmp_path / "gt.nii.gz"), 2
    assert np.array_equal(read(catalogue), box(4) * 3)


@pytest.mark.parametrize(
    ("count", "grainy", "scan"),
    [(24, True, False), (25, True, True), (25, False, False), (255, False, False), (256, False, True)],
)
def test_a_label_map_has_few_values_or_is_solid(count, grainy, scan):
    values = np.arange(1, count + 1, dtype=np.uint16).repeat(128)
    values = np.random.default_rng(0).permutation(values) if grainy else values
    label = sitk.GetImageFromArray(values.reshape(8, -1, 16))
    assert values_in(label) == list(range(1, count + 1))
    why = (
        ": an image, not a label map"
        if grainy
        else ", and 255 structures are the most of a task: an image, or too fine a"
    )
    told = no_label_map(label, values_in(label))
    assert told is None if not scan else (told or "").startswith(f"has {count} different values{why}")


def test_masks_of_further_structures_that_come_later_are_taken(tmp_path):
    workspace, data = Catalogue.create(tmp_path / "w").workspace, tmp_path / "data"
    write(data / "images" / "a.nii.gz", np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))
    structures = ["liver", "spleen", "aorta", "heart"]
    for count in (1, 2, 4):
        for number, name in enumerate(structures[:count]):
            write(data / "labels" / f"a_{name}.nii.gz", box(2 * number))
        source = find(data, pattern="images/{id}.nii.gz", label_pattern="labels/{id}_{structure}.nii.gz")
        report = add(workspace, source, Task(name="t"))
        assert (report.added, report.changed) == ((["a"], []) if count == 1 else ([], ["a"]))
        record = Catalogue.load(workspace).image("a")
        assert {part.structure for part in record.parts} == set(structures[:count])
        assert add(workspace, source, Task(name="t")).unchanged == 1
    (data / "labels" / "a_heart.nii.gz").unlink()
    source = find(data, pattern="images/{id}.nii.gz", label_pattern="labels/{id}_{structure}.nii.gz")
    add(workspace, source, Task(name="t"))
    assert {part.structure for part in Catalogue.load(workspace).image("a").parts} == set(structures[:3])


def test_a_dicom_label_is_judged_by_what_it_names_before_its_image_is_read(catalogue, tmp_path):
    header = read_header(catalogue.image_path(catalogue.image("a")))
    empty = dicom_files.write_structures(tmp_path / "RS.dcm", {})
    assert file_problem(str(empty), header, None) == "holds no segment or closed contour"
    square = np.array([[0.0, 0, 0], [5, 0, 0], [5, 5, 0], [0, 5, 0]])
    assert file_problem(str(dicom_files.write_structures(tmp_path / "R2.dcm", {"x": [square]})), header, None) is None
