"""Reads the voxels of a catalogue's images and labels once, and writes into the records what cannot be used and why."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..events import Message, OnEvent, ProgressMeter, Stop, ignore, never
from ..plural import counted, shortened
from ..results import Unused
from ..threads import in_threads
from .catalogue import Catalogue, Image, LabelClass
from .identity import stamp_of, stamp_of_label
from .images import read_image
from .labels import no_label_map, read_label
from .presence import ADD_AGAIN, while_there
from .scan import Look, candidate_of, look_at, refresh

if TYPE_CHECKING:
    import SimpleITK as sitk

    from ..imaging.structures import Say
    from .content import Content


WHITE = 255
"""What image editors write for 1 in a mask."""


@dataclass
class CheckReport:
    """What a check found."""

    read: int
    """Images whose voxels were read."""
    unchanged: int
    """Images that were checked before and have not changed."""
    problems: list[Unused] = field(default_factory=list)
    """Everything that cannot be used, found now or before."""
    classes: dict[str, list[LabelClass]] = field(default_factory=dict)
    """Classes given to tasks that had none, from the values in their labels."""
    stopped: bool = False


@dataclass(frozen=True)
class Finding:
    """What the voxels of one record say. The record itself is not touched by the thread that reads them."""

    id: str
    image: str
    label: str | None
    look: Look | None
    """None: the headers were known."""
    problem: str | None
    label_problem: str | None
    label_values: list[int] | None
    stamp: str
    label_stamp: str
    content: Content | None = None
    """What the voxels look like; None: they could not be read."""
    notes: tuple[str, ...] = ()
    """What the user should know of how the label was understood."""


def check(catalogue: Catalogue, on_event: OnEvent = ignore, stop: Stop = never, task: str | None = None) -> CheckReport:
    """Reads every image and label that is new or has changed, and writes the problems into the records (not saved).

    Found are: missing, truncated or damaged files, NaN, constant and empty volumes, labels on another grid,
    and label values that are no class of the task. A task without classes gets them from its label values, as
    "class 1", "class 2", …

    Args:
        catalogue: is changed.
        on_event: receives Progress, and a Message for everything that cannot be used.
        stop: what was read until then is kept.
        task: only this task's images.

    Raises:
        ConfigurationError: there is no task of that name.
    """
    findings, unchanged, stopped = _read(catalogue, on_event, stop, task)
    return _enter(catalogue, findings, unchanged, stopped, on_event, task)


def check_workspace(
    workspace: str | Path, on_event: OnEvent = ignore, stop: Stop = never, task: str | None = None
) -> CheckReport:
    """As `check`, on a workspace on disk; other processes may edit it while voxels are read.

    Raises:
        ConfigurationError: there is no task of that name.
        WorkspaceError: there is no catalogue.
        OutputError: it cannot be written.
        LockedError: another process kept the catalogue locked.
    """
    known = Catalogue.load(workspace)
    with while_there(known.workspace):
        findings, unchanged, stopped = _read(known, on_event, stop, task)
        with Catalogue.editing(workspace) as catalogue:
            report = _enter(catalogue, findings, unchanged, stopped, on_event, task)
            del findings  # they need not be there beside the text of the catalogue, which is written now
    return report


def _read(catalogue: Catalogue, on_event: OnEvent, stop: Stop, task: str | None) -> tuple[list[Finding], int, bool]:
    if task is not None:
        catalogue.task(task)
    records = [i for i in catalogue.images if task is None or i.task == task]
    pending = [i for i in records if not i.checked or i.checked != _checked(*_stamps(catalogue, i))]
    meter = ProgressMeter(on_event, "voxels", len(pending))
    findings = []
    for finding in in_threads(lambda image: _examine(catalogue, image), pending, stop):
        findings.append(finding)
        meter.update(len(findings), detail=finding.id)
    return findings, len(records) - len(pending), len(findings) < len(pending)


def _enter(
    catalogue: Catalogue,
    findings: list[Finding],
    unchanged: int,
    stopped: bool,
    on_event: OnEvent,
    task: str | None,
) -> CheckReport:
    report = CheckReport(read=len(findings), unchanged=unchanged, stopped=stopped)
    records = {i.id: i for i in catalogue.images}
    for finding in findings:
        record = records.get(finding.id)
        # Another process may have removed or re-labelled it while its voxels were read.
        if record is None or (record.image, record.label) != (finding.image, finding.label):
            continue
        if finding.look is not None and finding.look.header is not None:
            refresh(record, finding.look, record.label, record.parts)
        for note in finding.notes:
            on_event(Message(level="warning", text=f"{finding.label}: {note}"))
        record.problem, record.label_problem = finding.problem, finding.label_problem
        record.label_values, record.label_stamp = finding.label_values, finding.label_stamp
        record.stamp, record.checked = finding.stamp, _checked(finding.stamp, finding.label_stamp)
    contents = {f.id: f.content for f in findings if f.content is not None}
    _doubt(catalogue, contents)
    _tell_unnamed(catalogue, contents, on_event)
    chosen = [i for i in catalogue.images if task is None or i.task == task]
    if not stopped:
        report.classes = _fill_classes(catalogue, chosen)
        for name, classes in report.classes.items():
            on_event(
                Message(text=f"task {name}: classes named after their values, {', '.join(c.name for c in classes)}")
            )
    values = {t.name: {c.value for c in t.classes} for t in catalogue.tasks}
    ignored = {t.name: {t.ignore_value} for t in catalogue.tasks}
    for record in chosen:
        _judge_values(record, values[record.task], ignored[record.task])
        if record.problem:
            report.problems.append(Unused(id=record.id, path=record.image, reason=record.problem))
        elif record.doubt and not record.confirmed:
            report.problems.append(Unused(id=record.id, path=record.image, reason=record.doubt))
        if record.label and record.label_problem:
            report.problems.append(Unused(id=record.id, path=record.label, reason=record.label_problem))
    for problem in report.problems:
        on_event(Message(level="warning", text=f"{problem.path}: {problem.reason}"))
    gone = sum(not os.path.exists(catalogue.absolute(problem.path)) for problem in report.problems)
    if gone:
        on_event(Message(level="warning", text=f"{counted(gone, 'file is', 'files are')} no longer there. {ADD_AGAIN}"))
    return report


def _doubt(catalogue: Catalogue, contents: dict[str, Content]) -> None:
    """Writes into the records whether they are images, as far as their voxels were read."""
    from .content import Neighbours

    neighbours = Neighbours()
    for record in catalogue.images:
        seen = contents.get(record.id)
        if record.problem is None and (
            seen is None and record.doubt is None or seen is not None and not (seen.suspicion or seen.share)
        ):
            neighbours.add(str(catalogue.image_path(record)), record)
    for record in catalogue.images:
        if record.id in contents:
            record.doubt = neighbours.doubt(str(catalogue.image_path(record)), record, contents[record.id])


def _tell_unnamed(catalogue: Catalogue, contents: dict[str, Content], on_event: OnEvent) -> None:
    from .content import unnamed_ct

    for task in catalogue.tasks:
        if task.modality in ("", "unknown"):
            of_none = [i.id for i in catalogue.images if i.task == task.name and not i.modality]
            if note := unnamed_ct([contents[id] for id in of_none if id in contents]):
                on_event(Message(level="warning", text=f"task {task.name}: {note}", way_out="modality"))


def _examine(catalogue: Catalogue, record: Image) -> Finding:
    from ..imaging.intensities import check_hounsfield
    from ..imaging.volumes import check_values
    from .content import not_hounsfield, seen

    path, label = catalogue.image_path(record), catalogue.label_path(record)
    stamp, label_stamp = _stamps(catalogue, record)
    look, problem, label_problem, values = None, None, None, None
    notes: list[str] = []
    content = None
    if stamp != record.stamp:
        look = look_at(candidate_of(catalogue, record))[0]
        problem = look.reason or None
    try:
        if problem is None:
            image = read_image(catalogue, record)
            check_values(image, path)
            content = seen(image, thorough=True)
            if catalogue.task(record.task).modality.upper() == "CT":
                check_hounsfield(image, path)
                content = replace(content, suspicion=content.suspicion or not_hounsfield(content))
            if label is not None:
                label_problem, values = _label(catalogue, record, image, notes.append)
    except InputError as error:
        problem = error.reason
    return Finding(
        record.id,
        record.image,
        record.label,
        look,
        problem,
        label_problem,
        values,
        stamp,
        label_stamp,
        content,
        tuple(notes),
    )


def _label(catalogue: Catalogue, record: Image, image: sitk.Image, say: Say) -> tuple[str | None, list[int] | None]:
    import SimpleITK as sitk

    from ..imaging.labels import values_in

    try:
        label = read_label(catalogue, record, image, say)
    except InputError as error:
        return error.reason, None
    values = values_in(label)
    if catalogue.task(record.task).ignore_value not in values and sitk.GetArrayViewFromImage(label).min() > 0:
        say(f"has no background: no voxel is 0, and each of its values ({_some(values)}) is taken for a structure")
    problem = no_label_map(label, values)
    return problem, None if problem else values


def _stamps(catalogue: Catalogue, record: Image) -> tuple[str, str]:
    return stamp_of(catalogue.image_path(record)), stamp_of_label(catalogue.label_files(record))


def _checked(stamp: str, label_stamp: str) -> str:
    return f"{stamp} {label_stamp}"


def _fill_classes(catalogue: Catalogue, images: list[Image]) -> dict[str, list[LabelClass]]:
    filled = {}
    for task in catalogue.tasks:
        if task.classes:
            continue
        values = {v for i in images if i.task == task.name and i.label_values for v in i.label_values}
        values.discard(task.ignore_value or 0)
        if values == {1, WHITE}:
            values -= _written_otherwise([i for i in images if i.task == task.name and i.label_values])
        if values:
            said = _named_values(catalogue, [i for i in images if i.task == task.name and i.label_values])
            task.classes = [said.get(v) or LabelClass(value=v, name=f"class {v}") for v in sorted(values)]
            filled[task.name] = task.classes
    return filled


def _written_otherwise(images: list[Image]) -> set[int]:
    """Returns the rarer one of 1 and 255 where no label has both: masks of one structure, written in two ways."""
    shown = [{1, WHITE} & set(i.label_values or ()) for i in images]
    if any(len(values) > 1 for values in shown):
        return set()
    ones, whites = ([v for v in shown if v == {value}] for value in (1, WHITE))
    return {1} if len(whites) > len(ones) else {WHITE}


def _named_values(catalogue: Catalogue, images: list[Image]) -> dict[int, LabelClass]:
    """Returns the classes that labels name (see `imaging.labels`), each as the first of them that does."""
    from ..imaging.labels import named_values

    found: dict[int, LabelClass] = {}
    taken: set[str] = set()
    for image in images:
        label = catalogue.label_path(image)
        if label is None or image.parts or not label.is_file():
            continue
        for value, one in named_values(label, image.structures).items():
            if value not in found and one.name not in taken:
                found[value] = LabelClass(value=value, name=one.name, color=one.color, terminology=one.terminology)
                taken.add(one.name)
    return found


def _judge_values(record: Image, classes: set[int], ignored: set[int | None]) -> None:
    """An empty label is one: it says that the case is healthy."""
    if record.label is None or record.label_values is None:
        return
    unknown = sorted(set(record.label_values) - classes - ignored)
    if unknown and classes:
        record.label_problem = f"has values that are no class of the task: {_some(unknown)} (classes: {_some(classes)})"
    else:
        record.label_problem = None


def _some(values: set[int] | list[int]) -> str:
    return shortened(sorted(values), 12)
