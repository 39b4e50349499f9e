"""Which files of a folder are labels, and whose: by their places and names relative to the folder, never by name alone."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..errors import InputError
from ..imaging.formats import stem_of

LABEL_WORDS = frozenset(
    (
        *("label", "labels", "lbl", "lbls", "labelmap", "labelmaps", "mask", "masks", "msk", "dseg", "roi", "rois"),
        *("seg", "segs", "segmentation", "segmentations", "annotation", "annotations", "contour", "contours"),
        *("gt", "gts", "groundtruth", "truth"),
    )
)
"""Words of a file's or folder's name that tell labels (KiTS segmentation, ACDC _gt, SKI10 labels-, BIDS _dseg, …)."""

NAME_WORDS = LABEL_WORDS | {"lab", "segm"}
"""Words that tell labels in the name of a file, which needs an image to be one; a folder may be called so for itself."""

IMAGE_WORDS = frozenset(
    (
        *("image", "images", "img", "imgs", "imaging", "volume", "volumes", "vol", "vols", "scan", "scans"),
        "rawdata",
    )
)
"""Words that tell images (KiTS imaging, LiTS volume-, SKI10 image-, …)."""

OF_IMAGES_AND_LABELS = frozenset(("labelled", "labeled", "unlabelled", "unlabeled"))
"""Words of folders that have images, and perhaps their labels beside them (M&Ms)."""

MODALITY_WORDS = frozenset(("ct", "cta", "cbct", "mr", "mri", "pet", "pt", "t1", "t2", "flair", "t1w", "t2w"))
"""Words that an image's name may have where its label's has none (`ct_01` and `seg_01`)."""

_SEPARATORS = re.compile(r"[-_.\s]+")
_WORD_AND_NUMBER = re.compile(r"([^\W\d]+)(\d+)")
_PART_OF_A_SPLIT = re.compile(r"(.*?)(tr|ts|va|vs|train|test|val)")
_CHANNEL = re.compile(r"(.+)_\d{4}")


@dataclass(frozen=True)
class Place:
    """A volume, or the folder of a DICOM series, by its path below the folder that was searched."""

    path: str
    folders: tuple[str, ...]
    stem: str

    @classmethod
    def of(cls, path: str, root: str | Path) -> Place:
        """Returns the place of a path below `root`."""
        *folders, name = os.path.relpath(path, root).split(os.sep)
        return cls(path, tuple(folders), stem_of(name))

    @property
    def relative(self) -> str:
        """The path below the folder, with forward slashes."""
        return "/".join((*self.folders, os.path.basename(self.path)))

    @cached_property
    def role(self) -> str:
        """ "image" or "label" where a folder says so (the innermost one that does), else ""."""
        return next((role for role in map(_role, reversed(self.folders)) if role), "")

    @cached_property
    def is_of_both(self) -> bool:
        """Whether a folder says that it has images with or without labels."""
        return any(word in OF_IMAGES_AND_LABELS for folder in self.folders for word, _ in _folder_words(folder))

    @cached_property
    def may_be_label(self) -> bool:
        """Whether the name has a word of labels in it; it is one when there is an image to it."""
        return any(word in NAME_WORDS for word in _words(self.stem))

    @cached_property
    def where(self) -> tuple[str, ...]:
        """The folders without the words that tell images from labels, in small letters."""
        return tuple(folder.casefold() for folder in self.parents)

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """The folders without the words that tell images from labels."""
        return tuple(rest for rest in map(_without_role, self.folders) if rest)

    @cached_property
    def plain(self) -> str:
        """The name in small letters with one kind of separator."""
        return "_".join(_words(self.stem))

    @cached_property
    def case(self) -> str:
        """The name without the words that tell images from labels; "" where it has no others."""
        return "_".join(w for w in _words(self.stem) if w not in NAME_WORDS and w not in IMAGE_WORDS)

    @cached_property
    def core(self) -> str:
        """The name without those words and without its modality."""
        words = [w for w in _words(self.stem) if w not in NAME_WORDS | IMAGE_WORDS | MODALITY_WORDS]
        return "_".join(words)

    @cached_property
    def unmarked(self) -> str:
        """The name without the words of labels."""
        return "_".join(w for w in _words(self.stem) if w not in NAME_WORDS)

    @cached_property
    def without_channel(self) -> str:
        """The name without nnU-Net's channel, such as _0000."""
        fits = _CHANNEL.fullmatch(self.plain)
        return fits[1] if fits else self.plain


@dataclass
class Pairing:
    """Which images there are, with which label each."""

    images: list[Place] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    """The label's path by the image's: a file, or a folder with a mask for each class."""
    masks: list[str] = field(default_factory=list)
    """Names of the classes where the labels are folders of masks."""
    unused: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of what is neither."""


def pair(places: Sequence[Place], labels: Sequence[Place] | None = None, chosen: bool = False) -> Pairing:
    """Tells images from labels and gives each image its label.

    What is tried, in this order, and always below the same folders (apart from words such as `images` and `labels`):
    the same name; the same name without words such as `_seg`, `image-`, or a channel's number; a label named after the
    beginning of an image's name (`case-seg` and `case-t1c`); the only label of a folder and its only image. Where none
    fits, one path may end with the other's folders (`images/site/a` and `labels/a`), if only one does.

    Args:
        places: everything that was found.
        labels: the labels, where it is known which they are; all `places` are images then.
        chosen: the images were chosen by hand, so that several of them may share a label.

    Raises:
        InputError: an image has two labels, or it cannot be told which of several images a label belongs to; both are
            named.
    """
    result = Pairing()
    if labels is None:
        sure = [p for p in places if p.role == "label"]
        rest = [p for p in places if p.role != "label"]
        maybe = [p for p in rest if p.may_be_label]
        images = [p for p in rest if not p.may_be_label]
        if any(p.role == "image" for p in rest):
            outside = {p.path for p in rest if not (p.role or p.is_of_both)}
            result.unused += [(path, "lies outside the folders of images and labels") for path in sorted(outside)]
            images, maybe = ([p for p in many if p.path not in outside] for many in (images, maybe))
    else:
        sure, maybe, images = list(labels), [], list(places)
    _match(result, images, maybe, chosen)
    paired = set(result.labels.values())
    # A name alone makes no label: without an image it is looked at as one (and its content says what it is).
    images = sorted([*images, *(p for p in maybe if p.path not in paired)], key=lambda p: p.path)
    sure = _take_folders_of_masks(result, images, sure)
    _match(result, images, sure, chosen)
    paired = set(result.labels.values())
    result.images = images
    result.unused += [(p.path, "is a label without an image of that name") for p in sure if p.path not in paired]
    return result


def _take_folders_of_masks(result: Pairing, images: Sequence[Place], labels: list[Place]) -> list[Place]:
    """Pairs folders with one mask a class (TotalSegmentator) with the only image beside them; returns the rest."""
    by_folder: dict[str, list[Place]] = defaultdict(list)
    for label in labels:
        if label.folders and _role(label.folders[-1]) == "label":
            by_folder[os.path.dirname(label.path)].append(label)
    beside: dict[tuple[str, ...], list[Place]] = defaultdict(list)
    for image in images:
        beside[image.where].append(image)
    known = {(i.where, name) for i in images for name in (i.plain, i.case, i.without_channel)}
    fitting: dict[str, Place] = {}
    count: Counter[str] = Counter()
    for folder, masks in by_folder.items():
        owners = beside.get(masks[0].where, [])
        own = any(not m.case or (m.where, name) in known for m in masks for name in (m.plain, m.case))
        if len(owners) == 1 and not own:
            fitting[folder] = owners[0]
            count.update(m.stem for m in masks)
    # The names are structures when the next case has them, too.
    again = sum(n > 1 for n in count.values()) * 2 >= len(count)
    if not any(len(by_folder[folder]) > 1 for folder in fitting) or (len(beside) > 1 and not again):
        return labels
    taken: set[str] = set()
    names: set[str] = set()
    for folder, image in fitting.items():
        if image.path in result.labels:
            _two_labels(image, result.labels[image.path], folder)
        result.labels[image.path] = folder
        names.update(m.stem for m in by_folder[folder])
        taken.update(m.path for m in by_folder[folder])
    result.masks = sorted(names)
    return [p for p in labels if p.path not in taken]


def _match(result: Pairing, images: Sequence[Place], labels: Sequence[Place], chosen: bool) -> None:
    left = list(labels)
    steps: list[tuple[Callable[[Place], str], Callable[[Place], str]]] = [
        (lambda p: p.stem, lambda p: p.stem),
        (lambda p: p.plain, lambda p: p.plain),
        (lambda p: p.unmarked, lambda p: p.plain),
        (lambda p: p.case, lambda p: p.case),
        (lambda p: p.plain, lambda p: p.without_channel),
        (lambda p: p.case, lambda p: p.without_channel),
        (lambda p: p.core, lambda p: p.core),
    ]
    for of_label, of_image in steps:
        index = _indexed(images, lambda p, name=of_image: (p.where, name(p)))  # type: ignore[misc]
        left = [p for p in left if not _give(result, p, index.get((p.where, of_label(p)), []), False)]
    # The folder of a DICOM series is a case whose label may lie in it or beside it: `p1/` and `p1/seg.nii.gz`.
    index = _indexed(images, lambda p: (*p.where, p.stem.casefold()))
    left = [p for p in left if p.case or not _give(result, p, index.get(p.where, []), False)]
    index = _indexed(images, lambda p: p.where)
    left = [p for p in left if not _give(result, p, _beginning_with(p, index.get(p.where, [])), chosen)]
    left = _give_by_the_end_of_the_path(result, images, left)
    _give_the_only_ones(result, images, left)


def _beginning_with(label: Place, images: Iterable[Place]) -> list[Place]:
    """Images whose name goes on where the label's ends (`case-t1c`, `case-seg`), or the other way round."""
    if not label.may_be_label:
        return []
    of_label = [i for i in images if not label.unmarked or i.plain.startswith(label.unmarked + "_")]
    return of_label or [i for i in images if label.unmarked.startswith(i.plain + "_")]


def _give_by_the_end_of_the_path(result: Pairing, images: Sequence[Place], left: list[Place]) -> list[Place]:
    index = _indexed(images, lambda p: p.plain)
    cases = _indexed(images, lambda p: p.case)
    rest = []
    for label in left:
        for names, name in ((index, label.plain), (index, label.unmarked), (cases, label.case)):
            fitting = [i for i in names.get(name, []) if _one_ends_with_the_other(i.where, label.where)] if name else []
            if _give(result, label, fitting, False):
                break
        else:
            rest.append(label)
    return rest


def _give_the_only_ones(result: Pairing, images: Sequence[Place], left: Sequence[Place]) -> None:
    free = _indexed([i for i in images if i.path not in result.labels], lambda p: p.where)
    everybody = _indexed(images, lambda p: p.where)
    alone = _indexed([p for p in left if p.role == "label" or p.may_be_label], lambda p: p.where)
    for where, labels in alone.items():
        # At the top there is no folder of a case: two files are no pair because they are two.
        if where and len(labels) == 1 and len(free.get(where, [])) == len(everybody.get(where, [])) == 1:
            _give(result, labels[0], free[where], False)


def _give(result: Pairing, label: Place, images: Sequence[Place], share: bool) -> bool:
    images = [i for i in images if i.path != label.path]
    if not images:
        return False
    if len(images) > 1 and not share:
        names = ", ".join(i.relative for i in images[:4]) + (", …" if len(images) > 4 else "")
        raise InputError(
            label.path,
            f"may be the label of each of {len(images)} images: {names}",
            f"Choose the images by a pattern, such as {_pattern_for(images[0], label)!r}.",
            "pattern",
        )
    for image in images:
        if image.path in result.labels:
            _two_labels(image, result.labels[image.path], label.path)
        result.labels[image.path] = label.path
    return True


def _two_labels(image: Place, one: str, other: str) -> None:
    raise InputError(
        image.path, f"has two labels: {one} and {other}", "Choose the labels by a pattern.", "label_pattern"
    )


def _pattern_for(image: Place, label: Place) -> str:
    suffix = os.path.basename(image.path)[len(image.stem) :]
    start = label.unmarked
    if start and image.plain.startswith(start):
        return "{id}" + image.stem[len(start) :] + suffix
    return "{id}/" + image.stem + suffix if image.folders else image.stem + suffix


def _indexed(places: Iterable[Place], key: Callable[[Place], object]) -> dict[object, list[Place]]:
    index: dict[object, list[Place]] = defaultdict(list)
    for place in places:
        index[key(place)].append(place)
    return index


def _one_ends_with_the_other(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return not shorter or longer[-len(shorter) :] == shorter


def _words(name: str) -> list[str]:
    words = []
    for part in _SEPARATORS.split(name.casefold()):
        fits = _WORD_AND_NUMBER.fullmatch(part)  # image0001, label0001
        if fits and (fits[1] in LABEL_WORDS or fits[1] in IMAGE_WORDS):
            words += [fits[1], fits[2]]
        elif part:
            words.append(part)
    return words


def _folder_words(name: str) -> list[tuple[str, str]]:
    """Returns the words of a folder's name, each with what follows it as part of a split (`imagesTr`: images, tr)."""
    words = []
    for word in _words(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name) if not name.isupper() else name):
        fits = _PART_OF_A_SPLIT.fullmatch(word)
        if fits and (fits[1] in LABEL_WORDS or fits[1] in IMAGE_WORDS):
            words.append((fits[1], fits[2]))
        else:
            words.append((word, ""))
    return words


def _role(folder: str) -> str:
    words = [word for word, _ in _folder_words(folder)]
    label = any(w in LABEL_WORDS for w in words) or words in (["ground", "truth"], ["derivatives"])
    image = any(w in IMAGE_WORDS for w in words)
    return "" if label == image else "label" if label else "image"


def _without_role(folder: str) -> str:
    if not _role(folder):
        return folder
    words = _folder_words(folder)
    kept = [part or "" if w in LABEL_WORDS or w in IMAGE_WORDS else w for w, part in words]
    kept = [] if [w for w, _ in words] in (["ground", "truth"], ["derivatives"]) else kept
    return "_".join(w for w in kept if w)
