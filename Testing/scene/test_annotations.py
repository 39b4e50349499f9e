"""What is known of segments: the same in steps and slabs of any size as at once, and kept in tags as it was."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest
from oddly_placed import orientation, volumeWith

from HSSLSegmentationLib.effect import recorder
from HSSLSegmentationLib.scene import annotations
from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
from HSSLSegmentationLib.scene.annotations import BACKGROUND, SegmentAnnotation
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


def write(node, segmentId: str, volume, part: Part) -> None:
    import slicer

    toNode = sceneSegmentations.matrixInNode(volume, node)
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        sceneSegmentations.orientedImage(part.on(SHAPE).astype(np.uint8), toNode), node, segmentId
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
    segment.SetTag(annotations.DRAFT, f"{texts[0]} {texts[1]}")
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


@pytest.mark.parametrize("name", [annotations.DRAFT, annotations.SCRIBBLES])
def test_what_is_kept_of_a_part_and_was_damaged_is_told_with_the_segment_and_the_way_out(name):
    volume = volumeWith(np.eye(4), values=np.zeros(SHAPE, np.int16))
    node = sceneSegmentations.newSegmentation("my labels", volume)
    segmentId = node.GetSegmentation().AddEmptySegment("", "liver")
    part = Part((1, 1, 1), np.random.default_rng(0).random((5, 6, 5)) < 0.5)
    annotations.write(node, segmentId, volume, SegmentAnnotation(draft=part, scribbles=part))
    segment = node.GetSegmentation().GetSegment(segmentId)
    for reason, text in _damagedTexts(annotations._tag(segment, name)).items():
        segment.SetTag(name, text)
        told = rf"segment liver of my labels is damaged \(its tag {name}: .*{reason}.*Logical operators"
        with pytest.raises(SceneVolumeError, match=told):
            annotations.read(node, segmentId, volume)
        with pytest.raises(SceneVolumeError, match=told):
            annotations.annotationOf(node, {segmentId: 1}, volume)


@pytest.mark.parametrize("name", [annotations.PAINTED, annotations.MARKED, annotations.OFF])
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
    segment.SetTag(annotations.REVISION, "x")
    assert annotations.revision(segment) == 0
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
    assert longest(annotations.applied(node, known, learned, volume)) <= 2
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
        patched.delattr(annotations, "_readingPart")
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
    atOnce(annotations.applied(node, {segmentId: known}, None, volume))
    own = annotations.read(node, segmentId, volume)
    assert own.painted == {(0, 2), (0, 4), (0, 6)} and np.array_equal(own.draft.on(SHAPE), where)
