"""Benchmark, row 4: a CT-like volume of 512 × 512 × 200 voxels against MONAI's sliding windows with the same weights.

    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/segmentation.py

The volume is generated (a body with three organs and noise), and so are the few smaller ones that a 2D model is
fine-tuned on first. It is segmented in one slice plane, and in all three with the mean of them (a CT of such slices is learned in
one; three tell what they cost). MONAI's side is SliceInferer, its SlidingWindowInferer for 2D networks, with windows of the size
the model was trained on and an overlap of a quarter, in float32; ours is `predict_volume` as every door calls it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import monotonic

import numpy as np
import SimpleITK as sitk
from measuring import Measures, Side, alternated, figures, ratios, write

from hssl.preprocessing.planes import Planes

SPACING = (0.8, 0.8, 2.5)
ORGANS = {"liver": (110, (0.0, -0.45), 0.42), "spleen": (140, (0.1, 0.55), 0.25), "kidney": (180, (0.45, 0.3), 0.16)}
"""Name → intensity, centre (row, column) and radius in half bodies."""


def phantom(slices: int, side: int, seed: int) -> tuple[sitk.Image, sitk.Image]:
    """Returns a volume in Hounsfield units and its labels."""
    rng = np.random.default_rng(seed)
    rows, columns = np.meshgrid(*[np.linspace(-1.25, 1.25, side, dtype=np.float32)] * 2, indexing="ij")
    values, labels = (np.zeros((slices, side, side), np.int16) for _ in range(2))
    jitter = rng.uniform(-0.06, 0.06, (len(ORGANS), 2))
    for z in range(slices):
        image = np.where(rows**2 / 0.6 + columns**2 < 1, 20, -1000).astype(np.float32)
        for value, (hounsfield, centre, radius) in enumerate(ORGANS.values(), 1):
            r, c = centre + jitter[value - 1] + 0.05 * np.sin(z / 9 + value)
            inside = ((rows - r) / 0.8) ** 2 + (columns - c) ** 2 < (radius * (0.8 + 0.2 * np.cos(z / 15))) ** 2
            image[inside], labels[z][inside] = hounsfield, value
        values[z] = image + rng.normal(0, 25, image.shape)
    images = [sitk.GetImageFromArray(values), sitk.GetImageFromArray(labels.astype(np.uint8))]
    for image in images:
        image.SetSpacing(SPACING)
    return images[0], images[1]


def train(folder: Path, steps: int) -> Path:
    """Fine-tunes a 2D model from scratch on four small phantoms; returns its run."""
    from hssl.configuration import Budget, FinetuneConfig
    from hssl.imaging.volumes import write_volume
    from hssl.jobs.finetune import finetune
    from hssl.workspace import scan, sources
    from hssl.workspace.catalogue import Catalogue, LabelClass, Task

    for number in range(4):
        image, label = phantom(8, 512, 10 + number)
        write_volume(image, folder / "data" / "images" / f"{number}.nii.gz")
        write_volume(label, folder / "data" / "labels" / f"{number}.nii.gz")
    Catalogue.create(folder / "workspace")
    classes = [LabelClass(value=value, name=name) for value, name in enumerate(ORGANS, 1)]
    task = Task(name="organs", modality="CT", classes=classes)
    scan.add(folder / "workspace", sources.find(folder / "data"), task)
    done = finetune(FinetuneConfig(
        workspace=folder / "workspace", task="organs", budget=Budget(steps=steps), batch_size=8, patch_size=128,
    ))  # fmt: skip
    return done.result.run


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Returns the mean Dice of the organs."""
    pairs = [(found == value, truth == value) for value in range(1, 1 + len(ORGANS))]
    return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]))


def ours(run: Path, slices: int, threads: int, precision: str, planes: Planes = (0,)) -> Callable[[], Measures]:
    import torch

    from hssl.events import Progress
    from hssl.models.device import chosen_device
    from hssl.models.inference import Segmenter
    from hssl.models.model_file import load_model
    from hssl.models.prediction import predict_volume

    torch.set_num_threads(threads)
    volume, label = phantom(slices, 512, 0)
    segmenter = Segmenter(*load_model(run), chosen_device("cpu"))
    segmenter.bf16 = segmenter.bf16 and precision == "auto"
    segmenter.planes = planes
    truth = sitk.GetArrayFromImage(label)

    def work() -> Measures:
        times = [monotonic()]
        found = predict_volume(
            volume, segmenter, on_event=lambda e: times.append(monotonic()) if isinstance(e, Progress) else None
        ).label_map
        wall = monotonic() - times[0]
        gap = max(b - a for a, b in pairwise(times))
        return {"wall": wall, "dice": dice(sitk.GetArrayFromImage(found), truth), "longest_silence": gap}

    return work


def monai(run: Path, slices: int, threads: int) -> Callable[[], Measures]:
    import torch
    from monai.inferers import SliceInferer

    from hssl.models.model_file import load_model
    from hssl.models.network import build_network
    from hssl.preprocessing.normalisation import normalised

    torch.set_num_threads(threads)
    volume, label = phantom(slices, 512, 0)
    description, state = load_model(run)
    network = build_network(description.network, description.out_channels).eval()
    network.load_state_dict(state)
    inferer = SliceInferer(roi_size=description.patch_size, sw_batch_size=4, overlap=0.25, spatial_dim=0)
    truth = sitk.GetArrayFromImage(label)

    def work() -> Measures:
        start = monotonic()
        array = sitk.GetArrayFromImage(volume).astype(np.float32)
        array = torch.from_numpy(normalised(array, description.fingerprints["organs"]))
        half = description.network.in_slices // 2
        at = (torch.arange(len(array))[:, None] + torch.arange(-half, half + 1)).clamp(0, len(array) - 1)
        with torch.inference_mode():
            found = inferer(array[at].movedim(1, 0)[None], network)[0].argmax(0).numpy()
        return {"wall": monotonic() - start, "dice": dice(found, truth)}

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150, help="of the model's training")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run = train(Path(name), given.steps)
        arguments = (run, given.slices, given.threads)
        sides = {
            "hssl": Side(ours, *arguments, "auto"),
            "monai": Side(monai, *arguments),
            "hssl_float32": Side(ours, *arguments, "float32"),
            "hssl_three_planes": Side(ours, *arguments, "auto", (0, 1, 2)),
        }
        measured = alternated(sides, given.rounds, warm_up=0)
    write(
        "segmentation.json", "4", f"segment 512×512×{given.slices}, 2D",
        {"monai_over_hssl_wall": "at least 3", "hssl_dice_over_monai_dice": "1"},
        {
            "monai_over_hssl_wall": ratios(measured, "monai", "hssl", "wall"),
            "monai_over_hssl_cpu": ratios(measured, "monai", "hssl", "cpu"),
            "monai_over_hssl_float32_cpu": ratios(measured, "monai", "hssl_float32", "cpu"),
            "three_planes_over_one_wall": ratios(measured, "hssl_three_planes", "hssl", "wall"),
            "hssl_dice_over_monai_dice": ratios(measured, "hssl", "monai", "dice"),
        },
        figures=figures(measured), rounds=given.rounds, threads=given.threads,
    )  # fmt: skip


if __name__ == "__main__":
    main()
