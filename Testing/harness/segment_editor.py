"""Hosts scripted Segment Editor effects over the real vtkSlicerSegmentEditorLogic: undo, masks, overwrite mode."""

from __future__ import annotations

import importlib.util
import os
import sys
import types

import qt
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

import slicer

from . import pythonqt, scripted_module
from .application import LoadableModule
from .mrml_widgets import qMRMLSegmentsTableView, qMRMLWidget

_registered: list[qSlicerSegmentEditorScriptedEffect] = []
DEFAULT_TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~"
    "Anatomic codes - DICOM master list~^^~^^"
)
"""What qSlicerSegmentationsSettingsPanel registers as the default of every segment that is made with *Add*."""


class qSlicerSegmentEditorAbstractEffect(QtCore.QObject):
    """Slicer's C++ side of an effect: its properties, its place in the editor, and the calls that effects make."""

    ModificationModeSet, ModificationModeAdd, ModificationModeRemove, ModificationModeRemoveAll = range(4)
    NotConfirmed, ConfirmedWithoutDialog, ConfirmedWithDialog = range(3)

    def __init__(self, parent=None):
        super().__init__(None)
        self._texts = {"name": "", "title": ""}
        self._flags = {
            "perSegment": True,
            "requireSegments": True,
            "showEffectCursorInSliceView": True,
            "showEffectCursorInThreeDView": False,
        }
        self._frame = QtWidgets.QFrame()
        self._layout = QtWidgets.QFormLayout(self._frame)
        self._layout.setContentsMargins(4, 4, 4, 4)
        self._editor, self._active, self._python = None, False, None

    def _text(name):
        return Property(str, lambda self: self._texts[name], lambda self, value: self._texts.update({name: value}))

    def _flag(name):
        return Property(
            bool, lambda self: self._flags[name], lambda self, value: self._flags.update({name: bool(value)})
        )

    name, title = _text("name"), _text("title")
    perSegment, requireSegments = _flag("perSegment"), _flag("requireSegments")
    showEffectCursorInSliceView = _flag("showEffectCursorInSliceView")
    showEffectCursorInThreeDView = _flag("showEffectCursorInThreeDView")
    del _text, _flag

    # The editor's state

    def _logic(self):
        if self._editor is None:
            raise RuntimeError(f"Effect {self.name} is used outside of a segment editor")
        return self._editor._logic

    def parameterSetNode(self):
        return self._editor._node if self._editor is not None else None

    def scene(self):
        return self._editor.mrmlScene() if self._editor is not None else None

    def active(self):
        return self._active

    # Options

    def optionsFrame(self):
        return self._frame

    def optionsLayout(self):
        return self._layout

    def addOptionsWidget(self, widget):
        self._layout.addRow(widget)

    def addLabeledOptionsWidget(self, label, widget):
        self._layout.addRow(label, widget)
        return self._layout.labelForField(widget)

    # Parameters in the segment editor node: `Effect.name`, or common to all effects

    def _key(self, name):
        return f"{self.name}.{name}"

    def parameterDefined(self, name):
        return self.parameterSetNode().GetAttribute(self._key(name)) is not None

    def commonParameterDefined(self, name):
        return self.parameterSetNode().GetAttribute(name) is not None

    def parameter(self, name):
        node = self.parameterSetNode()
        return node.GetAttribute(self._key(name)) or node.GetAttribute(name) or ""

    def integerParameter(self, name):
        text = self.parameter(name)
        return int(text) if text else 0

    def doubleParameter(self, name):
        text = self.parameter(name)
        return float(text) if text else 0.0

    def setParameter(self, name, value):
        self._setAttribute(self._key(name), value)

    def setParameterDefault(self, name, value):
        if not self.parameterDefined(name):
            self._setAttribute(self._key(name), value)

    def setCommonParameter(self, name, value):
        self._setAttribute(name, value)

    def setCommonParameterDefault(self, name, value):
        if not self.commonParameterDefined(name):
            self._setAttribute(name, value)

    def _setAttribute(self, key, value):
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"Effect parameters are str, int or float, {key} got {value!r}")
        self.parameterSetNode().SetAttribute(key, str(value))

    def nodeReference(self, name):
        return self.parameterSetNode().GetNodeReference(self._key(name))

    def setNodeReference(self, name, node):
        self.parameterSetNode().SetNodeReferenceID(self._key(name), node.GetID() if node is not None else None)

    def setCommonNodeReference(self, name, node):
        self.parameterSetNode().SetNodeReferenceID(name, node.GetID() if node is not None else None)

    # Segments

    def confirmCurrentSegmentVisible(self):
        return self.ConfirmedWithoutDialog

    def saveStateForUndo(self):
        self._logic().SaveStateForUndo()

    def defaultModifierLabelmap(self):
        self._editor._updateVolumes()
        self._logic().ResetModifierLabelmapToDefault()
        return self._logic().GetModifierLabelmap()

    def modifierLabelmap(self):
        return self._logic().GetModifierLabelmap()

    def maskLabelmap(self):
        self._editor._updateVolumes()
        return self._logic().GetMaskLabelmap()

    def selectedSegmentLabelmap(self):
        self._editor._updateVolumes()
        return self._logic().GetSelectedSegmentLabelmap()

    def referenceGeometryImage(self):
        self._editor._updateVolumes()
        return self._logic().GetReferenceGeometryImage()

    def sourceVolumeImageData(self):
        self._editor._updateVolumes()
        return self._logic().GetAlignedSourceVolume()

    def modifySelectedSegmentByLabelmap(self, labelmap, mode, *rest):
        node = self.parameterSetNode()
        self.modifySegmentByLabelmap(node.GetSegmentationNode(), node.GetSelectedSegmentID(), labelmap, mode, *rest)

    def modifySegmentByLabelmap(self, segmentationNode, segmentID, labelmap, mode, *rest):
        """`rest` is what Slicer's two overloads take: (bypassMasking) or (extent, bypassMasking)."""
        extent = next((list(value) for value in rest if isinstance(value, (list, tuple))), [0, -1, 0, -1, 0, -1])
        bypass = next((bool(value) for value in rest if isinstance(value, (bool, int))), False)
        if not segmentID:
            raise ValueError("modifySegmentByLabelmap needs a segment")
        self._editor._updateVolumes()
        names = ("Set", "Add", "Remove", "RemoveAll")
        logic = self._logic()
        logic.ModifySegmentByLabelmap(
            segmentationNode,
            segmentID,
            labelmap,
            getattr(logic, f"ModificationMode{names[int(mode)]}"),
            extent,
            self.perSegment,
            bypass,
        )

    def selectEffect(self, name):
        self._editor.setActiveEffectByName(name)

    # Views

    @staticmethod
    def viewNode(viewWidget):
        return viewWidget.mrmlSliceNode()

    @staticmethod
    def renderWindow(viewWidget):
        return viewWidget._view.renderWindow

    @staticmethod
    def renderer(viewWidget):
        return viewWidget._view.renderer

    @staticmethod
    def xyToRas(xy, viewWidget):
        point = viewWidget.mrmlSliceNode().GetXYToRAS().MultiplyPoint((xy.x(), xy.y(), 0, 1))
        return qt.QVector3D(*point[:3])

    @staticmethod
    def xyToIjk(xy, viewWidget, image, parentTransform=None):
        ijk = [0, 0, 0]
        slicer.vtkSlicerSegmentEditorLogic.XyToIjk(
            [int(xy.x()), int(xy.y())], ijk, viewWidget.mrmlSliceNode(), image, parentTransform
        )
        return qt.QVector3D(*ijk)

    @staticmethod
    def scheduleRender(viewWidget):
        pass

    @staticmethod
    def forceRender(viewWidget):
        pass


class qSlicerSegmentEditorScriptedEffect(qSlicerSegmentEditorAbstractEffect):
    """The adaptor whose Python half is the effect under test."""

    _slicerName = "effects.qSlicerSegmentEditorScriptedEffect"

    def setPythonSource(self, path):
        """As in Slicer: the parent folder names the Python module, the file names the class."""
        folder, cls = os.path.basename(os.path.dirname(path)), os.path.splitext(os.path.basename(path))[0]
        if "\\" in path:
            raise ValueError("setPythonSource takes a path with forward slashes")
        if not cls.endswith("Effect"):
            raise ValueError(f"The file of an effect ends with Effect.py, got {path}")
        module = sys.modules.get(folder)
        if module is None or not hasattr(module, cls):
            specification = importlib.util.spec_from_file_location(f"{folder}.{cls}", path)
            module = importlib.util.module_from_spec(specification)
            sys.modules[f"{folder}.{cls}"] = module
            specification.loader.exec_module(module)
        self._python = getattr(module, cls)(self)
        return True

    def self(self):
        return self._python

    def _call(self, name, *arguments):
        method = getattr(self._python, name, None)
        return method(*arguments) if method is not None else None

    def helpText(self):
        return self._call("helpText") or ""

    def activate(self):
        self._active = True
        self._call("activate")

    def deactivate(self):
        self._active = False
        self._call("deactivate")

    def createCursor(self, viewWidget):
        return self._call("createCursor", viewWidget)

    def updateGUIFromMRML(self):
        self._call("updateGUIFromMRML")

    def updateMRMLFromGUI(self):
        self._call("updateMRMLFromGUI")

    def cleanup(self):
        self._call("cleanup")


class qSlicerSegmentEditorEffectFactory:
    """Knows the effects that registered themselves."""

    _slicerName = "slicer.qSlicerSegmentEditorEffectFactory"
    _one = None

    @classmethod
    def instance(cls):
        cls._one = cls._one or cls()
        return cls._one

    def registerEffect(self, effect):
        if not effect.name:
            raise ValueError("An effect needs a name before it is registered")
        if any(registered.name == effect.name for registered in _registered):
            raise ValueError(f"An effect named {effect.name} is registered already")
        _registered.append(effect)
        return True

    def registeredEffects(self):
        return tuple(_registered)


class AbstractScriptedSegmentEditorEffect:
    """Base of the Python half of an effect."""

    def __init__(self, scriptedEffect):
        self.scriptedEffect = scriptedEffect

    def register(self):
        slicer.qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)

    def cleanup(self):
        pass

    def xyToRas(self, xy, viewWidget):
        point = self.scriptedEffect.xyToRas(qt.QPoint(*xy), viewWidget)
        return [point.x(), point.y(), point.z()]

    def xyToIjk(self, xy, viewWidget, image, parentTransformNode=None):
        point = self.scriptedEffect.xyToIjk(qt.QPoint(*xy), viewWidget, image, parentTransformNode)
        return [int(point.x()), int(point.y()), int(point.z())]


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """The segment editor: its segments, effects, masking and history, over the real logic."""

    segmentationNodeChanged = Signal(object)
    sourceVolumeNodeChanged = Signal(object)
    currentSegmentIDChanged = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._logic, self._node, self._tag, self._effect = slicer.vtkSlicerSegmentEditorLogic(), None, None, None
        self._effects: dict[str, qSlicerSegmentEditorScriptedEffect] = {}
        self._segments = qMRMLSegmentsTableView()
        self._segments.setMaximumHeight(140)
        self._options = QtWidgets.QGroupBox()
        QtWidgets.QVBoxLayout(self._options)
        self._options.setVisible(False)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._segments)
        layout.addWidget(self._options)
        layout.addStretch(1)

    def setMRMLScene(self, scene):
        self._logic.SetMRMLScene(scene)
        super().setMRMLScene(scene)

    def setMRMLSegmentEditorNode(self, node):
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        self._logic.SetSegmentEditorNode(node)
        if node is None:
            self.setActiveEffect(None)
            return
        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._nodeModified)
        self.updateEffectList()
        self._nodeModified()

    def mrmlSegmentEditorNode(self):
        return self._node

    def _nodeModified(self, caller=None, event=None):
        segmentation = self._node.GetSegmentationNode()
        if self._segments.segmentationNode() is not segmentation:
            self._segments.setSegmentationNode(segmentation)
        self._logic.SetSegmentationNode(segmentation)
        self._logic.SetSourceVolumeNode(self._node.GetSourceVolumeNode())
        self._logic.SetCurrentSegmentID(self._node.GetSelectedSegmentID() or "")
        if self._effect is not None:
            self._effect.updateGUIFromMRML()

    def _updateVolumes(self):
        for step in (
            "UpdateReferenceGeometryImage",
            "UpdateAlignedSourceVolume",
            "UpdateSelectedSegmentLabelmap",
            "UpdateMaskLabelmap",
        ):
            getattr(self._logic, step)()

    def segmentationNode(self):
        return self._node.GetSegmentationNode() if self._node is not None else None

    def setSegmentationNode(self, node):
        if node is not self._node.GetSegmentationNode():
            self.setActiveEffect(None)
        self._node.SetAndObserveSegmentationNode(node)
        identifiers = node.GetSegmentation().GetSegmentIDs() if node is not None else ()
        if node is not None and identifiers and self._node.GetSelectedSegmentID() not in identifiers:
            self._node.SetSelectedSegmentID(identifiers[0])
        self.segmentationNodeChanged.emit(node)

    def sourceVolumeNode(self):
        return self._node.GetSourceVolumeNode() if self._node is not None else None

    def setSourceVolumeNode(self, node):
        self._node.SetAndObserveSourceVolumeNode(node)
        self._nodeModified()
        for effect in self._effects.values():
            effect._call("sourceVolumeNodeChanged")
        self.sourceVolumeNodeChanged.emit(node)

    def currentSegmentID(self):
        return self._node.GetSelectedSegmentID() or "" if self._node is not None else ""

    def setCurrentSegmentID(self, identifier):
        self._node.SetSelectedSegmentID(identifier)
        self.currentSegmentIDChanged.emit(identifier)

    def updateEffectList(self):
        """Each editor has its own copies of the registered effects."""
        for prototype in _registered:
            if prototype.name not in self._effects:
                copy = prototype._python.clone()
                copy._editor = self
                self._effects[prototype.name] = copy
                copy._call("setMRMLDefaults")
                copy._call("setupOptionsFrame")

    def availableEffectNames(self):
        return tuple(self._effects)

    def effectByName(self, name):
        return self._effects.get(name)

    def _effectButtonEnabled(self, name):
        """Whether a user can click the effect's button."""
        node, effect = self.segmentationNode(), self._effects[name]
        if self.sourceVolumeNode() is None:
            return False
        hasSegments = node is not None and node.GetSegmentation().GetNumberOfSegments() > 0
        return not effect.requireSegments or (hasSegments and (bool(self.currentSegmentID()) or not effect.perSegment))

    def _addSegment(self, name=""):
        """A click on *Add*: the segment gets Slicer's default terminology, or that of the segment before."""
        segmentation = self.segmentationNode().GetSegmentation()
        before = segmentation.GetSegmentIDs()
        identifier = segmentation.AddEmptySegment("", name)
        segment = segmentation.GetSegment(identifier)
        segment.SetTerminology(segmentation.GetSegment(before[-1]).GetTerminology() if before else DEFAULT_TERMINOLOGY)
        self.setCurrentSegmentID(identifier)
        return identifier

    def effectCount(self):
        return len(self._effects)

    def activeEffect(self):
        return self._effect

    def setActiveEffectByName(self, name):
        self.setActiveEffect(self._effects.get(name) if name else None)

    def setActiveEffect(self, effect):
        if effect is self._effect:
            return
        if effect is not None and self.segmentationNode() is None:
            raise RuntimeError("Slicer 5.10 crashes here: it looks into the segmentation that is not there")
        if self._node is not None:
            self._node.SetActiveEffectName(effect.name if effect is not None else "")
        if self._effect is not None:
            self._effect.deactivate()
            self._options.layout().removeWidget(self._effect.optionsFrame())
            self._effect.optionsFrame().setParent(None)
        self._effect = effect
        self._options.setVisible(effect is not None)
        if effect is not None:
            self._options.title = effect.title or effect.name
            self._options.layout().addWidget(effect.optionsFrame())
            effect.optionsFrame().setVisible(True)
            effect.activate()
            effect.updateGUIFromMRML()

    def setEffectNameOrder(self, names):
        pass

    def setupViewObservations(self):
        pass

    def removeViewObservations(self):
        pass

    def installKeyboardShortcuts(self, parent=None):
        pass

    def uninstallKeyboardShortcuts(self):
        pass

    def saveStateForUndo(self):
        self._logic.SaveStateForUndo()

    def undo(self):
        self._logic.Undo()

    def redo(self):
        self._logic.Redo()

    def _interact(self, viewName, event, x, y):
        """A mouse or keyboard event in a slice view, delivered to the active effect as the editor does."""
        interactor = vtk.vtkGenericRenderWindowInteractor()
        interactor.SetEventInformation(int(x), int(y), 0, 0, chr(0), 0, None)
        widget = slicer.app.layoutManager().sliceWidget(viewName)
        return self._effect._call(
            "processInteractionEvents", interactor, vtk.vtkCommand.GetEventIdFromString(event), widget
        )

    maximumNumberOfUndoStates = Property(
        int,
        lambda self: self._logic.GetMaximumNumberOfUndoStates(),
        lambda self, value: self._logic.SetMaximumNumberOfUndoStates(value),
    )


def opened(segmentation, volume, effect: str):
    """Returns an editor with a node of its own, open on a segmentation and its volume, with an effect active."""
    editor = qMRMLSegmentEditorWidget()
    editor.setMRMLScene(slicer.mrmlScene)
    editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volume)
    editor.setActiveEffectByName(effect)
    return editor


class SegmentEditorWidget:
    """The panel of Slicer's module Segment Editor: an editor over the scene's own segment editor node."""

    def __init__(self):
        self.editor = qMRMLSegmentEditorWidget()
        self.editor.setMRMLScene(slicer.mrmlScene)
        self.parameterSetNode = None

    def selectParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag("SegmentEditor")
            node = slicer.mrmlScene.AddNode(node)
        self.parameterSetNode = node
        self.editor.setMRMLSegmentEditorNode(node)

    def enter(self):
        self.selectParameterNode()
        self.editor.updateEffectList()

    def exit(self):
        self.editor.setActiveEffect(None)


class _SegmentEditorRepresentation(scripted_module.qSlicerScriptedLoadableModuleWidget):
    """What `slicer.util.getModuleWidget` asks for the Python widget."""

    def reload(self):
        self._python = slicer.modules.SegmentEditorWidget = SegmentEditorWidget()


class SegmentEditorModule(LoadableModule):
    """`slicer.modules.segmenteditor`."""

    def __init__(self):
        super().__init__("SegmentEditor")
        self._representation = None

    def widgetRepresentation(self):
        if self._representation is None:
            self._representation = _SegmentEditorRepresentation(self)
            self._representation.reload()
        return self._representation

    def _close(self):
        """Back to the state before the module was opened, its node in the scene included."""
        if self._representation is not None:
            widget, self._representation = slicer.modules.SegmentEditorWidget, None
            widget.exit()
            widget.editor.setMRMLSegmentEditorNode(None)
            slicer.mrmlScene.RemoveNode(widget.parameterSetNode)
            del slicer.modules.SegmentEditorWidget


def install() -> None:
    slicer.modules.segmenteditor = SegmentEditorModule()
    effects = types.ModuleType("qSlicerSegmentationsEditorEffectsPythonQt")
    effects.qSlicerSegmentEditorScriptedEffect = qSlicerSegmentEditorScriptedEffect
    sys.modules[effects.__name__] = effects
    base = types.ModuleType("SegmentEditorEffects")
    base.AbstractScriptedSegmentEditorEffect = AbstractScriptedSegmentEditorEffect
    sys.modules[base.__name__] = base
    for cls in (
        qSlicerSegmentEditorAbstractEffect,
        qSlicerSegmentEditorScriptedEffect,
        qSlicerSegmentEditorEffectFactory,
        qMRMLSegmentEditorWidget,
    ):
        setattr(slicer, cls.__name__, cls)
    pythonqt.customWidgets["qMRMLSegmentEditorWidget"] = qMRMLSegmentEditorWidget
