"""`slicer.app`, `slicer.modules` and `slicer.mrmlScene` over slicer-core's real scene and module logics."""

from __future__ import annotations

import atexit
import inspect
import json
import os
import shutil
import sys
import tempfile
import types
from pathlib import Path

import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Signal

import slicer

from .files import CoreIOManager

_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
}
# Slicer installs these as top-level modules; in slicer-core they are inside the package.
_TOP_LEVEL = {
    "mrml": "MRMLCore",
    "MRMLCorePython": "MRMLCore",
    "MRMLLogicPython": "MRMLLogic",
    "vtkSegmentationCore": "vtkSegmentationCore",
    "vtkSegmentationCorePython": "vtkSegmentationCore",
    "vtkITK": "vtkITK",
    "vtkAddon": "vtkAddonPython",
    "vtkTeem": "vtkTeem",
    "vtkSlicerSegmentationsModuleLogicPython": "vtkSlicerSegmentationsModuleLogic",
}


class Modules(types.ModuleType):
    """`slicer.modules`: one attribute a module, named in lower case."""

    def __getattr__(self, name):
        raise AttributeError(f"slicer.modules has no '{name}': the module is not loaded in the harness")


class LoadableModule:
    """A module written in C++: its logic is real, its panel does not exist here."""

    def __init__(self, name: str, logic=None):
        self.name = self.title = name
        self._logic = logic

    def logic(self):
        return self._logic


class ModuleManager(QtCore.QObject):
    """Knows the loaded modules and announces that one goes."""

    _slicerName = "slicer.qSlicerModuleManager"
    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)

    def module(self, name):
        loaded = vars(slicer.modules).get(str(name).lower())
        return loaded if loaded is not None and hasattr(loaded, "name") else None

    def modulesNames(self):
        return tuple(
            module.name
            for key, module in vars(slicer.modules).items()
            if isinstance(module, (LoadableModule, slicer.qSlicerScriptedLoadableModule))
        )

    def factoryManager(self):
        return types.SimpleNamespace(loadedModuleNames=self.modulesNames)


class Application(QtWidgets.QApplication):
    """`slicer.app`: the QApplication itself, as in Slicer, with Slicer's additions."""

    _slicerName = "slicer.app"
    startupCompleted = Signal()
    mrmlSceneChanged = Signal(object)

    def __init__(self):
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self.setOrganizationName("NA-MIC")
        self._folder = tempfile.mkdtemp(prefix="slicer-")
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, self._folder)
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._modules, self._io = ModuleManager(), CoreIOManager()
        self._settings = QtCore.QSettings()
        self._testing = True
        self._layoutManager = None
        os.makedirs(self.temporaryPath)
        self._offerPython()

    def _offerPython(self):
        """Slicer's launcher puts its own Python on the path as PythonSlicer."""
        folder = Path(self._folder, "bin")
        folder.mkdir()
        (folder / "PythonSlicer").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        (folder / "PythonSlicer").chmod(0o755)
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"

    temporaryPath = property(lambda self: os.path.join(self._folder, "temporary"))
    slicerHome = property(lambda self: os.path.join(self._folder, "home"))
    extensionsInstallPath = property(lambda self: os.path.join(self._folder, "extensions"))
    majorVersion = property(lambda self: 5)
    minorVersion = property(lambda self: 10)
    revision = property(lambda self: "34045")
    os = property(lambda self: "linux")
    documentationBaseUrl = property(lambda self: "https://slicer.readthedocs.io/en/5.10/")

    def applicationLogic(self):
        return self._logic

    def mrmlScene(self):
        return slicer.mrmlScene

    def coreIOManager(self):
        return self._io

    def ioManager(self):
        return self._io

    def moduleManager(self):
        return self._modules

    def moduleLogic(self, name):
        module = self._modules.module(name)
        return module.logic() if module else None

    def layoutManager(self):
        return self._layoutManager

    def testingEnabled(self):
        return self._testing

    def startupEnvironment(self):
        return QtCore.QProcessEnvironment.systemEnvironment()

    def userSettings(self):
        return self._settings

    def settings(self):
        return self._settings

    def revisionUserSettings(self):
        return self._settings

    def pauseRender(self):
        pass

    def resumeRender(self):
        pass

    def moduleDocumentationUrl(self, name):
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"


class LayoutManager(QtCore.QObject):
    """Three slice views with real slice logics; nothing is drawn unless `views` renders them."""

    _slicerName = "slicer.qSlicerLayoutManager"
    layoutChanged = Signal(int)

    def __init__(self, widgets):
        super().__init__()
        self._widgets = widgets
        self._layout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView

    def _reset(self):
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def _keepNodes(self, caller, event):
        """Clearing the scene with its singletons takes the views' nodes away; Slicer's layout puts them back."""
        for widget in self._widgets.values():
            for node in (widget.mrmlSliceNode(), widget.mrmlSliceCompositeNode()):
                if node.GetScene() is None:
                    slicer.mrmlScene.AddNode(node)

    def sliceViewNames(self):
        return tuple(self._widgets)

    def sliceWidget(self, name):
        return self._widgets.get(name)

    def mrmlSliceLogics(self):
        return slicer.app.applicationLogic().GetSliceLogics()

    def resetSliceViews(self):
        for widget in self._widgets.values():
            widget.sliceLogic().FitSliceToAll()

    def resetThreeDViews(self):
        pass

    def _setLayout(self, layout):
        if layout != self._layout:
            self._layout = layout
            self.layoutChanged.emit(layout)

    def setLayout(self, layout):
        self._setLayout(layout)

    layout = QtCore.Property(int, lambda self: self._layout, _setLayout)
    threeDViewCount = QtCore.Property(int, lambda self: 0)
    plotViewCount = QtCore.Property(int, lambda self: 0)
    tableViewCount = QtCore.Property(int, lambda self: 0)


def _startScene(logic):
    scene = slicer.vtkMRMLScene()
    home = Path(slicer.app.slicerHome)
    (home / "share" / "ColorFiles").mkdir(parents=True)
    # What label map display nodes look for; the real table has a name per row as well.
    rows = "".join(
        f"{value} {value} {value * 37 % 255} {value * 91 % 255} {value * 151 % 255} 255\n" for value in range(1, 100)
    )
    (home / "share" / "ColorFiles" / "GenericColors.txt").write_text(f"0 Background 0 0 0 0\n{rows}", encoding="utf-8")
    logic.SetHomeDirectory(str(home))
    logic.SetShareDirectory("share")
    logic.SetMRMLScene(scene)
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    cache, files = slicer.vtkCacheManager(), slicer.vtkDataIOManager()  # .mrb files are unpacked through them
    cache.SetRemoteCacheDirectory(os.path.join(slicer.app.temporaryPath, "cache"))
    files.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(files)
    scene._kept = (cache, files)
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    return scene


def _writeTerminologies(folder: Path) -> Path:
    """Slicer's terminology files are not in slicer-core; without any its logic fills the log with errors."""
    folder.mkdir(parents=True)
    schemas = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/"
    tissue = {
        "CodingSchemeDesignator": "SCT",
        "CodeValue": "85756007",
        "CodeMeaning": "Tissue",
        "recommendedDisplayRGBValue": [128, 174, 128],
    }
    anatomy = {"CodingSchemeDesignator": "SCT", "CodeValue": "123037004", "CodeMeaning": "Anatomical Structure"}
    for name, title in (
        ("SlicerGeneralAnatomy", "Segmentation category and type - 3D Slicer General Anatomy list"),
        ("DICOM-Master", "Segmentation category and type - DICOM master list"),
    ):
        _writeJson(
            folder / f"SegmentationCategoryTypeModifier-{name}.term.json",
            {
                "@schema": f"{schemas}segment-context-schema.json#",
                "SegmentationCategoryTypeContextName": title,
                "SegmentationCodes": {"Category": [{**anatomy, "showAnatomy": True, "Type": [tissue]}]},
            },
        )
    _writeJson(
        folder / "AnatomicRegionAndModifier-DICOM-Master.term.json",
        {
            "@schema": f"{schemas}anatomic-context-schema.json#",
            "AnatomicContextName": "Anatomic codes - DICOM master list",
            "AnatomicCodes": {"AnatomicRegion": [anatomy]},
        },
    )
    return folder


def _writeJson(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")


def _startLogics(logic, scene):
    terminologies = _writeTerminologies(Path(slicer.app.slicerHome) / "share" / "terminologies")
    for name, className in _LOGICS.items():
        cls = getattr(slicer, className)
        if inspect.ismodule(cls):
            cls = getattr(cls, className)
        moduleLogic = cls()
        if name == "Terminologies":
            moduleLogic.SetModuleShareDirectory(str(terminologies))
        moduleLogic.SetMRMLApplicationLogic(logic)
        moduleLogic.SetMRMLScene(scene)
        logic.SetModuleLogic(name, moduleLogic)
        setattr(slicer.modules, name.lower(), LoadableModule(name, moduleLogic))


def _startLayout(logic, scene):
    widgets = {}
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        sliceLogic = slicer.vtkMRMLSliceLogic()
        sliceLogic.SetMRMLApplicationLogic(logic)
        sliceLogic.SetMRMLScene(scene)
        logic.GetSliceLogics().AddItem(sliceLogic)
        sliceLogic.AddSliceNode(name).SetOrientation(orientation)
        widgets[name] = slicer.qMRMLSliceWidget()
        widgets[name]._setSliceLogic(sliceLogic)
    layoutManager = LayoutManager(widgets)
    scene.AddObserver(scene.EndCloseEvent, layoutManager._keepNodes)
    return layoutManager


def install() -> None:
    for name, inner in _TOP_LEVEL.items():
        loaded = sys.modules.get(f"slicer_core.{inner}")
        if loaded is not None:
            sys.modules.setdefault(name, loaded)
    slicer.modules = Modules("slicer.modules")
    slicer.app = Application()
    scene = _startScene(slicer.app.applicationLogic())
    slicer.mrmlScene = scene
    _startLogics(slicer.app.applicationLogic(), scene)
    slicer.app._layoutManager = _startLayout(slicer.app.applicationLogic(), scene)
