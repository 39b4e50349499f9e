"""Sections Segment, Models and Settings: results go only where they were meant to go."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import vtk
from panel_fixtures import answerPrediction, configurationOf, fakeRun

import slicer
from harness.fixtures import settle, waitUntil
from hssl.locks import FolderLock
from hssl.workspace.catalogue import Catalogue
from HSSLSegmentationLib import settings
from HSSLSegmentationLib.scene import annotations
from HSSLSegmentationLib.scene import pictures as scenePictures
from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
from HSSLSegmentationLib.scene import volumes as sceneVolumes
from HSSLSegmentationLib.scene.volumes import SceneVolumeError


@pytest.fixture
def ready(panel, processes, workspace):
    """A model and a volume are chosen; Segment can be pressed."""
    run = fakeRun(workspace, "brain", {"validation_dice": 0.8}, task="brain_mr", start="scratch")
    panel.forget()
    panel.parameterNode.inputVolume = scenePictures.show(panel.catalogue, "brain_mr_u001")
    panel.parameterNode.model = str(run)
    settle()
    return panel


def segments(node) -> list[str]:
    segmentation = node.GetSegmentation()
    return [segmentation.GetSegment(i).GetName() for i in segmentation.GetSegmentIDs()]


def test_a_result_becomes_a_segmentation_with_names_an_overlay_and_can_be_undone(ready, processes):
    ui, parameters = ready.segment.ui, ready.parameterNode
    ui.uncertaintyCheck.checked = True
    ui.flipsCheck.checked = True
    settle()
    ui.startButton.click()
    configuration = configurationOf(processes[-1])
    assert configuration["flips"] and configuration["uncertainty"] and not configuration["largest_component"]
    folder = Path(configuration["output"]).parent
    answerPrediction(processes[-1], uncertainty=True)
    assert ready.job.state == "done", ready.job.error
    node = parameters.outputSegmentation
    assert segments(node) == [c.name for c in ready.catalogue.task("brain_mr").classes]
    assert slicer.util.getNode("brain_mr_u001 uncertainty") is not None
    assert ui.editButton.enabled and not ui.undoButton.isHidden()
    assert not folder.exists()
    ui.undoButton.click()
    assert segments(node) == []


def test_the_editor_opens_on_the_result(ready, processes):
    ready.segment.ui.startButton.click()
    answerPrediction(processes[-1])
    ready.segment.ui.editButton.click()
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    assert editor.segmentationNode() is ready.parameterNode.outputSegmentation
    assert editor.sourceVolumeNode() is ready.parameterNode.inputVolume


def test_a_result_goes_into_the_segmentation_that_was_chosen_and_leaves_its_other_segments(ready, processes):
    volume = ready.parameterNode.inputVolume
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    mine.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    mine.GetSegmentation().AddEmptySegment("s", "Skull")
    whole = np.ones(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(whole, mine, "s", volume)
    ready.segment.ui.segmentationSelector.setCurrentNode(mine)
    settle()
    ready.segment.ui.startButton.click()
    answerPrediction(processes[-1])
    assert segments(mine)[0] == "Skull" and len(segments(mine)) == 4
    assert slicer.util.arrayFromSegmentBinaryLabelmap(mine, "s", volume).all()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_a_segmentation_under_another_transform_is_refused_before_the_job_and_not_after_it(ready, processes):
    elsewhere = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    mine.SetAndObserveTransformNodeID(elsewhere.GetID())
    ready.parameterNode.outputSegmentation = mine
    settle()
    button = ready.segment.ui.startButton
    assert not button.enabled and "mine is under another transform than brain_mr_u001" in button.toolTip
    with pytest.raises(SceneVolumeError, match="under another transform"):
        ready.logic.segment(ready.parameterNode.inputVolume, ready.parameterNode.model, mine)
    assert not processes


def test_a_result_does_not_go_among_surfaces(ready, processes):
    volume = ready.parameterNode.inputVolume
    bones = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bones")
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    bones.GetSegmentation().SetSourceRepresentationName(surface)
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    segment = slicer.vtkSegment()
    segment.AddRepresentation(surface, sphere.GetOutput())
    bones.GetSegmentation().AddSegment(segment, "bone")
    ready.parameterNode.outputSegmentation = bones
    settle()
    button = ready.segment.ui.startButton
    assert not button.enabled and "The segments of bones are no label maps (Closed surface)" in button.toolTip
    with pytest.raises(SceneVolumeError, match="no label maps"):
        ready.logic.segment(volume, ready.parameterNode.model, bones)
    with pytest.raises(SceneVolumeError, match="no label maps"):
        ready.logic.learnFromSlices(volume, bones)
    assert not processes
    ready.parameterNode.outputSegmentation = None
    settle()
    assert button.enabled, button.toolTip


def test_a_deleted_segmentation_is_told_and_no_other_gets_the_result(ready, processes):
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    ready.parameterNode.outputSegmentation = mine
    settle()
    ready.segment.ui.startButton.click()
    slicer.mrmlScene.RemoveNode(mine)
    answerPrediction(processes[-1])
    assert "segmentation was removed" in ready.segment.jobView.ui.statusLabel.text
    assert segments(other) == []


def test_what_was_drawn_by_hand_during_the_job_stays(ready, processes):
    parameters = ready.parameterNode
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    mine.CreateDefaultDisplayNodes()
    mine.SetReferenceImageGeometryParameterFromVolumeNode(parameters.inputVolume)
    parameters.outputSegmentation = mine
    settle()
    ready.segment.ui.startButton.click()
    lesion = mine.GetSegmentation().AddEmptySegment("lesion", "lesion")
    shape = slicer.util.arrayFromVolume(parameters.inputVolume).shape
    drawn = np.zeros(shape, np.uint8)
    drawn[2:4, 5:9, 5:9] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, mine, lesion, parameters.inputVolume)
    answerPrediction(processes[-1])
    assert ready.job.state == "done", ready.job.error
    assert "lesion" in segments(mine) and len(segments(mine)) > 1
    after = slicer.util.arrayFromSegmentBinaryLabelmap(mine, lesion, parameters.inputVolume)
    assert np.array_equal(after > 0, drawn > 0)


def test_a_full_disk_is_told_and_no_process_starts(ready, processes):
    """A limit on the size of files stands in for a disk that is full: the scan cannot be handed over."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, before[1]))
    try:
        ready.segment.ui.startButton.click()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ready.job.state == "failed" and not processes[0].program
    assert "volume.nrrd: cannot be written (" in ready.segment.jobView.ui.statusLabel.text
    ready.segment.ui.startButton.click()
    assert processes[1].isRunning()


def test_a_deleted_volume_is_told_and_nothing_is_made(ready, processes):
    ready.segment.ui.startButton.click()
    slicer.mrmlScene.RemoveNode(ready.parameterNode.inputVolume)
    answerPrediction(processes[-1])
    assert "volume was removed" in ready.segment.jobView.ui.statusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def move(volume) -> None:
    volume.SetOrigin(99, 0, 0)


def showAnotherFrame(volume) -> None:
    """As the browser of a sequence does with its volume."""
    other = slicer.vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(other, slicer.util.arrayFromVolume(volume)[::-1].copy())
    volume.SetAndObserveImageData(other.GetImageData())


@pytest.mark.parametrize("change", [move, showAnotherFrame])
def test_a_volume_that_was_moved_or_shows_other_voxels_meanwhile_gets_no_result(ready, processes, change):
    volume = ready.parameterNode.inputVolume
    ready.segment.ui.startButton.click()
    change(volume)
    answerPrediction(processes[-1])
    assert "was changed or moved meanwhile" in ready.segment.jobView.ui.statusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_slices_of_voxels_that_are_no_longer_shown_fill_nothing(ready, processes):
    volume = ready.parameterNode.inputVolume
    painted = sceneSegmentations.newSegmentation("painted", volume)
    painted.GetSegmentation().AddEmptySegment("a", "a")
    where = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    where[2, 2:6, 2:6] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(where, painted, "a", volume)
    job = ready.logic.learnFromSlices(volume, painted, waitForCompletion=False)
    waitUntil(lambda: processes, 10, "the process")
    showAnotherFrame(volume)
    processes[-1].say({"event": "done", "result": {"label_map": "labels.nii.gz", "spans": {}}})
    processes[-1].end(0)
    settle()
    assert job.state == "failed" and "was changed or moved meanwhile" in job.error


def test_what_the_engine_refuses_is_told_with_its_reason(ready, processes):
    ready.segment.ui.startButton.click()
    processes[-1].say(
        {"event": "done", "result": {"outputs": [], "failed": [{"input": "v", "reason": "v: is constant"}]}}
    )
    processes[-1].end(0)
    assert "v: is constant" in ready.segment.jobView.ui.statusLabel.text


def test_an_undo_never_takes_away_what_was_corrected_since(ready, processes):
    ready.segment.ui.startButton.click()
    answerPrediction(processes[-1])
    ui, node, volume = ready.segment.ui, ready.parameterNode.outputSegmentation, ready.parameterNode.inputVolume
    assert not ui.undoButton.isHidden()
    first = node.GetSegmentation().GetNthSegmentID(0)
    corrected = slicer.util.arrayFromSegmentBinaryLabelmap(node, first, volume).astype(np.uint8)
    corrected[0] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(corrected, node, first, volume)
    ui.undoButton.click()
    assert (slicer.util.arrayFromSegmentBinaryLabelmap(node, first, volume) == corrected).all()
    assert ui.undoButton.isHidden()


def test_a_closed_scene_does_not_stop_the_segmentation_of_a_folder(ready, processes, tmp_path):
    (tmp_path / "in").mkdir()
    ready.segment.ui.whatCombo.setCurrentIndex(1)
    ready.segment.ui.folderEdit.setCurrentPath(str(tmp_path / "in"))
    settle()
    ready.segment.ui.startButton.click()
    slicer.mrmlScene.Clear(0)
    settle()
    assert ready.job.state == "running"


def test_with_a_closed_scene_a_result_that_could_be_undone_is_gone(ready, processes):
    ready.segment.ui.startButton.click()
    answerPrediction(processes[-1])
    assert not ready.segment.ui.undoButton.isHidden()
    slicer.mrmlScene.Clear(0)
    settle()
    assert ready.segment.ui.undoButton.isHidden()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode") == 0


def test_a_closed_scene_stops_the_segmentation(ready, processes):
    ready.segment.ui.startButton.click()
    job = ready.job
    slicer.mrmlScene.Clear(0)
    assert job.state == "stopping"
    processes[-1].end(10)


def test_a_folder_is_segmented_and_failures_are_listed(ready, processes, tmp_path):
    ui = ready.segment.ui
    (tmp_path / "in").mkdir()
    ui.whatCombo.setCurrentIndex(1)
    settle()
    assert "Choose a folder of volumes" in ui.startButton.toolTip
    ui.folderEdit.setCurrentPath(str(tmp_path / "in"))
    ui.outputEdit.setCurrentPath(str(tmp_path / "in"))
    settle()
    assert "another folder" in ui.startButton.toolTip
    ui.outputEdit.setCurrentPath(str(tmp_path / "out"))
    settle()
    ui.startButton.click()
    assert configurationOf(processes[-1])["inputs"] == [str(tmp_path / "in")]
    failed = [{"input": "/x/b.nii", "reason": "is empty"}]
    processes[-1].say({"event": "done", "result": {"outputs": [{"input": "a", "label_map": "a"}], "failed": failed}})
    processes[-1].end(0)
    assert "1 volume was segmented" in ui.resultLabel.text and "b.nii: is empty" in ui.resultLabel.text


def test_what_was_segmented_of_a_folder_before_it_was_stopped_is_counted(ready, processes, tmp_path):
    ui = ready.segment.ui
    (tmp_path / "in").mkdir()
    ui.whatCombo.setCurrentIndex(1)
    ui.folderEdit.setCurrentPath(str(tmp_path / "in"))
    settle()
    ui.startButton.click()
    ready.segment.jobView.ui.stopButton.click()
    outputs = [{"input": name, "label_map": name} for name in ("a", "b")]
    processes[-1].say({"event": "done", "stopped": True, "result": {"outputs": outputs, "failed": []}})
    processes[-1].end(10)
    assert ui.resultLabel.text == "2 volumes were segmented." and not ui.resultLabel.isHidden()


def test_nothing_of_a_result_that_cannot_be_taken_over_stays_in_the_scene_or_in_memory(ready, processes, monkeypatch):
    """The editor that writes it holds all segments as they were, for an undo."""

    def broken(*_arguments):
        raise SceneVolumeError("something went wrong after the writing")

    monkeypatch.setattr(annotations, "markedDraft", broken)
    ready.segment.ui.startButton.click()
    answerPrediction(processes[-1])
    assert ready.job.state == "failed" and not ready.job.writer.canUndo()
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLSegmentEditorNode") if n.GetName() == "HSSL"]


def test_what_was_said_of_nan_in_a_volume_holds_when_it_is_segmented_and_added(ready, processes, workspace):
    volume = slicer.util.addVolumeFromArray(np.random.default_rng(0).normal(100, 20, (8, 9, 10)), name="masked")
    slicer.util.arrayFromVolume(volume)[0] = np.nan
    sceneVolumes.setNanBackground(volume, True)
    ready.parameterNode.inputVolume = volume
    settle()
    ready.segment.ui.startButton.click()
    assert configurationOf(processes[-1])["nan_is_background"]
    catalogue = Catalogue.load(workspace)
    id = ready.logic.addVolume(workspace, volume, "new task")
    catalogue = Catalogue.load(workspace)
    assert catalogue.image(id).problem is None and catalogue.task("new task").nan_is_background


def test_the_chosen_model_stays_chosen_when_another_comes(ready, workspace):
    fakeRun(workspace, "other", {"validation_dice": 0.7}, task="brain_mr", start="scratch")
    ready.forget()
    ready.refresh()
    chosen = next(e for e in ready.models._entries if e.name == "brain")
    ready.models.ui.modelsTable.selectRow(ready.models._entries.index(chosen))
    fakeRun(workspace, "third", {"validation_dice": 0.7}, task="brain_mr", start="scratch")
    ready.forget()
    ready.refresh()
    assert ready.models.chosen().name == "brain" and ready.models._entries[0].name != "brain"


def test_a_model_is_exported_and_imported_by_the_engine(ready, processes, tmp_path, dialogs):
    ui = ready.models.ui
    assert ui.exportButton.enabled
    assert "Structures: " in ui.informationLabel.text
    ui.licenceEdit.text = "CC BY 4.0"
    dialogs.answer(tmp_path / "brain.zip")
    ui.exportButton.click()
    process = processes[-1]
    assert process.arguments[2:4] == ["export", ready.parameterNode.model]
    assert process.argument("--licence") == "CC BY 4.0"
    process.say({"event": "done", "result": {"file": "x"}})
    process.end(0)
    settle()
    dialogs.answer(tmp_path / "theirs.zip")
    ui.importButton.click()
    assert processes[-1].arguments[2:5] == ["import", str(tmp_path / "theirs.zip"), ready.workspace]


def test_a_damaged_model_is_listed_with_its_reason_and_cannot_be_chosen(ready, workspace):
    (workspace / "models").mkdir()
    (workspace / "models" / "bad.zip").write_bytes(b"no zip at all")
    ready.forget()
    ready.refresh()
    names = [ready.models.model.item(row, 0).text() for row in range(ready.models.model.rowCount())]
    assert "bad" in names
    ready.models.ui.modelsTable.selectRow(names.index("bad"))
    assert "bad.zip" in ready.models.ui.informationLabel.text
    modelCombo = ready.segment.ui.modelCombo
    assert not any("bad" in modelCombo.itemText(i) for i in range(modelCombo.count))


def test_settings_are_kept_and_go_to_the_jobs(ready, processes):
    ui = ready.settings.ui
    ui.threadsBox.value = 3
    ui.memoryBox.value = 256
    ui.deviceCombo.setEditText("cpu")
    ready.segment.ui.startButton.click()
    configuration = configurationOf(processes[-1])
    assert [configuration[k] for k in ("threads", "slab_megabytes", "device")] == [3, 256, "cpu"]
    assert settings.value("threads") == 3


def test_the_cache_is_shown_and_cleared(panel, workspace):
    (workspace / "store").mkdir()
    (workspace / "store" / "a.npy").write_bytes(b"0" * 5_000_000)
    panel.ui.settingsButton.collapsed = False
    ui = panel.settings.ui
    assert ui.cacheLabel.text == "5 MB"
    ui.clearCacheButton.click()
    assert not (workspace / "store").exists()
    assert not ui.clearCacheButton.enabled and ui.clearCacheButton.toolTip == "The cache is empty."


def test_the_cache_stays_while_another_process_trains_from_it(panel, workspace, caplog):
    (workspace / "store").mkdir()
    (workspace / "store" / "array").write_bytes(b"0" * 3_000_000)
    run = fakeRun(workspace, "overnight")
    panel.ui.settingsButton.collapsed = False
    settle()
    with FolderLock(run):
        panel.settings.ui.clearCacheButton.click()
    assert "another process" in caplog.text and "Wait for it to end" in caplog.text
    assert (workspace / "store" / "array").is_file()
    panel.settings.ui.clearCacheButton.click()
    assert not (workspace / "store").exists()


def test_the_cache_is_measured_while_a_job_renames_its_files(panel, workspace, monkeypatch):
    (workspace / "store").mkdir()
    for name, count in (("stays", 3_000_000), ("goes", 9_000_000)):
        (workspace / "store" / name).write_bytes(b"0" * count)
    isFile = Path.is_file

    def thenRenamed(path) -> bool:
        found = isFile(path)
        if path.name == "goes":
            path.unlink()
        return found

    monkeypatch.setattr(Path, "is_file", thenRenamed)
    panel.ui.settingsButton.collapsed = False
    settle()
    assert panel.settings.ui.cacheLabel.text == "3 MB"


def test_the_packages_are_checked_in_a_process(panel, processes):
    panel.ui.settingsButton.collapsed = False
    ui = panel.settings.ui
    ui.checkButton.click()
    assert ui.packagesLabel.text == "Checking…" and not ui.checkButton.enabled
    processes[-1].say('HSSL-PROBE {"torch": "2.7.1", "device": "cpu"}')
    processes[-1].end(0)
    waitUntil(lambda: "Ready" in ui.packagesLabel.text, 5)
    assert "PyTorch 2.7.1 on cpu" in ui.packagesLabel.text
