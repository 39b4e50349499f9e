"""A result belongs to its volume, a curve to its run, a choice to its workspace; what is chosen by itself is the best."""

from __future__ import annotations

import json
import os
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import qt
import SimpleITK as sitk
from panel_fixtures import answerPrediction, fakeRun

import slicer
from harness.fixtures import settle, waitUntil
from HSSLSegmentationLib import choices, settings
from HSSLSegmentationLib.effect import models as effectModels
from HSSLSegmentationLib.panel import segmentSection
from HSSLSegmentationLib.refusal import Refusal
from HSSLSegmentationLib.scene import pictures as scenePictures
from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
from HSSLSegmentationLib.scene.segmentations import SegmentClass

TASK = "brain_mr"


@pytest.fixture
def run(workspace) -> Path:
    return fakeRun(workspace, "brain", {"validation_dice": 0.8}, task=TASK, start="scratch")


@pytest.fixture
def volumes(panel, processes, run):
    """Two patients' scans; segmenting the first is offered."""
    panel.forget()
    shown = [scenePictures.show(panel.catalogue, id) for id in ("brain_mr_u001", "brain_mr_u002")]
    panel.parameterNode.inputVolume = shown[0]
    settle()
    return shown


def segment(panel, processes, value: int) -> None:
    """Presses Segment, and answers as the engine does: everything is `value`."""
    panel.segment.ui.startButton.click()
    answer(panel, processes[-1], value)


def answer(panel, process, value: int, uncertainty: bool = False) -> None:
    answerPrediction(process, value, uncertainty)
    assert panel.job.state == "done", panel.job.error


def test_segmenting_one_patient_then_another_and_the_first_again_never_mixes_them(panel, processes, volumes):
    parameters = panel.parameterNode
    segment(panel, processes, 1)
    first = parameters.outputSegmentation
    parameters.inputVolume = volumes[1]
    settle()
    assert parameters.outputSegmentation is None, "another patient gets a segmentation of its own"
    segment(panel, processes, 2)
    second = parameters.outputSegmentation
    assert second is not first
    parameters.inputVolume = volumes[0]
    settle()
    assert parameters.outputSegmentation is first
    segment(panel, processes, 3)
    assert parameters.outputSegmentation is first
    ids = list(second.GetSegmentation().GetSegmentIDs())
    filled = [slicer.util.arrayFromSegmentBinaryLabelmap(second, i, volumes[1]).any() for i in ids]
    assert filled == [False, True, False]


def test_another_patients_segmentation_is_refused_as_the_result_with_its_reason(panel, processes, volumes):
    segment(panel, processes, 1)
    wrong = panel.parameterNode.outputSegmentation
    panel.parameterNode.inputVolume = volumes[1]
    settle()
    panel.parameterNode.outputSegmentation = wrong
    settle()
    button = panel.segment.ui.startButton
    assert not button.enabled and f"belongs to {volumes[0].GetName()}" in button.toolTip


def test_a_result_that_comes_after_another_volume_was_chosen_does_not_become_that_ones(panel, processes, volumes):
    panel.segment.ui.startButton.click()
    panel.parameterNode.inputVolume = volumes[1]
    settle()
    answer(panel, processes[-1], 1)
    assert panel.parameterNode.outputSegmentation is None
    assert panel.job.segmentationNode.GetName() == "brain_mr_u001 segmentation"


def test_two_volumes_of_one_name_get_results_that_can_be_told_apart(panel, processes, volumes):
    volumes[1].SetName(volumes[0].GetName())
    segment(panel, processes, 1)
    panel.parameterNode.inputVolume = volumes[1]
    settle()
    segment(panel, processes, 2)
    names = [
        n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if "segmentation" in n.GetName()
    ]
    assert len(names) == len(set(names)) == 2


def test_a_volume_has_one_uncertainty_overlay_with_a_legend_and_it_is_not_laid_over_another(panel, processes, volumes):
    panel.segment.ui.uncertaintyCheck.checked = True
    settle()
    for _round in range(2):
        panel.segment.ui.startButton.click()
        slicer.util.setSliceViewerLayers(background=volumes[1])
        answer(panel, processes[-1], 1, uncertainty=True)
    overlays = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if "uncertainty" in n.GetName()]
    assert len(overlays) == 1
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetForegroundVolumeID() != overlays[0].GetID()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode") == 1


@pytest.mark.parametrize("replaces", [False, True])
def test_a_result_that_was_corrected_is_replaced_by_another_only_where_somebody_says_so(
    panel, processes, volumes, dialogs, replaces
):
    for _time in range(2):  # as it is, nobody is asked
        segment(panel, processes, 1)
    node = panel.parameterNode.outputSegmentation
    first = node.GetSegmentation().GetNthSegmentID(0)
    corrected = slicer.util.arrayFromSegmentBinaryLabelmap(node, first, volumes[0]).copy()
    corrected[:3] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(corrected, node, first, volumes[0])
    settle()
    count = len(processes)
    with dialogs.interactive() as shown:
        dialogs.answer(qt.QMessageBox.Yes if replaces else qt.QMessageBox.No)
        panel.segment.ui.startButton.click()
    assert len(shown) == 1 and node.GetSegmentation().GetSegment(first).GetName() in shown[0].text
    assert len(processes) == count + replaces
    if replaces:
        answer(panel, processes[-1], 1)
    now = slicer.util.arrayFromSegmentBinaryLabelmap(node, first, volumes[0])
    assert now.all() if replaces else (now == corrected).all()


def test_undo_is_gone_with_the_result(panel, processes, volumes):
    segment(panel, processes, 1)
    assert not panel.segment.ui.undoButton.isHidden()
    slicer.mrmlScene.RemoveNode(panel.parameterNode.outputSegmentation)
    settle()
    panel.refresh()
    assert panel.segment.ui.undoButton.isHidden()


def test_the_results_of_another_folder_go_into_another_folder(panel, run, tmp_path):
    ui = panel.segment.ui
    ui.whatCombo.setCurrentIndex(1)
    ui.folderEdit.setCurrentPath(str(tmp_path / "one"))
    ui.outputEdit.setCurrentPath(str(tmp_path / "results"))
    settle()
    ui.folderEdit.setCurrentPath(str(tmp_path / "two"))
    settle()
    assert panel.parameterNode.outputFolder == str(tmp_path / "two-segmented")


@pytest.mark.parametrize(
    ("folder", "results"), [("C:\\scans\\", "C:/scans-segmented"), ("C:/scans", "C:/scans-segmented"), ("D:/", "")]
)
def test_on_windows_results_go_beside_their_folder_and_to_no_place_that_nobody_knows(
    panel, run, monkeypatch, folder, results
):
    monkeypatch.setattr(segmentSection, "Path", PureWindowsPath)
    panel.segment.onFolder(folder)
    assert panel.parameterNode.outputFolder == results
    monkeypatch.undo()


# What is chosen by itself ----------------------------------------------------------------------------------------


def test_a_new_start_finds_the_latest_pretraining_the_run_to_resume_and_the_latest_model(panel, workspace, run):
    for name in ("first", "second"):
        fakeRun(workspace, name, {"steps": 1, "minutes": 1})
    fakeRun(workspace, "stopped")
    (workspace / "comparisons" / "compare-brain").mkdir(parents=True)
    fakeRun(workspace, "compare-brain-scratch-1-0", {"validation_dice": 0.9}, task=TASK, start="scratch")
    stamps = ["brain", "first", "second", "stopped", "compare-brain-scratch-1-0"]
    for number, name in enumerate(stamps):
        os.utime(workspace / "runs" / name / "config.json", (number, number))
    panel.forget()
    panel.refresh()
    assert choices.value(panel.fineTune.ui.startCombo) == "second"
    assert choices.value(panel.segment.ui.modelCombo) == str(run), "not the leg of a comparison"
    assert choices.value(panel.pretrain.ui.runCombo) == "stopped"
    assert not panel.pretrain.ui.resumeRunButton.isHidden()
    combo = panel.segment.ui.modelCombo
    assert [Path(combo.itemData(i)).name for i in range(combo.count)] == ["brain", "compare-brain-scratch-1-0"]
    assert panel.models.model.item(panel.models.model.rowCount() - 1, 1).text() == "compared"
    settings.setValue("lastWorkspace", str(workspace))
    offered = [Path(item[0]).name for item in effectModels.toPredictWith("")]
    assert offered == ["brain", "compare-brain-scratch-1-0", effectModels.OTHER_FILE], (
        "in the effect the first is taken"
    )
    offered = [Path(item[0]).name for item in effectModels.toLearnFrom("")]
    assert offered[:3] == ["second", "first", "stopped"]
    assert offered.index("brain") < offered.index("compare-brain-scratch-1-0")


def test_what_was_chosen_in_one_workspace_is_not_kept_for_another(panel, workspace, run, tmp_path):
    parameters = panel.parameterNode
    fakeRun(workspace, "pre", {"steps": 1, "minutes": 1})
    parameters.fineTuneStart, parameters.model, parameters.pretrainRun = "pre", str(run), "pre"
    panel.logic.createWorkspace(tmp_path / "other")
    panel.dataset.ui.workspaceEdit.setCurrentPath(str(tmp_path / "other"))
    settle()
    assert (parameters.fineTuneStart, parameters.model, parameters.pretrainRun) == ("", "", "")
    assert choices.value(panel.fineTune.ui.startCombo) == "general", "the best there is without a pretraining ships"


# Curves ----------------------------------------------------------------------------------------------------------


def test_a_resumed_run_goes_on_with_its_own_curves_and_nothing_of_them_is_unsaved_data(panel, processes, workspace):
    run = fakeRun(workspace, "old")
    (run / "metrics.csv").write_text("step,seconds,image,learning_rate\n10,1,3,0.1\n20,2,2,0.1\n")
    panel.forget()
    panel.refresh()
    panel.pretrain.ui.resumeRunButton.click()
    view = panel.pretrain.jobView
    assert not view.ui.plotHolder.isHidden(), "what was learned before is seen at once"
    for step, value in ((20, 2.0), (30, 1.0)):
        processes[-1].say({"event": "losses", "step": step, "values": {"image": value}, "learning_rate": 0.1})
    view._lastPlot = 0.0
    view.update()
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert len(charts) == 1
    table = view.curves["losses"].table
    assert [table.GetTable().GetValueByName(r, "step").ToDouble() for r in range(3)] == [10, 20, 30]
    assert table.GetTable().GetNumberOfRows() == 3
    assert not slicer.mrmlScene.GetStorableNodesModifiedSinceRead(None)
    assert not any(node.GetSaveWithScene() for node in [table, *charts])


# Which class a segment is ----------------------------------------------------------------------------------------


def draw(name: str, count: int, seed: int):
    """A volume of the scene whose segments have the names that Slicer gives."""
    array = np.random.default_rng(seed).normal(100, 20, (8, 9, 10)).astype(np.int16)
    volume = slicer.util.addVolumeFromArray(array, name=name)
    segmentation = sceneSegmentations.newSegmentation(f"of {name}", volume)
    labels = np.zeros(array.shape, np.uint8)
    for value in range(1, count + 1):
        labels[2 * value : 2 * value + 2] = value
    writer = sceneSegmentations.SegmentWriter()
    classes = [SegmentClass(value, f"Segment_{value}") for value in range(1, count + 1)]
    writer.write(labels, classes, volume, segmentation)
    writer.release()
    return volume, segmentation


@pytest.fixture
def drawn(panel):
    """A volume with two segments that is about to be added."""
    volume, segmentation = draw("CT", 2, 0)
    parameters = panel.parameterNode
    parameters.addFrom, parameters.addTask = "scene", TASK
    parameters.addVolume, parameters.addSegmentation = volume, segmentation
    settle()
    return volume, segmentation


def test_segments_that_name_no_class_are_asked_about_and_the_task_keeps_its_classes(panel, drawn, dialogs):
    before = [c.name for c in panel.catalogue.task(TASK).classes]

    def say(dialog):
        assert list(dialog.combos) == ["Segment_1", "Segment_2"]
        dialog.combos["Segment_1"].setCurrentIndex(2 + before.index("thalamus"))
        return qt.QDialog.Accepted

    dialogs.answer(say)
    panel.dataset.ui.addButton.click()
    waitUntil(lambda: not panel.adding.text, 30, "the volume")
    settle()
    assert "CT was added with its label" in panel.dataset.ui.addedLabel.text
    assert [c.name for c in panel.catalogue.task(TASK).classes] == before
    image = panel.catalogue.images[-1]
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(panel.catalogue.label_path(image))))
    value = next(c.value for c in panel.catalogue.task(TASK).classes if c.name == "thalamus")
    assert set(np.unique(label)) == {0, value} and (label == value).sum() == 2 * 90


def test_of_many_volumes_a_segments_name_is_asked_about_once(panel, drawn, processes, dialogs):
    draw("second CT", 2, 1), draw("third CT", 3, 2)
    before, names = len(panel.catalogue.images), [c.name for c in panel.catalogue.task(TASK).classes]
    panel.parameterNode.fineTuneTask, panel.parameterNode.fineTuneCases = TASK, "scene"
    settle()
    asked = []

    def say(dialog):
        asked.append(list(dialog.combos))
        dialog.combos[asked[-1][0]].setCurrentIndex(2 + len(asked) - 1)
        return qt.QDialog.Accepted

    dialogs.answer(say)
    dialogs.answer(say)
    panel.fineTune.ui.startButton.click()
    waitUntil(lambda: not panel.adding.text, 30, "the volumes")
    assert asked == [["Segment_1", "Segment_2"], ["Segment_3"]]
    values = {c.name: c.value for c in panel.catalogue.task(TASK).classes}
    added = panel.catalogue.images[before:]
    held = [set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(panel.catalogue.label_path(i)))))) for i in added]
    first, second = (values[name] for name in names[:2])
    assert held == [{0, first}, {0, first}, {0, first, second}] and list(values) == names


def test_declining_the_question_adds_nothing(panel, drawn, dialogs):
    before = len(panel.catalogue.images)
    dialogs.answer(qt.QDialog.Rejected)
    panel.dataset.ui.addButton.click()
    settle()
    assert len(panel.catalogue.images) == before and panel.dataset.ui.addedLabel.isHidden()


def test_a_script_is_told_which_segment_has_no_class_and_can_say_it(panel, drawn, workspace):
    volume, segmentation = drawn
    with pytest.raises(Refusal, match="Segment_1, Segment_2 of of CT is no class of the task brain_mr"):
        panel.logic.addVolume(workspace, volume, TASK, segmentation)
    with pytest.raises(Refusal, match="of CT has no segment Segment_9"):
        panel.logic.addVolume(workspace, volume, TASK, segmentation, classes={"Segment_9": ""})
    id = panel.logic.addVolume(workspace, volume, TASK, segmentation, classes={"Segment_1": "lesion", "Segment_2": ""})
    catalogue = json.loads((workspace / "dataset.json").read_text())
    assert id == "CT"
    assert [c["name"] for t in catalogue["tasks"] if t["name"] == TASK for c in t["classes"]][-1] == "lesion"


# Packages that are there and do not work ---------------------------------------------------------------------------


def test_a_job_that_dies_while_loading_has_the_packages_checked_and_no_resume(panel, processes):
    panel.pretrain.ui.startButton.click()
    processes[-1].say({"event": "failed", "kind": "ImportError", "message": "undefined symbol: iJIT", "exit_code": 1})
    processes[-1].end(1)
    assert panel.pretrain.jobView.ui.resumeButton.isHidden()
    processes[-1].say('HSSL-PROBE {"problem": "ImportError: undefined symbol: iJIT"}')
    processes[-1].end(0)
    settle()
    assert not panel.ui.packagesFrame.isHidden() and "undefined symbol" in panel.ui.packagesLabel.text
    assert "cannot be used" in panel.pretrain.ui.startButton.toolTip and not panel.pretrain.ui.startButton.enabled
