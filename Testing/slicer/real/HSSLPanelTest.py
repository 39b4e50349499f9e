"""Inside Slicer: the panel by clicks, with the real engine, and the life of its nodes; what once crashed or mixed patients."""

from __future__ import annotations

import shutil
import tempfile
import time
import unittest
from pathlib import Path

import qt
from waiting import settle, wait

import slicer

STEPS = 20
NARROWEST = 300
"""Width of Slicer's module panel when it starts, in pixels."""


class HSSLPanelTest(unittest.TestCase):
    """One workspace of generated scans for all; each test leaves it so that the others can run alone."""

    @classmethod
    def setUpClass(cls):
        from HSSLSegmentationLib import installation, settings

        cls.folder = Path(tempfile.mkdtemp(prefix="HSSL panel ü ", dir=slicer.app.temporaryPath))
        cls.workspace = cls.folder / "my scans"
        if installation.missingRequirements(settings.value("python")):
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
        window = slicer.util.mainWindow()
        dock = window.findChild(qt.QDockWidget, "PanelDockWidget")
        for name in ("dataset", "pretrain", "fineTune", "segment", "models", "settings"):
            self.open(getattr(self.panel.ui, f"{name}Button"))

            def isNarrow() -> bool:
                # Again and again: a section that has only just unfolded has not laid itself out.
                window.resizeDocks([dock], [NARROWEST], qt.Qt.Horizontal)
                settle()
                return dock.width <= NARROWEST

            wait(isNarrow, 10.0)
            self.assertLessEqual(dock.width, NARROWEST, name)

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

    def test_a_folder_is_looked_at_as_it_is_chosen_and_what_is_in_doubt_is_decided(self):
        import numpy
        import SimpleITK

        source = self.folder / "download"
        (source / "s1" / "segmentations").mkdir(parents=True)
        noise = numpy.random.default_rng(0).normal(100, 20, (8, 24, 24)).astype(numpy.int16)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise), str(source / "s1" / "ct.nii.gz"))
        for name, level in (("liver", 110), ("spleen", 120)):
            mask = SimpleITK.GetImageFromArray((noise > level).astype(numpy.uint8))
            SimpleITK.WriteImage(mask, str(source / "s1" / "segmentations" / f"{name}.nii.gz"))
        SimpleITK.WriteImage(mask, str(source / "other.nii.gz"))
        dataset, parameters = self.panel.dataset, self.panel.parameterNode
        ui, preview = dataset.ui, dataset.preview
        parameters.addTask = ""
        ui.addGroup.collapsed = False
        ui.folderEdit.setCurrentPath(str(source))
        while not preview.rows:
            settle(0.1)
        self.assertEqual(parameters.addTask, "download")
        listed = preview.structuresList
        self.assertEqual([listed.item(n).text() for n in range(listed.count)], ["liver  (1)", "spleen  (1)"])
        self.assertIn("s1/ct.nii.gz", preview.text.toPlainText())
        self.assertTrue(preview.rows["other.nii.gz"].isVisible())
        pictures = [
            w for w in preview.doubtsArea.findChildren(qt.QLabel) if w.pixmap is not None and not w.pixmap.isNull()
        ]
        self.assertEqual(len(pictures), 1)
        preview.rows["other.nii.gz"].setCurrentIndex(2)
        listed.item(1).setCheckState(qt.Qt.Unchecked)
        settle()
        self.assertEqual(parameters.addStructures, "liver")
        ui.addButton.click()
        self.finished()
        images = [i for i in self.panel.catalogue.images if i.task == "download"]
        self.assertEqual([(i.image.rsplit("/", 1)[-1], i.structures) for i in images], [("ct.nii.gz", ["liver"])])

    def test_adding_many_volumes_is_stopped_and_what_was_added_stays_and_is_counted(self):
        import numpy

        from HSSLSegmentationLib.scene import segmentations

        panel, ui, many = self.panel, self.panel.fineTune.ui, 12
        task = panel.catalogue.task("heart_mr")
        for n in range(many):
            array = numpy.random.default_rng(n).normal(100, 20, (16, 32, 32)).astype(numpy.int16)
            volume = slicer.util.addVolumeFromArray(array, name=f"many {n}")
            drawn = segmentations.newSegmentation(f"label of many {n}", volume)
            drawn.GetSegmentation().AddEmptySegment("one", task.classes[0].name)
            slicer.util.updateSegmentBinaryLabelmapFromArray((array > 110).astype("uint8"), drawn, "one", volume)
        self.open(panel.ui.fineTuneButton)
        panel.parameterNode.fineTuneTask, panel.parameterNode.fineTuneCases = task.name, "scene"
        settle()
        before = len(panel.catalogue.images)
        ui.startButton.click()
        wait(lambda: panel.adding.place >= 1 and "is being added" in panel.adding.text, 60.0)
        self.assertTrue(ui.addingWidget.isVisible())
        ui.stopAddingButton.click()
        wait(lambda: not panel.adding.text, 60.0)
        settle()
        added = panel.catalogue.images[before:]
        self.assertLess(len(added), many)
        self.assertEqual(ui.addedLabel.text, f"Added {len(added)} of {many} volumes. Start again to add the others.")
        self.assertFalse(ui.addingWidget.isVisible())
        files = [panel.catalogue.image_path(i) for i in added] + [panel.catalogue.label_path(i) for i in added]
        mine = {file for file in (self.workspace / "volumes").iterdir() if file.name.startswith("many")}
        self.assertEqual(mine, set(files))
        self.assertTrue(panel.job is None or not panel.job.isRunning())

    def test_scan_after_scan_is_labelled_skipped_left_out_and_the_end_is_said(self):
        from HSSLSegmentationLib.scene import labelling, pictures

        panel, loop = self.panel, self.panel.dataset.labelNext.loop
        task = "heart_mr"
        panel.parameterNode.labelNextTask = task
        settle()
        waiting = [i.id for i in panel.catalogue.usable(task, labelled=False)]
        self.assertGreaterEqual(len(waiting), 2)
        broken = panel.catalogue.image_path(panel.catalogue.image(waiting[0]))
        content = broken.read_bytes()
        broken.write_bytes(b"no scan")
        self.addCleanup(broken.write_bytes, content)
        loop.ui.nextButton.click()
        settle(1.0)
        self.assertEqual(slicer.util.selectedModule(), "SegmentEditor")
        self.assertEqual(loop.current, waiting[1])
        self.assertIn(f"{waiting[0]} was left out", loop.ui.loopLabel.text)
        while loop._draft is not None and loop._draft.state == "running":
            settle(0.1)
        loop.onDiscard()
        settle()
        volume = pictures.shown(panel.catalogue, loop.current)
        shown = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetBackgroundLayer().GetVolumeNode()
        self.assertIs(shown, volume)
        drawn = labelling.drawn(volume)
        self.assertEqual(drawn.GetSegmentation().GetNumberOfSegments(), len(panel.catalogue.task(task).classes))
        inside = slicer.util.arrayFromVolume(volume) > 0
        first = drawn.GetSegmentation().GetNthSegmentID(0)
        slicer.util.updateSegmentBinaryLabelmapFromArray(inside.astype("uint8"), drawn, first, volume)
        settle()
        before = panel.counts.labelled[task]
        panel.refresh()
        loop.ui.keepNextButton.click()
        settle(1.0)
        self.assertEqual(panel.counts.labelled[task], before + 1)
        self.assertIn("That was the last one", loop.ui.loopLabel.text)

    def test_a_doubtful_label_is_compared_in_two_colours(self):
        import json

        panel, check = self.panel, self.panel.dataset.labelNext.check
        models = [r for r in panel.runs if r.kind == "finetune" and r.state == "finished"]
        if not models:
            self.skipTest("there is no model yet: run the test of fine-tuning before")
        task = models[-1].task
        panel.parameterNode.labelNextTask = task
        id = panel.catalogue.usable(task, labelled=True)[0].id
        folder = self.workspace / "checks" / "check-1"
        folder.mkdir(parents=True)
        row = {"id": id, "fold": 1, "dice": 0.4, "run": str(models[-1].path)}
        (folder / "check.json").write_text(json.dumps({"task": task, "rows": [row]}))
        panel.forget()
        panel.refresh()
        settle()
        check.ui.compareButton.click()
        self.finished()
        self.assertIsNotNone(check._comparison)
        self.assertFalse(check.ui.legendLabel.isHidden())
        nodes = len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
        check.ui.endCompareButton.click()
        settle()
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")), nodes - 1)

    def test_what_grows_after_the_module_was_opened_again_has_its_place(self):
        module = self.panel.widget.parentWidget()
        for _ in range(2):
            slicer.util.selectModule("Data")
            settle()
            slicer.util.selectModule("HSSLSegmentation")
            settle()
        self.addCleanup(self.panel.refresh)
        for text in ("A reason.", "A long reason, which takes many lines of such a narrow panel. " * 8):
            self.panel.ui.packagesFrame.setVisible(True)
            self.panel.ui.packagesLabel.text = text
            wait(lambda: module.height >= module.layout().totalHeightForWidth(module.width), 5.0)
            self.assertGreaterEqual(module.height, module.layout().totalHeightForWidth(module.width))
        self.assertEqual(module.parentWidget().layout().count(), 3, "nothing of the earlier times is left there")

    def test_8_the_sample_tile_is_offered(self):
        slicer.util.selectModule("SampleData")
        settle()
        self.assertIn("HSSLSampleScans", [s.sampleName for s in slicer.modules.sampleDataSources["HSSL"]])
