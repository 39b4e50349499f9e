"""`slicer.ScriptedLoadableModule` and `slicer.i18n`, and the life of a scripted module: load, enter, reload, unload."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import types
import unittest

import qt
from PySide6 import QtWidgets
from PySide6.QtCore import Signal

import slicer


class qSlicerScriptedLoadableModule:
    """What Slicer hands to the module class as `parent`, and what `slicer.modules.<name>` is afterwards."""

    def __init__(self, path: str):
        values = {
            "path": path,
            "name": os.path.splitext(os.path.basename(path))[0],
            "title": "",
            "categories": (),
            "dependencies": (),
            "contributors": (),
            "associatedNodeTypes": (),
            "helpText": "",
            "acknowledgementText": "",
            "hidden": False,
            "icon": qt.QIcon(),
            "index": -1,
            "widgetRepresentationCreationEnabled": True,
            "_representation": None,
            "_python": None,
        }
        self.__dict__.update(values)

    def __setattr__(self, name, value):
        if name not in self.__dict__:
            raise AttributeError(f"A scripted module has no attribute '{name}' in Slicer")
        self.__dict__[name] = value

    def logic(self):
        return None  # a scripted module's logic belongs to its widget

    def setMRMLScene(self, scene):
        pass

    def mrmlScene(self):
        return slicer.mrmlScene

    def defaultDocumentationLink(self):
        return ""

    def widgetRepresentation(self):
        if self._representation is None:
            self._representation = self.createNewWidgetRepresentation()
        return self._representation

    def createNewWidgetRepresentation(self):
        representation = qSlicerScriptedLoadableModuleWidget(self)
        representation.reload()
        return representation


class qSlicerScriptedLoadableModuleWidget(QtWidgets.QWidget):
    """The panel that Slicer makes for a scripted module: it owns the Python widget class."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, module):
        super().__init__()
        self._module, self._python, self._entered = module, None, False
        QtWidgets.QVBoxLayout(self)

    def self(self):
        return self._python

    def module(self):
        return self._module

    def reload(self):
        name = self._module.name
        self._python = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._python)
        self._python.setup()

    def setMRMLScene(self, scene):
        self.mrmlSceneChanged.emit(scene)

    def isEntered(self):
        return self._entered

    def enter(self):
        self._entered = True
        self._python.enter()

    def exit(self):
        self._entered = False
        self._python.exit()

    def showEvent(self, event):
        QtWidgets.QWidget.showEvent(self, event)


class qSlicerModulePanel(QtWidgets.QScrollArea):
    """Where the widget of the chosen module lies, below its help. As Slicer's, it takes the items of its layout out and
    never deletes them."""

    def __init__(self):
        super().__init__()
        self.setWidgetResizable(True)
        contents = QtWidgets.QWidget()
        layout = QtWidgets.QVBoxLayout(contents)
        layout.setSizeConstraint(QtWidgets.QLayout.SetMinAndMaxSize)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QtWidgets.QPushButton("Help && Acknowledgement"))
        layout.addStretch()
        self.setWidget(contents)
        self._module, self._taken = None, []

    def setModule(self, name):
        """Shows a module instead of the present one; "" shows none."""
        module = slicer.util.getModule(name) if name else None
        if module is self._module:
            return
        layout = self.widget().layout()
        if self._module is not None:
            widget = self._module.widgetRepresentation()
            place = layout.indexOf(widget)
            widget.exit()
            self._taken.append(layout.takeAt(place))
            widget.setVisible(False)
            widget.setParent(None)
        self._module = module
        if module is not None:
            widget = module.widgetRepresentation()
            widget.layout().setContentsMargins(0, 0, 0, 0)
            layout.insertWidget(1, widget, 1)
            widget.setSizePolicy(QtWidgets.QSizePolicy.Minimum, widget.sizePolicy.verticalPolicy())
            widget.setVisible(True)
            widget.enter()


class ScriptedLoadableModule:
    """Base of the class that describes a module."""

    def __init__(self, parent):
        self.parent, self.moduleName = parent, type(self).__name__
        folder = os.path.dirname(parent.path)
        for extension in (".svg", ".png"):
            icon = os.path.join(folder, "Resources/Icons", self.moduleName + extension)
            if os.path.isfile(icon):
                parent.icon = qt.QIcon(icon)
                break
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename):
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        url = (
            slicer.app.documentationBaseUrl + docPage if docPage else slicer.app.moduleDocumentationUrl(self.moduleName)
        )
        return f'<p>For more information, see the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec=100, **arguments):
        case = getattr(sys.modules[type(self).__module__], f"{self.moduleName}Test")()
        case.messageDelay = msec
        case.runTest(**arguments)


class ScriptedLoadableModuleWidget:
    """Base of the class that builds a module's panel."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = parent
        if parent is None:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename):
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def _onModuleAboutToBeUnloaded(self, moduleName):
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def setup(self):
        self.setupDeveloperSection()

    def setupDeveloperSection(self):
        pass

    def enter(self):
        pass

    def exit(self):
        pass

    def cleanup(self):
        pass

    def onReload(self):
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    """Base of the class that computes; it keeps its parameters in a singleton node of the scene."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        nodes = self.getAllParameterNodes()
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                node.SetAttribute("ModuleName", self.moduleName)  # closing the scene drops the attribute
                return node
        elif nodes:
            return nodes[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self):
        return [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
            if node.GetAttribute("ModuleName") == self.moduleName
        ]

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Base of the class that tests a module inside Slicer."""

    def __init__(self, *arguments):
        super().__init__(*(arguments or ("runTest",)))
        self.messageDelay = 0
        self.enableScreenshots = False

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        slicer.util.delayDisplay(message, self.messageDelay)

    def takeScreenshot(self, name, description, type=-1):
        self.delayDisplay(description)

    def runTest(self):
        names = [name for name in dir(self) if "test" in name and callable(getattr(self, name)) and name != "runTest"]
        for name in names:
            self.setUp()
            logging.info("Running %s", name)
            getattr(self, name)()
            self.tearDown()


def load(path) -> qSlicerScriptedLoadableModule:
    """Execute the module's file and describe it, as Slicer does at start-up; the panel is made when it is asked for."""
    path = os.path.abspath(path)
    name = os.path.splitext(os.path.basename(path))[0]
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    specification = importlib.util.spec_from_file_location(name, path)
    python = importlib.util.module_from_spec(specification)
    sys.modules[name] = python
    specification.loader.exec_module(python)
    module = qSlicerScriptedLoadableModule(path)
    module._python = getattr(python, name)(module)
    setattr(slicer.modules, name.lower(), module)
    slicer.app.moduleManager().moduleLoaded.emit(name)
    return module


def unload(module: qSlicerScriptedLoadableModule) -> None:
    """What closing Slicer does to a module: its widget cleans up, then the panel is deleted."""
    representation = module._representation
    if representation is not None and representation.isEntered():
        representation.exit()
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(module.name)
    if representation is not None:
        representation._python = None
        representation.deleteLater()
        module._representation = None
    vars(slicer.modules).pop(f"{module.name}Widget", None)
    vars(slicer.modules).pop(module.name.lower(), None)


def loaded() -> list[qSlicerScriptedLoadableModule]:
    return [module for module in vars(slicer.modules).values() if isinstance(module, qSlicerScriptedLoadableModule)]


def install() -> None:
    module = types.ModuleType("slicer.ScriptedLoadableModule")
    module.__all__ = [
        "ScriptedLoadableModule",
        "ScriptedLoadableModuleWidget",
        "ScriptedLoadableModuleLogic",
        "ScriptedLoadableModuleTest",
    ]
    for name in module.__all__:
        setattr(module, name, globals()[name])
    translations = types.ModuleType("slicer.i18n")
    translations.tr = lambda text: text
    translations.translate = lambda context, text: text
    for child in (module, translations):
        sys.modules[child.__name__] = child
        setattr(slicer, child.__name__.split(".")[1], child)
    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget
    slicer.qSlicerModulePanel = qSlicerModulePanel
