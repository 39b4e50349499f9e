"""The short version of the campaign of the same name: every kind of file once, in one process."""

from __future__ import annotations

from bad_input import KINDS, REFUSED, broken_descriptions, run_batch


def test_every_kind_of_bad_file_is_refused_with_a_reason_and_the_rest_goes_on(tmp_path):
    failures, outcomes = run_batch(tmp_path, seed=7, count=len(KINDS) + 6)
    assert failures == []
    assert outcomes[f"{REFUSED}: {REFUSED}"] >= 17


def test_a_broken_description_of_a_dataset_is_a_user_s_error():
    assert broken_descriptions(seed=7, count=60) == []
