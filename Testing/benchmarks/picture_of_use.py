"""The README's picture: a few painted slices of a scan, the preview, and the result after one correction.

    python Testing/benchmarks/picture_of_use.py --out Resources/Figures/use.png [--model MODEL]

The scan is generated, and painted by its true labels; what is filled is what the engine makes of it. Without a model it
starts from the scan alone, as the Segment Editor does where there is none.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure

from hssl.demo import phantoms
from hssl.files import whole_file
from hssl.interactive.session import InteractiveSession
from hssl.interactive.slice_priors import Plane
from hssl.models.model_file import load_model
from hssl.reporting.plots import CLASS_COLORS

SIZE, SPACING = (64, 144, 144), (2.8, 2.5, 2.5)
STRUCTURES = ("liver", "spleen")
PAINTED = 3
ROW = 78
"""Of the coronal plane that is shown."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the picture to write")
    parser.add_argument("--model", type=Path, help="run folder or model file to start from")
    given = parser.parse_args()
    values, truth = phantoms.abdomen(np.random.default_rng(4), SIZE, SPACING, 40, STRUCTURES)
    scan = sitk.GetImageFromArray(values)
    scan.SetSpacing(SPACING[::-1])
    there = np.flatnonzero((truth > 0).any((1, 2)))
    slices = [int(i) for i in np.linspace(there[0] + 4, there[-1] - 4, PAINTED).round()]
    session = InteractiveSession(scan, load_model(given.model) if given.model else None)
    preview, proposed = _round(session, scan, truth, slices)
    result, _ = _round(session, scan, truth, sorted([*slices, proposed.index]))
    print(f"Dice {_dice(preview, truth):.1f} from slices {slices}, {_dice(result, truth):.1f} with {proposed} as well")
    figure = _drawn(values, truth, slices, preview, result, proposed)
    with whole_file(given.out) as temporary:
        figure.savefig(temporary, format="png", dpi=150, facecolor="black")


def _round(session: InteractiveSession, scan: sitk.Image, truth: np.ndarray, slices: list[int]) -> tuple:
    annotation = sitk.GetImageFromArray(_painted(truth, slices))
    annotation.CopyInformation(scan)
    found = session.learn(annotation, [Plane(0, i) for i in slices], whole_volume=True)
    return sitk.GetArrayFromImage(found.label_map), found.next_slice


def _painted(truth: np.ndarray, slices: list[int]) -> np.ndarray:
    painted = np.zeros_like(truth)
    painted[slices] = truth[slices]
    return painted


def _dice(found: np.ndarray, truth: np.ndarray) -> float:
    values = [v for v in np.unique(truth) if v]
    one = [2 * ((found == v) & (truth == v)).sum() / ((found == v).sum() + (truth == v).sum()) for v in values]
    return float(100 * np.mean(one))


def _drawn(values, truth, slices: list[int], preview, result, proposed: Plane) -> Figure:
    coronal = values[:, ROW][::-1]
    tall = SPACING[0] / SPACING[2]
    figure = Figure(figsize=(12, 3.35))
    figure.subplots_adjust(0.004, 0.01, 0.996, 0.9, wspace=0.02)
    shown = [
        ("1. Paint a slice", values[slices[1]], truth[slices[1]], 1.0, 0.55),
        (f"2. {PAINTED} slices are painted", coronal, _painted(truth, slices)[:, ROW][::-1], tall, 0.95),
        (f"3. Preview (Dice {_dice(preview, truth):.0f} %)", coronal, preview[:, ROW][::-1], tall, 0.55),
        (f"4. One slice corrected (Dice {_dice(result, truth):.0f} %)", coronal, result[:, ROW][::-1], tall, 0.55),
    ]
    for axes, (title, gray, labels, aspect, tint) in zip(figure.subplots(1, 4), shown, strict=True):
        axes.imshow(_tinted(gray, labels, tint), aspect=aspect, interpolation="nearest")
        axes.set_title(title, color="white", fontsize=12)
        axes.set_axis_off()
    return figure


def _tinted(gray: np.ndarray, labels: np.ndarray, tint: float) -> np.ndarray:
    rgb = np.repeat(np.clip((gray + 160) / 400, 0, 1)[..., None], 3, axis=2)
    for value in range(1, len(STRUCTURES) + 1):
        rgb[labels == value] = (1 - tint) * rgb[labels == value] + tint * np.array(CLASS_COLORS[value - 1])
    return rgb


if __name__ == "__main__":
    main()
