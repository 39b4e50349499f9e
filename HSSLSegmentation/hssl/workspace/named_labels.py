"""Labels that name what they label: DICOM objects joined to the series that they refer to, and classes of those names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..imaging.formats import is_dicom, suffix_of
from .candidates import Candidate, Source
from .listing import listed

if TYPE_CHECKING:
    from ..imaging.dicom import Contents, Series
    from ..imaging.dicom_labels import Reference
    from ..imaging.labels import Structure


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
    source.refused = [(path, reason) for path, reason in source.refused if path not in contents]
    source.refused += [(str(path), "labels no series that is here") for path in unused]


def take_named_structures(source: Source, structures: Sequence[str]) -> None:
    """Finds the names in the labels of a source: they become its classes, with their colours and terminology.

    Args:
        source: is changed; classes that it has already stay.
        structures: the names to take; a label that has none of them is left out, with the reason.
    """
    wanted = {name.strip().casefold() for name in structures}
    for number, candidate in enumerate(source.candidates):
        named = _names(candidate.label)
        count = Counter(_folded(s.name) for s in named)
        alike = ", ".join(repr(s.name) for s in named if count[_folded(s.name)] > 1)
        if alike:
            shown = source.shown(candidate.label or "")
            source.notes.append(f"{shown}: {alike} have the same name, case and spaces aside, and are one class")
        chosen = [s for s in named if not wanted or s.name.strip().casefold() in wanted]
        if named and not chosen:
            there = ", ".join(s.name for s in named)
            source.refused.append(
                (candidate.label or "", f"has none of the structures that were chosen (there: {there})")
            )
            source.candidates[number] = replace(candidate, label=None)
        elif wanted and named:
            order = [name.strip().casefold() for name in structures]
            chosen.sort(key=lambda s: order.index(s.name.strip().casefold()))
            source.candidates[number] = replace(candidate, structures=tuple(dict.fromkeys(s.name for s in chosen)))
        for one in named:
            _describe(source, one)
        folded = {_folded(name): name for name in source.described}
        source.times_named.update({folded[_folded(one.name)] for one in named})
    if source.described and not wanted:
        names = list(source.described)
        listed_names = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        source.notes.append(f"the labels name {len(names)} structures, all of them are taken: {listed_names}")
    if source.described and not source.classes:
        own = [s.value for s in source.described.values()]
        keep = not wanted and len(set(own)) == len(own) and min(own) > 0
        numbers = own if keep else range(1, len(own) + 1)
        source.classes = dict(zip(numbers, source.described, strict=True))


def _folded(name: str) -> str:
    return name.strip().casefold()


def _describe(source: Source, structure: Structure) -> None:
    """Keeps what the first label says of a name; upper and lower case are one."""
    if structure.name.strip().casefold() not in {name.strip().casefold() for name in source.described}:
        source.described[structure.name] = structure


def _contents(source: Source, labels: str | Path | None) -> dict[str, Contents]:
    """Returns what the DICOM folders hold that the source names anywhere."""
    from ..imaging.dicom import contents_of

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
    for one in series:
        labelled.update(r.file for r in labels[one.uid])
        name = candidate.name or os.path.basename(candidate.image)
        made.append(
            replace(
                candidate,
                series=one.uid,
                label=_one_label(source, one, labels[one.uid], structures),
                name=f"{name}-{one.uid.rsplit('.', 1)[-1]}" if len(series) > 1 else candidate.name,
            )
        )
    return made


def _one_label(source: Source, series: Series, there: Sequence[Reference], structures: Sequence[str]) -> str | None:
    """Returns the label of a series: the only one, or the only one that has the structures that were chosen."""
    wanted = {name.strip().casefold() for name in structures}
    names = {r.file: {s.name.strip().casefold() for s in r.structures} for r in there}
    chosen = [r for r in there if not wanted or wanted & names[r.file]]
    whole = [r for r in chosen if wanted <= names[r.file]]
    if len(whole) == 1 or len(chosen) == 1:
        return str((whole if len(whole) == 1 else chosen)[0].file)
    for one in there if not chosen else ():
        source.refused.append((str(one.file), _has_none(one.structures)))
    for one in chosen:
        others = ", ".join(r.file.name for r in chosen if r is not one)
        held = ", ".join(s.name for s in one.structures[:8]) + (", …" if len(one.structures) > 8 else "")
        reason = f"is one of {len(chosen)} labels of series {series.uid} (also {others}); it holds {held}"
        source.refused.append((str(one.file), f"{reason}: choose structures that only one of them has"))
    return None


def _has_none(structures: Sequence[Structure]) -> str:
    return f"has none of the structures that were chosen (there: {', '.join(s.name for s in structures)})"


def _names(label: str | None) -> list[Structure]:
    if label is None or os.path.isdir(label) or not (suffix_of(label) in (".nrrd", ".nhdr") or is_dicom(label)):
        return []
    from ..imaging.labels import structures_in

    try:
        return structures_in(label)
    except InputError:
        return []  # the scan says why
