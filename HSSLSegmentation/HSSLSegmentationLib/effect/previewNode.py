"""A result that is not applied yet, shown over the views as a segmentation of its own."""

from dataclasses import dataclass

import numpy
from slicer.i18n import tr as _

import slicer

from ..scene import segmentations as sceneSegmentations
from ..scene.segmentations import SegmentClass


@dataclass(frozen=True)
class Proposal:
    """What the worker proposes.

    Attributes:
        labels: label map (k, j, i) on the volume's grid.
        classes: what its values mean.
        segmentIds: the segment that each class goes into, "" for a new one.
        place: the most doubtful voxel (k, j, i).
    """

    labels: numpy.ndarray
    classes: list[SegmentClass]
    segmentIds: list[str]
    place: tuple[int, int, int]


class PreviewNode:
    """The node in the scene; it is neither saved nor offered for editing."""

    def __init__(self, proposal: Proposal, volumeNode, opacity: float):
        self.node = node = sceneSegmentations.newSegmentation(_("HSSL preview"), volumeNode)
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
        for segmentClass in proposal.classes:
            segmentId = sceneSegmentations.addSegment(segmentClass, node)
            inside = (proposal.labels == segmentClass.value).astype(numpy.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(inside, node, segmentId, volumeNode)
        self.setOpacity(opacity)

    def setOpacity(self, opacity: float) -> None:
        """Sets how much of the image the preview hides, 0 to 1."""
        self.node.GetDisplayNode().SetOpacity(opacity)

    def remove(self) -> None:
        """Takes the node out of the scene."""
        for node in (self.node.GetDisplayNode(), self.node):
            if node is not None and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)
