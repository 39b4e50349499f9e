"""Wrong labels: folds of short trainings, and the labels that the networks that have not seen them disagree with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from ..configuration import CheckLabelsConfig, FinetuneConfig
from ..errors import ConfigurationError
from ..events import Done, Message, Metrics, OnEvent, Phase, Stop, Stopped, as_part, ignore, never
from ..learning.start import Start
from ..locks import FolderLock
from ..models.run_folder import run_path, with_runs_of
from ..models.series import keep, kept_or_new, series_name
from ..plural import counted, shortened
from ..results import Agreement, CheckLabelsResult, DoubtfulLabel, FinetuneResult, Row
from ..workspace.catalogue import Catalogue
from ..workspace.presence import in_workspace
from ..workspace.seen import labels_seen_by
from .compare import NOT_COMPARED, evaluate_on_cases
from .evaluate import summary_of
from .finetune import drawn_by_patient, finetune

FOLDER, RESULT = "checks", "check.json"
LEAST_SPREAD = {"dice": 0.02, "distance_mm": 0.25, "size": 0.05}
"""What disagreement of a class counts as usual at least: differences of Dice, shares of the usual distance, and logarithms
of size. Among few labels, or very even ones, the spread that is seen is smaller by chance."""
ENOUGH_TO_COMPARE = 3
"""Labels of a fold of which most say what is usual for its network. One alone would be compared with itself, and of two each
is as far from their middle as the other."""


SAME = ("task", "recipe", "labels", "folds")
"""What a check that goes on has as it had it."""


class _Check(BaseModel):
    """What the file of a check holds: the ids of each fold, and the rows of those that are done."""

    task: str
    recipe: dict[str, Any]
    labels: str | None = None
    folds: list[list[str]]
    folds_done: int
    rows: list[DoubtfulLabel]


@in_workspace
def check_labels(config: CheckLabelsConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done[CheckLabelsResult]:
    """Ranks the labelled images of a task by how much their label and a network that has not seen it disagree.

    Confident learning's idea (C. G. Northcutt et al., JAIR 70, 2021) with cross-validation over images: what is learned
    from the others agrees with a label that is right as well as with most, and with one that is wrong worse. How well
    is usual differs between classes, so that it is judged class by class (see `ranked`).

    Returns:
        The Done event with a `CheckLabelsResult`.

    Raises:
        ConfigurationError: there are fewer labelled patients than folds, the start has learned from these labels, or the
            check of that name is another one.
        HSSLError: a fold failed.

    Example:
        >>> from hssl import FinetuneConfig, check_labels
        >>> from hssl.configuration import CheckLabelsConfig
        >>> recipe = FinetuneConfig(workspace=workspace, task="brain_mr", budget={"steps": 1})
        >>> done = check_labels(CheckLabelsConfig(finetune=recipe, folds=2))
        >>> done.result.rows[0].doubt >= done.result.rows[-1].doubt  # the most doubtful comes first
        True
    """
    recipe = config.finetune
    catalogue = Catalogue.load(recipe.workspace)
    folds = folds_of(catalogue, recipe, config.folds)
    refuse_to_judge_what_was_learned(recipe, catalogue, [id for fold in folds for id in fold])
    labels = catalogue.labels_hash(recipe.task)
    new = _Check(task=recipe.task, recipe=comparable(recipe), labels=labels, folds=folds, folds_done=0, rows=[])
    series = catalogue.workspace / FOLDER
    name = config.name or series_name(
        series, f"check-{recipe.task}", new, SAME, lambda kept: kept.folds_done == len(folds)
    )
    run_path(catalogue.workspace, name)  # refuses names that are no folder names
    folder = series / name
    with FolderLock(folder, "this check"):
        kept = kept_or_new(folder / RESULT, new, "check of labels", SAME)
        kept.rows = with_runs_of(catalogue.workspace, kept.rows)
        for number in range(1, len(folds) + 1):
            on_event(Phase(name="cross-validation", index=number, count=len(folds), detail=f"fold {number}"))
            if number <= kept.folds_done:
                continue
            rows = _fold(config, catalogue, folds, number, name, on_event, stop)
            if rows is None:
                return Done(stopped=True, result=CheckLabelsResult(task=recipe.task, folder=folder, rows=kept.rows))
            kept.rows = ranked([*kept.rows, *rows])
            kept.folds_done = number
            keep(folder / RESULT, kept)
            on_event(Metrics(step=number, values={f"dice {row.id}": row.dice for row in rows}))
    for row in kept.rows[:3]:
        on_event(Message(text=f"{row.id}: {row.reason}"))
    return Done(result=CheckLabelsResult(task=recipe.task, folder=folder, rows=kept.rows))


def ranked(rows: Sequence[DoubtfulLabel]) -> list[DoubtfulLabel]:
    """Returns the rows with their `doubt` and `reason`, the most doubtful first.

    Each measure of each class is compared with the same of the other labels that the same network judged, or of all labels
    where it judged fewer than `ENOUGH_TO_COMPARE`: how many times the usual spread it lies on the bad side of their median.
    The worst one is the label's doubt. So a structure that is hard to find hides no easy one that is wrong, a network that
    has learned little makes no label doubtful, and a label that is a little too large everywhere is told from one that lies
    a little beside the structure. Spreads are 1.48 times the median deviation, that of all labels or of the fold's, whichever
    is larger, or `LEAST_SPREAD`.

    Example:
        >>> def row(id, dice):
        ...     return DoubtfulLabel(id=id, fold=1, dice=dice, measures={"liver": Agreement(dice=dice)}, run="run")
        >>> found = ranked([row("a", 0.91), row("b", 0.60), row("c", 0.90), row("d", 0.92)])
        >>> found[0].id, found[0].reason
        ('b', 'liver: Dice 0.60, of most labels 0.91')
    """
    doubts = dict.fromkeys((row.id for row in rows), (0.0, "nothing of it could be compared"))
    for name in dict.fromkeys(name for row in rows for name in row.measures):
        for measure, least in LEAST_SPREAD.items():
            for id, off, value, usual in _against_usual(rows, name, measure, least):
                if doubts[id][0] == 0.0:
                    doubts[id] = 0.0, "as good as most labels, or better"
                if off > doubts[id][0]:
                    doubts[id] = off, f"{name}: {_reason(measure, value, usual)}"
    judged = [row.model_copy(update={"doubt": doubts[row.id][0], "reason": doubts[row.id][1]}) for row in rows]
    return sorted(judged, key=lambda row: (-row.doubt, row.id))


def _against_usual(
    rows: Sequence[DoubtfulLabel], name: str, measure: str, least: float
) -> list[tuple[str, float, float, float]]:
    """Returns of each label that has the measure its id, the spreads by which it is worse than usual, the measure, and
    what is usual."""
    known = [(row, value) for row in rows if (value := getattr(row.measures.get(name), measure, None)) is not None]
    of_fold: dict[int, list[float]] = {}
    for row, value in known:
        of_fold.setdefault(row.fold, []).append(value)
    every = [value for _, value in known]
    told = {fold for fold, own in of_fold.items() if len(own) >= ENOUGH_TO_COMPARE}
    usual = {fold: float(np.median(own if fold in told else every)) for fold, own in of_fold.items()}
    deviations = {fold: np.abs(np.array(own) - usual[fold]) for fold, own in of_fold.items()}
    of_all = float(np.median(np.concatenate(list(deviations.values())))) if known else 0.0
    found = []
    for row, value in known:
        middle = usual[row.fold]
        spread = 1.4826 * max(of_all, float(np.median(deviations[row.fold])) if row.fold in told else 0.0)
        spread = max(spread, least * middle if measure == "distance_mm" else least)
        worse = {"dice": middle - value, "distance_mm": value - middle, "size": abs(value - middle)}[measure]
        found.append((row.id, worse / spread, value, middle))
    return found


def _reason(measure: str, value: float, usual: float) -> str:
    if measure == "dice":
        return f"Dice {value:.2f}, of most labels {usual:.2f}"
    if measure == "distance_mm":
        return f"{value:.1f} mm from what was learned, most labels {usual:.1f} mm"
    share, most = (100 * math.expm1(one) for one in (value, usual))
    return f"{share:+.0f} % of what was learned in size, most labels {most:+.0f} %"


def folds_of(catalogue: Catalogue, recipe: FinetuneConfig, count: int) -> list[list[str]]:
    """Returns the ids of each fold of a task's labelled images: drawn by the seed, the images of a patient together.

    Raises:
        ConfigurationError: there are fewer labelled patients than folds, or an id to be left out is unknown.
    """
    catalogue.task(recipe.task)
    catalogue.require(recipe.exclude, "to be left out")
    taken = catalogue.with_patients(recipe.exclude)
    labelled = [i.id for i in catalogue.usable(recipe.task, labelled=True) if i.id not in taken]
    order = drawn_by_patient(catalogue, labelled, recipe.seed)
    patients = list(dict.fromkeys(catalogue.patient_of(catalogue.image(id)) for id in order))
    if len(patients) < count:
        raise ConfigurationError(
            f"task {recipe.task!r} has labels of {counted(len(patients), 'patient')}, too few for "
            f"{counted(count, 'fold')}",
            "Label more, or choose fewer folds.",
        )
    fold_of = {patient: n % count for n, patient in enumerate(patients)}
    folds: list[list[str]] = [[] for _ in range(count)]
    for id in order:
        folds[fold_of[catalogue.patient_of(catalogue.image(id))]].append(id)
    return folds


def comparable(recipe: FinetuneConfig) -> dict[str, Any]:
    """Returns what must stay the same in a recipe when a series of trainings goes on."""
    return recipe.model_dump(mode="json", exclude=NOT_COMPARED - {"start", "seed"})


def refuse_to_judge_what_was_learned(recipe: FinetuneConfig, catalogue: Catalogue, ids: Sequence[str]) -> None:
    """Refuses a start or a teacher that has learned from labels that are to be held out: it would know the answers.

    Raises:
        ConfigurationError: with some of these images.
    """
    for name, way_out in (
        (recipe.start, "Start from a pretraining, or from scratch."),
        (recipe.teacher, "Leave the teacher out."),
    ):
        description = Start.named(name, recipe.workspace).description if name else None
        provenance = None if description is None else description.provenance
        known = [image.id for image in labels_seen_by(provenance, map(catalogue.image, ids))]
        if known:
            raise ConfigurationError(
                f"{name} has learned from labels of {len(known)} of the {len(ids)} images "
                f"({shortened(known, 3)}), and would not be tested on unknown ones",
                way_out,
            )


def tested_on_fold(
    recipe: FinetuneConfig,
    catalogue: Catalogue,
    cases: Sequence[str],
    held_out: Sequence[str],
    run: str,
    on_event: OnEvent,
    stop: Stop,
) -> tuple[FinetuneResult, list[Row]] | None:
    """Fine-tunes on some images and compares others, which the training sees nothing of, with their labels.

    Args:
        recipe: of the training; its `cases`, `case_count`, `validation`, `exclude` and `run` are set here.
        cases, held_out: ids of the labelled images to train and to test on.
        run: name of the training's run; one that was stopped goes on.

    Returns:
        The training's result and a row for each image and class; None when it was stopped.
    """
    values = {
        **recipe.model_dump(),
        "cases": list(cases),
        "case_count": 0,
        "validation": [],
        "exclude": sorted({*recipe.exclude, *held_out}),
        "run": run,
    }
    done = finetune(FinetuneConfig.checked(values), as_part(on_event), stop)
    if done.stopped:
        return None
    try:
        with torch.inference_mode():
            images = [catalogue.image(id) for id in held_out]
            rows = evaluate_on_cases(done.result.run, catalogue, images, recipe.device, on_event, stop)
    except Stopped:
        return None
    return done.result, rows


def _fold(
    config: CheckLabelsConfig,
    catalogue: Catalogue,
    folds: list[list[str]],
    number: int,
    name: str,
    on_event: OnEvent,
    stop: Stop,
) -> list[DoubtfulLabel] | None:
    """Trains on the other folds and returns a row for each image of this one; None when it was stopped."""
    held_out = folds[number - 1]
    others = [id for n, fold in enumerate(folds, 1) if n != number for id in fold]
    found = tested_on_fold(config.finetune, catalogue, others, held_out, f"{name}-fold-{number}", on_event, stop)
    if found is None:
        return None
    training, measured = found
    rows: list[DoubtfulLabel] = []
    for id in held_out:
        own = [row for row in measured if row.case == id]
        # A class that neither the label nor the network has agrees, and is measured by nothing.
        dice = summary_of(own).mean_dice
        rows.append(
            DoubtfulLabel(
                id=id,
                fold=number,
                dice=1.0 if dice is None else dice,
                classes={row.class_name: row.dice for row in own},
                measures={row.class_name: _agreement(row) for row in own},
                run=training.run,
            )
        )
    return rows


def _agreement(row: Row) -> Agreement:
    both = row.reference_ml and row.prediction_ml
    size = math.log(row.reference_ml / row.prediction_ml) if both else None
    return Agreement(dice=row.dice, distance_mm=row.asd_mm, size=size)
