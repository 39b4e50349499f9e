"""Figures that reports, comparisons and benchmarks share: curves, Dice against labels, overlays on slices."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..preprocessing.normalisation import slice_axis_of
from ..workspace.catalogue import LabelClass

# Okabe and Ito's colours, which people who see colours differently can tell apart, in a darker and a lighter tone.
_ON_LIGHT = {"pretrained": "#0072B2", "scratch": "#D55E00", "ink": "#22303c", "faint": "#8a97a3", "grid": "#dfe5ea"}
_ON_DARK = {"pretrained": "#56B4E9", "scratch": "#E69F00", "ink": "#dfe6ec", "faint": "#8a97a3", "grid": "#33404b"}
_MORE = ("#009E73", "#CC79A7", "#b58900", "#6c71c4")
CLASS_COLORS = ((0.25, 0.85, 0.60), (0.95, 0.45, 0.75), (0.94, 0.89, 0.26), (0.34, 0.71, 0.91), (0.95, 0.65, 0.25))
"""For classes without a colour of their own, RGB in 0…1."""

MANY = 20
"""More classes than this are not seen at once, and have the scale at both ends."""
LEGEND_LETTERS = 60
"""As many letters fit into a line of a legend."""
_DETAIL = 400
"""Pixels along the longer side of an overlay, about."""

Metrics = Sequence[Mapping[str, float]]
"""Rows of a run's metrics.csv, without the cells that were not measured."""


@contextmanager
def style(dark: bool = False) -> Iterator[dict[str, str]]:
    """Within it figures have the project's look on a transparent ground; yields the colours by their meaning."""
    colors = _ON_DARK if dark else _ON_LIGHT
    settings: Any = {
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "font.size": 9.5,
        "text.color": colors["ink"],
        "axes.labelcolor": colors["ink"],
        "axes.edgecolor": colors["faint"],
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": colors["grid"],
        "grid.linewidth": 0.8,
        "xtick.color": colors["faint"],
        "ytick.color": colors["faint"],
        "xtick.labelcolor": colors["ink"],
        "ytick.labelcolor": colors["ink"],
        "lines.linewidth": 2.0,
        "legend.frameon": False,
        "svg.hashsalt": "hssl",
        "text.parse_math": False,  # names of classes may have a $
    }
    with matplotlib.rc_context(settings):
        yield colors


def color_of(start: str, colors: Mapping[str, str], others: Sequence[str] = ()) -> str:
    """Returns the colour of a start: one for "scratch", one for "pretrained", further ones for `others`."""
    return colors[start] if start in colors else _MORE[list(others).index(start) % len(_MORE)]


def loss_curves(rows: Metrics, losses: Sequence[str], dark: bool = False) -> Figure:
    """Draws one small panel for each loss over the steps, as measured and smoothed."""
    with style(dark) as colors:
        columns = min(len(losses), 3)
        lines = -(-len(losses) // columns)
        figure = Figure(figsize=(3.3 * columns, 2.2 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels[len(losses) :]:
            axes.remove()
        for axes, name in zip(panels, losses, strict=False):
            steps, values = _column(rows, "step", name)
            axes.plot(steps, values, color=colors["faint"], alpha=0.45, linewidth=0.9)
            axes.plot(steps, smoothed(values), color=colors["pretrained"])
            axes.set_title(name)
            axes.set_xlabel("step")
            axes.locator_params(axis="x", nbins=4)
            axes.locator_params(axis="y", nbins=5)
        return figure


def learning_curves(
    runs: Mapping[str, Metrics], what: str, over: str = "seconds", label: str = "", dark: bool = False
) -> Figure:
    """Draws one measure of several runs over time, each run in the colour of its start.

    Args:
        runs: start → its rows.
        what: column to draw.
        over: "seconds" or "step".
        label: of the vertical axis; empty for the column's name.
        dark: for a dark page.
    """
    with style(dark) as colors:
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axes = figure.subplots()
        others = [start for start in runs if start not in colors]
        for start, rows in runs.items():
            x, values = _column(rows, over, what)
            color = color_of(start, colors, others)
            if what.endswith("_dice"):
                axes.plot(x, values, color=color, marker="o", markersize=4, label=start)
            else:
                axes.plot(x, values, color=color, alpha=0.25, linewidth=0.9)
                axes.plot(x, smoothed(values), color=color, label=start)
        axes.set_xlabel("seconds of training" if over == "seconds" else over)
        axes.set_ylabel(label or what)
        axes.legend()
        return figure


def dice_against_labels(rows: Sequence[Mapping[str, Any]], dark: bool = False) -> Figure:
    """Draws the Dice of every start against the number of labelled cases: each run, their mean and their range.

    Args:
        rows: with "start", "case_count" and "dice" (0 to 1), as in a comparison.json; those without a Dice are left out.
        dark: for a dark page.
    """
    with style(dark) as colors:
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axes = figure.subplots()
        starts = list(dict.fromkeys(row["start"] for row in rows))
        others = [start for start in starts if start not in colors]
        counts = sorted({row["case_count"] for row in rows})
        for place, start in enumerate(starts):
            color = color_of(start, colors, others)
            own = [r for r in rows if r["start"] == start and r["dice"] is not None]
            groups = [[r["dice"] for r in own if r["case_count"] == n] for n in counts]
            known = [(at, values) for at, values in enumerate(groups) if values]
            x = [at + 0.06 * (place - (len(starts) - 1) / 2) for at, _ in known]
            axes.plot(x, [float(np.mean(v)) for _, v in known], color=color, marker="o", label=start)
            for at, (_, values) in zip(x, known, strict=True):
                axes.vlines(at, min(values), max(values), color=color, linewidth=5, alpha=0.25)
                axes.scatter([at] * len(values), values, s=10, color=color, alpha=0.6, linewidths=0)
        axes.set_xticks(range(len(counts)), [str(n) for n in counts])
        axes.set_xlim(-0.5, len(counts) - 0.5)
        axes.set_xlabel("labelled cases")
        axes.set_ylabel("Dice of the test cases")
        axes.legend()
        return figure


def dice_by_class(measured: Mapping[str, Sequence[Mapping[str, Any]]], dark: bool = False) -> Figure:
    """Draws the Dice of every test case, a line for each class, the starts below each other and a case's results joined.

    Classes go down the page, where a hundred of them and long names have room.

    Args:
        measured: start → rows with "case", "class_name" and "dice", as in an evaluation.json.
        dark: for a dark page.
    """
    with style(dark) as colors:
        starts = list(measured)
        others = [start for start in starts if start not in colors]
        names = list(dict.fromkeys(row["class_name"] for rows in measured.values() for row in rows))
        room = 0.2 + 0.16 * len(starts)
        figure = Figure(figsize=(6.4, 1.1 + room * len(names)), layout="constrained")
        axes = figure.subplots()
        for at, name in enumerate(names):
            where = {start: at + 0.4 * (i - (len(starts) - 1) / 2) for i, start in enumerate(starts)}
            dice = {
                start: {r["case"]: r["dice"] for r in rows if r["class_name"] == name and r["dice"] is not None}
                for start, rows in measured.items()
            }
            for case in dict.fromkeys(case for values in dice.values() for case in values):
                line = [(dice[s][case], where[s]) for s in starts if case in dice[s]]
                axes.plot(*zip(*line, strict=True), color=colors["faint"], alpha=0.5, linewidth=0.8, zorder=1)
            for start in starts:
                values, color = list(dice[start].values()), color_of(start, colors, others)
                axes.scatter(values, [where[start]] * len(values), s=16, color=color, linewidths=0, zorder=2)
                if values:
                    mean = float(np.mean(values))
                    axes.vlines(mean, where[start] - 0.16, where[start] + 0.16, color=color, linewidth=2.5, zorder=3)
        for start in starts:
            label = textwrap.fill(start, LEGEND_LETTERS, max_lines=1, placeholder="…")
            axes.scatter([], [], s=16, color=color_of(start, colors, others), label=label)
        axes.set_yticks(range(len(names)), [textwrap.fill(name, 32, max_lines=2, placeholder="…") for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("Dice of each test case (bar: mean)")
        axes.tick_params(axis="x", labeltop=len(names) > MANY)
        abreast = sum(map(len, starts)) <= LEGEND_LETTERS
        figure.legend(loc="outside upper left", ncols=len(starts) if abreast else 1, handletextpad=0.3)
        return figure


def smoothed(values: Sequence[float]) -> NDArray[np.float64]:
    """Returns the values averaged over a window of about a tenth of them, narrower at the ends."""
    array = np.asarray(values, float)
    reach = max(len(array) // 20, 1)
    return np.array([array[max(i - reach, 0) : i + reach + 1].mean() for i in range(len(array))])


def _column(rows: Metrics, x: str, y: str) -> tuple[list[float], list[float]]:
    both = [(row[x], row[y]) for row in rows if x in row and y in row]
    return [a for a, _ in both], [b for _, b in both]


# Slices ----------------------------------------------------------------------------------------------------------


class SliceView:
    """One slice of a volume, seen as a radiologist sees it, on which label maps are laid.

    The volume is brought to the axes nearest to the patient's; the slices run along its coarsest spacing, and the one
    with most of the reference is shown.

    Args:
        image: the volume.
        reference: label map on its grid that tells where to look; None: the middle slice.
        modality: "CT" is shown in a soft-tissue window, everything else by percentiles.
        zoom: whether to look at the part around the reference only.
    """

    def __init__(self, image: sitk.Image, reference: sitk.Image | None = None, modality: str = "", zoom: bool = True):
        image = sitk.DICOMOrient(image, "LPS")
        values = sitk.GetArrayViewFromImage(image)
        mask = None if reference is None else self._oriented(reference) > 0
        spacing = image.GetSpacing()[::-1]
        self._axis = slice_axis_of(spacing, values.shape)
        rest = [axis for axis in range(3) if axis != self._axis]
        if mask is not None and mask.any():
            self._index = int(mask.sum(axis=tuple(rest)).argmax())
        else:
            self._index = values.shape[self._axis] // 2
        plane = values.take(self._index, self._axis).astype(float)
        # Rows of a sagittal or coronal slice run from foot to head in memory, and are shown with the head above.
        self._upright = self._axis != 0
        self._box = (slice(None), slice(None))
        if zoom and mask is not None and mask.any():
            self._box = _around(np.any(mask, axis=self._axis), [spacing[axis] for axis in rest])
        low, high = (-160.0, 240.0) if modality == "CT" else np.percentile(values, [1, 99.7])
        self.gray: NDArray[np.float64] = np.clip((self._shown(plane) - low) / max(high - low, 1e-6), 0, 1)
        self.aspect = spacing[rest[0]] / spacing[rest[1]]

    def overlaid(self, label: sitk.Image | None, classes: Sequence[LabelClass]) -> NDArray[np.float64]:
        """Returns the slice in RGB (0 to 1), interpolated to finer pixels, with the classes tinted and outlined.

        Args:
            label: label map on the image's grid; None for the bare slice.
            classes: their values and colours.
        """
        factor = max(round(_DETAIL / max(self.gray.shape)), 1)
        rgb = np.repeat(_finer(self.gray, factor)[..., None], 3, axis=2)
        if label is None:
            return rgb
        plane = self._shown(self._oriented(label).take(self._index, self._axis))
        width = max(round(_DETAIL / 200), 1)
        for color, c in zip(colors_of(classes), classes, strict=True):
            inside = _finer((plane == c.value).astype(float), factor) > 0.5
            inner = inside.copy()
            for axis in (0, 1):
                for step in range(-width, width + 1):
                    inner &= np.roll(inside, step, axis)
            rgb[inside] = 0.75 * rgb[inside] + 0.25 * np.array(color)
            border = inside & ~inner
            rgb[border] = 0.1 * rgb[border] + 0.9 * np.array(color)
        return rgb

    def _oriented(self, label: sitk.Image) -> NDArray[Any]:
        return sitk.GetArrayFromImage(sitk.DICOMOrient(label, "LPS"))

    def _shown(self, plane: NDArray[Any]) -> NDArray[Any]:
        plane = plane[self._box]
        return plane[::-1] if self._upright else plane


def colors_of(classes: Sequence[LabelClass]) -> list[tuple[float, float, float]]:
    """Returns the colours in which overlays show classes.

    They are the palette's, not the classes' own: those of anatomy atlases are often too alike on a small picture.
    """
    return [CLASS_COLORS[i % len(CLASS_COLORS)] for i in range(len(classes))]


def pictures(panels: Mapping[str, NDArray[np.float64]], aspect: float = 1.0, height: float = 2.4) -> Figure:
    """Draws slices side by side, each with its title.

    Args:
        panels: title → gray (2D) or RGB image.
        aspect: height of a pixel over its width.
        height: of the panels, in inches.
    """
    with style() as colors:
        rows, columns = next(iter(panels.values())).shape[:2]
        width = height * columns / (rows * aspect)
        figure = Figure(figsize=(width * len(panels) + 0.06 * (len(panels) - 1), height))
        figure.subplots_adjust(0, 0, 1, 1, wspace=0.03)
        for axes, (title, panel) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            axes.imshow(panel, cmap="gray", vmin=0, vmax=1, aspect=aspect, interpolation="bilinear")
            axes.set_axis_off()
            if title:
                axes.text(0.03, 0.97, title, color="white", va="top", transform=axes.transAxes, fontsize=8.5)
        figure.set_facecolor(colors["ink"])
        return figure


def _finer(plane: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Returns the plane interpolated linearly to `factor` times as many pixels, which fill the same frame."""
    for axis in (0, 1):
        count = plane.shape[axis]
        at = np.clip((np.arange(count * factor) + 0.5) / factor - 0.5, 0, count - 1)
        low = np.minimum(at.astype(int), max(count - 2, 0))
        share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        plane = (1 - share) * plane.take(low, axis) + share * plane.take(np.minimum(low + 1, count - 1), axis)
    return plane


def _around(mask: NDArray[Any], spacing: Sequence[float]) -> tuple[slice, slice]:
    """Returns a square (in mm) around a mask, a little larger than it and at least half as large as the slice."""
    ends = [np.flatnonzero(mask.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    extent = max((end[1] - end[0] + 1) * s for end, s in zip(ends, spacing, strict=True))
    field = max(n * s for n, s in zip(mask.shape, spacing, strict=True))
    side = max(1.6 * extent, 0.5 * field)
    box = []
    for end, step, count in zip(ends, spacing, mask.shape, strict=True):
        size = min(int(np.ceil(side / step)), count)
        start = int(np.clip((end[0] + end[1] + 1 - size) // 2, 0, count - size))
        box.append(slice(start, start + size))
    return box[0], box[1]
