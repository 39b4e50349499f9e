"""Names of files and folders that every file system takes."""

from __future__ import annotations

import re

LONGEST = 100
"""Characters of a name, so that a path with a suffix or two stays within what Windows takes."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(wish: str, otherwise: str, ascii_only: bool = False) -> str:
    """Returns the wish with everything else than letters, digits, ".", "+", "-" and "_" replaced by "_".

    It has none of ".", "-" and "_" at its ends, and is no name that Windows keeps for a device.

    Args:
        wish: any text, such as the name of a task or a file.
        otherwise: what to return when nothing of the wish is left.
        ascii_only: letters and digits of ASCII alone, for what is passed on in archives.

    Example:
        >>> safe_name("Head & neck/CT", "task")
        'Head_neck_CT'
    """
    name = re.sub(r"[^\w.+-]+", "_", wish, flags=re.ASCII if ascii_only else re.NOFLAG)
    name = name.strip("._-")[:LONGEST].rstrip("._-")
    if not name:
        return otherwise
    return f"{name}_" if _RESERVED.fullmatch(name) else name
