"""The configuration of every job: typed, checked, written as JSON beside what it made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ConfigurationError

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""Of everything random; what every generator takes."""
Level = int | Literal["bottleneck", "decoder"]
"""A feature level: "bottleneck", "decoder" (the last one, full resolution), or n ≥ 0 counted from the finest."""


_WRONG = {"missing": "is missing", "extra_forbidden": "is no setting"}
"""What is wrong with a field, where pydantic says it in words of its own."""


class Configuration(BaseModel):
    """Base of all configurations: unknown names are refused, not ignored."""

    model_config = ConfigDict(extra="forbid", validate_default=True, validate_assignment=True, allow_inf_nan=False)

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """Builds the configuration from plain values.

        Raises:
            ConfigurationError: a name is unknown or a value does not fit; the message and `fields` list each of them.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = [(".".join(str(p) for p in e["loc"]), _WRONG.get(e["type"], e["msg"])) for e in error.errors()]
            raise ConfigurationError(
                "; ".join(f"{field or cls.__name__}: {what}" for field, what in wrong),
                fields=[field for field, _ in wrong],
            ) from error


class AddConfig(Configuration):
    """Images, with or without labels, that come into a workspace: the same choices at every door.

    Attributes:
        workspace: folder with `dataset.json`.
        source: a volume, a folder of volumes or of DICOM, a data set as it was downloaded, or the folder above one.
        task: name of the task that the images belong to; empty means the source's name.
        modality: such as "CT" or "MR"; empty means what the source or its DICOM files say. DICOM series of another one
            are left out.
        anatomy: body part, a hint for grouping.
        group: group of tasks with the same content and modality.
        labels: folder with the label maps, where they lie elsewhere.
        pattern: which files are images, such as "{id}_ct.nii.gz"; with a slash for the path below the source, else for
            the name.
        label_pattern: which file is the label of an id, such as "{id}_seg.nii.gz"; with {structure}, such as
            "{id}/{structure}.nii.gz", each structure has a file.
        patient: whose images they are: a pattern such as "{patient}_*", or one patient's name; empty means what DICOM,
            BIDS or the names tell (see `hssl.workspace.patients`).
        classes: names by value in the label maps; empty means what the source says or, after a check, what the labels
            hold.
        structures: names of the structures to take, of labels that have names (masks, DICOM, segmentations).
        frame: volume to take of 4D files, from 0.
        channel: channel to take of MSD and nnU-Net datasets, from 0.
        spacing: mm in x, y, z, of files that do not say it (TIFF).
        mixed: images of different modalities may come into one task.
        nan_is_background: voxels that are NaN are background; else an image with NaN is refused.
        leave_out: files that are no images after all, by their paths below the source, as a preview shows them.
        confirm: files in doubt (probably masks, say) that are images: they are used at once.
        check: read every voxel of the task's images and labels afterwards, as a check does.
        dry_run: tell what would be taken, and write nothing.
    """

    workspace: Path
    source: Path
    task: str = ""
    modality: str = ""
    anatomy: str = ""
    group: str = ""
    labels: Path | None = None
    pattern: str = ""
    label_pattern: str = ""
    patient: str = ""
    classes: dict[int, str] = {}
    structures: list[str] = []
    frame: int | None = Field(default=None, ge=0)
    channel: int | None = Field(default=None, ge=0)
    spacing: tuple[float, float, float] | None = None
    mixed: bool = False
    nan_is_background: bool = False
    leave_out: list[str] = []
    confirm: list[str] = []
    check: bool = False
    dry_run: bool = False

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if any(not 0 < value < 65536 for value in self.classes):
            raise ValueError(f"the values of classes are 1 to 65535, got {sorted(self.classes)}")
        if len(set(self.classes.values())) != len(self.classes):
            raise ValueError(f"two classes have the same name: {', '.join(self.classes.values())}")
        return self


class NetworkConfig(Configuration):
    """The encoder–decoder.

    `in_slices` neighbouring slices enter a 2D network as channels (1: 2D, 3 or 5: "2.5D").
    """

    spatial_dims: Literal[2, 3] = 2
    size: Literal["small", "medium", "large"] = "small"
    norm: Literal["instance", "group", "batch"] = "instance"
    in_slices: int = Field(default=3, ge=1, le=15)

    @model_validator(mode="after")
    def _slices_fit(self) -> Self:
        if self.in_slices % 2 == 0:
            raise ValueError(f"in_slices must be odd, got {self.in_slices}")
        if self.spatial_dims == 3 and self.in_slices != 1:
            raise ValueError(f"a 3D network takes volumes, so in_slices must be 1, got {self.in_slices}")
        return self


class LossWeights(Configuration):
    """Weights λ of the losses (paper: λ1 = λ2 = λ3, λ4 = 50); 0 switches a loss off.

    `dense` and `position` are ours, below the image in the hierarchy: a contrast between corresponding points of two
    views, and where in its volume a point lies. `segmentation` is of the labels, and counts only where they are asked
    for (`PretrainConfig.with_labels`); `distillation` is of the features of the start, and counts only where there is one.
    """

    image: float = Field(default=1.0, ge=0)
    task: float = Field(default=1.0, ge=0)
    group: float = Field(default=1.0, ge=0)
    reconstruction: float = Field(default=50.0, ge=0)
    dense: float = Field(default=1.0, ge=0)
    position: float = Field(default=5.0, ge=0)
    segmentation: float = Field(default=1.0, ge=0)
    distillation: float = Field(default=10.0, ge=0)


class HeadLevels(Configuration):
    """Which feature level feeds which head."""

    image: Level = "bottleneck"
    task: Level = "bottleneck"
    group: Level = "bottleneck"
    dense: Level = "decoder"
    position: Level = "decoder"


class Budget(Configuration):
    """When a training ends: at the first limit that is reached. None means no such limit."""

    steps: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0)
    minutes: float | None = Field(default=None, gt=0)


class RunConfig(Configuration):
    """What pretraining and fine-tuning share.

    Attributes:
        workspace: folder with `dataset.json`; the run lies in its `runs/`.
        run: name of the run's folder; empty lets the job choose the first free one.
        device: "auto" (a GPU of CUDA or ROCm when there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: "auto" uses bfloat16 on a GPU that has instructions for it, on a CPU that has where a short trial says that
            it is faster (never in several processes, nor for a 3D network where it makes gradients wrong), else float32.
        threads: CPU threads of torch; 0 leaves torch's own choice.
        patch_size: side of the square (cube) patches in voxels of the working grid; 0 chooses it from the images. A 2D
            network that is fine-tuned sees larger ones too.
        planes: "all" lets a 2D network learn slices along every axis whose spacing allows it, "one" along the task's slice
            axis alone.
        checkpoint_minutes: a checkpoint is written at least this often.
    """

    workspace: Path
    run: str = ""
    seed: Seed = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = Field(default=0, ge=0)
    budget: Budget = Budget()
    batch_size: int = Field(default=0, ge=0)
    patch_size: int = Field(default=0, ge=0)
    planes: Literal["all", "one"] = "all"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    gradient_clip: float = Field(default=12.0, gt=0)
    checkpoint_minutes: float = Field(default=2.0, gt=0)


class PretrainConfig(RunConfig):
    """Pretraining on all images of the workspace, labelled or not; labels are read only `with_labels`.

    Attributes:
        pretext: name in the registry `hssl.learning.pretexts`.
        start: "scratch", "general" (ships with HSSL), the name of a run of the workspace, or a path of a run or of a model
            file, from whose weights to go on; it brings its network.
        with_labels: a further loss of the labels that there are (pretext "hssl"), with a light head for each task.
        generated: share of the windows that show generated shapes instead of the image, painted anew in each view.
        remapped: probability with which a view's intensities go through a random curve, as if of another modality.
        tasks: names of the tasks to take part; empty means all.
        exclude: ids of images that must not be seen (test cases).

    Example:
        >>> config = PretrainConfig(workspace="five", run="night", budget={"minutes": 480}, weights={"group": 0})
        >>> config.budget.minutes, config.weights.group, config.weights.reconstruction
        (480.0, 0.0, 50.0)
    """

    kind: Literal["pretrain"] = "pretrain"
    """Tells the runs of a workspace apart."""
    budget: Budget = Budget(minutes=30)
    pretext: str = "hssl"
    network: NetworkConfig = NetworkConfig()
    weights: LossWeights = LossWeights()
    levels: HeadLevels = HeadLevels()
    temperature: float = Field(default=0.1, gt=0)
    start: str = "scratch"
    with_labels: bool = False
    generated: float = Field(default=0.0, ge=0, le=1)
    remapped: float = Field(default=0.0, ge=0, le=1)
    tasks: list[str] = []
    exclude: list[str] = []

    @property
    def learns_from_start(self) -> bool:
        """Whether the start's features are learned beside the losses: by the pretext "hssl", where there is a start."""
        return self.start != "scratch" and self.pretext == "hssl" and self.weights.distillation > 0


class FinetuneConfig(RunConfig):
    """Fine-tuning on the labelled cases of one task.

    Attributes:
        cases: ids of the labelled images to train on; empty means `case_count` of them, drawn by `seed`.
        case_count: number of labelled cases to draw; 0 means all that are labelled.
        validation: ids of labelled images to validate on; empty means a stated rule (see `hssl.jobs.finetune`).
        exclude: ids that must be neither trained nor validated on (test cases).
        start: "scratch", "general" (ships with HSSL), the name of a pretraining run of the workspace, or a path of a run
            or of a model file.
        network: the network of a start from scratch; a pretrained start brings its own.
        teacher: a fine-tuned model of the same classes, by name or path, whose probabilities are learned too, on the
            labelled images and on all other images of the task (distillation); empty is none.

    Example:
        >>> config = FinetuneConfig(workspace="five", task="Hippocampus", start="night", case_count=5)
        >>> FinetuneConfig.checked({**config.model_dump(), "case_count": -1})
        Traceback (most recent call last):
        hssl.errors.ConfigurationError: case_count: Input should be greater than or equal to 0
    """

    kind: Literal["finetune"] = "finetune"
    budget: Budget = Budget(minutes=5)
    learning_rate: float = Field(default=3e-3, gt=0)
    task: str
    cases: list[str] = []
    case_count: int = Field(default=0, ge=0)
    validation: list[str] = []
    exclude: list[str] = []
    start: str = "scratch"
    network: NetworkConfig = NetworkConfig()
    teacher: str = ""
    mirror: bool = False
    """Mirror left and right at random; only for structures that have no left and right of their own."""
    pretrained_rate: float = Field(default=1.0, gt=0, le=1)
    """Learning rate of loaded tensors, as a share of the new head's."""
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    deep_supervision: bool = True


class PredictConfig(Configuration):
    """Prediction of one volume, several, or every volume in a folder.

    Attributes:
        model: a fine-tuning run's folder, or a model file.
        inputs: volume files, DICOM series folders, or folders of volumes.
        output: folder for `<name>.nii.gz` label maps on each source's own grid; none that is read from.
        compressed: False writes `<name>.nrrd` instead, without compression, which is read several times as fast.
        overwrite: replace files that are there and are no unchanged results of the same work; never an input.
        nan_is_background: voxels that are NaN are background, as they always are where the model's task says so.
        flips: average with the mirrored image, where the model was trained with mirroring.
        fast: predict in one slice plane only, where the model was trained in all three; a third of the time.
        largest_component: keep the largest connected component of each class, or all of them; None leaves out islands, less
            than half as large, of the classes that are one piece in the labels that the model was trained on.
        probabilities, uncertainty: write those volumes too.
        dicom_segmentation: of an input that is a DICOM series, write `<name>.seg.dcm` (DICOM SEG) too.
        frame: volume to take of 4D files and of series that have several, from 0.
        spacing: mm in x, y, z, of files that do not say it (TIFF).
        slab_megabytes: bound on the memory of one slab of probabilities.
    """

    model: Path
    inputs: list[Path] = Field(min_length=1)
    output: Path
    compressed: bool = True
    overwrite: bool = False
    nan_is_background: bool = False
    flips: bool = False
    fast: bool = False
    largest_component: bool | None = None
    probabilities: bool = False
    uncertainty: bool = False
    dicom_segmentation: bool = True
    frame: int | None = Field(default=None, ge=0)
    spacing: tuple[float, float, float] | None = None
    device: str = "auto"
    threads: int = Field(default=0, ge=0)
    batch_size: int = Field(default=0, ge=0)
    slab_megabytes: int = Field(default=512, ge=16)


class EvaluateConfig(Configuration):
    """Comparison of predicted label maps with true ones, matched by file name without suffix.

    Attributes:
        model: where given, names the classes; otherwise they are named by their values.
        output: folder for `evaluation.csv`, `.json` and `.png` (Dice of each case by class); none that is read from.
        ignore_value: voxels of this value in the true label maps were labelled by nobody and count nowhere; None takes
            the model's task's.
        spacing: mm in x, y, z, of files that do not say it (TIFF), on either side.
        overwrite: replace such files that are there and are no unchanged results of the same evaluation.
    """

    predictions: Path
    references: Path
    output: Path
    model: Path | None = None
    ignore_value: int | None = Field(default=None, ge=1)
    spacing: tuple[float, float, float] | None = None
    overwrite: bool = False


class CompareConfig(Configuration):
    """Pretrained against scratch under the same recipe, over numbers of labelled cases and seeds.

    Attributes:
        finetune: the recipe; its `start`, `case_count`, `cases`, `seed` and `run` are set by each trial.
        start: the pretrained start.
        case_counts: numbers of labelled cases.
        seeds: each draws its own labelled cases.
        test: ids of labelled images to test on; empty means a third of the labelled ones, drawn once by seed 0, by patient.
    """

    finetune: FinetuneConfig
    start: str
    name: str = ""
    case_counts: list[Annotated[int, Field(ge=1)]] = Field(default=[1, 3, 5], min_length=1)
    seeds: list[Seed] = Field(default=[0], min_length=1)
    test: list[str] = []


SHORT = Budget(steps=200)
"""Of each training of a cross-validation, where no budget is named."""


def _short(recipe: FinetuneConfig) -> FinetuneConfig:
    named = "budget" in recipe.model_fields_set and recipe.budget != Budget()
    return recipe if named else recipe.model_copy(update={"budget": SHORT})


FoldRecipe = Annotated[FinetuneConfig, AfterValidator(_short)]
"""The recipe of each training of a cross-validation; its `cases`, `case_count`, `validation` and `run` are set there."""


class CheckLabelsConfig(Configuration):
    """Which labels of a task disagree most with what is learned from the others.

    Attributes:
        finetune: the recipe of each fold. Short budgets are enough: a wrong label stands out long before a model is good.
        folds: number of folds; images of one patient are in one of them.
        name: of the check; one that was stopped goes on under its name. Empty goes on with the one that was stopped, as
            long as no label has changed since, or else takes the first free name.
    """

    finetune: FoldRecipe
    folds: int = Field(default=5, ge=2)
    name: str = ""


class LearningCurveConfig(Configuration):
    """Dice of unseen images over the number of labels, cross-validated over the labelled images of a task.

    Attributes:
        finetune: the recipe of each training.
        case_counts: numbers of labelled images to learn from; empty means 1, 2, 4, … up to what the folds leave, the largest
            five of them.
        folds: number of folds; images of one patient are in one of them. Fewer where there are fewer patients.
        name: of the curve; one that was stopped goes on under its name. Empty goes on with the one that was stopped, as
            long as no label has changed since, or else takes the first free name.
    """

    finetune: FoldRecipe
    case_counts: list[Annotated[int, Field(ge=1)]] = []
    folds: int = Field(default=5, ge=2)
    name: str = ""


class SuggestConfig(Configuration):
    """Which unlabelled images of a task to label next.

    Attributes:
        model: a fine-tuned model (its uncertainty counts), or a pretrained one (coverage alone): the name of a run or
            model of the workspace, or a path.
        features: with a fine-tuned model, the network in whose features coverage is measured; empty takes the one that
            the model started from, or the model itself where it started from scratch.
        count: how many images to suggest.
        exclude: ids that are neither suggested nor count as labelled (test cases).
    """

    workspace: Path
    task: str
    model: str = Field(min_length=1)
    features: str = ""
    count: int = Field(default=5, ge=1)
    exclude: list[str] = []
    device: str = "auto"
    threads: int = Field(default=0, ge=0)
