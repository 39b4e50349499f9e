"""Outputs: never an input, never each other, never what somebody else wrote, and checked before the work."""

import hashlib
import json
import os
import unicodedata
from pathlib import Path

import pytest

from hssl.errors import OutputError
from hssl.outputs import RECORD, ResultFolder, check_folder, check_outputs


@pytest.fixture
def scan(tmp_path) -> Path:
    (tmp_path / "scans").mkdir()
    path = tmp_path / "scans" / "a.nii.gz"
    path.write_bytes(b"scan")
    return path


def ways_to(scan: Path) -> dict[str, Path]:
    """Other paths of the same file."""
    root = scan.parent.parent
    (root / "x").mkdir()
    os.symlink(scan.parent, root / "link to folder")
    os.symlink(scan, root / "link.nii.gz")
    os.link(scan, root / "hard.nii.gz")
    os.symlink("link.nii.gz", root / "link to link.nii.gz")
    return {
        "itself": scan,
        "up and down": root / "x" / ".." / "scans" / "a.nii.gz",
        "down into a folder that is not there yet, and up": scan.parent / "new" / "folder" / ".." / ".." / "a.nii.gz",
        "through a link to its folder": root / "link to folder" / "a.nii.gz",
        "a link": root / "link.nii.gz",
        "a link to a link": root / "link to link.nii.gz",
        "a hard link": root / "hard.nii.gz",
    }


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_is_never_an_input_by_whatever_path(scan, overwrite):
    for way, path in ways_to(scan).items():
        for output, source in ((path, scan), (scan, path)):
            with pytest.raises(OutputError, match="is one of the inputs"):
                check_outputs([output], [source], overwrite)
                pytest.fail(way)


def test_the_folder_of_outputs_is_none_that_is_read_from_by_whatever_path(scan, tmp_path):
    os.symlink(scan.parent, tmp_path / "link")
    ways = (scan.parent, tmp_path / "scans" / ".." / "scans", tmp_path / "link", tmp_path / "link" / ".")
    for folder in (*ways, scan.parent / "new" / ".."):
        with pytest.raises(OutputError, match="is the folder that is read from"):
            check_folder(folder, [scan.parent])
    check_folder(scan.parent / "results", [scan.parent])
    assert os.listdir(scan.parent) == ["a.nii.gz"]


def test_two_outputs_are_one_where_any_file_system_would_take_them_for_one(tmp_path):
    decomposed = unicodedata.normalize("NFD", "Übung.nii.gz")
    for one, other in (("a.nii.gz", "a.nii.gz"), ("Scan.nii.gz", "scan.nii.gz"), ("Übung.nii.gz", decomposed)):
        with pytest.raises(OutputError, match="written twice"):
            check_outputs([tmp_path / one, tmp_path / "x" / ".." / other], [])
    check_outputs([tmp_path / "a.nii.gz", tmp_path / "b" / "a.nii.gz"], [])


def test_what_is_there_stays_unless_it_may_be_replaced(scan):
    with pytest.raises(OutputError, match="is there already") as caught:
        check_outputs([scan], [])
    assert caught.value.way_out == "overwrite" and "same work" not in str(caught.value)
    check_outputs([scan], [], overwrite=True)
    with pytest.raises(OutputError, match="is there already"):
        check_outputs([scan.parent / "new" / ".." / "a.nii.gz"], [])
    with pytest.raises(OutputError, match="is a folder"):
        check_outputs([scan.parent], [], overwrite=True)
    os.symlink("nowhere", scan.parent / "dangling")
    with pytest.raises(OutputError, match="is there already"):
        check_outputs([scan.parent / "dangling"], [])


@pytest.mark.parametrize(("there", "wanted"), [("a.nii", "a.nii.gz"), ("a.nii.gz", "a.nii")])
def test_no_result_lies_where_a_reader_of_nifti_would_mix_it_up_with_a_scan(tmp_path, there, wanted):
    (tmp_path / there).write_bytes(b"scan")
    with pytest.raises(OutputError, match="mixed up"):
        check_outputs([tmp_path / wanted], [], overwrite=True)
    with pytest.raises(OutputError, match="mixed up"):
        check_outputs([tmp_path / "b.nii", tmp_path / "b.nii.gz"], [])


def test_what_cannot_be_written_to_is_found_at_once(scan, tmp_path):
    with pytest.raises(OutputError, match="is not a folder"):
        check_folder(scan / "results")
    with pytest.raises(OutputError, match="cannot be written to"):
        check_folder("/proc/1/results")
    with pytest.raises(OutputError, match="too long a name"):
        check_outputs([tmp_path / ("x" * 300)], [])
    check_outputs([tmp_path / "new" / "folder" / "a.nii.gz"], [])
    assert sorted(os.listdir(tmp_path)) == ["scans"]


def written(folder: Path, work: object, text: str, source: str = "a", overwrite: bool = False) -> Path:
    results = ResultFolder(folder, work, overwrite)
    path = folder / "r.txt"
    results.plan([(path, source)], [])
    with results.writing(path) as temporary:
        temporary.write_text(text)
    return path


def test_the_same_work_replaces_its_own_result_and_nothing_else(tmp_path):
    path = written(tmp_path / "out", "one", "first")
    assert written(tmp_path / "out", "one", "second").read_text() == "second"
    for work, source in (("two", "a"), ("one", "b")):
        with pytest.raises(OutputError, match="is there already"):
            written(tmp_path / "out", work, "third", source)
    path.write_text("corrected by hand")
    with pytest.raises(OutputError, match="is there already"):
        written(tmp_path / "out", "one", "third")
    assert path.read_text() == "corrected by hand"
    assert written(tmp_path / "out", "one", "third", overwrite=True).read_text() == "third"
    entries = [json.loads(line) for line in (tmp_path / "out" / RECORD).read_text().splitlines()]
    assert [e["sha256"] for e in entries] == [hashlib.sha256(t).hexdigest() for t in (b"first", b"second", b"third")]
    assert {(e["file"], e["input"]) for e in entries} == {("r.txt", "a")}


@pytest.mark.parametrize("name", ["result.nii.gz", "result.NRRD", "evaluation.csv"])
def test_no_folder_is_made_with_the_name_of_a_file(tmp_path, name):
    with pytest.raises(OutputError, match="is the name of a file, and a folder") as caught:
        written(tmp_path / name, "one", "first")
    assert "into it come r.txt" in caught.value.hint and not os.listdir(tmp_path)
    (tmp_path / name).mkdir()
    written(tmp_path / name, "one", "first")
    written(tmp_path / "of version 1.2", "one", "first")


def test_a_file_that_comes_while_the_work_goes_on_is_not_replaced(tmp_path):
    results = ResultFolder(tmp_path, "one")
    results.plan([(tmp_path / "r.txt", "a")], [])
    (tmp_path / "r.txt").write_text("mine")
    with pytest.raises(OutputError, match="is there already"), results.writing(tmp_path / "r.txt") as temporary:
        temporary.write_text("result")
    assert (tmp_path / "r.txt").read_text() == "mine" and os.listdir(tmp_path) == ["r.txt"]


def test_a_writer_that_is_killed_leaves_what_its_second_start_may_replace(tmp_path):
    written(tmp_path, "one", "first")
    record = (tmp_path / RECORD).read_bytes()
    for cut in (0, 1, 7, 8, 9, len(record) // 2, len(record) - 1, len(record)):
        (tmp_path / RECORD).write_bytes(record + record[:cut])  # the second entry is half written
        assert written(tmp_path, "one", "second").read_text() == "second"
        for line in (tmp_path / RECORD).read_bytes().split(b"\n"):
            assert not line or line.startswith(b'{"file"'[: len(line)])
        written(tmp_path, "one", "first")


def test_a_file_that_only_has_the_records_name_is_told_and_stays(tmp_path):
    (tmp_path / RECORD).write_text("my own notes\n")
    with pytest.raises(OutputError, match="line 1 is no record"):
        ResultFolder(tmp_path, "one")
    assert (tmp_path / RECORD).read_text() == "my own notes\n"
