"""A workspace that is not there, or goes while it is used: one clear error at every door, and no empty one in its place."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from hssl.configuration import AddConfig, Budget, FinetuneConfig, PretrainConfig
from hssl.errors import OutputError, WorkspaceError
from hssl.events import Phase
from hssl.jobs import JOBS
from hssl.jobs.add import add
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.models.run_folder import RunFolder, all_runs
from hssl.workspace.catalogue import Catalogue, Task
from hssl.workspace.check import check_workspace
from hssl.workspace.presence import is_there, while_there

RECIPE = {"task": "brain_mr"}
VALUES = {
    "add": {"source": "/"},
    "pretrain": {},
    "estimate": {},
    "finetune": RECIPE,
    "compare": {"finetune": RECIPE, "start": "scratch"},
    "suggest": {"task": "brain_mr", "model": "m"},
    "check_labels": {"finetune": RECIPE},
    "learning_curve": {"finetune": RECIPE},
}
UNIX = pytest.mark.skipif(
    os.name == "nt", reason="there an open file keeps its folder, and paths are asked of otherwise"
)
GONE = "is no longer there: it was moved or deleted, or its drive is not connected"


def test_these_are_all_jobs_on_a_workspace():
    fields = {name: set(job.configuration.model_fields) for name, job in JOBS.items()}
    assert {name for name, own in fields.items() if own & {"workspace", "finetune"}} == set(VALUES)


@pytest.mark.parametrize("name", VALUES)
def test_no_job_begins_without_its_workspace_or_makes_a_folder_of_that_name(tmp_path, name):
    values = {**VALUES[name], "workspace": tmp_path / "drive" / "w"}
    if "finetune" in values:
        values["finetune"] = {**RECIPE, "workspace": values.pop("workspace")}
    with pytest.raises(WorkspaceError, match="is not a workspace: there is no such folder") as told:
        JOBS[name].run(values)
    assert "connect" in told.value.hint and told.value.way_out == "create"
    assert not (tmp_path / "drive").exists()


def test_a_file_that_is_named_as_a_workspace_is_told_as_that(tmp_path):
    Catalogue.create(tmp_path / "w")
    with pytest.raises(WorkspaceError, match="is not a workspace: it is a file") as told:
        Catalogue.load(tmp_path / "w" / "dataset.json")
    assert "drive" not in told.value.hint
    for inside in ("", "new"):
        with pytest.raises(OutputError, match="dataset.json is not a folder"):
            Catalogue.create(tmp_path / "w" / "dataset.json" / inside)


@UNIX
@pytest.mark.parametrize("phase", ["store", "training"])
@pytest.mark.parametrize("job", [pretrain, finetune])
def test_a_training_whose_workspace_goes_says_so_and_makes_no_empty_one(workspace, phase, job):
    def delete(event):
        if isinstance(event, Phase) and event.name == phase:
            shutil.rmtree(workspace)

    more = {"workspace": workspace, "run": "r", "budget": Budget(steps=2), "checkpoint_minutes": 1e-6, "batch_size": 2}
    config = PretrainConfig(**more) if job is pretrain else FinetuneConfig(task="brain_mr", **more)
    with pytest.raises(WorkspaceError, match=GONE):
        job(config, delete)
    assert not workspace.exists()


@UNIX
def test_a_run_whose_folder_goes_says_so(workspace):
    def delete(event):
        if isinstance(event, Phase) and event.name == "training":
            shutil.rmtree(workspace / "runs" / "r")

    config = FinetuneConfig(workspace=workspace, task="brain_mr", run="r", budget=Budget(steps=1), batch_size=2)
    with pytest.raises(OutputError, match=r"runs.r: is no longer there"):
        finetune(config, delete)
    assert not (workspace / "runs" / "r").exists()


@UNIX
def test_what_is_added_to_or_checked_in_a_workspace_that_goes_is_told(workspace, tmp_path):
    scans = shutil.copytree(workspace / "scans", tmp_path / "scans")

    def delete(event):
        shutil.rmtree(workspace, ignore_errors=True)

    copy = shutil.copytree(workspace, tmp_path / "copy")
    with pytest.raises(WorkspaceError, match=GONE):
        check_workspace(workspace, delete)
    assert not workspace.exists()
    shutil.copytree(copy, workspace)
    with pytest.raises(WorkspaceError, match=GONE):
        add(AddConfig(workspace=workspace, source=scans, task="new", modality="MR", mixed=True), delete)
    assert not workspace.exists()


@UNIX
def test_an_edit_of_a_workspace_that_goes_is_told_and_saves_none(workspace):
    with pytest.raises(WorkspaceError, match=GONE), Catalogue.editing(workspace) as catalogue:
        catalogue.set_task(Task(name="new"))
        shutil.rmtree(workspace)
    assert not workspace.exists()
    with pytest.raises(WorkspaceError, match="there is no such folder"), Catalogue.editing(workspace):
        pass
    assert not workspace.exists()


@UNIX
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOTCONN, errno.ESTALE])
def test_a_drive_that_does_not_answer_is_told_as_that(workspace, monkeypatch, number):
    stat, scandir = os.stat, os.scandir

    def answers(path) -> None:
        if not isinstance(path, int) and str(path).startswith(str(workspace)):
            raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "stat", lambda path, *args, **more: answers(path) or stat(path, *args, **more))
    monkeypatch.setattr(os, "scandir", lambda path=".": answers(path) or scandir(path))
    assert not is_there(workspace)
    for asked in (Catalogue.load, all_runs, lambda w: RunFolder(w / "runs" / "r").finished):
        with pytest.raises(WorkspaceError, match="there is no such folder|no longer there"), while_there(workspace):
            asked(Path(workspace))


def test_an_error_in_a_workspace_that_is_there_stays_what_it_is(workspace):
    with pytest.raises(FileNotFoundError), while_there(workspace):
        (workspace / "absent").read_text()
