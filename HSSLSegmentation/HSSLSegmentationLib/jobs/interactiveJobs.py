"""One round of learning from painted slices as a job, for scripts."""

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from .. import settings
from ..scene import annotations
from ..scene import segmentations as sceneSegmentations
from ..scene import volumes as sceneVolumes
from ..scene.annotatedSlices import Plane
from ..scene.segmentations import Part
from .job import Job
from .jobStarter import JobStarter


def learnFromSlices(
    starter: JobStarter,
    volumeNode,
    segmentationNode,
    model: str | Path,
    completeSlices: Iterable[Plane] | None,
    wholeVolume: bool,
    largestComponent: bool | None = None,
    nanIsBackground: bool = False,
) -> Job:
    """Starts a round; see `HSSLSegmentationLogic.learnFromSlices`."""
    sceneVolumes.check(volumeNode)
    stamp = sceneVolumes.stampOf(volumeNode)
    sceneSegmentations.checkWritable(segmentationNode, volumeNode)
    values = {i: n for n, i in enumerate(sceneSegmentations.segmentsUnderWork(segmentationNode), 1)}
    annotation, known = annotations.annotationOf(segmentationNode, values, volumeNode)
    annotations.checkOverlaps(segmentationNode, values, annotation)
    if completeSlices is None:
        planes = [(plane, own) for plane, own in sorted(annotation.planes.items())]
    else:
        planes = [(plane, list(values.values())) for plane in completeSlices]
    classes = [sceneSegmentations.asClass(segmentationNode, i, value) for i, value in values.items()]
    folder = starter.newFolder()
    volumeFile, annotationFile = folder / "volume.nrrd", folder / "annotation.nrrd"
    painted = annotation.labels.on(sceneSegmentations.gridShape(volumeNode))
    stopFile = folder / "stop"
    arguments = ["interactive", str(volumeFile), str(annotationFile), "--output", str(folder / "labels.nii.gz")]
    arguments += ["--device", settings.value("device"), "--threads", str(settings.value("threads"))]
    arguments += ["--json", "--stop-file", str(stopFile)]
    arguments += ["--background", str(annotations.BACKGROUND)]
    for (axis, index), own in planes:
        arguments.append(f"--plane={'zyx'[axis]}:{index}" + ("" if len(own) == len(values) else f":{_listed(own)}"))
    if model:
        arguments += ["--model", str(model)]
    if wholeVolume:
        arguments.append("--whole-volume")
    if nanIsBackground or sceneVolumes.isNanBackground(volumeNode):
        arguments.append("--nan-is-background")
    if largestComponent is not None:
        arguments.append("--largest-component" if largestComponent else "--all-components")

    def takenOver(job: Job) -> Iterator[None]:
        sceneVolumes.requireUnchanged(volumeNode, stamp)
        sceneSegmentations.requireInScene(segmentationNode)
        filled = Part((0, 0, 0), sceneVolumes.readArray(job.result.label_map, volumeNode))
        yield
        found = yield from annotations.withDrafts(filled, job.result.spans, segmentationNode, values, volumeNode)
        yield from job.writer.writing(
            found.values, classes, volumeNode, segmentationNode, list(values), partial(annotations.wantedOf, annotation)
        )
        yield from annotations.applied(segmentationNode, known, values, annotation, volumeNode)

    before = itertools.chain(
        sceneVolumes.passedOn(volumeNode, volumeFile),
        sceneVolumes.writtenRaw(painted, sceneVolumes.worldMatrix(volumeNode), annotationFile),
    )
    job = starter.start("interactive", arguments, folder, stopFile, whenDone=takenOver, before=before)
    job.volumeNode, job.segmentationNode = volumeNode, segmentationNode
    job.writer = sceneSegmentations.SegmentWriter()
    return job


def _listed(values: list[int]) -> str:
    return ",".join(map(str, values))
