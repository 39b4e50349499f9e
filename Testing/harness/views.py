"""Slice and 3D views drawn off screen by VTK's EGL window from the scene's real displayable managers.

Where the machine has no EGL, `available()` says so with the reason; nothing else of the harness needs it.
"""

from __future__ import annotations

import ctypes.util
import functools
import os
import subprocess
import sys

import vtk

import slicer

_SLICE = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
)
_THREE_D = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
)


_PROBE = """
import vtk
window = vtk.vtkEGLRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(8, 8)
raise SystemExit(0 if window.SupportsOpenGL() else 1)
"""


@functools.cache
def available() -> str:
    """An empty text where views can be drawn, otherwise the reason why not."""
    if ctypes.util.find_library("EGL") is None:
        return "libEGL is not installed (Debian: libegl1 libgl1-mesa-dri)"
    # In a process of its own: without a driver, VTK ends the process instead of raising.
    if subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=False).returncode:
        return "EGL has no OpenGL driver (Debian: libgl1-mesa-dri)"
    return ""


class _View:
    """A render window with the displayable managers of one kind of view."""

    def __init__(self, factory, managers, size):
        os.environ.pop("DISPLAY", None)
        os.environ["VTK_DEFAULT_OPENGL_WINDOW"] = "vtkEGLRenderWindow"
        self.renderWindow = vtk.vtkRenderWindow()
        self.renderWindow.ShowWindowOff()
        self.renderWindow.SetOffScreenRendering(1)
        self.renderWindow.SetMultiSamples(8)
        self.renderWindow.SetSize(*size)
        self.renderer = vtk.vtkRenderer()
        self.renderWindow.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.renderWindow)
        self.interactor.Initialize()
        instance = factory.GetInstance()
        instance.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for manager in managers:
            if not instance.IsDisplayableManagerRegistered(manager):
                instance.RegisterDisplayableManager(manager)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.SetRenderer(self.renderer)
        self._group.Initialize(instance, self.renderer)

    def save(self, path) -> None:
        """Draw and write a PNG."""
        self.renderWindow.Render()
        capture = vtk.vtkWindowToImageFilter()
        capture.SetInput(self.renderWindow)
        capture.ReadFrontBufferOff()
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(str(path))
        writer.SetInputConnection(capture.GetOutputPort())
        writer.Write()


class SliceView(_View):
    """One of the layout's slice views, drawn: volumes, segments and markups as Slicer shows them.

    Args:
        name: "Red", "Green" or "Yellow".
        size: width and height in pixels.
    """

    def __init__(self, name: str = "Red", size: tuple[int, int] = (480, 480)):
        super().__init__(slicer.vtkMRMLSliceViewDisplayableManagerFactory, _SLICE, size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.renderWindow.SetNumberOfLayers(2)
        overlay = vtk.vtkRenderer()
        overlay.SetLayer(1)
        overlay.GetActiveCamera().ParallelProjectionOn()
        self.renderWindow.AddRenderer(overlay)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self._actor)
        self._widget = slicer.app.layoutManager().sliceWidget(name)
        self._widget._view = self
        self.logic = self._widget.sliceLogic()
        self.logic.GetSliceNode().SetDimensions(*size, 1)
        self.logic.ResizeSliceNode(*size)
        self._group.SetMRMLDisplayableNode(self.logic.GetSliceNode())

    def fit(self, offset: float | None = None) -> None:
        """Show the whole volume, at the slice through `offset` (mm) or through its middle."""
        self.logic.FitSliceToAll()
        if offset is not None:
            self.logic.SetSliceOffset(offset)
        self.logic.SnapSliceOffsetToIJK()

    def save(self, path) -> None:
        connection = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)
        super().save(path)


class ThreeDView(_View):
    """A 3D view: surfaces of segments, models, volume rendering."""

    def __init__(self, name: str = "1", size: tuple[int, int] = (480, 480)):
        super().__init__(slicer.vtkMRMLThreeDViewDisplayableManagerFactory, _THREE_D, size)
        self._logic = slicer.vtkMRMLViewLogic()
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        slicer.app.applicationLogic().GetViewLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self._logic.AddViewNode(name)
        self._group.SetMRMLDisplayableNode(self.node)

    def fit(self) -> None:
        self.renderer.ResetCamera()
        self.renderer.GetActiveCamera().Azimuth(30)
        self.renderer.GetActiveCamera().Elevation(20)
        self.renderer.ResetCameraClippingRange()
