"""Tables of names beside label maps: BIDS's `*_dseg.tsv` (bids-specification, imaging derivatives, segmentations)."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from ..errors import InputError, encodable
from .formats import stem_of
from .structures import LARGEST_VALUE, Structure

SUFFIX = "dseg"
_LARGEST = 1 << 22
_NOTHING = ("", "n/a")


def tables_beside(label: str | Path) -> list[Path]:
    """Returns the tables that name the values of a BIDS label map; [] for most, several only where it is not told which.

    By BIDS's principle of inheritance that is the one in the nearest folder, up to that of the data set, whose entities
    are all among the label's, and of several the one that has most of them.

    Example:
        >>> tables_beside("derivatives/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")  # doctest: +SKIP
        [PosixPath('derivatives/desc-aseg_dseg.tsv')]
    """
    *entities, suffix = stem_of(label).split("_")
    if suffix != SUFFIX:
        return []
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
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = [str(name).strip() for name in rows.fieldnames or []]
    lacking = [name for name in ("index", "name") if name not in columns]
    if lacking:
        raise InputError(label, f"{shown} has no column {lacking[0]}", "Correct the table, or take it away.")
    for row in rows:
        said = {str(key).strip(): str(value or "").strip() for key, value in row.items()}
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


def _folders(folder: Path) -> list[Path]:
    """Returns a label's folder and those above it up to the one that has the subjects."""
    above = [folder, *folder.parents]
    subjects = [number for number, one in enumerate(above) if one.name.startswith("sub-")]
    return above[: subjects[-1] + 2] if subjects else above[:1]


def _entities(table: Path) -> set[str] | None:
    *entities, suffix = table.name[: -len(".tsv")].split("_")
    return set(entities) if suffix == SUFFIX else None


def _color(text: str) -> tuple[float, float, float] | None:
    digits = text.removeprefix("#")
    try:
        parts = bytes.fromhex(digits)
    except ValueError:
        return None
    return (parts[0] / 255, parts[1] / 255, parts[2] / 255) if len(parts) == 3 else None
