"""Plots of the evidence, in the style of the project's other figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from hssl.reporting.plots import color_of, style

from .tables import NAMES

_MARKERS = "os^Dv"


def _panels(names: Sequence[str], dark: bool, draw: Callable[[Axes, str, Mapping[str, str]], None]) -> Figure:
    with style(dark) as colors:
        figure = Figure(figsize=(2.9 * len(names), 2.7), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            axes.set_title(NAMES.get(name, name))
            draw(axes, name, colors)
        figure.axes[0].set_ylabel("Dice of the test cases, %")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 2 * len(names)))
        return figure


def against(figures: dict[str, Any], key: str, label: str, log: bool = False, dark: bool = False) -> Figure:
    """Draws the mean Dice of each start, with its standard deviation over runs, one panel a source.

    Args:
        figures: as `paired.comparison` gives them, with cells by "task" and `key`.
        key: what is on the horizontal axis.
        label: of that axis.
        log: whether that axis is logarithmic.
        dark: for a dark page.
    """

    def draw(axes: Axes, task: str, colors: Mapping[str, str]) -> None:
        cells = sorted((c for c in figures["cells"] if c["task"] == task), key=lambda c: c[key])
        for start in dict.fromkeys(s for c in cells for s in c["starts"]):
            known = [(c[key], c["starts"][start]) for c in cells if start in c["starts"]]
            x, means = [k for k, _ in known], [f["mean"] for _, f in known]
            spreads = [f["sd"] or 0 for _, f in known]
            axes.errorbar(
                x,
                means,
                spreads,
                color=color_of(start, colors),
                marker="o",
                markersize=4,
                label=start,
                elinewidth=4,
                ecolor=(*to_rgb(color_of(start, colors)), 0.3),
            )
        if log:
            axes.set_xscale("log")
        axes.set_xticks([c[key] for c in cells], [str(c[key]) for c in cells])
        axes.minorticks_off()
        axes.set_xlabel(label)

    return _panels(list(dict.fromkeys(c["task"] for c in figures["cells"])), dark, draw)


def forest(figures: dict[str, Any], dark: bool = False) -> Figure:
    """Draws each start's difference over all cells, with its confidence interval."""
    overall = figures["overall"]
    with style(dark) as colors:
        figure = Figure(figsize=(5.6, 0.9 + 0.32 * len(overall)), layout="constrained")
        axes = figure.subplots()
        for place, found in enumerate(overall.values()):
            if found["low"] is not None:
                axes.hlines(place, found["low"], found["high"], color=colors["pretrained"], linewidth=2.5, alpha=0.5)
            axes.plot(found["mean"], place, "o", color=colors["pretrained"])
        axes.axvline(0, color=colors["faint"], linewidth=1)
        axes.set_yticks(range(len(overall)), list(overall))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"points of Dice above {figures['against']}, 95 % interval")
        return figure


def hierarchy(figures: dict[str, Any], picture: str = "tsne", dark: bool = False) -> Figure:
    """Draws the test windows in the plane, before and after pretraining: colour by task, marker by group."""
    networks, tasks, groups = figures["networks"], figures["tasks"], figures["groups"]
    levels = list(next(iter(networks.values())))
    names, kinds = list(dict.fromkeys(tasks)), sorted(set(groups))
    with style(dark) as colors:
        figure = Figure(figsize=(3.2 * len(networks), 2.9 * len(levels)), layout="constrained")
        grid = figure.subplots(len(levels), len(networks), squeeze=False)
        for line, level in zip(grid, levels, strict=True):
            for axes, (when, found) in zip(line, networks.items(), strict=True):
                points = found[level][picture]
                for task in names:
                    own = [p for p, t in zip(points, tasks, strict=True) if t == task]
                    marker = _MARKERS[kinds.index(groups[tasks.index(task)]) % len(_MARKERS)]
                    color = _color(names.index(task), colors)
                    axes.scatter(*zip(*own, strict=True), s=9, color=color, marker=marker, label=NAMES.get(task, task))
                axes.set_title(f"{level}, {when}")
                axes.set_xticks([])
                axes.set_yticks([])
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return figure


def interactive(figures: dict[str, Any], dark: bool = False) -> Figure:
    """Draws the Dice of each method against the number of evenly spread slices, one panel a source."""
    cells = [c for c in figures["cells"] if c["slices"] == "even"]
    methods = list(dict.fromkeys(m for c in cells for m in c["mean"]))

    def draw(axes: Axes, task: str, colors: Mapping[str, str]) -> None:
        own = sorted((c for c in cells if c["task"] == task), key=lambda c: c["k"])
        for place, method in enumerate(methods):
            x = [c["k"] for c in own if method in c["mean"]]
            y = [c["mean"][method] for c in own if method in c["mean"]]
            axes.plot(x, y, color=_color(place, colors), marker="o", markersize=4, label=method)
        axes.set_xticks([c["k"] for c in own])
        axes.set_xlabel("annotated slices")

    return _panels(list(dict.fromkeys(c["task"] for c in cells)), dark, draw)


def _color(place: int, colors: Mapping[str, str]) -> str:
    first = ["pretrained", "scratch"]
    return color_of(first[place], colors) if place < 2 else color_of(str(place), colors, [str(n) for n in range(2, 9)])


CHARTS: dict[str, Callable[[dict[str, Any]], Figure]] = {
    "gain": lambda f: against(f, "count", "labelled cases"),
    "time": lambda f: against(f, "time", "seconds of fine-tuning", log=True),
    "ablations": lambda f: forest(f["losses"]),
    "baselines": lambda f: forest(f["fine-tuned"]),
    "hierarchy": hierarchy,
    "interactive": interactive,
}
"""Experiment → the chart of its figures."""
