"""The report: one self-contained HTML page on a pretraining and on what few labels gave with it and without."""

from __future__ import annotations

import base64
import importlib.metadata
import io
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from .. import __version__
from ..files import read_json, write_text
from ..imaging.labels import read_label_map, structures_of
from ..imaging.volumes import read_volume
from ..models.model_file import describe
from ..models.run_folder import CONFIG, METRICS, RESULT, RunFolder
from ..outputs import check_outputs
from ..plural import counted
from ..workspace.catalogue import Catalogue, LabelClass, Task
from ..workspace.images import read_image
from ..workspace.labels import read_label
from ..workspace.presence import FILE_NAME
from . import plots

NOT_LOSSES = ("step", "seconds", "learning_rate", "validation_dice")
"""Columns of a metrics.csv that are no losses."""
_UNKNOWN = "–"


@dataclass(frozen=True)
class Picture:
    """A test case to show: files of the image, of the true label map, and of the predicted one by start."""

    image: Path
    reference: Path
    predictions: Mapping[str, Path]
    caption: str = ""


@dataclass(frozen=True)
class Downstream:
    """What was reached on one task with few labels; starts are "scratch" and "pretrained", or what `against` says.

    Attributes:
        task: its name in the catalogue.
        runs: start → folder of the fine-tuning run, for the learning curves.
        comparison: a comparison.json.
        evaluations: start → an evaluation.json.
        pictures: test cases to show.
        heading: of the section, behind the task's name.
        against: the start that is shown, and the one that it is compared with.
        headline: whether the difference stands at the top of the page too.
    """

    task: str
    runs: Mapping[str, Path] = field(default_factory=dict)
    comparison: Path | None = None
    evaluations: Mapping[str, Path] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    heading: str = "few labels"
    against: tuple[str, str] = ("pretrained", "scratch")
    headline: bool = True


def write_report(
    path: str | Path,
    title: str,
    workspace: Path,
    introduction: Sequence[str] = (),
    pretraining: Path | None = None,
    downstream: Sequence[Downstream] = (),
    provenance: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the page, with all its pictures in it, for light and dark screens and for paper.

    Args:
        path: of the HTML file.
        title: its heading.
        workspace: whose catalogue is shown.
        introduction: paragraphs below the heading.
        pretraining: folder of the pretraining run.
        downstream: a section each.
        provenance: further lines of the last section.
        overwrite: replace the file where there is one already.

    Raises:
        OutputError: the file is there already, is one that the page is made from, or cannot be written.
        InputError: a file that is named is absent or damaged.
    """
    check_outputs([path], [Path(workspace) / FILE_NAME, *_files(pretraining, downstream)], overwrite)
    catalogue = Catalogue.load(workspace)
    parts = [_downstream(part, catalogue.task(part.task)) for part in downstream]
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("report.html")
    write_text(
        path,
        template.render(
            title=title,
            introduction=introduction,
            date=time.strftime("%d %B %Y, %H:%M"),
            figures=_figures(catalogue, pretraining, parts),
            catalogue=_catalogue(catalogue),
            pretraining=None if pretraining is None else _pretraining(RunFolder(pretraining), catalogue),
            downstream=parts,
            rule=next((part["rule"] for part in parts if part["rule"]), ""),
            provenance=list({**_provenance(catalogue), **(provenance or {})}.items()),
        ),
    )


def _files(pretraining: Path | None, downstream: Sequence[Downstream]) -> list[Path]:
    """Returns the files that the page is made from."""
    runs = [*([pretraining] if pretraining else []), *(run for part in downstream for run in part.runs.values())]
    files = [run / name for run in runs for name in (CONFIG, RESULT, METRICS)]
    for part in downstream:
        files += [*([part.comparison] if part.comparison else []), *part.evaluations.values()]
        files += [file for p in part.pictures for file in (p.image, p.reference, *p.predictions.values())]
    return files


# Sections --------------------------------------------------------------------------------------------------------


def _figures(catalogue: Catalogue, pretraining: Path | None, parts: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    groups = {catalogue.group_of(task.name) for task in catalogue.tasks}
    figures = [
        {
            "value": str(len(catalogue.usable())),
            "what": f"volumes of {counted(len(catalogue.tasks), 'task')} in {counted(len(groups), 'group')}",
        }
    ]
    if pretraining is not None:
        _, minutes = _extent(RunFolder(pretraining))
        config = RunFolder(pretraining).read_config()
        labels = "with" if config.kind == "pretrain" and config.with_labels else "without"
        figures.append({"value": f"{minutes:.1f} min", "what": f"of pretraining {labels} labels"})
    for part in parts:
        if part["headline"] and part["gain"] is not None:
            figures.append(
                {
                    "value": _signed(part["gain"]),
                    "what": f"points of Dice over {part['rival']}: {part['task']}, {part['heading']}",
                }
            )
    return figures


def _catalogue(catalogue: Catalogue) -> dict[str, Any]:
    rows, gallery = [], []
    for task in catalogue.tasks:
        images = catalogue.usable(task.name)
        labelled = catalogue.usable(task.name, labelled=True)
        rows.append(
            {
                "name": task.name,
                "group": catalogue.group_of(task.name),
                "modality": task.modality,
                "classes": ", ".join(c.name for c in task.classes),
                "labelled": len(labelled),
                "unlabelled": len(images) - len(labelled),
                "size": _median([i.size for i in images if i.size], "{:.0f}"),
                "spacing": _median([i.spacing for i in images if i.spacing], "{:.3g}"),
            }
        )
        if images:
            chosen = (labelled or images)[0]
            image = read_image(catalogue, chosen)
            label = read_label(catalogue, chosen, image) if labelled else None
            view = plots.SliceView(image, label, task.modality, zoom=False)
            gallery.append({"task": task.name, "picture": _jpeg(plots.pictures({"": view.gray}, view.aspect))})
    refused = [{"path": r.path, "reason": r.reason} for r in catalogue.refused]
    refused += [{"path": i.image, "reason": i.problem} for i in catalogue.images if i.problem is not None]
    refused += [{"path": i.label or "", "reason": i.label_problem} for i in catalogue.images if i.label_problem]
    return {"tasks": rows, "gallery": gallery, "refused": refused}


def _pretraining(run: RunFolder, catalogue: Catalogue) -> dict[str, Any]:
    rows, config = run.read_metrics(), run.read_config()
    assert config.kind == "pretrain"
    losses = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in NOT_LOSSES]
    tasks = config.tasks or [task.name for task in catalogue.tasks]
    excluded = catalogue.with_patients(config.exclude)
    images = [i for task in tasks for i in catalogue.usable(task) if i.id not in excluded]
    # A start brings a network of its own.
    network = describe(run.path).description.network if run.can_resume else config.network
    labels = "the labels were not read"
    if config.with_labels:
        known = {i.id for i in catalogue.usable(labelled=True)}
        labels = f"the labels of {sum(i.id in known for i in images)} of them were learned too"
    steps, minutes = _extent(run)
    sentence = (
        f"{steps:,} steps in {minutes:.1f} minutes by the pretext “{config.pretext}” on "
        f"{counted(len(images), 'volume')} of {counted(len(tasks), 'task')}; {labels}. "
        f"{network.size.capitalize()} {network.spatial_dims}D network, {network.in_slices} neighbouring "
        f"slices in, {network.norm} norm."
    )
    if config.exclude:
        sentence += f" Kept out as test volumes: {len(config.exclude)}."
    weights = {name: weight for name, weight in config.weights if weight and name in losses}
    shown = ["total", *weights] if "total" in losses and weights else losses
    return {
        "sentence": sentence,
        "curves": _themed(lambda dark: plots.loss_curves(rows, shown, dark)) if shown else None,
        "config": config.model_dump_json(indent=1),
    }


def _downstream(part: Downstream, task: Task) -> dict[str, Any]:
    evaluations = {start: read_json(path) for start, path in part.evaluations.items()}
    comparison = None if part.comparison is None else read_json(part.comparison)["rows"]
    verdict, gain = _verdict(evaluations, part.against)
    drawings: list[tuple[str, Callable[[bool], Figure]]] = []
    runs = {start: RunFolder(path).read_metrics() for start, path in part.runs.items()}
    if runs and all(any("total" in row for row in rows) for rows in runs.values()):
        validated = all(sum("validation_dice" in row for row in rows) > 1 for rows in runs.values())
        what, label = ("validation_dice", "validation Dice") if validated else ("total", "training loss")
        caption = f"Learning curves: {label} during fine-tuning."
        drawings.append((caption, lambda dark: plots.learning_curves(runs, what, label=label, dark=dark)))
    if comparison:
        renamed = [{**row, "start": _start(row["start"])} for row in comparison]
        if len({row["case_count"] for row in comparison}) > 1:
            caption = "Dice against the number of labelled cases: mean and range of the draws."
            drawings.append((caption, lambda dark: plots.dice_against_labels(renamed, dark)))
    if evaluations:
        measured = {start: evaluation["rows"] for start, evaluation in evaluations.items()}
        caption = "Every test case by class; a line joins the results of a case, bars are means."
        drawings.append((caption, lambda dark: plots.dice_by_class(measured, dark)))
    return {
        "task": part.task,
        "heading": part.heading,
        "headline": part.headline,
        "rival": "a start from scratch" if part.against[1] == "scratch" else part.against[1],
        "gain": gain,
        "verdict": verdict,
        "caution": _caution(comparison or []),
        "plots": [{**_themed(draw), "caption": caption} for caption, draw in drawings],
        "comparison": _comparison(comparison) if comparison else None,
        "evaluation": _evaluation(evaluations),
        "problems": [text for start, evaluation in evaluations.items() for text in _problems(start, evaluation)],
        "pictures": [_picture(picture, task) for picture in part.pictures],
        "key": [
            {"name": c.name, "color": "#" + "".join(f"{round(255 * v):02x}" for v in color)}
            for c, color in zip(task.classes, plots.colors_of(task.classes), strict=True)
        ],
        "rule": next((evaluation["rule"] for evaluation in evaluations.values()), ""),
    }


def _verdict(evaluations: Mapping[str, Any], against: tuple[str, str]) -> tuple[str, float | None]:
    """Returns a sentence on the mean Dice of the test cases, and the points that the first of two starts is ahead."""
    ours, other = against
    if not {ours, other} <= evaluations.keys():
        return "", None
    dice = {start: _dice_of_cases(evaluations[start]["rows"]) for start in against}
    cases = sorted(dice[ours].keys() & dice[other].keys())
    if not cases:
        return "", None
    means = {start: 100 * statistics.fmean(values[case] for case in cases) for start, values in dice.items()}
    differences = np.array([100 * (dice[ours][case] - dice[other][case]) for case in cases])
    gain = float(differences.mean())
    sentence = (
        f"Mean Dice over {len(cases)} test cases that no training has seen: {means[ours]:.1f} % {ours}, "
        f"{means[other]:.1f} % {'from scratch with the same recipe' if other == 'scratch' else other}; "
        f"a difference of {_signed(gain)} points"
    )
    if len(cases) > 2:
        draws = np.random.default_rng(0).integers(len(cases), size=(10_000, len(cases)))
        low, high = np.percentile(differences[draws].mean(axis=1), [2.5, 97.5])
        sentence += f" (95 % interval over the cases, by bootstrap: {_signed(low)} to {_signed(high)})"
    return sentence + ".", gain


def _dice_of_cases(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    cases: dict[str, list[float]] = {}
    for row in rows:
        if row["dice"] is not None:
            cases.setdefault(row["case"], []).append(row["dice"])
    return {case: statistics.fmean(values) for case, values in cases.items()}


def _caution(comparison: Sequence[Mapping[str, Any]]) -> str:
    seeds = {row["seed"] for row in comparison}
    if len(seeds) != 1:
        return ""
    return (
        "One draw of the labelled cases and one seed: the interval tells how the test cases differ, not what another "
        "draw would give. “hssl compare” with several seeds does."
    )


def _comparison(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for row in rows for name in row["classes"]))
    ordered = sorted(rows, key=lambda r: (r["case_count"], r["seed"], r["start"] == "scratch"))
    shown, before = [], None
    for row in ordered:
        trial = (row["case_count"], row["seed"])
        rivals = [r["dice"] for r in rows if (r["case_count"], r["seed"]) == trial and r["dice"] is not None]
        shown.append(
            {
                "start": _start(row["start"]),
                "case_count": row["case_count"],
                "seed": row["seed"],
                "dice": _percent(row["dice"]),
                "classes": [_percent(row["classes"].get(name)) for name in names],
                "minutes": f"{row['minutes']:.1f}",
                "first": before is not None and before != trial,
                "best": len(rivals) > 1 and row["dice"] == max(rivals),
            }
        )
        before = trial
    return {"classes": names, "rows": shown}


def _evaluation(evaluations: Mapping[str, Any]) -> list[dict[str, Any]]:
    summaries = {start: evaluation["summary"]["classes"] for start, evaluation in evaluations.items()}
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(name for classes in summaries.values() for name in classes):
        there = {start: classes[name] for start, classes in summaries.items() if name in classes}
        known = [m["dice"]["mean"] for m in there.values() if m["dice"]["mean"] is not None]
        for place, (start, measures) in enumerate(there.items()):
            rows.append(
                {
                    "name": name if place == 0 else "",
                    "first": place == 0 and bool(rows),
                    "start": start,
                    "count": measures["dice"]["count"],
                    "dice": _spread(measures["dice"], 100),
                    "median": _percent(measures["dice"]["median"]),
                    "best": len(known) > 1 and measures["dice"]["mean"] == max(known),
                    **{what: _spread(values) for what, values in measures.items() if what != "dice"},
                }
            )
    return rows


def _problems(start: str, evaluation: Mapping[str, Any]) -> list[str]:
    texts = [f"{start}, {f['case']}: not measured, {f['file']} {f['reason']}" for f in evaluation["failed"]]
    for key, what in (("without_prediction", "prediction"), ("without_reference", "reference")):
        if evaluation[key]:
            texts.append(f"{start}: no {what} for {', '.join(evaluation[key])}")
    for row in evaluation["rows"]:
        if row["absent"] == "prediction":
            texts.append(f"{start}, {row['case']}: {row['class_name']} was missed altogether")
        elif row["absent"] == "reference":
            texts.append(f"{start}, {row['case']}: {row['class_name']} was found where there is none")
    return texts


def _picture(picture: Picture, task: Task) -> dict[str, str]:
    image = read_volume(picture.image)
    classes: Sequence[LabelClass] = task.classes
    chosen = structures_of(picture.reference, classes)
    reference = read_label_map(picture.reference, image, classes=classes, structures=chosen)
    view = plots.SliceView(image, reference, task.modality)
    panels = {"image": view.overlaid(None, classes), "truth": view.overlaid(reference, classes)}
    for start, path in picture.predictions.items():
        panels[start] = view.overlaid(read_label_map(path, like=image), classes)
    return {"picture": _jpeg(plots.pictures(panels, view.aspect)), "caption": picture.caption}


def _provenance(catalogue: Catalogue) -> dict[str, str]:
    packages = ("torch", "monai", "SimpleITK", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return {
        "Workspace": str(catalogue.workspace),
        "Catalogue": f"SHA-256 {catalogue.content_hash()}",
        "Versions": f"HSSL {__version__}, Python {platform.python_version()}, {versions}",
        "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
    }


# Small parts -----------------------------------------------------------------------------------------------------


def _start(name: str) -> str:
    return "scratch" if name == "scratch" else "pretrained"


def _extent(run: RunFolder) -> tuple[int, float]:
    """Returns the steps and minutes of a run: its result's, or those of the last row of an unfinished one."""
    if run.finished:
        result = run.read_result()
        return result.steps, result.minutes
    last = (run.read_metrics() or [{"step": 0, "seconds": 0}])[-1]
    return int(last["step"]), last["seconds"] / 60


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{100 * value:.1f}"


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


def _spread(values: Mapping[str, float | None], factor: float = 1) -> str:
    if values["mean"] is None:
        return _UNKNOWN
    text = f"{factor * values['mean']:.1f}".replace("-", "−")
    return text if values["std"] is None else f"{text} ± {factor * values['std']:.1f}"


def _median(values: Sequence[Sequence[float]], form: str) -> str:
    if not values:
        return _UNKNOWN
    return " × ".join(form.format(statistics.median(axis)) for axis in zip(*values, strict=True))


def _themed(draw: Callable[[bool], Figure]) -> dict[str, Any]:
    light, dark = draw(False), draw(True)
    width = round(light.get_figwidth() * 96)
    return {"light": _svg(light), "dark": _svg(dark), "width": width}


def _svg(figure: Figure) -> str:
    text = io.BytesIO()
    with plots.style():
        figure.savefig(text, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(text.getvalue()).decode()


def _jpeg(figure: Figure) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="jpeg", dpi=150, pil_kwargs={"quality": 88})
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
