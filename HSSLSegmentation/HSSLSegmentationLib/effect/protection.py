"""Segments that a result must not take voxels from, and what it takes from the others."""

from slicer.i18n import tr as _

import slicer

from .. import wording
from ..scene import segmentations as sceneSegmentations

EDIT_INSIDE_SEGMENT = slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment


def protectedSegments(editorNode) -> list[str]:
    """Returns the ids of hidden and completed segments that the overwrite mode would take from; not the one that is
    the mask."""
    segmentationNode = editorNode.GetSegmentationNode()
    if editorNode.GetOverwriteMode() == editorNode.OverwriteNone:
        return []
    mask = editorNode.GetMaskSegmentID() if editorNode.GetMaskMode() == EDIT_INSIDE_SEGMENT else ""
    shown = sceneSegmentations.visibleSegments(segmentationNode)
    visibleOnly = editorNode.GetOverwriteMode() == editorNode.OverwriteVisibleSegments
    finished = sceneSegmentations.finishedSegments(segmentationNode)
    return [i for i in finished if i != mask and (i in shown or not visibleOnly)]


def whatApplyTakes(editorNode, session, protected: list[str]) -> str:
    """Returns in a sentence what Apply takes from segments that have no part in the preview, "" for nothing."""
    if editorNode.GetOverwriteMode() == editorNode.OverwriteNone:
        return ""
    segmentation = editorNode.GetSegmentationNode().GetSegmentation()
    taken = session.taken(
        [i for i in segmentation.GetSegmentIDs() if i not in protected],
        visibleOnly=editorNode.GetOverwriteMode() == editorNode.OverwriteVisibleSegments,
    )
    parts = [
        _("{voxels} from {name}").format(voxels=wording.count(count, _("1 voxel"), _("{count} voxels")), name=name)
        for name, count in taken.items()
    ]
    return _("Apply takes {parts}.").format(parts=", ".join(parts)) if parts else ""
