"""Names that every file system takes, and evenly spread samples."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hssl.names import LONGEST, safe_name
from hssl.plural import shortened, with_rest
from hssl.spread import evenly


@given(st.text(), st.booleans())
def test_any_text_becomes_a_name_that_every_file_system_takes(text, ascii_only):
    name = safe_name(text, "task", ascii_only)
    assert re.fullmatch(r"[\w.+-]+", name) and 0 < len(name) <= LONGEST + 1
    assert not name.startswith((".", "-")) and not name.endswith(".")
    assert name.isascii() or not ascii_only
    assert safe_name(name, "task", ascii_only) == name


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ("liver", "liver"),
        ("Head & neck", "Head_neck"),
        ("../../etc/passwd", "etc_passwd"),
        ("Leber größer", "Leber_größer"),
        ("a+b-c_d.e", "a+b-c_d.e"),
        ("con", "con_"),
        ("Aux.1", "Aux.1_"),
        ("console", "console"),
        ("...", "task"),
        ("", "task"),
        ("-rf", "rf"),
    ],
)
def test_names(wish, expected):
    assert safe_name(wish, "task") == expected


def test_archives_get_ascii_alone():
    assert safe_name("Leber größer", "model", ascii_only=True) == "Leber_gr_er"


@given(st.integers(0, 500), st.integers(1, 50))
def test_a_spread_holds_both_ends_at_even_distances(count, most):
    found = evenly(count, most)
    assert len(found) == min(count, most) == len({*found})
    if len(found) > 1:
        steps = [b - a for a, b in zip(found, found[1:], strict=False)]
        assert (found[0], found[-1]) == (0, count - 1) and max(steps) - min(steps) <= 1


@pytest.mark.parametrize(
    ("count", "most", "shown"),
    [(0, 2, ""), (1, 2, "a0"), (2, 2, "a0; a1"), (3, 2, "a0; a1; …"), (5, 3, "a0; a1; a2; …")],
)
def test_of_many_names_the_first_are_shown_and_that_there_are_more(count, most, shown):
    assert shortened((f"a{n}" for n in range(count)), most, "; ") == shown


@given(st.lists(st.text("ab", min_size=1, max_size=3), max_size=6), st.integers(1, 4))
def test_the_first_of_many_names_are_told_and_how_many_follow(names, most):
    told, _, rest = with_rest(names, most).partition(" and ")
    assert told == ", ".join(names[:most])
    assert rest == (f"{len(names) - most} more" if len(names) > most else "")
