"""What became of each image: not labelled, drafted, labelled, approved, flagged, skipped; and which comes next."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args

from ..errors import ConfigurationError
from .catalogue import Catalogue, Image
from .suggestions import open_suggestions

Review = Literal["", "draft", "skipped", "impossible", "approved", "flagged"]
"""What a person, or a draft, has said of an image: a draft waits to be corrected, it was skipped for now, it cannot be
labelled; its label is right, or it is not."""
OF_A_LABEL = ("approved", "flagged")
"""What can be said of a label only."""
Status = Literal["no label", "draft", "skipped", "impossible", "labelled", "approved", "flagged"]


def status_of(image: Image) -> Status:
    """Returns how far an image is, for a column of a table.

    Example:
        >>> from hssl.workspace.catalogue import Image
        >>> status_of(Image(id="a", task="t", image="a.nrrd", label="l.nrrd", review="approved"))
        'approved'
    """
    if image.label is not None and image.label_problem is None:
        return "approved" if image.review == "approved" else "flagged" if image.review == "flagged" else "labelled"
    if image.review == "draft":
        return "draft"
    if image.review == "skipped":
        return "skipped"
    return "impossible" if image.review == "impossible" else "no label"


def set_review(
    workspace: str | Path, ids: list[str], review: Review, remark: str | None = None, wait: float = 10.0
) -> None:
    """Says what became of images, and saves.

    Args:
        workspace: folder with the catalogue.
        ids: ids of the images.
        review: see `Review`; "" takes back what was said.
        remark: in a person's own words; None leaves what is there.
        wait: how long to wait for another process's edit, in seconds.

    Raises:
        ConfigurationError: an id or a review is unknown, or a label is judged where there is none; nothing was changed.
    """
    if review not in get_args(Review):
        raise ConfigurationError(f"a review is one of {', '.join(get_args(Review)[1:])}, not {review!r}")
    with Catalogue.editing(workspace, wait) as catalogue:
        images = [catalogue.image(id) for id in ids]
        if review in OF_A_LABEL:
            without = [i.id for i in images if i.label is None]
            if without:
                raise ConfigurationError(f"{', '.join(without)} has no label that could be {review}", "Label it first.")
        for image in images:
            image.review = review
            if remark is not None:
                image.remark = remark


def next_image(catalogue: Catalogue, task: str, without: Collection[str] = ()) -> str | None:
    """Returns the id of the image of a task that is to be labelled next, or None when none is left.

    Suggested images come first (`hssl.jobs.suggest`), then the others in the catalogue's order, then those that were
    skipped. What cannot be labelled does not come at all.

    Args:
        without: ids that are not wanted now, such as those that could not be opened.

    Raises:
        ConfigurationError: there is no such task.
        InputError: the list of suggestions is damaged.
    """
    catalogue.task(task)
    waiting = {i.id: i for i in catalogue.usable(task, labelled=False) if i.review != "impossible"}
    suggested = dict.fromkeys(s.id for s in open_suggestions(catalogue, task) if s.id in waiting)
    order = [*suggested, *(id for id in waiting if id not in suggested)]
    order.sort(key=lambda id: waiting[id].review == "skipped")
    return next((id for id in order if id not in without), None)


def progress(catalogue: Catalogue, task: str) -> tuple[int, int]:
    """Returns how many images of a task have a usable label, and how many can have one."""
    usable = catalogue.usable(task)
    labelled = [i.label is not None and i.label_problem is None for i in usable]
    possible = [has or i.review != "impossible" for i, has in zip(usable, labelled, strict=True)]
    return sum(labelled), sum(possible)
