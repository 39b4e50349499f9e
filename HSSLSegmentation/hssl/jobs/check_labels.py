"""Wrong labels: folds of short trainings, and the labels that the networks that have not seen them disagree with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..configuration import CheckLabelsConfig, FinetuneConfig
from ..errors import ConfigurationError
from ..events import Done, Message, Metrics, OnEvent, Phase, Stop, Stopped, as_part, ignore, never
from ..files import read_json, write_json
from ..locks import FolderLock
from ..models.run_folder import free_name, run_path
from ..workspace.catalogue import Catalogue
from .compare import evaluate_on_cases
from .evaluate import summary_of
from .finetune import drawn_by_patient, finetune

FOLDER, RESULT = "checks", "check.json"


def check_labels(config: CheckLabelsConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done:
    """Ranks the labelled images of a task by how much their label and a network that has not seen it disagree.

    Confident learning's idea (C. G. Northcutt et al., JAIR 70, 2021) with cross-validation over images: what is learned
    from the others tells little of a label that is right, and much of one that is wrong.

    Returns:
        The Done event, whose result has "task", "folder" and "rows", the most doubtful first: id, dice (mean over the
        classes, against the image's own label), classes (Dice by name) and run (the network that has not seen it).

    Raises:
        ConfigurationError: there are fewer labelled patients than folds, or the check of that name is another one.
        HSSLError: a fold failed.

    Example:
        >>> from hssl.configuration import CheckLabelsConfig, FinetuneConfig
        >>> recipe = FinetuneConfig(workspace=workspace, task="liver", budget={"steps": 100})  # doctest: +SKIP
        >>> done = check_labels(CheckLabelsConfig(finetune=recipe))  # doctest: +SKIP
        >>> [row["id"] for row in done.result["rows"][:8]]  # doctest: +SKIP
    """
    recipe = config.finetune
    catalogue = Catalogue.load(recipe.workspace)
    folds = _folds(catalogue, config)
    name = config.name or free_name(recipe.workspace, f"check-{recipe.task}")
    run_path(catalogue.workspace, name)  # refuses names that are no folder names
    folder = catalogue.workspace / FOLDER / name
    with FolderLock(folder, "this check"):
        kept = _kept(folder, config, folds)
        for number in range(1, len(folds) + 1):
            on_event(Phase(name="comparison", index=number, count=len(folds), detail=f"fold {number}"))
            if number <= kept["folds_done"]:
                continue
            rows = _fold(config, catalogue, folds, number, name, on_event, stop)
            if rows is None:
                return Done(stopped=True, result={"task": recipe.task, "folder": str(folder), "rows": kept["rows"]})
            kept["rows"] = sorted([*kept["rows"], *rows], key=lambda row: (row["dice"], row["id"]))
            kept["folds_done"] = number
            write_json(folder / RESULT, kept)
            on_event(Metrics(step=number, values={f"dice {row['id']}": row["dice"] for row in rows}))
    for row in kept["rows"][:3]:
        on_event(
            Message(
                text=f"{row['id']}: its label and what was learned from the others have a Dice of {row['dice']:.2f}"
            )
        )
    return Done(result={"task": recipe.task, "folder": str(folder), "rows": kept["rows"]})


def _folds(catalogue: Catalogue, config: CheckLabelsConfig) -> list[list[str]]:
    """Returns the ids of each fold: drawn by the seed, the images of a patient together."""
    recipe = config.finetune
    catalogue.task(recipe.task)
    catalogue.require(recipe.exclude, "to be left out")
    taken = catalogue.with_patients(recipe.exclude)
    labelled = [i.id for i in catalogue.usable(recipe.task, labelled=True) if i.id not in taken]
    order = drawn_by_patient(catalogue, labelled, recipe.seed)
    patients = list(dict.fromkeys(catalogue.patient_of(catalogue.image(id)) for id in order))
    if len(patients) < config.folds:
        raise ConfigurationError(
            f"task {recipe.task!r} has labels of {len(patients)} patients, too few for {config.folds} folds",
            "Label more, or choose fewer folds.",
        )
    fold_of = {patient: n % config.folds for n, patient in enumerate(patients)}
    folds: list[list[str]] = [[] for _ in range(config.folds)]
    for id in order:
        folds[fold_of[catalogue.patient_of(catalogue.image(id))]].append(id)
    return folds


def _fold(
    config: CheckLabelsConfig,
    catalogue: Catalogue,
    folds: list[list[str]],
    number: int,
    name: str,
    on_event: OnEvent,
    stop: Stop,
) -> list[dict[str, Any]] | None:
    """Trains on the other folds and returns a row for each image of this one; None when it was stopped."""
    recipe, held_out = config.finetune, folds[number - 1]
    values = {
        **recipe.model_dump(),
        "cases": [id for n, fold in enumerate(folds, 1) if n != number for id in fold],
        "case_count": 0,
        "validation": [],
        "exclude": sorted({*recipe.exclude, *held_out}),
        "run": f"{name}-fold-{number}",
    }
    done = finetune(FinetuneConfig.checked(values), as_part(on_event), stop)
    if done.stopped:
        return None
    run = Path(done.result["run"])
    try:
        with torch.inference_mode():
            images = [catalogue.image(id) for id in held_out]
            measured = evaluate_on_cases(run, catalogue, images, recipe.device, on_event, stop)
    except Stopped:
        return None
    rows = []
    for id in held_out:
        own = [row for row in measured if row.case == id]
        # A class that neither the label nor the network has agrees, and is measured by nothing.
        dice = summary_of(own)["mean_dice"]
        classes = {row.class_name: row.dice for row in own}
        rows.append({"id": id, "dice": 1.0 if dice is None else dice, "classes": classes, "run": str(run)})
    return rows


def _kept(folder: Path, config: CheckLabelsConfig, folds: list[list[str]]) -> dict[str, Any]:
    """Returns what the check of that name has found so far."""
    new: dict[str, Any] = {"task": config.finetune.task, "folds": folds, "folds_done": 0, "rows": []}
    path = folder / RESULT
    if not path.exists():
        return new
    kept: dict[str, Any] = read_json(path)
    if any(kept.get(key) != new[key] for key in ("task", "folds")):
        raise ConfigurationError(f"{folder} is a check of other labels or folds", "Choose another name.")
    return kept
