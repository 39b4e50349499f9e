"""Learning curve: Dice of unseen images over the number of labels, cross-validated, and whether more labels still help."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from pydantic import BaseModel

from ..configuration import FinetuneConfig, LearningCurveConfig
from ..errors import ConfigurationError
from ..events import Done, Message, Metrics, OnEvent, Phase, Stop, ignore, never
from ..files import whole_file
from ..intervals import Interval, student
from ..learning.start import SCRATCH
from ..locks import FolderLock
from ..models.run_folder import run_path
from ..models.series import keep, kept_or_new, series_name
from ..reporting.plots import dice_against_labels
from ..results import Conclusion, CurvePoint, FoldTrial, Gain, LearningCurveResult, Verdict
from ..workspace.catalogue import Catalogue
from ..workspace.presence import in_workspace
from .check_labels import comparable, folds_of, refuse_to_judge_what_was_learned, tested_on_fold
from .evaluate import summary_of

FOLDER, RESULT, PICTURE = "curves", "curve.json", "curve.png"
FEWEST = 3
"""Labelled patients that a curve needs: two to learn from, so that there are two numbers of labels, and one to test on."""
POINTS = 5
"""At most so many numbers of labels, the largest ones, unless they are named: what comes next follows from the last."""
NOTICEABLE = 0.01
"""Dice; where labels bring surely less than this, they hardly help any more."""


SAME = ("task", "recipe", "labels", "folds", "case_counts")
"""What a curve that goes on has as it had it."""


class _Curve(BaseModel):
    """What the file of a curve holds while it is drawn."""

    task: str
    recipe: dict[str, Any]
    labels: str | None = None
    folds: list[list[str]]
    case_counts: list[int]
    rows: list[FoldTrial]


class _Finished(_Curve, Conclusion):
    """What it holds in the end."""


@in_workspace
def learning_curve(
    config: LearningCurveConfig, on_event: OnEvent = ignore, stop: Stop = never
) -> Done[LearningCurveResult]:
    """Fine-tunes on 1, 2, 4, … of the labels and tests on labelled images that the training has not seen, fold by fold.

    Of these numbers at most `POINTS` are tried, the largest ones. Within a fold a larger number of labels holds the smaller
    one's, as when a user labels more. Every labelled image is held out once. Intervals are Student's over the folds, since
    the images of a fold share their networks; folds share images to learn from, so that they are somewhat narrow (Y. Bengio,
    Y. Grandvalet, JMLR 5, 2004). A curve of that name goes on where it was stopped.

    Returns:
        The Done event with a `LearningCurveResult`.

    Raises:
        ConfigurationError: there are too few labelled patients, a number of labels is more than the folds leave, the
            start has learned from these labels, or the curve of that name is another one.
        HSSLError: a training failed.

    Example:
        >>> from hssl import FinetuneConfig, learning_curve
        >>> from hssl.configuration import LearningCurveConfig
        >>> recipe = FinetuneConfig(workspace=workspace, task="brain_mr", budget={"steps": 1})
        >>> done = learning_curve(LearningCurveConfig(finetune=recipe))
        >>> [point.count for point in done.result.points]
        [1, 2]
    """
    recipe = config.finetune
    catalogue = Catalogue.load(recipe.workspace)
    folds = _folds(catalogue, config)
    counts = _counts(folds, config.case_counts)
    refuse_to_judge_what_was_learned(recipe, catalogue, [id for fold in folds for id in fold])
    labels = catalogue.labels_hash(recipe.task)
    new = _Curve(
        task=recipe.task, recipe=comparable(recipe), labels=labels, folds=folds, case_counts=counts, rows=[]
    )  # fmt: skip
    trials = [(fold, count) for fold in range(1, len(folds) + 1) for count in counts]
    series = catalogue.workspace / FOLDER
    name = config.name or series_name(
        series, f"curve-{recipe.task}", new, SAME, lambda kept: len(kept.rows) == len(trials)
    )
    run_path(catalogue.workspace, name)  # refuses names that are no folder names
    folder = series / name
    with FolderLock(folder, "this learning curve"):
        kept = kept_or_new(folder / RESULT, new, "learning curve", SAME)
        rows = kept.rows
        for number, (fold, count) in enumerate(trials, 1):
            detail = f"fold {fold}, {count} labelled"
            on_event(Phase(name="cross-validation", index=number, count=len(trials), detail=detail))
            if any((row.fold, row.count) == (fold, count) for row in rows):
                continue
            # The first training decides for all, or noise of the machine would tell them apart.
            like = recipe.model_copy(update={"precision": rows[0].precision}) if rows else recipe
            row = _trial(like, catalogue, folds, fold, count, f"{name}-fold-{fold}-{count}", on_event, stop)
            if row is None:
                return Done(stopped=True, result=LearningCurveResult(task=recipe.task, folder=folder, rows=rows))
            rows.append(row)
            keep(folder / RESULT, kept)
            if row.dice is not None:
                on_event(Metrics(step=number, values={f"dice {count} labelled": row.dice}))
        found = conclusion(rows)
        keep(folder / RESULT, _Finished(**dict(kept), **dict(found)))
        with whole_file(folder / PICTURE) as temporary:
            shown = "scratch" if recipe.start == SCRATCH else "pretrained"
            drawn = [{"start": shown, "case_count": r.count, "dice": r.dice} for r in rows if r.dice is not None]
            dice_against_labels(drawn).savefig(temporary, format="png", dpi=160, facecolor="white")
    on_event(Message(text=found.text))
    return Done(result=LearningCurveResult(task=recipe.task, folder=folder, rows=rows, **dict(found)))


def conclusion(rows: Sequence[FoldTrial]) -> Conclusion:
    """Returns what a curve says (see `learning_curve`).

    Raises:
        ConfigurationError: no fold has a Dice for two numbers of labels.

    Example:
        >>> dice = {1: (0.6, 0.7, 0.65), 2: (0.7, 0.8, 0.76)}
        >>> rows = [FoldTrial(count=n, fold=f, dice=d, minutes=1, steps=9) for n, of in dice.items()
        ...         for f, d in enumerate(of)]
        >>> conclusion(rows).verdict
        'yes'
    """
    by_count: dict[int, dict[int, float]] = {}
    for row in rows:
        if row.dice is not None:
            by_count.setdefault(row.count, {})[row.fold] = row.dice
    points = []
    for count in sorted(by_count):
        own = [row.classes for row in rows if row.count == count]
        names = dict.fromkeys(name for classes in own for name in classes)
        dice = {name: [value for c in own if (value := c.get(name)) is not None] for name in names}
        classes = {name: fmean(values) if values else None for name, values in dice.items()}
        points.append(CurvePoint(count=count, dice=student(list(by_count[count].values())), classes=classes))
    *_, before, after = [0, 0, *sorted(by_count)]
    both = sorted(by_count.get(before, {}).keys() & by_count.get(after, {}).keys())
    if not both:
        raise ConfigurationError(
            "no held-out image could be measured with two numbers of labels",
            "Check the labels: do they hold the classes?",
        )
    gain = student([by_count[after][fold] - by_count[before][fold] for fold in both])
    verdict = _verdict(gain)
    return Conclusion(
        points=points,
        gain=Gain(before=before, after=after, dice=gain),
        verdict=verdict,
        text=_sentence(verdict, before, after, gain),
    )


def _verdict(gain: Interval) -> Verdict:
    if gain.low is None or gain.high is None:
        return "unclear"
    if gain.high < NOTICEABLE:
        return "hardly"
    return "yes" if gain.low > 0 else "unclear"


def _sentence(verdict: Verdict, before: int, after: int, gain: Interval) -> str:
    lead = {
        "yes": "More labels still help",
        "hardly": "More labels hardly help any more",
        "unclear": "It cannot be told yet whether more labels help",
    }[verdict]
    limits = "" if gain.low is None or gain.high is None else f", 95 % {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    return (
        f"{lead}: from {before} to {after} labelled images the Dice of unseen ones changed by "
        f"{100 * gain.mean:+.1f} points ({gain.count} folds{limits})"
    )


def _folds(catalogue: Catalogue, config: LearningCurveConfig) -> list[list[str]]:
    recipe = config.finetune
    whole = folds_of(catalogue, recipe, 1)[0] if catalogue.usable(recipe.task, labelled=True) else []
    patients = len({catalogue.patient_of(catalogue.image(id)) for id in whole})
    if patients < FEWEST:
        raise ConfigurationError(
            f"task {recipe.task!r} has labels of {patients} patients, too few for a learning curve",
            f"Label images of at least {FEWEST} patients.",
        )
    return folds_of(catalogue, recipe, min(config.folds, patients))


def _counts(folds: list[list[str]], asked: Sequence[int]) -> list[int]:
    """Returns the numbers of labels: the ones asked for, or powers of two up to what every fold leaves."""
    most = sum(map(len, folds)) - max(map(len, folds))
    if asked:
        if max(asked) > most:
            raise ConfigurationError(
                f"{max(asked)} labels are asked for, and the folds leave {most} to learn from",
                "Ask for fewer, or choose more folds.",
            )
        return sorted(set(asked))
    counts = [2**n for n in range(most.bit_length())]
    if most >= 1.5 * counts[-1]:
        counts.append(most)
    return counts[-POINTS:]


def _trial(
    recipe: FinetuneConfig,
    catalogue: Catalogue,
    folds: list[list[str]],
    fold: int,
    count: int,
    run: str,
    on_event: OnEvent,
    stop: Stop,
) -> FoldTrial | None:
    """Returns the row of a training, of which nothing else is kept; None when it was stopped."""
    held_out = folds[fold - 1]
    # The folds that come after it, in a circle: so long as labels are few, each fold learns from other ones.
    others = [id for ids in [*folds[fold:], *folds[: fold - 1]] for id in ids]
    found = tested_on_fold(recipe, catalogue, others[:count], held_out, run, on_event, stop)
    if found is None:
        return None
    training, measured = found
    shutil.rmtree(training.run)
    summary = summary_of(measured)
    return FoldTrial(
        count=count,
        fold=fold,
        dice=summary.mean_dice,
        cases={id: summary_of([row for row in measured if row.case == id]).mean_dice for id in held_out},
        classes={name: measures["dice"].mean for name, measures in summary.classes.items()},
        minutes=training.minutes,
        steps=training.steps,
        precision=training.precision,
    )
