"""A stand-in for the 3D Slicer application over real MRML (slicer-core) and real Qt (PySide6): tests need no Slicer.

`start()` makes `slicer`, `qt` and `ctk` importable as inside Slicer; `loadModule(path)` does what Slicer does with a
scripted module at start-up. Names that Slicer 5.10 does not have raise here as they do there.
"""

from __future__ import annotations

import sys

_started = False


def start() -> None:
    """Build the application once a process: scene, module logics, widgets, then Slicer's Python packages."""
    global _started
    if _started:
        return
    _started = True
    from . import pythonqt

    sys.modules["qt"] = pythonqt.createModule()

    from . import ctk_widgets

    sys.modules["ctk"] = ctk_widgets.createModule()

    from . import application, mrml_widgets

    mrml_widgets.install()
    application.install()

    from . import dialogs, parameter_node, sample_data, scripted_module, segment_editor, slicer_util

    scripted_module.install()
    parameter_node.install()
    slicer_util.install()
    segment_editor.install()
    sample_data.install()
    dialogs.install()


def loadModule(path):
    """Load a scripted module as Slicer does at start-up; returns the module object (`slicer.modules.<name>`)."""
    from . import scripted_module

    return scripted_module.load(path)
