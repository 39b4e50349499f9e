"""The tutorial as a test through the Logic: generated scans, pretraining, fine-tuning, segmentation, model file."""

import shutil
import tempfile
from pathlib import Path

import numpy

import slicer

from . import installation, settings
from .scene import pictures as scenePictures

STEPS = 20


def runTutorial(case, logic) -> None:
    """Goes through the tutorial with few steps; takes some minutes on two processor cores.

    Args:
        case: the ScriptedLoadableModuleTest, which asserts and displays messages.
        logic: the module's Logic.
    """
    if installation.missingRequirements(settings.value("python")):
        case.delayDisplay("Left out: the Python packages of HSSL are not installed here.")
        return
    folder = Path(tempfile.mkdtemp(prefix="HSSL-tutorial-", dir=slicer.app.temporaryPath))
    try:
        _run(case, logic, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(case, logic, folder: Path) -> None:
    from hssl.workspace.catalogue import Catalogue

    workspace = folder / "workspace"
    case.delayDisplay("Making sample scans")
    logic.createSampleWorkspace(workspace, size="tiny")
    case.assertTrue(logic.images(workspace, labelled=True))

    case.delayDisplay("Pretraining")
    pretraining = logic.pretrain(workspace, steps=STEPS, waitForCompletion=True)
    case.assertEqual(pretraining.state, "done")
    case.assertTrue(pretraining.losses)

    case.delayDisplay("Fine-tuning")
    task = Catalogue.load(workspace).tasks[0]
    fineTuning = logic.fineTune(workspace, task.name, start="pretrained", steps=STEPS, waitForCompletion=True)
    case.assertGreater(fineTuning.result.tensors_loaded, 0)

    case.delayDisplay("Segmenting")
    catalogue = Catalogue.load(workspace)
    volumeNode = scenePictures.show(catalogue, catalogue.usable(task.name, labelled=False)[0].id)
    segmentationNode = logic.segment(volumeNode, fineTuning.model, uncertainty=True).segmentationNode
    segmentation = segmentationNode.GetSegmentation()
    names = [segmentation.GetSegment(i).GetName() for i in segmentation.GetSegmentIDs()]
    case.assertEqual(names, [c.name for c in task.classes])
    for segmentId in segmentation.GetSegmentIDs():
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volumeNode)
        case.assertEqual(voxels.shape, slicer.util.arrayFromVolume(volumeNode).shape)

    case.delayDisplay("Passing the model on")
    file = folder / "model.zip"
    logic.exportModel(fineTuning.model, file, licence="CC0")
    logic.createWorkspace(folder / "elsewhere")
    imported = logic.importModel(file, folder / "elsewhere")
    again = logic.segment(volumeNode, imported.result.file).segmentationNode
    for one, other in zip(segmentation.GetSegmentIDs(), again.GetSegmentation().GetSegmentIDs(), strict=True):
        case.assertTrue(
            numpy.array_equal(
                slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, one, volumeNode),
                slicer.util.arrayFromSegmentBinaryLabelmap(again, other, volumeNode),
            )
        )
    case.delayDisplay("The tutorial has passed")
