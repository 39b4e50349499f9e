"""What of each segment somebody has painted, and what is a draft: kept in the segment's tags.

Tags are saved with the scene, restored with it, and undone with the segment. Of each segment they hold the slices on
which it was painted, those that were marked as complete and those that were switched off; which of its voxels are only a
draft (a result that was applied, or a tool's that worked on the whole segment); and voxels that were painted across
slices, of which nothing around them is known. All this is told in the coordinates of the segmentation node; a transform
that is hardened moves voxels there without a word, and what is known of them is brought along as soon as it is asked for.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy
from slicer.i18n import tr as _

from ..steps import atOnce, slabs
from . import annotatedSlices
from . import segmentations as sceneSegmentations
from . import volumes as sceneVolumes
from .annotatedSlices import Plane
from .annotationTags import (
    DRAFT,
    FORGOTTEN,
    MARKED,
    OFF,
    PAINTED,
    PLACE,
    PLANES,
    REVISION,
    SCRIBBLES,
    SegmentAnnotation,
    oblique,
    planesIn,
    planesTexts,
    readingOn,
    readingPart,
    revision,
    setTags,
    tag,
    unrecorded,
    writingText,
)
from .movedSegments import bringAlong, movedFrom, placeText
from .segmentations import Part, PartInSlabs
from .volumes import SceneVolumeError

BACKGROUND = 255
"""Value of an annotation's label map that says that a voxel has none of the labels."""


@dataclass(frozen=True)
class Annotation:
    """What a round learns from.

    Attributes:
        labels: of what is painted; 0 is unknown, `BACKGROUND` none of the labels.
        planes: the slices that are complete, with the labels that are complete on them.
        off: slices that would be, if they were not switched off, with their labels.
        overlaps: of the labels of two segments of which the second lies over the first, and has the voxels that both claim:
            how many voxels the first has, the second, and both, on the slices that are complete for both, or in all where
            they share none there.
    """

    labels: Part
    planes: dict[Plane, list[int]]
    off: dict[Plane, list[int]] = field(default_factory=dict)
    overlaps: dict[tuple[int, int], tuple[int, int, int]] = field(default_factory=dict)

    def partsOf(self, whole: int) -> set[int]:
        """Returns the labels that are parts of one: most of what is painted of them is painted as that one, too."""
        pairs = self.overlaps.items()
        parts = {over for (covered, over), (_size, own, shared) in pairs if covered == whole and 2 * shared > own}
        return parts | {part for other in parts for part in self.partsOf(other)}

    def overlapped(self) -> set[int]:
        """Returns the labels of segments that others overlap."""
        return {value for value, _other in self.overlaps}


def read(segmentationNode, segmentId: str, volumeNode) -> SegmentAnnotation:
    """Returns what the segment's tags tell, brought onto the volume's grid; slices of no slice of it are left out."""
    return atOnce(reading(segmentationNode, segmentId, volumeNode))


def reading(segmentationNode, segmentId: str, volumeNode) -> Generator[None, None, SegmentAnnotation]:
    """Does what `read` does in steps, of the tags as they are when the steps begin."""
    segment, grid = _gridOf(segmentationNode, segmentId, volumeNode)
    return (yield from readingOn(segmentationNode, segment, *grid))


def addPainted(segmentationNode, segmentId: str, volumeNode, plane: Plane) -> int:
    """Makes it known that a segment was painted on a slice; returns the revision of its tags."""
    segment, grid, (painted, _marked, off) = _planesOf(segmentationNode, segmentId, volumeNode)
    # What is painted anew on a slice that was switched off, counts again.
    texts = planesTexts(segment, {PAINTED: painted | {plane}, OFF: off - {plane}}, *grid)
    return _write(segmentationNode, segmentId, volumeNode, texts)


def keepPainted(segmentationNode, segmentId: str, volumeNode, found: SegmentAnnotation) -> None:
    """Makes it known on which slices a segment was found to be painted; what was recorded since then stays."""
    texts = _paintedNow(segmentationNode, segmentId, found, volumeNode)
    _write(segmentationNode, segmentId, volumeNode, {**texts, FORGOTTEN: ""})


def addScribbles(segmentationNode, segmentId: str, volumeNode, changed: Part) -> None:
    """Makes it known that voxels of a segment were painted, or erased, across slices."""
    segment, (toNode, shape), _planes = _planesOf(segmentationNode, segmentId, volumeNode)
    known = atOnce(readingPart(segmentationNode, segment, SCRIBBLES, tag(segment, SCRIBBLES), toNode, shape))
    text = atOnce(writingText(sceneSegmentations.joined(known, changed), toNode))
    _write(segmentationNode, segmentId, volumeNode, {SCRIBBLES: text})


def switch(segmentationNode, segmentIds, volumeNode, plane: Plane, isOn: bool) -> None:
    """Switches a slice off or on for the segments that are complete on it; a mark that is switched off is taken back."""
    for segmentId in segmentIds:
        segment, grid, (_painted, marked, off) = _planesOf(segmentationNode, segmentId, volumeNode)
        found = {OFF: off - {plane} if isOn else off | {plane}, MARKED: marked if isOn else marked - {plane}}
        _write(segmentationNode, segmentId, volumeNode, planesTexts(segment, found, *grid))


def mark(segmentationNode, segmentIds, volumeNode, plane: Plane) -> None:
    """Marks a slice as complete for segments, whether anything of them is on it or not."""
    for segmentId in segmentIds:
        segment, grid, (_painted, marked, off) = _planesOf(segmentationNode, segmentId, volumeNode)
        texts = planesTexts(segment, {MARKED: marked | {plane}, OFF: off - {plane}}, *grid)
        _write(segmentationNode, segmentId, volumeNode, texts)


def stampOf(segmentationNode, segmentIds) -> tuple:
    """Returns what changes when segments, or what is known of them, do."""
    segmentation = segmentationNode.GetSegmentation()
    found = []
    for segmentId in segmentIds:
        segment = segmentation.GetSegment(segmentId)
        image = sceneSegmentations.labelmapOf(segment)
        time = 0 if image is None else image.GetMTime()
        found.append((segmentId, segment.GetName(), time, revision(segment), tag(segment, PAINTED), tag(segment, OFF)))
    return tuple(found)


def hasDraft(segment) -> bool:
    """Tells whether something of a segment is a draft."""
    return bool(tag(segment, DRAFT))


def write(segmentationNode, segmentId: str, volumeNode, found: SegmentAnnotation) -> int:
    """Writes what is known of a segment into its tags; returns their revision."""
    return atOnce(_writing(segmentationNode, segmentId, volumeNode, found))


def _writing(segmentationNode, segmentId: str, volumeNode, found: SegmentAnnotation) -> Generator[None, None, int]:
    toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
    segment = sceneSegmentations.segmentOf(segmentationNode, segmentId)
    planes = {PAINTED: found.painted, MARKED: found.marked, OFF: found.off}
    texts = planesTexts(segment, planes, toNode, sceneSegmentations.gridShape(volumeNode), found.isOblique)
    for name, part in (DRAFT, found.draft), (SCRIBBLES, found.scribbles):
        texts[name] = yield from writingText(part, toNode)
    return _write(segmentationNode, segmentId, volumeNode, {**texts, FORGOTTEN: ""})


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
    sizes: Counter[int] = Counter()
    taken: Counter[tuple[int, int]] = Counter()
    for slab, here in labels.slabs():
        for segmentId, value in values.items():
            own = known[segmentId]
            for other, count in _label(here, slab, value, present[segmentId], own, own.complete(scribblesOnly)):
                sizes[value] += count
                if other:
                    taken[other, value] += count
            yield
    if not sizes:
        raise SceneVolumeError(_nothingToLearnFrom(volumeNode, any(p.values.size for p in present.values())))
    overlaps = {}
    for (covered, over), count in taken.items():
        parts = [present[segmentId] for value in (covered, over) for segmentId in values if values[segmentId] == value]
        common = [plane for plane, complete in planes.items() if covered in complete and over in complete]
        size, sizeOver, shared = yield from _sizesOn(common, *parts)
        overlaps[covered, over] = (size, sizeOver, shared) if shared else (sizes[covered], sizes[over], count)
    return Annotation(labels.cropped(), planes, off, overlaps), known


def _sizesOn(planes: list[Plane], one: Part, other: Part) -> Generator[None, None, tuple[int, int, int]]:
    """Returns in steps how many voxels two segments have on slices, and how many both."""
    found = numpy.zeros(3, int)
    for axis, index in planes:
        box = list(sceneSegmentations.around([one, other]))
        box[axis] = slice(index, index + 1)
        first, second = (part.within((box[0], box[1], box[2])) for part in (one, other))
        found += [numpy.count_nonzero(voxels) for voxels in (first, second, first & second)]
        yield
    size, sizeOther, shared = (int(n) for n in found)
    return size, sizeOther, shared


def checkOverlaps(segmentationNode, values: dict[str, int], annotation: Annotation) -> None:
    """Raises SceneVolumeError where too little of a segment is learned from, since another one lies over it.

    Args:
        values: the label of each segment, by its id.
        annotation: what would be learned from.
    """
    from hssl.workspace.labels import PART

    names = {value: sceneSegmentations.segmentOf(segmentationNode, i).GetName() for i, value in values.items()}
    for (covered, over), (size, sizeOver, shared) in annotation.overlaps.items():
        if shared >= PART * max(size, sizeOver):
            raise SceneVolumeError(
                _("{first} and {second} of {segmentation} are the same voxels: hide or remove one of them.").format(
                    first=names[covered], second=names[over], segmentation=segmentationNode.GetName()
                )
            )
        sizes, taken = Counter({covered: size, over: sizeOver}), Counter({(covered, over): shared})
        sceneSegmentations.checkNothingIsLost(segmentationNode.GetName(), names, sizes, taken)


def wantedOf(
    annotation: Annotation | None, value: int, labels: Part, there: Part, isOverlapAllowed: bool
) -> Generator[None, None, Part]:
    """Returns in steps where a segment is to be, by the labels that were found.

    Where segments may overlap, one whose parts were painted within it keeps them, and on its complete slices it stays as it
    was painted, whatever lies over it: a voxel has one label only.

    Args:
        annotation: what is painted, None for nothing.
        value: the segment's label.
        labels: what was found.
        there: where the segment is now.
        isOverlapAllowed: whether what is added to one segment leaves the others as they are.
    """
    wanted = yield from sceneSegmentations.equalTo(value, labels)
    if annotation is None or not isOverlapAllowed or value not in annotation.overlapped():
        return wanted
    parts = [value, *annotation.partsOf(value)]
    complete = [plane for plane, values in annotation.planes.items() if value in values]
    found = PartInSlabs(sceneSegmentations.around([labels, there]))
    for slab, here in found.slabs():
        here[...] = numpy.isin(labels.within(slab), parts)
        painted, held = Part(sceneSegmentations.cornerOf(slab), here), there.within(slab)
        for plane in complete:
            painted.plane(*plane)[...] = Part(painted.start, held).plane(*plane)
        yield
    return found.cropped()


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


def corrected(segmentationNode, segmentIds, volumeNode) -> Generator[None, None, list[str]]:
    """Returns in steps the names of those of some segments that are not as a draft was: somebody has drawn or corrected them."""
    found = []
    for segmentId in segmentIds:
        there = yield from sceneSegmentations.readingPart(segmentationNode, segmentId, volumeNode)
        draft = (yield from reading(segmentationNode, segmentId, volumeNode)).draft
        for slab in sceneSegmentations.inSlabs(sceneSegmentations.around([there, draft])):
            if (there.within(slab) != draft.within(slab)).any():
                found.append(sceneSegmentations.segmentOf(segmentationNode, segmentId).GetName())
                break
            yield
    return found


def isUncorrected(segmentationNode, volumeNode) -> Generator[None, None, bool]:
    """Tells in steps whether all that a segmentation holds is a draft of which nobody has changed a voxel."""
    segmentation = segmentationNode.GetSegmentation()
    segmentIds = list(segmentation.GetSegmentIDs())
    isDraft = any(hasDraft(segmentation.GetSegment(segmentId)) for segmentId in segmentIds)
    return isDraft and not (yield from corrected(segmentationNode, segmentIds, volumeNode))


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
) -> list[tuple[int, int]]:
    """Writes what is known of a segment in a part of the grid into the labels there; returns from which labels it has taken
    voxels (0: from none), and how many."""
    there, draft, scribbles = (part.within(slab) for part in (present, own.draft, own.scribbles))
    isKnown, erased = ~draft | scribbles, (scribbles | draft) & ~there
    start = sceneSegmentations.cornerOf(slab)
    for plane in wanted:
        Part(start, isKnown).plane(*plane)[...] = plane not in own.off
        Part(start, erased).plane(*plane)[...] = False
    labels[erased & (labels == 0)] = BACKGROUND
    painted = there & isKnown
    before = numpy.bincount(labels[painted], minlength=BACKGROUND + 1)
    labels[painted] = value
    before[0] += before[BACKGROUND]
    return [(int(other), int(before[other])) for other in numpy.flatnonzero(before[:BACKGROUND])]


def applied(
    segmentationNode,
    known: dict[str, SegmentAnnotation],
    values: dict[str, int],
    annotation: Annotation | None,
    volumeNode,
    describing: Callable[[], AbstractContextManager] = nullcontext,
) -> Iterator[None]:
    """Makes it known, in steps, that the segments hold a result now: all is a draft that was not painted.

    Args:
        known: what was known of the segments that were written into.
        values: the label of each, by its id.
        annotation: what the result was learned from, None for a prediction.
        describing: within it, tags are written; for whoever watches them.
    """
    for segmentId, own in known.items():
        there = yield from sceneSegmentations.readingPart(segmentationNode, segmentId, volumeNode)
        yield
        draft = (
            there if annotation is None else (yield from _withoutPainted(there, annotation, values[segmentId], own.off))
        )
        toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
        text = yield from writingText(draft, toNode)
        with describing():
            texts = _paintedNow(segmentationNode, segmentId, own, volumeNode)
            _write(segmentationNode, segmentId, volumeNode, {**texts, DRAFT: text, FORGOTTEN: ""})
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
    if own.isOblique:  # what was painted on another direction's slices would be found on many slices of this grid
        return replace(own, painted=frozenset(painted))
    recorded = painted | own.marked
    box = sceneSegmentations.around([there, own.draft, own.scribbles])
    changes = []
    for slab in sceneSegmentations.inSlabs(box):
        changed = sceneSegmentations.cropped(unrecorded(own, there, recorded, slab), sceneSegmentations.cornerOf(slab))
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


def _paintedNow(segmentationNode, segmentId: str, found: SegmentAnnotation, volumeNode) -> dict[str, str]:
    """Text of the slices that were found to be painted, and of those that were recorded since."""
    segment, grid, (painted, _marked, _off) = _planesOf(segmentationNode, segmentId, volumeNode)
    isNew = found.revision != revision(segment)
    return planesTexts(segment, {PAINTED: found.painted | painted if isNew else found.painted}, *grid)


def _withoutPainted(
    there: Part, annotation: Annotation, value: int, off: frozenset[Plane]
) -> Generator[None, None, Part]:
    """What of a segment nothing was learned from; slices that are switched off were not, and of one that others overlap what
    they have got was not, but on its complete slices."""
    found = PartInSlabs(there.slices)
    isOverlapped = value in annotation.overlapped()
    complete = [plane for plane, values in annotation.planes.items() if value in values] if isOverlapped else []
    for slab, here in found.slabs():
        labels = annotation.labels.within(slab)
        painted = labels == value if isOverlapped else labels != 0
        for plane in complete:
            Part(sceneSegmentations.cornerOf(slab), painted).plane(*plane)[...] = True
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


def _write(segmentationNode, segmentId: str, volumeNode, texts: dict[str, str]) -> int:
    segment = sceneSegmentations.segmentOf(segmentationNode, segmentId)
    changed = {name: text for name, text in texts.items() if text != tag(segment, name)}
    if changed:
        place = placeText(segmentationNode, segment, volumeNode)
        setTags(segment, {**changed, PLACE: place, REVISION: str(revision(segment) + 1)})
    return revision(segment)


_Grid = tuple[numpy.ndarray, tuple[int, int, int]]
"""Of a volume: its matrix to the segments, and its shape."""


def _gridOf(segmentationNode, segmentId: str, volumeNode) -> tuple[Any, _Grid]:
    """Returns a segment, of which what is known was brought along, and the volume's grid."""
    segment = sceneSegmentations.segmentOf(segmentationNode, segmentId)
    if movedFrom(segmentationNode, segment) is not None:
        bringAlong(segmentationNode)
    grid = sceneSegmentations.matrixInNode(volumeNode, segmentationNode), sceneSegmentations.gridShape(volumeNode)
    return segment, grid


def _planesOf(segmentationNode, segmentId: str, volumeNode) -> tuple[Any, _Grid, list[frozenset[Plane]]]:
    """Returns the same and the segment's slices: painted, marked, switched off."""
    segment, grid = _gridOf(segmentationNode, segmentId, volumeNode)
    return segment, grid, [planesIn(segmentationNode, segment, name, *grid) for name in PLANES]


def notParallel(segmentationNode, segmentIds, volumeNode) -> str:
    """Returns what to tell of segments that were painted on slices which no slice of a volume is parallel to, "" when
    there are none."""
    names = []
    for segmentId in segmentIds:
        segment, grid, _planes = _planesOf(segmentationNode, segmentId, volumeNode)
        if any(oblique(tag(segment, name), *grid) for name in PLANES):
            names.append(segment.GetName())
    if not names:
        return ""
    return _(
        "The slices on which {names} was painted are not parallel to those of {volume}, and count as incomplete there: "
        "only what is painted is learned from. Move the two together, paint slices anew, or mark slices as complete."
    ).format(names=", ".join(names), volume=volumeNode.GetName())
