"""What Slicer installs is what the tree holds, and the extension says the same of itself everywhere."""

from __future__ import annotations

import json
import re
import struct
import tomllib
from pathlib import Path

import pytest

import installed_files

ROOT = Path(__file__).resolve().parent.parent.parent
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
ENTRY = json.loads((ROOT / "HSSL.json").read_text(encoding="utf-8"))
S4EXT = dict(
    (line.split(maxsplit=1) + [""])[:2]
    for line in (ROOT / "HSSL.s4ext").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)


def cmake(name):
    return re.search(rf'set\(EXTENSION_{name} "([^"]*)"\)', CMAKE).group(1)


@pytest.mark.parametrize("name", installed_files.LISTS)
def test_every_file_of_the_tree_is_installed(name):
    missing = set(installed_files.inTree()[name]) - set(installed_files.listed()[name])
    assert not missing, "not installed: run python Testing/installed_files.py"


@pytest.mark.parametrize("name", installed_files.LISTS)
def test_every_file_that_is_installed_is_in_the_tree(name):
    gone = set(installed_files.listed()[name]) - set(installed_files.inTree()[name])
    assert not gone, "listed, but not there: run python Testing/installed_files.py"


def test_no_file_is_listed_twice():
    for files in installed_files.listed().values():
        assert len(files) == len(set(files))


def test_the_catalogue_entry_has_the_keys_of_the_schema_and_no_other():
    assert set(ENTRY) == {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "scm_revision",
        "scm_url",
        "tier",
    }
    assert ENTRY["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert ENTRY["tier"] in range(1, 6)


def test_the_two_catalogue_forms_and_cmake_agree():
    assert ENTRY["scm_url"] == S4EXT["scmurl"]
    assert ENTRY["scm_revision"] == S4EXT["scmrevision"]
    assert ENTRY["category"] == S4EXT["category"]
    assert ENTRY["build_subdirectory"] == S4EXT["build_subdirectory"]
    assert " ".join(ENTRY["build_dependencies"]) == S4EXT["depends"] == cmake("DEPENDS")
    assert S4EXT["homepage"] == cmake("HOMEPAGE") == S4EXT["scmurl"].removesuffix(".git")
    assert S4EXT["contributors"] == cmake("CONTRIBUTORS")
    assert S4EXT["description"] == cmake("DESCRIPTION")
    assert S4EXT["iconurl"] == cmake("ICONURL")
    assert S4EXT["screenshoturls"] == cmake("SCREENSHOTURLS")


def test_the_icon_and_the_screenshots_that_are_named_exist():
    base = f"{cmake('HOMEPAGE').replace('github.com', 'raw.githubusercontent.com')}/{ENTRY['scm_revision']}/"
    for address in [cmake("ICONURL"), *cmake("SCREENSHOTURLS").split()]:
        assert address.startswith(base)
        assert (ROOT / address.removeprefix(base)).is_file(), address


def test_the_extension_icon_is_128_pixels_square():
    header = (ROOT / "Resources" / "HSSL.png").read_bytes()[:24]
    assert struct.unpack(">II", header[16:24]) == (128, 128)


def test_the_versions_agree():
    version = re.search(r"project\(HSSL VERSION ([\d.]+)\)", CMAKE).group(1)
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)
    stated = project["project"].get("version")
    if stated is None:
        assert "version" in project["project"]["dynamic"]
        stated = re.search(
            r'^__version__ = "([^"]+)"',
            (installed_files.MODULE / "hssl" / "__init__.py").read_text(encoding="utf-8"),
            re.MULTILINE,
        ).group(1)
    assert stated == version


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
