"""Sections Pretrain and Fine-tune: what they ask of the engine, what they say, and what they do with its answers."""

from __future__ import annotations

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import vtk
from panel_fixtures import configurationOf, fakeRun

import slicer
from harness.fixtures import settle, waitUntil
from hssl.errors import OutputError
from hssl.workspace.catalogue import Catalogue
from hssl.workspace.scan import pseudonym
from HSSLSegmentationLib import choices, settings, steps
from HSSLSegmentationLib.scene import annotations
from HSSLSegmentationLib.scene import cases as sceneCases
from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
from HSSLSegmentationLib.scene import volumes as sceneVolumes
from HSSLSegmentationLib.scene.volumes import SceneVolumeError


def finish(process, run: str, **result) -> None:
    process.say({"event": "done", "result": {"run": run, **result}})
    process.end(0)
    settle()


def test_pretraining_is_started_with_the_chosen_options(panel, processes, workspace):
    ui, parameters = panel.pretrain.ui, panel.parameterNode
    ui.startCombo.setCurrentIndex(ui.startCombo.count - 1)  # scratch; a start brings its network
    settle()
    ui.minutesBox.value = 12.5
    ui.networkCombo.setCurrentIndex(1)
    ui.denseCheck.checked = False
    settle()
    assert parameters.pretrainMinutes == 12.5 and parameters.networkSize == "medium"
    ui.startButton.click()
    process = processes[-1]
    configuration = configurationOf(process)
    assert process.arguments[:3] == ["-m", "hssl", "pretrain"]
    assert configuration["workspace"] == str(workspace)
    assert configuration["budget"]["minutes"] == 12.5 and configuration["budget"]["steps"] is None
    assert configuration["network"]["size"] == "medium"
    assert configuration["weights"]["dense"] == 0 and configuration["weights"]["reconstruction"] == 50


def test_a_pretraining_goes_on_from_another_one_and_learns_from_labels_when_that_is_chosen(panel, processes, workspace):
    fakeRun(workspace, "night", {"steps": 10, "minutes": 2.0})
    panel.forget()
    ui, parameters = panel.pretrain.ui, panel.parameterNode
    parameters.pretrainSteps = 50
    settle()
    texts = [ui.startCombo.itemText(i) for i in range(ui.startCombo.count)]
    assert texts[0] == "night" and texts[-1].startswith("scratch")
    ui.startCombo.setCurrentIndex(0)
    parameters.withLabels = True
    settle()
    assert not ui.networkCombo.enabled and "brings its network" in ui.networkCombo.toolTip
    ui.startButton.click()
    configuration = configurationOf(processes[-1])
    assert configuration["start"] == "night" and configuration["with_labels"] is True


def test_a_pretraining_goes_on_from_what_ships_unless_scratch_is_chosen(panel, processes):
    ui, parameters = panel.pretrain.ui, panel.parameterNode
    parameters.pretrainSteps = 50
    settle()
    assert ui.startCombo.currentText == "HSSL general (ships with it)" and not ui.networkCombo.enabled
    ui.startCombo.setCurrentIndex(ui.startCombo.count - 1)
    settle()
    assert parameters.pretrainStart == "scratch" and ui.networkCombo.enabled
    ui.startCombo.setCurrentIndex(ui.startCombo.count - 2)
    ui.startButton.click()
    assert configurationOf(processes[-1])["start"] == "general"


@pytest.mark.parametrize(
    ("given", "start"),
    [
        ({}, "general"),
        ({"options": {"network": {"size": "medium"}}}, "scratch"),
        ({"start": "scratch"}, "scratch"),
        ({"start": "general", "options": {"network": {"size": "medium"}}}, "general"),
    ],
)
def test_from_the_console_it_goes_on_from_what_ships_unless_a_network_is_asked_for(panel, processes, given, start):
    panel.logic.pretrain(panel.workspace, steps=5, **given)
    assert configurationOf(processes[-1])["start"] == start


def test_a_disabled_start_says_why(panel):
    ui, parameters = panel.pretrain.ui, panel.parameterNode
    parameters.pretrainMinutes = 0.0
    settle()
    assert not ui.startButton.enabled and "Set a time" in ui.startButton.toolTip
    parameters.pretrainMinutes = 5.0
    for name in ("imageLoss", "taskLoss", "groupLoss", "reconstructionLoss", "denseLoss", "positionLoss"):
        setattr(parameters, name, False)
    settle()
    assert "at least one way to learn" in ui.startButton.toolTip
    parameters.withLabels = True  # labels are one, too
    settle()
    assert ui.startButton.enabled and "from their labels" in ui.startButton.toolTip
    parameters.withLabels, parameters.imageLoss = False, True
    settle()
    assert ui.startButton.enabled and "without labels" in ui.startButton.toolTip


def test_progress_curves_and_the_end_are_shown(panel, processes, workspace):
    section, ui = panel.pretrain, panel.pretrain.jobView.ui
    section.ui.startButton.click()
    process = processes[-1]
    process.say({"event": "phase", "name": "training", "index": 2, "count": 2})
    process.say({"event": "progress", "phase": "training", "step": 3, "total": 10, "fraction": 0.3, "eta_seconds": 200})
    for step in range(3):
        process.say(
            {"event": "losses", "step": step, "values": {"image": 3.0 - step, "total": 9.0}, "learning_rate": 0.1}
        )
    section.jobView._lastPlot = 0.0
    section.jobView.update()
    assert ui.progressBar.value == 300
    assert "Learning (2 of 2)" in ui.statusLabel.text and "3 min left" in ui.statusLabel.text
    chart = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    assert [chart.GetNthPlotSeriesNode(i).GetName() for i in range(chart.GetNumberOfPlotSeriesNodes())] == [
        "image contrastive"
    ]
    assert not ui.plotHolder.isHidden()
    run = fakeRun(workspace, "pretrain", {"steps": 10, "minutes": 2.0})
    finish(process, str(run), steps=10, minutes=2.0)
    assert panel.parameterNode.pretrainRun == "pretrain"
    assert panel.parameterNode.fineTuneStart == "pretrain"
    assert "10 steps" in section.ui.runLabel.text
    assert "fine-tune" in section.ui.hintLabel.text


def test_a_stop_keeps_what_was_learned_and_resume_goes_on_with_the_same_run(panel, processes, workspace):
    section = panel.pretrain
    section.ui.startButton.click()
    first = configurationOf(processes[-1])
    run = fakeRun(workspace, first["run"])
    section.jobView.ui.stopButton.click()
    assert not section.jobView.ui.stopButton.enabled
    processes[-1].say({"event": "done", "stopped": True, "result": {"run": str(run)}})
    processes[-1].end(10)
    settle()
    assert "kept" in section.jobView.ui.statusLabel.text
    assert not section.jobView.ui.resumeButton.isHidden()
    section.jobView.ui.resumeButton.click()
    assert configurationOf(processes[-1])["run"] == first["run"]


def test_a_run_of_an_earlier_session_can_be_resumed(panel, processes, workspace):
    fakeRun(workspace, "old", workspace="/where/it/was", run="old")
    panel.forget()
    panel.parameterNode.pretrainRun = "old"
    settle()
    button = panel.pretrain.ui.resumeRunButton
    assert not button.isHidden() and button.enabled
    button.click()
    configuration = configurationOf(processes[-1])
    assert configuration["run"] == "old"
    assert configuration["workspace"] == str(workspace)


def test_a_job_that_dies_is_told_in_the_section_with_its_last_lines(panel, processes):
    section = panel.pretrain
    section.ui.startButton.click()
    processes[-1].say("RuntimeError: something inside torch")
    processes[-1].end(1)
    settle()
    assert "something inside torch" in section.jobView.ui.statusLabel.text
    assert section.ui.startButton.enabled


def test_only_one_job_runs_at_a_time_and_every_other_button_says_so(panel, processes):
    panel.pretrain.ui.startButton.click()
    settle()
    for button in (panel.fineTune.ui.startButton, panel.segment.ui.startButton, panel.pretrain.ui.startButton):
        assert not button.enabled
    assert "Pretraining is running" in panel.fineTune.ui.startButton.toolTip


def test_a_missing_python_is_told_in_words_and_nothing_starts(panel, caplog):
    settings.setValue("python", "/no/python")
    panel.pretrain.ui.startButton.click()
    assert "/no/python is not a Python that can be run" in caplog.text and "Traceback" not in caplog.text
    assert panel.job is None


def test_with_a_missing_python_the_memory_is_not_estimated_and_nothing_else_happens(panel, processes):
    panel.pretrain.memory._timer.setInterval(0)
    chosen = settings.value("python")
    settings.setValue("python", "/no/python")
    panel.ui.pretrainButton.collapsed = False
    panel.refresh()
    settle()
    assert panel.pretrain.ui.memoryLabel.isHidden() and not processes
    settings.setValue("python", chosen)
    panel.refresh()
    waitUntil(lambda: processes, 5, "the estimate")


@pytest.mark.parametrize(("steps", "text"), [(1, "1 step in 2 min."), (10, "10 steps in 2 min.")])
def test_how_long_a_training_was_has_the_nouns_of_its_numbers(panel, workspace, steps, text):
    fakeRun(workspace, "night", {"steps": steps, "minutes": 2.0})
    panel.forget()
    panel.refresh()
    assert panel.pretrain.ui.runLabel.text == text
    assert f"Learned: {text[:-1]}" in panel.models.ui.informationLabel.text


def test_fine_tuning_is_started_with_task_cases_and_start(panel, processes, workspace):
    fakeRun(workspace, "pretrain", {"steps": 9, "minutes": 1})
    for name, task in (("large", "heart_mr"), ("other", "brain_mr")):
        fakeRun(workspace, name, {"steps": 9, "minutes": 1}, task=task)
    panel.forget()
    panel.refresh()
    ui, parameters = panel.fineTune.ui, panel.parameterNode
    names = [ui.taskCombo.itemData(i) for i in range(ui.taskCombo.count)]
    ui.taskCombo.setCurrentIndex(names.index("heart_mr"))
    assert ui.startCombo.itemData(ui.startCombo.currentIndex) == "pretrain", "the best there is, without a choice"
    ui.casesCombo.setCurrentIndex(1)
    ui.countBox.value = 2
    ui.mirrorCheck.checked = True
    settle()
    assert [ui.teacherCombo.itemData(i) for i in range(ui.teacherCombo.count)] == ["", "large"], "of this task alone"
    ui.teacherCombo.setCurrentIndex(1)
    settle()
    assert not ui.countBox.isHidden()
    assert parameters.fineTuneStart == ""
    ui.startButton.click()
    configuration = configurationOf(processes[-1])
    assert [configuration[k] for k in ("task", "start", "case_count", "cases")] == ["heart_mr", "pretrain", 2, []]
    assert configuration["mirror"] and configuration["teacher"] == "large"


def test_a_teacher_of_another_task_keeps_from_starting(panel, workspace):
    fakeRun(workspace, "large", {"steps": 9, "minutes": 1}, task="heart_mr")
    panel.forget()
    parameters, ui = panel.parameterNode, panel.fineTune.ui
    parameters.fineTuneTask, parameters.fineTuneStart = "heart_mr", "scratch"
    settle()
    ui.teacherCombo.setCurrentIndex(1)
    settle()
    assert parameters.fineTuneTeacher == "large" and ui.startButton.enabled
    parameters.fineTuneTask = "brain_mr"
    settle()
    assert "does not segment this task" in ui.startButton.toolTip and not ui.startButton.enabled


def test_the_chosen_rows_of_the_table_are_the_cases(panel, processes):
    panel.parameterNode.fineTuneTask = "brain_mr"
    panel.parameterNode.fineTuneCases = "chosen"
    settle()
    panel.dataset.ui.filterEdit.text = "brain_mr_00"
    assert "None of the rows" in panel.fineTune.ui.startButton.toolTip and not panel.fineTune.ui.startButton.enabled
    panel.dataset.ui.imagesTable.selectAll()
    settle()
    panel.fineTune.ui.startButton.click()
    assert sorted(configurationOf(processes[-1])["cases"]) == ["brain_mr_001", "brain_mr_002", "brain_mr_003"]


def _drawn(panel):
    """Shows a labelled scan of the workspace as if its label had been drawn, and chooses what is drawn as cases."""
    from HSSLSegmentationLib.scene import pictures as scenePictures

    scenePictures.show(panel.catalogue, "heart_mr_001")
    volumeNode = slicer.util.getNode("heart_mr_001")
    volumeNode.SetName("drawn by me")
    panel.parameterNode.fineTuneTask = "heart_mr"
    panel.parameterNode.fineTuneCases = "scene"
    settle()
    return volumeNode


def test_volumes_with_a_segmentation_in_the_scene_become_cases(panel, processes):
    volumeNode = _drawn(panel)
    voxels = slicer.util.arrayFromVolume(volumeNode)
    voxels[:] = voxels[:, :, ::-1].copy()
    slicer.util.arrayFromVolumeModified(volumeNode)
    before = len(panel.catalogue.images)
    start(panel)
    added = panel.catalogue.images[before:]
    assert [i.label_problem for i in added] == [None]
    assert configurationOf(processes[-1])["cases"] == [i.id for i in added]
    # Once more, as it is: it is the same case; and with another label it is the same case with that one.
    finish(processes[-1], str(panel.workspace) + "/runs/one", steps=1, minutes=1, cases=[i.id for i in added])
    start(panel)
    assert len(processes) == 2 and configurationOf(processes[-1])["cases"] == [i.id for i in added]
    assert panel.catalogue.images[before:] == added
    finish(processes[-1], str(panel.workspace) + "/runs/two", steps=1, minutes=1, cases=[i.id for i in added])
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    segmentId = segmentation.GetSegmentation().GetNthSegmentID(0)
    labels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentId, volumeNode)
    labels[0, 0, :3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, segmentation, segmentId, volumeNode)
    start(panel)
    assert configurationOf(processes[-1])["cases"] == [i.id for i in added]
    (image,) = panel.catalogue.images[before:]
    assert image.label != added[0].label
    kept = sitk.GetArrayFromImage(sitk.ReadImage(str(panel.catalogue.label_path(image))))
    assert np.array_equal(kept[0, 0, :3] > 0, [True] * 3)


def start(panel) -> None:
    """Presses Start, and waits until what is in the scene was added."""
    panel.fineTune.ui.startButton.click()
    waitUntil(lambda: not panel.adding.text, 30, "the volumes")
    settle()


@pytest.mark.parametrize("closes", [False, True])
def test_volumes_of_the_scene_are_added_in_steps_and_are_not_lost_when_it_closes_meanwhile(
    panel, processes, workspace, monkeypatch, closes
):
    volumeNode = _drawn(panel)
    voxels = slicer.util.arrayFromVolume(volumeNode)
    voxels[:] = voxels[:, :, ::-1].copy()
    slicer.util.arrayFromVolumeModified(volumeNode)
    before = len(panel.catalogue.images)
    monkeypatch.setattr(steps, "SECONDS_AT_ONCE", 0.0)
    panel.fineTune.ui.startButton.click()
    waitUntil(lambda: panel.adding.text == "drawn by me is being added…", 30, "the adding")
    assert not processes and panel.fineTune.ui.addingWidget.isHidden(), "of one there is nothing to stop"
    panel.refresh()
    assert not panel.fineTune.ui.startButton.enabled and "is being added" in panel.fineTune.ui.startButton.toolTip
    assert "drawn by me is being added" in panel.fineTune.ui.hintLabel.text
    if closes:
        slicer.mrmlScene.Clear(0)
    waitUntil(lambda: processes, 30, "the job")
    added = Catalogue.load(workspace).images[before:]
    assert len(added) == 1 and configurationOf(processes[-1])["cases"] == [i.id for i in added]


@pytest.fixture
def several(panel, processes, monkeypatch) -> list:
    """Three volumes of the scene with their segmentations, chosen as cases; each step of the work is one of its own."""
    name = panel.catalogue.task("heart_mr").classes[0].name
    made = []
    for n in range(3):
        array = np.random.default_rng(n).normal(100, 20, (8, 9, 10)).astype(np.int16)
        volumeNode = slicer.util.addVolumeFromArray(array, name=f"scan {n}")
        segmentationNode = sceneSegmentations.newSegmentation(f"label {n}", volumeNode)
        segmentationNode.GetSegmentation().AddEmptySegment("one", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            (array > 110).astype("uint8"), segmentationNode, "one", volumeNode
        )
        made.append((volumeNode, segmentationNode))
    panel.parameterNode.fineTuneTask = "heart_mr"
    panel.parameterNode.fineTuneCases = "scene"
    settle()
    monkeypatch.setattr(steps, "SECONDS_AT_ONCE", 0.0)
    return made


def _begun(panel, place: int = 1) -> list[str]:
    """Starts, and waits until so many volumes were added and the next one is on the way; returns what there was before."""
    before = [i.id for i in panel.catalogue.images]
    panel.fineTune.ui.startButton.click()
    waitUntil(lambda: f"is being added ({place + 1} of 3)" in panel.adding.text, 30, "the next volume")
    panel.refresh()
    return before


def _ended(panel) -> None:
    waitUntil(lambda: not panel.adding.text, 30, "the end")
    settle()


def test_adding_many_volumes_can_be_stopped_and_what_was_added_stays_and_is_told(panel, several, processes, workspace):
    ui = panel.fineTune.ui
    before = _begun(panel)
    assert not ui.addingWidget.isHidden() and (ui.addingBar.value, ui.addingBar.maximum) == (1, 3)
    ui.stopAddingButton.click()
    assert not ui.stopAddingButton.enabled and ui.stopAddingButton.text == "Stopping…"
    _ended(panel)
    catalogue = Catalogue.load(workspace)
    added = [i for i in catalogue.images if i.id not in before]
    assert len(added) == 2 and all(i.label is not None and i.label_problem is None for i in added)
    assert ui.addedLabel.text == "Added 2 of 3 volumes. Start again to add the others." and not processes
    assert ui.addingWidget.isHidden() and ui.startButton.enabled
    files = {*(workspace / "volumes").iterdir()}
    assert files == {catalogue.image_path(i) for i in added} | {catalogue.label_path(i) for i in added}
    ui.startButton.click()
    waitUntil(lambda: processes, 30, "the job")
    settle()
    ids = [i.id for i in Catalogue.load(workspace).images if i.id not in before]
    assert len(ids) == 3 and configurationOf(processes[-1])["cases"] == ids and ui.addedLabel.isHidden()


def test_a_volume_that_is_removed_or_moved_meanwhile_is_not_added_and_the_others_are_counted(
    panel, several, processes, workspace, caplog
):
    before = _begun(panel)
    slicer.mrmlScene.RemoveNode(several[2][0])
    _ended(panel)
    assert "scan 2 was removed from the scene meanwhile" in caplog.text and not processes
    assert panel.fineTune.ui.addedLabel.text.startswith("Added 2 of 3 volumes.")
    assert len(Catalogue.load(workspace).images) == len(before) + 2


def test_nothing_is_left_of_a_volume_that_is_moved_while_it_is_written(panel, several, workspace):
    volumeNode, segmentationNode = several[0]
    work = sceneCases.addingVolume(workspace, volumeNode, "heart_mr", segmentationNode, "", "")
    next(work)
    volumeNode.SetOrigin(5, 0, 0)
    with pytest.raises(SceneVolumeError, match="scan 0 was changed or moved meanwhile"):
        steps.atOnce(work)
    assert not [*(workspace / "volumes").iterdir()]


def test_volumes_that_cannot_lie_in_the_workspace_are_refused(panel, several, workspace):
    (workspace / "volumes").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be written to"):
        panel.logic.addVolume(workspace, several[0][0], "heart_mr")


def test_two_that_are_written_at_once_under_one_name_do_not_meet(panel, several, workspace):
    (one, label), (other, theirs) = several[0], several[1]
    other.SetName("scan 0")
    work = sceneCases.addingVolume(workspace, one, "heart_mr", label, "", "")
    next(work)
    second = panel.logic.addVolume(workspace, other, "heart_mr", theirs)
    first = steps.atOnce(work)
    catalogue = Catalogue.load(workspace)
    for id, node in ((first, one), (second, other)):
        kept = sitk.GetArrayFromImage(sitk.ReadImage(str(catalogue.image_path(catalogue.image(id)))))
        assert np.array_equal(kept, slicer.util.arrayFromVolume(node))
    assert len({catalogue.image(id).label for id in (first, second)}) == 2


def test_two_new_classes_never_get_one_value(panel, several, workspace):
    """Labels that are written at the same time, such as one that is kept and one that is added."""
    works = []
    for (volumeNode, segmentationNode), name in zip(several, ("tumour", "cyst"), strict=False):
        segmentationNode.GetSegmentation().GetSegment("one").SetName(name)
        chosen = {name: name}
        works.append(sceneCases.addingVolume(workspace, volumeNode, "heart_mr", segmentationNode, "", "", chosen))
        next(works[-1])
    steps.atOnce(works[0])
    with pytest.raises(SceneVolumeError, match="other classes meanwhile"):
        steps.atOnce(works[1])
    assert [c.name for c in Catalogue.load(workspace).task("heart_mr").classes][-1] == "tumour"


@pytest.mark.parametrize("isWhole", [False, True])
def test_gaps_of_several_labels_are_asked_about_once_before_anything_is_added(
    panel, several, processes, workspace, dialogs, isWhole
):
    name = panel.catalogue.task("heart_mr").classes[0].name
    for volumeNode, segmentationNode in several[:2]:
        inside = np.zeros((8, 9, 10), np.uint8)
        inside[[2, 5]] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(inside, segmentationNode, "one", volumeNode)
    before = [i.id for i in panel.catalogue.images]
    with dialogs.interactive() as shown:
        dialogs.answer(qt.QMessageBox.Yes if isWhole else qt.QMessageBox.No)
        start(panel)
        assert len(shown) == 1
        assert all(f"label {n}: {name} (2 slices)" in shown[0].text for n in (0, 1)) and "label 2" not in shown[0].text
        added = [i.id for i in Catalogue.load(workspace).images if i.id not in before]
        assert len(added) == 3 * isWhole and len(processes) == isWhole
        if isWhole:
            finish(processes[-1], f"{workspace}/runs/one", steps=1, minutes=1, cases=added)
            start(panel)
            assert len(shown) == 1 and len(processes) == 2, "what was added as it is, is not asked about again"


def test_volumes_of_one_dicom_patient_are_one_patients_and_so_is_the_series_among_files(panel, several, workspace):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Somebody")
    hierarchy.SetItemUID(patient, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName(), "1234567")
    study = hierarchy.CreateStudyItem(patient, "study")
    for volumeNode, _segmentation in several[:2]:
        hierarchy.CreateItem(study, volumeNode)
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), several[2][0])
    ids = [panel.logic.addVolume(workspace, volumeNode, "heart_mr") for volumeNode, _segmentation in several]
    catalogue = Catalogue.load(workspace)
    patients = [catalogue.image(id).patient for id in ids]
    assert patients == [pseudonym("1234567"), pseudonym("1234567"), ""]


@pytest.mark.parametrize(
    ("listed", "chosen", "known"),
    [("CT", "", "CT"), ("Unknown", "", "unknown"), ("CT", "MR", "MR"), ("", "", "unknown")],
)
def test_a_ct_that_was_loaded_from_dicom_files_is_one_unless_something_else_is_chosen(
    panel, several, workspace, listed, chosen, known
):
    volumeNode, hierarchy = several[0][0], slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), volumeNode)
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    hierarchy.SetItemAttribute(item, constants.GetDICOMSeriesModalityAttributeName(), listed)
    panel.logic.addVolume(workspace, volumeNode, "Liver", modality=chosen)
    assert Catalogue.load(workspace).task("Liver").modality == known
    panel.logic.addVolume(workspace, several[1][0], "Liver")
    assert Catalogue.load(workspace).task("Liver").modality == known


@pytest.mark.parametrize("isRight", [False, True])
def test_results_of_a_model_that_nobody_has_corrected_are_labels_only_where_somebody_says_so(
    panel, several, processes, workspace, dialogs, isRight
):
    for number, (volumeNode, segmentationNode) in enumerate(several):
        steps.atOnce(annotations.markedDraft(segmentationNode, ["one"], volumeNode))
        if number:
            inside = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, "one", volumeNode)
            inside[2] = 1 - inside[2]
            slicer.util.updateSegmentBinaryLabelmapFromArray(inside, segmentationNode, "one", volumeNode)
    before = len(panel.catalogue.images)
    with dialogs.interactive() as shown:
        dialogs.answer(qt.QMessageBox.Yes if isRight else qt.QMessageBox.No)
        start(panel)
    assert len(shown) == 1 and "label 0" in shown[0].text and "label 1" not in shown[0].text
    assert (len(Catalogue.load(workspace).images) > before) is isRight and len(processes) == isRight


def test_an_application_that_closes_while_volumes_are_added_asks_and_adds_the_present_one(
    panel, several, processes, workspace, dialogs
):
    before = _begun(panel)
    for answer in (qt.QMessageBox.No, qt.QMessageBox.Yes):
        dialogs.answer(answer)
        with dialogs.interactive() as shown:
            event = qt.QEvent(qt.QEvent.Close)
            kept = panel._closeQuestion.eventFilter(slicer.util.mainWindow(), event)
        assert kept == (answer == qt.QMessageBox.No) and "Adding scans is still running" in shown[-1].text
    panel.adding.release()
    added = [i for i in Catalogue.load(workspace).images if i.id not in before]
    assert len(added) == 2 and not processes


def test_a_preview_is_no_label_and_two_segmentations_of_one_volume_are_not_guessed_at(panel, processes):
    volumeNode = _drawn(panel)
    preview = slicer.vtkMRMLSegmentationNode()
    preview.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(preview)
    preview.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    preview.GetSegmentation().AddEmptySegment("heart")
    (mine,) = [s for v, s in sceneCases.segmentedVolumes() if v is volumeNode]
    assert mine is not preview
    panel.refresh()
    assert panel.fineTune.ui.startButton.enabled
    other = sceneSegmentations.newSegmentation("a second one", volumeNode)
    other.GetSegmentation().AddEmptySegment("heart")
    panel.refresh()
    tip = panel.fineTune.ui.startButton.toolTip
    assert (
        not panel.fineTune.ui.startButton.enabled and "drawn by me has 2 segmentations" in tip and "a second one" in tip
    )


def test_nothing_is_left_of_a_volume_that_cannot_be_written(panel, workspace, monkeypatch):
    volumeNode = _drawn(panel)
    (segmentationNode,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")

    def full(*_arguments):
        raise OutputError("volume.nrrd", "cannot be written (disk full)")

    monkeypatch.setattr(sceneVolumes, "writtenRaw", full)
    with pytest.raises(OutputError, match="disk full"):
        panel.logic.addVolume(str(workspace), volumeNode, "heart_mr", segmentationNode)
    assert not list((workspace / "volumes").glob("*"))


def test_a_scan_of_the_workspace_takes_what_was_drawn_on_it_in_the_scene(panel, processes, workspace):
    _drawn(panel)
    with Catalogue.editing(workspace) as catalogue:
        catalogue.image("heart_mr_001").label = None
    panel.forget()
    settle()
    before = [i.id for i in panel.catalogue.images]
    start(panel)
    assert [i.id for i in panel.catalogue.images] == before
    label = panel.catalogue.image("heart_mr_001").label
    assert label == "volumes/drawn_by_me-label.nrrd" and (workspace / label).is_file()
    assert not (workspace / "volumes" / "drawn_by_me.nrrd").exists()
    assert configurationOf(processes[-1])["cases"] == ["heart_mr_001"]


def test_a_scan_that_was_moved_in_the_scene_gets_no_label_that_lies_elsewhere(panel, processes, workspace, caplog):
    volumeNode = _drawn(panel)
    (segmentationNode,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    toNewPlace = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 30.0)
    toNewPlace.SetMatrixTransformToParent(matrix)
    for node in (volumeNode, segmentationNode):
        node.SetAndObserveTransformNodeID(toNewPlace.GetID())
        node.HardenTransform()
    with Catalogue.editing(workspace) as catalogue:
        catalogue.image("heart_mr_001").label = None
    panel.forget()
    settle()
    start(panel)
    assert "drawn by me is not added" in caplog.text and "is on another grid than its image" in caplog.text
    assert panel.catalogue.image("heart_mr_001").label is None and not processes
    assert not list((workspace / "volumes").glob("*.nrrd"))


def test_a_scan_that_has_a_label_keeps_it_and_nothing_is_left_of_what_was_drawn(panel, processes, workspace, caplog):
    _drawn(panel)
    before = panel.catalogue.image("heart_mr_001").label
    start(panel)
    assert "drawn by me is not added" in caplog.text and "has a label already" in caplog.text
    assert "right-click heart_mr_001" in caplog.text and "Keep the correction" in caplog.text
    assert panel.catalogue.image("heart_mr_001").label == before and not processes
    assert not list((workspace / "volumes").glob("*.nrrd"))


@pytest.mark.parametrize("isAnother", [False, True])
def test_a_kept_label_is_not_touched_when_a_volume_of_the_scans_name_is_added(panel, workspace, isAnother):
    volumeNode = _drawn(panel)
    volumeNode.SetName("heart_mr_001")  # as it is called when it is opened from the table
    (segmentationNode,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    kept = panel.logic.setLabel(workspace, "heart_mr_001", volumeNode, segmentationNode)
    before = kept.read_bytes()
    if isAnother:
        voxels = slicer.util.arrayFromVolume(volumeNode)
        voxels[:] = voxels[:, :, ::-1].copy()
        slicer.util.arrayFromVolumeModified(volumeNode)
        other = sceneSegmentations.newSegmentation("another", volumeNode)
        name = segmentationNode.GetSegmentation().GetNthSegment(0).GetName()
        other.GetSegmentation().AddEmptySegment("one", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray((voxels > 0).astype("uint8"), other, "one", volumeNode)
        id = panel.logic.addVolume(workspace, volumeNode, "heart_mr", other)
        assert Catalogue.load(workspace).image(id).label_problem is None
    else:
        with pytest.raises(SceneVolumeError, match="has a label already"):
            panel.logic.addVolume(workspace, volumeNode, "heart_mr", segmentationNode)
    assert kept.read_bytes() == before
    assert Catalogue.load(workspace).image("heart_mr_001").label == f"volumes/{kept.name}"


def test_nothing_of_a_volume_that_is_not_added_comes_into_the_catalogue(panel, workspace):
    volumeNode = _drawn(panel)
    (segmentationNode,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    segmentation = segmentationNode.GetSegmentation()
    segmentation.GetSegment(segmentation.GetNthSegmentID(0)).SetName("something new")
    before = (workspace / "dataset.json").read_bytes()
    with pytest.raises(SceneVolumeError, match="has a label already"):
        panel.logic.addVolume(str(workspace), volumeNode, "heart_mr", segmentationNode)
    assert (workspace / "dataset.json").read_bytes() == before


def test_a_volume_whose_file_was_lost_is_found_again_when_it_is_added_from_the_scene(panel, workspace):
    volumeNode = _drawn(panel)
    voxels = slicer.util.arrayFromVolume(volumeNode)
    voxels[:] = voxels[:, :, ::-1].copy()
    slicer.util.arrayFromVolumeModified(volumeNode)
    id = panel.logic.addVolume(str(workspace), volumeNode, "heart_mr")
    lost = Catalogue.load(workspace).image_path(Catalogue.load(workspace).image(id))
    lost.unlink()
    assert panel.logic.addVolume(str(workspace), volumeNode, "heart_mr") == id
    catalogue = Catalogue.load(workspace)
    assert catalogue.image_path(catalogue.image(id)).is_file()


@pytest.mark.parametrize(("start", "words"), [("scratch", "Choose a pretraining"), ("pretrain", "")])
def test_a_comparison_needs_something_to_compare_with(panel, workspace, start, words):
    fakeRun(workspace, "pretrain", {"steps": 9, "minutes": 1})
    panel.forget()
    panel.parameterNode.fineTuneStart = start
    panel.refresh()
    button = panel.fineTune.ui.compareButton
    assert button.enabled == (not words)
    assert words in button.toolTip


def test_a_comparison_ends_in_a_table_of_the_scene_and_in_plain_words(panel, processes, workspace):
    fakeRun(workspace, "pretrain", {"steps": 9, "minutes": 1})
    panel.forget()
    panel.parameterNode.fineTuneStart = "pretrain"
    panel.refresh()
    panel.fineTune.ui.compareButton.click()
    configuration = configurationOf(processes[-1])
    assert configuration["start"] == "pretrain" and configuration["case_counts"] == [2]
    rows = [
        {
            "start": s,
            "case_count": n,
            "seed": 0,
            "dice": d,
            "classes": {"liver": d},
            "minutes": 1.0,
            "steps": 9,
            "run": "r",
        }
        for s, d, n in (("pretrained", 0.81, 2), ("scratch", 0.7, 1))
    ]
    processes[-1].say({"event": "done", "result": {"folder": "f", "rows": rows}})
    processes[-1].end(0)
    settle()
    assert panel.fineTune.ui.resultLabel.text == "pretrained, 2 cases: Dice 0.810\nscratch, 1 case: Dice 0.700"
    table = slicer.util.getNode("Comparison with scratch").GetTable()
    assert table.GetColumnByName("liver").GetValue(0) == 0.81


def test_a_finished_fine_tuning_is_the_model_of_the_next_section(panel, processes, workspace):
    panel.parameterNode.fineTuneTask = "brain_mr"
    settle()
    panel.fineTune.ui.startButton.click()
    run = fakeRun(workspace, "brain_mr", {"validation_dice": 0.9}, task="brain_mr", start="scratch")
    finish(
        processes[-1],
        str(run),
        validation_dice=0.9,
        steps=5,
        minutes=1.0,
        cases=["a"],
        tensors_loaded=3,
        tensors_skipped=0,
    )
    assert "0.900" in panel.fineTune.ui.resultLabel.text
    assert panel.parameterNode.model == str(run)
    assert choices.value(panel.segment.ui.modelCombo) == str(run)
    assert slicer.util.getNode("Fine-tuning brain_mr").GetTable().GetColumnByName("tensors loaded").GetValue(0) == 3
