"""Combo boxes whose items stand for values."""

import qt

from . import wording


def fill(combo, items: list[tuple], chosen: str) -> None:
    """Fills a combo box with (value, text) or (value, text, tooltip) and chooses a value, without a signal.

    A chosen value that is not among them leaves nothing chosen: the panel then says so instead of taking another one.
    """
    shown = [(combo.itemData(i), combo.itemText(i)) for i in range(combo.count)]
    wasBlocked = combo.blockSignals(True)
    if shown != [(item[0], item[1]) for item in items]:
        combo.clear()
        for index, item in enumerate(items):
            combo.addItem(item[1], item[0])
            if len(item) > 2:
                combo.setItemData(index, wording.literal(item[2]), qt.Qt.ToolTipRole)
    combo.setCurrentIndex(next((i for i, item in enumerate(items) if item[0] == chosen), -1))
    combo.blockSignals(wasBlocked)


def fillTexts(combo, texts: list[str], text: str) -> None:
    """Fills an editable combo box with suggestions and sets its text, without a signal."""
    wasBlocked = combo.blockSignals(True)
    if [combo.itemText(i) for i in range(combo.count)] != texts:
        combo.clear()
        combo.addItems(texts)
    if combo.currentText != text:
        combo.setEditText(text)
    combo.blockSignals(wasBlocked)


def value(combo) -> str:
    """Returns the chosen value, "" when nothing is chosen."""
    index = combo.currentIndex
    return combo.itemData(index) if index >= 0 else ""
