"""Watches a segmentation while it is edited, and keeps in its tags on which slices each segment was painted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy
import qt
from slicer.util import VTKObservationMixin
from vtk.util import numpy_support

import slicer

from ..scene import annotations, annotationTags
from ..scene import segmentations as sceneSegmentations
from ..scene import slices as sceneSlices
from ..scene.annotatedSlices import Plane
from ..scene.segmentations import Part

STROKES = ("Paint", "Erase", "Draw", "Level tracing", "Scissors", "Islands")
"""Tools of the Segment Editor that change what the user has touched or chosen and nothing else."""
WHOLE = (
    "Fill between slices",
    "Grow from seeds",
    "Hollow",
    "Islands",
    "Logical operators",
    "Margin",
    "Smoothing",
    "Threshold",
)
"""Tools that work on the whole of a segment: what they change on a single slice makes nobody look through that slice."""


@dataclass
class _Layer:
    """What a label map held when it was looked at last; several segments can share one.

    Attributes:
        image: the label map.
        time: when it was modified last.
        grid: 4 × 4 matrix from its indices.
        part: what it held.
        room: what the part is a view of: as large as the volume, so that nothing is copied where a stroke makes the label
            map larger.
    """

    image: Any
    time: int
    grid: numpy.ndarray
    part: Part
    room: Part


class PaintingRecorder(VTKObservationMixin):
    """Tells strokes on a slice from strokes across slices and from tools that work on the whole of a segment.

    Args:
        toolName: returns the name of the Segment Editor's active tool.
        onChange: called after segments have changed, with whether a slice was painted.
    """

    def __init__(self, toolName: Callable[[], str], onChange: Callable[[bool], None]):
        VTKObservationMixin.__init__(self)
        self._toolName, self._onChange = toolName, onChange
        self._segmentationNode: Any = None
        self._volumeNode: Any = None
        self._layers: dict[str, _Layer] = {}
        self._segments: dict[str, tuple[Any, int, int]] = {}
        self._tool = ""
        self._isPending = self._isPaused = False

    def watch(self, segmentationNode, volumeNode) -> None:
        """Watches another segmentation, or none (None); what is there already is left as it is known."""
        if segmentationNode is self._segmentationNode and volumeNode is self._volumeNode:
            self._lookAgain()
            return
        self.removeObservers()
        self._segmentationNode, self._volumeNode = segmentationNode, volumeNode
        self._remember()
        if segmentationNode is not None and volumeNode is not None:
            segmentation = segmentationNode.GetSegmentation()
            self.addObserver(segmentation, slicer.vtkSegmentation.SourceRepresentationModified, self._modified)

    @contextmanager
    def paused(self, labelmap=None) -> Iterator[None]:
        """Within it, changes are not the user's.

        Args:
            labelmap: nothing changes but where it lies; None: anywhere.
        """
        self.flush()
        self._isPaused = True
        try:
            yield
        finally:
            self._isPaused = False
            self._remember(labelmap)

    @contextmanager
    def describing(self) -> Iterator[None]:
        """Within it, tags are written by others than this object, and voxels stay as they are."""
        self.flush()
        try:
            yield
        finally:
            for segmentId, segment, image in self._present():
                known = self._segments.get(segmentId)
                if known is not None and known[0] is image:
                    self._segments[segmentId] = (image, known[1], annotationTags.revision(segment))

    def flush(self) -> None:
        """Records at once what has changed, if anything has."""
        if not self._isPending:
            return
        self._isPending = False
        if self._segmentationNode is None or not slicer.mrmlScene.IsNodePresent(self._segmentationNode):
            return
        painted = self._record()
        self._onChange(painted)

    def _modified(self, caller, event) -> None:
        if self._isPaused or self._isPending:
            return
        self._isPending, self._tool = True, self._toolName()
        # Tags are set when the editor has finished with the segments.
        qt.QTimer.singleShot(0, self.flush)

    # What has changed --------------------------------------------------------------------------------------------

    def _remember(self, labelmap=None) -> None:
        known, self._layers, self._segments = self._layers, {}, {}
        self._isPending = False
        if self._segmentationNode is None or self._volumeNode is None:
            return
        for segmentId, segment, image in self._present():
            key = _key(image)
            if key not in self._layers:
                self._layers[key] = self._lookedWithin(labelmap, image, known.get(key))
            self._segments[segmentId] = (image, segment.GetLabelValue(), annotationTags.revision(segment))

    def _lookAgain(self) -> None:
        """Remembers segments that were added or undone since: Slicer does not tell that their voxels are others now, and
        the next stroke would be taken for something that nobody has watched."""
        if self._isPending or self._volumeNode is None:
            return
        isUndone, present = False, self._present()
        for segmentId, segment, image in present:
            known, revision = self._segments.get(segmentId), annotationTags.revision(segment)
            layer = self._layers.get(_key(image))
            # Of a transform that is hardened Slicer does not tell either.
            isWhere = layer is not None and _isWhere(layer, image)
            if isWhere and known is not None and known[0] is image and known[2] == revision:
                continue
            if layer is None or not _isUnchanged(layer, image):
                self._layers[_key(image)] = self._looked(image, layer)
            self._segments[segmentId] = (image, segment.GetLabelValue(), revision)
            isUndone |= known is not None
        keys = {_key(image) for _segmentId, _segment, image in present}
        self._layers = {key: layer for key, layer in self._layers.items() if key in keys}
        if isUndone:
            self._onChange(False)

    def _present(self) -> list[tuple[str, Any, Any]]:
        if self._segmentationNode is None:
            return []
        segmentation = self._segmentationNode.GetSegmentation()
        found = []
        for segmentId in segmentation.GetSegmentIDs():
            segment = segmentation.GetSegment(segmentId)
            image = sceneSegmentations.labelmapOf(segment)
            if image is not None:
                found.append((segmentId, segment, image))
        return found

    def _record(self) -> bool:
        painted = False
        differences: dict[tuple[str, str], tuple[Part, Part] | None] = {}
        layers, segments = {}, {}
        present = self._present()
        for segmentId, segment, image in present:
            value, revision = segment.GetLabelValue(), annotationTags.revision(segment)
            before = self._segments.get(segmentId)
            old = None if before is None else self._layers.get(_key(before[0]))
            # An undone step brings its tags back with it; voxels that were brought onto another grid are no painting.
            if before is not None and old is not None and before[2] == revision and _isWhere(old, image):
                pair, held = (_key(before[0]), _key(image)), _held(image)
                if pair[0] != pair[1] or before[1] != value:
                    # In another label map its value can be that which another segment had in this one.
                    found = _difference(_only(old.part, before[1]), _only(held, value))
                else:
                    if pair not in differences:
                        differences[pair] = None if _isUnchanged(old, image) else _difference(old.part, held)
                    found = differences[pair]
                    if found is not None:
                        found = _only(found[0], value), _only(found[1], value)
                if found is not None:
                    was, now = found[0].values, found[1].values
                    if (was ^ now).any():
                        painted |= self._recordSegment(segmentId, segment, image, found[1].start, was, now)
            elif before is None and not revision and self._tool in WHOLE:
                held = _held(image)
                self._recordSegment(segmentId, segment, image, held.start, None, held.values == value)
            segments[segmentId] = (image, value, annotationTags.revision(segment))
        for _segmentId, _segment, image in present:
            key = _key(image)
            if key not in layers:
                layers[key] = self._lookedAgain(image, differences)
        self._layers, self._segments = layers, segments
        return painted

    def _lookedAgain(self, image, differences: dict[tuple[str, str], tuple[Part, Part] | None]) -> _Layer:
        """What a label map holds now; where it is known in what it differs from before, only that is read."""
        key, held = _key(image), _held(image)
        known = self._layers.get(key)
        if known is None or (key, key) not in differences or not _hasRoom(known.room, held):
            return known if known is not None and _isUnchanged(known, image) else self._looked(image, known)
        return _seen(image, held, known.room, differences[key, key])

    def _lookedWithin(self, labelmap, image, known: _Layer | None) -> _Layer:
        """What a label map holds now; where it has changed where another one lies alone, only that is read."""
        if known is not None and _isUnchanged(known, image):
            return known
        held, match = _held(image), slicer.vtkOrientedImageDataResample.DoGeometriesMatch
        isOnGrid = labelmap is not None and match(labelmap, image)
        if known is None or not isOnGrid or not _hasRoom(known.room, held) or not _isWhere(known, image):
            return self._looked(image, known)
        k, j, i = (
            slice(max(a.start, b.start), max(a.start, b.start, min(a.stop, b.stop)))
            for a, b in zip(known.room.slices, _held(labelmap).slices, strict=True)
        )
        return _seen(image, held, known.room, (known.part, Part((k.start, j.start, i.start), held.within((k, j, i)))))

    def _looked(self, image, known: _Layer | None) -> _Layer:
        """What a label map holds, all of it."""
        held = _held(image)
        if known is not None and _hasRoom(known.room, held):
            known.part.values[...] = 0
            return _seen(image, held, known.room, (known.part, held))
        volume = self._volumeNode.GetImageData()
        size = (0, 0, 0) if volume is None else sceneSegmentations.gridShape(self._volumeNode)
        k, j, i = (min(0, part.start) for part in held.slices)
        shape = [max(n, p.stop) - a for n, p, a in zip(size, held.slices, (k, j, i), strict=True)]
        # Memory to which nothing is written costs nothing.
        return _seen(image, held, Part((k, j, i), numpy.zeros(shape, held.values.dtype)), (held, held))

    def _recordSegment(self, segmentId, segment, image, start, was: numpy.ndarray | None, now: numpy.ndarray) -> bool:
        try:
            return self._recordChange(segmentId, segment, image, start, was, now)
        except sceneSegmentations.SceneVolumeError:  # whoever learns from the segment is told why
            return False

    def _recordChange(self, segmentId, segment, image, start, was: numpy.ndarray | None, now: numpy.ndarray) -> bool:
        """Records what a segment was and is; one that a tool has made was nothing (None)."""
        node, volumeNode = self._segmentationNode, self._volumeNode
        toNode = sceneSegmentations.matrixInNode(volumeNode, node)
        shape = sceneSegmentations.gridShape(volumeNode)

        def onGrid(values: numpy.ndarray) -> Part:
            found = sceneSegmentations.cropped(values, start)
            if not found.values.size:
                return annotationTags.NOTHING
            matrix = sceneSegmentations.imageMatrix(image)
            moved = sceneSegmentations.orientedImage(found.values.astype(numpy.uint8), matrix, found.start)
            return sceneSegmentations.imagePart(moved, 1, toNode, shape)

        changed = onGrid(now if was is None else was ^ now)
        if not changed.values.size:
            return False
        plane = None if self._tool in WHOLE else self._planeOf(changed)
        if plane is not None:
            annotations.addPainted(node, segmentId, volumeNode, plane)
            return True
        if was is not None and self._tool in STROKES:
            annotations.addScribbles(node, segmentId, volumeNode, changed)
            return True
        if self._tool in WHOLE or annotations.hasDraft(segment):
            self._addDraft(segmentId, segment, onGrid(now if was is None else now & ~was))
        return False

    def _addDraft(self, segmentId, segment, added: Part) -> None:
        """Records what a tool that works on the whole of a segment, such as Smoothing, has added: nobody has painted it.
        Where nothing was known of the segment, only what was a draft of others is one of it."""
        node, volumeNode = self._segmentationNode, self._volumeNode
        if not annotations.hasDraft(segment) and not annotationTags.tag(segment, annotationTags.PAINTED):
            within = numpy.zeros(added.values.shape, bool)
            for otherId, other, _image in self._present():
                if otherId != segmentId and annotations.hasDraft(other):
                    within |= annotations.read(node, otherId, volumeNode).draft.within(added.slices)
            added = sceneSegmentations.cropped(added.values & within, added.start)
            if not added.values.size:
                return
        own = annotations.read(node, segmentId, volumeNode)
        draft = sceneSegmentations.joined(own.draft, added)
        present = sceneSegmentations.segmentPart(node, segmentId, volumeNode)
        kept = sceneSegmentations.cropped(draft.values & present.within(draft.slices), draft.start)
        annotations.write(node, segmentId, volumeNode, replace(own, draft=kept))

    def _planeOf(self, changed: Part) -> Plane | None:
        """The one slice of the volume on which something has changed; of several, the one that a view shows."""
        flat = [axis for axis in range(3) if changed.values.shape[axis] == 1]
        candidates = [(axis, changed.start[axis]) for axis in flat]
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        shown = sceneSlices.shownPlanes(self._volumeNode)
        usual = annotations.usualAxis(self._volumeNode)
        return min(candidates, key=lambda plane: (plane not in shown, plane[0] != usual))


def _key(image) -> str:
    return image.GetAddressAsString("vtkObject")


def _held(image) -> Part:
    """What a label map holds, as it lies in Slicer's memory."""
    extent = numpy.array(image.GetExtent()).reshape(3, 2)
    scalars = image.GetPointData().GetScalars()
    if scalars is None or (extent[:, 1] < extent[:, 0]).any():
        return Part((0, 0, 0), numpy.zeros((0, 0, 0), numpy.uint8))
    values = numpy_support.vtk_to_numpy(scalars).reshape((extent[:, 1] - extent[:, 0] + 1)[::-1])
    k, j, i = (int(n) for n in extent[::-1, 0])
    return Part((k, j, i), values)


def _seen(image, held: Part, room: Part, changed: tuple[Part, Part] | None) -> _Layer:
    """What a label map holds, once what has changed (as of `_difference`) is brought into the room of what it held."""
    if changed is not None and changed[1].values.size:
        room.within(changed[1].slices)[...] = changed[1].values
    grid = sceneSegmentations.imageMatrix(image)
    return _Layer(image, image.GetMTime(), grid, Part(held.start, room.within(held.slices)), room)


def _hasRoom(room: Part, held: Part) -> bool:
    isInside = all(a.start <= b.start and b.stop <= a.stop for a, b in zip(room.slices, held.slices, strict=True))
    return isInside and room.values.dtype == held.values.dtype


def _isUnchanged(layer: _Layer, image) -> bool:
    return layer.image is image and layer.time == image.GetMTime()


def _isWhere(layer: _Layer, image) -> bool:
    """Tells whether a label map is on the grid of what it held, so that the one can be compared with the other."""
    if not layer.part.values.size or not _held(image).values.size:
        return True
    return sceneSegmentations.isSameGrid(layer.grid, sceneSegmentations.imageMatrix(image))


def _only(part: Part, value: int) -> Part:
    """Where a part has a value."""
    return Part(part.start, part.values == value)


def _difference(before: Part, now: Part) -> tuple[Part, Part] | None:
    """The smallest box in which two label maps differ, of both, as copies; None where they are equal."""
    found = []
    for slab in sceneSegmentations.inSlabs(sceneSegmentations.around([before, now])):
        differs = before.within(slab) != now.within(slab)
        if differs.any():
            found.append(sceneSegmentations.cropped(differs, sceneSegmentations.cornerOf(slab)))
    if not found:
        return None
    box = sceneSegmentations.around(found)
    start = sceneSegmentations.cornerOf(box)
    return Part(start, before.within(box).copy()), Part(start, now.within(box).copy())
