"""Contours are filled in threads, and whichever is the first to need matplotlib imports it."""

from __future__ import annotations

import subprocess
import sys

TWO_THREADS = """
import importlib.abc, sys, threading
import numpy as np
import SimpleITK as sitk
from hssl.imaging.contours import Contour, filled

half_loaded, done = threading.Event(), threading.Event()


class Slow(importlib.abc.MetaPathFinder):
    # Holds the first thread up where the part is loaded and the package is not.
    def find_spec(self, name, path, target=None):
        package, part = sys.modules.get("matplotlib"), sys.modules.get("matplotlib.path")
        loaded = part is not None and not part.__spec__._initializing
        if loaded and not hasattr(package, "rcParams") and not half_loaded.is_set():
            half_loaded.set()
            done.wait(1)


def fill():
    square = Contour(np.array([[1.0, 1, 2], [5, 1, 2], [5, 5, 2], [1, 5, 2]]))
    assert filled([square], sitk.Image(8, 8, 4, sitk.sitkUInt8)).sum() == 25
    done.set()


sys.meta_path.insert(0, Slow())
first = threading.Thread(target=fill)
first.start()
assert half_loaded.wait(30), "matplotlib loads itself in another order: the test has to find another moment"
fill()
first.join()
"""


def test_a_thread_does_not_meet_matplotlib_half_loaded_by_another():
    ended = subprocess.run([sys.executable, "-c", TWO_THREADS], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
