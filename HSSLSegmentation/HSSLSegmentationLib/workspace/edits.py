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


def confirm(workspace: str | Path, ids: list[str]) -> None:
    """Says of images that look like masks, or like nearly nothing, that they are images."""
    from hssl.workspace.catalogue import Catalogue

    with Catalogue.editing(workspace, SECONDS_TO_WAIT) as catalogue:
        catalogue.confirm_images(ids)


def editTask(workspace: str | Path, task: str, name: str, modality: str, classes: list) -> None:
    """Renames a task, says of which modality it is, and gives its classes names, colours and terminology; values stay.

    Args:
        classes: all of the task's classes, each with `value`, `name`, `color` and `terminology`.

    Raises:
        HSSLError: the name is taken or empty, or two classes have the same name; nothing was changed.
    """
    from pydantic import ValidationError

    from hssl.errors import ConfigurationError
    from hssl.workspace.catalogue import Catalogue, Task

    with Catalogue.editing(workspace, SECONDS_TO_WAIT) as catalogue:
        present = catalogue.task(task).model_dump() | {"modality": modality}
        known = {c["value"]: c for c in present["classes"]}
        present["classes"] = [
            {
                **known.get(c.value, {}),
                "value": c.value,
                "name": c.name,
                "color": c.color,
                "terminology": c.terminology,
            }
            for c in classes
        ]
        try:
            catalogue.set_task(Task.model_validate(present))
        except ValidationError as error:
            raise ConfigurationError("; ".join(str(e["msg"]) for e in error.errors())) from error
        if name != task:
            catalogue.rename_task(task, name)


def removeTask(workspace: str | Path, task: str) -> None:
    """Takes a task and its images out of the catalogue; no file of the user's is touched."""
    from hssl.workspace.catalogue import Catalogue

    with Catalogue.editing(workspace, SECONDS_TO_WAIT) as catalogue:
        catalogue.remove_task(task)
