"""Inside Slicer: the installed module is complete, opens its panel, and registers its effect and sample data."""

import importlib
import pkgutil
import unittest
from pathlib import Path

import numpy

import slicer


class HSSLInSlicerTest(unittest.TestCase):
    """Run by ctest, or in Slicer's Python console with `slicer.testing.runUnitTest`."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def tearDown(self):
        slicer.mrmlScene.Clear(0)

    def test_the_module_is_loaded_with_its_icon(self):
        module = slicer.util.getModule("HSSLSegmentation")
        self.assertEqual(module.title, "HSSL Segmentation")
        self.assertIn("Segmentation", module.categories)
        self.assertFalse(module.icon.isNull())

    def test_every_file_of_the_engine_and_of_the_library_was_installed(self):
        folder = Path(slicer.util.modulePath("HSSLSegmentation")).parent
        for package in ("hssl", "HSSLSegmentationLib"):
            self.assertTrue((folder / package / "__init__.py").is_file())
        library = importlib.import_module("HSSLSegmentationLib")
        for found in pkgutil.walk_packages(library.__path__, "HSSLSegmentationLib."):
            if not found.name.endswith("Effect"):  # Slicer loads effects by itself
                importlib.import_module(found.name)

    def test_the_logic_works_without_the_panel(self):
        from HSSLSegmentationLib.logic import HSSLSegmentationLogic

        self.assertTrue(hasattr(HSSLSegmentationLogic(), "createWorkspace"))

    def test_the_panel_opens_and_survives_closing_the_scene(self):
        widget = slicer.util.getModuleWidget("HSSLSegmentation")
        slicer.mrmlScene.Clear(0)
        slicer.app.processEvents()
        self.assertIsNotNone(widget.logic)

    def test_the_segment_editor_offers_the_effect(self):
        from HSSLSegmentationLib.effect import registration as effectRegistration

        editor = slicer.qMRMLSegmentEditorWidget()
        editor.setMRMLScene(slicer.mrmlScene)
        editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
        if editor.effectByName("HSSL") is None:  # a test can run before the application has said that it has started
            effectRegistration.register()
            editor.updateEffectList()
        # As its user has it: the tool cannot be chosen without a segmentation (Slicer 5.10 crashes on those that can).
        self.assertTrue(editor.effectByName("HSSL").requireSegments)
        volume = slicer.util.addVolumeFromArray(numpy.zeros((8, 9, 10), numpy.int16), name="CT")
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        segmentation.CreateDefaultDisplayNodes()
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        segmentation.GetSegmentation().AddEmptySegment("liver")
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(volume)
        editor.setActiveEffectByName("HSSL")
        effect = editor.activeEffect().self()
        self.assertFalse(effect.icon().isNull())
        self.assertTrue(effect.controller.options.startButton.toolTip)
        editor.setActiveEffect(None)
        editor.setMRMLSegmentEditorNode(None)
