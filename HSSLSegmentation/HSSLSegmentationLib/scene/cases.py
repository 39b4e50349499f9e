"""Volumes of the scene, with segmentations as their labels, become images of a workspace."""

import itertools
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from slicer.i18n import tr as _

import slicer

from ..steps import inThread
from . import annotations
from . import segmentations as sceneSegmentations
from . import volumes as sceneVolumes
from .segmentations import SegmentClass
from .volumes import SceneVolumeError


def addingVolume(
    workspace: str | Path,
    volumeNode,
    task: str,
    segmentationNode,
    group: str,
    modality: str,
    classes: dict[str, str] | None = None,
) -> Generator[None, None, str]:
    """Copies a volume and its label into the workspace's `volumes/`, in steps; see `HSSLSegmentationLogic.addVolume`."""
    from hssl.workspace.candidates import Candidate, modality_of
    from hssl.workspace.catalogue import Catalogue, Task
    from hssl.workspace.scan import pseudonym, scan

    sceneVolumes.check(volumeNode)
    catalogue = Catalogue.load(workspace)
    known = next((t for t in catalogue.tasks if t.name == task), Task(name=task))
    wanted, stamp = volumeNode.GetName(), sceneVolumes.stampOf(volumeNode)
    files = _newFiles(catalogue.workspace, wanted, [""] if segmentationNode is None else ["", "-label"])
    imagePath, labelPath = files[0], None if segmentationNode is None else files[1]
    added: list[SegmentClass] = []
    with _removedOnFailure(files):
        if labelPath is not None:
            added = yield from _writtenLabel(segmentationNode, volumeNode, known, labelPath, classes or {})
        yield from sceneVolumes.writtenVolume(volumeNode, imagePath)
        if sceneVolumes.stampOf(volumeNode) != stamp:
            raise SceneVolumeError(_("{volume} was changed or moved meanwhile; add it again.").format(volume=wanted))
    label, isNan = None if labelPath is None else str(labelPath), sceneVolumes.isNanBackground(volumeNode)
    patient, kind = _dicomOf(volumeNode)
    seen = modality_of(kind) if modality_of(kind) in ("CT", "MR") else "unknown"
    candidate = Candidate(
        str(imagePath), label, name=imagePath.stem, patient=pseudonym(patient), nan_is_background=isNan
    )
    # Qt translates on the main thread
    notAdded, notClasses = _("{volume} is not added: {reason}"), _notClasses(task)
    wayOut = _(
        "To correct that label, right-click {id} in the table of section 1: Correct the label, and then Keep the correction."
    )

    def entered() -> str:
        with _removedOnFailure(files), Catalogue.editing(workspace) as catalogue:
            present = _withClasses(next((t for t in catalogue.tasks if t.name == task), known), added, notClasses)
            present.group = group or present.group
            present.modality = modality or (seen if present.modality == "unknown" else present.modality)
            present.nan_is_background = present.nan_is_background or isNan
            catalogue.set_task(present)
            report = scan(catalogue, [candidate], task)
            image = next((i for i in catalogue.images if i.image == catalogue.relative(imagePath)), None)
            if image is None and not report.changed:
                reasons = [r.reason for r in (*report.refused, *report.duplicates)]
                lines = [notAdded.format(volume=wanted, reason="; ".join(reasons))]
                twins = {r.copy_of for r in report.duplicates if label is not None}
                lines += [wayOut.format(id=i.id) for i in catalogue.images if i.id in twins and i.label is not None]
                raise SceneVolumeError("\n".join(lines))
        if image is not None:
            return image.id
        imagePath.unlink()  # the workspace has this image in another file, and it takes the label
        return report.changed[0]

    return (yield from inThread(entered))


def settingLabel(
    workspace: str | Path, id: str, volumeNode, segmentationNode, classes: dict[str, str] | None = None
) -> Generator[None, None, Path]:
    """Writes a segmentation as the label of an image, in steps; see `HSSLSegmentationLogic.setLabel`."""
    from hssl.workspace.catalogue import Catalogue
    from hssl.workspace.scan import relabel, restore_label

    sceneVolumes.check(volumeNode)
    catalogue = Catalogue.load(workspace)
    image, name = catalogue.image(id), segmentationNode.GetName()
    (path,) = _newFiles(catalogue.workspace, f"{id}-label", [""])
    with _removedOnFailure([path]):
        added = yield from _writtenLabel(segmentationNode, volumeNode, catalogue.task(image.task), path, classes or {})
    # Qt translates on the main thread
    notTaken, notClasses = _("{segmentation} cannot be the label of {image}: {reason}"), _notClasses(image.task)

    def entered() -> Path:
        with _removedOnFailure([path]):
            present = Catalogue.load(workspace)
            before = present.image(id)
            _withClasses(present.task(before.task), added, notClasses)
            problem = relabel(workspace, id, path).label_problem
        if problem is not None:
            restore_label(workspace, before)
            path.unlink()
            raise SceneVolumeError(notTaken.format(segmentation=name, image=id, reason=problem))
        if added:
            with Catalogue.editing(workspace) as catalogue:
                catalogue.set_task(_withClasses(catalogue.task(before.task), added, notClasses))
        return path

    return (yield from inThread(entered))


def segmentedVolumes() -> list[tuple]:
    """Returns the pairs of a volume and a segmentation drawn on it that are in the scene; a preview is no such."""
    pairs = []
    for segmentationNode in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        volumeNode = segmentationNode.GetNodeReference(role)
        isShown = not segmentationNode.GetHideFromEditors()
        if volumeNode is not None and isShown and segmentationNode.GetSegmentation().GetNumberOfSegments():
            pairs.append((volumeNode, segmentationNode))
    return pairs


def reasonNotCases(pairs: list[tuple]) -> str:
    """Returns why pairs of `segmentedVolumes` cannot all be cases, or "": a volume has one label."""
    found: dict = {}
    for volumeNode, segmentationNode in pairs:
        found.setdefault(volumeNode, []).append(segmentationNode.GetName())
    for volumeNode, names in found.items():
        if len(names) > 1:
            return _(
                "{volume} has {count} segmentations ({names}), and only one can be its label. Add it in section 1 with "
                "the one that is right, or remove the others from the scene."
            ).format(volume=volumeNode.GetName(), count=len(names), names=", ".join(names))
    return ""


def stampOf(volumeNode, segmentationNode) -> tuple[tuple, tuple]:
    """Returns what changes when the volume does, and what does when its label does."""
    if segmentationNode is None:
        return sceneVolumes.stampOf(volumeNode), ()
    segmentIds = segmentationNode.GetSegmentation().GetSegmentIDs()
    return sceneVolumes.stampOf(volumeNode), annotations.stampOf(segmentationNode, segmentIds)


def withoutClass(segmentationNode, task, classes: dict[str, str] | None = None) -> list[str]:
    """Returns the names of the segments for which nobody has said which class of the task they are.

    Args:
        task: the task (`hssl.workspace.catalogue.Task`); one without classes takes every segment as a class.
        classes: what has been said: name of a segment → name of its class, or "" to leave it out.
    """
    known = _classesOf(task)
    segments = _names(segmentationNode)
    rest = [i for i, name in segments.items() if name not in (classes or {})]
    found = sceneSegmentations.classesOf(segmentationNode, known, rest)
    return [segments[i] for i, c in found.items() if known and c not in known]


def _dicomOf(volumeNode) -> tuple[str, str]:
    """The PatientID under which Slicer lists a volume that was loaded from DICOM files, and its modality; "" of any other."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    constants, nowhere = slicer.vtkMRMLSubjectHierarchyConstants, slicer.vtkMRMLSubjectHierarchyNode.GetInvalidItemID()
    item = nowhere if hierarchy is None else hierarchy.GetItemByDataNode(volumeNode)
    if item == nowhere:
        return "", ""
    patient = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelPatient())
    return (
        "" if patient == nowhere else hierarchy.GetItemUID(patient, constants.GetDICOMUIDName()),
        hierarchy.GetItemAttribute(item, constants.GetDICOMSeriesModalityAttributeName()),
    )


def _writtenLabel(
    segmentationNode, volumeNode, task, path: Path, chosen: dict[str, str]
) -> Generator[None, None, list[SegmentClass]]:
    """Writes the label map in steps; returns the classes that the task does not have yet."""
    known, segments = _classesOf(task), _names(segmentationNode)
    unknown = [name for name in chosen if name not in segments.values()]
    if unknown:
        raise SceneVolumeError(
            _("{node} has no segment {names}.").format(node=segmentationNode.GetName(), names=", ".join(unknown))
        )
    open = withoutClass(segmentationNode, task, chosen)
    if open:
        raise SceneVolumeError(
            _(
                "{names} of {node} is no class of the task {task}, whose classes are {classes}. Rename the segment, or "
                "say which class it is."
            ).format(
                names=", ".join(open),
                node=segmentationNode.GetName(),
                task=task.name,
                classes=", ".join(c.name for c in known),
            )
        )
    rest = [i for i, name in segments.items() if name not in chosen]
    classes = sceneSegmentations.classesOf(segmentationNode, known, rest)
    for segmentId, name in segments.items():
        wanted = chosen.get(name)
        if wanted:
            classes[segmentId] = _called(wanted, segmentationNode, segmentId, [*known, *classes.values()])
    names = [c.name for c in classes.values()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SceneVolumeError(
            _("{node} has two segments for the class {name}; join them, or leave one out.").format(
                node=segmentationNode.GetName(), name=twice
            )
        )
    yield from sceneSegmentations.writingLabelMap(segmentationNode, volumeNode, classes, path)
    return [c for c in classes.values() if c not in known]


def _called(name: str, segmentationNode, segmentId: str, present: list[SegmentClass]) -> SegmentClass:
    match = next((c for c in present if c.name.casefold() == name.casefold()), None)
    value = max((c.value for c in present), default=0) + 1
    return match or replace(sceneSegmentations.asClass(segmentationNode, segmentId, value), name=name)


def _classesOf(task) -> list[SegmentClass]:
    return [SegmentClass(c.value, c.name, c.color, c.terminology) for c in task.classes]


def _names(segmentationNode) -> dict[str, str]:
    segmentation = segmentationNode.GetSegmentation()
    return {i: segmentation.GetSegment(i).GetName() for i in segmentation.GetSegmentIDs()}


def _withClasses(task, added: list[SegmentClass], problem: str):
    """Returns a task with further classes; SceneVolumeError with the problem where it has others of their values by now."""
    from hssl.workspace.catalogue import LabelClass

    values, names = {c.value for c in task.classes}, {c.name.casefold() for c in task.classes}
    if any(c.value in values or c.name.casefold() in names for c in added):
        raise SceneVolumeError(problem)
    new = [LabelClass(value=c.value, name=c.name, color=c.color, terminology=c.terminology) for c in added]
    return task.model_copy(update={"classes": [*task.classes, *new]}, deep=True)


def _notClasses(task: str) -> str:
    return _("The task {task} was given other classes meanwhile; start again.").format(task=task)


@contextmanager
def _removedOnFailure(files: list[Path]) -> Iterator[None]:
    """Removes files of which nothing comes, as when the disk is full, somebody else edits, or nobody goes on."""
    try:
        yield
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise


def _newFiles(workspace: Path, wish: str, endings: list[str]) -> list[Path]:
    """Makes files in the workspace's `volumes/`, one for each ending, empty until they are written: nobody else, such as
    another Slicer, writes its own of the same name then.

    Raises:
        OutputError: they cannot be written.
    """
    from hssl.errors import OutputError
    from hssl.names import safe_name

    folder, wish = workspace / "volumes", safe_name(wish, _("volume"))
    try:
        folder.mkdir(exist_ok=True)
        for name in itertools.chain([wish], (f"{wish}_{number}" for number in itertools.count(2))):
            files: list[Path] = []
            if any(folder.glob(f"{name}.*")):
                continue
            with suppress(FileExistsError), _removedOnFailure(files):
                for ending in endings:
                    (file := folder / f"{name}{ending}.nrrd").touch(exist_ok=False)
                    files.append(file)
                break
    except OSError as error:
        raise OutputError(folder, f"cannot be written to: {error.strerror or error}") from error
    return files
