"""Leaving Slicer's module panel, so that its layout knows the module's height when the module is opened again."""

import qt


def leave(moduleWidget) -> None:
    """Takes the module's widget out of the layout that it lies in, together with its item.

    Slicer's module panel takes the item out when another module is opened and never deletes it. A widget tells changes
    of its size to its first item alone (Qt's `QWidgetItemV2`), so that the item of the next time kept the height that it
    had asked for first, and what grew later was squeezed. Here the item is deleted; where the panel is about to take it,
    it finds one of an empty widget.

    Args:
        moduleWidget: the widget that Slicer made for the module; nothing is done where it lies in no layout.
    """
    holder = moduleWidget.parentWidget()
    layout = holder.layout() if holder is not None else None
    place = layout.indexOf(moduleWidget) if layout is not None else -1
    if place < 0:
        return
    layout.removeWidget(moduleWidget)
    empty = qt.QWidget()
    empty.setVisible(False)
    layout.insertWidget(place, empty)
    empty.deleteLater()
