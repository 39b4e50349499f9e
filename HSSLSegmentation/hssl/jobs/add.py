"""Brings images into a workspace, or tells what would come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..configuration import AddConfig
from ..errors import ConfigurationError, InputError
from ..events import Done, Message, OnEvent, Stop, ignore, never
from ..imaging.formats import stem_of, way_to_be_read
from ..plural import counted, shortened
from ..results import AddResult, Doubtful, NamedStructure, Unused
from ..workspace.candidates import Source, modality_of
from ..workspace.catalogue import Catalogue, LabelClass, Task
from ..workspace.check import check_workspace
from ..workspace.patients import Whose
from ..workspace.pictures import picture_of
from ..workspace.presence import in_workspace
from ..workspace.scan import Examination, Look, ScanReport, examine_source, patient_of
from ..workspace.scan import add as add_source
from ..workspace.sources import find

PICTURES = 12
"""So many of the files in doubt are shown."""


@dataclass(frozen=True)
class Plan:
    """What would come into the workspace."""

    source: Source
    task: Task
    lines: list[str] = field(default_factory=list)
    """For people: the first pairs as `image ← label`, and the counts."""


@in_workspace
def add(config: AddConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done[AddResult]:
    """Finds the images of a source and their labels, looks at them, and enters them into the catalogue.

    What is there and has not changed is left as it is. Files that are not taken are listed with the reason.

    Returns:
        The Done event with an `AddResult`.

    Raises:
        InputError: the source does not exist or holds nothing that can be added (what has a problem is in the catalogue
            all the same, with the reason); it cannot be told whose a label is.
        ConfigurationError: the options do not fit together or the source; modalities would be mixed.
        WorkspaceError: there is no workspace.

    Example:
        >>> from hssl.configuration import AddConfig
        >>> from hssl.jobs.add import add
        >>> done = add(AddConfig(workspace=workspace, source=folder, task="liver", dry_run=True))  # doctest: +SKIP
        >>> print(done.result.text)  # doctest: +SKIP
    """
    catalogue = Catalogue.load(config.workspace)
    planned = plan(config)
    source, task = planned.source, planned.task
    for line in (*planned.lines, *source.notes):
        on_event(Message(text=line))
    if not source.candidates and not source.refused and (hint := way_to_be_read(source.not_read)):
        raise InputError(config.source, _nothing(source), hint)
    if not source.candidates:
        raise InputError(config.source, _nothing(source), "Tell by a pattern which files are images.", "pattern")
    if config.dry_run:
        examined = examine_source(catalogue, source, task, on_event, stop, config.mixed)
        return Done(stopped=examined.stopped, result=_preview(planned, examined, config, on_event))
    if config.nan_is_background:
        _look_again(config.workspace, task.name)
    report = add_source(config.workspace, source, task, on_event, stop, mixed=config.mixed)
    problems: Sequence[Unused] = []
    if config.check and not report.stopped:
        checked = check_workspace(config.workspace, on_event, stop, task.name)
        report.stopped, problems = checked.stopped, checked.problems
    catalogue = Catalogue.load(config.workspace)
    there = [i for i in catalogue.images if i.task == task.name]
    if config.confirm:
        confirmed = {catalogue.relative(c.image) for c in source.candidates if source.shown(c.image) in config.confirm}
        with Catalogue.editing(config.workspace) as catalogue:
            catalogue.confirm_images([i.id for i in there if i.image in confirmed and i.doubt])
    if there and all(i.problem for i in there) and not report.stopped:
        first = there[0]
        raise InputError(config.source, f"has no image that can be used; {first.image}: {first.problem}")
    return Done(stopped=report.stopped, result=_result(planned, report, problems, catalogue, on_event))


def _look_again(workspace: Path, name: str) -> None:
    """Lets a task take NaN for background from now on; what was refused for it is looked at again."""
    with Catalogue.editing(workspace) as catalogue:
        task = next((t for t in catalogue.tasks if t.name == name), None)
        if task is None:
            return
        task.nan_is_background = True
        for image in catalogue.images:
            if image.task == name and image.problem:
                image.stamp = image.checked = ""


def plan(config: AddConfig) -> Plan:
    """Tells what would be taken of a source by the names alone; no image is opened. It is what a preview shows at once.

    Raises:
        InputError, ConfigurationError: as `add`.
    """
    source = find(
        config.source,
        config.labels,
        config.pattern,
        config.label_pattern,
        config.frame,
        config.channel,
        config.patient,
        config.structures,
        config.spacing,
    )
    name = (config.task or source.name).strip()
    if not name:
        raise ConfigurationError(f"{config.source} has no name that could be the task's", "Name the task.")
    if config.classes:
        source.ignore_value = None if source.ignore_value in config.classes else source.ignore_value
    task = Task(
        name=name,
        modality=modality_of(config.modality) or "unknown",
        anatomy=config.anatomy,
        group=config.group,
        nan_is_background=config.nan_is_background,
        classes=[LabelClass(value=v, name=n) for v, n in sorted(config.classes.items())],
    )
    if config.nan_is_background:
        source.candidates = [replace(c, nan_is_background=True) for c in source.candidates]
    _choose(source, config)
    labelled = sum(c.label is not None for c in source.candidates)
    parts = [counted(len(source.candidates), "image"), f"{labelled} with a label"]
    parts += [counted(len(source.refused), "file") + " refused"] if source.refused else []
    parts += [_not_read(source.not_read)] if source.not_read else []
    head = f"{source.kind} {config.source}, for task {task.name}: {', '.join(parts)}"
    return Plan(source, task, [head, *(f"  {line}" for line in source.pairs())])


def _choose(source: Source, config: AddConfig) -> None:
    """Leaves out what the user has said is no image, and knows every path that was said."""
    there = {source.shown(c.image) for c in source.candidates}
    unknown = sorted({*config.leave_out, *config.confirm} - there)
    if unknown:
        shown = shortened(sorted(there), 5)
        raise ConfigurationError(f"no image {', '.join(unknown)} in {config.source} (there: {shown})")
    source.candidates = [c for c in source.candidates if source.shown(c.image) not in config.leave_out]


def _nothing(source: Source) -> str:
    reason = "has nothing that could be added"
    if source.refused:
        path, why = source.refused[0]
        reason += f": {counted(len(source.refused), 'file')} refused, the first is {source.shown(path)}: {why}"
    return reason + (f" ({_not_read(source.not_read)})" if source.not_read else "")


def _preview(planned: Plan, examined: Examination, config: AddConfig, on_event: OnEvent) -> AddResult:
    source = planned.source
    failed = [(source.shown(look.candidate.image), look.reason) for look in examined.looks if look.header is None]
    labels = [
        (source.shown(look.candidate.label or ""), look.label_reason) for look in examined.looks if look.label_reason
    ]
    doubtful = [look for look in examined.looks if look.doubt]
    doubts = [(source.shown(look.candidate.image), look.doubt) for look in doubtful if look.doubt]
    pictures = [picture_of(look.candidate, look.mask_of) for look in doubtful[:PICTURES]]
    pictures += [""] * (len(doubts) - len(pictures))
    refused = [*source.refused, *failed, *labels]
    images = sum(look.header is not None for look in examined.looks) + examined.unchanged
    problems = [(source.shown(look.candidate.image), look.problem) for look in examined.looks if look.problem]
    whose = Whose([(patient_of(x), _name(x), bool(x.header.patient)) for x in examined.looks if x.header is not None])
    text = _summary(planned, images, len(doubts), len(problems), refused, examined.unchanged, whose)
    told = [f"{path}: {reason}" for path, reason in (*doubts, *problems, *refused)]
    _tell_patients(whose, on_event)
    for line in told:
        on_event(Message(level="warning", text=line))
    return AddResult(
        **_said(planned, whose),
        text="\n".join([*planned.lines, *source.notes, *whose.lines(), *told, text]),
        images=images,
        in_doubt=[
            Doubtful(path=path, reason=reason, picture=picture)
            for (path, reason), picture in zip(doubts, pictures, strict=True)
        ],
        needs=_needs(planned, examined, config),
        refused=[Unused(path=path, reason=reason) for path, reason in refused],
        unchanged=examined.unchanged,
        dry_run=True,
    )


def _result(
    planned: Plan,
    report: ScanReport,
    problems: Sequence[Unused],
    catalogue: Catalogue,
    on_event: OnEvent,
) -> AddResult:
    known = {i.id: i for i in catalogue.images if i.task == planned.task.name}
    unusable = [id for id, i in known.items() if i.problem and id in {*report.added, *report.changed, *report.relinked}]
    doubtful = [i for id in (*report.added, *report.changed) if (i := known.get(id)) and i.doubt and not i.confirmed]
    refused = [(r.path, r.reason) for r in report.refused]
    paths = {catalogue.relative(c.image) for c in planned.source.candidates if c.label is not None}
    bad_labels = [i.id for i in known.values() if i.image in paths and i.label_problem]
    there = {catalogue.relative(c.image) for c in planned.source.candidates}
    own = [i for i in known.values() if i.image in there]
    whose = Whose([(i.patient, i.id, bool(i.series) or bool(i.patient.startswith("patient-"))) for i in own])
    if report.added or report.changed:
        _tell_patients(whose, on_event)
    for one in doubtful:
        on_event(Message(level="warning", text=f"{one.image}: {one.doubt}"))
    images, told = len(own), {*report.added, *report.changed, *report.relinked}
    unchanged = sum(i.id not in told for i in own)
    text = _summary(planned, images, len(doubtful), len(unusable), refused, unchanged, whose, report, len(bad_labels))
    return AddResult(
        **_said(planned, whose),
        text=text,
        images=images,
        added=report.added,
        changed=report.changed,
        relinked=report.relinked,
        unchanged=report.unchanged,
        in_doubt=[Doubtful(id=i.id, path=i.image, reason=i.doubt) for i in doubtful if i.doubt],
        refused=[Unused(path=r.path, reason=r.reason) for r in report.refused],
        duplicates=[Unused(path=r.path, reason=r.reason) for r in report.duplicates],
        problems=list(problems),
    )


def _tell_patients(whose: Whose, on_event: OnEvent) -> None:
    for line in whose.lines():
        on_event(Message(text=line, way_out="patient"))


def _structures(source: Source) -> list[NamedStructure]:
    """Returns what can be chosen of the labels: named segments, masks, or the classes of a data set."""
    return [
        NamedStructure(name=name, color=one.color if (one := source.described.get(name)) else None, count=count or None)
        for name, count in (source.times_named or dict.fromkeys(source.classes.values(), 0)).items()
    ]


def _needs(planned: Plan, examined: Examination, config: AddConfig) -> list[str]:
    """Returns the options without which this source may be taken otherwise than it is meant."""
    source = planned.source
    candidates = source.candidates
    labelled = [c for c in candidates if c.label is not None]
    asked: list[tuple[str, object]] = [
        ("structures", len(_structures(source)) > 1 or config.structures),
        ("labels", not labelled and source.kind in ("folder", "file")),
        ("label_pattern", not labelled and source.kind == "folder"),
        ("pattern", any(look.doubt for look in examined.looks) or (source.refused and source.kind == "folder")),
        ("patient", len({c.patient or c.image for c in candidates}) < len(candidates)),
        ("classes", labelled and not source.described and not source.classes),
    ]
    asked += [(option, True) for option in sorted(source.advised)]
    asked += [(look.error.way_out, True) for look in examined.looks if look.error is not None]
    return list(dict.fromkeys(name for name, on in asked if on and name in AddConfig.model_fields))


def _name(look: Look) -> str:
    frame = "" if look.candidate.frame is None else f" frame {look.candidate.frame}"
    return (look.candidate.name or stem_of(look.candidate.image)) + frame


def _said(planned: Plan, whose: Whose) -> dict[str, Any]:
    source = planned.source
    return {
        "task": planned.task.name,
        "kind": source.kind,
        "pairs": source.pairs(),
        "labelled": sum(c.label is not None for c in source.candidates),
        "patients": whose.count,
        "not_read": dict(source.not_read),
        "structures": _structures(source),
        "notes": source.notes,
    }


def _summary(
    planned: Plan,
    images: int,
    in_doubt: int,
    unusable: int,
    refused: Sequence[tuple[str, str]],
    unchanged: int,
    whose: Whose,
    report: ScanReport | None = None,
    bad_labels: int = 0,
) -> str:
    source = planned.source
    labelled = sum(c.label is not None for c in source.candidates)
    parts = []
    if report is not None:
        counts = {what: len(getattr(report, what)) for what in ("added", "changed", "relinked")}
        parts += [f"{many} {what}" for what, many in counts.items() if many]
        parts += [counted(len(report.duplicates), "duplicate")] if report.duplicates else []
    parts += [f"{unchanged} unchanged"] if unchanged else []
    head = counted(images, "image") + (f" ({', '.join(parts)})" if parts else "")
    whole = [head, f"{labelled} with a label" + (f" ({bad_labels} of them cannot be used)" if bad_labels else "")]
    whole += [f"of {counted(whose.count, 'patient')}"] if whose.several else []
    whole += [f"{in_doubt} in doubt (not used until confirmed)"] if in_doubt else ["0 in doubt"]
    whole += [f"{unusable} that cannot be used"] if unusable else []
    whole += [f"{len(refused)} refused"]
    whole += [_not_read(source.not_read) if source.not_read else "0 files not read"]
    return f"Task {planned.task.name}: {', '.join(whole)}"


def _not_read(counts: Counter[str]) -> str:
    listed = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items(), key=lambda c: (-c[1], c[0])))
    return f"{counted(sum(counts.values()), 'file')} not read: {listed}"
