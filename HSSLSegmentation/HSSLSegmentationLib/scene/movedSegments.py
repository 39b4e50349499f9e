"""Segments that have moved in their node, or were brought onto another grid there: what is known of them is brought along.

Slicer moves the voxels when a transform is hardened, and says nothing of it to what tags tell.
"""

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy
from slicer.i18n import tr as _

import slicer

from ..steps import atOnce
from . import segmentations as sceneSegmentations
from .annotationTags import (
    DRAFT,
    FORGOTTEN,
    NOTHING,
    PAINTED,
    PLACE,
    PLANES,
    SCRIBBLES,
    SegmentAnnotation,
    decoded,
    encoded,
    planeText,
    readingOn,
    setTags,
    slicesOf,
    tag,
    undamaged,
    unrecorded,
    writingText,
)
from .segmentations import Part, PartInSlabs

FITS = 0.9
"""Share of a segment's voxels that must be as its tags tell, on one of two grids, for the tags to be believed there."""
FITS_WITHIN = 0.99
"""The same where the grid is the one that it was, and only its extent another: nothing was resampled, or all deformed."""


@dataclass(frozen=True)
class _Place:
    """Where a segment was when its tags were written, in the coordinates of its node.

    Attributes:
        grid: 4 × 4 matrix from the indices (i, j, k) of the segmentation's reference geometry, or of the segment's label
            map where there is none. A linear transform that is hardened moves it, a geometry that is given anew changes it.
        extent: of the reference geometry, all that a non-linear transform that is hardened changes of it; empty where
            there is none.
        volume: 4 × 4 matrix from the indices (i, j, k) of the volume that was painted on.
        shape: of that volume (k, j, i).
    """

    grid: numpy.ndarray
    extent: tuple[int, ...]
    volume: numpy.ndarray
    shape: tuple[int, int, int]

    def text(self) -> str:
        found = {"grid": self.grid.tolist(), "extent": self.extent, "volume": self.volume.tolist(), "shape": self.shape}
        return encoded(found)


@dataclass(frozen=True)
class _Held:
    """Where a segment's voxels are on a grid.

    Attributes:
        part: where they are.
        inside: how many voxels of its label map are within the grid, and of how many.
    """

    part: Part
    inside: tuple[int, int]


@dataclass(frozen=True)
class _Moved:
    """A segment whose segmentation has another geometry than when the segment's tags were written.

    Attributes:
        segment: the segment.
        was: where it was then.
        now: where it is, if its voxels were moved with their grid.
        own: what its tags tell on the grid of the volume that was painted on.
        stayed: its voxels on that grid, if they stayed where they were.
        carried: its voxels on it, if they were moved: where they were before.
    """

    segment: Any
    was: _Place
    now: _Place
    own: SegmentAnnotation
    stayed: _Held
    carried: _Held


def bringAlong(segmentationNode) -> None:
    """Brings what is known of segments to where they are now, if they have moved in their node.

    Nothing tells a transform that was hardened from a geometry that was given anew, such as another volume's, but the
    voxels: they are as the tags tell either where the tags say, or where those come to lie with the grid. Where they are
    as told on neither, they were deformed, and what was painted is no longer known. As long as nothing has moved, no
    voxel is looked at.
    """
    moved = _allMoved(segmentationNode)
    if not moved:
        return
    isElsewhere = any(not sceneSegmentations.isSameGrid(m.was.grid, m.now.grid) for m in moved)
    least = FITS if isElsewhere else FITS_WITHIN
    stay, carry = _fit([(m.own, m.stayed) for m in moved]), _fit([(m.own, m.carried) for m in moved])
    becomes = _carried if carry > stay else _stayed
    if max(stay, carry) < least:
        becomes = _forgotten
    for segment in moved:
        setTags(segment.segment, becomes(segment))
    if becomes is _forgotten:
        logging.warning("HSSL: %s", forgotten(segmentationNode, segmentationNode.GetSegmentation().GetSegmentIDs()))


def forgotten(segmentationNode, segmentIds) -> str:
    """Returns what to tell of segments of which it is no longer known what was painted, "" when there are none; until
    they are learned from."""
    names: dict[str, list[str]] = {}
    for segmentId in segmentIds:
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        what = "" if segment is None else tag(segment, FORGOTTEN)
        if what:
            names.setdefault(what, []).append(segment.GetName())
    return "\n".join(_forgottenText(what, own) for what, own in names.items())


def placeText(segmentationNode, segment, volumeNode) -> str:
    """Returns where a segment is that was painted on a volume, for a tag; "" when it is nowhere yet."""
    grid = _gridOf(segmentationNode, segment)
    if grid is None:
        return ""
    toNode = sceneSegmentations.matrixInNode(volumeNode, segmentationNode)
    return _Place(*grid, toNode, sceneSegmentations.gridShape(volumeNode)).text()


def movedFrom(segmentationNode, segment) -> _Place | None:
    """Returns where a segment was when its tags were written, None when it is still there."""
    text = tag(segment, PLACE)
    grid = _gridOf(segmentationNode, segment) if text else None
    if grid is None:
        return None
    with undamaged(segmentationNode, segment, PLACE):
        was = _placeFrom(text)
    return None if sceneSegmentations.isSameGrid(was.grid, grid[0]) and was.extent == grid[1] else was


def _forgottenText(what: str, names: list[str]) -> str:
    if what == DRAFT:
        text = _(
            "Since the segmentation was moved or deformed, it is no longer known what was painted of {names}: all of it is "
            "a draft now. Correct a slice of it, or mark a slice as complete."
        )
    else:
        text = _(
            "Since the segmentation was moved or deformed, it is no longer known on which slices {names} was painted: "
            "they are found anew from its voxels. Look through the complete slices, and switch off those that are not."
        )
    return text.format(names=", ".join(names))


@lru_cache(maxsize=1000)
def _placeFrom(text: str) -> _Place:
    found = decoded(text)
    k, j, i = found["shape"]
    return _Place(numpy.array(found["grid"]), tuple(found["extent"]), numpy.array(found["volume"]), (k, j, i))


def _gridOf(segmentationNode, segment) -> tuple[numpy.ndarray, tuple[int, ...]] | None:
    converter = slicer.vtkSegmentationConverter
    text = segmentationNode.GetSegmentation().GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    geometry = slicer.vtkOrientedImageData()
    if text and converter.DeserializeImageGeometry(text, geometry, False):
        return sceneSegmentations.imageMatrix(geometry), tuple(geometry.GetExtent())
    image = sceneSegmentations.labelmapOf(segment)
    isThere = image is not None and 0 not in sceneSegmentations.gridOfImage(image)[1]
    return (sceneSegmentations.imageMatrix(image), ()) if isThere else None


def _allMoved(segmentationNode) -> list[_Moved]:
    segmentation, found = segmentationNode.GetSegmentation(), []
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        was, grid = movedFrom(segmentationNode, segment), _gridOf(segmentationNode, segment)
        if was is None or grid is None:
            continue
        move = grid[0] @ numpy.linalg.inv(was.grid)
        own = atOnce(readingOn(segmentationNode, segment, was.volume, was.shape))
        stayed, carried = (
            _heldOn(segment, how, was.volume, was.shape) for how in (numpy.eye(4), numpy.linalg.inv(move))
        )
        now = _Place(*grid, move @ was.volume, was.shape)
        found.append(_Moved(segment, was, now, own, stayed, carried))
    return found


def _fit(found: list[tuple[SegmentAnnotation, _Held]]) -> float:
    """The share of segments' voxels that are as their tags tell, in one of two places; what a place leaves outside of the
    volume speaks against it."""
    right, total, inside, count = numpy.sum([(*_asTold(own, there.part), *there.inside) for own, there in found], 0)
    return float(right / max(1, total) * inside / max(1, count))


def _asTold(own: SegmentAnnotation, there: Part) -> tuple[int, int]:
    """Of the voxels that a segment or its draft has, how many are as its tags tell, and how many there are."""
    recorded, right, total = own.painted | own.marked | own.off, 0, 0
    for slab in sceneSegmentations.inSlabs(sceneSegmentations.around([there, own.draft])):
        voxels = int(numpy.count_nonzero(there.within(slab) | own.draft.within(slab)))
        right += voxels - int(numpy.count_nonzero(unrecorded(own, there, recorded, slab)))
        total += voxels
    return right, total


def _heldOn(segment, move: numpy.ndarray, toNode: numpy.ndarray, shape: tuple[int, int, int]) -> _Held:
    """Where a segment would be on a grid if it were moved."""
    image, value = sceneSegmentations.labelmapOf(segment), segment.GetLabelValue()
    if image is None:
        return _Held(NOTHING, (0, 0))
    image = sceneSegmentations.movedImage(image, move)
    grid, size = sceneSegmentations.gridOfImage(image)
    own, toGrid = sceneSegmentations.imagePart(image, value, grid, size), numpy.linalg.inv(toNode) @ grid
    inside = count = 0
    for slab in sceneSegmentations.inSlabs(own.slices):
        voxels = numpy.argwhere(own.within(slab)) + sceneSegmentations.cornerOf(slab)
        at = voxels[:, ::-1] @ toGrid[:3, :3].T + toGrid[:3, 3]
        isInside = ((at >= -0.5) & (at <= numpy.array(shape[::-1]) - 0.5)).all(1)
        inside += int(numpy.count_nonzero(isInside))
        count += len(voxels)
    return _Held(sceneSegmentations.imagePart(image, value, toNode, shape), (inside, count))


def _carried(moved: _Moved) -> dict[str, str]:
    """Tags of a segment whose voxels have moved with their grid."""
    move = moved.now.volume @ numpy.linalg.inv(moved.was.volume)
    texts = {name: _movedPlanes(tag(moved.segment, name), move) for name in PLANES}
    texts |= {name: _movedPart(tag(moved.segment, name), move) for name in (DRAFT, SCRIBBLES)}
    return {**texts, PLACE: moved.now.text()}


def _stayed(moved: _Moved) -> dict[str, str]:
    """Tags of a segment whose voxels stayed where they were, on another grid perhaps: what its edges lose or gain by that
    nobody has painted."""
    own, there = moved.own, moved.stayed.part
    texts = {PLACE: replace(moved.now, volume=moved.was.volume).text()}
    right, total = _asTold(own, there)
    if own.draft.values.size and right < total:
        recorded = own.painted | own.marked | own.off
        draft = PartInSlabs(sceneSegmentations.around([there, own.draft]))
        for slab, here in draft.slabs():
            numpy.logical_xor(own.draft.within(slab), unrecorded(own, there, recorded, slab), out=here)
        texts[DRAFT] = atOnce(writingText(draft.cropped(), moved.was.volume))
    return texts


def _forgotten(moved: _Moved) -> dict[str, str]:
    """Tags of a segment of which nothing is known any more; where some of it was a draft, nobody has painted all."""
    texts = dict.fromkeys((*PLANES, DRAFT, SCRIBBLES, PLACE), "")
    image = sceneSegmentations.labelmapOf(moved.segment)
    if not moved.own.draft.values.size or image is None:
        return {**texts, FORGOTTEN: PAINTED}
    grid, shape = sceneSegmentations.gridOfImage(image)
    there = sceneSegmentations.imagePart(image, moved.segment.GetLabelValue(), grid, shape)
    place = replace(moved.now, volume=grid, shape=shape)
    return {**texts, DRAFT: atOnce(writingText(there, grid)), PLACE: place.text(), FORGOTTEN: DRAFT}


def _movedPlanes(text: str, move: numpy.ndarray) -> str:
    texts = []
    for _entry, normal, distance in slicesOf(text):
        turned = normal @ numpy.linalg.inv(move[:3, :3])
        length = numpy.linalg.norm(turned)
        texts.append(planeText(turned / length, float((distance + turned @ move[:3, 3]) / length)))
    return ";".join(texts)


def _movedPart(text: str, move: numpy.ndarray) -> str:
    if not text:
        return ""
    head, bits = text.split(" ")
    place = decoded(head)
    return encoded({**place, "matrix": (move @ numpy.array(place["matrix"])).tolist()}) + " " + bits
