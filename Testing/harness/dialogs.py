"""Modal dialogs answered by the test: one that nobody expected raises instead of waiting for a user for ever."""

from __future__ import annotations

import collections
import contextlib
import dataclasses

import qt
from PySide6 import QtWidgets

import slicer


class UnexpectedDialog(AssertionError):
    """A dialog opened and the test had no answer for it."""


@dataclasses.dataclass
class Shown:
    """One dialog that opened: what kind, with which title and text."""

    kind: str
    title: str
    text: str


shown: list[Shown] = []
_answers: collections.deque = collections.deque()


def answer(*answers) -> None:
    """Give the answers to the dialogs to come, in order: a path, a button, a value, or a function of the dialog."""
    _answers.extend(answers)


def clear() -> None:
    shown.clear()
    _answers.clear()


def unused() -> list:
    return list(_answers)


@contextlib.contextmanager
def interactive():
    """Inside, `slicer.util.*Display` open their message boxes, as they do for a user; outside they only log."""
    slicer.app._testing = False
    try:
        yield shown
    finally:
        slicer.app._testing = True


def _next(kind, title="", text="", dialog=None):
    shown.append(Shown(kind, title, text))
    if not _answers:
        raise UnexpectedDialog(f"{kind} opened, and no answer was prepared: {title!r} {text!r}")
    given = _answers.popleft()
    return given(dialog) if callable(given) else given


def chosenDirectory(parent=None, caption="", *_, **__):
    return str(_next("getExistingDirectory", caption))


def chosenFileToOpen(parent=None, caption="", *_, **__):
    return str(_next("getOpenFileName", caption))


def chosenFileToSave(parent=None, caption="", *_, **__):
    return str(_next("getSaveFileName", caption))


def _chosenFiles(parent=None, caption="", *_, **__):
    given = _next("getOpenFileNames", caption)
    return tuple(str(path) for path in given)


def _asked(kind):
    def ask(parent=None, title="", text="", *_, **__):
        given = _next(kind, title, text)
        # As PythonQt, which returns the same for a cancelled question and an empty line.
        return "" if given is None and kind == "getText" else given

    return staticmethod(ask)


_OF_QT = (QtWidgets.QMessageBox, QtWidgets.QFileDialog, QtWidgets.QInputDialog)
"""Dialogs that bring their buttons."""


def _execute(self):
    asks = isinstance(self, QtWidgets.QInputDialog)
    text = self.labelText() if asks else self.text if isinstance(self, QtWidgets.QMessageBox) else ""
    answer = _next(type(self).__name__, self.windowTitle, text, self)
    if asks and isinstance(answer, str):
        self.setTextValue(answer)
        return QtWidgets.QDialog.Accepted
    if answer == QtWidgets.QDialog.Accepted and not isinstance(self, _OF_QT):
        buttons = [b for box in self.findChildren(QtWidgets.QDialogButtonBox) for b in box.buttons()]
        assert any(b.isEnabled() for b in buttons), f"{self.windowTitle}: no button can be pressed to accept it"
    return answer


def install() -> None:
    for name, function in (
        ("getExistingDirectory", chosenDirectory),
        ("getOpenFileName", chosenFileToOpen),
        ("getSaveFileName", chosenFileToSave),
        ("getOpenFileNames", _chosenFiles),
    ):
        setattr(qt.QFileDialog, name, staticmethod(function))
    for name in ("question", "information", "warning", "critical"):
        setattr(qt.QMessageBox, name, _asked(name))
    for name in ("getText", "getItem", "getInt", "getDouble", "getMultiLineText"):
        setattr(qt.QInputDialog, name, _asked(name))
    for cls in (QtWidgets.QDialog, QtWidgets.QMessageBox, QtWidgets.QFileDialog, QtWidgets.QInputDialog):
        cls.exec = cls.exec_ = _execute
    QtWidgets.QMenu.exec = QtWidgets.QMenu.exec_ = lambda self, *position: _next("QMenu", self.title, dialog=self)
