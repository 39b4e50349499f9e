"""Asks for a line of text, and whether something is meant."""

import qt
from slicer.i18n import tr as _

import slicer

from .. import wording

MOST_NAMED = 8
"""Segments or segmentations in a question, which must not be higher than the screen."""


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
    names = _named([_("{name} ({count} slices)").format(name=name, count=count) for name, count in apart.items()])
    question = _(
        "There is nothing between the slices on which these segments are painted: {names}. As a label, this says that "
        "the structure is not there. The tool HSSL of the Segment Editor fills it in: Learn, and Apply.\n\n"
        "Is the label whole as it is?"
    ).format(names=names)
    return slicer.util.confirmYesNoDisplay(wording.literal(question), windowTitle=_("Slices with gaps"))


def areRight(uncorrected: list[str]) -> bool:
    """Asks whether results of a model are right as they are, for labels; nothing is asked for none.

    Args:
        uncorrected: names of the segmentations, as `annotations.isUncorrected` tells them.
    """
    question = _(
        "These segmentations are results of a model, of which nobody has corrected anything: {names}. As labels, they teach "
        "the next model the mistakes of this one.\n\nAre they right as they are?"
    ).format(names=_named(uncorrected))
    return not uncorrected or slicer.util.confirmYesNoDisplay(
        wording.literal(question), windowTitle=_("Results as labels")
    )


def replacesDrawn(names: list[str], segmentationNode) -> bool:
    """Asks whether a result takes the place of segments that somebody has drawn or corrected."""
    question = _(
        "These segments of {segmentation} were drawn or corrected by hand: {names}. The result takes their place (choose a new "
        "segmentation to have both).\n\nReplace them?"
    ).format(segmentation=segmentationNode.GetName(), names=_named(names))
    return slicer.util.confirmYesNoDisplay(wording.literal(question), windowTitle=_("Replace what was drawn"))


def isOf(segmentationNode, volumeNode, ownerNode) -> bool:
    """Asks whether a segmentation is the label of a volume although it was drawn on another one."""
    question = _(
        "{segmentation} was drawn on {owner}, not on {volume}. As the label of {volume}, it is right only where both show the "
        "same patient at the same place.\n\nIs it the label of {volume}?"
    ).format(segmentation=segmentationNode.GetName(), owner=ownerNode.GetName(), volume=volumeNode.GetName())
    return slicer.util.confirmYesNoDisplay(wording.literal(question), windowTitle=_("Label of another volume"))


def _named(names: list[str]) -> str:
    rest = [_("{count} more").format(count=len(names) - MOST_NAMED)] if len(names) > MOST_NAMED else []
    return ", ".join([*names[:MOST_NAMED], *rest])


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
