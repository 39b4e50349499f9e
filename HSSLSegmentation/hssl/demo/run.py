"""The demo: everything that the engine does, on generated scans, in a few minutes and with a report at the end."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from ..configuration import Budget, CompareConfig, EvaluateConfig, FinetuneConfig, PredictConfig, PretrainConfig
from ..events import Done, OnEvent, Phase, PhaseName, Stop, Stopped, as_part, ignore, never
from ..jobs.compare import RESULT, compare
from ..jobs.evaluate import evaluate
from ..jobs.predict import predict
from ..jobs.pretrain import pretrain
from ..outputs import ResultFolder
from ..reporting.report import Downstream, Picture, write_report
from ..results import CompareResult, DemoResult, EvaluateResult, Result, Trial
from ..workspace.catalogue import Catalogue, Image
from ..workspace.presence import FILE_NAME
from .painted import FILLED, INTERPOLATED, SLICES, fill
from .workspace import sample

R = TypeVar("R", bound=Result)
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
PRETRAINING = "pretraining"
"""Name of the pretraining's run."""


def run_demo(
    folder: str | Path,
    on_event: OnEvent = ignore,
    stop: Stop = never,
    minutes: float = 3.0,
    size: Literal["demo", "tiny"] = "demo",
    seed: int = 0,
) -> Done[DemoResult]:
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
        The Done event with a `DemoResult`.

    Raises:
        HSSLError: with the reason.
    """
    demo = _Demo(Path(folder).expanduser().absolute(), on_event, stop, minutes, size, seed)
    try:
        return Done(result=demo.run())
    except Stopped:
        return Done(stopped=True, result=DemoResult(workspace=demo.workspace))


@dataclass
class _Demo:
    """The steps of the demo, each of which takes up what those before it have left in the folder."""

    folder: Path
    on_event: OnEvent
    stop: Stop
    minutes: float
    size: Literal["demo", "tiny"]
    seed: int

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def run(self) -> DemoResult:
        """Goes all the way.

        Raises:
            Stopped: `stop` asked for it.
        """
        report = self.folder / "report.html"
        results = ResultFolder(self.folder, "demo")
        results.plan([(report, "demo")], [])
        catalogue = self._scans()
        test = _tested(catalogue)
        pretraining = self._pretrained(test)
        images = [catalogue.image_path(image) for image in test]
        truth = _copied_labels(catalogue, test, self.workspace / "predictions" / "truth")
        labels = [truth / path.name for path in images]
        painted = self._painted(images[:SHOWN], labels[:SHOWN], pretraining)
        comparison = self._compared(catalogue, test)
        runs: dict[str, Path] = {row.start: row.run for row in comparison.rows}
        predictions = self._predicted(runs, images)
        few = _copied_labels(catalogue, test[:SHOWN], self.workspace / "predictions" / "slices" / "truth")
        self._enter("evaluation")
        evaluations = {
            **self._evaluated(painted, few, runs["pretrained"]),
            **self._evaluated(predictions, truth, runs["pretrained"]),
        }
        shown = list(zip([image.id for image in test], images, labels, strict=True))[:SHOWN]
        self._enter("report")
        with results.writing(report) as temporary:
            write_report(
                temporary,
                "HSSL demo",
                self.workspace,
                introduction=_introduction(catalogue, comparison.rows, self.minutes),
                pretraining=pretraining,
                downstream=[
                    _from_slices(painted, evaluations, shown),
                    _from_volumes(comparison, runs, predictions, evaluations, shown),
                ],
                provenance={"Seed": str(self.seed), "Scans": f"generated, preset “{self.size}”"},
                overwrite=True,  # the temporary file is there
            )
        return DemoResult(
            report=report,
            workspace=self.workspace,
            rows=comparison.rows,
            dice={start: found.summary.mean_dice for start, found in evaluations.items()},
        )

    def _enter(self, phase: PhaseName) -> None:
        if self.stop():
            raise Stopped
        self.on_event(Phase(name=phase, index=PHASES.index(phase) + 1, count=len(PHASES)))

    def _scans(self) -> Catalogue:
        self._enter("scans")
        if not (self.workspace / FILE_NAME).exists():
            _finished(sample(self.workspace, self.size, self.seed, as_part(self.on_event), self.stop))
        return Catalogue.load(self.workspace)

    def _pretrained(self, test: Sequence[Image]) -> Path:
        self._enter("pretraining")
        config = PretrainConfig(
            workspace=self.workspace,
            run=PRETRAINING,
            seed=self.seed,
            budget=Budget(minutes=self.minutes),
            patch_size=PATCH[self.size],
            exclude=[image.id for image in test],
        )
        return _finished(pretrain(config, as_part(self.on_event), self.stop)).run

    def _painted(self, images: Sequence[Path], labels: Sequence[Path], pretraining: Path) -> dict[str, Path]:
        self._enter("learning")
        folder = self.workspace / "predictions" / "slices"
        return fill(images, labels, pretraining, folder, as_part(self.on_event), self.stop)

    def _compared(self, catalogue: Catalogue, test: Sequence[Image]) -> CompareResult:
        self._enter("fine-tuning")
        recipe = FinetuneConfig(
            workspace=self.workspace,
            task=TASK,
            budget=Budget(minutes=self.minutes * FINETUNING),
            patch_size=PATCH[self.size],
            batch_size=8,
        )
        left = len(catalogue.usable(TASK, labelled=True)) - len(test)
        config = CompareConfig(
            finetune=recipe,
            start=PRETRAINING,
            name="few-labels",
            case_counts=[min(LABELLED, left)],
            seeds=[self.seed],
            test=[image.id for image in test],
        )
        return _finished(compare(config, as_part(self.on_event), self.stop))

    def _predicted(self, runs: Mapping[str, Path], images: Sequence[Path]) -> dict[str, Path]:
        self._enter("prediction")
        predictions = {start: self.workspace / "predictions" / start for start in STARTS}
        for start, folder in predictions.items():
            config = PredictConfig(model=runs[start], inputs=list(images), output=folder)
            _finished(predict(config, as_part(self.on_event), self.stop))
        return predictions

    def _evaluated(self, predictions: Mapping[str, Path], truth: Path, model: Path) -> dict[str, EvaluateResult]:
        evaluations = {}
        for start, found in predictions.items():
            config = EvaluateConfig(
                predictions=found, references=truth, output=self.workspace / "evaluations" / start, model=model
            )
            evaluations[start] = _finished(evaluate(config, as_part(self.on_event), self.stop))
        return evaluations


Shown = Sequence[tuple[str, Path, Path]]
"""Id, image and label of each case in the report's pictures."""


def _from_slices(found: Mapping[str, Path], evaluations: Mapping[str, EvaluateResult], shown: Shown) -> Downstream:
    """Returns the part of the report about painted slices."""
    return Downstream(
        task=TASK,
        heading=f"{SLICES} painted slices of each structure",
        against=(FILLED, INTERPOLATED),
        evaluations=_written(found, evaluations),
        pictures=_pictures(found, shown),
    )


def _from_volumes(
    comparison: CompareResult,
    runs: Mapping[str, Path],
    found: Mapping[str, Path],
    evaluations: Mapping[str, EvaluateResult],
    shown: Shown,
) -> Downstream:
    """Returns the part of the report about labelled volumes."""
    return Downstream(
        task=TASK,
        heading=f"{comparison.rows[0].case_count} labelled volumes",
        headline=False,
        runs={start: runs[start] for start in STARTS},
        comparison=comparison.folder / RESULT,
        evaluations=_written(found, evaluations),
        pictures=_pictures(found, shown),
    )


def _written(found: Mapping[str, Path], evaluations: Mapping[str, EvaluateResult]) -> dict[str, Path]:
    return {start: file for start in found if (file := evaluations[start].json_file) is not None}


def _pictures(found: Mapping[str, Path], shown: Shown) -> list[Picture]:
    return [
        Picture(image, label, {start: folder / label.name for start, folder in found.items()}, id)
        for id, image, label in shown
    ]


def _tested(catalogue: Catalogue) -> list[Image]:
    """Returns the labelled images that no training sees."""
    labelled = catalogue.usable(TASK, labelled=True)
    return labelled[min(LABELLED + 1, len(labelled) - 1) :]


def _finished(done: Done[R]) -> R:
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


def _introduction(catalogue: Catalogue, rows: Sequence[Trial], minutes: float) -> list[str]:
    groups = {catalogue.group_of(task.name) for task in catalogue.tasks}
    return [
        f"One network learned from the generated scans of {len(catalogue.tasks)} tasks in {len(groups)} groups, "
        f"without labels. Then “{TASK}” was segmented in two ways: from {SLICES} painted slices of each structure of a "
        f"single scan, and by a network that learned from {rows[0].case_count} labelled volumes.",
        f"What comes first below is what saves work at once: paint {SLICES} slices, and have the rest filled. It stands "
        "beside the interpolation of the painted shapes by their signed distances, with the same painted slices.",
        "For the labelled volumes a network that started from scratch had the same volumes, the same recipe and the "
        f"same time. Generated scans are easily learned, and a pretraining of {minutes:g} min shows how everything "
        "works, not what pretraining gives: on real scans that was measured, and depends on them (docs/results.md).",
    ]
