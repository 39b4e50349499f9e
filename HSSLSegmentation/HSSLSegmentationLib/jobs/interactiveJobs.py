"""One round of learning from painted slices as a job, for scripts."""

from collections.abc import Iterable
from pathlib import Path

from slicer.i18n import tr as _

import slicer

from .. import settings
from ..scene import annotatedSlices
from ..scene import segmentations as sceneSegmentations
from ..scene import volumes as sceneVolumes
from ..scene.annotatedSlices import Plane
from ..scene.volumes import SceneVolumeError
from .job import Job
from .jobStarter import JobStarter


def learnFromSlices(
    starter: JobStarter,
    volumeNode,
    segmentationNode,
    model: str | Path,
    completeSlices: Iterable[Plane] | None,
    wholeVolume: bool,
) -> Job:
    """Starts a round; see `HSSLSegmentationLogic.learnFromSlices`."""
    sceneVolumes.check(volumeNode)
    sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
    values = {i: n for n, i in enumerate(sceneSegmentations.visibleSegments(segmentationNode), 1)}
    labels = sceneSegmentations.labelsOf(segmentationNode, values, volumeNode)
    planes = annotatedSlices.paintedSlices(labels) if completeSlices is None else list(completeSlices)
    classes = [sceneSegmentations.asClass(segmentationNode, i, value) for i, value in values.items()]
    folder = starter.newFolder()
    volumeFile, annotationFile = folder / "volume.nrrd", folder / "annotation.nrrd"
    sceneVolumes.writeVolume(volumeNode, volumeFile)
    sceneVolumes.writeArray(labels, sceneVolumes.worldMatrix(volumeNode), annotationFile, compress=True)
    stopFile = folder / "stop"
    arguments = ["interactive", str(volumeFile), str(annotationFile), "--output", str(folder / "labels.nii.gz")]
    arguments += ["--device", settings.value("device"), "--threads", str(settings.value("threads"))]
    arguments += ["--json", "--stop-file", str(stopFile)]
    arguments += [f"--plane={'zyx'[axis]}:{index}" for axis, index in planes]
    if model:
        arguments += ["--model", str(model)]
    if wholeVolume:
        arguments.append("--whole-volume")

    def takeOver(job: Job) -> None:
        # Ids are used again after a scene was closed, so the nodes themselves are looked for.
        if not all(slicer.mrmlScene.IsNodePresent(node) for node in (volumeNode, segmentationNode)):
            raise SceneVolumeError(_("The volume or the segmentation was removed meanwhile; the result is discarded."))
        filled = sceneVolumes.readArray(job.result["label_map"], volumeNode)
        job.writer.write(filled, classes, volumeNode, segmentationNode, list(values))

    job = starter.start("interactive", arguments, folder, stopFile, whenDone=takeOver)
    job.volumeNode, job.segmentationNode = volumeNode, segmentationNode
    job.writer = sceneSegmentations.SegmentWriter()
    return job
