"""Files are whole or absent, whatever happens while they are written."""

import errno
import os
import subprocess
import sys
import time

import pytest

from hssl import files
from hssl.errors import OutputError
from hssl.files import ABANDONED, read_json, remove_unfinished, whole_file, write_json, write_text

WRITER = """
import sys, time
from hssl.files import whole_file
with whole_file(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "a.txt"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_what_a_killed_process_left_is_removed_and_the_older_file_is_whole(tmp_path, writer):
    write_text(tmp_path / "a.txt", "older")
    writer.kill()
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 2
    assert remove_unfinished(tmp_path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "older"


def test_what_a_living_process_is_writing_stays(tmp_path, writer):
    assert remove_unfinished(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_what_another_host_is_writing_stays_until_it_is_surely_abandoned(tmp_path):
    """Of a shared folder: there is no process of that number here, and there is one there."""
    theirs = tmp_path / ".writing-99999999@another0-1_-a.txt"
    theirs.write_text("half")
    assert remove_unfinished(tmp_path) == 0 and theirs.exists()
    long_ago = time.time() - ABANDONED - 1
    os.utime(theirs, (long_ago, long_ago))
    assert remove_unfinished(tmp_path) == 1 and not theirs.exists()


def test_only_what_was_to_become_the_named_file_is_removed(tmp_path):
    for name in (".writing-0x-a.txt", ".writing-99999999-1_-a.txt", ".writing-99999999-1_-b[1].txt"):
        (tmp_path / name).write_text("half")
    assert remove_unfinished(tmp_path, "b[1].txt") == 1
    assert remove_unfinished(tmp_path, "a.txt") == 2


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    with pytest.raises(OutputError, match="No space"), whole_file(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert [p.read_text() for p in tmp_path.iterdir()] == ['{\n "x": 1\n}\n']


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").mkdir()
    with pytest.raises(OutputError, match=r"a/b: cannot be written: "):
        write_text(tmp_path / "a" / "b", "x")
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "b"]


def test_a_share_that_takes_no_modes_and_no_flushing_is_written_to_all_the_same(tmp_path, monkeypatch):
    def refuse(*arguments, code):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "chmod", lambda *a: refuse(code=errno.EPERM))
    monkeypatch.setattr(os, "fsync", lambda *a: refuse(code=errno.EINVAL))
    write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
    monkeypatch.setattr(os, "fsync", lambda *a: refuse(code=errno.EIO))
    with pytest.raises(OutputError, match="Input/output"):
        write_text(tmp_path / "a.txt", "lost")
    assert (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.parametrize(("refusals", "written"), [(2, True), (99, False)])
def test_a_file_that_another_program_holds_is_replaced_as_soon_as_it_is_free(tmp_path, monkeypatch, refusals, written):
    """Windows replaces nothing that anybody has open."""
    write_text(tmp_path / "a.csv", "old")
    replace, left = os.replace, [refusals]

    def held(*paths):
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(errno.EACCES, "Access is denied")
        replace(*paths)

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    if written:
        write_text(tmp_path / "a.csv", "new")
    else:
        with pytest.raises(OutputError, match="Access is denied") as raised:
            write_text(tmp_path / "a.csv", "new")
        assert files.is_held(raised.value) and "open in another program" in raised.value.hint
    assert [p.read_text() for p in tmp_path.iterdir()] == ["new" if written else "old"]


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"x": 1}')
    assert read_json(tmp_path / "a.json") == {"x": 1}
