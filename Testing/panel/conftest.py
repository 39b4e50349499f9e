"""Starts the stand-in for Slicer before the first test of this folder."""

from harness.fixtures import application, dialogs, slotErrors  # noqa: F401
