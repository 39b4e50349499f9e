"""`hssl catalogue`: makes a workspace, brings images into it, checks, groups, lists and edits them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..errors import ConfigurationError, InputError
from ..events import Done, Message, OnEvent, Stop
from .console import err, errors_told, out, print_json, run_job

if TYPE_CHECKING:
    from ..catalogue import Catalogue, LabelClass

app = typer.Typer(no_args_is_help=True, help="The images, labels, tasks and groups of a workspace.")

Workspace = Annotated[Path, typer.Argument(help="Folder of the workspace.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for programs.")]
TaskName = Annotated[str | None, typer.Option("--task", help="Only this task.", show_default=False)]


@app.command()
def create(
    workspace: Workspace,
    name: Annotated[str, typer.Option(help="Name to show; the folder's when empty.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make an empty workspace."""
    from ..catalogue import Catalogue

    with errors_told(as_json):
        catalogue = Catalogue.create(workspace, name)
        if as_json:
            print_json({"workspace": str(catalogue.workspace), "name": catalogue.name})
        else:
            out.print(f"Made {catalogue.workspace}", soft_wrap=True, highlight=False)


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
    as_json: AsJson = False,
) -> None:
    """Bring images into a workspace; what is there and has not changed is left as it is."""
    from ..catalogue import Catalogue, Task
    from ..scan import add as add_source
    from ..sources import find, modality_of

    def job(on_event: OnEvent, stop: Stop) -> Done:
        Catalogue.load(workspace)
        found = find(source, labels, pattern, label_pattern, frame, channel)
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
        done = Done(
            stopped=report.stopped,
            result={
                "task": new.name,
                "added": report.added,
                "changed": report.changed,
                "unchanged": report.unchanged,
                "refused": [r.model_dump(mode="json") for r in report.refused],
                "duplicates": [r.model_dump(mode="json") for r in report.duplicates],
            },
        )
        on_event(done)
        return done

    def summary(done: Done) -> None:
        counts = [f"{len(done.result[k])} {k}" for k in ("added", "changed", "refused", "duplicates") if done.result[k]]
        counts += [f"{done.result['unchanged']} unchanged"] if done.result["unchanged"] else []
        out.print(f"Task {done.result['task']}: {', '.join(counts) or 'nothing found'}", highlight=False)

    run_job(job, as_json, summary)


@app.command(name="list")
def list_(
    workspace: Workspace,
    task: TaskName = None,
    problems: Annotated[bool, typer.Option("--problems", help="Only what cannot be used, and why.")] = False,
    as_json: AsJson = False,
) -> None:
    """List tasks, images and what was refused."""
    from ..catalogue import Catalogue

    with errors_told(as_json):
        catalogue = Catalogue.load(workspace)
        if task is not None:
            catalogue.task(task)
        images = [
            i
            for i in catalogue.images
            if (task is None or i.task == task) and (not problems or i.problem or i.label_problem)
        ]
        refused = [r for r in catalogue.refused if task is None or r.task == task]
        if as_json:
            for kind, records in (
                ("task", [t for t in catalogue.tasks if task is None or t.name == task]),
                ("image", images),
                ("refused", refused),
            ):
                for record in records:
                    print_json({"row": kind, **record.model_dump(mode="json")})
            return
        if not problems:
            out.print(_tasks(catalogue, task))
        table = Table("id", "task", "size", "spacing mm", "label", "problem", title="Images")
        for image in images:
            label = "" if image.label is None else "unusable" if image.label_problem else "yes"
            problem = image.problem or (f"label {image.label_problem}" if image.label_problem else "")
            table.add_row(image.id, image.task, _times(image.size), _times(image.spacing), label, problem)
        if images:
            out.print(table)
        if refused:
            table = Table("path", "task", "reason", title="Refused")
            for one in refused:
                table.add_row(one.path, one.task, one.reason)
            out.print(table)


@app.command()
def check(workspace: Workspace, task: TaskName = None, as_json: AsJson = False) -> None:
    """Read every new or changed image and label once, and list what cannot be used.

    Fails when no image is left to work with.
    """

    def job(on_event: OnEvent, stop: Stop) -> Done:
        from ..catalogue import Catalogue
        from ..check import check_workspace

        report = check_workspace(workspace, on_event, stop, task)
        catalogue = Catalogue.load(workspace)
        usable, labelled = catalogue.usable(task), catalogue.usable(task, labelled=True)
        if not usable and not report.stopped:
            raise InputError(workspace, "has no usable image", "See `hssl catalogue list --problems`.")
        done = Done(
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
        on_event(done)
        return done

    def summary(done: Done) -> None:
        r = done.result
        out.print(
            f"{r['usable']} images can be used, {r['labelled']} with a label; {len(r['problems'])} problems; "
            f"{r['read']} read, {r['unchanged']} unchanged",
            highlight=False,
        )

    run_job(job, as_json, summary)


@app.command()
def group(
    workspace: Workspace,
    task: Annotated[str | None, typer.Option("--task", help="Task to put into --group.", show_default=False)] = None,
    group: Annotated[str | None, typer.Option("--group", help='Its group; "" for one of its own.')] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the suggestion into the workspace.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set the group of a task by hand, or suggest groups from modality and looks."""
    from ..catalogue import Catalogue

    if (task is None) != (group is None):
        with errors_told(as_json):
            raise ConfigurationError("--task and --group belong together")
    if task is not None and group is not None:
        with errors_told(as_json):
            with Catalogue.editing(workspace) as catalogue:
                catalogue.set_group(task, group)
            _show_groups({task: group or task}, as_json)
        return

    def job(on_event: OnEvent, stop: Stop) -> Done:
        from ..grouping import suggest_groups

        groups = suggest_groups(Catalogue.load(workspace), on_event, stop)
        stopped = stop()
        if apply and not stopped:
            with Catalogue.editing(workspace) as catalogue:
                there = {t.name for t in catalogue.tasks if not t.group}
                for name in there & groups.keys():
                    catalogue.set_group(name, groups[name])
        done = Done(stopped=stopped, result={"groups": groups, "applied": apply and not stopped})
        on_event(done)
        return done

    def summary(done: Done) -> None:
        _show_groups(done.result["groups"], as_json=False)
        if not apply:
            err.print("A suggestion; --apply writes it.", style="dim")

    run_job(job, as_json, summary)


@app.command()
def remove(
    workspace: Workspace,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of images.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option("--task", help="Remove this task and its images.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take images or a task out of the workspace; your files stay where they are."""
    from ..catalogue import Catalogue

    with errors_told(as_json):
        if not ids and task is None:
            raise ConfigurationError("nothing to remove: name ids or --task")
        with Catalogue.editing(workspace) as catalogue:
            before = len(catalogue.images)
            if ids:
                catalogue.remove_images(ids)
            if task is not None:
                catalogue.remove_task(task)
            count = before - len(catalogue.images)
        if as_json:
            print_json({"removed": count})
        else:
            out.print(f"Removed {count} images from the catalogue")


@app.command()
def label(
    workspace: Workspace,
    id: Annotated[str, typer.Argument(help="Id of the image.", show_default=False)],
    file: Annotated[Path | None, typer.Argument(help="Its label map; none to take the label away.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give an image another label, or none."""
    from ..scan import relabel

    with errors_told(as_json):
        record = relabel(workspace, id, file)
        if as_json:
            print_json({"row": "image", **record.model_dump(mode="json")})
        elif record.label_problem:
            err.print(f"The label {record.label_problem}", style="yellow", highlight=False, markup=False)
        else:
            out.print(f"{id}: {record.label or 'no label'}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def edit(
    workspace: Workspace,
    task: Annotated[str, typer.Argument(help="Name of the task.", show_default=False)],
    rename: Annotated[str | None, typer.Option(help="New name.")] = None,
    modality: Annotated[str | None, typer.Option(help="Such as CT or MR.")] = None,
    anatomy: Annotated[str | None, typer.Option(help="Body part.")] = None,
    classes: Annotated[list[str] | None, typer.Option("--class", help='All classes, such as "1=liver".')] = None,
    as_json: AsJson = False,
) -> None:
    """Change a task's name, modality, anatomy or classes."""
    from ..catalogue import Catalogue
    from ..sources import modality_of

    with errors_told(as_json), Catalogue.editing(workspace) as catalogue:
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
        if as_json:
            print_json({"row": "task", **changed.model_dump(mode="json")})
        else:
            out.print(_tasks(catalogue, changed.name))


def parsed_classes(texts: list[str] | None) -> list[LabelClass]:
    """Reads "1=liver" into classes.

    Raises:
        ConfigurationError: a text is not a number, "=" and a name, or two have the same number or name.
    """
    from ..catalogue import LabelClass

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


def _tasks(catalogue: Catalogue, only: str | None) -> Table:
    table = Table("task", "group", "modality", "classes", "images", "with label", title=catalogue.name)
    for task in catalogue.tasks:
        if only is None or task.name == only:
            classes = ", ".join(f"{c.value} {c.name}" for c in task.classes)
            count, labelled = len(catalogue.usable(task.name)), len(catalogue.usable(task.name, labelled=True))
            table.add_row(task.name, catalogue.group_of(task.name), task.modality, classes, str(count), str(labelled))
    return table


def _show_groups(groups: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json({"groups": groups})
        return
    table = Table("task", "group")
    for task, name in groups.items():
        table.add_row(task, name)
    out.print(table)


def _times(values: tuple[float, ...] | None) -> str:
    return "" if values is None else "×".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)
