"""What each job brings: the `result` of its Done event, in Python and, between processes, as JSON.

A job that was stopped brings what it had by then; what it had not has its default.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .intervals import Interval


class Result(BaseModel):
    """What a job brings; by itself, nothing but its end."""

    model_config = ConfigDict(frozen=True)


class Unused(Result):
    """A file that is not used, and why.

    Attributes:
        path: relative to the source or the workspace.
        id: of the image in the catalogue, where it is one.
    """

    path: str
    reason: str
    id: str = ""


class Doubtful(Unused):
    """A file that looks like a mask, or like nearly nothing.

    Attributes:
        picture: PNG in base64, in a dry run, of the first ones.
    """

    picture: str = ""


class NamedStructure(Result):
    """What labels have a name for.

    Attributes:
        color: as the file tells it, red, green and blue in 0 to 1.
        count: the labels that name it; None where nobody knows.
    """

    name: str
    color: tuple[float, float, float] | None = None
    count: int | None = None


class AddResult(Result):
    """What came into a workspace, or in a dry run would come.

    Attributes:
        task: of the images.
        text: the counts, for people.
        kind: of the source, such as "BIDS".
        pairs: the first pairs as "image ← label".
        images, labelled, patients: how many there are of the source.
        in_doubt: what looks like masks, and is not used until it is confirmed.
        refused, duplicates: files that were not taken.
        not_read: how many files of other kinds there are, by suffix.
        structures: of the labels, to choose of.
        needs: in a dry run, the options that this source may be in need of.
        notes: what else the user should know.
        added, changed, relinked: ids.
        unchanged: how many images were there already.
        problems: images and labels that cannot be used.
        dry_run: nothing was written.
    """

    task: str
    text: str
    kind: str = ""
    pairs: list[str] = []
    images: int = 0
    labelled: int = 0
    patients: int = 0
    in_doubt: list[Doubtful] = []
    refused: list[Unused] = []
    duplicates: list[Unused] = []
    not_read: dict[str, int] = {}
    structures: list[NamedStructure] = []
    needs: list[str] = []
    notes: list[str] = []
    added: list[str] = []
    changed: list[str] = []
    relinked: list[str] = []
    unchanged: int = 0
    problems: list[Unused] = []
    dry_run: bool = False


class CheckResult(Result):
    """What a check of every voxel has found.

    Attributes:
        read, unchanged: how many images were read, and how many had been before.
        usable, labelled: how many images can be used, and with a label.
        problems: images and labels that cannot be used.
        classes: of each task whose classes were found in its labels: names by value.
    """

    read: int
    unchanged: int
    usable: int
    labelled: int
    problems: list[Unused] = []
    classes: dict[str, dict[int, str]] = {}


class GroupResult(Result):
    """Groups by task, and whether they are written into the workspace."""

    groups: dict[str, str]
    written: bool = False


class SampleResult(Result):
    """A workspace of generated scans; None where it was stopped, and nothing is left."""

    workspace: Path | None = None
    images: int = 0


class TrainingResult(Result):
    """What pretraining and fine-tuning have in common: the run's folder, and how long it trained."""

    run: Path
    steps: int = 0
    minutes: float = 0.0


class PretrainResult(TrainingResult):
    """A pretraining; `losses` are the last means by name."""

    losses: dict[str, float] = {}


class FinetuneResult(TrainingResult):
    """A fine-tuning.

    Attributes:
        validation_dice: the best; None without validation.
        cases, validation: ids of the images that were trained and validated on.
        left_out: ids of those that turned out to be unusable.
        precision: what was computed with.
        tensors_loaded, tensors_skipped: of the start; 0 from scratch.
    """

    validation_dice: float | None = None
    cases: list[str] = []
    validation: list[str] = []
    left_out: list[str] = []
    precision: Literal["float32", "bfloat16"] = "float32"
    tensors_loaded: int = 0
    tensors_skipped: int = 0


class Trial(Result):
    """One fine-tuning of a comparison, on its test cases.

    Attributes:
        dice: mean over test cases and classes; None where no class occurs.
        classes: mean Dice by the class's name.
        cases: ids of the labelled cases that it learned from.
    """

    start: Literal["pretrained", "scratch"]
    case_count: int
    seed: int
    dice: float | None
    classes: dict[str, float | None] = {}
    cases: list[str] = []
    minutes: float
    steps: int
    precision: Literal["float32", "bfloat16"] = "float32"
    run: Path


class CompareResult(Result):
    """A comparison; `seen_by_start` are the test cases that the start (or the teacher) has seen, or whose patients it has."""

    folder: Path
    rows: list[Trial] = []
    seen_by_start: list[str] = []


class FoldTrial(Result):
    """One training of a learning curve: on `count` labels, tested on the fold that it has not seen.

    Attributes:
        dice: mean over test cases and classes; None where no class occurs.
        cases: Dice by the id of the test case.
        classes: mean Dice by the class's name.
    """

    count: int
    fold: int
    dice: float | None
    cases: dict[str, float | None] = {}
    classes: dict[str, float | None] = {}
    minutes: float
    steps: int
    precision: Literal["float32", "bfloat16"] = "float32"


class CurvePoint(Result):
    """Dice over the folds with `count` labels, and by the class's name."""

    count: int
    dice: Interval
    classes: dict[str, float | None] = {}


class Gain(Result):
    """What the labels between the last two numbers of labels have brought in Dice."""

    before: int
    after: int
    dice: Interval


Verdict = Literal["yes", "hardly", "unclear"]
"""Whether more labels still help."""


class Conclusion(Result):
    """What a learning curve says; `text` is the verdict in a sentence."""

    points: list[CurvePoint]
    gain: Gain
    verdict: Verdict
    text: str


class LearningCurveResult(Result):
    """A learning curve: its trainings and, at the end, what it says (as `Conclusion`)."""

    task: str
    folder: Path
    rows: list[FoldTrial] = []
    points: list[CurvePoint] = []
    gain: Gain | None = None
    verdict: Verdict | None = None
    text: str = ""


class Agreement(Result):
    """How a label of one class and a network that has not seen it agree; None where it is not defined.

    Attributes:
        distance_mm: mean distance of the surfaces.
        size: logarithm of the label's size over the network's.
    """

    dice: float | None = None
    distance_mm: float | None = None
    size: float | None = None


class DoubtfulLabel(Result):
    """How far a label agrees with a network that has not seen it.

    Attributes:
        fold: in which it was held out.
        doubt: times the usual spread by which it is worse than usual (see `hssl.jobs.check_labels.ranked`).
        reason: what is doubtful, in a sentence.
        dice: mean over the classes; 1 where neither has any.
        classes: Dice by the class's name.
        measures: all of them by the class's name.
        run: of that network.
    """

    id: str
    fold: int
    doubt: float = 0.0
    reason: str = ""
    dice: float
    classes: dict[str, float | None] = {}
    measures: dict[str, Agreement] = {}
    run: Path


class CheckLabelsResult(Result):
    """A check of labels; the most doubtful comes first."""

    task: str
    folder: Path
    rows: list[DoubtfulLabel] = []


class PredictedVolume(Result):
    """What was written for one input; `probabilities` by the class's name.

    Attributes:
        islands: of each class that lost islands, the share of its voxels that they were.
    """

    input: Path
    label_map: Path
    dicom_segmentation: Path | None = None
    uncertainty: Path | None = None
    probabilities: dict[str, Path] = {}
    islands: dict[str, float] = {}


class FailedInput(Result):
    """An input that could not be predicted, and why."""

    input: Path
    reason: str


class PredictResult(Result):
    """Predictions, in the order of the inputs, and what failed."""

    outputs: list[PredictedVolume] = []
    failed: list[FailedInput] = []


Absent = Literal["", "prediction", "reference", "both"]


@dataclass(frozen=True)
class Row:
    """One class of one case. None stands where a measure is not defined."""

    case: str
    class_name: str
    value: int
    dice: float | None
    hd95_mm: float | None
    """The larger of the two directions' 95th percentiles of the distances between the surfaces."""
    asd_mm: float | None
    """Mean of the distances between the surfaces over both directions."""
    reference_ml: float
    prediction_ml: float
    volume_error_ml: float | None
    """Prediction minus reference."""
    volume_error_percent: float | None
    """The same in percent of the reference."""
    absent: Absent
    """Where the class does not occur."""


class Statistics(Result):
    """Of a measure over cases; `std` is that of the sample, None of fewer than two."""

    mean: float | None
    std: float | None
    median: float | None
    count: int


class Summary(Result):
    """Figures of an evaluation.

    Attributes:
        classes: by the class's name, then by the measure's (the fields of `Row`).
        mean_dice: mean over cases of the mean Dice of the classes in the case; None where nothing was measured.
    """

    classes: dict[str, dict[str, Statistics]] = {}
    mean_dice: float | None = None


class FailedCase(Result):
    """A pair of label maps that could not be compared: the file at fault, and why."""

    case: str
    file: Path
    reason: str


class CaseCount(Result):
    """How many cases were measured, of how many true label maps."""

    measured: int = 0
    of: int = 0


class EvaluateResult(Result):
    """An evaluation.

    Attributes:
        without_prediction, without_reference: names of cases.
        seen_by_model: names of cases whose image the model was trained on, as far as the folder of predictions tells
            the images.
        csv_file, json_file, figure: what was written (the figure has the Dice of each case by class); None where it was
            stopped.
    """

    rows: list[Row] = []
    summary: Summary = Summary()
    failed: list[FailedCase] = []
    without_prediction: list[str] = []
    without_reference: list[str] = []
    seen_by_model: list[str] = []
    cases: CaseCount = CaseCount()
    csv_file: Path | None = None
    json_file: Path | None = None
    figure: Path | None = None


class Suggestion(Result):
    """An image that is worth a label (see `hssl.jobs.suggest`)."""

    id: str
    rank: int
    """1 is to be labelled first."""
    score: float
    """0 to 1: the share of the unlabelled images, as uncertain as each is, that its label newly covers."""
    uncertainty: float | None
    """0 (sure) to 1; None without a fine-tuned model."""
    novelty: float | None
    """Distance to the nearest image that is labelled or has a better rank; None where there is none."""


class SuggestResult(Result):
    """What to label next.

    Attributes:
        model, features: the networks that were asked; None where it was stopped.
        labelled: how many images have a label.
        file: where the suggestions are kept.
    """

    task: str
    model: Path | None = None
    features: Path | None = None
    labelled: int = 0
    suggestions: list[Suggestion] = []
    file: Path | None = None


class EstimateResult(Result):
    """What a pretraining would take.

    Attributes:
        bytes: of memory on the device.
        patch_size: of a patch in voxels, by axis.
        images: how many would be trained on.
    """

    bytes: int
    patch_size: list[int]
    batch_size: int
    images: int
    device: str


class DemoResult(Result):
    """A demo.

    Attributes:
        report: the page; None where it was stopped.
        rows: of the comparison.
        dice: mean over test cases by start, or by the way to fill what is between painted slices.
    """

    workspace: Path
    report: Path | None = None
    rows: list[Trial] = []
    dice: dict[str, float | None] = {}


class ModelFileResult(Result):
    """A model file that was written."""

    file: Path
    name: str = ""


class OpenResult(Result):
    """The volume that an interactive worker has open: size in x, y, z."""

    size: tuple[int, int, int]
    device: str


class RoundResult(Result):
    """A round of learning, or an interactive prediction.

    Attributes:
        start: of an array: where in the volume it begins (z, y, x).
        next_slice: axis of the array and index of the most uncertain slice; None where nothing is in doubt.
        place: the most doubtful voxel (z, y, x).
        seconds: what a round of learning took.
        spans: where a round filled each label (start and stop along z, y, x); it says nothing of it elsewhere.
    """

    label_map: Path
    uncertainty: Path | None = None
    spans: dict[int, list[tuple[int, int]]] = {}
    start: tuple[int, int, int] | None = None
    next_slice: tuple[int, int] | None = None
    place: tuple[int, int, int] | None = None
    seconds: float | None = None


RESULTS: dict[str, type[Result]] = {
    "add": AddResult,
    "check": CheckResult,
    "group": GroupResult,
    "sample": SampleResult,
    "pretrain": PretrainResult,
    "finetune": FinetuneResult,
    "compare": CompareResult,
    "check_labels": CheckLabelsResult,
    "learning_curve": LearningCurveResult,
    "predict": PredictResult,
    "evaluate": EvaluateResult,
    "suggest": SuggestResult,
    "estimate": EstimateResult,
    "interactive": RoundResult,
    "export": ModelFileResult,
    "import": ModelFileResult,
}
"""By the kind of job, of those that run in a process of their own."""
