"""The application: modules come and go, nodes are read and written, dialogs are answered, leftovers are found."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
import qt
from slicer.util import VTKObservationMixin

import harness
import slicer
from harness import dialogs as dialogs_
from harness import fixtures, scripted_module

SOURCE = """
import qt, slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

class Sample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("A sample")
        self.parent.categories = ["Examples"]

class SampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    life = []
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SampleLogic()
        self.layout.addWidget(qt.QLabel("sample"))
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onClosed)
        self.life.append("setup")
    def onClosed(self, caller, event): self.life.append("closed")
    def enter(self): self.life.append("enter")
    def exit(self): self.life.append("exit")
    def cleanup(self):
        self.removeObservers()
        self.life.append("cleanup")

class SampleLogic(ScriptedLoadableModuleLogic):
    pass

class SampleTest(ScriptedLoadableModuleTest):
    ran = []
    def test_one(self): self.ran.append("one")
    def test_two(self): self.ran.append("two")
"""


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "Sample.py"
    path.write_text(SOURCE, encoding="utf-8")
    return harness.loadModule(path)


def test_a_module_lives_as_in_slicer(module):
    assert module.title == "A sample" and slicer.util.getModule("Sample") is module
    widget = slicer.util.getModuleWidget("Sample")
    assert widget is slicer.modules.SampleWidget and slicer.util.getModuleLogic("Sample") is widget.logic
    slicer.util.selectModule("Sample")
    slicer.mrmlScene.Clear(0)
    scripted_module.unload(module)
    assert widget.life == ["setup", "enter", "closed", "exit", "cleanup"]
    assert not hasattr(slicer.modules, "sample")


def test_a_module_is_reloaded(module):
    first = slicer.util.getModuleWidget("Sample")
    slicer.util.reloadScriptedModule("Sample")
    assert first.life[-1] == "cleanup" and slicer.util.getModuleWidget("Sample") is not first


def test_a_modules_own_tests_are_run(module):
    slicer.selfTests["Sample"]()
    import Sample

    assert Sample.SampleTest.ran == ["one", "two"]


def test_the_module_object_takes_no_unknown_attribute(module):
    with pytest.raises(AttributeError):
        module.titel = "misspelt"


def test_a_logic_keeps_one_parameter_node(module):
    import Sample

    logic = Sample.SampleLogic()
    assert logic.getParameterNode() is logic.getParameterNode() is Sample.SampleLogic().getParameterNode()


@pytest.mark.parametrize("name", ["volume.nrrd", "volume.nii.gz", "volume.mha"])
def test_volumes_are_written_and_read(tmp_path, name):
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    node = slicer.util.addVolumeFromArray(voxels, name="CT")
    assert slicer.util.saveNode(node, str(tmp_path / name))
    read = slicer.util.loadVolume(str(tmp_path / name))
    assert read.GetName() == "volume" and (slicer.util.arrayFromVolume(read) == voxels).all()


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RuntimeError):
        slicer.util.loadVolume(str(tmp_path / "no.nrrd"))


def test_a_segmentation_keeps_its_names(tmp_path):
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 4, 4), np.int16))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "labels")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("liver", "Liver")
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones((4, 4, 4), np.uint8), node, segment, volume)
    assert slicer.util.saveNode(node, str(tmp_path / "labels.seg.nrrd"))
    read = slicer.util.loadSegmentation(str(tmp_path / "labels.seg.nrrd"))
    assert read.GetSegmentation().GetSegment("liver").GetName() == "Liver"


def test_unknown_names_of_the_application_raise():
    for owner in (slicer.app, slicer.modules, slicer.app.moduleManager(), slicer.app.layoutManager()):
        with pytest.raises(AttributeError):
            owner.__getattribute__("noSuchName")
    with pytest.raises(AttributeError):
        getattr(slicer.util, "noSuch" + "Function")
    with pytest.raises(RuntimeError):
        slicer.util.getModule("NoSuchModule")


def test_what_only_a_newer_slicer_has_raises():
    assert not hasattr(slicer.util, "LazyImport") or "LazyImport" not in slicer.util.__all__
    assert not hasattr(slicer.util, "executePythonModule")


def test_a_chart_is_shown_in_the_layout():
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Losses")
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
    assert slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView
    assert chart.GetID()


def test_a_volume_is_shown_in_the_slice_views():
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16))
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == volume.GetID()


def test_a_sample_registers_itself_once():
    from SampleData import SampleDataLogic

    for _ in range(2):
        SampleDataLogic.registerCustomSampleDataSource(
            category="HSSL test", sampleName="scans", uris=[], fileNames=[], nodeNames=[], loadFiles=[], loadFileTypes=[],
            checksums=[], customDownloader=lambda source: 5,
        )  # fmt: skip
    (source,) = slicer.modules.sampleDataSources.pop("HSSL test")
    assert source.customDownloader(source) == 5
    with pytest.raises(TypeError, match="NoneType"):  # as Slicer 5.10 answers at each of its starts
        SampleDataLogic.registerCustomSampleDataSource(sampleName="nothing")


def test_settings_are_kept_until_the_end_of_the_test_only():
    settings = slicer.app.userSettings()
    assert not settings.contains("HSSL/Threads")
    settings.setValue("HSSL/Threads", 2)
    assert int(qt.QSettings().value("HSSL/Threads")) == 2


def test_a_dialog_that_nobody_expected_raises():
    for opens in (
        lambda: qt.QFileDialog.getExistingDirectory(None, "Where?"),
        lambda: qt.QMessageBox.question(None, "Sure?", "Really?"),
        lambda: qt.QDialog().exec(),
        lambda: qt.QMessageBox().exec_(),
    ):
        with pytest.raises(dialogs_.UnexpectedDialog):
            opens()


def test_dialogs_are_answered_in_order(dialogs, tmp_path):
    dialogs.answer(tmp_path, qt.QMessageBox.No, lambda dialog: dialog.windowTitle)
    assert qt.QFileDialog.getExistingDirectory(None, "Where?") == str(tmp_path)
    assert qt.QMessageBox.question(None, "Sure?", "Really?") == qt.QMessageBox.No
    box = qt.QDialog()
    box.windowTitle = "Mine"
    assert box.exec() == "Mine"
    assert [(shown.kind, shown.title) for shown in dialogs.shown] == [
        ("getExistingDirectory", "Where?"),
        ("question", "Sure?"),
        ("QDialog", "Mine"),
    ]


def test_message_boxes_of_slicer_open_for_a_user_only(dialogs):
    assert slicer.util.confirmYesNoDisplay("Really?") in (True, False)
    with dialogs.interactive() as shown:
        dialogs.answer(qt.QMessageBox.No)
        assert not slicer.util.confirmYesNoDisplay("Really?")
    assert shown[0].text == "Really?"


def test_an_exception_in_a_slot_is_remembered(slotErrors):
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert isinstance(slotErrors.expect(ZeroDivisionError), ZeroDivisionError)


def test_a_running_timer_a_process_and_an_observer_are_leftovers():
    class Observing(VTKObservationMixin):
        def changed(self, caller, event):
            pass

    # Tests of the engine leave a helper of Python's multiprocessing in this process.
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    timer, process, observing = qt.QTimer(), qt.QProcess(), Observing()
    timer.start(1000)
    process.start("sleep", ["30"])
    assert process.waitForStarted(5000)
    observing.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, observing.changed)
    found = " ".join(fixtures.leftovers())
    assert "timer" in found and "process sleep" in found and "observer of Observing" in found
    timer.stop()
    process.kill()
    process.waitForFinished(5000)
    observing.removeObservers()
    assert not fixtures.leftovers(before)
