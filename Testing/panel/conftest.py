"""Starts the stand-in for Slicer before the first test of this folder."""

from panel_fixtures import generatedWorkspace, panel, processes, widget, workspace  # noqa: F401

from harness.fixtures import application, dialogs, slotErrors  # noqa: F401
