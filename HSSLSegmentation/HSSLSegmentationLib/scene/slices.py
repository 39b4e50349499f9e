"""Slice views and the slices of a volume: which slice a view shows, its name, and going to a place or a slice."""

import numpy
from slicer.i18n import tr as _

import slicer

from . import volumes as sceneVolumes
from .annotatedSlices import Plane
from .volumes import SceneVolumeError

PARALLEL = 0.999
"""Smallest cosine between a view's direction and a volume's axis at which the view shows slices of the volume."""


def shownPlane(sliceNode, volumeNode) -> Plane:
    """Returns which slice of the volume a slice view shows.

    Raises:
        SceneVolumeError: the view is oblique to the volume, or beside it.
    """
    ijkToRas = sceneVolumes.worldMatrix(volumeNode)
    sliceToRas = slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceToRAS())
    axes = ijkToRas[:3, :3] / numpy.linalg.norm(ijkToRas[:3, :3], axis=0)
    cosines = numpy.abs(axes.T @ sliceToRas[:3, 2])
    column = int(cosines.argmax())
    if cosines[column] < PARALLEL:
        raise SceneVolumeError(
            _("The view {view} cuts the volume obliquely: align it first (Rotate to volume plane).").format(
                view=sliceNode.GetName()
            )
        )
    index = int(round(float((numpy.linalg.inv(ijkToRas) @ sliceToRas[:, 3])[column])))
    if not 0 <= index < volumeNode.GetImageData().GetDimensions()[column]:
        raise SceneVolumeError(_("The view {view} shows no slice of the volume.").format(view=sliceNode.GetName()))
    return 2 - column, index


def shownPlanes(volumeNode) -> list[Plane]:
    """Returns the slices of the volume that slice views show; an oblique view shows none."""
    found = []
    for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        try:
            found.append(shownPlane(sliceNode, volumeNode))
        except SceneVolumeError:
            continue
    return found


def obliqueViews(volumeNode) -> list:
    """Returns the slice nodes of the layout whose views cut the volume obliquely."""
    normals = _normals(volumeNode)
    layoutManager = slicer.app.layoutManager()
    names = () if layoutManager is None else layoutManager.sliceViewNames()
    nodes = [layoutManager.sliceWidget(name).mrmlSliceNode() for name in names]
    return [
        node
        for node in nodes
        if numpy.abs(normals.T @ slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 2]).max() < PARALLEL
    ]


def name(plane: Plane, volumeNode) -> str:
    """Returns a slice as the views name it: the letter of its axis and its place in millimetres, such as "S: 12.5 mm"."""
    normal, offset = _inTheWorld(plane, volumeNode)
    for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        # Slicer's sagittal views count to the left, so that their places have the other sign.
        if slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceToRAS())[:3, 2] @ normal <= -PARALLEL:
            normal, offset = -normal, -offset
            break
    axis = int(numpy.abs(normal).argmax())
    letter = ("RAS" if normal[axis] > 0 else "LPI")[axis]
    return f"{letter}: {offset:.4g} mm"


def showPlane(plane: Plane, volumeNode) -> None:
    """Shows a slice of the volume in the views of its orientation."""
    normal, offset = _inTheWorld(plane, volumeNode)
    for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        own = slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceToRAS())[:3, 2]
        if abs(own @ normal) >= PARALLEL:
            sliceNode.JumpSliceByOffsetting(*(offset * normal + _across(sliceNode, normal)))


def _across(sliceNode, normal: numpy.ndarray) -> numpy.ndarray:
    """What a view shows in its middle, without its place along a direction."""
    middle = slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceToRAS())[:3, 3]
    return middle - (middle @ normal) * normal


def _normals(volumeNode) -> numpy.ndarray:
    axes = sceneVolumes.worldMatrix(volumeNode)[:3, :3]
    return axes / numpy.linalg.norm(axes, axis=0)


def _inTheWorld(plane: Plane, volumeNode) -> tuple[numpy.ndarray, float]:
    """The slice's direction, in the sense in which views count it, and its distance from the origin in mm."""
    axis, index = plane
    normal = _normals(volumeNode)[:, 2 - axis]
    if normal[int(numpy.abs(normal).argmax())] < 0:
        normal = -normal
    voxel = numpy.zeros(4)
    voxel[2 - axis], voxel[3] = index, 1
    return normal, float(normal @ (sceneVolumes.worldMatrix(volumeNode) @ voxel)[:3])


def goTo(place: tuple[int, int, int], volumeNode) -> None:
    """Shows a voxel (k, j, i) in all slice views; their orientation and zoom stay."""
    ijkToRas = sceneVolumes.worldMatrix(volumeNode)
    ras = ijkToRas @ [*reversed(place), 1.0]
    for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        sliceNode.JumpSliceByOffsetting(*ras[:3])
