"""What is said of images and labels, what comes next, and what a new label takes back."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from hssl.cli import app
from hssl.demo.workspace import sample
from hssl.errors import ConfigurationError
from hssl.results import SuggestResult
from hssl.workspace.catalogue import Catalogue
from hssl.workspace.review import next_image, progress, set_review, status_of
from hssl.workspace.scan import relabel
from hssl.workspace.suggestions import write_suggestions

TASK = "brain_mr"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "workspace"
    sample(folder, "tiny")
    return folder


@pytest.fixture
def workspace(made):
    catalogue = Catalogue.load(made)
    waiting = [i.id for i in catalogue.usable(TASK, labelled=False)]
    labelled = [i.id for i in catalogue.usable(TASK, labelled=True)]
    set_review(made, [*waiting, *labelled], "", "")
    return made, waiting, labelled


def test_suggested_images_come_first_skipped_ones_last_and_impossible_ones_never(workspace):
    folder, waiting, labelled = workspace
    row = {"id": waiting[1], "rank": 1, "score": 1.0, "uncertainty": None, "novelty": None}
    write_suggestions(Catalogue.load(folder), SuggestResult(task=TASK, suggestions=[row]))
    assert next_image(Catalogue.load(folder), TASK) == waiting[1]
    set_review(folder, [waiting[1]], "skipped")
    assert next_image(Catalogue.load(folder), TASK) == waiting[0]
    assert next_image(Catalogue.load(folder), TASK, without={waiting[0]}) == waiting[1]
    set_review(folder, [waiting[0]], "impossible", "the field of view is cut")
    catalogue = Catalogue.load(folder)
    assert catalogue.image(waiting[0]).remark == "the field of view is cut"
    assert next_image(catalogue, TASK, without={waiting[1]}) is None
    assert progress(catalogue, TASK) == (len(labelled), len(labelled) + len(waiting) - 1)


def test_each_image_has_one_status_and_a_new_label_takes_back_what_was_said_of_the_old(workspace):
    folder, waiting, labelled = workspace
    set_review(folder, [waiting[0]], "draft")
    set_review(folder, [labelled[0]], "approved")
    set_review(folder, [labelled[1]], "flagged")
    catalogue = Catalogue.load(folder)
    found = [status_of(catalogue.image(id)) for id in (waiting[0], waiting[1], *labelled[:3])]
    assert found == ["draft", "no label", "approved", "flagged", "labelled"]
    relabel(folder, labelled[1], catalogue.label_path(catalogue.image(labelled[1])))
    assert status_of(Catalogue.load(folder).image(labelled[1])) == "labelled"


def test_what_cannot_be_said_is_refused_and_nothing_is_changed(workspace):
    folder, waiting, labelled = workspace
    before = (folder / "dataset.json").read_bytes()
    for ids, review, words in (
        ([labelled[0], waiting[0]], "approved", "has no label"),
        ([labelled[0]], "great", "approved, flagged"),
        (["nobody"], "skipped", "no image with id"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            set_review(folder, ids, review)
    assert (folder / "dataset.json").read_bytes() == before


def test_the_command_line_says_the_same(workspace):
    folder, waiting, labelled = workspace
    Catalogue.create(folder.parent / "empty")
    empty = CliRunner().invoke(app, ["catalogue", "next", str(folder.parent / "empty")])
    assert empty.exit_code == 3 and "has no task yet" in empty.output
    done = CliRunner().invoke(app, ["catalogue", "next", str(folder), "--task", TASK, "--json"])
    told = json.loads(done.stdout)["result"]
    assert told["id"] in waiting and told["labelled"] == len(labelled)
    done = CliRunner().invoke(app, ["catalogue", "review", str(folder), waiting[0], "--status", "impossible"])
    assert done.exit_code == 0 and Catalogue.load(folder).image(waiting[0]).review == "impossible"
