"""Files that are written whole or not at all, and their hashes."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from .errors import InputError, OutputError, encodable

TEMPORARY_PREFIX = ".writing-"
ABANDONED = 24 * 3600.0
"""Seconds after which another host's unfinished file is no longer one that somebody writes."""
NOT_UTF8 = "has a name that is not UTF-8; rename it"


def has_plain_name(path: str | Path) -> bool:
    """Tells whether a path is UTF-8 throughout: ITK ends the process that gives it another, and JSON cannot hold it."""
    return encodable(str(path)) == str(path)


def check_name(path: str | Path, error: type[InputError] | type[OutputError] = InputError) -> None:
    """Checks that a path is UTF-8 throughout (see `has_plain_name`).

    Raises:
        InputError: it is not; or the error that is given.
    """
    if not has_plain_name(path):
        raise error(path, NOT_UTF8)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    On any exception the temporary file is removed and `path` stays as it was. The temporary name keeps the
    suffix, because image writers choose the format by it.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The process id and the host tell `remove_unfinished` whether somebody is still writing.
        prefix = f"{TEMPORARY_PREFIX}{os.getpid()}@{_host()}-"
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=_ending(path.name), dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as file:
            flush_to_disk(file.fileno())
        with suppress(OSError):  # shares and FAT disks have no modes, and that is no reason to lose the file
            os.chmod(temporary, 0o666 & ~_umask())
        _replace(temporary, path)
        temporary = None
    except PermissionError as error:
        hint = "If it is open in another program, close it there." if path.is_file() else ""
        raise OutputError(path, f"cannot be written: {error.strerror or error}", hint) from error
    except OSError as error:
        raise OutputError(path, f"cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def is_held(error: OutputError) -> bool:
    """Tells whether a file could not be written because another program holds it, as Excel does on Windows, or may not be."""
    return isinstance(error.__cause__, PermissionError)


def _replace(temporary: Path, path: Path) -> None:
    # Windows refuses it for as long as anybody has the file open: a scanner or whoever reads it, for a moment.
    for seconds in (0.05, 0.1, 0.2, 0.4, 0.8):
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            time.sleep(seconds)
    os.replace(temporary, path)


def flush_to_disk(file: int) -> None:
    """Flushes an open file (its descriptor) to the disk, where the file system can be asked to.

    Raises:
        OSError: the disk is full or has failed.
    """
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # some shares cannot be asked to flush
            raise


def _ending(name: str) -> str:
    # A name as long as names may be leaves no room for more.
    return "-" + name[-60:]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def remove_unfinished(folder: str | Path, name: str = "") -> int:
    """Removes what killed processes left half written in `folder` (not in its subfolders); returns how many.

    What a living process is writing stays; of those of other hosts, which share the folder, nothing can be known, and what
    they have not written to for `ABANDONED` is what is left of killed ones.

    Args:
        folder: where `whole_file` was writing.
        name: only what was to become the file of this name; empty means all.
    """
    count = 0
    for leftover in Path(folder).glob(f"{TEMPORARY_PREFIX}*{glob.escape(_ending(name)) if name else ''}"):
        writer, _, host = leftover.name.removeprefix(TEMPORARY_PREFIX).partition("-")[0].partition("@")
        if host and host != _host():
            written_to = _is_younger(leftover, ABANDONED)
        else:
            written_to = writer.isdecimal() and psutil.pid_exists(int(writer))
        if not written_to:
            leftover.unlink(missing_ok=True)
            count += 1
    return count


def _host() -> str:
    """A few digits that tell this computer (or container) from others."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_younger(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime < seconds
    except OSError:
        return False  # gone meanwhile


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all.

    Raises:
        OutputError: as `whole_file`; also text that is not Unicode, such as a file name in another encoding.
    """
    try:
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except UnicodeEncodeError as error:
        raise OutputError(path, f"cannot be written: {error}") from error


def write_json(path: str | Path, value: Any) -> None:
    """Writes human-readable JSON (sorted as given, indented), whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads JSON, with or without a byte order mark.

    Raises:
        InputError: the file is absent, unreadable, or not JSON; the message names the line.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(path, f"is not valid JSON: {error}") from error


def sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(value: Any) -> str:
    """Returns the SHA-256 of a JSON-serialisable value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
