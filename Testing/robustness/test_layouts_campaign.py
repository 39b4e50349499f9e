"""The short version of the campaign of the same name: a few draws of every writer."""

from __future__ import annotations

from collections import Counter

import pytest
from layouts import WRITERS, Truths, model, run


@pytest.mark.parametrize("writer", WRITERS)
def test_no_input_changes_and_every_result_belongs_to_the_input_that_it_is_named_for(tmp_path, writer):
    truths = Truths(model(tmp_path / "model.zip"))
    outcomes: Counter[str] = Counter()
    for seed in range(6):
        (tmp_path / str(seed)).mkdir()
        outcome, problems = run(tmp_path / str(seed), seed, truths, writer)
        outcomes[outcome] += 1
        assert problems == []
    assert min(outcomes.values()) > 0 and len(outcomes) == 2, "writings and refusals are both drawn"
