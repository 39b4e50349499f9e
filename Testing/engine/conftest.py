"""A workspace of generated scans that all tests of a session share; each test that writes takes a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from hssl.demo.workspace import sample

# How long an example takes tells of the machine, not of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def shared_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "workspace"
    sample(folder, size="tiny", seed=0)
    return folder


@pytest.fixture
def workspace(shared_workspace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_workspace, tmp_path / "workspace"))
