"""No result over a source: where results go is compared with inputs and with each other, before anything is computed.

The rule, for everything that writes where a user says:

- An output is never an input, nor is the folder of outputs one: the file system is asked, so that links, `x/../x` and
  names that differ in case alone are seen through.
- Two outputs are never one file, on any file system.
- What is there already is replaced only if the user says so, or if it is the unchanged result of the same work: a
  folder of results keeps a record of what was written into it, from which input, and with which bytes.
- Nothing is written that would be mixed up with its neighbour (`a.nii` beside `a.nii.gz`).
- What cannot be written to is found out now, not after the work.
"""

from __future__ import annotations

import json
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import OutputError
from .files import check_name, flush_to_disk, remove_unfinished, sha256, sha256_of, whole_file

RECORD = "hssl-results.jsonl"
"""In a folder of results: one JSON object a line for each file that was written, with its input and its hash."""
UNCERTAINTY, PROBABILITY = "_uncertainty", "_probability_"
"""What follows a label map's name in those of the maps beside it."""
_OF_FILES = (".nii", ".gz", ".nrrd", ".mha", ".csv", ".json", ".png")
"""What a name ends in that is given where a folder is asked for, by who expects a single file."""
LONGEST_NAME = 255
"""Bytes of a file's name that every file system takes."""

Identity = tuple[int, int]


def check_outputs(
    outputs: Iterable[str | Path],
    inputs: Iterable[str | Path],
    overwrite: bool = False,
    own: Callable[[Path], bool] | None = None,
) -> None:
    """Checks files that are to be written.

    Args:
        outputs: the files.
        inputs: files and folders that the work reads.
        overwrite: what is there, and is no input, may be replaced.
        own: tells of a file that is there whether it is an unchanged result of the same work.

    Raises:
        OutputError: an output is an input, or another output, or a folder, or is there already, or its folder cannot
            be written to.

    Example::

        check_outputs(["out/scan.nii.gz"], ["scan.nii.gz"])
    """
    given = {identity: Path(path) for path in inputs if (identity := _identity(path)) is not None}
    taken: dict[object, Path] = {}
    for path in map(Path, outputs):
        place = _place(path)
        check_name(path, OutputError)
        if len(os.fsencode(path.name)) > LONGEST_NAME:
            raise OutputError(path, "has too long a name", "Choose a shorter one.")
        key = _key(path)
        if key in taken:
            raise OutputError(path, f"would be written twice: {taken[key]} is the same file", "Choose another name.")
        taken[key] = path
        source = given.get(_identity(path) or (-1, -1))
        if source is not None:
            same = "" if source == path else f", {source}"
            raise OutputError(
                path, f"is one of the inputs{same}; a result never replaces them", "Choose another place."
            )
        if place.is_dir():
            raise OutputError(path, "is a folder, and a file is to be written there", "Choose another name.")
        if os.path.lexists(place) and not overwrite and not (own is not None and path.is_file() and own(path)):
            same = ", and is not the unchanged result of the same work" if own is not None else ""
            raise OutputError(
                path,
                f"is there already{same}",
                "Choose another place, or say that it may be replaced.",
                "overwrite",
            )
    for path in taken.values():
        twin = _twin(_place(path))
        if twin is not None and (os.path.lexists(twin) or _key(twin) in taken):
            raise OutputError(
                path, f"would be mixed up with {twin.name}: readers of NIfTI show one's voxels as the other's",
                "Choose another name or folder.",
            )  # fmt: skip
    for folder in dict.fromkeys(path.parent for path in taken.values()):
        check_folder(folder)


def check_folder(folder: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """Checks that a folder, or the one that it would be made in, can be written to, and leaves nothing in it.

    Args:
        folder: need not be there.
        inputs: folders that it must not be.

    Raises:
        OutputError: it is one of the inputs, or a file, or cannot be written to.
    """
    folder = Path(folder)
    check_name(folder, OutputError)
    found = _identity(folder)
    for path in inputs:
        if found is not None and found == _identity(path):
            raise OutputError(
                folder,
                f"is the folder that is read from ({path}); results never lie among their sources",
                "Choose another folder.",
            )
    try:
        there = folder.absolute()
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        if not there.is_dir():
            raise OutputError(folder, f"cannot be written to: {there} is not a folder", "Choose another folder.")
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OutputError(
            folder, f"cannot be written to: {error.strerror or error}", "Choose another folder."
        ) from error


class ResultFolder:
    """A folder of results, with a record that tells own, unchanged results of the same work from everything else.

    Args:
        folder: need not be there yet.
        work: what the results depend on beside their inputs, such as the model; plain values.
        overwrite: what is there, and is no input, may be replaced.

    Raises:
        OutputError: the folder's record cannot be read, or is none.

    Example::

        results = ResultFolder("out", {"model": "five/runs/liver"})
        results.plan([(Path("out/scan.nii.gz"), "scan.nii.gz")], ["scan.nii.gz"])
        with results.writing(Path("out/scan.nii.gz")) as path:
            write_volume(label_map, path)
    """

    def __init__(self, folder: str | Path, work: Any, overwrite: bool = False):
        self.folder, self.overwrite = Path(folder), overwrite
        self._work = sha256_of(work)[:16]
        self._sources: dict[Path, str] = {}
        self._inputs: list[str | Path] = []
        self._record = self.folder / RECORD
        self._written = _read(self._record)

    def plan(self, files: Sequence[tuple[Path, str]], inputs: Iterable[str | Path]) -> None:
        """Says what will be written, from what, and checks all of it.

        Args:
            files: each file with the input that it belongs to.
            inputs: files and folders that are read.

        Raises:
            OutputError: as `check_outputs`; also where the folder itself is one of the inputs, or is to be made with the
                name of a file.
        """
        self._inputs, self._sources = list(inputs), dict(files)
        if self.folder.suffix.lower() in _OF_FILES and not os.path.lexists(self.folder):
            names = ", ".join(file.name for file, _ in files[:3])
            raise OutputError(
                self.folder,
                "is the name of a file, and a folder is to be made there",
                f"Name a folder; into it come {names}{' and others' if len(files) > 3 else ''}.",
            )
        check_folder(self.folder, self._inputs)
        check_outputs([file for file, _ in files], self._inputs, self.overwrite, self.is_own)
        if self.folder.is_dir():
            remove_unfinished(self.folder)

    def is_own(self, path: Path) -> bool:
        """Tells whether a file is what the same work wrote for the same input, unchanged since."""
        known = {(e["work"], e["input"], e["sha256"]) for e in self._written if e["file"] == path.name}
        return path.is_file() and (self._work, self._sources.get(path), sha256(path)) in known

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """Yields a path beside a planned file; on success it is entered into the record and renamed to the file.

        Raises:
            OutputError: somebody else has put a file there since the plan, or the folder cannot be written to.
        """
        check_outputs([path], self._inputs, self.overwrite, self.is_own)
        with whole_file(path) as temporary:
            yield temporary
            # Before the renaming: whenever the process is killed, what lies there is known.
            self._enter(path, sha256(temporary))

    def _enter(self, path: Path, digest: str) -> None:
        entry = {"file": path.name, "input": self._sources[path], "work": self._work, "sha256": digest}
        self._written.append(entry)
        try:
            with open(self._record, "ab") as file:
                # A line that a killed process began is ended, so that this one is whole.
                start = b"\n" if file.tell() and not _ends_with_newline(self._record) else b""
                file.write(start + json.dumps(entry).encode() + b"\n")
                file.flush()
                flush_to_disk(file.fileno())
        except OSError as error:
            raise OutputError(self._record, f"cannot be written: {error.strerror or error}") from error


def sources_of(folder: str | Path) -> dict[str, str]:
    """Returns the input of each result in a folder, by the result's name, as far as its record says."""
    return {entry["file"]: entry["input"] for entry in _read(Path(folder) / RECORD)}


def unchanged_in(folder: str | Path, names: Iterable[str]) -> list[str]:
    """Returns those of the files of a folder that are results as they were written, as far as its record says.

    Raises:
        OutputError: the folder's record cannot be read, or is none.
    """
    written = {(entry["file"], entry["sha256"]) for entry in _read(Path(folder) / RECORD)}
    files = {file for file, _ in written}
    return [name for name in names if name in files and (name, sha256(Path(folder) / name)) in written]


def maps_in(folder: str | Path) -> set[str]:
    """Returns the names of the results in a folder that are maps of uncertainty or probability.

    Raises:
        OutputError: the folder's record cannot be read, or is none.
    """
    stems = {name: name.split(".nii")[0] for name in sources_of(folder)}
    owners = tuple(stem + what for stem in stems.values() for what in (UNCERTAINTY, PROBABILITY))
    return {name for name, stem in stems.items() if stem.startswith(owners)} if owners else set()


def portable(name: str) -> str:
    """Returns what names of one file have in common on file systems that fold case or Unicode's forms."""
    return unicodedata.normalize("NFC", name).casefold()


def _twin(path: Path) -> Path | None:
    """Returns the file that ITK's reader takes the voxels of `a.nii.gz` from where both are there, and vice versa."""
    name = path.name.lower()
    if name.endswith(".nii.gz"):
        return path.with_name(path.name[:-3])
    return path.with_name(f"{path.name}.gz") if name.endswith(".nii") else None


def _place(path: Path) -> Path:
    """Returns where a file will lie, which may be asked before the folders on the way to it are made."""
    return Path(os.path.realpath(path.parent)) / path.name


def _identity(path: str | Path) -> Identity | None:
    try:
        status = os.stat(os.path.realpath(path))  # `scans/new/..` is `scans` before `new` is made, too
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def _key(path: Path) -> object:
    parent = os.path.realpath(path.parent)
    return _identity(parent) or portable(parent), portable(path.name)


def _read(record: Path) -> list[dict[str, str]]:
    try:
        lines = record.read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return []  # a folder that cannot be one is told when it is checked
    except OSError as error:
        raise OutputError(record, f"cannot be read: {error.strerror or error}", "Choose another folder.") from error
    entries: list[dict[str, str]] = []
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                entry = json.loads(line)
                entries.append({key: entry[key] for key in ("file", "input", "work", "sha256")})
        except (ValueError, KeyError, TypeError) as error:
            # A killed process leaves the start of a line.
            if not b'{"file"'.startswith(line[:7]):
                raise OutputError(record, f"line {number} is no record of results", "Choose another folder.") from error
    return entries


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
