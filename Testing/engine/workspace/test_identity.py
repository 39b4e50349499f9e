"""What tells files apart without reading them whole."""

from __future__ import annotations

import numpy as np
import pytest

from hssl.workspace.identity import content_of


@pytest.mark.parametrize("size", [1000, 128 * 1024, 128 * 1024 + 1, 5_000_000])
def test_the_first_the_last_and_the_middle_bytes_of_a_file_are_its_content(tmp_path, size):
    path = tmp_path / "a.nii"
    content = bytearray(np.random.default_rng(size).bytes(size))
    path.write_bytes(content)
    found = {content_of([path])}
    for place in (0, size // 7, size - 1):
        content[place] ^= 1
        path.write_bytes(content)
        found.add(content_of([path]))
        content[place] ^= 1
    path.write_bytes(content + b"0")
    found.add(content_of([path]))
    path.write_bytes(content)
    assert len(found) == 5 and content_of([path]) in found
