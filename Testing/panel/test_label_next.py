"""What to label next, by clicks: the suggestion, the scan in the Segment Editor, and its label in the workspace."""

from __future__ import annotations

import json

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import vtk
from panel_fixtures import configurationOf, fakeRun

import slicer
from harness.fixtures import settle, waitUntil
from hssl.imaging.labels import read_label_map
from hssl.imaging.volumes import read_volume
from hssl.workspace.catalogue import Catalogue
from hssl.workspace.suggestions import suggestions_path
from HSSLSegmentationLib import choices, settings
from HSSLSegmentationLib.scene.volumes import SceneVolumeError

TASK = "brain_mr"


def row(id: str, rank: int, uncertainty: float | None = 0.25) -> dict:
    return {"id": id, "rank": rank, "score": 0.6, "uncertainty": uncertainty, "novelty": 0.5}


@pytest.fixture
def waiting(panel) -> list[str]:
    """The scans of the task that have no label."""
    return [i.id for i in panel.catalogue.usable(TASK, labelled=False)]


@pytest.fixture
def next(panel, workspace):
    """The part of the panel, with a finished fine-tuning of the task."""
    fakeRun(workspace, "first", {"steps": 1})
    fakeRun(workspace, "tuned", {"steps": 1}, task=TASK, start="first")
    panel.forget()
    panel.parameterNode.labelNextTask = TASK
    panel.refresh()
    return panel.dataset.labelNext


@pytest.fixture
def suggested(next, workspace, waiting):
    """The same, with a suggestion from an earlier session."""
    path = suggestions_path(workspace, TASK)
    path.parent.mkdir()
    path.write_text(json.dumps({"task": TASK, "suggestions": [row(id, n) for n, id in enumerate(waiting, 1)]}))
    next.panel.refresh()
    return next


def shown(part) -> list[str]:
    return [part.ui.suggestionsList.item(n).text() for n in range(part.ui.suggestionsList.count)]


def draw(segmentationNode, volumeNode) -> None:
    inside = np.zeros(slicer.util.arrayFromVolume(volumeNode).shape, np.uint8)
    inside[2:5, 4:9, 4:9] = 1
    segmentId = segmentationNode.GetSegmentation().GetNthSegmentID(0)
    slicer.util.updateSegmentBinaryLabelmapFromArray(inside, segmentationNode, segmentId, volumeNode)


def test_without_a_model_the_button_says_what_to_do_first(panel):
    button = panel.dataset.labelNext.ui.suggestButton
    assert not button.enabled and "Pretrain in section 2" in button.toolTip


def test_a_click_asks_the_latest_model_of_the_task_and_the_answer_becomes_a_list(next, processes, workspace, waiting):
    assert next.ui.suggestButton.enabled and "tuned" in next.ui.suggestButton.toolTip
    assert next.ui.listHolder.isHidden()
    next.ui.suggestButton.click()
    process = processes[-1]
    configuration = configurationOf(process)
    assert process.arguments[2] == "suggest"
    assert (configuration["task"], configuration["model"], configuration["count"]) == (TASK, "tuned", 5)
    assert not next.ui.suggestButton.enabled and "is running" in next.ui.suggestButton.toolTip
    rows = [row(waiting[1], 1), row(waiting[0], 2, None)]
    path = suggestions_path(workspace, TASK)
    path.parent.mkdir()
    path.write_text(json.dumps({"task": TASK, "suggestions": rows}))
    process.say({"event": "done", "result": {"task": TASK, "suggestions": rows, "file": str(path)}})
    process.end(0)
    settle()
    assert shown(next) == [
        f"1.  {waiting[1]}  ·  25 % unsure  ·  0.50 from the nearest",
        f"2.  {waiting[0]}  ·  0.50 from the nearest",
    ]
    assert next.chosen() == waiting[1]


def test_the_real_engine_fills_the_list(panel, waiting):
    settings.setValue("threads", 1)
    settings.setValue("device", "cpu")
    panel.logic.pretrain(panel.workspace, steps=2, run="short", waitForCompletion=True)
    part = panel.dataset.labelNext
    panel.parameterNode.labelNextTask = TASK
    panel.forget()
    panel.refresh()
    part.ui.suggestButton.click()
    job = panel.job
    waitUntil(lambda: not job.isRunning(), 240, "the suggestion")
    settle()
    assert job.state == "done", job.error
    assert sorted(text.split("  ")[1] for text in shown(part)) == waiting


def test_only_a_pretraining_is_enough(next, processes, workspace):
    combo = next.ui.taskCombo
    combo.setCurrentIndex([combo.itemText(i) for i in range(combo.count)].index("heart_mr"))
    settle()
    assert next.panel.parameterNode.labelNextTask == "heart_mr"
    next.ui.suggestButton.click()
    assert configurationOf(processes[-1])["model"] == "first"


def test_a_suggestion_opens_in_the_editor_with_the_tasks_segments_and_again_with_what_was_drawn(suggested, waiting):
    item = suggested.ui.suggestionsList.item(0)
    suggested.ui.suggestionsList.itemDoubleClicked.emit(item)
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    volume, node = slicer.util.getNode(waiting[0]), editor.segmentationNode()
    assert editor.sourceVolumeNode() is volume
    segmentation = node.GetSegmentation()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert names == [c.name for c in suggested.panel.catalogue.task(TASK).classes]
    assert not slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentation.GetNthSegmentID(0), volume).any()
    suggested.ui.openButton.click()
    assert editor.segmentationNode() is node
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_what_was_drawn_becomes_the_label_and_the_scan_leaves_the_list(suggested, workspace, waiting, dialogs):
    asked = []

    def oneMore(dialog):
        asked.extend(dialog.combos)
        dialog.combos["Tumour"].setCurrentIndex(1)
        return qt.QDialog.Accepted

    dialogs.answer(oneMore)
    assert not suggested.ui.keepButton.enabled and "draw its label first" in suggested.ui.keepButton.toolTip
    suggested.ui.openButton.click()
    assert suggested.ui.keepButton.enabled
    volume = slicer.util.getNode(waiting[0])
    node = slicer.util.getNode(f"{waiting[0]} label")
    draw(node, volume)
    node.GetSegmentation().AddEmptySegment("", "Tumour")
    suggested.ui.keepButton.click()
    waitUntil(lambda: not suggested.keeping.text, 30, "the label")
    settle()
    catalogue = Catalogue.load(workspace)
    assert waiting[0] in [i.id for i in catalogue.usable(TASK, labelled=True)]
    assert catalogue.task(TASK).classes[-1].name == "Tumour"
    label = catalogue.label_path(catalogue.image(waiting[0]))
    assert label.parent == workspace / "volumes"
    labels = read_label_map(label, like=read_volume(catalogue.image_path(catalogue.image(waiting[0]))))
    assert list(np.unique(sitk.GetArrayFromImage(labels))) == [0, catalogue.task(TASK).classes[0].value]
    assert [text.split("  ")[1] for text in shown(suggested)] == waiting[1:]
    assert not suggested.ui.keepButton.enabled


def test_an_empty_drawing_is_refused_with_the_reason_and_nothing_changes(suggested, workspace, caplog):
    suggested.ui.openButton.click()
    before = (workspace / "dataset.json").read_bytes()
    suggested.ui.keepButton.click()
    waitUntil(lambda: not suggested.keeping.text, 30, "the refusal")
    assert "has a voxel on" in caplog.text
    assert (workspace / "dataset.json").read_bytes() == before


def test_a_drawing_on_a_scan_that_was_moved_is_no_label_of_it(suggested, workspace, waiting):
    suggested.ui.openButton.click()
    volume, node = slicer.util.getNode(waiting[0]), slicer.util.getNode(f"{waiting[0]} label")
    draw(node, volume)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 30)
    transform.SetMatrixTransformToParent(matrix)
    for moved in (volume, node):
        moved.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(SceneVolumeError, match="cannot be the label"):
        suggested.panel.logic.setLabel(workspace, waiting[0], volume, node)
    assert Catalogue.load(workspace).image(waiting[0]).label is None
    assert not list((workspace / "volumes").glob("*label*"))


def test_a_damaged_list_is_told_in_the_panel(suggested, workspace):
    suggestions_path(workspace, TASK).write_text("{")
    suggested.panel.refresh()
    assert "brain_mr.json" in suggested.ui.problemLabel.text and not suggested.ui.problemLabel.isHidden()
    assert suggested.ui.listHolder.isHidden()


def test_where_every_scan_is_labelled_nothing_is_opened_but_the_labels_can_be_checked(panel, workspace):
    with Catalogue.editing(workspace) as catalogue:
        for image in catalogue.images:
            image.label = image.label or "label.nii.gz"
        tasks = [task.name for task in catalogue.tasks]
    panel.refresh()
    ui = panel.dataset.labelNext.ui
    assert not panel.dataset.labelNext.widget.isHidden()
    assert [ui.taskCombo.itemText(i) for i in range(ui.taskCombo.count)] == tasks
    for button in (ui.nextButton, ui.suggestButton):
        assert not button.enabled and "Every scan of this task has a label" in button.toolTip
    assert ui.checkButton.enabled and ui.curveButton.enabled
    with Catalogue.editing(workspace) as catalogue:
        catalogue.images.clear()
    panel.refresh()
    assert panel.dataset.labelNext.widget.isHidden()


def test_a_task_with_scans_to_be_labelled_is_chosen_first(panel, workspace):
    with Catalogue.editing(workspace) as catalogue:
        first, second = (task.name for task in catalogue.tasks[:2])
        for image in catalogue.images:
            if image.task == first:
                image.label = image.label or "label.nii.gz"
    panel.parameterNode.labelNextTask = ""
    panel.forget()
    choices.fill(panel.dataset.labelNext.ui.taskCombo, [], "")
    panel.refresh()
    assert panel.dataset.labelNext.task() == second


def test_from_the_console_a_scan_opens_and_gets_its_label(panel, workspace, waiting):
    node = panel.logic.openForLabelling(workspace, waiting[0])
    volume = slicer.util.getNode(waiting[0])
    draw(node, volume)
    path = panel.logic.setLabel(workspace, waiting[0], volume, node)
    assert Catalogue.load(workspace).label_path(Catalogue.load(workspace).image(waiting[0])) == path


def test_a_label_that_is_there_is_opened_and_its_correction_replaces_it(panel, workspace):
    id = panel.catalogue.usable(TASK, labelled=True)[0].id
    before = panel.catalogue.label_path(panel.catalogue.image(id))
    node = panel.logic.openForLabelling(workspace, id)
    volume = slicer.util.getNode(id)
    segmentId = node.GetSegmentation().GetNthSegmentID(0)
    assert slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volume).any()
    draw(node, volume)
    path = panel.logic.setLabel(workspace, id, volume, node)
    assert path != before and before.exists()
    assert Catalogue.load(workspace).label_path(Catalogue.load(workspace).image(id)) == path


def test_a_label_that_was_deleted_in_the_scene_is_read_again_and_no_empty_one_takes_its_place(panel, workspace):
    id = panel.catalogue.usable(TASK, labelled=True)[0].id
    first = panel.logic.openForLabelling(workspace, id)
    volume = slicer.util.getNode(id)
    slicer.mrmlScene.RemoveNode(first)
    node = panel.logic.openForLabelling(workspace, id)
    assert slicer.util.getNode(id) is volume
    ids = node.GetSegmentation().GetSegmentIDs()
    assert [slicer.util.arrayFromSegmentBinaryLabelmap(node, i, volume).any() for i in ids] == [True] * len(ids)
