"""Curves of a job as table, series and chart nodes, filled in batches; tables of results."""

import html
import math
from typing import Any

import vtk
from slicer.i18n import tr as _

import slicer

from .. import colors
from ..scene import layouts

COLORS = (
    (0.12, 0.47, 0.71),
    (1.00, 0.50, 0.05),
    (0.17, 0.63, 0.17),
    (0.84, 0.15, 0.16),
    (0.58, 0.40, 0.74),
    (0.55, 0.34, 0.29),
    (0.89, 0.47, 0.76),
)
TITLE_SIZE, TEXT_SIZE = 13, 11
"""Points, of a chart in the panel."""
MARGIN = 1.1
"""Length of an axis whose points are marked, by the last of them."""
LEGEND = 0.5
"""Height that a legend in the views needs, by that of the curves."""


class Curves:
    """A chart whose curves grow: one for each name that `add` is given; `show` writes what has come since.

    Args:
        hidden: names that are in the table only, such as a sum that would dwarf its parts.
        marked: the points are marked, where they are few.
    """

    def __init__(self, title: str, yTitle: str, xTitle: str = "", hidden: tuple[str, ...] = (), marked: bool = False):
        self.table = _add("vtkMRMLTableNode", title + " " + _("values"))
        # Slicer would ask at every exit to save it; the numbers are in the run's folder.
        self.table.SetHideFromEditors(True)
        self.chart = _add("vtkMRMLPlotChartNode", title)
        self.chart.SetTitle(title)
        # Slicer's own sizes are for a view that fills the window.
        self.chart.SetTitleFontSize(TITLE_SIZE)
        for set in (self.chart.SetLegendFontSize, self.chart.SetAxisTitleFontSize, self.chart.SetAxisLabelFontSize):
            set(TEXT_SIZE)
        # In a panel it would lie over the curves, wherever it is; see `legend`.
        self.chart.SetLegendVisibility(False)
        self.chart.SetXAxisTitle(xTitle or _("Step"))
        self.chart.SetYAxisTitle(yTitle)
        self.series: dict[str, Any] = {}
        self._hidden, self._marked = hidden, marked
        self._columns: list[str] = []
        self._waiting: list[tuple[float, dict[str, float]]] = []
        self._lastStep = -math.inf

    def isInScene(self) -> bool:
        """Tells whether the nodes are still there (the user may have deleted them, or closed the scene)."""
        present = slicer.mrmlScene.IsNodePresent
        return bool(present(self.table) and present(self.chart) and all(present(node) for node in self.series.values()))

    def add(self, step: float, values: dict[str, float]) -> None:
        """Takes a measurement, seen after the next `show`; one of a step that was measured before is known already."""
        if step <= self._lastStep:
            return
        self._lastStep = step
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        if finite:
            self._waiting.append((step, finite))

    def show(self) -> bool:
        """Writes the measurements that have come since into the table; returns whether there were any."""
        if not self._waiting or not self.isInScene():
            self._waiting.clear()
            return False
        waiting, self._waiting = self._waiting, []
        table = self.table.GetTable()
        wasModified = self.table.StartModify()
        for step, values in waiting:
            for name in values:
                if name not in self._columns:
                    self._addColumn(name)
            row = table.InsertNextBlankRow(math.nan)
            table.GetColumnByName("step").SetValue(row, step)
            for name in self._columns:
                table.GetColumnByName(name).SetValue(row, values.get(name, math.nan))
        table.Modified()
        self.table.EndModify(wasModified)
        if self._marked:
            # A mark on the edge of the chart would be cut.
            self.chart.SetXAxisRangeAuto(False)
            self.chart.SetXAxisRange(0.0, self._lastStep * MARGIN)
        return True

    def points(self) -> int:
        """Returns how many measurements the chart shows: one alone is no curve."""
        return self.table.GetTable().GetNumberOfRows() if self.isInScene() else 0

    def legend(self) -> str:
        """Returns what the colours mean, as rich text; "" of a single curve, of which the title tells it."""
        if len(self.series) < 2:
            return ""
        entries = [(series.GetColor(), html.escape(name)) for name, series in self.series.items()]
        return " &nbsp; ".join(f"{colors.square(color)}&nbsp;{name.replace(' ', '&nbsp;')}" for color, name in entries)

    def showInLayout(self) -> None:
        """Shows the chart in the views, with its legend, in a layout that has slice views too."""
        self.chart.SetLegendVisibility(True)
        if self._marked:
            # Marks that rise to the right would lie below the legend.
            found = [value for series in self.series.values() for value in self._values(series.GetYColumnName())]
            self.chart.SetYAxisRangeAuto(False)
            self.chart.SetYAxisRange(min(found), max(found) + LEGEND * (max(found) - min(found)))
        slicer.modules.plots.logic().ShowChartInLayout(self.chart)
        layouts.withSlices(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView)

    def _values(self, column: str) -> list[float]:
        array = self.table.GetTable().GetColumnByName(column)
        values = [array.GetValue(row) for row in range(array.GetNumberOfValues())]
        return [value for value in values if math.isfinite(value)]

    def _addColumn(self, name: str) -> None:
        self._columns.append(name)
        table = self.table.GetTable()
        for column in ("step", name):
            if table.GetColumnByName(column) is None:
                array = vtk.vtkDoubleArray()
                array.SetName(column)
                array.SetNumberOfValues(table.GetNumberOfRows())
                array.Fill(math.nan)
                table.AddColumn(array)
        if name in self._hidden:
            return
        series = _add("vtkMRMLPlotSeriesNode", name)
        series.SetName(name)  # the legend shows it, whatever other series are called so
        series.SetAndObserveTableNodeID(self.table.GetID())
        series.SetXColumnName("step")
        series.SetYColumnName(name)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
        style = slicer.vtkMRMLPlotSeriesNode
        series.SetMarkerStyle(style.MarkerStyleCircle if self._marked else style.MarkerStyleNone)
        series.SetColor(*COLORS[len(self.series) % len(COLORS)])
        self.series[name] = series
        self.chart.AddAndObservePlotSeriesNodeID(series.GetID())


def _add(className: str, name: str):
    """Adds a node that is not saved with the scene: the curves belong to a run, whose folder has them."""
    node = slicer.mrmlScene.CreateNodeByClass(className)
    node.UnRegister(None)
    node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
    node.SetSaveWithScene(False)
    return slicer.mrmlScene.AddNode(node)


def resultTable(name: str, rows: list[dict]):
    """Adds a table node with a row for each dictionary and a column for each key, in their order; returns it."""
    columns: list[str] = []
    for row in rows:
        columns += [key for key in row if key not in columns]
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    for column in columns:
        values = [row.get(column) for row in rows]
        numeric = all(isinstance(v, int | float) or v is None for v in values)
        array = vtk.vtkDoubleArray() if numeric else vtk.vtkStringArray()
        array.SetName(column)
        for value in values:
            if numeric:
                array.InsertNextValue(math.nan if value is None else float(value))
            else:
                array.InsertNextValue("" if value is None else str(value))
        node.AddColumn(array)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    return node
