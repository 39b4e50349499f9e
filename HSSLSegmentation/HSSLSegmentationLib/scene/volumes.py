"""Volume nodes to files with their true geometry, and images of the engine back onto a volume's grid."""

import gzip
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

import slicer

from ..refusal import Refusal
from ..steps import inThread, slabs

ORTHOGONAL = 1e-4
"""Largest cosine between two axes of a grid that still counts as a right angle."""
SAME_GRID = 1e-3
"""Largest distance, in voxels of the source, at which two grids count as the same."""


class SceneVolumeError(Refusal):
    """A node of the scene cannot be used; the message names it and the reason."""


def reasonNotUsable(volumeNode) -> str:
    """Returns why the engine cannot take the volume node, or "" when it can."""
    if volumeNode is None:
        return _("Choose a volume.")
    name = volumeNode.GetName()
    if not volumeNode.IsA("vtkMRMLScalarVolumeNode"):
        return _("{name} is not a scalar volume.").format(name=name)
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        return _("{name} is a label map; choose the image that it belongs to.").format(name=name)
    image = volumeNode.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0:
        return _("{name} has no voxels.").format(name=name)
    if image.GetNumberOfScalarComponents() != 1:
        return _(
            "{name} has {count} components per voxel (a colour or vector volume); convert it to a scalar volume first."
        ).format(name=name, count=image.GetNumberOfScalarComponents())
    transform = volumeNode.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        return _(
            "{name} is under the non-linear transform {transform}. Harden the transform, or take the volume out of "
            "it, first."
        ).format(name=name, transform=transform.GetName())
    directions = _axes(worldMatrix(volumeNode))
    if numpy.abs(directions.T @ directions - numpy.eye(3)).max() > ORTHOGONAL:
        return _(
            "{name} is sheared by the transform it is under: its axes are not at right angles. "
            "Resample it onto a regular grid (Resample Scalar/Vector/DWI Volume) first."
        ).format(name=name)
    return ""


def check(volumeNode) -> None:
    """Raises SceneVolumeError with the reason when the engine cannot take the volume node."""
    reason = reasonNotUsable(volumeNode)
    if reason:
        raise SceneVolumeError(reason)


def requireInScene(node, problem: str = "") -> None:
    """Raises SceneVolumeError when a node is no longer in the scene: there is nothing then that a result is of.

    Args:
        node: a volume, or another node.
        problem: what to say of a node that is no volume.
    """
    # Ids are used again after a scene was closed, so the node itself is looked for.
    if not slicer.mrmlScene.IsNodePresent(node):
        raise SceneVolumeError(
            problem or _("The volume was removed from the scene meanwhile; the result is discarded.")
        )


NAN_ATTRIBUTE = "HSSL.nanIsBackground"


def isNanBackground(volumeNode) -> bool:
    """Tells whether somebody has said that the voxels of a volume that are NaN are background; it is saved with it."""
    return volumeNode is not None and volumeNode.GetAttribute(NAN_ATTRIBUTE) is not None


def setNanBackground(volumeNode, isBackground: bool) -> None:
    """Says so, or takes it back."""
    if isBackground:
        volumeNode.SetAttribute(NAN_ATTRIBUTE, "1")
    else:
        volumeNode.RemoveAttribute(NAN_ATTRIBUTE)


def stampOf(volumeNode) -> tuple:
    """Returns what tells a volume, as it is now, from another or a changed one."""
    image, matrix = volumeNode.GetImageData(), tuple(worldMatrix(volumeNode).ravel().round(9).tolist())
    return None if image is None else image.GetMTime(), matrix, isNanBackground(volumeNode)


def requireUnchanged(volumeNode, stamp: tuple) -> None:
    """Raises SceneVolumeError when a volume is no longer what a result was computed of: it was removed, moved, or shows
    other voxels, such as another frame of a sequence.

    Args:
        stamp: of `stampOf`, when the volume was handed over.
    """
    requireInScene(volumeNode)
    if stampOf(volumeNode) != stamp:
        raise SceneVolumeError(
            _("{name} was changed or moved meanwhile; the result is discarded.").format(name=volumeNode.GetName())
        )


def localMatrix(volumeNode) -> numpy.ndarray:
    """Returns the 4×4 matrix from voxel indices (i, j, k) to RAS, without the parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def worldMatrix(volumeNode) -> numpy.ndarray:
    """Returns the 4×4 matrix from voxel indices (i, j, k) to RAS in the world, below a linear parent transform."""
    transform = volumeNode.GetParentTransformNode()
    toWorld = vtk.vtkMatrix4x4()
    if transform is not None:
        transform.GetMatrixTransformToWorld(toWorld)
    return slicer.util.arrayFromVTKMatrix(toWorld) @ localMatrix(volumeNode)


def writtenVolume(volumeNode, path: str | Path) -> Iterator[None]:
    """Writes the volume as it stands in the world, in steps: a linear parent transform is hardened into the file, not the
    node. The file, NRRD, is whole at last or not there; it is not compressed, which would take many seconds of a CT.

    Raises:
        SceneVolumeError: the node cannot be used; see `reasonNotUsable`.
        OutputError: the file cannot be written.
    """
    from hssl.files import whole_file

    check(volumeNode)
    with whole_file(path) as temporary:
        yield from writtenRaw(slicer.util.arrayFromVolume(volumeNode), worldMatrix(volumeNode), temporary)
        yield from inThread(lambda: _flush(temporary))


def _flush(path: Path) -> None:
    from hssl.files import flush_to_disk

    with open(path, "rb+") as file:
        flush_to_disk(file.fileno())


_NRRD_TYPES = {
    "int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16", "int32": "int32", "uint32": "uint32",
    "int64": "int64", "uint64": "uint64", "float32": "float", "float64": "double",
}  # fmt: skip
"""What NRRD calls the types of voxels."""
_PIXELS = ("Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float32", "Float64")
"""What SimpleITK calls them."""


QUICK = 1
"""Of gzip's levels: label maps shrink to a hundredth by any."""
VOXELS_AT_ONCE = 2**22
"""Of an array that is read or written, or a segment that is changed, before the window is heard again."""


def passedOn(volumeNode, path: str | Path) -> Iterator[None]:
    """Writes the volume as `writtenVolume` does, for a job that reads it at once, as `writtenRaw` does.

    Raises:
        SceneVolumeError: the node cannot be used; see `reasonNotUsable`.
        OutputError: the file cannot be written.
    """
    check(volumeNode)
    return writtenRaw(slicer.util.arrayFromVolume(volumeNode), worldMatrix(volumeNode), path)


def writtenRaw(array: numpy.ndarray, ijkToRas: numpy.ndarray, path: str | Path) -> Iterator[None]:
    """Writes an array in k, j, i order with its 4×4 matrix to RAS as a raw NRRD file, in steps.

    The voxels go to the file as they lie in memory, and nobody waits for the disk.

    Raises:
        OutputError: the file cannot be written, for example since the disk is full.
    """
    parts = (array[slab] for slab in slabs(array.shape, VOXELS_AT_ONCE))
    return writtenNrrd(parts, array.dtype, array.shape, ijkToRas, path)


def writtenNrrd(
    parts: Iterable[numpy.ndarray],
    dtype: numpy.dtype,
    shape: tuple[int, ...],
    ijkToRas: numpy.ndarray,
    path: str | Path,
    compress: bool = False,
) -> Iterator[None]:
    """Writes voxels that come slab by slab (see `slabs`) as an NRRD file, each slab in a step.

    Raises:
        OutputError: the file cannot be written, for example since the disk is full.
    """
    from hssl.errors import OutputError

    ijkToLps = toLps(ijkToRas)

    def vector(values) -> str:
        return "(" + ",".join(repr(float(value)) for value in values) + ")"

    header = [
        "NRRD0004",
        f"type: {_NRRD_TYPES[dtype.name]}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(map(str, reversed(shape))),
        "space directions: " + " ".join(vector(ijkToLps[:3, axis]) for axis in range(3)),
        "kinds: domain domain domain",
        f"endian: {sys.byteorder}",
        f"encoding: {'gzip' if compress else 'raw'}",
        f"space origin: {vector(ijkToLps[:3, 3])}",
    ]
    try:
        with open(path, "wb") as file:
            file.write(("\n".join(header) + "\n\n").encode("ascii"))
            packed = gzip.GzipFile("", "wb", QUICK, file, mtime=0) if compress else nullcontext(file)
            with packed as voxels:
                for part in parts:
                    voxels.write(numpy.ascontiguousarray(part).data)
                    yield
    except OSError as error:
        raise OutputError(path, f"cannot be written ({error})", "Is the disk full?") from error


def toLps(ijkToRas: numpy.ndarray) -> numpy.ndarray:
    """Returns the 4×4 matrix to LPS, as files and the engine have it."""
    return numpy.diag([-1.0, -1.0, 1.0, 1.0]) @ ijkToRas


def writtenArray(array: numpy.ndarray, path: str | Path) -> Iterator[None]:
    """Writes an array (k, j, i) as a `.npy` file, some slices in each step: a generator that is to be exhausted.

    It is the form in which voxels lie in memory; the engine takes it without conversion.

    Raises:
        SceneVolumeError: the file cannot be written, for example since the disk is full.
    """
    try:
        with open(path, "wb") as file:
            header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
            numpy.lib.format.write_array_header_1_0(file, header)
            for slab in slabs(array.shape, VOXELS_AT_ONCE):
                file.write(numpy.ascontiguousarray(array[slab]).data)
                if slab.stop < len(array):
                    yield
    except OSError as error:
        raise SceneVolumeError(
            _("The volume cannot be passed on to the worker: {reason}. Is the disk full?").format(reason=error)
        ) from error


def readArray(path: str | Path, volumeNode) -> numpy.ndarray:
    """Returns the voxels (k, j, i) of a file that must lie on the grid of the volume node in the world.

    Those of a raw NRRD file are mapped: nothing is read before it is looked at.

    Raises:
        SceneVolumeError: the file cannot be read or lies on another grid.
    """
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        array = _mapped(Path(path), reader)
        image = reader if array is not None else reader.Execute()
    except (RuntimeError, ValueError) as error:
        raise SceneVolumeError(_("{path} cannot be read: {reason}").format(path=path, reason=error)) from error
    if array is None:
        array = SimpleITK.GetArrayFromImage(image)
    expected = worldMatrix(volumeNode)
    found = _matrixOf(image)
    size = tuple(reversed(volumeNode.GetImageData().GetDimensions()))
    if array.shape == size:
        corners = numpy.array([[i, j, k, 1] for i in (0, size[2]) for j in (0, size[1]) for k in (0, size[0])]).T
        apart = numpy.abs(numpy.linalg.inv(expected) @ (found - expected) @ corners).max()
        if apart <= SAME_GRID * max(1, max(size)):
            return array
    raise SceneVolumeError(
        _("{path} does not lie on the grid of {name}. Was the volume changed or moved meanwhile?").format(
            path=path, name=volumeNode.GetName()
        )
    )


def _mapped(path: Path, reader) -> numpy.ndarray | None:
    """The voxels of a NRRD file where they lie behind its header as they lie in memory, or None."""
    import SimpleITK

    with open(path, "rb") as file:
        header, end, _rest = file.read(1 << 16).partition(b"\n\n")
    if not header.startswith(b"NRRD") or not end or b"\nencoding: raw" not in header:
        return None
    # Longer words for the types are usual too, so that they are asked of the library.
    types = {getattr(SimpleITK, f"sitk{name}", None): name.lower() for name in _PIXELS}
    kind = types.get(reader.GetPixelID())
    fields = dict(line.split(": ", 1) for line in header.decode("utf-8", "replace").splitlines() if ": " in line)
    if kind is None or fields.get("endian", sys.byteorder) != sys.byteorder or "data file" in fields:
        return None
    return numpy.memmap(path, kind, "r", len(header) + len(end), tuple(reversed(reader.GetSize())))


def updateFromImage(volumeNode, image) -> None:
    """Gives the volume node voxels and geometry of a SimpleITK image."""
    import SimpleITK

    volumeNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(_matrixOf(image)))
    slicer.util.updateVolumeFromArray(volumeNode, SimpleITK.GetArrayFromImage(image))
    volumeNode.CreateDefaultDisplayNodes()


def addedOverlay(path: str | Path, volumeNode, name: str) -> Generator[None, None, Any]:
    """Adds a file on the volume's grid (such as the uncertainty) as a coloured volume with a legend, in steps; returns the
    node.

    Raises:
        SceneVolumeError: the file cannot be read or lies on another grid; nothing is added.
    """
    overlay = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    try:
        yield from filledOverlay(overlay, path, volumeNode)
    except BaseException:  # also where nobody goes on
        slicer.mrmlScene.RemoveNode(overlay)
        raise
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(overlay)
    legend.SetTitleText(_("Uncertainty"))
    return overlay


def filledOverlay(overlay, path: str | Path, volumeNode) -> Iterator[None]:
    """Gives an overlay the voxels of a file on the volume's grid, and the volume's place, in steps."""
    array = readArray(path, volumeNode)
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(array.shape))
    image.AllocateScalars(numpy_support.get_vtk_array_type(array.dtype), 1)
    values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(array.shape)
    high = 0.0
    for slab in slabs(array.shape, VOXELS_AT_ONCE):
        values[slab] = array[slab]
        high = max(high, float(values[slab].max()))
        yield
    requireInScene(volumeNode)
    requireInScene(overlay)
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    overlay.SetIJKToRASMatrix(matrix)
    overlay.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    overlay.CreateDefaultDisplayNodes()
    display = overlay.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeIron")
    # Certain voxels stay transparent, so that the image shows through where there is no doubt.
    display.SetThreshold(high * 0.1, high)
    display.SetApplyThreshold(True)
    # Slicer's own choice looks at every voxel, which takes as long as all the rest.
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0.0, high)
    overlay.SetAndObserveImageData(image)


def _matrixOf(image) -> numpy.ndarray:
    ijkToLps = numpy.eye(4)
    ijkToLps[:3, :3] = numpy.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    ijkToLps[:3, 3] = image.GetOrigin()
    return numpy.diag([-1.0, -1.0, 1.0, 1.0]) @ ijkToLps


def _axes(matrix: numpy.ndarray) -> numpy.ndarray:
    columns = matrix[:3, :3]
    return columns / numpy.linalg.norm(columns, axis=0)
