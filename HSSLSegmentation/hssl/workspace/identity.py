"""What tells that a file has changed, and that two files are the same image, without reading them whole."""

from __future__ import annotations

import filecmp
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..imaging.formats import DETACHED, stem_of, suffix_of
from ..imaging.name_tables import tables_beside

if TYPE_CHECKING:
    import SimpleITK as sitk

_BLOCK = 16 * 1024
_BLOCKS = 8


def stamp_of(path: str | Path) -> str:
    """Returns size and modification time of a file, with the data file of a detached header, or of a folder's files.

    "missing" for what is not there: a stamp that changes when it comes back.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            hashed = hashlib.blake2b(digest_size=16)
            for entry in sorted(os.scandir(path), key=lambda e: e.name):
                if entry.is_file():
                    one = entry.stat()
                    hashed.update(f"{entry.name}\0{one.st_size}\0{one.st_mtime_ns}\0".encode(errors="surrogateescape"))
            return hashed.hexdigest()
    except (OSError, ValueError):
        return "missing"
    text = f"{status.st_size}-{status.st_mtime_ns}"
    detached = DETACHED.get(suffix_of(path))
    if detached:
        base = os.path.join(os.path.dirname(path), stem_of(path))
        text += "".join(f"+{stamp_of(base + suffix)}" for suffix in detached if os.path.exists(base + suffix))
    return text


def stamp_of_label(files: Sequence[str | Path]) -> str:
    """Returns the stamp of what a label is read from, "missing" where a file of several is, "" for none.

    The table beside a label map that names its values belongs to it.
    """
    stamps = [stamp_of(file) for file in files]
    tables = [[stamp_of(table) for table in tables_beside(file)] for file in files]
    stamps = ["+".join([one, *own]) if one != "missing" else one for one, own in zip(stamps, tables, strict=True)]
    if len(stamps) < 2 or "missing" in stamps:
        return "missing" if "missing" in stamps else "".join(stamps)
    named = [f"{os.path.basename(file)}\0{stamp}" for file, stamp in zip(files, stamps, strict=True)]
    return hashlib.blake2b("\0".join(named).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def content_of(files: Sequence[str | Path]) -> str:
    """Returns a hash over the files' sizes and some blocks of each, from its first byte to its last.

    A small file is hashed whole. The last bytes of a gzip file are the checksum of all its voxels. For the rest the
    hash is a strong hint; `same_bytes` decides.
    """
    hashed = hashlib.blake2b(digest_size=16)
    for path in files:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            hashed.update(f"{size}\0".encode())
            if size <= _BLOCK * _BLOCKS:
                hashed.update(file.read())
                continue
            for number in range(_BLOCKS):
                file.seek((size - _BLOCK) * number // (_BLOCKS - 1))
                hashed.update(file.read(_BLOCK))
    return hashed.hexdigest()


def voxels_in(image: sitk.Image) -> str:
    """Returns two hashes over a volume's voxels, whatever file they are from and of whatever type: of how they are stored
    ("s…") and of how they lie along the patient's axes ("p…").

    Two volumes are the same where they share either: what dcm2niix makes of a DICOM series has its rows from bottom to top, and
    what lost its header has its voxels as they were. A mirror image is another image, since a label may go from one file to
    the other.
    """
    import SimpleITK as sitk

    oriented = sitk.DICOMOrient(image, "LPS")
    stored = _hash_of(image)
    return f"s{stored} p{stored if oriented.GetDirection() == image.GetDirection() else _hash_of(oriented)}"


def _hash_of(image: sitk.Image) -> str:
    import numpy as np
    import SimpleITK as sitk

    values = sitk.GetArrayViewFromImage(image).astype(np.float32) + np.float32(0)  # of -0, too, those of 0
    hashed = hashlib.blake2b(f"{image.GetSize()}".encode(), digest_size=16)
    hashed.update(memoryview(values).cast("B"))
    return hashed.hexdigest()


def same_bytes(one: Path, other: Path) -> bool:
    """Tells whether two files are equal byte for byte; folders of slices are when their files are, in order of size."""
    try:
        if one.is_dir() and other.is_dir():
            return True  # their slices carry unique ids, which the sampled blocks include
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False
