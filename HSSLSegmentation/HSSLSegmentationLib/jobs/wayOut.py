"""What panel and console call the way out of an error that the engine tells in words that fit every door."""

from slicer.i18n import tr as _


def hintOf(event) -> str:
    """Returns the hint of a `Failed` event, with the name that the option or action has here."""
    name = {
        "frame": _("frame"),
        "channel": _("channel"),
        "check": _("Dataset, Actions, or logic.checkImages"),
        "create": _("Dataset, Create a workspace here, or logic.createWorkspace"),
        "overwrite": _("overwrite"),
        "spacing": _("spacing"),
        "structures": _("structures"),
        "pattern": _("pattern"),
        "label_pattern": _("label pattern"),
        "mixed": _("mixed"),
        "nan_is_background": _("nan_is_background"),
        "patient": _("patients"),
        "modality": _("modality"),
        "islands": _("Pieces to keep"),
    }.get(event.way_out)
    return f"{event.hint} ({name})".strip() if name else event.hint
