"""Markdown tables of the evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

NAMES = {
    "msd_hippocampus": "Hippocampus MR",
    "hn_ct_openkbp": "Head and neck CT",
    "mouse_brain_mr": "Mouse brain MR",
    "cardiac_cine_scd": "Cardiac cine MR",
    "em_fib25_neuroproof": "Fly brain EM",
    "liver_spleen_ct": "Generated abdomen CT",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(found: dict[str, Any] | None) -> str:
    """Returns "+1.2 (0.3 to 2.1)", without limits where there are none, or a dash."""
    if found is None:
        return "–"
    limits = "" if found["low"] is None else f" ({found['low']:+.1f} to {found['high']:+.1f})"
    return f"{found['mean']:+.1f}{limits}"


def spread(found: dict[str, Any] | None) -> str:
    """Returns "81.2 ± 0.4", or a dash."""
    if found is None:
        return "–"
    return f"{found['mean']:.1f}" + ("" if found["sd"] is None else f" ± {found['sd']:.1f}")


def of_comparison(figures: dict[str, Any], labels: dict[str, str]) -> str:
    """Returns a table with a line for each cell: mean ± sd of every start, and its difference with the interval.

    Args:
        figures: as `paired.comparison` gives them.
        labels: key of the cells → heading.
    """
    against = figures["against"]
    starts = list(dict.fromkeys(s for cell in figures["cells"] for s in cell["starts"]))
    others = [s for s in starts if s != against]
    header = [*labels.values(), against, *others, *(f"{s} − {against}" for s in others)]
    rows = []
    for cell in figures["cells"]:
        found = cell["starts"]
        rows.append(
            [
                *(NAMES.get(str(cell[k]), str(cell[k])) for k in labels),
                spread(found.get(against)),
                *(spread(found.get(s)) for s in others),
                *(interval(found.get(s, {}).get("difference_bootstrap")) for s in others),
            ]
        )
    means = [interval(figures["overall"].get(s)) for s in others]
    rows.append(["all", *[""] * (len(labels) - 1 + 1 + len(others)), *means])
    return table(header, rows)


def of_variants(figures: dict[str, Any]) -> str:
    """Returns a table with a line for each start: its mean on every source, and the difference over all cells."""
    tasks = list(dict.fromkeys(cell["task"] for cell in figures["cells"]))
    starts = list(dict.fromkeys(s for cell in figures["cells"] for s in cell["starts"]))
    rows = []
    for start in starts:
        means = [next((c["starts"].get(start) for c in figures["cells"] if c["task"] == t), None) for t in tasks]
        rows.append([start, *map(spread, means), interval(figures["overall"].get(start))])
    return table(["start", *(NAMES.get(t, t) for t in tasks), f"− {figures['against']}"], rows)


def _split(f: dict[str, Any]) -> str:
    published = ", ".join(f"{count} cases {dice:.2f}" for count, dice in f["published"].items())
    text = f"Best published 2D: {published}; all labels {f['published_all_labels']:.2f}."
    return f"{of_comparison(f, {'count': 'labelled', 'network': 'network'})}\n\n{text}"


def _gain(f: dict[str, Any]) -> str:
    sources = "; ".join(f"{NAMES.get(t, t)} {interval(i)}" for t, i in f["sources"].items())
    return f"{of_comparison(f, {'task': 'source', 'count': 'labelled'})}\n\nBy source: {sources}."


def _general(f: dict[str, Any]) -> str:
    times = {"frozen": "Features before any training", "brief": "A brief fine-tuning", "usual": "The usual fine-tuning"}
    labels = {"task": "source", "count": "labelled"}
    return "\n\n".join(f"{text}:\n\n{of_comparison(f[time], labels)}" for time, text in times.items() if time in f)


def _time(f: dict[str, Any]) -> str:
    reached = f["pretrained_reaches_the_last_of_scratch_at"]
    texts = [f"{NAMES.get(t, t)} {'not' if s is None else f'at {s} s'}" for t, s in reached.items()]
    body = of_comparison(f, {"task": "source", "time": "seconds"})
    return f"{body}\n\nPretrained is where scratch ends: {'; '.join(texts)}."


def _ablations(f: dict[str, Any]) -> str:
    parts = [of_variants(f["losses"])]
    parts.append(
        "Each loss against the variant before: " + "; ".join(f"{n} {interval(i)}" for n, i in f["added"].items())
    )
    if f["domains"]["cells"]:
        parts.append(of_comparison(f["domains"], {"task": "source"}))
    if f["shares"]["cells"]:
        parts.append(of_comparison(f["shares"], {"task": "source", "share": "labels"}))
        bridged = "; ".join(
            f"{NAMES.get(task, task)} {'–' if share is None else f'{100 * share:.0f} %'}"
            for task, share in f["bridged"].items()
        )
        parts.append(f"Share of the way from 10 % to all labels that pretraining goes: {bridged}.")
    return "\n\n".join(parts)


def _baselines(f: dict[str, Any]) -> str:
    frozen, tuned = f["frozen"], f["fine-tuned"]
    tasks = list(dict.fromkeys(cell["task"] for cell in tuned["cells"]))
    starts = list(dict.fromkeys(s for cell in tuned["cells"] for s in cell["starts"]))

    def cell(figures: dict[str, Any], task: str, start: str) -> str:
        return spread(next((c["starts"].get(start) for c in figures["cells"] if c["task"] == task), None))

    rows = [
        [
            start,
            *(cell(figures, task, start) for figures in (frozen, tuned) for task in tasks),
            *(interval(figures["overall"].get(start)) for figures in (frozen, tuned)),
        ]
        for start in starts
    ]
    names = [NAMES.get(task, task) for task in tasks]
    header = [f"{name}, {kind}" for kind in ("frozen", "fine-tuned") for name in names]
    return table(["start", *header, "frozen − scratch", "fine-tuned − scratch"], rows)


def _hierarchy(f: dict[str, Any]) -> str:
    rows = [
        [when, level, *(f"{found[w][m]:.2f}" for w in ("task", "group") for m in ("probe", "silhouette"))]
        for when, levels in f["networks"].items()
        for level, found in levels.items()
    ]
    measures = ["probe of task", "silhouette of task", "probe of group", "silhouette of group"]
    return table(["pretraining", "level", *measures], rows)


def _interactive(f: dict[str, Any]) -> str:
    methods = list(dict.fromkeys(m for cell in f["cells"] for m in cell["mean"]))
    rows = []
    for cell in sorted(f["cells"], key=lambda c: (c["task"], c["slices"], c["k"])):
        means = [f"{cell['mean'][m]:.1f}" if m in cell["mean"] else "–" for m in methods]
        leads = [interval(cell["lead"].get(m)) for m in methods if m != "HSSL"]
        where = [NAMES.get(cell["task"], cell["task"]), str(cell["k"]), cell["slices"], str(cell["volumes"])]
        rows.append([*where, *means, *leads])
    header = ["source", "k", "slices", "volumes", *methods, *(f"HSSL − {m}" for m in methods if m != "HSSL")]
    timed = f["times"]
    sentences = [
        f"{where}: first preview {timed[where]['first_seconds']:.1f} s, correction "
        f"{timed[where]['correction_seconds']:.1f} s, peak {timed[where]['peak_mb']} MB"
        for where in ("surroundings", "whole volume")
    ]
    size = "×".join(map(str, timed["size"]))
    return f"{table(header, rows)}\n\nA generated volume of {size} voxels; {'; '.join(sentences)}."


def _share(found: dict[str, Any] | None) -> str:
    """Returns "12 % (8 to 16)"."""
    if found is None:
        return "–"
    limits = "" if found["low"] is None else f" ({found['low']:.0f} to {found['high']:.0f})"
    return f"{found['mean']:.0f} %{limits}"


def _labelling(f: dict[str, Any]) -> str:
    rows = []
    for cell in f["cells"]:
        dice = cell["dice"]
        limits = "" if dice is None or dice["low"] is None else f" ({dice['low']:.1f} to {dice['high']:.1f})"
        where = [NAMES.get(cell["task"], cell["task"]), "all drafts" if dice is None else str(cell["count"])]
        reached = "" if dice is None else f"{dice['mean']:.1f}{limits}"
        if not cell["drafts"]:
            rows.append([*where, reached, *["–"] * 4])
            continue
        sums = cell["sums"]
        rows.append(
            [
                *where,
                reached,
                f"{cell['drafts']:g}",
                f"{_share(cell['wrong_voxels'])} of {sums['voxels']:.0f}",
                f"{_share(cell['slices_to_correct'])} of {sums['slices']:.0f}",
                _share(cell["wrong_slices"]),
            ]
        )
    header = ["source", "labelled", "Dice of the test cases", "drafts", "wrong voxels", "slices to correct"]
    return table([*header, "slices with any wrong voxel"], rows)


def _wrong_labels(f: dict[str, Any]) -> str:
    rows = [
        [
            NAMES.get(cell["source"], cell["source"]),
            f"{cell['of']} of {cell['labels']}",
            ", ".join(map(str, cell["found"])),
            ", ".join(map(str, cell["found_by_dice"])),
            "; ".join(f"{way}: {', '.join(map(str, ranks))}" for way, ranks in cell["ways"].items()),
        ]
        for cell in f["cells"]
    ]
    looked = f["cells"][0]["looked_at"]
    header = ["source", "spoiled", f"found in the first {looked}, by draw", "by Dice alone", "ranks"]
    return table(header, rows)


SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "split": ("The published split", _split),
    "gain": ("Gain over scratch", _gain),
    "general": ("The start that ships, on sources that it has not seen", _general),
    "going-on": ("Going on from the start that ships with the source's own scans", _general),
    "time": ("Time to accuracy", _time),
    "ablations": ("Ablations", _ablations),
    "frozen": ("Frozen features", of_variants),
    "baselines": ("Other pretexts in the same loop", _baselines),
    "hierarchy": ("The hierarchy in the features", _hierarchy),
    "interactive": ("Learning from a few slices", _interactive),
    "labelling": ("Labelling with drafts", _labelling),
    "wrong-labels": ("Looking for wrong labels", _wrong_labels),
}
"""Experiment → title and the function that writes its section from its figures."""


def circumstances(result: dict[str, Any]) -> str:
    """Returns in a sentence on what the figures were measured, and how long was trained."""
    hardware = result["hardware"]
    device = hardware["gpu"] or f"{hardware['processor']}, {hardware['cores']} cores"
    minutes = [r["minutes"] for r in result["rows"] if r.get("minutes") is not None]
    parts = [f"Measured on {device}; preset {result['sizes']['name']}; commit {result['commit'][:12]}"]
    pretraining = sum(p["minutes"] for p in result["pretrainings"])
    count = len(result["pretrainings"])
    parts.append(f"{count} pretraining{'s' if count != 1 else ''}, {pretraining:.0f} minutes")
    if minutes:
        parts.append(f"{len(minutes)} fine-tunings, {sum(minutes):.0f} minutes")
    others = sorted({r["commit"][:12] for r in result["rows"] if r.get("commit")} - {result["commit"][:12]})
    if others:
        parts.append(f"fine-tunings of commits {', '.join(others)}")
    return "; ".join(parts) + "."
