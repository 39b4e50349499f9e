"""Slice views and the slices of a volume: which slice a view shows, its name, and going to a place."""

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


def names(planes: list[Plane], volumeNode) -> str:
    """Returns slices in words, such as "axial 3, 5, 8; sagittal 12"."""
    orientations = (_("sagittal"), _("coronal"), _("axial"))
    axes = numpy.abs(sceneVolumes.worldMatrix(volumeNode)[:3, :3])
    parts = []
    for axis in range(3):
        indices = sorted(index for a, index in planes if a == axis)
        if indices:
            name = orientations[int(axes[:, 2 - axis].argmax())]
            shown = ", ".join(map(str, indices[:12])) + (", …" if len(indices) > 12 else "")
            parts.append(f"{name} {shown}")
    return "; ".join(parts)


def goTo(place: tuple[int, int, int], volumeNode) -> None:
    """Shows a voxel (k, j, i) in all slice views; their orientation and zoom stay."""
    ijkToRas = sceneVolumes.worldMatrix(volumeNode)
    ras = ijkToRas @ [*reversed(place), 1.0]
    for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        sliceNode.JumpSliceByOffsetting(*ras[:3])
