"""Inside Slicer: the effect in the Segment Editor, with the real engine; what once crashed, forgot or took away."""

from __future__ import annotations

import tempfile
import time
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import qt
import vtk
from vtk.util import numpy_support
from waiting import settle

import slicer

SIZE = (24, 96, 96)
COMPLETE = (3, 8, 12, 16, 20)


def drawn(draw: Callable[[], np.ndarray]) -> np.ndarray:
    """What only a test draws, drawn in a thread: what the main thread works counts as a block of the window."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(draw).result()


def ellipsoid(size, centre, radius) -> np.ndarray:
    grid = np.ogrid[tuple(slice(0, n) for n in size)]
    return drawn(lambda: sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radius, strict=True)) < 1)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


class HSSLEffectTest(unittest.TestCase):
    """Each test begins with an empty scene and the Segment Editor open on a drawn scan."""

    def setUp(self):
        from HSSLSegmentationLib import installation, settings
        from HSSLSegmentationLib.effect import registration

        if installation.missingRequirements(settings.value("python")):
            raise unittest.SkipTest("the Python packages of HSSL are not installed here")
        slicer.util.selectModule("Data")
        slicer.mrmlScene.Clear(0)
        settle()
        slicer.util.selectModule("SegmentEditor")
        self.editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        if self.editor.effectByName("HSSL") is None:
            registration.register()
            self.editor.updateEffectList()
        settle()
        self.truth = ellipsoid(SIZE, (12, 50, 40), (10, 30, 22))
        self.volume = self.scan(SIZE, self.truth, "CT")
        self.segmentation = self.editor.segmentationNode() or slicer.mrmlScene.AddNewNodeByClass(
            "vtkMRMLSegmentationNode"
        )
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)
        settle()

    def tearDown(self):
        self.editor.setActiveEffectByName("")
        settle()

    @staticmethod
    def scan(size, truth, name):
        values = drawn(lambda: (100 * truth + np.random.default_rng(0).normal(0, 20, size)).astype(np.int16))
        volume = slicer.util.addVolumeFromArray(values, name=name)
        volume.SetSpacing(1.0, 1.0, 2.0)
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        return volume

    # What the user does ------------------------------------------------------------------------------------------

    def button(self, name):
        return slicer.util.findChild(self.editor, name)

    def addSegment(self) -> str:
        self.button("AddSegmentButton").click()
        settle()
        return self.editor.currentSegmentID()

    def paint(self, segmentId, plane, where, isAdded=True) -> None:
        """What a stroke of Paint or Erase does on a slice, in the editor's own logic."""
        tool = "Paint" if isAdded else "Erase"
        self.editor.setCurrentSegmentID(segmentId)
        self.editor.setActiveEffectByName(tool)
        settle(0.1)
        effect = self.editor.effectByName(tool)
        effect.saveStateForUndo()
        modifier = effect.defaultModifierLabelmap()
        array = numpy_support.vtk_to_numpy(modifier.GetPointData().GetScalars())
        view = array.reshape(SIZE)
        np.moveaxis(view, plane[0], 0)[plane[1]] = np.moveaxis(where, plane[0], 0)[plane[1]]
        modifier.Modified()
        modes = slicer.qSlicerSegmentEditorAbstractEffect
        mode = modes.ModificationModeAdd if isAdded else modes.ModificationModeRemove
        effect.modifySelectedSegmentByLabelmap(modifier, mode)
        settle(0.1)

    def paintSlices(self, segmentId, where, slices=COMPLETE) -> None:
        for index in slices:
            self.paint(segmentId, (0, index), where)

    def openEffect(self):
        self.editor.setActiveEffectByName("HSSL")
        settle()
        self.effect = self.editor.activeEffect().self().controller
        self.options = self.effect.options
        return self.effect

    def learn(self) -> float:
        self.assertTrue(self.options.startButton.enabled, self.options.startButton.toolTip)
        began = time.monotonic()
        self.options.startButton.click()
        while self.effect.session is not None and self.effect.session.busy:
            settle(0.02)
        seconds = time.monotonic() - began
        settle()
        self.assertIsNotNone(self.preview(), self.options.statusLabel.text)
        return seconds

    def apply(self) -> None:
        self.options.applyButton.click()
        while self.effect.session is not None and self.effect.session.busy:
            settle(0.02)
        settle()

    def preview(self):
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        return next((node for node in nodes if node.GetName() == "HSSL preview"), None)

    def where(self, segmentId) -> np.ndarray:
        return slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, segmentId, self.volume) != 0

    def planes(self) -> list:
        """The places that the list shows, without the names of segments."""
        return [self.options.slicesList.item(n).text().split("   ")[0] for n in range(self.options.slicesList.count)]

    @staticmethod
    def names(slices) -> list:
        return [f"S: {2.0 * index:.4g} mm" for index in slices]

    # Tests -------------------------------------------------------------------------------------------------------

    def test_1_without_segments_the_effect_cannot_be_chosen(self):
        self.assertFalse(self.button("HSSL").enabled)
        self.addSegment()
        self.assertTrue(self.button("HSSL").enabled)

    def test_2_slices_become_a_preview_then_the_segment_and_undo_takes_it_back(self):
        segmentId = self.addSegment()
        self.paintSlices(segmentId, self.truth)
        self.openEffect()
        self.assertEqual(self.planes(), self.names(COMPLETE))
        self.learn()
        before = self.where(segmentId)
        self.apply()
        self.assertIsNone(self.preview())
        after = self.where(segmentId)
        self.assertGreater(dice(after, self.truth), 0.95)
        self.assertEqual(self.planes(), self.names(COMPLETE), "what was applied is no annotation")
        self.editor.undo()
        settle()
        self.assertTrue((self.where(segmentId) == before).all())
        self.assertEqual(self.planes(), self.names(COMPLETE))

    def test_3_nodes_that_are_deleted_under_a_preview_take_nothing_down(self):
        for who in ("segmentation", "volume"):
            with self.subTest(who):
                self.setUp()
                segmentId = self.addSegment()
                self.paintSlices(segmentId, self.truth)
                self.openEffect()
                self.learn()
                slicer.mrmlScene.RemoveNode(getattr(self, who))
                settle()
                self.assertIsNone(self.preview())
        self.setUp()
        self.paintSlices(self.addSegment(), self.truth)
        self.openEffect()
        self.learn()
        slicer.mrmlScene.Clear(0)
        settle()
        self.assertIsNone(self.preview())

    def test_4_a_preview_ends_with_the_tool_and_with_the_module(self):
        self.paintSlices(self.addSegment(), self.truth)
        self.openEffect()
        self.learn()
        self.editor.setActiveEffectByName("Paint")
        settle()
        self.assertIsNotNone(self.preview())
        slicer.util.selectModule("Data")
        settle()
        self.assertIsNone(self.preview())
        slicer.util.selectModule("SegmentEditor")

    def test_a_result_that_is_being_written_when_the_module_is_left_is_written_whole(self):
        from HSSLSegmentationLib import steps
        from HSSLSegmentationLib.scene import volumes

        segmentId = self.addSegment()
        self.paintSlices(segmentId, self.truth)
        self.openEffect()
        self.learn()
        wanted = self.effect.session.proposal.labels.on(SIZE) > 0
        wanted[list(COMPLETE)] = self.truth[list(COMPLETE)]
        for module, name, value in ((steps, "SECONDS_AT_ONCE", 0.0), (volumes, "VOXELS_AT_ONCE", 1)):
            self.addCleanup(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        self.options.applyButton.click()
        self.assertTrue(self.effect.session.busy)
        slicer.util.selectModule("Data")
        settle()
        self.assertIsNone(self.effect.session)
        self.assertTrue((self.where(segmentId) == wanted).all())

    def test_5_corrections_of_what_was_applied_are_known_after_the_scene_was_saved_and_opened(self):
        segmentId = self.addSegment()
        self.paintSlices(segmentId, self.truth)
        self.openEffect()
        self.learn()
        self.apply()
        self.paint(segmentId, (0, 6), np.ones(SIZE, bool))
        expected = self.names(sorted([*COMPLETE, 6]))
        self.openEffect()
        self.assertEqual(self.planes(), expected)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scene.mrb"
            self.assertTrue(slicer.util.saveScene(str(path)))
            slicer.util.selectModule("Data")
            slicer.mrmlScene.Clear(0)
            settle()
            slicer.util.loadScene(str(path))
        settle(1.0)
        slicer.util.selectModule("SegmentEditor")
        settle()
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        self.assertEqual(len(nodes), 1, "no preview is in the scene")
        self.segmentation, self.volume = nodes[0], slicer.util.getNode("CT")
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)
        settle()
        self.openEffect()
        self.assertEqual(self.planes(), expected)

    def test_6_two_structures_on_slices_of_their_own_are_both_filled(self):
        other = ellipsoid(SIZE, (12, 50, 76), (9, 20, 10))
        array = slicer.util.arrayFromVolume(self.volume)
        array[other] += 60
        slicer.util.arrayFromVolumeModified(self.volume)
        first, second = self.addSegment(), self.addSegment()
        self.paintSlices(first, self.truth)
        self.paintSlices(second, other, (4, 9, 13, 19))
        self.openEffect()
        self.learn()
        self.apply()
        for segmentId, truth in ((first, self.truth), (second, other)):
            self.assertGreater(dice(self.where(segmentId), truth), 0.9)

    def test_7_a_slice_of_the_list_is_shown_by_a_click_and_switched_off(self):
        self.paintSlices(self.addSegment(), self.truth)
        self.openEffect()
        item = self.options.slicesList.item(1)
        self.options.slicesList.itemClicked.emit(item) if hasattr(self.options.slicesList.itemClicked, "emit") else (
            self.effect.onSliceClicked(item)
        )
        settle()
        offset = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetSliceOffset()
        self.assertAlmostEqual(offset, 2.0 * COMPLETE[1], places=3)
        item.setCheckState(qt.Qt.Unchecked)
        settle()
        self.effect._start()
        self.assertEqual(len(self.effect.session.annotation.planes), len(COMPLETE) - 1)
        self.effect.session.cancel()
        while self.effect.session.busy:
            settle(0.05)

    def test_9_a_prediction_is_corrected_on_a_few_slices_and_the_rest_is_learned_from_them(self):
        from HSSLSegmentationLib.logic import HSSLSegmentationLogic

        logic = HSSLSegmentationLogic()
        with tempfile.TemporaryDirectory(prefix="HSSL ", dir=slicer.app.temporaryPath) as folder:
            model = self.trained(logic, Path(folder) / "scans")
            # Half of the structure is darker than any that the model has seen.
            values = slicer.util.arrayFromVolume(self.volume)
            values[12:] -= (60 * self.truth[12:]).astype(np.int16)
            slicer.util.arrayFromVolumeModified(self.volume)
            segmentId = self.addSegment()
            self.segmentation.GetSegmentation().GetSegment(segmentId).SetName("ball")
            self.openEffect()
            self.options.predictButton.click()
            self.effect.parameters.choose(str(model))
            settle()
            self.learn()
            self.assertTrue(self.effect.session.proposal.isPrediction)
            # Choosing a tool to correct it applies it; it is a draft, and what is painted then is known.
            for index in (13, 17, 20):
                self.repaint(segmentId, index)
            predicted = dice(self.where(segmentId), self.truth)
            self.openEffect()
            self.options.learnButton.click()
            settle()
            self.assertEqual(self.planes(), self.names((13, 17, 20)))
            found = {}
            for start in ("none", str(model)):
                self.effect.parameters.choose(start)
                self.learn()
                labels = self.effect.session.proposal.labels.on(SIZE) == 1
                found[start] = dice(labels, self.truth)
            self.apply()
            applied = dice(self.where(segmentId), self.truth)
        print(
            f"correct and learn: {predicted:.3f} corrected, {found['none']:.3f} from the scan, {applied:.3f} from the model"
        )
        self.assertEqual(self.planes(), self.names((13, 17, 20)))
        self.assertGreater(max(found.values()), predicted)
        self.assertGreater(applied, predicted)

    def trained(self, logic, workspace):
        """A model of such structures, from a few of them."""
        logic.createWorkspace(workspace)
        rng = np.random.default_rng(1)
        for number in range(3):
            truth = ellipsoid(SIZE, (12, *rng.integers(35, 60, 2)), (9, *rng.integers(15, 30, 2)))
            volume = self.scan(SIZE, truth, f"scan {number}")
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"label {number}")
            node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
            node.GetSegmentation().AddEmptySegment("ball", "ball")
            slicer.util.updateSegmentBinaryLabelmapFromArray(truth.astype(np.uint8), node, "ball", volume)
            logic.addVolume(workspace, volume, task="balls", segmentationNode=node)
            slicer.mrmlScene.RemoveNode(node)
            slicer.mrmlScene.RemoveNode(volume)
        slicer.util.setSliceViewerLayers(background=self.volume, fit=True)
        small = {"patch_size": 48, "batch_size": 4, "threads": 1}
        job = logic.fineTune(workspace, task="balls", start="scratch", steps=60, options=small, waitForCompletion=True)
        return job.model

    def repaint(self, segmentId, index) -> None:
        """Erases a slice, and paints it as it is."""
        self.paint(segmentId, (0, index), ~self.truth, isAdded=False)
        self.paint(segmentId, (0, index), self.truth)

    def test_a_transform_that_is_hardened_takes_along_what_was_painted(self):
        from HSSLSegmentationLib.scene import annotations

        def painted():
            return annotations.read(self.segmentation, segmentId, self.volume).painted

        segmentId = self.addSegment()
        self.paintSlices(segmentId, self.truth, COMPLETE[:3])
        self.openEffect()
        drawn = self.where(segmentId)
        self.harden(self.volume, self.segmentation)
        np.testing.assert_array_equal(self.where(segmentId), drawn)
        self.assertEqual(painted(), {(0, index) for index in COMPLETE[:3]})
        self.paint(segmentId, (0, COMPLETE[3]), self.truth)
        self.openEffect()
        self.assertEqual(painted(), {(0, index) for index in COMPLETE[:4]})
        self.assertEqual(self.options.slicesList.count, 4)
        self.assertEqual(self.options.statusLabel.text, "")
        with self.subTest("a geometry that is given anew"):
            self.editor.setActiveEffectByName("Paint")
            settle()
            geometry = slicer.vtkSlicerSegmentationGeometryLogic()
            geometry.SetInputSegmentationNode(self.segmentation)
            geometry.SetSourceGeometryNode(self.volume)
            geometry.SetOversamplingFactor(2)
            self.assertEqual(geometry.CalculateOutputGeometry(), "")
            geometry.SetReferenceImageGeometryInSegmentationNode()
            geometry.ResampleLabelmapsInSegmentationNode()
            settle()
            self.openEffect()
            own = annotations.read(self.segmentation, segmentId, self.volume)
            self.assertEqual(own.painted, {(0, index) for index in COMPLETE[:4]})
            self.assertFalse(own.scribbles.values.size, "nobody has painted the voxels of the finer grid")
        with self.subTest("alone"):
            self.harden(self.segmentation)
            self.assertIn("not parallel", self.options.statusLabel.text)
            self.assertEqual(self.options.slicesList.count, 0)

    @staticmethod
    def harden(*nodes) -> None:
        matrix = vtk.vtkTransform()
        matrix.RotateX(20)
        matrix.RotateZ(30)
        matrix.Translate(5, 3, 6)
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(matrix.GetMatrix())
        for node in nodes:
            node.SetAndObserveTransformNodeID(transform.GetID())
        settle()
        for node in nodes:
            slicer.vtkSlicerTransformLogic.hardenTransform(node)
        settle()

    def test_8_a_large_volume_blocks_the_window_nowhere(self):
        size = (200, 512, 512)
        truth = ellipsoid(size, (100, 256, 230), (60, 110, 90))
        slicer.mrmlScene.RemoveNode(self.volume)
        volume = self.scan(size, truth, "large")
        settle(1.0)
        self.editor.setSourceVolumeNode(volume)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "large labels")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        segmentId = node.GetSegmentation().AddEmptySegment("organ")
        painted = np.zeros(size, np.uint8)
        painted[[50, 75, 100, 125, 150]] = truth[[50, 75, 100, 125, 150]]
        slicer.util.updateSegmentBinaryLabelmapFromArray(painted, node, segmentId, volume)
        self.volume, self.segmentation = volume, node
        self.editor.setSegmentationNode(node)
        self.editor.setSourceVolumeNode(volume)
        settle(2.0)
        self.openEffect()
        longest = Longest()
        settle(3.0)
        print("large: open", longest.taken())
        print("large: first round", self.learn(), "s, window", longest.taken())
        self.apply()
        print("large: apply, window", longest.taken())
        self.assertGreater((self.where(segmentId) & truth).sum(), 0.9 * truth.sum())
        longest.stop()


class Longest:
    """How long the event loop was kept from turning."""

    def __init__(self):
        self._longest, self._last = 0.0, time.monotonic()
        self._timer = qt.QTimer()
        self._timer.setInterval(5)
        self._timer.connect("timeout()", self._beat)
        self._timer.start()

    def _beat(self):
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now

    def taken(self) -> str:
        longest, self._longest = self._longest, 0.0
        return f"{1000 * longest:.0f} ms"

    def stop(self):
        self._timer.stop()
