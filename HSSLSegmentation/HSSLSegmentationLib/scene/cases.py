"""Volumes of the scene, with segmentations as their labels, become images of a workspace."""

from pathlib import Path

from slicer.i18n import tr as _

import slicer

from ..workspace.edits import SECONDS_TO_WAIT
from . import segmentations as sceneSegmentations
from . import volumes as sceneVolumes
from .segmentations import SegmentClass
from .volumes import SceneVolumeError


def addVolume(workspace: str | Path, volumeNode, task: str, segmentationNode, group: str, modality: str) -> str:
    """Copies a volume and its label into the workspace's `volumes/`; see `HSSLSegmentationLogic.addVolume`."""
    from hssl.workspace.candidates import Candidate
    from hssl.workspace.catalogue import Catalogue, Task
    from hssl.workspace.scan import scan

    sceneVolumes.check(volumeNode)
    catalogue = Catalogue.load(workspace)
    known = next((t for t in catalogue.tasks if t.name == task), Task(name=task))
    folder = catalogue.workspace / "volumes"
    name = _freeName(folder, volumeNode.GetName())
    imagePath, labelPath = folder / f"{name}.nrrd", None
    added: list[SegmentClass] = []
    if segmentationNode is not None:
        labelPath = folder / f"{name}-label.nrrd"
        added = _writeLabel(segmentationNode, volumeNode, known, labelPath)
    sceneVolumes.writeVolume(volumeNode, imagePath)
    candidate = Candidate(str(imagePath), None if labelPath is None else str(labelPath), name=name)
    with Catalogue.editing(workspace, SECONDS_TO_WAIT) as catalogue:
        present = _withClasses(next((t for t in catalogue.tasks if t.name == task), known), added)
        present.group = group or present.group
        present.modality = modality or present.modality
        catalogue.set_task(present)
        report = scan(catalogue, [candidate], task)
        if not report.added:
            reasons = [r.reason for r in (*report.refused, *report.duplicates)]
            raise SceneVolumeError("; ".join(reasons) or _("The volume is in the workspace already."))
    return report.added[0]


def setLabel(workspace: str | Path, id: str, volumeNode, segmentationNode) -> Path:
    """Writes a segmentation as the label of an image; see `HSSLSegmentationLogic.setLabel`."""
    from hssl.workspace.catalogue import Catalogue
    from hssl.workspace.scan import relabel

    sceneVolumes.check(volumeNode)
    catalogue = Catalogue.load(workspace)
    image = catalogue.image(id)
    before = catalogue.label_path(image)
    folder = catalogue.workspace / "volumes"
    path = folder / f"{_freeName(folder, f'{id}-label')}.nrrd"
    added = _writeLabel(segmentationNode, volumeNode, catalogue.task(image.task), path)
    problem = relabel(workspace, id, path).label_problem
    if problem is not None:
        relabel(workspace, id, before)
        path.unlink()
        raise SceneVolumeError(
            _("{segmentation} cannot be the label of {image}: {reason}").format(
                segmentation=segmentationNode.GetName(), image=id, reason=problem
            )
        )
    if added:
        with Catalogue.editing(workspace, SECONDS_TO_WAIT) as catalogue:
            catalogue.set_task(_withClasses(catalogue.task(image.task), added))
    return path


def segmentedVolumes() -> list[tuple]:
    """Returns the pairs of a volume and a segmentation drawn on it that are in the scene."""
    pairs = []
    for segmentationNode in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        volumeNode = segmentationNode.GetNodeReference(role)
        if volumeNode is not None and segmentationNode.GetSegmentation().GetNumberOfSegments():
            pairs.append((volumeNode, segmentationNode))
    return pairs


def _writeLabel(segmentationNode, volumeNode, task, path: Path) -> list[SegmentClass]:
    """Writes the label map; returns the classes that the task does not have yet."""
    before = [SegmentClass(c.value, c.name, c.color, c.terminology) for c in task.classes]
    classes = sceneSegmentations.classesOf(segmentationNode, before)
    sceneSegmentations.writeLabelMap(segmentationNode, volumeNode, classes, path)
    return [c for c in classes if c not in before]


def _withClasses(task, added: list[SegmentClass]):
    from hssl.workspace.catalogue import LabelClass

    new = [LabelClass(value=c.value, name=c.name, color=c.color, terminology=c.terminology) for c in added]
    return task.model_copy(update={"classes": [*task.classes, *new]}, deep=True)


def _freeName(folder: Path, wish: str) -> str:
    from hssl.names import safe_name

    wish = safe_name(wish, _("volume"))
    number, name = 1, wish
    while any(folder.glob(f"{name}.*")):
        number += 1
        name = f"{wish}_{number}"
    return name
