"""The pages of a TIFF: what ITK's reader passes over in silence, and which volumes a microscope's pages are.

ITK takes all pages for the slices of one volume, also those of several channels and time points, reads what a truncated
file still has, and fills pages of another kind with zeros.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..errors import InputError
from ..plural import counted

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_ANEW = "Save each channel and time point as a stack of its own."


@dataclass(frozen=True)
class Pages:
    """How the pages of a file are volumes: page number `sum(index × step)` along channels, slices and time points."""

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


def pages_of(path: Path, components: int = 1, read: int | None = None) -> Pages:
    """Reads the directories of a TIFF's pages, and what ImageJ, OME or tifffile have written of their order.

    Args:
        components: values in each voxel as ITK's reader announces them.
        read: pages that it announces.

    Raises:
        InputError: damaged or truncated; pages that differ; fewer or more pages than the description announces; a kind of
            pixels that would be read as colours.
    """
    from tifffile import TiffFile  # of all volumes few are TIFFs

    try:
        with TiffFile(path) as file:
            every = [page.aspage() for page in file.pages]
            _require_whole(path, file, every)
            # A preview is none, which ITK leaves out as well.
            pages = [page for page in every if not (page.is_reduced or page.is_mask)]
            if not pages:
                raise InputError(path, "is a TIFF without a page")
            _require_slices(path, pages, components)
            if read not in (None, len(pages)):
                raise InputError(path, f"has {counted(len(pages), 'page')}, of which {read} can be read", _ANEW)
            arranged = _arranged(path, file, len(pages))
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, IndexError, struct.error) as error:  # TiffFileError is a ValueError
        raise InputError(path, f"is a damaged or truncated TIFF: {error}") from error
    if components > 1 and arranged.volumes > 1:
        raise InputError(path, f"holds {arranged.description} in colour", _ANEW)
    return arranged


def _require_whole(path: Path, file: TiffFile, pages: Sequence[TiffPage]) -> None:
    """Refuses a file that ends before its last page does: tifffile takes what is there, too."""
    size, form, offsets = file.filehandle.size, file.tiff, [page.offset for page in pages]
    count = len(offsets)
    for number, page in enumerate(pages, 1):
        # What a page cannot need is no loss: some writers announce more.
        plain = page.compression == 1 and not page.is_tiled
        most = -(-page.imagewidth * page.bitspersample * page.samplesperpixel // 8) * page.imagelength
        ends = zip(page.dataoffsets, page.databytecounts, strict=False)
        if max((start + (min(n, most) if plain else n) for start, n in ends), default=0) > size:
            raise InputError(path, f"is truncated: of its page {number} of {count} pixels are missing")
    file.filehandle.seek(offsets[-1])
    tags = struct.unpack(form.tagnoformat, file.filehandle.read(form.tagnosize))[0]
    file.filehandle.seek(offsets[-1] + form.tagnosize + tags * form.tagsize)
    link = file.filehandle.read(form.offsetsize)
    if len(link) < form.offsetsize or struct.unpack(form.offsetformat, link)[0] not in (0, *offsets):
        raise InputError(path, f"is truncated: after {counted(count, 'page')} the file ends")


def _require_slices(path: Path, pages: Sequence[TiffPage], components: int) -> None:
    """Refuses pages that differ, and pixels that ITK makes colours of."""
    from tifffile import PHOTOMETRIC

    first = pages[0]
    for number, page in enumerate(pages, 1):
        if (page.shape, page.dtype, page.bitspersample) != (first.shape, first.dtype, first.bitspersample):
            raise InputError(
                path,
                f"has pages that are no slices of one volume: the first is {_words(first)}, page {number} {_words(page)}",
                "Save the pages that are meant as a TIFF of their own.",
            )
    table = first.colormap
    if table is not None and first.photometric == PHOTOMETRIC.PALETTE and not (table[0] == table).all():
        raise InputError(
            path,
            "has a color table instead of grey values",
            "Save it as grey values (in ImageJ: Lookup Tables > Grays).",
        )
    if first.samplesperpixel == 1 and components > 1:
        orientation = first.tags.valueof("Orientation", 1)
        turned = f", turned (orientation {int(orientation)})" if orientation > 1 else ""
        raise InputError(
            path,
            f"has pixels of {counted(first.bitspersample, 'bit')}{turned}, which are not read",
            "Save it with 8, 16 or 32 bits, upright.",
        )


def _words(page: TiffPage) -> str:
    samples = f" × {page.samplesperpixel}" if page.samplesperpixel > 1 else ""
    return f"{page.imagewidth}×{page.imagelength} of {counted(page.bitspersample, 'bit')}{samples}"


def _arranged(path: Path, file: TiffFile, count: int) -> Pages:
    """Returns how the pages are volumes by what the program that wrote them says; else they are the slices of one."""
    said = (file.imagej_metadata or {}).get("images", count) if file.is_imagej else count
    series = file.series[0]
    if said != count and series.kind != "imagej":
        _announced(path, said, count)
    if series.kind not in ("imagej", "ome", "shaped"):
        return Pages(count)
    if series.kind == "ome" and len(file.series) > 1:
        raise InputError(path, f"holds {len(file.series)} images", "Save the one that is meant as a TIFF of its own.")
    before = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXS" and n > 1]
    announced = math.prod(n for _, n in before)
    if announced != count:
        _announced(path, announced, count)
    if len(before) < 2 and (not before or before[0][0] != "T"):
        return Pages(count)
    names = [axis for axis, _ in before]
    if not set(names) <= set("CZT") or len(set(names)) < len(names):
        shape = " × ".join(map(str, series.shape))
        raise InputError(path, f"is an array of {shape} that does not say which of its axes are slices", _ANEW)
    lengths = dict(before)
    channels, slices, times = (lengths.get(axis, 1) for axis in "CZT")
    order = "".join(reversed(names)) + "".join(axis for axis in "CZT" if axis not in names)
    if slices == 1 and times > 1:
        remark = f"its {times} time points of one slice are taken as slices"
        return Pages(times, channels, 1, order.translate(str.maketrans("ZT", "TZ")), remark)
    return Pages(slices, channels, times, order)


def _announced(path: Path, announced: int, count: int) -> NoReturn:
    raise InputError(path, f"announces {counted(announced, 'page')}, and {count} can be read", _ANEW)
