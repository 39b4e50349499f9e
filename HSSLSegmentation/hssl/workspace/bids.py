"""BIDS: images of subjects, and their labels among the derivatives, matched by entities (bids.neuroimaging.io)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from ..errors import InputError
from ..plural import counted, shortened
from .pairing import Pairing
from .places import Place

LABEL_SUFFIXES = frozenset(["dseg", "mask", "seg", "roi", "msk", "label", "labels"])
_PROBABILITIES = frozenset(["probseg"])
_NAME = re.compile(r"sub-[A-Za-z0-9]+(_[A-Za-z0-9]+-[A-Za-z0-9.+]+)*(_[A-Za-z0-9]+)+")
_OF_THE_LABEL = frozenset(["space", "label", "desc", "seg", "atlas", "res", "den", "hemi"])
"""Entities that say something of a label, not of the image that it belongs to."""


def is_bids(places: Sequence[Place]) -> bool:
    """Tells whether the volumes are named as BIDS wants it: in folders of subjects, with entities and a suffix."""
    named = [p for p in places if _NAME.fullmatch(p.stem) and any(f.startswith("sub-") for f in p.folders)]
    return bool(named) and 2 * len(named) > len(places)


def pair_bids(places: Sequence[Place], chosen: Sequence[Place] | None = None) -> Pairing:
    """Gives each image the label of the same subject, session, run, …; a label may name its image's suffix.

    A label in the space of an image is that one's (`space-MNI152NLin2009cAsym`, or none), before any in another space.

    Args:
        places: everything that was found.
        chosen: the images, where they were chosen by hand: derivatives may be among them (fMRIPrep's preprocessed
            scans), and several of them may share a label.

    Raises:
        InputError: an image has two labels, or a label may belong to several images; both are named.
    """
    result = Pairing()
    images, labels = [], []
    by_hand = dict.fromkeys(chosen or ())
    for place in places:
        suffixes = _suffixes(place)
        derived = "derivatives" in (f.casefold() for f in place.folders) or "_desc-" in place.stem
        if place in by_hand:
            images.append(place)
        elif suffixes and suffixes[-1] in LABEL_SUFFIXES:
            labels.append(place)
        elif chosen is not None:
            continue  # that it was not chosen is no news
        elif suffixes and suffixes[-1] in _PROBABILITIES:
            result.unused.append((place.path, "is a map of probabilities, no label map"))
        elif derived:
            result.unused.append((place.path, "is a derivative, and no label"))
        else:
            images.append(place)
    by_session: dict[tuple[str | None, str | None], list[Place]] = defaultdict(list)
    by_subject: dict[str | None, list[Place]] = defaultdict(list)
    for image in images:
        by_session[_session(image)].append(image)
        by_subject[_session(image)[0]].append(image)
    given: dict[str, list[Place]] = defaultdict(list)
    for label in labels:
        fitting = [i for i in by_session[_session(label)] if _same_scan(label, i)]
        fitting = [i for i in fitting if _space(i) == _space(label)] or fitting
        named = [i for i in fitting if _suffixes(i) and _suffixes(i)[-1] in _hints(label)]
        fitting = named or fitting
        if not fitting:
            reason = "is a label without an image of that subject"
            if others := by_subject[_session(label)[0]]:
                listing = shortened((i.relative for i in others), 2)
                reason = f"is a label that fits no image of its subject by its name (there: {listing})"
            result.unused.append((label.path, reason))
        elif len(fitting) > 1 and chosen is None:
            listing = shortened((i.relative for i in fitting), 4)
            pattern = "{id}_" + (_suffixes(fitting[0]) or ["T1w"])[-1] + ".nii.gz"
            raise InputError(
                label.path,
                f"may be the label of each of {counted(len(fitting), 'image')}: {listing}",
                f"Choose the images by a pattern, such as {pattern!r}.",
                "pattern",
            )
        for image in fitting:
            given[image.path].append(label)
    for image in images:
        there = given[image.path]
        own = [label for label in there if _space(label) == _space(image)] or there
        result.unused += [
            (x.path, "is in another space than its image, which has a label") for x in there if x not in own
        ]
        if len(own) > 1:
            raise InputError(
                image.path,
                f"has two labels: {own[0].path} and {own[1].path}",
                "Choose the labels by a pattern.",
                "label_pattern",
            )
        if own:
            result.labels[image.path] = own[0].path
    result.images = images
    return result


def _entities(place: Place) -> dict[str, str]:
    parts = [part.partition("-") for part in place.stem.split("_") if "-" in part]
    return {key: value for key, _, value in parts}


def _suffixes(place: Place) -> list[str]:
    return [part for part in place.stem.split("_") if part and "-" not in part]


def _hints(label: Place) -> set[str]:
    return {*_suffixes(label)[:-1], _entities(label).get("space", ""), _entities(label).get("orig", "")}


def _session(place: Place) -> tuple[str | None, str | None]:
    entities = _entities(place)
    return entities.get("sub"), entities.get("ses")


def _space(place: Place) -> str:
    return _entities(place).get("space", "")


def _same_scan(label: Place, image: Place) -> bool:
    """Tells whether a label and an image of the same session are of the same scan."""
    one, other = _entities(label), _entities(image)
    same = all(_plain(other.get(key)) == _plain(value) for key, value in one.items() if key not in _OF_THE_LABEL)
    return same and not label.is_of_another(image)


def _plain(value: str | None) -> str | None:
    """Returns a value as it is compared: an index may be padded (`run-1` and `run-01`)."""
    return value.lstrip("0") if value and value.isdigit() else value
