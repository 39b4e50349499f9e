"""`hssl catalogue`: makes a workspace, brings images into it, checks, groups, lists and edits them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..plural import counted
from .console import print_table, run_job
from .ids import read_ids
from .options import ConfigFile, Json, Spacing, StopFile, parsed_classes, run_configured

if TYPE_CHECKING:
    from ..events import Done, OnEvent, Stop
    from ..results import AddResult, CheckResult, GroupResult

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
    context: typer.Context,
    workspace: Annotated[Path | None, typer.Argument(help="Folder of the workspace.", show_default=False)] = None,
    source: Annotated[
        Path | None,
        typer.Argument(
            help="A volume, a folder of volumes or DICOM, a data set as it was downloaded.", show_default=False
        ),
    ] = None,
    config: ConfigFile = None,
    task: Annotated[
        str | None, typer.Option(help="Task of the images. (default: the source's name)", show_default=False)
    ] = None,
    modality: Annotated[
        str | None, typer.Option(help="Such as CT or MR; CT is normalised by its Hounsfield units.")
    ] = None,
    anatomy: Annotated[str | None, typer.Option(help="Body part, a hint for grouping.")] = None,
    group: Annotated[str | None, typer.Option(help="Group of tasks with the same content and modality.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder with the label maps, where they lie elsewhere.")] = None,
    pattern: Annotated[str | None, typer.Option(help='Which files are images, such as "{id}_ct.nii.gz".')] = None,
    label_pattern: Annotated[
        str | None,
        typer.Option(help='Which is the label of an id, such as "{id}_seg.nii.gz" or "{id}/{structure}.nii.gz".'),
    ] = None,
    patient: Annotated[
        str | None, typer.Option(help='Whose images they are, such as "{patient}_*" or "{patient}/*", or one name.')
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help='Such as "1=liver"; once for each class.')
    ] = None,
    structures: Annotated[
        list[str] | None,
        typer.Option("--structure", help="Structure to take, of labels that have names; may be repeated."),
    ] = None,
    frame: Annotated[int | None, typer.Option(help="Volume to take of 4D files, from 0.")] = None,
    channel: Annotated[int | None, typer.Option(help="Channel to take of MSD and nnU-Net datasets, from 0.")] = None,
    spacing: Spacing = None,
    mixed: Annotated[bool | None, typer.Option("--mixed", help="Allow different modalities in one task.")] = None,
    nan_is_background: Annotated[
        bool | None, typer.Option("--nan-is-background", help="Voxels that are NaN are background, not an error.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="File below the source that is no image after all; may be repeated.")
    ] = None,
    confirm: Annotated[
        list[str] | None,
        typer.Option(help="File below the source that is in doubt, and is an image; may be repeated."),
    ] = None,
    check: Annotated[
        bool | None, typer.Option("--check", help="Then read every voxel of the task once, as the command check does.")
    ] = None,
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run", help="Tell what would be added, with which labels; write nothing.")
    ] = None,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Bring images into a workspace; what is there and has not changed is left as it is."""

    run_configured(context, _show_added)


def _show_added(done: Done[AddResult]) -> None:
    if done.result.dry_run:
        typer.echo("Nothing was written.")
    typer.echo(done.result.text.splitlines()[-1])


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
        images = [i for i in catalogue.images if not problems or i.problem or i.label_problem or i.doubt]
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
        print_table(
            ("id", "task", "patient", "size", "spacing mm", "label", "problem"),
            [
                (
                    i["id"],
                    i["task"],
                    i["patient"],
                    _times(i["size"]),
                    _times(i["spacing"]),
                    "" if i["label"] is None else "unusable" if i["label_problem"] else "yes",
                    "; ".join(_problems(i)),
                )
                for i in result["images"]
            ],
            "Images",
        )
        refused = [(r["path"], r["task"], r["reason"]) for r in result["refused"]]
        print_table(("path", "task", "reason"), refused, "Refused")
        if not result["images"] and not refused:
            typer.echo("Nothing that cannot be used." if problems else "No image yet.")

    _at_once(work, json, show)


@app.command()
def check(workspace: Workspace, task: TaskName = None, json: Json = False) -> None:
    """Read every new or changed image and label once, and list what cannot be used.

    Fails when no image is left to work with.
    """

    def job(on_event: OnEvent, stop: Stop) -> Done[CheckResult]:
        from ..errors import InputError
        from ..events import Done
        from ..results import CheckResult
        from ..workspace.catalogue import Catalogue
        from ..workspace.check import check_workspace

        report = check_workspace(workspace, on_event, stop, task)
        catalogue = Catalogue.load(workspace)
        usable, labelled = catalogue.usable(task), catalogue.usable(task, labelled=True)
        if not usable and not report.stopped:
            raise InputError(
                workspace, "has no usable image", "What is wrong with each is told above, and listed with the images."
            )
        return Done(
            stopped=report.stopped,
            result=CheckResult(
                read=report.read,
                unchanged=report.unchanged,
                usable=len(usable),
                labelled=len(labelled),
                problems=report.problems,
                classes={task: {c.value: c.name for c in many} for task, many in report.classes.items()},
            ),
        )

    def summary(done: Done[CheckResult]) -> None:
        r = done.result
        typer.echo(
            f"{counted(r.usable, 'image')} can be used, {r.labelled} with a label; "
            f"{counted(len(r.problems), 'problem')}; "
            f"{r.read} read, {r.unchanged} unchanged"
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

    def job(on_event: OnEvent, stop: Stop) -> Done[GroupResult]:
        from ..errors import ConfigurationError
        from ..events import Done
        from ..results import GroupResult
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
        return Done(stopped=stopped, result=GroupResult(groups=groups, written=written))

    def summary(done: Done[GroupResult]) -> None:
        print_table(("task", "group"), list(done.result.groups.items()), "Groups")
        if not done.result.written:
            typer.echo("A suggestion; --apply writes it.")

    run_job(job, json, show=summary)


@app.command()
def remove(
    workspace: Workspace,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of images, or @FILE.", show_default=False)] = None,
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
                catalogue.remove_images(read_ids(ids) or [])
            if task is not None:
                catalogue.remove_task(task)
            return {"removed": sorted(before - {i.id for i in catalogue.images})}

    _at_once(
        work, json, lambda result: typer.echo(f"Removed {counted(len(result['removed']), 'image')} from the catalogue")
    )


@app.command()
def label(
    workspace: Workspace,
    id: Annotated[str, typer.Argument(help="Id of the image.", show_default=False)],
    file: Annotated[
        Path | None,
        typer.Argument(help="Its label map, segmentation, DICOM SEG or RTSTRUCT; none to take the label away."),
    ] = None,
    structures: Annotated[
        list[str] | None,
        typer.Option("--structure", help="Structure to take, of a label that has names; may be repeated."),
    ] = None,
    json: Json = False,
) -> None:
    """Give an image another label, or none."""

    def work() -> dict[str, Any]:
        from ..workspace.scan import relabel

        return relabel(workspace, id, file, structures or ()).model_dump(mode="json")

    def show(image: dict[str, Any]) -> None:
        problem = image["problem"] or image["label_problem"]
        typer.echo(f"{id}: {image['label'] or 'no label'}" + (f"; it {problem}" if problem else ""))

    _at_once(work, json, show)


@app.command()
def confirm(
    workspace: Workspace,
    ids: Annotated[list[str], typer.Argument(help="Ids of images in doubt, or @FILE.", show_default=False)],
    undo: Annotated[bool, typer.Option("--undo", help="Take it back.")] = False,
    json: Json = False,
) -> None:
    """Say that images in doubt (probably masks, say) are images; they are used from then on."""

    def work() -> dict[str, Any]:
        from ..workspace.catalogue import Catalogue

        chosen = read_ids(ids) or []
        with Catalogue.editing(workspace) as catalogue:
            catalogue.confirm_images(chosen, not undo)
            return {"ids": chosen, "usable": len(catalogue.usable())}

    _at_once(work, json, lambda result: typer.echo(f"{counted(result['usable'], 'image')} can be used"))


@app.command()
def review(
    workspace: Workspace,
    ids: Annotated[list[str], typer.Argument(help="Ids of images, or @FILE.", show_default=False)],
    status: Annotated[
        str,
        typer.Option(help='approved, flagged, skipped, impossible (cannot be labelled), draft, or "" to take it back.'),
    ],
    remark: Annotated[str | None, typer.Option(help="A remark that is kept with the images.")] = None,
    json: Json = False,
) -> None:
    """Say of labels that they are right or not, and of images that they are skipped or cannot be labelled."""

    def work() -> dict[str, Any]:
        from ..workspace.review import set_review

        chosen = read_ids(ids) or []
        set_review(workspace, chosen, status, remark)  # type: ignore[arg-type]  # checked there, with the choices told
        return {"ids": chosen, "status": status}

    _at_once(work, json, lambda result: typer.echo(f"{counted(len(result['ids']), 'image')}: {status or 'taken back'}"))


@app.command(name="next")
def next_(workspace: Workspace, task: TaskName = None, json: Json = False) -> None:
    """Tell which image of a task is to be labelled next, and how many are."""

    def work() -> dict[str, Any]:
        from ..errors import ConfigurationError
        from ..workspace.catalogue import Catalogue
        from ..workspace.review import next_image, progress

        catalogue = Catalogue.load(workspace)
        if not catalogue.tasks:
            raise ConfigurationError("the workspace has no task yet", "Add images first.")
        if task is None and len(catalogue.tasks) > 1:
            raise ConfigurationError("the workspace has several tasks", "Name one with --task.")
        name = task or catalogue.tasks[0].name
        labelled, images = progress(catalogue, name)
        return {"task": name, "id": next_image(catalogue, name), "labelled": labelled, "images": images}

    def show(result: dict[str, Any]) -> None:
        typer.echo(f"{result['id'] or 'none is left'} ({result['labelled']} of {result['images']} labelled)")

    _at_once(work, json, show)


@app.command()
def patient(
    workspace: Workspace,
    ids: Annotated[list[str], typer.Argument(help="Ids of images, or @FILE.", show_default=False)],
    name: Annotated[
        str, typer.Option(help='The patient; "" makes each image a patient of its own.', show_default=False)
    ],
    json: Json = False,
) -> None:
    """Say whose images these are: images of one patient stay on one side of every split."""

    def work() -> dict[str, Any]:
        from ..workspace.catalogue import Catalogue

        chosen = read_ids(ids) or []
        with Catalogue.editing(workspace) as catalogue:
            catalogue.set_patient(chosen, name)
            return {"ids": chosen, "patient": name}

    def show(result: dict[str, Any]) -> None:
        whose = f"of patient {name}" if name else "of a patient of its own each"
        typer.echo(f"{counted(len(result['ids']), 'image is', 'images are')} {whose}")

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
        from ..workspace.candidates import modality_of
        from ..workspace.catalogue import Catalogue

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


def _at_once(work: Callable[[], dict[str, Any]], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """Runs what takes no time as a job whose only event is its end."""

    def job(on_event: OnEvent, stop: Stop) -> Done[dict[str, Any]]:
        from ..events import Done

        return Done(result=work())

    run_job(job, as_json, show=lambda done: show(done.result))


def _show_tasks(tasks: list[dict[str, Any]], title: str) -> None:
    print_table(
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
        title,
    )


def _problems(image: dict[str, Any]) -> list[str]:
    said = [image["problem"]] if image["problem"] else []
    if image["doubt"]:
        said.append(f"{image['doubt']} ({'confirmed' if image['confirmed'] else 'not used until confirmed'})")
    return said + ([f"label {image['label_problem']}"] if image["label_problem"] else [])


def _times(values: Sequence[float] | None) -> str:
    return "" if values is None else "×".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)
