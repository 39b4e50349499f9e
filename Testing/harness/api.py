"""What Slicer 5.10 exposes to Python: read from the committed digest, which `python -m harness.api FILE` makes anew.

FILE is a description read off a running Slicer (classes with members, signals and properties; names of `qt`, `ctk`,
`slicer`, `slicer.util`, `slicer.app`, `slicer.modules`).
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

DIGEST = Path(__file__).with_name("slicer_api.json")


@functools.cache
def digest() -> dict:
    return json.loads(DIGEST.read_text(encoding="utf-8"))


@functools.cache
def members(name: str) -> frozenset[str] | None:
    """Names of one class beyond its base's (`"qt.QLabel"`, `"ctk.ctkComboBox"`), None where they were not read."""
    if name == "slicer.app":
        return names(name)
    described = digest()["classes"].get(name)
    return None if described is None else frozenset(described["members"])


@functools.cache
def signals(name: str) -> frozenset[str] | None:
    """Signal signatures of one class, or None where the class could not be instantiated when Slicer was read."""
    described = digest()["classes"].get(name)
    return None if described is None or "signals" not in described else frozenset(described["signals"])


@functools.cache
def names(module: str) -> frozenset[str]:
    return frozenset(digest()["names"][module])


def reduce(description: dict) -> dict:
    """Keep what the harness enforces: names, not types; a member that a base class in the digest has is left to it."""
    classes = description["classes"]
    reduced = {}
    for name, described in sorted(classes.items()):
        own = set(described["members"])
        for base in ("qt.QObject", "qt.QWidget"):
            if name != base and (base == "qt.QObject" or described.get("base") == "QWidget"):
                own -= set(classes[base]["members"])
        reduced[name] = {"members": sorted(own)}
        if "note" not in described:
            reduced[name]["signals"] = sorted(described.get("signals", []))
    return {
        "slicer": description["slicer"],
        "qt": description["qt"],
        "classes": reduced,
        "names": {key: sorted(value) for key, value in description["names"].items()},
        "effects": description["effects"],
    }


def main(path: str) -> None:
    reduced = reduce(json.loads(Path(path).read_text(encoding="utf-8")))
    lines = ["{"]
    lines += [f'"slicer": {json.dumps(reduced["slicer"])}, "qt": {json.dumps(reduced["qt"])},']
    lines += [f'"effects": {json.dumps(reduced["effects"])},', '"names": {']
    lines += [",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in reduced["names"].items()), "},"]
    lines += [
        '"classes": {',
        ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in reduced["classes"].items()),
        "}",
        "}",
    ]
    DIGEST.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
