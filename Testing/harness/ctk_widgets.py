"""Stand-ins for the CTK widgets that modules use: CTK's names, properties and signals over PySide6 widgets."""

from __future__ import annotations

import os
import types

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from . import pythonqt

_HEADER = 26


def _forwarded(kind, inner: str, name: str, setter: str | None = None):
    """A property that lives on an inner widget."""
    return Property(
        kind,
        lambda self: getattr(getattr(self, inner), name),
        lambda self, value: setattr(getattr(self, inner), setter or name, value),
    )


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A section with a clickable title; `collapsed` hides what is in it."""

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments):
        super().__init__(next((argument for argument in arguments if isinstance(argument, QtWidgets.QWidget)), None))
        self.text = next((argument for argument in arguments if isinstance(argument, str)), "")
        self._shownAgain: list[QtWidgets.QWidget] = []
        self._flat, self._collapsedHeight = False, 10
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(1, _HEADER, 1, 1)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        QtWidgets.QAbstractButton.__getattribute__(self, "toggled").connect(self._follow)

    def _contents(self):
        return [child for child in self.children() if isinstance(child, QtWidgets.QWidget)]

    def _follow(self, expanded):
        if expanded:
            for child in self._shownAgain:
                child.setVisible(True)
            self._shownAgain = []
            self.setMaximumHeight(16777215)
        else:
            self._shownAgain = [child for child in self._contents() if not child.isHidden()]
            for child in self._shownAgain:
                child.setVisible(False)
            self.setMaximumHeight(_HEADER)
        self.updateGeometry()
        self.contentsCollapsed.emit(not expanded)

    def _setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    collapsed = Property(bool, lambda self: not self.isChecked(), _setCollapsed)
    flat = Property(bool, lambda self: self._flat, lambda self, value: setattr(self, "_flat", value))
    collapsedHeight = Property(
        int, lambda self: self._collapsedHeight, lambda self, value: setattr(self, "_collapsedHeight", value)
    )

    def showEvent(self, event):
        super().showEvent(event)
        if not self.isChecked():  # children that were added while the section was closed
            for child in self._contents():
                if not child.isHidden():
                    self._shownAgain.append(child)
                    child.setVisible(False)

    def hitButton(self, position):
        return position.y() < _HEADER

    def minimumSizeHint(self):
        hint = super().minimumSizeHint()
        return QtCore.QSize(hint.width(), _HEADER) if not self.isChecked() else hint

    def sizeHint(self):
        layout = self.layout()
        if not self.isChecked() or layout is None:
            return QtCore.QSize(200, _HEADER)
        return layout.totalSizeHint()

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        header = QtCore.QRect(0, 0, self.rect.width(), _HEADER - 2)
        frame = QtWidgets.QStyleOptionFrame()
        frame.initFrom(self)
        frame.rect = self.rect.adjusted(0, _HEADER // 2, 0, 0)
        if self.isChecked():
            painter.setPen(self.palette.color(QtGui.QPalette.ColorRole.Mid))
            painter.drawRect(frame.rect.adjusted(0, 0, -1, -1))
        button = QtWidgets.QStyleOptionButton()
        button.initFrom(self)
        button.rect = header
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, button)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(8, (header.height() - 10) // 2, 10, 10)
        painter.drawPrimitive(
            QtWidgets.QStyle.PrimitiveElement.PE_IndicatorArrowDown
            if self.isChecked()
            else QtWidgets.QStyle.PrimitiveElement.PE_IndicatorArrowRight,
            arrow,
        )
        painter.setPen(self.palette.color(QtGui.QPalette.ColorRole.ButtonText))
        painter.drawText(
            header.adjusted(24, 0, -4, 0), Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextShowMnemonic, self.text
        )


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box whose check mark opens and closes it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._collapsedHeight = 14
        self.setCheckable(True)
        self.setChecked(True)
        QtWidgets.QGroupBox.__getattribute__(self, "toggled").connect(self._follow)

    def _follow(self, expanded):
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(expanded)

    collapsed = Property(bool, lambda self: not self.isChecked(), lambda self, value: self.setChecked(not value))
    collapsedHeight = Property(
        int, lambda self: self._collapsedHeight, lambda self, value: setattr(self, "_collapsedHeight", value)
    )


class ctkDoubleSpinBox(QtWidgets.QWidget):
    """CTK's spin box is a widget around a QDoubleSpinBox, with the same value interface."""

    valueChanged = Signal(float)
    editingFinished = Signal()
    decimalsChanged = Signal(int)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._box = QtWidgets.QDoubleSpinBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self.valueChanged.emit)
        self._box.editingFinished.connect(self.editingFinished.emit)

    minimum = _forwarded(float, "_box", "minimum")
    maximum = _forwarded(float, "_box", "maximum")
    singleStep = _forwarded(float, "_box", "singleStep")
    value = _forwarded(float, "_box", "value")
    decimals = _forwarded(int, "_box", "decimals")
    prefix = _forwarded(str, "_box", "prefix")
    suffix = _forwarded(str, "_box", "suffix")
    readOnly = _forwarded(bool, "_box", "readOnly")

    def setValue(self, value):
        self._box.setValue(value)

    def setDecimals(self, decimals):
        self._box.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box that show one number."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    decimalsChanged = Signal(int)
    _STEPS = 1000

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, self._STEPS)
        self._box = QtWidgets.QDoubleSpinBox()
        self._tracking, self._value = True, 0.0
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._box)
        self._box.setRange(0.0, 99.0)  # CTK's default range
        self._slider.valueChanged.connect(self._fromSlider)
        self._box.valueChanged.connect(self._fromBox)

    def _fromSlider(self, position):
        span = self._box.maximum - self._box.minimum
        self._box.setValue(self._box.minimum + span * position / self._STEPS)

    def _fromBox(self, value):
        span = self._box.maximum - self._box.minimum
        self._slider.blockSignals(True)
        self._slider.setValue(round(self._STEPS * (value - self._box.minimum) / span) if span else 0)
        self._slider.blockSignals(False)
        if value != self._value:
            self._value = value
            self.valueIsChanging.emit(value)
            self.valueChanged.emit(value)

    def _setMinimum(self, value):
        self._box.setMinimum(value)
        self._fromBox(self._box.value)

    def _setMaximum(self, value):
        self._box.setMaximum(value)
        self._fromBox(self._box.value)

    def setValue(self, value):
        self._box.setValue(value)

    def setDecimals(self, decimals):
        self._box.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)

    def setSpinBoxVisible(self, visible):
        self._box.setVisible(visible)

    minimum = Property(float, lambda self: self._box.minimum, _setMinimum)
    maximum = Property(float, lambda self: self._box.maximum, _setMaximum)
    value = _forwarded(float, "_box", "value")
    singleStep = _forwarded(float, "_box", "singleStep")
    decimals = Property(int, lambda self: self._box.decimals, setDecimals)
    prefix = _forwarded(str, "_box", "prefix")
    suffix = _forwarded(str, "_box", "suffix")
    spinBoxVisible = Property(bool, lambda self: not self._box.isHidden(), setSpinBoxVisible)
    tracking = Property(bool, lambda self: self._tracking, lambda self, value: setattr(self, "_tracking", value))
    pageStep = Property(
        float, lambda self: float(self._slider.pageStep), lambda self, value: self._slider.setPageStep(int(value))
    )


class ctkRangeWidget(QtWidgets.QWidget):
    """Two numbers between two bounds."""

    valuesChanged = Signal(float, float)
    minimumValueChanged = Signal(float)
    maximumValueChanged = Signal(float)
    rangeChanged = Signal(float, float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._low, self._high = QtWidgets.QDoubleSpinBox(), QtWidgets.QDoubleSpinBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for box, signal in ((self._low, self.minimumValueChanged), (self._high, self.maximumValueChanged)):
            layout.addWidget(box)
            box.valueChanged.connect(signal.emit)
            box.valueChanged.connect(lambda _: self.valuesChanged.emit(self._low.value, self._high.value))

    def setRange(self, minimum, maximum):
        for box in (self._low, self._high):
            box.setRange(minimum, maximum)
        self.rangeChanged.emit(minimum, maximum)

    def setValues(self, low, high):
        self._low.setValue(low)
        self._high.setValue(high)

    minimum = Property(
        float, lambda self: self._low.minimum, lambda self, value: self.setRange(value, self._low.maximum)
    )
    maximum = Property(
        float, lambda self: self._low.maximum, lambda self, value: self.setRange(self._low.minimum, value)
    )
    minimumValue = _forwarded(float, "_low", "value")
    maximumValue = _forwarded(float, "_high", "value")
    singleStep = Property(
        float,
        lambda self: self._low.singleStep,
        lambda self, value: [box.setSingleStep(value) for box in (self._low, self._high)],
    )
    decimals = Property(
        int,
        lambda self: self._low.decimals,
        lambda self, value: [box.setDecimals(value) for box in (self._low, self._high)],
    )


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path that is typed, or chosen with the button beside it."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    Dirs, Files, Drives, NoSymLinks = 0x001, 0x002, 0x004, 0x008
    AllEntries, TypeMask = 0x007, 0x00F
    Readable, Writable, Executable, PermissionMask = 0x010, 0x020, 0x040, 0x070
    Modified, Hidden, System, AccessMask = 0x080, 0x100, 0x200, 0x3F0
    AllDirs, CaseSensitive, NoDot, NoDotDot, NoDotAndDotDot, NoFilter = 0x400, 0x800, 0x2000, 0x4000, 0x6000, -1
    ShowDirsOnly, DontResolveSymlinks, DontConfirmOverwrite = 0x01, 0x02, 0x04

    def __init__(self, parent=None):
        super().__init__(parent)
        self._edit = QtWidgets.QLineEdit()
        self._button = QtWidgets.QToolButton()
        self._button.setText("…")
        self._filters, self._nameFilters, self._settingKey, self._label = self.AllEntries, (), "", ""
        self._options, self._valid, self._policy, self._length = 0, False, 0, 17
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._edit, 1)
        layout.addWidget(self._button)
        self._edit.textChanged.connect(self._changed)
        self._button.clicked.connect(self.browse)

    def _changed(self, text):
        valid = bool(text) and (
            os.path.isdir(text)
            if not self._filters & self.Files
            else os.path.exists(text) or bool(self._filters & self.Writable)
        )
        if valid != self._valid:
            self._valid = valid
            self.validInputChanged.emit(valid)
        self.currentPathChanged.emit(text)

    def setCurrentPath(self, path):
        self._edit.setText(path)

    def browse(self):
        from . import dialogs

        if not self._filters & self.Files:
            chosen = dialogs.chosenDirectory(self, self._label)
        elif self._filters & self.Writable:
            chosen = dialogs.chosenFileToSave(self, self._label)
        else:
            chosen = dialogs.chosenFileToOpen(self, self._label)
        if chosen:
            self._edit.setText(chosen)

    def addCurrentPathToHistory(self):
        if self._settingKey and self._edit.text:
            settings = QtCore.QSettings()
            history = [self._edit.text, *(settings.value(self._settingKey) or [])]
            settings.setValue(self._settingKey, list(dict.fromkeys(history))[:10])

    def retrieveHistory(self):
        history = QtCore.QSettings().value(self._settingKey) or []
        if history:
            self._edit.setText(history[0])

    currentPath = _forwarded(str, "_edit", "text")
    filters = Property(int, lambda self: self._filters, lambda self, value: setattr(self, "_filters", int(value)))
    options = Property(int, lambda self: self._options, lambda self, value: setattr(self, "_options", int(value)))
    label = Property(str, lambda self: self._label, lambda self, value: setattr(self, "_label", value))
    settingKey = Property(str, lambda self: self._settingKey, lambda self, value: setattr(self, "_settingKey", value))
    sizeAdjustPolicy = Property(
        int, lambda self: self._policy, lambda self, value: setattr(self, "_policy", int(value))
    )
    minimumContentsLength = Property(
        int, lambda self: self._length, lambda self, value: setattr(self, "_length", value)
    )
    nameFilters = Property(
        "QStringList", lambda self: self._nameFilters, lambda self, value: setattr(self, "_nameFilters", tuple(value))
    )
    showBrowseButton = Property(
        bool, lambda self: not self._button.isHidden(), lambda self, value: self._button.setVisible(value)
    )
    showHistoryButton = Property(bool, lambda self: False, lambda self, value: None)


class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows a folder and lets one be chosen."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def __init__(self, *arguments):
        super().__init__(next((argument for argument in arguments if isinstance(argument, QtWidgets.QWidget)), None))
        self._button = QtWidgets.QPushButton(os.getcwd())
        self._caption = ""
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        self._button.clicked.connect(self.browse)

    def browse(self):
        from . import dialogs

        chosen = dialogs.chosenDirectory(self, self._caption)
        if chosen:
            self.directory = chosen
            self.directorySelected.emit(chosen)

    def _setDirectory(self, path):
        if path != self._button.text:
            self._button.setText(path)
            self.directoryChanged.emit(path)

    directory = Property(str, lambda self: self._button.text, _setDirectory)
    caption = Property(str, lambda self: self._caption, lambda self, value: setattr(self, "_caption", value))


class ctkColorPickerButton(QtWidgets.QPushButton):
    """A button that shows a colour and lets one be chosen."""

    colorChanged = Signal(QtGui.QColor)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._colour = QtGui.QColor("black")

    def setColor(self, colour):
        if colour != self._colour:
            self._colour = QtGui.QColor(colour)
            pixmap = QtGui.QPixmap(16, 16)
            pixmap.fill(self._colour)
            self.icon = QtGui.QIcon(pixmap)
            self.colorChanged.emit(self._colour)

    color = Property(QtGui.QColor, lambda self: self._colour, setColor)


class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a default text, which shows while nothing is chosen."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._defaultText = ""

    def _setDefaultText(self, text):
        self._defaultText = text
        self.setPlaceholderText(text)

    defaultText = Property(str, lambda self: self._defaultText, _setDefaultText)


class ctkCheckBox(QtWidgets.QCheckBox):
    """CTK's check box; only its icon differs from Qt's."""


class ctkCheckableComboBox(QtWidgets.QComboBox):
    """A combo box whose entries carry check marks."""

    checkedIndexesChanged = Signal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self._items = QtGui.QStandardItemModel(self)
        self.setModel(self._items)
        self._items.itemChanged.connect(lambda _: self.checkedIndexesChanged.emit())
        self._items.rowsInserted.connect(self._prepare)

    def _prepare(self, parent, first, last):
        for row in range(first, last + 1):
            item = self._items.item(row)
            if item is not None:
                item.setFlags(Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsEnabled)
                item.setData(Qt.CheckState.Unchecked, Qt.ItemDataRole.CheckStateRole)

    def checkedIndexes(self):
        indexes = (self._items.index(row, 0) for row in range(self._items.rowCount()))
        return tuple(index for index in indexes if self.checkState(index) == Qt.CheckState.Checked)

    def checkState(self, index):
        return Qt.CheckState(index.data(Qt.ItemDataRole.CheckStateRole) or 0)

    def setCheckState(self, index, state):
        self._items.setData(index, state, Qt.ItemDataRole.CheckStateRole)

    def checkableModel(self):
        return self._items


class ctkSearchBox(QtWidgets.QLineEdit):
    """A line edit with a magnifying glass and a cross."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setClearButtonEnabled(True)
        self._showSearchIcon = False

    showSearchIcon = Property(
        bool, lambda self: self._showSearchIcon, lambda self, value: setattr(self, "_showSearchIcon", value)
    )


class ctkPushButton(QtWidgets.QPushButton):
    """A push button whose text and icon can be aligned."""


class ctkMenuButton(QtWidgets.QPushButton):
    """A push button with a separate arrow that opens its menu."""


class ctkCheckablePushButton(QtWidgets.QPushButton):
    """A push button with a check box inside."""

    checkBoxToggled = Signal(bool)


class ctkExpandButton(QtWidgets.QToolButton):
    """A small arrow that opens and closes something."""


class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """A text browser as high as its text."""

    def heightForWidth(self, width):
        document = self.document.clone()
        document.setTextWidth(width - 2 * self.frameWidth)
        return int(document.size().height()) + 2 * self.frameWidth

    def sizeHint(self):
        return QtCore.QSize(300, self.heightForWidth(max(self.rect.width(), 300)))


class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box that can be told not to come again."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._settingsKey = ""

    dontShowAgainSettingsKey = Property(
        str, lambda self: self._settingsKey, lambda self, value: setattr(self, "_settingsKey", value)
    )


class ctkFileDialog(QtWidgets.QFileDialog):
    """CTK's file dialog; its additions are not used by scripted modules."""


def createModule() -> types.ModuleType:
    module = types.ModuleType("ctk", "Stand-in for Slicer's ctk module")
    for name, value in list(globals().items()):
        if name.startswith("ctk"):
            setattr(module, name, value)
            pythonqt.customWidgets[name] = value
    return module
