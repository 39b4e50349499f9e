"""The workspace of generated scans."""

from __future__ import annotations

from pathlib import Path

import pytest

from hssl.demo.workspace import sample
from hssl.errors import WorkspaceError
from hssl.events import Progress
from hssl.workspace.catalogue import Catalogue


def test_a_sample_workspace_has_labelled_and_unlabelled_scans_in_groups_and_can_be_moved(tmp_path: Path) -> None:
    done = sample(tmp_path / "made here", "tiny")
    moved = (tmp_path / "made here").rename(tmp_path / "moved")
    catalogue = Catalogue.load(moved)
    assert done.result.images == len(catalogue.images)
    assert catalogue.usable(labelled=True) and catalogue.usable(labelled=False)
    assert len({catalogue.group_of(task.name) for task in catalogue.tasks}) == 3
    assert all(catalogue.image_path(image).is_file() for image in catalogue.images)
    assert catalogue.name == "made here"


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(WorkspaceError, match="not an empty folder"):
        sample(tmp_path, "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_sample_that_was_stopped_leaves_nothing(tmp_path: Path) -> None:
    events: list[object] = []
    done = sample(
        tmp_path / "w", "tiny", on_event=events.append, stop=lambda: any(isinstance(e, Progress) for e in events)
    )
    assert done.stopped
    assert sum(isinstance(e, Progress) for e in events) == 1, "it is asked before each scan, not after all"
    assert sample(tmp_path / "w", "tiny", stop=lambda: True).stopped
    assert not list(tmp_path.iterdir())
