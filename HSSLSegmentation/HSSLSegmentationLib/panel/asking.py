"""Asks for a line of text, and whether something is meant."""

import qt
from slicer.i18n import tr as _

import slicer

from .. import wording

MOST_NAMED = 8
"""Segments in a question, which must not be higher than the screen."""


def ask(parent, title: str, question: str, present: str = "") -> str | None:
    """Returns what was typed, without blanks at its ends; None when the question was cancelled.

    Not `QInputDialog.getText`: PythonQt returns "" for an empty line and for Cancel alike.
    """
    dialog = qt.QInputDialog(parent)
    dialog.setWindowTitle(title)
    dialog.setLabelText(wording.literal(question))
    dialog.setTextValue(present)
    isAccepted = dialog.exec_() == qt.QDialog.Accepted
    text = dialog.textValue().strip()
    dialog.deleteLater()
    return text if isAccepted else None


def isWhole(apart: dict[str, int]) -> bool:
    """Asks whether segments that are on single slices alone are whole, for a label; nothing is asked for none.

    Args:
        apart: of `annotations.paintedApart`.
    """
    if not apart:
        return True
    names = [_("{name} ({count} slices)").format(name=name, count=count) for name, count in apart.items()]
    if len(names) > MOST_NAMED:
        names[MOST_NAMED:] = [_("{count} more").format(count=len(names) - MOST_NAMED)]
    question = _(
        "There is nothing between the slices on which these segments are painted: {names}. As a label, this says that "
        "the structure is not there. The tool HSSL of the Segment Editor fills it in: Learn, and Apply.\n\n"
        "Is the label whole as it is?"
    ).format(names=", ".join(names))
    return slicer.util.confirmYesNoDisplay(wording.literal(question), windowTitle=_("Slices with gaps"))


def replaces(image) -> bool:
    """Asks whether what is drawn takes the place of a label that the workspace was given since the scan was opened.

    Args:
        image: its record (`hssl.workspace.catalogue.Image`).
    """
    question = _(
        "The label of {id} in the workspace is no longer the one that it had when the scan was opened: somebody has changed "
        "or kept one meanwhile, perhaps in another Slicer ({file}).\n\nTake what is drawn here in its place?"
    ).format(id=image.id, file=image.label or _("none"))
    return slicer.util.confirmYesNoDisplay(wording.literal(question), windowTitle=_("Another label"))
