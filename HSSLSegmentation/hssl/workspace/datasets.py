"""Data sets that describe themselves: MSD, nnU-Net 1 and 2, MONAI Label's datastore, and M&Ms with its table of frames."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError, encodable
from ..files import read_json
from ..imaging.formats import stem_of
from ..plural import counted
from .candidates import Candidate, Source, modality_of
from .listing import is_workspace, listed

DATASTORES = ("datastore_v2.json", "datastore.json")
"""Names of the description of a MONAI Label datastore."""

_POINT = re.compile(r"((coord|center|centre|centroid|pos|position)[ _]?)?[xyz]", re.IGNORECASE)
"""Names of a table's columns that are coordinates."""
_DEPTH = 3
"""So many folders above a dataset.json it is still found: downloads come with folders of their own."""


def descriptions_below(folder: Path) -> list[Path]:
    """Returns the dataset.json of MSD and nnU-Net datasets in the folders below one, without entering theirs."""
    found: list[Path] = []
    level = [folder]
    for _ in range(_DEPTH):
        below: list[Path] = []
        for parent in level:
            try:
                below += sorted(p for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
            except OSError:
                continue
        level = []
        for child in below:
            description = child / "dataset.json"
            if not description.is_file():
                level.append(child)
            elif not is_workspace(str(description)):
                found.append(description)
    return found


def dataset(description: Path, frame: int | None, channel: int | None) -> Source:
    """Reads an MSD or nnU-Net dataset by its dataset.json.

    Raises:
        InputError: it is damaged, describes neither, or needs a choice of channel.
    """
    values = read_json(description)
    if not isinstance(values, dict):
        raise InputError(description, "is not the description of a dataset")
    if "schema" in values and "images" in values:
        raise InputError(description, "is a workspace of HSSL, not a source of images")
    if "channel_names" in values or "file_ending" in values:
        return _nnunet(description, values, frame, channel)
    if isinstance(values.get("training"), list):
        return _msd(description, values, frame, channel)
    raise InputError(
        description,
        "describes neither an MSD dataset (no training list) nor an nnU-Net one",
        "Tell by a pattern which files are images.",
        "pattern",
    )


def datastore(description: Path) -> Source:
    """Reads a MONAI Label datastore: its images, with the labels that a person has submitted (tag "final").

    Raises:
        InputError: the description is damaged.
    """
    values = read_json(description)
    objects = values.get("objects") if isinstance(values, dict) else None
    if not isinstance(objects, dict):
        raise InputError(description, "describes no MONAI Label datastore: it has no objects")
    root = description.parent
    images, labels = (
        root / str(values.get(k) or default) for k, default in (("images_dir", "."), ("labels_dir", "labels"))
    )
    source = Source(str(values.get("name") or root.name), "MONAI Label datastore", str(root))
    classes: dict[int, str] = {}
    used = set()
    for id, entry in sorted(objects.items()):
        parts = entry if isinstance(entry, dict) else {}
        image = _of_datastore(images, id, parts.get("image"))
        if not os.path.exists(image):
            source.refused.append((image, "is listed but does not exist"))
            continue
        tags = parts.get("labels") if isinstance(parts.get("labels"), dict) else {}
        label = None
        for tag, said in (tags or {}).items():
            path = _of_datastore(labels / tag, id, said)
            used.add(path)
            if tag == "final":
                label = path
                classes.update(_submitted_classes(said))
            else:
                source.refused.append((path, f"is a label that nobody has submitted (tag {tag!r})"))
        used.add(image)
        source.candidates.append(Candidate(image, label, name=str(id)))
    # Names that contradict each other are left to the user.
    if len(set(classes.values())) == len(classes):
        source.classes = classes
    found = listed(root)
    source.refused += found.refused
    source.not_read = found.not_read
    source.refused += [(p, f"is not listed in {description.name}") for p in found.volumes if p not in used]
    return source


def frames_of_cases(root: Path) -> dict[str, list[int]]:
    """Returns the frames with a label of each case, from the table that M&Ms brings, in the folder or above it.

    The table has the columns "External code", "ED" and "ES", frames counted from 0 (Campello et al., IEEE TMI 2021).
    """
    for _, rows in _tables([root, root.parent, root.parent.parent]):
        if not {"External code", "ED", "ES"} <= {str(name).strip() for name in rows.fieldnames or []}:
            continue
        frames = {}
        for row in rows:
            plain = {str(k).strip(): str(v or "").strip() for k, v in row.items() if k}
            numbers = sorted({int(float(plain[k])) for k in ("ED", "ES") if re.fullmatch(r"\d+(\.0*)?", plain[k])})
            if plain["External code"] and numbers:
                frames[plain["External code"]] = numbers
        return frames
    return {}


def points_beside(root: Path) -> str:
    """Says that a table has findings as points, such as the nodules of LUNA16, where there is one; "" else.

    It may lie in the folder, in one of its own, or above (the scans are in `subset0`, `subset1`, …).
    """
    try:
        below = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        below = []
    for table, rows in _tables([root, *below, root.parent]):
        names = [str(name).strip() for name in rows.fieldnames or []]
        columns = [[n for n in names if _POINT.fullmatch(n) and n.casefold().endswith(axis)] for axis in "xyz"]
        if all(columns):
            listing = ", ".join(found[0] for found in columns)
            return (
                f"{table.name} says where findings lie, as points ({listing}), which are no label maps: to learn to segment "
                "them, draw them on some scans, or make masks of the points; to pretrain on the scans no label is needed"
            )
    return ""


def _tables(folders: Iterable[Path]) -> Iterator[tuple[Path, csv.DictReader]]:
    """Yields the tables of folders with their rows; what cannot be read is none."""
    for folder in folders:
        try:
            tables = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".csv" and not p.name.startswith("."))
        except OSError:
            continue
        for table in tables:
            try:
                with open(table, encoding="utf-8-sig", newline="", errors="replace") as file:
                    text = file.read(4_000_000)
            except OSError:
                continue
            lines = text.splitlines()
            head = lines[0] if lines else ""
            yield table, csv.DictReader(lines, delimiter=";" if head.count(";") > head.count(",") else ",")


def at_frames(candidates: list[Candidate], frames: dict[str, list[int]]) -> list[Candidate]:
    """Returns a candidate for each frame of each case that the table knows; the others as they are."""
    several: list[Candidate] = []
    for candidate in candidates:
        name = stem_of(candidate.image)
        folder = os.path.basename(os.path.dirname(candidate.image))
        code = next((c for c in (folder, name, name.rpartition("_")[0]) if c in frames), None)
        if code is None:
            several.append(candidate)
        else:
            several += [replace(candidate, frame=f, patient=candidate.patient or code) for f in frames[code]]
    return several


# MSD and nnU-Net -----------------------------------------------------------------------------------------------


def _msd(description: Path, values: dict[str, Any], frame: int | None, channel: int | None) -> Source:
    root = description.parent
    source = Source(str(values.get("name") or root.name), "MSD dataset", str(root))
    modalities = _names(description, values.get("modality", {}), "modality")
    _read_classes(source, description, values.get("labels", {}))
    source.modality = _one_modality(description, modalities, channel)
    tests = values.get("test") or []
    if not isinstance(tests, list):
        raise InputError(description, "its list of test images is no list")
    used: set[str] = set()
    further = values.get("validation")  # AMOS, and what MONAI's examples split off
    listed_ones = [*values["training"], *(further if isinstance(further, list) else []), *tests]
    for number, entry in enumerate(listed_ones):
        if isinstance(entry, str):
            entry = {"image": entry}
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            source.refused.append((f"{description} entry {number}", "names no image"))
            continue
        image, label = _listed(root, entry["image"]), entry.get("label")
        name, chosen = "", frame
        if os.path.isfile(image):
            if chosen is None and len(modalities) > 1:
                chosen = channel
        else:  # nnU-Net 1 lists cases without their channel
            folder, file = os.path.split(image)
            name = stem_of(file)
            image = os.path.join(folder, f"{name}_{channel or 0:04d}{file[len(name) :]}")
            used.update(os.path.join(folder, f"{name}_{c:04d}{file[len(name) :]}") for c in range(len(modalities)))
        if not os.path.isfile(image):
            source.refused.append((_listed(root, entry["image"]), "is listed but does not exist"))
            continue
        path = _listed(root, label) if isinstance(label, str) else None
        used.update(p for p in (image, path) if p)
        source.candidates.append(Candidate(image, path, frame=chosen, name=name))
    _count_the_rest(source, used, "volumes that dataset.json does not list")
    _compare_with_announced(source, values)
    return source


def _nnunet(description: Path, values: dict[str, Any], frame: int | None, channel: int | None) -> Source:
    root = description.parent
    name = str(values.get("name") or re.sub(r"^Dataset\d+_", "", root.name))
    source = Source(name, "nnU-Net dataset", str(root))
    channels = _names(description, values.get("channel_names", {}), "channel_names")
    _read_classes(source, description, values.get("labels", {}))
    ending = values.get("file_ending", ".nii.gz")
    if not isinstance(ending, str):
        raise InputError(description, f"file_ending is no text: {ending!r}")
    source.modality = _one_modality(description, channels, channel)
    wanted = f"_{channel or 0:04d}{ending}"
    used: set[str] = set()
    cases = values.get("dataset")
    if isinstance(cases, dict):
        for case, entry in cases.items():
            images = entry.get("images") if isinstance(entry, dict) else None
            if not isinstance(images, list) or len(images) <= (channel or 0):
                source.refused.append((f"{description} case {case}", f"lists no image of channel {channel or 0}"))
                continue
            label = entry.get("label")
            image = _listed(root, str(images[channel or 0]))
            path = _listed(root, label) if isinstance(label, str) else None
            used.update([*(_listed(root, str(i)) for i in images), *([path] if path else [])])
            source.candidates.append(Candidate(image, path, frame=frame, name=str(case)))
    labels = {} if isinstance(cases, dict) else _labels_by_case(source, root / "labelsTr", ending)
    for folder in ("imagesTr", "imagesTs"):
        if not (root / folder).is_dir():
            continue
        for path in listed(root / folder).volumes:
            relative = os.path.relpath(path, root / folder)
            if path in used:
                continue
            used.add(path)
            if not relative.endswith(ending):
                source.refused.append((path, f"does not end with {ending}"))
            elif relative.endswith(wanted):
                case = relative[: -len(wanted)]
                label = labels.pop(case, None) if folder == "imagesTr" else None
                used.update([label] if label else [])
                source.candidates.append(Candidate(path, label, frame=frame, name=case))
            elif not re.search(r"_\d{4}" + re.escape(ending) + "$", relative):
                source.refused.append((path, "has no channel number such as _0000 in its name"))
    source.refused += [(path, "is a label without an image of that name") for path in labels.values()]
    used.update(labels.values())
    _count_the_rest(source, used, "volumes that are no part of the dataset, such as labels of its test images")
    _compare_with_announced(source, values)
    return source


def _compare_with_announced(source: Source, values: dict[str, Any]) -> None:
    """Says where labelled cases are missing that the description announces: a download may have ended early."""
    announced = values.get("numTraining")
    labelled = sum(c.label is not None and os.path.isfile(c.label) for c in source.candidates)
    if isinstance(announced, int) and announced > labelled:
        told = counted(announced, "training case")
        source.notes.append(f"dataset.json announces {told}, {labelled} with image and label are here")


def _labels_by_case(source: Source, folder: Path, ending: str) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    labels: dict[str, str] = {}
    for path in listed(folder).volumes:
        relative = os.path.relpath(path, folder)
        case = relative[: -len(ending)] if relative.endswith(ending) else os.path.splitext(relative)[0]
        if case in labels:
            raise InputError(path, f"is a second label of {case}, beside {labels[case]}", "Take one of them away.")
        labels[case] = path
    return labels


def _count_the_rest(source: Source, used: set[str], what: str) -> None:
    found = listed(source.root)
    source.refused += found.refused
    source.not_read += found.not_read
    source.not_read.subtract({".json": 1})  # the description itself
    source.not_read = +source.not_read
    rest = sum(path not in used for path in found.volumes)
    if rest:
        source.not_read[what] += rest


def _listed(root: Path, path: str) -> str:
    # Windows' separators are no part of a name in any dataset.
    return encodable(os.path.normpath(os.path.join(root, path.replace("\\", "/"))))


def _names(description: Path, values: Any, what: str) -> list[str]:
    if isinstance(values, dict):
        values = list(values.values())
    if not isinstance(values, list):
        raise InputError(description, f"{what} is neither a list nor names by number")
    return [str(v) for v in values]


def _one_modality(description: Path, channels: list[str], channel: int | None) -> str:
    if len(channels) > 1 and channel is None:
        listing = ", ".join(f"{number} {name}" for number, name in enumerate(channels))
        raise InputError(description, f"has {counted(len(channels), 'channel')}: {listing}", "Choose one.", "channel")
    if channel is not None and not 0 <= channel < max(len(channels), 1):
        raise InputError(description, f"has no channel {channel}")
    return modality_of(channels[channel or 0]) if channels else ""


def _read_classes(source: Source, description: Path, labels: Any) -> None:
    """Reads {"1": "liver"} (MSD) and {"liver": 1} (nnU-Net), with nnU-Net's `ignore` and regions of several labels."""
    if not isinstance(labels, dict):
        raise InputError(description, "labels are not names by number")
    classes: dict[int, str] = {}
    regions: dict[str, list[int]] = {}
    for key, value in labels.items():
        if isinstance(value, list):
            numbers = [_number(description, str(key), v) for v in value]
            if not numbers:
                raise InputError(description, f"class {key!r} is a region of no label")
            if len(numbers) > 1:
                regions[str(key)] = numbers
                continue
            value = numbers[0]
        by_number = str(key).strip().lstrip("-").isdigit()
        name, number = (str(value), key) if by_number else (str(key), value)
        number = _number(description, name, number)
        if number > 0 and name.strip().casefold() == "ignore":
            source.ignore_value = number
        elif number > 0:
            if not name or name in classes.values() or number in classes:
                raise InputError(description, f"class {number} ({name!r}) has no name, or is there twice")
            classes[number] = name
    # A value that stands in regions only is named after the smallest of them.
    for name, numbers in sorted(regions.items(), key=lambda r: len(r[1])):
        for number in numbers:
            if number > 0 and number != source.ignore_value:
                classes.setdefault(number, f"{name} ({number})")
    if regions:
        source.notes.append(
            f"{', '.join(regions)}: regions of several labels are not learned as such; their labels are, one by one"
        )
    source.classes = classes


def _number(description: Path, name: str, number: Any) -> int:
    try:
        return int(number)
    except (TypeError, ValueError, OverflowError):
        raise InputError(description, f"class {name!r} has no number: {number!r}") from None


# MONAI Label ---------------------------------------------------------------------------------------------------


def _of_datastore(folder: Path, id: str, said: Any) -> str:
    ext = said.get("ext") if isinstance(said, dict) else ""
    return _listed(folder, f"{id}{ext or ''}")


def _submitted_classes(said: Any) -> dict[int, str]:
    info = said.get("info") if isinstance(said, dict) else None
    rows = info.get("label_info") if isinstance(info, dict) else None
    classes = {}
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get("idx"), int) and row["idx"] > 0 and row.get("name"):
            classes[row["idx"]] = str(row["name"])
    return classes
