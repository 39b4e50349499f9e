"""Volumes of the scene, with segmentations as their labels, become images of a workspace."""

import re
from pathlib import Path

from slicer.i18n import tr as _

import slicer

from . import sceneSegmentations, sceneVolumes
from .catalogueEdits import SECONDS_TO_WAIT
from .sceneSegmentations import SegmentClass
from .sceneVolumes import SceneVolumeError


def addVolume(workspace: str | Path, volumeNode, task: str, segmentationNode, group: str, modality: str) -> str:
    """Copies a volume and its label into the workspace's `volumes/`; see `HSSLSegmentationLogic.addVolume`."""
    from hssl.catalogue import Catalogue, LabelClass, Task
    from hssl.scan import scan
    from hssl.sources import Candidate

    sceneVolumes.check(volumeNode)
    catalogue = Catalogue.load(workspace)
    known = next((t for t in catalogue.tasks if t.name == task), Task(name=task))
    folder = catalogue.workspace / "volumes"
    name = _freeName(folder, volumeNode.GetName())
    imagePath, labelPath = folder / f"{name}.nrrd", None
    added: list[SegmentClass] = []
    if segmentationNode is not None:
        labelPath = folder / f"{name}-label.nrrd"
        before = [SegmentClass(c.value, c.name, c.color, c.terminology) for c in known.classes]
        classes = sceneSegmentations.classesOf(segmentationNode, before)
        sceneSegmentations.writeLabelMap(segmentationNode, volumeNode, classes, labelPath)
        added = [c for c in classes if c not in before]
    sceneVolumes.writeVolume(volumeNode, imagePath)
    candidate = Candidate(str(imagePath), None if labelPath is None else str(labelPath), name=name)
    with Catalogue.editing(workspace, SECONDS_TO_WAIT) as catalogue:
        present = next((t for t in catalogue.tasks if t.name == task), known).model_copy(deep=True)
        present.classes = [
            *present.classes,
            *(LabelClass(value=c.value, name=c.name, color=c.color, terminology=c.terminology) for c in added),
        ]
        present.group = group or present.group
        present.modality = modality or present.modality
        catalogue.set_task(present)
        report = scan(catalogue, [candidate], task)
        if not report.added:
            reasons = [r.reason for r in (*report.refused, *report.duplicates)]
            raise SceneVolumeError("; ".join(reasons) or _("The volume is in the workspace already."))
    return report.added[0]


def segmentedVolumes() -> list[tuple]:
    """Returns the pairs of a volume and a segmentation drawn on it that are in the scene."""
    pairs = []
    for segmentationNode in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        volumeNode = segmentationNode.GetNodeReference(role)
        if volumeNode is not None and segmentationNode.GetSegmentation().GetNumberOfSegments():
            pairs.append((volumeNode, segmentationNode))
    return pairs


def _freeName(folder: Path, wish: str) -> str:
    wish = re.sub(r"[^\w.+-]+", "_", wish).strip("._") or _("volume")
    number, name = 1, wish
    while any(folder.glob(f"{name}.*")):
        number += 1
        name = f"{wish}_{number}"
    return name
