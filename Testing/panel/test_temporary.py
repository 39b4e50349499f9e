"""What passes between Slicer and the engine goes with the application, also with one that crashed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import slicer
from HSSLSegmentationLib import temporary

OTHER_SLICER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from hssl.locks import FolderLock
with FolderLock(sys.argv[2]):
    print("works", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def started(application, monkeypatch):
    """An application that has just been started; what it made is removed at the end."""
    monkeypatch.setattr(temporary, "_session", None)
    ended = []
    monkeypatch.setattr(temporary.atexit, "register", lambda call, *values: ended.append((call, values)))
    yield ended
    for call, values in ended:
        call(*values)


def other(folder: Path) -> subprocess.Popen:
    folder.mkdir()
    (folder / "volume.npy").write_bytes(b"a patient's")
    command = [sys.executable, "-c", OTHER_SLICER, str(Path(temporary.__file__).parents[1]), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "works\n"
    return process


def test_each_folder_is_another_one_and_all_go_with_the_application(started):
    folders = [temporary.newFolder() for _ in range(3)]
    assert len(set(folders)) == 3 and all(f.is_dir() and not list(f.iterdir()) for f in folders)
    (folders[0] / "volume.npy").write_bytes(b"a patient's")
    (call, values) = started.pop()
    call(*values)
    assert not any(f.exists() for f in folders) and not folders[0].parent.exists()
    assert temporary.newFolder().is_dir(), "whoever asks afterwards has one nevertheless"


def test_what_a_crashed_slicer_left_is_removed_and_what_a_living_one_has_stays(started):
    root = Path(slicer.app.temporaryPath)
    crashed, alive = root / "HSSL-session-crashed", root / "HSSL-session-alive"
    processes = [other(crashed), other(alive)]
    try:
        processes[0].kill()
        processes[0].wait()
        temporary.newFolder()
        assert not crashed.exists()
        assert (alive / "volume.npy").exists()
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()
