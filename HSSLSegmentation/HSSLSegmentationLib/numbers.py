"""Numbers that a user types: what they mean, or what was expected."""

from slicer.i18n import tr as _

from .refusal import Refusal


def whole(text: str, what: str) -> int | None:
    """Returns a number from 0, None for an empty text.

    Raises:
        Refusal: it is none.
    """
    if not text.strip():
        return None
    if not text.strip().isdecimal():
        raise Refusal(_("{what} is a number from 0, not {text}.").format(what=what, text=text.strip()))
    return int(text)


def spacing(text: str) -> list[float] | None:
    """Returns three lengths in mm, None for an empty text.

    Raises:
        Refusal: they are not three, or not above 0.
    """
    if not text.strip():
        return None
    try:
        found = [float(part) for part in text.replace("×", " ").split()]
    except ValueError:
        found = []
    if len(found) != 3 or not all(0 < value < float("inf") for value in found):
        raise Refusal(_("Spacing is three numbers in mm, such as 0.5 0.5 2, not {text}.").format(text=text.strip()))
    return found
