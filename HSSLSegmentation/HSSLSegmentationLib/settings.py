"""What holds on this computer for every scene: Python of the jobs, device, threads, memory, last workspace."""

from typing import Any

import slicer

_DEFAULTS: dict[str, Any] = {"python": "", "device": "auto", "threads": 0, "slabMegabytes": 512, "lastWorkspace": ""}


def value(name: str):
    """Returns a setting; its type is that of the default."""
    default = _DEFAULTS[name]
    return type(default)(slicer.app.userSettings().value(f"HSSL/{name}", default))


def setValue(name: str, newValue) -> None:
    """Keeps a setting for this and the next sessions."""
    slicer.app.userSettings().setValue(f"HSSL/{name}", type(_DEFAULTS[name])(newValue))
