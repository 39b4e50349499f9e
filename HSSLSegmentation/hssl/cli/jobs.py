"""Commands that run jobs: pretrain, finetune, compare, learning-curve, check-labels, predict, evaluate, suggest, …"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..plural import counted
from .console import print_table, run_job
from .options import (
    BatchSize,
    ConfigFile,
    Device,
    Dims,
    Epochs,
    Exclude,
    Json,
    Minutes,
    MinutesOfEach,
    MinutesOfFold,
    Overwrite,
    PatchSize,
    Planes,
    Rate,
    Run,
    Seed,
    Size,
    Slices,
    Spacing,
    StartOfPretraining,
    Steps,
    StepsOfEach,
    StopFile,
    Threads,
    Workspace,
    run_configured,
)

if TYPE_CHECKING:
    from ..events import Done, OnEvent, Stop
    from ..results import (
        CheckLabelsResult,
        CompareResult,
        DemoResult,
        EstimateResult,
        EvaluateResult,
        FinetuneResult,
        LearningCurveResult,
        PredictResult,
        PretrainResult,
        SuggestResult,
    )


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    for command in (
        pretrain, finetune, compare, learning_curve, check_labels, predict, evaluate, suggest, demo, estimate,
    ):  # fmt: skip
        app.command()(command)


def pretrain(
    context: typer.Context,
    workspace: Workspace = None,
    config: ConfigFile = None,
    run: Run = None,
    minutes: Minutes = None,
    steps: Steps = None,
    epochs: Epochs = None,
    pretext: Annotated[
        str | None,
        typer.Option(
            help="hssl, simclr, barlow, mae, position, vector, clustering, mvmr or glmae. (default: hssl)",
            show_default=False,
        ),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="Weight of a loss, such as task=0; may be repeated. "
            "(default: image, task, group and dense 1, position 5, reconstruction 50, segmentation 1 with labels, and "
            "distillation 10 with a start)",
            show_default=False,
        ),
    ] = None,
    level: Annotated[
        list[str] | None,
        typer.Option(
            help="Feature level of a head, such as group=decoder or task=3. "
            "(default: image, task and group at the bottleneck, dense and position at the decoder)",
            show_default=False,
        ),
    ] = None,
    start: StartOfPretraining = None,
    with_labels: Annotated[
        bool | None, typer.Option("--with-labels", help="Learn from the labels of all tasks too, where there are any.")
    ] = None,
    generated: Annotated[
        float | None, typer.Option(help="Share of generated shapes among the windows. (default: 0)", show_default=False)
    ] = None,
    remapped: Annotated[
        float | None,
        typer.Option(help="Probability of a random curve of intensities. (default: 0)", show_default=False),
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be repeated.")] = None,
    exclude: Exclude = None,
    planes: Planes = None,
    size: Size = None,
    dims: Dims = None,
    slices: Slices = None,
    batch_size: BatchSize = None,
    patch_size: PatchSize = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Pretrain a network on all images of a workspace, labelled or not."""
    run_configured(context, _show_run)


def finetune(
    context: typer.Context,
    workspace: Workspace = None,
    config: ConfigFile = None,
    task: Annotated[str | None, typer.Option(help="The task to segment.")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="general (ships with HSSL), the name of a pretraining run, a model file, or scratch. (default: scratch)",
            show_default=False,
        ),
    ] = None,
    case_count: Annotated[int | None, typer.Option(help="Number of labelled cases to draw. (default: all)")] = None,
    case: Annotated[
        list[str] | None, typer.Option(help="Id of a labelled case to train on, or @FILE; may be repeated.")
    ] = None,
    validation: Annotated[
        list[str] | None, typer.Option(help="Id of a case to validate on, or @FILE; may be repeated.")
    ] = None,
    exclude: Exclude = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="A fine-tuned model of the same classes to learn from too, on images without a label as well."
        ),
    ] = None,
    mirror: Annotated[
        bool | None,
        typer.Option(
            "--mirror/--no-mirror", help="Mirror left and right at random; only for structures without sides."
        ),
    ] = None,
    run: Run = None,
    minutes: Minutes = None,
    steps: Steps = None,
    epochs: Epochs = None,
    planes: Planes = None,
    size: Size = None,
    dims: Dims = None,
    slices: Slices = None,
    batch_size: BatchSize = None,
    patch_size: PatchSize = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Fine-tune a network for a task on its labelled cases."""
    run_configured(context, _show_run)


def compare(
    context: typer.Context,
    workspace: Workspace = None,
    config: ConfigFile = None,
    task: Annotated[str | None, typer.Option(help="The task to segment.")] = None,
    start: Annotated[
        str | None, typer.Option(help="general (ships with HSSL), a pretraining run, or a model file.")
    ] = None,
    case_count: Annotated[
        list[int] | None,
        typer.Option(help="Number of labelled cases; may be repeated. (default: 1, 3, 5)", show_default=False),
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(help="Seed; may be repeated. (default: 0)", show_default=False)
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option(help="Id of a test case, or @FILE with one per line. (default: a third)")
    ] = None,
    exclude: Exclude = None,
    name: Annotated[str | None, typer.Option(help="Name of the comparison; one that was stopped goes on.")] = None,
    minutes: MinutesOfEach = None,
    steps: StepsOfEach = None,
    device: Device = None,
    threads: Threads = None,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Fine-tune from a pretrained start and from scratch, under the same recipe, and test both."""

    def show(done: Done[CompareResult]) -> None:
        typer.echo(f"Table, plot and figures: {done.result.folder}")

    run_configured(context, show)


def learning_curve(
    context: typer.Context,
    workspace: Workspace = None,
    config: ConfigFile = None,
    task: Annotated[str | None, typer.Option(help="The task whose labels are counted.")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="scratch, general (ships with HSSL), a pretraining run, or a model file. (default: scratch)",
            show_default=False,
        ),
    ] = None,
    case_count: Annotated[
        list[int] | None,
        typer.Option(
            help="Number of labelled images; may be repeated. (default: 1, 2, 4, …, the largest five)",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Number of folds. (default: 5)", show_default=False)] = None,
    exclude: Exclude = None,
    name: Annotated[str | None, typer.Option(help="Name of the curve; one that was stopped goes on.")] = None,
    minutes: MinutesOfFold = None,
    steps: StepsOfEach = None,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Tell whether more labels still help: Dice over the number of labels, cross-validated with short trainings."""

    def show(done: Done[LearningCurveResult]) -> None:
        rows = []
        for point in done.result.points:
            dice = point.dice
            limits = "–" if dice.low is None else f"{dice.low:.3f} to {dice.high:.3f}"
            rows.append((str(point.count), f"{dice.mean:.3f}", limits, str(dice.count)))
        print_table(("labelled", "Dice", "95 %", "folds"), rows)
        typer.echo(done.result.folder)

    run_configured(context, show)


def check_labels(
    context: typer.Context,
    workspace: Workspace = None,
    config: ConfigFile = None,
    task: Annotated[str | None, typer.Option(help="The task whose labels are checked.")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="scratch, general (ships with HSSL), a pretraining run, or a model file. (default: scratch)",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Number of folds. (default: 5)", show_default=False)] = None,
    exclude: Exclude = None,
    name: Annotated[str | None, typer.Option(help="Name of the check; one that was stopped goes on.")] = None,
    minutes: MinutesOfFold = None,
    steps: StepsOfEach = None,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Train folds with short budgets, and rank the labels by how much the networks that have not seen them disagree."""

    def show(done: Done[CheckLabelsResult]) -> None:
        rows = [
            (str(rank), row.id, f"{row.doubt:.1f}", row.reason, f"{row.dice:.3f}")
            for rank, row in enumerate(done.result.rows, 1)
        ]
        print_table(("rank", "image", "doubt", "reason", "Dice"), rows, key=1)
        typer.echo(done.result.folder)

    run_configured(context, show)


def predict(
    context: typer.Context,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(help="Volumes, DICOM series folders, or folders of volumes.", show_default=False),
    ] = None,
    config: ConfigFile = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a fine-tuning run, or a model file.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the label maps.")] = None,
    flips: Annotated[
        bool | None,
        typer.Option("--flips", help="Average with the mirrored image, where the model has learned from such."),
    ] = None,
    fast: Annotated[
        bool | None, typer.Option("--fast", help="One slice plane only: a third of the time, a little less accurate.")
    ] = None,
    largest_component: Annotated[
        bool | None,
        typer.Option(
            "--largest-component/--all-components",
            help="Keep the largest component of each class, or all. (default: no islands where labels are one piece)",
            show_default=False,
        ),
    ] = None,
    probabilities: Annotated[bool | None, typer.Option("--probabilities", help="Write probability volumes.")] = None,
    uncertainty: Annotated[bool | None, typer.Option("--uncertainty", help="Write uncertainty volumes.")] = None,
    nan_is_background: Annotated[
        bool | None, typer.Option("--nan-is-background", help="Voxels that are NaN are background, not an error.")
    ] = None,
    dicom_segmentation: Annotated[
        bool | None,
        typer.Option(
            "--dicom-seg/--no-dicom-seg",
            help="Of DICOM series write a DICOM segmentation too. (default: dicom-seg)",
            show_default=False,
        ),
    ] = None,
    frame: Annotated[int | None, typer.Option(help="Volume to take of 4D files and series, from 0.")] = None,
    spacing: Spacing = None,
    compressed: Annotated[
        bool | None,
        typer.Option(
            "--compressed/--uncompressed",
            help="Uncompressed: NRRD files, which are read faster. (default: compressed NIfTI)",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = None,
    batch_size: Annotated[int | None, typer.Option(help="Slices (windows in 3D) at once.")] = None,
    slab_megabytes: Annotated[
        int | None, typer.Option(help="Bound on the memory of a slab. (default: 512)", show_default=False)
    ] = None,
    device: Device = None,
    threads: Threads = None,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Segment volumes; each label map lies exactly on its volume's grid."""

    def show(done: Done[PredictResult]) -> None:
        for output in done.result.outputs:
            typer.echo(output.label_map)
            if output.dicom_segmentation is not None:
                typer.echo(output.dicom_segmentation)
        for failed in done.result.failed:
            typer.echo(f"failed: {failed.input}: {failed.reason}", err=True)

    run_configured(context, show)


def evaluate(
    context: typer.Context,
    predictions: Annotated[
        Path | None, typer.Argument(help="Folder of predicted label maps.", show_default=False)
    ] = None,
    references: Annotated[Path | None, typer.Argument(help="Folder of true label maps.", show_default=False)] = None,
    config: ConfigFile = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for evaluation.csv, evaluation.json and evaluation.png.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model that names the classes.")] = None,
    ignore_value: Annotated[
        int | None,
        typer.Option(help="Value of voxels that nobody labelled. (default: the model's)", show_default=False),
    ] = None,
    spacing: Spacing = None,
    overwrite: Overwrite = None,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Compare label maps with true ones: Dice, HD95, ASD, volume error."""

    def show(done: Done[EvaluateResult]) -> None:
        rows, result = [], done.result
        for name, measures in result.summary.classes.items():
            cells = [measures[m] for m in ("dice", "hd95_mm", "asd_mm", "volume_error_ml")]
            means = [f"{c.mean:.3f}" if c.mean is not None else "–" for c in cells]
            rows.append((name, *means, str(cells[0].count), str(cells[1].count)))
        fewer = any(row[-1] != row[-2] for row in rows)
        rows = rows if fewer else [(*row[:-1], "") for row in rows]
        print_table(("class", "Dice", "HD95 mm", "ASD mm", "volume error ml", "cases", "with distances"), rows)
        if fewer:
            typer.echo("A class that was missed or invented has a Dice of 0 and no distance.")
        if result.summary.mean_dice is not None:
            of = f"{result.cases.measured} of {counted(result.cases.of, 'case')}"
            typer.echo(f"mean Dice {result.summary.mean_dice:.3f} over {of}")
        for failed in result.failed:
            typer.echo(f"failed: {failed.case}: {failed.file}: {failed.reason}", err=True)
        typer.echo(result.csv_file)

    run_configured(context, show)


def suggest(
    context: typer.Context,
    workspace: Workspace = None,
    config: ConfigFile = None,
    task: Annotated[str | None, typer.Option(help="The task to label images for.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of a fine-tuning run (or of a pretraining: coverage alone), or a path.")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="Network that compares the images. (default: the model's start)")
    ] = None,
    count: Annotated[int | None, typer.Option(help="How many images to suggest. (default: 5)")] = None,
    exclude: Exclude = None,
    device: Device = None,
    threads: Threads = None,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Suggest which unlabelled images of a task to label next."""

    def show(done: Done[SuggestResult]) -> None:
        rows = []
        for row in done.result.suggestions:
            numbers = [f"{n:.3f}" if n is not None else "–" for n in (row.score, row.uncertainty, row.novelty)]
            rows.append((str(row.rank), row.id, *numbers))
        print_table(("rank", "image", "score", "uncertainty", "novelty"), rows, key=1)
        typer.echo(done.result.file)

    run_configured(context, show)


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="Minutes of pretraining; the rest scales with it.")] = 3.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 0,
    stop_file: StopFile = None,
    json: Json = False,
) -> None:
    """Generate scans, pretrain, learn from 3 painted slices and from 3 labels, evaluate, and write report.html."""

    def job(on_event: OnEvent, stop: Stop) -> Done[DemoResult]:
        from ..demo.run import run_demo

        return run_demo(folder, minutes=minutes, seed=seed, on_event=on_event, stop=stop)

    def show(done: Done[DemoResult]) -> None:
        typer.echo(f"Report: {done.result.report}")

    run_job(job, json, show, stop_file)


def estimate(
    context: typer.Context,
    workspace: Workspace = None,
    config: ConfigFile = None,
    start: StartOfPretraining = None,
    size: Size = None,
    dims: Dims = None,
    slices: Slices = None,
    batch_size: BatchSize = None,
    patch_size: PatchSize = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Estimate the memory of a pretraining, and tell the patch and batch size that it would choose."""

    def show(done: Done[EstimateResult]) -> None:
        found = done.result
        size = " × ".join(map(str, found.patch_size))
        typer.echo(f"{found.bytes / 2**30:.1f} GB for {found.batch_size} patches of {size} on {found.device}")

    run_configured(context, show)


def _show_run(done: Done[PretrainResult | FinetuneResult]) -> None:
    from ..results import FinetuneResult

    result = done.result
    typer.echo(f"{result.run}: {counted(result.steps, 'step')}, {result.minutes:.1f} minutes")
    if isinstance(result, FinetuneResult) and result.validation_dice is not None:
        typer.echo(f"validation Dice {result.validation_dice:.3f}")
