"""Where a file keeps its voxels, and whether they are all there: what ITK's readers pass over in silence.

ITK fills a truncated NIfTI with zeros, replaces NaN by zero and a spacing of zero by one, and reads damaged gzip data
of a NRRD or MetaImage without a word. The text or first bytes of a header tell enough to notice, before anything is
allocated.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError

AIR_HU = -500.0
"""In CT air lies below this value, in Hounsfield units, and everything of the body above it."""
DEFLATE_LIMIT = 1032
"""No deflate stream holds more than this many bytes in one (zlib technical details, "Maximum Compression Factor")."""

SLACK = 64 * 1024
"""Bytes behind the voxels that a padded file may have."""

_CHUNK = 1 << 20

_NIFTI_HEADER = 348
_NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_META_TYPES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_FLOAT": 4,
    "MET_LONG": 4,
    "MET_ULONG": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_DOUBLE": 8,
}
_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), 8),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), 8),
    "float": 4,
    "double": 8,
}


@dataclass(frozen=True)
class Storage:
    """Where the voxels are: `expected` bytes from `offset` of `file`, or of what it unpacks to."""

    path: Path
    """The file that the user named."""
    file: Path
    """The file that holds the voxels; another one than `path` for a detached header."""
    start: int
    """Where the compressed or plain stream begins in `file`."""
    compressed: bool
    skipped: int
    """Bytes of the unpacked stream before the voxels."""
    expected: int
    """Bytes of the voxels."""
    real: str = ""
    """NumPy type of floating-point voxels that ITK would clean of NaN, else ""."""
    scale: tuple[float, float] = (1.0, 0.0)
    """Slope and intercept that the reader applies to what is stored (NIfTI's scl_slope and scl_inter)."""
    forms: dict[str, np.ndarray] = field(default_factory=dict)
    """NIfTI's "sform" and "qform", those that are there: 4×4 from voxel indices to mm in RAS."""
    analyze: bool = False
    """The older format, which does not say how the volume lies in the patient."""
    unscaled: bool = False
    """Whether the header does not say how large a voxel is, as those that Python packages write of bare arrays."""


def inspect(path: Path) -> Storage | None:
    """Reads the header's text or first bytes and compares what it announces with the file.

    Returns:
        Where the voxels are, or None for a layout that only ITK knows (voxels in many files, ASCII, bzip2).

    Raises:
        InputError: no header, sizes or spacing that cannot be, or fewer bytes than announced.
    """
    try:
        name = path.name.lower()
        if name.endswith((".nii", ".nii.gz", ".hdr")):
            storage: Storage | None = _nifti(path)
        elif name.endswith((".mha", ".mhd")):
            storage = _meta(path)
        elif name.endswith((".nrrd", ".nhdr")):
            storage = _nrrd(path)
        else:
            return None
        if storage is not None:
            _check_size(storage)
        return storage
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(path, f"is truncated or damaged: {error}") from error
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error


def verify(storage: Storage, nan_allowed: bool = False) -> np.ndarray | None:
    """Unpacks the whole stream, in bounded memory, and checks its checksum, its length, and NaN that ITK would hide.

    Args:
        nan_allowed: NaN is no error; where it is, is returned.

    Returns:
        Which of the voxels are NaN, in the order of the file: a flat array of bool. None without `nan_allowed`, and of
        voxels that ITK leaves as they are.

    Raises:
        InputError: truncated, damaged, longer than announced, or not finite.
    """
    if not storage.compressed and not storage.real:
        return None
    count, rest = -storage.skipped, b""
    missing: list[np.ndarray] = []
    for chunk in _chunks(storage):
        before, count = count, count + len(chunk)
        if count > storage.expected + SLACK:
            raise InputError(
                storage.path, f"unpacks to more than the {_amount(storage.expected)} that its header announces"
            )
        if storage.real:
            voxels = rest + chunk[max(0, -before) : len(chunk) - max(0, count - storage.expected)]
            item = np.dtype(storage.real).itemsize
            whole = len(voxels) // item * item
            values = np.frombuffer(voxels[:whole], storage.real)
            if nan_allowed and not np.isinf(values).any():
                missing.append(np.isnan(values))
            elif not np.isfinite(values).all():
                raise not_finite(storage.path, values)
            rest = voxels[whole:]
    if count < storage.expected:
        raise InputError(storage.path, _too_short(max(count, 0), storage.expected))
    return np.concatenate(missing) if missing else None


def not_finite(path: str | Path, values: np.ndarray) -> InputError:
    """Returns the error that says that values are NaN, which may stand for background, or infinite, which never does."""
    if np.isinf(values).any() or not np.isfinite(values).any():
        return InputError(path, "has voxels that are NaN or infinite")
    hint = "If they are background, say so, or replace them."
    return InputError(path, "has voxels that are NaN", hint, "nan_is_background")


def _check_size(storage: Storage) -> None:
    if not storage.file.is_file():
        raise InputError(storage.path, f"its data file {storage.file.name} is missing")
    size = storage.file.stat().st_size
    present = size - storage.start
    needed = storage.skipped + storage.expected
    if not storage.compressed:
        if present < needed:
            raise InputError(storage.path, _too_short(max(present - storage.skipped, 0), storage.expected))
        return
    if present * DEFLATE_LIMIT < needed:
        raise InputError(
            storage.path,
            f"is truncated: its header announces {_amount(storage.expected)}, which {present} bytes cannot hold",
        )
    if storage.start == 0:  # gzip from the first byte: its last four tell the unpacked length, modulo 2^32
        with open(storage.file, "rb") as file:
            file.seek(-4, 2)
            length = struct.unpack("<I", file.read(4))[0]
        if length != needed % (1 << 32):
            verify(storage, nan_allowed=True)  # whether NaN is an error is for whoever reads the voxels


def _chunks(storage: Storage) -> Iterator[bytes]:
    """Yields the unpacked stream, at most a mebibyte at a time; raises InputError when it is damaged."""
    try:
        with open(storage.file, "rb") as file:
            file.seek(storage.start)
            if not storage.compressed:
                while chunk := file.read(_CHUNK):
                    yield chunk
                return
            packed = file.read(_CHUNK)
            while packed:
                unpacker = zlib.decompressobj(wbits=47)  # gzip or zlib, told by the first bytes
                while not unpacker.eof:
                    chunk = unpacker.decompress(packed, _CHUNK)
                    packed = unpacker.unconsumed_tail or (b"" if unpacker.eof else file.read(_CHUNK))
                    if not chunk and not packed and not unpacker.eof:
                        raise InputError(storage.path, "is truncated: its compressed data ends early")
                    yield chunk
                packed = unpacker.unused_data or file.read(_CHUNK)
                if not packed.startswith(b"\x1f\x8b"):  # padding, not another member
                    return
    except zlib.error as error:
        raise InputError(storage.path, f"is damaged: {error}") from error
    except OSError as error:
        raise InputError(storage.path, f"cannot be read: {error.strerror or error}") from error


def _nifti(path: Path) -> Storage:
    name = path.name.lower()
    compressed = name.endswith(".gz")
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        if compressed and not packed:
            raise InputError(path, "is not a gzip file", "If it is not compressed, its name must end in .nii.")
        if packed and not compressed:
            raise InputError(path, "is compressed, and its name does not say so", "Let it end in .nii.gz.")
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw) if compressed else raw as file:
            head = file.read(_NIFTI_HEADER)
    for order in "<>":
        if len(head) == _NIFTI_HEADER and struct.unpack(order + "i", head[:4])[0] == _NIFTI_HEADER:
            dims = struct.unpack(order + "8h", head[40:56])
            kind, bits = struct.unpack(order + "2h", head[70:74])
            steps = struct.unpack(order + "8f", head[76:108])
            offset, *scale = struct.unpack(order + "3f", head[108:120])
            codes = struct.unpack(order + "2h", head[252:256])
            numbers = struct.unpack(order + "18f", head[256:328])
            analyze = head[344:347] not in (b"n+1", b"ni1")
            break
        if len(head) >= 4 and struct.unpack(order + "i", head[:4])[0] == 540:
            raise InputError(path, "is NIfTI-2, which ITK does not read", "Save it as NIfTI-1.")
    else:
        whole = len(head) == _NIFTI_HEADER
        raise InputError(path, "is not a NIfTI file" if whole else "is truncated: it has no whole header")
    if not 1 <= dims[0] <= 7 or any(d < 1 for d in dims[1 : dims[0] + 1]):
        raise InputError(path, f"has impossible sizes in its header: {dims}")
    for axis, (size, step) in enumerate(zip(dims[1:4], steps[1:4], strict=True)):
        # Along a single voxel no distance is measured; 2D files leave it zero.
        if axis < dims[0] and size > 1 and not (math.isfinite(step) and step > 0):
            raise InputError(path, f"has a spacing of {step:g} mm along its axis {axis}")
    if not analyze and codes[1] > 0 and not all(map(math.isfinite, numbers[6:])):
        raise InputError(path, "has a position or direction that is not a number")
    if not math.isfinite(offset) or offset < 0:
        raise InputError(path, f"has an impossible offset of its voxels in its header: {offset:g}")
    real = order + _NIFTI_TYPES[kind] if _NIFTI_TYPES.get(kind, "").startswith("f") else ""
    expected = math.prod(dims[1 : dims[0] + 1]) * bits // 8
    slope, intercept = (scale[0], scale[1]) if all(map(math.isfinite, scale)) and scale[0] != 0 else (1.0, 0.0)
    pair = name.endswith(".hdr")
    return Storage(
        path,
        _voxels_beside(path) if pair else path,
        0,
        _voxels_beside(path).name.lower().endswith(".gz") if pair else compressed,
        max(int(offset), 0 if pair else 352),
        expected,
        real,
        (1.0, 0.0) if analyze else (slope, intercept),
        {} if analyze else _forms(codes, steps, numbers),
        analyze,
    )


def _voxels_beside(header: Path) -> Path:
    """Returns the `.img` of a pair, whatever the case of its letters."""
    stem = header.name[:-4]
    for suffix in (".img", ".IMG", ".img.gz"):
        if (header.parent / (stem + suffix)).is_file():
            return header.parent / (stem + suffix)
    return header.parent / (stem + ".img")


def _forms(codes: tuple[int, ...], steps: tuple[float, ...], numbers: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Returns the two ways in which a NIfTI header says where its voxels lie (nifti1.h, methods 2 and 3)."""
    forms = {}
    if codes[1] > 0:
        forms["sform"] = np.vstack([np.array(numbers[6:18], float).reshape(3, 4), [0, 0, 0, 1]])
    if codes[0] > 0 and all(map(math.isfinite, numbers[:6])):
        b, c, d = numbers[:3]
        a = math.sqrt(max(1.0 - b * b - c * c - d * d, 0.0))
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        handed = -1.0 if steps[0] < 0 else 1.0
        form = np.eye(4)
        form[:3, :3] = rotation * [abs(steps[1]) or 1, abs(steps[2]) or 1, (abs(steps[3]) or 1) * handed]
        form[:3, 3] = numbers[3:6]
        forms["qform"] = form
    return forms


def _meta(path: Path) -> Storage | None:
    with open(path, "rb") as file:
        head = file.read(_CHUNK)
    found = re.search(rb"^\s*ElementDataFile\s*=\s*([^\r\n]*)\r?\n?", head, re.MULTILINE | re.IGNORECASE)
    if found is None:
        raise InputError(path, "is not a MetaImage file: its header names no ElementDataFile")
    lines = head[: found.start()].decode("utf-8", errors="replace").splitlines()
    fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition("=") for line in lines)}
    where = found.group(1).decode("utf-8", errors="replace").strip()
    if where.upper().startswith("LIST") or "%" in where:
        return None
    width = _META_TYPES.get(fields.get("elementtype", "").upper())
    sizes = _integers(path, fields.get("dimsize", ""))
    if width is None or fields.get("binarydata", "true").lower() != "true":
        return None
    expected = math.prod(sizes) * width * _integers(path, fields.get("elementnumberofchannels") or "1", 1)[0]
    local = where.upper() == "LOCAL"
    compressed = fields.get("compresseddata", "false").lower() == "true"
    start = found.end() if local else max(_integers(path, fields.get("headersize", "0"), 1, -1)[0], 0)
    unscaled = not fields.keys() & {"elementspacing", "elementsize"}
    storage = Storage(path, path if local else path.parent / where, start, compressed, 0, expected, unscaled=unscaled)
    packed = _integers(path, fields.get("compresseddatasize", "0"), 1, 0)[0]
    if compressed and storage.file.is_file() and storage.file.stat().st_size - start < packed:
        raise InputError(path, _too_short(storage.file.stat().st_size - start, packed))
    return storage


def _nrrd(path: Path) -> Storage | None:
    with open(path, "rb") as file:
        head = file.read(_CHUNK)
    if not head.startswith(b"NRRD"):
        raise InputError(path, "is not a NRRD file")
    blank = re.search(rb"\r?\n\r?\n", head)
    text = head[: blank.start()] if blank else head
    lines = [line for line in text.decode("utf-8", errors="replace").splitlines()[1:] if not line.startswith("#")]
    fields = {k.strip().lower(): v.strip() for k, mark, v in (line.partition(":") for line in lines) if mark}
    encoding = fields.get("encoding", "").lower()
    where = fields.get("data file", fields.get("datafile", ""))
    width = _NRRD_TYPES.get(fields.get("type", "").lower())
    if where.upper().startswith("LIST") or "%" in where or width is None or encoding not in ("raw", "gzip", "gz"):
        return None
    if not where and blank is None:
        raise InputError(path, "is truncated: its header has no end")
    expected = math.prod(_integers(path, fields.get("sizes", ""))) * width
    skipped = _integers(path, fields.get("byte skip", fields.get("byteskip", "0")), 1, -1)[0]
    if skipped or fields.get("line skip", fields.get("lineskip", "0")) != "0":
        return None
    start = 0 if where or blank is None else blank.end()
    unscaled = not fields.keys() & {"spacings", "space directions"}
    voxels = path.parent / where if where else path
    return Storage(path, voxels, start, encoding != "raw", 0, expected, unscaled=unscaled)


def _integers(path: Path, text: str, count: int | None = None, least: int = 1) -> list[int]:
    try:
        values = [int(part) for part in text.split()]
    except ValueError:
        values = []
    if not values or (count is not None and len(values) != count) or min(values) < least:
        raise InputError(path, f"has impossible sizes in its header: {text[:80]!r}")
    return values


def _too_short(present: int, expected: int) -> str:
    return f"is truncated: it has {_amount(present)} of the {_amount(expected)} that its header announces"


def _amount(count: int) -> str:
    return f"{count} bytes" if count < 100_000 else f"{count / 1e6:.1f} MB"
