"""The script that is run inside Slicer before a release passes here first."""

from __future__ import annotations

import importlib.util
import unittest
from pathlib import Path

import harness
import slicer
from harness import segment_editor

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_release_check_passes_in_the_stand_in():
    harness.loadModule(ROOT / "HSSLSegmentation" / "HSSLSegmentation.py")
    path = ROOT / "Testing" / "slicer" / "HSSLInSlicerTest.py"
    specification = importlib.util.spec_from_file_location("HSSLInSlicerTest", path)
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(script).run(result)
    segment_editor._registered.clear()
    assert result.testsRun >= 4
    assert not result.errors + result.failures
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
