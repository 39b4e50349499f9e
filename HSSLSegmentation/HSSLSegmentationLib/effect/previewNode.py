"""A result that is not applied yet, shown over the views as a segmentation of its own."""

import math
from dataclasses import dataclass
from typing import Any

import numpy
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

import slicer

from ..scene import results
from ..scene import segmentations as sceneSegmentations
from ..scene.segmentations import Part, SegmentClass

VOXELS_OF_SURFACES = 2**20
"""From which the surfaces of a preview are made, about."""


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


class PreviewNode(VTKObservationMixin):
    """The node in the scene; it is neither saved nor listed, nor offered for editing.

    Its outlines are thick and its surfaces faint, so that it is told from what is painted. Somebody can delete it; it
    is then gone, and nothing else happens.
    """

    OUTLINE_PIXELS = 3
    FILL = 0.4
    """Of the opacity, for surfaces."""

    def __init__(self, proposal: Proposal, volumeNode, opacity: float, in3D: bool = False):
        VTKObservationMixin.__init__(self)
        display = slicer.vtkMRMLSegmentationDisplayNode()
        display.SetSaveWithScene(False)
        display.SetSliceIntersectionThickness(self.OUTLINE_PIXELS)
        display.SetOpacity2DFill(self.FILL)
        display.SetOpacity(opacity)
        display = slicer.mrmlScene.AddNode(display)
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(_("HSSL preview"))
        node.SetSaveWithScene(False)
        # All of this before it is in the scene: a hidden node gets no item in the hierarchy, which would be saved; and the
        # hierarchy takes each event of a segmentation without an item for an error, so that none reaches it.
        node.SetHideFromEditors(True)
        node.SetScene(slicer.mrmlScene)  # so that it finds its display node now
        node.SetAndObserveDisplayNodeID(display.GetID())
        node.DisableModifiedEventOn()
        self._node = slicer.mrmlScene.AddNode(node)
        self.addObserver(volumeNode, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._moved)
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
        segmentation.RemoveAllSegments()
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        if proposal.isEmpty:
            node.RemoveNodeReferenceIDs(results.PREVIEW)  # there is nothing to decide on
        else:
            results.setOwner(node, volumeNode, results.PREVIEW)
        if proposal.labels.values.size:
            # All segments share one label map, as segments of an editor do.
            name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
            matrix = sceneSegmentations.matrixInNode(volumeNode, node)
            image = sceneSegmentations.orientedImage(proposal.labels.values, matrix, proposal.labels.start)
            surfaces = _surfaces(proposal, matrix) if in3D else {}
            for segmentClass in proposal.classes:
                segment = slicer.vtkSegment()
                segment.SetName(segmentClass.name)
                if segmentClass.color is not None:
                    segment.SetColor(*segmentClass.color)
                segment.SetLabelValue(segmentClass.value)
                segment.AddRepresentation(name, image)
                if segmentClass.value in surfaces:
                    segment.AddRepresentation(_surfaceName(), surfaces[segmentClass.value])
                segmentation.AddSegment(segment)
        node.GetDisplayNode().SetVisibility3D(in3D)
        self._tellViews()

    def setOpacity(self, opacity: float) -> None:
        """Sets how much of the image the preview hides, 0 to 1."""
        if self.node is not None:
            self.node.GetDisplayNode().SetOpacity(opacity)
            self._tellViews()

    def setShown(self, isShown: bool) -> None:
        """Shows or hides the preview."""
        if self.node is not None:
            self.node.GetDisplayNode().SetVisibility(isShown)
            self._tellViews()

    def remove(self) -> None:
        """Takes the node out of the scene; never to be called inside an event of the scene or of a node."""
        self.removeObservers()
        # The display node last: a segmentation in the scene tells of its loss.
        for node in (self._node, self._node.GetDisplayNode()):
            if node is not None and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)

    def _moved(self, caller, event) -> None:
        """The volume's transform, which is the preview's too, has changed."""
        if self.node is not None:
            self.node.InvokeEvent(slicer.vtkMRMLTransformableNode.TransformModifiedEvent)

    def _tellViews(self) -> None:
        self.node.InvokeEvent(vtk.vtkCommand.ModifiedEvent)


def _surfaceName() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()


def _surfaces(proposal: Proposal, matrix: numpy.ndarray) -> dict[int, Any]:
    """Returns the surface of each class, by its value: of a large structure from blocks of voxels, since Slicer makes
    surfaces while the window waits, and a preview is looked at, not measured."""
    labels = proposal.labels
    step = max(1, math.ceil((labels.values.size / VOXELS_OF_SURFACES) ** (1 / 3)))
    coarse = labels.values
    for axis in range(3):
        coarse = _highest(coarse, axis, step)
    middle = [a + (step - 1) / 2 for a in labels.start]
    toNode = matrix.copy()
    toNode[:3, 3] = (matrix @ [*middle[::-1], 1])[:3]
    toNode[:3, :3] *= step
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image, segmentation = sceneSegmentations.orientedImage(coarse, toNode), slicer.vtkSegmentation()
    segmentation.SetSourceRepresentationName(name)
    for segmentClass in proposal.classes:
        segment = slicer.vtkSegment()
        segment.SetLabelValue(segmentClass.value)
        segment.AddRepresentation(name, image)
        segmentation.AddSegment(segment, str(segmentClass.value))
    segmentation.CreateRepresentation(_surfaceName())
    found = {c.value: segmentation.GetSegment(str(c.value)).GetRepresentation(_surfaceName()) for c in proposal.classes}
    return {value: surface for value, surface in found.items() if surface is not None}


def _highest(values: numpy.ndarray, axis: int, step: int) -> numpy.ndarray:
    """Returns the highest value of each so many voxels along an axis: what is thin stays in one piece."""
    along = numpy.moveaxis(values, axis, 0)
    found = along[::step].copy()
    for first in range(1, step):
        part = along[first::step]
        numpy.maximum(found[: len(part)], part, out=found[: len(part)])
    return numpy.moveaxis(found, 0, axis)
