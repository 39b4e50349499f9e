"""The stand-ins for ctk and qMRML widgets: no more names than Slicer's, and the behaviour that modules rely on."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path

import ctk
import numpy as np
import pytest
import qt

import slicer
from harness import api, forms, pythonqt


def standIns():
    return sorted(pythonqt.customWidgets.items())


@pytest.mark.parametrize("name, cls", standIns(), ids=[name for name, _ in standIns()])
def test_a_stand_in_has_no_public_name_that_slicers_widget_lacks(name, cls):
    allowed = set()
    for base in cls.__mro__:
        described = pythonqt._describedName(base)
        allowed |= api.members(described) or set() if described else set()
    if api.members(pythonqt._describedName(cls)) is None:
        assert name in api.names("ctk" if name.startswith("ctk") else "slicer")
        return
    virtual = {member for member in dir(qt.QTableView) if not member.startswith("_")} | {"hitButton"}
    extra = {member for member in vars(cls) if not member.startswith("_")} - allowed - virtual - {"staticMetaObject"}
    assert not extra


@pytest.mark.parametrize("name, cls", standIns(), ids=[name for name, _ in standIns()])
def test_a_stand_in_has_no_signal_that_slicers_widget_lacks(name, cls):
    known = api.signals(pythonqt._describedName(cls))
    if known is None:
        return
    names = {signature.split("(")[0] for signature in known}
    ours = {member for member, value in vars(cls).items() if type(value).__name__ == "Signal"}
    assert ours <= names


@pytest.mark.skipif(
    "HSSL_SLICER_API" not in os.environ, reason="HSSL_SLICER_API names no description of a running Slicer"
)
def test_the_digest_is_what_a_running_slicer_says():
    description = json.loads(Path(os.environ["HSSL_SLICER_API"]).read_text(encoding="utf-8"))
    assert json.loads(json.dumps(api.reduce(description))) == api.digest()


def volume(name="CT"):
    return slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name=name)


@pytest.fixture
def selector():
    widget = slicer.qMRMLNodeComboBox()
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widget.noneEnabled = True
    widget.setMRMLScene(slicer.mrmlScene)
    return widget


def test_a_node_selector_follows_the_scene(selector):
    seen = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    node = volume()
    assert selector.nodeCount() == 1 and selector.currentNode() is None
    selector.setCurrentNode(node)
    assert seen == [node] and selector.currentNodeID == node.GetID()
    slicer.mrmlScene.RemoveNode(node)
    assert seen == [node, None] and selector.currentNode() is None


def test_a_node_selector_without_none_chooses_the_first_node(selector):
    selector.noneEnabled = False
    node = volume()
    assert selector.currentNode() is node


def test_a_node_selector_offers_only_its_types_and_attributes(selector):
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    node, other = volume(), volume("MR")
    other.SetAttribute("Wanted", "yes")
    selector.addAttribute("vtkMRMLScalarVolumeNode", "Wanted", "yes")
    assert [selector.nodeFromIndex(index) for index in range(selector.nodeCount())] == [other]
    selector.removeAttribute("vtkMRMLScalarVolumeNode", "Wanted")
    selector.showChildNodeTypes = False
    assert selector.nodeCount() == 2 and labels is not node


def test_a_node_selector_creates_and_deletes_nodes_for_the_user(selector):
    added = []
    selector.connect("nodeAddedByUser(vtkMRMLNode*)", added.append)
    selector.baseName = "Result"
    combo = selector.children()[-1]
    combo.activated.emit(combo.findText("Create new ScalarVolume"))
    assert added[0].GetName() == "Result" and selector.currentNode() is added[0]
    combo.activated.emit(combo.findText("Delete current ScalarVolume"))
    assert selector.currentNode() is None and selector.nodeCount() == 0


def test_a_collapsed_section_hides_its_contents_and_shows_them_again():
    section = ctk.ctkCollapsibleButton()
    layout = qt.QVBoxLayout(section)
    shown, hidden, seen = qt.QLabel("shown"), qt.QLabel("hidden"), []
    layout.addWidget(shown)
    layout.addWidget(hidden)
    hidden.visible = False
    section.show()
    section.connect("contentsCollapsed(bool)", seen.append)
    section.collapsed = True
    assert not shown.visible and seen == [True]
    section.collapsed = False
    assert shown.visible and not hidden.visible and seen == [True, False]


def test_a_slider_and_its_number_move_together():
    slider, seen = ctk.ctkSliderWidget(), []
    slider.connect("valueChanged(double)", seen.append)
    slider.minimum, slider.maximum, slider.value = -5, 5, 2.5
    assert seen == [2.5]
    slider.value = 70
    assert slider.value == 5


def test_a_path_is_chosen_with_the_button(dialogs, tmp_path):
    edit, seen = ctk.ctkPathLineEdit(), []
    edit.filters = ctk.ctkPathLineEdit.Dirs
    edit.connect("currentPathChanged(QString)", seen.append)
    dialogs.answer(tmp_path)
    edit.browse()
    assert seen == [str(tmp_path)] and dialogs.shown[0].kind == "getExistingDirectory"


def test_a_ui_file_sets_the_enums_of_a_stand_in(tmp_path):
    filters = '<property name="filters"><set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Writable</set></property>'
    form = slicer.util.loadUI(forms.write(tmp_path, forms.widget("ctkPathLineEdit", "path", filters)))
    edit = slicer.util.childWidgetVariables(form).path
    assert edit.filters == ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Writable


def test_a_plot_view_draws_the_series_of_its_chart(tmp_path):
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "losses")
    slicer.util.updateTableFromArray(table, [np.arange(20.0), np.exp(-np.arange(20) / 5)], ["step", "total"])
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "total")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("step")
    series.SetYColumnName("total")
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetColor(1, 0, 0)
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Losses")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    viewNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    viewNode.SetPlotChartNodeID(chart.GetID())
    view = slicer.qMRMLPlotView()
    view.setMRMLScene(slicer.mrmlScene)
    view.setMRMLPlotViewNode(viewNode)
    view.resize(300, 200)
    image = view.grab().toImage()
    reds = sum(image.pixelColor(x, y) == qt.QColor(255, 0, 0) for x in range(300) for y in range(200))
    assert reds > 20


def test_every_public_class_of_ctk_is_offered_by_ui_files_too():
    for name, value in vars(ctk).items():
        if name.startswith("ctk"):
            assert inspect.isclass(value) and pythonqt.customWidgets[name] is value
