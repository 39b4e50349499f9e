"""Pictures of widgets: one font and one style on every machine, whatever is installed there."""

from __future__ import annotations

from pathlib import Path

from PySide6 import QtGui, QtWidgets

import slicer

# Debian packages: fonts-open-sans, fonts-noto-core, fonts-liberation, fonts-dejavu-core.
_FONTS = ("Open Sans", "Noto Sans", "Liberation Sans", "DejaVu Sans")


def prepare(dark: bool = False) -> str:
    """Give the application a readable look; returns the name of the font that is used."""
    families = set(QtGui.QFontDatabase.families())
    family = next((name for name in _FONTS if name in families), None)
    if family is None:
        raise RuntimeError(
            f"No font is installed that pictures can be drawn with; one of {', '.join(_FONTS)} is needed"
        )
    slicer.app.setStyle("Fusion")
    font = QtGui.QFont(family)
    font.setPixelSize(12)
    slicer.app.setFont(font)
    palette = QtGui.QPalette()
    roles = QtGui.QPalette.ColorRole
    window, base, text, button = (
        ("#323232", "#242424", "#f0f0f0", "#3e3e3e") if dark else ("#f0f0f0", "#ffffff", "#1c1c1c", "#f4f4f4")
    )
    for role, colour in (
        (roles.Window, window),
        (roles.Base, base),
        (roles.AlternateBase, window),
        (roles.Text, text),
        (roles.WindowText, text),
        (roles.Button, button),
        (roles.ButtonText, text),
        (roles.Highlight, "#2a82da"),
        (roles.HighlightedText, "#ffffff"),
        (roles.PlaceholderText, "#8a8a8a"),
    ):
        palette.setColor(role, QtGui.QColor(colour))
    for role in (roles.Text, roles.WindowText, roles.ButtonText):
        palette.setColor(QtGui.QPalette.ColorGroup.Disabled, role, QtGui.QColor("#8a8a8a"))
    slicer.app.setPalette(palette)
    return family


def grab(widget: QtWidgets.QWidget, path, width: int, height: int | None = None) -> Path:
    """Write a picture of the widget at a width; the height is what its contents ask for unless it is given."""
    widget.setFixedWidth(width)
    widget.show()
    for _ in range(4):  # layouts that wrap text settle only after a few rounds
        widget.adjustSize()
        slicer.app.processEvents()
    if height is None:
        layout = widget.layout()
        height = (
            layout.totalHeightForWidth(width)
            if layout is not None and layout.hasHeightForWidth()
            else widget.sizeHint().height()
        )
    widget.resize(width, height)
    slicer.app.processEvents()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not widget.grab().save(str(path)):
        raise OSError(f"The picture cannot be written: {path}")
    return path
