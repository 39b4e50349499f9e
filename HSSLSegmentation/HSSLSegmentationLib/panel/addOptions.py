"""What a folder may need beside its path: patterns, patient, structures, classes, frame and channel, as they are typed."""

from slicer.i18n import tr as _

from ..refusal import Refusal

FIELDS = {"pattern": "addPattern", "frame": "addFrame", "channel": "addChannel"}
"""Which field is the way out of which refusal of the engine's."""


def values(parameters) -> dict:
    """Returns the fields of `hssl.configuration.AddConfig` that were filled in.

    Raises:
        Refusal: what was typed cannot be read; the message says what is expected.
    """
    found: dict = {
        "pattern": parameters.addPattern.strip(),
        "label_pattern": parameters.addLabelPattern.strip(),
        "patient": parameters.addPatient.strip(),
        "structures": [name.strip() for name in parameters.addStructures.split(",") if name.strip()],
        "classes": _classes(parameters.addClasses),
        "frame": _number(parameters.addFrame, _("Frame")),
        "channel": _number(parameters.addChannel, _("Channel")),
    }
    return {name: value for name, value in found.items() if value not in ("", [], {}, None)}


def _number(text: str, what: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdecimal():
        raise Refusal(_("{what} is a number from 0, not {text}.").format(what=what, text=text.strip()))
    return int(text)


def _classes(text: str) -> dict[int, str]:
    found = {}
    for part in (part for part in text.split(",") if part.strip()):
        value, mark, name = part.partition("=")
        if not mark or not value.strip().isdecimal() or not name.strip():
            raise Refusal(_("Classes are of the form 1=liver, 2=tumour; {part} is not.").format(part=part.strip()))
        found[int(value)] = name.strip()
    return found
