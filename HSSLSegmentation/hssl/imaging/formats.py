"""Which files are volumes, told by their names and first bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

READERS = {
    ".nii.gz": "NiftiImageIO",
    ".nii": "NiftiImageIO",
    ".hdr": "NiftiImageIO",
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".mgz": "MGHImageIO",
    ".mgh": "MGHImageIO",
    ".tif": "TIFFImageIO",
    ".tiff": "TIFFImageIO",
}
"""ITK's reader for each suffix; not every build of SimpleITK has that of FreeSurfer's. `.hdr` is Analyze or NIfTI."""

VOLUME_SUFFIXES = tuple(READERS)
UNSCALED_SUFFIXES = (".tif", ".tiff")
"""Formats that do not say how large a voxel is: the user does."""
DETACHED = {".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".raw.gz"), ".hdr": (".img", ".img.gz")}
"""Headers whose voxels lie beside them, and the suffixes that those usually have."""
DATA_SUFFIXES = tuple(sorted({suffix for suffixes in DETACHED.values() for suffix in suffixes}))
DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")

_WAYS_TO_BE_READ = {
    "Unpack the archives first.": {".zip", ".mrb", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar"},
    "Make grey volumes of the pictures first, such as NIfTI or NRRD with their spacing.": {
        *(".png", ".jpg", ".jpeg", ".bmp", ".gif")
    },
    "Convert arrays to NIfTI or NRRD with their spacing first.": {".npy", ".npz", ".mat", ".h5"},
}

_VALUE_REPRESENTATIONS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)


def suffix_of(path: str | Path) -> str:
    """Returns the suffix that tells the format, such as ".nii.gz", or "" when it is none that is read."""
    name = os.path.basename(path).lower()
    return next((s for s in VOLUME_SUFFIXES if name.endswith(s)), "")


def stem_of(path: str | Path) -> str:
    """Returns a file's name without the suffix of its format, DICOM's too."""
    name = os.path.basename(path)
    suffix = suffix_of(name) or next((s for s in DICOM_SUFFIXES if name.lower().endswith(s)), "")
    return name[: -len(suffix)] if suffix else name


def is_volume(name: str) -> bool:
    """Tells whether a file of that name is a volume; `._a.nii.gz` and other hidden files are none."""
    return not name.startswith(".") and bool(suffix_of(name))


def way_to_be_read(names: Iterable[str]) -> str:
    """Returns what makes files readable that are in no format that is read, told by their names; "" for none of them.

    Example:
        >>> way_to_be_read(["study1.zip", "notes.txt"])
        'Unpack the archives first.'
    """
    suffixes = {os.path.splitext(name.lower())[1] or name.lower() for name in names}
    return next((way for way, of in _WAYS_TO_BE_READ.items() if suffixes & of), "")


def is_dicom(path: str | Path) -> bool:
    """Tells whether the file's suffix or first bytes are those of DICOM, with or without its preamble of 128 bytes."""
    name = os.path.basename(path)
    if name.upper() == "DICOMDIR":
        return False
    if name.lower().endswith(DICOM_SUFFIXES):
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(132)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return False
    return head[128:] == b"DICM" or _begins_with_an_element(head, size)


def _begins_with_an_element(head: bytes, size: int) -> bool:
    """Tells whether these are a first element (group 2 or 8, low number) as DICOM writes it, explicitly or not."""
    if len(head) < 16 or head[:2] not in (b"\x02\x00", b"\x08\x00") or int.from_bytes(head[2:4], "little") > 0x20:
        return False
    return head[4:6] in _VALUE_REPRESENTATIONS or 0 < int.from_bytes(head[4:8], "little") <= min(size, 256)
