"""Several labels of one image: which are the masks of its structures, and what these are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .places import NAME_WORDS, PART_OF_A_DATASET, SEPARATORS, Place, folded, words_of

_NO_STRUCTURE = re.compile(
    r"(readers?|raters?|observers?|annotators?|experts?|users?|operators?|version|ver|rev|copy|session|fold|r|v)\d*"
    r"|\d+|[a-z]|manual|auto|automatic|corrected|edited|final|draft|old|new|orig|original|backup|bak|tmp"
    r"|staple|majority|maj|consensus|aggregated|pred|preds|prediction|predictions|predicted|output|result|results|ai|model|nnunet"
)
"""Words that tell who made a label, how, or which of several it is."""
_MOST = 12
"""More names than that are those of the labels, not of what they label."""


def structure_of(label: Place, image: Place) -> str:
    """Returns what a label's path says beyond the image's and beyond that it is a label; "" where it says nothing.

    Example:
        >>> image = Place("case1.nii.gz", (), "case1")
        >>> structure_of(Place("labels/case1_Liver_mask.nii.gz", ("labels",), "case1_Liver_mask"), image)
        'Liver'
        >>> structure_of(Place("labels/liver/case1.nii.gz", ("labels", "liver"), "case1"), image)
        'liver'
    """
    of_image = {*words_of(image.stem), *image.where, image.plain, image.case}
    parts = [folder for folder in label.parents if folded(folder) not in of_image]
    parts += [w for w in SEPARATORS.split(label.stem) if w and folded(w) not in {*of_image, *NAME_WORDS}]
    return "_".join(parts)


def are_structures(names: Mapping[str, Sequence[str]]) -> bool:
    """Tells whether the labels of images are masks of different structures, and not several readings of the same.

    Args:
        names: for each image those of its labels (`structure_of`).

    They are when each image has a name only once, no two of them differ in a number only (`lesion1`, `lesion2`), none
    tells a reader or a version, and, of two images and more, most names stand at more than one.
    """
    for of_image in names.values():
        numbered = [re.sub(r"\d+", "", folded(name)) for name in of_image]
        if not all(of_image) or len(set(numbered)) < len(of_image):
            return False
        if any(_NO_STRUCTURE.fullmatch(word) for name in of_image for word in words_of(name)):
            return False
    if len(names) < 2:
        return True
    every = [folded(name) for of_image in names.values() for name in of_image]
    again = sum(every.count(name) > 1 for name in set(every))
    return 2 * again >= len(set(every))


def maybe_structures(names: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the different names of labels of which each image has one only, where they may be those of structures.

    Args:
        names: as in `are_structures`.

    Example:
        >>> maybe_structures({"p1": ["liver"], "p2": ["spleen"], "p3": ["liver_v2"]})
        ['liver', 'spleen']
    """
    found: dict[str, str] = {}
    for name in (name for of_image in names.values() for name in of_image):
        words = [*words_of(name), name]
        if name and not any(_NO_STRUCTURE.fullmatch(w) or PART_OF_A_DATASET.fullmatch(w) for w in words):
            found.setdefault(folded(name), name)
    return sorted(found.values()) if 1 < len(found) <= _MOST else []
