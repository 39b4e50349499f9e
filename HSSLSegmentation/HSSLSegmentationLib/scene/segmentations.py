"""Segmentation nodes to label maps of a task's classes, and back to segments with names, colours, terminology."""

from dataclasses import dataclass
from pathlib import Path

import numpy
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

import slicer

from . import volumes as sceneVolumes
from .volumes import SceneVolumeError


@dataclass(frozen=True)
class SegmentClass:
    """A class as segments know it: `color` is RGB in 0…1, `terminology` Slicer's serialised form."""

    value: int
    name: str
    color: tuple[float, float, float] | None = None
    terminology: str | None = None


def classesOf(
    segmentationNode, known: list[SegmentClass], segmentIds: list[str] | None = None
) -> dict[str, SegmentClass]:
    """Returns a class for each segment id: the known one of that name or terminology, or one with the next free value.

    Args:
        segmentIds: only these segments; None means all.
    """
    segmentation = segmentationNode.GetSegmentation()
    classes: dict[str, SegmentClass] = {}
    nextValue = max([c.value for c in known], default=0) + 1
    for segmentId in segmentation.GetSegmentIDs() if segmentIds is None else segmentIds:
        segment = segmentation.GetSegment(segmentId)
        name, terminology = segment.GetName(), terminologyOf(segment)
        match = next((c for c in known if c.name.casefold() == name.casefold()), None)
        if match is None and terminology:
            match = next((c for c in known if c.terminology == terminology), None)
        if match is None:
            match = SegmentClass(nextValue, name, tuple(segment.GetColor()), terminology or None)
            nextValue += 1
        if match in classes.values():
            raise SceneVolumeError(
                _("{node} has two segments for the class {name}; join or rename one of them.").format(
                    node=segmentationNode.GetName(), name=match.name
                )
            )
        classes[segmentId] = match
    return classes


def writeLabelMap(segmentationNode, volumeNode, classes: dict[str, SegmentClass], path: str | Path) -> int:
    """Writes segments as a label map on the grid that `writeVolume` gives the volume.

    Args:
        classes: segment id → class.

    Returns:
        The number of voxels that more than one segment claims; the last of them in the list has got them.

    Raises:
        SceneVolumeError: there are no segments, or none of them has a voxel on the volume.
    """
    sceneVolumes.check(volumeNode)
    if not classes:
        raise SceneVolumeError(_("{name} has no segments.").format(name=segmentationNode.GetName()))
    shape = tuple(reversed(volumeNode.GetImageData().GetDimensions()))
    largest = max(c.value for c in classes.values())
    labels = numpy.zeros(shape, numpy.uint8 if largest < 256 else numpy.uint16)
    overlap = 0
    for segmentId, segmentClass in classes.items():
        inside = segmentOnGrid(segmentationNode, segmentId, volumeNode)
        overlap += int(numpy.count_nonzero(labels[inside]))
        labels[inside] = segmentClass.value
    if not labels.any():
        raise SceneVolumeError(
            _("No segment of {segmentation} has a voxel on {volume}.").format(
                segmentation=segmentationNode.GetName(), volume=volumeNode.GetName()
            )
        )
    sceneVolumes.writeArray(labels, sceneVolumes.worldMatrix(volumeNode), path, compress=True)
    return overlap


class SegmentWriter:
    """Writes label maps into segmentations through Slicer's editor logic: masks, overwrite mode and undo hold."""

    def __init__(self):
        self._editor = None
        self._editorNode = None

    def write(
        self,
        labels: numpy.ndarray,
        classes: list[SegmentClass],
        volumeNode,
        segmentationNode,
        into: list[str] | None = None,
    ) -> list[str]:
        """Writes each class into the segment of that name or terminology, which is added when there is none.

        Args:
            labels: label map on the volume's grid, in k, j, i order.
            classes: what its values mean; a class without a voxel gets an empty segment.
            into: ids of the segments to write into instead, in the order of `classes`.

        Returns:
            The ids of the segments, in the order of `classes`.

        Raises:
            SceneVolumeError: the segmentation is under another transform than the volume.
        """
        toNode = matrixInNode(volumeNode, segmentationNode)
        if segmentationNode.GetSegmentation().GetNumberOfSegments() == 0:
            segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        editor = self._editorFor(segmentationNode, volumeNode)
        if editor is not None:
            editor.SaveStateForUndo()
        segmentIds = []
        for number, segmentClass in enumerate(classes):
            segmentId = into[number] if into is not None else segmentOfClass(segmentClass, segmentationNode)
            segmentId = segmentId or addSegment(segmentClass, segmentationNode)
            segmentIds.append(segmentId)
            inside = (labels == segmentClass.value).astype(numpy.uint8)
            if editor is None:
                slicer.util.updateSegmentBinaryLabelmapFromArray(inside, segmentationNode, segmentId, volumeNode)
                continue
            editor.SetCurrentSegmentID(segmentId)
            editor.UpdateMaskLabelmap()
            labelmap = onReferenceGrid(orientedImage(inside, toNode), editor.GetReferenceGeometryImage())
            editor.ModifySegmentByLabelmap(
                segmentationNode, segmentId, labelmap, editor.ModificationModeSet, True, False
            )
        return segmentIds

    def canUndo(self) -> bool:
        """Tells whether the last writing can be undone."""
        return self._editor is not None and self._editor.CanUndo()

    def undo(self) -> None:
        """Takes the last writing back."""
        if self.canUndo():
            self._editor.Undo()

    def release(self) -> None:
        """Lets go of all nodes; what was written stays, and can no longer be undone."""
        if self._editor is not None:
            self._editor.SetSegmentationNode(None)
            self._editor.SetSourceVolumeNode(None)
            self._editor.SetSegmentEditorNode(None)
            self._editor = None
        if self._editorNode is not None:
            slicer.mrmlScene.RemoveNode(self._editorNode)
            self._editorNode = None

    def _editorFor(self, segmentationNode, volumeNode):
        self.release()
        if not hasattr(slicer, "vtkSlicerSegmentEditorLogic"):
            return None
        self._editorNode = editorNode = slicer.vtkMRMLSegmentEditorNode()
        editorNode.SetName("HSSL")
        editorNode.SetHideFromEditors(True)
        editorNode.SetSaveWithScene(False)
        slicer.mrmlScene.AddNode(editorNode)
        theirs = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if theirs is not None and theirs.GetSegmentationNode() is segmentationNode:
            editorNode.SetMaskMode(theirs.GetMaskMode())
            editorNode.SetMaskSegmentID(theirs.GetMaskSegmentID())
            editorNode.SetOverwriteMode(theirs.GetOverwriteMode())
            editorNode.SetSourceVolumeIntensityMask(theirs.GetSourceVolumeIntensityMask())
            editorNode.SetSourceVolumeIntensityMaskRange(*theirs.GetSourceVolumeIntensityMaskRange())
        else:
            # Nobody has said that a result may take voxels away from segments that are there already.
            editorNode.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
        self._editor = editor = slicer.vtkSlicerSegmentEditorLogic()
        editor.SetMRMLScene(slicer.mrmlScene)
        editor.SetSegmentEditorNode(editorNode)
        editor.SetSegmentationNode(segmentationNode)
        editor.SetSourceVolumeNode(volumeNode)
        editor.UpdateReferenceGeometryImage()
        editor.UpdateAlignedSourceVolume()
        return editor


def newSegmentation(name: str, volumeNode):
    """Adds a segmentation node with the volume's reference geometry, under the volume's transform; returns it."""
    segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    segmentationNode.CreateDefaultDisplayNodes()
    return segmentationNode


def matrixInNode(volumeNode, segmentationNode) -> numpy.ndarray:
    """Returns the 4×4 matrix from the volume's voxel indices to the coordinates of the segmentation's segments.

    Raises:
        SceneVolumeError: the segmentation is under another transform than the volume.
    """
    if segmentationNode.GetTransformNodeID() == volumeNode.GetTransformNodeID():
        return sceneVolumes.localMatrix(volumeNode)
    if segmentationNode.GetParentTransformNode() is None:
        return sceneVolumes.worldMatrix(volumeNode)
    raise SceneVolumeError(
        _("{segmentation} is under another transform than {volume}; choose another segmentation.").format(
            segmentation=segmentationNode.GetName(), volume=volumeNode.GetName()
        )
    )


def terminologyOf(segment) -> str:
    """Returns the segment's terminology in its serialised form, "" when it has none."""
    if hasattr(segment, "GetTerminology"):
        return segment.GetTerminology() or ""
    value = vtk.mutable("")
    return str(value) if segment.GetTag(segment.GetTerminologyEntryTagName(), value) else ""


def setTerminology(segment, terminology: str) -> None:
    """Gives the segment a terminology in its serialised form."""
    if hasattr(segment, "SetTerminology"):
        segment.SetTerminology(terminology)
    else:
        segment.SetTag(segment.GetTerminologyEntryTagName(), terminology)


def segmentOfClass(segmentClass: SegmentClass, segmentationNode) -> str:
    """Returns the id of the segment with the class's name, or else with its terminology; "" when there is none."""
    segmentation = segmentationNode.GetSegmentation()
    segmentIds = list(segmentation.GetSegmentIDs())
    for segmentId in segmentIds:
        if segmentation.GetSegment(segmentId).GetName().casefold() == segmentClass.name.casefold():
            return segmentId
    if segmentClass.terminology:
        same = [i for i in segmentIds if terminologyOf(segmentation.GetSegment(i)) == segmentClass.terminology]
        if len(same) == 1:
            return same[0]
    return ""


def addSegment(segmentClass: SegmentClass, segmentationNode) -> str:
    """Adds an empty segment with the class's name, colour and terminology; returns its id."""
    segmentation = segmentationNode.GetSegmentation()
    if segmentClass.color is not None:
        segmentId = segmentation.AddEmptySegment("", segmentClass.name, segmentClass.color)
    else:
        segmentId = segmentation.AddEmptySegment("", segmentClass.name)
    if segmentClass.terminology:
        setTerminology(segmentation.GetSegment(segmentId), segmentClass.terminology)
    return segmentId


def segmentOnGrid(segmentationNode, segmentId: str, volumeNode) -> numpy.ndarray:
    """Returns where the segment is, as a boolean array (k, j, i) on the volume's grid.

    Raises:
        SceneVolumeError: it cannot be brought onto that grid.
    """
    labelNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "HSSL export")
    try:
        segmentIds = vtk.vtkStringArray()
        segmentIds.InsertNextValue(segmentId)
        exported = slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode(
            segmentationNode, segmentIds, labelNode, volumeNode
        )
        if not exported:
            raise SceneVolumeError(
                _("The segment {segment} of {node} cannot be brought onto the grid of {volume}.").format(
                    segment=segmentationNode.GetSegmentation().GetSegment(segmentId).GetName(),
                    node=segmentationNode.GetName(),
                    volume=volumeNode.GetName(),
                )
            )
        return slicer.util.arrayFromVolume(labelNode) != 0
    finally:
        for node in (labelNode.GetDisplayNode(), labelNode):
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)


def visibleSegments(segmentationNode) -> list[str]:
    """Returns the ids of the segments that are shown."""
    display = segmentationNode.GetDisplayNode()
    segmentIds = segmentationNode.GetSegmentation().GetSegmentIDs()
    return [i for i in segmentIds if display is None or display.GetSegmentVisibility(i)]


def asClass(segmentationNode, segmentId: str, value: int) -> SegmentClass:
    """Returns the segment as a class with that value."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    return SegmentClass(value, segment.GetName(), tuple(segment.GetColor()), terminologyOf(segment) or None)


def labelsOf(segmentationNode, values: dict[str, int], volumeNode) -> numpy.ndarray:
    """Returns segments as a label map (k, j, i) on the volume's grid; where they overlap, the last one has the voxel.

    Args:
        values: the value of each segment, by its id.

    Raises:
        SceneVolumeError: none of them has a voxel on the volume.
    """
    shape = tuple(reversed(volumeNode.GetImageData().GetDimensions()))
    labels = numpy.zeros(shape, numpy.uint8 if max(values.values(), default=0) < 256 else numpy.uint16)
    for segmentId, value in values.items():
        labels[segmentOnGrid(segmentationNode, segmentId, volumeNode)] = value
    if not labels.any():
        raise SceneVolumeError(_("Nothing is painted on {volume} yet.").format(volume=volumeNode.GetName()))
    return labels


def onReferenceGrid(labelmap, reference):
    """Returns a labelmap on the grid of the segmentation's reference geometry, where masks are applied.

    Args:
        labelmap: of `orientedImage`.
        reference: the Segment Editor's reference geometry image.
    """
    resample = slicer.vtkOrientedImageDataResample
    if reference is None or resample.DoGeometriesMatch(labelmap, reference):
        return labelmap
    resampled = slicer.vtkOrientedImageData()
    resample.ResampleOrientedImageToReferenceOrientedImage(labelmap, reference, resampled, False)
    return resampled


def orientedImage(inside: numpy.ndarray, ijkToNode: numpy.ndarray):
    """Returns an array of 0 and 1 (k, j, i) as the labelmap that the Segment Editor modifies segments by."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*reversed(inside.shape))
    scalars = numpy_support.numpy_to_vtk(
        numpy.ascontiguousarray(inside).ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR
    )
    image.GetPointData().SetScalars(scalars)
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijkToNode))
    return image
