"""The models that the Segment Editor effect offers: those of the last workspace, and files that the user picks."""

from pathlib import Path

from slicer.i18n import tr as _

from .. import installation, settings, wording
from ..workspace import contents as workspaceContents

NONE, OTHER_FILE = "none", "file"
"""Stand for no model, and for picking a file."""


_works: bool | None = None


def canWork() -> bool:
    """Tells whether Slicer's Python and the jobs' have the packages; asked anew only as long as something is missing."""
    global _works
    if not _works:
        _works = not installation.missingRequirements(settings.value("python"))
    return _works


def lookAgain() -> None:
    """Has packages that were missing looked for again: they may have been installed meanwhile, by whatever way."""
    if not _works:
        installation.forget()


def toLearnFrom(chosen: str) -> list[tuple[str, str, str]]:
    """Returns what `choices.fill` takes: networks whose features a round can start from, pretrained ones first."""
    runs, files = _contents()
    items = [
        (str(run.path), _("{name} (pretrained)").format(name=run.name), _("What this pretraining has learned."))
        for run in runs
        if run.kind == "pretrain"
    ]
    if canWork():
        tip = _("What the labels of four public sources have taught.")
        items += [(name, wording.shipped(name), tip) for name in workspaceContents.shippedStarts()]
    items += [(str(file.path), file.name, _("Features of this model file.")) for file in files]
    items += [
        (str(run.path), _("{name} (fine-tuned)").format(name=run.name), _("Features for {task}.").format(task=run.task))
        for run in runs
        if run.kind == "finetune"
    ]
    items.append((NONE, _("none: this scan alone"), _("Works from grey values and shape, without a network.")))
    return _withChosen(items, chosen)


def toPredictWith(chosen: str) -> list[tuple[str, str, str]]:
    """Returns what `choices.fill` takes: models that segment, those that were trained to be compared last."""
    runs, files = _contents()
    tuned = [run for run in runs if run.kind == "finetune"]
    items = [
        (str(run.path), run.name, _("Segments {task}.").format(task=run.task)) for run in tuned if not run.comparison
    ]
    items += [(str(file.path), file.name, _("A model file.")) for file in files if file.kind == "segmentation"]
    tip = _("Segments {task}. A part of the comparison {name}.")
    items += [(str(r.path), r.name, tip.format(task=r.task, name=r.comparison)) for r in tuned if r.comparison]
    return _withChosen(items, chosen)


def _contents() -> tuple[list, list]:
    """Returns runs and model files, the best first: the first one is taken where the user has chosen none."""
    workspace = settings.value("lastWorkspace")
    if not workspaceContents.isWorkspace(workspace):
        return [], []
    runs = [run for run in reversed(workspaceContents.runs(workspace)) if run.state in ("finished", "unfinished")]
    runs.sort(key=lambda run: (bool(run.comparison), run.state != "finished"))
    return runs, [file for file in workspaceContents.models(workspace) if not file.problem]


def _withChosen(items: list[tuple[str, str, str]], chosen: str) -> list[tuple[str, str, str]]:
    if chosen and chosen not in [item[0] for item in items]:
        items.append((chosen, Path(chosen).name, chosen))
    return [*items, (OTHER_FILE, _("A model file…"), _("Picks a file from this computer."))]
