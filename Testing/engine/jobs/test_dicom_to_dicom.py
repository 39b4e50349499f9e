"""From a DICOM study to a DICOM segmentation: labels by reference and name, training, and the result opened again."""

from __future__ import annotations

from pathlib import Path

import dicom_files as files
import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset

from hssl.configuration import AddConfig, Budget, EvaluateConfig, FinetuneConfig, NetworkConfig, PredictConfig
from hssl.events import Message
from hssl.imaging.labels import read_label_map, structures_in
from hssl.imaging.volumes import read_volume, write_volume
from hssl.jobs.add import add
from hssl.jobs.evaluate import evaluate
from hssl.jobs.finetune import finetune
from hssl.jobs.predict import predict
from hssl.workspace.catalogue import Catalogue
from hssl.workspace.labels import read_label

SHAPE = (12, 40, 40)
ANGLE = np.linspace(0, 2 * np.pi, 90, endpoint=False)


def scan(seed: int) -> tuple[np.ndarray, tuple[int, int, int]]:
    z, y, x = np.indices(SHAPE)
    centre = (6, 19 + seed, 21 - seed)
    body = (y - 20) ** 2 + (x - 20) ** 2 < 17**2
    distance = ((z - centre[0]) * 2) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    values = np.where(body, 40, -1000) + (distance < 64) * 120 + (distance < 16) * 100
    return (values + np.random.default_rng(seed).normal(0, 12, SHAPE)).astype(np.int16), centre


def masks(centre: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    z, y, x = np.indices(SHAPE)
    distance = ((z - centre[0]) * 2) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return distance < 64, distance < 16


def circles(x: float, y: float, radius2: np.ndarray) -> list[np.ndarray]:
    return [
        np.column_stack([x + r2**0.5 * np.cos(ANGLE), y + r2**0.5 * np.sin(ANGLE), np.full(90, 2.0 * z)])
        for z, r2 in enumerate(radius2)
        if r2 > 0
    ]


def study(folder: Path, kind: str, patients: int = 3) -> Path:
    """Patients with a CT and, all but the last, a label in a folder of its own; beside it a dose."""
    for number in range(patients):

        def change(made: Dataset, _slice: int, number: int = number) -> None:
            made.PatientID, made.StudyInstanceUID, made.FrameOfReferenceUID = f"ID {number}", f"1.2.3.{number}", "1.2.9"

        values, centre = scan(number)
        where, series = folder / f"p{number}", f"1.2.3.9.{number}"
        sources = files.write_slices(where / "CT", values, np.arange(SHAPE[0]) * 2.0, change, series=series)
        dose = files.dataset(files.DOSE, "RTDOSE")
        files.put_pixels(dose, values.astype(np.uint16))
        files.write(dose, where / "CT" / "RD.dcm")
        if number == patients - 1:
            continue
        ball, core = masks(centre)
        if kind == "SEG":
            segments = np.stack([ball & ~core, core], 3).astype(np.uint8)
            files.write_segmentation(where / "other" / "a.dcm", sources, segments, ["Liver", "Tumour"])
        else:
            z = (np.arange(SHAPE[0]) - centre[0]) * 2.0
            contours = {
                "BODY": circles(20, 20, np.full(SHAPE[0], 17.0**2)),
                "Tumour": circles(centre[2], centre[1], 16 - z**2),
                "Liver": circles(centre[2], centre[1], 64 - z**2),
            }
            files.write_structures(where / "other" / "a.dcm", contours, series)
    return folder


@pytest.mark.parametrize("kind", ["SEG", "RTSTRUCT"])
def test_a_study_from_add_to_finetune_to_a_segmentation_that_opens_again(tmp_path, kind):
    source, workspace = study(tmp_path / "study", kind), tmp_path / "workspace"
    Catalogue.create(workspace)
    structures = ["Liver", "Tumour"] if kind == "RTSTRUCT" else []
    done = add(AddConfig(workspace=workspace, source=source, task="liver", structures=structures, check=True))
    assert done.result.pairs == [f"p{n}/CT ← p{n}/other/a.dcm" for n in (0, 1)]
    assert not done.result.problems and not done.result.refused
    assert done.result.not_read == {"DICOM RTDOSE": 3}
    catalogue = Catalogue.load(workspace)
    task = catalogue.task("liver")
    assert [(c.value, c.name) for c in task.classes] == [(1, "Liver"), (2, "Tumour")]
    assert ("^10200004^Liver~" in (task.classes[0].terminology or "")) == (kind == "SEG")
    labelled = catalogue.usable("liver", labelled=True)
    assert len(labelled) == 2 and [i.label_values for i in labelled] == [[1, 2], [1, 2]]
    for number, image in enumerate(labelled):
        ball, core = masks(scan(number)[1])
        label = read_label(catalogue, image, read_volume(catalogue.image_path(image), image.series))
        # A circle's points are rounded to a thousandth, so that a voxel on it may be on either side.
        assert np.count_nonzero(sitk.GetArrayFromImage(label) != np.where(core, 2, ball)) <= (
            0 if kind == "SEG" else 60
        )
    assert (
        "Doe" not in (workspace / "dataset.json").read_text() and "ID 0" not in (workspace / "dataset.json").read_text()
    )

    config = FinetuneConfig(
        workspace=workspace, task="liver", run="m", budget=Budget(steps=6), patch_size=32, batch_size=2, threads=1,
        network=NetworkConfig(in_slices=1), device="cpu", precision="float32",
    )  # fmt: skip
    run = finetune(config).result.run
    found = predict(PredictConfig(model=run, inputs=[source / "p2" / "CT"], output=tmp_path / "out"))
    (output,) = found.result.outputs
    predicted = sitk.ReadImage(output.label_map)
    image = read_volume(source / "p2" / "CT")
    again = read_label_map(output.dicom_segmentation, image, classes=task.classes)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(predicted))
    assert (again.GetOrigin(), again.GetSpacing()) == (image.GetOrigin(), image.GetSpacing())
    written = highdicom.seg.segread(output.dicom_segmentation)
    assert written.PatientID == "ID 2" and written.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.9.2"
    assert [s.name for s in structures_in(output.dicom_segmentation)] == ["Liver", "Tumour"]
    if kind == "SEG":
        assert structures_in(output.dicom_segmentation)[0].terminology == task.classes[0].terminology

    # Without a frame of reference there is nothing to refer to: said, and the label map is there all the same.
    for file in (source / "p2" / "CT").glob("IM*.dcm"):
        made = files.pydicom.dcmread(file)
        del made.FrameOfReferenceUID
        made.save_as(file)
    told: list[str] = []
    found = predict(
        PredictConfig(model=run, inputs=[source / "p2" / "CT"], output=tmp_path / "out 2"),
        lambda event: told.append(event.text) if isinstance(event, Message) else None,
    )
    assert found.result.outputs[0].dicom_segmentation is None
    assert any("no DICOM segmentation was written" in text for text in told)
    found = predict(
        PredictConfig(model=run, inputs=[source / "p1" / "CT"], output=tmp_path / "out 3", dicom_segmentation=False)
    )
    assert [p.suffix for p in (tmp_path / "out 3").iterdir() if not p.name.startswith(".") and p.suffix == ".dcm"] == []


def test_structures_that_overlap_unknown_and_ambiguous_ones_are_told(tmp_path):
    source, workspace = study(tmp_path / "study", "RTSTRUCT", 2), tmp_path / "workspace"
    Catalogue.create(workspace)
    done = add(AddConfig(workspace=workspace, source=source, task="all", check=True))
    assert "its segments overlap (3 layers)" in done.result.problems[0].reason
    with pytest.raises(Exception, match=r"no structure 'Lver' .*there: BODY, Liver, Tumour"):
        add(AddConfig(workspace=workspace, source=source, task="t", structures=["Lver"]))
    # A later choice counts, although no file has changed.
    add(AddConfig(workspace=workspace, source=source, task="all", structures=["body", "Liver"], check=True))
    (image,) = Catalogue.load(workspace).usable("all", labelled=True)
    assert image.structures == ["BODY", "Liver"] and image.label_problem is None
    # A second structure set of the series is joined to the first; a choice takes what it names.
    files.write_structures(source / "p0" / "second.dcm", {"Heart": circles(20, 20, np.full(4, 9.0))}, "1.2.3.9.0")
    done = add(AddConfig(workspace=workspace, source=source, task="two", dry_run=True))
    assert done.result.pairs == ["p0/CT ← p0/second.dcm + p0/other/a.dcm"] and not done.result.refused
    done = add(AddConfig(workspace=workspace, source=source, task="two", structures=["Heart"], dry_run=True))
    assert done.result.pairs == ["p0/CT ← p0/second.dcm"]


def test_a_prediction_is_compared_with_a_structure_set_by_the_names_of_the_classes(tmp_path):
    source = study(tmp_path / "study", "RTSTRUCT", 2)
    image = read_volume(source / "p0" / "CT", "1.2.3.9.0")
    ball, core = masks(scan(0)[1])
    found = sitk.GetImageFromArray(np.where(core, 2, ball).astype(np.uint8))
    found.CopyInformation(image)
    write_volume(found, tmp_path / "p0.nii.gz")
    truth = files.write_segmentation(
        tmp_path / "truth.dcm",
        sorted((source / "p0" / "CT").glob("IM*.dcm")),
        np.stack([ball & ~core, core], 3).astype(np.uint8),
        ["Liver", "Tumour"],
    )
    for predictions, references in ((tmp_path / "p0.nii.gz", truth), (truth, tmp_path / "p0.nii.gz")):
        config = EvaluateConfig(predictions=predictions, references=references, output=tmp_path / references.name[:5])
        result = evaluate(config).result
        assert result.summary.mean_dice == 1.0 and set(result.summary.classes) == {"Liver", "Tumour"}
