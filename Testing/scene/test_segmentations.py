"""Segmentations in and out: names, colours, terminology, masks, overwrite mode, undo."""

from __future__ import annotations

import numpy as np
import pytest
from oddly_placed import SHAPE, linearTransform, orientation, volumeWith

import slicer
from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
from HSSLSegmentationLib.scene import volumes as sceneVolumes
from HSSLSegmentationLib.scene.segmentations import SegmentClass, SegmentWriter
from HSSLSegmentationLib.scene.volumes import SceneVolumeError
from HSSLSegmentationLib.steps import atOnce

LIVER = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
)
CLASSES = [SegmentClass(1, "Liver", (0.9, 0.5, 0.1), LIVER), SegmentClass(2, "Tumour", (0.1, 0.2, 0.9))]


@pytest.fixture
def writer():
    made = SegmentWriter()
    yield made
    made.release()


def labelMap(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)


def segment(segmentationNode, name: str):
    segmentation = segmentationNode.GetSegmentation()
    return segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(name))


def voxels(segmentationNode, name: str, volumeNode) -> np.ndarray:
    segmentId = segmentationNode.GetSegmentation().GetSegmentIdBySegmentName(name)
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volumeNode) != 0


@pytest.mark.parametrize("leftHanded", [False, True])
@pytest.mark.parametrize("moved", [False, True])
def test_a_label_map_comes_back_voxel_by_voxel(tmp_path, writer, leftHanded, moved):
    volume = volumeWith(orientation(3, leftHanded))
    if moved:
        volume.SetAndObserveTransformNodeID(linearTransform(orientation(7, False) * [[1], [1], [1], [1]]).GetID())
        if sceneVolumes.reasonNotUsable(volume):
            rigid = np.diag([-1.0, -1.0, 1.0, 1.0])
            volume.SetAndObserveTransformNodeID(linearTransform(rigid).GetID())
    labels = labelMap()
    node = sceneSegmentations.newSegmentation("result", volume)
    writer.write(labels, CLASSES, volume, node)
    found = sceneSegmentations.classesOf(node, CLASSES)
    assert list(found.values()) == CLASSES
    assert atOnce(sceneSegmentations.writingLabelMap(node, volume, found, tmp_path / "l.nrrd")) == 0
    assert np.array_equal(sceneVolumes.readArray(tmp_path / "l.nrrd", volume), labels)


@pytest.mark.parametrize("value", [2, 300])
def test_the_segments_of_a_new_segmentation_are_added_at_once_and_edited_one_by_one(writer, value):
    volume, labels = volumeWith(np.eye(4)), labelMap().astype(np.uint16)
    labels[labels == 2] = value
    classes = [CLASSES[0], SegmentClass(value, "Tumour", (0.1, 0.2, 0.9)), SegmentClass(value + 1, "Bile duct")]
    node = sceneSegmentations.newSegmentation("label", volume)
    sceneSegmentations.addSegments(labels, classes, volume, node)
    assert [s.GetName() for s in (segment(node, c.name) for c in classes)] == [c.name for c in classes]
    for c in classes:
        assert np.array_equal(voxels(node, c.name, volume), labels == c.value)
    writer.write((labels == 0).astype(np.uint8), [SegmentClass(1, "Tumour")], volume, node)
    assert np.array_equal(voxels(node, "Tumour", volume), labels == 0)
    assert np.array_equal(voxels(node, "Liver", volume), labels == 1)
    other = sceneSegmentations.newSegmentation("other", volume)
    sceneSegmentations.addSegments(np.full_like(labels, 257), classes[:1], volume, other)
    assert not voxels(other, "Liver", volume).any()
    nothing = sceneSegmentations.newSegmentation("nothing", volume)
    sceneSegmentations.addSegments(np.zeros_like(labels), classes, volume, nothing)
    assert nothing.GetSegmentation().GetNumberOfSegments() == 3


def test_segments_have_names_colours_terminology_and_the_volumes_reference_geometry(writer):
    volume = volumeWith(orientation(0, False))
    node = sceneSegmentations.newSegmentation("result", volume)
    writer.write(labelMap(), CLASSES, volume, node)
    liver = segment(node, "Liver")
    assert liver.GetColor() == pytest.approx((0.9, 0.5, 0.1))
    assert sceneSegmentations.terminologyOf(liver) == LIVER
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume


def test_a_class_without_a_voxel_gets_an_empty_segment(writer):
    volume = volumeWith(np.eye(4))
    node = sceneSegmentations.newSegmentation("result", volume)
    writer.write((labelMap() == 1).astype(np.uint8), CLASSES, volume, node)
    assert segment(node, "Tumour") is not None
    assert not voxels(node, "Tumour", volume).any()


def test_a_segment_of_the_same_name_is_replaced_and_a_neighbour_keeps_its_voxels(writer):
    volume = volumeWith(np.eye(4))
    node = sceneSegmentations.newSegmentation("mine", volume)
    own = np.ones(SHAPE, np.uint8)
    writer.write(own, [SegmentClass(1, "Spleen")], volume, node)
    writer.write(own, [SegmentClass(1, "liver")], volume, node)
    labels = labelMap()
    writer.write(labels, CLASSES[:1], volume, node)
    assert node.GetSegmentation().GetNumberOfSegments() == 2
    assert np.array_equal(voxels(node, "liver", volume), labels == 1)
    assert voxels(node, "Spleen", volume).all()


def test_a_segment_of_another_name_is_found_by_its_terminology(writer):
    volume = volumeWith(np.eye(4))
    node = sceneSegmentations.newSegmentation("mine", volume)
    writer.write(labelMap(1), [SegmentClass(1, "Leber", None, LIVER)], volume, node)
    writer.write(labelMap(2), CLASSES[:1], volume, node)
    assert node.GetSegmentation().GetNumberOfSegments() == 1
    assert np.array_equal(voxels(node, "Leber", volume), labelMap(2) == 1)


KIDNEY = LIVER.replace("10200004^Liver", "64033007^Kidney")
KIDNEYS = [SegmentClass(1, "left kidney", (1, 0, 0), KIDNEY), SegmentClass(2, "right kidney", (0, 1, 0), KIDNEY)]


def test_classes_of_one_terminology_have_a_segment_each(writer):
    """Such as paired organs or lesions, of which somebody has changed the name alone."""
    volume, labels = volumeWith(np.eye(4)), labelMap()
    node = sceneSegmentations.newSegmentation("result", volume)
    for _time in range(2):
        first, second = writer.write(labels, KIDNEYS, volume, node)
        assert first != second and node.GetSegmentation().GetNumberOfSegments() == 2
        for c in KIDNEYS:
            assert np.array_equal(voxels(node, c.name, volume), labels == c.value)


def test_a_segment_of_a_terminology_that_several_classes_have_is_none_of_them(writer):
    node = sceneSegmentations.newSegmentation("result", volumeWith(np.eye(4)))
    segmentId = sceneSegmentations.addSegment(SegmentClass(1, "kidney", None, KIDNEY), node)
    assert sceneSegmentations.segmentsOfClasses(KIDNEYS, node) == ["", ""]
    assert sceneSegmentations.segmentsOfClasses(KIDNEYS[:1], node) == [segmentId]
    assert sceneSegmentations.classesOf(node, KIDNEYS)[segmentId].value == 3
    assert sceneSegmentations.classesOf(node, KIDNEYS[:1]) == {segmentId: KIDNEYS[0]}


def test_of_two_segments_of_one_terminology_the_one_that_bears_no_classs_name_is_none(writer):
    node = sceneSegmentations.newSegmentation("mine", volumeWith(np.eye(4)))
    named, other = (
        sceneSegmentations.addSegment(SegmentClass(1, n, None, LIVER), node) for n in ("liver", "liver cyst")
    )
    found = sceneSegmentations.classesOf(node, CLASSES)
    assert found[named] == CLASSES[0] and found[other].value == 3


def test_a_segment_that_bears_one_classs_name_is_not_anothers_by_its_terminology(writer):
    node = sceneSegmentations.newSegmentation("result", volumeWith(np.eye(4)))
    segmentId = sceneSegmentations.addSegment(SegmentClass(1, "Liver", None, LIVER), node)
    classes = [SegmentClass(1, "liver parenchyma", None, LIVER), SegmentClass(2, "Liver")]
    assert sceneSegmentations.segmentsOfClasses(classes, node) == ["", segmentId]


def test_the_users_mask_and_overwrite_mode_hold(writer):
    volume = volumeWith(np.eye(4))
    node = sceneSegmentations.newSegmentation("mine", volume)
    half = np.zeros(SHAPE, np.uint8)
    half[:3] = 1
    writer.write(half, [SegmentClass(1, "Allowed")], volume, node)
    editor = slicer.vtkMRMLSegmentEditorNode()
    editor.SetSingletonTag("SegmentEditor")
    slicer.mrmlScene.AddNode(editor)
    editor.SetAndObserveSegmentationNode(node)
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    editor.SetMaskSegmentID(node.GetSegmentation().GetSegmentIdBySegmentName("Allowed"))
    editor.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    writer.write(np.ones(SHAPE, np.uint8), [SegmentClass(1, "New")], volume, node)
    assert np.array_equal(voxels(node, "New", volume), half != 0)
    assert not voxels(node, "Allowed", volume).any()  # overwritten, as the user's mode says
    slicer.mrmlScene.RemoveNode(editor)


def test_the_last_writing_can_be_undone_once(writer):
    volume = volumeWith(np.eye(4))
    node = sceneSegmentations.newSegmentation("mine", volume)
    writer.write(labelMap(1), CLASSES, volume, node)
    writer.write(labelMap(2), CLASSES, volume, node)
    assert writer.canUndo()
    writer.undo()
    assert np.array_equal(voxels(node, "Liver", volume), labelMap(1) == 1)
    writer.release()
    assert not writer.canUndo()
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLSegmentEditorNode") if n.GetName() == "HSSL"]


def test_a_segmentation_under_another_transform_than_the_volume_is_refused(writer):
    volume = volumeWith(np.eye(4))
    node = sceneSegmentations.newSegmentation("mine", volume)
    node.SetAndObserveTransformNodeID(linearTransform(np.eye(4)).GetID())
    with pytest.raises(SceneVolumeError, match="another transform"):
        writer.write(labelMap(), CLASSES, volume, node)


def test_a_segmentation_in_the_world_gets_the_moved_volumes_segments_where_they_are_seen(tmp_path, writer):
    volume = volumeWith(orientation(1, False))
    volume.SetAndObserveTransformNodeID(linearTransform(np.diag([-1.0, -1, 1, 1])).GetID())
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "world")
    writer.write(labelMap(), CLASSES, volume, node)
    atOnce(
        sceneSegmentations.writingLabelMap(
            node, volume, sceneSegmentations.classesOf(node, CLASSES), tmp_path / "l.nrrd"
        )
    )
    assert np.array_equal(sceneVolumes.readArray(tmp_path / "l.nrrd", volume), labelMap())


def test_new_segments_get_the_next_free_values_and_two_of_one_class_are_refused(writer):
    volume = volumeWith(np.eye(4))
    node = sceneSegmentations.newSegmentation("mine", volume)
    writer.write(labelMap(), [SegmentClass(1, "Bile duct"), SegmentClass(2, "LIVER")], volume, node)
    assert [(c.value, c.name) for c in sceneSegmentations.classesOf(node, CLASSES).values()] == [
        (3, "Bile duct"),
        (1, "Liver"),
    ]
    node.GetSegmentation().AddEmptySegment("", "liver")
    with pytest.raises(SceneVolumeError, match="two segments for the class Liver"):
        sceneSegmentations.classesOf(node, CLASSES)


def overlapping(volume, **segments: np.ndarray):
    """A segmentation whose segments lie over each other."""
    node = sceneSegmentations.newSegmentation("mine", volume)
    toNode = sceneSegmentations.matrixInNode(volume, node)
    for name, where in segments.items():
        node.GetSegmentation().AddEmptySegment(name, name)
        image = sceneSegmentations.orientedImage(where.astype(np.uint8), toNode)
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, node, name)
    return node


def box(*slices: slice) -> np.ndarray:
    where = np.zeros(SHAPE, bool)
    where[slices] = True
    return where


def written(node, volume, path) -> int:
    classes = sceneSegmentations.classesOf(node, [])
    return atOnce(sceneSegmentations.writingLabelMap(node, volume, classes, path))


def test_overlapping_segments_are_counted_and_empty_ones_refused(tmp_path):
    volume = volumeWith(np.eye(4))
    row = (slice(2, 3), slice(2, 3))
    node = overlapping(volume, One=box(*row, slice(0, 4)), Two=box(*row, slice(3, 6)))
    assert written(node, volume, tmp_path / "l.nrrd") == 1
    empty = sceneSegmentations.newSegmentation("empty", volume)
    with pytest.raises(SceneVolumeError, match="empty has no segments"):
        atOnce(sceneSegmentations.writingLabelMap(empty, volume, {}, tmp_path / "e.nrrd"))


def test_a_part_above_its_whole_in_the_list_is_not_lost_in_silence(tmp_path):
    volume, file = volumeWith(np.eye(4)), tmp_path / "l.nrrd"
    whole = box(slice(1, 4), slice(1, 5), slice(1, 5))
    within, reaching = box(slice(2, 3), slice(2, 4), slice(2, 4)), box(slice(2, 3), slice(2, 3), slice(2, 6))
    for part, share in ((within, "100 %"), (reaching, "75 %")):
        with pytest.raises(SceneVolumeError, match=f"{share} of tumour lie in liver.*Move the part below the whole"):
            written(overlapping(volume, tumour=part, liver=whole), volume, file)
        assert not file.exists()
        written(overlapping(volume, liver=whole, tumour=part), volume, file)
        labels = sceneVolumes.readArray(file, volume)
        assert np.array_equal(labels, np.where(part, 2, whole))
        file.unlink()


def test_two_readings_of_one_structure_are_not_two_classes(tmp_path):
    volume = volumeWith(np.eye(4))
    first, second = box(slice(1, 4), slice(1, 5), slice(1, 5)), box(slice(1, 4), slice(1, 5), slice(2, 6))
    with pytest.raises(SceneVolumeError, match=r"first and second of mine are mostly the same voxels \(Dice 75 %\)"):
        written(overlapping(volume, first=first, second=second), volume, tmp_path / "l.nrrd")


def test_surfaces_that_were_imported_stay_and_nothing_is_written_among_them(writer):
    """As of an STL file or a structure set: there is no label map that they could be made of anew."""
    volume = volumeWith(np.eye(4))
    node = overlapping(volume, Bone=box(slice(1, 4), slice(1, 5), slice(1, 5)))
    node.CreateClosedSurfaceRepresentation()
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    node.GetSegmentation().SetSourceRepresentationName(surface)
    node.RemoveBinaryLabelmapRepresentation()
    for _time in range(2):
        with pytest.raises(
            SceneVolumeError, match="The segments of mine are no label maps .*choose a new segmentation"
        ):
            writer.write(labelMap(), CLASSES, volume, node)
        with sceneSegmentations.surfacesAtTheEnd(node):
            pass
        assert node.GetSegmentation().GetSegment("Bone").GetRepresentation(surface).GetNumberOfPoints()
    assert node.GetSegmentation().GetNumberOfSegments() == 1


def test_a_segmentation_survives_saving_and_loading_the_scene(tmp_path, writer):
    volume = volumeWith(orientation(0, False))
    node = sceneSegmentations.newSegmentation("result", volume)
    writer.write(labelMap(), CLASSES, volume, node)
    writer.release()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    again, volume = slicer.util.getNode("result"), slicer.util.getNode("CT")
    assert sceneSegmentations.terminologyOf(segment(again, "Liver")) == LIVER
    assert np.array_equal(voxels(again, "Tumour", volume), labelMap() == 2)


def test_a_segment_that_changes_while_it_is_read_is_read_as_it_is_then(writer, monkeypatch):
    monkeypatch.setattr(sceneSegmentations, "CACHED_VOXELS", 1)
    volume = volumeWith(np.eye(4))
    node = sceneSegmentations.newSegmentation("mine", volume)
    labels = labelMap()
    (segmentId, *_rest) = writer.write(labels, CLASSES, volume, node)
    reading = sceneSegmentations.readingPart(node, segmentId, volume)
    next(reading)
    changed = np.zeros(SHAPE, np.uint8)
    changed[:, 1:3, 2:5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(changed, node, segmentId, volume)
    assert np.array_equal(atOnce(reading).on(SHAPE), changed == 1)
    assert np.array_equal(sceneSegmentations.segmentOnGrid(node, segmentId, volume), changed == 1)
