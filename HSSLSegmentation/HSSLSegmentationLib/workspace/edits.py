"""Edits of a workspace's catalogue by hand: task and group of images, removal."""

from pathlib import Path

SECONDS_TO_WAIT = 2.0
"""For another process that edits the same catalogue; the application does nothing else meanwhile."""


def setTask(workspace: str | Path, ids: list[str], task: str) -> None:
    """Moves images to a task; a new one takes over modality, group and classes of the images' present one."""
    from hssl.workspace.catalogue import Catalogue

    with Catalogue.editing(workspace, SECONDS_TO_WAIT) as catalogue:
        for id in ids:
            image = catalogue.image(id)
            if all(t.name != task for t in catalogue.tasks):
                catalogue.set_task(catalogue.task(image.task).model_copy(update={"name": task}, deep=True))
            image.task = task


def setGroups(workspace: str | Path, groups: dict[str, str]) -> None:
    """Puts tasks into groups, by the tasks' names; "" makes a task a group of its own."""
    from hssl.workspace.catalogue import Catalogue

    with Catalogue.editing(workspace, SECONDS_TO_WAIT) as catalogue:
        for task, group in groups.items():
            catalogue.set_group(task, group)


def remove(workspace: str | Path, ids: list[str]) -> None:
    """Takes images out of the catalogue; no file of the user's is touched."""
    from hssl.workspace.catalogue import Catalogue

    with Catalogue.editing(workspace, SECONDS_TO_WAIT) as catalogue:
        catalogue.remove_images(ids)
