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
HEIGHT, GAP, TITLE = 2.6, 0.2, 0.35
"""Inches of the pictures, between them, and of the line above."""


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
        figure.savefig(temporary, format="png", dpi=100, facecolor="black")


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


def _extent(there: np.ndarray) -> slice:
    first, last = np.flatnonzero(there)[[0, -1]]
    return slice(first, last + 1)


def _drawn(values, truth, slices: list[int], preview, result, proposed: Plane) -> Figure:
    tall = SPACING[0] / SPACING[2]
    # Without the air around the body, so that each picture stands under its title.
    rows, columns = (_extent((values > -300).any(axes)) for axes in ((0, 2), (0, 1)))
    body = (slice(None), ROW, columns)
    shown = [
        ("Paint a slice …", values[slices[1], rows, columns], truth[slices[1], rows, columns], 1.0),
        (f"… {PAINTED} in all", values[body], _painted(truth, slices)[body], tall),
        (f"Preview: Dice {_dice(preview, truth):.0f} %", values[body], preview[body], tall),
        (f"One slice corrected: Dice {_dice(result, truth):.0f} %", values[body], result[body], tall),
    ]
    widths = [HEIGHT * gray.shape[1] / (gray.shape[0] * aspect) for _, gray, _, aspect in shown]
    wide, high = sum(widths) + GAP * (len(shown) + 1), HEIGHT + GAP + TITLE
    figure = Figure(figsize=(wide, high))
    left = GAP
    for number, (width, (title, gray, labels, aspect)) in enumerate(zip(widths, shown, strict=True)):
        # Each picture fills its axes, so that the titles stand above the middles of what they name.
        axes = figure.add_axes((left / wide, GAP / high, width / wide, HEIGHT / high))
        left += width + GAP
        # Rows of a coronal slice run from foot to head, and are shown with the head above.
        origin = "upper" if number == 0 else "lower"
        axes.imshow(gray, cmap="gray", vmin=-160, vmax=240, aspect=aspect, interpolation="bilinear", origin=origin)
        for value, color in enumerate(CLASS_COLORS[: len(STRUCTURES)], 1):
            inside = labels == value
            if number == 1:
                for z in slices:
                    x = np.flatnonzero(inside[z])
                    if len(x):
                        axes.plot([x[0], x[-1]], [z, z], color=color, linewidth=4, solid_capstyle="butt")
            elif inside.any():
                axes.contourf(inside, [0.5, 1.5], colors=[color], alpha=0.4)
                axes.contour(inside, [0.5], colors=[color], linewidths=1.5)
        if number == 3 and proposed.axis == 0:
            axes.axhline(proposed.index, color="white", linewidth=0.8, linestyle=":")
        axes.set_xlim(-0.5, gray.shape[1] - 0.5)
        axes.set_title(title, color="white", fontsize=13)
        axes.set_axis_off()
    return figure


if __name__ == "__main__":
    main()
