"""A lock on a folder that only a living process can hold: the operating system drops it when the process dies."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from types import TracebackType

from .errors import LockedError, OutputError

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, getattr(errno, "EDEADLOCK", errno.EACCES))
"""What the operating system answers when somebody else holds the lock; anything else means that it has no locks."""


class FolderLock:
    """Context manager that holds `folder/.lock`; a second process is refused with the first one's process id.

    The lock is the operating system's (flock, or msvcrt on Windows), so a killed process leaves none behind. On a share
    that has no locks the work goes on with a warning, unprotected.

    Raises:
        LockedError: another process holds the lock.
        OutputError: the folder cannot be written to.
    """

    def __init__(self, folder: str | Path, purpose: str = "this run"):
        self.folder = Path(folder)
        self.purpose = purpose
        self._file: int | None = None

    def __enter__(self) -> FolderLock:
        path = self.folder / ".lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(self.folder, f"cannot be written: {error.strerror or error}") from error
        try:
            _lock(self._file)
        except OSError as error:
            if error.errno not in _HELD:
                warnings.warn(
                    f"{self.folder}: is on a disk without locks ({error.strerror or error}); "
                    f"see to it that no other process is working on {self.purpose}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return self
            holder = os.pread(self._file, 20, 1).decode(errors="replace").strip() if hasattr(os, "pread") else ""
            os.close(self._file)
            self._file = None
            who = f" (process {holder})" if holder else ""
            raise LockedError(
                f"{self.folder}: another process{who} is working on {self.purpose}",
                "Wait for it to end, or stop it first.",
            ) from error
        # The first byte is the one that is locked on Windows; the process id stands behind it.
        try:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, f" {os.getpid()}".encode())
        except OSError as error:
            os.close(self._file)
            self._file = None
            raise OutputError(self.folder, f"cannot be written: {error.strerror or error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lock(file: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
