"""A lock on a folder is held by a living process only."""

import errno
import os
import subprocess
import sys

import pytest

from hssl import locks
from hssl.errors import LockedError, OutputError
from hssl.locks import FolderLock

HOLDER = """
import sys, time
from hssl.locks import FolderLock
with FolderLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_by_the_first_ones_id_until_that_is_killed(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid}"), FolderLock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with FolderLock(tmp_path):
        pass


def test_a_full_disk_is_told_and_leaves_the_folder_unlocked(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OutputError, match="No space left"), FolderLock(tmp_path):
            pass
    subprocess.run([sys.executable, "-c", HOLDER.replace("60", "0"), tmp_path], check=True)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL])
def test_a_share_without_locks_is_worked_on_with_a_warning(tmp_path, monkeypatch, code):
    def refuse(file):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks, "_lock", refuse)
    with pytest.warns(RuntimeWarning, match="a disk without locks"), FolderLock(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.EWOULDBLOCK, errno.EACCES])
def test_what_the_system_answers_for_a_held_lock_is_a_conflict(tmp_path, monkeypatch, code):
    def refuse(file):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks, "_lock", refuse)
    with pytest.raises(LockedError), FolderLock(tmp_path):
        pass
