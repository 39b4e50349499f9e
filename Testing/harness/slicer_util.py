"""What slicer-core's `slicer.util` lacks to work here: everything else in it is Slicer's own code."""

from __future__ import annotations

import logging

import slicer

from . import api


def _delayDisplay(message, autoCloseMsec=1000, parent=None, **_):
    """Slicer shows the message for a second; a test must not wait for it."""
    logging.info(message)
    slicer.app.processEvents()


def _selectModule(module):
    """There is no main window whose module selector could be used: the module is entered directly."""
    name = module if isinstance(module, str) else module.name
    slicer.util.getModule(name).widgetRepresentation().enter()


def install() -> None:
    slicer.util.delayDisplay = _delayDisplay
    slicer.util.selectModule = _selectModule
    # slicer-core is newer than Slicer 5.10: what only the newer one has must not be relied upon.
    offered = api.names("slicer.util")
    for name in [name for name in slicer.util.__all__ if name not in offered]:
        delattr(slicer.util, name)
        slicer.util.__all__.remove(name)
