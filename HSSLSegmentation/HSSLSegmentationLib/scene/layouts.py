"""The layout of the views, where something needs slice views."""

import slicer


def withSlices(layout: int | None = None) -> None:
    """Changes to a layout with slice views unless one is in sight.

    Args:
        layout: what to change to, a constant of `vtkMRMLLayoutNode`; Four-Up unless another is named.
    """
    manager = slicer.app.layoutManager()
    if manager is None:  # without a main window there are no views
        return
    if not any(manager.sliceWidget(name).isVisible() for name in manager.sliceViewNames()):
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView if layout is None else layout)
