"""What a segment's tags tell, as text and on a grid: slices, and parts of its voxels.

Slices are told by their normal and distance, parts by their voxels and the matrix of their grid, both in the coordinates
of the segmentation node, so that any volume's grid can have them.
"""

import base64
import json
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
import vtk
from slicer.i18n import tr as _

from . import segmentations as sceneSegmentations
from .annotatedSlices import Plane
from .segmentations import Part
from .volumes import SceneVolumeError

PLANES = PAINTED, MARKED, OFF = "HSSL.painted", "HSSL.complete", "HSSL.off"
DRAFT, SCRIBBLES = "HSSL.draft", "HSSL.scribbles"
REVISION = "HSSL.revision"
PLACE, FORGOTTEN = "HSSL.place", "HSSL.forgotten"
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
        isOblique: whether slices are recorded that no slice of the grid is parallel to. What was painted on them is known
            then, and nothing around it.
        revision: of the tags that told it.
    """

    painted: frozenset[Plane] = frozenset()
    marked: frozenset[Plane] = frozenset()
    off: frozenset[Plane] = frozenset()
    draft: Part = NOTHING
    scribbles: Part = NOTHING
    isOblique: bool = False
    revision: int = 0

    def complete(self, scribblesOnly: bool) -> frozenset[Plane]:
        """Returns the slices that count as complete unless they are switched off."""
        return self.marked if scribblesOnly else self.painted | self.marked


def tag(segment, name: str) -> str:
    """Returns what a segment's tag of a name holds, "" when there is none."""
    value = vtk.mutable("")
    return str(value) if segment.GetTag(name, value) else ""


def setTags(segment, texts: dict[str, str]) -> None:
    """Sets tags by name; those with "" are removed."""
    for name, text in texts.items():
        if text:
            segment.SetTag(name, text)
        else:
            segment.RemoveTag(name)


def revision(segment) -> int:
    """Returns how often the segment's tags were written; less than before, when that was undone."""
    text = tag(segment, REVISION)
    return int(text) if text.isdecimal() else 0  # of a damaged one nothing is lost: it is counted anew


def readingOn(
    segmentationNode, segment, toNode: numpy.ndarray, shape: tuple[int, int, int]
) -> Generator[None, None, SegmentAnnotation]:
    """What a segment's tags tell on a grid."""
    painted, marked, off = (planesIn(segmentationNode, segment, name, toNode, shape) for name in PLANES)
    isOblique, told = any(oblique(tag(segment, name), toNode, shape) for name in PLANES), revision(segment)
    parts = [
        readingPart(segmentationNode, segment, name, tag(segment, name), toNode, shape) for name in (DRAFT, SCRIBBLES)
    ]
    draft = yield from parts[0]
    scribbles = yield from parts[1]
    return SegmentAnnotation(painted, marked, off, draft, scribbles, isOblique, told)


def unrecorded(own: SegmentAnnotation, there: Part, recorded, box: tuple[slice, slice, slice]) -> numpy.ndarray:
    """Where in a box the segment is another than its draft, without scribbles and recorded slices."""
    changed = there.within(box) ^ own.draft.within(box)
    if own.scribbles.values.size:
        changed &= ~own.scribbles.within(box)
    part = Part(sceneSegmentations.cornerOf(box), changed)
    for plane in recorded:
        part.plane(*plane)[...] = False
    return changed


def planesIn(segmentationNode, segment, name: str, toNode: numpy.ndarray, shape) -> frozenset[Plane]:
    """Returns the slices of a grid that a tag tells, without those that are none of its slices."""
    with undamaged(segmentationNode, segment, name):
        return _planesFrom(tag(segment, name), toNode, shape)


def planesTexts(
    segment,
    planes: dict[str, frozenset[Plane]],
    toNode: numpy.ndarray,
    shape: tuple[int, int, int],
    isObliqueKept: bool = True,
) -> dict[str, str]:
    """Slices as normals and distances in the segments' coordinates: another grid can have them too.

    Args:
        planes: slices by the name of the tag.
        isObliqueKept: what the tags tell of slices that no slice of the grid is parallel to stays.
    """
    # Normals of the slices across i, j and k, as columns
    normals = numpy.linalg.inv(toNode[:3, :3]).T
    normals, found = normals / numpy.linalg.norm(normals, axis=0), {}
    for name, own in planes.items():
        texts = oblique(tag(segment, name), toNode, shape) if isObliqueKept else []
        for axis, index in sorted(own):
            normal, voxel = normals[:, 2 - axis], numpy.zeros(4)
            voxel[2 - axis], voxel[3] = index, 1
            texts.append(planeText(normal, float(normal @ (toNode @ voxel)[:3])))
        found[name] = ";".join(texts)
    return found


def planeText(normal: numpy.ndarray, distance: float) -> str:
    return " ".join(f"{n:.6g}" for n in (*normal, distance))


def oblique(text: str, toNode: numpy.ndarray, shape: tuple[int, int, int]) -> list[str]:
    """Returns what a tag tells of slices that no slice of a grid is parallel to."""
    return [entry for entry, normal, distance in slicesOf(text) if _planeAt(normal, distance, toNode, shape) is None]


def slicesOf(text: str) -> Iterator[tuple[str, numpy.ndarray, float]]:
    """Each slice that a tag tells: as it is written there, its normal and its distance."""
    for entry in filter(None, text.split(";")):
        *normal, distance = map(float, entry.split())
        yield entry, numpy.array(normal), distance


def _planesFrom(text: str, toNode: numpy.ndarray, shape: tuple[int, int, int]) -> frozenset[Plane]:
    found = (_planeAt(normal, distance, toNode, shape) for _entry, normal, distance in slicesOf(text))
    return frozenset(plane for plane in found if plane is not None and 0 <= plane[1] < shape[plane[0]])


def _planeAt(
    normal: numpy.ndarray, distance: float, toNode: numpy.ndarray, shape: tuple[int, int, int]
) -> Plane | None:
    """Returns the slice of a grid that a plane is, perhaps beyond the grid; None where it is none: nowhere in the grid may
    it be farther from the middle of the slice than half of its thickness."""
    steps, half = normal @ toNode[:3, :3], (numpy.maximum(shape, 1)[::-1] - 1) / 2
    reach = numpy.abs(steps) * half
    isWithin = reach.sum() - reach < numpy.abs(steps) / 2
    if not isWithin.any():
        return None
    column = int((isWithin * numpy.abs(steps)).argmax())
    middle = normal @ toNode[:3, 3] + steps @ half - steps[column] * half[column]
    return 2 - column, round(float((distance - middle) / steps[column]))


def readingPart(
    segmentationNode, segment, name: str, text: str, toNode: numpy.ndarray, shape: tuple[int, int, int]
) -> Generator[None, None, Part]:
    """Returns, in steps, the part that the text of a tag keeps, on a grid."""
    if not text:
        return NOTHING
    with undamaged(segmentationNode, segment, name):
        start, matrix, values = yield from _unpacking(text)
    if numpy.abs(matrix - toNode).max() < SAME_MATRIX:
        part = Part(start, values.view(bool))
        if all(a >= 0 and a + n <= size for a, n, size in zip(part.start, values.shape, shape, strict=True)):
            return part
    image = sceneSegmentations.orientedImage(values, matrix, start)
    return (yield from sceneSegmentations.readingImage(image, 1, toNode, shape))


def writingText(part: Part, toNode: numpy.ndarray) -> Generator[None, None, str]:
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
    return encoded(head) + " " + bits


def encoded(values: dict[str, Any]) -> str:
    """Makes a tag's text of values; tags are kept as "name:value|name:value", so that neither sign may be in it."""
    return base64.b64encode(json.dumps(values).encode("ascii")).decode("ascii")


def decoded(text: str) -> dict[str, Any]:
    return json.loads(base64.b64decode(text, validate=True))


def _unpacking(text: str) -> Generator[None, None, tuple[tuple[int, int, int], numpy.ndarray, numpy.ndarray]]:
    """Does, in steps, the contrary of `writingText`: returns where the part begins, on which grid, and its voxels."""
    head, bits = text.split(" ")
    place, rest = decoded(head), base64.b64decode(bits, validate=True)
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


@contextmanager
def undamaged(segmentationNode, segment, name: str) -> Iterator[None]:
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
