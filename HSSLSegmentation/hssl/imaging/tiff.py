"""The pages of a TIFF: what ITK's reader passes over in silence, and which volumes a microscope's pages are.

ITK takes all pages for the slices of one volume, also those of several channels and time points, reads what a truncated
file still has, and fills pages of another kind with zeros.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError
from ..plural import counted

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION = 254, 256, 257, 258, 259, 262, 270
_ORIENTATION, _SAMPLES, _FORMAT, _COLOR_MAP = 274, 277, 339, 320
_OFFSETS, _COUNTS = (273, 324), (279, 325)
_PALETTE = 3
_REDUCED_OR_MASK = 5
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_MOST_BYTES = 1 << 24
_ANEW = "Save each channel and time point as a stack of its own."

_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b([^>]*)>")
_IMAGE = re.compile(r"<(?:\w+:)?Image\b")


@dataclass(frozen=True)
class Pages:
    """How the pages of a file are volumes: page number `first + sum(index × step)` along channels, slices and time points."""

    slices: int
    channels: int = 1
    times: int = 1
    order: str = "CZT"
    """Which runs fastest, of channels, slices (Z) and time points."""
    remark: str = ""

    @property
    def volumes(self) -> int:
        """How many there are: one for each channel of each time point, channels first."""
        return self.channels * self.times

    @property
    def description(self) -> str:
        """What the volumes are, such as "2 channels × 5 time points"; "" of one."""
        parts = [(self.channels, "channel"), (self.times, "time point")]
        return " × ".join(counted(number, what) for number, what in parts if number > 1)

    def of(self, volume: int) -> list[int]:
        """Returns the numbers of a volume's pages, in the order of its slices.

        Example:
            >>> Pages(3, channels=2).of(1), Pages(3, channels=2, order="ZCT").of(1)
            ([1, 3, 5], [3, 4, 5])
        """
        lengths = {"C": self.channels, "Z": self.slices, "T": self.times}
        steps, step = {}, 1
        for axis in self.order:
            steps[axis], step = step, step * lengths[axis]
        time, channel = divmod(volume, self.channels)
        return [channel * steps["C"] + time * steps["T"] + z * steps["Z"] for z in range(self.slices)]


@dataclass(frozen=True)
class _Page:
    size: tuple[int, int]
    kind: tuple[int, int, int]
    """Bits, samples of a pixel, and format (1: unsigned, 2: signed, 3: float)."""
    orientation: int
    is_palette: bool
    ends: int
    """First byte of the file that the page's pixels do not need."""

    @property
    def words(self) -> str:
        bits, samples, _ = self.kind
        return f"{self.size[0]}×{self.size[1]} of {counted(bits, 'bit')}" + (f" × {samples}" if samples > 1 else "")


def pages_of(path: Path, components: int = 1, read: int | None = None) -> Pages:
    """Reads the directories of a TIFF's pages, and what ImageJ, OME or tifffile have written of their order.

    Args:
        components: values in each voxel as ITK's reader announces them.
        read: pages that it announces.

    Raises:
        InputError: damaged or truncated; pages that differ; fewer or more pages than the description announces; a kind of
            pixels that would be read as colours.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            found, description = _directories(path, file, size)
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    except (struct.error, OverflowError, ValueError) as error:
        raise InputError(path, f"is a damaged TIFF: {error}") from error
    first = found[0]
    for number, page in enumerate(found, 1):
        if page.ends > size:
            raise InputError(path, f"is truncated: of its page {number} of {len(found)} pixels are missing")
        if (page.size, page.kind) != (first.size, first.kind):
            raise InputError(
                path,
                f"has pages that are no slices of one volume: the first is {first.words}, page {number} {page.words}",
                "Save the pages that are meant as a TIFF of their own.",
            )
    if first.is_palette:
        raise InputError(
            path,
            "has a color table instead of grey values",
            "Save it as grey values (in ImageJ: Lookup Tables > Grays).",
        )
    if first.kind[1] == 1 and components > 1:
        turned = f", turned (orientation {first.orientation})" if first.orientation > 1 else ""
        raise InputError(
            path,
            f"has pixels of {counted(first.kind[0], 'bit')}{turned}, which are not read",
            "Save it with 8, 16 or 32 bits, upright.",
        )
    if read not in (None, len(found)):
        raise InputError(path, f"has {counted(len(found), 'page')}, of which {read} can be read", _ANEW)
    pages = _arranged(path, description, len(found))
    if components > 1 and pages.volumes > 1:
        raise InputError(path, f"holds {pages.description} in colour", _ANEW)
    return pages


def _directories(path: Path, file: BinaryIO, size: int) -> tuple[list[_Page], str]:
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    version = struct.unpack(order + "H", head[2:4])[0] if order else 0
    if version not in (42, 43):
        raise InputError(path, "is not a TIFF file")
    big = version == 43
    place = struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])[0]
    pages: list[_Page] = []
    description, seen = "", set[int]()
    while place and place not in seen:
        seen.add(place)
        if place + 2 > size:
            raise InputError(path, f"is truncated: after {counted(len(pages), 'page')} the file ends")
        values, place = _directory(path, file, place, order, big, size, len(pages))
        if not pages and not description:
            description = bytes(values.get(_DESCRIPTION, ())).rstrip(b"\0").decode("utf-8", "replace")
        if not _one(values, _SUBFILE, 0) & _REDUCED_OR_MASK:  # a preview, which ITK leaves out as well
            pages.append(_page(values))
    if not pages:
        raise InputError(path, "is a TIFF without a page")
    return pages, description


def _directory(
    path: Path, file: BinaryIO, place: int, order: str, big: bool, size: int, number: int
) -> tuple[dict[int, Sequence[int]], int]:
    """Returns the integers of a page's directory by their tags, and where the next one is."""
    file.seek(place)
    width, count, entry = (8, "Q", "HHQ8s") if big else (4, "H", "HHI4s")
    entries = struct.unpack(order + count, file.read(struct.calcsize(order + count)))[0]
    length = struct.calcsize(order + entry)
    table = file.read(length * entries + width) if length * entries < size else b""
    if len(table) < length * entries + width:
        raise InputError(path, f"is truncated: its page {number + 1} has no whole directory")
    wanted = {_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _FORMAT}
    wanted |= {_COLOR_MAP, *_OFFSETS, *_COUNTS, *([] if number else [_DESCRIPTION])}
    values: dict[int, Sequence[int]] = {}
    for n in range(entries):
        tag, kind, many, inline = struct.unpack_from(order + entry, table, n * length)
        if tag not in wanted or kind not in (2, 7, *_TYPES):
            continue
        amount = many * _WIDTHS[kind]
        data = inline[:amount]
        if amount > width:
            start = struct.unpack(order + ("Q" if big else "I"), inline)[0]
            if start + amount > size or amount > _MOST_BYTES:
                raise InputError(path, f"is truncated: its page {number + 1} has no whole directory")
            file.seek(start)
            data = file.read(amount)
        letter = _TYPES.get(kind, "B")
        values[tag] = struct.unpack(f"{order}{len(data) // struct.calcsize(letter)}{letter}", data)
    following = struct.unpack(order + ("Q" if big else "I"), table[-width:])[0]
    return values, following


def _one(values: dict[int, Sequence[int]], tag: int, missing: int) -> int:
    return next(iter(values.get(tag, ())), missing)


def _page(values: dict[int, Sequence[int]]) -> _Page:
    size = (_one(values, _WIDTH, 0), _one(values, _HEIGHT, 0))
    bits, samples = _one(values, _BITS, 1), _one(values, _SAMPLES, 1)
    offsets = next((values[tag] for tag in _OFFSETS if tag in values), ())
    counts = next((values[tag] for tag in _COUNTS if tag in values), (0,) * len(offsets))
    # What a page cannot need is no loss: some writers announce more.
    plain = _one(values, _COMPRESSION, 1) == 1 and _OFFSETS[0] in values
    most = -(-size[0] * bits * samples // 8) * size[1] if plain else math.inf
    ends = max((int(offset + min(count, most)) for offset, count in zip(offsets, counts, strict=False)), default=0)
    colors = values.get(_COLOR_MAP, ())
    third = len(colors) // 3
    grey = colors[:third] == colors[third : 2 * third] == colors[2 * third :]
    palette = _one(values, _PHOTOMETRIC, 1) == _PALETTE and not grey
    return _Page(size, (bits, samples, _one(values, _FORMAT, 1)), _one(values, _ORIENTATION, 1), palette, ends)


def _arranged(path: Path, description: str, count: int) -> Pages:
    """Returns how the pages are volumes by what the program that wrote them says; else they are the slices of one."""
    said = _of_ome(path, description) or _of_imagej(description) or _of_tifffile(path, description)
    if said is None:
        return Pages(count)
    announced, lengths, order = said
    if announced != count:
        raise InputError(
            path,
            f"announces {counted(announced, 'page')}, and {count} can be read",
            _ANEW,
        )
    channels, slices, times = lengths
    if slices == 1 and times > 1:
        remark = f"its {times} time points of one slice are taken as slices"
        return Pages(times, channels, 1, order.translate(str.maketrans("ZT", "TZ")), remark)
    return Pages(slices, channels, times, order)


def _of_ome(path: Path, description: str) -> tuple[int, tuple[int, int, int], str] | None:
    fits = _PIXELS.search(description)
    if fits is None:
        return None
    if (images := len(_IMAGE.findall(description))) > 1:
        raise InputError(path, f"holds {images} images", "Save the one that is meant as a TIFF of its own.")
    said = dict(re.findall(r"(\w+)\s*=\s*[\"']([^\"']*)[\"']", fits[1]))
    channels, slices, times = (int(said.get(f"Size{axis}", "1")) for axis in "CZT")
    samples = re.search(r"<(?:\w+:)?Channel\b[^>]*SamplesPerPixel\s*=\s*[\"'](\d+)", description)
    channels = max(1, channels // int(samples[1])) if samples and int(samples[1]) else channels
    order = said.get("DimensionOrder", "XYCZT")[2:]
    return channels * slices * times, (channels, slices, times), order if sorted(order) == sorted("CZT") else "CZT"


def _of_imagej(description: str) -> tuple[int, tuple[int, int, int], str] | None:
    if not description.startswith("ImageJ="):
        return None
    said = dict(line.partition("=")[::2] for line in description.splitlines())
    channels, slices, times = (int(said.get(name, "1")) for name in ("channels", "slices", "frames"))
    images = int(said.get("images", "1"))
    if channels * slices * times != images:
        slices, channels, times = images, 1, 1
    return images, (channels, slices, times), "CZT"


def _of_tifffile(path: Path, description: str) -> tuple[int, tuple[int, int, int], str] | None:
    try:
        said = json.loads(description) if description.startswith("{") else {}
        shape = [int(length) for length in said.get("shape", ())]
    except (ValueError, TypeError, AttributeError):
        return None
    if len(shape) < 3:
        return None
    axes = str(said.get("axes", "")).upper()
    if len(axes) != len(shape):
        axes = ""
    before = [(axis, length) for axis, length in zip(axes or "?" * len(shape), shape, strict=True) if axis not in "YXS"]
    before = before if axes else before[: len(shape) - 2]
    several = [(axis, length) for axis, length in before if length > 1]
    if len(several) < 2:
        return None
    names = [axis for axis, _ in several]
    if not set(names) <= set("CZT") or len(set(names)) < len(names):
        raise InputError(
            path,
            f"is an array of {' × '.join(map(str, shape))} that does not say which of its axes are slices",
            _ANEW,
        )
    lengths = dict(several)
    order = "".join(reversed(names)) + "".join(axis for axis in "CZT" if axis not in names)
    channels, slices, times = (lengths.get(axis, 1) for axis in "CZT")
    return math.prod(length for _, length in several), (channels, slices, times), order
