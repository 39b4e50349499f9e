"""Evaluation: predicted label maps against true ones, per case and class, in Dice, millimetres and millilitres."""

from __future__ import annotations

import csv
import filecmp
import itertools
import math
import os
import re
import statistics
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..configuration import EvaluateConfig
from ..errors import ConfigurationError, InputError, encodable
from ..events import Done, Message, Metrics, OnEvent, Phase, ProgressMeter, Stop, ignore, never
from ..files import write_json
from ..imaging import volumes
from ..imaging.dicom import find_series
from ..imaging.formats import stem_of
from ..imaging.labels import (
    laid_on,
    named_values,
    other_form_of,
    read_label_map,
    structures_in,
    structures_of,
    values_in,
)
from ..imaging.structures import Say
from ..models.model_file import describe
from ..outputs import PROBABILITY, UNCERTAINTY, ResultFolder, sources_of
from ..plural import counted, shortened, with_rest
from ..reporting.plots import dice_by_class
from ..results import Absent, CaseCount, EvaluateResult, FailedCase, Row, Statistics, Summary
from ..workspace.catalogue import LabelClass
from ..workspace.identity import content_of
from ..workspace.labels import no_label_map
from ..workspace.places import normalized
from ..workspace.seen import contents_seen

RULE = (
    "A class that is only in the reference (missed) or only in the prediction (invented) has a Dice of 0 and no "
    "surface distance; the Dice counts in the means. A class that is in neither is not measured and counts nowhere."
)
CSV, JSON, PNG = "evaluation.csv", "evaluation.json", "evaluation.png"
_ABSENT: dict[tuple[bool, bool], Absent] = {
    (True, True): "",
    (False, True): "prediction",
    (True, False): "reference",
    (False, False): "both",
}
"""By whether a class is in the prediction, and in the reference."""
MEASURES = ("dice", "hd95_mm", "asd_mm", "volume_error_ml", "volume_error_percent")


def measure(
    prediction: sitk.Image,
    reference: sitk.Image,
    classes: Sequence[LabelClass],
    case: str = "",
    ignore_value: int | None = None,
) -> list[Row]:
    """Compares two label maps on the same grid by MONAI's metrics.

    Surface distances are between the voxels at the classes' borders, with the spacing of the grid, and are computed
    inside the box around both masks. On a grid of one slice borders are outlines within it. For classes that are absent
    on one side or both see `RULE`.

    Args:
        prediction: label map of integers.
        reference: label map of integers.
        classes: what to compare.
        case: name that the rows carry.
        ignore_value: voxels that have this value in the reference were labelled by nobody, and count nowhere.

    Returns:
        A row for each class.

    Raises:
        ConfigurationError: the two grids differ.
    """
    difference = volumes.grid_difference(prediction, reference)
    if difference:
        raise ConfigurationError(f"prediction and reference are on different grids: {difference}")
    if ignore_value is not None:
        known = reference != ignore_value
        reference = sitk.Mask(reference, known)
        known.CopyInformation(prediction)  # to ITK, what rounding has moved by a hair is another grid
        prediction = sitk.Mask(prediction, known)
    found = [_extents(image) for image in (prediction, reference)]
    arrays = [sitk.GetArrayViewFromImage(image) for image in (prediction, reference)]
    spacing = reference.GetSpacing()[::-1]
    return [_compared(case, c, found[0], found[1], arrays[0], arrays[1], spacing) for c in classes]


def _extents(image: sitk.Image) -> dict[int, tuple[int, tuple[slice, ...]]]:
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputeFeretDiameterOff()
    shapes.ComputePerimeterOff()
    shapes.Execute(image)
    extents = {}
    for value in shapes.GetLabels():
        box = shapes.GetBoundingBox(value)
        extents[int(value)] = (
            int(shapes.GetNumberOfPixels(value)),
            tuple(slice(box[axis], box[axis] + box[axis + 3]) for axis in (2, 1, 0)),
        )
    return extents


def _compared(
    case: str,
    of: LabelClass,
    predicted: dict[int, tuple[int, tuple[slice, ...]]],
    true: dict[int, tuple[int, tuple[slice, ...]]],
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: tuple[float, ...],
) -> Row:
    voxel = math.prod(spacing) / 1000
    prediction_ml = predicted.get(of.value, (0,))[0] * voxel
    reference_ml = true.get(of.value, (0,))[0] * voxel
    absent = _ABSENT[of.value in predicted, of.value in true]
    dice = hd95 = asd = error = percent = None
    if absent != "both":
        error = prediction_ml - reference_ml
        dice = 0.0
    if of.value in true:
        percent = 100 * (prediction_ml - reference_ml) / reference_ml
    if not absent:
        boxes = zip(predicted[of.value][1], true[of.value][1], strict=True)
        box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in boxes)
        masks = prediction[box] == of.value, reference[box] == of.value
        if 1 in reference.shape:  # across the only slice every voxel would be at the border
            flat = reference.shape.index(1)
            masks, spacing = (masks[0].squeeze(flat), masks[1].squeeze(flat)), (*spacing[:flat], *spacing[flat + 1 :])
        dice, hd95, asd = _overlap_and_distances(*masks, spacing)
    return Row(case, of.name, of.value, dice, hd95, asd, reference_ml, prediction_ml, error, percent, absent)


def _overlap_and_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]
) -> tuple[float, float, float]:
    import torch
    from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance

    y_pred, y = (torch.from_numpy(mask)[None, None] for mask in (prediction, reference))
    with warnings.catch_warnings():  # MONAI 1.5's own call of an argument that it has deprecated
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        hd95 = compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95, spacing=spacing)
        asd = compute_average_surface_distance(y_pred, y, include_background=True, symmetric=True, spacing=spacing)
    return compute_dice(y_pred, y).item(), hd95.item(), asd.item()


def summary_of(rows: Sequence[Row]) -> Summary:
    """Returns mean, standard deviation, median and count of each measure, per class and over all."""
    names = list(dict.fromkeys(row.class_name for row in rows))
    classes = {
        name: {what: _statistics([getattr(r, what) for r in rows if r.class_name == name]) for what in MEASURES}
        for name in names
    }
    per_case: dict[str, list[float]] = {}
    for row in rows:
        if row.dice is not None:
            per_case.setdefault(row.case, []).append(row.dice)
    means = [statistics.fmean(values) for values in per_case.values()]
    return Summary(classes=classes, mean_dice=statistics.fmean(means) if means else None)


def _statistics(values: Sequence[float | None]) -> Statistics:
    known = [v for v in values if v is not None]
    return Statistics(
        mean=statistics.fmean(known) if known else None,
        std=statistics.stdev(known) if len(known) > 1 else None,
        median=statistics.median(known) if known else None,
        count=len(known),
    )


def evaluate(config: EvaluateConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done[EvaluateResult]:
    """Compares every predicted label map with the true one of the same name.

    Names are compared without suffix and without nnU-Net's "_0000"; `predictions` and `references` may also be two
    files. A pair that cannot be compared is listed with the reason, and the others go on.

    Args:
        config: what to compare, and where `evaluation.csv`, `evaluation.json` and `evaluation.png` go.
        on_event: receives progress, and the Dice of each case.
        stop: asked between cases; a stopped evaluation writes nothing.

    Returns:
        The Done event with an `EvaluateResult`.

    Raises:
        OutputError: the results would replace an input or what somebody else wrote, or cannot be written.
        InputError: a folder cannot be read, two files of it have the same name, no name is on both sides, or no
            pair could be compared.

    Example:
        >>> from hssl import evaluate
        >>> from hssl.configuration import EvaluateConfig
        >>> truth = workspace / "scans" / "brain_mr" / "labels"
        >>> config = EvaluateConfig(predictions=truth, references=truth, output=workspace / "evaluation")
        >>> evaluate(config).result.summary.mean_dice
        1.0
    """
    on_event(Phase(name="evaluation", index=1, count=1))
    classes, ignore_value = _classes_of(config.model)
    ignore_value = config.ignore_value if config.ignore_value is not None else ignore_value
    pairs, without_prediction, without_reference = _pairs(config.predictions, config.references)
    results = _planned(config, pairs)
    images = _images(config, pairs)
    known = _seen(config, images)
    _tell_of(pairs, without_prediction, without_reference, known, on_event)
    found: list[_Measured] = []
    failed: list[FailedCase] = []
    errors: list[InputError] = []
    meter = ProgressMeter(on_event, "evaluation", len(pairs))
    for done, (case, (predicted, true)) in enumerate(pairs.items()):
        if stop():
            return Done(stopped=True, result=EvaluateResult())
        meter.update(done, detail=case)
        try:
            image = images.get(case, ())
            measured = _measured(predicted, true, classes, case, ignore_value, image, config.spacing, on_event)
        except InputError as error:
            errors.append(error)
            failed.append(FailedCase(case=case, file=error.path, reason=error.reason))
            on_event(Message(level="error", text=str(error), way_out=error.way_out))
            continue
        if measured.unknown:
            text = f"{case}: the values {measured.unknown} belong to no class of the model"
            on_event(Message(level="warning", text=text))
        found.append(measured)
        dice = [r.dice for r in measured.rows if r.dice is not None]
        if dice:
            on_event(Metrics(step=done + 1, values={f"dice {case}": statistics.fmean(dice)}))
    meter.update(len(pairs), force=True)
    if len(failed) == len(pairs):
        raise next((error for error in errors if error.way_out), errors[0])
    _tell_of_values(found, on_event)
    rows = _with_absent([row for measured in found for row in measured.rows])
    result = EvaluateResult(
        rows=rows,
        summary=summary_of(rows),
        failed=failed,
        without_prediction=without_prediction,
        without_reference=without_reference,
        seen_by_model=known,
        cases=CaseCount(measured=len(pairs) - len(failed), of=len(pairs) + len(without_prediction)),
        csv_file=config.output / CSV,
        json_file=config.output / JSON,
        figure=config.output / PNG,
    )
    _write(config, results, result)
    return Done(result=result)


def _tell_of(
    pairs: dict[str, tuple[Path, Path]],
    without_prediction: list[str],
    without_reference: list[str],
    seen: list[str],
    on_event: OnEvent,
) -> None:
    """Warns of cases that stand alone, and of those whose figures say nothing of new images."""
    for cases, what in ((without_prediction, "prediction"), (without_reference, "reference")):
        if cases:
            text = f"{counted(len(cases), 'case has', 'cases have')} no {what}: {with_rest(cases, 10)}"
            on_event(Message(level="warning", text=text))
    if all(_is_same(predicted, true) for predicted, true in pairs.values()):
        text = "The predictions are the references, byte for byte: they are compared with themselves"
        on_event(Message(level="warning", text=text))
    if seen:
        text = (
            f"The model, or what it started from, has seen the images of {len(seen)} of {counted(len(pairs), 'case')}"
        )
        on_event(
            Message(level="warning", text=f"{text}: {with_rest(seen, 10)}; their figures say nothing of new images")
        )


def _tell_of_values(found: Sequence[_Measured], on_event: OnEvent) -> None:
    """Warns where it is doubtful that a value means the same on both sides."""
    by_number = [one for one in found if one.by_number]
    if by_number:
        meant = shortened((f"{value} as {name}" for value, name in by_number[0].by_number.items()), 5)
        text = f"Of {counted(len(by_number), 'case')} only one side names its values; the other's are taken by number"
        text = f"{text}, {meant}, unless the model is named that they are of"
        on_event(Message(level="warning", text=text))
    predicted, true = (set().union(*(one.values[side] for one in found)) for side in (0, 1))
    if predicted and true and not predicted & true:
        have, against = (shortened(sorted(values), 6) for values in (predicted, true))
        text = f"No value is on both sides: the predictions have {have}, the references {against}"
        on_event(Message(level="warning", text=f"{text}; are they the same classes?"))


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False  # told where it is read


def _classes_of(model: Path | None) -> tuple[list[LabelClass], int | None]:
    if model is None:
        return [], None
    description = describe(model).description
    description.require_segmentation(model)
    return description.tasks[0].classes, description.tasks[0].ignore_value


def _images(config: EvaluateConfig, pairs: dict[str, tuple[Path, Path]]) -> dict[str, Sequence[Path]]:
    """Returns the files of each case's image, as far as the predictions' record of results tells which that is."""
    of_file = not config.predictions.is_dir()
    sources = sources_of(config.predictions.parent if of_file else config.predictions)
    images: dict[str, Sequence[Path]] = {}
    for case, (predicted, _) in pairs.items():
        source = sources.get(predicted.name, "")
        folder, _, uid = source.rpartition(" ")
        if os.path.isfile(source):
            images[case] = [Path(source)]
        elif os.path.isdir(folder):
            with suppress(InputError):  # the series is no longer there
                images[case] = find_series(folder, uid).files
    return images


def _seen(config: EvaluateConfig, images: dict[str, Sequence[Path]]) -> list[str]:
    """Returns the cases whose image the model has seen."""
    if config.model is None:
        return []
    provenance = describe(config.model).description.provenance
    return [case for case, files in images.items() if contents_seen(provenance, [content_of(files)])]


def _pairs(predictions: Path, references: Path) -> tuple[dict[str, tuple[Path, Path]], list[str], list[str]]:
    if predictions.is_file() and references.is_file():
        return {_case_of(references): (predictions, references)}, [], []
    predicted, true = _files(predictions), _files(references)
    pairs = {case: (predicted[case], true[case]) for case in sorted(predicted.keys() & true.keys())}
    if not pairs:
        here, there = (f"{len(cases)}{f', such as {min(cases)}' if cases else ''}" for cases in (predicted, true))
        raise InputError(
            predictions,
            f"none of its volumes ({here}) has the name of one of those in {references} ({there})",
            "Names are compared without suffix, in these folders and not in those below them.",
        )
    return pairs, sorted(true.keys() - predicted.keys()), sorted(predicted.keys() - true.keys())


_MAP = re.compile(f"(?={re.escape(PROBABILITY)}|{re.escape(UNCERTAINTY)})")
"""Where the name of such a map goes on behind its owner's, every place that it may be."""


def _case_of(path: Path) -> str:
    return normalized(encodable(stem_of(path))).removesuffix(".seg").removesuffix("_0000")


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(folder, "is not a folder of label maps", "Name two folders, or two files.")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not volumes.suffix_of(path):
            continue
        case = _case_of(path)
        if case in files:
            raise InputError(folder, f"{files[case].name} and {path.name} are both of the case {case}")
        files[case] = path
    return {case: path for case, path in files.items() if not any(owner in files for owner in _owners(case))}


def _owners(case: str) -> list[str]:
    """Returns the cases of whose label map it is a map of probability or uncertainty, as `hssl predict` writes beside it."""
    return [case[: found.start()] for found in _MAP.finditer(case)]


@dataclass(frozen=True)
class _Measured:
    """What was found of a pair."""

    rows: list[Row]
    unknown: list[int]
    """Values that belong to no class of the model."""
    values: tuple[set[int], set[int]]
    """Of the prediction, and of the reference."""
    by_number: dict[int, str]
    """Classes by their value, where only one side names them."""


def _measured(
    predicted: Path,
    true: Path,
    of_model: list[LabelClass],
    case: str,
    ignore_value: int | None,
    image: Sequence[Path],
    spacing: Sequence[float] | None,
    on_event: OnEvent,
) -> _Measured:
    def warn(of: object, text: str) -> None:
        on_event(Message(level="warning", text=f"{of}: {text}"))

    classes = of_model or _common_classes(true, predicted)
    sides = [partial(_label_map, path, classes, spacing, partial(warn, path)) for path in (predicted, true)]
    if structures_in(predicted):  # which may need the other's grid
        reference = sides[1]()
        prediction = sides[0](reference)
    else:
        prediction = sides[0]()
        reference = sides[1](prediction)
    difference = volumes.grid_difference(prediction, reference)
    if difference:
        of_image = other_form_of(image[0]) if len(image) == 1 else lambda: None
        header = volumes.read_header(true, spacing=spacing)
        laid = laid_on(reference, header, prediction, of_image, partial(warn, case))
        if laid is None:
            raise InputError(predicted, f"is on another grid than {true}: {difference}")
        reference = laid
    values = (_extents(prediction).keys() - {0, ignore_value}, _extents(reference).keys() - {0, ignore_value})
    names = {} if classes else named_values(true) or named_values(predicted)
    every = sorted(values[0] | values[1])
    known = classes or [LabelClass(value=v, name=names[v].name if v in names else str(v)) for v in every]
    return _Measured(
        measure(prediction, reference, known, case, ignore_value),
        sorted(set(every) - {c.value for c in known}),
        values,
        {value: one.name for value, one in names.items()},
    )


def _common_classes(true: Path, predicted: Path) -> list[LabelClass]:
    """Returns the classes of two files that both name their segments, whatever their values; [] of any others."""
    there = [structures_in(path) for path in (true, predicted)]
    if not all(there):
        return []
    spelled: dict[str, str] = {}
    for one in itertools.chain(*there):
        spelled.setdefault(_folded(one.name), one.name)
    return [LabelClass(value=number, name=name) for number, name in enumerate(spelled.values(), 1)]


def _label_map(
    path: Path, classes: list[LabelClass], spacing: Sequence[float] | None, say: Say, like: sitk.Image | None = None
) -> sitk.Image:
    """Reads a label map; of a file that names its segments those that are classes, on the other side's grid."""
    if there := structures_in(path):
        chosen = structures_of(path, classes)
        others = [one.name for one in there if one.name not in chosen]
        if chosen and others:
            say(f"left out: segments that are no class of the model: {with_rest(others, 5)}")
        return read_label_map(path, like, classes=classes, structures=chosen, say=say, spacing=spacing)
    label = read_label_map(path, say=say, spacing=spacing)
    if reason := no_label_map(label, values_in(label)):
        raise InputError(path, reason)
    return label


def _with_absent(rows: list[Row]) -> list[Row]:
    """Adds a row for each class that other cases have and this one has on neither side.

    Classes are told by their names, in small letters or not: files that name their segments give them other values in
    every case.
    """
    classes: dict[str, Row] = {}
    for row in rows:
        classes.setdefault(_folded(row.class_name), row)
    found = {(row.case, _folded(row.class_name)): row for row in rows}
    nothing = Row("", "", 0, None, None, None, 0.0, 0.0, None, None, "both")
    return [
        replace(found.get((case, key), replace(nothing, case=case, value=first.value)), class_name=first.class_name)
        for case in dict.fromkeys(row.case for row in rows)
        for key, first in sorted(classes.items(), key=lambda item: item[1].value)
    ]


def _folded(name: str) -> str:
    return name.strip().casefold()


def _planned(config: EvaluateConfig, pairs: dict[str, tuple[Path, Path]]) -> ResultFolder:
    """Checks where the results go, before anything is measured."""
    given = [config.predictions, config.references, *([config.model] if config.model else [])]
    work = [
        [os.path.realpath(path) for path in given],
        config.ignore_value,
        *([config.spacing] if config.spacing else []),
    ]
    results = ResultFolder(config.output, work, config.overwrite)
    key = os.path.realpath(config.predictions)
    files = [config.output / name for name in (CSV, JSON, PNG)]
    results.plan([(file, key) for file in files], [*given, *(path for pair in pairs.values() for path in pair)])
    return results


def _write(config: EvaluateConfig, results: ResultFolder, result: EvaluateResult) -> None:
    rows = [asdict(row) for row in result.rows]
    with (
        results.writing(config.output / CSV) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(rows)
    with results.writing(config.output / PNG) as temporary:
        figure = dice_by_class({config.predictions.name: rows})
        figure.savefig(temporary, format="png", dpi=100, facecolor="white")
    where = {"predictions": str(config.predictions), "references": str(config.references)}
    content = result.model_dump(mode="json", exclude={"csv_file", "json_file", "figure"})
    with results.writing(config.output / JSON) as temporary:
        write_json(temporary, {"schema": 1, **where, "rule": RULE, **content})
