"""Makes the engine, the module's Lib and the harness importable from every test folder."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
for folder in (_HERE, _HERE.parent / "HSSLSegmentation"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
