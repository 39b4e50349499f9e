"""What Slicer loads of HSSL (pretrain on many scans, fine-tune with few labels, segment); see HSSLSegmentationLib."""

import sys

import qt
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

import slicer
from HSSLSegmentationLib import sampleData
from HSSLSegmentationLib.effect import registration as effectRegistration
from HSSLSegmentationLib.logic import HSSLSegmentationLogic


class HSSLSegmentation(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("HSSL Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["HSSL contributors"]
        self.parent.helpText = _(
            "Learn from all your scans, labelled or not, then segment with only a few labelled cases. "
            "Work through the sections from top to bottom: <b>Dataset</b> collects the scans, <b>Pretrain</b> learns "
            "from them without labels, <b>Fine-tune</b> learns one task from a few labels, <b>Segment</b> applies it. "
            "Everything runs on this computer."
        )
        self.parent.acknowledgementText = _(
            "The method is HSSL: H. Zheng et al., Hierarchical Self-Supervised Learning for Medical Image Segmentation "
            "Based on Multi-domain Data Aggregation, MICCAI 2021 (arXiv 2107.04886)."
        )
        slicer.app.connect("startupCompleted()", sampleData.register)
        slicer.app.connect("startupCompleted()", effectRegistration.register)


class HSSLSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel: its sections are in HSSLSegmentationLib, one file each."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._reloads = False

    def setup(self):
        """Called when the user opens the module for the first time."""
        from HSSLSegmentationLib.panel.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        self.logic = HSSLSegmentationLogic()
        self.panel = Panel(self.logic, self.resourcePath)
        self.layout.addWidget(self.panel.widget)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.panel.useParameterNode(self.logic.getParameterNode())

    def cleanup(self):
        """Called when the application exits or the module is reloaded: nothing may be left behind."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.release(wait=not self._reloads)
            self.panel = None

    def onReload(self):
        """The developer's Reload: the library and the engine are read again too, without waiting for a job's end."""
        self._reloads = True
        for name in [n for n in sys.modules if n.split(".")[0] in ("HSSLSegmentationLib", "hssl")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self):
        """Called when the user opens the module."""
        # Slicer holds its panel as wide as the module that it opens would like to be; this one can do with less.
        self.parent.setSizePolicy(qt.QSizePolicy.Preferred, self.parent.sizePolicy.verticalPolicy())
        self.panel.useParameterNode(self.logic.getParameterNode())

    def exit(self):
        """Called when the user opens another module."""
        from HSSLSegmentationLib.panel import leaving

        leaving.leave(self.parent)

    def onSceneStartClose(self, caller, event):
        self.panel.useParameterNode(None)
        self.panel.sceneCloses()
        self.logic.forgetParameterNode()

    def onSceneEndClose(self, caller, event):
        # Bound anew even when the node is the same: during an import, selectors cannot choose nodes that come later.
        self.panel.useParameterNode(None)
        self.panel.useParameterNode(self.logic.getParameterNode())


class HSSLSegmentationTest(ScriptedLoadableModuleTest):
    """The tutorial, on generated data, in a real Slicer."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_tutorial()

    def test_tutorial(self):
        from HSSLSegmentationLib.tutorialTest import runTutorial

        runTutorial(self, HSSLSegmentationLogic())
