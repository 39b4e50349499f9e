"""Stand-ins for the qMRML widgets that modules use, over the real scene: Slicer's names, properties and signals."""

from __future__ import annotations

import math
import weakref

import shiboken6
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal

import slicer

from . import ctk_widgets, pythonqt


class _Observing:
    """Observes MRML objects without keeping the widget alive, and stops when the widget goes."""

    def _observe(self, observed, events, method):
        weak = weakref.WeakMethod(method)

        def notify(caller, event):
            alive = weak()
            if alive is not None and shiboken6.isValid(
                alive.__self__
            ):  # the widget may be deleted before its Python half
                alive()

        self._observed = getattr(self, "_observed", [])
        for event in events:
            self._observed.append((observed, observed.AddObserver(event, notify)))

    def _observeNothing(self):
        for observed, tag in getattr(self, "_observed", []):
            observed.RemoveObserver(tag)
        self._observed = []

    def __del__(self):
        self._observeNothing()


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that knows the scene."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):
    """The top widget of many .ui files."""


_NODE_OPTIONS = {
    "noneEnabled": (bool, False),
    "addEnabled": (bool, True),
    "removeEnabled": (bool, True),
    "renameEnabled": (bool, False),
    "editEnabled": (bool, False),
    "showHidden": (bool, False),
    "showChildNodeTypes": (bool, True),
    "selectNodeUponCreation": (bool, True),
    "baseName": (str, ""),
    "noneDisplay": (str, "None"),
    "nodeTypes": ("QStringList", ()),
    "hideChildNodeTypes": ("QStringList", ()),
}


def _option(name):
    kind, _ = _NODE_OPTIONS[name]

    def write(self, value):
        self._options[name] = tuple(value) if kind == "QStringList" else value
        self._refill()

    return Property(kind, lambda self: self._options[name], write)


class qMRMLNodeComboBox(_Observing, QtWidgets.QWidget):
    """Chooses a node of the scene, and makes, renames and deletes nodes where that is enabled."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    nodeAboutToBeEdited = Signal(object)
    currentNodeRenamed = Signal(str)

    def __init__(self, parent=None):
        QtWidgets.QWidget.__init__(self, parent)
        self._options = {name: default for name, (_, default) in _NODE_OPTIONS.items()}
        self._scene = self._current = None
        self._attributes: dict[tuple[str, str], str | None] = {}
        self._entries: list[str] = []
        self._combo = QtWidgets.QComboBox()
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._activate)
        self._refill()

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        self._observeNothing()
        self._scene = scene
        if scene is not None:
            self._observe(
                scene,
                (
                    scene.NodeAddedEvent,
                    scene.NodeRemovedEvent,
                    scene.EndCloseEvent,
                    scene.EndImportEvent,
                    scene.EndBatchProcessEvent,
                ),
                self._refill,
            )
        self._refill()

    def mrmlScene(self):
        return self._scene

    def addAttribute(self, nodeType, attribute, value=None):
        self._attributes[nodeType, attribute] = value
        self._refill()

    def removeAttribute(self, nodeType, attribute):
        self._attributes.pop((nodeType, attribute), None)
        self._refill()

    def _offered(self, node):
        if node.GetHideFromEditors() and not self._options["showHidden"]:
            return False
        if not self._options["showChildNodeTypes"] and node.GetClassName() not in self._options["nodeTypes"]:
            return False
        if any(node.IsA(name) for name in self._options["hideChildNodeTypes"]):
            return False
        return all(
            not node.IsA(nodeType) or (node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name)))
            for (nodeType, name), value in self._attributes.items()
        )

    def _nodes(self):
        found = []
        for nodeType in self._options["nodeTypes"] if self._scene is not None else ():
            nodes = (
                self._scene.GetNthNodeByClass(index, nodeType)
                for index in range(self._scene.GetNumberOfNodesByClass(nodeType))
            )
            found += [node for node in nodes if node not in found and self._offered(node)]
        return found

    def _refill(self):
        nodes = self._nodes()
        self._combo.blockSignals(True)
        self._combo.clear()
        self._entries = []
        rows = [("", self._options["noneDisplay"])] if self._options["noneEnabled"] or not nodes else []
        rows += [(node.GetID(), node.GetName()) for node in nodes]
        label = self._label()
        rows += [
            (key, text)
            for key, text, option in (
                ("#rename", f"Rename current {label}", "renameEnabled"),
                ("#edit", f"Edit current {label}", "editEnabled"),
                ("#remove", f"Delete current {label}", "removeEnabled"),
                ("#add", f"Create new {label}", "addEnabled"),
            )
            if self._options[option]
        ]
        for key, text in rows:
            self._entries.append(key)
            self._combo.addItem(text if key or self._options["noneEnabled"] else f"Select a {label}")
        self._combo.blockSignals(False)
        current = self._current if any(node is self._current for node in nodes) else None
        if current is None and nodes and not self._options["noneEnabled"]:
            current = nodes[0]
        self._show(current)

    def _label(self):
        types = self._options["nodeTypes"]
        return types[0].removeprefix("vtkMRML").removesuffix("Node") if types else "Node"

    def _show(self, node):
        identifier = node.GetID() if node is not None else ""
        self._combo.blockSignals(True)
        self._combo.setCurrentIndex(self._entries.index(identifier) if identifier in self._entries else -1)
        self._combo.blockSignals(False)
        if node is not self._current:
            self._current = node
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(identifier)

    def _activate(self, row):
        key = self._entries[row]
        if key == "#add":
            self.nodeAddedByUser.emit(self.addNode())
        elif key == "#remove":
            self.removeCurrentNode()
        elif key == "#rename":
            self.renameCurrentNode()
        elif key == "#edit":
            self.editCurrentNode()
        else:
            self.setCurrentNodeID(key)
            self.nodeActivated.emit(self._current)

    def addNode(self, nodeType=None):
        node = self._scene.AddNewNodeByClass(nodeType or self._options["nodeTypes"][0], self._options["baseName"])
        self.nodeAdded.emit(node)
        if self._options["selectNodeUponCreation"]:
            self._show(node)
        return node

    def removeCurrentNode(self):
        if self._current is not None:
            self.nodeAboutToBeRemoved.emit(self._current)
            self._scene.RemoveNode(self._current)

    def renameCurrentNode(self):
        from . import dialogs

        name = dialogs._next("renameCurrentNode", self._current.GetName())
        self._current.SetName(name)
        self._refill()
        self.currentNodeRenamed.emit(name)

    def editCurrentNode(self):
        self.nodeAboutToBeEdited.emit(self._current)

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node):
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node) if self._scene is not None else None
        self._show(node if any(node is offered for offered in self._nodes()) else None)

    def setCurrentNodeID(self, identifier):
        self.setCurrentNode(identifier or None)

    def _setSizeAdjustPolicy(self, policy):
        self._combo.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy(policy))

    sizeAdjustPolicy = Property(int, lambda self: int(self._combo.sizeAdjustPolicy), _setSizeAdjustPolicy)

    def setCurrentNodeIndex(self, index):
        self._show(self._nodes()[index])

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        return self._nodes()[index]

    currentNodeID = Property(
        str, lambda self: self._current.GetID() if self._current is not None else "", setCurrentNodeID
    )
    noneEnabled = _option("noneEnabled")
    addEnabled = _option("addEnabled")
    removeEnabled = _option("removeEnabled")
    renameEnabled = _option("renameEnabled")
    editEnabled = _option("editEnabled")
    showHidden = _option("showHidden")
    showChildNodeTypes = _option("showChildNodeTypes")
    selectNodeUponCreation = _option("selectNodeUponCreation")
    baseName = _option("baseName")
    noneDisplay = _option("noneDisplay")
    nodeTypes = _option("nodeTypes")
    hideChildNodeTypes = _option("hideChildNodeTypes")


class qMRMLCheckableNodeComboBox(_Observing, QtWidgets.QWidget):
    """Chooses any number of nodes."""

    checkedNodesChanged = Signal()

    def __init__(self, parent=None):
        QtWidgets.QWidget.__init__(self, parent)
        self._scene, self._types = None, ()
        self._checked: set[str] = set()
        self._label = QtWidgets.QLabel("")
        QtWidgets.QHBoxLayout(self).addWidget(self._label)

    def setMRMLScene(self, scene):
        self._observeNothing()
        self._scene = scene
        if scene is not None:
            self._observe(scene, (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent), self._refill)
        self._refill()

    def mrmlScene(self):
        return self._scene

    def _nodes(self):
        return (
            [
                node
                for nodeType in self._types
                for node in slicer.util.getNodesByClass(nodeType, self._scene)
                if not node.GetHideFromEditors()
            ]
            if self._scene is not None
            else []
        )

    def _refill(self):
        kept = self._checked & {node.GetID() for node in self._nodes()}
        if kept != self._checked:
            self._checked = kept
            self.checkedNodesChanged.emit()
        self._label.setText(", ".join(node.GetName() for node in self.checkedNodes()) or "None")

    def checkedNodes(self):
        return tuple(node for node in self._nodes() if node.GetID() in self._checked)

    def uncheckedNodes(self):
        return tuple(node for node in self._nodes() if node.GetID() not in self._checked)

    def checkState(self, node):
        return Qt.CheckState.Checked if node.GetID() in self._checked else Qt.CheckState.Unchecked

    def setCheckState(self, node, state):
        (self._checked.add if Qt.CheckState(state) == Qt.CheckState.Checked else self._checked.discard)(node.GetID())
        self._label.setText(", ".join(node.GetName() for node in self.checkedNodes()) or "None")
        self.checkedNodesChanged.emit()

    def check(self, node):
        self.setCheckState(node, Qt.CheckState.Checked)

    def uncheck(self, node):
        self.setCheckState(node, Qt.CheckState.Unchecked)

    def _setTypes(self, types):
        self._types = tuple(types)
        self._refill()

    nodeTypes = Property("QStringList", lambda self: self._types, _setTypes)


class _Units:
    """Numbers with a quantity; the scene's units are left alone."""

    def setMRMLScene(self, scene):
        self._scene = scene

    def mrmlScene(self):
        return getattr(self, "_scene", None)

    MinimumValue, MaximumValue, Precision, Prefix, Suffix, Scaling = 8, 16, 4, 2, 1, 32


class qMRMLSliderWidget(_Units, ctk_widgets.ctkSliderWidget):
    """A slider in the scene's units."""

    quantity = Property(
        str, lambda self: getattr(self, "_quantity", ""), lambda self, value: setattr(self, "_quantity", value)
    )
    unitAwareProperties = Property(
        int, lambda self: getattr(self, "_aware", 0), lambda self, value: setattr(self, "_aware", int(value))
    )


class qMRMLSpinBox(_Units, ctk_widgets.ctkDoubleSpinBox):
    """A spin box in the scene's units."""

    quantity = Property(
        str, lambda self: getattr(self, "_quantity", ""), lambda self, value: setattr(self, "_quantity", value)
    )
    unitAwareProperties = Property(
        int, lambda self: getattr(self, "_aware", 0), lambda self, value: setattr(self, "_aware", int(value))
    )


class qMRMLRangeWidget(_Units, ctk_widgets.ctkRangeWidget):
    """A range in the scene's units."""


class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """Chooses a segmentation and one or several of its segments."""

    currentNodeChanged = Signal(object)
    currentSegmentChanged = Signal(str)
    segmentSelectionChanged = Signal("QStringList")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node, self._selected, self._multiple = None, (), False

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        if node is not self._node:
            self._node, self._selected = node, ()
            self.currentNodeChanged.emit(node)

    def currentNodeID(self):
        return self._node.GetID() if self._node is not None else ""

    def segmentIDs(self):
        return tuple(self._node.GetSegmentation().GetSegmentIDs()) if self._node is not None else ()

    def currentSegmentID(self):
        return self._selected[0] if self._selected else ""

    def setCurrentSegmentID(self, identifier):
        self.setSelectedSegmentIDs((identifier,))
        self.currentSegmentChanged.emit(identifier)

    def selectedSegmentIDs(self):
        return self._selected

    def setSelectedSegmentIDs(self, identifiers):
        self._selected = tuple(identifiers)
        self.segmentSelectionChanged.emit(list(self._selected))

    multiSelection = Property(bool, lambda self: self._multiple, lambda self, value: setattr(self, "_multiple", value))


class qMRMLSegmentsTableView(_Observing, qMRMLWidget):
    """Lists the segments of a segmentation with their colours."""

    selectionChanged = Signal(QtCore.QItemSelection, QtCore.QItemSelection)

    def __init__(self, parent=None):
        qMRMLWidget.__init__(self, parent)
        self._node, self._flags = None, {}
        self._table = QtWidgets.QTableWidget(0, 2)
        self._table.setHorizontalHeaderLabels(["", "Name"])
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.verticalHeader().setVisible(False)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.selectionModel().selectionChanged.connect(self.selectionChanged.emit)

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node):
        self._observeNothing()
        self._node = node
        if node is not None:
            self._observe(
                node,
                (
                    slicer.vtkSegmentation.SegmentAdded,
                    slicer.vtkSegmentation.SegmentRemoved,
                    slicer.vtkSegmentation.SegmentModified,
                ),
                self._refill,
            )
        self._refill()

    def _refill(self):
        identifiers = self._identifiers()
        self._table.setRowCount(len(identifiers))
        for row, identifier in enumerate(identifiers):
            segment = self._node.GetSegmentation().GetSegment(identifier)
            colour = QtWidgets.QTableWidgetItem()
            colour.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            self._table.setItem(row, 0, colour)
            self._table.setItem(row, 1, QtWidgets.QTableWidgetItem(segment.GetName()))

    def _identifiers(self):
        return list(self._node.GetSegmentation().GetSegmentIDs()) if self._node is not None else []

    def segmentCount(self):
        return len(self._identifiers())

    def selectedSegmentIDs(self):
        rows = sorted({index.row() for index in self._table.selectionModel().selectedRows()})
        return tuple(self._identifiers()[row] for row in rows)

    def setSelectedSegmentIDs(self, identifiers):
        self._table.clearSelection()
        for row, identifier in enumerate(self._identifiers()):
            if identifier in identifiers:
                self._table.selectRow(row)

    def _flag(name):
        return Property(
            bool, lambda self: self._flags.get(name, True), lambda self, value: self._flags.update({name: value})
        )

    headerVisible = _flag("headerVisible")
    visibilityColumnVisible = _flag("visibilityColumnVisible")
    colorColumnVisible = _flag("colorColumnVisible")
    opacityColumnVisible = _flag("opacityColumnVisible")
    statusColumnVisible = _flag("statusColumnVisible")
    del _flag


class qMRMLTableView(_Observing, QtWidgets.QTableView):
    """Shows a table node."""

    def __init__(self, parent=None):
        QtWidgets.QTableView.__init__(self, parent)
        self._scene = self._node = None
        self._model = QtGui.QStandardItemModel(self)
        self.setModel(self._model)

    def setMRMLScene(self, scene):
        self._scene = scene

    def mrmlScene(self):
        return self._scene

    def mrmlTableNode(self):
        return self._node

    def setMRMLTableNode(self, node):
        self._observeNothing()
        self._node = node
        if node is not None:
            self._observe(node, (vtk.vtkCommand.ModifiedEvent,), self._refill)
        self._refill()

    def _refill(self):
        self._model.clear()
        if self._node is None or self._node.GetTable() is None:
            return
        table = self._node.GetTable()
        self._model.setHorizontalHeaderLabels(
            [self._node.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
        )
        for row in range(table.GetNumberOfRows()):
            self._model.appendRow(
                [
                    QtGui.QStandardItem(table.GetValue(row, column).ToString())
                    for column in range(table.GetNumberOfColumns())
                ]
            )


def _ticks(low: float, high: float) -> list[float]:
    """At most six round numbers between two."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


class qMRMLPlotView(_Observing, qMRMLWidget):
    """Draws a plot chart node: lines, points, axes and a legend from the same nodes as Slicer's view."""

    _MARGINS = (44, 26, 16, 40)

    def __init__(self, parent=None):
        qMRMLWidget.__init__(self, parent)
        self._viewNode = None
        self.setMinimumSize(80, 60)

    def setMRMLPlotViewNode(self, node):
        self._viewNode = node
        self._follow()

    def fitToContent(self):
        self.update()

    def _follow(self):
        self._observeNothing()
        if self._viewNode is None:
            return
        self._observe(self._viewNode, (vtk.vtkCommand.ModifiedEvent,), self._follow)
        chart = self._viewNode.GetPlotChartNode()
        if chart is not None:
            self._observe(chart, (vtk.vtkCommand.ModifiedEvent,), self._follow)
            for series in self._series(chart):
                self._observe(series, (vtk.vtkCommand.ModifiedEvent,), self._redraw)
                if series.GetTableNode() is not None:
                    self._observe(series.GetTableNode(), (vtk.vtkCommand.ModifiedEvent,), self._redraw)
        self.update()

    def _redraw(self):
        self.update()

    @staticmethod
    def _series(chart):
        return [chart.GetNthPlotSeriesNode(index) for index in range(chart.GetNumberOfPlotSeriesNodes())]

    @staticmethod
    def _points(series):
        table = series.GetTableNode().GetTable() if series.GetTableNode() is not None else None
        columns = table and (
            table.GetColumnByName(series.GetXColumnName()),
            table.GetColumnByName(series.GetYColumnName()),
        )
        if not columns or columns[1] is None:
            return []
        numbers = []
        for row in range(table.GetNumberOfRows()):
            x = columns[0].GetVariantValue(row).ToDouble() if columns[0] is not None else float(row)
            y = columns[1].GetVariantValue(row).ToDouble()
            if x == x and y == y:
                numbers.append((x, y))
        return numbers

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect, QtGui.QColor("white"))
        chart = self._viewNode.GetPlotChartNode() if self._viewNode is not None else None
        if chart is None:
            return
        left, top, end, bottom = self._MARGINS
        lines = [(series, self._points(series)) for series in self._series(chart)]
        if chart.GetLegendVisibility() and lines:  # beside the curves, where it hides none of them
            end += 30 + max(painter.fontMetrics().horizontalAdvance(series.GetName() or "") for series, _ in lines)
        area = QtCore.QRectF(self.rect.adjusted(left, top, -end, -bottom))
        every = [point for _, points in lines for point in points]
        painter.setPen(QtGui.QColor("#333333"))
        if chart.GetTitleVisibility() and chart.GetTitle():
            painter.drawText(
                QtCore.QRectF(0, 2, self.rect.width(), top - 2), Qt.AlignmentFlag.AlignCenter, chart.GetTitle()
            )
        if not every:
            painter.drawRect(area)
            return
        lowX, highX = min(x for x, _ in every), max(x for x, _ in every)
        lowY, highY = min(y for _, y in every), max(y for _, y in every)
        highX, highY = (high if high > low else low + 1 for low, high in ((lowX, highX), (lowY, highY)))

        def place(x, y):
            return QtCore.QPointF(
                area.left() + area.width() * (x - lowX) / (highX - lowX),
                area.bottom() - area.height() * (y - lowY) / (highY - lowY),
            )

        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for y in _ticks(lowY, highY):
            painter.setPen(QtGui.QColor("#dddddd"))
            painter.drawLine(place(lowX, y), place(highX, y))
            painter.setPen(QtGui.QColor("#333333"))
            painter.drawText(QtCore.QRectF(0, place(lowX, y).y() - 8, left - 6, 16), right, f"{y:.6g}")
        for x in _ticks(lowX, highX):
            box = QtCore.QRectF(place(x, lowY).x() - 40, area.bottom() + 3, 80, 14)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{x:.6g}")
        painter.drawText(
            QtCore.QRectF(area.left(), area.bottom() + 18, area.width(), 18),
            Qt.AlignmentFlag.AlignCenter,
            chart.GetXAxisTitle() or "",
        )
        for series, points in lines:
            pen = QtGui.QPen(QtGui.QColor.fromRgbF(*series.GetColor()), max(1.0, series.GetLineWidth()))
            painter.setPen(pen)
            painter.drawPolyline(QtGui.QPolygonF([place(x, y) for x, y in points]))
            if series.GetMarkerStyle():
                for x, y in points:
                    painter.drawEllipse(place(x, y), 2.5, 2.5)
        if chart.GetLegendVisibility():
            box = QtCore.QPointF(area.right() + 8, area.top())
            for row, (series, _) in enumerate(lines):
                y = box.y() + 8 + 16 * row
                painter.setPen(QtGui.QPen(QtGui.QColor.fromRgbF(*series.GetColor()), 2))
                painter.drawLine(QtCore.QPointF(box.x(), y), QtCore.QPointF(box.x() + 14, y))
                painter.setPen(QtGui.QColor("#333333"))
                painter.drawText(QtCore.QPointF(box.x() + 20, y + 4), series.GetName() or "")


class qMRMLPlotWidget(qMRMLWidget):
    """A plot view with its controller."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._view = qMRMLPlotView()
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._view)

    def setMRMLScene(self, scene):
        super().setMRMLScene(scene)
        self._view.setMRMLScene(scene)

    def setMRMLPlotViewNode(self, node):
        self._view.setMRMLPlotViewNode(node)

    def mrmlPlotViewNode(self):
        return self._view._viewNode

    def plotView(self):
        return self._view


class qMRMLSliceWidget(qMRMLWidget):
    """A slice view of the layout: its logic and nodes are real."""

    def _setSliceLogic(self, logic):
        self._logic = logic

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()


def install() -> None:
    for name, value in list(globals().items()):
        if name.startswith(("qMRML", "qSlicer")):
            setattr(slicer, name, value)
            pythonqt.customWidgets[name] = value
