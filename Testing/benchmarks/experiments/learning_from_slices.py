"""Learning from a few slices of a volume: accuracy against what there is without it, time and memory."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from hssl.imaging.labels import read_label_map
from hssl.imaging.volumes import read_volume
from hssl.interactive.session import InteractiveSession
from hssl.interactive.slice_priors import Plane
from hssl.intervals import student
from hssl.models.find import find_model
from hssl.models.model import Model
from hssl.models.model_file import load_model
from hssl.models.network import build_network
from hssl.preprocessing.normalisation import slice_axis_of
from HSSLSegmentationLib.scene.annotatedSlices import paintedSlices

from .filling import filled
from .general import starts
from .runner import Runner

KS = (3, 5, 7)
"""Numbers of annotated slices of a structure."""


def models(runner: Runner, task: str, names: Collection[str]) -> dict[str, Model | None]:
    """Returns the networks whose features are compared, by the name that figures show.

    "HSSL" is the start that ships, without this source; "pretrained" has seen all sources without labels; "trained from
    scratch" has learned from labels of the same source.
    """

    def general() -> Model:
        return load_model(find_model(runner.started(starts(runner, task)["general"])))

    found: dict[str, Model | None] = {}
    for name in names:
        if name == "HSSL":
            found[name] = general()
        elif name == "pretrained":
            found[name] = load_model(runner.pretrained(runner.main))
        elif name == "untrained":
            description = general().description
            torch.manual_seed(0)
            found[name] = Model(description, build_network(description.network, description.out_channels).state_dict())
        elif name == "trained from scratch":
            found[name] = load_model(runner.finetuned(runner.trial(task, "scratch", runner.preset.few, 0)))
        else:
            found[name] = None
    return found


def rows_of(runner: Runner, task: str, case: str, features: dict[str, Model | None]) -> list[dict[str, Any]]:
    """Returns the Dice of each method, structure, number of slices and way to choose them, of one volume."""
    record = runner.data.catalogue.image(case)
    volume = read_volume(runner.data.catalogue.image_path(record))
    path = runner.data.catalogue.label_path(record)
    assert path is not None
    labels = sitk.GetArrayFromImage(read_label_map(path, like=volume))
    axis = slice_axis_of(volume.GetSpacing()[::-1], volume.GetSize()[::-1])
    array, classes = sitk.GetArrayFromImage(volume), runner.data.catalogue.task(task).classes
    rows: list[dict[str, Any]] = []
    for structure in classes:
        truth = labels == structure.value
        found = _by_learning(volume, truth, axis, features)
        rounds = {(k, chosen): slices for _, k, chosen, slices, _, _ in found}
        known = [_on(truth, axis, slices) for slices in rounds.values()]
        filling = filled(array, known, axis, list(rounds.values())) if rounds else []
        for (k, chosen), masks in zip(rounds, filling, strict=True):
            found += [(method, k, chosen, [], dice_of(mask, truth), None) for method, mask in masks.items()]
        for method, k, chosen, _, dice, seconds in found:
            row = {"task": task, "case": case, "structure": structure.name, "method": method, "k": k}
            rows.append({**row, "slices": chosen, "dice": dice, "seconds": seconds})
    return rows


def evenly(there: Sequence[int], k: int) -> list[int]:
    """Returns k slices from a structure's first to its last."""
    return sorted({int(i) for i in np.linspace(there[0], there[-1], k).round()})


def _by_learning(
    volume: sitk.Image, truth: np.ndarray, axis: int, features: dict[str, Model | None]
) -> list[tuple[str, int, str, list[int], float, float | None]]:
    """Method, k, way to choose, slices, Dice and seconds; nothing where k slices are all that the structure has."""
    there = np.flatnonzero(truth.any(tuple(a for a in range(3) if a != axis))).tolist()
    found: list[tuple[str, int, str, list[int], float, float | None]] = []
    for k in (k for k in KS if len(there) > k):
        for name, model in features.items():
            slices = evenly(there, k)
            session = InteractiveSession(volume, model)
            dice, seconds, following = _round(session, volume, truth, axis, slices)
            found.append((name, k, "even", slices, dice, seconds))
            if k != KS[0] or name != "HSSL":
                continue
            # The same session goes on, slice by slice, where it is least certain.
            most = min(KS[-1], len(there) - 1)
            while len(slices) < most and following and following.axis == axis and following.index not in slices:
                slices = sorted([*slices, following.index])
                dice, seconds, following = _round(session, volume, truth, axis, slices)
                if len(slices) in KS:
                    found.append((name, len(slices), "uncertain", slices, dice, seconds))
    return found


def _round(
    session: InteractiveSession, volume: sitk.Image, truth: np.ndarray, axis: int, slices: Sequence[int]
) -> tuple[float, float, Plane | None]:
    painted = _on(truth, axis, slices)
    annotation = sitk.GetImageFromArray(painted.astype(np.uint8))
    annotation.CopyInformation(volume)
    # Nobody names the slices, as in the Segment Editor: they are recognised from what is painted.
    planes = [Plane(*plane) for plane in paintedSlices(painted, axis)]
    preview = session.learn(annotation, planes)
    return dice_of(preview.labels > 0, truth), preview.seconds, preview.next_slice


def _on(truth: np.ndarray, axis: int, slices: Sequence[int]) -> np.ndarray:
    known = np.zeros_like(truth)
    np.moveaxis(known, axis, 0)[list(slices)] = np.moveaxis(truth, axis, 0)[list(slices)]
    return known


def dice_of(found: np.ndarray, truth: np.ndarray) -> float:
    """Returns the Dice of two masks, not both empty."""
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def times(model: Model, size: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Returns seconds of the first preview and of a correction round from a warm session, and the peak of memory.

    The volume is generated: two ellipsoids in noise, one of a third of each side and one of a sixth, annotated on five
    slices each; the correction adds a slice. The session has read the volume, but not computed anything of it.
    The peak is the process's so far, torch included.

    Args:
        model: gives the features.
        size: of the volume, z, y, x.
        repeats: sessions of each kind.
    """
    volume, labels = _ellipsoids(size)
    small, painted = _ellipsoids((20, 64, 64))
    painted[11:] = 0
    warm = sitk.GetImageFromArray(painted)
    warm.CopyInformation(small)
    InteractiveSession(small, model).learn(warm, [Plane(0, 9), Plane(0, 10)])
    slices = [round(size[0] * share) for share in (0.35, 0.42, 0.5, 0.58, 0.65)]
    found: dict[str, Any] = {"size": size[::-1]}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, whole in (("surroundings", False), ("whole volume", True)):
        first: list[float] = []
        correction: list[float] = []
        for _ in range(repeats):
            session = InteractiveSession(volume, model)
            seconds = []
            for known in (slices, sorted([*slices, slices[0] + 3])):
                annotation = np.zeros_like(labels)
                annotation[known] = labels[known]
                image = sitk.GetImageFromArray(annotation)
                image.CopyInformation(volume)
                began = time.monotonic()
                session.learn(image, [Plane(0, i) for i in known], whole_volume=whole)
                seconds.append(time.monotonic() - began)
            first.append(seconds[0])
            correction.append(seconds[1])
        found[name] = {
            "first_seconds": statistics.median(first),
            "first_most": max(first),
            "correction_seconds": statistics.median(correction),
            "correction_most": max(correction),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
    found["mb_before"] = round(before / 1024)
    return found


def _ellipsoids(size: tuple[int, int, int]) -> tuple[sitk.Image, np.ndarray]:
    grid = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in size), indexing="ij")
    labels = np.zeros(size, np.uint8)
    for value, (centre, radius) in enumerate((((0, -0.25, 0), 1 / 3), ((0, 0.4, 0.2), 1 / 6)), 1):
        scales = (0.4, radius, radius)
        labels[sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, scales, strict=True)) < 1] = value
    noise = np.random.default_rng(0).normal(0, 25, size)
    volume = sitk.GetImageFromArray((100 + 60.0 * labels + noise).astype(np.int16))
    volume.SetSpacing((0.9, 0.9, 2.0))
    return volume, labels


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns for each source, k and way to choose slices the mean Dice of each method, and HSSL's lead on it."""
    cells = []
    for task, k, chosen in dict.fromkeys((r["task"], r["k"], r["slices"]) for r in rows):
        own = [r for r in rows if (r["task"], r["k"], r["slices"]) == (task, k, chosen)]
        by_method: dict[str, dict[str, dict[str, float]]] = {}
        for r in own:
            by_method.setdefault(r["method"], {}).setdefault(r["case"], {})[r["structure"]] = 100 * r["dice"]
        # Structures of one volume are not independent, so volumes are what is counted.
        means = {m: {c: float(np.mean(list(v.values()))) for c, v in cases.items()} for m, cases in by_method.items()}
        structures = {
            s: {m: float(np.mean([100 * r["dice"] for r in own if (r["method"], r["structure"]) == (m, s)]))
                for m in means}
            for s in dict.fromkeys(r["structure"] for r in own)
        }  # fmt: skip
        cells.append(
            {
                "task": task,
                "k": k,
                "slices": chosen,
                "volumes": len(means["HSSL"]),
                "mean": {m: float(np.mean(list(cases.values()))) for m, cases in means.items()},
                "lead": {
                    m: asdict(student([means["HSSL"][c] - cases[c] for c in means["HSSL"]]))
                    for m, cases in means.items()
                    if m != "HSSL"
                },
                "structures": structures,
            }
        )
    return {"cells": cells}
