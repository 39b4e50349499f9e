"""Labels that name what they label: DICOM objects joined to the series that they refer to, and classes of those names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..imaging.formats import is_dicom, suffix_of
from ..plural import counted, shortened, with_rest
from .candidates import Candidate, Source
from .labels import masks_in
from .listing import listed

if TYPE_CHECKING:
    from ..imaging.dicom import Contents, Series
    from ..imaging.dicom_labels import Reference
    from ..imaging.structures import Structure

MOST_NAMES = 20
"""So many structures are named to the user."""


def join_dicom_labels(source: Source, structures: Sequence[str] = (), labels: str | Path | None = None) -> None:
    """Gives DICOM series the segmentations (SEG) and structure sets (RTSTRUCT) that refer to them, wherever they lie.

    A folder with a labelled series becomes a candidate for each of its series. Doses, reports and other objects that
    are no images are counted as not read; a label that refers to no series of the source is refused.

    Args:
        source: is changed.
        structures: names of the structures to take; they tell which of several labels of a series is meant.
        labels: a folder with labels outside the source.
    """
    contents = _contents(source, labels)
    split = _refuse_parts_of_series(source, contents)
    references: list[Reference] = []
    for objects in (found.objects for found in contents.values()):
        for one in objects:
            if one.kind == "other":
                source.not_read[f"DICOM {one.modality or 'objects'}"] += 1
                continue
            try:
                references.append(_usable(one.file))
                for structure in references[-1].structures:
                    _describe(source, structure)
            except InputError as error:
                source.refused.append((str(one.file), error.reason))
    images = {candidate.image for candidate in source.candidates}
    elsewhere = [found for path, found in contents.items() if path not in images]  # of images' folders the scan tells
    source.refused += [(str(s.files[0]), s.problem or "") for f in elsewhere for s in f.series if not s.uid]
    candidates: list[Candidate] = []
    labelled: set[Path] = set()
    for candidate in source.candidates:
        found = contents.get(candidate.image)
        if found is None:
            candidates.append(candidate)
            continue
        if candidate.label is not None and candidate.label in contents:
            candidate = replace(candidate, label=None)  # paired by the folders' names; what it refers to counts
        if found.series:
            candidates += _series_with_labels(source, candidate, found, references, structures, labelled)
    source.candidates = candidates
    unused = [r.file for r in references if r.file not in labelled]
    source.refused = [*((path, reason) for path, reason in source.refused if path not in contents), *split]
    source.refused += [(str(path), "labels no series that is here") for path in unused]


def _refuse_parts_of_series(source: Source, contents: dict[str, Contents]) -> list[tuple[str, str]]:
    """Refuses series whose slices lie in several folders: each of these would be taken for a whole volume.

    Returns:
        The folders, each with the reason.
    """
    from ..imaging.stacks import are_one_volume

    folders: dict[str, list[tuple[str, Series]]] = {}
    for path, found in contents.items():
        for one in found.series:
            if one.uid and one.problem is None and len(one.stacks) == 1:
                folders.setdefault(one.uid, []).append((path, one))
    refused: list[tuple[str, str]] = []
    for uid, many in folders.items():
        if len(many) < 2 or not are_one_volume([one.stacks[0] for _, one in many]):
            continue
        for path, one in many:
            shown = with_rest([source.shown(p) for p, _ in many if p != path], 3)
            has = counted(len(one.stacks[0].planes), "slice")
            contents[path].series.remove(one)
            refused.append((path, f"has {has} of series {uid}, whose others lie in {shown}: put them together"))
    split = {path for path, _ in refused}
    kept: list[Candidate] = []
    for candidate in source.candidates:
        if candidate.image not in split:
            kept.append(candidate)
        else:
            kept += [replace(candidate, series=s.uid) for s in contents[candidate.image].series if s.uid]
    source.candidates = kept
    return refused


def take_named_structures(source: Source, structures: Sequence[str]) -> None:
    """Finds the names in the labels of a source: they become its classes, with their colours and terminology.

    Args:
        source: is changed; classes that it has already stay.
        structures: the names to take; a label that has none of them is left out, with the reason.
    """
    wanted = [_folded(name) for name in structures]
    named_by_file: Counter[str] = Counter()  # how many labels hold each name
    for number, candidate in enumerate(source.candidates):
        files = [(path, structure, _names(path)) for path, structure in _files_of(candidate)]
        if candidate.parts:  # a file that names its structures is not called after its own name
            candidate = replace(candidate, parts=tuple((path, "" if own else name) for path, name, own in files))
            source.candidates[number] = candidate
        named = [s for _, _, own in files for s in own]
        _tell_alike(source, candidate, named)
        names = [s.name for s in named] + [structure for _, structure in candidate.parts if structure]
        names += _masks(candidate)
        named_by_file.update({_folded(name) for name in names})
        chosen = [name for name in names if not wanted or _folded(name) in wanted]
        if names and not chosen:
            reason = f"has none of the structures that were chosen (there: {', '.join(names)})"
            source.refused.append((candidate.label or "", reason))
            source.candidates[number] = replace(candidate, label=None, parts=())
        elif wanted and names:
            chosen.sort(key=lambda name: wanted.index(_folded(name)))
            source.candidates[number] = replace(candidate, structures=tuple(dict.fromkeys(chosen)))
        for one in named:
            _describe(source, one)
    spelled = {_folded(name): name for name in (*_mask_names(source), *source.described)}
    source.times_named = Counter({name: named_by_file[key] for key, name in spelled.items()})
    _name_classes(source, bool(wanted))
    _tell_names(source, bool(wanted))


def _masks(candidate: Candidate) -> list[str]:
    if candidate.label is None or candidate.parts or not os.path.isdir(candidate.label):
        return []
    try:
        return list(masks_in(candidate.label))
    except OSError:
        return []  # the scan says why


def _mask_names(source: Source) -> list[str]:
    """Returns the structures that are named by the files of their masks."""
    return [n for c in source.candidates for n in (*(name for _, name in c.parts if name), *_masks(c))]


def _files_of(candidate: Candidate) -> list[tuple[str, str]]:
    return list(candidate.parts) or ([(candidate.label, "")] if candidate.label else [])


def _tell_alike(source: Source, candidate: Candidate, named: Sequence[Structure]) -> None:
    shown = source.shown(candidate.label or "")
    for same in _alike([s.name for s in named]):
        listed_names = ", ".join(map(repr, same))
        if len(set(same)) < len(same):
            source.notes.append(f"{shown}: has several segments named {same[0]!r}: it cannot be used until they differ")
        else:
            source.notes.append(f"{shown}: {listed_names} have the same name, case and spaces aside, and are one class")


def _alike(names: Sequence[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_folded(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _name_classes(source: Source, chosen: bool) -> None:
    """Makes the names that labels say the classes, beside those of masks that are named by their files alone."""
    masks = {name for c in source.candidates for _, name in c.parts if name}
    if any(c.parts for c in source.candidates) and not chosen:
        folders = any(c.label and not c.parts and os.path.isdir(c.label) for c in source.candidates)
        kept = [name for name in source.classes.values() if folders or name in masks]
        kept += [n for n in source.described if _folded(n) not in {_folded(k) for k in kept}]
        source.classes = dict(enumerate(kept, 1))
    if source.described and not source.classes:
        own = [s.value for s in source.described.values()]
        keep = not chosen and len(set(own)) == len(own) and min(own) > 0
        numbers = own if keep else range(1, len(own) + 1)
        source.classes = dict(zip(numbers, source.described, strict=True))


def _tell_names(source: Source, chosen: bool) -> None:
    """Says which structures the labels name, and where they do not all have the same."""
    labelled = [c for c in source.candidates if c.label is not None]
    unnamed = [c for c in labelled if not _names(c.label) and not c.parts and not os.path.isdir(c.label or "")]
    names, count = list(source.times_named), source.times_named
    total = len(labelled) - len(unnamed)
    if names and not chosen:
        taken = "it is taken" if len(names) == 1 else "all of them are taken"
        source.notes.append(
            f"the labels name {counted(len(names), 'structure')}, {taken}: {shortened(names, MOST_NAMES)}"
        )
        some = [f"{name} ({count[name]} of {total})" for name in names if count[name] < total]
        if some:
            listing = shortened(some, MOST_NAMES)
            source.notes.append(f"not every label has all of them; what one lacks counts as absent: {listing}")
    joined = sum(len(c.parts) > 1 for c in labelled)
    if joined:
        source.notes.append(f"{counted(joined, 'label is', 'labels are')} joined from files of single structures")
    if names and unnamed:
        meant = shortened((f"{value} as {name}" for value, name in source.classes.items()), 5)
        first = source.shown(unnamed[0].label or "")
        source.notes.append(
            f"{counted(len(unnamed), 'label does', 'labels do')} not name their values, such as {first}: "
            f"they are taken by number, {meant}"
        )


def _folded(name: str) -> str:
    return name.strip().casefold()


def _describe(source: Source, structure: Structure) -> None:
    """Keeps what the first label says of a name; upper and lower case are one."""
    if _folded(structure.name) not in {_folded(name) for name in source.described}:
        source.described[structure.name] = structure


def _contents(source: Source, labels: str | Path | None) -> dict[str, Contents]:
    """Returns what the DICOM folders hold that the source names anywhere; where that are labels, its DICOM files too."""
    from ..imaging.dicom import Contents, contents_of, series_of_file

    paths = [c.image for c in source.candidates] + [c.label for c in source.candidates if c.label]
    paths += [path for path, _ in source.refused]
    if labels is not None:
        paths += listed(Path(os.path.normpath(Path(labels).expanduser().absolute()))).volumes
    found = {}
    for path in dict.fromkeys(paths):
        if not os.path.isdir(path):
            continue
        try:
            contents = contents_of(path)
        except InputError:
            continue  # the scan says why
        if contents.series or contents.objects:
            found[path] = contents
    if any(one.kind in ("segmentation", "structures") for contents in found.values() for one in contents.objects):
        for path in {c.image for c in source.candidates} - found.keys():
            if not suffix_of(path) and is_dicom(path):
                with suppress(InputError):  # the scan says why
                    found[path] = Contents([series_of_file(path)])
    return found


def _usable(file: Path) -> Reference:
    from ..imaging.dicom_labels import reference_of

    reference = reference_of(file)
    if not reference.structures:
        raise InputError(file, "holds no segment or closed contour")
    return reference


def _series_with_labels(
    source: Source,
    candidate: Candidate,
    found: Contents,
    references: Sequence[Reference],
    structures: Sequence[str],
    labelled: set[Path],
) -> list[Candidate]:
    series = [s for s in found.series if s.uid and candidate.series in (None, s.uid)]
    labels = {s.uid: [r for r in references if r.labels(s.uid, s.frame_of_reference, s.study)] for s in series}
    if not any(labels.values()):
        return [candidate]
    source.refused += [(str(s.folder), s.problem or "") for s in found.series if not s.uid]
    made = []
    free = [s for s in series if not labels[s.uid]]
    for one in series:
        labelled.update(r.file for r in labels[one.uid])
        name = candidate.name or os.path.basename(candidate.image)
        chosen = [str(r.file) for r in _labels_of_one(source, one, labels[one.uid], structures)]
        label, parts = chosen[0] if chosen else None, tuple((file, "") for file in chosen) if len(chosen) > 1 else ()
        if free == [one]:
            label, parts = candidate.label, candidate.parts
        made.append(
            replace(
                candidate,
                series=one.uid if os.path.isdir(candidate.image) else None,
                label=label,
                parts=parts,
                name=f"{name}-{one.uid.rsplit('.', 1)[-1]}" if len(series) > 1 else candidate.name,
            )
        )
    if candidate.label is not None and len(free) != 1:
        if free:
            reason = f"may be the label of each of {len(free)} series in one folder: give it to the right one of them"
        else:
            reason = _second_label(source, made, bool(structures))
        source.refused.append((candidate.label, reason))
    return made


def _second_label(source: Source, made: list[Candidate], chosen: bool) -> str:
    """Returns what to say of a file that labels a series beside a DICOM object that does; neither is the series' then,
    unless structures were chosen, which the object has."""
    files = list(dict.fromkeys(c.label for c in made if c.label is not None))
    others = ", ".join(map(source.shown, files)) or "DICOM labels"
    if chosen and files:
        return f"is left aside, since {others} has the structures that were chosen"
    way_out = "take the wrong one away, or give the image the right one as its label"
    source.refused += [(file, f"is one of two labels of its series: {way_out}") for file in files]
    made[:] = [replace(c, label=None, parts=()) for c in made]
    return f"is a label of a series that {others} labels too: {way_out}"


def _labels_of_one(
    source: Source, series: Series, there: Sequence[Reference], structures: Sequence[str]
) -> list[Reference]:
    """Returns the labels of a series that hold the structures that were chosen, where no two of them hold the same."""
    wanted = {_folded(name) for name in structures}
    names = {r.file: {_folded(s.name) for s in r.structures} for r in there}
    chosen = [r for r in there if not wanted or wanted & names[r.file]]
    whole = [r for r in chosen if wanted and wanted <= names[r.file]]
    chosen = whole if len(whole) == 1 else chosen
    for one in there if not chosen else ():
        source.refused.append((str(one.file), _has_none(one.structures)))
    held = Counter(name for r in chosen for name in names[r.file] if not wanted or name in wanted)
    twice = [name for name, count in held.items() if count > 1]
    if not twice:
        return chosen
    for one in chosen:
        others = ", ".join(source.shown(str(r.file)) for r in chosen if r is not one)
        both = ", ".join(s.name for s in one.structures if _folded(s.name) in twice)
        only = [s.name for r in chosen for s in r.structures if _folded(s.name) not in twice]
        way_out = f"choose structures that only one has ({', '.join(only)}), or " if only else ""
        shared = f"it holds {both}, and so does {others}" if both else f"the others are {others}"
        source.refused.append(
            (
                str(one.file),
                f"is one of {counted(len(chosen), 'label')} of series {series.uid}; {shared}: {way_out}take the others "
                "away, or give the image the right one as its label",
            )
        )
    return []


def _has_none(structures: Sequence[Structure]) -> str:
    return f"has none of the structures that were chosen (there: {', '.join(s.name for s in structures)})"


def _names(label: str | None) -> list[Structure]:
    if label is None or os.path.isdir(label):
        return []
    from ..imaging.labels import structures_in

    try:
        return structures_in(label)
    except InputError:
        return []  # the scan says why
