"""What a training has seen, as its model carries it: hashes that tell whether an image or a patient was among it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..files import sha256_of
from .catalogue import Catalogue, Image

SEEN = "seen"
"""Key of a model's provenance; a start's provenance lies within that of what was trained from it."""


def seen_images(catalogue: Catalogue, ids: Iterable[str]) -> dict[str, list[str]]:
    """Returns what to carry with a model: hashes of the images' content and of their patients, in no order of theirs.

    Neither names nor ids of patients can be read from it.

    Args:
        ids: of the images that the training read.
    """
    images = [catalogue.image(id) for id in ids]
    return {
        "images": sorted({image.content for image in images if image.content}),
        "patients": sorted({_patient(image) for image in images if image.patient}),
    }


def also_seen(provenance: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Adds to a provenance what a run had seen before it was stopped: images may have left the workspace since."""
    own, earlier = provenance[SEEN], before.get(SEEN, {})
    provenance[SEEN] = {kind: sorted({*own[kind], *earlier.get(kind, [])}) for kind in own}


def seen_by(provenance: Mapping[str, Any] | None, images: Iterable[Image]) -> list[Image]:
    """Returns those of the images that a training, or any that it started from, has seen, or whose patient it has.

    Args:
        provenance: of the model; of starts before there was this list, nothing can be told.
    """
    found = list(_lists(provenance))
    contents = {content for one in found for content in one.get("images", [])}
    patients = {patient for one in found for patient in one.get("patients", [])}
    return [i for i in images if i.content in contents or (i.patient and _patient(i) in patients)]


def labels_seen_by(provenance: Mapping[str, Any] | None, images: Iterable[Image]) -> list[Image]:
    """As `seen_by`, of trainings that learned from labels alone: a pretraining that looked at images does not count."""
    learned = []
    for level in with_starts(provenance):
        configuration = level.get("configuration")
        made = configuration if isinstance(configuration, Mapping) else {}
        if made.get("kind") == "finetune" or made.get("with_labels"):
            learned.append({SEEN: level.get(SEEN)})
    return seen_by({str(number): one for number, one in enumerate(learned)}, images)


def contents_seen(provenance: Mapping[str, Any] | None, contents: Iterable[str]) -> list[str]:
    """As `seen_by`, of images of which only the content is known (see `workspace.identity.content_of`)."""
    known = {content for one in _lists(provenance) for content in one.get("images", [])}
    return [content for content in contents if content in known]


def with_starts(provenance: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Returns a model's provenance and, after it, those of the models that it learned from: starts and teachers."""
    levels: list[Any] = [provenance]
    for level in levels:
        if isinstance(level, Mapping):
            levels += [level.get("pretraining"), level.get("started_from"), level.get("teacher")]
    return [level for level in levels if isinstance(level, Mapping)]


def without_seen(value: Any) -> Any:
    """Returns a provenance without these lists, for people to read."""
    if not isinstance(value, Mapping):
        return value
    return {key: without_seen(inner) for key, inner in value.items() if key != SEEN}


def _patient(image: Image) -> str:
    # Names such as "p1" are given in every data set, so that a patient is one of its task.
    return sha256_of([image.task, image.patient])[:24]


def _lists(provenance: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(provenance, Mapping):
        return
    for key, value in provenance.items():
        if key == SEEN and isinstance(value, Mapping):
            yield value
        else:
            yield from _lists(value)
