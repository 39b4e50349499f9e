"""What is declared, what is locked and what Slicer is asked to install agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN_BUILD = {"torch"}
"""Whose build is the machine's own, so that no hash of it can be locked."""


def _locked(name: str) -> dict[str, list[tuple[str, int]]]:
    """Returns the versions of each package in a lock file, each with its number of hashes."""
    text = (ROOT / "Testing/locks" / name).read_text(encoding="utf-8")
    found: dict[str, list[tuple[str, int]]] = {}
    for entry in re.split(r"\n(?=[a-z0-9])", text):
        package, version = re.match(r"([\w.-]+)==([^\s;]+)", entry).groups()
        found.setdefault(canonicalize_name(package), []).append((version, entry.count("--hash=sha256:")))
    return found


@pytest.mark.parametrize(
    ("lock", "extras"), [("engine.txt", ["dev"]), ("slicer-harness.txt", ["dev", "slicer-harness"])]
)
def test_all_that_is_declared_is_locked_within_its_bounds_and_with_hashes(lock, extras):
    locked = _locked(lock)
    declared = [*PROJECT["dependencies"], *(d for extra in extras for d in PROJECT["optional-dependencies"][extra])]
    for requirement in map(Requirement, declared):
        name = canonicalize_name(requirement.name)
        if name in OWN_BUILD:
            assert name not in locked
            continue
        assert name in locked, f"{name} is not locked: make lock"
        for version, _ in locked[name]:
            assert requirement.specifier.contains(version), f"{requirement} is locked to {version}: make lock"
    assert all(hashes for versions in locked.values() for _, hashes in versions)


def test_the_lock_of_the_slicer_side_holds_the_very_versions_of_the_engines():
    engine, both = _locked("engine.txt"), _locked("slicer-harness.txt")
    assert {name: both.get(name) for name in engine} == engine


def test_every_dependency_has_both_bounds_or_one_version():
    for requirement in map(Requirement, PROJECT["dependencies"]):
        operators = {s.operator for s in requirement.specifier}
        assert ">=" in operators and "<" in operators, requirement


def test_slicer_is_asked_for_nothing_that_the_engine_does_not_declare():
    lines = (ROOT / "HSSLSegmentation/Resources/requirements.txt").read_text(encoding="utf-8").splitlines()
    asked = {canonicalize_name(Requirement(line).name) for line in lines if line and not line.startswith("#")}
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert asked <= declared
    # Torch comes through its extension and brings Jinja2; NumPy and SimpleITK are Slicer's own.
    assert declared - asked <= {"torch", "numpy", "simpleitk", "jinja2"}
