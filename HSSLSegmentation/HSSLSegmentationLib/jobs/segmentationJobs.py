"""Segmentation of a volume of the scene or of a folder, and evaluation, as jobs."""

from pathlib import Path

from slicer.i18n import tr as _

import slicer

from .. import settings
from ..scene import segmentations as sceneSegmentations
from ..scene import volumes as sceneVolumes
from ..scene.modelClasses import classesOfModel
from ..scene.volumes import SceneVolumeError
from .job import Job
from .jobStarter import JobStarter


def segment(
    starter: JobStarter,
    volumeNode,
    model: str | Path,
    outputSegmentation,
    flips: bool,
    largestComponent: bool | None,
    uncertainty: bool,
) -> Job:
    """Starts the segmentation of a volume of the scene; see `HSSLSegmentationLogic.segment`.

    The job gets the attributes `segmentationNode`, `uncertaintyNode` and `writer` (a SegmentWriter, which can undo).
    """
    sceneVolumes.check(volumeNode)
    classes = classesOfModel(model)
    folder = starter.newFolder()
    source = folder / "volume.nrrd"
    sceneVolumes.writeVolume(volumeNode, source)

    def takeOver(job: Job) -> None:
        if job.result.get("failed"):
            raise SceneVolumeError(job.result["failed"][0]["reason"])
        output = job.result["outputs"][0]
        _requireInScene(volumeNode, _("The volume was removed from the scene meanwhile; the result is discarded."))
        segmentationNode = outputSegmentation
        if segmentationNode is not None:
            _requireInScene(
                segmentationNode, _("The segmentation was removed from the scene meanwhile; the result is discarded.")
            )
        labels = sceneVolumes.readArray(output["label_map"], volumeNode)
        if segmentationNode is None:
            segmentationNode = sceneSegmentations.newSegmentation(
                _("{name} segmentation").format(name=volumeNode.GetName()), volumeNode
            )
        job.writer.write(labels, classes, volumeNode, segmentationNode)
        job.segmentationNode = segmentationNode
        if output.get("uncertainty"):
            name = _("{name} uncertainty").format(name=volumeNode.GetName())
            job.uncertaintyNode = sceneVolumes.addOverlay(output["uncertainty"], volumeNode, name)

    configuration = _prediction(model, [source], folder / "output", flips, largestComponent, uncertainty)
    job = starter.configured("predict", configuration, folder, whenDone=takeOver)
    job.segmentationNode = job.uncertaintyNode = None
    job.writer = sceneSegmentations.SegmentWriter()
    return job


def segmentFolder(
    starter: JobStarter,
    folder: str | Path,
    model: str | Path,
    outputFolder: str | Path,
    flips: bool,
    largestComponent: bool | None,
    uncertainty: bool,
    overwrite: bool,
) -> Job:
    """Starts the segmentation of every volume in a folder; see `HSSLSegmentationLogic.segmentFolder`."""
    configuration = _prediction(model, [folder], outputFolder, flips, largestComponent, uncertainty)
    return starter.configured("predict", configuration | {"overwrite": overwrite})


def evaluate(
    starter: JobStarter,
    predictions: str | Path,
    references: str | Path,
    outputFolder: str | Path,
    model: str | Path | None,
    overwrite: bool,
) -> Job:
    """Starts a comparison of label maps; see `HSSLSegmentationLogic.evaluate`."""
    return starter.configured(
        "evaluate",
        {
            "predictions": str(predictions),
            "references": str(references),
            "output": str(outputFolder),
            "model": None if model is None else str(model),
            "overwrite": overwrite,
        },
    )


def _prediction(model, inputs, output, flips: bool, largestComponent: bool | None, uncertainty: bool) -> dict:
    return {
        "model": str(model),
        "inputs": [str(path) for path in inputs],
        "output": str(output),
        "flips": flips,
        "largest_component": largestComponent,
        "uncertainty": uncertainty,
        "device": settings.value("device"),
        "threads": settings.value("threads"),
        "slab_megabytes": settings.value("slabMegabytes"),
    }


def _requireInScene(node, message: str) -> None:
    # Ids are used again after a scene was closed, so the node itself is looked for.
    if not slicer.mrmlScene.IsNodePresent(node):
        raise SceneVolumeError(message)
