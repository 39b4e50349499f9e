"""Wrong labels: some of a set's labels are spoiled in known ways, and it is measured how soon the check finds them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import binary_dilation, binary_erosion

from hssl.configuration import CheckLabelsConfig
from hssl.demo.scans import generate
from hssl.files import read_json, write_json
from hssl.imaging.labels import read_label_map
from hssl.imaging.volumes import write_volume
from hssl.jobs.check_labels import check_labels
from hssl.workspace import scan, sources
from hssl.workspace.catalogue import Catalogue, LabelClass, Task
from hssl.workspace.check import check_workspace

CASES, SPOILED, LOOKED_AT = 40, 5, 8
"""Labels, spoiled ones among them, and how many of the most doubtful ones a person looks at."""
PHANTOMS = "liver_spleen_ct"
REAL = "msd_hippocampus"
SOURCES = {PHANTOMS: ("CT", ["liver", "spleen"]), REAL: ("MR", ["anterior", "posterior"])}
"""Modality and classes of each."""

Spoil = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""Takes a label in z, y, x order with x from right to left, another case's label, and what is drawn by chance."""


def shifted(label: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moves it by 2 or 3 voxels along both axes of the slice."""
    steps = rng.choice([-3, -2, 2, 3], 2)
    moved = np.zeros_like(label)
    into = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(steps, label.shape[1:], strict=True))
    out_of = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(steps, label.shape[1:], strict=True))
    moved[:, *into] = label[:, *out_of]
    return moved


def mirrored(label: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Takes left for right."""
    return label[..., ::-1]


def resized(label: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Takes a voxel off the surface of every structure, or adds one, in all three directions."""
    grown = rng.random() < 0.5
    new = np.zeros_like(label)
    for value in np.unique(label[label > 0]):
        mask = label == value
        new[binary_dilation(mask) & (label == 0) | mask if grown else binary_erosion(mask)] = value
    return new


def exchanged(label: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gives two structures each other's class."""
    first, second = rng.choice(np.unique(label[label > 0]), 2, replace=False)
    new = label.copy()
    new[label == first], new[label == second] = second, first
    return new


def of_another(label: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Takes another case's label, middle on middle."""
    new = np.zeros_like(label)
    both = [min(a, b) for a, b in zip(label.shape, other.shape, strict=True)]
    into, out_of = (
        tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(one.shape, both, strict=True))
        for one in (label, other)
    )
    new[into] = other[out_of]
    return new


def missing(label: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Forgets a structure."""
    return np.where(label == rng.choice(np.unique(label[label > 0])), 0, label)


WAYS: dict[str, Spoil] = {
    "shifted by 2–3 voxels": shifted,
    "left for right": mirrored,
    "a voxel too large or too small": resized,
    "two classes exchanged": exchanged,
    "another case's label": of_another,
    "a structure missing": missing,
}


def checked(data: Path | None, folder: Path, source: str, seed: int, recipe: dict[str, Any]) -> dict[str, Any]:
    """Returns the rank of each spoiled label, from what is there already or by spoiling and checking.

    Args:
        data: folder of the real sources.
        folder: for workspaces and results.
        source: one of `SOURCES`.
        seed: draws the cases, which of them are spoiled and how, and seeds the check.
        recipe: further fields of the check's `FinetuneConfig`.
    """
    workspace = folder / f"wrong-labels-{source}-{seed}"
    if not (workspace / "spoiled.json").exists():
        shutil.rmtree(workspace, ignore_errors=True)
        write_json(workspace / "spoiled.json", _spoiled(data, workspace, source, seed))
    spoiled: dict[str, str] = read_json(workspace / "spoiled.json")
    values = {**recipe, "workspace": workspace, "task": source, "seed": seed}
    done = check_labels(CheckLabelsConfig.checked({"finetune": values, "name": "check"}))
    rows = done.result.rows
    ranks = {row.id: rank for rank, row in enumerate(rows, 1)}
    by_dice = {row.id: rank for rank, row in enumerate(sorted(rows, key=lambda row: row.dice), 1)}
    found = [
        {"case": case, "way": way, "rank": ranks[case], "rank_by_dice": by_dice[case]} for case, way in spoiled.items()
    ]
    return {
        "source": source,
        "seed": seed,
        "labels": len(rows),
        "spoiled": found,
        "checked": [row.model_dump(mode="json") for row in rows],
    }


def _spoiled(data: Path | None, workspace: Path, source: str, seed: int) -> dict[str, str]:
    """Makes the workspace of drawn cases; returns how each spoiled one was spoiled."""
    rng = np.random.default_rng([seed, 7])
    scans = workspace / "scans"
    if source == PHANTOMS:
        generate(workspace / "generated", seed, labelled=CASES, unlabelled=0, tasks=[source])
        cases, origin = (
            sorted((workspace / "generated" / source / "images").iterdir()),
            workspace / "generated" / source,
        )
    else:
        assert data is not None
        origin = data / source
        cases = _one_of_each_person(sorted((origin / "images").iterdir()), rng)[:CASES]
    chosen = [cases[n] for n in rng.permutation(len(cases))[:SPOILED]]
    ways = [list(WAYS)[n] for n in rng.permutation(len(WAYS))[:SPOILED]]
    how = dict(zip(chosen, ways, strict=True))
    for path in cases:
        (scans / "images").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, scans / "images" / path.name)
        label = read_label_map(origin / "labels" / path.name)
        if path in how:
            others = [case for case in cases if case not in how]
            other = read_label_map(origin / "labels" / others[rng.integers(len(others))].name)
            label = _with(label, WAYS[how[path]], other, rng)
        write_volume(label, scans / "labels" / path.name)
    modality, names = SOURCES[source]
    Catalogue.create(workspace)
    classes = [LabelClass(value=value, name=name) for value, name in enumerate(names, 1)]
    scan.add(workspace, sources.find(scans), Task(name=source, modality=modality, classes=classes))
    check_workspace(workspace)
    return {path.name.removesuffix(".nii.gz"): way for path, way in how.items()}


def _one_of_each_person(paths: Sequence[Path], rng: np.random.Generator) -> list[Path]:
    """Returns the cases in an order of chance; neighbours of an odd number and the next look like one person's two sides."""
    of_person: dict[int, Path] = {}
    for n in rng.permutation(len(paths)):
        of_person.setdefault((int(paths[n].name.split("_")[1].split(".")[0]) + 1) // 2, paths[n])
    return list(of_person.values())


def _with(label: sitk.Image, way: Spoil, other: sitk.Image, rng: np.random.Generator) -> sitk.Image:
    axes = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(label.GetDirection())
    array, another = (sitk.GetArrayFromImage(sitk.DICOMOrient(one, "LPS")) for one in (label, other))
    new = way(array, another, rng)
    if np.array_equal(new, array):
        raise ValueError("the label is as it was")
    image = sitk.GetImageFromArray(np.ascontiguousarray(new))
    image.CopyInformation(sitk.DICOMOrient(label, "LPS"))
    return sitk.DICOMOrient(image, axes)


def figures(checks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns for each source how many of the spoiled labels were among those that a person looks at, in each draw.

    "cells": one for each source, with "found" in each draw, "of", and "found_by_dice", where the least Dice decides; and
    "ways": way → ranks over all draws.
    """
    cells = []
    for source in dict.fromkeys(check["source"] for check in checks):
        own = [check["spoiled"] for check in checks if check["source"] == source]
        ways: dict[str, list[int]] = {}
        for spoiled in own:
            for one in spoiled:
                ways.setdefault(one["way"], []).append(one["rank"])
        found = {
            name: [sum(one[key] <= LOOKED_AT for one in spoiled) for spoiled in own]
            for name, key in (("found", "rank"), ("found_by_dice", "rank_by_dice"))
        }
        cells.append({"source": source, "labels": CASES, "of": SPOILED, "looked_at": LOOKED_AT, **found, "ways": ways})
    return {"cells": cells}
