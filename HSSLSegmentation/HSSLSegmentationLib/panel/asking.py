"""Asks for a line of text."""

import qt

from .. import wording


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
