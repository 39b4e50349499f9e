"""Names that label files hold of their values: segmentations of Slicer and MITK (NRRD), and tables of names in NIfTI."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ..errors import InputError, encodable
from ..plural import counted
from .dicom import understood
from .structures import LARGEST_VALUE, Structure

if TYPE_CHECKING:
    from .volumes import OpenVolume

_MITK = "org.mitk.multilabel.segmentation.labelgroups"
_HEADER = 352
_LARGEST_TABLE = 1 << 22


def named_in_nrrd(opened: OpenVolume) -> list[Structure]:
    """Returns the segments that a NRRD file names, as Slicer or MITK wrote them; [] where there are none.

    Raises:
        InputError: what is said of a segment makes no sense.
    """
    path, layers = opened.header.path, opened.header.frames
    with understood(path):
        found = _of_slicer(opened) or _of_mitk(opened) or _of_mitk_before_2023(opened)
    for number, one in enumerate(found):
        if not 0 <= one.layer < layers:
            raise InputError(path, f"has {counted(layers, 'layer')}, and its segment {number} is in layer {one.layer}")
    return found


def named_in_nifti(path: str | Path) -> list[Structure]:
    """Returns the values that a NIfTI names; [] for most.

    Connectome Workbench, and TotalSegmentator with `--ml`, add a table to the header: an XML element `LabelTable` in an
    extension (nifti1.h). A file that cannot be read names nothing; whoever reads its voxels says why.
    """
    tables = []
    try:
        for data in _extensions(Path(path)):
            if b"<LabelTable" in data:
                tables += ElementTree.fromstring(data.strip(b"\0 \r\n\t")).findall(".//LabelTable/Label")
        found = [(int(label.get("Key", "0")), (label.text or "").strip(), label) for label in tables]
        return [
            Structure(encodable(name), key, _color([float(label.get(k, "nan")) for k in ("Red", "Green", "Blue")]))
            for key, name, label in found
            if 0 < key <= LARGEST_VALUE and name
        ]
    except (OSError, EOFError, zlib.error, struct.error, ElementTree.ParseError, ValueError):
        return []


def _extensions(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as raw, gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else raw as file:
        head = file.read(_HEADER)
        order = next((o for o in "<>" if head[:4] == struct.pack(o + "i", 348)), "")
        if len(head) < _HEADER or not order or head[344:347] != b"n+1" or not head[348]:
            return
        left = struct.unpack(order + "f", head[108:112])[0] - _HEADER
        while left >= 16:
            size = struct.unpack(order + "2i", file.read(8))[0]
            if not 16 <= size <= min(left, _LARGEST_TABLE):
                return
            yield file.read(size - 8)
            left -= size


def _of_slicer(opened: OpenVolume) -> list[Structure]:
    found = []
    reader = opened.reader
    several = reader.GetNumberOfComponents() > 1 or reader.GetDimension() == 4
    for number in range(LARGEST_VALUE):
        keys = {k: f"Segment{number}_{k}" for k in ("ID", "Name", "LabelValue", "Layer", "Color", "Tags")}
        said = {k: encodable(reader.GetMetaData(key)) for k, key in keys.items() if reader.HasMetaDataKey(key)}
        if not said:
            break
        tags = dict(part.partition(":")[::2] for part in said.get("Tags", "").split("|"))
        found.append(
            Structure(
                said.get("Name") or said.get("ID") or f"Segment {number + 1}",
                int(said.get("LabelValue", 1 if several else number + 1)),
                _color([float(part) for part in said.get("Color", "").split()]),
                tags.get("TerminologyEntry") or tags.get("Segmentation.TerminologyEntry") or None,
                int(said.get("Layer", number if several else 0)),
            )
        )
    return found


def _of_mitk(opened: OpenVolume) -> list[Structure]:
    """Its groups are layers, and JSON says what is in them."""
    if not opened.reader.HasMetaDataKey(_MITK):
        return []
    found = []
    for layer, group in enumerate(json.loads(opened.reader.GetMetaData(_MITK))):
        for label in group.get("labels") or []:
            color = label.get("color")
            color = color.get("value") if isinstance(color, dict) else None
            name = encodable(str(label.get("name") or f"Label {label['value']}"))
            found.append(Structure(name, int(label["value"]), _color(color or []), None, layer))
    return [one for one in found if one.value > 0]


def _of_mitk_before_2023(opened: OpenVolume) -> list[Structure]:
    """Each label is an XML document, in a field such as `label_000_00001`."""
    reader = opened.reader
    if not reader.HasMetaDataKey("modality") or reader.GetMetaData("modality") != "org.mitk.image.multilabel":
        return []
    found = []
    for key in sorted(reader.GetMetaDataKeys()):
        if fits := re.fullmatch(r"label_(\d{3})_\d{5}", key):
            try:
                document = ElementTree.fromstring(encodable(reader.GetMetaData(key)))
            except ElementTree.ParseError as error:
                raise InputError(opened.header.path, f"has a damaged header: {key}: {error}") from error
            said = {p.get("key"): p[0].get("value", "") for p in document.iter("property") if len(p)}
            value = int(said["value"])
            found.append(Structure(said.get("name") or f"Label {value}", value, None, None, int(fits[1])))
    return [one for one in found if one.value > 0]


def _color(parts: Sequence[float]) -> tuple[float, float, float] | None:
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 and all(0 <= part <= 1 for part in parts) else None
