"""Campaign: files that a user may have by mistake are refused with the reason, and the rest of the batch goes on.

    PYTHONPATH=HSSLSegmentation python Testing/robustness/bad_input.py --count 600 --seed 1

Files are made by the kinds below, sound ones and broken ones mixed, some two dozen to a batch. Each batch is added to
a workspace and checked in a process of its own, so that a crash, a hang or a growing memory is seen too. Every broken
file must be named with a reason, every sound one must be usable, no traceback, no memory beyond the limit. A failure
prints the command that replays its batch.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from hssl.errors import HSSLError, InputError, encodable
from hssl.events import Event
from hssl.imaging.volumes import read_volume, write_volume
from hssl.workspace.candidates import Source
from hssl.workspace.catalogue import Catalogue, LabelClass, Task
from hssl.workspace.check import check_workspace
from hssl.workspace.scan import add
from hssl.workspace.sources import find

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))
from dicom_files import write_frames, write_segmentation, write_slices, write_structures

BATCH = 24
MEMORY_LIMIT = 400 * 2**20
"""Bytes of a process at its peak; the imports take some 150 MB of them, the largest sound file 1 MB."""
TIME_LIMIT = 120.0
"""Seconds for a batch."""

TAKEN, REFUSED, LABEL, EITHER = "taken", "refused", "label refused", "either"
NO_LABEL = "label refused, or its file"
ACCEPTED = {EITHER: (TAKEN, REFUSED, LABEL), NO_LABEL: (LABEL, REFUSED)}

Kind = Callable[["Folder", random.Random, str], str]
"""Makes the files of a case; returns what must become of them."""


class Folder:
    """Where a case puts its image and label."""

    def __init__(self, root: Path):
        self.root = root
        for name in ("images", "labels"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def image(self, name: str) -> Path:
        return self.root / "images" / name

    def label(self, name: str) -> Path:
        return self.root / "labels" / name


def volume(rng: random.Random, kind: str = "int16") -> sitk.Image:
    generator = np.random.default_rng(rng.getrandbits(32))
    size = [rng.randint(6, 40) for _ in range(3)]
    image = sitk.GetImageFromArray(generator.normal(200, 50, size).astype(kind))
    image.SetSpacing([rng.uniform(0.2, 5) for _ in range(3)])
    image.SetOrigin([rng.uniform(-300, 300) for _ in range(3)])
    turn = sitk.Euler3DTransform((0, 0, 0), *(rng.uniform(-3, 3) for _ in range(3)))
    image.SetDirection(turn.GetMatrix())
    return image


def label_of(image: sitk.Image, kind: int = sitk.sitkUInt8) -> sitk.Image:
    return sitk.Cast(image > 200, kind)


def suffix(rng: random.Random) -> str:
    return rng.choice([".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".nhdr"])


def written(folder: Folder, rng: random.Random, name: str, kind: str = "int16", end: str = "") -> Path:
    path = folder.image(name + (end or suffix(rng)))
    sitk.WriteImage(volume(rng, kind), str(path), rng.random() < 0.5)
    return path


def voxels_of(path: Path) -> Path:
    """Returns the file that holds the voxels of what was written."""
    stem = path.with_suffix("")
    return next((p for s in (".raw", ".zraw", ".raw.gz") if (p := Path(f"{stem}{s}")).exists()), path)


# Sound ---------------------------------------------------------------------------------------------------------


def sound(folder: Folder, rng: random.Random, name: str) -> str:
    name = rng.choice(["", "Übung ", "脑 ", "a b ", "%s ", "{x}", "'q' "]) + name
    image = volume(rng, rng.choice(["int16", "uint16", "float32", "uint8", "float64"]))
    end = ".nrrd" if "%" in name else suffix(rng)  # MetaImage takes the percent sign of its data file for a pattern
    sitk.WriteImage(image, str(folder.image(name + end)))
    if rng.random() < 0.5:
        write_volume(label_of(image), folder.label(name + rng.choice([".nii.gz", ".nrrd", ".mha"])))
    return TAKEN


def left_handed(folder: Folder, rng: random.Random, name: str) -> str:
    image = volume(rng)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    direction[:, rng.randrange(3)] *= -1
    image.SetDirection(direction.ravel().tolist())
    write_volume(image, folder.image(name + rng.choice([".nii.gz", ".nrrd", ".mha"])))
    return TAKEN


def two_dimensions(folder: Folder, rng: random.Random, name: str) -> str:
    flat = volume(rng)[:, :, 2]
    flat.SetDirection((1, 0, 0, 1))  # a plane cut out of a turned volume has none of its own
    sitk.WriteImage(flat, str(folder.image(name + rng.choice([".nii.gz", ".nrrd", ".mha"]))))
    return TAKEN


def float_label(folder: Folder, rng: random.Random, name: str) -> str:
    image = volume(rng)
    write_volume(image, folder.image(name + ".nii.gz"))
    write_volume(label_of(image, rng.choice([sitk.sitkFloat32, sitk.sitkFloat64])), folder.label(name + ".nii.gz"))
    return TAKEN


def padded(folder: Folder, rng: random.Random, name: str) -> str:
    path = written(folder, rng, name, end=".nii")
    path.write_bytes(path.read_bytes() + bytes(rng.randrange(1, 4096)))
    return TAKEN


# Broken --------------------------------------------------------------------------------------------------------


def truncated(folder: Folder, rng: random.Random, name: str) -> str:
    data = voxels_of(written(folder, rng, name, rng.choice(["int16", "float32"])))
    content = data.read_bytes()
    data.write_bytes(content[: rng.randrange(len(content) - 8)])
    return REFUSED


def no_bytes(folder: Folder, rng: random.Random, name: str) -> str:
    folder.image(name + suffix(rng)).write_bytes(b"")
    return REFUSED


def wrong_magic(folder: Folder, rng: random.Random, name: str) -> str:
    path = written(folder, rng, name, end=rng.choice([".nii", ".nii.gz", ".nrrd", ".nhdr"]))  # MetaImage has none
    content = bytearray(path.read_bytes())
    content[:8] = rng.randbytes(8)
    path.write_bytes(content)
    return REFUSED


def something_else(folder: Folder, rng: random.Random, name: str) -> str:
    content = rng.choice([b"%PDF-1.7\n" * 80, b"\x89PNG\r\n\x1a\n" * 60, b"PK\x03\x04" * 200, rng.randbytes(3000)])
    folder.image(name + suffix(rng)).write_bytes(content)
    return REFUSED


def huge_header(folder: Folder, rng: random.Random, name: str) -> str:
    path = written(folder, rng, name, end=rng.choice([".nii", ".mha", ".nrrd"]))
    content = bytearray(path.read_bytes())
    if path.suffix == ".nii":
        struct.pack_into("<3h", content, 42, 10000, 10000, 10000)
    else:
        mark = b"DimSize = " if path.suffix == ".mha" else b"sizes: "
        at = content.index(mark) + len(mark)
        content[at : content.index(b"\n", at)] = b"10000 10000 10000"
    path.write_bytes(content)
    return REFUSED


def not_finite(folder: Folder, rng: random.Random, name: str) -> str:
    image = volume(rng, rng.choice(["float32", "float64"]))
    bad = rng.choice([float("nan"), float("inf"), float("-inf")])
    image[tuple(rng.randrange(n) for n in image.GetSize())] = bad
    sitk.WriteImage(image, str(folder.image(name + suffix(rng))), rng.random() < 0.5)
    return REFUSED


def constant(folder: Folder, rng: random.Random, name: str) -> str:
    sitk.WriteImage(volume(rng) * 0 + rng.randrange(9), str(folder.image(name + suffix(rng))))
    return REFUSED


def zero_spacing(folder: Folder, rng: random.Random, name: str) -> str:
    path = written(folder, rng, name, end=rng.choice([".nii", ".mha"]))
    content = bytearray(path.read_bytes())
    if path.suffix == ".nii":
        bad = rng.choice([0.0, -2.0, float("nan"), float("inf")])
        struct.pack_into("<f", content, 80 + 4 * rng.randrange(3), bad)
    else:
        at = content.index(b"ElementSpacing = ") + len(b"ElementSpacing = ")
        content[at : content.index(b"\n", at)] = rng.choice([b"0 1 1", b"1 -1 1", b"1 1 nan"])
    path.write_bytes(content)
    return REFUSED


def singular_direction(folder: Folder, rng: random.Random, name: str) -> str:
    path = written(folder, rng, name, end=rng.choice([".nii", ".mha", ".nrrd"]))
    content = bytearray(path.read_bytes())
    if path.suffix == ".nii":
        struct.pack_into("<2h", content, 252, 0, 1)
        struct.pack_into(
            "<12f", content, 280, *rng.choice([[1, 0, 0, 0] * 3, [0] * 12, [1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]])
        )
    elif path.suffix == ".mha":
        at = content.index(b"TransformMatrix = ") + len(b"TransformMatrix = ")
        content[at : content.index(b"\n", at)] = rng.choice(
            [b"1 0 0 1 0 0 0 0 1", b"0 0 0 0 0 0 0 0 0", b"1 0 0 0 1 0 0 1 1"]
        )
    else:
        at = content.index(b"space directions: ") + len(b"space directions: ")
        content[at : content.index(b"\n", at)] = rng.choice([b"(1,0,0) (1,0,0) (0,0,1)", b"(0,0,0) (0,1,0) (0,0,1)"])
    path.write_bytes(content)
    return REFUSED


def four_dimensions(folder: Folder, rng: random.Random, name: str) -> str:
    first = volume(rng)
    frames = sitk.JoinSeries([first] * rng.randint(2, 4))
    sitk.WriteImage(frames, str(folder.image(name + rng.choice([".nii.gz", ".nrrd", ".mha"]))))
    return REFUSED


def colour(folder: Folder, rng: random.Random, name: str) -> str:
    plane = sitk.Cast(volume(rng), sitk.sitkUInt8)
    sitk.WriteImage(
        sitk.Compose([plane] * rng.choice([3, 4])), str(folder.image(name + rng.choice([".nii.gz", ".nrrd", ".mha"])))
    )
    return REFUSED


def gzip_bomb(folder: Folder, rng: random.Random, name: str) -> str:
    path = written(folder, rng, name, end=".nii")
    head = path.read_bytes()
    path.unlink()
    packer = zlib.compressobj(9, wbits=31)
    with open(folder.image(name + ".nii.gz"), "wb") as file:
        file.write(packer.compress(head))
        block = bytes(1 << 22)
        for _ in range(rng.randint(64, 256)):
            file.write(packer.compress(block))
        file.write(packer.flush())
    return REFUSED


def damaged_gzip(folder: Folder, rng: random.Random, name: str) -> str:
    path = folder.image(name + ".nii.gz")
    sitk.WriteImage(volume(rng, "float32"), str(path))
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content) // 2, len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return REFUSED


def missing_data_file(folder: Folder, rng: random.Random, name: str) -> str:
    voxels_of(written(folder, rng, name, end=rng.choice([".mhd", ".nhdr"]))).unlink()
    return REFUSED


def no_file(folder: Folder, rng: random.Random, name: str) -> str:
    path = folder.image(name + ".nii.gz")
    if rng.random() < 0.5:
        path.symlink_to(rng.choice([path, folder.root / "nowhere"]))
    else:
        os.mkfifo(path)
    return REFUSED


def odd_name(folder: Folder, rng: random.Random, name: str) -> str:
    path = os.path.join(os.fsencode(folder.image("")), os.fsencode(name) + rng.choice([b"\xff", b"\xe4"]) + b".nii.gz")
    Path(os.fsdecode(path)).write_bytes(b"")
    return REFUSED


def link_in_a_circle(folder: Folder, rng: random.Random, name: str) -> str:
    (folder.image(name) / "deeper").mkdir(parents=True)
    (folder.image(name) / "deeper" / "up").symlink_to(folder.root, target_is_directory=True)
    sitk.WriteImage(volume(rng), str(folder.image(name) / "deeper" / f"{name}.nrrd"))
    return TAKEN


# Labels --------------------------------------------------------------------------------------------------------


def with_label(folder: Folder, rng: random.Random, name: str, change: Callable[[sitk.Image], sitk.Image]) -> str:
    image = volume(rng)
    write_volume(image, folder.image(name + ".nii.gz"))
    write_volume(change(label_of(image)), folder.label(name + rng.choice([".nii.gz", ".nrrd"])))
    return LABEL


def empty_label(folder: Folder, rng: random.Random, name: str) -> str:
    with_label(folder, rng, name, lambda x: x * 0)
    return TAKEN  # it says that the case is healthy


def fractional_label(folder: Folder, rng: random.Random, name: str) -> str:
    return with_label(folder, rng, name, lambda x: sitk.Cast(x, sitk.sitkFloat32) * rng.choice([0.5, -1, 1e9]))


def unknown_label_value(folder: Folder, rng: random.Random, name: str) -> str:
    return with_label(folder, rng, name, lambda x: x * rng.randint(3, 250))


def label_on_another_grid(folder: Folder, rng: random.Random, name: str) -> str:
    def change(x: sitk.Image) -> sitk.Image:
        choice = rng.randrange(4)
        if choice == 0:
            return x[1:]
        if choice == 1:
            x.SetSpacing([s * 1.3 for s in x.GetSpacing()])
        elif choice == 2:
            x.SetOrigin([o + 3 for o in x.GetOrigin()])
        else:
            x.SetDirection((np.array(x.GetDirection()).reshape(3, 3) @ np.diag([-1, -1, 1])).ravel().tolist())
        return x

    return with_label(folder, rng, name, change)


def broken_label(folder: Folder, rng: random.Random, name: str) -> str:
    write_volume(volume(rng), folder.image(name + ".nii.gz"))
    folder.label(name + ".nii.gz").write_bytes(rng.choice([b"", b"text", gzip.compress(rng.randbytes(500))]))
    return LABEL


# DICOM ---------------------------------------------------------------------------------------------------------


def series(
    folder: Folder, rng: random.Random, name: str, positions: list[float], size: tuple[int, int] = (16, 12)
) -> list[Path]:
    """Writes one DICOM file a position."""
    uid = f"1.2.826.0.1.{rng.getrandbits(40)}"
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    files = []
    folder.image(name).mkdir(exist_ok=True)
    for number, position in enumerate(positions):
        values = np.random.default_rng(rng.getrandbits(32)).integers(0, 900, (1, 12, 16))
        image = sitk.GetImageFromArray(values.astype(np.int16))
        for tag, value in {
            "0008|0060": rng.choice(["CT", "MR"]),
            "0020|000d": uid,
            "0020|000e": uid + ".1",
            "0008|0018": f"{uid}.2.{number}",
            "0020|0013": str(number),
            "0020|0032": f"0\\0\\{position:.4f}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():
            image.SetMetaData(tag, value)
        files.append(folder.image(name) / f"{number:03d}{rng.choice(['.dcm', ''])}.dcm")
        writer.SetFileName(str(files[-1]))
        writer.Execute(image)
    return files


def sound_series(folder: Folder, rng: random.Random, name: str) -> str:
    positions = [2.0 * n for n in range(rng.randint(3, 9))]
    rng.shuffle(positions)
    series(folder, rng, name, positions)
    return TAKEN


def missing_slice(folder: Folder, rng: random.Random, name: str) -> str:
    files = series(folder, rng, name, [2.0 * n for n in range(8)])
    files[rng.randrange(1, 7)].unlink()
    return REFUSED


def duplicate_slice(folder: Folder, rng: random.Random, name: str) -> str:
    several = rng.random() < 0.5
    series(folder, rng, name, [0, 2, 4, 4, 6] if several else [0, 0, 2, 2, 4, 4])
    return TAKEN if several else REFUSED  # the largest volume is taken; of two alike none is without a choice


def broken_slice(folder: Folder, rng: random.Random, name: str) -> str:
    file = rng.choice(series(folder, rng, name, [0, 2, 4, 6, 8]))
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(140, len(content) - 64)])
    return REFUSED


def frames(folder: Folder, rng: random.Random, name: str, positions: list[float]) -> Path:
    """Writes an enhanced MR image, a frame for each position."""
    values = np.random.default_rng(rng.getrandbits(32)).integers(0, 900, (len(positions), 12, 16))
    return rewritten(write_frames(folder.image(name) / "frames.dcm", values.astype(np.int16), positions), rng, {})


def rewritten(path: Path, rng: random.Random, change: dict[str, object]) -> Path:
    """Gives a DICOM object other elements, and UIDs and a patient of its own where it labels nothing."""
    made = pydicom.dcmread(path)
    if made.Modality not in ("SEG", "RTSTRUCT"):
        uid = f"1.2.826.0.3.{rng.getrandbits(40)}"
        made.PatientID, made.StudyInstanceUID, made.SeriesInstanceUID = uid, uid + ".1", uid + ".2"
    for keyword, value in change.items():
        setattr(made, keyword, value)
    made.save_as(path)
    return path


def sound_frames(folder: Folder, rng: random.Random, name: str) -> str:
    positions = [3.0 * n for n in range(rng.randint(3, 9))]
    rng.shuffle(positions)
    frames(folder, rng, name, positions)
    return TAKEN


def missing_frame(folder: Folder, rng: random.Random, name: str) -> str:
    positions = [3.0 * n for n in range(8)]
    del positions[rng.randrange(1, 7)]
    frames(folder, rng, name, positions)
    return REFUSED


def contradictory_frames(folder: Folder, rng: random.Random, name: str) -> str:
    path = frames(folder, rng, name, [0, 3, 6, 9])
    groups = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    change: list[dict[str, object]] = [
        {"NumberOfFrames": rng.choice([1, 3, 5, 4000])},
        {"PerFrameFunctionalGroupsSequence": groups[:2]},
        {"Rows": 12000},
        {"PixelData": bytes(2 * 12 * 16 * 3)},
    ]
    rewritten(path, rng, rng.choice(change))
    return REFUSED


def labelled_series(folder: Folder, rng: random.Random, name: str) -> tuple[list[Path], str]:
    """Writes a series with what a label needs to refer to it; returns its files and UID."""
    uid = f"1.2.826.0.2.{rng.getrandbits(40)}"
    values = np.random.default_rng(rng.getrandbits(32)).integers(0, 900, (6, 12, 16)).astype(np.int16)

    def change(made: pydicom.Dataset, number: int) -> None:
        made.PatientID, made.StudyInstanceUID, made.FrameOfReferenceUID = uid, uid + ".1", uid + ".2"

    return write_slices(folder.image(name), values, [2.0 * n for n in range(6)], change, series=uid), uid


def segmentation(folder: Folder, rng: random.Random, name: str, names: list[str]) -> Path:
    """Writes a series and a SEG of it, whose segments lie beside each other."""
    files, _ = labelled_series(folder, rng, name)
    masks = np.zeros((6, 12, 16, len(names)), np.uint8)
    for number in range(len(names)):
        masks[rng.randrange(3) :, 3:9, 2 + 5 * number : 6 + 5 * number, number] = 1
    return write_segmentation(folder.label(name) / "seg.dcm", files, masks, names)


def sound_segmentation(folder: Folder, rng: random.Random, name: str) -> str:
    segmentation(folder, rng, name, rng.choice([["one"], ["two", "one"], [" One", "TWO"]]))
    return TAKEN


def segmentation_of_others(folder: Folder, rng: random.Random, name: str) -> str:
    segmentation(folder, rng, name, rng.choice([["liver"], ["one", "tumour"]]))
    return LABEL


def broken_segmentation(folder: Folder, rng: random.Random, name: str) -> str:
    path = segmentation(folder, rng, name, ["one", "two"])
    content = path.read_bytes()
    if rng.random() < 0.5:
        path.write_bytes(content[: rng.randrange(len(content) - 64)])
    else:
        made = pydicom.dcmread(path)
        del made[rng.choice(["SegmentSequence", "PerFrameFunctionalGroupsSequence", "PixelData"])]
        made.save_as(path)
    return NO_LABEL


def structures(
    folder: Folder, rng: random.Random, name: str, names: list[str], shift: float = 0, kind: str = "CLOSED_PLANAR"
) -> Path:
    """Writes a series and an RTSTRUCT of it, whose structures lie beside each other."""
    _, uid = labelled_series(folder, rng, name)
    contours = {}
    for number, one in enumerate(names):
        left, right = 1 + 6 * number + shift, 5 + 6 * number + shift
        corners = [(left, 2.0), (right, 2.0), (right, 8.0 + rng.random()), (left, 8.0)]
        contours[one] = [np.array([(x, y, 2.0 * z) for x, y in corners]) for z in range(rng.randint(0, 2), 5)]
    folder.label(name).mkdir()
    return write_structures(folder.label(name) / "rs.dcm", contours, uid, kind)


def sound_structures(folder: Folder, rng: random.Random, name: str) -> str:
    structures(folder, rng, name, rng.choice([["one"], ["two", "one"], ["ONE ", "Two"]]))
    return TAKEN


def structures_outside(folder: Folder, rng: random.Random, name: str) -> str:
    structures(folder, rng, name, ["one", "two"], shift=rng.choice([-1, 1]) * 500.0)
    return LABEL


def open_structures(folder: Folder, rng: random.Random, name: str) -> str:
    structures(folder, rng, name, ["one", "two"], kind=rng.choice(["OPEN_PLANAR", "POINT"]))
    return NO_LABEL


def broken_structures(folder: Folder, rng: random.Random, name: str) -> str:
    path = structures(folder, rng, name, ["one", "two"])
    made = pydicom.dcmread(path)
    item = made.ROIContourSequence[rng.randrange(2)].ContourSequence[0]
    choice = rng.randrange(3)
    if choice == 0:
        item.ContourData = item.ContourData[: rng.choice([4, 8])]
    elif choice == 1:
        del made.ROIContourSequence
    else:
        del made.ROIContourSequence[0].ReferencedROINumber
    made.save_as(path)
    return NO_LABEL


# Slicer's segmentations, TIFF ----------------------------------------------------------------------------------


def slicer_segmentation(folder: Folder, rng: random.Random, name: str, names: list[str], layers: int = 1) -> Path:
    """Writes an image and Slicer's segmentation of it; segments of several layers overlap."""
    image = volume(rng)
    write_volume(image, folder.image(name + rng.choice([".nrrd", ".nii.gz"])))
    label = label_of(image)
    drawn = sitk.Compose([label] * layers) if layers > 1 else label + label * sitk.Cast(image > 240, sitk.sitkUInt8)
    path = folder.label(name + ".seg.nrrd")
    sitk.WriteImage(drawn, str(path), True)
    said = ""
    for number, one in enumerate(names):
        value, layer = (1, number) if layers > 1 else (number + 1, 0)
        said += f"Segment{number}_ID:=s{number}\nSegment{number}_Name:={one}\n"
        said += f"Segment{number}_LabelValue:={value}\nSegment{number}_Layer:={layer}\n"
    path.write_bytes(path.read_bytes().replace(b"\n\n", f"\n{said}\n".encode(), 1))
    return path


def sound_slicer_segmentation(folder: Folder, rng: random.Random, name: str) -> str:
    slicer_segmentation(folder, rng, name, rng.choice([["one", "two"], ["two", "one"], ["One ", "TWO"]]))
    return TAKEN


def slicer_segmentation_of_others(folder: Folder, rng: random.Random, name: str) -> str:
    slicer_segmentation(folder, rng, name, rng.choice([["one", "Segment_2"], ["one", "one"], ["liver", "two"]]))
    return LABEL


def overlapping_segments(folder: Folder, rng: random.Random, name: str) -> str:
    slicer_segmentation(folder, rng, name, ["one", "two"], layers=2)
    return LABEL


def tiff_without_spacing(folder: Folder, rng: random.Random, name: str) -> str:
    image = sitk.Cast(volume(rng), sitk.sitkUInt16)
    sitk.WriteImage(rng.choice([image, image[:, :, 1]]), str(folder.image(name + rng.choice([".tif", ".tiff"]))))
    return REFUSED


# Anything ------------------------------------------------------------------------------------------------------


def mutated_header(folder: Folder, rng: random.Random, name: str) -> str:
    path = written(folder, rng, name, rng.choice(["int16", "float32"]))
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 6)):
        content[rng.randrange(min(len(content), 400))] = rng.choice([0, 255, 127, 128, rng.randrange(256)])
    path.write_bytes(content)
    return EITHER


def mutated_packed_header(folder: Folder, rng: random.Random, name: str) -> str:
    path = written(folder, rng, name, end=".nii")
    content = bytearray(path.read_bytes())
    path.unlink()
    for _ in range(rng.randint(1, 6)):
        content[rng.randrange(352)] = rng.choice([0, 255, 127, 128, rng.randrange(256)])
    folder.image(name + ".nii.gz").write_bytes(gzip.compress(bytes(content)))
    return EITHER


def mutated_anywhere(folder: Folder, rng: random.Random, name: str) -> str:
    path = written(folder, rng, name)
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 20)):
        at = rng.randrange(len(content))
        action = rng.randrange(3)
        if action == 0:
            content[at] = rng.randrange(256)
        elif action == 1:
            del content[at : at + rng.randrange(64)]
        else:
            content[at:at] = rng.randbytes(rng.randrange(64))
        content = content or bytearray(1)
    path.write_bytes(content)
    return EITHER


def mutated_dicom(folder: Folder, rng: random.Random, name: str) -> str:
    file = rng.choice(series(folder, rng, name, [0, 2, 4, 6]))
    content = bytearray(file.read_bytes())
    for _ in range(rng.randint(1, 10)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(content)
    return EITHER


def with_bytes_changed(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 8)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)
    return EITHER


def mutated_frames(folder: Folder, rng: random.Random, name: str) -> str:
    return with_bytes_changed(frames(folder, rng, name, [0, 3, 6, 9]), rng)


def mutated_segmentation(folder: Folder, rng: random.Random, name: str) -> str:
    return with_bytes_changed(segmentation(folder, rng, name, ["one", "two"]), rng)


def mutated_structures(folder: Folder, rng: random.Random, name: str) -> str:
    return with_bytes_changed(structures(folder, rng, name, ["one", "two"]), rng)


def mutated_slicer_segmentation(folder: Folder, rng: random.Random, name: str) -> str:
    return with_bytes_changed(slicer_segmentation(folder, rng, name, ["one", "two"], rng.randint(1, 2)), rng)


def with_field_changed(path: Path, rng: random.Random) -> str:
    """Gives a field of a text header (NRRD, MetaImage) a value that no program would write."""
    content = path.read_bytes()
    mark, end = (b" = ", content.find(b"ElementDataFile")) if path.suffix in (".mha", ".mhd") else (b":", -1)
    lines = content[: end if end >= 0 else content.find(b"\n\n")].split(b"\n")
    chosen = rng.choice([n for n, line in enumerate(lines) if mark in line and not line.startswith(b"#")])
    field, _, value = lines[chosen].partition(mark)
    whole = b"=" if value.startswith(b"=") else b" " if mark == b":" else b""  # NRRD's pairs are written key:=value
    odd = [b"", b"-1", b"0", b"x", b"nan", b"1e400", b"9" * 30, b"1 1 1 1 1 1", b"(nan,0,0) none (1,x)", b"\xff\xfe"]
    changed = field + mark + whole + rng.choice([*odd, b" ".join([rng.choice(odd)] * len(value.split()))])
    path.write_bytes(content.replace(lines[chosen], changed, 1))
    return EITHER


def hostile_field(folder: Folder, rng: random.Random, name: str) -> str:
    return with_field_changed(written(folder, rng, name, end=rng.choice([".nrrd", ".nhdr", ".mha", ".mhd"])), rng)


def hostile_field_of_segments(folder: Folder, rng: random.Random, name: str) -> str:
    return with_field_changed(slicer_segmentation(folder, rng, name, ["one", "two"], rng.randint(1, 2)), rng)


def with_element_changed(path: Path, rng: random.Random) -> str:
    """Takes an element of a DICOM object away, or gives it a value that no program would write."""
    made = pydicom.dcmread(path)
    parents = [made, *(item for element in made.iterall() if element.VR == "SQ" for item in element.value)]
    parent = rng.choice([p for p in parents if len(p)])
    element = rng.choice([e for e in parent if e.tag != pydicom.tag.Tag("PixelData")] or list(parent))
    floats = [0.0, -1.0, 1e300, float("nan"), float("inf")]
    odd: dict[str, list[object]] = {
        "US": [0, 1, 3, 65535], "UL": [0, 2**32 - 1], "FD": floats, "FL": floats[:2], "DS": ["0", "-1", "1e300", "nan"],
        "IS": ["0", "-1", "2147483647", "-2147483648"],
    }  # fmt: skip
    several = [[], [element.value], element.value * 2] if isinstance(element.value, list) else []
    del parent[element.tag]
    with pydicom.config.disable_value_validation():
        if rng.random() < 0.8 and element.VR != "SQ":
            value = rng.choice([*odd.get(element.VR, ["", "x", "1\\2"]), *several])
            parent.add_new(element.tag, element.VR, value)
        made.save_as(path)
    return EITHER


def hostile_element(folder: Folder, rng: random.Random, name: str) -> str:
    return with_element_changed(rng.choice(series(folder, rng, name, [0, 2, 4, 6])), rng)


def hostile_element_of_frames(folder: Folder, rng: random.Random, name: str) -> str:
    return with_element_changed(frames(folder, rng, name, [0, 3, 6, 9]), rng)


def hostile_element_of_labels(folder: Folder, rng: random.Random, name: str) -> str:
    make = rng.choice([segmentation, structures])
    return with_element_changed(make(folder, rng, name, ["one", "two"]), rng)


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        sound, left_handed, two_dimensions, float_label, padded, truncated, no_bytes, wrong_magic, something_else,
        huge_header, not_finite, constant, zero_spacing, singular_direction, four_dimensions, colour, gzip_bomb,
        damaged_gzip, missing_data_file, no_file, odd_name, link_in_a_circle, empty_label, fractional_label,
        unknown_label_value, label_on_another_grid, broken_label, sound_series, missing_slice, duplicate_slice,
        broken_slice, sound_frames, missing_frame, contradictory_frames, sound_segmentation, segmentation_of_others,
        broken_segmentation, sound_structures, structures_outside, open_structures, broken_structures,
        sound_slicer_segmentation, slicer_segmentation_of_others, overlapping_segments, tiff_without_spacing,
        mutated_header, mutated_packed_header, mutated_anywhere, mutated_dicom, mutated_frames, mutated_segmentation,
        mutated_structures, mutated_slicer_segmentation, hostile_field, hostile_field_of_segments, hostile_element,
        hostile_element_of_frames, hostile_element_of_labels,
    )
}  # fmt: skip


def run_batch(root: Path, seed: int, count: int, first: int = 0) -> tuple[list[str], Counter[str]]:
    """Makes `count` cases in a folder and brings them into a workspace.

    Args:
        root: an empty folder.
        seed: of everything random.
        count: number of cases.
        first: where in the list of kinds to begin.

    Returns:
        What went wrong, and how many cases of each outcome there were.
    """
    rng = random.Random(seed)
    folder = Folder(root / "data")
    names = list(KINDS)
    expected = {}
    for number in range(count):
        kind = names[(first + number) % len(names)]
        case = f"{kind}_{number}"
        expected[case] = KINDS[kind](folder, rng, case)
    Catalogue.create(root / "workspace")
    events: list[Event] = []
    task = Task(name="t", classes=[LabelClass(value=1, name="one"), LabelClass(value=2, name="two")])
    add(root / "workspace", find(folder.root), task, events.append, mixed=True)
    check_workspace(root / "workspace", events.append)
    catalogue = Catalogue.load(root / "workspace")
    told = [getattr(e, "text", "") for e in events]
    failures, outcomes = [], Counter[str]()
    for case, wanted in expected.items():
        outcome, reasons = _outcome(catalogue, case)
        outcomes[f"{wanted}: {outcome}"] += 1
        if outcome not in ACCEPTED.get(wanted, (wanted,)):
            failures.append(f"{case}: {outcome} instead of {wanted} ({'; '.join(reasons)})")
        for reason in reasons:
            if not reason or "0x" in reason or "Traceback" in reason or "sitk" in reason:
                failures.append(f"{case}: the reason is not for people: {reason!r}")
            if not any(reason in text for text in told):
                failures.append(f"{case}: nobody was told of {reason!r}")
    for path in folder.image("").iterdir():
        if path.is_file() and not path.is_symlink():
            try:
                read_volume(path)
            except InputError as error:
                if encodable(str(path)) not in str(error):
                    failures.append(f"{path.name}: the message does not name the file: {error}")
    return failures, outcomes


def _outcome(catalogue: Catalogue, case: str) -> tuple[str, list[str]]:
    """Tells what became of the files of a case."""
    images = [i for i in catalogue.images if case in f"{i.image}/"]
    reasons = [r.reason for r in catalogue.refused if case in f"{r.path}/"]
    reasons += [i.problem for i in images if i.problem]
    if reasons or not images:
        return REFUSED, reasons
    label_reasons = [i.label_problem for i in images if i.label_problem]
    return (LABEL, label_reasons) if label_reasons else (TAKEN, [])


def broken_descriptions(seed: int, count: int) -> list[str]:
    """Mutates descriptions of datasets; reading them gives a source or a user's error, nothing else."""
    rng = random.Random(seed)
    msd = {
        "name": "x", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "a"},
        "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}], "test": ["imagesTs/b.nii.gz"],
    }  # fmt: skip
    nnunet = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"}
    failures = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(count):
            text = json.dumps(_mutated(rng.choice([msd, nnunet]), rng))
            if rng.random() < 0.3:
                at = rng.randrange(len(text))
                text = text[:at] + rng.choice(["", "\0", "}", "[" * 9000, "é", '"']) + text[at + rng.randrange(20) :]
            (Path(name) / "dataset.json").write_text(text, encoding="utf-8")
            try:
                assert isinstance(find(name), Source)
            except HSSLError as error:
                if "dataset.json" not in str(error):
                    failures.append(f"description {number}: the message does not name the file: {error}")
            except Exception as error:
                failures.append(f"description {number} ({text[:200]}): {type(error).__name__}: {error}")
    return failures


def _mutated(value: object, rng: random.Random) -> object:
    if rng.random() < 0.12:
        odd = [
            None,
            True,
            -1,
            1e308,
            "",
            "\0",
            [],
            {},
            [1],
            {"a": 1},
            "x" * 5000,
            "../../..",
            10**30,
            [[]],
            float("inf"),
        ]
        return rng.choice(odd)
    if isinstance(value, dict):
        return {
            k if rng.random() > 0.05 else rng.choice(["", "1", "labels"]): _mutated(v, rng) for k, v in value.items()
        }
    if isinstance(value, list):
        return [_mutated(v, rng) for v in value * rng.choice([1, 1, 2])]
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=600, help="files, or sets of files that belong together")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--batch", type=int, default=None, help="only this batch, in this process")
    given = parser.parse_args()
    batches = -(-given.count // BATCH)
    if given.batch is not None:
        size = min(BATCH, given.count - given.batch * BATCH)
        with tempfile.TemporaryDirectory() as name:
            failures, outcomes = run_batch(Path(name), given.seed + given.batch, size, given.batch * BATCH)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if peak > MEMORY_LIMIT:
            failures.append(f"the process took {peak / 2**20:.0f} MB, the limit is {MEMORY_LIMIT / 2**20:.0f}")
        print(json.dumps({"failures": failures, "outcomes": outcomes, "megabytes": peak / 2**20}))
        return 1 if failures else 0
    print(f"seed {given.seed}, {given.count} cases of {len(KINDS)} kinds in {batches} batches")
    start, failed, peak, total = time.monotonic(), 0, 0.0, Counter[str]()
    for batch in range(batches):
        command = [
            sys.executable,
            __file__,
            "--count",
            str(given.count),
            "--seed",
            str(given.seed),
            "--batch",
            str(batch),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
            lines = done.stdout.splitlines()
            if lines and lines[-1].startswith("{"):
                result = json.loads(lines[-1])
            else:
                result = {"failures": [f"ended with {done.returncode}: {done.stderr[-2000:]}"]}
        except subprocess.TimeoutExpired:
            result = {"failures": [f"did not end within {TIME_LIMIT:.0f} s"]}
        for failure in result["failures"]:
            print(f"FAILED {failure}\n  replay: {' '.join(command)}")
        failed += len(result["failures"])
        peak = max(peak, result.get("megabytes", 0.0))
        total.update(result.get("outcomes", {}))
    descriptions = broken_descriptions(given.seed, given.count)
    for failure in descriptions:
        print(f"FAILED {failure}")
    for outcome, count in sorted(total.items()):
        print(f"{count:6}  {outcome}")
    print(f"{given.count:6}  descriptions of datasets")
    print(f"{failed + len(descriptions)} failures, peak {peak:.0f} MB, {time.monotonic() - start:.0f} s")
    return 1 if failed or descriptions else 0


if __name__ == "__main__":
    sys.exit(main())
