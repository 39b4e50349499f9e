"""The whole way by clicks, with the real engine in its own process, and what goes wrong on it."""

from __future__ import annotations

import psutil
import pytest

import slicer
from harness.fixtures import settle, waitUntil
from hssl.workspace.catalogue import Catalogue
from HSSLSegmentationLib import settings
from HSSLSegmentationLib.scene import pictures as scenePictures

PATIENCE = 240.0


@pytest.fixture(autouse=True)
def oneThread():
    settings.setValue("threads", 1)
    settings.setValue("device", "cpu")


def finished(panel, seconds: float = PATIENCE):
    job = panel.job
    waitUntil(lambda: not job.isRunning(), seconds, f"the end of {job.kind}")
    settle()
    return job


def test_from_a_folder_of_scans_to_a_segmentation_without_leaving_the_panel(widget, generatedWorkspace, tmp_path):
    panel, parameters = widget.panel, widget.panel.parameterNode

    # 1. Dataset
    parameters.workspace = str(tmp_path)
    settle()
    panel.dataset.ui.createButton.click()
    settle()
    ui = panel.dataset.ui
    scans = generatedWorkspace / "scans" / "brain_mr"
    ui.folderEdit.setCurrentPath(str(scans / "images"))
    ui.labelsEdit.setCurrentPath(str(scans / "labels"))
    ui.taskCombo.setEditText("Brain")
    settle()
    ui.addButton.click()
    assert finished(panel).state == "done", panel.job.error
    assert len(panel.catalogue.usable("Brain", labelled=True)) == 3
    assert panel.dataset.model.proxy.rowCount() == 3

    # 2. Pretrain, stop, resume
    parameters.pretrainMinutes, parameters.pretrainSteps = 0.0, 30
    settle()
    panel.pretrain.ui.startButton.click()
    job = panel.job
    waitUntil(lambda: job.losses, PATIENCE, "the first losses")
    panel.pretrain.jobView.ui.stopButton.click()
    assert finished(panel).state == "stopped", job.error
    stoppedAt = job.losses[-1].step
    assert stoppedAt < 30
    panel.pretrain.jobView.ui.resumeButton.click()
    job = finished(panel)
    assert job.state == "done", job.error
    assert job.result.steps == 30
    assert job.losses[0].step > stoppedAt
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") >= 1

    # 3. Fine-tune
    assert parameters.fineTuneStart == job.run.name
    parameters.fineTuneMinutes, parameters.fineTuneSteps = 0.0, 15
    settle()
    panel.fineTune.ui.startButton.click()
    job = finished(panel)
    assert job.state == "done", job.error
    assert job.result.tensors_loaded > 0
    assert "is ready" in panel.fineTune.ui.resultLabel.text

    # 4. Segment
    parameters.inputVolume = scenePictures.show(panel.catalogue, panel.catalogue.images[0].id)
    settle()
    panel.segment.ui.startButton.click()
    job = finished(panel)
    assert job.state == "done", job.error
    segmentation = parameters.outputSegmentation.GetSegmentation()
    names = [segmentation.GetSegment(i).GetName() for i in segmentation.GetSegmentIDs()]
    assert names == [c.name for c in Catalogue.load(tmp_path).task("Brain").classes]
    assert panel.segment.ui.editButton.enabled


def test_a_job_that_is_killed_from_outside_is_told_and_can_be_resumed(widget, workspace):
    panel, parameters = widget.panel, widget.panel.parameterNode
    parameters.workspace = str(workspace)
    parameters.pretrainMinutes, parameters.pretrainSteps = 0.0, 1000
    settle()
    panel.pretrain.ui.startButton.click()
    waitUntil(lambda: panel.job.losses, PATIENCE, "the first losses")
    panel.pretrain.jobView.ui.stopButton.click()
    assert finished(panel).state == "stopped"  # with a checkpoint, without which there is nothing to resume
    panel.pretrain.jobView.ui.resumeButton.click()
    waitUntil(lambda: panel.job.events, PATIENCE, "the first event after that")
    (process,) = (child for child in psutil.Process().children() if "pretrain" in child.cmdline())
    process.kill()
    assert finished(panel).state == "failed"
    assert "killed from outside" in panel.pretrain.jobView.ui.statusLabel.text
    assert not panel.pretrain.jobView.ui.resumeButton.isHidden()


def test_the_engines_reason_reaches_the_user(widget, workspace):
    panel, parameters = widget.panel, widget.panel.parameterNode
    parameters.workspace = str(workspace)
    parameters.pretrainMinutes, parameters.pretrainSteps = 0.0, 5
    settle()
    for path in (workspace / "scans").rglob("*.nii.gz"):
        path.write_bytes(b"not an image")
    panel.pretrain.ui.startButton.click()
    assert finished(panel).state == "failed"
    assert "no usable image" in panel.pretrain.jobView.ui.statusLabel.text
    panel.dataset.checkAction.trigger()
    finished(panel)
    assert "20 with a problem" in panel.dataset.ui.summaryLabel.text


def test_the_memory_of_a_pretraining_is_told_before_the_start(widget, workspace):
    panel = widget.panel
    panel.parameterNode.workspace = str(workspace)
    panel.ui.pretrainButton.collapsed = False
    settle()
    label = panel.pretrain.ui.memoryLabel
    waitUntil(lambda: label.text, PATIENCE, "the estimate")
    assert "Needs about" in label.text and "on cpu" in label.text
