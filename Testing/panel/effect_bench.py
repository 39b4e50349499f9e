"""A scan in the Segment Editor with the effect open, for the tests of the effect."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import psutil
import pytest
import SimpleITK as sitk

from harness.fixtures import settle, waitUntil  # isort: skip, it starts the stand-in

import slicer
from harness import segment_editor
from harness.fake_process import FakeProcess
from HSSLSegmentationLib import settings
from HSSLSegmentationLib.effect import registration as effectRegistration
from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
from HSSLSegmentationLib.scene import volumes as sceneVolumes

COMPLETE = (2, 4, 7)
"""Axial slices that are painted."""


class Bench:
    """A scan in the Segment Editor with the effect open, and what a test asks of it."""

    def __init__(self, workspace):
        from hssl.workspace.catalogue import Catalogue

        catalogue = Catalogue.load(workspace)
        image = catalogue.usable("liver_spleen_ct", labelled=True)[0]
        self.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        sceneVolumes.updateFromImage(self.volume, sitk.ReadImage(str(catalogue.image_path(image))))
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(catalogue.label_path(image))))
        self.liver, self.spleen = truth == 1, truth == 2
        slicer.util.setSliceViewerLayers(background=self.volume, fit=True)
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "labels")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        self.editor = segment_editor.opened(self.segmentation, self.volume, "HSSL")
        self.effect = self.editor.activeEffect().self().controller
        self.options = self.effect.options
        settle()

    def add(self, name: str, where: np.ndarray) -> None:
        self.segmentation.GetSegmentation().AddEmptySegment(name, name)
        self.paint(name, where)
        if not self.editor.currentSegmentID():
            self.editor.setCurrentSegmentID(name)

    def paint(self, name: str, where: np.ndarray) -> None:
        toNode = sceneSegmentations.matrixInNode(self.volume, self.segmentation)
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
            sceneSegmentations.orientedImage(where.astype(np.uint8), toNode), self.segmentation, name
        )
        settle()

    def where(self, name: str, node=None) -> np.ndarray:
        return sceneSegmentations.segmentOnGrid(node or self.segmentation, name, self.volume)

    def learn(self) -> None:
        assert self.options.startButton.enabled, self.options.startButton.toolTip
        self.options.startButton.click()
        waitUntil(lambda: self.effect.session is None or not self.effect.session.busy, 120, "the round")
        settle()

    def changeTool(self, name: str) -> None:
        """What the editor tells the effect when a tool that the harness lacks is chosen, or the effect again."""
        self.editor.mrmlSegmentEditorNode().SetActiveEffectName(name)
        if name == "HSSL":
            self.effect.scriptedEffect.activate()
        else:
            self.effect.scriptedEffect.deactivate()
        settle()

    def previewSegment(self) -> str:
        return self.previewNode().GetSegmentation().GetSegmentIDs()[0]

    def previewNode(self):
        return next(iter(slicer.util.getNodes("HSSL preview*", useLists=True).get("HSSL preview", [])), None)


def on(slices, where: np.ndarray) -> np.ndarray:
    kept = np.zeros_like(where)
    kept[list(slices)] = where[list(slices)]
    return kept


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.fixture
def bench(generatedWorkspace):
    settings.setValue("python", sys.executable)
    os.environ["OMP_NUM_THREADS"] = "1"
    effectRegistration.register()
    made = Bench(generatedWorkspace)
    yield made
    made.editor.setActiveEffect(None)
    settle()
    made.effect.scriptedEffect.cleanup()
    made.editor.setMRMLSegmentEditorNode(None)
    segment_editor._registered.clear()


@pytest.fixture
def painted(bench):
    bench.add("liver", on(COMPLETE, bench.liver))
    return bench


@pytest.fixture
def played(painted):
    """The worker is a process that does what the test says."""
    made = []

    def make():
        made.append(FakeProcess())
        return made[-1]

    painted.effect.makeProcess = make
    painted.processes = made
    yield painted
    for process in made:
        process.end(0)


def commands(process: FakeProcess) -> list[dict]:
    return [json.loads(line) for line in process.written.splitlines()]


def answer(process: FakeProcess, labels: np.ndarray, spans: dict | None = None) -> None:
    """Writes what the worker would have written, says so, and lets the effect take it over."""
    say(process, labels, spans)
    settle()


def say(process: FakeProcess, labels: np.ndarray, spans: dict | None = None) -> None:
    """Writes what the worker would have written, and says so."""
    *before, asked = commands(process)
    for command in before:
        if command["command"] == "open":
            process.say({"event": "done", "command_id": command["id"], "result": {}})
    part = sceneSegmentations.cropped(labels.astype(np.uint8))
    np.save(asked["label_map"], part.values)
    result = {"label_map": asked["label_map"], "start": list(part.start), "spans": spans or {}}
    if labels.any():
        place = [int(i) for i in np.argwhere(labels)[0]]
        result |= {"next_slice": [0, place[0]], "place": place}
    process.say({"event": "done", "command_id": asked["id"], "result": result})


def learnedFrom(process: FakeProcess) -> list:
    """The complete slices of the last round: axis, index, and the labels that are complete there."""
    return next(c for c in reversed(commands(process)) if c["command"] == "learn")["planes"]


def workers() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "interactive-worker" in child.cmdline()
    ]
