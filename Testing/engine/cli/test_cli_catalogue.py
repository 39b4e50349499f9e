from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from typer.testing import CliRunner, Result

from hssl.cli.catalogue import app
from hssl.imaging.volumes import write_volume
from hssl.workspace.catalogue import Catalogue


@pytest.fixture
def data(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(3):
        image = sitk.GetImageFromArray(generator.normal(100, 20, (6, 7, 8)).astype(np.float32))
        for folder in ("images", "labels"):
            (tmp_path / "my data" / folder).mkdir(parents=True, exist_ok=True)
        write_volume(image, tmp_path / "my data" / "images" / f"c{number}.nii.gz")
        if number < 2:
            write_volume(sitk.Cast(image > 100, sitk.sitkUInt8), tmp_path / "my data" / "labels" / f"c{number}.nii.gz")
    return tmp_path / "my data"


@pytest.fixture
def workspace(tmp_path):
    assert call("create", tmp_path / "work").exit_code == 0
    return tmp_path / "work"


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def rows(result: Result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_source_is_added_checked_and_listed(workspace, data):
    added = rows(call("add", workspace, data, "--task", "t", "--modality", "mri", "--class", "1=bright", "--json"))
    assert added[-1]["event"] == "done"
    assert added[-1]["result"]["added"] == ["c0", "c1", "c2"]
    assert any(e["event"] == "progress" and e["fraction"] == 1 for e in added)
    checked = rows(call("check", workspace, "--json"))[-1]["result"]
    assert (checked["read"], checked["usable"], checked["labelled"], checked["problems"]) == (3, 3, 2, [])
    listed = rows(call("list", workspace, "--json"))[-1]["result"]
    assert [i["id"] for i in listed["images"]] == ["c0", "c1", "c2"]
    assert (listed["tasks"][0]["modality"], listed["tasks"][0]["labelled"]) == ("MR", 2)
    assert listed["tasks"][0]["classes"][0]["name"] == "bright"
    text = call("list", workspace).stdout
    assert "c0" in text
    assert "8×7×6" in text


def test_adding_again_says_that_nothing_has_changed(workspace, data):
    call("add", workspace, data, "--task", "t")
    assert "3 unchanged" in call("add", workspace, data, "--task", "t").stdout


def test_what_is_refused_is_told_and_the_rest_is_added(workspace, data):
    (data / "images" / "bad.nii.gz").write_bytes(b"bad")
    result = call("add", workspace, data)
    assert result.exit_code == 0
    assert "bad.nii.gz: is not a gzip file" in result.stdout
    assert "Task my data: 3 images (3 added), 2 with a label, 0 in doubt, 1 refused" in result.stdout
    assert "bad.nii.gz" in call("list", workspace, "--problems").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["add", "{workspace}", "/nowhere"], 4, "does not exist"),
        (["add", "/nowhere", "{data}"], 4, "not a workspace"),
        (["add", "{workspace}", "{data}", "--class", "liver"], 3, "1=liver"),
        (["add", "{workspace}"], 3, "source"),
        (["confirm", "{workspace}", "x"], 3, "no image"),
        (["add", "{workspace}", "{data}", "--class", "1=a", "--class", "1=b"], 3, "same value"),
        (["add", "{workspace}", "{data}", "--pattern", "x"], 3, "id"),
        (["add", "{workspace}", "{data}", "--channel", "1"], 3, "a channel belongs"),
        (["list", "{workspace}", "--task", "x"], 3, "no task named"),
        (["check", "{workspace}", "--task", "x"], 3, "no task named"),
        (["check", "{workspace}"], 4, "no usable image"),
        (["group", "{workspace}", "--task", "x"], 3, "belong together"),
        (["remove", "{workspace}"], 3, "nothing to remove"),
        (["remove", "{workspace}", "x"], 3, "no image"),
        (["label", "{workspace}", "x"], 3, "no image"),
        (["edit", "{workspace}", "x"], 3, "no task"),
        (["edit", "{workspace}", "x", "--class", "0=x"], 3, "no task"),
        (["create", "{workspace}"], 4, "already"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_mistake_is_told_without_a_traceback_and_has_its_exit_code(
    workspace, data, arguments, code, message, as_json
):
    arguments = [a.format(workspace=workspace, data=data) for a in arguments] + ["--json"] * as_json
    result = call(*arguments)
    assert result.exit_code == code
    if as_json:
        failed = rows(result)[-1]
        assert (failed["event"], failed["exit_code"]) == ("failed", code)
        assert message in failed["message"]
    else:
        assert message in result.stderr
        assert "Traceback" not in result.output


def test_a_value_that_does_not_fit_is_a_mistake_too(workspace, data):
    call("add", workspace, data, "--task", "t")
    result = call("edit", workspace, "t", "--rename", "")
    assert result.exit_code == 3
    assert Catalogue.load(workspace).task("t").name == "t"


def test_labels_can_be_set_taken_away_and_are_checked_at_once(workspace, data):
    call("add", workspace, data, "--task", "t")
    assert call("label", workspace, "c0").exit_code == 0
    assert Catalogue.load(workspace).image("c0").label is None
    call("label", workspace, "c2", data / "labels" / "c1.nii.gz")
    assert Catalogue.load(workspace).image("c2").label == "../my data/labels/c1.nii.gz"
    small = sitk.Image(3, 3, 3, sitk.sitkUInt8)
    write_volume(small, data / "small.nii.gz")
    assert "another grid" in call("label", workspace, "c1", data / "small.nii.gz").stdout
    assert [i.id for i in Catalogue.load(workspace).usable(labelled=True)] == ["c2"]
    assert call("label", workspace, "c1", data / "none.nii.gz").exit_code == 4


def test_a_task_is_edited_and_keeps_what_is_known_of_its_classes(workspace, data):
    call("add", workspace, data, "--task", "t", "--class", "1=a")
    with Catalogue.editing(workspace) as catalogue:
        catalogue.task("t").classes[0].terminology = "kept"
    call("edit", workspace, "t", "--rename", "u", "--modality", "ct", "--class", "1=b", "--class", "2=c")
    task = Catalogue.load(workspace).task("u")
    assert (task.modality, [c.name for c in task.classes]) == ("CT", ["b", "c"])
    assert task.classes[0].terminology == "kept"
    assert len(Catalogue.load(workspace).usable("u")) == 3


def test_groups_are_set_by_hand_or_suggested_and_then_applied(workspace, data):
    call("add", workspace, data / "images", "--task", "a", "--modality", "MR")
    call("add", workspace, data / "images" / "c0.nii.gz", "--task", "b", "--modality", "MR")
    assert rows(call("group", workspace, "--json"))[-1]["result"]["groups"] == {"a": "MR", "b": "MR"}
    assert Catalogue.load(workspace).task("a").group == ""
    call("group", workspace, "--task", "a", "--group", "mine")
    call("group", workspace, "--apply")
    assert {t.name: t.group for t in Catalogue.load(workspace).tasks} == {"a": "mine", "b": "mine"}


def test_images_and_tasks_are_removed_and_no_file_is_touched(workspace, data):
    call("add", workspace, data, "--task", "t")
    call("remove", workspace, "c0", "c1")
    assert [i.id for i in Catalogue.load(workspace).images] == ["c2"]
    call("remove", workspace, "--task", "t")
    assert Catalogue.load(workspace).tasks == []
    assert len(list((data / "images").iterdir())) == 3


def test_importing_the_commands_loads_nothing_heavy():
    code = "import hssl.cli.catalogue, sys; print({'SimpleITK', 'numpy', 'torch', 'psutil'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["ended", "its terminal is closed"])
def test_a_signal_stops_a_job_at_a_safe_moment_and_the_next_one_goes_on(workspace, tmp_path, number):
    for n in range(40):
        write_series(tmp_path / "dicom" / f"p{n:02d}", uid=f"1.2.{n}", positions=range(12), seed=n)
    command = [sys.executable, "-m", "hssl", "catalogue", "add", str(workspace), str(tmp_path / "dicom"), "--json"]
    with subprocess.Popen([*command, "--task", "t"], stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        lines = []
        for line in process.stdout:
            lines.append(json.loads(line))
            if lines[-1]["event"] == "progress":
                process.send_signal(number)
                break
        lines += [json.loads(line) for line in process.stdout]
        assert process.wait(60) == 10
    assert lines[-1]["event"] == "done"
    assert lines[-1]["stopped"]
    first = len(Catalogue.load(workspace).images)
    assert 0 < first < 40
    result = rows(call("add", workspace, tmp_path / "dicom", "--task", "t", "--json"))[-1]["result"]
    assert (len(result["added"]), result["unchanged"]) == (40 - first, first)


def test_a_job_whose_terminal_may_be_closed_goes_on(workspace, data):
    command = f"trap '' HUP; exec {sys.executable} -m hssl catalogue add '{workspace}' '{data}' --task t --json"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        lines = []
        for line in process.stdout:
            process.send_signal(signal.SIGHUP)
            lines.append(json.loads(line))
        assert process.wait(60) == 0
    assert lines[-1]["event"] == "done" and not lines[-1]["stopped"]


def test_a_listener_that_goes_away_ends_the_job_quietly(workspace, data):
    command = f"{sys.executable} -m hssl catalogue add '{workspace}' '{data}' --task t --json | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, env=_environment())
    assert json.loads(done.stdout)["event"] == "message"
    assert done.stderr == ""


def _environment() -> dict[str, str]:
    import hssl

    return {**os.environ, "PYTHONPATH": str(Path(hssl.__file__).parents[1])}


def test_masks_in_doubt_are_listed_confirmed_and_taken_back(workspace, data):
    (data / "images" / "c1_copy.nii.gz").write_bytes((data / "labels" / "c1.nii.gz").read_bytes())
    result = call("add", workspace, data, "--task", "t")
    assert "4 images (4 added), 2 with a label, 1 in doubt" in result.stdout
    listed = call("list", workspace, "--problems").stdout
    assert "c1_copy" in listed
    assert call("check", workspace).exit_code == 0
    assert "4 images can be used" in call("confirm", workspace, "c1_copy").stdout
    assert "3 images can be used" in call("confirm", workspace, "c1_copy", "--undo").stdout
    assert call("confirm", workspace, "c9").exit_code == 3


@pytest.mark.parametrize(
    "command", [["review", "--status", "skipped"], ["remove"], ["patient", "--name", "p"], ["confirm"]]
)
def test_every_command_of_ids_takes_a_file_of_them(workspace, data, tmp_path, command):
    call("add", workspace, data, "--task", "t")
    Path(tmp_path / "ids.txt").write_text("c0\nc2\n")
    name, *options = command
    assert call(name, workspace, f"@{tmp_path / 'ids.txt'}", *options).exit_code == 0
    assert call(name, workspace, f"@{tmp_path / 'none.txt'}", *options).exit_code == 4


def test_patients_are_set_by_hand_and_shown(workspace, data, tmp_path):
    call("add", workspace, data, "--task", "t")
    (tmp_path / "ids.txt").write_text("c0\nc1\n")
    result = call("patient", workspace, f"@{tmp_path / 'ids.txt'}", "--name", "miller")
    assert "2 images are of patient miller" in result.stdout
    assert [i.patient for i in Catalogue.load(workspace).images] == ["miller", "miller", ""]
    assert "miller" in call("list", workspace).stdout
    assert call("patient", workspace, "c7", "--name", "x").exit_code == 3
    assert call("patient", workspace, f"@{tmp_path / 'none.txt'}", "--name", "x").exit_code == 4


def test_a_dry_run_says_that_nothing_was_written(workspace, data):
    result = call("add", workspace, data, "--dry-run")
    assert "Nothing was written." in result.stdout
    assert "images/c0.nii.gz ← labels/c0.nii.gz" in result.stdout
    assert Catalogue.load(workspace).tasks == []


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_adding_names_what_is_refused_or_in_doubt_with_the_reason_also_beforehand(workspace, data, options):
    (data / "images" / "c1_copy.nii.gz").write_bytes((data / "labels" / "c1.nii.gz").read_bytes())
    (data / "images" / "cut.nii.gz").write_bytes((data / "images" / "c0.nii.gz").read_bytes()[:200])
    (data / "labels" / "c9.nii.gz").write_bytes((data / "labels" / "c1.nii.gz").read_bytes())
    told = call("add", workspace, data, "--task", "t", *options).output
    assert "images/c1_copy.nii.gz: " in told and "1 in doubt" in told
    assert "images/cut.nii.gz: " in told
    assert "labels/c9.nii.gz: is a label without an image of that name" in told


def test_what_cannot_be_told_apart_or_found_ends_with_an_exit_code(workspace, data, tmp_path):
    (data / "images" / "c0.nii").write_bytes(b"x")
    assert call("add", workspace, data).exit_code == 4
    (tmp_path / "empty").mkdir()
    assert call("add", workspace, tmp_path / "empty").exit_code == 4
    assert Catalogue.load(workspace).tasks == []
