"""Benchmark: what costs Dice far from the structure. Networks that learned from patches, tested on whole slices.

    python Testing/benchmarks/whole_slices.py --data DIR --out FOLDER [--draws 3] [--steps 500]

The hearts of DIR are cropped round the heart: here each is put into a frame of other patients' outer bands, in which no heart
is, so that there is something else to be mistaken for it. Head and neck CTs are whole as they are. Each variant of the recipe is
trained from scratch on three labels, and its Dice is told as predicted and with the largest component of each class alone;
"islands" is what that takes away, in volumes of the structure. What is in FOLDER is not done again. Without hssl installed, set
PYTHONPATH=HSSLSegmentation.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from experiments.data import Data, draw, patient_of
from recording import record

import hssl.learning.patches
import hssl.learning.sampling
from hssl.configuration import Budget, FinetuneConfig
from hssl.events import Event, Message
from hssl.files import read_json, write_json
from hssl.imaging.labels import read_label_map
from hssl.imaging.volumes import read_volume, write_volume
from hssl.jobs.finetune import finetune
from hssl.models.components import largest_components
from hssl.models.inference import Segmenter
from hssl.models.model_file import load_model
from hssl.models.prediction import predict_volume
from hssl.workspace.catalogue import Catalogue, LabelClass, Task
from hssl.workspace.check import check_workspace
from hssl.workspace.images import read_image
from hssl.workspace.labels import read_label
from hssl.workspace.scan import add
from hssl.workspace.sources import find

HERE = Path(__file__).parent
HEARTS, FRAMED, HEADS = "cardiac_cine_scd", "framed_hearts", "hn_ct_openkbp"
FRAME = 48
"""Pixels on each side of a heart."""
LABELS = 3
VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "half of the windows anywhere": {"share": 1 / 2},
    "a third on a class": {"share": 1 / 3},
    "fields up to four patches": {"larger": (1.5, 2.0, 4.0)},
    "both": {"share": 1 / 2, "larger": (1.5, 2.0, 4.0)},
}
"""What differs from the recipe: the share of windows on a class, and the sides of larger patches in usual ones."""


def framed(
    image: np.ndarray, label: np.ndarray, others: Sequence[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Puts a volume into a frame of other volumes' outer bands, mirrored outward, as bright as the volume is.

    Args:
        image, label: slices × rows × columns.
        others: images and labels of other patients, of as many rows and columns.

    Raises:
        ValueError: a band of every other volume holds a label.
    """
    wide = np.pad(image.astype(np.float32), [(0, 0), (FRAME, FRAME), (FRAME, FRAME)])
    parts = [
        (slice(None, FRAME), slice(0, FRAME)),
        (slice(FRAME, -FRAME), slice(None)),
        (slice(-FRAME, None), slice(-FRAME, None)),
    ]
    for row_place, (rows, own_rows) in enumerate(parts):
        for column_place, (columns, own_columns) in enumerate(parts):
            if row_place == column_place == 1:
                continue
            for other in rng.permutation(len(others)):
                array, structure = others[other]
                near = np.linspace(0, len(array) - 1, len(image)).round().astype(int)
                if structure[near][:, own_rows, own_columns].any():
                    continue
                band = array[near][:, own_rows, own_columns] * (np.percentile(image, 99) / np.percentile(array, 99))
                band = band if row_place == 1 else band[:, ::-1]
                wide[:, rows, columns] = band if column_place == 1 else band[:, :, ::-1]
                break
            else:
                raise ValueError("every other volume has its structure in the outer band")
    return wide, np.pad(label, [(0, 0), (FRAME, FRAME), (FRAME, FRAME)])


def framed_hearts(data: Data, workspace: Path) -> Catalogue:
    """Returns the workspace of the hearts in their frames, which is made where it is not there yet."""
    if not (workspace / "complete").exists():
        shutil.rmtree(workspace, ignore_errors=True)
        hearts = data.labelled(HEARTS)
        volumes = {id: read_volume(data.catalogue.image_path(image)) for id, image in hearts.items()}
        labels = {id: _label_of(data, id, volumes[id]) for id in hearts}
        arrays = {id: (sitk.GetArrayFromImage(volumes[id]), sitk.GetArrayFromImage(labels[id])) for id in hearts}
        rng = np.random.default_rng(0)
        for id, volume in volumes.items():
            others = [arrays[o] for o in sorted(arrays) if patient_of(HEARTS, o) != patient_of(HEARTS, id)]
            wide = framed(*arrays[id], others, rng)
            for kind, array in zip(("images", "labels"), wide, strict=True):
                found = sitk.GetImageFromArray(array.round().astype(np.int16))
                found.SetSpacing(volume.GetSpacing())
                found.SetDirection(volume.GetDirection())
                found.SetOrigin(volume.TransformIndexToPhysicalPoint((-FRAME, -FRAME, 0)))
                write_volume(found, workspace / "hearts" / kind / f"{id}.nii.gz")
        Catalogue.create(workspace, "Framed hearts")
        task = Task(name=FRAMED, modality="MR", group="Cardiac MR", classes=[LabelClass(value=1, name="LV cavity")])
        add(workspace, find(workspace / "hearts"), task)
        check_workspace(workspace)
        (workspace / "complete").touch()
    return Catalogue.load(workspace)


def _label_of(data: Data, id: str, volume: sitk.Image) -> sitk.Image:
    path = data.catalogue.label_path(data.labelled(HEARTS)[id])
    assert path is not None
    return read_label_map(path, like=volume)


@contextmanager
def recipe(share: float | None = None, larger: Sequence[float] | None = None) -> Iterator[None]:
    """Within it, trainings place another share of windows on a class, and see patches of other sizes."""
    sampling, patches = hssl.learning.sampling, hssl.learning.patches
    usual = {(sampling, "FOREGROUND_SHARE"): share, (patches, "LARGER"): larger}
    before = {(module, name): getattr(module, name) for module, name in usual}
    for (module, name), value in usual.items():
        setattr(module, name, value or before[module, name])
    try:
        yield
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)


def measured(config: FinetuneConfig, catalogue: Catalogue, test: Sequence[str]) -> dict[str, float]:
    """Returns what a training gives on the test cases: "dice", "largest_component" (points) and "islands"."""
    run = Path(finetune(config, _warnings).result.run)
    model = load_model(run)
    segmenter = Segmenter(*model, torch.device("cpu"))
    dice, islands = [], []
    for id in test:
        volume = read_image(catalogue, catalogue.image(id))
        truth = sitk.GetArrayFromImage(read_label(catalogue, catalogue.image(id), volume))
        found = sitk.GetArrayFromImage(predict_volume(volume, segmenter, largest_component=False).label_map)
        values = [c.value for c in model.description.tasks[0].classes if (truth == c.value).any()]
        kept = largest_components(found, values)
        for value in values:
            there = truth == value
            dice.append([_dice(found == value, there), _dice(kept == value, there)])
            islands.append(((found == value) & (kept != value)).sum() / there.sum())
    shutil.rmtree(run)
    first, second = 100 * np.mean(dice, 0)
    return {"dice": float(first), "largest_component": float(second), "islands": float(np.mean(islands))}


def _dice(found: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def _warnings(event: Event) -> None:
    if isinstance(event, Message) and event.level != "info":
        print(f"  {event.text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--out", type=Path, required=True, help="workspaces and trials")
    parser.add_argument("--draws", type=int, default=3, help="draws of the labelled cases")
    parser.add_argument("--steps", type=int, default=500, help="of each fine-tuning")
    parser.add_argument("--tests", type=int, default=6, help="test cases of the head and neck")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="of the recipe")
    parser.add_argument("--tasks", nargs="+", choices=(FRAMED, HEADS), default=[FRAMED, HEADS])
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where the figures go")
    given = parser.parse_args()
    data = Data(given.data, given.out / "workspace")
    hearts = framed_hearts(data, given.out / "framed")
    rows = []
    for number in range(given.draws):
        for task in given.tasks:
            if task == FRAMED:
                catalogue, test = hearts, data.test(HEARTS)
                patients = {patient_of(HEARTS, id) for id in test}
                free = sorted(i.id for i in hearts.images if patient_of(HEARTS, i.id) not in patients)
                cases, exclude = draw(free, LABELS, number, lambda id: patient_of(HEARTS, id)), test
            else:
                catalogue, test = data.catalogue, data.test(task, given.tests)
                cases, exclude = data.drawn(task, LABELS, number), data.unseen()
            for variant in given.variants:
                name = f"{task}-{number}-{given.steps}-{variant}".replace(" ", "_")
                path = given.out / "trials" / f"{name}.json"
                if not path.exists():
                    config = FinetuneConfig(
                        workspace=catalogue.workspace, task=task, cases=cases, exclude=exclude, seed=number, run=name,
                        budget=Budget(steps=given.steps), threads=1,
                    )  # fmt: skip
                    with recipe(**VARIANTS[variant]):
                        write_json(path, measured(config, catalogue, test))
                rows.append({"task": task, "draw": number, "variant": variant, **read_json(path)})
                print(rows[-1], flush=True)
    sizes = {"steps": given.steps, "draws": given.draws, "labels": LABELS}
    path = given.results / "whole_slices.json"
    record(path, {"experiment": "whole slices", "sizes": sizes, "rows": rows})
    print(path, flush=True)


if __name__ == "__main__":
    main()
