"""Section Dataset: workspace, adding scans, the table and its edits, by clicks."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import qt
from panel_fixtures import configurationOf, fakeRun

import slicer
from harness.fixtures import settle, waitUntil
from hssl.workspace.catalogue import Catalogue, Image, Task
from HSSLSegmentationLib import choices
from HSSLSegmentationLib.panel import catalogueModel
from HSSLSegmentationLib.panel.catalogueModel import CatalogueModel
from HSSLSegmentationLib.scene import modelClasses
from HSSLSegmentationLib.scene import segmentations as sceneSegmentations


def cell(section, row: int, column: int) -> str:
    return section.model.proxy.index(row, column).data()


def rowOf(section, id: str) -> int:
    proxy = section.model.proxy
    return next(row for row in range(proxy.rowCount()) if proxy.index(row, catalogueModel.IMAGE).data() == id)


def choose(section, *ids: str) -> None:
    table = section.ui.imagesTable
    table.clearSelection()
    for id in ids:
        index = section.model.proxy.index(rowOf(section, id), 0)
        table.selectionModel().select(index, qt.QItemSelectionModel.Select | qt.QItemSelectionModel.Rows)


def test_a_folder_becomes_a_workspace_by_a_click_and_is_remembered(widget, tmp_path):
    panel, ui = widget.panel, widget.panel.dataset.ui
    assert "choose an empty folder" in ui.hintLabel.text
    assert not ui.createButton.enabled and ui.createButton.toolTip == "Choose a folder first."
    ui.workspaceEdit.setCurrentPath(str(tmp_path))
    settle()
    assert ui.createButton.enabled
    ui.createButton.click()
    settle()
    assert (tmp_path / "dataset.json").exists()
    assert panel.workspace == str(tmp_path)
    assert ui.createButton.isHidden()
    assert "add scans" in ui.hintLabel.text


def test_the_table_shows_every_scan_and_the_summary_counts_them(panel, workspace):
    section = panel.dataset
    catalogue = Catalogue.load(workspace)
    assert section.model.proxy.rowCount() == len(catalogue.images)
    assert f"{len(catalogue.images)} scans" in section.ui.summaryLabel.text
    row = rowOf(section, "brain_mr_001")
    assert [cell(section, row, c) for c in (catalogueModel.TASK, catalogueModel.GROUP, catalogueModel.LABEL)] == [
        "brain_mr",
        "brain MR",
        "labelled",
    ]


def test_one_of_a_kind_is_told_in_the_singular(panel, workspace):
    with Catalogue.editing(workspace) as catalogue:
        for task in [task.name for task in catalogue.tasks if task.name != "brain_mr"]:
            catalogue.remove_task(task)
        catalogue.remove_images([image.id for image in catalogue.images][1:])
    panel.forget()
    panel.refresh()
    text = panel.dataset.ui.summaryLabel.text
    assert text.startswith("1 scan · ") and text.endswith("1 task in 1 group"), text


def test_the_filter_looks_into_every_column(panel):
    section = panel.dataset
    section.ui.filterEdit.text = "NO LABEL"
    assert section.model.proxy.rowCount() == 8
    section.ui.filterEdit.text = "heart"
    assert section.model.proxy.rowCount() == 5


def test_sorting_by_size_is_by_voxels_and_not_by_text(panel):
    section = panel.dataset
    section.ui.imagesTable.sortByColumn(catalogueModel.SIZE, qt.Qt.AscendingOrder)
    sizes = [cell(section, row, catalogueModel.SIZE) for row in range(section.model.proxy.rowCount())]
    voxels = [np.prod([int(n) for n in text.split(" × ")]) for text in sizes]
    assert voxels == sorted(voxels)


def test_a_problem_is_in_the_row_with_its_reason(panel, workspace):
    with Catalogue.editing(workspace) as catalogue:
        catalogue.image("brain_mr_001").problem = "the file is truncated"
    panel.refresh()
    section = panel.dataset
    row = rowOf(section, "brain_mr_001")
    assert cell(section, row, catalogueModel.HEALTH) == "the file is truncated"
    assert "1 with a problem" in section.ui.summaryLabel.text


def test_task_and_group_are_edited_in_place(panel, workspace):
    section = panel.dataset
    proxy = section.model.proxy
    proxy.setData(proxy.index(rowOf(section, "brain_mr_001"), catalogueModel.TASK), "Ventricles", qt.Qt.EditRole)
    settle()
    catalogue = Catalogue.load(workspace)
    assert catalogue.image("brain_mr_001").task == "Ventricles"
    assert [c.name for c in catalogue.task("Ventricles").classes] == [
        c.name for c in catalogue.task("brain_mr").classes
    ]
    proxy.setData(proxy.index(rowOf(section, "brain_mr_001"), catalogueModel.GROUP), "Head", qt.Qt.EditRole)
    settle()
    assert Catalogue.load(workspace).group_of("Ventricles") == "Head"
    assert cell(section, rowOf(section, "brain_mr_001"), catalogueModel.GROUP) == "Head"


def test_other_cells_cannot_be_edited(panel):
    section = panel.dataset
    index = section.model.proxy.index(0, catalogueModel.HEALTH)
    assert not section.model.proxy.flags(index) & qt.Qt.ItemIsEditable


def test_several_scans_get_a_task_and_a_group_by_the_menu(panel, workspace, dialogs):
    section = panel.dataset
    choose(section, "brain_mr_001", "brain_mr_002")
    dialogs.answer("Head", "Skull MR")
    section.taskAction.trigger()
    settle()
    choose(section, "brain_mr_001")
    section.groupAction.trigger()
    settle()
    catalogue = Catalogue.load(workspace)
    assert [i.id for i in catalogue.images if i.task == "Head"] == ["brain_mr_001", "brain_mr_002"]
    assert catalogue.group_of("Head") == "Skull MR"


def test_scans_are_removed_after_a_question_and_their_files_stay(panel, workspace, dialogs):
    section = panel.dataset
    path = panel.catalogue.image_path(panel.catalogue.image("brain_mr_001"))
    choose(section, "brain_mr_001")
    dialogs.answer(qt.QMessageBox.Ok)
    with dialogs.interactive():
        section.removeAction.trigger()
    settle()
    assert "brain_mr_001" not in [i.id for i in Catalogue.load(workspace).images]
    assert path.exists()


def test_a_double_click_shows_the_scan_with_its_label_and_the_second_one_does_not_load_it_again(panel):
    section = panel.dataset
    index = section.model.proxy.index(rowOf(section, "brain_mr_001"), catalogueModel.IMAGE)
    section.ui.imagesTable.doubleClicked.emit(index)
    volume = slicer.util.getNode("brain_mr_001")
    segmentation = slicer.util.getNode("brain_mr_001 label")
    names = [c.name for c in panel.catalogue.task("brain_mr").classes]
    assert [segmentation.GetSegmentation().GetNthSegment(i).GetName() for i in range(3)] == names
    assert (
        slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode().GetBackgroundVolumeID()
        == volume.GetID()
    )
    section.ui.imagesTable.doubleClicked.emit(index)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_of_a_scan_whose_label_cannot_be_read_nothing_stays_in_the_scene(panel, caplog):
    """Opened once more, it would come without its label, and an empty drawing would take the label's place."""
    section, image = panel.dataset, panel.catalogue.image("brain_mr_001")
    label = panel.catalogue.label_path(image)
    content = label.read_bytes()
    label.write_bytes(b"no label")
    index = section.model.proxy.index(rowOf(section, "brain_mr_001"), catalogueModel.IMAGE)
    for _click in range(2):
        section.ui.imagesTable.doubleClicked.emit(index)
        assert "could not be shown" in caplog.text and not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        caplog.clear()
    label.write_bytes(content)
    section.ui.imagesTable.doubleClicked.emit(index)
    assert slicer.util.getNode("brain_mr_001 label").GetSegmentation().GetNumberOfSegments() == 3


def test_adding_says_what_is_missing_and_starts_the_engine_with_what_was_entered(panel, processes, tmp_path):
    ui, parameters = panel.dataset.ui, panel.parameterNode
    assert ui.addButton.toolTip == "Choose a folder that exists."
    ui.folderEdit.setCurrentPath(str(tmp_path))
    settle()
    assert "Name the task" in ui.addButton.toolTip
    ui.taskCombo.setEditText("Liver")
    ui.groupCombo.setEditText("Abdomen CT")
    ui.modalityCombo.setCurrentIndex(1)
    settle()
    assert parameters.addTask == "Liver" and parameters.addModality == "CT"
    ui.addButton.click()
    process = processes[-1]
    assert process.arguments[2:4] == ["catalogue", "add"]
    configuration = configurationOf(process)
    assert [configuration[k] for k in ("task", "group", "modality", "labels")] == ["Liver", "Abdomen CT", "CT", None]
    assert configuration["check"] and configuration["source"] == str(tmp_path)
    assert not ui.addButton.enabled and "is running" in ui.addButton.toolTip


def test_a_volume_of_the_scene_is_added_with_its_segmentation_as_label(panel, workspace):
    ui = panel.dataset.ui
    volume = slicer.util.addVolumeFromArray(
        np.random.default_rng(0).integers(0, 99, (8, 9, 10)).astype(np.int16), name="My CT"
    )
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "My label")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().AddEmptySegment("a", "Liver", (1, 0, 0))
    inside = np.zeros((8, 9, 10), np.uint8)
    inside[2:5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(inside, segmentation, "a", volume)
    ui.fromCombo.setCurrentIndex(2)
    assert choices.value(ui.fromCombo) == "scene"
    settle()
    ui.volumeSelector.setCurrentNode(volume)
    ui.segmentationSelector.setCurrentNode(segmentation)
    ui.taskCombo.setEditText("Liver")
    settle()
    assert ui.addButton.enabled, ui.addButton.toolTip
    ui.addButton.click()
    settle()
    catalogue = Catalogue.load(workspace)
    image = next(i for i in catalogue.images if i.task == "Liver")
    assert image.label is not None and image.label_problem is None and image.problem is None
    assert [(c.value, c.name, c.color) for c in catalogue.task("Liver").classes] == [(1, "Liver", (1.0, 0.0, 0.0))]
    assert catalogue.image_path(image).parent == workspace / "volumes"
    assert cell(panel.dataset, rowOf(panel.dataset, image.id), catalogueModel.LABEL) == "labelled"


@pytest.mark.parametrize("isIts", [False, True])
def test_a_segmentation_that_was_drawn_on_another_volume_is_a_label_only_where_somebody_says_so(
    panel, workspace, dialogs, isIts
):
    """The volume was changed, and the segmentation of the one before is chosen still."""
    voxels = np.random.default_rng(0).integers(0, 99, (2, 8, 9, 10)).astype(np.int16)
    first, second = (slicer.util.addVolumeFromArray(v, name=n) for v, n in zip(voxels, ("one", "two"), strict=True))
    drawn = sceneSegmentations.newSegmentation("label of one", first)
    drawn.GetSegmentation().AddEmptySegment("a", "Liver")
    inside = np.zeros((8, 9, 10), np.uint8)
    inside[2:5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(inside, drawn, "a", first)
    parameters = panel.parameterNode
    parameters.addFrom, parameters.addTask = "scene", "Liver"
    parameters.addVolume, parameters.addSegmentation = second, drawn
    settle()
    with dialogs.interactive() as shown:
        dialogs.answer(qt.QMessageBox.Yes if isIts else qt.QMessageBox.No)
        panel.dataset.ui.addButton.click()
        waitUntil(lambda: not panel.adding.text, 30, "the volume")
    assert len(shown) == 1 and "label of one was drawn on one, not on two" in shown[0].text
    assert any(i.task == "Liver" for i in Catalogue.load(workspace).images) is isIts


def test_suggested_groups_are_asked_about_before_they_are_written(panel, processes, workspace, dialogs):
    panel.dataset.suggestGroupsAction.trigger()
    processes[-1].say({"event": "done", "result": {"groups": {"brain_mr": "Heads", "heart_mr": "Heads"}}})
    dialogs.answer(qt.QMessageBox.Ok)
    with dialogs.interactive():
        processes[-1].end(0)
    settle()
    assert "brain_mr: Heads" in dialogs.shown[0].text
    assert Catalogue.load(workspace).group_of("heart_mr") == "Heads"


def test_groups_go_into_the_workspace_that_they_were_suggested_for(panel, processes, workspace, dialogs, tmp_path):
    other = Path(shutil.copytree(workspace, tmp_path / "other"))
    before = (other / "dataset.json").read_bytes()
    panel.dataset.suggestGroupsAction.trigger()
    panel.dataset.ui.workspaceEdit.setCurrentPath(str(other))
    settle()
    processes[-1].say({"event": "done", "result": {"groups": {"brain_mr": "Heads"}}})
    dialogs.answer(qt.QMessageBox.Ok)
    with dialogs.interactive():
        processes[-1].end(0)
    settle()
    assert Catalogue.load(workspace).group_of("brain_mr") == "Heads"
    assert (other / "dataset.json").read_bytes() == before


def test_a_damaged_workspace_is_told_where_it_is_used(panel, workspace):
    (workspace / "dataset.json").write_text('{"schema": 1, "images": [3]}')
    panel.refresh()
    assert "images.0" in panel.dataset.ui.hintLabel.text
    assert "images.0" in panel.pretrain.ui.startButton.toolTip


def test_a_workspace_that_vanishes_is_no_error(panel, workspace):
    workspace.rename(workspace.with_name("moved"))
    panel.refresh()
    assert "Create a workspace here" in panel.dataset.ui.hintLabel.text


@pytest.fixture
def manyImages() -> Catalogue:
    from hssl.workspace.catalogue import _Document

    images = [Image(id=f"scan {n:05}", task="Liver", image=f"{n}.nii", size=(n % 50 + 1, 9, 9)) for n in range(5000)]
    return Catalogue(Path("/nowhere"), _Document(tasks=[Task(name="Liver")], images=images))


def test_thousands_of_rows_are_shown_filtered_and_sorted_without_a_python_call_for_each_cell(manyImages):
    model = CatalogueModel(lambda *edit: None)
    calls = []
    model.model.connect("itemChanged(QStandardItem*)", calls.append)
    start = time.perf_counter()
    model.show(manyImages)
    model.filter("scan 049")
    assert model.proxy.rowCount() == 100
    model.filter("")
    model.proxy.sort(catalogueModel.SIZE, qt.Qt.DescendingOrder)
    print(f"{time.perf_counter() - start:.2f} s for 5000 rows")
    assert model.proxy.index(0, catalogueModel.SIZE).data() == "50 × 9 × 9"
    model.release()


PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def previewed(panel, processes, **result):
    """Waits for the look at the folder, and says what it has found; returns what it was asked."""
    waitUntil(lambda: processes and processes[-1].argument("--config") is not None)
    process, asked = processes[-1], configurationOf(processes[-1])
    found = {"text": "2 images", "task": "scans", "needs": [], "structures": [], "in_doubt": [], **result}
    process.say({"event": "done", "result": found})
    process.end(0)
    settle()
    return asked


def test_what_a_folder_needs_is_typed_once_and_previewed_before_anything_is_written(panel, processes, tmp_path, caplog):
    ui, parameters = panel.dataset.ui, panel.parameterNode
    ui.addGroup.collapsed = False
    ui.allOptionsCheck.checked = True
    ui.folderEdit.setCurrentPath(str(tmp_path))
    ui.taskCombo.setEditText("Liver")
    ui.addPatternEdit.text, ui.addClassesEdit.text = "{id}_ct.nii.gz", "1=liver, 2 = tumour"
    ui.addStructuresEdit.text, ui.addFrameEdit.text = 'liver, "lung, left"', "3"
    ui.addSpacingEdit.text, ui.addMixedCheck.checked = "0.5 0.5 2", True
    settle()
    configuration = previewed(panel, processes, text="2 images, 1 with a label")
    assert len(processes) == 1, "what is typed meanwhile is looked at once"
    assert configuration["dry_run"] and configuration["pattern"] == "{id}_ct.nii.gz"
    assert configuration["classes"] == {"1": "liver", "2": "tumour"}
    assert (configuration["structures"], configuration["frame"]) == (["liver", "lung, left"], 3)
    assert (configuration["spacing"], configuration["mixed"]) == ([0.5, 0.5, 2.0], True)
    assert "2 images, 1 with a label" in panel.dataset.preview.text.toPlainText()
    assert panel.job is None, "a look keeps nobody from anything"
    parameters.addFrame = "first"
    settle()
    ui.addButton.click()
    assert "Frame is a number from 0, not first" in caplog.text and len(processes) == 1


def test_the_form_shows_what_the_folder_needs_and_nothing_else(panel, processes, tmp_path):
    ui = panel.dataset.ui
    ui.addGroup.collapsed = False
    ui.folderEdit.setCurrentPath(str(tmp_path))
    settle()
    structures = [
        {"name": "liver", "color": [1.0, 0.0, 0.0], "count": 2},
        {"name": "lung, left", "color": None, "count": 1},
    ]
    previewed(panel, processes, needs=["structures", "patient"], structures=structures)
    assert panel.parameterNode.addTask == "scans", "the source's name is proposed"
    hidden = {name: getattr(ui, f"{name}Edit").isHidden() for name in ("addPatient", "addFrame", "addStructures")}
    assert hidden == {"addPatient": False, "addFrame": True, "addStructures": True}
    listed = panel.dataset.preview.structuresList
    assert [listed.item(n).text() for n in range(listed.count)] == ["liver  (2)", "lung, left  (1)"]
    listed.item(0).setCheckState(qt.Qt.Unchecked)
    settle()
    assert panel.parameterNode.addStructures == '"lung, left"'
    ui.addButton.click()
    assert configurationOf(processes[-1])["structures"] == ["lung, left"]


def test_what_is_in_doubt_is_shown_and_decided_before_it_is_added(panel, processes, tmp_path):
    ui = panel.dataset.ui
    ui.addGroup.collapsed = False
    ui.folderEdit.setCurrentPath(str(tmp_path))
    ui.taskCombo.setEditText("Liver")
    settle()
    doubts = [
        {"path": f"{n}.nii.gz", "reason": "looks like a mask of x.nii.gz", "picture": PICTURE} for n in ("a", "b", "c")
    ]
    previewed(panel, processes, in_doubt=doubts)
    rows = panel.dataset.preview.rows
    assert not panel.dataset.preview.doubtsArea.isHidden() and list(rows) == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    rows["a.nii.gz"].setCurrentIndex(1)
    rows["b.nii.gz"].setCurrentIndex(2)
    ui.addButton.click()
    configuration = configurationOf(processes[-1])
    assert (configuration["confirm"], configuration["leave_out"]) == (["a.nii.gz"], ["b.nii.gz"])
    assert not configuration["dry_run"]


def test_a_folder_that_needs_a_frame_opens_the_field_for_it(panel, processes, tmp_path):
    ui = panel.dataset.ui
    ui.folderEdit.setCurrentPath(str(tmp_path))
    ui.taskCombo.setEditText("Heart")
    settle()
    assert ui.addFrameEdit.isHidden()
    ui.addButton.click()
    processes[-1].say({"event": "failed", "kind": "InputError", "message": "is 4D", "way_out": "frame", "exit_code": 4})
    processes[-1].end(4)
    settle()
    assert not ui.addFrameEdit.isHidden()


def test_the_form_has_every_option_of_the_engine_and_of_the_other_doors(panel):
    from hssl.configuration import AddConfig, PredictConfig
    from HSSLSegmentationLib.panel import addOptions

    ofThePanel = {"workspace", "check", "dry_run"}  # always the same here: the preview is the dry run
    shown = {*addOptions.TYPED, *addOptions.ALWAYS, *addOptions.CHOSEN_IN_PREVIEW}
    assert shown | ofThePanel == set(AddConfig.model_fields)
    for name in addOptions.TYPED.values():
        assert hasattr(panel.dataset.ui, f"{name}Edit") or hasattr(panel.dataset.ui, f"{name}Check")
        assert hasattr(panel.parameterNode, name)
    ofTheSettings = {"device", "threads", "batch_size", "slab_megabytes"}
    section = panel.segment
    given = {"model", "inputs", "output", "flips", "largest_component", "uncertainty", "overwrite"}
    ofThePanel = {"compressed"}  # what goes into the scene is read at once, and what goes into a folder is kept
    own = {*section._options(), *section._optionsOfFiles()}
    assert own | given | ofTheSettings | ofThePanel == set(PredictConfig.model_fields)


def test_what_is_in_doubt_is_seen_in_the_table_and_confirmed_there(panel, workspace):
    with Catalogue.editing(workspace) as catalogue:
        image = catalogue.images[0]
        image.doubt = "looks like a mask of b.nii.gz: it has two values only, 0 and 1"
    panel.dataset._showAgain()
    section = panel.dataset
    assert "looks like a mask" in cell(section, rowOf(section, image.id), catalogueModel.HEALTH)
    choose(section, image.id)
    section.onActions()
    assert section.confirmAction.isEnabled()
    section.confirmAction.trigger()
    settle()
    assert cell(section, rowOf(section, image.id), catalogueModel.HEALTH) == "good"


def test_a_task_is_renamed_its_structures_named_and_coloured_and_its_models_still_know_it(panel, workspace, dialogs):
    run = fakeRun(workspace, "brain", {"validation_dice": 0.8}, task="brain_mr", start="scratch")
    section = panel.dataset
    id = panel.catalogue.usable("brain_mr")[0].id
    section._select([id])

    def change(dialog):
        dialog.nameEdit.text = "Brain"
        assert choices.value(dialog.modalityCombo) == "MR"
        dialog.modalityCombo.setCurrentIndex(dialog.modalityCombo.findText("CT"))
        segment = dialog._node.GetSegmentation().GetNthSegment(0)
        segment.SetName("ventricle")
        segment.SetColor(1.0, 0.0, 0.0)
        return qt.QDialog.Accepted

    dialogs.answer(change)
    section.editTaskAction.trigger()
    settle()
    task = Catalogue.load(workspace).task("Brain")
    assert task.modality == "CT"
    assert task.classes[0].name == "ventricle" and task.classes[0].color == (1.0, 0.0, 0.0)
    assert Catalogue.load(workspace).image(id).task == "Brain"
    assert [c.name for c in modelClasses.classesOfModel(run)][0] == "ventricle", "its old name is still known"
    assert panel.runs[-1].task == "Brain"
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert not nodes, "nothing of the dialog stays in the scene"


def test_two_structures_of_one_name_are_refused_and_nothing_is_changed(panel, workspace, dialogs, caplog):
    before = (workspace / "dataset.json").read_bytes()
    panel.dataset._select([panel.catalogue.usable("brain_mr")[0].id])

    def change(dialog):
        segmentation = dialog._node.GetSegmentation()
        segmentation.GetNthSegment(0).SetName(segmentation.GetNthSegment(1).GetName())
        return qt.QDialog.Accepted

    dialogs.answer(change)
    panel.dataset.editTaskAction.trigger()
    settle()
    assert "two classes have the same name" in caplog.text
    assert (workspace / "dataset.json").read_bytes() == before


def test_a_task_is_deleted_after_one_question_and_its_files_stay(panel, workspace, dialogs):
    image = panel.catalogue.usable("brain_mr")[0]
    path = panel.catalogue.image_path(image)
    panel.dataset._select([image.id])
    dialogs.answer(lambda dialog: dialog.deleteButton.click() or qt.QDialog.Accepted, qt.QMessageBox.Ok)
    with dialogs.interactive():
        panel.dataset.editTaskAction.trigger()
    settle()
    catalogue = Catalogue.load(workspace)
    assert "brain_mr" not in [t.name for t in catalogue.tasks] and path.is_file()
