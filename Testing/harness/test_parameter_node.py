"""The parameter node wrapper keeps, refuses and shows values as Slicer's does."""

from __future__ import annotations

import enum
import pathlib
from typing import Annotated

import ctk
import numpy as np
import pytest
import qt
from slicer.parameterNodeWrapper import Choice, Decimals, Default, WithinRange, parameterNodeWrapper, parameterPack

import slicer
from harness import forms


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2

    def label(self):
        return self.name.title()


@parameterPack
class Losses:
    image: bool = True
    weight: Annotated[float, WithinRange(0, 1)] = 0.5


@parameterNodeWrapper
class Parameters:
    workspace: pathlib.Path
    name: str = "run"
    steps: Annotated[int, WithinRange(0, 100), Default(7)]
    minutes: Annotated[float, WithinRange(0, 60), Decimals(1)] = 2.5
    device: Annotated[str, Choice(["cpu", "cuda"])] = "cpu"
    size: Size = Size.SMALL
    flips: bool = False
    cases: list[str]
    figures: dict[str, float]
    losses: Losses
    volume: slicer.vtkMRMLScalarVolumeNode


@pytest.fixture
def node():
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters")


def test_defaults_are_written_to_the_node_once(node):
    node.SetParameter("name", "mine")
    parameters = Parameters(node)
    assert (parameters.name, parameters.steps, parameters.minutes, parameters.size) == ("mine", 7, 2.5, Size.SMALL)
    assert node.GetParameter("steps") == "7" and node.GetParameter("flips") == "False"


def test_another_wrapper_of_the_node_sees_what_was_set(node):
    parameters, volume = Parameters(node), slicer.util.addVolumeFromArray(np.zeros((2, 2, 2)), name="CT")
    parameters.workspace = pathlib.Path("/data/liver")
    parameters.cases = ["a", "b"]
    parameters.cases.append("c")
    parameters.figures["dice"] = 0.75
    parameters.losses.weight = 0.25
    parameters.size = Size.LARGE
    parameters.volume = volume
    other = Parameters(node)
    assert other.workspace == pathlib.Path("/data/liver") and other.cases == ["a", "b", "c"]
    assert other.figures == {"dice": 0.75} and other.losses == Losses(True, 0.25)
    assert other.size is Size.LARGE and other.volume is volume


def test_values_survive_a_saved_scene(node, tmp_path):
    node.SetSingletonTag("Parameters")
    Parameters(node).cases = ["a"]
    path = str(tmp_path / "scene.mrml")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(1)
    slicer.util.loadScene(path)
    restored = slicer.mrmlScene.GetSingletonNode("Parameters", "vtkMRMLScriptedModuleNode")
    assert Parameters(restored).cases == ["a"]


@pytest.mark.parametrize(
    "name, value, error",
    [
        ("steps", 101, ValueError),
        ("steps", 1.5, TypeError),
        ("device", "tpu", ValueError),
        ("name", None, ValueError),
        ("name", 3, TypeError),
        ("flips", 1, TypeError),
        ("workspace", "/data", TypeError),
        ("size", "SMALL", TypeError),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_the_old_one_kept(node, name, value, error):
    parameters = Parameters(node)
    before = getattr(parameters, name)
    with pytest.raises(error):
        setattr(parameters, name, value)
    assert getattr(parameters, name) == before


def test_types_that_slicer_cannot_keep_are_refused():
    with pytest.raises(TypeError):

        @parameterNodeWrapper
        class Impossible:
            value: complex


def test_a_reserved_name_is_refused():
    with pytest.raises(ValueError):

        @parameterNodeWrapper
        class Impossible:
            connectGui: str


def test_one_change_is_one_event(node):
    parameters, events = Parameters(node), []
    node.AddObserver("ModifiedEvent", lambda caller, event: events.append(event))
    parameters.cases = ["a", "b", "c"]
    assert len(events) == 1
    with slicer.util.NodeModify(parameters):
        parameters.name, parameters.flips = "other", True
    assert len(events) == 2


@pytest.fixture
def form(tmp_path):
    classes = {
        "workspace": "ctkPathLineEdit",
        "name": "QLineEdit",
        "steps": "QSpinBox",
        "minutes": "ctkSliderWidget",
        "device": "QComboBox",
        "size": "ctkComboBox",
        "flips": "QCheckBox",
        "volume": "qMRMLNodeComboBox",
    }
    widgets = [forms.widget(className, name, parameter=name) for name, className in classes.items()]
    widget = slicer.util.loadUI(forms.write(tmp_path, *widgets))
    ui = slicer.util.childWidgetVariables(widget)
    ui.volume.setMRMLScene(slicer.mrmlScene)
    ui.form = widget
    return ui


def test_widgets_show_the_node_and_change_it(node, form):
    parameters = Parameters(node)
    gui = parameters.connectGui(form.form)
    assert (form.steps.value, form.steps.maximum, form.minutes.value, form.minutes.decimals) == (7, 100, 2.5, 1)
    assert [form.size.itemText(index) for index in range(form.size.count)] == ["Small", "Large"]
    form.steps.value, form.name.text, form.device.currentText, form.flips.checked = 9, "typed", "cuda", True
    form.size.currentIndex, form.workspace.currentPath = 1, "/data"
    assert (parameters.steps, parameters.name, parameters.device, parameters.flips) == (9, "typed", "cuda", True)
    assert parameters.size is Size.LARGE and parameters.workspace == pathlib.Path("/data")
    volume = slicer.util.addVolumeFromArray(np.zeros((2, 2, 2)), name="CT")
    form.volume.setCurrentNode(volume)
    assert parameters.volume is volume
    parameters.name, parameters.minutes = "set", 4.0
    assert (form.name.text, form.minutes.value) == ("set", 4.0)
    parameters.disconnectGui(gui)
    form.name.text = "nobody listens"
    assert parameters.name == "set"


def test_a_widget_that_slicer_cannot_tie_to_the_type_is_refused(node):
    with pytest.raises(RuntimeError):
        Parameters(node).connectParametersToGui({"flips": qt.QLineEdit()})
    with pytest.raises(RuntimeError, match="unbounded"):

        @parameterNodeWrapper
        class Unbounded:
            value: float

        Unbounded(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")).connectParametersToGui(
            {"value": ctk.ctkSliderWidget()}
        )
    with pytest.raises(ValueError):
        Parameters(node).connectParametersToGui({"noSuchParameter": qt.QLineEdit()})
