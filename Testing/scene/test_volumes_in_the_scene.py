"""Volumes of the scene and files: true geometry both ways, whatever the orientation; everything else is refused."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import vtk
from oddly_placed import SHAPE, linearTransform, orientation, volumeWith
from scipy.spatial.transform import Rotation

import slicer
from HSSLSegmentationLib.scene import volumes as sceneVolumes
from HSSLSegmentationLib.scene.volumes import SceneVolumeError
from HSSLSegmentationLib.steps import atOnce, slabs


def rasOfVoxel(path, index) -> np.ndarray:
    return np.array(sitk.ReadImage(str(path)).TransformContinuousIndexToPhysicalPoint(index)) * [-1, -1, 1]


def passOn(node, path) -> None:
    atOnce(sceneVolumes.passedOn(node, path))


def writeVolume(node, path) -> None:
    atOnce(sceneVolumes.writtenVolume(node, path))


def writeArray(values, node, path, compress) -> None:
    parts, matrix = (
        (values[slab] for slab in slabs(values.shape, sceneVolumes.VOXELS_AT_ONCE)),
        sceneVolumes.worldMatrix(node),
    )
    atOnce(sceneVolumes.writtenNrrd(parts, values.dtype, values.shape, matrix, path, compress))


WAYS = pytest.mark.parametrize("write", [writeVolume, passOn])


@WAYS
@pytest.mark.parametrize("leftHanded", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_every_voxel_of_the_file_lies_where_it_lies_in_the_scene(tmp_path, seed, leftHanded, write):
    matrix = orientation(seed, leftHanded)
    node = volumeWith(matrix)
    write(node, tmp_path / "a.nrrd")
    for index in ([0.0, 0, 0], [8, 6, 5], [2, 3, 1]):
        assert np.allclose(rasOfVoxel(tmp_path / "a.nrrd", index), (matrix @ [*index, 1])[:3], atol=1e-9)
    assert np.array_equal(sceneVolumes.readArray(tmp_path / "a.nrrd", node), slicer.util.arrayFromVolume(node))


@pytest.mark.parametrize("type", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_voxels_of_every_type_are_passed_on_as_they_are(tmp_path, type):
    values = np.random.default_rng(0).normal(60, 20, SHAPE).astype(type)
    node = volumeWith(orientation(2, True), values=values)
    passOn(node, tmp_path / "a.nrrd")
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nrrd")))
    assert found.dtype == slicer.util.arrayFromVolume(node).dtype and np.array_equal(found, values)


@pytest.mark.parametrize("type", ["uint8", "int16", "float32"])
def test_a_raw_file_is_mapped_and_a_compressed_one_read_and_both_are_the_same(tmp_path, type, monkeypatch):
    monkeypatch.setattr(sceneVolumes, "VOXELS_AT_ONCE", 100)
    values = np.random.default_rng(0).normal(60, 20, SHAPE).astype(type)
    node = volumeWith(orientation(2, True), values=values)
    passOn(node, tmp_path / "raw.nrrd")
    writeVolume(node, tmp_path / "own.nrrd")
    writeArray(values, node, tmp_path / "small.nrrd", compress=True)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "small.nrrd"))), values)
    for name, isMapped in (("raw", True), ("own", True), ("small", False)):
        found = sceneVolumes.readArray(tmp_path / f"{name}.nrrd", node)
        assert isinstance(found, np.memmap) == isMapped and np.array_equal(found, values)
    (tmp_path / "raw.nrrd").write_bytes((tmp_path / "raw.nrrd").read_bytes()[:-1])
    with pytest.raises(SceneVolumeError, match="raw.nrrd cannot be read"):
        sceneVolumes.readArray(tmp_path / "raw.nrrd", node)


@WAYS
@pytest.mark.parametrize("leftHanded", [False, True])
def test_a_volume_under_a_linear_transform_is_written_where_it_is_seen_and_stays_as_it_is(tmp_path, leftHanded, write):
    matrix, move = orientation(1, leftHanded), np.eye(4)
    move[:3, :3] = Rotation.random(random_state=9).as_matrix()
    move[:3, 3] = [3, 4, 5]
    node, transform = volumeWith(matrix), linearTransform(move)
    node.SetAndObserveTransformNodeID(transform.GetID())
    write(node, tmp_path / "a.nrrd")
    assert np.allclose(rasOfVoxel(tmp_path / "a.nrrd", [2.0, 3, 1]), (move @ matrix @ [2, 3, 1, 1])[:3])
    assert node.GetParentTransformNode() is transform
    assert np.allclose(sceneVolumes.localMatrix(node), matrix)


def test_a_flip_by_the_transform_is_kept(tmp_path):
    node = volumeWith(np.eye(4))
    node.SetAndObserveTransformNodeID(linearTransform(np.diag([-1.0, 1, 1, 1])).GetID())
    writeVolume(node, tmp_path / "a.nrrd")
    assert np.allclose(rasOfVoxel(tmp_path / "a.nrrd", [8.0, 0, 0]), [-8, 0, 0])


def test_a_shearing_transform_is_refused_with_the_reason():
    shear = np.eye(4)
    shear[0, 1] = 0.3
    node = volumeWith(np.eye(4))
    node.SetAndObserveTransformNodeID(linearTransform(shear).GetID())
    assert "sheared" in sceneVolumes.reasonNotUsable(node)


def test_a_non_linear_transform_is_refused_with_the_reason():
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    spline = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    for point in ((0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9)):
        points.InsertNextPoint(point)
    moved = vtk.vtkPoints()
    moved.DeepCopy(points)
    moved.SetPoint(1, 9, 3, 0)
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(moved)
    transform.SetAndObserveTransformToParent(spline)
    node = volumeWith(np.eye(4))
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert "non-linear transform warp" in sceneVolumes.reasonNotUsable(node)


def test_what_is_no_scalar_image_is_refused_with_its_name_and_the_reason():
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    colour = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Photo")
    image = vtk.vtkImageData()
    image.SetDimensions(3, 3, 3)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    colour.SetAndObserveImageData(image)
    labels = slicer.util.addVolumeFromArray(
        np.ones(SHAPE, np.uint8), name="Labels", nodeClassName="vtkMRMLLabelMapVolumeNode"
    )
    assert sceneVolumes.reasonNotUsable(empty) == "Empty has no voxels."
    assert "Photo has 3 components" in sceneVolumes.reasonNotUsable(colour)
    assert "Labels is a label map" in sceneVolumes.reasonNotUsable(labels)
    assert sceneVolumes.reasonNotUsable(None) == "Choose a volume."
    with pytest.raises(SceneVolumeError, match="Empty"):
        writeVolume(empty, "nowhere.nrrd")


def test_a_result_on_another_grid_is_refused(tmp_path):
    node = volumeWith(np.eye(4))
    writeVolume(node, tmp_path / "a.nrrd")
    moved = np.eye(4)
    moved[0, 3] = 0.5
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(moved))
    with pytest.raises(SceneVolumeError, match="does not lie on the grid of CT"):
        sceneVolumes.readArray(tmp_path / "a.nrrd", node)


def test_an_engine_image_becomes_a_volume_at_its_place():
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    image.SetSpacing((0.5, 2.0, 3.0))
    image.SetOrigin((1.0, 2.0, 3.0))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, 1))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "new")
    sceneVolumes.updateFromImage(node, image)
    ras = np.array(image.TransformIndexToPhysicalPoint((3, 1, 1))) * [-1, -1, 1]
    assert np.allclose((sceneVolumes.localMatrix(node) @ [3, 1, 1, 1])[:3], ras)


def test_the_uncertainty_lies_over_the_image_and_moves_with_it(tmp_path):
    node = volumeWith(orientation(2, True))
    node.SetAndObserveTransformNodeID(linearTransform(np.diag([1.0, -1, 1, 1])).GetID())
    values = np.linspace(0, 1, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    writeArray(values, node, tmp_path / "u.nrrd", compress=False)
    overlay = atOnce(sceneVolumes.addedOverlay(tmp_path / "u.nrrd", node, "doubt"))
    assert np.allclose(sceneVolumes.worldMatrix(overlay), sceneVolumes.worldMatrix(node))
    assert np.allclose(slicer.util.arrayFromVolume(overlay), values)
    assert overlay.GetDisplayNode().GetApplyThreshold()
