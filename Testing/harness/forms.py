"""Small .ui files for tests of widgets."""

from __future__ import annotations

from pathlib import Path


def widget(className: str, name: str, properties: str = "", parameter: str = "") -> str:
    """The element of one widget; `parameter` is the dynamic property that ties it to a parameter node."""
    if parameter:
        properties += f'<property name="SlicerParameterName" stdset="0"><string>{parameter}</string></property>'
    return f'<widget class="{className}" name="{name}">{properties}</widget>'


def write(folder: Path, *widgets: str) -> str:
    """Write a form with these widgets below one another; returns its path as `slicer.util.loadUI` takes it."""
    items = "".join(f"<item>{element}</item>" for element in widgets)
    layout = f'<layout class="QVBoxLayout" name="layout">{items}</layout>'
    path = folder / "form.ui"
    path.write_text(
        f'<ui version="4.0"><class>Form</class><widget class="qMRMLWidget" name="Form">{layout}</widget></ui>',
        encoding="utf-8",
    )
    return str(path)
