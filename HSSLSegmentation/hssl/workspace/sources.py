"""Where images come from: folders of volumes, DICOM trees, and data sets as they are downloaded; each with its label."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..errors import ConfigurationError, InputError, OutputError
from ..files import check_name
from ..imaging.formats import stem_of
from ..outputs import RECORD, unchanged_in
from ..plural import counted, shortened, with_rest
from .bids import is_bids, pair_bids
from .candidates import Candidate, Source
from .datasets import DATASTORES, at_frames, dataset, datastore, descriptions_below, frames_of_cases, points_beside
from .listing import listed
from .named_labels import join_dicom_labels, take_named_structures
from .pairing import Pairing, pair
from .patients import patients_of
from .places import IMAGE_WORDS, Place, normalized, words_of

_ACDC = re.compile(r"patient\d+_frame\d+", re.IGNORECASE)
_ACDC_CLASSES = {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}
_MMS_CLASSES = {1: "left ventricle", 2: "myocardium", 3: "right ventricle"}
_TELLS_NOTHING = frozenset(["ct", "mr", "mri", "pet", "t1", "t2", "flair", "dicom", "data"]) | IMAGE_WORDS
"""A file of such a name is called after its folder."""


def find(
    path: str | Path,
    labels: str | Path | None = None,
    pattern: str = "",
    label_pattern: str = "",
    frame: int | None = None,
    channel: int | None = None,
    patient: str = "",
    structures: Sequence[str] = (),
    spacing: tuple[float, float, float] | None = None,
) -> Source:
    """Finds the images of a source and their labels; what kind of source it is, is seen from its files.

    Args:
        path: a volume, a folder, a data set's folder or one above it, or its `dataset.json`.
        labels: a folder with the label maps, where they lie elsewhere.
        pattern: relative paths of the images, such as "{id}_ct.nii.gz" or "{id}/ct.nii.gz"; `*` stands for anything. A
            pattern without a slash is for the name alone. Labels are found as without a pattern.
        label_pattern: relative path of the label of an image with that id, such as "{id}_seg.nii.gz"; with {structure},
            such as "{id}/{structure}.nii.gz", each structure has a mask of its own.
        frame: the volume to take of files that have several, counted from 0.
        channel: the channel to take of a dataset that has several, counted from 0.
        patient: pattern with {patient}, for names (or for relative paths, with a slash), or one patient's name.
        structures: names of the structures to take of labels that have names; they become the classes 1, 2, …
        spacing: mm in x, y, z, of files that do not say it (TIFF).

    Raises:
        InputError: the path does not exist; its description is damaged or is no dataset; it cannot be told whose a label
            is, or which of several datasets is meant.
        ConfigurationError: the options do not fit together or the source.
    """
    path = Path(os.path.normpath(Path(path).expanduser().absolute()))
    check_name(path)
    if not os.path.exists(path):
        raise InputError(path, "does not exist")
    if labels is not None and not Path(labels).expanduser().is_dir():
        raise InputError(labels, "is not a folder of labels")
    for text in filter(None, (pattern, label_pattern)):
        if text.count("{id}") != 1:
            raise ConfigurationError(f"pattern {text!r} must contain {{id}} once")
    if "{structure}" in pattern or label_pattern.count("{structure}") > 1:
        raise ConfigurationError("{structure} stands once, in the pattern of labels")
    source = None if pattern or label_pattern or labels is not None else _described(path, frame, channel)
    if source is None:
        if channel is not None:
            raise ConfigurationError(
                "a channel belongs to MSD and nnU-Net datasets", "Choose a frame of a 4D file.", "frame"
            )
        if path.is_file():
            source = _one_file(path, labels, frame)
        else:
            source = _folder(path, labels, pattern, label_pattern, frame)
    if spacing is not None:
        source.candidates = [replace(c, spacing=spacing) for c in source.candidates]
    join_dicom_labels(source, structures, labels)
    take_named_structures(source, structures)
    if path.is_dir() and not any(c.label for c in source.candidates) and (points := points_beside(path)):
        source.notes.append(points)
    _take_structures(source, structures)
    _tell_results(source)
    _tell_patients(source, patient)
    _name_cases(source, pattern)
    return source


def _tell_results(source: Source) -> None:
    """Says which labels are what a model has predicted: a folder of results may lie beside the scans."""
    files = [path for c in source.candidates for path in ([p for p, _ in c.parts] or [c.label or ""]) if path]
    by_folder: dict[str, list[str]] = defaultdict(list)
    for folder, name in map(os.path.split, files):
        by_folder[folder].append(name)
    found: list[str] = []
    for folder, names in by_folder.items():
        if os.path.isfile(os.path.join(folder, RECORD)):
            with suppress(OutputError, OSError):  # the listing tells of a record that is none, the scan of the files
                found += [source.shown(os.path.join(folder, name)) for name in unchanged_in(folder, names)]
    if found:
        source.notes.append(
            f"{counted(len(found), 'label is', 'labels are')} what a model has predicted, and nobody has changed "
            f"({with_rest(found, 2)}): its mistakes are learned from as if they were right"
        )


def _described(path: Path, frame: int | None, channel: int | None) -> Source | None:
    if path.is_file():
        if path.name in DATASTORES:
            return datastore(path)
        return dataset(path, frame, channel) if path.name == "dataset.json" else None
    if (path / "dataset.json").is_file():
        return dataset(path / "dataset.json", frame, channel)
    store = next((path / name for name in DATASTORES if (path / name).is_file()), None)
    if store is not None:
        return datastore(store)
    below = descriptions_below(path)
    if len(below) > 1:
        names = shortened((p.parent.relative_to(path) for p in below), 5)
        raise InputError(
            path, f"holds {counted(len(below), 'dataset')}: {names}", "Add them one by one, each as a task."
        )
    if not below:
        return None
    source = dataset(below[0], frame, channel)
    inside = str(below[0].parent) + os.sep
    outside = [p for p in listed(path).volumes if not p.startswith(inside)]
    source.refused += [(p, f"lies outside the dataset in {below[0].parent.name}") for p in outside]
    return source


def _one_file(path: Path, labels: str | Path | None, frame: int | None) -> Source:
    source = Source(stem_of(path.name), "file", str(path.parent), [Candidate(str(path), frame=frame)])
    if labels is not None:
        folder = Path(os.path.normpath(Path(labels).expanduser().absolute()))
        there = [Place.of(p, folder) for p in listed(folder).volumes if p != str(path)]
        own = [p for p in there if not p.folders and p.stem == stem_of(path.name)]
        found = pair([Place.of(str(path), path.parent)], own or there)
        parts = tuple(found.parts.get(str(path), ()))
        source.candidates = [Candidate(str(path), found.labels.get(str(path)), frame=frame, parts=parts)]
        source.classes = dict(enumerate(found.masks, 1))
    return source


# Folders -------------------------------------------------------------------------------------------------------


def _folder(path: Path, labels: str | Path | None, pattern: str, label_pattern: str, frame: int | None) -> Source:
    source = Source(path.name, "folder", str(path))
    there = listed(path)
    places = [Place.of(p, path) for p in there.volumes]
    found: Pairing
    if labels is not None:
        folder = Path(os.path.normpath(Path(labels).expanduser().absolute()))
        inside = str(folder) + os.sep
        places = [p for p in places if not p.path.startswith(inside)]
        if folder != path and path not in folder.parents:
            there = there + listed(folder)
        label_places = [Place.of(p, folder) for p in listed(folder).volumes]
    else:
        label_places = places
    if label_pattern:
        found = _pair_by_patterns(places, label_places, pattern, label_pattern)
    elif labels is not None:
        found = pair(_chosen(places, pattern), label_places, bool(pattern))
        if pattern:
            _pair_by_id(found, label_places, pattern)
    else:
        found = _pair_folder(source, path, places, pattern)
    source.refused += [*there.refused, *found.unused]
    source.not_read += there.not_read
    source.notes += found.notes
    source.advised.update(["label_pattern"] if found.notes else [])
    source.classes = source.classes or dict(enumerate(found.masks, 1))
    source.candidates = [
        Candidate(p.path, found.labels.get(p.path), frame=frame, parts=tuple(found.parts.get(p.path, ())))
        for p in found.images
    ]
    if pattern and not source.candidates:
        others = f" (there: {shortened((p.relative for p in places), 3)})" if places else ""
        raise InputError(path, f"has no file that fits the pattern {pattern!r}{others}", "", "pattern")
    if frame is None and any("_" in p.stem for p in found.images):
        frames = frames_of_cases(path)
        several = at_frames(source.candidates, frames)
        if several != source.candidates:
            source.kind, source.modality = "M&Ms dataset", "MR"
            source.classes = source.classes or dict(_MMS_CLASSES)
            source.candidates = several
    return source


def _pair_folder(source: Source, root: Path, places: list[Place], pattern: str) -> Pairing:
    whole = _whole_sequences(places)
    places = [p for p in places if p.path not in whole]
    if any(_ACDC.fullmatch(p.stem) and _has_description(p) for p in places):
        source.kind, source.modality, source.classes = "ACDC dataset", "MR", dict(_ACDC_CLASSES)
    submitted = dict.fromkeys(p for p in places if "/".join(p.folders[:2]).casefold() == "labels/final")
    drafts = dict.fromkeys(p for p in places if submitted and p.folders[:1] == ("labels",) and p not in submitted)
    places = [p for p in places if p not in drafts]
    if is_bids(places):
        source.kind = "BIDS dataset"
        found = pair_bids(places, _chosen(places, pattern) if pattern else None)
    elif submitted:
        source.kind = "MONAI Label datastore"
        images = [p for p in places if p not in submitted]
        tops = [Place.of(p.path, root / p.folders[0] / p.folders[1]) for p in submitted]
        found = pair(_chosen(images, pattern), tops, bool(pattern))
    elif pattern:
        found = _pair_chosen(source, places, pattern)
    else:
        found = pair(places)
    found.unused += [(p, "is the whole sequence, whose frames are there one by one") for p in sorted(whole)]
    found.unused += [(p.path, "is a label that nobody has submitted") for p in drafts]
    return found


def _pair_chosen(source: Source, places: list[Place], pattern: str) -> Pairing:
    """Pairs the images that fit a pattern with the labels by their names, or else by what the pattern says is the case."""
    chosen = dict.fromkeys(_chosen(places, pattern))
    others = [p for p in places if p not in chosen and (p.role == "label" or p.may_be_label)]
    found = pair([*chosen], others, True)
    if "/" not in pattern:
        _pair_by_id(found, others, pattern)
    left = [p for p in others if p.path in {path for path, _ in found.unused}]
    # Labels of the images that were not chosen are no news.
    found.unused = []
    alone = [p for p in chosen if p.path not in found.labels]
    lack = f"{counted(len(alone), 'chosen image has', 'chosen images have')} no label"
    wheres, ids = {image.where for image in alone}, {"_".join(words_of(_id(p, pattern) or "")) for p in alone}
    beside = [p for p in left if p.where in wheres]
    called = [p for p in left if p.folders and (p.plain in ids or p.case in ids)]
    if beside or called:
        source.advised.add("label_pattern" if beside else "labels")
    if beside:
        source.notes.append(
            f"{lack}, and files that are called labels lie beside them, such as {beside[0].relative}: say by a pattern of labels "
            "whose they are"
        )
    elif called:
        source.notes.append(
            f"{lack}, and labels that are called after them lie in other folders, such as {called[0].relative}: say in which "
            "folder the labels are"
        )
    return found


def _pair_by_id(found: Pairing, labels: Sequence[Place], pattern: str) -> None:
    """Gives the chosen images that have no label one that is called after the case, as the pattern tells it."""
    unused = {path for path, _ in found.unused}
    alone, left = [p for p in found.images if p.path not in found.labels], [p for p in labels if p.path in unused]
    if not alone or not left:
        return
    by_id = pair([replace(p, stem=_id(p, pattern) or p.stem) for p in alone], left, True)
    found.labels.update(by_id.labels)
    found.parts.update(by_id.parts)
    found.masks = sorted({*found.masks, *by_id.masks})
    still = {path for path, _ in by_id.unused}
    found.unused = [(path, why) for path, why in found.unused if path in still]


def _whole_sequences(places: Sequence[Place]) -> set[str]:
    """Files such as ACDC's `patient001_4d`, whose frames lie beside them as `patient001_frame01`, …"""
    names = [(p.folders, p.stem.casefold()) for p in places]
    starts = {(folders, name.partition("_frame")[0]) for folders, name in names if "_frame" in name}
    return {
        p.path for p in places if p.stem.casefold().endswith("_4d") and (p.folders, p.stem.casefold()[:-3]) in starts
    }


def _has_description(place: Place) -> bool:
    return os.path.isfile(os.path.join(os.path.dirname(place.path), "Info.cfg"))


def _pair_by_patterns(places: list[Place], labels: list[Place], pattern: str, label_pattern: str) -> Pairing:
    result = Pairing()
    images = set(_chosen(places, pattern)) if pattern else set()
    there: dict[str, dict[str, str]] = defaultdict(dict)
    for place in labels:
        fits = _fit(place, label_pattern)
        if fits is None or place in images:
            continue
        name, structure = normalized(fits["id"]), fits.groupdict().get("structure", "")
        if structure in there[name]:
            other = there[name][structure]
            raise InputError(place.path, f"and {other} are both the label of {name!r}", "Tell them apart.")
        there[name][structure] = place.path
    taken, used = {path for found in there.values() for path in found.values()}, set()
    result.images = [p for p in _chosen(places, pattern) if p.path not in taken]
    if not pattern:  # labels by their names, of other readers perhaps, are no images because others were chosen
        others = dict.fromkeys(p for p in result.images if p.role == "label" or p.may_be_label)
        result.images = [p for p in result.images if p not in others]
        result.unused = [(p.path, "is called a label, and the pattern of labels does not fit it") for p in others]
    owners: dict[str, Place] = {}
    for place in result.images:
        id = _id(place, pattern) if pattern else _own_id(place, there)
        if id not in there:
            continue
        found = there[id]
        if id in owners:
            first = next(iter(found.values()))
            raise InputError(first, f"may be the label of {owners[id].relative} and of {place.relative}")
        owners[id] = place
        used.add(id)
        result.labels[place.path] = next(iter(found.values()))
        if "{structure}" in label_pattern:
            result.parts[place.path] = [(path, structure) for structure, path in sorted(found.items())]
    result.masks = sorted({structure for found in there.values() for structure in found if structure})
    way_out = "" if pattern else "; say by a pattern of images, too, which part of their path is the {id}"
    result.unused += [
        (path, f"is a label without an image of that name{way_out}")
        for id, found in there.items()
        if id not in used
        for path in found.values()
    ]
    return result


def _own_id(place: Place, there: Mapping[str, object]) -> str:
    relative = normalized("/".join((*place.folders, place.stem)))
    return relative if relative in there else normalized(place.stem)


def _chosen(places: Sequence[Place], pattern: str) -> list[Place]:
    return [p for p in places if _id(p, pattern) is not None] if pattern else list(places)


def _id(place: Place, pattern: str) -> str | None:
    fits = _fit(place, pattern)
    return normalized(fits["id"]) if fits else None


def _fit(place: Place, pattern: str) -> re.Match[str] | None:
    text = re.escape(pattern).replace(re.escape("*"), "[^/]*")
    for name in ("id", "structure"):
        text = text.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>[^/]+?)")
    relative = place.relative
    fits = re.fullmatch(text, relative)
    if fits is None and "/" not in pattern:
        fits = re.fullmatch(text, relative.rpartition("/")[2])
    return fits


# Names ---------------------------------------------------------------------------------------------------------


def _take_structures(source: Source, structures: Sequence[str]) -> None:
    if not structures:
        return
    known = {name.strip().casefold(): name for name in source.classes.values()}
    unknown = [name for name in structures if name.strip().casefold() not in known]
    if known and unknown:
        there = ", ".join(sorted(known.values()))
        raise ConfigurationError(f"no structure {', '.join(map(repr, unknown))} in {source.root} (there: {there})")
    wanted = list(dict.fromkeys(known.get(name.strip().casefold(), name) for name in structures))
    source.candidates = [c if c.structures else replace(c, structures=tuple(wanted)) for c in source.candidates]
    values = {name: value for value, name in source.classes.items()}
    masks = any(c.parts or (c.label and os.path.isdir(c.label)) for c in source.candidates)
    # Values of label maps are theirs; masks, and labels that name their segments, have none that matter.
    source.classes = {
        (number if masks or source.described or name not in values else values[name]): name
        for number, name in enumerate(wanted, 1)
    }


def _name_cases(source: Source, pattern: str) -> None:
    """Names cases by the id in the pattern, or by the parts of their paths that differ, where the names of the files do
    not tell them apart."""
    places = [Place.of(c.image, source.root) for c in source.candidates]
    if pattern:
        source.candidates = [
            replace(c, name=_id(p, pattern) or "") for c, p in zip(source.candidates, places, strict=True)
        ]
    names = [c.name or p.stem for c, p in zip(source.candidates, places, strict=True)]
    files = {c.image: name for c, name in zip(source.candidates, names, strict=True)}
    twice = Counter(files.values())
    parts = [(*p.parents, n) for p, n in zip(places, names, strict=True)]
    same = _common_parts([part for part, n in zip(parts, names, strict=True) if twice[n] > 1])
    for number, (candidate, name) in enumerate(zip(source.candidates, names, strict=True)):
        if twice[name] > 1:
            telling = [part for position, part in enumerate(parts[number]) if position not in same]
            source.candidates[number] = replace(candidate, name="_".join(telling) or name)
        elif name.casefold() in _TELLS_NOTHING:
            folder = places[number].parents[-1] if places[number].parents else os.path.basename(source.root)
            source.candidates[number] = replace(candidate, name=folder or name)


def _common_parts(paths: Sequence[tuple[str, ...]]) -> set[int]:
    """Returns the positions at which paths of one length have the same part; of different lengths none is dropped."""
    if len({len(path) for path in paths}) != 1:
        return set()
    return {position for position, parts in enumerate(zip(*paths, strict=True)) if len(set(parts)) == 1}


def _tell_patients(source: Source, pattern: str) -> None:
    source.patients_told = bool(pattern)
    places = []
    for candidate in source.candidates:
        place = Place.of(candidate.image, source.root)
        places.append(Place(place.path, place.folders, candidate.name) if candidate.name and not pattern else place)
    for number, patient in enumerate(patients_of(places, pattern)):
        candidate = source.candidates[number]
        if patient and (pattern or not candidate.patient):
            source.candidates[number] = replace(candidate, patient=patient)
