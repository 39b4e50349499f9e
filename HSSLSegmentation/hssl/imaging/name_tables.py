"""Tables of names beside label maps: BIDS's `*_dseg.tsv` (bids-specification, imaging derivatives, segmentations), and
the `*_ColorTable` that 3D Slicer saves with what it exports (slicer.readthedocs.io, developer guide, colors)."""

from __future__ import annotations

import csv
import os
from collections.abc import Container, Iterator
from pathlib import Path

from ..errors import InputError, encodable
from .formats import stem_of
from .structures import LARGEST_VALUE, Structure

SUFFIX = "dseg"
COLOR_TABLES = ("_ColorTable.ctbl", "_ColorTable.csv")
"""What Slicer calls the table of the values of `Segmentation-label.nrrd`, after its stem."""
_LARGEST = 1 << 22
_NOTHING = ("", "n/a", "(none)")


def tables_beside(label: str | Path) -> list[Path]:
    """Returns the tables that name the values of a label map; [] for most, several only where it is not told which.

    Slicer's table lies beside its label map and is called after it. By BIDS's principle of inheritance that is the one in
    the nearest folder, up to that of the data set, whose entities are all among the label's, and of several the one that
    has most of them.

    Example:
        >>> tables_beside("derivatives/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")  # doctest: +SKIP
        [PosixPath('derivatives/desc-aseg_dseg.tsv')]
    """
    stem, beside = stem_of(label), os.path.dirname(os.path.abspath(label))
    of_slicer = [Path(beside, stem + end) for end in COLOR_TABLES if os.path.isfile(os.path.join(beside, stem + end))]
    *entities, suffix = stem.split("_")
    if of_slicer or suffix != SUFFIX:
        return of_slicer
    for folder in _folders(Path(os.path.abspath(label)).parent):
        try:
            there = [p for p in sorted(folder.glob(f"*{SUFFIX}.tsv")) if not p.name.startswith(".")]
        except OSError:
            continue
        fitting = [(p, own) for p in there if (own := _entities(p)) is not None and own <= set(entities)]
        if fitting:
            most = max(len(own) for _, own in fitting)
            return [p for p, own in fitting if len(own) == most]
    return []


def named_beside(label: str | Path) -> list[Structure]:
    """Returns the values that the table beside a label map names, in its order; [] where there is none.

    Raises:
        InputError: the table cannot be read, lacks a column, gives one value two names, or two tables may be meant; the
            error is the label's, and its reason names the table.
    """
    tables = tables_beside(label)
    if not tables:
        return []
    if len(tables) > 1:
        names = " and ".join(p.name for p in tables[:2])
        raise InputError(
            label, f"may have its names from {names}", "Take the wrong one away, or name it after its label."
        )
    shown, found = f"its table of names {tables[0].name}", dict[int, Structure]()
    try:
        with open(tables[0], encoding="utf-8-sig", newline="") as file:
            lines = file.read(_LARGEST).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(label, f"{shown} cannot be read: {encodable(str(error))}") from error
    for said in _rows(label, tables[0], lines):
        if said["index"] in _NOTHING or said["name"] in _NOTHING:
            continue
        try:
            value = int(said["index"])
        except ValueError:
            reason = f"{shown} has an index that is no whole number: {said['index'][:40]!r}"
            raise InputError(label, reason, "Correct the table, or take it away.") from None
        if not 0 < value <= LARGEST_VALUE:
            continue
        one = Structure(said["name"], value, _color(said.get("color", "")))
        known = found.setdefault(value, one)
        if known.name != one.name:
            reason = f"{shown} names the value {value} twice: {known.name!r} and {one.name!r}"
            raise InputError(label, reason, "Correct the table, or take it away.")
    return list(found.values())


def is_color_table(name: str, stems: Container[str]) -> bool:
    """Tells whether a file is the colour table of one of the volumes of its folder, of which these are the stems."""
    return any(name.endswith(end) and name[: -len(end)] in stems for end in COLOR_TABLES)


def _rows(label: str | Path, table: Path, lines: list[str]) -> Iterator[dict[str, str]]:
    """Yields what a table says of each value: its "index", its "name" and perhaps its "color"."""
    if table.suffix == ".ctbl":
        yield from _of_slicer(lines)
        return
    if table.suffix == ".csv":
        named, rows = {"index": "LabelValue", "name": "Name"}, csv.DictReader(lines)
    else:
        named = {"index": "index", "name": "name"}
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = [str(name).strip() for name in rows.fieldnames or []]
    lacking = [column for column in named.values() if column not in columns]
    if lacking:
        raise InputError(
            label,
            f"its table of names {table.name} has no column {lacking[0]}",
            "Correct the table, or take it away.",
        )
    for row in rows:
        said = {str(key).strip(): str(value or "").strip() for key, value in row.items()}
        rgb = " ".join(said.get(f"Color_{channel}", "") for channel in "RGB")
        yield {"color": rgb, **said, **{key: said[column] for key, column in named.items()}}


def _of_slicer(lines: list[str]) -> Iterator[dict[str, str]]:
    """Rows of value, name, red, green, blue and opacity; a table of a continuous scale names nothing."""
    if not lines or not lines[0].lower().startswith("# color table file"):
        return
    for line in lines:
        value, *rest = line.split() or ["#"]
        if value.startswith("#"):
            continue
        name, color = rest[:-4] or rest[:1], rest[-4:-1] if len(rest) > 4 else rest[1:4]
        yield {"index": value, "name": " ".join(name).strip("'"), "color": " ".join(color)}


def _folders(folder: Path) -> list[Path]:
    """Returns a label's folder and those above it up to the one that has the subjects."""
    above = [folder, *folder.parents]
    subjects = [number for number, one in enumerate(above) if one.name.startswith("sub-")]
    return above[: subjects[-1] + 2] if subjects else above[:1]


def _entities(table: Path) -> set[str] | None:
    *entities, suffix = table.name[: -len(".tsv")].split("_")
    return set(entities) if suffix == SUFFIX else None


def _color(text: str) -> tuple[float, float, float] | None:
    """Reads "#ff8000" (BIDS) and "255 128 0" (Slicer)."""
    try:
        parts = [float(part) for part in text.split()] if " " in text else list(bytes.fromhex(text.removeprefix("#")))
    except ValueError:
        return None
    if not all(0 <= part <= 255 for part in parts):
        return None
    return (parts[0] / 255, parts[1] / 255, parts[2] / 255) if len(parts) == 3 else None
