"""Which files of a folder are labels, and whose: by their places and names relative to the folder, never by name alone."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..errors import InputError
from ..plural import counted, shortened
from .places import PART_OF_A_DATASET, Place, folded, role_of, words_of
from .structure_names import are_structures, maybe_structures, structure_of


@dataclass
class Pairing:
    """Which images there are, with which label each."""

    images: list[Place] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    """The label's path by the image's: a file, or a folder with a mask for each class."""
    parts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """The files of a label that has one for each structure, each with the structure's name, by the image's path."""
    masks: list[str] = field(default_factory=list)
    """Names of the classes where there is a mask for each."""
    given: dict[str, list[Place]] = field(default_factory=dict)
    """All labels that fit an image, by its path."""
    unused: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of what is neither."""
    notes: list[str] = field(default_factory=list)
    """What the user should know of how the labels were taken."""


def pair(places: Sequence[Place], labels: Sequence[Place] | None = None, chosen: bool = False) -> Pairing:
    """Tells images from labels and gives each image its label.

    What is tried, in this order, and always below the same folders (apart from words such as `images` and `labels`):
    the same name; the same name without words such as `_seg`, `image-`, or a channel's number; a label named after the
    beginning of an image's name (`case-seg` and `case-t1c`); the only label of a folder and its only image. Where none
    fits, one path may end with the other's folders (`images/site/a` and `labels/a`), if only one does, and a label may be
    named after a folder that holds only one image (`case/ct` and `labels/case`). No label is given to
    an image whose name differs in its numbers or its modality only: it is that of another. Several labels of
    an image are one where their names are those of structures (`a_liver_mask` and `a_spleen_mask`).

    Args:
        places: everything that was found.
        labels: the labels, where it is known which they are; all `places` are images then.
        chosen: the images were chosen by hand, so that several of them may share a label.

    Raises:
        InputError: an image has two labels, or it cannot be told which of several images a label belongs to; both are
            named.
    """
    if labels is None and places and all(p.role == "label" for p in places):
        # CT-ORG lies in a folder OrganSegmentations: a folder that all of them are in tells none from another.
        shared = len(os.path.commonprefix([p.folders for p in places]))
        inner = pair([replace(p, folders=p.folders[shared:]) for p in places]) if shared else Pairing()
        if inner.labels:
            return inner
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
    paired = {place.path for many in result.given.values() for place in many}
    # A name alone makes no label: without an image it is looked at as one (and its content says what it is).
    images = sorted([*images, *(p for p in maybe if p.path not in paired)], key=lambda p: p.path)
    sure = _take_folders_of_masks(result, images, sure)
    _match(result, images, sure, chosen)
    _join_structures(result, images)
    paired = {*result.labels.values(), *(path for parts in result.parts.values() for path, _ in parts)}
    result.images = images
    alone = [p for p in sure if p.path not in paired]
    result.unused += zip((p.path for p in alone), _why_alone(alone, images), strict=True)
    return result


def _why_alone(labels: Sequence[Place], images: Sequence[Place]) -> list[str]:
    """Returns why each of the labels has no image: none has its name, or it lies where nobody can tell that it is the image's."""
    by_name, by_channel = _indexed(images, lambda p: p.plain), _indexed(images, lambda p: p.without_channel)
    by_where = _indexed(images, lambda p: p.where)
    inside = _by_folder(images)
    reasons = []
    for label in labels:
        beside = by_where.get(label.where, [])
        there = by_name.get(label.plain) or by_name.get(label.unmarked) or by_channel.get(label.plain) or []
        folder = "/".join(label.folders)
        if not there and len(beside) == 1 and label.is_of_another(beside[0]):
            reasons.append(
                f"is called as a label of another image than {beside[0].relative}; if it is its label, say so by a pattern"
            )
        elif not there and len(beside) == 1 and label.where:
            reasons.append(
                f"has the folder of {beside[0].relative} and not its name; if its own is that of a structure, say so by "
                "a pattern of labels with {structure}"
            )
        elif not there and (within := _in_folder_of(label, inside)):
            listing = shortened((i.relative for i in within), 3)
            reasons.append(
                f"is called after a folder of {counted(len(within), 'image')} ({listing}); say by a pattern which files are "
                "images, with {id} for that folder"
            )
        elif not there:
            reasons.append("is a label without an image of that name")
        elif len(there) > 1 or not folder:
            listing = shortened((i.relative for i in there), 3)
            reasons.append(f"has a name of images in other folders ({listing}); say by a pattern of labels whose it is")
        else:
            reasons.append(
                f"has the name of {there[0].relative}, in a folder to which its own does not belong by its name; if it is "
                f"the label of that, say that the labels are in {folder}"
            )
    return reasons


def _take_folders_of_masks(result: Pairing, images: Sequence[Place], labels: list[Place]) -> list[Place]:
    """Pairs folders with one mask a class (TotalSegmentator) with the only image beside them; returns the rest."""
    by_folder: dict[str, list[Place]] = defaultdict(list)
    for label in labels:
        if label.folders and role_of(label.folders[-1]) == "label":
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
        own = own or any(m.plain.startswith(image.plain + "_") for m in masks for image in owners)
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
        rest = []
        for label in left:
            fitting = [i for i in index.get((label.where, of_label(label)), []) if not label.is_of_another(i)]
            rest += [] if _give(result, label, fitting, False) else [label]
        left = rest
    # The folder of a DICOM series is a case whose label may lie in it or beside it: `p1/` and `p1/seg.nii.gz`.
    index = _indexed(images, lambda p: (*p.where, p.stem.casefold()))
    left = [p for p in left if p.case or not _give(result, p, index.get(p.where, []), False)]
    index = _indexed(images, lambda p: p.where)
    left = [p for p in left if not _give(result, p, _beginning_with(p, index.get(p.where, [])), chosen)]
    left = _give_by_the_end_of_the_path(result, images, left)
    left = _give_by_the_folder(result, images, left)
    left = _give_the_only_ones(result, images, left)
    _give_structures(result, images, left)


def _beginning_with(label: Place, images: Iterable[Place]) -> list[Place]:
    """Images whose name goes on where the label's ends (`case-t1c`, `case-seg`), or the other way round."""
    if not label.may_be_label:
        return []
    of_label = [i for i in images if not label.unmarked or i.plain.startswith(label.unmarked + "_")]
    return of_label or [i for i in images if label.unmarked.startswith(i.plain + "_")]


def _give_by_the_end_of_the_path(result: Pairing, images: Sequence[Place], left: list[Place]) -> list[Place]:
    index = _indexed(images, lambda p: p.plain)
    cases = _indexed(images, lambda p: p.case)
    channels = _indexed(images, lambda p: p.without_channel)
    rest = []
    for label in left:
        names_of = ((index, label.plain), (index, label.unmarked), (cases, label.case))
        for names, name in (*names_of, (channels, label.plain), (channels, label.case)):
            fitting = [i for i in names.get(name, []) if _one_ends_with_the_other(i.where, label.where)] if name else []
            if _give(result, label, fitting, False):
                break
        else:
            rest.append(label)
    return rest


def _give_by_the_folder(result: Pairing, images: Sequence[Place], left: list[Place]) -> list[Place]:
    """Gives labels that are named after a folder its only image: `p1/CT/`, a DICOM series, and `p1.seg.nrrd`."""
    inside, before = _by_folder(images), {*result.labels}
    rest = []
    for label in left:
        fitting = _in_folder_of(label, inside)
        free = len(fitting) == 1 and fitting[0].path not in before
        rest += [] if free and _give(result, label, fitting, False) else [label]
    return rest


def _by_folder(images: Iterable[Place]) -> dict[str, list[tuple[tuple[str, ...], Place]]]:
    """Images by the name of each folder that they lie in, with the folders above that one."""
    inside: dict[str, list[tuple[tuple[str, ...], Place]]] = defaultdict(list)
    for image in images:
        for depth, folder in enumerate(image.where):
            inside["_".join(words_of(folder))].append((image.where[:depth], image))
    return inside


def _in_folder_of(label: Place, inside: dict[str, list[tuple[tuple[str, ...], Place]]]) -> list[Place]:
    found = next((inside[name] for name in (label.plain, label.unmarked, label.case) if name and name in inside), [])
    return [image for above, image in found if _one_ends_with_the_other(above, label.where)]


def _give_the_only_ones(result: Pairing, images: Sequence[Place], left: Sequence[Place]) -> list[Place]:
    free = _indexed([i for i in images if i.path not in result.labels], lambda p: p.where)
    everybody = _indexed(images, lambda p: p.where)
    alone = _indexed([p for p in left if p.role == "label" or p.may_be_label], lambda p: p.where)
    for where, labels in alone.items():
        # At the top, or in a part of a data set, there is no folder of a case: two files are no pair because they are two.
        label = labels[0]
        of_cases = not label.where or (label.case and PART_OF_A_DATASET.fullmatch(label.where[-1]))
        if not of_cases and len(labels) == 1 and len(free.get(where, [])) == len(everybody.get(where, [])) == 1:
            _give(result, label, [i for i in free[where] if not label.is_of_another(i)], False)
    given = {place.path for many in result.given.values() for place in many}
    return [p for p in left if p.path not in given]


def _give_structures(result: Pairing, images: Sequence[Place], left: Sequence[Place]) -> None:
    """Gives masks of structures to their image: they are named after it, or lie in a folder that is its own."""
    by_name = _indexed(images, lambda p: (p.where, p.plain))
    by_folder = _indexed(images, lambda p: p.where)
    owners: dict[str, list[Place]] = defaultdict(list)
    places = {image.path: image for image in images}
    for label in left:
        fitting = [i for i in by_folder.get(label.where, []) if label.plain.startswith(i.plain + "_")]
        fitting = sorted(fitting, key=lambda i: -len(i.plain))[:1]
        if not fitting and label.where:
            fitting = by_name.get((label.where[:-1], "_".join(words_of(label.where[-1]))), [])
            fitting = fitting or by_folder.get(label.where, [])
        if len(fitting) == 1 and fitting[0].path not in result.labels:
            owners[fitting[0].path].append(label)
    names = {path: [structure_of(label, places[path]) for label in labels] for path, labels in owners.items()}
    if any(len(many) > 1 for many in names.values()) and are_structures(names):
        for path, labels in owners.items():
            for label in labels:
                _give(result, label, [places[path]], False)


def _join_structures(result: Pairing, images: Sequence[Place]) -> None:
    """Makes one label of several of an image that are the masks of its structures.

    Raises:
        InputError: they are not.
    """
    several = {path: labels for path, labels in result.given.items() if len(labels) > 1}
    places = {image.path: image for image in images}
    names = {p: [structure_of(label, places[p]) for label in labels] for p, labels in result.given.items()}
    if not several:
        of_values = {p: names[p] for p, labels in result.given.items() if not labels[0].stem.endswith(".seg")}
        if called := maybe_structures(of_values):
            result.notes.append(
                f"the labels of different images are called differently ({', '.join(called)}), and a value is the same class "
                "in all of them: if these are structures, say so by a pattern of labels with {structure}"
            )
        return
    if not are_structures({path: names[path] for path in several}):
        path, labels = next(iter(several.items()))
        _two_labels(places[path], labels[0].path, labels[1].path)
    known = {folded(name): name for path in several for name in names[path]}
    for path, labels in result.given.items():
        if all(folded(name) in known for name in names[path]):
            result.parts[path] = [(x.path, known[folded(n)]) for x, n in zip(labels, names[path], strict=True)]
        elif path in result.labels:
            result.unused.append((labels[0].path, "names no structure, and the labels of other images do"))
            del result.labels[path]
    result.masks = sorted({*result.masks, *known.values()})


def _give(result: Pairing, label: Place, images: Sequence[Place], share: bool) -> bool:
    images = [i for i in images if i.path != label.path]
    if not images:
        return False
    if len(images) > 1 and not share:
        names = shortened((i.relative for i in images), 4)
        pattern = _pattern_for(images[0], label)
        raise InputError(
            label.path,
            f"may be the label of each of {counted(len(images), 'image')}: {names}",
            f"Choose the images by a pattern, such as {pattern!r}." if pattern else "Name it after its image.",
            "pattern" if pattern else "",
        )
    for image in images:
        if image.path in result.labels and image.path not in result.given:
            _two_labels(image, result.labels[image.path], label.path)
        result.labels.setdefault(image.path, label.path)
        result.given.setdefault(image.path, []).append(label)
    return True


def _two_labels(image: Place, one: str, other: str) -> None:
    raise InputError(
        image.path,
        f"has two labels: {one} and {other}",
        "Choose one by a pattern, or say that each is the mask of a structure, as in '{id}_{structure}.nii.gz'.",
        "label_pattern",
    )


def _pattern_for(image: Place, label: Place) -> str:
    """Returns a pattern that takes this image and those of other cases that are named alike; "" where there is none."""
    suffix = os.path.basename(image.path)[len(image.stem) :]
    start = label.unmarked
    if start and image.plain.startswith(start):
        return "{id}" + image.stem[len(start) :] + suffix
    if not image.folders:
        return ""
    own = [number for number, folder in enumerate(image.folders) if not role_of(folder)] or [0]
    folders = [
        "{id}" if number == own[0] else "*" if number in own else folder for number, folder in enumerate(image.folders)
    ]
    return "/".join([*folders, image.stem + suffix])


def _indexed(places: Iterable[Place], key: Callable[[Place], object]) -> dict[object, list[Place]]:
    index: dict[object, list[Place]] = defaultdict(list)
    for place in places:
        index[key(place)].append(place)
    return index


def _one_ends_with_the_other(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return not shorter or longer[-len(shorter) :] == shorter
