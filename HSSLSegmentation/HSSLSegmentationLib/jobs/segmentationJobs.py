"""Segmentation of a volume of the scene or of a folder, and evaluation, as jobs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

import slicer

from ..scene import annotations, labelling, results
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
    values: dict[str, Any],
    onlyIfEmpty: bool = False,
) -> Job:
    """Starts the segmentation of a volume of the scene; see `HSSLSegmentationLogic.segment`.

    Args:
        values: further fields of `hssl.configuration.PredictConfig`.
        onlyIfEmpty: the result is a draft, and gives way to what has been drawn meanwhile.
    """
    sceneVolumes.check(volumeNode)
    if outputSegmentation is not None:
        sceneSegmentations.checkWritable(outputSegmentation, volumeNode)
    classes, stamp = classesOfModel(model), sceneVolumes.stampOf(volumeNode)
    folder = starter.newFolder()
    source = folder / "volume.nrrd"
    values = {**values, "model": str(model), "inputs": [str(source)], "output": str(folder / "output")}
    values["compressed"] = False
    if sceneVolumes.isNanBackground(volumeNode):
        values["nan_is_background"] = True

    def takenOver(job: Job) -> Iterator[None]:
        if job.result.failed:
            raise SceneVolumeError(job.result.failed[0].reason)
        output = job.result.outputs[0]
        sceneVolumes.requireUnchanged(volumeNode, stamp)
        segmentationNode = outputSegmentation
        if segmentationNode is not None:
            sceneSegmentations.requireInScene(segmentationNode)
        if onlyIfEmpty and not labelling.isEmpty(outputSegmentation):
            raise SceneVolumeError(_("You have drawn meanwhile, and that stays as it is."))
        labels = sceneVolumes.readArray(output.label_map, volumeNode)
        if segmentationNode is None:
            name = _("{name} segmentation").format(name=volumeNode.GetName())
            segmentationNode = sceneSegmentations.newSegmentation(slicer.mrmlScene.GenerateUniqueName(name), volumeNode)
        segmentIds = yield from job.writer.writing(labels, classes, volumeNode, segmentationNode)
        yield from annotations.markedDraft(segmentationNode, segmentIds, volumeNode)
        results.setOwner(segmentationNode, volumeNode, results.SEGMENTATION)
        job.segmentationNode = segmentationNode
        if output.uncertainty is not None:
            name = _("{name} uncertainty").format(name=volumeNode.GetName())
            job.uncertaintyNode = yield from results.overlaid(output.uncertainty, volumeNode, name)

    job = starter.configured(
        "predict", values, folder, whenDone=takenOver, before=sceneVolumes.passedOn(volumeNode, source)
    )
    job.volumeNode = volumeNode
    job.writer = sceneSegmentations.SegmentWriter()
    return job


def segmentFolder(
    starter: JobStarter, folder: str | Path, model: str | Path, outputFolder: str | Path, values: dict[str, Any]
) -> Job:
    """Starts the segmentation of every volume in a folder; see `HSSLSegmentationLogic.segmentFolder`."""
    paths = {"model": str(model), "inputs": [str(folder)], "output": str(outputFolder)}
    return starter.configured("predict", {**values, **paths})


def evaluate(starter: JobStarter, values: dict[str, Any]) -> Job:
    """Starts a comparison of label maps; `values` are fields of `hssl.configuration.EvaluateConfig`."""
    return starter.configured("evaluate", values)
