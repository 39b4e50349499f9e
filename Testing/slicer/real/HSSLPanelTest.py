"""Inside Slicer: the panel by clicks, with the real engine, and the life of its nodes; what once crashed or mixed patients."""

from __future__ import annotations

import shutil
import tempfile
import time
import unittest
from pathlib import Path

import qt

import slicer

STEPS = 20
NARROWEST = 300
"""Width of Slicer's module panel when it starts, in pixels."""


def settle(seconds: float = 0.3) -> None:
    """Lets the application handle its events."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.005)


class HSSLPanelTest(unittest.TestCase):
    """One workspace of generated scans for all; each test leaves it so that the others can run alone."""

    @classmethod
    def setUpClass(cls):
        from HSSLSegmentationLib import installation, settings

        cls.folder = Path(tempfile.mkdtemp(prefix="HSSL panel ü ", dir=slicer.app.temporaryPath))
        cls.workspace = cls.folder / "my scans"
        if not settings.value("python") and installation.missingRequirements():
            raise unittest.SkipTest("the Python packages of HSSL are not installed here")
        slicer.util.selectModule("HSSLSegmentation")
        settle(1.0)
        cls.widget = slicer.util.getModuleWidget("HSSLSegmentation")
        cls.widget.logic.createSampleWorkspace(cls.workspace, size="tiny")

    @classmethod
    def tearDownClass(cls):
        slicer.mrmlScene.Clear(0)
        shutil.rmtree(cls.folder, ignore_errors=True)

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule("HSSLSegmentation")
        settle()
        self.panel = slicer.util.getModuleWidget("HSSLSegmentation").panel
        self.panel.dataset.ui.workspaceEdit.setCurrentPath(str(self.workspace))
        settle()
        self.assertIsNotNone(self.panel.catalogue, self.panel.catalogueProblem)

    def finished(self):
        """Waits for the job's end; returns the job."""
        job = self.panel.job
        while job.isRunning():
            settle(0.05)
        settle()
        self.assertEqual(job.state, "done", job.error)
        return job

    def open(self, button) -> None:
        button.collapsed = False
        settle()

    def volumes(self) -> list:
        from HSSLSegmentationLib.scene import pictures

        catalogue = self.panel.catalogue
        task = self.panel.catalogue.tasks[0].name
        return [pictures.show(catalogue, i.id) for i in catalogue.usable(task)[:2]]

    def test_1_every_section_fits_into_the_panel_as_slicer_starts(self):
        for section in self.panel.sections:
            with self.subTest(type(section).__name__):
                self.assertLessEqual(section.widget.minimumSizeHint.width(), NARROWEST)

    def test_2_typing_a_name_never_blocks(self):
        edit = self.panel.dataset.ui.taskCombo
        longest = 0.0
        for length in range(1, 12):
            began = time.thread_time()
            edit.setEditText("left atrium"[:length])
            slicer.app.processEvents()
            longest = max(longest, time.thread_time() - began)
        self.assertLess(longest, 0.1)

    def test_3_pretraining_shows_its_curves_in_the_panel_and_leaves_nothing_unsaved(self):
        panel, ui = self.panel, self.panel.pretrain.ui
        self.open(panel.ui.pretrainButton)
        panel.parameterNode.pretrainMinutes, panel.parameterNode.pretrainSteps = 0.0, STEPS
        settle()
        ui.startButton.click()
        self.finished()
        view = panel.pretrain.jobView
        self.assertFalse(view.ui.plotHolder.isHidden())
        plots = [w for w in view.ui.plotHolder.findChildren(qt.QWidget) if w.className() == "qMRMLPlotView"]
        self.assertEqual(len(plots), 1)
        self.assertGreaterEqual(plots[0].height, 200)
        self.assertFalse(slicer.mrmlScene.GetStorableNodesModifiedSinceRead(None))
        view.ui.layoutButton.click()
        settle()
        names = slicer.app.layoutManager().sliceViewNames()
        self.assertTrue(any(slicer.app.layoutManager().sliceWidget(n).isVisible() for n in names))
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def test_4_the_best_start_and_the_latest_model_choose_themselves(self):
        panel = self.panel
        self.open(panel.ui.fineTuneButton)
        combo = panel.fineTune.ui.startCombo
        self.assertEqual(combo.itemData(combo.currentIndex), panel.runs[-1].name)
        panel.parameterNode.fineTuneMinutes, panel.parameterNode.fineTuneSteps = 0.0, STEPS
        settle()
        panel.fineTune.ui.startButton.click()
        job = self.finished()
        self.assertGreater(job.result.tensors_loaded, 0)
        combo = panel.segment.ui.modelCombo
        self.assertEqual(Path(combo.itemData(combo.currentIndex)).name, job.run.name)

    def test_5_one_patients_result_never_goes_into_anothers(self):
        panel, parameters = self.panel, self.panel.parameterNode
        self.open(panel.ui.segmentButton)
        first, second = self.volumes()
        results = {}
        for volume in (first, second, first):
            parameters.inputVolume = volume
            settle()
            panel.segment.ui.startButton.click()
            self.finished()
            results.setdefault(volume.GetID(), []).append(parameters.outputSegmentation)
        ones = results[first.GetID()]
        self.assertIs(ones[0], ones[1])
        self.assertIsNot(ones[0], results[second.GetID()][0])

    def test_6_nodes_may_go_at_any_time(self):
        panel, parameters = self.panel, self.panel.parameterNode
        self.open(panel.ui.segmentButton)
        volume = self.volumes()[0]
        parameters.inputVolume = volume
        settle()
        panel.segment.ui.startButton.click()
        slicer.mrmlScene.RemoveNode(volume)
        job = panel.job
        while job.isRunning():
            settle(0.05)
        self.assertEqual(job.state, "failed")
        self.assertIn("was removed", job.error)
        slicer.mrmlScene.Clear(0)
        settle()

    def test_7_reload_during_a_job_waits_for_nothing(self):
        panel = self.panel
        panel.parameterNode.pretrainMinutes, panel.parameterNode.pretrainSteps = 5.0, 0
        settle()
        panel.pretrain.ui.startButton.click()
        job = panel.job
        while not job.phase and job.isRunning():
            settle(0.05)
        self.assertTrue(job.isRunning(), job.error)
        began = time.monotonic()
        slicer.util.getModuleWidget("HSSLSegmentation").onReload()
        self.assertLess(time.monotonic() - began, 5)
        while job.isRunning():
            settle(0.05)
        self.assertEqual(job.state, "stopped")

    def test_8_the_sample_tile_is_offered(self):
        slicer.util.selectModule("SampleData")
        settle()
        self.assertIn("HSSLSampleScans", [s.sampleName for s in slicer.modules.sampleDataSources["HSSL"]])
