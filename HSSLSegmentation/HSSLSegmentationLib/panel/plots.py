"""Curves of a job as table, series and chart nodes, filled in batches; tables of results."""

import math

import vtk
from slicer.i18n import tr as _

import slicer

COLORS = (
    (0.12, 0.47, 0.71),
    (1.00, 0.50, 0.05),
    (0.17, 0.63, 0.17),
    (0.84, 0.15, 0.16),
    (0.58, 0.40, 0.74),
    (0.55, 0.34, 0.29),
    (0.89, 0.47, 0.76),
)


class Curves:
    """A chart whose curves grow: one for each name that `add` is given; `show` writes what has come since.

    Args:
        hidden: names that are in the table only, such as a sum that would dwarf its parts.
    """

    def __init__(self, title: str, yTitle: str, xTitle: str = "", hidden: tuple[str, ...] = ()):
        scene = slicer.mrmlScene
        self.table = scene.AddNewNodeByClass("vtkMRMLTableNode", title + " " + _("values"))
        self.chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", title)
        self.chart.SetTitle(title)
        self.chart.SetXAxisTitle(xTitle or _("Step"))
        self.chart.SetYAxisTitle(yTitle)
        self.series: dict[str, object] = {}
        self._hidden = hidden
        self._columns: list[str] = []
        self._waiting: list[tuple[float, dict[str, float]]] = []

    def isInScene(self) -> bool:
        """Tells whether the nodes are still there (the user may have deleted them, or closed the scene)."""
        present = slicer.mrmlScene.IsNodePresent
        return bool(present(self.table) and present(self.chart) and all(present(node) for node in self.series.values()))

    def add(self, step: float, values: dict[str, float]) -> None:
        """Takes a measurement; it is seen after the next `show`."""
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
        return True

    def showInLayout(self) -> None:
        """Shows the chart in the views, in a layout with a plot."""
        slicer.modules.plots.logic().ShowChartInLayout(self.chart)

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
        series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        series.SetAndObserveTableNodeID(self.table.GetID())
        series.SetXColumnName("step")
        series.SetYColumnName(name)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
        series.SetColor(*COLORS[len(self.series) % len(COLORS)])
        self.series[name] = series
        self.chart.AddAndObservePlotSeriesNodeID(series.GetID())


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
