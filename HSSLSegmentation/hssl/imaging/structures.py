"""Structures: what a label file names, and which class of a task, or which value, each of them is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import InputError

LARGEST_VALUE = 65535

Say = Callable[[str], None]
"""Receives what a user should know of how a label was understood."""


@dataclass(frozen=True)
class Structure:
    """A segment or structure of a label file, as the file names it.

    `terminology` is Slicer's serialised form (context~category~type~…), `color` RGB in 0…1.
    """

    name: str
    value: int
    """Its value or number in the file."""
    color: tuple[float, float, float] | None = None
    terminology: str | None = None
    layer: int = 0
    """Segments of one layer cannot overlap."""


class NamedClass(Protocol):
    """A class of a task, as far as it concerns a label file."""

    @property
    def value(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def terminology(self) -> str | None: ...


def chosen_structures(path: Path, there: Sequence[Structure], names: Sequence[str]) -> list[Structure]:
    """Returns the structures of these names, in their order; all of them for no names.

    Raises:
        InputError: there is none of a name; the message lists those there are.
    """
    if not names:
        return list(there)
    exact, folded = {s.name: s for s in there}, {s.name.strip().casefold(): s for s in there}
    found = []
    for name in names:
        structure = exact.get(name) or folded.get(name.strip().casefold())
        if structure is None:
            known = ", ".join(exact) or "none"
            raise InputError(path, f"has no structure {name!r} (there: {known})", "", "structures")
        found.append(structure)
    return found


def class_values(path: Path, structures: Iterable[Structure], classes: Sequence[NamedClass]) -> dict[str, int]:
    """Returns the value that each structure gets: that of its class, or its own where there are no classes.

    A structure is the class of its name (upper and lower case alike), else the one class of its terminology.

    Raises:
        InputError: a structure is no class.
    """
    structures = list(structures)
    if not classes:
        values = [s.value for s in structures]
        numbered = len(set(values)) == len(values) and all(0 < value <= LARGEST_VALUE for value in values)
        return {s.name: s.value if numbered else n for n, s in enumerate(structures, 1)}
    by_name = {c.name.strip().casefold(): c.value for c in classes}
    coded = Counter(_code(c.terminology) for c in classes)
    by_code = {_code(c.terminology): c.value for c in classes if coded[_code(c.terminology)] == 1}
    found: dict[str, int] = {}
    for structure in structures:
        value = by_name.get(structure.name.strip().casefold())
        if value is None:
            code = _code(structure.terminology)
            value = by_code.get(code) if code and sum(_code(s.terminology) == code for s in structures) == 1 else None
        if value is None:
            known = ", ".join(c.name for c in classes)
            raise InputError(
                path,
                f"its segment {structure.name!r} is no class of the task (they are {known})",
                "Rename the segment or the class, or choose the structures to take.",
                "structures",
            )
        found[structure.name] = value
    return found


def _code(terminology: str | None) -> str:
    """Returns category, type and modifier of a serialised terminology; "" for none, and for Slicer's default Tissue."""
    parts = (terminology or "").split("~")
    if len(parts) < 3 or "^85756007^" in parts[2]:
        return ""
    return "~".join(part.rpartition("^")[0] for part in parts[1:4])
