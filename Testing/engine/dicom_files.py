"""Writes DICOM series for tests, with every slice's position under the test's control."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk


def write_series(
    folder: Path,
    uid: str = "1.2.826.0.1.3680043.8.498.1",
    positions: Sequence[float] = (0.0, 2.5, 5.0, 7.5),
    size: tuple[int, int] = (16, 12),
    modality: str = "CT",
    direction: Sequence[float] = (1, 0, 0, 0, 1, 0),
    prefix: str = "slice",
    seed: int = 0,
) -> list[Path]:
    """Writes one file a position (mm along the normal) and returns the files in that order."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    normal = np.cross(direction[:3], direction[3:])
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    files = []
    for number, position in enumerate(positions):
        image = sitk.GetImageFromArray(generator.integers(-1000, 1000, size=(1, size[1], size[0])).astype(np.int16))
        image.SetSpacing((0.75, 0.75, 2.5))
        x, y, z = normal * position
        for tag, value in {
            "0008|0060": modality,
            "0020|000d": uid + ".1",
            "0020|000e": uid,
            "0020|0052": uid + ".2",
            "0008|0018": f"{uid}.{seed + 3}.{number + 1}",
            "0020|0013": str(number + 1),
            "0020|0032": f"{x:.6g}\\{y:.6g}\\{z:.6g}",
            "0020|0037": "\\".join(f"{d:.6g}" for d in direction),
            "0028|1052": "0",
            "0028|1053": "1",
        }.items():
            image.SetMetaData(tag, value)
        path = folder / f"{prefix}{number:03d}.dcm"
        writer.SetFileName(str(path))
        writer.Execute(image)
        files.append(path)
    return files
