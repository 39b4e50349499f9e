"""The files that Slicer installs: `python Testing/installed_files.py` lists them in the module's CMakeLists.txt."""

from __future__ import annotations

import re
from pathlib import Path

MODULE = Path(__file__).resolve().parent.parent / "HSSLSegmentation"
CMAKE = MODULE / "CMakeLists.txt"
_FOLDERS = ("HSSLSegmentationLib", "SegmentEditorHSSLLib", "hssl", "Resources")
LISTS = ("MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES")


def inTree() -> dict[str, list[str]]:
    """What lies in the module's folder and has to be installed, by the CMake list it belongs to."""
    files = [MODULE / "HSSLSegmentation.py"]
    for folder in _FOLDERS:
        files += [path for path in (MODULE / folder).rglob("*") if path.is_file()]
    names = sorted(
        path.relative_to(MODULE).as_posix()
        for path in files
        if "__pycache__" not in path.parts and not any(p.startswith(".") for p in path.relative_to(MODULE).parts)
    )
    return {
        LISTS[0]: [name for name in names if name.endswith(".py")],
        LISTS[1]: [name for name in names if not name.endswith(".py")],
    }


def listed() -> dict[str, list[str]]:
    """What CMakeLists.txt says is installed."""
    text = CMAKE.read_text(encoding="utf-8")
    return {name: re.search(rf"set\({name}\n(.*?)\n  \)", text, re.DOTALL).group(1).split() for name in LISTS}


def update() -> None:
    text = CMAKE.read_text(encoding="utf-8")
    for name, files in inTree().items():
        entries = "".join(f"  {file}\n" for file in files)
        text = re.sub(rf"set\({name}\n.*?  \)", f"set({name}\n{entries}  )", text, flags=re.DOTALL)
    CMAKE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    update()
