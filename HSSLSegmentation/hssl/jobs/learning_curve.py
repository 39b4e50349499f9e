"""Learning curve: Dice of unseen images over the number of labels, cross-validated, and whether more labels still help."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from ..configuration import FinetuneConfig, LearningCurveConfig
from ..errors import ConfigurationError
from ..events import Done, Message, Metrics, OnEvent, Phase, Stop, ignore, never
from ..files import whole_file, write_json
from ..intervals import Interval, student
from ..learning.start import SCRATCH
from ..locks import FolderLock
from ..models.run_folder import free_name, run_path
from ..reporting.plots import dice_against_labels
from ..workspace.catalogue import Catalogue
from .check_labels import comparable, folds_of, refuse_to_judge_what_was_learned, tested_on_fold
from .compare import kept_or_new
from .evaluate import Row, summary_of

FOLDER, RESULT, PICTURE = "curves", "curve.json", "curve.png"
FEWEST = 3
"""Labelled patients that a curve needs: two to learn from, so that there are two numbers of labels, and one to test on."""
POINTS = 5
"""At most so many numbers of labels, the largest ones, unless they are named: what comes next follows from the last."""
NOTICEABLE = 0.01
"""Dice; where labels bring surely less than this, they hardly help any more."""
KEPT = ("minutes", "steps", "precision")
"""What is kept of a training's result."""

Verdict = Literal["yes", "hardly", "unclear"]
"""Whether more labels still help."""


def learning_curve(config: LearningCurveConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done:
    """Fine-tunes on 1, 2, 4, … of the labels and tests on labelled images that the training has not seen, fold by fold.

    Within a fold a larger number of labels holds the smaller one's, as when a user labels more. Every labelled image is
    held out once. Intervals are Student's over the folds, since the images of a fold share their networks; folds share
    images to learn from, so that they are somewhat narrow (Y. Bengio, Y. Grandvalet, JMLR 5, 2004). A curve of that name
    goes on where it was stopped.

    Returns:
        The Done event, whose result has "task", "folder", "rows" (count, fold, dice, cases: Dice by id, classes: Dice by
        name, minutes, steps and precision of each training), "points" (count, dice with its mean, low, high and
        count, and classes: Dice by name), "gain" ("before" and "after": the last two numbers of labels, "dice": what
        the labels between them brought), "verdict" ("yes", "hardly" or "unclear") and "text", which says it in a sentence.

    Raises:
        ConfigurationError: there are too few labelled patients, a number of labels is more than the folds leave, the
            start has learned from these labels, or the curve of that name is another one.
        HSSLError: a training failed.

    Example:
        >>> from hssl.configuration import FinetuneConfig, LearningCurveConfig
        >>> recipe = FinetuneConfig(workspace=workspace, task="liver", start="night", budget={"steps": 200})  # doctest: +SKIP
        >>> done = learning_curve(LearningCurveConfig(finetune=recipe))  # doctest: +SKIP
        >>> [(point["count"], point["dice"]["mean"]) for point in done.result["points"]]  # doctest: +SKIP
        >>> done.result["text"]  # doctest: +SKIP
    """
    recipe = config.finetune
    catalogue = Catalogue.load(recipe.workspace)
    folds = _folds(catalogue, config)
    counts = _counts(folds, config.case_counts)
    refuse_to_judge_what_was_learned(recipe, catalogue, [id for fold in folds for id in fold])
    name = config.name or free_name(recipe.workspace, f"curve-{recipe.task}")
    run_path(catalogue.workspace, name)  # refuses names that are no folder names
    folder = catalogue.workspace / FOLDER / name
    new = {"task": recipe.task, "recipe": comparable(recipe), "folds": folds, "case_counts": counts, "rows": []}
    with FolderLock(folder, "this learning curve"):
        kept = kept_or_new(folder / RESULT, new, "learning curve", ("task", "recipe", "folds", "case_counts"))
        rows: list[dict[str, Any]] = kept["rows"]
        trials = [(fold, count) for fold in range(1, len(folds) + 1) for count in counts]
        for number, (fold, count) in enumerate(trials, 1):
            detail = f"fold {fold}, {count} labelled"
            on_event(Phase(name="cross-validation", index=number, count=len(trials), detail=detail))
            if any((row["fold"], row["count"]) == (fold, count) for row in rows):
                continue
            # The first training decides for all, or noise of the machine would tell them apart.
            like = recipe.model_copy(update={"precision": rows[0]["precision"]}) if rows else recipe
            row = _trial(like, catalogue, folds, fold, count, f"{name}-fold-{fold}-{count}", on_event, stop)
            if row is None:
                return Done(stopped=True, result={"task": recipe.task, "folder": str(folder), "rows": rows})
            rows.append(row)
            write_json(folder / RESULT, kept)
            if row["dice"] is not None:
                on_event(Metrics(step=number, values={f"dice {count} labelled": row["dice"]}))
        found = conclusion(rows)
        write_json(folder / RESULT, {**kept, **found})
        with whole_file(folder / PICTURE) as temporary:
            shown = "scratch" if recipe.start == SCRATCH else "pretrained"
            drawn = [{"start": shown, "case_count": r["count"], "dice": r["dice"]} for r in _measured(rows)]
            dice_against_labels(drawn).savefig(temporary, format="png", dpi=160, facecolor="white")
    on_event(Message(text=found["text"]))
    return Done(result={"task": recipe.task, "folder": str(folder), "rows": rows, **found})


def conclusion(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns "points", "gain", "verdict" and "text" of a curve (see `learning_curve`).

    Args:
        rows: with "count", "fold", "dice" and "classes".

    Raises:
        ConfigurationError: no fold has a Dice for two numbers of labels.

    Example:
        >>> dice = {1: (0.6, 0.7, 0.65), 2: (0.7, 0.8, 0.76)}
        >>> rows = [{"count": n, "fold": f, "dice": d, "classes": {}} for n, of in dice.items() for f, d in enumerate(of)]
        >>> conclusion(rows)["verdict"]
        'yes'
    """
    by_count: dict[int, dict[int, float]] = {}
    for row in _measured(rows):
        by_count.setdefault(row["count"], {})[row["fold"]] = row["dice"]
    points = []
    for count in sorted(by_count):
        own = [row["classes"] for row in rows if row["count"] == count]
        names = dict.fromkeys(name for classes in own for name in classes)
        dice = {name: [c[name] for c in own if c.get(name) is not None] for name in names}
        classes = {name: fmean(values) if values else None for name, values in dice.items()}
        points.append({"count": count, "dice": asdict(student(list(by_count[count].values()))), "classes": classes})
    *_, before, after = [0, 0, *sorted(by_count)]
    both = sorted(by_count.get(before, {}).keys() & by_count.get(after, {}).keys())
    if not both:
        raise ConfigurationError(
            "no held-out image could be measured with two numbers of labels",
            "Check the labels: do they hold the classes?",
        )
    gain = student([by_count[after][fold] - by_count[before][fold] for fold in both])
    verdict = _verdict(gain)
    return {
        "points": points,
        "gain": {"before": before, "after": after, "dice": asdict(gain)},
        "verdict": verdict,
        "text": _sentence(verdict, before, after, gain),
    }


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


def _measured(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["dice"] is not None]


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
) -> dict[str, Any] | None:
    """Returns the row of a training, of which nothing else is kept; None when it was stopped."""
    held_out = folds[fold - 1]
    # The folds that come after it, in a circle: so long as labels are few, each fold learns from other ones.
    others = [id for ids in [*folds[fold:], *folds[: fold - 1]] for id in ids]
    found = tested_on_fold(recipe, catalogue, others[:count], held_out, run, on_event, stop)
    if found is None:
        return None
    training, measured = found
    shutil.rmtree(Path(training["run"]))
    return {"count": count, "fold": fold, **_dice(measured, held_out), **{k: training[k] for k in KEPT}}


def _dice(measured: Sequence[Row], held_out: Sequence[str]) -> dict[str, Any]:
    summary = summary_of(measured)
    cases = {id: summary_of([row for row in measured if row.case == id])["mean_dice"] for id in held_out}
    classes = {name: measures["dice"]["mean"] for name, measures in summary["classes"].items()}
    return {"dice": summary["mean_dice"], "cases": cases, "classes": classes}
