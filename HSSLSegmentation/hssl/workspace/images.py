"""The voxels of an image of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .catalogue import Catalogue, Image

if TYPE_CHECKING:
    import SimpleITK as sitk


def read_image(catalogue: Catalogue, image: Image) -> sitk.Image:
    """Reads an image with what its record says: the series and frame, and the spacing where the file has none (TIFF).

    NaN becomes background where the task says that it is.

    Returns:
        A 3D image with the pixel type of the file.

    Raises:
        InputError: as `imaging.volumes.read_volume`.

    Example:
        >>> from hssl.workspace.images import read_image
        >>> read_image(catalogue, catalogue.usable("liver")[0]).GetSize()  # doctest: +SKIP
        (512, 512, 120)
    """
    from ..imaging.volumes import read_volume

    nan_is_background = catalogue.task(image.task).nan_is_background
    return read_volume(catalogue.image_path(image), image.series, image.frame, image.spacing, nan_is_background)
