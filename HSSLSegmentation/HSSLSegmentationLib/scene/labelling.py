"""Labelling an image of the workspace: it opens in the Segment Editor, and what was drawn becomes its label."""

from collections.abc import Generator
from pathlib import Path

from slicer.i18n import tr as _

import slicer

from ..refusal import Refusal
from . import cases as sceneCases
from . import layouts
from . import pictures as scenePictures
from . import segmentations as sceneSegmentations
from .segmentations import SegmentClass


def open(catalogue, id: str):
    """Shows an image in the Segment Editor with a segment for each class of its task; see `openForLabelling`."""
    volumeNode = scenePictures.show(catalogue, id)
    segmentationNode = drawn(volumeNode)
    if segmentationNode is None:
        task = catalogue.task(catalogue.image(id).task)
        classes = [SegmentClass(c.value, c.name, c.color, c.terminology) for c in task.classes]
        segmentationNode = sceneSegmentations.newSegmentation(_("{name} label").format(name=id), volumeNode)
        scenePictures.tieLabel(segmentationNode, catalogue, id)
        for segmentClass in classes:
            sceneSegmentations.addSegment(segmentClass, segmentationNode)
    layouts.withSlices()
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    editor.setSegmentationNode(segmentationNode)
    editor.setSourceVolumeNode(volumeNode)
    return segmentationNode


def drawn(volumeNode):
    """Returns the segmentation that holds the label of an image, drawn or read from its file, or None."""
    return next(iter(scenePictures.labelsOf(volumeNode)), None)


def isEmpty(segmentationNode) -> bool:
    """Tells whether nothing is drawn in any segment."""
    for segmentId in segmentationNode.GetSegmentation().GetSegmentIDs():
        labelmap = slicer.vtkOrientedImageData()
        if segmentationNode.GetBinaryLabelmapRepresentation(segmentId, labelmap) and not labelmap.IsEmpty():
            if labelmap.GetScalarRange()[1] > 0:
                return False
    return True


def reasonNotToKeep(catalogue, id: str) -> str:
    """Returns why there is nothing yet to keep as the image's label, or ""."""
    labels = scenePictures.labelsOf(scenePictures.shown(catalogue, id))
    if not labels:
        return _("Open the scan and draw its label first.")
    if len(labels) > 1:
        return _("{first} and {second} both hold a label of {id}: delete the one that is not to be kept.").format(
            first=labels[0].GetName(), second=labels[1].GetName(), id=id
        )
    return ""


def keeping(catalogue, id: str, classes: dict[str, str] | None = None) -> Generator[None, None, Path]:
    """Makes what was drawn the image's label, in steps; `classes` as for `HSSLSegmentationLogic.setLabel`."""
    reason = reasonNotToKeep(catalogue, id)
    if reason:  # somebody has removed it meanwhile
        raise Refusal(reason)
    volumeNode = scenePictures.shown(catalogue, id)
    segmentationNode = drawn(volumeNode)
    path = yield from sceneCases.settingLabel(catalogue.workspace, id, volumeNode, segmentationNode, classes)
    scenePictures.tieLabel(segmentationNode, catalogue.load(catalogue.workspace), id)
    return path
