"""Plain words for what the engine tells: phases, losses, times, states."""

import html
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from hssl.results import LearningCurveResult

DOUBTFUL = 8
"""How many labels are named after a check of the labels."""


def literal(text: str) -> str:
    """Returns a text that Qt shows letter by letter: tooltips and message boxes take one with "<b>" in it for markup."""
    if "<" not in text and "&" not in text:
        return text
    lines = html.escape(text, quote=False).replace("\n", "<br>")
    return f"<span>{lines}</span>"


def shipped(name: str) -> str:
    """Returns what a start is called that comes with the module."""
    return _("HSSL {name} (ships with it)").format(name=name)


def phase(name: str) -> str:
    """Returns what a job is doing, by the engine's name of the phase."""
    return {
        "scans": _("Making sample scans"),
        "scan": _("Reading the scans"),
        "headers": _("Reading the scans"),
        "voxels": _("Checking the scans"),
        "grouping": _("Comparing the scans"),
        "generate": _("Making sample scans"),
        "fingerprint": _("Measuring the scans"),
        "store": _("Preparing the scans"),
        "pretraining": _("Pretraining"),
        "fine-tuning": _("Fine-tuning"),
        "training": _("Learning"),
        "comparison": _("Comparing the starts"),
        "cross-validation": _("Training on a part of the labels"),
        "test": _("Segmenting the test scans"),
        "report": _("Writing the report"),
        "prediction": _("Segmenting"),
        "open": _("Reading the scan"),
        "features": _("Looking at the scan"),
        "learn": _("Learning"),
        "learning": _("Learning"),
        "predict": _("Segmenting"),
        "evaluation": _("Comparing"),
        "suggestion": _("Looking at the scans"),
    }.get(name, "")


def job(kind: str) -> str:
    """Returns the name of a kind of job."""
    return {
        "pretrain": _("Pretraining"),
        "finetune": _("Fine-tuning"),
        "compare": _("Comparison"),
        "check_labels": _("The check of the labels"),
        "learning_curve": _("The learning curve"),
        "predict": _("Segmentation"),
        "interactive": _("Learning from slices"),
        "evaluate": _("Evaluation"),
        "suggest": _("The choice of what to label next"),
        "add": _("Adding scans"),
        "preview": _("The look at the folder"),
        "check": _("The check of the scans"),
        "group": _("The suggestion of groups"),
        "sample": _("Making sample scans"),
        "export": _("Export"),
        "import": _("Import"),
    }.get(kind, _("Job"))


def curve(name: str) -> str:
    """Returns the name of a loss or measurement as the plots show it."""
    return {
        "total": _("total"),
        "image": _("image contrastive"),
        "task": _("task classification"),
        "group": _("group classification"),
        "reconstruction": _("reconstruction"),
        "dense": _("dense contrastive"),
        "position": _("position"),
        "dice": _("Dice loss"),
        "cross_entropy": _("cross-entropy"),
        "distillation": _("distillation"),
        "validation_dice": _("Dice on held-out cases"),
    }.get(name, name.replace("_", " "))


def duration(seconds: float) -> str:
    """Returns a time such as "40 s", "12 min" or "3 h 5 min"."""
    if seconds < 90:
        return _("{count} s").format(count=max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 90:
        return _("{count} min").format(count=minutes)
    return _("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)


def count(number: int, one: str, many: str) -> str:
    """Returns "1 scan" or "5 scans": the form that fits the number, with the number in the place of {count}."""
    return one if number == 1 else many.format(count=number)


def learned(result) -> str:
    """Returns how long a training was, such as "500 steps in 12 min"."""
    steps = count(result.steps, _("1 step"), _("{count} steps"))
    return _("{steps} in {time}").format(steps=steps, time=duration(60 * result.minutes))


def size(count: float) -> str:
    """Returns a number of bytes such as "12 MB" or "3.4 GB"."""
    if count < 1e9:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.1f} GB"


def state(job) -> str:
    """Returns in one line how a job stands."""
    if job.state == "failed":
        return "\n".join(text for text in (job.error, job.hint) if text)
    if job.state == "stopped":
        kept = _("Stopped. What was learned so far is kept.") if job.isResumable() else _("Stopped.")
        return " ".join(text for text in (job.detail or kept, getattr(job.result, "text", "")) if text)
    if job.state == "done":
        return " ".join(
            text for text in (outcome(job), _("Done in {time}.").format(time=duration(job.seconds))) if text
        )
    parts = [phase(job.phase) if job.phase else _("Starting…")]
    if job.phaseCount > 1:
        parts[0] += " " + _("({index} of {count})").format(index=job.phaseIndex, count=job.phaseCount)
    if job.state == "stopping":
        return _("Stopping: the state is being saved…") if job.isResumable() else _("Stopping…")
    if job.detail:
        parts.append(job.detail)
    if job.etaSeconds:
        parts.append(_("{time} left").format(time=duration(job.etaSeconds)))
    if job.silentFor > job.silenceSeconds:
        parts.append(_("nothing heard for {time}; it may still be busy").format(time=duration(job.silentFor)))
    return " · ".join(parts)


def outcome(job) -> str:
    """Returns in a sentence or two what a job that is done has brought, "" where its section says it."""
    result = job.result
    if job.kind == "add":
        return result.text
    if job.kind == "check":
        problems = len(result.problems)
        usable = count(result.usable, _("1 scan can be used"), _("{count} scans can be used"))
        told = _("{usable}, {labelled} with a label.").format(usable=usable, labelled=result.labelled)
        return told + (
            " " + count(problems, _("1 problem (see Health)."), _("{count} problems (see Health).")) if problems else ""
        )
    if job.kind == "check_labels":
        rows = [f"{row.id} ({row.dice:.2f})" for row in result.rows[:DOUBTFUL]]
        return _("The labels that the others agree with least (Dice): {rows}.").format(rows=", ".join(rows))
    if job.kind == "learning_curve":
        return learningCurve(result)
    if job.kind == "suggest":
        return count(len(result.suggestions), _("1 scan is suggested."), _("{count} scans are suggested."))
    if job.kind in ("export", "import"):
        return _("Written: {file}").format(file=result.file)
    return ""


def learningCurve(result: "LearningCurveResult") -> str:
    """Returns whether more labels still help, of a curve that came to its end."""
    assert result.verdict is not None and result.gain is not None
    lead = {
        "yes": _("More labels still help."),
        "hardly": _("More labels hardly help any more."),
        "unclear": _("It cannot be told yet whether more labels help."),
    }[result.verdict]
    dice = result.gain.dice
    change = _(
        "From {before} to {after} labelled scans, the Dice of unseen ones changed by {points:+.1f} points"
    ).format(before=result.gain.before, after=result.gain.after, points=100 * dice.mean)
    if dice.low is None or dice.high is None:
        return f"{lead} {change}."
    limits = _("95 % interval {low:+.1f} to {high:+.1f}").format(low=100 * dice.low, high=100 * dice.high)
    return f"{lead} {change} ({limits})."


def status(name: str) -> str:
    """Returns how far an image is, by the engine's name of the status (`hssl.workspace.review.Status`)."""
    return {
        "no label": _("no label"),
        "draft": _("draft"),
        "skipped": _("skipped"),
        "impossible": _("impossible"),
        "labelled": _("labelled"),
        "approved": _("approved"),
        "flagged": _("flagged"),
    }[name]
