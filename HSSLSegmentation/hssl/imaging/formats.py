"""Which files are volumes, told by their names and first bytes."""

from __future__ import annotations

import os
from pathlib import Path

READERS = {
    ".nii.gz": "NiftiImageIO",
    ".nii": "NiftiImageIO",
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".mgz": "MGHImageIO",
    ".mgh": "MGHImageIO",
}
"""ITK's reader for each suffix; not every build of SimpleITK has the last one."""

VOLUME_SUFFIXES = tuple(READERS)
DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")


def suffix_of(path: str | Path) -> str:
    """Returns the suffix that tells the format, such as ".nii.gz", or "" when it is none that is read."""
    name = os.path.basename(path).lower()
    return next((s for s in VOLUME_SUFFIXES if name.endswith(s)), "")


def stem_of(path: str | Path) -> str:
    """Returns a file's name without the suffix of its format."""
    name = os.path.basename(path)
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix else name


def is_volume(name: str) -> bool:
    """Tells whether a file of that name is a volume; `._a.nii.gz` and other hidden files are none."""
    return not name.startswith(".") and bool(suffix_of(name))


def is_dicom(path: str | Path) -> bool:
    """Tells whether the file's suffix or first bytes are those of DICOM."""
    name = os.path.basename(path)
    if name.upper() == "DICOMDIR":
        return False
    if name.lower().endswith(DICOM_SUFFIXES):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
