"""The demo: everything that the engine does, on generated scans, in a few minutes and with a report at the end."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..configuration import Budget, CompareConfig, EvaluateConfig, FinetuneConfig, PredictConfig, PretrainConfig
from ..events import Done, OnEvent, Phase, PhaseName, Stop, Stopped, as_part, ignore, never
from ..jobs.compare import RESULT, compare
from ..jobs.evaluate import evaluate
from ..jobs.predict import predict
from ..jobs.pretrain import pretrain
from ..outputs import ResultFolder
from ..reporting.report import Downstream, Picture, write_report
from ..workspace.catalogue import FILE_NAME, Catalogue, Image
from .painted import FILLED, INTERPOLATED, SLICES, fill
from .workspace import sample

PHASES: tuple[PhaseName, ...] = (
    "scans", "pretraining", "learning", "fine-tuning", "prediction", "evaluation", "report",
)  # fmt: skip
TASK = "brain_mr"
"""What is segmented with few labels."""
LABELLED = 3
"""Labelled volumes to fine-tune on, drawn by the seed out of one more; all others are for testing."""
FINETUNING = 0.3
"""Minutes of each of the two fine-tunings for a minute of pretraining."""
PATCH = {"demo": 64, "tiny": 32}
"""Side of the patches for each size of scans: smaller than a slice, so that minutes are enough for many steps."""
SHOWN = 3
"""Test cases in the report's pictures."""
STARTS = ("scratch", "pretrained")


def run_demo(
    folder: str | Path,
    on_event: OnEvent = ignore,
    stop: Stop = never,
    minutes: float = 3.0,
    size: Literal["demo", "tiny"] = "demo",
    seed: int = 0,
) -> Done:
    """Generates scans and goes the whole way: catalogue, pretraining, learning from three painted slices, fine-tuning on
    three labelled volumes of one task, pretrained and from scratch, prediction and evaluation of test cases that no
    training has seen, report.

    A demo that was stopped goes on where it was when it is called again for the same folder.

    Args:
        folder: gets `workspace`, with the scans in it, and `report.html`.
        on_event: receives the events; the phases are `PHASES`.
        stop: asked often.
        minutes: of pretraining; the fine-tunings scale with it.
        size: of the scans, as in `hssl.demo.scans.generate`.
        seed: of everything random.

    Returns:
        Done with "report", "workspace" (paths), "rows" (of the comparison) and "dice" (start, or
        way to fill what is between painted slices → mean over test cases).

    Raises:
        HSSLError: with the reason.
    """
    try:
        return Done(result=_ran(Path(folder).expanduser().absolute(), on_event, stop, minutes, size, seed))
    except Stopped:
        return Done(stopped=True, result={"workspace": str(Path(folder).expanduser().absolute() / "workspace")})


def _ran(
    folder: Path, on_event: OnEvent, stop: Stop, minutes: float, size: Literal["demo", "tiny"], seed: int
) -> dict[str, Any]:
    tell = as_part(on_event)

    def enter(phase: PhaseName) -> None:
        if stop():
            raise Stopped
        on_event(Phase(name=phase, index=PHASES.index(phase) + 1, count=len(PHASES)))

    report = folder / "report.html"
    results = ResultFolder(folder, "demo")
    results.plan([(report, "demo")], [])
    enter("scans")
    workspace = folder / "workspace"
    if not (workspace / FILE_NAME).exists():
        _finished(sample(workspace, size, seed, tell, stop))
    catalogue = Catalogue.load(workspace)
    labelled = catalogue.usable(TASK, labelled=True)
    test = labelled[min(LABELLED + 1, len(labelled) - 1) :]
    excluded = [image.id for image in test]

    enter("pretraining")
    pretraining = PretrainConfig(
        workspace=workspace,
        run="pretraining",
        seed=seed,
        budget=Budget(minutes=minutes),
        patch_size=PATCH[size],
        exclude=excluded,
    )
    pretrained = _finished(pretrain(pretraining, tell, stop))

    images = [catalogue.image_path(image) for image in test]
    truth = _copied_labels(catalogue, test, workspace / "predictions" / "truth")
    labels = [truth / path.name for path in images]

    enter("learning")
    painted = fill(
        images[:SHOWN], labels[:SHOWN], Path(pretrained["run"]), workspace / "predictions" / "slices", tell, stop
    )

    enter("fine-tuning")
    recipe = FinetuneConfig(
        workspace=workspace,
        task=TASK,
        budget=Budget(minutes=minutes * FINETUNING),
        patch_size=PATCH[size],
        batch_size=8,
    )
    comparison = _finished(
        compare(
            CompareConfig(
                finetune=recipe,
                start=pretraining.run,
                name="few-labels",
                case_counts=[min(LABELLED, len(labelled) - len(test))],
                seeds=[seed],
                test=excluded,
            ),
            tell,
            stop,
        )
    )
    runs = {row["start"]: Path(row["run"]) for row in comparison["rows"]}

    enter("prediction")
    predictions = {start: workspace / "predictions" / start for start in STARTS}
    for start in STARTS:
        _finished(predict(PredictConfig(model=runs[start], inputs=images, output=predictions[start]), tell, stop))

    enter("evaluation")
    evaluations = {}
    for start, found in {**predictions, **painted}.items():
        config = EvaluateConfig(
            predictions=found,
            references=truth,
            output=workspace / "evaluations" / start,
            model=runs["pretrained"],
        )
        evaluations[start] = _finished(evaluate(config, tell, stop))
    measured = {start: Path(done["json"]) for start, done in evaluations.items()}

    def pictures(found: Mapping[str, Path]) -> list[Picture]:
        return [
            Picture(image, label, {start: path / label.name for start, path in found.items()}, caption=one.id)
            for one, image, label in list(zip(test, images, labels, strict=True))[:SHOWN]
        ]

    enter("report")
    with results.writing(report) as temporary:
        write_report(
            temporary,
            "HSSL demo",
            workspace,
            introduction=_introduction(catalogue, comparison["rows"], minutes),
            pretraining=Path(pretrained["run"]),
            downstream=[
                Downstream(
                    task=TASK,
                    heading=f"{SLICES} painted slices of each structure",
                    against=(FILLED, INTERPOLATED),
                    evaluations={way: measured[way] for way in painted},
                    pictures=pictures(painted),
                ),
                Downstream(
                    task=TASK,
                    heading=f"{comparison['rows'][0]['case_count']} labelled volumes",
                    runs={start: runs[start] for start in STARTS},
                    comparison=Path(comparison["folder"]) / RESULT,
                    evaluations={start: measured[start] for start in STARTS},
                    pictures=pictures(predictions),
                ),
            ],
            provenance={"Seed": str(seed), "Scans": f"generated, preset “{size}”"},
            overwrite=True,  # the temporary file is there
        )
    return {
        "report": str(report),
        "workspace": str(workspace),
        "rows": comparison["rows"],
        "dice": {start: done["summary"]["mean_dice"] for start, done in evaluations.items()},
    }


def _finished(done: Done) -> dict[str, Any]:
    if done.stopped:
        raise Stopped
    return done.result


def _copied_labels(catalogue: Catalogue, images: Sequence[Image], folder: Path) -> Path:
    labels = [label for image in images if (label := catalogue.label_path(image)) is not None]
    results = ResultFolder(folder, "truth")
    results.plan([(folder / label.name, label.name) for label in labels], labels)
    for label in labels:
        with results.writing(folder / label.name) as temporary:
            shutil.copyfile(label, temporary)
    return folder


def _introduction(catalogue: Catalogue, rows: Sequence[dict[str, Any]], minutes: float) -> list[str]:
    groups = {catalogue.group_of(task.name) for task in catalogue.tasks}
    return [
        f"One network learned from the generated scans of {len(catalogue.tasks)} tasks in {len(groups)} groups, "
        f"without labels. Then “{TASK}” was segmented in two ways: from {SLICES} painted slices of each structure of a "
        f"single scan, and by a network that learned from {rows[0]['case_count']} labelled volumes.",
        f"What comes first below is what saves work at once: paint {SLICES} slices, and have the rest filled. It stands "
        "beside the interpolation of the painted shapes by their signed distances, with the same painted slices.",
        "For the labelled volumes a network that started from scratch had the same volumes, the same recipe and the "
        f"same time. Generated scans are easily learned, and {minutes:g} minutes of pretraining show how everything "
        "works, not what pretraining gives: on real scans that was measured, and depends on them (docs/results.md).",
    ]
