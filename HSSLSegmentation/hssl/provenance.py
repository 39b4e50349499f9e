"""The versions that a result depends on, recorded with every model and figure."""

from __future__ import annotations

import platform

from . import __version__


def versions() -> dict[str, str]:
    """Returns the version of HSSL, Python and the packages that compute."""
    import monai
    import numpy
    import SimpleITK
    import torch

    return {
        "hssl": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "monai": monai.__version__,
        "numpy": numpy.__version__,
        "SimpleITK": SimpleITK.Version_VersionString(),
    }
