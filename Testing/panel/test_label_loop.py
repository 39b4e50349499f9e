"""Labelling one scan after the other: drafts, keeping, skipping, what cannot be opened, the end, and reviews."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import qt
import SimpleITK as sitk
from effect_bench import answer, commands, learnedFrom
from panel_fixtures import answerPrediction, configurationOf, fakeRun

import slicer
from harness import segment_editor
from harness.fake_process import FakeProcess
from harness.fixtures import settle, waitUntil
from hssl.workspace.catalogue import Catalogue
from hssl.workspace.review import status_of
from hssl.workspace.scan import relabel
from HSSLSegmentationLib import choices, steps
from HSSLSegmentationLib.effect import registration as effectRegistration
from HSSLSegmentationLib.effect.controller import EffectController
from HSSLSegmentationLib.effect.previewNode import PreviewNode, Proposal
from HSSLSegmentationLib.panel import catalogueModel
from HSSLSegmentationLib.refusal import Refusal
from HSSLSegmentationLib.scene import labelling
from HSSLSegmentationLib.scene import pictures as scenePictures
from HSSLSegmentationLib.scene import results as sceneResults
from HSSLSegmentationLib.scene.segmentations import Part, SegmentClass
from HSSLSegmentationLib.workspace import edits as catalogueEdits

TASK = "brain_mr"


@pytest.fixture
def loop(panel, processes):
    part = panel.dataset.labelNext
    panel.parameterNode.labelNextTask = TASK
    settle()
    return part.loop


@pytest.fixture
def waiting(workspace) -> list[str]:
    return [i.id for i in Catalogue.load(workspace).usable(TASK, labelled=False)]


def node(panel, id):
    return labelling.drawn(scenePictures.shown(panel.catalogue, id))


def draw(panel, id) -> None:
    volume = scenePictures.shown(panel.catalogue, id)
    inside = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    inside[2:5, 4:9, 4:9] = 1
    segmentation = node(panel, id)
    first = segmentation.GetSegmentation().GetNthSegmentID(0)
    slicer.util.updateSegmentBinaryLabelmapFromArray(inside, segmentation, first, volume)
    settle()


def drawFirst(panel, loop, waiting) -> None:
    """Opens the first scan that waits, and draws its label."""
    loop.ui.nextButton.click()
    settle()
    draw(panel, waiting[0])


@pytest.fixture
def workers(panel, monkeypatch) -> list[FakeProcess]:
    """The processes of the effect's worker; none of them is real."""
    made: list[FakeProcess] = []

    def make() -> FakeProcess:
        made.append(FakeProcess())
        return made[-1]

    monkeypatch.setattr(EffectController, "makeProcess", staticmethod(make))
    effectRegistration.register()
    yield made
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    editor.setActiveEffect(None)
    settle()
    editor.effectByName("HSSL").cleanup()
    segment_editor._registered.clear()
    for process in made:
        process.end(0)


@pytest.fixture
def drafted(panel, loop, workers, workspace, waiting):
    """The next scan is open with a draft of its first structure, everywhere; yields its segmentation."""
    fakeRun(workspace, "tuned", {"validation_dice": 0.8}, task=TASK, start="scratch")
    panel.forget()
    loop.ui.nextButton.click()
    settle()
    answer(workers[-1], np.ones(slicer.util.arrayFromVolume(scenePictures.shown(panel.catalogue, waiting[0])).shape))
    return node(panel, waiting[0])


def preview():
    return next(
        (n for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if n.GetName() == "HSSL preview"), None
    )


def status(workspace, id) -> str:
    return status_of(Catalogue.load(workspace).image(id))


def test_scan_after_scan_is_opened_drawn_and_kept_until_the_last(panel, loop, processes, workspace, waiting):
    ui = loop.ui
    labelled = len(Catalogue.load(workspace).usable(TASK, labelled=True))
    assert f"{labelled} of {labelled + len(waiting)} labelled" in ui.loopLabel.text
    assert not ui.keepNextButton.enabled and "(Alt+K)" not in ui.keepNextButton.toolTip
    ui.nextButton.click()
    settle()
    for n, id in enumerate(waiting):
        assert loop.current == id and f"Now: {id}." in ui.loopLabel.text
        assert [s.GetName() for s in _segments(node(panel, id))] == [c.name for c in panel.catalogue.task(TASK).classes]
        draw(panel, id)
        panel.refresh()
        ui.keepNextButton.click()
        waitUntil(lambda: not panel.dataset.labelNext.keeping.text, 30, "the label")
        settle()
        assert status(workspace, id) == "labelled"
        assert f"{labelled + n + 1} of {labelled + len(waiting)} labelled" in ui.loopLabel.text
    assert "That was the last one" in ui.loopLabel.text
    assert not processes, "there is no model, so there is no draft"


def test_what_is_said_of_one_task_is_not_said_of_another(panel, loop, processes, workspace, waiting):
    for _ in range(len(waiting) + 1):
        loop.ui.nextButton.click()
        settle()
        if loop.current:
            panel.logic.review(workspace, [loop.current], "impossible", "")
    assert "That was the last one" in loop.ui.loopLabel.text
    panel.parameterNode.labelNextTask = "heart_mr"
    settle()
    assert "That was the last one" not in loop.ui.loopLabel.text
    loop.ui.nextButton.click()
    settle()
    assert panel.catalogue.image(loop.current).task == "heart_mr"


@pytest.mark.parametrize("closes", [False, True])
def test_a_label_is_kept_in_steps_and_is_not_lost_when_the_scene_closes_meanwhile(
    panel, loop, workspace, waiting, monkeypatch, closes
):
    drawFirst(panel, loop, waiting)
    panel.refresh()
    monkeypatch.setattr(steps, "SECONDS_AT_ONCE", 0.0)
    loop.ui.keepNextButton.click()
    assert (
        panel.dataset.labelNext.keeping.text == f"The label of {waiting[0]} is being kept."
        and status(workspace, waiting[0]) == "no label"
    )
    panel.refresh()
    assert not loop.ui.keepNextButton.enabled and "is being kept" in loop.ui.keepNextButton.toolTip
    if closes:
        slicer.mrmlScene.Clear(0)
    waitUntil(lambda: not panel.dataset.labelNext.keeping.text, 30, "the label")
    settle()
    assert status(workspace, waiting[0]) == "labelled" and loop.current == ("" if closes else waiting[1])


def test_a_label_is_not_kept_while_a_preview_is_shown_that_is_not_in_it(panel, loop, workspace, waiting, caplog):
    drawFirst(panel, loop, waiting)
    panel.refresh()
    volume = scenePictures.shown(panel.catalogue, waiting[0])
    proposal = Proposal(Part((0, 0, 0), np.ones((2, 2, 2), np.uint8)), [SegmentClass(1, "found")], [""], None)
    preview = PreviewNode(proposal, volume, 0.5)
    loop.ui.keepNextButton.click()
    settle()
    assert "apply it or discard it first" in caplog.text
    assert status(workspace, waiting[0]) == "no label" and loop.current == waiting[0]
    preview.remove()
    loop.ui.keepNextButton.click()
    waitUntil(lambda: not panel.dataset.labelNext.keeping.text, 30, "the label")
    assert status(workspace, waiting[0]) == "labelled"


def keep(panel, loop) -> None:
    panel.refresh()
    loop.ui.keepNextButton.click()
    waitUntil(lambda: not panel.dataset.labelNext.keeping.text, 30, "the label")
    settle()


def labelElsewhere(workspace, id: str) -> str:
    """Keeps a label of a scan as another Slicer does; returns it as the catalogue names it."""
    image = sitk.ReadImage(str(Catalogue.load(workspace).image_path(Catalogue.load(workspace).image(id))))
    (workspace / "volumes").mkdir(exist_ok=True)
    sitk.WriteImage(sitk.Cast(image * 0 + 1, sitk.sitkUInt8), str(workspace / "volumes" / "theirs.nrrd"))
    return relabel(workspace, id, workspace / "volumes" / "theirs.nrrd").label


@pytest.mark.parametrize("replaces", [False, True])
def test_a_label_that_somebody_else_has_kept_meanwhile_is_replaced_only_when_that_is_said(
    panel, loop, workspace, waiting, dialogs, replaces
):
    drawFirst(panel, loop, waiting)
    theirs = labelElsewhere(workspace, waiting[0])
    with dialogs.interactive() as shown:
        dialogs.answer(qt.QMessageBox.Yes if replaces else qt.QMessageBox.No)
        keep(panel, loop)
    assert len(shown) == 1 and waiting[0] in shown[0].text and theirs in shown[0].text
    mine = Catalogue.load(workspace).image(waiting[0]).label
    assert (mine == theirs) is not replaces and loop.current == waiting[int(replaces)]
    assert (workspace / theirs).is_file()


def test_a_label_that_is_corrected_after_it_was_kept_is_kept_again_without_a_question(panel, loop, workspace, waiting):
    drawFirst(panel, loop, waiting)
    files = []
    for _time in range(2):
        panel.dataset.labelNext.keeping.start(waiting[0], lambda: None)
        waitUntil(lambda: not panel.dataset.labelNext.keeping.text, 30, "the label")
        files.append(Catalogue.load(workspace).image(waiting[0]).label)
    assert files[0] != files[1]


def test_a_scan_that_was_removed_from_the_scene_meanwhile_has_no_label_to_keep(panel, loop, workspace, waiting, caplog):
    drawFirst(panel, loop, waiting)
    panel.refresh()
    slicer.mrmlScene.RemoveNode(scenePictures.shown(panel.catalogue, waiting[0]))
    loop.ui.keepNextButton.click()
    settle()
    assert "Open the scan and draw its label first." in caplog.text
    assert status(workspace, waiting[0]) == "no label" and loop.current == waiting[0]


def test_of_a_label_and_its_clone_none_is_guessed_at_and_none_is_lost(panel, loop, workspace, waiting, caplog):
    loop.ui.nextButton.click()
    settle()
    clone = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    clone.Copy(node(panel, waiting[0]))
    clone.SetName("mine")
    panel.refresh()
    assert "and mine both hold a label" in loop.ui.keepNextButton.toolTip and not loop.ui.keepNextButton.enabled
    loop.ui.nextButton.click()  # nothing is drawn in the first of them
    settle()
    assert loop.current == waiting[1] and slicer.mrmlScene.IsNodePresent(clone)
    slicer.mrmlScene.RemoveNode(node(panel, waiting[0]))
    draw(panel, waiting[0])
    panel.dataset.labelNext.keeping.start(waiting[0], lambda: None)
    waitUntil(lambda: not panel.dataset.labelNext.keeping.text, 30, "the label")
    assert status(workspace, waiting[0]) == "labelled", caplog.text


@pytest.mark.parametrize("isWhole", [False, True])
def test_slices_with_gaps_become_a_label_only_where_somebody_says_so(panel, loop, workspace, waiting, dialogs, isWhole):
    drawFirst(panel, loop, waiting)
    segmentation, volume = node(panel, waiting[0]), scenePictures.shown(panel.catalogue, waiting[0])
    first = segmentation.GetSegmentation().GetNthSegmentID(0)
    inside = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, first, volume)
    inside[3] = 0  # slices 2 and 4 are left
    slicer.util.updateSegmentBinaryLabelmapFromArray(inside, segmentation, first, volume)
    name = segmentation.GetSegmentation().GetSegment(first).GetName()
    panel.refresh()
    with dialogs.interactive() as shown:
        dialogs.answer(qt.QMessageBox.Yes if isWhole else qt.QMessageBox.No)
        loop.ui.keepNextButton.click()
        waitUntil(lambda: not panel.dataset.labelNext.keeping.text, 30, "the label")
    settle()
    assert len(shown) == 1 and f"{name} (2 slices)" in shown[0].text
    assert status(workspace, waiting[0]) == ("labelled" if isWhole else "no label")
    assert loop.current == waiting[int(isWhole)]


def _segments(segmentationNode):
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetSegment(i) for i in segmentation.GetSegmentIDs()]


def test_with_a_model_the_scan_comes_with_a_draft_as_a_preview_to_be_accepted(
    panel, loop, drafted, workers, workspace, waiting
):
    predict = commands(workers[-1])[-1]
    assert (predict["command"], Path(predict["model"]).name) == ("predict", "tuned")
    assert preview() is not None and labelling.isEmpty(drafted)
    assert "This is a draft" in loop.ui.loopLabel.text and status(workspace, waiting[0]) == "no label"
    assert not loop.ui.keepNextButton.enabled and "Apply or discard the draft first" in loop.ui.keepNextButton.toolTip
    effect().options.applyButton.click()
    settle()
    assert preview() is None and not labelling.isEmpty(drafted)
    assert status(workspace, waiting[0]) == "draft" and loop.ui.discardButton.isHidden()
    loop.ui.keepNextButton.click()
    waitUntil(lambda: not panel.dataset.labelNext.keeping.text, 30, "the label")
    settle()
    assert status(workspace, waiting[0]) == "labelled" and loop.current == waiting[1]


@pytest.mark.parametrize("button", ["skipButton", "nextButton"])
def test_a_scan_that_is_left_is_closed_unless_something_is_drawn_on_it(panel, loop, workspace, waiting, button):
    loop.ui.nextButton.click()
    settle()
    getattr(loop.ui, button).click()
    settle()
    assert loop.current == waiting[1] and scenePictures.shown(panel.catalogue, waiting[0]) is None
    draw(panel, waiting[1])
    with Catalogue.editing(workspace) as catalogue:
        catalogue.image(waiting[0]).review = ""
    getattr(loop.ui, button).click()
    settle()
    assert loop.current == waiting[0] and not labelling.isEmpty(node(panel, waiting[1]))


@pytest.mark.parametrize("button", ["applyButton", "discardButton"])
def test_what_becomes_of_a_draft_is_not_said_of_a_scan_of_that_name_in_another_workspace(
    panel, loop, drafted, workspace, waiting, tmp_path, button
):
    other = Path(shutil.copytree(workspace, tmp_path / "other"))
    before = (other / "dataset.json").read_bytes()
    panel.dataset.ui.workspaceEdit.setCurrentPath(str(other))
    settle()
    panel.parameterNode.labelNextTask = TASK
    settle()
    assert loop.current == "" and not loop.ui.skipButton.enabled
    getattr(effect().options, button).click()
    settle()
    assert (other / "dataset.json").read_bytes() == before


def test_a_draft_of_a_scan_that_is_taken_out_of_the_workspace_is_discarded_like_any_other(
    panel, loop, drafted, waiting
):
    catalogueEdits.remove(panel.workspace, [waiting[0]])
    panel.forget()
    effect().options.discardButton.click()
    panel.refresh()
    assert preview() is None and loop.current == ""


def test_scans_that_could_not_be_opened_are_told_at_the_end_and_tried_again(panel, loop, processes, workspace, waiting):
    files = [panel.catalogue.image_path(panel.catalogue.image(id)) for id in waiting]
    contents = [file.read_bytes() for file in files]
    for file in files:
        file.write_bytes(b"the network is away")
    loop.ui.nextButton.click()
    settle()
    text = loop.ui.loopLabel.text
    assert "That was the last one." in text and all(f"{id} was left out" in text for id in waiting)
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    loop.ui.nextButton.click()
    settle()
    assert loop.current == waiting[0]


def test_a_model_that_finds_nothing_makes_no_draft_and_the_scan_is_labelled_by_hand(
    panel, loop, workers, workspace, waiting
):
    fakeRun(workspace, "tuned", {"validation_dice": 0.8}, task=TASK, start="scratch")
    panel.forget()
    loop.ui.nextButton.click()
    settle()
    volume = scenePictures.shown(panel.catalogue, waiting[0])
    answer(workers[-1], np.zeros(slicer.util.arrayFromVolume(volume).shape))
    settle()
    assert "There is no draft: the model found nothing." in loop.ui.loopLabel.text
    assert "Nothing was found." in effect().options.statusLabel.text
    draw(panel, waiting[0])
    assert loop.ui.keepNextButton.enabled, loop.ui.keepNextButton.toolTip
    loop.ui.keepNextButton.click()
    settle()
    assert status(workspace, waiting[0]) == "labelled"


def test_one_patients_label_and_result_never_lie_over_anothers_scan(panel, workspace):
    first, second = (i.id for i in Catalogue.load(workspace).usable(TASK, labelled=True)[:2])
    volume = scenePictures.show(panel.catalogue, first)
    result = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "a result")
    sceneResults.setOwner(result, volume, sceneResults.SEGMENTATION)
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "of the user")
    own.CreateDefaultDisplayNodes()
    doubt = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6)), name="uncertainty")
    sceneResults.setOwner(doubt, volume, sceneResults.UNCERTAINTY)
    slicer.util.setSliceViewerLayers(foreground=doubt)

    def visible(segmentation) -> bool:
        return bool(segmentation.GetDisplayNode().GetVisibility())

    def overlays() -> set:
        return {n.GetForegroundVolumeID() for n in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}

    assert overlays() == {doubt.GetID()}
    scenePictures.show(panel.catalogue, second)
    assert not visible(node(panel, first)) and not visible(result) and visible(node(panel, second)) and visible(own)
    assert overlays() == {None}
    slicer.util.setSliceViewerLayers(foreground=doubt)
    scenePictures.show(panel.catalogue, first)
    assert visible(node(panel, first)) and visible(result) and not visible(node(panel, second)) and visible(own)
    assert overlays() == {doubt.GetID()}


def test_the_next_scan_is_opened_over_a_draft_that_nobody_decided_on(panel, loop, drafted, workers, workspace, waiting):
    assert preview() is not None
    loop.ui.nextButton.click()
    settle()
    assert loop.current == waiting[1] and commands(workers[-1])[-1]["command"] == "predict"
    assert preview() is None and status(workspace, waiting[0]) == "no label"


def test_a_draft_that_was_applied_and_undone_is_none(panel, loop, drafted, workers, workspace, waiting):
    effect().options.applyButton.click()
    settle()
    assert status(workspace, waiting[0]) == "draft"
    slicer.util.getModuleWidget("SegmentEditor").editor.undo()
    settle()
    panel.refresh()
    loop.ui.nextButton.click()
    settle()
    assert loop.current == waiting[1] and status(workspace, waiting[0]) == "no label"


@pytest.mark.parametrize("where", ["effect", "panel"])
def test_a_draft_that_is_discarded_leaves_nothing(panel, loop, drafted, workspace, waiting, where):
    assert not loop.ui.discardButton.isHidden()
    (effect().options if where == "effect" else loop.ui).discardButton.click()
    settle()
    assert preview() is None and labelling.isEmpty(drafted)
    assert status(workspace, waiting[0]) == "no label" and loop.ui.discardButton.isHidden()
    assert "Apply or discard" not in loop.ui.keepNextButton.toolTip


def test_what_is_painted_on_a_draft_is_a_correction_that_is_learned_from(panel, loop, drafted, workers, waiting):
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    controller = effect()
    editor.mrmlSegmentEditorNode().SetActiveEffectName("Paint")  # which the stand-in lacks
    controller.scriptedEffect.deactivate()
    settle()
    assert preview() is None and not labelling.isEmpty(drafted), "only what is in the segments can be erased"
    volume = scenePictures.shown(panel.catalogue, waiting[0])
    first = drafted.GetSegmentation().GetNthSegmentID(0)
    inside = slicer.util.arrayFromSegmentBinaryLabelmap(drafted, first, volume).copy()
    inside[3, 4:9] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(inside, drafted, first, volume)
    settle()
    editor.mrmlSegmentEditorNode().SetActiveEffectName("HSSL")
    controller.options.learnButton.click()
    controller.options.startButton.click()
    settle()
    assert [plane[:2] for plane in learnedFrom(workers[-1])] == [[0, 3]]


def test_a_draft_that_cannot_be_made_says_why_and_the_next_scan_ends_one(panel, loop, workers, workspace, waiting):
    fakeRun(workspace, "tuned", {"validation_dice": 0.8}, task=TASK, start="scratch")
    panel.forget()
    loop.ui.nextButton.click()
    settle()
    open_, predict = commands(workers[-1])[-2:]
    workers[-1].say({"event": "done", "command_id": open_["id"], "result": {}})
    workers[-1].say({"event": "failed", "command_id": predict["id"], "kind": "ModelFileError", "message": "is damaged"})
    settle()
    assert "There is no draft: is damaged" in loop.ui.loopLabel.text
    loop.ui.nextButton.click()
    settle()
    assert loop.current == waiting[1] and commands(workers[-1])[-1]["command"] == "predict"
    first = node(panel, waiting[1])
    loop.ui.nextButton.click()
    settle()
    assert labelling.isEmpty(first) and status(workspace, waiting[1]) == "no label"


def effect() -> EffectController:
    return slicer.util.getModuleWidget("SegmentEditor").editor.effectByName("HSSL").self().controller


def test_what_was_drawn_while_a_script_had_a_draft_made_stays(panel, loop, processes, workspace, waiting):
    fakeRun(workspace, "tuned", {"validation_dice": 0.8}, task=TASK, start="scratch")
    job = panel.logic.draft(workspace, waiting[0], waitForCompletion=False)
    draw(panel, waiting[0])
    segmentation, volume = node(panel, waiting[0]), scenePictures.shown(panel.catalogue, waiting[0])
    first = segmentation.GetSegmentation().GetNthSegmentID(0)
    before = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, first, volume).copy()
    answerPrediction(processes[-1])
    assert job.state == "failed" and "You have drawn meanwhile" in job.error
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, first, volume), before)


def test_skipped_scans_come_last_and_impossible_ones_not_again(panel, loop, workspace, waiting, dialogs):
    loop.ui.nextButton.click()
    loop.ui.skipButton.click()
    settle()
    assert status(workspace, waiting[0]) == "skipped" and loop.current == waiting[1]
    dialogs.answer(qt.QDialog.Rejected, "too noisy")
    loop.ui.impossibleButton.click()
    settle()
    assert status(workspace, waiting[1]) == "no label" and loop.current == waiting[1], "Cancel says nothing"
    loop.ui.impossibleButton.click()
    settle()
    image = Catalogue.load(workspace).image(waiting[1])
    assert (image.review, image.remark) == ("impossible", "too noisy")
    assert loop.current == waiting[0]
    loop.ui.nextButton.click()
    settle()
    assert "That was the last one" in loop.ui.loopLabel.text


def test_a_scan_that_cannot_be_opened_is_left_out_with_its_reason(panel, loop, workspace, waiting):
    catalogue = Catalogue.load(workspace)
    catalogue.image_path(catalogue.image(waiting[0])).write_bytes(b"nothing")
    loop.ui.nextButton.click()
    settle()
    assert loop.current == waiting[1]
    assert f"{waiting[0]} was left out" in loop.ui.loopLabel.text


def test_the_last_model_goes_on_learning_from_all_labels(panel, loop, processes, workspace):
    run = fakeRun(workspace, "tuned", {"validation_dice": 0.8}, task=TASK, start="scratch")
    panel.forget()
    panel.refresh()
    loop.ui.tuneButton.click()
    configuration = configurationOf(processes[-1])
    assert (configuration["start"], configuration["task"], configuration["cases"]) == (str(run), TASK, [])


def test_labels_are_approved_or_flagged_with_a_remark_and_approved_ones_can_be_learned_from_alone(
    panel, processes, workspace, dialogs
):
    labelled = [i.id for i in Catalogue.load(workspace).usable(TASK, labelled=True)]
    section = panel.dataset
    section._select(labelled[:2])
    section.approveAction.trigger()
    settle()
    assert section.selectedImages() == labelled[:2], "the choice of rows outlives the change"
    section.ui.imagesTable.clearSelection()
    section._select(labelled[2:3])
    dialogs.answer(qt.QDialog.Rejected, "the tail is missing")
    section.flagAction.trigger()
    assert status(workspace, labelled[2]) == "labelled"
    section.flagAction.trigger()
    settle()
    assert [status(workspace, id) for id in labelled[:3]] == ["approved", "approved", "flagged"]
    row = section.model.rowsOf(labelled[2:3])[0]
    cell = section.model.model.item(row, catalogueModel.LABEL)
    assert cell.text() == "flagged" and "the tail is missing" in cell.toolTip()
    section.ui.filterEdit.text = "flagged"
    assert section.model.proxy.rowCount() == 1
    panel.parameterNode.fineTuneTask, panel.parameterNode.fineTuneCases = TASK, "approved"
    settle()
    assert "2" in panel.fineTune.ui.casesCombo.currentText and choices.value(panel.fineTune.ui.casesCombo) == "approved"
    panel.fineTune.ui.startButton.click()
    assert configurationOf(processes[-1])["cases"] == labelled[:2]


def test_a_reviewed_label_is_corrected_and_kept_from_the_table(panel, processes, workspace):
    labelled = [i.id for i in Catalogue.load(workspace).usable(TASK, labelled=True)]
    section = panel.dataset
    section._select(labelled[:1])
    panel.logic.review(workspace, labelled[:1], "flagged", "a slice is missing")
    section.onActions()
    assert section.correctAction.isEnabled() and not section.keepAction.isEnabled()
    section.correctAction.trigger()
    settle()
    assert slicer.util.getModuleWidget("SegmentEditor").editor.segmentationNode() is node(panel, labelled[0])
    assert not labelling.isEmpty(node(panel, labelled[0])), "with the label that is there"
    draw(panel, labelled[0])
    section.onActions()
    section.keepAction.trigger()
    settle()
    catalogue = Catalogue.load(workspace)
    assert catalogue.image(labelled[0]).label.startswith("volumes/") and status(workspace, labelled[0]) == "labelled"
    assert section.selectedImages() == labelled[:1]


@pytest.mark.parametrize("hasResult", [False, True])
def test_a_scan_that_is_kept_is_closed_unless_something_was_made_of_it(
    panel, loop, processes, workspace, waiting, hasResult
):
    drawFirst(panel, loop, waiting)
    label, volume = node(panel, waiting[0]), scenePictures.shown(panel.catalogue, waiting[0])
    if hasResult:
        result = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "a result")
        sceneResults.setOwner(result, volume, sceneResults.SEGMENTATION)
    loop.ui.keepNextButton.click()
    settle()
    assert loop.current == waiting[1] and scenePictures.shown(panel.catalogue, waiting[1]) is not None
    assert status(workspace, waiting[0]) == "labelled"
    for kept in (label, volume):
        assert bool(slicer.mrmlScene.IsNodePresent(kept)) is hasResult
    assert scenePictures.show(panel.catalogue, waiting[0]) is not None
    assert not labelling.isEmpty(node(panel, waiting[0])), "it comes back with its label"


def test_the_same_by_script(panel, processes, workspace, waiting):
    logic = panel.logic
    assert logic.nextCase(workspace, TASK) == waiting[0]
    with pytest.raises(Refusal, match="no model of brain_mr"):
        logic.draft(workspace, waiting[0])
    fakeRun(workspace, "tuned", {"validation_dice": 0.8}, task=TASK, start="scratch")
    job = logic.draft(workspace, waiting[0], waitForCompletion=False)
    answerPrediction(processes[-1])
    assert job.state == "done", job.error
    assert not labelling.isEmpty(job.segmentationNode) and status(workspace, waiting[0]) == "draft"
    logic.setLabel(workspace, waiting[0], job.volumeNode, job.segmentationNode)
    logic.review(workspace, [waiting[0]], "approved")
    assert status(workspace, waiting[0]) == "approved" and logic.nextCase(workspace, TASK) == waiting[1]


def test_wrong_labels_are_looked_for_and_the_most_doubtful_named(panel, processes, workspace):
    panel.dataset._select([panel.catalogue.usable(TASK)[0].id])
    panel.dataset.checkLabelsAction.trigger()
    configuration = configurationOf(processes[-1])
    assert processes[-1].arguments[2] == "check-labels"
    assert (configuration["finetune"]["task"], configuration["folds"]) == (TASK, 5)
    rows = [
        {"id": "b", "fold": 1, "dice": 0.1, "classes": {}, "run": "r"},
        {"id": "a", "fold": 1, "dice": 0.9, "classes": {}, "run": "r"},
    ]
    processes[-1].say({"event": "done", "result": {"task": TASK, "folder": "f", "rows": rows}})
    processes[-1].end(0)
    settle()
    assert "b (0.10), a (0.90)" in panel.dataset.jobView.ui.statusLabel.text
