"""Whose results are whose: a segmentation or an overlay that was made for a volume is tied to it, in the scene's file too."""

from collections.abc import Generator
from typing import Any

import slicer

from . import volumes as sceneVolumes

SEGMENTATION, UNCERTAINTY, PREVIEW = "HSSL.segmentationOf", "HSSL.uncertaintyOf", "HSSL.previewOf"
"""Roles of the reference from a result to its volume."""


def setOwner(node, volumeNode, role: str) -> None:
    """Says that a node holds a result of this volume."""
    node.SetNodeReferenceID(role, volumeNode.GetID())


def of(volumeNode, role: str):
    """Returns the latest result of a volume, or None."""
    if volumeNode is None:
        return None
    kind = "vtkMRMLScalarVolumeNode" if role == UNCERTAINTY else "vtkMRMLSegmentationNode"
    found = [n for n in slicer.util.getNodesByClass(kind) if n.GetNodeReference(role) is volumeNode]
    return found[-1] if found else None


def ownerOf(segmentationNode):
    """Returns the volume that a segmentation was made for, or else the one that it was drawn on; None: unknown."""
    if segmentationNode is None:
        return None
    drawnOn = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    return segmentationNode.GetNodeReference(SEGMENTATION) or segmentationNode.GetNodeReference(drawnOn)


def overlaid(path, volumeNode, name: str) -> Generator[None, None, Any]:
    """Shows a file on the volume's grid as the volume's one overlay, which is made or filled anew, in steps; returns the
    node."""
    node = of(volumeNode, UNCERTAINTY)
    if node is None:
        node = yield from sceneVolumes.addedOverlay(path, volumeNode, slicer.mrmlScene.GenerateUniqueName(name))
        setOwner(node, volumeNode, UNCERTAINTY)
    else:
        yield from sceneVolumes.filledOverlay(node, path, volumeNode)
    return node
