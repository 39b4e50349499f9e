"""Inside Slicer: the tutorial on generated scans, through the Logic, with the real engine in its own process."""

import unittest

import slicer


class HSSLTutorialTest(unittest.TestCase):
    """Run by ctest, or in Slicer with the module's button Reload and Test; says so when the packages are missing."""

    def test_the_tutorial_from_generated_scans_to_a_model_that_is_passed_on(self):
        slicer.mrmlScene.Clear(0)
        slicer.util.getModule("HSSLSegmentation")
        from HSSLSegmentation import HSSLSegmentationTest

        HSSLSegmentationTest().runTest()
