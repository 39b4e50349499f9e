"""Where a volume lies below the folder that was searched, and what the words of its path say of it."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..imaging.formats import stem_of

LABEL_WORDS = frozenset(
    (
        *("label", "labels", "lbl", "lbls", "labelmap", "labelmaps", "mask", "masks", "msk", "dseg", "roi", "rois"),
        *("seg", "segs", "segmentation", "segmentations", "annotation", "annotations", "contour", "contours"),
        *("gt", "gts", "groundtruth", "truth", "structures"),
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

_OF_MR = frozenset(("t1", "t2", "flair"))
MODALITY_WORDS = {
    **dict.fromkeys(("ct", "cta", "cbct"), frozenset(("ct",))),
    **dict.fromkeys(("pet", "pt"), frozenset(("pet",))),
    **dict.fromkeys(("mr", "mri"), _OF_MR),
    **dict.fromkeys(("t1", "t1w"), frozenset(("t1",))),
    **dict.fromkeys(("t2", "t2w"), frozenset(("t2",))),
    "flair": frozenset(("flair",)),
}
"""Words that an image's name may have where its label's has none (`ct_01` and `seg_01`), each with what it may mean."""

PART_OF_A_DATASET = re.compile(
    r"(?!data$)(tr|ts|va|vs|train|training|test|testing|val|valid|validation|(un)?label+ed|fold|split|batch|part|data|dataset"
    r"|site|center|centre|hospital|clinic|institute|institution|scanner|vendor|manufacturer|cohort|domain|country)s?"
    r"[-_.\s]*(\d*|[a-z])",
    re.IGNORECASE,
)
"""Folders that hold a part of the cases, whose names may stand in each part, and are no patient's."""

SEPARATORS = re.compile(r"[-_.\s]+")
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
        return next((role for role in map(role_of, reversed(self.folders)) if role), "")

    @cached_property
    def is_of_both(self) -> bool:
        """Whether a folder says that it has images with or without labels."""
        return any(word in OF_IMAGES_AND_LABELS for folder in self.folders for word, _ in _folder_words(folder))

    @cached_property
    def may_be_label(self) -> bool:
        """Whether the name has a word of labels in it; it is one when there is an image to it."""
        return any(word in NAME_WORDS for word in words_of(self.stem))

    @cached_property
    def where(self) -> tuple[str, ...]:
        """The folders without the words that tell images from labels, in small letters."""
        return tuple(map(folded, self.parents))

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """The folders without the words that tell images from labels."""
        return tuple(rest for rest in map(_without_role, self.folders) if rest)

    @cached_property
    def plain(self) -> str:
        """The name in small letters with one kind of separator."""
        return "_".join(words_of(self.stem))

    @cached_property
    def case(self) -> str:
        """The name without the words that tell images from labels; "" where it has no others."""
        return "_".join(w for w in words_of(self.stem) if w not in NAME_WORDS and w not in IMAGE_WORDS)

    @cached_property
    def core(self) -> str:
        """The name without those words and without its modality."""
        words = [w for w in words_of(self.stem) if w not in NAME_WORDS | IMAGE_WORDS | MODALITY_WORDS.keys()]
        return "_".join(words)

    @cached_property
    def unmarked(self) -> str:
        """The name without the words of labels."""
        return "_".join(w for w in words_of(self.stem) if w not in NAME_WORDS)

    def is_of_another(self, image: Place) -> bool:
        """Whether a label's name says that it is not this image's: it differs in a number or in its modality only.

        Example:
            >>> label = Place("p1/visit2_seg.nii", ("p1",), "visit2_seg")
            >>> label.is_of_another(Place("p1/visit1.nii", ("p1",), "visit1"))
            True
        """
        if self._modalities and image._modalities and not self._modalities & image._modalities:
            return True
        shape, numbers = _numbered(self.core)
        channel = _CHANNEL.fullmatch(image.core)
        alike = [n for s, n in map(_numbered, [image.core, *(channel.groups() if channel else ())]) if s == shape]
        return bool(alike) and numbers not in alike

    @cached_property
    def _modalities(self) -> frozenset[str]:
        return frozenset().union(*(MODALITY_WORDS.get(word, ()) for word in words_of(self.stem)))

    @cached_property
    def without_channel(self) -> str:
        """The name without nnU-Net's channel, such as _0000."""
        fits = _CHANNEL.fullmatch(self.plain)
        return fits[1] if fits else self.plain


def normalized(text: str) -> str:
    """Returns a name with each accented letter as one character, of which macOS makes two."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """Returns a name as it is compared: normalized, in small letters."""
    return normalized(text).casefold()


def words_of(name: str) -> list[str]:
    """Returns the words of a name in small letters; `image0001` are two."""
    words = []
    for part in SEPARATORS.split(folded(name)):
        fits = _WORD_AND_NUMBER.fullmatch(part)  # image0001, label0001
        if fits and (fits[1] in LABEL_WORDS or fits[1] in IMAGE_WORDS):
            words += [fits[1], fits[2]]
        elif part:
            words.append(part)
    return words


def _numbered(name: str) -> tuple[str, list[int]]:
    """Returns a name with a mark for each number in it, and the numbers."""
    return re.sub(r"\d+", "#", name), [int(n) for n in re.findall(r"\d+", name)]


def _folder_words(name: str) -> list[tuple[str, str]]:
    """Returns the words of a folder's name, each with what follows it as part of a split (`imagesTr`: images, tr)."""
    words = []
    for word in words_of(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name) if not name.isupper() else name):
        fits = _PART_OF_A_SPLIT.fullmatch(word)
        if fits and (fits[1] in LABEL_WORDS or fits[1] in IMAGE_WORDS):
            words.append((fits[1], fits[2]))
        else:
            words.append((word, ""))
    return words


def role_of(folder: str) -> str:
    """Returns "image" or "label" where a folder's name says so, else ""."""
    words = [word for word, _ in _folder_words(folder)]
    label = any(w in LABEL_WORDS for w in words) or words in (["ground", "truth"], ["derivatives"])
    image = any(w in IMAGE_WORDS for w in words)
    return "" if label == image else "label" if label else "image"


def _without_role(folder: str) -> str:
    if not role_of(folder):
        return folder
    words = _folder_words(folder)
    kept = [part or "" if w in LABEL_WORDS or w in IMAGE_WORDS else w for w, part in words]
    kept = [] if [w for w, _ in words] in (["ground", "truth"], ["derivatives"]) else kept
    return "_".join(w for w in kept if w)
