"""A result that is not applied yet, shown over the views as a segmentation of its own."""

from dataclasses import dataclass

from slicer.i18n import tr as _

import slicer

from ..scene import segmentations as sceneSegmentations
from ..scene.segmentations import Part, SegmentClass


@dataclass(frozen=True)
class Proposal:
    """What the worker proposes.

    Attributes:
        labels: label map of the part of the volume's grid that holds labels.
        classes: what its values mean.
        segmentIds: the segment that each class goes into, "" for a new one.
        place: the most doubtful voxel (k, j, i), None where nothing is in doubt.
        isPrediction: whether a model has found it, without having learned from what is painted.
    """

    labels: Part
    classes: list[SegmentClass]
    segmentIds: list[str]
    place: tuple[int, int, int] | None
    isPrediction: bool = False

    @property
    def isEmpty(self) -> bool:
        """Whether nothing was found."""
        return not self.labels.values.any()


class PreviewNode:
    """The node in the scene; it is neither saved nor listed, nor offered for editing.

    Its outlines are thick and its surfaces faint, so that it is told from what is painted. Somebody can delete it; it
    is then gone, and nothing else happens.
    """

    OUTLINE_PIXELS = 3
    FILL = 0.4
    """Of the opacity, for surfaces."""

    def __init__(self, proposal: Proposal, volumeNode, opacity: float, in3D: bool = False):
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(_("HSSL preview"))
        node.SetSaveWithScene(False)
        # Before it is in the scene, so that it gets no item in the hierarchy, which would be saved.
        node.SetHideFromEditors(True)
        self._node = slicer.mrmlScene.AddNode(node)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetSliceIntersectionThickness(self.OUTLINE_PIXELS)
        display.SetOpacity2DFill(self.FILL)
        self.setOpacity(opacity)
        self.show(proposal, volumeNode, in3D)

    @property
    def node(self):
        """Returns the node, None when it is no longer in the scene."""
        return self._node if slicer.mrmlScene.IsNodePresent(self._node) else None

    def show(self, proposal: Proposal, volumeNode, in3D: bool) -> None:
        """Shows another proposal in place of the one before."""
        node = self.node
        if node is None:
            return
        segmentation = node.GetSegmentation()
        wasModifying = node.StartModify()
        try:
            segmentation.RemoveAllSegments()
            if not proposal.labels.values.size:
                return
            # All segments share one label map, as segments of an editor do.
            name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
            image = sceneSegmentations.orientedImage(
                proposal.labels.values, sceneSegmentations.matrixInNode(volumeNode, node), proposal.labels.start
            )
            for segmentClass in proposal.classes:
                segment = slicer.vtkSegment()
                segment.SetName(segmentClass.name)
                if segmentClass.color is not None:
                    segment.SetColor(*segmentClass.color)
                segment.SetLabelValue(segmentClass.value)
                segment.AddRepresentation(name, image)
                segmentation.AddSegment(segment)
        finally:
            node.EndModify(wasModifying)
        display = node.GetDisplayNode()
        display.SetVisibility3D(in3D)
        if in3D:
            node.CreateClosedSurfaceRepresentation()

    def setOpacity(self, opacity: float) -> None:
        """Sets how much of the image the preview hides, 0 to 1."""
        if self.node is not None:
            self.node.GetDisplayNode().SetOpacity(opacity)

    def setShown(self, isShown: bool) -> None:
        """Shows or hides the preview."""
        if self.node is not None:
            self.node.GetDisplayNode().SetVisibility(isShown)

    def remove(self) -> None:
        """Takes the node out of the scene; never to be called inside an event of the scene or of a node."""
        for node in (self._node.GetDisplayNode(), self._node):
            if node is not None and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)
