"""The effect in a scene that changes under it, and what it keeps of what was painted; the worker is played."""

from __future__ import annotations

import importlib.metadata
import time
from dataclasses import replace

import numpy as np
import pytest
import qt
import shiboken6
import SimpleITK as sitk
import vtk
from effect_bench import COMPLETE, answer, commands, learnedFrom, on, say

import slicer
from harness import segment_editor
from harness.fixtures import settle, waitUntil
from HSSLSegmentationLib import installation, steps
from HSSLSegmentationLib.effect import models as effectModels
from HSSLSegmentationLib.effect import previewNode
from HSSLSegmentationLib.effect import session as effectSession
from HSSLSegmentationLib.effect.sliceList import SliceList
from HSSLSegmentationLib.scene import annotations
from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
from HSSLSegmentationLib.scene import volumes as sceneVolumes
from HSSLSegmentationLib.scene.segmentations import Part, SegmentClass


def previewed(played) -> None:
    played.options.startButton.click()
    answer(played.processes[-1], played.liver)
    assert played.previewNode() is not None


def applied(played) -> None:
    previewed(played)
    played.options.applyButton.click()
    settle()
    assert played.previewNode() is None and (played.where("liver") == played.liver).all()


def planesOf(played) -> list:
    played.options.startButton.click()
    return [tuple(plane[:2]) for plane in learnedFrom(played.processes[-1])]


def stroke(played, plane, where=None) -> None:
    """What Paint does: another contour on a slice, with an undo step before."""
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("Paint")
    settle()
    played.editor.saveStateForUndo()
    now = played.where("liver").copy()
    axis, index = plane
    np.moveaxis(now, axis, 0)[index] = np.moveaxis(np.roll(played.liver, 1, 2) if where is None else where, axis, 0)[
        index
    ]
    played.paint("liver", now)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("HSSL")
    settle()


# The scene changes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["segmentation", "volume"])
def test_a_node_that_is_removed_while_its_preview_is_shown_takes_nothing_down(played, who):
    """The preview goes too, but not inside the removal, of which Slicer crashes; the fixture looks at that."""
    previewed(played)
    slicer.mrmlScene.RemoveNode(getattr(played, who))
    assert played.previewNode() is not None, "not yet"
    settle()
    assert played.previewNode() is None and played.effect.session is None


def test_a_preview_that_somebody_deletes_is_gone_and_the_slider_still_moves(played):
    previewed(played)
    slicer.mrmlScene.RemoveNode(played.previewNode())
    played.options.opacitySlider.value = 0.2
    played.options.shownCheck.click()
    settle()
    played.options.discardButton.click()
    assert played.previewNode() is None


def test_the_preview_is_neither_saved_nor_listed_and_is_outlined(played):
    previewed(played)
    node = played.previewNode()
    assert node.GetHideFromEditors() and not node.GetSaveWithScene() and not node.GetDisplayNode().GetSaveWithScene()
    display = node.GetDisplayNode()
    assert display.GetSliceIntersectionThickness() > 1 and display.GetOpacity2DFill() < 1
    played.options.shownCheck.click()
    assert not display.GetVisibility()


def test_the_views_are_told_of_a_preview_and_the_hierarchy_is_not(played):
    """Slicer's hierarchy logs an error for each event of a segmentation that has no item in it."""
    segmentation, displayable = slicer.vtkSegmentation, slicer.vtkMRMLDisplayableNode
    hierarchys = (segmentation.SegmentAdded, segmentation.SegmentRemoved, segmentation.SegmentModified,
                  segmentation.SegmentsOrderModified, displayable.DisplayModifiedEvent)  # fmt: skip
    heard, views = [], []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(_scene, _event, node):
        if node.IsA("vtkMRMLSegmentationNode"):
            for event in hierarchys:
                node.AddObserver(event, lambda _node, _event, event=event: heard.append(event))
            for event in (vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLTransformableNode.TransformModifiedEvent):
                node.AddObserver(event, lambda _node, event: views.append(event))

    tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added)

    def isTold(action) -> bool:
        views.clear()
        action()
        settle()
        return bool(views)

    assert isTold(lambda: previewed(played))
    assert isTold(played.options.shownCheck.click) and isTold(played.options.shownCheck.click)
    assert isTold(lambda: setattr(played.options.opacitySlider, "value", 0.3))
    assert played.previewNode().GetDisplayNode().GetOpacity() == pytest.approx(0.3)
    assert isTold(lambda: previewed(played)), "of the next round's"
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    assert isTold(lambda: played.volume.SetAndObserveTransformNodeID(transform.GetID()))
    played.options.discardButton.click()
    settle()
    slicer.mrmlScene.RemoveObserver(tag)
    assert played.previewNode() is None and not heard
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationDisplayNode")[1:], "the preview's is gone too"


@pytest.mark.parametrize("tool", ["HSSL", "Paint"])
def test_a_scene_that_was_saved_with_a_tool_in_use_is_opened_without_it(played, tmp_path, tool):
    """Slicer 5.10 crashes at the end of the batch when the tool is taken up before there is a segmentation."""
    previewed(played)
    node = played.editor.mrmlSegmentEditorNode()
    node.SetActiveEffectName(tool)
    settle()
    scene, path = slicer.mrmlScene, tmp_path / "scene.mrml"
    scene.SetRootDirectory(str(tmp_path))
    scene.Commit(str(path))
    assert f'activeEffectName="{tool}"' in path.read_text() and "HSSL preview" not in path.read_text()
    seen = []
    tag = scene.AddObserver(scene.EndBatchProcessEvent, lambda *_: seen.append(node.GetActiveEffectName()))
    scene.StartState(scene.BatchProcessState)
    node.SetActiveEffectName(tool)  # as the saved node is copied onto the editor's
    scene.StartState(scene.ImportState)
    scene.EndState(scene.ImportState)
    scene.EndState(scene.BatchProcessState)
    scene.RemoveObserver(tag)
    assert seen == [""]


def test_without_segments_the_button_cannot_be_clicked(bench):
    """An effect that can be chosen without a segmentation makes Slicer 5.10 crash."""
    editor = bench.editor
    editor.setActiveEffect(None)
    assert not editor._effectButtonEnabled("HSSL")
    editor.setSegmentationNode(None)
    assert not editor._effectButtonEnabled("HSSL")
    with pytest.raises(RuntimeError, match="crashes"):
        editor.setActiveEffectByName("HSSL")
    editor.setSegmentationNode(bench.segmentation)
    editor._addSegment("liver")
    assert editor._effectButtonEnabled("HSSL")


def test_packages_that_were_installed_meanwhile_are_noticed_when_the_effect_is_opened(played, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(effectModels, "_works", None)
    installation.forget()
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", missing)
        played.changeTool("Paint")
        played.changeTool("HSSL")
        assert "install the Python packages" in played.options.hintLabel.text
        assert not played.options.installButton.isHidden() and not played.options.startButton.enabled
    # By whatever way, for example in the Python console.
    played.changeTool("Paint")
    played.changeTool("HSSL")
    assert "install" not in played.options.hintLabel.text
    assert played.options.installButton.isHidden() and played.options.startButton.enabled


def test_slices_that_are_still_being_looked_for_when_the_window_goes_are_listed_nowhere(bench, monkeypatch):
    bench.paint(bench.editor._addSegment("liver"), on(COMPLETE, bench.liver))
    settle()
    asked = []
    monkeypatch.setattr(qt.QTimer, "singleShot", lambda _delay, turn: asked.append(turn))
    monkeypatch.setattr(steps, "SECONDS_AT_ONCE", 0)
    slices = SliceList(listWidget := qt.QListWidget(), qt.QLabel())
    slices.show(bench.segmentation, bench.volume, False)
    assert asked, "it takes more than one turn"
    shiboken6.delete(listWidget)
    while asked:
        asked.pop()()


def test_segments_that_come_get_another_name_or_are_hidden_are_noticed(bench):
    assert not bench.options.startButton.enabled
    identifier = bench.editor._addSegment("liver")
    settle()
    assert bench.options.startButton.enabled
    bench.paint(identifier, on(COMPLETE, bench.liver))
    bench.editor._addSegment("spleen")
    settle()
    assert bench.options.slicesList.count == len(COMPLETE) and "liver" in bench.options.slicesList.item(0).text()
    bench.segmentation.GetSegmentation().GetSegment(identifier).SetName("right lobe")
    settle()
    assert "right lobe" in bench.options.slicesList.item(0).text()
    bench.segmentation.GetDisplayNode().SetSegmentVisibility(identifier, False)
    settle()
    assert bench.options.slicesList.count == 0
    bench.segmentation.GetSegmentation().RemoveSegment(identifier)
    bench.segmentation.GetSegmentation().RemoveAllSegments()
    settle()
    assert not bench.options.startButton.enabled


@pytest.mark.parametrize("what", ["None", "module"])
def test_a_preview_ends_with_the_tool_even_after_another_one_was_used(played, what):
    previewed(played)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("Paint")
    settle()
    assert played.previewNode() is not None, "corrections are painted"
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("")
    settle()
    assert played.previewNode() is None and played.effect.session is None


def test_a_segment_that_is_removed_during_a_round_is_told(played):
    played.add("spleen", on(COMPLETE, played.spleen))
    played.options.startButton.click()
    played.segmentation.GetSegmentation().RemoveSegment("spleen")
    settle()
    answer(played.processes[-1], played.liver)
    assert "spleen was removed meanwhile" in played.options.statusLabel.text
    assert played.options.startButton.enabled and played.options.progressBar.isHidden()


def test_a_volume_that_is_changed_during_a_round_makes_the_result_void(played):
    played.options.startButton.click()
    slicer.util.arrayFromVolume(played.volume)[:] += 1
    slicer.util.arrayFromVolumeModified(played.volume)
    played.volume.GetImageData().Modified()
    answer(played.processes[-1], played.liver)
    assert "was changed or moved meanwhile" in played.options.statusLabel.text and played.previewNode() is None


def test_a_preview_of_other_voxels_than_the_volume_shows_now_is_not_applied(played):
    """Such as those of another frame of a sequence."""
    previewed(played)
    before = played.where("liver")
    slicer.util.arrayFromVolume(played.volume)[:] += 1
    slicer.util.arrayFromVolumeModified(played.volume)
    played.volume.GetImageData().Modified()
    played.options.applyButton.click()
    settle()
    assert "CT was changed or moved since the preview was made" in played.options.statusLabel.text
    assert (played.where("liver") == before).all()
    previewed(played)
    played.options.applyButton.click()
    settle()
    assert (played.where("liver") == played.liver).all()


@pytest.mark.parametrize("together", [False, True])
def test_a_preview_of_a_volume_that_was_moved_since_is_applied_only_where_the_segments_moved_too(played, together):
    previewed(played)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkTransform()
    matrix.Translate(played.volume.GetSpacing()[0] * 3, 0, 0)
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    for node in [played.volume, *([played.segmentation] if together else [])]:
        node.SetAndObserveTransformNodeID(transform.GetID())
    settle()
    before = slicer.util.arrayFromSegmentInternalBinaryLabelmap(played.segmentation, "liver").copy()
    played.options.applyButton.click()
    settle()
    if together:
        assert (played.where("liver") == played.liver).all()
    else:
        assert "CT was changed or moved since the preview was made" in played.options.statusLabel.text
        assert (slicer.util.arrayFromSegmentInternalBinaryLabelmap(played.segmentation, "liver") == before).all()


def test_another_transform_of_the_segmentation_is_told_before_the_round(played):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkTransform()
    matrix.Translate(5, 0, 0)
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    played.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    settle()
    assert not played.options.startButton.enabled
    assert "labels is under another transform than CT" in played.options.startButton.toolTip


def test_an_effect_that_slicer_has_deleted_does_nothing_more(played):
    previewed(played)
    kept = played.effect.scriptedEffect

    class Deleted:
        def __getattr__(self, name):
            raise ValueError(f"Trying to call '{name}' on a destroyed qSlicerSegmentEditorScriptedEffect object")

    played.effect.scriptedEffect = Deleted()
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("")
    settle()
    played.effect.scriptedEffect = kept


def test_a_round_that_is_cancelled_while_its_volume_is_written_is_never_asked_for(played, monkeypatch):
    whole, isSlow, begun = sceneVolumes.writtenArray, [True], []

    def slowly(array, file):
        begun.append(file)
        while isSlow and file.name.startswith("volume"):
            yield
        yield from whole(array, file)

    with monkeypatch.context() as slow:
        slow.setattr(sceneVolumes, "writtenArray", slowly)
        slow.setattr(steps, "SECONDS_AT_ONCE", 0.0)
        played.options.startButton.click()
        waitUntil(lambda: any(file.name.startswith("volume") for file in begun), 30, "the writing")
        played.options.cancelButton.click()
    assert not played.effect.session.busy and played.options.statusLabel.text == "Cancelled."
    isSlow.clear()
    settle()
    assert [c["command"] for c in commands(played.processes[-1])] == ["open"]
    previewed(played)


def test_a_worker_that_does_not_answer_a_cancellation_is_ended(played, monkeypatch):
    monkeypatch.setattr(effectSession, "CANCEL_GRACE_MS", 0)
    played.options.startButton.click()
    played.processes[-1].say({"event": "done", "command_id": 1, "result": {}})
    played.processes[-1].say({"event": "phase", "name": "learn", "index": 1, "count": 1, "command_id": 2})
    played.options.cancelButton.click()
    settle()
    assert played.processes[-1].killed and "did not answer" in played.options.statusLabel.text
    previewed(played)
    assert len(played.processes) == 2


@pytest.mark.parametrize("spoken", [False, True])
def test_a_worker_that_opens_its_first_volume_is_waited_for_after_a_cancellation(played, monkeypatch, spoken):
    monkeypatch.setattr(effectSession, "CANCEL_GRACE_MS", 20)
    played.options.startButton.click()
    process = played.processes[-1]
    if spoken:
        process.say({"event": "phase", "name": "open", "index": 1, "count": 1, "command_id": 1})
    played.options.cancelButton.click()
    assert played.options.statusLabel.text == "Cancelling…" and not played.options.cancelButton.enabled
    end = time.monotonic() + 0.06
    waitUntil(lambda: time.monotonic() > end, 5)
    assert not process.killed
    process.say({"event": "done", "command_id": 1, "result": {}})
    process.say({"event": "done", "command_id": 2, "stopped": True, "result": {}})
    settle()
    assert played.options.statusLabel.text == "Cancelled." and played.options.startButton.enabled
    previewed(played)
    assert played.processes == [process], "the worker that has opened the volume serves the next round"


def test_a_worker_that_never_opens_the_volume_is_ended_after_a_while(played, monkeypatch):
    monkeypatch.setattr(effectSession, "CANCEL_GRACE_MS", 0)
    played.options.startButton.click()
    played.options.cancelButton.click()
    waitUntil(lambda: played.processes[-1].killed, 5)
    settle()
    assert "did not answer" in played.options.statusLabel.text


def test_an_idle_worker_that_is_killed_takes_no_preview_away(played):
    previewed(played)
    played.processes[-1].end(9, crashed=True)
    settle()
    assert played.previewNode() is not None and "Ready after" in played.options.statusLabel.text
    played.options.applyButton.click()
    settle()
    assert (played.where("liver") == played.liver).all()
    stroke(played, (0, 5))
    previewed(played)
    assert len(played.processes) == 2 and commands(played.processes[-1])[0]["command"] == "open"


def test_a_failure_names_the_node_and_no_temporary_file(played):
    played.options.startButton.click()
    opened = commands(played.processes[-1])[0]
    said = {"event": "failed", "command_id": opened["id"], "kind": "VolumeError"}
    played.processes[-1].say({**said, "message": f"{opened['volume']} holds NaN"})
    assert "CT holds NaN" in played.options.statusLabel.text and "volume-" not in played.options.statusLabel.text
    learned = commands(played.processes[-1])[-1]
    played.effect.session.problem = ""
    said = {"event": "failed", "command_id": learned["id"], "kind": "InputError"}
    played.processes[-1].say({**said, "message": f"{learned['annotation']} goes beyond the volume"})
    assert "labels goes beyond the volume" in played.options.statusLabel.text


def test_the_key_hides_and_shows_the_preview_as_the_box_does_and_ends_with_it(played, monkeypatch):
    window = qt.QMainWindow()
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: window)
    assert played.effect._shortcut is None
    previewed(played)
    display = played.previewNode().GetDisplayNode()
    for shown in (False, True):
        played.effect._shortcut.activated.emit()
        assert bool(display.GetVisibility()) == played.options.shownCheck.checked == shown
    played.options.discardButton.click()
    settle()
    assert played.effect._shortcut is None


def test_where_nothing_is_in_doubt_the_button_says_so(played):
    previewed(played)
    assert played.options.nextButton.enabled
    played.effect.session.proposal = replace(played.effect.session.proposal, place=None)
    played.effect.show()
    assert not played.options.nextButton.enabled and "Nothing is in doubt" in played.options.nextButton.toolTip


def test_names_are_text_and_never_markup(played):
    played.volume.SetName("<i>CT</i>")
    played.volume.SetAndObserveImageData(None)
    played.effect.show()
    assert "&lt;i&gt;CT" in played.options.hintLabel.text
    assert played.options.statusLabel.textFormat == qt.Qt.PlainText


# Segments --------------------------------------------------------------------------------------------------------


def test_slicers_default_terminology_tells_nothing(bench):
    mine = bench.editor._addSegment("my liver")
    other = bench.editor._addSegment("something")
    default = sceneSegmentations.terminologyOf(bench.segmentation.GetSegmentation().GetSegment(mine))
    assert default and default == sceneSegmentations.terminologyOf(
        bench.segmentation.GetSegmentation().GetSegment(other)
    )
    tumour = sceneSegmentations.SegmentClass(1, "tumour", None, default)
    assert sceneSegmentations.segmentsOfClasses([tumour], bench.segmentation) == [""]
    assert [c.value for c in sceneSegmentations.classesOf(bench.segmentation, [tumour]).values()] == [2, 3]


def test_what_lies_outside_of_a_cropped_volume_stays(played):
    whole = played.liver.copy()
    played.paint("liver", whole)
    cropped = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "cropped")
    image = sitk.GetImageFromArray(slicer.util.arrayFromVolume(played.volume)[3:8])
    sceneVolumes.updateFromImage(cropped, image)
    matrix = sceneVolumes.localMatrix(played.volume)
    matrix[:, 3] = matrix @ [0, 0, 3, 1]
    cropped.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    played.editor.setSourceVolumeNode(cropped)
    settle()
    played.options.startButton.click()
    inside = np.zeros_like(played.liver[3:8])
    inside[1, 4:9, 4:9] = True
    annotated = annotations.annotationOf(played.segmentation, {"liver": 1}, cropped)[0]
    assert set(annotated.planes) <= {(0, index) for index in range(5)}
    answer(played.processes[-1], inside)
    played.options.applyButton.click()
    settle()
    after = played.where("liver")
    assert (after[:3] == whole[:3]).all() and (after[8:] == whole[8:]).all()


def test_a_segmentation_under_a_transform_gets_the_volumes_own_grid(bench):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkTransform()
    matrix.RotateX(31)
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    bench.volume.SetAndObserveTransformNodeID(transform.GetID())
    node = sceneSegmentations.newSegmentation("made", bench.volume)
    geometry = slicer.vtkOrientedImageData()
    text = node.GetSegmentation().GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, geometry, False)
    assert np.allclose(sceneSegmentations.imageMatrix(geometry), sceneVolumes.localMatrix(bench.volume), atol=1e-4)


def test_paint_that_is_added_while_a_preview_is_shown_stays_at_apply(played):
    previewed(played)
    where = np.zeros_like(played.liver)
    where[5, 10:20, 3:9] = True
    stroke(played, (0, 5), where)
    played.options.applyButton.click()
    settle()
    after = played.where("liver")
    assert (after[5] == where[5]).all(), "as it was painted"
    rest = [index for index in range(len(after)) if index != 5]
    assert (after[rest] == played.liver[rest]).all()


def test_a_large_result_is_written_in_steps(played, monkeypatch):
    monkeypatch.setattr(steps, "SECONDS_AT_ONCE", 0.0)
    monkeypatch.setattr(sceneVolumes, "VOXELS_AT_ONCE", 1)
    played.options.startButton.click()
    settle()
    waitUntil(lambda: any(c["command"] == "learn" for c in commands(played.processes[-1])), 30, "the command")
    answer(played.processes[-1], played.liver)
    played.options.applyButton.click()
    assert played.effect.session.busy and not played.options.previewFrame.enabled
    waitUntil(lambda: not played.effect.session.busy, 30, "the end of writing")
    settle()
    assert (played.where("liver") == played.liver).all() and played.previewNode() is None
    played.editor.undo()
    assert (played.where("liver") == on(COMPLETE, played.liver)).all()


@pytest.mark.parametrize("how", ["tool", "volume", "segmentation"])
def test_a_result_that_is_being_written_is_written_whole_when_the_tool_is_left(played, monkeypatch, how):
    previewed(played)
    monkeypatch.setattr(steps, "SECONDS_AT_ONCE", 0.0)
    monkeypatch.setattr(sceneVolumes, "VOXELS_AT_ONCE", 1)
    played.options.applyButton.click()
    assert played.effect.session.busy and not (played.where("liver") == played.liver).all()
    if how == "tool":
        played.editor.setActiveEffect(None)
    elif how == "volume":
        played.editor.setSourceVolumeNode(slicer.util.addVolumeFromArray(np.zeros((2, 2, 2)), name="other"))
    else:
        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
        other.SetReferenceImageGeometryParameterFromVolumeNode(
            slicer.util.addVolumeFromArray(np.zeros((2, 2, 2)), name="small")
        )
        played.editor.setSegmentationNode(other)
    settle()
    assert played.effect.session is None and played.previewNode() is None
    assert (played.where("liver") == played.liver).all()
    known = annotations.read(played.segmentation, "liver", played.volume)
    assert known.painted == {(0, index) for index in COMPLETE}
    assert (known.draft.on(played.liver.shape) == (played.liver & ~on(COMPLETE, played.liver))).all()


@pytest.mark.parametrize("voxels", [2**20, 20**3, 10**3])
def test_a_preview_is_in_3d_where_its_labels_are_and_what_is_thin_is_in_one_piece(bench, monkeypatch, voxels):
    monkeypatch.setattr(previewNode, "VOXELS_OF_SURFACES", voxels)
    values = np.zeros((40, 40, 40), np.uint8)
    values[4:30, 3:20, 5:21] = 1
    values[2:38, 31, 33] = 2  # a vessel of one voxel's width
    volume = slicer.util.addVolumeFromArray(np.zeros((50, 50, 50), np.int16), name="large")
    matrix = np.array([[0, -0.9, 0, 20], [0.8, 0, 0, -3], [0, 0, 1.5, 7], [0, 0, 0, 1.0]])
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    classes = [SegmentClass(1, "organ", (1, 0, 0)), SegmentClass(2, "vessel"), SegmentClass(3, "nothing")]
    shown = previewNode.PreviewNode(
        previewNode.Proposal(Part((3, 2, 1), values), classes, ["", "", ""], None), volume, 0.5, in3D=True
    )
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    step = round((values.size / voxels) ** (1 / 3)) if voxels < values.size else 1
    segmentation = shown.node.GetSegmentation()
    for segmentClass, segmentId in zip(classes[:2], segmentation.GetSegmentIDs(), strict=False):
        surface = segmentation.GetSegment(segmentId).GetRepresentation(name)
        there = np.argwhere(values == segmentClass.value) + (3, 2, 1)
        world = (matrix @ np.c_[there[:, ::-1], np.ones(len(there))].T)[:3]
        low, high = np.array(surface.GetBounds()).reshape(3, 2).T
        assert (np.abs(low - world.min(1)) <= 1.5 * (step + 0.5)).all()
        assert (np.abs(high - world.max(1)) <= 1.5 * (step + 0.5)).all()
        pieces = vtk.vtkConnectivityFilter()
        pieces.SetInputData(surface)
        pieces.SetExtractionModeToAllRegions()
        pieces.Update()
        assert pieces.GetNumberOfExtractedRegions() == 1
    shown.remove()


def test_where_segments_are_shown_in_3d_their_surfaces_are_made_once_for_a_result(played, monkeypatch):
    monkeypatch.setattr(sceneVolumes, "VOXELS_AT_ONCE", 1)
    node, name = played.segmentation, slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    assert node.CreateClosedSurfaceRepresentation()
    segment = node.GetSegmentation().GetSegment("liver")
    before = segment.GetRepresentation(name).GetBounds()
    played.options.startButton.click()
    answer(played.processes[-1], played.liver)
    segmentation, surfaces = node.GetSegmentation(), []
    segmentation.AddObserver(
        slicer.vtkSegmentation.SourceRepresentationModified,
        lambda *_: surfaces.append(segmentation.ContainsRepresentation(name)),
    )
    played.options.applyButton.click()
    settle()
    assert (played.where("liver") == played.liver).all()
    assert len(surfaces) > 2 and not any(surfaces), "at each change Slicer would make them anew"
    surface = segment.GetRepresentation(name)
    assert surface is not None and surface.GetNumberOfPoints() and surface.GetBounds() != before


# What was painted stays known ------------------------------------------------------------------------------------


def test_after_apply_only_what_is_corrected_is_annotation(played):
    applied(played)
    stroke(played, (0, 5))
    stroke(played, (2, 15), on([], played.liver))
    assert planesOf(played) == [(0, 2), (0, 4), (0, 5), (0, 7), (2, 15)]


@pytest.mark.parametrize("how", ["tool", "volume and back", "killed worker", "saved scene", "undo of a second apply"])
def test_what_was_painted_survives(played, how, tmp_path):
    applied(played)
    stroke(played, (0, 5))
    if how == "tool":
        played.editor.setActiveEffect(None)
        settle()
        played.editor.setActiveEffectByName("HSSL")
    elif how == "volume and back":
        other = slicer.util.addVolumeFromArray(np.zeros((2, 2, 2)), name="other")
        played.editor.setSourceVolumeNode(other)
        settle()
        played.editor.setSourceVolumeNode(played.volume)
    elif how == "killed worker":
        played.processes[-1].end(9, crashed=True)
    elif how == "saved scene":
        path = str(tmp_path / "labels.seg.nrrd")
        assert slicer.util.saveNode(played.segmentation, path)
        played.segmentation = slicer.util.loadSegmentation(path)
        played.editor.setSegmentationNode(played.segmentation)
        settle()
        played.editor.setActiveEffectByName("HSSL")
    else:
        previewed(played)
        played.options.applyButton.click()
        settle()
        played.editor.undo()
    settle()
    assert planesOf(played) == [(0, 2), (0, 4), (0, 5), (0, 7)]


def test_a_prediction_is_a_draft_that_is_corrected_and_learned_from(played, monkeypatch):
    played.paint("liver", played.liver)
    steps.atOnce(annotations.markedDraft(played.segmentation, ["liver"], played.volume))
    settle()
    played.options.startButton.click()
    assert "is a draft that nobody has corrected" in played.options.statusLabel.text
    assert not played.processes or not any(c["command"] == "learn" for c in commands(played.processes[-1]))
    wrong = played.liver.copy()
    wrong[:, :, 16:] = False
    stroke(played, (0, 4), wrong)
    assert planesOf(played) == [(0, 4)]


def test_where_a_round_says_nothing_of_a_segment_its_draft_stays(played):
    """Corrected on two slices: beyond them nobody has found the draft wrong; between them the round knows better."""
    played.paint("liver", played.liver)
    steps.atOnce(annotations.markedDraft(played.segmentation, ["liver"], played.volume))
    settle()
    wrong = played.liver.copy()
    wrong[:, :, 16:] = False
    stroke(played, (0, 4), wrong)
    stroke(played, (0, 6), wrong)
    played.options.startButton.click()
    settle()
    found = wrong.copy()
    found[:4], found[7:] = False, False
    size = played.liver.shape
    answer(played.processes[-1], found, {1: [(4, 7), (0, size[1]), (0, size[2])]})
    expected = played.liver.copy()
    expected[4:7] = wrong[4:7]
    assert played.liver[:4].any() and played.liver[7:].any()
    assert (played.effect.session.proposal.labels.on(size) == expected).all()
    played.options.applyButton.click()
    settle()
    assert (played.where("liver") == expected).all()


@pytest.mark.parametrize("cancels", [True, False])
def test_a_result_is_taken_over_in_steps_and_can_be_cancelled_meanwhile(played, monkeypatch, cancels):
    played.paint("liver", played.liver)
    steps.atOnce(annotations.markedDraft(played.segmentation, ["liver"], played.volume))
    settle()
    stroke(played, (0, 4))
    played.options.startButton.click()
    settle()
    monkeypatch.setattr(steps, "SECONDS_AT_ONCE", 0.0)
    session = played.effect.session
    say(played.processes[-1], played.liver, {1: [(0, 1), (0, 1), (0, 1)]})
    assert session.busy and session.proposal is None
    if cancels:
        played.options.cancelButton.click()
        assert not session.busy
    waitUntil(lambda: not session.busy, 30, "the end")
    settle()
    assert (session.proposal is None) == cancels and (played.previewNode() is None) == cancels
    assert ("Cancelled" in played.options.statusLabel.text) == cancels
    assert [c["command"] for c in commands(played.processes[-1])][-1] == "learn", "the worker has done all it was asked"


def test_a_volume_with_nan_is_refused_until_somebody_says_that_it_is_background(played):
    box = played.options.nanCheck
    played.options.startButton.click()
    settle()
    assert box.isHidden() and not commands(played.processes[-1])[0]["nan_is_background"]
    number = commands(played.processes[-1])[0]["id"]
    refused = {"event": "failed", "kind": "InputError", "message": "CT: has voxels that are NaN", "hint": "Say so."}
    played.processes[-1].say({**refused, "command_id": number, "way_out": "nan_is_background"})
    played.processes[-1].say({**refused, "command_id": number + 1, "message": "no volume is open", "hint": ""})
    settle()
    assert "CT: has voxels that are NaN" in played.options.statusLabel.text and not box.isHidden() and not box.checked
    box.click()
    settle()
    assert not played.options.statusLabel.text and not box.isHidden()
    opened = commands(played.processes[-1])[-1]
    assert opened["command"] == "open" and opened["nan_is_background"]
    previewed(played)
    other = slicer.util.addVolumeFromArray(np.zeros((2, 2, 2)), name="other")
    played.editor.setSourceVolumeNode(other)
    settle()
    assert box.isHidden(), "it is said of a volume, and holds for it alone"
    played.editor.setSourceVolumeNode(played.volume)
    settle()
    assert box.checked and not box.isHidden()
    played.options.startButton.click()
    settle()
    assert [c["nan_is_background"] for c in commands(played.processes[-1]) if c["command"] == "open"][-1]


def test_smoothing_an_applied_result_is_no_painting(played):
    applied(played)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("Smoothing")
    settle()
    eroded = played.liver & np.roll(played.liver, 1, 1) & np.roll(played.liver, 1, 2)
    played.paint("liver", eroded)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("HSSL")
    settle()
    assert planesOf(played) == [(0, index) for index in COMPLETE]


@pytest.mark.parametrize("tool", ["Fill between slices", "Grow from seeds"])
def test_what_a_tool_fills_between_painted_slices_nobody_has_painted(played, tool):
    for index in COMPLETE:
        stroke(played, (0, index), played.liver)
    stroke(played, (0, 5), played.liver)
    node = played.editor.mrmlSegmentEditorNode()
    node.SetActiveEffectName(tool)
    settle()
    played.paint("liver", played.liver)
    node.SetActiveEffectName("HSSL")
    settle()
    assert played.options.slicesList.count == len(COMPLETE) + 1
    assert planesOf(played) == [(0, index) for index in sorted([*COMPLETE, 5])]


def halfOf(mask: np.ndarray) -> np.ndarray:
    """The half of a structure with the higher columns."""
    half = mask.copy()
    half[:, :, : np.argwhere(mask)[:, 2].mean().round().astype(int)] = False
    return half


@pytest.mark.parametrize("tool", ["Islands", "Logical operators"])
def test_a_piece_of_a_draft_that_a_tool_makes_a_segment_of_is_a_draft(played, tool):
    applied(played)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName(tool)
    settle()
    piece = halfOf(played.liver)
    if tool == "Islands":
        played.paint("liver", played.liver & ~piece)
        played.add("piece", piece)
    else:
        played.segmentation.GetSegmentation().AddEmptySegment("piece", "piece")
        settle()
        played.paint("piece", piece)
        played.paint("liver", played.liver & ~piece)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("HSSL")
    settle()
    played.options.startButton.click()
    told = learnedFrom(played.processes[-1])
    assert sorted((index, own) for _axis, index, own in told) == [(index, [1, 2]) for index in COMPLETE]


@pytest.mark.parametrize("tool", ["Scissors", "Islands"])
def test_what_is_cut_away_stays_away(played, tool):
    applied(played)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName(tool)
    settle()
    piece = halfOf(played.liver)
    piece[list(COMPLETE)] = False
    played.paint("liver", played.liver & ~piece)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("HSSL")
    settle()
    assert planesOf(played) == [(0, index) for index in COMPLETE]
    learn = commands(played.processes[-1])[-1]
    labels = Part(tuple(learn["start"]), np.load(learn["annotation"])).on(played.liver.shape)
    assert (labels[piece] == annotations.BACKGROUND).all()


def test_an_island_that_is_removed_on_one_slice_makes_nobody_look_through_the_slice(played):
    speck = played.liver.copy()
    speck[5, :2, :2] = True
    played.options.startButton.click()
    answer(played.processes[-1], speck)
    played.options.applyButton.click()
    settle()
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("Islands")
    settle()
    played.paint("liver", played.liver)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("HSSL")
    settle()
    assert planesOf(played) == [(0, index) for index in COMPLETE]


def test_a_sphere_brush_leaves_scribbles_and_no_complete_slices(played):
    applied(played)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("Paint")
    settle()
    with_ball = played.liver.copy()
    with_ball[4:7, 1:4, 1:4] = True
    played.paint("liver", with_ball)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("HSSL")
    settle()
    assert planesOf(played) == [(0, index) for index in COMPLETE]
    learn = commands(played.processes[-1])[-1]
    labels = np.load(learn["annotation"])
    k, j, i = learn["start"]
    assert (labels[5 - k, 1 - j : 4 - j, 1 - i : 4 - i] == 1).all()


def test_the_first_stroke_over_another_segment_is_recorded_though_it_comes_into_a_label_map_of_its_own(played):
    """Where it has the value there that the other one had in the label map of both."""
    applied(played)
    segmentation = played.segmentation.GetSegmentation()
    segmentation.AddEmptySegment("tumour", "tumour")
    settle()
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("Paint")
    settle()
    upper = played.liver.copy()
    upper[:5] = False
    played.paint("tumour", upper)
    labelmaps = [sceneSegmentations.labelmapOf(segmentation.GetSegment(name)) for name in ("liver", "tumour")]
    assert labelmaps[0] is not labelmaps[1]
    own = annotations.read(played.segmentation, "tumour", played.volume)
    assert not own.painted and (own.scribbles.on(upper.shape) == upper).all()


def hardened(played, transform) -> None:
    for node in (played.volume, played.segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    settle()
    for node in (played.volume, played.segmentation):
        node.HardenTransform()
    settle()


def test_a_transform_that_is_hardened_takes_along_what_was_painted(played):
    applied(played)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkTransform()
    matrix.Translate(*(3 * sceneVolumes.worldMatrix(played.volume)[:3, 2]))
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    hardened(played, transform)
    assert (played.where("liver") == played.liver).all()
    assert planesOf(played) == [(0, index) for index in COMPLETE]
    answer(played.processes[-1], played.liver)
    stroke(played, (0, 5))
    assert planesOf(played) == [(0, 2), (0, 4), (0, 5), (0, 7)]


def test_a_segmentation_that_is_turned_alone_is_told_and_teaches_nothing_around_what_is_painted(played):
    applied(played)
    matrix = vtk.vtkTransform()
    matrix.RotateX(20)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    played.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    played.segmentation.HardenTransform()
    settle()
    assert "not parallel to those of CT" in played.options.statusLabel.text and played.options.slicesList.count == 0
    assert planesOf(played) == []


def test_a_segment_that_was_deformed_is_told_until_it_is_learned_from(played):
    applied(played)
    deformed = vtk.vtkThinPlateSplineTransform()
    deformed.SetBasisToR()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    k, j, i = played.liver.shape
    toWorld = sceneVolumes.worldMatrix(played.volume)
    for place in np.ndindex(4, 4, 4):
        voxel = np.array(place) / 3 * [i, j, k]
        source.InsertNextPoint(*(toWorld @ [*voxel, 1])[:3])
        voxel[2] += 3 * np.cos(2 * place[0])
        target.InsertNextPoint(*(toWorld @ [*voxel, 1])[:3])
    deformed.SetSourceLandmarks(source)
    deformed.SetTargetLandmarks(target)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(deformed)
    played.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    played.segmentation.HardenTransform()
    settle()
    assert "all of it is a draft now" in played.options.statusLabel.text and played.options.slicesList.count == 0
    stroke(played, (0, 5))
    assert "all of it is a draft now" in played.options.statusLabel.text
    assert planesOf(played) == [(0, 5)]
    answer(played.processes[-1], played.liver)
    assert "draft" not in played.options.statusLabel.text


def test_voxels_that_are_brought_onto_another_grid_are_no_painting(played):
    applied(played)
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("Paint")
    settle()
    before = annotations.read(played.segmentation, "liver", played.volume)
    grid = sceneVolumes.localMatrix(played.volume) @ np.diag([0.5, 0.5, 0.5, 1.0])
    finer = sceneSegmentations.orientedImage(np.zeros([2 * n for n in played.liver.shape], np.uint8), grid)
    segmentation, converter = played.segmentation.GetSegmentation(), slicer.vtkSegmentationConverter
    segmentation.SetConversionParameter(
        converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(finer)
    )
    image = sceneSegmentations.labelmapOf(segmentation.GetSegment("liver"))
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(image, finer, image, False)
    settle()
    own = annotations.read(played.segmentation, "liver", played.volume)
    assert not own.scribbles.values.size and own.painted == before.painted
    assert np.array_equal(own.draft.on(played.liver.shape), before.draft.on(played.liver.shape))
    played.editor.mrmlSegmentEditorNode().SetActiveEffectName("HSSL")
    settle()
    assert planesOf(played) == [(0, index) for index in COMPLETE]


def test_the_first_stroke_on_a_segment_that_was_just_added_is_told_from_others(bench):
    other = bench.editor._addSegment("other")
    settle()
    bench.editor.mrmlSegmentEditorNode().SetActiveEffectName("Paint")
    k, j, i = np.ogrid[tuple(slice(0, n) for n in bench.liver.shape)]
    bench.paint(other, (k - 5) ** 2 + (j - 8) ** 2 + (i - 8) ** 2 <= 4)
    own = annotations.read(bench.segmentation, other, bench.volume)
    assert not own.painted and own.scribbles.values.sum() == bench.where(other).sum() > 0
    found, _known = annotations.annotationOf(bench.segmentation, {other: 1}, bench.volume)
    assert not found.planes, "what a sphere brush painted is no slice"


def test_a_stroke_is_undone_with_what_is_known_of_it(played):
    applied(played)
    stroke(played, (0, 5), on([], played.liver))
    assert played.options.slicesList.count == 4
    played.editor.undo()
    settle()
    assert played.options.slicesList.count == 3
    played.editor.redo()
    settle()
    assert played.options.slicesList.count == 4


def test_the_first_stroke_after_an_undo_is_told_from_others(bench):
    bench.add("liver", on([], bench.liver))
    bench.editor.mrmlSegmentEditorNode().SetActiveEffectName("Paint")
    for index in (2, 7):
        bench.editor.saveStateForUndo()
        bench.paint("liver", on([*(range(2, 3) if index == 7 else ()), index], bench.liver))
    # Slicer tells of an undone step that the segment was modified, not its voxels.
    bench.effect._recorder.removeObserver(
        bench.segmentation.GetSegmentation(),
        slicer.vtkSegmentation.SourceRepresentationModified,
        bench.effect._recorder._modified,
    )
    bench.editor.undo()
    settle()
    bench.effect._recorder.addObserver(
        bench.segmentation.GetSegmentation(),
        slicer.vtkSegmentation.SourceRepresentationModified,
        bench.effect._recorder._modified,
    )
    assert annotations.read(bench.segmentation, "liver", bench.volume).painted == {(0, 2)}
    ball = bench.where("liver").copy()
    ball[4:7, 1:4, 1:4] = True
    bench.paint("liver", ball)
    own = annotations.read(bench.segmentation, "liver", bench.volume)
    assert own.painted == {(0, 2)} and own.scribbles.values.any()


def test_a_slice_is_complete_for_the_segments_that_were_painted_on_it(played):
    played.add("spleen", on([3, 5], played.spleen))
    played.options.startButton.click()
    assert learnedFrom(played.processes[-1]) == [[0, 2, [1]], [0, 3, [2]], [0, 4, [1]], [0, 5, [2]], [0, 7, [1]]]


def test_a_slice_of_the_list_is_visited_and_switched_off_and_on(played):
    options = played.options
    settle()
    assert [options.slicesList.item(n).text() for n in range(3)] == [
        f"S: {played.volume.GetOrigin()[2] + index * played.volume.GetSpacing()[2]:.4g} mm" for index in COMPLETE
    ]
    options.slicesList.itemClicked.emit(options.slicesList.item(1))
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    expected = played.volume.GetOrigin()[2] + COMPLETE[1] * played.volume.GetSpacing()[2]
    assert red.GetSliceOffset() == pytest.approx(expected)
    options.slicesList.item(1).setCheckState(qt.Qt.Unchecked)
    settle()
    assert options.slicesList.count == 3, "it can be switched on again"
    assert planesOf(played) == [(0, 2), (0, 7)]
    learn = commands(played.processes[-1])[-1]
    assert not np.load(learn["annotation"])[4 - learn["start"][0]].any()
    played.options.cancelButton.click()
    played.processes[-1].end(0)
    settle()
    options.slicesList.item(1).setCheckState(qt.Qt.Checked)
    settle()
    assert planesOf(played) == [(0, 2), (0, 4), (0, 7)]


@pytest.mark.parametrize(("view", "axis"), [("Red", 0), ("Green", 1), ("Yellow", 2)])
def test_a_slice_is_named_as_its_view_names_it(played, view, axis):
    from HSSLSegmentationLib.scene import slices as sceneSlices

    sliceNode = slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
    sceneSlices.goTo((5, 9, 13), played.volume)
    plane = sceneSlices.shownPlane(sliceNode, played.volume)
    assert plane == (axis, (5, 9, 13)[axis])
    letter, place, _unit = sceneSlices.name(plane, played.volume).split()
    normal = [sliceNode.GetSliceToRAS().GetElement(row, 2) for row in range(3)]
    assert letter == f"{sliceNode.GetDirectionLabel(normal, True)}:"
    assert float(place) == pytest.approx(sliceNode.GetSliceOffset(), rel=1e-3)


def test_rounds_start_by_themselves_while_the_old_preview_stays(played):
    previewed(played)
    node = played.previewNode()
    played.options.liveCheck.click()
    stroke(played, (0, 5))
    assert played.effect._liveTimer.isActive()
    played.effect._liveTimer.stop()
    played.effect.onLive()
    assert played.effect.session.busy and played.previewNode() is node
    stroke(played, (0, 6))
    played.effect._liveTimer.stop()
    played.effect.onLive()
    count = sum(c["command"] == "learn" for c in commands(played.processes[-1]))
    answer(played.processes[-1], played.liver & (np.arange(played.liver.shape[0]) < 6)[:, None, None])
    assert played.previewNode() is node, "shows the new one"
    assert played.effect._liveTimer.isActive(), "what was painted meanwhile is learned from next"
    played.effect._liveTimer.stop()
    played.effect.onLive()
    assert sum(c["command"] == "learn" for c in commands(played.processes[-1])) == count + 1
    assert (0, 6) in [tuple(plane[:2]) for plane in learnedFrom(played.processes[-1])]


def test_views_that_cut_the_volume_obliquely_are_aligned_on_request(played):
    assert played.options.alignButton.isHidden()
    matrix = sceneVolumes.localMatrix(played.volume)
    turn = vtk.vtkTransform()
    turn.RotateX(25)
    tilted = slicer.util.arrayFromVTKMatrix(turn.GetMatrix()) @ matrix
    played.volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(tilted))
    played.effect.show()
    assert not played.options.alignButton.isHidden()
    played.options.alignButton.click()
    assert played.options.alignButton.isHidden()


@pytest.mark.parametrize("ends", ["dies", "hangs"])
def test_two_editors_share_the_worker_each_opens_its_volume_and_both_are_told_of_its_end(played, monkeypatch, ends):
    previewed(played)
    again = segment_editor.opened(played.segmentation, played.volume, "HSSL")
    settle()
    other = again.activeEffect().self().controller
    other.makeProcess = played.effect.makeProcess
    other.options.startButton.click()
    assert len(played.processes) == 1
    opened = [c for c in commands(played.processes[0]) if c["command"] == "open"]
    assert len(opened) == 2
    played.options.startButton.click()
    assert played.effect.session.busy and other.session.busy
    if ends == "dies":
        played.processes[0].end(9, crashed=True)
        words = "killed from outside"
    else:
        monkeypatch.setattr(effectSession, "CANCEL_GRACE_MS", 0)
        monkeypatch.setattr(effectSession, "OPENING_GRACES", 0)
        other.options.cancelButton.click()
        settle()
        words = "did not answer"
    for one in (played.effect, other):
        assert not one.session.busy and words in one.options.statusLabel.text, "both are told"
    played.options.startButton.click()
    again.setActiveEffect(None)
    settle()
    other.scriptedEffect.cleanup()
    again.setMRMLSegmentEditorNode(None)
    assert len(played.processes) == 2 and played.processes[-1].isRunning(), "the first editor uses it still"
