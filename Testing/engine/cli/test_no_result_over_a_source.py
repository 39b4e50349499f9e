"""At the command line: wherever results are sent, no source is overwritten, and the exit code says what happened."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from typer.testing import CliRunner

from hssl.cli import app
from hssl.configuration import NetworkConfig
from hssl.models.description import ModelDescription
from hssl.models.model_file import write_model
from hssl.models.network import build_network
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.workspace.catalogue import LabelClass, Task


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model file with weights that were drawn."""
    network = NetworkConfig(in_slices=1)
    torch.manual_seed(0)
    description = ModelDescription(
        kind="segmentation",
        name="drawn",
        network=network,
        patch_size=(32, 32),
        tasks=[Task(name="t", classes=[LabelClass(value=1, name="a")])],
        fingerprints={
            "t": Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(4, 16, 16))
        },
        out_channels=2,
    )
    path = tmp_path_factory.mktemp("model") / "model.zip"
    write_model(path, description, build_network(network, 2).state_dict())
    return path


@pytest.fixture
def scans(tmp_path, monkeypatch) -> Path:
    """Two scans in a folder of the current one, a link to it, and another folder beside it."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in (1, 2):
        array = np.random.default_rng(number).normal(100, 20, (3, 16, 16)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{number}.nii.gz"))
    os.symlink(folder, tmp_path / "link")
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)
    return folder


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def hashes(root: Path) -> dict[str, str]:
    files = [p for p in sorted(root.rglob("*")) if p.is_file()]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        (["scans"], "scans"),
        (["scans"], "./scans/"),
        (["scans"], "x/../scans"),
        (["scans"], "scans/new/.."),
        (["x/../scans"], "scans"),
        (["scans"], "link"),
        (["link"], "scans"),
        (["scans/1.nii.gz"], "scans"),
        (["link/1.nii.gz"], "scans"),
        (["scans/1.nii.gz", "scans/2.nii.gz"], "x/../link"),
    ],
)
def test_prediction_among_its_own_sources_is_refused(model, scans, inputs, output, overwrite):
    before = hashes(scans.parent)
    code, said = call("predict", *inputs, "--model", model, "--output", output, *overwrite)
    assert code == 9 and "Choose another" in said, said
    assert hashes(scans.parent) == before


def test_prediction_replaces_only_its_own_unchanged_results_and_says_how_to_replace_others(model, scans):
    arguments = ("predict", "scans", "--model", model, "--output", "out")
    assert call(*arguments)[0] == 0
    first = hashes(scans.parent)
    assert call(*arguments)[0] == 0
    corrected = scans.parent / "out" / "1.nii.gz"
    corrected.write_bytes(b"corrected by hand")
    code, said = call(*arguments)
    assert code == 9 and "(--overwrite)" in said and corrected.read_bytes() == b"corrected by hand"
    assert call(*arguments, "--overwrite")[0] == 0
    assert hashes(scans.parent)["out/1.nii.gz"] == first["out/1.nii.gz"]


def test_files_of_one_name_get_names_by_the_folders_in_which_they_differ(model, scans):
    for patient in ("p1", "p2", "P2"):
        folder = scans.parent / "images" / patient / "scan"
        folder.mkdir(parents=True)
        sitk.WriteImage(sitk.ReadImage(str(scans / "1.nii.gz")), str(folder / "ct.nrrd"))
    inputs = [f"images/{p}/scan/ct.nrrd" for p in ("p2", "p1", "P2")]
    code, said = call("predict", *inputs, "--model", model, "--output", "out")
    assert code == 0 and "its results are named p1_ct" in said
    first = {p.name for p in (scans.parent / "out").glob("*.nii.gz")}
    assert len({name.casefold() for name in first}) == 3 and "p1_ct.nii.gz" in first
    records = [json.loads(line) for line in (scans.parent / "out" / "hssl-results.jsonl").read_text().splitlines()]
    whose = {r["file"]: Path(r["input"]).parts[-3] for r in records}
    assert all(name.lower().startswith(patient.lower()) for name, patient in whose.items()) and len(whose) == 3
    assert call("predict", *reversed(inputs), "--model", model, "--output", "out")[0] == 0
    assert {p.name for p in (scans.parent / "out").glob("*.nii.gz")} == first, "whatever the order of the inputs"


def test_inputs_that_fail_give_the_exit_code_of_a_part_and_those_that_all_fail_an_error(model, scans):
    (scans / "broken.nii.gz").write_bytes(b"no volume")
    flat = sitk.GetImageFromArray(np.zeros((3, 16, 16), np.int16))
    sitk.WriteImage(flat, str(scans / "flat.nii.gz"))
    code, said = call("predict", "scans", "absent", "--model", model, "--output", "out")
    assert code == 11
    assert "broken.nii.gz" in said and "flat.nii.gz: is constant" in said and "absent: there is no such file" in said
    assert sorted(p.name for p in (scans.parent / "out").glob("*.nii.gz")) == ["1.nii.gz", "2.nii.gz"]
    assert call("predict", "scans/flat.nii.gz", "--model", model, "--output", "out2")[0] == 4
    sitk.WriteImage(flat + 1, str(scans.parent / "x" / "1.nii.gz"))
    (scans.parent / "x" / "2.nii.gz").write_bytes(b"no label map")
    code, said = call("evaluate", "out", "x", "--output", "figures")
    assert code == 11 and "over 1 of 2 cases" in said and "failed: 2" in said
    (scans.parent / "x" / "2.nii.gz").unlink()
    assert call("evaluate", "out", "x", "--output", "one")[0] == 0, (
        "a prediction without a reference is nothing missing"
    )
    sitk.WriteImage(flat + 1, str(scans.parent / "x" / "3.nii.gz"))
    code, said = call("evaluate", "out", "x", "--output", "two")
    assert code == 11 and "over 1 of 2 cases" in said and "1 case has no prediction: 3" in said


@pytest.mark.parametrize(
    "output", ["scans/1.nii.gz", "link/1.nii.gz", "painted.nrrd", "x/../painted.nrrd", "hard.nrrd"]
)
@pytest.mark.parametrize("option", ["--output", "--uncertainty"])
def test_a_round_never_writes_over_its_volume_or_its_annotation(scans, output, option):
    painted = sitk.Cast(sitk.ReadImage("scans/1.nii.gz") > 100, sitk.sitkUInt8)
    sitk.WriteImage(painted, "painted.nrrd")
    os.link("painted.nrrd", "hard.nrrd")
    before = hashes(scans.parent)
    files = {"--output": "new.nrrd", "--uncertainty": "doubt.nrrd", option: output}
    words = [word for pair in files.items() for word in pair]
    for overwrite in ([], ["--overwrite"]):
        code, said = call("interactive", "scans/1.nii.gz", "painted.nrrd", *words, "--plane", "z:1", *overwrite)
        assert code == 9 and hashes(scans.parent) == before, said


def test_a_round_is_refused_for_its_outputs_before_it_learns(scans, monkeypatch):
    from hssl.interactive.session import InteractiveSession

    monkeypatch.setattr(InteractiveSession, "learn", lambda *_, **__: pytest.fail("it has learned"))
    sitk.WriteImage(sitk.Cast(sitk.ReadImage("scans/1.nii.gz") > 100, sitk.sitkUInt8), "painted.nrrd")
    Path("there.nrrd").write_bytes(b"mine")
    for output, reason in (
        ("new.png", "format"),
        ("there.nrrd", "is there already"),
        ("scans/1.nii.gz/new.nrrd", "not a folder"),
    ):
        code, said = call("interactive", "scans/1.nii.gz", "painted.nrrd", "--output", output, "--plane", "z:1")
        assert code == 9 and reason in said


def test_an_export_wants_a_zip_and_replaces_nothing_without_being_told(model, scans):
    before = hashes(scans.parent)
    for file in ("scans/1.nii.gz", "scan", "model.tar"):
        code, said = call("export", model, file)
        assert code == 9 and "must end in .zip" in said
    assert hashes(scans.parent) == before
    assert call("export", model, "new.zip")[0] == 0
    Path("new.zip").write_bytes(b"mine")
    code, said = call("export", model, "new.zip")
    assert code == 9 and "(--overwrite)" in said and Path("new.zip").read_bytes() == b"mine"
    assert call("export", model, "new.zip", "--overwrite")[0] == 0
    assert call("export", model, model, "--overwrite")[0] == 9, "nor itself"


@pytest.mark.parametrize("output", ["found", "truth", "x/../truth", "link to truth"])
def test_an_evaluation_lies_neither_among_the_predictions_nor_among_the_true_labels(scans, output):
    mask = sitk.Cast(sitk.ReadImage("scans/1.nii.gz") > 100, sitk.sitkUInt8)
    for folder in ("found", "truth"):
        Path(folder).mkdir()
        sitk.WriteImage(mask, f"{folder}/1.nii.gz")
    os.symlink("truth", "link to truth")
    before = hashes(scans.parent)
    assert call("evaluate", "found", "truth", "--output", output)[0] == 9 and hashes(scans.parent) == before


def test_a_runs_name_never_leads_into_somebodys_folder(scans):
    call("catalogue", "create", "work")
    call("catalogue", "add", "work", "scans", "--task", "t")
    for content in ({"config.json": '{"mine": 1}'}, {"notes.txt": "mine"}):
        folder = scans.parent / "work" / "runs" / f"mine{len(content)}{next(iter(content))[0]}"
        folder.mkdir(parents=True)
        for name, text in content.items():
            (folder / name).write_text(text)
        code, said = call("pretrain", "work", "--run", folder.name, "--steps", "1", "--device", "cpu")
        assert code == 9 and "is no run of HSSL" in said
        assert {p.name: p.read_text() for p in folder.iterdir() if p.name != ".lock"} == content


def test_a_current_folder_that_is_gone_is_told_in_a_line(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, said = call("info", "model.zip")
    assert code == 4 and "the current folder is gone" in said
    monkeypatch.chdir(tmp_path)


def test_a_round_takes_the_chosen_volume_of_a_4d_file_and_tells_how_to_choose(scans):
    one, other = (sitk.ReadImage(f"scans/{n}.nii.gz") for n in (1, 2))
    sitk.WriteImage(sitk.JoinSeries([one, other]), "both.nii.gz")
    sitk.WriteImage(sitk.Cast(other > 100, sitk.sitkUInt8), "painted.nrrd")
    words = ("interactive", "both.nii.gz", "painted.nrrd", "--plane", "z:1")
    code, said = call(*words, "--output", "a.nrrd")
    assert code == 4 and "(--frame)" in said
    assert call(*words, "--output", "a.nrrd", "--frame", "1")[0] == 0
    assert call("interactive", "scans/2.nii.gz", *words[2:], "--output", "b.nrrd")[0] == 0
    assert np.array_equal(*(sitk.GetArrayFromImage(sitk.ReadImage(f"{n}.nrrd")) for n in "ab"))
