"""Watches a Segment Editor, its segmentation and the scene, and tells that something has changed."""

from collections.abc import Callable
from typing import Any

import vtk
from slicer.util import VTKObservationMixin

import slicer


class EditorWatch(VTKObservationMixin):
    """Observes an editor's node for as long as the editor has it, whatever tool is active.

    Attributes:
        node: the Segment Editor's node, None when there is none.

    Args:
        onChange: called, often several times in a row and in the middle of Slicer's own changes, when anything is new.
    """

    def __init__(self, onChange: Callable[[], None]):
        VTKObservationMixin.__init__(self)
        self.node: Any = None
        self._onChange = onChange
        self._segmentationNode = None

    def use(self, node) -> None:
        """Observes another node, or none (None)."""
        if node is self.node:
            return
        self.removeObservers()
        self.node, self._segmentationNode = node, None
        if node is None:
            return
        scene = slicer.mrmlScene
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._changed)
        self.addObserver(scene, scene.NodeRemovedEvent, self._changed)
        self.addObserver(scene, scene.StartCloseEvent, self._changed)
        self.addObserver(scene, scene.EndImportEvent, self._sceneOpened)

    def followSegmentation(self) -> None:
        """So that segments which come, go, or get another name or visibility are noticed."""
        node = self.segmentation()
        if self._segmentationNode is node:
            return
        if self._segmentationNode is not None:
            self.removeObservers(self._segmentsChanged)
        self._segmentationNode = node
        if node is not None:
            segmentation = slicer.vtkSegmentation
            for event in (segmentation.SegmentAdded, segmentation.SegmentRemoved, segmentation.SegmentModified):
                self.addObserver(node.GetSegmentation(), event, self._segmentsChanged)
            self.addObserver(node, slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent, self._segmentsChanged)
            self.addObserver(node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._segmentsChanged)

    def volume(self):
        return None if self.node is None else self.node.GetSourceVolumeNode()

    def segmentation(self):
        return None if self.node is None else self.node.GetSegmentationNode()

    def toolName(self) -> str:
        """Returns the name of the active tool, "" when there is none."""
        return "" if self.node is None else self.node.GetActiveEffectName() or ""

    def _changed(self, caller, event) -> None:
        self._onChange()

    def _segmentsChanged(self, caller, event) -> None:
        self._onChange()

    def _sceneOpened(self, caller, event) -> None:
        """A scene that was saved with a tool in use, any tool, makes Slicer 5.10 crash when it is opened: the editor takes
        up the tool before it has a segmentation. This event comes before that."""
        if self.toolName():
            self.node.SetActiveEffectName("")
