"""The panel from opening to closing: scene saved, loaded, closed, application left, and nothing left behind."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import sys
import time

import numpy
import qt

import slicer
from harness import scripted_module
from harness.fake_process import FakeProcess
from harness.fixtures import settle
from HSSLSegmentationLib import installation, settings
from HSSLSegmentationLib.jobs.job import runningJobs
from HSSLSegmentationLib.panel import closing


def test_the_state_comes_back_with_the_scene(panel, workspace, tmp_path):
    volume = slicer.util.addVolumeFromArray(numpy.zeros((4, 5, 6)), name="CT")
    parameters = panel.parameterNode
    parameters.pretrainMinutes = 42.0
    parameters.fineTuneTask = "heart_mr"
    parameters.flips = True
    parameters.inputVolume = volume
    settle()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    settings.setValue("lastWorkspace", "")
    panel.parameterNode.pretrainMinutes = 1.0
    panel.parameterNode.workspace = ""
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    settle()
    assert panel.parameterNode.workspace == str(workspace)
    assert panel.pretrain.ui.minutesBox.value == 42.0
    assert panel.parameterNode.fineTuneTask == "heart_mr"
    assert panel.segment.ui.flipsCheck.checked
    assert panel.segment.ui.volumeSelector.currentNode().GetName() == "CT"
    assert panel.dataset.ui.workspaceEdit.currentPath == str(workspace)


def test_what_grows_after_the_module_was_opened_again_has_its_place(panel):
    modules = slicer.qSlicerModulePanel()
    modules.resize(326, 400)
    modules.show()
    module = panel.widget.parentWidget()
    try:
        for _ in range(3):
            modules.setModule("HSSLSegmentation")
            settle()
            needed = {}
            for text in ("A reason.", "A long reason, which takes many lines of such a narrow panel. " * 8):
                panel.ui.packagesFrame.setVisible(True)
                panel.ui.packagesLabel.text = text
                settle()
                settle()
                needed[text] = module.layout().totalHeightForWidth(module.width)
                assert module.height == needed[text]
            assert len({*needed.values()}) == 2, "the long one takes more"
            panel.ui.packagesFrame.setVisible(False)
            settle()
            modules.setModule("SegmentEditor")
            settle()
            assert module.parentWidget() is None
            contents = modules.widget()
            assert contents.layout().count() == 3, "the help, the present module, and what is left"
    finally:
        modules.setModule("")
        modules.deleteLater()


def test_a_new_scene_starts_with_the_last_workspace(panel, workspace):
    settings.setValue("lastWorkspace", str(workspace))
    panel.parameterNode.workspace = ""
    slicer.mrmlScene.Clear(0)
    settle()
    assert panel.workspace == str(workspace)


def test_a_training_goes_on_when_the_scene_is_closed(panel, processes):
    panel.pretrain.ui.startButton.click()
    processes[-1].say({"event": "losses", "step": 1, "values": {"image": 1.0}, "learning_rate": 0.1})
    slicer.mrmlScene.Clear(0)
    assert panel.job.state == "running"
    processes[-1].say({"event": "losses", "step": 2, "values": {"image": 0.9}, "learning_rate": 0.1})
    panel.pretrain.jobView._lastPlot = 0.0
    panel.pretrain.jobView.update()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 1


def test_a_plot_that_is_shown_goes_with_the_scene_and_the_next_one_has_its_own(panel, processes):
    """That no node is removed inside the scene's event, every test sees to."""
    panel.pretrain.ui.startButton.click()
    view = panel.pretrain.jobView
    for scene in range(2):
        for step in range(3):
            values = {"event": "losses", "step": 3 * scene + step, "values": {"image": 1.0}, "learning_rate": 0.1}
            processes[-1].say(values)
        view._lastPlot = 0.0
        view.update()
        assert not view.ui.plotHolder.isHidden()
        (viewNode,) = [n for n in slicer.util.getNodesByClass("vtkMRMLPlotViewNode") if n.GetName() == "HSSL"]
        assert viewNode.GetPlotChartNodeID() == view.curves["losses"].chart.GetID()
        slicer.mrmlScene.Clear(0)
        settle()
        assert view.ui.plotHolder.isHidden() and not slicer.mrmlScene.IsNodePresent(viewNode)


def test_leaving_the_application_ends_every_job(widget, panel, processes):
    panel.pretrain.ui.startButton.click()
    panel.job.stopGraceSeconds = 0.0
    process = processes[-1]
    process.waitForFinished = lambda milliseconds: not process.isRunning()
    scripted_module.unload(slicer.modules.hsslsegmentation)
    assert process.killed
    assert not runningJobs()


def test_reloading_the_module_asks_its_job_to_end_without_waiting_and_the_new_panel_starts_another(
    widget, panel, processes, monkeypatch
):
    for name in [n for n in sys.modules if n.split(".")[0] in ("HSSLSegmentationLib", "hssl")]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # the other tests go on with these
    panel.pretrain.ui.startButton.click()
    process, job = processes[-1], panel.job
    library = sys.modules["HSSLSegmentationLib.jobs.job"]
    began = time.monotonic()
    widget.onReload()
    settle()
    assert time.monotonic() - began < 5 < job.stopGraceSeconds
    assert job.state == "stopping" and job.stopFile.exists()
    assert panel.pretrain._told not in job._observers, "its widgets are gone"
    assert sys.modules["HSSLSegmentationLib.jobs.job"] is not library, "the library was read again"
    process.say({"event": "done", "stopped": True, "result": {}})
    process.end(10)
    assert job.state == "stopped" and not runningJobs()
    process.say({"event": "losses", "step": 3, "values": {"image": 0.5}, "learning_rate": 0.1})
    renewed = slicer.modules.HSSLSegmentationWidget.panel
    assert renewed is not panel and renewed.job is None
    again = FakeProcess()
    renewed.logic.starter.makeProcess = lambda: again
    renewed.pretrain.ui.startButton.click()
    assert renewed.job.state == "running"
    again.end(0)


def test_closing_with_a_job_asks_once_and_no_keeps_it(panel, processes, dialogs):
    panel.pretrain.ui.startButton.click()
    dialogs.answer(qt.QMessageBox.No)
    with dialogs.interactive():
        assert not closing.mayClose()
    assert "Pretraining is still running" in dialogs.shown[0].text
    assert panel.job.state == "running"


def test_closing_with_a_job_and_yes_leaves_it_until_the_application_really_goes(widget, panel, processes, dialogs):
    """Slicer asks a question of its own afterwards, and its Cancel must find the job alive."""
    panel.pretrain.ui.startButton.click()
    process, job = processes[-1], panel.job
    dialogs.answer(qt.QMessageBox.Yes)
    with dialogs.interactive():
        assert closing.mayClose()
    assert job.state == "running" and len(dialogs.shown) == 1

    def save(milliseconds):
        process.say({"event": "done", "stopped": True, "result": {}})
        process.end(10)
        return True

    process.waitForFinished = save
    scripted_module.unload(slicer.modules.hsslsegmentation)
    assert job.state == "stopped" and not process.killed


def test_closing_without_a_job_asks_nothing(panel, processes):
    assert closing.mayClose()


def test_without_the_packages_the_panel_opens_and_offers_to_install_them(widget, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name in ("torch", "pydantic"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    settings.setValue("python", "")
    panel = widget.panel
    panel.forget()
    panel.refresh()
    assert not panel.ui.packagesFrame.isHidden()
    assert "torch, pydantic" in panel.ui.packagesLabel.text
    assert "Install the packages" in panel.pretrain.ui.startButton.toolTip
    assert "install the packages" in panel.dataset.ui.hintLabel.text
    asked = []
    monkeypatch.setattr(installation, "install", lambda: asked.append(1) or True)
    panel.ui.packagesButton.click()
    assert asked == [1]


def test_the_module_and_the_panel_load_without_torch_monai_or_simpleitk(widget):
    """A process that cannot import them must still be able to open the panel."""
    import subprocess

    from panel_fixtures import MODULE

    code = (
        "import sys\n"
        "for name in ('torch', 'monai', 'SimpleITK', 'pydantic', 'scipy', 'psutil_'): sys.modules[name] = None\n"
        f"sys.path[:0] = [{str(MODULE.parent)!r}, {str(MODULE.parent.parent / 'Testing')!r}]\n"
        "import harness; harness.start()\n"
        f"module = harness.loadModule({str(MODULE)!r})\n"
        "module.widgetRepresentation().enter()\n"
        "import slicer\n"
        "assert slicer.modules.HSSLSegmentationWidget.panel is not None\n"
        "slicer.modules.HSSLSegmentationWidget.cleanup()\n"
        "import os; sys.stdout.write('opened'); sys.stdout.flush(); os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("opened"), done.stderr[-2000:]


def test_names_are_text_and_never_markup(panel, workspace, dialogs):
    from hssl.workspace.catalogue import Catalogue

    name = "<b>brain</b> & more"
    with Catalogue.editing(workspace) as catalogue:
        for image in catalogue.images:
            image.label = None if image.task == "brain_mr" else image.label
        catalogue.rename_task("brain_mr", name)
    panel.forget()
    panel.parameterNode.fineTuneTask = name
    settle()
    rich = {label.objectName for label in panel.widget.findChildren(qt.QLabel) if label.textFormat != qt.Qt.PlainText}
    written = {label.objectName for s in panel.sections for label in s.widget.findChildren(qt.QLabel) if label.wordWrap}
    assert written & rich == {"hintLabel", "legendLabel", ""}, "those whose markup is ours"
    shown = "&lt;b&gt;brain&lt;/b&gt; &amp; more"
    assert shown in panel.fineTune.ui.hintLabel.text
    panel.offer(panel.fineTune.ui.startButton, "", name)
    assert shown in panel.fineTune.ui.startButton.toolTip
    combo = panel.fineTune.ui.taskCombo
    assert any(combo.itemText(n).startswith(name) for n in range(combo.count))
    id = panel.catalogue.usable(name)[0].id
    panel.dataset._select([id])
    dialogs.answer("")
    panel.dataset.onSetGroup()
    assert shown in dialogs.shown[-1].text


def test_the_hints_can_be_read_when_the_style_changes_to_dark_and_back(panel):
    label = panel.dataset.ui.hintLabel
    light = qt.QPalette(slicer.app.palette())
    dark = qt.QPalette(light)
    dark.setColor(qt.QPalette.WindowText, qt.QColor("#fafafa"))
    try:
        slicer.app.setPalette(dark)
        settle()
        assert label.palette.color(qt.QPalette.WindowText).name() == "#fafafa"
    finally:
        slicer.app.setPalette(light)
        settle()
    assert label.palette.color(qt.QPalette.WindowText).name() != "#fafafa"


def test_the_scene_of_somebody_whose_folders_are_not_for_others_is_shown(panel, monkeypatch):
    """What may not be looked into is no folder that can be chosen, and the sections below are up to date."""
    theirs, look = "/home/somebody/scans", os.stat

    def refused(path, *more, **named):
        if str(path).startswith(theirs):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path, *more, **named)

    monkeypatch.setattr(os, "stat", refused)
    parameters = panel.parameterNode
    parameters.segmentWhat = "folder"
    parameters.addFolder = parameters.inputFolder = parameters.outputFolder = theirs
    parameters.addTask = "theirs"
    panel.refresh()
    assert "Choose a folder that exists" in panel.dataset.ui.addButton.toolTip
    parameters.workspace = f"{theirs}/workspace"
    settle()
    assert "Choose a workspace" in panel.models.ui.importButton.toolTip
