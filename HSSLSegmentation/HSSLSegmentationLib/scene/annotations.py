"""What of each segment somebody has painted, and what is a draft: kept in the segment's tags.

Tags are saved with the scene, restored with it, and undone with the segment. Of each segment they hold the slices on
which it was painted, those that were marked as complete and those that were switched off; which of its voxels are only a
draft (a result that was applied, or a tool's that worked on the whole segment); and voxels that were painted across
slices, of which nothing around them is known.
"""

import base64
import json
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy
import vtk
from slicer.i18n import tr as _

import slicer

from ..steps import atOnce, slabs
from . import annotatedSlices
from . import segmentations as sceneSegmentations
from . import volumes as sceneVolumes
from .annotatedSlices import Plane
from .segmentations import Part, PartInSlabs
from .volumes import SceneVolumeError

PAINTED, MARKED, OFF = "HSSL.painted", "HSSL.complete", "HSSL.off"
DRAFT, SCRIBBLES = "HSSL.draft", "HSSL.scribbles"
REVISION = "HSSL.revision"
BACKGROUND = 255
"""Value of an annotation's label map that says that a voxel has none of the labels."""
PARALLEL = 0.999
SAME_MATRIX = 1e-5
"""Largest difference of two matrices whose grids are one; tags hold six decimals."""
MOST_PACKED = 1040
"""Bytes that zlib packs into one, at most."""
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
        revision: of the tags that told it.
    """

    painted: frozenset[Plane] = frozenset()
    marked: frozenset[Plane] = frozenset()
    off: frozenset[Plane] = frozenset()
    draft: Part = NOTHING
    scribbles: Part = NOTHING
    revision: int = 0

    def complete(self, scribblesOnly: bool) -> frozenset[Plane]:
        """Returns the slices that count as complete unless they are switched off."""
        return self.marked if scribblesOnly else self.painted | self.marked


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
    return atOnce(reading(segmentationNode, segmentId, volumeNode))


def reading(segmentationNode, segmentId: str, volumeNode) -> Generator[None, None, SegmentAnnotation]:
    """Does what `read` does in steps, of the tags as they are when the steps begin."""
    segment, toNode, (painted, marked, off) = _planesOf(segmentationNode, segmentId, volumeNode)
    shape, told = sceneSegmentations.gridShape(volumeNode), revision(segment)
    parts = [
        _readingPart(segmentationNode, segment, name, _tag(segment, name), toNode, shape) for name in (DRAFT, SCRIBBLES)
    ]
    draft = yield from parts[0]
    scribbles = yield from parts[1]
    return SegmentAnnotation(painted, marked, off, draft, scribbles, told)


def addPainted(segmentationNode, segmentId: str, volumeNode, plane: Plane) -> int:
    """Makes it known that a segment was painted on a slice; returns the revision of its tags."""
    segment, toNode, (painted, _marked, off) = _planesOf(segmentationNode, segmentId, volumeNode)
    # What is painted anew on a slice that was switched off, counts again.
    texts = {PAINTED: _planesText(painted | {plane}, toNode), OFF: _planesText(off - {plane}, toNode)}
    return _write(segment, texts)


def keepPainted(segmentationNode, segmentId: str, volumeNode, found: SegmentAnnotation) -> None:
    """Makes it known on which slices a segment was found to be painted; what was recorded since then stays."""
    segment = sceneSegmentations.segmentOf(segmentationNode, segmentId)
    toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
    painted = _paintedNow(segmentationNode, segment, found, volumeNode, toNode)
    _write(segment, {PAINTED: _planesText(painted, toNode)})


def addScribbles(segmentationNode, segmentId: str, volumeNode, changed: Part) -> None:
    """Makes it known that voxels of a segment were painted, or erased, across slices."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
    shape, text = sceneSegmentations.gridShape(volumeNode), _tag(segment, SCRIBBLES)
    known = atOnce(_readingPart(segmentationNode, segment, SCRIBBLES, text, toNode, shape))
    _write(segment, {SCRIBBLES: atOnce(_writingText(sceneSegmentations.joined(known, changed), toNode))})


def switch(segmentationNode, segmentIds, volumeNode, plane: Plane, isOn: bool) -> None:
    """Switches a slice off or on for the segments that are complete on it; a mark that is switched off is taken back."""
    for segmentId in segmentIds:
        segment, toNode, (_painted, marked, off) = _planesOf(segmentationNode, segmentId, volumeNode)
        found = {OFF: off - {plane} if isOn else off | {plane}, MARKED: marked if isOn else marked - {plane}}
        _write(segment, {name: _planesText(planes, toNode) for name, planes in found.items()})


def mark(segmentationNode, segmentIds, volumeNode, plane: Plane) -> None:
    """Marks a slice as complete for segments, whether anything of them is on it or not."""
    for segmentId in segmentIds:
        segment, toNode, (_painted, marked, off) = _planesOf(segmentationNode, segmentId, volumeNode)
        _write(segment, {MARKED: _planesText(marked | {plane}, toNode), OFF: _planesText(off - {plane}, toNode)})


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
    return atOnce(_writing(segmentationNode, segmentId, volumeNode, found))


def _writing(segmentationNode, segmentId: str, volumeNode, found: SegmentAnnotation) -> Generator[None, None, int]:
    toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
    planes = {PAINTED: found.painted, MARKED: found.marked, OFF: found.off}
    texts = {name: _planesText(own, toNode) for name, own in planes.items()}
    for name, part in (DRAFT, found.draft), (SCRIBBLES, found.scribbles):
        texts[name] = yield from _writingText(part, toNode)
    return _write(sceneSegmentations.segmentOf(segmentationNode, segmentId), texts)


def revision(segment) -> int:
    """Returns how often the segment's tags were written; less than before, when that was undone."""
    text = _tag(segment, REVISION)
    return int(text) if text.isdecimal() else 0  # of a damaged one nothing is lost: it is counted anew


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
    return atOnce(gathered(segmentationNode, values, volumeNode, scribblesOnly))


def gathered(
    segmentationNode, values: dict[str, int], volumeNode, scribblesOnly: bool = False
) -> Generator[None, None, tuple[Annotation, dict[str, SegmentAnnotation]]]:
    """Does what `annotationOf` does in steps, of what is there as they begin."""
    present, known = yield from _present(segmentationNode, values, volumeNode)
    planes, off = completeSlices(known, values, scribblesOnly)
    box = sceneSegmentations.around(
        [*present.values(), *(k.draft for k in known.values()), *(k.scribbles for k in known.values())]
    )
    labels = PartInSlabs(box, numpy.uint8)
    isAnything = False
    for slab, here in labels.slabs():
        for segmentId, value in values.items():
            own = known[segmentId]
            isAnything |= _label(here, slab, value, present[segmentId], own, own.complete(scribblesOnly))
            yield
    if not isAnything:
        raise SceneVolumeError(_nothingToLearnFrom(volumeNode, any(p.values.size for p in present.values())))
    return Annotation(labels.cropped(), planes, off), known


def knownOf(segmentationNode, segmentIds, volumeNode) -> Generator[None, None, dict[str, SegmentAnnotation]]:
    """Returns in steps what is known of each segment, slices included that nobody has recorded."""
    return (yield from _present(segmentationNode, segmentIds, volumeNode))[1]


def completeSlices(
    known: dict[str, SegmentAnnotation], values: dict[str, int], scribblesOnly: bool
) -> tuple[dict[Plane, list[int]], dict[Plane, list[int]]]:
    """Returns the slices that are complete, and those that would be if they were not switched off, with their labels."""
    planes: dict[Plane, list[int]] = {}
    off: dict[Plane, list[int]] = {}
    for segmentId, value in values.items():
        own = known[segmentId]
        for plane in own.complete(scribblesOnly):
            (off if plane in own.off else planes).setdefault(plane, []).append(value)
    return planes, off


def paintedApart(segmentationNode, volumeNode) -> Generator[None, None, dict[str, int]]:
    """Returns in steps the segments that are on single slices with nothing in between, with the number of slices, by
    name: painted to be learned from, they are no label yet, which would teach that there is nothing in between."""
    found = {}
    for segmentId in segmentationNode.GetSegmentation().GetSegmentIDs():
        part = yield from sceneSegmentations.readingPart(segmentationNode, segmentId, volumeNode)
        filled = sceneSegmentations.Filled(part.values.shape)
        for along in slabs(part.values.shape, sceneSegmentations.CACHED_VOXELS):
            filled.add(along, part.values[along])
            yield
        for there in map(numpy.flatnonzero, filled.axes):
            if len(there) > 1 and (numpy.diff(there) > 1).all():
                segment = sceneSegmentations.segmentOf(segmentationNode, segmentId)
                found[segment.GetName()] = len(there)
    return found


def _present(
    segmentationNode, segmentIds, volumeNode
) -> Generator[None, None, tuple[dict[str, Part], dict[str, SegmentAnnotation]]]:
    """Where each segment is, and what is known of it."""
    usual = usualAxis(volumeNode)
    present: dict[str, Part] = {}
    known: dict[str, SegmentAnnotation] = {}
    for segmentId in segmentIds:
        present[segmentId] = yield from sceneSegmentations.readingPart(segmentationNode, segmentId, volumeNode)
        own = yield from reading(segmentationNode, segmentId, volumeNode)
        known[segmentId] = yield from _told(own, present[segmentId], usual)
        yield
    return present, known


def _label(
    labels: numpy.ndarray, slab: tuple[slice, slice, slice], value: int, present: Part, own: SegmentAnnotation, wanted
) -> bool:
    """Writes what is known of a segment in a part of the grid into the labels there; returns whether that is anything."""
    there, draft, scribbles = (part.within(slab) for part in (present, own.draft, own.scribbles))
    isKnown, erased = ~draft | scribbles, (scribbles | draft) & ~there
    start = sceneSegmentations.cornerOf(slab)
    for plane in wanted:
        Part(start, isKnown).plane(*plane)[...] = plane not in own.off
        Part(start, erased).plane(*plane)[...] = False
    labels[erased & (labels == 0)] = BACKGROUND
    painted = there & isKnown
    labels[painted] = value
    return bool(painted.any())


def applied(
    segmentationNode,
    known: dict[str, SegmentAnnotation],
    annotation: Annotation | None,
    volumeNode,
    describing: Callable[[], AbstractContextManager] = nullcontext,
) -> Iterator[None]:
    """Makes it known, in steps, that the segments hold a result now: all is a draft that was not painted.

    Args:
        known: what was known of the segments that were written into.
        annotation: what the result was learned from, None for a prediction.
        describing: within it, tags are written; for whoever watches them.
    """
    for segmentId, own in known.items():
        there = yield from sceneSegmentations.readingPart(segmentationNode, segmentId, volumeNode)
        yield
        draft = there if annotation is None else (yield from _withoutPainted(there, annotation, own.off))
        toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
        text = yield from _writingText(draft, toNode)
        with describing():
            segment = sceneSegmentations.segmentOf(segmentationNode, segmentId)
            painted = _paintedNow(segmentationNode, segment, own, volumeNode, toNode)
            _write(segment, {PAINTED: _planesText(painted, toNode), DRAFT: text})
        yield


def withDrafts(
    labels: Part, spans: dict[int, list[tuple[int, int]]], segmentationNode, values: dict[str, int], volumeNode
) -> Generator[None, None, Part]:
    """Returns in steps what a round has found, and each segment's draft where the round says nothing of it: beyond the
    slices that were corrected, nobody has found it wrong.

    Args:
        labels: what the round has found.
        spans: where it has filled each label, as start and stop along the axes.
        values: the label of each segment, by its id.
    """
    drafts: dict[int, Part] = {}
    for segmentId, value in values.items():
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        if value in spans and segment is not None and hasDraft(segment):
            present = yield from sceneSegmentations.readingPart(segmentationNode, segmentId, volumeNode)
            draft = (yield from reading(segmentationNode, segmentId, volumeNode)).draft
            rest = PartInSlabs(present.slices)
            for slab, here in rest.slabs():
                numpy.logical_and(draft.within(slab), present.within(slab), out=here)
                Part(sceneSegmentations.cornerOf(slab), here).clear(spans[value])
                yield
            drafts[value] = rest.cropped()
    if not any(part.values.size for part in drafts.values()):
        return labels
    box = sceneSegmentations.around([labels, *drafts.values()])
    found = numpy.empty([part.stop - part.start for part in box], labels.values.dtype)
    for slab in sceneSegmentations.inSlabs(box):
        here = found[slab[0].start - box[0].start : slab[0].stop - box[0].start]
        here[...] = labels.within(slab)
        for value, part in drafts.items():
            here[part.within(slab) & (here == 0)] = value
            yield
    return Part(sceneSegmentations.cornerOf(box), found)


def markedDraft(segmentationNode, segmentIds: list[str], volumeNode) -> Iterator[None]:
    """Makes it known, in steps, that segments hold a draft: what is painted from now on is annotation, what is there is
    not."""
    for segmentId in segmentIds:
        there = yield from sceneSegmentations.readingPart(segmentationNode, segmentId, volumeNode)
        yield from _writing(segmentationNode, segmentId, volumeNode, SegmentAnnotation(draft=there))


def usualAxis(volumeNode) -> int:
    """Returns the axis of the array along which the volume's slices lie apart: the widest spacing, or axial slices."""
    axes = sceneVolumes.worldMatrix(volumeNode)[:3, :3]
    spacing = numpy.linalg.norm(axes, axis=0)
    if spacing.max() > 1.5 * spacing.min():
        return 2 - int(spacing.argmax())
    return 2 - int(numpy.abs(axes[2] / spacing).argmax())


def _told(own: SegmentAnnotation, there: Part, usual: int) -> Generator[None, None, SegmentAnnotation]:
    """Adds the slices on which there is something that nobody has recorded, and leaves out those without anything."""
    painted = {plane for plane in own.painted if there.plane(*plane).any() or own.draft.plane(*plane).any()}
    recorded = painted | own.marked
    box = sceneSegmentations.around([there, own.draft, own.scribbles])
    changes = []
    for slab in sceneSegmentations.inSlabs(box):
        changed = sceneSegmentations.cropped(_changed(own, there, recorded, slab), sceneSegmentations.cornerOf(slab))
        if changed.values.size:
            changes.append(changed)
        yield
    if changes:
        box = sceneSegmentations.around(changes)
        whole = numpy.zeros([part.stop - part.start for part in box], bool)
        for changed in changes:
            Part(sceneSegmentations.cornerOf(box), whole).within(changed.slices)[...] = changed.values
            yield
        axes = [axis for axis, _index in painted]
        axis = max(set(axes), key=axes.count) if axes else usual
        found = yield from annotatedSlices.findingSlices(whole, axis)
        painted |= {(axis, index + box[axis].start) for axis, index in found}
    return replace(own, painted=frozenset(painted))


def _changed(own: SegmentAnnotation, there: Part, recorded, box: tuple[slice, slice, slice]) -> numpy.ndarray:
    """Where in a box the segment is another than its draft, without scribbles and recorded slices."""
    changed = there.within(box) ^ own.draft.within(box)
    if own.scribbles.values.size:
        changed &= ~own.scribbles.within(box)
    part = Part(sceneSegmentations.cornerOf(box), changed)
    for plane in recorded:
        part.plane(*plane)[...] = False
    return changed


def _paintedNow(
    segmentationNode, segment, found: SegmentAnnotation, volumeNode, toNode: numpy.ndarray
) -> frozenset[Plane]:
    if found.revision == revision(segment):
        return found.painted
    shape = sceneSegmentations.gridShape(volumeNode)
    return found.painted | _planesIn(segmentationNode, segment, PAINTED, toNode, shape)


def _withoutPainted(there: Part, annotation: Annotation, off: frozenset[Plane]) -> Generator[None, None, Part]:
    """What of a segment nothing was learned from; slices that are switched off were not."""
    found = PartInSlabs(there.slices)
    for slab, here in found.slabs():
        painted = annotation.labels.within(slab) != 0
        for plane in off:
            Part(sceneSegmentations.cornerOf(slab), painted).plane(*plane)[...] = False
        numpy.logical_and(there.within(slab), ~painted, out=here)
        yield
    return found.cropped()


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


def _planesOf(segmentationNode, segmentId: str, volumeNode) -> tuple[Any, numpy.ndarray, list[frozenset[Plane]]]:
    """Returns a segment, the volume's matrix to it, and its slices: painted, marked, switched off."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
    shape = sceneSegmentations.gridShape(volumeNode)
    names = (PAINTED, MARKED, OFF)
    return segment, toNode, [_planesIn(segmentationNode, segment, name, toNode, shape) for name in names]


@contextmanager
def _undamaged(segmentationNode, segment, name: str) -> Iterator[None]:
    """Raises SceneVolumeError with the segment and the way out where what a tag holds cannot be understood."""
    try:
        yield
    except (ValueError, TypeError, LookupError, ArithmeticError, zlib.error) as error:
        raise SceneVolumeError(
            _(
                "What is known of the segment {segment} of {segmentation} is damaged (its tag {tag}: {reason}). Copy it "
                "into a new segment (Segment Editor, Logical operators) and remove it: what is drawn stays, and which "
                "slices were painted is found anew."
            ).format(segment=segment.GetName(), segmentation=segmentationNode.GetName(), tag=name, reason=error)
        ) from error


def _planesIn(segmentationNode, segment, name: str, toNode: numpy.ndarray, shape) -> frozenset[Plane]:
    with _undamaged(segmentationNode, segment, name):
        return _planesFrom(_tag(segment, name), toNode, shape)


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


def _writingText(part: Part, toNode: numpy.ndarray) -> Generator[None, None, str]:
    """Makes of a part, in steps, the text that a tag keeps of it: eight voxels to a byte, compressed."""
    if not part.values.any():
        return ""
    packer, packed, rest = zlib.compressobj(1), [], numpy.zeros(0, bool)
    for slab in sceneSegmentations.inSlabs(part.slices):
        voxels = numpy.concatenate([rest, part.within(slab).ravel()])
        whole = len(voxels) - len(voxels) % 8
        packed.append(packer.compress(numpy.packbits(voxels[:whole]).tobytes()))
        rest = voxels[whole:]
        yield
    packed += [packer.compress(numpy.packbits(rest).tobytes()), packer.flush()]
    bits = base64.b64encode(b"".join(packed)).decode("ascii")
    head = {"start": part.start, "shape": part.values.shape, "matrix": numpy.round(toNode, 6).tolist()}
    # Tags are kept as "name:value|name:value", so that neither sign may be in a value.
    return base64.b64encode(json.dumps(head).encode("ascii")).decode("ascii") + " " + bits


def _readingPart(
    segmentationNode, segment, name: str, text: str, toNode: numpy.ndarray, shape: tuple[int, int, int]
) -> Generator[None, None, Part]:
    """Returns, in steps, the part that the text of a tag keeps, on a grid."""
    if not text:
        return NOTHING
    with _undamaged(segmentationNode, segment, name):
        start, matrix, values = yield from _unpacking(text)
    if numpy.abs(matrix - toNode).max() < SAME_MATRIX:
        part = Part(start, values.view(bool))
        if all(a >= 0 and a + n <= size for a, n, size in zip(part.start, values.shape, shape, strict=True)):
            return part
    image = sceneSegmentations.orientedImage(values, matrix, start)
    return (yield from sceneSegmentations.readingImage(image, 1, toNode, shape))


def _unpacking(text: str) -> Generator[None, None, tuple[tuple[int, int, int], numpy.ndarray, numpy.ndarray]]:
    """Does, in steps, the contrary of `_writingText`: returns where the part begins, on which grid, and its voxels."""
    head, bits = text.split(" ")
    place, rest = json.loads(base64.b64decode(head, validate=True)), base64.b64decode(bits, validate=True)
    (i, j, k), (depth, height, width) = ([int(n) for n in place[key]] for key in ("start", "shape"))
    matrix, count = numpy.array(place["matrix"], float), depth * height * width
    if matrix.shape != (4, 4) or not numpy.isfinite(matrix).all() or not numpy.linalg.det(matrix):
        raise ValueError(_("it lies nowhere"))
    if min(depth, height, width) < 1 or count > 8 * MOST_PACKED * len(rest):
        raise ValueError(_("it cannot hold {count} voxels").format(count=count))
    flat = numpy.empty(count, numpy.uint8)
    unpacker, done = zlib.decompressobj(), 0
    while done < len(flat):
        found = numpy.frombuffer(unpacker.decompress(rest, sceneSegmentations.CACHED_VOXELS // 8), numpy.uint8)
        if not len(found):
            raise ValueError(_("it ends too soon"))
        voxels = numpy.unpackbits(found, count=min(8 * len(found), len(flat) - done))
        flat[done : done + len(voxels)] = voxels
        rest, done = unpacker.unconsumed_tail, done + len(voxels)
        yield
    return (i, j, k), matrix, flat.reshape(depth, height, width)
