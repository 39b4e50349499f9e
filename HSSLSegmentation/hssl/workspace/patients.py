"""Whose image it is: told by the names of files and folders, or by a pattern of the user's."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import ConfigurationError
from ..plural import with_rest
from .places import PART_OF_A_DATASET, Place

_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")
_OF_A_DATA_SET = re.compile(
    r"(?<![A-Za-z0-9])(BraTS(-[A-Z]+)+-\d{4,5}|UPENN-GBM-\d{5}|\d{3}_S_\d{4,5}|OAS1_\d{4}|OAS3\d{4}"
    r"|TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}|(train|valid)_\d+(?=_[a-z]_\d))(?![A-Za-z0-9])"
)
"""Patients of BraTS since 2023, UPENN-GBM, ADNI, OASIS, TCGA and CT-RATE, after whom numbers of visits follow."""
_CALLED_A_PATIENT = re.compile(r"(patient|pat|subject|subj|participant|case)[-_.\s]*\d+", re.IGNORECASE)
"""A folder that is called so is one patient's, whatever lies in it."""
_NUMBERED = re.compile(r"(.*(patient|pat|subject|subj|sub|participant)[-_.\s]?\d+)[-_.\s]+\d{1,4}", re.IGNORECASE)
_LONG_NUMBER = re.compile(r".*(?<!\d)(?!(19|20)\d\d$)\d{3,}")
_MOST_OF_ONE = 8
"""A folder with more names than that is not taken for a patient's."""
_MODALITY = r"(ct|cta|cbct|pt|pet|mr|mri)"
_SEQUENCE = rf"t1[a-z]*|t2[a-z]*|flair|adc|dwi|{_MODALITY}"
_OF_ONE_PATIENT = re.compile(
    r"(frame|time|tp|timepoint|visit|ses|session|phase|echo|t)?[-_.\s]*\d{1,3}"
    rf"|ed|es|left|right|lt|rt|l|r|pre|post|baseline|follow-?_?up\d*|4d|sa|la|{_SEQUENCE}",
    re.IGNORECASE,
)
"""What may follow a patient's name in those of several images: a frame, end of diastole or systole, side, visit or
sequence."""
_OF_A_NUMBER = re.compile(
    rf"(v|scan|exam|study|day|week|month|year)[-_.\s]*\d{{1,3}}|{_MODALITY}\d{{1,2}}", re.IGNORECASE
)
"""What may follow a patient's number or side only (`0001_V1`): scans of several patients are called `ct_scan1`, too."""
_VISIT = re.compile(
    r"(frame|time|tp|timepoint|visit|v|ses|session|phase|echo|t|scan|exam|study|day|week|month|year)[-_.\s]*\d{1,3}"
    r"|(visit|session|scan|exam|study)[-_.\s]*[a-z]"
    r"|((ct|pt|pet|mr)[-_.\s]*)?(19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d.*|[01]\d-[0-3]\d-(19|20)\d\d.*"
    r"|ed|es|left|right|pre|post|baseline|follow-?_?up\d*"
    r"|data|orig|original|raw|native|preproc|preprocessed|processed|registered|anat|nifti|nii|dicom"
    r"|resampled|resliced|cropped|full|normali[sz]ed|n4|bias-?_?corrected|denoised|defaced|skull-?_?stripped"
    rf"|{_SEQUENCE}|{_MODALITY}\d{{1,2}}",
    re.IGNORECASE,
)
"""Folders of a visit (a date, too), side, sequence or form, which several patients have."""
_CASE = re.compile(
    r"(case|cases|patient|pat|pt|p|subject|subj|participant|control|id|c|s|nr|no)[-_.\s]*\d+", re.IGNORECASE
)
"""What is called so is a case of its own."""
_DATED = re.compile(r"(.*[^\W_].*?)[-_.\s]+(19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d", re.DOTALL)
_SLICE = re.compile(r"(.*[^\W_].*?)[-_.\s]+(slice|sl|z)[-_.\s]*\d+", re.IGNORECASE | re.DOTALL)
_LETTERED = re.compile(r"(.*\d)[-_.\s]?[a-d]", re.IGNORECASE | re.DOTALL)


def patients_of(places: Sequence[Place], pattern: str = "") -> list[str]:
    """Returns the patient of each image; "" where nothing tells that it is not the patient's only one.

    With a pattern: the part of the relative path that stands for `{patient}`. Without, the rule is cautious, because
    images that are taken for one patient's never come apart in a split:

    - a folder or name with BIDS's `sub-…`, or with a patient's name as ADNI, BraTS, CT-RATE, OASIS, TCGA and UPENN-GBM have it;
    - a folder that is called a patient (`patient12`, `case_7`), whatever lies in it;
    - a name that begins with the name of its folder and goes on in a way that is no bare number, as the names of other
      folders do (`patient001/patient001_frame01`, `BraTS-0001/BraTS-0001-t1c`); a bare number, too, where the folder's
      name ends in one of three digits or more (`10005/10005_1000006`);
    - folders that hold the same few names, which are no bare numbers (`p1/ct`, `p1/mr`, `p2/ct`, …), unless a folder is
      called as a part of a dataset is (`train`, `fold0`, `siteA`, …), or its files are called cases (`Rome/patient1`);
    - a folder of a visit, side or sequence belongs to the patient whose folder it is in (`p1/visit1/ct`, `p1/visit2/ct`);
      at the top, the files of one name are one patient's (`baseline/p1`, `followup/p1`);
    - names in a folder that differ in known endings only: a frame, ED or ES, left or right, a visit, a slice; a number
      after `patient12`; a date or a letter behind a number (`12a`, `12b`) where there are several beginnings.

    Args:
        places: the images of one source.
        pattern: such as "{patient}_*", for the name, or "{patient}/*", for the path below the source; a pattern without
            {patient} is the name of one patient who has them all.

    Raises:
        ConfigurationError: the pattern has {patient} twice, or fits no image.
    """
    if pattern:
        return _by_pattern(places, pattern)
    found = ["" for _ in places]
    for number, place in enumerate(places):
        parts = (*place.folders, place.stem)
        told = (m for part in parts if (m := _SUBJECT.match(part) or _OF_A_DATA_SET.search(part)))
        found[number] = next((m[0] for m in told), "")
    open_ones = [n for n, name in enumerate(found) if not name]
    _by_folder(places, open_ones, found)
    _by_ending(places, [n for n in open_ones if not found[n]], found)
    return found


def _by_pattern(places: Sequence[Place], pattern: str) -> list[str]:
    if "{patient}" not in pattern:
        return [pattern for _ in places]
    if pattern.count("{patient}") > 1:
        raise ConfigurationError(f"pattern {pattern!r} must contain {{patient}} once")
    text = re.escape(pattern).replace(re.escape("{patient}"), "(?P<patient>[^/]+?)").replace(re.escape("*"), ".*")
    expression = re.compile(text)
    found = []
    for place in places:
        path = "/".join((*place.folders, place.stem))
        names = (path, place.relative) if "/" in pattern else (place.stem, place.relative.rsplit("/", 1)[-1])
        fits = next((m for name in names if (m := expression.fullmatch(name))), None)
        found.append(fits["patient"] if fits else "")
    if places and not any(found):
        raise ConfigurationError(f"the pattern {pattern!r} of the patients fits no image, such as {places[0].relative}")
    return found


def _by_folder(places: Sequence[Place], chosen: Sequence[int], found: list[str]) -> None:
    """Folders of one patient each, which the names in them tell; folders of visits lie in them, or hold them all."""
    owners = {n: _owner(places[n].where) for n in chosen if places[n].where}
    by_name: dict[str, list[int]] = defaultdict(list)
    for n, owner in owners.items():
        if not owner:
            by_name[places[n].stem.casefold()].append(n)
    for members in by_name.values():
        if len({places[n].where for n in members}) > 1:
            for n in members:
                found[n] = places[members[0]].stem
    rests: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for n, owner in owners.items():
        if owner and not PART_OF_A_DATASET.fullmatch(owner[-1]):
            rests[places[n].where].append(_after(places[n].stem.casefold(), owner[-1]))
    count = Counter(rest for many in rests.values() for rest in set(many))
    several = {owners[n] for n in chosen if owners.get(n)}
    same = _same_parts(several)
    for n in chosen:
        place = places[n]
        many = rests.get(place.where, [])
        called = bool(many) and _CALLED_A_PATIENT.fullmatch(owners[n][-1])
        if not called and (len(rests) < 2 or not many or not _are_one_patients(place, owners[n][-1], many, count)):
            continue
        own = place.parents[: len(owners[n])]
        found[n] = "_".join(part for k, part in enumerate(own) if k not in same) or own[-1]


def _are_one_patients(place: Place, owner: str, many: Sequence[str], count: Mapping[str, int]) -> bool:
    """Tells whether the names in a folder, after its own, are those of one patient's images.

    Args:
        count: in how many folders each of them stands.
    """
    if len(set(many)) != len(many) or len(many) > _MOST_OF_ONE:
        return False
    if _CASE.fullmatch(place.stem) and not _CASE.fullmatch(owner):
        return False
    if place.stem.casefold().startswith(owner) and _LONG_NUMBER.fullmatch(owner):
        return True
    # Each of its few names stands in another folder, too.
    return all(count[rest] > 1 and not rest.strip("-_. ").isdigit() for rest in many)


def _owner(where: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the folders down to the one that is called a patient; else without the innermost ones that are called as a
    visit, side or sequence of a patient is."""
    for depth, folder in enumerate(where, 1):
        if _CALLED_A_PATIENT.fullmatch(folder):
            return where[:depth]
    while where and _VISIT.fullmatch(where[-1]):
        where = where[:-1]
    return where


def _same_parts(paths: set[tuple[str, ...]]) -> set[int]:
    if len({len(path) for path in paths}) != 1:
        return set()
    return {k for k, parts in enumerate(zip(*paths, strict=True)) if len(set(parts)) == 1}


def _after(name: str, start: str) -> str:
    return name[len(start) :] if name.startswith(start) else name


def _by_ending(places: Sequence[Place], chosen: Sequence[int], found: list[str]) -> None:
    """Names in one folder that differ in the ending only."""
    begun: dict[tuple[tuple[str, ...], str], list[int]] = defaultdict(list)
    for n in chosen:
        beginning = _without_endings(places[n].stem)
        if beginning != places[n].stem:
            begun[places[n].where, beginning].append(n)
    for (_, name), members in begun.items():
        if len(members) > 1:
            for n in members:
                found[n] = name
    for pattern, alone in ((_SLICE, True), (_NUMBERED, True), (_DATED, False), (_LETTERED, False)):
        same: dict[tuple[tuple[str, ...], str], list[int]] = defaultdict(list)
        for n in chosen:
            if not found[n] and (fits := pattern.fullmatch(places[n].stem)):
                same[places[n].where, fits[1]].append(n)
        # `scan_20210304` and `scan_20210305` may be anybody's.
        for (_, name), numbers in same.items() if alone or len(same) > 1 else ():
            if len(numbers) > 1:
                for n in numbers:
                    found[n] = name


def _without_endings(name: str) -> str:
    """Returns the beginning of a name before whatever tells a patient's images apart; a bare number does not."""
    words = re.split(r"(?<=[^-_.\s])[-_.\s]+", name)
    while len(words) > 1:
        for count in (2, 1):  # `visit_1`, `visit1`
            ending, before = " ".join(words[-count:]), words[:-count]
            if not before or (count == 2 and not words[-1].isdigit()) or ending.isdigit():
                continue
            numbered = before[-1][-1:].isdigit() or (len(before) > 1 and _OF_ONE_PATIENT.fullmatch(before[-1]))
            if _OF_ONE_PATIENT.fullmatch(ending) or (numbered and _OF_A_NUMBER.fullmatch(ending)):
                name, words = name[: name.rindex(words[-count])], before
                break
        else:
            break
        name = name.rstrip("-_. ")
    return name


@dataclass(frozen=True)
class Whose:
    """Whose the images are: for each its patient ("": one of its own), its name, and whether a header told the patient."""

    images: list[tuple[str, str, bool]]

    @property
    def several(self) -> dict[str, list[str]]:
        """The patients of several images, with the names of these."""
        found: dict[str, list[str]] = {}
        for patient, name, _ in self.images:
            if patient:
                found.setdefault(patient, []).append(name)
        return {patient: names for patient, names in found.items() if len(names) > 1}

    @property
    def count(self) -> int:
        """How many patients there are."""
        return len({patient for patient, _, _ in self.images if patient}) + sum(not p for p, _, _ in self.images)

    def lines(self) -> list[str]:
        """For people: who has several images, which stay together in every split."""
        several = self.several
        if not several:
            return []
        shown = [f"{patient} ({with_rest(names, 4)})" for patient, names in list(several.items())[:3]]
        more = f", and {len(several) - 3} more" if len(several) > 3 else ""
        line = f"images of one patient stay together: {', '.join(shown)}{more}"
        if len(self.images) > 2 and self.count == 1 and self.images[0][2]:
            line += "; all have the same PatientID, as anonymised images often do: say whose they are, if it is wrong"
        return [line]
