"""Plain words for what the engine tells: phases, losses, times, states."""

from slicer.i18n import tr as _


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
        "predict": _("Segmentation"),
        "interactive": _("Learning from slices"),
        "evaluate": _("Evaluation"),
        "suggest": _("The choice of what to label next"),
        "scan": _("Adding scans"),
        "check": _("The check of the scans"),
        "group": _("The suggestion of groups"),
        "sample": _("Making sample scans"),
        "export": _("Export"),
        "import": _("Import"),
    }.get(kind, _("Job"))


def curve(name: str) -> str:
    """Returns the name of a loss or measurement as the plots show it."""
    return {
        "total": _("all together"),
        "image": _("images apart"),
        "task": _("tasks apart"),
        "group": _("groups apart"),
        "reconstruction": _("restoring"),
        "dense": _("same place"),
        "position": _("where it lies"),
        "dice": _("overlap loss"),
        "cross_entropy": _("voxel loss"),
        "consistency": _("agreement"),
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
        return job.detail or _("Stopped. What was learned so far is kept.")
    if job.state == "done":
        return _("Done in {time}.").format(time=duration(job.seconds))
    parts = [phase(job.phase) if job.phase else _("Starting…")]
    if job.phaseCount > 1:
        parts[0] += " " + _("({index} of {count})").format(index=job.phaseIndex, count=job.phaseCount)
    if job.state == "stopping":
        return _("Stopping: the state is being saved…")
    if job.detail:
        parts.append(job.detail)
    if job.etaSeconds:
        parts.append(_("{time} left").format(time=duration(job.etaSeconds)))
    if job.silentFor > job.silenceSeconds:
        parts.append(_("nothing heard for {time}; it may still be busy").format(time=duration(job.silentFor)))
    return " · ".join(parts)
