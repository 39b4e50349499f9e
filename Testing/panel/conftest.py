"""Starts the stand-in for Slicer before the first test of this folder."""

from effect_bench import bench, painted, played  # noqa: F401
from panel_fixtures import generatedWorkspace, panel, processes, widget, workspace  # noqa: F401

from harness.fixtures import application, dialogs, slotErrors  # noqa: F401
