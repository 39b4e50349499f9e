"""A small table that asks which class of the task each segment is, where names do not say it."""

from typing import Any

import qt
from slicer.i18n import tr as _

from ..scene import cases as sceneCases

LEAVE_OUT, NEW = 0, 1
"""Places of the two choices that are no class of the task, before its classes."""


def ask(segmentationNode, task, parent, known: dict[str, str] | None = None) -> dict[str, str] | None:
    """Returns, as `HSSLSegmentationLogic.addVolume` takes them, the classes of the segments that names do not tell.

    Nothing is asked where every segment bears the name of a class, or where the task has no classes yet.

    Args:
        segmentationNode: the segmentation; None needs no classes.
        task: the task (`hssl.workspace.catalogue.Task`), or None for a new one.
        parent: the widget that the question belongs to.
        known: what was said of segments of other segmentations that are added with this one, as it is returned.

    Returns:
        Name of a segment → name of a class, "" to leave it out; None when the question was declined.
    """
    open = [] if segmentationNode is None or task is None else sceneCases.withoutClass(segmentationNode, task)
    said = {segment: known[segment] for segment in open if segment in known} if known else {}
    unsaid = [segment for segment in open if segment not in said]
    if not unsaid:
        return said
    dialog = ClassDialog(unsaid, task, segmentationNode.GetName(), parent, known is not None)
    return said | dialog.chosen() if dialog.exec_() == qt.QDialog.Accepted else None


class ClassDialog(qt.QDialog):
    """The table: a row for each segment, with the classes of the task to choose from.

    Args:
        segments: names of the segments.
        task: the task.
        segmentation: the name of the segmentation.
        parent: the widget that the question belongs to.
        isOneOfMany: the answer holds for other segmentations too.
    """

    def __init__(self, segments: list[str], task, segmentation: str, parent, isOneOfMany: bool = False):
        qt.QDialog.__init__(self, parent)
        self.setWindowTitle(_("Which class is which segment?"))
        layout = qt.QVBoxLayout(self)
        words = _("These segments of {segmentation} bear no name of a class of the task {task}.")
        if isOneOfMany:
            words += " " + _("What you say holds for segments of these names in the other volumes too.")
        text = qt.QLabel(words.format(segmentation=segmentation, task=task.name))
        text.setTextFormat(qt.Qt.PlainText)
        text.wordWrap = True
        layout.addWidget(text)
        form = qt.QFormLayout()
        layout.addLayout(form)
        self._names = [c.name for c in task.classes]
        self.combos: dict[str, Any] = {}
        for segment in segments:
            combo = qt.QComboBox()
            combo.addItems([_("leave it out"), _("a new class"), *self._names])
            # One segment and one class: that is what is meant most often.
            combo.setCurrentIndex(2 if len(segments) == len(self._names) == 1 else LEAVE_OUT)
            name = qt.QLabel(segment)
            name.setTextFormat(qt.Qt.PlainText)
            form.addRow(name, combo)
            self.combos[segment] = combo
        # Not in the constructor: PythonQt takes the flags for an orientation there, and there would be no buttons.
        buttons = qt.QDialogButtonBox()
        buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.connect("accepted()", self.accept)
        buttons.connect("rejected()", self.reject)
        layout.addWidget(buttons)

    def chosen(self) -> dict[str, str]:
        """Returns name of a segment → name of its class, "" to leave it out."""
        found = {}
        for segment, combo in self.combos.items():
            index = combo.currentIndex
            found[segment] = "" if index == LEAVE_OUT else segment if index == NEW else self._names[index - 2]
        return found
