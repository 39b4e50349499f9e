"""Starts the stand-in for Slicer before the first test of this folder."""

import pytest
from effect_bench import bench, painted, played  # noqa: F401
from panel_fixtures import generatedWorkspace, panel, processes, widget, workspace  # noqa: F401

from harness.fixtures import application, dialogs, slotErrors  # noqa: F401
from HSSLSegmentationLib import steps


@pytest.fixture(autouse=True)
def workAtOnce(monkeypatch):
    """Work that is cut into steps is done at once, or a test would see something else on a loaded computer."""
    monkeypatch.setattr(steps, "SECONDS_AT_ONCE", 5.0)
