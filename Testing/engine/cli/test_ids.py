from __future__ import annotations

import pytest

from hssl.cli.ids import read_ids
from hssl.errors import InputError


def test_ids_come_from_options_and_from_files_with_one_a_line(tmp_path):
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbfcase1\r\n\r\n case2 \r\n")
    assert read_ids(["a", f"@{tmp_path / 'ids.txt'}", "b"]) == ["a", "case1", "case2", "b"]
    assert read_ids(None) is None
    assert read_ids([]) == []


def test_a_file_that_is_missing_or_no_text_is_told_in_a_line(tmp_path):
    with pytest.raises(InputError, match="ids.txt: cannot be read: No such file"):
        read_ids([f"@{tmp_path / 'ids.txt'}"])
    (tmp_path / "ids.txt").write_text("Kniegelenk-\xe4", encoding="latin-1")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_ids([f"@{tmp_path / 'ids.txt'}"])
