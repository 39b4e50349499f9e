"""What is known of segments: the same in steps and slabs of any size as at once, and kept in tags as it was."""

from __future__ import annotations

import numpy as np
import pytest
from oddly_placed import orientation, volumeWith

from HSSLSegmentationLib.effect import recorder
from HSSLSegmentationLib.scene import annotations
from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
from HSSLSegmentationLib.scene.annotations import BACKGROUND, SegmentAnnotation
from HSSLSegmentationLib.scene.segmentations import Part
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
def test_a_part_is_kept_in_a_tag_and_comes_back_on_its_own_grid_and_on_another(seed):
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
