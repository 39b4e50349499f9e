"""Brings candidates into the catalogue: headers first, refusals with their reason, nothing read twice."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, InputError, encodable
from ..events import Message, OnEvent, ProgressMeter, Stop, ignore, never
from ..imaging.formats import DETACHED, stem_of, suffix_of
from ..names import safe_name
from ..plural import counted, shortened, with_rest
from ..threads import in_threads
from .candidates import Candidate, Source, modality_of
from .catalogue import Catalogue, Image, LabelClass, LabelPart, Refused, Task
from .identity import content_of, same_bytes, stamp_of, stamp_of_label, voxels_in
from .labels import file_problem, masks_in

if TYPE_CHECKING:  # SimpleITK takes a while to load, and a scan that finds nothing new does not need it
    from ..imaging.dicom import Series
    from ..imaging.volumes import Header, OpenVolume
    from .content import Content


_NOBODY = re.compile(
    r"((anon|de-?ident)[a-z]*[-_^\s]*(patient|subject|id)?|unknown|none|null|removed|test|patient|n/?a|0+|x+)?",
    re.IGNORECASE,
)
"""Patient's IDs that many patients have; one with a number (`ANON001`) is a patient's own."""


@dataclass
class ScanReport:
    """What a scan did."""

    added: list[str] = field(default_factory=list)
    """Ids of new images."""
    changed: list[str] = field(default_factory=list)
    """Ids of images whose file or label is another one than before."""
    relinked: list[str] = field(default_factory=list)
    """Ids of images whose file was moved, and recognised by its content."""
    refused: list[Refused] = field(default_factory=list)
    """Files that were not taken, and labels that cannot be used, with the reason."""
    duplicates: list[Refused] = field(default_factory=list)
    """Files that are an image that the task has already; they are listed in the catalogue's `refused` too."""
    unchanged: int = 0
    """Candidates that were known and have not changed; their files were not opened."""
    stopped: bool = False


@dataclass(frozen=True)
class Look:
    """What was seen of a candidate: a header, or the reason why there is none."""

    candidate: Candidate
    stamp: str
    header: Header | None = None
    content: str = ""
    reason: str = ""
    label_stamp: str = ""
    label_reason: str | None = None
    alone: bool = True
    """False: its folder has several series."""
    problem: str | None = None
    """Why its voxels cannot be used."""
    content_seen: Content | None = None
    """What the voxels look like; None: they were not looked at."""
    doubt: str | None = None
    """Why it is probably no image."""
    voxels: str = ""
    """Identity of the voxels, in whatever format they lie."""
    mask_of: str = ""
    """The image that it seems to be a mask of."""
    opened: OpenVolume | None = None
    """The file, ready for its voxels."""
    error: InputError | None = None
    """What `reason` or `problem` is the reason of; it knows the way out."""


@dataclass
class Examination:
    """What the reading half of a scan found; `enter` brings it into a catalogue."""

    looks: list[Look] = field(default_factory=list)
    unchanged: int = 0
    known: int = 0
    """How many of the unchanged ones are images, or copies of images (and not known refusals)."""
    stopped: bool = False


def scan(
    catalogue: Catalogue,
    candidates: Sequence[Candidate],
    task: str,
    on_event: OnEvent = ignore,
    stop: Stop = never,
) -> ScanReport:
    """Reads the headers of the candidates and brings them into the catalogue, which is not saved.

    Files that are known and have not changed (by size and modification time) are not opened. A file that cannot be
    used is listed in `catalogue.refused` and the scan goes on.

    Args:
        catalogue: is changed.
        candidates: as `sources.find` gives them.
        task: name of the task that they belong to.
        on_event: receives Progress and a Message for every file that is refused.
        stop: what was read until then is kept.

    Raises:
        ConfigurationError: there is no task of that name.
    """
    return enter(catalogue, examine(catalogue, candidates, task, on_event, stop), task, on_event)


def add(
    workspace: str | Path,
    source: Source,
    task: Task,
    on_event: OnEvent = ignore,
    stop: Stop = never,
    mixed: bool = False,
) -> ScanReport:
    """Scans a source into a workspace on disk; other processes may edit it while headers are read.

    A task of that name that is there already keeps what it has; what the new one says beyond it is filled in.

    Args:
        workspace: its folder.
        source: as `sources.find` gives it.
        task: name, and what is known of it; modality and classes of the source fill what it leaves open.
        on_event: receives the events.
        stop: what was read until then is kept.
        mixed: images of different modalities may be in one task.

    Raises:
        InputError: no file of the source can be used; nothing was written.
        ConfigurationError: modalities would be mixed; nothing was written.
        WorkspaceError: there is no catalogue.
        OutputError: it cannot be written.
        LockedError: another process kept the catalogue locked.
    """
    known = Catalogue.load(workspace)
    examined = examine_source(known, source, task, on_event, stop, mixed)
    said = [Refused(path=known.relative(p), task=task.name, reason=r) for p, r in source.refused]
    listed = {(one.path, one.task, one.reason) for one in known.refused}
    if (
        not examined.looks
        and _merged(known, task, source, examined) in known.tasks
        and all((one.path, one.task, one.reason) in listed for one in said)
        and not _told_patients(known, task.name, source)
    ):
        return ScanReport(refused=said, unchanged=examined.unchanged, stopped=examined.stopped)
    with Catalogue.editing(workspace) as catalogue:
        catalogue.set_task(_merged(catalogue, task, source, examined))
        report = enter(catalogue, examined, task.name, on_event)
        for image, patient in _told_patients(catalogue, task.name, source):
            image.patient = patient
        _list_refused(catalogue, task.name, {one.path for one in said}, said)
        del examined  # its headers need not be there beside the text of the catalogue, which is written now
    for one in said:
        on_event(Message(level="warning", text=f"{one.path}: {one.reason}"))
    report.refused.extend(said)
    return report


def relabel(workspace: str | Path, id: str, label: str | Path | None, structures: Sequence[str] = ()) -> Image:
    """Gives an image another label, or none, and saves.

    Args:
        workspace: its folder.
        id: the image's.
        label: any file that labels voxels; None takes the label away.
        structures: names of the segments to take of a label that names them, the last has the voxel where they overlap.

    Returns:
        The record, with `label_problem` where the new label cannot be used.

    Raises:
        ConfigurationError: there is no image of that id.
        InputError: the label does not exist, or has no structure of a name.
        WorkspaceError: there is no catalogue.
        OutputError: it cannot be written.
    """
    known = Catalogue.load(workspace)
    record = known.image(id)
    look = None
    if label is not None:
        label = Path(label).expanduser().absolute()
        if not label.is_file():
            raise InputError(label, "does not exist")
        if structures:
            from ..imaging.labels import structures_in
            from ..imaging.structures import chosen_structures

            structures = [s.name for s in chosen_structures(label, structures_in(label), structures)]
        look = look_at(replace(candidate_of(known, record), label=str(label), parts=()), thorough=True)[0]
    with Catalogue.editing(workspace) as catalogue:
        record = catalogue.image(id)
        record.checked, record.label_values, record.structures = "", None, list(structures)
        record.review = ""  # what was said was said of another label
        record.parts = []
        if look is None or label is None:
            record.label, record.label_stamp, record.label_problem = None, "", None
        elif look.header is None:
            record.label, record.problem = catalogue.relative(label), look.reason
        else:
            refresh(record, look, catalogue.relative(label))
    return record


def restore_label(workspace: str | Path, before: Image) -> None:
    """Gives an image the label back that a record of it says, with all that was known of that label, and saves.

    Raises:
        ConfigurationError: there is no image of that id.
        WorkspaceError: there is no catalogue.
        OutputError: it cannot be written.
    """
    with Catalogue.editing(workspace) as catalogue:
        record = catalogue.image(before.id)
        for name in (
            "label",
            "parts",
            "structures",
            "label_problem",
            "label_values",
            "label_stamp",
            "checked",
            "review",
        ):
            setattr(record, name, getattr(before, name))


def examine(
    catalogue: Catalogue,
    candidates: Sequence[Candidate],
    task: str,
    on_event: OnEvent = ignore,
    stop: Stop = never,
    task_is_new: bool = False,
    modality: str = "",
) -> Examination:
    """The half of a scan that reads files: opens those that are new or changed, looks at their voxels and those of their
    labels, and changes nothing.

    Args:
        catalogue: tells what is known and has not changed.
        candidates: as `sources.find` gives them.
        task: name of the task that they belong to.
        on_event: receives Progress.
        stop: what was read until then is kept.
        task_is_new: there need be no task of that name yet.
        modality: what the images are, where their headers do not say it.

    Raises:
        ConfigurationError: there is no task of that name and `task_is_new` is not set.
    """
    if not task_is_new:
        catalogue.task(task)
    known = _Known(catalogue, task)
    examined = Examination()
    pending = []
    for candidate in candidates:
        if known.unchanged(candidate):
            examined.unchanged += 1
            examined.known += known.is_image(candidate) or known.is_copy(candidate)
        else:
            pending.append(known.with_its_label(candidate))
    if not pending:
        return examined
    meter = ProgressMeter(on_event, "headers", len(pending))
    done = 0
    for looks in in_threads(lambda candidate: _look_inside(candidate, modality), pending, stop):
        looks = [known.look_with_its_label(look) for look in looks]
        examined.looks.extend(looks)
        for look in looks:
            for remark in look.header.remarks if look.header is not None else ():
                on_event(Message(text=f"{look.candidate.image}: {remark}"))
        done += 1
        meter.update(done, detail=os.path.basename(looks[0].candidate.image) if looks else "")
    examined.stopped = done < len(pending)
    _doubt(examined, catalogue)
    return examined


def enter(catalogue: Catalogue, examined: Examination, task: str, on_event: OnEvent = ignore) -> ScanReport:
    """The half of a scan that changes the catalogue; it opens no file but to compare two that look the same."""
    report = ScanReport(unchanged=examined.unchanged, stopped=examined.stopped)
    known = _Known(catalogue, task)
    same = {(i.content, i.frame): i for i in catalogue.images if i.task == task and i.content}
    alike = {key: i for i in catalogue.images if i.task == task for key in i.voxels.split()}
    moved = _Moved(catalogue, task)
    names = _Names(catalogue)
    new: list[Image] = []
    refused: list[Refused] = []
    for look in examined.looks:
        candidate = look.candidate
        path = known.relative(candidate.image)
        record = known.images.get((path, candidate.series, candidate.frame))
        if look.header is None:
            if record is not None:
                record.problem, record.stamp, record.checked = look.reason, look.stamp, ""
            refused.append(_refusal(path, task, look.reason, look))
            continue
        label = known.relative(candidate.label) if candidate.label else None
        if record is None and (record := moved.take(look)) is not None:
            record.image, record.series = path, candidate.series
            if not all(os.path.exists(file) for file in catalogue.label_files(record)):
                record.label, record.parts = None, []
            if record.label is not None:  # it did not move along: it lies in the workspace, say, where it was drawn
                look = replace(look, candidate=replace(candidate, label=None, parts=()), label_reason=None)
            refresh(record, look, label, _parts(candidate, known.relative))
            known.images[path, candidate.series, candidate.frame] = record
            report.relinked.append(record.id)
        elif record is not None:
            before = record.content, record.label, record.label_stamp, record.structures, record.parts
            refresh(record, look, label, _parts(candidate, known.relative))
            if before != (record.content, record.label, record.label_stamp, record.structures, record.parts):
                report.changed.append(record.id)
        else:
            twin = same.get((look.content, candidate.frame))
            if twin is not None and not same_bytes(Path(candidate.image), catalogue.absolute(twin.image)):
                twin = None
            what = "is the same image as"
            copy = next((alike[key] for key in look.voxels.split() if key in alike), None)
            if twin is None and not look.problem and copy is not None and copy.image != path:
                twin, what = copy, "has the same voxels as"  # another format, or compressed
            if twin is not None:
                reason = f"{what} {twin.id} ({twin.image})"
                unfit = _why_not_its_label(catalogue, twin, look) if twin.label is None and label is not None else None
                if unfit is not None:
                    reason += f", and its label {label} is left aside: of that one it {unfit}"
                elif twin.label is None and label is not None and look.label_reason is None:
                    reason += f", which takes its label {label}"
                    _take_label(twin, look, label, _parts(candidate, known.relative))
                    twin.structures, twin.checked = list(candidate.structures), ""
                    if twin.id not in report.added:
                        report.changed.append(twin.id)
                elif label is not None and label != twin.label:
                    reason += f"; that one has a label already, and the label {label} is left aside"
                report.duplicates.append(_refusal(path, task, reason, look).model_copy(update={"copy_of": twin.id}))
                continue
            record = Image(id=names.new(candidate, look.alone), task=task, image=path)
            record.series, record.frame = candidate.series, candidate.frame
            refresh(record, look, label, _parts(candidate, known.relative))
            new.append(record)
            known.images[path, candidate.series, candidate.frame] = record
            report.added.append(record.id)
        same[look.content, candidate.frame] = record
        for key in look.voxels.split() if not look.problem else ():
            alike.setdefault(key, record)
        if look.label_reason is not None and record.label is not None:
            report.refused.append(Refused(path=record.label, task=task, reason=look.label_reason))
    catalogue.add_images(new)
    seen = [path for look in examined.looks for path in (look.candidate.image, look.candidate.label) if path]
    looked_at = {known.relative(path) for path in seen}
    _list_refused(catalogue, task, looked_at, [*refused, *report.duplicates])
    report.refused.extend(refused)
    ways = {(known.relative(x.candidate.image), x.reason): x.error.way_out for x in examined.looks if x.error}
    for one in (*report.refused, *report.duplicates):
        way_out = ways.get((one.path, one.reason), "")
        on_event(Message(level="warning", text=f"{one.path}: {one.reason}", way_out=way_out))
    for look in examined.looks:
        if look.header is not None and look.problem:
            path = known.relative(look.candidate.image)
            way_out = look.error.way_out if look.error else ""
            on_event(Message(level="warning", text=f"{path}: {look.problem}", way_out=way_out))
    return report


def look_at(candidate: Candidate, thorough: bool = False) -> list[Look]:
    """Reads the headers of a candidate and of its label; never raises for what is wrong with a file.

    Args:
        candidate: what is looked at.
        thorough: look at the label's voxels, too: a scan that was taken for one must not be learned from.

    Returns:
        One look, or one for each series of a folder.
    """
    from ..imaging import dicom, volumes

    stamp = stamp_of(candidate.image)
    try:
        if not os.path.isdir(candidate.image):
            path, spacing = Path(candidate.image), candidate.spacing
            opened = volumes.open_volume(path, spacing) if suffix_of(path) else None
            header = opened.header if opened else volumes.read_header(path, None, candidate.frame, spacing)
            volumes.chosen_frame(header, candidate.frame)
            look = _with_label(candidate, stamp, header, content_of(_files(candidate.image)), thorough=thorough)
            return [replace(look, opened=opened)]
        found = dicom.series_in(candidate.image)
        if candidate.series is not None:
            found = [s for s in found if s.uid == candidate.series]
        if not found:
            return [Look(candidate, stamp, reason=f"has no DICOM series {candidate.series or ''}".rstrip())]
    except InputError as error:
        return [Look(candidate, stamp, reason=error.reason, error=error)]
    except (OSError, ValueError) as error:
        return [Look(candidate, stamp, reason=encodable(f"cannot be read: {error}"))]
    alone = sum(1 for s in found if s.uid) == 1
    looks = [_look_at_series(candidate, stamp, series, alone, thorough) for series in found]
    return looks if alone or candidate.label is None else _with_one_label(candidate, looks)


def refresh(record: Image, look: Look, label: str | None, parts: list[LabelPart] | None = None) -> None:
    """Writes what a look has seen into the record; `label` and `parts` are as the catalogue writes their paths."""
    assert look.header is not None
    record.size, record.spacing = look.header.size, look.header.spacing
    record.origin, record.direction = look.header.origin, look.header.direction
    record.content, record.stamp, record.voxels = look.content, look.stamp, look.voxels or record.voxels
    record.modality = modality_of(look.header.modality or "") or record.modality
    record.problem, record.doubt, record.checked = look.problem, look.doubt, ""
    # What DICOM says is surer than what names tell; what the user has said comes last and wins (`_told_patients`).
    record.patient = record.patient or patient_of(look)
    record.structures = list(look.candidate.structures) or record.structures
    if look.candidate.label is not None:
        _take_label(record, look, label, parts or [])


def _take_label(record: Image, look: Look, label: str | None, parts: list[LabelPart]) -> None:
    record.label, record.parts, record.label_stamp = label, parts, look.label_stamp
    record.label_problem, record.label_values = look.label_reason, None


def _why_not_its_label(catalogue: Catalogue, twin: Image, look: Look) -> str | None:
    """Tells why the label of an image's copy cannot be the image's own, such as where the copy has another origin; None:
    nothing speaks against it."""
    candidate = look.candidate
    return look_at(replace(candidate_of(catalogue, twin), label=candidate.label, parts=candidate.parts))[0].label_reason


def candidate_of(catalogue: Catalogue, record: Image) -> Candidate:
    """Returns what is to be looked at of an image of the catalogue."""
    label = catalogue.label_path(record)
    return Candidate(
        str(catalogue.image_path(record)),
        str(label) if label else None,
        record.series,
        record.frame,
        record.spacing,
        parts=tuple((str(catalogue.absolute(part.path)), part.structure) for part in record.parts),
    )


def _parts(candidate: Candidate, relative: Callable[[str], str]) -> list[LabelPart]:
    return [LabelPart(path=relative(path), structure=structure) for path, structure in candidate.parts]


def patient_of(look: Look) -> str:
    """Returns whose image it is by its header, else by its name; "" where neither tells."""
    return (pseudonym(look.header.patient) if look.header is not None else "") or look.candidate.patient


def pseudonym(patient: str) -> str:
    """Returns what a catalogue, which is passed on, calls the patient of a PatientID, which tells who that is; "" for one that
    many patients have.

    Example:
        >>> pseudonym("anonymous"), pseudonym("1234567")
        ('', 'patient-a74242e7')
    """
    patient = patient.strip()
    return (
        "" if _NOBODY.fullmatch(patient) else f"patient-{hashlib.blake2b(patient.encode(), digest_size=4).hexdigest()}"
    )


class _Known:
    """What the catalogue knows of files, by the path as it writes it."""

    def __init__(self, catalogue: Catalogue, task: str):
        self._catalogue = catalogue
        self._folders: dict[str, str] = {}
        self.images: dict[tuple[str, str | None, int | None], Image] = {}
        self._by_path: dict[tuple[str, int | None], list[Image]] = {}
        for image in catalogue.images:
            if image.task == task:
                self.images[image.image, image.series, image.frame] = image
                self._by_path.setdefault((image.image, image.frame), []).append(image)
        self._ids = {image.id for image in self.images.values()}
        self._refused: dict[str, list[Refused]] = {}
        for one in catalogue.refused:
            if one.task == task and one.stamp:
                self._refused.setdefault(one.path, []).append(one)

    def relative(self, path: str) -> str:
        folder, name = os.path.split(path)
        if folder not in self._folders:  # thousands of files share few folders
            self._folders[folder] = self._catalogue.relative(folder)
        start = self._folders[folder]
        return name if start == "." else f"{start}/{name}"

    def unchanged(self, candidate: Candidate) -> bool:
        path = self.relative(candidate.image)
        images = self._by_path.get((path, candidate.frame), [])
        if candidate.series is not None:
            images = [i for i in images if i.series == candidate.series]
        # Another frame or spacing than was asked for is another look.
        refused = [r for r in self._refused.get(path, []) if r.choice == _choice(candidate)]
        if not images and not refused:
            return False
        stamp = stamp_of(candidate.image)
        if any(i.stamp != stamp for i in images):
            return False
        if any(r.stamp != stamp for r in refused):
            return False
        given = self._given(candidate)
        return all(
            self._label_unchanged(i, candidate if given in (None, i) else replace(candidate, label=None))
            for i in images
        )

    def _given(self, candidate: Candidate) -> Image | None:
        """Returns which of the series of a folder has its label already."""
        if candidate.series is not None or candidate.label is None:
            return None
        label = self.relative(candidate.label)
        there = self._by_path.get((self.relative(candidate.image), candidate.frame), [])
        return next((i for i in there if i.label == label), None) if len(there) > 1 else None

    def is_image(self, candidate: Candidate) -> bool:
        """Tells whether the catalogue has an image of the candidate's file."""
        return (self.relative(candidate.image), candidate.frame) in self._by_path

    def is_copy(self, candidate: Candidate) -> bool:
        """Tells whether the file is one of those that the task has another file of."""
        return any(one.copy_of in self._ids for one in self._refused.get(self.relative(candidate.image), []))

    def with_its_label(self, candidate: Candidate) -> Candidate:
        """Returns the candidate with the label that its image has in the catalogue, where that still exists: a label
        that was set by hand stays."""
        if self._given(candidate) is not None:
            return replace(candidate, label=None, parts=())
        image = self._image_of(candidate)
        if image is None or image.label is None:
            return candidate
        own = candidate_of(self._catalogue, image)
        files = self._catalogue.label_files(image)
        if image.parts and {str(file) for file in files} < {path for path, _ in candidate.parts}:
            return candidate  # masks of further structures have come
        # A label that is gone, and has no other in its place, is looked at to say so.
        if candidate.label is None or all(os.path.exists(file) for file in files):
            return replace(candidate, label=own.label, parts=own.parts)
        return candidate

    def look_with_its_label(self, look: Look) -> Look:
        """Returns a look at a series with the label that it has in the catalogue, as `with_its_label` does for a file: of a
        folder it is known only then which series are in it."""
        own = look.candidate if look.header is None else self.with_its_label(look.candidate)
        if own == look.candidate or look.header is None:
            return look
        seen = _with_label(own, look.stamp, look.header, look.content, thorough=True)
        return replace(look, candidate=own, label_stamp=seen.label_stamp, label_reason=seen.label_reason)

    def series_of(self, candidate: Candidate) -> list[Image]:
        """Returns the images of a candidate that are DICOM series."""
        return [i for i in self._by_path.get((self.relative(candidate.image), candidate.frame), []) if i.series]

    def _image_of(self, candidate: Candidate) -> Image | None:
        """Returns the image of a candidate; of a folder the only one that is in it."""
        path = self.relative(candidate.image)
        there = self._by_path.get((path, candidate.frame), [])
        alone = there[0] if candidate.series is None and len(there) == 1 else None
        return self.images.get((path, candidate.series, candidate.frame), alone)

    def with_another_label(self, candidates: Sequence[Candidate]) -> list[tuple[Image, Candidate]]:
        """Returns the images whose label is there, and another one than the candidate's."""
        found = []
        for candidate in candidates:
            image = self._image_of(candidate)
            if image is None or image.label is None or candidate.label is None:
                continue
            own = {part.path for part in image.parts} or {image.label}
            other = {self.relative(path) for path, _ in candidate.parts} or {self.relative(candidate.label)}
            if not own <= other and all(os.path.exists(file) for file in self._catalogue.label_files(image)):
                found.append((image, candidate))
        return found

    def _label_unchanged(self, image: Image, candidate: Candidate) -> bool:
        if candidate.patient and candidate.patient != image.patient and not image.patient:
            return False
        if image.label is None:
            return candidate.label is None
        if candidate.structures and list(candidate.structures) != image.structures:
            return False
        files = self._catalogue.label_files(image)
        if image.parts and {str(file) for file in files} < {path for path, _ in candidate.parts}:
            return False
        stamp = stamp_of_label(files)
        return stamp == image.label_stamp and (stamp != "missing" or candidate.label is None)


class _Moved:
    """Images of a task whose files are gone: a new file of the same content is theirs, or else one of the same voxels, which
    was compressed or converted."""

    def __init__(self, catalogue: Catalogue, task: str):
        self._lost: dict[tuple[object, ...], list[Image]] = {}
        self._taken: set[str] = set()
        for image in catalogue.images:
            if image.task == task and image.content and not os.path.exists(catalogue.image_path(image)):
                self._lost.setdefault((image.content, image.series, image.frame), []).append(image)
                for one in image.voxels.split():
                    self._lost.setdefault((one, image.frame), []).append(image)

    def take(self, look: Look) -> Image | None:
        """Returns the only lost image of that content, or of those voxels, once."""
        candidate = look.candidate
        by_voxels = ((one, candidate.frame) for one in look.voxels.split())
        for key in ((look.content, candidate.series, candidate.frame), *by_voxels):
            found = [image for image in self._lost.get(key, []) if image.id not in self._taken]
            if len(found) == 1:
                self._taken.add(found[0].id)
                return found[0]
        return None


class _Names:
    """Gives ids that nobody has: the file's name, numbered when it is taken."""

    def __init__(self, catalogue: Catalogue):
        self._taken = {i.id for i in catalogue.images}
        self._next: dict[str, int] = {}

    def new(self, candidate: Candidate, alone: bool) -> str:
        name = candidate.name or stem_of(candidate.image)
        if candidate.series is not None and not alone:
            name += "-" + candidate.series.rsplit(".", 1)[-1]
        if candidate.frame is not None:
            name += f"-frame{candidate.frame}"
        name = safe_name(name, "image")
        id = name
        while id in self._taken:
            self._next[name] = self._next.get(name, 1) + 1
            id = f"{name}-{self._next[name]}"
        self._taken.add(id)
        return id


def _look_inside(candidate: Candidate, modality: str = "") -> list[Look]:
    looks = look_at(candidate, thorough=True)
    return [look if look.header is None else _with_content(look, modality) for look in looks]


def _with_content(look: Look, modality: str) -> Look:
    from ..imaging.volumes import check_values, read_volume, voxels_of
    from .content import not_hounsfield, seen

    candidate = look.candidate
    try:
        nan = candidate.nan_is_background
        if look.opened is not None:
            volume = voxels_of(look.opened, candidate.frame or 0, nan)
        else:
            volume = read_volume(candidate.image, candidate.series, candidate.frame, candidate.spacing, nan)
        check_values(volume, candidate.image)
    except InputError as error:
        return replace(look, opened=None, problem=error.reason, error=error)
    content = seen(volume)
    if modality_of((look.header.modality if look.header else "") or modality) == "CT":
        content = replace(content, suspicion=content.suspicion or not_hounsfield(content))
    return replace(look, opened=None, content_seen=content, voxels=voxels_in(volume))


def _doubt(examined: Examination, catalogue: Catalogue) -> None:
    """Says of each look that is probably no image why, and whose mask it seems to be."""
    from .content import Neighbours

    neighbours = Neighbours()
    for record in catalogue.images:
        if record.problem is None and record.doubt is None:
            neighbours.add(str(catalogue.image_path(record)), record)
    for look in examined.looks:
        seen = look.content_seen
        if look.header is not None and seen and not (seen.suspicion or seen.share):
            neighbours.add(look.candidate.image, look.header)
    for number, look in enumerate(examined.looks):
        if look.header is not None and look.content_seen:
            doubt = neighbours.doubt(look.candidate.image, look.header, look.content_seen)
            whose = neighbours.nearest(look.candidate.image, look.header) if look.content_seen.mask else ""
            examined.looks[number] = replace(look, doubt=doubt, mask_of=whose)


def examine_source(
    catalogue: Catalogue,
    source: Source,
    task: Task,
    on_event: OnEvent = ignore,
    stop: Stop = never,
    mixed: bool = False,
) -> Examination:
    """Examines the candidates of a source for a task that may be new, and judges whether they belong together.

    Raises:
        InputError: no file of the source can be used.
        ConfigurationError: modalities would be mixed, and `mixed` is not set.
    """
    from .content import unnamed_ct

    there = next((t for t in catalogue.tasks if t.name == task.name), None)
    known = _Known(catalogue, task.name)
    for note in _kept(known, source, task, there):
        source.notes.append(note)
        on_event(Message(text=note))
    modalities = (task.modality, there.modality if there else "", source.modality)
    said = next((m for m in modalities if m and m != "unknown"), "")
    examined = examine(catalogue, source.candidates, task.name, on_event, stop, task_is_new=True, modality=said)
    if not mixed:
        _judge_modality(catalogue, task, source, examined)
    _call_as_headers_do(examined, known, source)
    of_none = [look for look in examined.looks if look.header is not None and not look.header.modality]
    note = "" if said else unnamed_ct([look.content_seen for look in of_none if look.content_seen is not None])
    if note:
        source.notes.append(note)
        on_event(Message(level="warning", text=note, way_out="modality"))
    _check_that_something_is_left(examined, source, [r for r in catalogue.refused if r.task == task.name])
    return examined


def _call_as_headers_do(examined: Examination, known: _Known, source: Source) -> None:
    """Gives a patient one name: of a DICOM series it is that of the header, and a file beside it is the same patient's."""
    found: dict[str, set[str]] = {}
    said = [(x.candidate.patient, pseudonym(x.header.patient)) for x in examined.looks if x.header is not None]
    said += [(c.patient, i.patient) for c in source.candidates if c.patient for i in known.series_of(c)]
    for name, told in said:
        if name and told:
            found.setdefault(name, set()).add(told)
    for number, look in enumerate(examined.looks):
        names = found.get(look.candidate.patient, set())
        if len(names) == 1 and look.header is not None and not pseudonym(look.header.patient):
            examined.looks[number] = replace(look, candidate=replace(look.candidate, patient=next(iter(names))))


def _kept(known: _Known, source: Source, task: Task, there: Task | None) -> list[str]:
    """Says what the workspace has otherwise than it is found or named now; that stays, since it may be what a person did."""
    notes = []
    kept = known.with_another_label(source.candidates)
    if kept:
        image, candidate = kept[0]
        notes.append(
            f"{counted(len(kept), 'image keeps', 'images keep')} the label that the workspace has, such as {image.id} "
            f"({image.label}, not {source.shown(candidate.label or '')}): give another by hand, or take the images out of the "
            "workspace and add them again"
        )
    has, named = (
        [f"{c.value} {c.name}" for c in classes] for classes in (there.classes if there else [], task.classes)
    )
    if has and named and has != named:
        notes.append(
            f"task {task.name} keeps its classes ({shortened(has, 4)}), not those that were named ({shortened(named, 4)}): "
            "edit the task to change them"
        )
    return notes


def _told_patients(catalogue: Catalogue, task: str, source: Source) -> list[tuple[Image, str]]:
    """Returns the images whose patient the user has told otherwise than it stands in the catalogue."""
    if not source.patients_told:
        return []
    told = {(catalogue.relative(c.image), c.frame): c.patient for c in source.candidates if c.patient}
    images = [(i, told.get((i.image, i.frame), "")) for i in catalogue.images if i.task == task]
    return [(image, patient) for image, patient in images if patient and patient != image.patient]


def _check_that_something_is_left(examined: Examination, source: Source, known: Sequence[Refused]) -> None:
    if examined.stopped or examined.known or any(look.header is not None for look in examined.looks):
        return
    reasons = [(source.shown(look.candidate.image), look.reason) for look in examined.looks]
    reasons = reasons or [(one.path, one.reason) for one in known]
    listing = "; ".join(f"{path}: {reason}" for path, reason in reasons[:10])
    more = f"; and {len(reasons) - 10} more" if len(reasons) > 10 else ""
    error = next((look.error for look in examined.looks if look.error and look.error.hint), None)
    hint, way_out = (error.hint, error.way_out) if error else ("", "")
    raise InputError(source.root, f"has no file that can be used ({listing}{more})", hint, way_out)


def _judge_modality(catalogue: Catalogue, task: Task, source: Source, examined: Examination) -> None:
    """Refuses series of another modality than the user has named; without a name, a mixture is an error."""
    there = {modality_of(i.modality): i.image for i in catalogue.images if i.task == task.name and i.modality}
    known = next((t.modality for t in catalogue.tasks if t.name == task.name), "unknown")
    if known != "unknown":
        there.setdefault(known, "as the task says")
    named = task.modality if task.modality != "unknown" else ""
    new: dict[str, list[str]] = {}
    for number, look in enumerate(examined.looks):
        kind = modality_of(look.header.modality or "") if look.header is not None else ""
        if kind and named and kind != named:
            # Without a stamp it is looked at again: the next choice may be another one.
            reason = f"is {kind}, and {named} was asked for"
            examined.looks[number] = replace(look, stamp="", header=None, reason=reason)
        elif kind:
            new.setdefault(kind, []).append(source.shown(look.candidate.image))
    if named:
        there.setdefault(named, "as it was asked for")
    if len({*new, *there}) < 2 or (set(new) <= set(there) and (not named or named == known)):
        return
    listing = [f"{kind} ({with_rest(paths, 1)})" for kind, paths in new.items()]
    listing += [f"{kind} ({path})" for kind, path in there.items() if kind not in new]
    raise ConfigurationError(
        f"task {task.name} would mix modalities: {', '.join(listing)}",
        "Name the one to take as the modality, give each a task of its own, or allow the mixture.",
        "mixed",
    )


def _look_at_series(candidate: Candidate, stamp: str, series: Series, alone: bool, thorough: bool) -> Look:
    from ..imaging.volumes import header_of_series

    one = replace(candidate, series=series.uid or None)
    try:
        header = header_of_series(series, candidate.frame, candidate.spacing)
        return _with_label(one, stamp, header, content_of(series.files), alone, thorough)
    except InputError as error:
        return Look(one, stamp, reason=error.reason, error=error)
    except OSError as error:
        return Look(one, stamp, reason=encodable(f"cannot be read: {error}"))


def _with_one_label(candidate: Candidate, looks: Sequence[Look]) -> list[Look]:
    """Leaves the label of a folder to the one of its series that it fits; where that is not told, the label is refused."""
    read = [look for look in looks if look.header is not None]
    fitting = [look for look in read if look.label_reason is None]
    alone = fitting[0] if len(fitting) == 1 else None
    left = [
        look
        if look is alone
        else replace(look, candidate=replace(look.candidate, label=None, parts=()), label_stamp="", label_reason=None)
        for look in looks
    ]
    if alone is not None or not read or candidate.label is None:
        return left
    reason = (
        f"may be the label of each of {len(fitting)} series in one folder: give it to the right one of them as its label"
        if fitting
        else f"fits none of {len(read)} series in one folder, the first: {read[0].label_reason}"
    )
    return [*left, Look(replace(candidate, image=candidate.label, label=None, parts=()), "", reason=reason)]


def _with_label(
    candidate: Candidate, stamp: str, header: Header, content: str, alone: bool = True, thorough: bool = False
) -> Look:
    from ..imaging.labels import header_problem

    if candidate.label is None:
        return Look(candidate, stamp, header, content, alone=alone)
    files = [path for path, _ in candidate.parts] or [candidate.label]
    label_stamp, reason = stamp_of_label(files), None
    try:
        if not candidate.parts and os.path.isdir(candidate.label):  # a mask for each class; the check reads them all
            files = list(masks_in(candidate.label).values())[:1] or files
        for path in files:
            reason = (file_problem if thorough else header_problem)(path, header, candidate.frame)
            if reason is not None and candidate.parts:
                reason = f"{os.path.basename(path)}: {reason}"
            if reason is not None:
                break
    except OSError as error:
        reason = encodable(f"cannot be read: {error}")
    return Look(candidate, stamp, header, content, label_stamp=label_stamp, label_reason=reason, alone=alone)


def _files(path: str) -> list[Path]:
    from ..imaging import voxel_data as storage

    stored = storage.inspect(Path(path)) if suffix_of(path) in DETACHED else None
    return [Path(path)] if stored is None or stored.file == stored.path else [stored.path, stored.file]


def _refusal(path: str, task: str, reason: str, look: Look) -> Refused:
    return Refused(path=path, task=task, reason=reason, stamp=look.stamp, choice=_choice(look.candidate))


def _choice(candidate: Candidate) -> str:
    asked = {"frame": candidate.frame, "spacing": candidate.spacing}
    return ", ".join(f"{name} {value}" for name, value in asked.items() if value is not None)


def _list_refused(catalogue: Catalogue, task: str, looked_at: set[str], new: list[Refused]) -> None:
    """Replaces what the catalogue says of these paths in this task."""
    kept = [one for one in catalogue.refused if one.task != task or one.path not in looked_at]
    catalogue.set_refused([*kept, *new])


def _merged(catalogue: Catalogue, task: Task, source: Source, examined: Examination) -> Task:
    there = next((t for t in catalogue.tasks if t.name == task.name), None)
    merged = (there or task).model_copy(deep=True)
    said = [m for m in (task.modality, modality_of(source.modality)) if m and m != "unknown"]
    said += [modality_of(x.header.modality) for x in examined.looks if x.header and x.header.modality]
    if merged.modality in ("", "unknown") and said:
        merged.modality = said[0]
    merged.nan_is_background = merged.nan_is_background or task.nan_is_background
    merged.group = merged.group or task.group
    merged.anatomy = merged.anatomy or task.anatomy
    if not merged.classes:
        merged.classes = task.classes or [_described(source, v, n) for v, n in sorted(source.classes.items())]
        # One by one it would be a class and the value to ignore at once for a moment.
        ignored = source.ignore_value
        merged.ignore_value = ignored if all(c.value != ignored for c in merged.classes) else None
    return merged


def _described(source: Source, value: int, name: str) -> LabelClass:
    said = source.described.get(name)
    return LabelClass(
        value=value, name=name, color=said.color if said else None, terminology=said.terminology if said else None
    )
