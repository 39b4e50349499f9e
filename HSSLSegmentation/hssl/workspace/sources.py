"""Where images come from: folders of volumes, DICOM trees, MSD and nnU-Net datasets; each image with its label."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, InputError, encodable
from ..files import read_json
from ..imaging.formats import VOLUME_SUFFIXES, is_dicom, stem_of

IMAGE_FOLDERS = ("images", "imagestr", "imagests", "images_unlabelled", "images_unlabeled", "unlabelled", "unlabeled")
LABEL_FOLDERS = ("labels", "labelstr", "masks", "segmentations")
LABEL_ENDINGS = ("_label", "_labels", "_seg", "_mask", "_segmentation", "-label", "-seg", "-mask", ".seg")

_OTHER_SUFFIXES = (".json", ".csv", ".txt", ".md", ".xml", ".pdf", ".png", ".jpg", ".zip", ".raw", ".zraw", ".bval")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a scan is to look at. Paths are absolute."""

    image: str
    """A file, or a folder with DICOM series in it."""
    label: str | None = None
    series: str | None = None
    """None for a folder: every series in it."""
    frame: int | None = None
    name: str = ""
    """Of the case, where the file's name does not tell it."""


@dataclass
class Source:
    """The candidates of one folder or dataset, and what it says about the task."""

    name: str
    kind: str
    """"folder", "MSD dataset" or "nnU-Net dataset"."""
    candidates: list[Candidate] = field(default_factory=list)
    modality: str = ""
    classes: dict[int, str] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of what cannot even be a candidate."""


def find(
    path: str | Path,
    labels: str | Path | None = None,
    pattern: str = "",
    label_pattern: str = "",
    frame: int | None = None,
    channel: int | None = None,
) -> Source:
    """Finds the images of a source and their labels; what kind of source it is, is seen from its files.

    Args:
        path: a volume, a folder, or the `dataset.json` of an MSD or nnU-Net dataset.
        labels: a folder with the label maps, where they lie elsewhere.
        pattern: relative paths of the images, such as "{id}_ct.nii.gz" or "{id}/ct.nii.gz"; `*` stands for anything.
        label_pattern: relative path of the label of an image with that id, such as "{id}_seg.nii.gz".
        frame: the volume to take of files that have several, counted from 0.
        channel: the channel to take of a dataset that has several, counted from 0.

    Raises:
        InputError: the path does not exist, or its dataset.json is damaged or is no dataset.
        ConfigurationError: the options do not fit together or the source.
    """
    path = Path(path).expanduser().absolute()
    if encodable(str(path)) != str(path):
        raise InputError(path, "has a name that is not UTF-8", "Rename it.")
    if not os.path.exists(path):
        raise InputError(path, "does not exist")
    if labels is not None and not Path(labels).expanduser().is_dir():
        raise InputError(labels, "is not a folder of labels")
    for text in filter(None, (pattern, label_pattern)):
        if text.count("{id}") != 1:
            raise ConfigurationError(f"pattern {text!r} must contain {{id}} once")
    description = path / "dataset.json" if path.is_dir() else path
    if description.name == "dataset.json" and description.is_file() and not pattern:
        return _dataset(description, frame, channel)
    if channel is not None:
        raise ConfigurationError(
            "a channel belongs to MSD and nnU-Net datasets", "Choose a frame of a 4D file.", "frame"
        )
    if path.is_file():
        label = None
        if labels is not None:
            label = _by_stem(_walk(Path(labels).expanduser().absolute(), [])).get(stem_of(path.name))
        return Source(stem_of(path.name), "file", [Candidate(str(path), label, frame=frame)])
    return _folder(path, labels, pattern, label_pattern, frame)


# Folders -------------------------------------------------------------------------------------------------------


def _folder(path: Path, labels: str | Path | None, pattern: str, label_pattern: str, frame: int | None) -> Source:
    source = Source(path.name, "folder")
    found = list(_walk(path, source.refused))
    if pattern:
        _pair_by_pattern(source, path, found, labels, pattern, label_pattern, frame)
        return source
    if labels is None and not label_pattern:
        inner = {p[len(str(path)) + 1 :].split(os.sep)[0].lower() for p in found if os.sep in p[len(str(path)) + 1 :]}
        if inner & set(IMAGE_FOLDERS):
            _pair_by_folders(source, path, found, frame)
        else:
            _pair_by_ending(source, found, frame)
        return source
    if label_pattern:
        _pair_by_pattern(source, path, found, labels, "", label_pattern, frame)
        return source
    folder = Path(labels or "").expanduser().absolute()
    there = _by_stem(_walk(folder, source.refused))
    inside = str(folder) + os.sep
    _pair(source, [p for p in found if not p.startswith(inside)], there, frame)
    return source


def _pair_by_folders(source: Source, root: Path, found: list[str], frame: int | None) -> None:
    images, labels = [], []
    for path in found:
        first = path[len(str(root)) + 1 :].split(os.sep)[0].lower()
        if first in LABEL_FOLDERS:
            labels.append(path)
        elif first in IMAGE_FOLDERS:
            images.append(path)
    _pair(source, images, _by_stem(labels), frame)


def _pair_by_ending(source: Source, found: list[str], frame: int | None) -> None:
    stems = {os.path.join(os.path.dirname(p), stem_of(os.path.basename(p))) for p in found}
    images, labels = [], {}
    for path in found:
        folder, name = os.path.split(path)
        stem = stem_of(name)
        of = next((stem[: -len(e)] for e in LABEL_ENDINGS if stem.lower().endswith(e)), None)
        if of and os.path.join(folder, of) in stems:
            labels[os.path.join(folder, of)] = path
        else:
            images.append(path)
    for path in images:
        folder, name = os.path.split(path)
        source.candidates.append(Candidate(path, labels.get(os.path.join(folder, stem_of(name))), frame=frame))


def _pair_by_pattern(
    source: Source,
    root: Path,
    found: list[str],
    labels: str | Path | None,
    pattern: str,
    label_pattern: str,
    frame: int | None,
) -> None:
    folder = Path(labels).expanduser().absolute() if labels is not None else root
    match, match_label = _expression(pattern), _expression(label_pattern)
    there = {}
    if label_pattern or labels is not None:
        for path in found if folder == root else _walk(folder, source.refused):
            relative = path[len(str(folder)) + 1 :].replace(os.sep, "/")
            fits = match_label.fullmatch(relative)
            if fits and label_pattern:
                there[fits["id"]] = path
            elif not label_pattern:
                there[stem_of(os.path.basename(path))] = path
    taken = set(there.values())
    used = set()
    for path in found:
        relative = path[len(str(root)) + 1 :].replace(os.sep, "/")
        fits = match.fullmatch(relative)
        if not fits or path in taken:
            continue
        key = fits["id"] if pattern else stem_of(os.path.basename(path))
        label = there.get(key)
        used.add(key)
        source.candidates.append(Candidate(path, label, frame=frame, name=key))
    _refuse_unused(source, {k: v for k, v in there.items() if k not in used})
    if not source.candidates:
        raise InputError(root, f"has no file that fits the pattern {pattern or '*'!r}")


def _pair(source: Source, images: list[str], labels: dict[str, str], frame: int | None) -> None:
    used = set()
    for path in images:
        stem = stem_of(os.path.basename(path))
        used.add(stem)
        source.candidates.append(Candidate(path, labels.get(stem), frame=frame))
    _refuse_unused(source, {k: v for k, v in labels.items() if k not in used})


def _refuse_unused(source: Source, labels: dict[str, str]) -> None:
    source.refused.extend((path, "is a label without an image of that name") for path in labels.values())


def _by_stem(paths: Iterator[str] | list[str]) -> dict[str, str]:
    return {stem_of(os.path.basename(p)): p for p in paths}


def _expression(pattern: str) -> re.Pattern[str]:
    if not pattern:
        return re.compile(r"(?P<id>.*)")
    text = re.escape(pattern).replace(re.escape("{id}"), "(?P<id>[^/]+?)").replace(re.escape("*"), "[^/]*")
    return re.compile(text)


def _walk(root: Path, refused: list[tuple[str, str]]) -> Iterator[str]:
    """Yields volumes, and folders that hold DICOM files, in the order of their names; each folder is entered once."""
    waiting, seen = [str(root)], set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError as error:
            refused.append((folder, f"cannot be read: {error.strerror or error}"))
            continue
        if folder != str(root) and any(e.name == "dataset.json" and _is_workspace(e.path) for e in entries):
            continue
        below, others = [], []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if encodable(entry.path) != entry.path:
                refused.append((encodable(entry.path), "has a name that is not UTF-8; rename it"))
                continue
            try:
                lower = entry.name.lower()
                if entry.is_dir():
                    below.append(entry.path)
                elif lower.endswith(VOLUME_SUFFIXES):
                    if entry.is_file():
                        yield entry.path
                    else:
                        refused.append((entry.path, "is a link to nothing, or no regular file"))
                elif not lower.endswith(_OTHER_SUFFIXES) and entry.is_file():
                    others.append(entry.path)
            except OSError as error:
                refused.append((entry.path, f"cannot be read: {error.strerror or error}"))
        if any(is_dicom(path) for path in others):
            yield folder
        waiting.extend(reversed(below))


def _is_workspace(description: str) -> bool:
    try:
        values = read_json(description)
    except InputError:
        return False
    return isinstance(values, dict) and "schema" in values and "images" in values


# Datasets ------------------------------------------------------------------------------------------------------


def _dataset(description: Path, frame: int | None, channel: int | None) -> Source:
    values = read_json(description)
    if not isinstance(values, dict):
        raise InputError(description, "is not the description of a dataset")
    if "schema" in values and "images" in values:
        raise InputError(description, "is a workspace of HSSL, not a source of images")
    if "channel_names" in values or "file_ending" in values:
        return _nnunet(description, values, frame, channel)
    if isinstance(values.get("training"), list):
        return _msd(description, values, frame, channel)
    raise InputError(description, "describes neither an MSD dataset (no training list) nor an nnU-Net one")


def _msd(description: Path, values: dict[str, Any], frame: int | None, channel: int | None) -> Source:
    source = Source(str(values.get("name") or description.parent.name), "MSD dataset")
    modalities = _names(description, values.get("modality", {}), "modality")
    source.classes = _classes(description, values.get("labels", {}))
    source.modality = _one_modality(description, modalities, channel)
    if frame is None and len(modalities) > 1:
        frame = channel
    listed = values.get("test") or []
    if not isinstance(listed, list):
        raise InputError(description, "its list of test images is no list")
    for number, entry in enumerate([*values["training"], *listed]):
        if isinstance(entry, str):
            entry = {"image": entry}
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            source.refused.append((f"{description} entry {number}", "names no image"))
            continue
        image, label = _listed(description.parent, entry["image"]), entry.get("label")
        if not os.path.isfile(image):  # nnU-Net 1 lists cases without their channel
            folder, name = os.path.split(image)
            suffix = name[len(stem_of(name)) :]
            image = os.path.join(folder, f"{stem_of(name)}_{channel or 0:04d}{suffix}")
        if not os.path.isfile(image):
            source.refused.append((_listed(description.parent, entry["image"]), "is listed but does not exist"))
            continue
        path = _listed(description.parent, label) if isinstance(label, str) else None
        source.candidates.append(Candidate(image, path, frame=frame))
    return source


def _nnunet(description: Path, values: dict[str, Any], frame: int | None, channel: int | None) -> Source:
    root = description.parent
    source = Source(str(values.get("name") or re.sub(r"^Dataset\d+_", "", root.name)), "nnU-Net dataset")
    channels = _names(description, values.get("channel_names", {}), "channel_names")
    source.classes = _classes(description, values.get("labels", {}))
    ending = values.get("file_ending", ".nii.gz")
    if not isinstance(ending, str):
        raise InputError(description, f"file_ending is no text: {ending!r}")
    source.modality = _one_modality(description, channels, channel)
    wanted = f"_{channel or 0:04d}{ending}"
    if isinstance(values.get("dataset"), dict):
        listed = [
            (case, [str(p) for p in entry["images"]], entry.get("label"))
            for case, entry in values["dataset"].items()
            if isinstance(entry, dict) and isinstance(entry.get("images"), list)
        ]
        for case, images, label in listed:
            if len(images) <= (channel or 0):
                source.refused.append((f"{description} case {case}", f"lists no image of channel {channel or 0}"))
                continue
            path = _listed(root, label) if isinstance(label, str) else None
            source.candidates.append(Candidate(_listed(root, images[channel or 0]), path, frame=frame, name=case))
    labelled = _by_stem(_walk(root / "labelsTr", source.refused)) if (root / "labelsTr").is_dir() else {}
    used = set()
    for folder in ("imagesTr", "imagesTs"):
        if not (root / folder).is_dir():
            continue
        for path in _walk(root / folder, source.refused):
            name = os.path.basename(path)
            if not name.endswith(ending):
                source.refused.append((path, f"does not end with {ending}"))
            elif name.endswith(wanted):
                case = name[: -len(wanted)]
                used.add(case)
                source.candidates.append(
                    Candidate(path, labelled.get(case) if folder == "imagesTr" else None, frame=frame, name=case)
                )
            elif not re.search(r"_\d{4}" + re.escape(ending) + "$", name):
                source.refused.append((path, "has no channel number such as _0000 in its name"))
    _refuse_unused(source, {k: v for k, v in labelled.items() if k not in used and "dataset" not in values})
    return source


def _listed(root: Path, path: str) -> str:
    return encodable(os.path.normpath(os.path.join(root, path)))


def _names(description: Path, values: Any, what: str) -> list[str]:
    if isinstance(values, dict):
        values = list(values.values())
    if not isinstance(values, list):
        raise InputError(description, f"{what} is neither a list nor names by number")
    return [str(v) for v in values]


def _one_modality(description: Path, channels: list[str], channel: int | None) -> str:
    if len(channels) > 1 and channel is None:
        listed = ", ".join(f"{number} {name}" for number, name in enumerate(channels))
        raise InputError(description, f"has {len(channels)} channels: {listed}", "Choose one.", "channel")
    if channel is not None and not 0 <= channel < max(len(channels), 1):
        raise InputError(description, f"has no channel {channel}")
    return modality_of(channels[channel or 0]) if channels else ""


def modality_of(text: str) -> str:
    """Returns "CT" or "MR" for the many ways of writing them, anything else as it is."""
    upper = text.strip().upper()
    if upper in ("CT", "CTA", "CBCT"):
        return "CT"
    if upper.startswith(("MR", "T1", "T2", "FLAIR", "ADC", "DWI", "LGE", "CINE")):
        return "MR"
    return text.strip()


def _classes(description: Path, labels: Any) -> dict[int, str]:
    """Reads {"1": "liver"} (MSD) and {"liver": 1} (nnU-Net); regions and the background are no classes of ours."""
    if not isinstance(labels, dict):
        raise InputError(description, "labels are not names by number")
    classes: dict[int, str] = {}
    for key, value in labels.items():
        if isinstance(value, list):
            raise InputError(description, f"class {key!r} is a region of several labels, which is not supported")
        number, name = (key, value) if str(key).strip().lstrip("-").isdigit() else (value, key)
        try:
            number = int(number)
        except (TypeError, ValueError, OverflowError):
            raise InputError(description, f"class {name!r} has no number: {number!r}") from None
        if number > 0:
            if not str(name) or str(name) in classes.values() or number in classes:
                raise InputError(description, f"class {number} ({name!r}) has no name, or is there twice")
            classes[number] = str(name)
    return classes
