"""What is known of segments: the same in steps and slabs of any size as at once, and kept in tags as it was."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest
import vtk
from oddly_placed import linearTransform, orientation, volumeWith
from scipy.spatial.transform import Rotation

import slicer
from HSSLSegmentationLib.effect import recorder
from HSSLSegmentationLib.scene import annotations, annotationTags, movedSegments
from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
from HSSLSegmentationLib.scene import volumes as sceneVolumes
from HSSLSegmentationLib.scene.annotations import BACKGROUND
from HSSLSegmentationLib.scene.annotationTags import SegmentAnnotation
from HSSLSegmentationLib.scene.segmentations import Part
from HSSLSegmentationLib.scene.volumes import SceneVolumeError
from HSSLSegmentationLib.steps import atOnce

SHAPE = (9, 8, 7)


def someParts(rng, count: int) -> list[Part]:
    """Boxes at any place of the grid, each with some voxels."""
    found = []
    for _number in range(count):
        low = rng.integers(0, 4, 3)
        size = rng.integers(1, np.array(SHAPE) - low + 1)
        found.append(sceneSegmentations.cropped(rng.random(size) < 0.4, tuple(int(n) for n in low)))
    return found


def expectedLabels(segments: dict[int, tuple[Part, SegmentAnnotation]]) -> np.ndarray:
    """The definition, voxel by voxel: painted is what is there and no draft, or on a complete slice, or a scribble."""
    labels = np.zeros(SHAPE, np.uint8)
    for value, (part, own) in segments.items():
        there, draft, scribbles = (p.on(SHAPE) for p in (part, own.draft, own.scribbles))
        isKnown, erased = ~draft | scribbles, (scribbles | draft) & ~there
        for axis, index in own.painted | own.marked:
            np.moveaxis(isKnown, axis, 0)[index] = (axis, index) not in own.off
            np.moveaxis(erased, axis, 0)[index] = False
        labels[erased & (labels == 0)] = BACKGROUND
        labels[there & isKnown] = value
    return labels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("voxels", [1, 100, 2**20])
def test_labels_are_gathered_in_slabs_of_any_size_as_they_are_defined(monkeypatch, seed, voxels):
    monkeypatch.setattr(sceneSegmentations, "CACHED_VOXELS", voxels)
    rng = np.random.default_rng(seed)
    volume = volumeWith(orientation(seed, bool(seed % 2)), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("labels", volume)
    known, values = {}, {}
    for value, (there, draft, scribbles) in enumerate([someParts(rng, 3), someParts(rng, 3)], 1):
        segmentId = node.GetSegmentation().AddEmptySegment("", f"s{value}")
        write(node, segmentId, volume, there)
        planes = frozenset((int(a), int(rng.integers(SHAPE[a]))) for a in rng.integers(0, 3, 4))
        off = frozenset(list(planes)[:1])
        annotations.write(node, segmentId, volume, SegmentAnnotation(planes, frozenset(), off, draft, scribbles))
        values[segmentId] = value
    labels, told = annotations.annotationOf(node, values, volume)
    for segmentId, value in values.items():
        known[value] = (sceneSegmentations.segmentPart(node, segmentId, volume), told[segmentId])
        read = annotations.read(node, segmentId, volume)
        assert np.array_equal(read.draft.on(SHAPE), told[segmentId].draft.on(SHAPE))
    assert np.array_equal(labels.labels.on(SHAPE), expectedLabels(known))
    for part, own in known.values():
        left = part.on(SHAPE) ^ own.draft.on(SHAPE)
        left &= ~own.scribbles.on(SHAPE)
        for axis, index in own.painted | own.marked:
            np.moveaxis(left, axis, 0)[index] = False
        assert not left.any(), "whatever nobody has recorded lies on a slice that was found"


def test_segments_that_overlap_off_the_slices_that_are_complete_for_both_are_compared_in_all():
    volume = volumeWith(np.eye(4), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("labels", volume)
    whole, part = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    whole[2, 1:6, 1:6], part[2, 2:4, 2:4] = True, True
    values = {}
    for value, where in enumerate((whole, part), 1):
        segmentId = node.GetSegmentation().AddEmptySegment("", f"s{value}")
        write(node, segmentId, volume, sceneSegmentations.cropped(where))
        scribbles = sceneSegmentations.cropped(where)
        annotations.write(node, segmentId, volume, SegmentAnnotation(marked=frozenset({(0, 4)}), scribbles=scribbles))
        values[segmentId] = value
    found, _known = annotations.annotationOf(node, values, volume)
    assert found.overlaps == {(1, 2): (25, 4, 4)} and found.partsOf(1) == {2} and not found.partsOf(2)
    annotations.checkOverlaps(node, values, found)


def write(node, segmentId: str, volume, part: Part) -> None:
    toNode = sceneSegmentations.matrixInNode(volume, node)
    labelmap = part.on(sceneSegmentations.gridShape(volume)).astype(np.uint8)
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        sceneSegmentations.orientedImage(labelmap, toNode), node, segmentId
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("voxels", [1, 64, 2**20])
def test_a_part_is_kept_in_a_tag_and_comes_back_on_its_own_grid_and_on_another(monkeypatch, seed, voxels):
    monkeypatch.setattr(sceneSegmentations, "CACHED_VOXELS", max(8, voxels))
    rng = np.random.default_rng(seed)
    volume = volumeWith(orientation(seed, True), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("labels", volume)
    segmentId = node.GetSegmentation().AddEmptySegment("", "s")
    draft = someParts(rng, 1)[0]
    annotations.write(node, segmentId, volume, SegmentAnnotation(draft=draft))
    assert np.array_equal(annotations.read(node, segmentId, volume).draft.on(SHAPE), draft.on(SHAPE))
    # A crop of the volume: the same voxels, counted from another one.
    moved = orientation(seed, True)
    moved[:3, 3] = (moved @ [2, 1, 3, 1])[:3]
    crop = volumeWith(moved, values=np.zeros([n - m for n, m in zip(SHAPE, (3, 1, 2), strict=True)], np.int16))
    found = annotations.read(node, segmentId, crop).draft.on((6, 7, 5))
    assert np.array_equal(found, draft.on(SHAPE)[3:, 1:, 2:])


def test_a_draft_that_was_kept_by_an_older_version_is_read():
    volume = volumeWith(np.eye(4), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("labels", volume)
    segmentId = node.GetSegmentation().AddEmptySegment("", "s")
    draft = someParts(np.random.default_rng(0), 1)[0]
    head = {"start": draft.start, "shape": draft.values.shape, "matrix": np.eye(4).tolist()}
    packed = zlib.compress(np.packbits(draft.values).tobytes(), 1)
    texts = [base64.b64encode(data).decode() for data in (json.dumps(head).encode(), packed)]
    segment = node.GetSegmentation().GetSegment(segmentId)
    segment.SetTag(annotationTags.DRAFT, f"{texts[0]} {texts[1]}")
    assert np.array_equal(annotations.read(node, segmentId, volume).draft.on(SHAPE), draft.on(SHAPE))


def _damagedTexts(text: str) -> dict[str, str]:
    """What may become of the text that a tag keeps of a part, by the reason that is told."""
    head, bits = text.split(" ")
    place, packed = json.loads(base64.b64decode(head)), base64.b64decode(bits)
    middle = len(packed) // 2
    changed = packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]

    def joined(place: object, packed: bytes = packed) -> str:
        return " ".join(base64.b64encode(data).decode() for data in (json.dumps(place).encode(), packed))

    return {
        "Error -[35] while decompressing": joined(place, changed),
        "ends too soon": joined({**place, "shape": [n * 2 for n in place["shape"]]}),
        "cannot hold": joined({**place, "shape": [10**6, 10**6, 10**6]}),
        "'matrix'": joined({k: v for k, v in place.items() if k != "matrix"}),
        "lies nowhere": joined({**place, "matrix": [[float("nan")] * 4] * 4}),
        "padding": text[:-1],
        "not enough values": text.replace(" ", ""),
        "Expecting property name": base64.b64encode(b"{[").decode() + " " + bits,
        "list indices": joined([place]),
    }


@pytest.mark.parametrize("name", [annotationTags.DRAFT, annotationTags.SCRIBBLES])
def test_what_is_kept_of_a_part_and_was_damaged_is_told_with_the_segment_and_the_way_out(name):
    volume = volumeWith(np.eye(4), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("my labels", volume)
    segmentId = node.GetSegmentation().AddEmptySegment("", "liver")
    part = Part((1, 1, 1), np.random.default_rng(0).random((5, 6, 5)) < 0.5)
    annotations.write(node, segmentId, volume, SegmentAnnotation(draft=part, scribbles=part))
    segment = node.GetSegmentation().GetSegment(segmentId)
    for reason, text in _damagedTexts(annotationTags.tag(segment, name)).items():
        segment.SetTag(name, text)
        told = rf"segment liver of my labels is damaged \(its tag {name}: .*{reason}.*Logical operators"
        with pytest.raises(SceneVolumeError, match=told):
            annotations.read(node, segmentId, volume)
        with pytest.raises(SceneVolumeError, match=told):
            annotations.annotationOf(node, {segmentId: 1}, volume)


@pytest.mark.parametrize("name", [annotationTags.PAINTED, annotationTags.MARKED, annotationTags.OFF])
@pytest.mark.parametrize("text", ["1 0 0", "a b c 2", "1 0 0 nan", "1 0 0 inf", "1 0 0 0 0 7"])
def test_slices_whose_record_was_damaged_are_told_with_the_segment(name, text):
    volume = volumeWith(np.eye(4), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("my labels", volume)
    segmentId = node.GetSegmentation().AddEmptySegment("", "liver")
    node.GetSegmentation().GetSegment(segmentId).SetTag(name, text)
    for asked in (annotations.read, lambda *of: annotations.addPainted(*of, (0, 2))):
        with pytest.raises(SceneVolumeError, match=rf"segment liver of my labels is damaged \(its tag {name}: "):
            asked(node, segmentId, volume)


def test_a_count_of_changes_that_was_damaged_is_counted_anew():
    volume = volumeWith(np.eye(4), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("labels", volume)
    segmentId = node.GetSegmentation().AddEmptySegment("", "liver")
    segment = node.GetSegmentation().GetSegment(segmentId)
    segment.SetTag(annotationTags.REVISION, "x")
    assert annotationTags.revision(segment) == 0
    assert annotations.addPainted(node, segmentId, volume, (0, 2)) == 1


def test_no_step_of_what_is_done_with_a_large_draft_is_longer_than_a_slab(monkeypatch):
    """A body in a CT of 512 × 512 × 200 is fifty million voxels: whatever looks at all of them at once blocks the
    window."""
    monkeypatch.setattr(sceneSegmentations, "CACHED_VOXELS", SHAPE[1] * SHAPE[2])
    volume = volumeWith(np.eye(4), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("labels", volume)
    segmentId = node.GetSegmentation().AddEmptySegment("", "s")
    there = np.random.default_rng(0).random(SHAPE) < 0.7
    write(node, segmentId, volume, sceneSegmentations.cropped(there))
    longest = _mostVoxelsOfAStep(monkeypatch)
    assert longest(annotations.markedDraft(node, [segmentId], volume)) <= 2
    assert longest(annotations.reading(node, segmentId, volume)) <= 2
    there[4] ^= True
    write(node, segmentId, volume, sceneSegmentations.cropped(there))
    annotations.addPainted(node, segmentId, volume, (0, 4))
    assert longest(annotations.knownOf(node, [segmentId], volume)) <= 2
    learned, known = annotations.annotationOf(node, {segmentId: 1}, volume)
    assert longest(annotations.gathered(node, {segmentId: 1}, volume)) <= 2
    assert longest(annotations.applied(node, known, {segmentId: 1}, learned, volume)) <= 2
    found = Part((2, 0, 0), np.ones((3, *SHAPE[1:]), np.uint8))
    spans = {1: [(2, 5), (0, SHAPE[1]), (0, SHAPE[2])]}
    assert longest(annotations.withDrafts(found, spans, node, {segmentId: 1}, volume)) <= 2


def _mostVoxelsOfAStep(monkeypatch):
    """Returns what tells the most slabs that any step of some steps computes with, by the parts that are asked for."""
    asked = [0]
    within = Part.within

    def counted(part, slices):
        asked[0] = max(asked[0], int(np.prod([s.stop - s.start for s in slices])))
        return within(part, slices)

    monkeypatch.setattr(Part, "within", counted)
    cropped = sceneSegmentations.cropped

    def countedCropped(values, start=(0, 0, 0)):
        asked[0] = max(asked[0], values.size)
        return cropped(values, start)

    monkeypatch.setattr(sceneSegmentations, "cropped", countedCropped)

    def longest(steps) -> float:
        count, asked[0] = 0, 0
        for _step in steps:
            count += 1
        assert count >= SHAPE[0] - 2, "one step for each slab, at least"
        return asked[0] / (SHAPE[1] * SHAPE[2])

    return longest


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("voxels", [1, 60, 2**20])
def test_the_difference_of_two_label_maps_is_the_smallest_box_that_holds_it(monkeypatch, seed, voxels):
    monkeypatch.setattr(sceneSegmentations, "CACHED_VOXELS", voxels)
    rng = np.random.default_rng(seed)
    before, now = (Part(p.start, p.values * np.uint8(rng.integers(1, 4))) for p in someParts(rng, 2))
    found = recorder._difference(before, now)
    differs = before.on(SHAPE) != now.on(SHAPE)
    box = sceneSegmentations.cropped(differs)
    assert found is not None and found[0].start == found[1].start == box.start
    assert np.array_equal(found[0].values, before.on(SHAPE)[box.slices])
    assert np.array_equal(found[1].values, now.on(SHAPE)[box.slices])
    assert recorder._difference(now, now) is None


def test_a_slice_is_marked_and_switched_without_a_look_at_drafts(monkeypatch):
    volume = volumeWith(np.eye(4), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("labels", volume)
    segmentId = node.GetSegmentation().AddEmptySegment("", "s")
    draft, scribbles = someParts(np.random.default_rng(1), 2)
    own = SegmentAnnotation(frozenset({(0, 1)}), frozenset({(1, 2)}), frozenset({(0, 3)}), draft, scribbles)
    annotations.write(node, segmentId, volume, own)
    with monkeypatch.context() as patched:
        patched.delattr(annotationTags, "readingPart")
        annotations.mark(node, [segmentId], volume, (0, 3))
        annotations.switch(node, [segmentId], volume, (1, 2), False)
        annotations.switch(node, [segmentId], volume, (0, 1), False)
        annotations.switch(node, [segmentId], volume, (0, 1), True)
    found = annotations.read(node, segmentId, volume)
    assert (found.painted, found.marked, found.off) == ({(0, 1)}, {(0, 3)}, {(1, 2)})
    assert np.array_equal(found.draft.on(SHAPE), draft.on(SHAPE))
    assert np.array_equal(found.scribbles.on(SHAPE), scribbles.on(SHAPE))


@pytest.mark.parametrize("axis", range(3))
def test_slices_that_are_painted_with_gaps_are_told_from_whole_structures(axis):
    volume = volumeWith(np.eye(4), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("labels", volume)
    whole = np.zeros(SHAPE, bool)
    whole[1:6, 1:6, 1:6] = True
    apart, one = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for index in (1, 3, 5):
        np.moveaxis(apart, axis, 0)[index] = np.moveaxis(whole, axis, 0)[index]
    np.moveaxis(one, axis, 0)[3] = np.moveaxis(whole, axis, 0)[3]
    for name, where in {"whole": whole, "apart": apart, "one": one, "two lesions": whole & ~one}.items():
        write(node, node.GetSegmentation().AddEmptySegment("", name), volume, sceneSegmentations.cropped(where))
    node.GetSegmentation().AddEmptySegment("", "empty")
    assert atOnce(annotations.paintedApart(node, volume)) == {"apart": 3}


def test_what_was_recorded_while_a_round_was_gathered_stays():
    volume = volumeWith(np.eye(4), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("labels", volume)
    segmentId = node.GetSegmentation().AddEmptySegment("", "s")
    where = np.zeros(SHAPE, bool)
    where[[2, 6], 2:5, 2:5] = True
    write(node, segmentId, volume, sceneSegmentations.cropped(where))
    known = atOnce(annotations.knownOf(node, [segmentId], volume))[segmentId]
    assert known.painted == {(0, 2), (0, 6)}
    annotations.addPainted(node, segmentId, volume, (0, 4))
    annotations.keepPainted(node, segmentId, volume, known)
    assert annotations.read(node, segmentId, volume).painted == {(0, 2), (0, 4), (0, 6)}
    atOnce(annotations.applied(node, {segmentId: known}, {segmentId: 1}, None, volume))
    own = annotations.read(node, segmentId, volume)
    assert own.painted == {(0, 2), (0, 4), (0, 6)} and np.array_equal(own.draft.on(SHAPE), where)


# Segments that are moved, resampled or deformed ------------------------------------------------------------------

LARGE = (30, 28, 26)


def annotated(volume):
    """A segmentation with a segment that was painted on slices and across them, and a draft that was corrected."""
    shape = sceneSegmentations.gridShape(volume)
    rng = np.random.default_rng(5)
    node = sceneSegmentations.newSegmentation("labels", volume)
    across = np.zeros(shape, bool)
    across[8:11, 8:11, 8:11] = True
    slices = across.copy()
    for index in (5, 14, 20):
        slices[index, 6:20, 6:20] |= rng.random((14, 14)) < 0.8
    draft = np.zeros(shape, bool)
    draft[4:24, 5:22, 5:21] = True
    corrected = draft.copy()
    corrected[12, 3:16, 8:24] ^= True
    parts = {name: sceneSegmentations.cropped(where) for name, where in {"across": across, "draft": draft}.items()}
    own = {
        "slices": SegmentAnnotation(
            frozenset({(0, 5), (0, 14), (0, 20)}), frozenset({(1, 2)}), frozenset({(0, 20)}), scribbles=parts["across"]
        ),
        "corrected": SegmentAnnotation(frozenset({(0, 12)}), draft=parts["draft"]),
    }
    for name, where in {"slices": slices, "corrected": corrected}.items():
        node.GetSegmentation().AddEmptySegment(name, name)
        write(node, name, volume, sceneSegmentations.cropped(where))
        annotations.write(node, name, volume, own[name])
    return node


def told(node, volume) -> dict:
    """All that is known, as values that can be compared."""
    shape, found = sceneSegmentations.gridShape(volume), {}
    for name, own in atOnce(annotations.knownOf(node, ["slices", "corrected"], volume)).items():
        parts = own.draft.on(shape).tobytes(), own.scribbles.on(shape).tobytes()
        found[name] = (own.painted, own.marked, own.off, *parts)
    return found


def harden(nodes, transform) -> None:
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())
    for node in nodes:
        node.HardenTransform()


def rigid(seed: int) -> np.ndarray:
    """A turn and a shift; of every third seed a shift by whole voxels across the slices."""
    if seed % 3 == 0:
        matrix = np.eye(4)
        matrix[:3, 3] = orientation(1, False)[:3, 2] * (3 + seed)
        return matrix
    matrix = orientation(seed, False)
    matrix[:3, :3] /= np.linalg.norm(matrix[:3, :3], axis=0)
    return matrix


def resampled(node, matrix: np.ndarray, shape) -> None:
    """Gives a segmentation another geometry, as *Specify geometry* does."""
    segmentation, converter = node.GetSegmentation(), slicer.vtkSegmentationConverter
    reference = sceneSegmentations.orientedImage(np.zeros(shape, np.uint8), matrix)
    segmentation.SetConversionParameter(
        converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(reference)
    )
    for segmentId in segmentation.GetSegmentIDs():
        image = sceneSegmentations.labelmapOf(segmentation.GetSegment(segmentId))
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            image, reference, image, False
        )


def deformation():
    """Slices become waves."""
    transform, source, target = vtk.vtkThinPlateSplineTransform(), vtk.vtkPoints(), vtk.vtkPoints()
    for i in np.linspace(0, 30, 6):
        for j, k in np.ndindex(3, 3):
            source.InsertNextPoint(i, 15 * j, 15 * k)
            target.InsertNextPoint(i, 15 * j, 15 * k + 3 * np.sin(i / 4))
    transform.SetBasisToR()
    transform.SetSourceLandmarks(source)
    transform.SetTargetLandmarks(target)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "wave")
    node.SetAndObserveTransformToParent(transform)
    return node


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("isVolumeToo", [True, False])
def test_what_is_known_of_segments_moves_with_a_transform_that_is_hardened(seed, isVolumeToo):
    place, move = orientation(1, False), rigid(seed)
    volume = volumeWith(place, values=np.zeros(LARGE, np.int16))
    node = annotated(volume)
    before = told(node, volume)
    harden([volume, node] if isVolumeToo else [node], linearTransform(move))
    where = volume if isVolumeToo else volumeWith(move @ place, "there", np.zeros(LARGE, np.int16))
    assert told(node, where) == before
    annotations.addPainted(node, "slices", where, (0, 23))
    assert annotations.read(node, "slices", where).painted == {(0, 5), (0, 14), (0, 20), (0, 23)}
    assert not movedSegments.forgotten(node, ["slices", "corrected"])


@pytest.mark.parametrize("seed", range(3))
def test_what_is_known_of_segments_stays_where_it_is_when_they_get_another_geometry(seed):
    """On a finer grid at any angle every voxel of the volume finds its own value."""
    place = rigid(1)
    volume = volumeWith(place, values=np.zeros(LARGE, np.int16))
    node = annotated(volume)
    before = told(node, volume)
    finer, turn = np.diag([0.4, 0.4, 0.4, 1.0]), np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0.0, 0.0, 0.1 * seed]).as_matrix()
    turn[:3, 3] = [-4.0, -4.0, -1.3]
    resampled(node, place @ turn @ finer, [int(n / 0.4) + 30 for n in LARGE])
    assert told(node, volume) == before
    assert not movedSegments.forgotten(node, ["slices", "corrected"])


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_what_is_known_of_segments_stays_when_they_are_oversampled(factor):
    place = rigid(2)
    volume = volumeWith(rigid(1), values=np.zeros(LARGE, np.int16))
    node = annotated(volume)
    before = told(node, volume)
    harden([volume, node], linearTransform(place))
    movedSegments.bringAlong(node)
    grid = sceneVolumes.localMatrix(volume) @ np.diag([*[1 / factor] * 3, 1])
    grid[:3, 3] += grid[:3, :3].sum(1) * (1 - factor) / 2  # the corners of the volume stay, not the middles of voxels
    resampled(node, grid, [factor * n for n in LARGE])
    assert told(node, volume) == before and not movedSegments.forgotten(node, ["slices", "corrected"])


@pytest.mark.parametrize("seed", range(6))
def test_a_plane_is_a_slice_of_a_turned_grid_where_no_voxel_of_it_is_farther_than_half_a_slice(seed):
    rng, place = np.random.default_rng(seed), orientation(seed, bool(seed % 2))
    volume = volumeWith(place, values=np.zeros(LARGE, np.int16))
    node = sceneSegmentations.newSegmentation("labels", volume)
    axis = seed % 3
    index = int(rng.integers(5, LARGE[axis] - 5))
    node.GetSegmentation().AddEmptySegment("s", "s")
    annotations.addPainted(node, "s", volume, (axis, index))
    kinds = set()
    for degrees in np.linspace(0, 6, 25):
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * orientation(seed + 9, False)[:3, 0] / 0.7).as_matrix()
        middle = (place @ [*(np.array(LARGE[::-1]) / 2), 1])[:3]
        turn[:3, 3] = middle - turn[:3, :3] @ middle
        other = volumeWith(turn @ place, "turned", np.zeros(LARGE, np.int16))
        # In the other grid the plane is where place⁻¹ of its voxels has the index: it crosses each column of voxels once.
        row = (np.linalg.inv(place) @ turn @ place)[2 - axis]
        corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(LARGE[::-1]) - 1)
        corners[:, 2 - axis] = 0
        crossed = (index - row[3] - corners @ row[:3]) / row[2 - axis]
        expected = {(axis, round(float(crossed.mean())))} if np.ptp(crossed) < 1 else set()
        if abs(np.ptp(crossed) - 1) > 1e-3:
            kinds.add(bool(expected))
            assert annotations.read(node, "s", other).painted == expected
            assert bool(annotations.notParallel(node, ["s"], other)) != bool(expected)
    assert kinds == {True, False}


@pytest.mark.parametrize("who", ["volume", "segmentation"])
def test_where_one_is_turned_alone_slices_that_are_no_longer_parallel_are_not_complete(who):
    """What is painted is known, and nothing around it; painted slices come back with the direction."""
    volume = volumeWith(orientation(1, False), values=np.zeros(LARGE, np.int16))
    node = annotated(volume)
    before, turn = told(node, volume), np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0.4, 0.2, 0.1]).as_matrix()
    middle = (sceneVolumes.localMatrix(volume) @ [13, 14, 15, 1])[:3]
    turn[:3, 3] = middle - turn[:3, :3] @ middle
    moved, values = volume if who == "volume" else node, {"slices": 1, "corrected": 2}
    harden([moved], linearTransform(turn))
    assert "slices, corrected" in annotations.notParallel(node, values, volume)
    found, known = annotations.annotationOf(node, {"slices": 1}, volume)
    there = sceneSegmentations.segmentPart(node, "slices", volume).on(LARGE)
    erased = found.labels.on(LARGE) == BACKGROUND
    assert not found.planes and not found.off and ((found.labels.on(LARGE) == 1) == there).all()
    assert (erased == known["slices"].scribbles.on(LARGE) & ~there).all()
    annotations.addPainted(node, "slices", volume, (0, 14))
    annotations.mark(node, ["slices"], volume, (1, 9))
    found, known = annotations.annotationOf(node, values, volume)
    assert set(found.planes) == {(0, 14), (1, 9)}
    for name, own in known.items():
        annotations.keepPainted(node, name, volume, own)
    assert set(annotations.annotationOf(node, values, volume)[0].planes) == {(0, 14), (1, 9)}, "it was learned from"
    harden([moved], linearTransform(np.linalg.inv(turn)))
    own, (painted, marked, off) = annotations.read(node, "slices", volume), before["slices"][:3]
    assert (own.painted, own.marked, own.off) == (painted, marked, off) and own.isOblique
    assert annotations.read(node, "corrected", volume).painted == before["corrected"][0]
    atOnce(annotations.markedDraft(node, ["slices", "corrected"], volume))
    assert not annotations.notParallel(node, values, volume), "nothing was painted any more"


def test_the_edges_of_a_draft_that_is_resampled_are_no_correction():
    volume = volumeWith(np.eye(4), values=np.zeros(LARGE, np.int16))
    node = annotated(volume)
    node.GetSegmentation().RemoveSegment("slices")
    before = sceneSegmentations.segmentPart(node, "corrected", volume).on(LARGE)
    resampled(node, np.diag([1.2, 1.2, 1.0, 1.0]), (30, 24, 22))
    assert (sceneSegmentations.segmentPart(node, "corrected", volume).on(LARGE) != before).any()
    known = atOnce(annotations.knownOf(node, ["corrected"], volume))["corrected"]
    assert known.painted == {(0, 12)} and not movedSegments.forgotten(node, ["corrected"])


def test_a_segment_that_was_deformed_is_told_and_what_was_a_draft_is_one_with_all_that_is_there(caplog):
    volume = volumeWith(np.eye(4), values=np.zeros(LARGE, np.int16))
    node = annotated(volume)
    harden([node], deformation())
    known = atOnce(annotations.knownOf(node, ["slices", "corrected"], volume))
    there = sceneSegmentations.segmentPart(node, "corrected", volume).on(LARGE)
    assert there.any() and np.array_equal(known["corrected"].draft.on(LARGE), there)
    assert not known["corrected"].painted
    own = annotations.read(node, "slices", volume)
    assert not own.painted | own.marked | own.off and not own.scribbles.values.size
    text = movedSegments.forgotten(node, ["slices", "corrected"])
    assert "slices was painted" in text and "painted of corrected: all of it is a draft" in text
    assert "corrected" in caplog.text
    for name, own in known.items():
        annotations.keepPainted(node, name, volume, own)
    assert not movedSegments.forgotten(node, ["slices", "corrected"]), "it was learned from"
    harden([node], linearTransform(rigid(1)))
    where = volumeWith(rigid(1), "there", np.zeros(LARGE, np.int16))
    there = sceneSegmentations.segmentPart(node, "corrected", where).on(LARGE)
    assert np.array_equal(annotations.read(node, "corrected", where).draft.on(LARGE), there)


def test_a_larger_geometry_on_the_same_grid_changes_nothing():
    volume = volumeWith(np.eye(4), values=np.zeros(LARGE, np.int16))
    node = annotated(volume)
    before = told(node, volume)
    text = slicer.vtkSegmentationConverter.SerializeImageGeometry(
        sceneSegmentations.orientedImage(np.zeros([n + 6 for n in LARGE], np.uint8), np.eye(4), (-3, -3, -3))
    )
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    node.GetSegmentation().SetConversionParameter(name, text)
    assert told(node, volume) == before and not movedSegments.forgotten(node, ["slices", "corrected"])


def test_as_long_as_nothing_has_moved_a_stroke_is_recorded_without_a_look_at_voxels(monkeypatch):
    volume = volumeWith(orientation(1, False), values=np.zeros(LARGE, np.int16))
    node = annotated(volume)
    monkeypatch.delattr(sceneSegmentations, "readingImage")
    monkeypatch.delattr(annotationTags, "readingPart")
    movedSegments.bringAlong(node)
    annotations.addPainted(node, "corrected", volume, (0, 15))
