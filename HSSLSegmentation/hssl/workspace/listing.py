"""Which files lie below a folder: volumes, folders of DICOM slices, and everything else, which is counted."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError, OutputError, encodable
from ..files import NOT_UTF8, has_plain_name, read_json
from ..imaging.dicom import images_of_their_own
from ..imaging.formats import DATA_SUFFIXES, DETACHED, is_dicom, is_volume, stem_of, suffix_of
from ..imaging.name_tables import is_color_table
from ..outputs import RECORD, maps_in

_OTHER_SUFFIXES = (".json", ".csv", ".txt", ".md", ".xml", ".pdf", ".png", ".jpg", ".zip", ".bval", *DATA_SUFFIXES)
"""Files that need not be opened to know that they are no DICOM slices."""


_OF_THE_SYSTEM = frozenset(
    ("__macosx", "$recycle.bin", "system volume information", "#recycle", "@recycle", "@eadir", "#snapshot")
    + ("@recently-snapshot", "lost+found")
)
"""What systems and network drives (Synology, QNAP) keep beside the files of users: what was deleted, copies, previews."""


@dataclass
class Listing:
    """What lies below a folder, in the order of the names."""

    volumes: list[str] = field(default_factory=list)
    """Files, and folders that hold DICOM slices; DICOM files that are images of their own, such as X-rays, where a folder has
    several."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of what cannot be entered or opened."""
    not_read: Counter[str] = field(default_factory=Counter)
    """How many files of each kind were passed over, by their suffix."""

    def __add__(self, other: Listing) -> Listing:
        return Listing(self.volumes + other.volumes, self.refused + other.refused, self.not_read + other.not_read)


def listed(root: str | Path) -> Listing:
    """Lists what lies below a folder; each folder is entered once, a workspace below it is not.

    Maps of uncertainty and probability that a prediction wrote there are counted, and are no images.
    """
    root, found = str(root), Listing()
    waiting: list[str] = [root]
    seen: set[tuple[int, int]] = set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above
                found.not_read["links to folders that were read"] += 1
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError as error:
            found.refused.append((folder, f"cannot be read: {error.strerror or error}"))
            continue
        if folder != root and any(e.name == "dataset.json" and is_workspace(e.path) for e in entries):
            found.not_read["workspaces of HSSL"] += 1
            continue
        maps: set[str] = set()
        if any(e.name == RECORD for e in entries):
            try:
                maps = maps_in(folder)
            except OutputError as error:
                found.refused.append((os.path.join(folder, RECORD), error.reason))
        below, others = [], []
        for entry in entries:
            if entry.name.startswith(".") or entry.name.casefold() in _OF_THE_SYSTEM:
                found.not_read["hidden"] += 1
                continue
            if not has_plain_name(entry.path):
                found.refused.append((encodable(entry.path), NOT_UTF8))
                continue
            try:
                if entry.is_dir():
                    below.append(entry.path)
                elif not entry.is_file():
                    if is_volume(entry.name):
                        found.refused.append((entry.path, "is a link to nothing, or no regular file"))
                    else:
                        found.not_read[kind_of(entry.name)] += 1
                elif entry.name in maps:
                    found.not_read["maps of uncertainty and probability"] += 1
                elif is_volume(entry.name):
                    found.volumes.append(entry.path)
                else:
                    others.append(entry.path)
            except OSError as error:
                found.refused.append((entry.path, f"cannot be read: {error.strerror or error}"))
        slices = [p for p in others if not p.lower().endswith(_OTHER_SUFFIXES) and is_dicom(p)]
        if slices:
            alone = images_of_their_own([Path(p) for p in slices])
            found.volumes += [str(p) for p in alone] or [folder]
        stems = {stem_of(e.name) for e in entries if is_volume(e.name)}
        rest = (p for p in set(others).difference(slices) if not is_color_table(os.path.basename(p), stems))
        found.not_read.update(kind_of(p) for p in rest if not _is_data_of_header(p, entries))
        waiting.extend(reversed(below))
    return found


def kind_of(path: str) -> str:
    """Returns the suffix by which a file that is not read is counted."""
    return os.path.splitext(path)[1].lower() or "without a suffix"


def is_workspace(description: str) -> bool:
    """Tells whether a dataset.json is a catalogue of HSSL."""
    try:
        values = read_json(description)
    except InputError:
        return False
    return isinstance(values, dict) and "schema" in values and "images" in values


def _is_data_of_header(path: str, entries: list[os.DirEntry[str]]) -> bool:
    """The voxels of a detached header (`a.raw` of `a.mhd`) are read with it."""
    name = os.path.basename(path)
    headers = [e.name for e in entries if suffix_of(e.name) in DETACHED]
    return any(name.startswith(os.path.splitext(header)[0] + ".") for header in headers)
