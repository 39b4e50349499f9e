"""An image of the catalogue in Slicer's views, with its label as segments."""

from slicer.i18n import tr as _

import slicer

from . import sceneSegmentations, sceneVolumes
from .sceneSegmentations import SegmentClass

ATTRIBUTE = "HSSL.image"


def show(catalogue, id: str):
    """Shows an image, with its label when it has a usable one; it is loaded unless it is in the scene already.

    Returns:
        The volume node.

    Raises:
        InputError: the file cannot be read.
        SceneVolumeError: the label does not lie on the image's grid.
    """
    image = catalogue.image(id)
    key = f"{catalogue.workspace}|{id}"
    volumeNode = next(
        (
            node
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node.GetAttribute(ATTRIBUTE) == key
        ),
        None,
    )
    if volumeNode is None:
        volumeNode = _load(catalogue, image)
        volumeNode.SetAttribute(ATTRIBUTE, key)
        if image.label is not None and image.label_problem is None:
            _loadLabel(catalogue, image, volumeNode)
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    return volumeNode


def _load(catalogue, image):
    from hssl.volumes import read_volume

    # Not Slicer's own reader: it mirrors left-handed volumes, and takes the first series that it meets in a folder.
    picture = read_volume(catalogue.image_path(image), image.series, image.frame)
    volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", image.id)
    sceneVolumes.updateFromImage(volumeNode, picture)
    return volumeNode


def _loadLabel(catalogue, image, volumeNode) -> None:
    labels = sceneVolumes.readArray(catalogue.label_path(image), volumeNode)
    classes = [SegmentClass(c.value, c.name, c.color, c.terminology) for c in catalogue.task(image.task).classes]
    if not classes:
        classes = [
            SegmentClass(int(v), _("Label {value}").format(value=int(v))) for v in sorted(set(labels.flat)) if v > 0
        ]
    segmentationNode = sceneSegmentations.newSegmentation(_("{name} label").format(name=image.id), volumeNode)
    writer = sceneSegmentations.SegmentWriter()
    writer.write(labels, classes, volumeNode, segmentationNode)
    writer.release()
