"""Adding as a whole: what is told before anything is written, what comes in, and what is noticed when it is done again."""

from __future__ import annotations

import base64
import inspect
import io
import shutil
from pathlib import Path

import dicom_files as files
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from matplotlib.image import imread
from typer.main import get_command

from hssl.cli.catalogue import app
from hssl.configuration import AddConfig, PretrainConfig
from hssl.errors import ConfigurationError, InputError
from hssl.events import Message
from hssl.imaging.volumes import read_volume
from hssl.jobs.add import add, plan
from hssl.jobs.predict import sources_in
from hssl.jobs.pretrain import pretrain
from hssl.workspace.catalogue import Catalogue
from hssl.workspace.check import check_workspace
from hssl.workspace.labels import read_label
from hssl.workspace.listing import listed
from hssl.workspace.scan import relabel
from hssl.workspace.sources import find

SHAPE = (8, 12, 14)


def write(path: Path, seed: int, label: Path | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.random.default_rng(seed).normal(100, 20, SHAPE).astype(np.int16))
    sitk.WriteImage(image, str(path))
    if label is not None:
        label.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(sitk.Cast(image > 110, sitk.sitkUInt8), str(label))


@pytest.fixture
def workspace(tmp_path) -> Path:
    return Catalogue.create(tmp_path / "workspace").workspace


@pytest.fixture
def data(tmp_path) -> Path:
    for n in range(3):
        write(tmp_path / "data" / f"case{n}.nii.gz", n, tmp_path / "data" / f"case{n}_seg.nii.gz")
    (tmp_path / "data" / "notes.txt").write_text("x")
    return tmp_path / "data"


def test_a_dry_run_tells_pairs_and_counts_and_writes_nothing(workspace, data):
    (data / "bad.nii.gz").write_bytes(b"bad")
    shutil.copy(data / "case0_seg.nii.gz", data / "other.nii.gz")
    before = (workspace / "dataset.json").read_bytes()
    events: list = []
    config = AddConfig(workspace=workspace, source=data, task="t", dry_run=True)
    result = add(config, events.append).result
    assert (workspace / "dataset.json").read_bytes() == before
    assert result.text.splitlines() == [
        f"folder {data}, for task t: 5 images, 3 with a label, 1 file not read: 1 .txt",
        "  case0.nii.gz ← case0_seg.nii.gz",
        "  case1.nii.gz ← case1_seg.nii.gz",
        "  case2.nii.gz ← case2_seg.nii.gz",
        "other.nii.gz: looks like a mask of case0.nii.gz: it has two values only, 0 and 1",
        "bad.nii.gz: is not a gzip file",
        "Task t: 4 images, 3 with a label, 1 in doubt (not used until confirmed), 1 refused, 1 file not read: 1 .txt",
    ]
    assert plan(config).lines == result.text.splitlines()[:4]
    assert [e.text for e in events if isinstance(e, Message)][:4] == plan(config).lines


def test_what_comes_in_is_counted_and_masks_in_doubt_are_not_used(workspace, data):
    shutil.copy(data / "case0_seg.nii.gz", data / "other.nii.gz")
    result = add(AddConfig(workspace=workspace, source=data, task="t", check=True)).result
    assert [one.id for one in result.in_doubt] == ["other"]
    assert result.text.startswith("Task t: 4 images (4 added), 3 with a label, 1 in doubt")
    assert len(Catalogue.load(workspace).usable("t")) == 3
    with Catalogue.editing(workspace) as catalogue:
        catalogue.confirm_images(["other"])
    assert add(AddConfig(workspace=workspace, source=data, task="t", check=True)).result.unchanged == 4
    assert len(Catalogue.load(workspace).usable("t")) == 4


def test_labels_that_cannot_be_used_are_counted(workspace, data):
    probabilities = sitk.GetImageFromArray(np.linspace(0, 1, np.prod(SHAPE)).reshape(SHAPE).astype(np.float32))
    sitk.WriteImage(probabilities, str(data / "case0_seg.nii.gz"))
    result = add(AddConfig(workspace=workspace, source=data, task=" t ", check=True)).result
    assert result.text.startswith("Task t: 3 images (3 added), 3 with a label (1 of them cannot be used), 0 in doubt")
    assert [p.id for p in result.problems] == ["case0"]


def test_the_label_of_a_copy_is_not_lost(workspace, data, tmp_path):
    """The pool of all scans came first, then the labelled ones as copies."""
    for n in range(3):
        (tmp_path / "pool").mkdir(exist_ok=True)
        shutil.copy(data / f"case{n}.nii.gz", tmp_path / "pool" / f"scan{n}.nii.gz")
    add(AddConfig(workspace=workspace, source=tmp_path / "pool", task="t", check=True))
    result = add(AddConfig(workspace=workspace, source=data, task="t", check=True)).result
    assert result.changed == ["scan0", "scan1", "scan2"] and not result.added
    assert "takes its label" in result.duplicates[0].reason
    catalogue = Catalogue.load(workspace)
    assert [i.id for i in catalogue.usable("t", labelled=True)] == ["scan0", "scan1", "scan2"]
    assert catalogue.label_path(catalogue.image("scan1")) == data / "case1_seg.nii.gz"
    # A label that is there stays, and the other is told of.
    shutil.copytree(data, tmp_path / "reader2")
    again = add(AddConfig(workspace=workspace, source=tmp_path / "reader2", task="t", check=True)).result
    assert not again.changed and "reader2/case0_seg.nii.gz is left aside" in again.duplicates[0].reason
    assert Catalogue.load(workspace).image("scan1").label == catalogue.image("scan1").label


def test_nothing_to_add_is_an_error_and_leaves_no_task(workspace, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "slides.pptx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"nothing that could be added .*1 file not read: 1 .pptx"):
        add(AddConfig(workspace=workspace, source=tmp_path / "empty"))
    (tmp_path / "empty" / "bad.nii.gz").write_bytes(b"bad")
    with pytest.raises(InputError, match=r"no file that can be used \(bad.nii.gz: is not a gzip file\)"):
        add(AddConfig(workspace=workspace, source=tmp_path / "empty"))
    assert Catalogue.load(workspace).tasks == []
    (tmp_path / "empty" / "bad.nii.gz").unlink()
    (tmp_path / "empty" / "labels").mkdir()
    write(tmp_path / "x.nii.gz", 0, tmp_path / "empty" / "labels" / "a.nii.gz")
    with pytest.raises(InputError, match=r"the first is labels/a.nii.gz: is a label without an image of that name"):
        add(AddConfig(workspace=workspace, source=tmp_path / "empty"))
    assert Catalogue.load(workspace).tasks == []


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("study.zip", "Unpack"),
        ("2024-01-01-Scene.mrb", "Unpack"),
        ("IM0.dcm.gz", "Unpack"),
        ("0.png", "volumes of the pictures"),
        ("CT_1.npz", "Convert arrays"),
    ],
)
def test_what_is_in_no_format_that_is_read_is_told_with_the_way_out(tmp_path, name, way_out):
    workspace = tmp_path / "w"
    Catalogue.create(workspace)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(b"PK\3\4")
    for source in (tmp_path / "data", tmp_path / "data" / name):
        with pytest.raises(InputError) as told:
            add(AddConfig(workspace=workspace, source=source, task="t"))
        assert way_out in told.value.hint


def test_images_of_which_none_can_be_used_are_an_error_and_listed(workspace, tmp_path):
    (tmp_path / "data").mkdir()
    sitk.WriteImage(sitk.Image(5, 6, 7, sitk.sitkInt16), str(tmp_path / "data" / "a.nrrd"))
    with pytest.raises(InputError, match="no image that can be used; .*a.nrrd: is constant: every voxel is 0"):
        add(AddConfig(workspace=workspace, source=tmp_path / "data", task="t"))
    assert "constant" in (Catalogue.load(workspace).image("a").problem or "")


def test_data_that_was_moved_is_recognised_and_keeps_its_ids(workspace, data, tmp_path):
    add(AddConfig(workspace=workspace, source=data, task="t"))
    with Catalogue.editing(workspace) as catalogue:
        catalogue.set_patient(["case1"], "miller")
    data.rename(tmp_path / "moved")
    (tmp_path / "moved" / "case1.nii.gz").rename(tmp_path / "moved" / "renamed.nii.gz")
    (tmp_path / "moved" / "case1_seg.nii.gz").rename(tmp_path / "moved" / "renamed_seg.nii.gz")
    result = add(AddConfig(workspace=workspace, source=tmp_path / "moved", task="t")).result
    assert (result.relinked, result.added) == (["case0", "case2", "case1"], [])
    after = Catalogue.load(workspace)
    assert after.image("case1").image == "../moved/renamed.nii.gz"
    assert after.image("case1").label == "../moved/renamed_seg.nii.gz"
    assert after.image("case1").patient == "miller"
    assert len(after.usable("t", labelled=True)) == 3
    assert add(AddConfig(workspace=workspace, source=tmp_path / "moved", task="t")).result.unchanged == 3


def test_data_that_was_converted_keeps_its_ids(workspace, tmp_path):
    for n in range(2):
        write(tmp_path / "data" / f"case{n}.nii", n, tmp_path / "data" / f"case{n}_seg.nii")
    config = AddConfig(workspace=workspace, source=tmp_path / "data", task="t", check=True)
    add(config)
    for path in (tmp_path / "data").glob("*.nii"):
        sitk.WriteImage(sitk.ReadImage(str(path)), str(path.with_suffix(".nrrd")))
        path.unlink()
    result = add(config).result
    assert (sorted(result.relinked), result.added, result.duplicates, result.problems) == (
        ["case0", "case1"],
        [],
        [],
        [],
    )
    assert {(i.image, i.label) for i in Catalogue.load(workspace).images} == {
        (f"../data/case{n}.nrrd", f"../data/case{n}_seg.nrrd") for n in range(2)
    }


def test_a_label_that_was_set_by_hand_stays_when_the_data_are_moved(workspace, data, tmp_path):
    """It lies in the workspace, where it was drawn, and the first one moved along with the scan."""
    config = AddConfig(workspace=workspace, source=data, task="t")
    add(config)
    shutil.copy(data / "case0_seg.nii.gz", workspace / "mine.nii.gz")
    relabel(workspace, "case0", workspace / "mine.nii.gz")
    data.rename(tmp_path / "moved")
    assert len(add(config.model_copy(update={"source": tmp_path / "moved"})).result.relinked) == 3
    labels = {i.id: i.label for i in Catalogue.load(workspace).images}
    assert labels == {"case0": "mine.nii.gz", **{f"case{n}": f"../moved/case{n}_seg.nii.gz" for n in (1, 2)}}
    assert not Catalogue.load(workspace).image("case0").label_problem


def test_scans_that_have_gone_are_told_with_the_way_back(workspace, data, tmp_path):
    """The workspace was moved alone: its paths are relative to itself."""
    config = AddConfig(workspace=workspace, source=data, task="t")
    add(config)
    away = tmp_path / "far" / "away"
    away.parent.mkdir()
    workspace.rename(away)
    with pytest.raises(InputError, match="case0.nii.gz: is no longer there") as raised:
        pretrain(PretrainConfig(workspace=away, run="r", budget={"steps": 1}, device="cpu"))
    told: list = []
    check_workspace(away, told.append)
    for text in (raised.value.hint, [e.text for e in told if isinstance(e, Message)][-1]):
        assert "add them again under their task" in text
    assert len(add(config.model_copy(update={"workspace": away})).result.relinked) == 3
    told = []
    assert check_workspace(away, told.append).problems == []
    assert not any("no longer there" in e.text for e in told if isinstance(e, Message))


def test_a_label_that_was_deleted_or_changed_is_noticed(workspace, data):
    config = AddConfig(workspace=workspace, source=data, task="t")
    add(config.model_copy(update={"check": True}))
    (data / "case0_seg.nii.gz").unlink()
    write(data / "unused.nii.gz", 9, data / "case1_seg.nii.gz")
    (data / "unused.nii.gz").unlink()
    result = add(config).result
    assert result.changed == ["case0", "case1"]
    after = Catalogue.load(workspace)
    assert "No such file" in (after.image("case0").label_problem or "")
    assert (after.image("case1").label_problem, after.image("case1").checked) == (None, "")
    assert [i.id for i in after.usable("t", labelled=True)] == ["case1", "case2"]
    assert add(config).result.unchanged == 3
    write(data / "unused.nii.gz", 0, data / "case0_seg.nii.gz")
    (data / "unused.nii.gz").unlink()
    add(config)
    assert Catalogue.load(workspace).image("case0").label_problem is None


def test_a_label_that_was_set_by_hand_stays(workspace, data, tmp_path):
    config = AddConfig(workspace=workspace, source=data, task="t")
    add(config)
    shutil.copy(data / "case0_seg.nii.gz", tmp_path / "mine.nii.gz")
    relabel(workspace, "case0", tmp_path / "mine.nii.gz")
    write(data / "case0.nii.gz", 77)
    assert add(config).result.changed == ["case0"]
    assert Catalogue.load(workspace).image("case0").label == "../mine.nii.gz"
    (note,) = (n for n in add(config).result.notes if "keep" in n)
    assert note.startswith(
        "1 image keeps the label that the workspace has, such as case0 (../mine.nii.gz, not case0_seg.nii.gz)"
    )


@pytest.mark.parametrize("series", [1, 2])
def test_a_label_of_a_series_that_was_set_by_hand_stays_when_it_is_corrected(workspace, tmp_path, series):
    """As the labelling loop does it: each time that the label is kept its file changes."""
    folder = tmp_path / "data" / "p1" / "CT"
    for n in range(series):
        write_series(folder, uid=f"1.9.{n}", prefix=f"{n}x", seed=n, positions=[(2 + n) * z for z in range(4)])
    label = sitk.Cast(read_volume(folder, "1.9.0") > 500, sitk.sitkUInt8)
    sitk.WriteImage(label, str(folder.parent / "CT_seg.nrrd"))
    config = AddConfig(workspace=workspace, source=tmp_path / "data", task="t")
    add(config)
    id = next(i.id for i in Catalogue.load(workspace).images if i.label)
    for value in (2, 3):
        sitk.WriteImage(label * value, str(tmp_path / "mine.nrrd"))
        if value == 2:
            relabel(workspace, id, tmp_path / "mine.nrrd")
        write_series(folder, uid="1.9.0", prefix="0x", seed=40 + value, positions=[2 * z for z in range(4)])
        done = add(config).result
        assert Catalogue.load(workspace).image(id).label == "../mine.nrrd" and done.changed == [id]
    assert any("keeps the label" in note for note in done.notes) == (series == 1)


def test_labels_and_classes_that_are_named_later_are_not_passed_over_in_silence(workspace, data, tmp_path):
    add(AddConfig(workspace=workspace, source=data, task="t", classes={1: "liver"}))
    for n in range(3):
        (tmp_path / "better").mkdir(exist_ok=True)
        shutil.copy(data / f"case{n}_seg.nii.gz", tmp_path / "better" / f"case{n}.nii.gz")
    named = AddConfig(workspace=workspace, source=data, labels=tmp_path / "better", task="t", classes={1: "spleen"})
    for dry_run in (True, False):
        notes = add(named.model_copy(update={"dry_run": dry_run})).result.notes
        assert [note.partition(",")[0] for note in notes] == [
            "3 images keep the label that the workspace has",
            "task t keeps its classes (1 liver)",
        ]
    for n in range(3):
        (data / f"case{n}_seg.nii.gz").unlink()
    add(named)
    assert Catalogue.load(workspace).image("case2").label == "../better/case2.nii.gz"


def test_modalities_are_not_mixed_without_a_word(workspace, tmp_path):
    write_series(tmp_path / "chaos" / "1" / "CT", uid="1.2.1", modality="CT")
    write_series(tmp_path / "chaos" / "1" / "MR", uid="1.2.2", modality="MR", seed=1)
    config = AddConfig(workspace=workspace, source=tmp_path / "chaos", task="liver")
    with pytest.raises(ConfigurationError, match=r"liver would mix modalities: CT \(1/CT\), MR \(1/MR\)"):
        add(config)
    assert Catalogue.load(workspace).tasks == []
    result = add(config.model_copy(update={"modality": "MR", "task": "liver MR"})).result
    assert len(result.added) == 1
    assert [r.reason for r in result.refused] == ["is CT, and MR was asked for"]
    assert Catalogue.load(workspace).task("liver MR").modality == "MR"
    assert len(add(config.model_copy(update={"mixed": True})).result.added) == 2
    ct = AddConfig(workspace=workspace, source=tmp_path / "chaos" / "1" / "CT", task="liver MR")
    with pytest.raises(ConfigurationError, match="would mix"):
        add(ct)
    assert len(add(ct.model_copy(update={"mixed": True})).result.added) == 1


def test_dicom_tells_the_patient_without_naming_them(workspace, tmp_path):
    for n in range(2):
        for file in write_series(tmp_path / "d" / f"s{n}", uid=f"1.3.{n}", seed=n):
            image = sitk.ReadImage(str(file))
            for key in image.GetMetaDataKeys():
                image.SetMetaData(key, image.GetMetaData(key))
            image.SetMetaData("0010|0020", "MILLER-1970")
            writer = sitk.ImageFileWriter()
            writer.KeepOriginalImageUIDOn()
            writer.SetFileName(str(file))
            writer.Execute(image)
    add(AddConfig(workspace=workspace, source=tmp_path / "d", task="t"))
    patients = {i.patient for i in Catalogue.load(workspace).images}
    assert len(patients) == 1
    assert patients.pop().startswith("patient-")
    assert "MILLER" not in (workspace / "dataset.json").read_text()


def test_patients_come_from_names_and_from_the_user_who_wins(workspace, tmp_path):
    for n, name in enumerate(("p1_left", "p1_right", "p2_left")):
        write(tmp_path / "data" / f"{name}.nii.gz", n)
    config = AddConfig(workspace=workspace, source=tmp_path / "data", task="t")
    result = add(config).result
    assert "3 images (3 added), 0 with a label, of 2 patients" in result.text
    assert [i.patient for i in Catalogue.load(workspace).images] == ["p1", "p1", ""]
    add(config.model_copy(update={"patient": "{patient}_*"}))
    assert [i.patient for i in Catalogue.load(workspace).images] == ["p1", "p1", "p2"]
    add(config.model_copy(update={"patient": "study"}))
    assert {i.patient for i in Catalogue.load(workspace).images} == {"study"}


def test_x_rays_in_one_folder_are_called_after_their_files_and_have_the_labels_of_their_names(workspace, tmp_path):
    for number, name in enumerate(("b1", "a2", "a1")):
        values = np.random.default_rng(number).integers(0, 4000, (1, 12, 16)).astype(np.uint16)
        files.write_slices(
            tmp_path / "data", values, [0], _flat, files.CR, "CR", series=f"1.2.{9 - number}", prefix=f"{name}_"
        )
        (tmp_path / "data" / f"{name}_000.dcm").rename(tmp_path / "data" / f"{name}.dcm")
        label = sitk.GetImageFromArray((values > 2000).astype(np.uint8))
        (tmp_path / "masks").mkdir(exist_ok=True)
        sitk.WriteImage(label, str(tmp_path / "masks" / f"{name}.nii.gz"))
    add(AddConfig(workspace=workspace, source=tmp_path / "data", labels=tmp_path / "masks", task="t", check=True))
    catalogue = Catalogue.load(workspace)
    assert [(i.id, Path(i.label or "").name, i.label_problem, i.modality) for i in catalogue.images] == [
        (name, f"{name}.nii.gz", None, "CR") for name in ("a1", "a2", "b1")
    ]
    sources, failed = sources_in([tmp_path / "data"])
    assert not failed and sorted((s.name, s.path.name) for s in sources) == [
        (n, f"{n}.dcm") for n in ("a1", "a2", "b1")
    ]
    again = add(AddConfig(workspace=workspace, source=tmp_path / "data", labels=tmp_path / "masks", task="t"))
    assert "3 images (0 added" in again.result.text or "3 unchanged" in again.result.text


def test_views_of_one_series_are_images_of_one_patient(workspace, tmp_path):
    values = np.random.default_rng(0).integers(0, 4000, (2, 12, 16)).astype(np.uint16)
    files.write_slices(tmp_path / "data" / "p1", values, [0, 0], _flat, files.CR, "MG")
    add(AddConfig(workspace=workspace, source=tmp_path / "data", task="t"))
    images = Catalogue.load(workspace).images
    assert [i.id for i in images] == ["IM000", "IM001"] and images[0].patient == images[1].patient != ""


def test_slices_are_no_images_of_their_own(tmp_path):
    values = np.random.default_rng(0).integers(0, 4000, (2, 12, 16)).astype(np.uint16)
    files.write_slices(tmp_path / "ct", values, [0, 2.0])
    files.write_slices(tmp_path / "mixed", values, [0, 2.0], series="1.2.3.5")
    files.write_slices(tmp_path / "mixed", values[:1], [0], _flat, files.CR, "DX", series="1.2.3.6", prefix="DX")
    assert listed(tmp_path).volumes == [str(tmp_path / "ct"), str(tmp_path / "mixed")]


def test_a_dicom_segmentation_labels_the_x_ray_that_it_refers_to(tmp_path):
    values = np.random.default_rng(0).integers(0, 4000, (1, 12, 16)).astype(np.uint16)
    for n in range(2):
        xray = files.write_slices(tmp_path / "x", values + n, [0], _flat, files.CR, "DX", f"1.2.4.{n}", prefix=f"r{n}")
        files.write_segmentation(
            tmp_path / "seg" / f"s{1 - n}.dcm", xray, (values > 2000)[..., None].astype(np.uint8), ["nodule"]
        )
    source = find(tmp_path / "x", labels=tmp_path / "seg")
    pairs = [(Path(c.image).name, Path(c.label or "").name) for c in source.candidates]
    assert pairs == [("r0000.dcm", "s1.dcm"), ("r1000.dcm", "s0.dcm")]


def _flat(made, number):
    """Takes away what only slices have."""
    del made.ImagePositionPatient, made.ImageOrientationPatient


def test_tiff_stacks_have_the_spacing_that_was_stated(workspace, tmp_path):
    write(tmp_path / "data" / "a.tif", 0, tmp_path / "data" / "a_seg.tif")
    config = AddConfig(workspace=workspace, source=tmp_path / "data", task="t", check=True)
    with pytest.raises(InputError, match="does not say how large its voxels are") as told:
        add(config)
    assert told.value.way_out == "spacing"
    write(tmp_path / "data" / "b.nrrd", 1)
    add(config)
    assert "--spacing" not in Catalogue.load(workspace).refused[0].reason
    add(config.model_copy(update={"spacing": (0.5, 0.5, 3.0)}))
    image = Catalogue.load(workspace).image("a")
    assert (image.spacing, image.problem, image.label_problem) == ((0.5, 0.5, 3.0), None, None)


def test_every_door_has_the_options_of_the_configuration():
    names = set(AddConfig.model_fields)
    command = get_command(app).commands["add"]
    assert {p.name for p in command.params} - {"config", "json", "stop_file"} == names
    source_options = set(inspect.signature(find).parameters) - {"path"}
    assert source_options <= names


def test_a_preview_shows_what_is_in_doubt_and_the_user_decides(workspace, data):
    shutil.copy(data / "case0_seg.nii.gz", data / "first.nii.gz")
    shutil.copy(data / "case1_seg.nii.gz", data / "second.nii.gz")
    config = AddConfig(workspace=workspace, source=data, task="t")
    result = add(config.model_copy(update={"dry_run": True})).result
    assert [one.path for one in result.in_doubt] == ["first.nii.gz", "second.nii.gz"]
    picture = imread(io.BytesIO(base64.b64decode(result.in_doubt[0].picture)))
    assert picture.shape[:2] == SHAPE[1:]
    # In grey, the outline of the mask excepted.
    outlined = (picture[..., 0] != picture[..., 2]).mean()
    assert 0 < outlined < 0.6
    assert "pattern" in result.needs
    add(config.model_copy(update={"leave_out": ["first.nii.gz"], "confirm": ["second.nii.gz"]}))
    catalogue = Catalogue.load(workspace)
    assert [i.id for i in catalogue.usable("t")] == ["case0", "case1", "case2", "second"]
    assert len(catalogue.images) == 4
    with pytest.raises(ConfigurationError, match="no image third"):
        add(config.model_copy(update={"leave_out": ["third"]}))


def test_a_preview_names_the_structures_and_what_the_source_needs(workspace, tmp_path):
    for n in range(2):
        write(tmp_path / "tots" / f"s{n}" / "ct.nii.gz", n)
        for name in ("liver", "spleen")[: 2 - n]:
            mask = tmp_path / "tots" / f"s{n}" / "segmentations" / f"{name}.nii.gz"
            write(tmp_path / "other.nii.gz", n, mask)
    config = AddConfig(workspace=workspace, source=tmp_path / "tots", task="t", dry_run=True)
    result = add(config).result
    assert {s.name: s.count for s in result.structures} == {"liver": 2, "spleen": 1}
    assert "structures" in result.needs and "labels" not in result.needs
    write(tmp_path / "plain" / "a.nii.gz", 1)
    result = add(config.model_copy(update={"source": tmp_path / "plain"})).result
    assert {"labels", "label_pattern"} <= {*result.needs} and "structures" not in result.needs


def test_a_scan_that_was_taken_for_a_label_is_seen_before_anything_is_learned_from_it(workspace, data):
    from hssl.workspace.scan import relabel

    write(data / "case1_seg.nii.gz", 50)
    grey = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8))
    sitk.WriteImage(grey, str(data / "case2_seg.nii.gz"))
    config = AddConfig(workspace=workspace, source=data, task="t")
    preview = add(config.model_copy(update={"dry_run": True})).result
    assert [r.path for r in preview.refused] == ["case1_seg.nii.gz", "case2_seg.nii.gz"]
    result = add(config).result
    assert "3 with a label (2 of them cannot be used)" in result.text
    reasons = {Path(r.path).name: r.reason for r in result.refused}
    assert all("different values: an image, not a label map" in reason for reason in reasons.values())
    assert [i.id for i in Catalogue.load(workspace).usable("t", labelled=True)] == ["case0"]
    record = relabel(workspace, "case0", data / "case1.nii.gz")
    assert "an image, not a label map" in (record.label_problem or "")
    many = np.repeat(np.arange(40, dtype=np.uint8), 40)[: 8 * 12 * 14].reshape(SHAPE)
    sitk.WriteImage(sitk.GetImageFromArray(many), str(data / "case0_seg.nii.gz"))  # many structures, each solid
    assert relabel(workspace, "case0", data / "case0_seg.nii.gz").label_problem is None


def test_the_same_scan_in_another_format_is_no_second_one(workspace, data):
    image = sitk.ReadImage(str(data / "case0.nii.gz"))
    sitk.WriteImage(image, str(data / "copy.nrrd"))
    sitk.WriteImage(image, str(data / "unpacked.nii"))
    result = add(AddConfig(workspace=workspace, source=data, task="t")).result
    reasons = {Path(r.path).name: r.reason for r in result.duplicates}
    assert set(reasons) == {"copy.nrrd", "unpacked.nii"}
    assert reasons["copy.nrrd"].startswith("has the same voxels as case0 (")
    (data.parent / "later").mkdir()
    sitk.WriteImage(image, str(data.parent / "later" / "again.mha"))
    for _ in range(2):  # nothing is wrong with a folder of copies: the task has the images
        result = add(AddConfig(workspace=workspace, source=data.parent / "later", task="t")).result
        assert (result.images, result.added) == (0, [])
    assert len(Catalogue.load(workspace).images) == 3
    Catalogue.create(workspace.parent / "other")
    (data.parent / "later" / "bad.nii.gz").write_bytes(b"bad")
    (data.parent / "later" / "again.mha").unlink()
    for _ in range(2):
        with pytest.raises(InputError, match="no file that can be used"):
            add(AddConfig(workspace=workspace.parent / "other", source=data.parent / "later", task="t"))


def test_a_series_and_what_dcm2niix_made_of_it_are_one_scan_with_the_label_of_either(workspace, tmp_path):
    """XNAT keeps both: as two images one may be trained on and the other tested on."""
    scan = tmp_path / "data" / "SCANS" / "4"
    write_series(scan / "DICOM")
    image = sitk.Cast(sitk.Flip(read_volume(scan / "DICOM"), [False, True, False]), sitk.sitkFloat32)
    (scan / "NIFTI").mkdir()
    sitk.WriteImage(image, str(scan / "NIFTI" / "4_CT.nii.gz"))
    sitk.WriteImage(sitk.Cast(image > 500, sitk.sitkUInt8), str(scan / "NIFTI" / "4_CT_seg.nii.gz"))
    result = add(AddConfig(workspace=workspace, source=tmp_path / "data", task="t", check=True)).result
    assert result.images == 1 and not result.problems
    (told,) = result.duplicates
    assert told.reason.startswith("has the same voxels as 4 (") and "which takes its label" in told.reason
    catalogue = Catalogue.load(workspace)
    series = read_volume(scan / "DICOM")
    label = read_label(catalogue, catalogue.images[0], series)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(label) > 0, sitk.GetArrayFromImage(series) > 500)


@pytest.mark.parametrize(
    ("distance", "label_of", "reason"),
    [
        (5.0, 0, None),
        (2.5, 0, "may be the label of each of 2 series in one folder: give it to the right one"),
        (5.0, None, "fits none of 2 series in one folder, the first: is on another grid than its image"),
    ],
)
def test_the_label_of_a_folder_of_several_series_is_that_of_the_one_that_it_fits(
    workspace, tmp_path, distance, label_of, reason
):
    """A scout, say, lies with the slices."""
    folder = tmp_path / "data" / "p1" / "CT"
    write_series(folder, uid="1.9.1", prefix="a")
    write_series(folder, uid="1.9.2", prefix="b", seed=1, positions=[n * distance for n in range(4)])
    image = read_volume(folder, "1.9.1") if label_of == 0 else sitk.Image(5, 5, 5, sitk.sitkInt16)
    label = sitk.Cast(image > 500 if label_of == 0 else image + 1, sitk.sitkUInt8)
    sitk.WriteImage(label, str(folder.parent / "CT_seg.nrrd"))
    for _ in range(2):
        result = add(AddConfig(workspace=workspace, source=tmp_path / "data", task="t", check=True)).result
        assert [r.reason for r in result.refused if reason is None or not r.reason.startswith(reason)] == []
        assert len(result.refused) == (reason is not None) and not result.problems
        images = {i.series: i.label for i in Catalogue.load(workspace).images}
        assert (images["1.9.1"] is not None, images["1.9.2"]) == (reason is None, None)
    relabel(
        workspace,
        next(i.id for i in Catalogue.load(workspace).images if i.series == "1.9.2"),
        folder.parent / "CT_seg.nrrd",
    )
    result = add(AddConfig(workspace=workspace, source=tmp_path / "data", task="t")).result
    assert (result.refused, result.unchanged, result.changed) == ([], 1, [])


def test_a_ct_that_is_not_in_hounsfield_units_is_in_doubt(workspace, tmp_path):
    values = np.random.default_rng(0).normal(0, 300, SHAPE)
    for name, shift in (("hounsfield", 0), ("shifted", 4000)):
        (tmp_path / "ct").mkdir(exist_ok=True)
        sitk.WriteImage(
            sitk.GetImageFromArray((values + shift).astype(np.int16)), str(tmp_path / "ct" / f"{name}.nii.gz")
        )
    config = AddConfig(workspace=workspace, source=tmp_path / "ct", task="t")
    assert add(config.model_copy(update={"dry_run": True})).result.in_doubt == []
    result = add(config.model_copy(update={"modality": "CT", "check": True})).result
    assert [d.id for d in result.in_doubt] == ["shifted"]
    assert "no value below 0" in (Catalogue.load(workspace).image("shifted").doubt or "")


@pytest.mark.parametrize("says", ["nothing", "CT", "MR", "the task is CT"])
def test_cts_that_nobody_calls_so_are_told_with_the_way_out(workspace, tmp_path, says):
    """Without a name their values would be normalised as those of any scanner, and nobody would know."""
    folder = tmp_path / "ct"
    folder.mkdir()
    for number, middle in enumerate((-700, -700, 300)):
        values = np.random.default_rng(number).normal(middle, 100, SHAPE).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(values), str(folder / f"{number}.nii.gz"))
    if says == "the task is CT":
        write_series(tmp_path / "series", modality="CT")
        add(AddConfig(workspace=workspace, source=tmp_path / "series", task="t"))
    config = AddConfig(workspace=workspace, source=folder, task="t", modality=says if len(says) == 2 else "")
    wanted = "the values of 2 of 3 images reach below -500, as those of CTs do" if says == "nothing" else ""
    preview = add(config.model_copy(update={"dry_run": True})).result
    events: list = []
    add(config, events.append)
    told = [e for e in events if isinstance(e, Message) and e.way_out == "modality"]
    assert len(told) == len([note for note in preview.notes if "as those of CTs do" in note]) == bool(wanted)
    assert wanted in preview.text and all(wanted in e.text and e.level == "warning" for e in told)


def ringing(mask: sitk.Image) -> sitk.Image:
    """Returns a mask as it is after it was resampled by splines: below 0 and above 1 at its edges."""
    shift = sitk.TranslationTransform(3, (0.5, 0.5, 0.5))
    return sitk.Resample(mask, mask, shift, sitk.sitkBSpline)


@pytest.mark.parametrize("blurred", [lambda mask: sitk.SmoothingRecursiveGaussian(mask, 1.0) * 0.9, ringing])
def test_a_map_of_probabilities_beside_its_image_is_in_doubt(workspace, data, blurred):
    inside = sitk.Image(SHAPE[::-1], sitk.sitkFloat32)
    inside[4:9, 4:9, 3:6] = 1
    sitk.WriteImage(blurred(inside), str(data / "case0_p.nii.gz"))
    result = add(AddConfig(workspace=workspace, source=data, task="t", check=True)).result
    assert [d.id for d in result.in_doubt] == ["case0_p"]
    doubt = Catalogue.load(workspace).image("case0_p").doubt or ""
    assert doubt.startswith("looks like a map of probabilities of case0.nii.gz")


def test_a_series_in_several_folders_is_not_taken_for_several_volumes(workspace, tmp_path):
    files = write_series(tmp_path / "study" / "a", positions=[2.5 * n for n in range(8)])
    (tmp_path / "study" / "b").mkdir()
    for file in files[4:]:
        shutil.move(file, tmp_path / "study" / "b" / file.name)
    write_series(tmp_path / "study" / "c", uid="1.2.7", seed=3)
    shutil.copytree(tmp_path / "study" / "c", tmp_path / "study" / "copy of c")
    result = add(AddConfig(workspace=workspace, source=tmp_path / "study", task="t")).result
    assert result.added == ["c"] and len(result.duplicates) == 1
    reasons = {Path(r.path).name: r.reason for r in result.refused}
    assert "has 4 slices of series" in reasons["a"] and "whose others lie in b: put them together" in reasons["a"]
    assert set(reasons) == {"a", "b"}


def test_patients_of_dicom_are_counted_by_their_ids_and_one_for_all_is_told(workspace, tmp_path):
    for number in range(3):
        for file in write_series(tmp_path / "d" / f"case{number}", uid=f"1.2.{number}", seed=number):
            made = pydicom.dcmread(file)
            made.PatientID = "4711"
            made.save_as(file)
    events: list = []
    result = add(AddConfig(workspace=workspace, source=tmp_path / "d", task="t"), events.append).result
    assert result.patients == 1 and "of 1 patient" in result.text
    told = [e for e in events if isinstance(e, Message) and "stay together" in e.text]
    assert len(told) == 1 and told[0].way_out == "patient" and "all have the same PatientID" in told[0].text
    result = add(AddConfig(workspace=workspace, source=tmp_path / "d", task="t", patient="{patient}")).result
    assert result.patients == 3


def test_a_pseudonym_with_a_number_is_a_patient_and_what_stands_for_nobody_is_none(workspace, tmp_path):
    ids = {
        "a": "ANON001",
        "b": "ANON001",
        "c": "anon_2",
        "d": "Anonymous",
        "e": "DE-IDENTIFIED",
        "f": "Anonymous^Patient",
    }
    for seed, (name, id) in enumerate(ids.items()):
        for file in write_series(tmp_path / "d" / f"{name}{name}", uid=f"1.2.{seed}", seed=seed):
            made = pydicom.dcmread(file)
            made.PatientID = id
            made.save_as(file)
    add(AddConfig(workspace=workspace, source=tmp_path / "d", task="t"))
    patients = {i.id[0]: i.patient for i in Catalogue.load(workspace).images}
    assert patients["a"] == patients["b"] and len({patients[n] for n in "ac"} - {""}) == 2
    assert [patients[n] for n in "def"] == ["", "", ""]


@pytest.mark.parametrize("later", [False, True])
def test_a_series_and_a_file_of_one_patient_s_folder_are_one_patient_s(workspace, tmp_path, later):
    """The header tells who it is of one, the folder of the other."""
    config = AddConfig(workspace=workspace, source=tmp_path / "d", task="t")
    for n in (1, 2):
        for file in write_series(tmp_path / "d" / f"p{n}" / "CT", uid=f"1.2.{n}", seed=n):
            made = pydicom.dcmread(file)
            made.PatientID = f"H{n}"
            made.save_as(file)
        write(tmp_path / "d" / f"p{n}" / "other.nii.gz", n)
    if later:
        for n in (1, 2):
            (tmp_path / "d" / f"p{n}" / "other.nii.gz").rename(tmp_path / f"{n}.nii.gz")
        add(config)
        for n in (1, 2):
            (tmp_path / f"{n}.nii.gz").rename(tmp_path / "d" / f"p{n}" / "other.nii.gz")
    assert add(config).result.patients == 2
    whose: dict[str, set[str]] = {}
    for image in Catalogue.load(workspace).images:
        whose.setdefault(Path(image.image).parent.name, set()).add(image.patient)
    assert [len(names) for names in whose.values()] == [1, 1] and not whose["p1"] & whose["p2"]
