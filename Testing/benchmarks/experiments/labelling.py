"""Labelling with drafts: what is left to correct when each next image comes with what the last network makes of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from recording import circumstances
from scipy.ndimage import binary_dilation

from hssl.configuration import FinetuneConfig, PredictConfig, SuggestConfig
from hssl.events import ignore, never
from hssl.files import read_json, sha256_of, write_json
from hssl.imaging.labels import read_label_map
from hssl.intervals import student
from hssl.jobs.compare import evaluate_on_cases
from hssl.jobs.evaluate import summary_of
from hssl.jobs.finetune import finetune
from hssl.jobs.predict import predict
from hssl.jobs.suggest import suggest
from hssl.preprocessing.normalisation import slice_axis_of

from .data import Data

COUNTS = (1, 2, 4, 8)
"""Labels after each round. The first one is drawn by hand; a network is fine-tuned after each round, from the last one."""
MEASURES = ("voxels", "wrong_voxels", "slices", "wrong_slices", "slices_to_correct")


@dataclass(frozen=True)
class Settings:
    """What a person would wait for, and where it begins.

    Attributes:
        steps: of each fine-tuning.
        test_cases: at most so many of a source.
        pool: a draw chooses what to label next among so many images of a source.
        start: of the first network.
    """

    steps: int
    test_cases: int
    pool: int
    start: str
    threads: int = 1


def rows_of(data: Data, folder: Path, task: str, draw: int, settings: Settings) -> list[dict[str, Any]]:
    """Returns a row for each round of a draw, from what is there already or by labelling, training and testing.

    A row has the number of labels, the Dice of the test cases after it, and "drafts": for each image that is labelled
    in the next round, what of the draft had to be corrected (see `corrections`).
    """
    pool = data.drawn(task, min(settings.pool, len(data.pool(task))), draw)
    labelled, start = pool[:1], settings.start
    rows: list[dict[str, Any]] = []
    for number, count in enumerate(COUNTS):
        following = COUNTS[number + 1] - count if number + 1 < len(COUNTS) else 0
        asked = sha256_of([task, draw, pool, labelled, rows[-1]["run"] if rows else "", asdict(settings)])
        path = folder / "labelling" / f"{task}-{draw}-{count}-{asked[:12]}.json"
        if not path.exists():
            print(f"{task}, draw {draw}, {count} labelled", flush=True)
            workspace = data.partly_labelled(f"labelling-{task}-{draw}", task, pool, labelled)
            row = _round(data, workspace, task, labelled, start, draw, following, settings)
            write_json(path, {"task": task, "draw": draw, "count": count, **row, "commit": circumstances()["commit"]})
        rows.append(read_json(path))
        labelled = [*labelled, *(draft["case"] for draft in rows[-1]["drafts"])]
        start = rows[-1]["run"]
    return rows


def _round(
    data: Data,
    workspace: Path,
    task: str,
    labelled: list[str],
    start: str,
    draw: int,
    following: int,
    settings: Settings,
) -> dict[str, Any]:
    common = {"workspace": workspace, "task": task, "threads": settings.threads}
    run = f"after-{len(labelled)}-{sha256_of([labelled, start, asdict(settings)])[:8]}"
    values = {**common, "cases": labelled, "start": start, "seed": draw, "run": run}
    done = finetune(FinetuneConfig.checked({**values, "budget": {"steps": settings.steps}}))
    model = done.result.run
    images = [data.catalogue.image(case) for case in data.test(task, settings.test_cases)]
    with torch.inference_mode():
        tested = evaluate_on_cases(model, data.catalogue, images, "auto", ignore, never)
    cases = {image.id: summary_of([r for r in tested if r.case == image.id]).mean_dice for image in images}
    drafts = []
    if following:
        asked = suggest(SuggestConfig.checked({**common, "model": str(model), "count": following}))
        for suggested in asked.result.suggestions:
            drafts.append({"case": suggested.id, **_corrected(data, model, suggested.id, settings)})
    return {
        "dice": summary_of(tested).mean_dice,
        "cases": cases,
        "drafts": drafts,
        "labelled": labelled,
        "run": str(model),
        **done.result.model_dump(include={"minutes", "steps", "precision"}),
    }


def _corrected(data: Data, model: Path, case: str, settings: Settings) -> dict[str, Any]:
    """Lets the network make the draft of a label as the panel does, and compares it with the true one."""
    image = data.catalogue.image(case)
    scan, label = data.catalogue.image_path(image), data.catalogue.label_path(image)
    assert label is not None
    output = model / "drafts"
    config = PredictConfig(model=model, inputs=[scan], output=output, overwrite=True, threads=settings.threads)
    draft = read_label_map(predict(config).result.outputs[0].label_map)
    truth = read_label_map(label)
    shutil.rmtree(output)
    arrays = [sitk.GetArrayViewFromImage(one) for one in (draft, truth)]
    return corrections(arrays[0], arrays[1], slice_axis_of(truth.GetSpacing()[::-1], truth.GetSize()[::-1]))


def corrections(draft: np.ndarray, truth: np.ndarray, axis: int) -> dict[str, Any]:
    """Returns how much of a draft is not as it should be.

    Args:
        draft, truth: label maps.
        axis: along which a person goes through the slices.

    Returns:
        "voxels" and "slices" that hold a structure, which is what there is to paint without a draft; "wrong_voxels", and
        "wrong_slices" with any of them; "slices_to_correct": with a structure that the draft has missed or invented in
        it, or with a voxel that is wrong by more than one voxel in the slice, as two people's outlines are too; "dice":
        of the draft, mean over the structures.
    """
    draft, truth = np.moveaxis(draft, axis, 0), np.moveaxis(truth, axis, 0)
    wrong = draft != truth
    far, rest = np.zeros_like(wrong), (1, 2)
    dice = []
    for value in np.union1d(draft, truth):
        found, true = draft == value, truth == value
        near = binary_dilation(true, np.ones((1, 3, 3), bool))
        far |= wrong & found & ~near
        if value:
            far |= (found.any(rest) != true.any(rest))[:, None, None] & (found | true)
            dice.append(2 * (found & true).sum() / (found.sum() + true.sum()))
    return {
        "voxels": int((truth > 0).sum()),
        "wrong_voxels": int(wrong.sum()),
        "slices": int((truth > 0).any(rest).sum()),
        "wrong_slices": int(wrong.any(rest).sum()),
        "slices_to_correct": int(far.any(rest).sum()),
        "dice": float(np.mean(dice)) if dice else None,
    }


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns for each source and number of labels the Dice of the test cases and what drafts of that network left to do.

    Every mean is over draws, with Student's interval. "drafted" is of all images that had a draft.
    """
    cells = []
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        for count in sorted({row["count"] for row in own}):
            at = [row for row in own if row["count"] == count]
            cell = {"task": task, "count": count, "dice": asdict(student([100 * row["dice"] for row in at]))}
            cells.append({**cell, **_left_to_do([row["drafts"] for row in at])})
        draws = [[d for row in own if row["draw"] == n for d in row["drafts"]] for n in {row["draw"] for row in own}]
        cells.append({"task": task, "count": "drafted", "dice": None, **_left_to_do(draws)})
    return {"cells": cells}


def _left_to_do(draws: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Returns sums by draw and the shares that were left to do in percent, of the drafts of each draw."""
    draws = [drafts for drafts in draws if drafts]
    if not draws:
        return {"drafts": 0}
    sums = [{key: sum(draft[key] for draft in drafts) for key in MEASURES} for drafts in draws]
    shares = {
        "wrong_voxels": [100 * s["wrong_voxels"] / s["voxels"] for s in sums],
        "wrong_slices": [100 * s["wrong_slices"] / s["slices"] for s in sums],
        "slices_to_correct": [100 * s["slices_to_correct"] / s["slices"] for s in sums],
        "saved_slices": [s["slices"] - s["slices_to_correct"] for s in sums],
        "draft_dice": [100 * fmean(d["dice"] for d in drafts if d["dice"] is not None) for drafts in draws],
    }
    return {
        "drafts": fmean(map(len, draws)),
        "sums": {key: fmean(s[key] for s in sums) for key in MEASURES},
        **{key: asdict(student(values)) for key, values in shares.items()},
    }
