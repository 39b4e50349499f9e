"""An image of the catalogue in Slicer's views, with its label as segments."""

import numpy
from slicer.i18n import tr as _

import slicer

from . import results
from . import segmentations as sceneSegmentations
from . import volumes as sceneVolumes
from .segmentations import SegmentClass

ATTRIBUTE = "HSSL.image"
"""Of a volume node: which image of which workspace it shows."""
LABEL_ATTRIBUTE = "HSSL.labelOf"
"""Of a segmentation node: whose label it holds."""
LABEL_FILE_ATTRIBUTE = "HSSL.labelFile"
"""Of the same: which label the workspace had of that image when this one was opened, or kept last."""


def show(catalogue, id: str):
    """Shows an image, with its label when it has a usable one; each is loaded unless it is in the scene already.

    Returns:
        The volume node.

    Raises:
        InputError: a file cannot be read, or the label does not lie on the image's grid.
    """
    from hssl.workspace.images import read_image

    image = catalogue.image(id)
    volumeNode = shown(catalogue, id)
    isLabelled = image.label is not None and image.label_problem is None
    labels = None
    if volumeNode is None or (isLabelled and not labelsOf(volumeNode)):
        # Not Slicer's own reader: it mirrors left-handed volumes, and takes the first series that it meets in a folder.
        picture = read_image(catalogue, image)
        # Before anything is in the scene: a scan without its label would be taken for one that has none.
        if isLabelled:
            labels = _labelOf(catalogue, image, picture)
    if volumeNode is None:
        volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", image.id)
        sceneVolumes.updateFromImage(volumeNode, picture)
        volumeNode.SetAttribute(ATTRIBUTE, _key(catalogue, id))
    if labels is not None:
        _addLabel(catalogue, image, labels, volumeNode)
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    _hideWhatIsOfOthers(volumeNode)
    return volumeNode


def shown(catalogue, id: str):
    """Returns the volume node that `show` has loaded for an image, or None."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return next((node for node in nodes if node.GetAttribute(ATTRIBUTE) == _key(catalogue, id)), None)


def labelsOf(volumeNode) -> list:
    """Returns the segmentations that hold the label of an image, drawn or read from its file: one, but that Slicer's *Clone*
    makes others like it.

    Args:
        volumeNode: of `shown`; None has no label.
    """
    key = None if volumeNode is None else volumeNode.GetAttribute(ATTRIBUTE)
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [] if key is None else [node for node in nodes if node.GetAttribute(LABEL_ATTRIBUTE) == key]


def tieLabel(segmentationNode, catalogue, id: str) -> None:
    """Says that a segmentation holds the label of an image, as the workspace has it now."""
    segmentationNode.SetAttribute(LABEL_ATTRIBUTE, _key(catalogue, id))
    segmentationNode.SetAttribute(LABEL_FILE_ATTRIBUTE, _labelNow(catalogue, id))


def isOutdated(segmentationNode, catalogue, id: str) -> bool:
    """Tells whether the workspace has another label of an image by now than when this one was opened or kept."""
    return segmentationNode.GetAttribute(LABEL_FILE_ATTRIBUTE) not in (None, _labelNow(catalogue, id))


def _labelNow(catalogue, id: str) -> str:
    from hssl.workspace.identity import stamp_of_label

    image = catalogue.image(id)
    return f"{image.label or ''}|{stamp_of_label(catalogue.label_files(image))}"


def close(catalogue, id: str) -> None:
    """Takes an image and its label out of the scene, unless something else in it was made of them, such as a result or a
    clone."""
    volumeNode = shown(catalogue, id)
    if volumeNode is None:
        return
    own = [volumeNode, *labelsOf(volumeNode)[:1]]
    others = [node for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode") if node not in own]
    if not any(_refers(node, {mine.GetID() for mine in own}) for node in others):
        for node in reversed(own):
            slicer.mrmlScene.RemoveNode(node)


def _refers(node, ids: set[str]) -> bool:
    roles = [node.GetNthNodeReferenceRole(n) for n in range(node.GetNumberOfNodeReferenceRoles())]
    return any(
        node.GetNthNodeReferenceID(role, n) in ids
        for role in roles
        for n in range(node.GetNumberOfNodeReferences(role))
    )


def _hideWhatIsOfOthers(volumeNode) -> None:
    """One patient's label, result or uncertainty never lies over another's scan; the user's own segmentations stay."""
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        owner = results.ownerOf(node)
        if owner is not None and (node.GetAttribute(LABEL_ATTRIBUTE) or owner.GetAttribute(ATTRIBUTE)):
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetVisibility(owner is volumeNode)
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        overlay = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        if overlay is not None and overlay.GetNodeReference(results.UNCERTAINTY) not in (None, volumeNode):
            composite.SetForegroundVolumeID(None)


def _key(catalogue, id: str) -> str:
    return f"{catalogue.workspace}|{id}"


def _labelOf(catalogue, image, picture) -> numpy.ndarray:
    """Returns the label as the engine reads it: by the names in the file, of several files, or of contours."""
    import SimpleITK

    from hssl.workspace.labels import read_label

    return SimpleITK.GetArrayFromImage(read_label(catalogue, image, picture))


def _addLabel(catalogue, image, labels: numpy.ndarray, volumeNode) -> None:
    classes = [SegmentClass(c.value, c.name, c.color, c.terminology) for c in catalogue.task(image.task).classes]
    if not classes:
        classes = [
            SegmentClass(int(v), _("Label {value}").format(value=int(v))) for v in sorted(set(labels.flat)) if v > 0
        ]
    segmentationNode = sceneSegmentations.newSegmentation(_("{name} label").format(name=image.id), volumeNode)
    tieLabel(segmentationNode, catalogue, image.id)
    sceneSegmentations.addSegments(labels, classes, volumeNode, segmentationNode)
