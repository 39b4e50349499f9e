"""Doubtful labels are opened with both outlines, and the curve of Dice over the number of labels is shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from panel_fixtures import answerPrediction, configurationOf, fakeRun
from test_label_loop import TASK, node

import slicer
from harness.fixtures import settle
from hssl.jobs.learning_curve import conclusion
from hssl.results import FoldTrial, LearningCurveResult
from hssl.workspace.catalogue import Catalogue
from hssl.workspace.review import status_of
from HSSLSegmentationLib.scene import labelling
from HSSLSegmentationLib.scene import pictures as scenePictures
from HSSLSegmentationLib.scene.comparison import FIRST, SECOND, Comparison
from HSSLSegmentationLib.scene.segmentations import SegmentClass, SegmentWriter, newSegmentation


@pytest.fixture
def check(panel, processes):
    panel.parameterNode.labelNextTask = TASK
    settle()
    return panel.dataset.labelNext.check


@pytest.fixture
def labelled(workspace) -> list[str]:
    return [i.id for i in Catalogue.load(workspace).usable(TASK, labelled=True)]


def written(workspace, kind: str, name: str, values: dict) -> None:
    folder = workspace / kind / name
    folder.mkdir(parents=True)
    (folder / f"{name}.json").write_text(json.dumps({"task": TASK, **values}))


def test_a_doubtful_label_opens_with_its_outline_and_that_of_a_network_that_has_not_seen_it(
    panel, check, processes, workspace, labelled
):
    run = fakeRun(workspace, "check-1-fold-2", {"validation_dice": 0.8}, task=TASK, start="scratch")
    name = panel.catalogue.task(TASK).classes[0].name
    rows = [
        {
            "id": id,
            "fold": 2,
            "dice": 0.1 + n / 10,
            "classes": {name: 0.1},
            "run": f"/before/it/was/moved/runs/{run.name}",
        }
        for n, id in enumerate(labelled)
    ]
    written(workspace, "checks", "check-1", {"rows": [*rows, {**rows[0], "id": "gone"}]})
    panel.forget()
    panel.refresh()
    ui = check.ui
    assert not ui.doubtsHolder.isHidden() and ui.doubtsList.count == len(labelled), "what is gone is not listed"
    assert ui.doubtsList.item(0).text() == f"0.10   {labelled[0]}"
    panel.parameterNode.inputVolume = scenePictures.show(panel.catalogue, labelled[1])
    settle()
    ui.compareButton.click()
    label = node(panel, labelled[0])
    last = label.GetSegmentation().GetNthSegmentID(2)
    label.GetDisplayNode().SetSegmentVisibility(last, False)
    assert configurationOf(processes[-1])["model"] == str(run)
    answerPrediction(processes[-1])
    assert label.GetDisplayNode().GetSegmentVisibility(last), "all of it is compared"
    first = label.GetSegmentation().GetNthSegmentID(0)
    assert label.GetDisplayNode().GetSegmentOverrideColor(first) == pytest.approx(FIRST)
    other = panel.dataset.jobView.job.segmentationNode
    second = other.GetSegmentation().GetNthSegmentID(0)
    assert other.GetDisplayNode().GetSegmentOverrideColor(second) == pytest.approx(SECOND)
    assert "a network that has not seen it" in ui.legendLabel.text and f"{name} 0.10" in ui.legendLabel.text
    assert not ui.legendLabel.isHidden()
    panel.parameterNode.inputVolume = scenePictures.shown(panel.catalogue, labelled[0])
    settle()
    assert panel.parameterNode.outputSegmentation is not other, "a result in it would go with the comparison"
    ui.endCompareButton.click()
    settle()
    assert not slicer.mrmlScene.IsNodePresent(other) and ui.legendLabel.isHidden()
    assert label.GetDisplayNode().GetSegmentOverrideColor(first)[0] < 0, "the label has its own colour again"
    assert not label.GetDisplayNode().GetSegmentVisibility(last) and label.GetDisplayNode().GetSegmentVisibility(first)
    panel.logic.review(workspace, labelled[:1], "flagged")
    panel.forget()
    panel.refresh()
    assert ui.doubtsList.item(0).text().endswith("flagged")


def test_the_correction_of_a_doubtful_label_takes_its_place_and_the_present_file_stays(
    panel, check, processes, workspace, labelled
):
    run = fakeRun(workspace, "check-1-fold-2", {"validation_dice": 0.8}, task=TASK, start="scratch")
    rows = [{"id": id, "fold": 2, "dice": 0.1 + n / 10, "run": str(run)} for n, id in enumerate(labelled)]
    written(workspace, "checks", "check-1", {"rows": rows})
    panel.forget()
    panel.refresh()
    ui, before = check.ui, Catalogue.load(workspace).label_path(Catalogue.load(workspace).image(labelled[0]))
    assert not ui.keepCorrectionButton.enabled and "Open the scan" in ui.keepCorrectionButton.toolTip
    panel.logic.review(workspace, labelled[:1], "flagged", "the tail is missing")
    ui.compareButton.click()
    answerPrediction(processes[-1])
    assert ui.keepCorrectionButton.enabled
    ui.doubtsList.setCurrentRow(1)
    assert not ui.keepCorrectionButton.enabled, "that scan is not open"
    ui.doubtsList.setCurrentRow(0)
    label, volume = node(panel, labelled[0]), scenePictures.shown(panel.catalogue, labelled[0])
    first = label.GetSegmentation().GetNthSegmentID(0)
    corrected = slicer.util.arrayFromSegmentBinaryLabelmap(label, first, volume).astype(np.uint8)
    corrected[0] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(corrected, label, first, volume)
    ui.keepCorrectionButton.click()
    settle()
    catalogue = Catalogue.load(workspace)
    image = catalogue.image(labelled[0])
    assert catalogue.label_path(image) != before and before.exists()
    assert status_of(image) == "labelled", "what was said was said of another label"
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(catalogue.label_path(image))))
    assert (voxels == catalogue.task(TASK).classes[0].value)[0].all()


def test_the_views_go_to_the_slice_on_which_two_segmentations_differ_most(panel):
    volume = slicer.util.addVolumeFromArray(np.zeros((10, 20, 20), np.int16), name="CT")
    labels = np.zeros((2, 10, 20, 20), np.uint8)
    labels[:, 2:8, 5:12, 5:12] = 1
    labels[1, 6, 5:12, 9:12] = 2
    labels[1, 4, 5, 5] = 0
    nodes = []
    for values in labels:
        nodes.append(newSegmentation("s", volume))
        writer = SegmentWriter()
        writer.write(values, [SegmentClass(1, "a"), SegmentClass(2, "b")], volume, nodes[-1])
        writer.release()
    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    comparison = Comparison(volume, *nodes)
    assert view.GetSliceOffset() == pytest.approx(6)
    comparison.end()
    assert slicer.mrmlScene.IsNodePresent(nodes[0]) and not slicer.mrmlScene.IsNodePresent(nodes[1])


def test_the_curve_over_the_number_of_labels_is_drawn_and_said_again_in_the_next_session(
    panel, check, processes, workspace
):
    ui = check.ui
    assert ui.curveLabel.isHidden()
    ui.curveButton.click()
    assert processes[-1].arguments[2] == "learning-curve"
    rows = [
        FoldTrial(count=n, fold=f, dice=d, minutes=1.0, steps=9)
        for n, of in {1: (0.05, 0.7, 0.65), 2: (0.7, 0.8, 0.76)}.items()
        for f, d in enumerate(of)
    ]
    result = LearningCurveResult(task=TASK, folder="f", rows=rows, **dict(conclusion(rows))).model_dump(mode="json")
    written(workspace, "curves", "curve-1", result)
    processes[-1].say({"event": "done", "result": result})
    processes[-1].end(0)
    settle()
    view = panel.dataset.jobView
    curves = view.curves["learning"]
    assert not view.ui.plotHolder.isHidden() and curves.points() == 2
    assert "From 1 to 2 labelled scans" in ui.curveLabel.text and not ui.curveLabel.isHidden()
    values = slicer.util.arrayFromTableColumn(curves.table, "95 % interval, lower end")
    assert values[0] == 0 and values[1] > 0.6, "no Dice is less than 0"
    assert curves.chart.GetXAxisRange()[1] > 2, "the last mark is not cut"
    assert "lower&nbsp;end" in view.ui.legendLabel.text and not view.ui.legendLabel.isHidden()


def test_labels_of_too_few_patients_are_not_checked_and_the_button_says_why(panel, check, workspace):
    with Catalogue.editing(workspace) as catalogue:
        catalogue.set_patient([i.id for i in catalogue.usable(TASK, labelled=True)], "one")
    panel.forget()
    panel.refresh()
    assert not check.ui.checkButton.enabled and "three patients" in check.ui.curveButton.toolTip


def test_while_a_comparison_is_shown_the_scene_may_close(panel, check, processes, workspace, labelled):
    run = fakeRun(workspace, "check-1-fold-1", {}, task=TASK, start="scratch")
    written(
        workspace,
        "checks",
        "check-1",
        {"rows": [{"id": labelled[0], "fold": 1, "dice": 0.2, "classes": {}, "run": str(run)}]},
    )
    panel.forget()
    panel.refresh()
    check.ui.compareButton.click()
    answerPrediction(processes[-1])
    assert labelling.drawn(scenePictures.shown(panel.catalogue, labelled[0])) is not None
    slicer.mrmlScene.Clear(0)
    settle()
    check.onEnd()
