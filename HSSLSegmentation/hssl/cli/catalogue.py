"""`hssl catalogue`: makes a workspace, brings images into it, checks, groups, lists and edits them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import run_job
from .jobs import Json

if TYPE_CHECKING:
    from ..events import Done, OnEvent, Stop
    from ..workspace.catalogue import LabelClass

app = typer.Typer(no_args_is_help=True, help="The images, labels, tasks and groups of a workspace.")

Workspace = Annotated[Path, typer.Argument(help="Folder of the workspace.", show_default=False)]
TaskName = Annotated[str | None, typer.Option("--task", help="Only this task.", show_default=False)]


@app.command()
def create(
    workspace: Workspace,
    name: Annotated[str, typer.Option(help="Name to show; the folder's when empty.")] = "",
    json: Json = False,
) -> None:
    """Make an empty workspace."""

    def work() -> dict[str, Any]:
        from ..workspace.catalogue import Catalogue

        catalogue = Catalogue.create(workspace, name)
        return {"workspace": str(catalogue.workspace), "name": catalogue.name}

    _at_once(work, json, lambda result: typer.echo(f"Made {result['workspace']}"))


@app.command()
def add(
    workspace: Workspace,
    source: Annotated[Path, typer.Argument(help="A volume, a folder of volumes or DICOM, an MSD or nnU-Net dataset.")],
    task: Annotated[str, typer.Option(help="Task of the images; the source's name when empty.")] = "",
    modality: Annotated[str, typer.Option(help="Such as CT or MR; CT is normalised by its Hounsfield units.")] = "",
    anatomy: Annotated[str, typer.Option(help="Body part, a hint for grouping.")] = "",
    group: Annotated[str, typer.Option(help="Group of tasks with the same content and modality.")] = "",
    labels: Annotated[Path | None, typer.Option(help="Folder with the label maps, where they lie elsewhere.")] = None,
    pattern: Annotated[str, typer.Option(help='Which files are images, such as "{id}_ct.nii.gz".')] = "",
    label_pattern: Annotated[str, typer.Option(help='Which is the label of an id, such as "{id}_seg.nii.gz".')] = "",
    frame: Annotated[int | None, typer.Option(help="Volume to take of 4D files, from 0.")] = None,
    channel: Annotated[int | None, typer.Option(help="Channel to take of MSD and nnU-Net datasets, from 0.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help='Such as "1=liver"; once for each class.')
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Then read every voxel of the task once, as the command check does.")
    ] = False,
    json: Json = False,
) -> None:
    """Bring images into a workspace; what is there and has not changed is left as it is."""

    def job(on_event: OnEvent, stop: Stop) -> Done:
        from ..errors import ConfigurationError
        from ..events import Done, Message
        from ..workspace.catalogue import Catalogue, Task
        from ..workspace.check import check_workspace
        from ..workspace.scan import add as add_source
        from ..workspace.sources import find, modality_of

        Catalogue.load(workspace)
        found = find(source, labels, pattern, label_pattern, frame, channel)
        if not (task or found.name):
            raise ConfigurationError(f"{source} has no name that could be the task's", "Name it with --task.")
        new = Task(
            name=task or found.name,
            modality=modality_of(modality) or "unknown",
            anatomy=anatomy,
            group=group,
            classes=parsed_classes(classes),
        )
        labelled = sum(c.label is not None for c in found.candidates)
        text = f"{found.kind} {source}: {len(found.candidates)} images, {labelled} with a label, for task {new.name}"
        on_event(Message(text=text))
        report = add_source(workspace, found, new, on_event, stop)
        problems = []
        if check and not report.stopped:
            checked = check_workspace(workspace, on_event, stop, new.name)
            report.stopped, problems = checked.stopped, checked.problems
        return Done(
            stopped=report.stopped,
            result={
                "task": new.name,
                "added": report.added,
                "changed": report.changed,
                "unchanged": report.unchanged,
                "refused": [r.model_dump(mode="json") for r in report.refused],
                "duplicates": [r.model_dump(mode="json") for r in report.duplicates],
                "problems": [dict(zip(("id", "path", "reason"), p, strict=True)) for p in problems],
            },
        )

    def summary(done: Done) -> None:
        counts = [f"{len(done.result[k])} {k}" for k in ("added", "changed", "refused", "duplicates") if done.result[k]]
        counts += [f"{done.result['unchanged']} unchanged"] if done.result["unchanged"] else []
        typer.echo(f"Task {done.result['task']}: {', '.join(counts) or 'nothing found'}")

    run_job(job, json, show=summary)


@app.command(name="list")
def list_(
    workspace: Workspace,
    task: TaskName = None,
    problems: Annotated[bool, typer.Option("--problems", help="Only what cannot be used, and why.")] = False,
    json: Json = False,
) -> None:
    """List tasks, images and what was refused."""

    def work() -> dict[str, Any]:
        from ..workspace.catalogue import Catalogue

        catalogue = Catalogue.load(workspace)
        if task is not None:
            catalogue.task(task)
        images = [i for i in catalogue.images if not problems or i.problem or i.label_problem]
        tasks = [
            {
                **t.model_dump(mode="json"),
                "group": catalogue.group_of(t.name),
                "usable": len(catalogue.usable(t.name)),
                "labelled": len(catalogue.usable(t.name, labelled=True)),
            }
            for t in catalogue.tasks
            if task is None or t.name == task
        ]
        return {
            "name": catalogue.name,
            "tasks": tasks,
            "images": [i.model_dump(mode="json") for i in images if task is None or i.task == task],
            "refused": [r.model_dump(mode="json") for r in catalogue.refused if task is None or r.task == task],
        }

    def show(result: dict[str, Any]) -> None:
        if not problems:
            _show_tasks(result["tasks"], result["name"])
        _table(
            "Images",
            ("id", "task", "size", "spacing mm", "label", "problem"),
            [
                (
                    i["id"],
                    i["task"],
                    _times(i["size"]),
                    _times(i["spacing"]),
                    "" if i["label"] is None else "unusable" if i["label_problem"] else "yes",
                    i["problem"] or (f"label {i['label_problem']}" if i["label_problem"] else ""),
                )
                for i in result["images"]
            ],
        )
        _table("Refused", ("path", "task", "reason"), [(r["path"], r["task"], r["reason"]) for r in result["refused"]])

    _at_once(work, json, show)


@app.command()
def check(workspace: Workspace, task: TaskName = None, json: Json = False) -> None:
    """Read every new or changed image and label once, and list what cannot be used.

    Fails when no image is left to work with.
    """

    def job(on_event: OnEvent, stop: Stop) -> Done:
        from ..errors import InputError
        from ..events import Done
        from ..workspace.catalogue import Catalogue
        from ..workspace.check import check_workspace

        report = check_workspace(workspace, on_event, stop, task)
        catalogue = Catalogue.load(workspace)
        usable, labelled = catalogue.usable(task), catalogue.usable(task, labelled=True)
        if not usable and not report.stopped:
            raise InputError(workspace, "has no usable image", "See `hssl catalogue list --problems`.")
        return Done(
            stopped=report.stopped,
            result={
                "read": report.read,
                "unchanged": report.unchanged,
                "usable": len(usable),
                "labelled": len(labelled),
                "problems": [dict(zip(("id", "path", "reason"), p, strict=True)) for p in report.problems],
                "classes": {t: [c.model_dump(mode="json") for c in many] for t, many in report.classes.items()},
            },
        )

    def summary(done: Done) -> None:
        r = done.result
        typer.echo(
            f"{r['usable']} images can be used, {r['labelled']} with a label; {len(r['problems'])} problems; "
            f"{r['read']} read, {r['unchanged']} unchanged"
        )

    run_job(job, json, show=summary)


@app.command()
def group(
    workspace: Workspace,
    task: Annotated[str | None, typer.Option("--task", help="Task to put into --group.", show_default=False)] = None,
    group: Annotated[str | None, typer.Option("--group", help='Its group; "" for one of its own.')] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the suggestion into the workspace.")] = False,
    json: Json = False,
) -> None:
    """Set the group of a task by hand, or suggest groups from modality and looks."""

    def job(on_event: OnEvent, stop: Stop) -> Done:
        from ..errors import ConfigurationError
        from ..events import Done
        from ..workspace.catalogue import Catalogue

        if (task is None) != (group is None):
            raise ConfigurationError("--task and --group belong together")
        if task is not None and group is not None:
            groups, written, stopped = {task: group or task}, True, False
            with Catalogue.editing(workspace) as catalogue:
                catalogue.set_group(task, group)
        else:
            from ..workspace.grouping import suggest_groups

            groups = suggest_groups(Catalogue.load(workspace), on_event, stop)
            stopped = stop()
            written = apply and not stopped
            if written:
                with Catalogue.editing(workspace) as catalogue:
                    for name in [t.name for t in catalogue.tasks if not t.group and t.name in groups]:
                        catalogue.set_group(name, groups[name])
        return Done(stopped=stopped, result={"groups": groups, "written": written})

    def summary(done: Done) -> None:
        _table("Groups", ("task", "group"), list(done.result["groups"].items()))
        if not done.result["written"]:
            typer.echo("A suggestion; --apply writes it.")

    run_job(job, json, show=summary)


@app.command()
def remove(
    workspace: Workspace,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of images.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option("--task", help="Remove this task and its images.")] = None,
    json: Json = False,
) -> None:
    """Take images or a task out of the workspace; your files stay where they are."""

    def work() -> dict[str, Any]:
        from ..errors import ConfigurationError
        from ..workspace.catalogue import Catalogue

        if not ids and task is None:
            raise ConfigurationError("nothing to remove: name ids or --task")
        with Catalogue.editing(workspace) as catalogue:
            before = {i.id for i in catalogue.images}
            if ids:
                catalogue.remove_images(ids)
            if task is not None:
                catalogue.remove_task(task)
            return {"removed": sorted(before - {i.id for i in catalogue.images})}

    _at_once(work, json, lambda result: typer.echo(f"Removed {len(result['removed'])} images from the catalogue"))


@app.command()
def label(
    workspace: Workspace,
    id: Annotated[str, typer.Argument(help="Id of the image.", show_default=False)],
    file: Annotated[Path | None, typer.Argument(help="Its label map; none to take the label away.")] = None,
    json: Json = False,
) -> None:
    """Give an image another label, or none."""

    def work() -> dict[str, Any]:
        from ..workspace.scan import relabel

        return relabel(workspace, id, file).model_dump(mode="json")

    def show(image: dict[str, Any]) -> None:
        problem = image["problem"] or image["label_problem"]
        typer.echo(f"{id}: {image['label'] or 'no label'}" + (f"; it {problem}" if problem else ""))

    _at_once(work, json, show)


@app.command()
def edit(
    workspace: Workspace,
    task: Annotated[str, typer.Argument(help="Name of the task.", show_default=False)],
    rename: Annotated[str | None, typer.Option(help="New name.")] = None,
    modality: Annotated[str | None, typer.Option(help="Such as CT or MR.")] = None,
    anatomy: Annotated[str | None, typer.Option(help="Body part.")] = None,
    classes: Annotated[list[str] | None, typer.Option("--class", help='All classes, such as "1=liver".')] = None,
    json: Json = False,
) -> None:
    """Change a task's name, modality, anatomy or classes."""

    def work() -> dict[str, Any]:
        from ..workspace.catalogue import Catalogue
        from ..workspace.sources import modality_of

        with Catalogue.editing(workspace) as catalogue:
            changed = catalogue.task(task)
            if modality is not None:
                changed.modality = modality_of(modality) or "unknown"
            if anatomy is not None:
                changed.anatomy = anatomy
            if classes:
                known = {c.value: c for c in changed.classes}
                changed.classes = [
                    known[c.value].model_copy(update={"name": c.name}) if c.value in known else c
                    for c in parsed_classes(classes)
                ]
            if rename is not None and rename != task:
                catalogue.rename_task(task, rename)
            return changed.model_dump(mode="json")

    _at_once(work, json, lambda result: _show_tasks([result], ""))


def parsed_classes(texts: list[str] | None) -> list[LabelClass]:
    """Reads "1=liver" into classes.

    Raises:
        ConfigurationError: a text is not a number, "=" and a name, or two have the same number or name.
    """
    from ..errors import ConfigurationError
    from ..workspace.catalogue import LabelClass

    classes = []
    for text in texts or []:
        value, mark, name = text.partition("=")
        if not mark or not value.strip().isdecimal() or not 0 < int(value) < 65536 or not name.strip():
            raise ConfigurationError(f'class {text!r} is not of the form "1=liver"')
        classes.append(LabelClass(value=int(value), name=name.strip()))
    for what in ("value", "name"):
        if len({getattr(c, what) for c in classes}) != len(classes):
            raise ConfigurationError(f"two classes have the same {what}: {', '.join(texts or [])}")
    return classes


def _at_once(work: Callable[[], dict[str, Any]], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """Runs what takes no time as a job whose only event is its end."""

    def job(on_event: OnEvent, stop: Stop) -> Done:
        from ..events import Done

        return Done(result=work())

    run_job(job, as_json, show=lambda done: show(done.result))


def _show_tasks(tasks: list[dict[str, Any]], title: str) -> None:
    _table(
        title,
        ("task", "group", "modality", "classes", "images", "with label"),
        [
            (
                t["name"],
                t["group"],
                t["modality"],
                ", ".join(f"{c['value']} {c['name']}" for c in t["classes"]),
                str(t.get("usable", "")),
                str(t.get("labelled", "")),
            )
            for t in tasks
        ],
    )


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        return
    table = Table(*columns, title=escape(title) or None)
    for row in rows:
        table.add_row(*map(escape, row))
    Console(highlight=False).print(table)


def _times(values: Sequence[float] | None) -> str:
    return "" if values is None else "×".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)
