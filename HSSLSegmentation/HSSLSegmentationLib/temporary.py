"""Folders for what passes between Slicer and the engine, inside one that does not outlive the application.

Volumes lie there, of patients, and they are large. An application that crashes removes nothing: the next one does.
"""

import atexit
import shutil
import tempfile
import warnings
from pathlib import Path

import slicer
from hssl.errors import LockedError, OutputError
from hssl.locks import FolderLock

_PREFIX = "HSSL-session-"
_session: FolderLock | None = None


def newFolder() -> Path:
    """Makes an empty folder. Who asked for it removes it; if nobody does, it goes with the application."""
    global _session
    if _session is None or not _session.folder.is_dir():
        root = Path(slicer.app.temporaryPath)
        _removeLeftBehind(root)
        _session = FolderLock(tempfile.mkdtemp(prefix=_PREFIX, dir=root), "this session's files")
        _session.__enter__()
        atexit.register(_end, _session)
    return Path(tempfile.mkdtemp(dir=_session.folder))


def _removeLeftBehind(root: Path) -> None:
    """Removes the folders of applications that are gone: only a living one holds the lock on its own."""
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # on a disk without locks nobody can tell whether it is gone
                lock = FolderLock(folder)
                lock.__enter__()
        except (LockedError, OutputError, RuntimeWarning):
            continue
        _end(lock)


def _end(lock: FolderLock) -> None:
    lock.__exit__(None, None, None)  # first: Windows removes no file that is open
    shutil.rmtree(lock.folder, ignore_errors=True)
