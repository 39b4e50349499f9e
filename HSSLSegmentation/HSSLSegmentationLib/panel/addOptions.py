"""What a folder may need beside its path: each option of an addition, where it is typed, and what its text means."""

import csv

from slicer.i18n import tr as _

from .. import numbers
from ..refusal import Refusal

TYPED = {
    "pattern": "addPattern",
    "label_pattern": "addLabelPattern",
    "patient": "addPatient",
    "structures": "addStructures",
    "classes": "addClasses",
    "frame": "addFrame",
    "channel": "addChannel",
    "spacing": "addSpacing",
    "anatomy": "addAnatomy",
    "mixed": "addMixed",
    "nan_is_background": "addNanIsBackground",
}
"""Fields of `hssl.configuration.AddConfig` that are shown where a folder needs them, with the parameter that holds each:
text in `<parameter>Edit`, or a switch in `<parameter>Check`."""
ALWAYS = {
    "task": "addTask",
    "group": "addGroup",
    "modality": "addModality",
    "source": "addFolder",
    "labels": "addLabelsFolder",
}
"""Fields that are shown for every folder."""
CHOSEN_IN_PREVIEW = ("leave_out", "confirm")
"""Fields that are said of what the preview shows."""


def values(parameters) -> dict:
    """Returns the fields of `hssl.configuration.AddConfig` that were filled in.

    Raises:
        Refusal: what was typed cannot be read; the message says what is expected.
    """
    found: dict = {
        "pattern": parameters.addPattern.strip(),
        "label_pattern": parameters.addLabelPattern.strip(),
        "patient": parameters.addPatient.strip(),
        "structures": names(parameters.addStructures),
        "classes": _classes(parameters.addClasses),
        "frame": numbers.whole(parameters.addFrame, _("Frame")),
        "channel": numbers.whole(parameters.addChannel, _("Channel")),
        "spacing": numbers.spacing(parameters.addSpacing),
        "anatomy": parameters.addAnatomy.strip(),
        "mixed": parameters.addMixed,
        "nan_is_background": parameters.addNanIsBackground,
    }
    return {name: value for name, value in found.items() if value not in ("", [], {}, None, False)}


def names(text: str) -> list[str]:
    """Returns names that are separated by commas; one that has a comma itself is in quotation marks."""
    row = next(csv.reader([text], skipinitialspace=True), [])
    return [name.strip() for name in row if name.strip()]


def asText(listed: list[str]) -> str:
    """Returns the text of which `names` makes these names."""
    return ", ".join(f'"{name}"' if "," in name else name for name in listed)


def _classes(text: str) -> dict[int, str]:
    found = {}
    for part in names(text):
        value, mark, name = part.partition("=")
        if not mark or not value.strip().isdecimal() or not name.strip():
            raise Refusal(_("Classes are of the form 1=liver, 2=tumour; {part} is not.").format(part=part))
        found[int(value)] = name.strip()
    return found
