"""What of each segment somebody has painted, and what is a draft: kept in the segment's tags.

Tags are saved with the scene, restored with it, and undone with the segment. Of each segment they hold the slices on
which it was painted, those that were marked as complete and those that were switched off; which of its voxels are only a
draft (a result that was applied, or a tool's that worked on the whole segment); and voxels that were painted across
slices, of which nothing around them is known.
"""

import base64
import json
import zlib
from dataclasses import dataclass, field, replace

import numpy
import vtk
from slicer.i18n import tr as _

import slicer

from . import annotatedSlices
from . import segmentations as sceneSegmentations
from . import volumes as sceneVolumes
from .annotatedSlices import Plane
from .segmentations import Part
from .volumes import SceneVolumeError

PAINTED, MARKED, OFF = "HSSL.painted", "HSSL.complete", "HSSL.off"
DRAFT, SCRIBBLES = "HSSL.draft", "HSSL.scribbles"
REVISION = "HSSL.revision"
BACKGROUND = 255
"""Value of an annotation's label map that says that a voxel has none of the labels."""
PARALLEL = 0.999
NOTHING = Part((0, 0, 0), numpy.zeros((0, 0, 0), bool))


@dataclass(frozen=True)
class SegmentAnnotation:
    """What is known of one segment, on a volume's grid.

    Attributes:
        painted: slices on which somebody painted it.
        marked: slices that somebody has marked as complete, whether anything is there or not.
        off: slices that somebody has switched off.
        draft: voxels that it has or had without anybody having painted them.
        scribbles: voxels that were painted, or erased, across slices.
    """

    painted: frozenset[Plane] = frozenset()
    marked: frozenset[Plane] = frozenset()
    off: frozenset[Plane] = frozenset()
    draft: Part = NOTHING
    scribbles: Part = NOTHING


@dataclass(frozen=True)
class Annotation:
    """What a round learns from.

    Attributes:
        labels: of what is painted; 0 is unknown, `BACKGROUND` none of the labels.
        planes: the slices that are complete, with the labels that are complete on them.
        off: slices that would be, if they were not switched off, with their labels.
    """

    labels: Part
    planes: dict[Plane, list[int]]
    off: dict[Plane, list[int]] = field(default_factory=dict)


def read(segmentationNode, segmentId: str, volumeNode) -> SegmentAnnotation:
    """Returns what the segment's tags tell, brought onto the volume's grid; slices of no slice of it are left out."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
    shape = sceneSegmentations.gridShape(volumeNode)
    painted, marked, off = (_planesFrom(_tag(segment, name), toNode, shape) for name in (PAINTED, MARKED, OFF))
    draft, scribbles = (_partFrom(_tag(segment, name), toNode, shape) for name in (DRAFT, SCRIBBLES))
    return SegmentAnnotation(painted, marked, off, draft, scribbles)


def addPainted(segmentationNode, segmentId: str, volumeNode, plane: Plane) -> int:
    """Makes it known that a segment was painted on a slice; returns the revision of its tags."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
    known = _planesFrom(_tag(segment, PAINTED), toNode, sceneSegmentations.gridShape(volumeNode))
    # What is painted anew on a slice that was switched off, counts again.
    off = _planesFrom(_tag(segment, OFF), toNode, sceneSegmentations.gridShape(volumeNode))
    texts = {PAINTED: _planesText(known | {plane}, toNode), OFF: _planesText(off - {plane}, toNode)}
    return _write(segment, texts)


def switch(segmentationNode, segmentIds, volumeNode, plane: Plane, isOn: bool) -> None:
    """Switches a slice off or on for the segments that are complete on it; a mark that is switched off is taken back."""
    for segmentId in segmentIds:
        own = read(segmentationNode, segmentId, volumeNode)
        off = own.off - {plane} if isOn else own.off | {plane}
        marked = own.marked if isOn else own.marked - {plane}
        write(segmentationNode, segmentId, volumeNode, replace(own, off=off, marked=marked))


def stampOf(segmentationNode, segmentIds) -> tuple:
    """Returns what changes when segments, or what is known of them, do."""
    segmentation = segmentationNode.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    found = []
    for segmentId in segmentIds:
        segment = segmentation.GetSegment(segmentId)
        image = segment.GetRepresentation(name)
        time = 0 if image is None else image.GetMTime()
        found.append(
            (segmentId, segment.GetName(), time, revision(segment), _tag(segment, PAINTED), _tag(segment, OFF))
        )
    return tuple(found)


def hasDraft(segment) -> bool:
    """Tells whether something of a segment is a draft."""
    return bool(_tag(segment, DRAFT))


def write(segmentationNode, segmentId: str, volumeNode, found: SegmentAnnotation) -> int:
    """Writes what is known of a segment into its tags; returns their revision."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
    planes = {PAINTED: found.painted, MARKED: found.marked, OFF: found.off}
    texts = {name: _planesText(own, toNode) for name, own in planes.items()}
    texts |= {name: _partText(part, toNode) for name, part in ((DRAFT, found.draft), (SCRIBBLES, found.scribbles))}
    return _write(segment, texts)


def revision(segment) -> int:
    """Returns how often the segment's tags were written; less than before, when that was undone."""
    return int(_tag(segment, REVISION) or 0)


def annotationOf(
    segmentationNode, values: dict[str, int], volumeNode, scribblesOnly: bool = False
) -> tuple[Annotation, dict[str, SegmentAnnotation]]:
    """Returns what a round learns from, and what is known of each segment, slices included that nobody has recorded.

    Args:
        values: the label of each segment, by its id, less than `BACKGROUND`.
        scribblesOnly: only marked slices count as complete, not every slice that something is painted on.

    Raises:
        SceneVolumeError: nothing is painted.
    """
    usual = usualAxis(volumeNode)
    present = {i: sceneSegmentations.segmentPart(segmentationNode, i, volumeNode) for i in values}
    known = {i: _told(read(segmentationNode, i, volumeNode), present[i], usual) for i in values}
    box = sceneSegmentations.around(
        [*present.values(), *(k.draft for k in known.values()), *(k.scribbles for k in known.values())]
    )
    labels = numpy.zeros([part.stop - part.start for part in box], numpy.uint8)
    planes: dict[Plane, list[int]] = {}
    off: dict[Plane, list[int]] = {}
    for segmentId, value in values.items():
        own = known[segmentId]
        there, draft, scribbles = (part.within(box) for part in (present[segmentId], own.draft, own.scribbles))
        wanted = own.marked if scribblesOnly else own.painted | own.marked
        isKnown, erased = ~draft | scribbles, (scribbles | draft) & ~there
        for plane in wanted:
            axis, index = plane
            (off if plane in own.off else planes).setdefault(plane, []).append(value)
            within = index - box[axis].start
            if 0 <= within < labels.shape[axis]:
                numpy.moveaxis(isKnown, axis, 0)[within] = plane not in own.off
                numpy.moveaxis(erased, axis, 0)[within] = False
        labels[erased & (labels == 0)] = BACKGROUND
        labels[there & isKnown] = value
    if not ((labels > 0) & (labels != BACKGROUND)).any():
        raise SceneVolumeError(_nothingToLearnFrom(volumeNode, any(p.values.size for p in present.values())))
    start = (box[0].start, box[1].start, box[2].start)
    return Annotation(sceneSegmentations.cropped(labels, start), planes, off), known


def applied(segmentationNode, known: dict[str, SegmentAnnotation], annotation: Annotation | None, volumeNode) -> None:
    """Makes it known that the segments hold a result now: all is a draft that was not painted.

    Args:
        known: what was known of the segments that were written into.
        annotation: what the result was learned from, None for a prediction.
    """
    for segmentId, own in known.items():
        there = sceneSegmentations.segmentPart(segmentationNode, segmentId, volumeNode)
        draft = there.values.copy()
        if annotation is not None:
            draft &= (annotation.labels.within(there.slices) == 0) | _offSlices(own, there)
        write(
            segmentationNode, segmentId, volumeNode,
            replace(own, draft=sceneSegmentations.cropped(draft, there.start)),
        )  # fmt: skip


def markDraft(segmentationNode, segmentIds: list[str], volumeNode) -> None:
    """Makes it known that segments hold a draft: what is painted from now on is annotation, what is there is not."""
    applied(segmentationNode, {i: SegmentAnnotation() for i in segmentIds}, None, volumeNode)


def usualAxis(volumeNode) -> int:
    """Returns the axis of the array along which the volume's slices lie apart: the widest spacing, or axial slices."""
    axes = sceneVolumes.worldMatrix(volumeNode)[:3, :3]
    spacing = numpy.linalg.norm(axes, axis=0)
    if spacing.max() > 1.5 * spacing.min():
        return 2 - int(spacing.argmax())
    return 2 - int(numpy.abs(axes[2] / spacing).argmax())


def _told(own: SegmentAnnotation, there: Part, usual: int) -> SegmentAnnotation:
    """Adds the slices on which there is something that nobody has recorded, and leaves out those without anything."""
    box = sceneSegmentations.around([there, own.draft, own.scribbles])
    present, draft, scribbles = (part.within(box) for part in (there, own.draft, own.scribbles))
    changed = (present ^ draft) & ~scribbles

    def holds(plane: Plane) -> bool:
        within = plane[1] - box[plane[0]].start
        return 0 <= within < present.shape[plane[0]] and bool(
            numpy.moveaxis(present | draft, plane[0], 0)[within].any()
        )

    painted = {plane for plane in own.painted if holds(plane)}
    for axis, index in painted | own.marked:
        within = index - box[axis].start
        if 0 <= within < changed.shape[axis]:
            numpy.moveaxis(changed, axis, 0)[within] = False
    if changed.any():
        axes = [axis for axis, _index in painted]
        axis = max(set(axes), key=axes.count) if axes else usual
        found = annotatedSlices.paintedSlices(changed, axis)
        painted |= {(axis, index + box[axis].start) for axis, index in found}
    return replace(own, painted=frozenset(painted))


def _offSlices(own: SegmentAnnotation, there: Part) -> numpy.ndarray:
    off = numpy.zeros(there.values.shape, bool)
    for axis, index in own.off:
        if 0 <= index - there.start[axis] < off.shape[axis]:
            numpy.moveaxis(off, axis, 0)[index - there.start[axis]] = True
    return off


def _nothingToLearnFrom(volumeNode, isDraft: bool) -> str:
    if isDraft:
        return _(
            "What is there is a draft that nobody has corrected yet: correct a slice of it, or mark a slice as complete."
        )
    return _("Nothing is painted on {volume} yet.").format(volume=volumeNode.GetName())


# Tags ------------------------------------------------------------------------------------------------------------


def _tag(segment, name: str) -> str:
    value = vtk.mutable("")
    return str(value) if segment.GetTag(name, value) else ""


def _write(segment, texts: dict[str, str]) -> int:
    changed = {name: text for name, text in texts.items() if text != _tag(segment, name)}
    if changed:
        for name, text in {**changed, REVISION: str(revision(segment) + 1)}.items():
            if text:
                segment.SetTag(name, text)
            else:
                segment.RemoveTag(name)
    return revision(segment)


def _planesText(planes: frozenset[Plane], toNode: numpy.ndarray) -> str:
    """Slices as normals and distances in the segments' coordinates: another grid can have them too."""
    texts = []
    for axis, index in sorted(planes):
        normal = numpy.linalg.inv(toNode[:3, :3]).T[:, 2 - axis]
        normal = normal / numpy.linalg.norm(normal)
        voxel = numpy.zeros(4)
        voxel[2 - axis], voxel[3] = index, 1
        distance = float(normal @ (toNode @ voxel)[:3])
        texts.append(" ".join(f"{n:.6g}" for n in (*normal, distance)))
    return ";".join(texts)


def _planesFrom(text: str, toNode: numpy.ndarray, shape: tuple[int, int, int]) -> frozenset[Plane]:
    found = set()
    normals = numpy.linalg.inv(toNode[:3, :3]).T
    normals = normals / numpy.linalg.norm(normals, axis=0)
    for entry in filter(None, text.split(";")):
        *normal, distance = map(float, entry.split())
        cosines = numpy.array(normal) @ normals
        column = int(numpy.abs(cosines).argmax())
        if abs(cosines[column]) < PARALLEL:
            continue
        step = normals[:, column] @ toNode[:3, column]
        offset = normals[:, column] @ toNode[:3, 3]
        index = round(float((distance * numpy.sign(cosines[column]) - offset) / step))
        if 0 <= index < shape[2 - column]:
            found.add((2 - column, index))
    return frozenset(found)


def _partText(part: Part, toNode: numpy.ndarray) -> str:
    if not part.values.any():
        return ""
    bits = base64.b64encode(zlib.compress(numpy.packbits(part.values).tobytes(), 1)).decode("ascii")
    head = {"start": part.start, "shape": part.values.shape, "matrix": numpy.round(toNode, 6).tolist()}
    # Tags are kept as "name:value|name:value", so that neither sign may be in a value.
    return base64.b64encode(json.dumps(head).encode("ascii")).decode("ascii") + " " + bits


def _partFrom(text: str, toNode: numpy.ndarray, shape: tuple[int, int, int]) -> Part:
    if not text:
        return NOTHING
    head, bits = text.split(" ")
    place = json.loads(base64.b64decode(head))
    count = int(numpy.prod(place["shape"]))
    flat = numpy.unpackbits(numpy.frombuffer(zlib.decompress(base64.b64decode(bits)), numpy.uint8), count=count)
    values = flat.reshape(place["shape"])
    image = sceneSegmentations.orientedImage(values, numpy.array(place["matrix"]), tuple(place["start"]))
    return sceneSegmentations.imagePart(image, 1, toNode, shape)
