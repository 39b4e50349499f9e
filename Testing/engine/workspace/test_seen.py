"""What is carried of the images that a training has seen, and what people read of a model's provenance."""

from __future__ import annotations

from hssl.workspace.seen import SEEN, contents_seen, without_seen

PROVENANCE = {
    "a": 1,
    SEEN: {"images": ["x"], "patients": []},
    "z": {"tool": "t", SEEN: {"images": ["y"]}, "later": {SEEN: "no list"}},
}


def test_people_read_everything_but_the_lists_of_what_was_seen():
    assert without_seen(PROVENANCE) == {"a": 1, "z": {"tool": "t", "later": {}}}
    assert without_seen("text") == "text" and without_seen(None) is None


def test_what_any_start_has_seen_is_seen():
    assert contents_seen(PROVENANCE, ["y", "w", "x"]) == ["y", "x"]
    assert contents_seen(None, ["x"]) == []
