"""Inside Slicer: lets the application work while a test waits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import slicer


def settle(seconds: float = 0.3) -> None:
    """Lets the application handle its events."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.005)


def wait(condition: Callable[[], object], seconds: float = math.inf) -> None:
    """Does so until a condition holds, or the time is over."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        settle(0.05)
