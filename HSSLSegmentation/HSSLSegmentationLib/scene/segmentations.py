"""Segmentation nodes to label maps of a task's classes, and back to segments with names, colours, terminology."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

import slicer

from ..steps import atOnce, slabs
from . import volumes as sceneVolumes
from .volumes import SceneVolumeError

DEFAULT_TERMINOLOGY = "SCT^85756007^Tissue"
"""In the terminology of every segment that is made with *Add*: it tells nothing of what the segment is."""


@dataclass(frozen=True)
class Part:
    """A box of a volume's grid: the voxel (k, j, i) where it starts, and the values in it (0: nothing)."""

    start: tuple[int, int, int]
    values: numpy.ndarray

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Returns the box as an index of an array of the whole grid."""
        a, b = self.start, self.values.shape
        return (slice(a[0], a[0] + b[0]), slice(a[1], a[1] + b[1]), slice(a[2], a[2] + b[2]))

    def on(self, shape: tuple[int, ...]) -> numpy.ndarray:
        """Returns an array of the whole grid."""
        whole = numpy.zeros(shape, self.values.dtype)
        whole[self.slices] = self.values
        return whole

    def within(self, slices: tuple[slice, slice, slice]) -> numpy.ndarray:
        """Returns the values in another box, to be read: a view where it lies inside this one; 0 where this one does not
        reach."""
        shape = [part.stop - part.start for part in slices]
        theirs, mine = [], []
        for part, start, length in zip(slices, self.start, self.values.shape, strict=True):
            low, high = max(part.start, start), min(part.stop, start + length)
            if low >= high:
                return numpy.zeros(shape, self.values.dtype)
            theirs.append(slice(low - part.start, high - part.start))
            mine.append(slice(low - start, high - start))
        inside = self.values[tuple(mine)]
        if list(inside.shape) == shape:
            return inside
        found = numpy.zeros(shape, self.values.dtype)
        found[tuple(theirs)] = inside
        return found

    def clear(self, span: Sequence[tuple[int, int]]) -> None:
        """Takes away what it holds between two slices of each axis (start and stop)."""
        k, j, i = (
            slice(max(0, low - start), max(0, high - start))
            for (low, high), start in zip(span, self.start, strict=True)
        )
        self.values[k, j, i] = 0

    def plane(self, axis: int, index: int) -> numpy.ndarray:
        """Returns what it holds of a slice of the grid, as a view; an empty array where it does not reach."""
        along = numpy.moveaxis(self.values, axis, 0)
        within = index - self.start[axis]
        return along[within] if 0 <= within < len(along) else along[:0]


CACHED_VOXELS = 2**20
"""Of a part that is worked on at once: what is computed in between stays in the processor's cache."""


def inSlabs(box: tuple[slice, slice, slice], voxels: int | None = None) -> Iterator[tuple[slice, slice, slice]]:
    """Yields a box in parts along its first axis, each of at most so many voxels, one slice at least; None:
    `CACHED_VOXELS`, which are worked on quickly."""
    shape = tuple(part.stop - part.start for part in box)
    for part in slabs(shape, voxels or CACHED_VOXELS):
        yield slice(box[0].start + part.start, box[0].start + part.stop), box[1], box[2]


def cornerOf(box: tuple[slice, slice, slice]) -> tuple[int, int, int]:
    """Returns the first voxel of a box: the `start` of a part that fills it."""
    k, j, i = (part.start for part in box)
    return k, j, i


def cropped(values: numpy.ndarray, start: tuple[int, int, int] = (0, 0, 0)) -> Part:
    """Returns the smallest part that holds all values but zeros; an empty one where there are none."""
    filled = Filled(values.shape)
    filled.add(slice(None), values)
    return filled.cropped(values, start)


class Filled:
    """At which indices of each axis there is anything but zeros, told slab by slab.

    Attributes:
        axes: bool, of each axis.

    Args:
        shape: of the whole.
    """

    def __init__(self, shape: Sequence[int]):
        self.axes = [numpy.zeros(n, bool) for n in shape]

    def add(self, along: slice, values: numpy.ndarray) -> None:
        """Takes the values of a slab into account, `along` the first axis."""
        rows = numpy.asarray(values.any(2))
        self.axes[0][along] = rows.any(1)
        self.axes[1] |= rows.any(0)
        self.axes[2] |= values.any((0, 1))

    def cropped(self, values: numpy.ndarray, start: tuple[int, int, int]) -> Part:
        """Returns the smallest part of the whole, which starts at a voxel, that holds all values but zeros."""
        box = []
        for there in map(numpy.flatnonzero, self.axes):
            box.append(slice(int(there[0]), int(there[-1]) + 1) if len(there) else slice(0, 0))
        k, j, i = (int(a + part.start) for a, part in zip(start, box, strict=True))
        return Part((k, j, i), values[tuple(box)])


class PartInSlabs:
    """The values of a box, set slab by slab: what each of its axes holds is looked up on the way, not in one look at all.

    Args:
        box: of a grid.
        dtype: of the values, which are 0 to begin with.

    Example::

        found = PartInSlabs(box)
        for slab, here in found.slabs():
            here[...] = one.within(slab) & other.within(slab)
            yield
        part = found.cropped()
    """

    def __init__(self, box: tuple[slice, slice, slice], dtype: type = bool):
        self._start = cornerOf(box)
        self._box = box
        self._values: numpy.ndarray = numpy.zeros([part.stop - part.start for part in box], dtype)
        self._filled = Filled(self._values.shape)

    def slabs(self) -> Iterator[tuple[tuple[slice, slice, slice], numpy.ndarray]]:
        """Yields the slabs of the box (`inSlabs`), each with its values, to be set before the next one is asked for."""
        for slab in inSlabs(self._box):
            along = slice(slab[0].start - self._start[0], slab[0].stop - self._start[0])
            here = self._values[along]
            yield slab, here
            self._filled.add(along, here)

    def cropped(self) -> Part:
        """Returns what `cropped` does, when all slabs are done."""
        return self._filled.cropped(self._values, self._start)


def equalTo(value: int, labels: Part) -> Generator[None, None, Part]:
    """Returns in steps where a label map has a value."""
    found = PartInSlabs(labels.slices)
    for slab, here in found.slabs():
        numpy.equal(labels.within(slab), value, out=here)
        yield
    return found.cropped()


def around(parts: list[Part]) -> tuple[slice, slice, slice]:
    """Returns the smallest box that holds all parts, as an index of an array; an empty one for none."""
    filled = [part for part in parts if part.values.size]
    if not filled:
        return (slice(0, 0), slice(0, 0), slice(0, 0))
    k, j, i = (
        slice(min(p.slices[axis].start for p in filled), max(p.slices[axis].stop for p in filled)) for axis in range(3)
    )
    return k, j, i


def joined(one: Part, other: Part) -> Part:
    """Returns where one of two parts is, or both."""
    box = around([one, other])
    return Part(cornerOf(box), one.within(box) | other.within(box))


@dataclass(frozen=True)
class SegmentClass:
    """A class as segments know it: `color` is RGB in 0…1, `terminology` Slicer's serialised form."""

    value: int
    name: str
    color: tuple[float, float, float] | None = None
    terminology: str | None = None


def classesOf(
    segmentationNode, known: list[SegmentClass], segmentIds: list[str] | None = None
) -> dict[str, SegmentClass]:
    """Returns a class for each segment id: the known one of that name or terminology, or one with the next free value.

    Slicer's default terminology is no reason to take two structures for the same, nor is one that several classes or segments
    have.

    Args:
        segmentIds: only these segments; None means all.
    """
    segmentation = segmentationNode.GetSegmentation()
    classes: dict[str, SegmentClass] = {}
    nextValue = max([c.value for c in known], default=0) + 1
    asked = list(segmentation.GetSegmentIDs()) if segmentIds is None else segmentIds
    terminologies = Counter(terminologyOf(segmentation.GetSegment(segmentId)) for segmentId in asked)
    for segmentId in asked:
        segment = segmentation.GetSegment(segmentId)
        name, terminology = segment.GetName(), terminologyOf(segment)
        match = next((c for c in known if c.name.casefold() == name.casefold()), None)
        if match is None and isSpecific(terminology) and terminologies[terminology] == 1:
            same = [c for c in known if c.terminology == terminology]
            match = same[0] if len(same) == 1 else None
        if match is None:
            match = SegmentClass(nextValue, name, tuple(segment.GetColor()), terminology or None)
            nextValue += 1
        if match in classes.values():
            raise SceneVolumeError(
                _("{node} has two segments for the class {name}; join or rename one of them.").format(
                    node=segmentationNode.GetName(), name=match.name
                )
            )
        classes[segmentId] = match
    return classes


def writingLabelMap(
    segmentationNode, volumeNode, classes: dict[str, SegmentClass], path: str | Path
) -> Generator[None, None, int]:
    """Writes segments in steps as a label map (NRRD) on the grid that `writtenVolume` gives the volume, as they are when
    the steps begin.

    Args:
        classes: segment id → class.

    Returns:
        The number of voxels that more than one segment claims; the last of them in the list has got them.

    Raises:
        SceneVolumeError: there are no segments, none of them has a voxel on the volume, or one would be lost to others.
    """
    from hssl.files import whole_file

    sceneVolumes.check(volumeNode)
    if not classes:
        raise SceneVolumeError(_("{name} has no segments.").format(name=segmentationNode.GetName()))
    name, matrix, shape = segmentationNode.GetName(), sceneVolumes.worldMatrix(volumeNode), gridShape(volumeNode)
    segmentation, parts = segmentationNode.GetSegmentation(), []
    names = {c.value: segmentation.GetSegment(segmentId).GetName() for segmentId, c in classes.items()}
    for segmentId, segmentClass in classes.items():
        parts.append((segmentClass.value, (yield from readingPart(segmentationNode, segmentId, volumeNode))))
    if not any(part.values.size for _value, part in parts):
        raise SceneVolumeError(
            _("No segment of {segmentation} has a voxel on {volume}.").format(
                segmentation=name, volume=volumeNode.GetName()
            )
        )
    dtype = numpy.dtype(numpy.uint8 if max(value for value, _part in parts) < 256 else numpy.uint16)
    sizes: Counter[int] = Counter()
    taken: Counter[tuple[int, int]] = Counter()

    def labels(slab: slice) -> numpy.ndarray:
        box = (slab, slice(0, shape[1]), slice(0, shape[2]))
        found = numpy.zeros([part.stop - part.start for part in box], dtype)
        for value, part in parts:
            inside = part.within(box)
            covered = found[inside]
            sizes[value] += covered.size
            for other in numpy.flatnonzero(numpy.bincount(covered)[1:]) + 1 if covered.any() else ():
                taken[int(other), value] += int(numpy.count_nonzero(covered == other))
            found[inside] = value
        return found

    with whole_file(path) as temporary:
        slices = map(labels, slabs(shape, sceneVolumes.VOXELS_AT_ONCE))
        yield from sceneVolumes.writtenNrrd(slices, dtype, shape, matrix, temporary, compress=True)
        checkNothingIsLost(name, names, sizes, taken)
    return sum(taken.values())


def checkNothingIsLost(
    segmentation: str, names: dict[int, str], sizes: Counter[int], taken: Counter[tuple[int, int]]
) -> None:
    """Raises SceneVolumeError where the order of overlapping segments leaves too little of one.

    Args:
        segmentation: its name.
        names, sizes: names and numbers of voxels of the segments, by their values.
        taken: how many voxels a segment loses to a later one, by the values of both.
    """
    from hssl.workspace.labels import is_lost, readings_dice

    for (value, later), shared in taken.items():
        dice = readings_dice(sizes[value], sizes[later], shared)
        if dice is not None:
            raise SceneVolumeError(
                _(
                    "{first} and {second} of {segmentation} are mostly the same voxels (Dice {dice:.0f} %), as two readings of "
                    "one structure are: remove one of them, or take from the one what is the other (Logical operators)."
                ).format(first=names[value], second=names[later], segmentation=segmentation, dice=100 * dice)
            )
    lost = {pair: n for pair, n in taken.items() if is_lost(sizes[pair[0]], sizes[pair[1]], n)}
    for value in sizes:
        own = {pair: n for pair, n in taken.items() if pair[0] == value}
        if own and sum(own.values()) == sizes[value]:
            lost |= own
    if lost:
        share = _("{percent:.0f} % of {part} lie in {whole}")
        parts = [
            share.format(percent=100 * n / sizes[value], part=names[value], whole=names[later])
            for (value, later), n in lost.items()
        ]
        raise SceneVolumeError(
            _(
                "Segments of {segmentation} overlap, and of two that do the lower one in the list has the voxel: {parts}, and "
                "would be missing. Move the part below the whole in the list of segments (Segment Editor, "
                "right-click)."
            ).format(segmentation=segmentation, parts=", ".join(parts))
        )


ALIGNED = 1e-3
"""Voxels by which two grids may be apart and still be the same."""
UNMOVED = 1e-4
"""Largest difference of two matrices, in voxels, of one grid that has not moved; rounding is far less."""


class SegmentWriter:
    """Writes label maps into segmentations through Slicer's editor logic: masks, overwrite mode and undo hold."""

    def __init__(self):
        self._editor = None
        self._editorNode = None

    def write(
        self,
        labels: numpy.ndarray,
        classes: list[SegmentClass],
        volumeNode,
        segmentationNode,
        into: list[str] | None = None,
    ) -> list[str]:
        """Writes each class into the segment of that name or terminology, which is added when there is none.

        Args: as for `writing`.
        """
        return atOnce(self.writing(labels, classes, volumeNode, segmentationNode, into))

    def writing(
        self,
        labels: numpy.ndarray,
        classes: list[SegmentClass],
        volumeNode,
        segmentationNode,
        into: list[str] | None = None,
        wantedOf: Callable[[int, Part, Part, bool], Generator[None, None, Part]] | None = None,
    ) -> Generator[None, None, list[str]]:
        """Writes each class into the segment of that name or terminology, which is added when there is none, in steps.

        Args:
            labels: label map on the volume's grid, in k, j, i order.
            classes: what its values mean; a class without a voxel gets an empty segment.
            into: ids of the segments to write into instead, in the order of `classes`.
            wantedOf: returns in steps where a segment is to be, by its value, the label map, where it is now, and whether
                segments may overlap; None: where the label map has its value.

        Returns:
            The ids of the segments, in the order of `classes`.

        Raises:
            SceneVolumeError: the segmentation is under another transform than the volume, or holds no label maps.
        """
        checkWritable(segmentationNode, volumeNode)
        if segmentationNode.GetSegmentation().GetNumberOfSegments() == 0:
            segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        editor = self._editorFor(segmentationNode, volumeNode)
        if editor is not None:
            editor.SaveStateForUndo()
        present = into if into is not None else segmentsOfClasses(classes, segmentationNode)
        segmentIds = [i or addSegment(c, segmentationNode) for c, i in zip(classes, present, strict=True)]
        with surfacesAtTheEnd(segmentationNode):
            for segmentClass, segmentId in zip(classes, segmentIds, strict=True):
                found = Part((0, 0, 0), labels)
                if wantedOf is None:
                    wanted = yield from equalTo(segmentClass.value, found)
                else:
                    there = yield from readingPart(segmentationNode, segmentId, volumeNode)
                    wanted = yield from wantedOf(segmentClass.value, found, there, self._isOverlapAllowed())
                requireInScene(segmentationNode)
                if editor is None:
                    whole = wanted.on(labels.shape).astype(numpy.uint8)
                    slicer.util.updateSegmentBinaryLabelmapFromArray(whole, segmentationNode, segmentId, volumeNode)
                    continue
                editor.SetCurrentSegmentID(segmentId)
                reference = editor.GetReferenceGeometryImage()

                def modify(labelmap, isAdded, segmentId=segmentId, reference=reference) -> None:
                    requireInScene(segmentationNode)
                    mode = editor.ModificationModeAdd if isAdded else editor.ModificationModeRemove
                    editor.ModifySegmentByLabelmap(
                        segmentationNode, segmentId, onReferenceGrid(labelmap, reference), mode, True, False
                    )

                yield from changing(segmentationNode, segmentId, volumeNode, wanted, modify)
        return segmentIds

    def _isOverlapAllowed(self) -> bool:
        node = self._editorNode
        return node is None or node.GetOverwriteMode() == node.OverwriteNone

    def canUndo(self) -> bool:
        """Tells whether the last writing can be undone."""
        return self._editor is not None and self._editor.CanUndo()

    def undo(self) -> None:
        """Takes the last writing back."""
        if self.canUndo():
            self._editor.Undo()

    def release(self) -> None:
        """Lets go of all nodes; what was written stays, and can no longer be undone. Never to be called inside an event of the
        scene: see `sceneCloses`."""
        editorNode = self._editorNode
        self.sceneCloses()
        if editorNode is not None:
            slicer.mrmlScene.RemoveNode(editorNode)

    def sceneCloses(self) -> None:
        """Lets go of all nodes, its own one included, which the scene is about to remove."""
        if self._editor is not None:
            self._editor.SetSegmentationNode(None)
            self._editor.SetSourceVolumeNode(None)
            self._editor.SetSegmentEditorNode(None)
        self._editor = self._editorNode = None

    def _editorFor(self, segmentationNode, volumeNode):
        self.release()
        if not hasattr(slicer, "vtkSlicerSegmentEditorLogic"):
            return None
        self._editorNode = editorNode = slicer.vtkMRMLSegmentEditorNode()
        editorNode.SetName("HSSL")
        editorNode.SetHideFromEditors(True)
        editorNode.SetSaveWithScene(False)
        slicer.mrmlScene.AddNode(editorNode)
        theirs = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if theirs is not None and theirs.GetSegmentationNode() is segmentationNode:
            editorNode.SetMaskMode(theirs.GetMaskMode())
            editorNode.SetMaskSegmentID(theirs.GetMaskSegmentID())
            editorNode.SetOverwriteMode(theirs.GetOverwriteMode())
            editorNode.SetSourceVolumeIntensityMask(theirs.GetSourceVolumeIntensityMask())
            editorNode.SetSourceVolumeIntensityMaskRange(*theirs.GetSourceVolumeIntensityMaskRange())
        else:
            # Nobody has said that a result may take voxels away from segments that are there already.
            editorNode.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
        self._editor = editor = slicer.vtkSlicerSegmentEditorLogic()
        editor.SetMRMLScene(slicer.mrmlScene)
        editor.SetSegmentEditorNode(editorNode)
        editor.SetSegmentationNode(segmentationNode)
        editor.SetSourceVolumeNode(volumeNode)
        editor.UpdateReferenceGeometryImage()
        return editor


def changing(
    segmentationNode,
    segmentId: str,
    volumeNode,
    wanted: Part,
    modify: Callable[[object, bool], None],
    protected: Sequence[Part] = (),
) -> Iterator[None]:
    """Makes a segment in steps what is wanted inside the volume; beyond the volume it stays as it is.

    Args:
        wanted: bool, where it is to be; nowhere else in the volume.
        modify: called with labelmaps for the Segment Editor, and whether they are added to the segment or removed from
            it; none so large that the window would be blocked by it.
        protected: bool, where nothing is added.
    """
    present = yield from readingPart(segmentationNode, segmentId, volumeNode)
    toNode = matrixInNode(volumeNode, segmentationNode)
    for slab in inSlabs(around([present, wanted]), sceneVolumes.VOXELS_AT_ONCE):
        here, there = present.within(slab), wanted.within(slab)
        added = there & ~here
        for part in protected:
            added &= ~part.within(slab)
        for change, isAdded in ((here & ~there, False), (added, True)):
            found = cropped(change, cornerOf(slab))
            if found.values.size:
                modify(orientedImage(found.values.astype(numpy.uint8), toNode, found.start), isAdded)
                yield


def requireInScene(segmentationNode) -> None:
    """Raises SceneVolumeError when the segmentation is no longer in the scene: nothing must be written into it then."""
    sceneVolumes.requireInScene(
        segmentationNode, _("The segmentation was removed from the scene meanwhile; the result is discarded.")
    )


def reasonNotWritable(segmentationNode, volumeNode) -> str:
    """Returns why no result of a volume can be written into a segmentation, or "": it is under another transform, or its
    segments are surfaces or contours, which were imported, and what Slicer makes of them goes when it is written into."""
    segmentation = segmentationNode.GetSegmentation()
    source = segmentation.GetSourceRepresentationName()
    isLabelMap = source == slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if isLabelMap or not segmentation.GetNumberOfSegments():
        try:
            matrixInNode(volumeNode, segmentationNode)
        except SceneVolumeError as error:
            return str(error)
        return ""
    return _(
        "The segments of {segmentation} are no label maps ({source}): choose a new segmentation, or make the "
        "representation Binary labelmap its source (module Segmentations, Representations)."
    ).format(segmentation=segmentationNode.GetName(), source=source)


def checkWritable(segmentationNode, volumeNode) -> None:
    """Raises SceneVolumeError with the reason when no result of a volume can be written into a segmentation."""
    reason = reasonNotWritable(segmentationNode, volumeNode)
    if reason:
        raise SceneVolumeError(reason)


def newSegmentation(name: str, volumeNode):
    """Adds a segmentation node with the volume's reference geometry, under the volume's transform; returns it."""
    segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    # The transform first: the reference geometry is expressed below it.
    segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    segmentationNode.CreateDefaultDisplayNodes()
    return segmentationNode


def matrixInNode(volumeNode, segmentationNode) -> numpy.ndarray:
    """Returns the 4×4 matrix from the volume's voxel indices to the coordinates of the segmentation's segments.

    Raises:
        SceneVolumeError: the segmentation is under another transform than the volume.
    """
    if segmentationNode.GetTransformNodeID() == volumeNode.GetTransformNodeID():
        return sceneVolumes.localMatrix(volumeNode)
    if segmentationNode.GetParentTransformNode() is None:
        return sceneVolumes.worldMatrix(volumeNode)
    raise SceneVolumeError(
        _("{segmentation} is under another transform than {volume}; choose another segmentation.").format(
            segmentation=segmentationNode.GetName(), volume=volumeNode.GetName()
        )
    )


def terminologyOf(segment) -> str:
    """Returns the segment's terminology in its serialised form, "" when it has none."""
    if hasattr(segment, "GetTerminology"):
        return segment.GetTerminology() or ""
    value = vtk.mutable("")
    return str(value) if segment.GetTag(segment.GetTerminologyEntryTagName(), value) else ""


def setTerminology(segment, terminology: str) -> None:
    """Gives the segment a terminology in its serialised form."""
    if hasattr(segment, "SetTerminology"):
        segment.SetTerminology(terminology)
    else:
        segment.SetTag(segment.GetTerminologyEntryTagName(), terminology)


def isSpecific(terminology: str | None) -> bool:
    """Tells whether a terminology says what a segment is: there is one, and not the default of every new segment."""
    return bool(terminology) and DEFAULT_TERMINOLOGY not in str(terminology)


def segmentsOfClasses(classes: Sequence[SegmentClass], segmentationNode) -> list[str]:
    """Returns the id of each class's segment, "" where it has none: that with the class's name, or else the only one with its
    specific terminology, where no other class has that one. No two classes have one segment."""
    segmentation = segmentationNode.GetSegmentation()
    segmentIds = list(segmentation.GetSegmentIDs())
    names: dict[str, str] = {}
    for segmentId in segmentIds:
        names.setdefault(segmentation.GetSegment(segmentId).GetName().casefold(), segmentId)
    found = [names.get(c.name.casefold(), "") for c in classes]
    terminologies = [c.terminology for c in classes]
    for number, terminology in enumerate(terminologies):
        if not found[number] and isSpecific(terminology) and terminologies.count(terminology) == 1:
            same = [i for i in segmentIds if terminologyOf(segmentation.GetSegment(i)) == terminology]
            if len(same) == 1 and same[0] not in found:
                found[number] = same[0]
    return found


def addSegment(segmentClass: SegmentClass, segmentationNode) -> str:
    """Adds an empty segment with the class's name, colour and terminology; returns its id."""
    segmentation = segmentationNode.GetSegmentation()
    if segmentClass.color is not None:
        segmentId = segmentation.AddEmptySegment("", segmentClass.name, segmentClass.color)
    else:
        segmentId = segmentation.AddEmptySegment("", segmentClass.name)
    if segmentClass.terminology:
        setTerminology(segmentation.GetSegment(segmentId), segmentClass.terminology)
    return segmentId


def addSegments(labels: numpy.ndarray, classes: Sequence[SegmentClass], volumeNode, segmentationNode) -> None:
    """Adds a segment for each class to a new segmentation at once: all share one label map, as segments of an editor do.

    Args:
        labels: label map of whole numbers up to 65535 on the volume's grid, in k, j, i order.
        classes: what its values mean; a class without a voxel gets an empty segment.
    """
    # By all values, not by those of the classes alone: what is none of them must not become one.
    highest = max(int(labels.max(initial=0)), *(c.value for c in classes), 0)
    part = cropped(labels.astype(numpy.uint8 if highest < 256 else numpy.uint16))
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = orientedImage(part.values, matrixInNode(volumeNode, segmentationNode), part.start)
    for segmentClass in classes:
        segment = segmentationNode.GetSegmentation().GetSegment(addSegment(segmentClass, segmentationNode))
        if part.values.size:
            segment.SetLabelValue(segmentClass.value)
            segment.AddRepresentation(name, image)


def segmentOnGrid(segmentationNode, segmentId: str, volumeNode) -> numpy.ndarray:
    """Returns where the segment is, as a boolean array (k, j, i) on the volume's grid; see `segmentPart`."""
    return segmentPart(segmentationNode, segmentId, volumeNode).on(gridShape(volumeNode))


def gridShape(volumeNode) -> tuple[int, int, int]:
    """Returns the size of the volume's grid (k, j, i)."""
    i, j, k = volumeNode.GetImageData().GetDimensions()
    return k, j, i


def segmentOf(segmentationNode, segmentId: str):
    """Returns a segment.

    Raises:
        SceneVolumeError: it is no longer there.
    """
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    if segment is None:
        raise SceneVolumeError(
            _("A segment of {node} was removed meanwhile; start again.").format(node=segmentationNode.GetName())
        )
    return segment


def segmentPart(segmentationNode, segmentId: str, volumeNode) -> Part:
    """Returns where the segment is on the volume's grid, as the smallest box of booleans.

    A segment on the volume's own grid is read as it lies in memory; one on another grid is resampled, within its box.

    Raises:
        SceneVolumeError: the segmentation is under another transform than the volume, or cannot be brought onto it; or
            the segment is no longer there.
    """
    return atOnce(readingPart(segmentationNode, segmentId, volumeNode))


def readingPart(segmentationNode, segmentId: str, volumeNode) -> Generator[None, None, Part]:
    """Does what `segmentPart` does in steps, and again where the segment has changed meanwhile."""
    while True:
        segment = segmentOf(segmentationNode, segmentId)
        image = labelmapOf(segment)
        if image is None:
            return cropped(_converted(segmentationNode, segmentId, volumeNode))
        time, matrix = image.GetMTime(), matrixInNode(volumeNode, segmentationNode)
        found = yield from readingImage(image, segment.GetLabelValue(), matrix, gridShape(volumeNode))
        present = segmentationNode.GetSegmentation().GetSegment(segmentId)
        if present is segment and labelmapOf(segment) is image and image.GetMTime() == time:
            return found


def labelmapOf(segment):
    """Returns the oriented image that holds a segment, perhaps among others; None when it has none."""
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    return segment.GetRepresentation(name)


def imagePart(image, value: int, volumeToNode: numpy.ndarray, shape: tuple[int, int, int]) -> Part:
    """Returns where an oriented image has a value, on a grid.

    Args:
        volumeToNode: 4 × 4 matrix from the grid's indices (i, j, k) to the image's coordinates.
        shape: of the grid (k, j, i).
    """
    return atOnce(readingImage(image, value, volumeToNode, shape))


def readingImage(
    image, value: int, volumeToNode: numpy.ndarray, shape: tuple[int, int, int]
) -> Generator[None, None, Part]:
    nothing = Part((0, 0, 0), numpy.zeros((0, 0, 0), bool))
    extent = numpy.array(image.GetExtent()).reshape(3, 2)
    if image.GetPointData().GetScalars() is None or (extent[:, 1] < extent[:, 0]).any():
        return nothing
    toGrid = numpy.linalg.inv(volumeToNode) @ imageMatrix(image)
    offset = numpy.round(toGrid[:3, 3])
    if numpy.abs(toGrid - numpy.eye(4))[:3, :3].max() > ALIGNED or numpy.abs(toGrid[:3, 3] - offset).max() > ALIGNED:
        corners = numpy.array([[i, j, k, 1] for i in extent[0] for j in extent[1] for k in extent[2]]).T
        reached = (toGrid @ corners)[:3]
        low = numpy.clip(numpy.floor(reached.min(1)).astype(int) - 1, 0, None)
        high = numpy.minimum(numpy.ceil(reached.max(1)).astype(int) + 1, numpy.array(shape[::-1]) - 1)
        if (high < low).any():
            return nothing
        reference = _emptyImage(volumeToNode, low, high)
        resampled = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            image, reference, resampled, False
        )
        return (yield from readingImage(resampled, value, volumeToNode, shape))
    array = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(
        (extent[:, 1] - extent[:, 0] + 1)[::-1]
    )
    start = [int(n) for n in (extent[:, 0] + offset)[::-1]]
    box = []
    for a, length, size in zip(start, array.shape, shape, strict=True):
        low = max(0, a)
        box.append(slice(low, max(low, min(a + length, size))))
    k, j, i = box
    inside = PartInSlabs((k, j, i))
    held = Part((start[0], start[1], start[2]), array)
    for slab, here in inside.slabs():
        numpy.equal(held.within(slab), value, out=here)
        yield
    return inside.cropped()


def _converted(segmentationNode, segmentId: str, volumeNode) -> numpy.ndarray:
    """Where a segment that has no label map, but a surface, is on the volume's grid."""
    labelNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "HSSL export")
    try:
        segmentIds = vtk.vtkStringArray()
        segmentIds.InsertNextValue(segmentId)
        exported = slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode(
            segmentationNode, segmentIds, labelNode, volumeNode
        )
        if not exported:
            raise SceneVolumeError(
                _("The segment {segment} of {node} cannot be brought onto the grid of {volume}.").format(
                    segment=segmentationNode.GetSegmentation().GetSegment(segmentId).GetName(),
                    node=segmentationNode.GetName(),
                    volume=volumeNode.GetName(),
                )
            )
        return slicer.util.arrayFromVolume(labelNode) != 0
    finally:
        for node in (labelNode.GetDisplayNode(), labelNode):
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)


def imageMatrix(image) -> numpy.ndarray:
    """Returns the 4 × 4 matrix from an oriented image's indices (i, j, k) to its coordinates."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def gridOfImage(image) -> tuple[numpy.ndarray, tuple[int, int, int]]:
    """Returns the grid that an oriented image holds: the 4 × 4 matrix from the indices (i, j, k) counted from its first
    voxel, and its shape (k, j, i)."""
    extent = numpy.array(image.GetExtent()).reshape(3, 2)
    toFirst = numpy.eye(4)
    toFirst[:3, 3] = extent[:, 0]
    i, j, k = (max(0, int(n)) for n in extent[:, 1] - extent[:, 0] + 1)
    return imageMatrix(image) @ toFirst, (k, j, i)


def isSameGrid(one: numpy.ndarray, other: numpy.ndarray) -> bool:
    """Tells whether two 4 × 4 matrices from indices (i, j, k) are those of one grid that has not moved."""
    return bool(numpy.abs(numpy.linalg.inv(one) @ other - numpy.eye(4)).max() < UNMOVED)


def movedImage(image, move: numpy.ndarray):
    """Returns an oriented image with the voxels of another one, moved by a 4 × 4 matrix."""
    found = slicer.vtkOrientedImageData()
    found.ShallowCopy(image)
    found.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(move @ imageMatrix(image)))
    return found


def geometryOf(image):
    """Returns an oriented image without voxels where another one lies; None for None."""
    if image is None:
        return None
    found = slicer.vtkOrientedImageData()
    found.SetExtent(image.GetExtent())
    found.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(imageMatrix(image)))
    return found


def _emptyImage(ijkToNode: numpy.ndarray, low: numpy.ndarray, high: numpy.ndarray):
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*(int(n) for pair in zip(low, high, strict=True) for n in pair))
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijkToNode))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    return image


def isCompleted(segment) -> bool:
    """Tells whether the segment's status is *Completed*."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    return logic.GetSegmentStatus(segment) == logic.Completed


def finishedSegments(segmentationNode) -> list[str]:
    """Returns the ids of the segments that are hidden, or whose status is *Completed*: nobody works on them."""
    under = segmentsUnderWork(segmentationNode)
    return [i for i in segmentationNode.GetSegmentation().GetSegmentIDs() if i not in under]


def segmentsUnderWork(segmentationNode) -> list[str]:
    """Returns the ids of the other segments, which are learned from."""
    segmentation = segmentationNode.GetSegmentation()
    return [i for i in visibleSegments(segmentationNode) if not isCompleted(segmentation.GetSegment(i))]


def visibleSegments(segmentationNode) -> list[str]:
    """Returns the ids of the segments that are shown."""
    display = segmentationNode.GetDisplayNode()
    segmentIds = segmentationNode.GetSegmentation().GetSegmentIDs()
    return [i for i in segmentIds if display is None or display.GetSegmentVisibility(i)]


def isShownIn3D(segmentationNode) -> bool:
    """Tells whether the segments' surfaces are there and shown."""
    display = segmentationNode.GetDisplayNode()
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    return (
        display is not None
        and bool(display.GetVisibility3D())
        and segmentationNode.GetSegmentation().ContainsRepresentation(surface)
    )


@contextmanager
def surfacesAtTheEnd(segmentationNode) -> Iterator[None]:
    """Within it segments have no surfaces, which Slicer would make anew at each change; at the end they have theirs again.
    Surfaces of which nothing else is known stay."""
    segmentation, converter = segmentationNode.GetSegmentation(), slicer.vtkSegmentationConverter
    surface = converter.GetSegmentationClosedSurfaceRepresentationName()
    hadSurfaces = segmentation.ContainsRepresentation(surface) and segmentation.GetSourceRepresentationName() != surface
    if hadSurfaces:
        segmentationNode.RemoveClosedSurfaceRepresentation()
    try:
        yield
    finally:
        if hadSurfaces and slicer.mrmlScene.IsNodePresent(segmentationNode):
            segmentationNode.CreateClosedSurfaceRepresentation()


def asClass(segmentationNode, segmentId: str, value: int) -> SegmentClass:
    """Returns the segment as a class with that value."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    return SegmentClass(value, segment.GetName(), tuple(segment.GetColor()), terminologyOf(segment) or None)


def onReferenceGrid(labelmap, reference):
    """Returns a labelmap on the grid of the segmentation's reference geometry, where masks are applied.

    Args:
        labelmap: of `orientedImage`.
        reference: the Segment Editor's reference geometry image.
    """
    resample = slicer.vtkOrientedImageDataResample
    if reference is None or resample.DoGeometriesMatch(labelmap, reference):
        return labelmap
    resampled = slicer.vtkOrientedImageData()
    resample.ResampleOrientedImageToReferenceOrientedImage(labelmap, reference, resampled, False)
    return resampled


def orientedImage(inside: numpy.ndarray, ijkToNode: numpy.ndarray, start: tuple[int, int, int] = (0, 0, 0)):
    """Returns an array of labels (k, j, i) as the labelmap that the Segment Editor modifies segments by.

    Args:
        ijkToNode: of the whole grid.
        start: the voxel (k, j, i) of the grid where the array starts.
    """
    image = slicer.vtkOrientedImageData()
    extent = [n for a, length in zip(start[::-1], inside.shape[::-1], strict=True) for n in (a, a + length - 1)]
    image.SetExtent(*extent)
    kind = vtk.VTK_UNSIGNED_CHAR if inside.dtype.itemsize == 1 else vtk.VTK_UNSIGNED_SHORT
    scalars = numpy_support.numpy_to_vtk(numpy.ascontiguousarray(inside).ravel(), deep=True, array_type=kind)
    image.GetPointData().SetScalars(scalars)
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijkToNode))
    return image
