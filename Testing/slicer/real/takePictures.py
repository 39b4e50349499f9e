"""Inside Slicer: goes through the panel and the effect as a user does, and takes a picture at every station."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import numpy as np
import qt
from vtk.util import numpy_support

import slicer

PANEL_WIDTH = 400
EFFECT_WIDTH = 470
SIZE, SPACING = (40, 160, 160), (2.25, 2.25, 4.4)
"""Of the scan that is painted: k, j, i, and mm along i, j, k."""
TARGET = "liver"

sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
from waiting import settle, wait  # noqa: E402


class Tour:
    """Args: folder: gets the pictures; workspace: of scans, made where there is none; python: for the jobs."""

    def __init__(self, folder: Path, workspace: Path, python: str):
        from HSSLSegmentationLib import settings

        settings.setValue("python", python)
        settings.setValue("lastWorkspace", "")  # the effect learns from the scan alone
        self.folder, self.workspace = folder, workspace
        self.window = slicer.util.mainWindow()
        self.window.resize(1320, 860)
        for bar in self.window.findChildren(qt.QToolBar):
            bar.hide()
        self.window.statusBar().hide()
        slicer.util.setDataProbeVisible(False)
        slicer.util.setModuleHelpSectionVisible(False)
        slicer.util.setApplicationLogoVisible(False)
        slicer.util.setModulePanelTitleVisible(False)
        self.dock = self.window.findChild(qt.QDockWidget, "PanelDockWidget")
        self._frames = 0

    # The panel ----------------------------------------------------------------------------------------------------

    def panel(self) -> None:
        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule("HSSLSegmentation")
        self.window.resize(1320, 920)  # what is below a curve is seen too
        settle(1.0)
        widget = slicer.util.getModuleWidget("HSSLSegmentation")
        panel = self._panel = widget.panel
        if not self.workspace.is_dir():
            widget.logic.createSampleWorkspace(self.workspace)
        panel.dataset.ui.workspaceEdit.setCurrentPath(str(self.workspace))
        settle(0.5)
        parameters = panel.parameterNode
        task = panel.catalogue.tasks[0].name
        self.section("dataset")
        self.take("dataset")
        self.addForm()
        self.section("pretrain")
        parameters.pretrainMinutes = 30.0
        settle(0.5)
        panel.pretrain.ui.startButton.click()
        view = panel.pretrain.jobView
        wait(lambda: not panel.job.isRunning() or (view.curves and view.curves["losses"].points() >= 8))
        # FXAA of VTK 9.1 leaves the margins of a chart black.
        view._plotView.scene().GetRenderer().SetUseFXAA(False)
        settle(2.0)
        self.take("pretrain")
        panel.job.stop()
        wait(lambda: not panel.job.isRunning())
        if not [run for run in panel.runs if run.kind == "finetune"]:
            parameters.fineTuneTask, parameters.fineTuneMinutes = task, 5.0
            settle(0.5)
            self.finish(panel.fineTune.ui.startButton)
        self.section("fineTune")
        self.take("fine-tune")
        image = panel.catalogue.usable(task, labelled=False)[0]
        from HSSLSegmentationLib.scene import pictures

        parameters.inputVolume = pictures.show(panel.catalogue, image.id)
        self.section("segment")
        settle(0.5)
        self.finish(panel.segment.ui.startButton)
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        parameters.outputSegmentation.CreateClosedSurfaceRepresentation()
        self.reset3D()
        self.take("segment", whole=True)
        self.section("models")
        rows = panel.models._entries
        panel.models.ui.modelsTable.selectRow(next(n for n, e in enumerate(rows) if e.kind == "finetune"))
        self.take("models")

    def addForm(self) -> None:
        """Adding a folder that has masks for each structure, and a file that may be no scan."""
        import SimpleITK

        from hssl.demo import phantoms

        source = self.folder / "downloads" / "abdomen"
        for number in range(2):
            rng = np.random.default_rng(number)
            field, labels = phantoms.abdomen(rng, (16, 96, 96), (10.0, 3.7, 3.7), 40.0, ["liver", "spleen"])
            case = source / f"s{number:03d}"
            (case / "segmentations").mkdir(parents=True)
            for name, array in (("ct", np.round(field).astype(np.int16)), *self.masks(labels)):
                image = SimpleITK.GetImageFromArray(array)
                image.SetSpacing((3.7, 3.7, 10.0))
                SimpleITK.WriteImage(image, str(case / f"{name}.nii.gz"))
        SimpleITK.WriteImage(image, str(source / "scan_of_what.nii.gz"))
        panel = self._panel
        panel.dataset.ui.addGroup.collapsed = False
        panel.dataset.ui.folderEdit.setCurrentPath(str(source))
        settle(1.5)
        wait(lambda: panel.dataset.preview._job is None)
        settle(0.5)
        self.take("add")
        panel.dataset.ui.folderEdit.setCurrentPath("")
        panel.dataset.ui.addGroup.collapsed = True
        settle(0.5)

    @staticmethod
    def masks(labels):
        for value, name in enumerate(("liver", "spleen"), 1):
            yield f"segmentations/{name}", (labels == value).astype(np.uint8)

    def finish(self, button) -> None:
        assert button.enabled, button.toolTip
        button.click()
        job = self._panel.job
        wait(lambda: not job.isRunning())
        settle(1.0)
        assert job.state == "done", job.error

    def section(self, name: str) -> None:
        ui = self._panel.ui
        for other in ("dataset", "pretrain", "fineTune", "segment", "models", "settings"):
            getattr(ui, f"{other}Button").collapsed = other != name
        self.dock.setFixedWidth(PANEL_WIDTH)
        settle(1.0)

    def take(self, name: str, whole: bool = False) -> None:
        settle(1.0)
        if whole:
            self.window.grab().save(str(self.folder / f"panel-{name}.png"))
            return
        widget = self._panel.widget
        picture = self.dock.grab()
        # What is below the last section is empty.
        below = self._panel.ui.settingsButton
        bottom = below.mapTo(self.dock, qt.QPoint(0, below.height)).y() + 8
        ratio = picture.height() / self.dock.height
        if 0 < bottom < self.dock.height:
            picture = picture.copy(0, 0, picture.width(), int(bottom * ratio))
        assert widget.isVisible()
        picture.save(str(self.folder / f"panel-{name}.png"))

    # The effect ---------------------------------------------------------------------------------------------------

    def effect(self) -> None:
        from hssl.demo import phantoms

        slicer.mrmlScene.Clear(0)
        settle(0.5)
        field, labels = phantoms.abdomen(np.random.default_rng(5), SIZE, SPACING[::-1], 40.0, [TARGET])
        truth = labels == 1
        there = np.flatnonzero(truth.any((1, 2)))
        painted = (int(there[0]) + 1, int(there.mean()), int(there[-1]) - 1)
        volume = slicer.util.addVolumeFromArray(np.round(field).astype(np.int16), name="CT")
        volume.SetSpacing(*SPACING)
        # Rows and columns go to the left and to the back, as scanners store them.
        volume.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
        volume.GetDisplayNode().AutoWindowLevelOff()
        volume.GetDisplayNode().SetWindowLevel(350, 50)
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        slicer.util.selectModule("SegmentEditor")
        self.dock.setFixedWidth(EFFECT_WIDTH)
        self.editor = editor = slicer.util.getModuleWidget("SegmentEditor").editor
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Organs")
        segmentation.CreateDefaultDisplayNodes()
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(volume)
        segment = segmentation.GetSegmentation().AddEmptySegment(TARGET, TARGET, (0.87, 0.51, 0.4))
        editor.setCurrentSegmentID(segment)
        settle(1.0)
        editor.setActiveEffectByName("Paint")
        self.go(painted[0], volume)
        self.frame(900)
        for index in painted:
            self.go(index, volume)
            self.paint(index, truth)
            self.frame(900)
        editor.setActiveEffectByName("HSSL")
        settle(1.0)
        controller = editor.activeEffect().self().controller
        self.scroll(controller.options.startButton)
        self.frame(1200)
        controller.options.startButton.click()
        wait(lambda: not controller.session.busy)
        settle(1.0)
        for index in (painted[1], (painted[0] + painted[1]) // 2, (painted[1] + painted[2]) // 2):
            self.go(index, volume)
            self.frame(1300)
        controller.options.applyButton.click()
        wait(lambda: controller.session is None or not controller.session.busy)
        settle(0.5)
        self.go(painted[1], volume)
        self.frame(1300)
        segmentation.CreateClosedSurfaceRepresentation()
        self.reset3D()
        view = slicer.app.layoutManager().threeDWidget(0).threeDView()
        for _turn in range(3):
            self.frame(700)
            view.yaw()
            view.yaw()
        self.frame(2500)

    def paint(self, index: int, truth) -> None:
        """What a stroke of Paint does on a slice, in the editor's own logic."""
        effect = self.editor.effectByName("Paint")
        effect.saveStateForUndo()
        modifier = effect.defaultModifierLabelmap()
        array = numpy_support.vtk_to_numpy(modifier.GetPointData().GetScalars()).reshape(SIZE)
        array[index] = truth[index]
        modifier.Modified()
        effect.modifySelectedSegmentByLabelmap(modifier, slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeAdd)
        settle(0.5)

    def go(self, index: int, volume) -> None:
        from HSSLSegmentationLib.scene import slices

        slices.goTo((index, SIZE[1] // 2 - 10, SIZE[2] // 3), volume)
        settle(0.3)

    def scroll(self, widget) -> None:
        parent = widget.parent()
        while parent is not None and parent.className() != "QScrollArea":
            parent = parent.parent()
        if parent is not None:
            parent.ensureWidgetVisible(widget, 0, 120)
        settle(0.3)

    def reset3D(self) -> None:
        view = slicer.app.layoutManager().threeDWidget(0).threeDView()
        view.resetFocalPoint()
        view.lookFromAxis(ctkAnterior())
        view.resetCamera()
        node = slicer.app.layoutManager().threeDWidget(0).mrmlViewNode()
        node.SetBoxVisible(False)
        node.SetAxisLabelsVisible(False)
        view.cameraNode().GetCamera().Zoom(1.7)
        settle(1.0)

    def frame(self, milliseconds: int) -> None:
        settle(0.7)
        self._frames += 1
        self.window.grab().save(str(self.folder / f"frame-{self._frames:02d}-{milliseconds}.png"))


def ctkAnterior():
    """The axis from which a patient is looked at."""
    import ctk

    return ctk.ctkAxesWidget.Anterior


def main() -> None:
    folder, workspace, python = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    code = 0
    try:
        slicer.util.getModule("HSSLSegmentation")
        tour = Tour(folder, workspace, python)
        tour.effect()
        tour.panel()
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    slicer.util.exit(code)


# The application is told to be ready first: effects and sample data register themselves then.
qt.QTimer.singleShot(2500, main)
