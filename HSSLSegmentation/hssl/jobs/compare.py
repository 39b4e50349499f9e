"""Comparison: the same recipe from a pretrained start and from scratch, over numbers of labels and seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel

from ..configuration import CompareConfig, FinetuneConfig
from ..errors import ConfigurationError
from ..events import Done, Message, Metrics, OnEvent, Phase, ProgressMeter, Stop, Stopped, as_part, ignore, never
from ..files import whole_file, write_json, write_text
from ..learning.start import Start
from ..locks import FolderLock
from ..models.description import ModelDescription
from ..models.device import chosen_device
from ..models.find import find_model
from ..models.inference import Segmenter
from ..models.model_file import load_model
from ..models.prediction import predict_volume
from ..models.run_folder import run_path, with_runs_of
from ..models.series import keep, kept_or_new, series_name
from ..plural import counted
from ..reporting.plots import dice_against_labels
from ..results import CompareResult, Row, Trial
from ..workspace.catalogue import Catalogue, Image
from ..workspace.images import read_image
from ..workspace.labels import read_label
from ..workspace.presence import in_workspace
from ..workspace.seen import seen_by
from .evaluate import measure, summary_of
from .finetune import drawn_by_patient, finetune

FOLDER, RESULT = "comparisons", "comparison.json"
Kind = Literal["pretrained", "scratch"]
KINDS: tuple[Kind, ...] = ("pretrained", "scratch")
NOT_COMPARED = {
    *("workspace", "device", "threads", "checkpoint_minutes"),  # may differ when a comparison goes on
    *("start", "run", "case_count", "cases", "seed"),  # are set by each trial
}


SAME = ("task", "start", "recipe", "labels", "test")
"""What a comparison that goes on has as it had it."""


class _Comparison(BaseModel):
    """What the file of a comparison holds."""

    task: str
    start: str
    recipe: dict[str, Any]
    labels: str | None = None
    test: list[str]
    seen_by_start: list[str]
    rows: list[Trial]


@in_workspace
def compare(config: CompareConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done[CompareResult]:
    """Fine-tunes from the start and from scratch for every number of labels and seed, and tests each on the same cases.

    A comparison of that name goes on where it was stopped; a trial that is done is not done again.

    Returns:
        The Done event with a `CompareResult`.

    Raises:
        ConfigurationError: a comparison of that name has another start, recipe or test set.
        HSSLError: a trial failed, or there are not enough labelled cases.

    Example:
        >>> from hssl import FinetuneConfig, compare
        >>> from hssl.configuration import CompareConfig
        >>> recipe = FinetuneConfig(workspace=workspace, task="brain_mr", budget={"steps": 2})
        >>> done = compare(CompareConfig(finetune=recipe, start="night", case_counts=[1]))
        >>> [trial.start for trial in done.result.rows]
        ['pretrained', 'scratch']
    """
    recipe = config.finetune
    catalogue = Catalogue.load(recipe.workspace)
    test = _test_cases(catalogue, config)
    start = Start.named(config.start, recipe.workspace)
    if start.description is None:
        raise ConfigurationError("a comparison needs a pretrained start to compare with scratch")
    models = {"start": start.description}
    if recipe.teacher:
        models["teacher"] = load_model(find_model(recipe.teacher, recipe.workspace)).description
    known = _seen_by(models, test, on_event)
    new = _Comparison(
        task=recipe.task,
        start=config.start,
        recipe=recipe.model_dump(mode="json", exclude=NOT_COMPARED),
        labels=catalogue.labels_hash(recipe.task),
        test=[i.id for i in test],
        seen_by_start=known,
        rows=[],
    )
    seeds, counts = dict.fromkeys(config.seeds), dict.fromkeys(config.case_counts)
    trials = [(kind, n, s) for s in seeds for n in counts for kind in KINDS]
    series = catalogue.workspace / FOLDER
    name = config.name or series_name(
        series, f"compare-{recipe.task}", new, SAME, lambda kept: {*trials} <= _done(kept)
    )
    run_path(catalogue.workspace, name)  # refuses names that are no folder names
    folder = series / name
    with FolderLock(folder, "this comparison"):
        kept = kept_or_new(folder / RESULT, new, "comparison", SAME)
        kept.rows = with_runs_of(catalogue.workspace, kept.rows)
        rows, done_trials = kept.rows, _done(kept)
        for number, (kind, count, seed) in enumerate(trials, 1):
            title = f"{kind}, {count} labelled, seed {seed}"
            on_event(Phase(name="comparison", index=number, count=len(trials), detail=title))
            if (kind, count, seed) in done_trials:
                continue
            values = {
                **recipe.model_dump(),
                "start": config.start if kind == "pretrained" else "scratch",
                "network": start.description.network.model_dump(),
                "case_count": count,
                "cases": [],
                "seed": seed,
                "exclude": sorted({*recipe.exclude, *(i.id for i in test)}),
                "run": f"{name}-{kind}-{count}-{seed}",
                # The first trial decides for all, or noise of the machine would tell starts apart.
                "precision": rows[0].precision if rows else recipe.precision,
            }
            trial = _tried(FinetuneConfig.checked(values), kind, count, catalogue, test, on_event, stop)
            if trial is None:
                return Done(stopped=True, result=CompareResult(folder=folder, rows=rows, seen_by_start=known))
            rows.append(trial)
            keep(folder / RESULT, kept)
            if trial.dice is not None:
                on_event(Metrics(step=number, values={f"dice {title}": trial.dice}))
        _write_table(folder, rows)
        with whole_file(folder / "comparison.png") as temporary:
            figure = dice_against_labels([row.model_dump() for row in rows])
            figure.savefig(temporary, format="png", dpi=160, facecolor="white")
    for text in gains(rows):
        on_event(Message(text=text))
    return Done(result=CompareResult(folder=folder, rows=rows, seen_by_start=known))


def _done(comparison: _Comparison) -> set[tuple[Kind, int, int]]:
    return {(row.start, row.case_count, row.seed) for row in comparison.rows}


def _seen_by(models: dict[str, ModelDescription], test: Sequence[Image], on_event: OnEvent) -> list[str]:
    """Returns the ids of the test cases that a model has seen, or whose patients it has, and warns of them.

    Args:
        models: what trials learn from, by what it is to them.
    """
    found: dict[str, None] = {}
    for what, model in models.items():
        known = [image.id for image in seen_by(model.provenance, test)]
        found |= dict.fromkeys(known)
        if known:
            text = f"The {what} has seen {len(known)} of the {len(test)} test cases, or other images of their patients"
            on_event(
                Message(level="warning", text=f"{text}: {', '.join(known)}; figures are better than they should be")
            )
    return list(found)


def gains(rows: Sequence[Trial]) -> list[str]:
    """Returns one sentence for each number of labels: Dice of both starts and their difference, in points."""
    texts = []
    for count in sorted({r.case_count for r in rows}):
        by_start = {
            kind: {r.seed: r.dice for r in rows if r.case_count == count and r.start == kind and r.dice is not None}
            for kind in KINDS
        }
        seeds = sorted(by_start["pretrained"].keys() & by_start["scratch"].keys())
        if seeds:
            pretrained, scratch = (100 * np.array([by_start[k][s] for s in seeds]) for k in KINDS)
            texts.append(
                f"{count} labelled: pretrained {pretrained.mean():.1f}, scratch {scratch.mean():.1f}, "
                f"difference {(pretrained - scratch).mean():+.1f} points of Dice ({counted(len(seeds), 'seed')})"
            )
    return texts


def evaluate_on_cases(
    model: Path, catalogue: Catalogue, images: Sequence[Image], device: str, on_event: OnEvent, stop: Stop
) -> list[Row]:
    """Predicts labelled images and compares them with their labels on the source grid.

    Raises:
        Stopped: `stop` asked for it.
    """
    description, state = load_model(model)
    segmenter = Segmenter(description, state, chosen_device(device))
    meter = ProgressMeter(on_event, "test", len(images))
    rows: list[Row] = []
    task = description.tasks[0]
    for number, image in enumerate(images, 1):
        volume = read_image(catalogue, image)
        reference = read_label(catalogue, image, volume)
        found = predict_volume(volume, segmenter, stop=stop, path=catalogue.image_path(image)).label_map
        rows += measure(found, reference, task.classes, image.id, task.ignore_value)
        meter.update(number)
    return rows


def _tried(
    config: FinetuneConfig,
    kind: Kind,
    count: int,
    catalogue: Catalogue,
    test: Sequence[Image],
    on_event: OnEvent,
    stop: Stop,
) -> Trial | None:
    """Fine-tunes and tests; None when it was stopped."""
    done = finetune(config, as_part(on_event), stop)
    if done.stopped:
        return None
    trained = done.result
    try:
        with torch.inference_mode():
            rows = evaluate_on_cases(trained.run, catalogue, test, config.device, on_event, stop)
    except Stopped:
        return None
    write_json(trained.run / "test.json", [asdict(row) for row in rows])
    summary = summary_of(rows)
    return Trial(
        start=kind,
        case_count=count,
        seed=config.seed,
        dice=summary.mean_dice,
        classes={name: measures["dice"].mean for name, measures in summary.classes.items()},
        cases=trained.cases,
        minutes=trained.minutes,
        steps=trained.steps,
        precision=trained.precision,
        run=trained.run,
    )


def _test_cases(catalogue: Catalogue, config: CompareConfig) -> list[Image]:
    catalogue.require(config.finetune.exclude, "to be left out")
    catalogue.require(config.test, "to test on")
    labelled = catalogue.usable(config.finetune.task, labelled=True)
    if config.test:
        known = {i.id: i for i in labelled}
        unknown = sorted(set(config.test) - known.keys())
        if unknown:
            raise ConfigurationError(f"no usable label for the test cases {', '.join(unknown)}")
        test = [known[id] for id in config.test]
    else:
        validated = catalogue.with_patients(config.finetune.validation)
        free = [i.id for i in labelled if i.id not in validated]
        drawn = catalogue.with_patients(drawn_by_patient(catalogue, free, 0)[: len(labelled) // 3])
        test = [i for i in labelled if i.id in drawn]
    taken = catalogue.with_patients([*config.finetune.exclude, *(i.id for i in test)])
    left = sum(i.id not in taken for i in labelled)
    if not test or left < max(config.case_counts):
        raise ConfigurationError(
            f"task {config.finetune.task!r} has {len(labelled)} labelled images: {len(test)} to test on and {left} to "
            f"train on, but {max(config.case_counts)} are asked for"
        )
    return test


def _write_table(folder: Path, rows: Sequence[Trial]) -> None:
    classes = list(dict.fromkeys(name for row in rows for name in row.classes))  # which may have been renamed meanwhile
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["start", "labelled cases", "seed", "mean Dice", *(f"Dice {c}" for c in classes), "minutes", "steps"]
    )
    for r in rows:
        dice = [r.classes.get(c) for c in classes]
        numbers = [f"{v:.4f}" if v is not None else "" for v in [r.dice, *dice, r.minutes]]
        writer.writerow([r.start, r.case_count, r.seed, *numbers, r.steps])
    write_text(folder / "comparison.csv", text.getvalue())
