"""At the command line: files that do not say their spacing are told, and take a stated one at every door that reads them."""

from __future__ import annotations

import csv
from pathlib import Path

import dicom_files as files
import numpy as np
import pytest
import SimpleITK as sitk
import typer
from test_no_result_over_a_source import call, model  # noqa: F401

from hssl.cli import app
from hssl.workspace.candidates import Candidate
from hssl.workspace.scan import look_at

SPACING = ("--spacing", "0.5", "0.5", "2")
MASK = np.zeros((6, 16, 16), np.uint8)
MASK[1:5, 4:10, 4:10] = 1
COMMANDS = typer.main.get_command(app).commands
REMARK = "does not say how large its voxels are; 1 mm was taken"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("scans", "found", "truth"):
        (tmp_path / name).mkdir()
    return tmp_path


def scan() -> np.ndarray:
    return (np.random.default_rng(0).normal(100, 20, MASK.shape) + 300.0 * MASK).astype(np.int16)


def write(path: Path, array: np.ndarray) -> None:
    """Writes what Python packages do of a bare array, or a TIFF stack."""
    if path.suffix == ".tif":
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
        return
    kind = {"int16": "short", "uint8": "uchar"}[array.dtype.name]
    sizes = " ".join(map(str, reversed(array.shape)))
    head = f"NRRD0004\ntype: {kind}\ndimension: 3\nsizes: {sizes}\nendian: little\nencoding: raw\n\n"
    path.write_bytes(head.encode() + array.tobytes())


@pytest.mark.parametrize(
    "command", [COMMANDS["catalogue"].commands["add"], *(COMMANDS[n] for n in ("predict", "interactive", "evaluate"))]
)
def test_every_door_that_reads_volumes_takes_a_spacing(command):
    assert [p.nargs for p in command.params if "--spacing" in p.opts] == [3]


@pytest.mark.parametrize("suffix", [".tif", ".nrrd"])
def test_slices_are_learned_with_the_spacing_that_is_stated(folder, suffix):
    write(folder / f"scan{suffix}", scan())
    write(folder / f"painted{suffix}", np.where(np.isin(np.arange(6), (1, 4))[:, None, None], MASK, 0))
    words = ("interactive", f"scan{suffix}", f"painted{suffix}", "--output", "filled.nrrd", "--overwrite")
    words += ("--plane", "z:1", "--plane", "z:4")
    code, said = call(*words)
    if suffix == ".tif":
        assert code == 4 and "State their spacing in mm. (--spacing)" in said
    else:
        assert code == 0 and REMARK in said and sitk.ReadImage("filled.nrrd").GetSpacing() == (1, 1, 1)
    code, said = call(*words, *SPACING)
    assert code == 0 and REMARK not in said, said
    filled = sitk.ReadImage("filled.nrrd")
    assert filled.GetSpacing() == (0.5, 0.5, 2) and (sitk.GetArrayFromImage(filled)[2] == MASK[2]).mean() > 0.9


@pytest.mark.parametrize("suffix", [".tif", ".nrrd"])
@pytest.mark.parametrize("stated", ["both", "found", "truth"])
def test_label_maps_are_compared_with_the_spacing_that_is_stated(folder, suffix, stated):
    for name in ("found", "truth"):
        write(folder / name / f"a{suffix}", MASK)
        if stated not in (name, "both"):
            (folder / name / f"a{suffix}").unlink()
            image = sitk.GetImageFromArray(MASK)
            image.SetSpacing((0.5, 0.5, 2))
            sitk.WriteImage(image, str(folder / name / "a.nii.gz"))
    words = ("evaluate", "found", "truth", "--output", "out", "--overwrite")
    code, said = call(*words)
    if suffix == ".tif":
        assert code == 4 and "State their spacing in mm. (--spacing)" in said
    else:
        assert (code == 0) == (stated == "both") and said.count(REMARK) == (2 if stated == "both" else 1), said
    code, said = call(*words, *SPACING)
    assert code == 0 and REMARK not in said, said
    with open("out/evaluation.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["reference_ml"]) == pytest.approx(MASK.sum() * 0.5 / 1000) and float(row["dice"]) == 1


def test_a_prediction_tells_that_1_mm_was_taken(folder, model):  # noqa: F811
    write(folder / "scans" / "a.nrrd", scan())
    words = ("predict", "scans", "--model", model, "--output", "out")
    code, said = call(*words)
    assert code == 0 and said.count(REMARK) == 1
    code, said = call(*words, "--overwrite", *SPACING)
    assert code == 0 and REMARK not in said and sitk.ReadImage("out/a.nii.gz").GetSpacing() == (0.5, 0.5, 2)


def test_a_single_dicom_file_takes_the_spacing_that_is_stated(folder):
    def unscaled(dataset, number):
        del dataset.PixelSpacing

    (path,) = files.write_slices(folder / "d", scan()[:1], np.zeros(1), unscaled)
    assert look_at(Candidate(str(path)))[0].error.way_out == "spacing"
    header = look_at(Candidate(str(path), spacing=(0.5, 0.5, 2.0)))[0].header
    assert header is not None and header.spacing[:2] == (0.5, 0.5)
