"""The Segment Editor effect, driven by clicks; the worker is the real one unless a test plays it."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import qt
import vtk
from effect_bench import COMPLETE, answer, commands, dice, learnedFrom, on, workers

import slicer
from harness.fixtures import settle, waitUntil
from HSSLSegmentationLib import settings
from HSSLSegmentationLib.effect import registration as effectRegistration
from HSSLSegmentationLib.scene import volumes as sceneVolumes


def test_three_painted_slices_become_a_preview_then_the_segment_and_undo_takes_it_back(painted):
    before = painted.where("liver")
    painted.learn()
    options = painted.options
    assert "Ready after" in options.statusLabel.text, options.statusLabel.text
    assert painted.previewNode() is not None and not options.previewFrame.isHidden()
    assert (painted.where("liver") == before).all()
    options.applyButton.click()
    settle()
    assert painted.previewNode() is None and options.previewFrame.isHidden()
    after = painted.where("liver")
    assert dice(after, painted.liver) > dice(before, painted.liver) + 0.1
    assert (after & before).sum() == before.sum()
    painted.editor.undo()
    assert (painted.where("liver") == before).all()


def test_a_correction_of_the_applied_result_feeds_the_next_round_on_the_same_worker(painted):
    painted.learn()
    process = workers()[0].pid
    painted.options.applyButton.click()
    painted.changeTool("Paint")
    wrong = painted.where("liver").copy()
    wrong[5] = painted.liver[5]
    painted.paint("liver", wrong)
    painted.changeTool("HSSL")
    painted.learn()
    assert [p.pid for p in workers()] == [process]
    assert sorted(painted.effect.session.annotation.planes) == [(0, 2), (0, 4), (0, 5), (0, 7)]
    assert (painted.effect.session.proposal.labels.on(painted.liver.shape)[5] == painted.liver[5]).all()


def test_hidden_and_completed_segments_are_protected_and_what_visible_ones_lose_is_said_before(played):
    beside = played.liver & ~on(COMPLETE, played.liver)
    played.add("hidden", beside & (np.arange(beside.shape[2]) % 3 == 0))
    played.add("completed", beside & (np.arange(beside.shape[2]) % 3 == 1))
    played.add("visible", beside & (np.arange(beside.shape[2]) % 3 == 2))
    segmentation = played.segmentation.GetSegmentation()
    played.segmentation.GetDisplayNode().SetSegmentVisibility("hidden", False)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(segmentation.GetSegment("completed"), logic.Completed)
    node = played.editor.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteAllSegments)  # Slicer's default
    hidden, completed, visible = (played.where(name) for name in ("hidden", "completed", "visible"))
    played.segmentation.GetDisplayNode().SetSegmentVisibility("completed", False)
    played.segmentation.GetDisplayNode().SetSegmentVisibility("visible", False)
    played.options.startButton.click()
    answer(played.processes[-1], played.liver)
    for name in ("completed", "visible"):
        played.segmentation.GetDisplayNode().SetSegmentVisibility(name, True)
    settle()
    assert f"takes {visible.sum()} voxels from visible." in played.options.takesLabel.text
    played.options.protectCheck.click()
    assert f"{hidden.sum()} voxels from hidden" in played.options.takesLabel.text
    played.options.protectCheck.click()
    one = np.zeros_like(visible)
    one[tuple(np.argwhere(visible)[0])] = True
    played.paint("visible", one)
    assert "takes 1 voxel from visible." in played.options.takesLabel.text
    played.paint("visible", visible)
    played.options.applyButton.click()
    settle()
    assert (played.where("hidden") == hidden).all() and (played.where("completed") == completed).all()
    assert not played.where("visible").any()
    assert (played.where("liver") == played.liver & ~hidden & ~completed).all()
    played.editor.undo()
    assert (played.where("visible") == visible).all()
    node.SetOverwriteMode(node.OverwriteNone)
    settle()
    assert played.options.takesLabel.isHidden()


def test_a_volume_that_is_opened_with_another_model_at_once_is_read_from_a_file_of_its_own(played):
    played.options.startButton.click()
    settle()
    process = played.processes[-1]
    played.options.cancelButton.click()
    process.say({"event": "done", "command_id": commands(process)[-2]["id"], "stopped": True, "result": {}})
    played.effect.parameters.choose("none")
    played.options.startButton.click()
    settle()
    first, second = [c for c in commands(process) if c["command"] == "open"]
    process.say({"event": "done", "command_id": first["id"], "result": {}})
    assert first["volume"] != second["volume"] and os.path.exists(second["volume"])


def test_which_pieces_are_kept_goes_to_the_worker_and_stays_chosen(played):
    combo = played.options.piecesCombo
    assert [combo.itemText(n) for n in range(3)] == ["as painted", "painted ones only", "all"]
    for index, expected in ((0, None), (1, True), (2, False)):
        combo.setCurrentIndex(index)
        combo.activated.emit(index)
        played.options.startButton.click()
        settle()
        assert commands(played.processes[-1])[-1]["largest_component"] is expected
        answer(played.processes[-1], played.liver)
    played.changeTool("Paint")
    played.changeTool("HSSL")
    assert combo.currentText == "all"
    played.options.predictButton.click()
    settle()
    assert [combo.itemText(n) for n in range(3)] == ["as the model decides", "the largest only", "all"]
    assert combo.currentText == "all"


def test_masking_keeps_what_is_outside_the_mask(painted):
    mask = np.zeros_like(painted.liver)
    mask[:6] = True
    painted.add("mask", mask)
    painted.segmentation.GetDisplayNode().SetSegmentVisibility("mask", False)
    node = painted.editor.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteNone)
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    node.SetMaskSegmentID("mask")
    before = painted.where("liver")
    painted.learn()
    painted.options.applyButton.click()
    after = painted.where("liver")
    assert after[:6].sum() > before[:6].sum()
    assert (after[6:] == before[6:]).all()


def test_two_structures_do_not_erase_each_other(painted):
    painted.add("spleen", on(COMPLETE, painted.spleen))
    assert painted.where("spleen").any()
    painted.learn()
    painted.options.applyButton.click()
    liver, spleen = painted.where("liver"), painted.where("spleen")
    assert not (liver & spleen).any()
    assert spleen.sum() >= on(COMPLETE, painted.spleen).sum()


def test_the_worker_is_warm_before_the_first_round_and_the_button_stays_free(painted):
    assert not workers()
    painted.changeTool("Paint")
    painted.changeTool("HSSL")
    waitUntil(workers, 30, "the worker")
    warm = workers()[0].pid
    assert painted.options.startButton.enabled and not painted.options.progressBar.visible
    painted.learn()
    assert [w.pid for w in workers()] == [warm] and painted.previewNode() is not None
    painted.editor.setActiveEffect(None)
    settle()
    assert [w.pid for w in workers()] == [warm] and painted.previewNode() is None, "it stays for the next volume"


def test_a_volume_that_cannot_be_opened_is_told_before_the_first_round(played):
    played.changeTool("Paint")
    played.changeTool("HSSL")
    settle()
    played.processes[-1].say({"event": "failed", "command_id": 1, "kind": "VolumeError", "message": "CT holds NaN"})
    assert "CT holds NaN" in played.options.statusLabel.text and played.options.startButton.enabled


def test_a_worker_that_is_killed_is_told_and_the_next_round_starts_another(painted):
    painted.options.startButton.click()
    waitUntil(workers, 30)
    os.kill(workers()[0].pid, signal.SIGKILL)
    waitUntil(lambda: not painted.effect.session.busy, 30, "the message")
    assert "killed from outside" in painted.options.statusLabel.text
    assert painted.options.startButton.enabled
    painted.learn()
    assert painted.previewNode() is not None


@pytest.mark.parametrize("how", ["scene", "volume", "segmentation", "tool", "deleted"])
def test_nothing_is_left_when_the_work_is_left(played, how):
    played.options.startButton.click()
    answer(played.processes[-1], played.liver)
    assert played.previewNode() is not None
    if how == "scene":
        slicer.mrmlScene.Clear(0)
    elif how == "volume":
        played.editor.setSourceVolumeNode(slicer.util.addVolumeFromArray(np.zeros((2, 2, 2)), name="other"))
    elif how == "segmentation":
        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
        played.editor.setSegmentationNode(other)
    elif how == "tool":
        played.editor.setActiveEffect(None)
    else:
        slicer.mrmlScene.RemoveNode(played.volume)
    settle()
    assert played.effect.session is None and played.previewNode() is None
    (process,) = played.processes
    assert process.isRunning(), "the application's worker stays for the next volume"
    assert commands(process)[-1]["command"] == "close"


def test_a_cancelled_round_leaves_the_segments_and_the_worker(painted):
    painted.options.startButton.click()
    assert not painted.options.cancelButton.isHidden() and not painted.options.startButton.enabled
    painted.options.cancelButton.click()
    waitUntil(lambda: not painted.effect.session.busy, 60)
    assert painted.options.statusLabel.text == "Cancelled." and painted.previewNode() is None
    assert "color" not in painted.options.statusLabel.styleSheet
    painted.learn()
    assert painted.previewNode() is not None


def test_the_most_uncertain_slice_is_shown_in_the_views(painted):
    painted.learn()
    painted.options.nextButton.click()
    place = painted.effect.session.proposal.place
    assert place[0] not in COMPLETE
    from HSSLSegmentationLib.scene import slices as sceneSlices

    sliceNode = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    assert sceneSlices.shownPlane(sliceNode, painted.volume) == (0, place[0])


def test_a_slice_is_marked_by_the_button_and_the_mark_is_taken_back_in_the_list(played):
    options = played.options
    slicer.app.layoutManager().sliceWidget("Red").sliceLogic().SetSliceOffset(played.volume.GetOrigin()[2])
    options.scribblesCheck.checked = True
    settle()
    assert options.slicesList.count == 0
    options.completeButton.click()
    settle()
    assert options.slicesList.count == 1 and options.slicesList.item(0).text().startswith("S: ")
    options.startButton.click()
    assert [plane[:2] for plane in learnedFrom(played.processes[-1])] == [[0, 0]]
    options.cancelButton.click()
    played.processes[-1].end(1)
    played.editor.undo()
    settle()
    assert options.slicesList.count == 0, "a mark is undone as painting is"
    options.completeButton.click()
    options.slicesList.item(0).setCheckState(qt.Qt.Unchecked)
    settle()
    assert options.slicesList.count == 0


@pytest.mark.parametrize("together", [True, False])
def test_a_volume_under_a_transform_gets_its_segments_at_its_place(played, together):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkTransform()
    matrix.RotateX(31)
    matrix.Translate(5, -40, 12)
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    played.volume.SetAndObserveTransformNodeID(transform.GetID())
    if together:
        played.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    else:
        played.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(played.volume)
        played.paint("liver", on(COMPLETE, played.liver))
    played.options.startButton.click()
    answer(played.processes[-1], played.liver)
    assert (played.where(played.previewSegment(), played.previewNode()) == played.liver).all()
    played.options.applyButton.click()
    assert dice(played.where("liver"), played.liver) > 0.99


def test_a_finer_reference_geometry_and_its_mask_are_kept(played):
    fine = slicer.util.addVolumeFromArray(np.zeros([2 * count for count in played.liver.shape], np.uint8), name="fine")
    halved = sceneVolumes.localMatrix(played.volume) @ np.diag([0.5, 0.5, 0.5, 1])
    halved[:, 3] = sceneVolumes.localMatrix(played.volume) @ [-0.25, -0.25, -0.25, 1]
    fine.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(halved))
    played.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(fine)
    node = played.editor.mrmlSegmentEditorNode()
    node.SetSourceVolumeIntensityMask(True)
    bright = slicer.util.arrayFromVolume(played.volume) > 20
    node.SetSourceVolumeIntensityMaskRange(20, 5000)
    before = played.where("liver")
    played.options.startButton.click()
    answer(played.processes[-1], played.liver)
    played.options.applyButton.click()
    after = played.where("liver")
    assert dice(after, (played.liver & bright) | (before & ~bright)) > 0.9


def test_an_empty_segment_is_refused_with_what_to_do(bench):
    assert not bench.options.startButton.enabled and "add a segment" in bench.options.startButton.toolTip
    bench.add("liver", np.zeros_like(bench.liver))
    bench.effect.scriptedEffect.updateGUIFromMRML()
    bench.options.startButton.click()
    assert "Nothing is painted on CT yet" in bench.options.statusLabel.text
    assert not bench.effect.session.busy and bench.options.cancelButton.isHidden()


def test_where_every_segment_is_hidden_it_is_said_instead_of_that_nothing_is_painted(played):
    played.segmentation.GetDisplayNode().SetSegmentVisibility("liver", False)
    settle()
    assert not played.options.startButton.enabled and not played.options.completeButton.enabled
    assert "hidden and completed ones take no part" in played.options.hintLabel.text
    played.segmentation.GetDisplayNode().SetSegmentVisibility("liver", True)
    settle()
    assert played.options.startButton.enabled and played.options.completeButton.enabled


def test_a_completed_segment_takes_no_part_and_stays_as_it_is(played):
    """Applied, smoothed and completed: the next round is about the others."""
    played.options.startButton.click()
    answer(played.processes[-1], played.liver)
    played.options.applyButton.click()
    settle()
    smoothed = played.liver & np.roll(played.liver, 1, 1)
    played.paint("liver", smoothed)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(played.segmentation.GetSegmentation().GetSegment("liver"), logic.Completed)
    settle()
    assert "completed ones take no part" in played.options.hintLabel.text and not played.options.startButton.enabled
    played.add("spleen", on(COMPLETE, played.spleen))
    settle()
    played.options.startButton.click()
    answer(played.processes[-1], 1 * played.liver + 2 * played.spleen)
    assert all(own == [2] for *_plane, own in learnedFrom(played.processes[-1]))
    played.options.applyButton.click()
    settle()
    assert (played.where("liver") == smoothed).all() and (played.where("spleen") == played.spleen).all()


def tumourIn(played) -> np.ndarray:
    """A part of the liver that is painted within it, on one slice more than the liver; in the editor overlaps are allowed."""
    tumour = np.zeros_like(played.liver)
    k, j, i = (int(n) for n in np.argwhere(played.liver).mean(0).round())
    tumour[1:9, j - 1 : j + 2, i - 1 : i + 2] = True
    tumour &= played.liver
    node = played.editor.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteNone)
    played.add("tumour", on((*COMPLETE, 5), tumour))
    return tumour


def test_a_part_that_is_painted_within_its_whole_stays_in_it_where_segments_may_overlap(played):
    tumour = tumourIn(played)
    whole, part = played.where("liver"), played.where("tumour")
    found = 1 * played.liver + tumour
    for _round in range(2):
        played.options.startButton.click()
        answer(played.processes[-1], found)
        told = learnedFrom(played.processes[-1])
        assert {tuple(plane) for *plane, own in told if 1 in own} == {(0, index) for index in COMPLETE}
        played.options.applyButton.click()
        settle()
        assert (played.where("liver") == played.liver).all() and (played.where("tumour") == tumour).all()
    played.editor.undo()
    played.editor.undo()
    assert (played.where("liver") == whole).all() and (played.where("tumour") == part).all()
    node = played.editor.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteAllSegments)
    settle()
    played.options.startButton.click()
    answer(played.processes[-1], found)
    played.options.applyButton.click()
    settle()
    assert (played.where("liver") == played.liver & ~tumour).all() and (played.where("tumour") == tumour).all()


@pytest.mark.parametrize("how", ["part above its whole", "copy"])
def test_a_segment_that_others_lie_over_is_refused_instead_of_erased(played, how):
    if how == "copy":
        retouched = played.where("liver")
        retouched[tuple(np.argwhere(retouched)[0])] = False
        played.add("backup", retouched)
        expected = "liver and backup of labels are the same voxels: hide or remove one of them."
    else:
        tumourIn(played)
        played.segmentation.GetSegmentation().SetSegmentIndex("tumour", 0)
        expected = "100 % of tumour lie in liver, and would be missing. Move the part below the whole"
    settle()
    played.options.startButton.click()
    settle()
    assert expected in played.options.statusLabel.text
    assert not played.effect.session.busy
    assert not any(c["command"] == "learn" for process in played.processes for c in commands(process))
    played.segmentation.GetDisplayNode().SetSegmentVisibility("backup" if how == "copy" else "tumour", False)
    settle()
    played.options.startButton.click()
    answer(played.processes[-1], played.liver)
    assert played.previewNode() is not None


def test_the_hint_can_be_read_when_slicer_becomes_dark_or_light(bench):
    label, before = bench.options.hintLabel, qt.QPalette(slicer.app.palette())
    try:
        for color in ("#ffffff", "#000000", "#ffffff"):
            palette = qt.QPalette(before)
            palette.setColor(qt.QPalette.WindowText, qt.QColor(color))
            slicer.app.setPalette(palette)
            settle()
            assert label.palette.color(qt.QPalette.WindowText).name() == color
    finally:
        slicer.app.setPalette(before)


def test_a_worker_that_dies_says_its_last_lines(played):
    played.options.startButton.click()
    played.processes[-1].say("Traceback …", "ModuleNotFoundError: No module named 'torch'")
    played.processes[-1].end(1)
    assert (
        "exit code 1" in played.options.statusLabel.text
        and "No module named 'torch'" in played.options.statusLabel.text
    )
    assert played.options.startButton.enabled


def test_a_worker_that_cannot_be_started_is_told(painted):
    settings.setValue("python", "/nowhere/python")
    painted.options.startButton.click()
    assert "/nowhere/python" in painted.options.statusLabel.text and painted.effect.session is None


def test_progress_is_shown_and_the_views_stay_free(played):
    played.options.startButton.click()
    played.processes[-1].say(
        {"event": "progress", "phase": "features", "step": 1, "total": 2, "fraction": 0.5, "command_id": 2}
    )
    assert played.options.progressBar.value == 500
    assert "Looking at the scan" in played.options.progressBar.text
    icon = played.effect.scriptedEffect.self().icon()
    assert isinstance(icon, qt.QIcon) and not icon.isNull()


def test_a_script_learns_from_slices_without_the_editor(painted):
    from HSSLSegmentationLib.logic import HSSLSegmentationLogic

    logic = HSSLSegmentationLogic()
    before = painted.where("liver")
    job = logic.learnFromSlices(painted.volume, painted.segmentation, waitForCompletion=False)
    job.wait(120)
    assert dice(painted.where("liver"), painted.liver) > dice(before, painted.liver) + 0.1
    job.writer.undo()
    assert (painted.where("liver") == before).all()
    job.writer.release()
    with pytest.raises(RuntimeError, match="nothing tells what is background"):
        logic.learnFromSlices(painted.volume, painted.segmentation, completeSlices=[])


def test_a_script_keeps_a_part_in_its_whole_and_refuses_a_copy(painted):
    from HSSLSegmentationLib.logic import HSSLSegmentationLogic

    logic = HSSLSegmentationLogic()
    tumourIn(painted)
    before = {name: painted.where(name) for name in ("liver", "tumour")}
    job = logic.learnFromSlices(painted.volume, painted.segmentation)
    after = {name: painted.where(name) for name in before}
    assert all((after[name] & before[name]).sum() == before[name].sum() for name in before)
    assert after["tumour"].sum() > before["tumour"].sum() and not (after["tumour"] & ~after["liver"]).any()
    job.writer.release()
    painted.add("backup", after["liver"])
    with pytest.raises(sceneVolumes.SceneVolumeError, match="liver and backup of labels are the same voxels"):
        logic.learnFromSlices(painted.volume, painted.segmentation)


def test_a_draft_that_a_script_has_learned_on_stays_beyond_the_slices_that_were_corrected(painted):
    from HSSLSegmentationLib import steps
    from HSSLSegmentationLib.logic import HSSLSegmentationLogic
    from HSSLSegmentationLib.scene import annotations

    painted.paint("liver", painted.liver)
    steps.atOnce(annotations.markedDraft(painted.segmentation, ["liver"], painted.volume))
    painted.changeTool("Paint")
    for index in (4, 6):
        corrected = painted.where("liver").copy()
        corrected[index, :, 16:] = False
        painted.paint("liver", corrected)
    slices = np.arange(len(painted.liver))
    beyond = painted.liver & ((slices < 4) | (slices > 6))[:, None, None]
    assert beyond.any()
    values = slicer.util.arrayFromVolume(painted.volume).astype(np.float32)
    values[0, 0, 0] = np.nan
    slicer.util.updateVolumeFromArray(painted.volume, values)
    logic = HSSLSegmentationLogic()
    with pytest.raises(RuntimeError, match="NaN"):
        logic.learnFromSlices(painted.volume, painted.segmentation)
    job = logic.learnFromSlices(painted.volume, painted.segmentation, nanIsBackground=True)
    after = painted.where("liver")
    assert (after & beyond).sum() == beyond.sum()
    assert not (after[[4, 6], :, 16:]).any()
    job.writer.release()


def test_a_trained_model_predicts_into_the_segment_of_its_name_and_adds_the_others(painted, tmp_path, dialogs):
    from hssl.workspace.catalogue import LabelClass

    terminology = "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    classes = [LabelClass(value=3, name="Liver"), LabelClass(value=5, name="Spleen", terminology=terminology)]
    model = segmentationModel(tmp_path / "liver.zip", classes)
    options = painted.options
    options.predictButton.click()
    settle()
    assert "choose a model" in options.startButton.toolTip
    dialogs.answer(model)
    options.modelCombo.setCurrentIndex(options.modelCombo.count - 1)
    options.modelCombo.activated.emit(options.modelCombo.count - 1)
    assert options.modelCombo.currentText == "liver.zip"
    painted.learn()
    assert "Liver (into liver), Spleen (a new segment)" in options.statusLabel.text, options.statusLabel.text
    labels = painted.effect.session.proposal.labels.on(painted.liver.shape)
    known = on(COMPLETE, painted.liver)
    options.applyButton.click()
    segmentation = painted.segmentation.GetSegmentation()
    assert [segmentation.GetSegment(i).GetName() for i in segmentation.GetSegmentIDs()] == ["liver", "Spleen"]
    expected = labels == 3
    expected[list(COMPLETE)] = known[list(COMPLETE)]
    assert (painted.where("liver") == expected).all(), "what was painted stays"
    spleen = painted.where(segmentation.GetSegmentIDs()[1])
    assert (spleen == (labels == 5) & ~known).all(), (
        np.argwhere(spleen ^ ((labels == 5) & ~known))[:9],
        labels[spleen ^ ((labels == 5) & ~known)][:9],
        spleen.sum(),
    )
    painted.editor.undo()
    assert len(segmentation.GetSegmentIDs()) == 1


@pytest.mark.parametrize("fast", [False, True])
def test_a_prediction_can_be_had_in_one_slice_plane(played, tmp_path, fast):
    from hssl.workspace.catalogue import LabelClass

    options, parameters = played.options, played.effect.parameters
    assert not options.fastCheck.isVisibleTo(options.widget), "learning looks along the axes it can afford"
    parameters.predictWith(str(segmentationModel(tmp_path / "liver.zip", [LabelClass(value=3, name="Liver")])))
    played.effect.show()
    assert options.fastCheck.isVisibleTo(options.widget)
    options.fastCheck.checked = fast
    options.startButton.click()
    settle()
    assert commands(played.processes[-1])[-1]["fast"] is fast
    played.changeTool("Paint")
    played.changeTool("HSSL")
    assert options.fastCheck.checked is fast


def segmentationModel(path, classes):
    """Writes a model with weights as they come."""
    from hssl.configuration import NetworkConfig
    from hssl.models import model_file as modelfile
    from hssl.models.description import ModelDescription
    from hssl.models.network import build_network
    from hssl.preprocessing.fingerprint import Fingerprint
    from hssl.workspace.catalogue import Task

    description = ModelDescription(
        kind="segmentation",
        name="liver",
        network=NetworkConfig(),
        patch_size=(32, 32),
        tasks=[Task(name="liver", group="abdomen", modality="CT", classes=classes)],
        fingerprints={
            "liver": Fingerprint(
                spacing=(14.0, 11.0, 11.0), slice_axis=0, normalisation="percentiles", median_size=(12, 32, 32)
            )
        },
        out_channels=1 + len(classes),
    )
    network = build_network(description.network, description.out_channels)
    modelfile.write_model(path, description, network.state_dict())
    return path


def test_the_effect_is_registered_when_slicer_has_started(monkeypatch):
    from panel_fixtures import MODULE

    from harness import loadModule

    connected = []

    class Application:
        def __getattr__(self, name):
            return getattr(application, name)

        def connect(self, signal, slot):
            connected.append((signal, slot))

    application = slicer.app
    monkeypatch.setattr(slicer, "app", Application())
    loadModule(MODULE)
    assert ("startupCompleted()", effectRegistration.register) in connected
