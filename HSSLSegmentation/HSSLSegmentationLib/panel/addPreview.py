"""What would be taken of a folder, told before anything is written: pairs, counts, structures, and files in doubt."""

import base64
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from .. import colors, wording
from ..jobs.job import Job
from . import addOptions

if TYPE_CHECKING:
    from hssl.results import AddResult, Doubtful, NamedStructure

MILLISECONDS_TO_WAIT = 800
TEXT_HEIGHT = 130
ROW_HEIGHT, ROWS = 19, 6
"""Of the list of structures: pixels of a row, and how many are in sight at most."""
PICTURE, DOUBTS = 84, 3
"""Pixels of the longer side of a picture as it is shown, and how many are in sight at most."""
CHOICES = ("", "confirm", "leave_out")
"""What can be said of a file in doubt: nothing, or a field of `hssl.configuration.AddConfig`."""


class AddPreview:
    """Keeps a preview up to date with what is chosen; the engine looks, in a process of its own that gives way at once.

    Args:
        panel: the panel.
        ui: the widgets of the section Dataset.
    """

    def __init__(self, panel, ui):
        self.panel, self.ui = panel, ui
        self.needs: set[str] = set()
        """Options without which the folder may be taken otherwise than it is meant."""
        self._asked: tuple = ()
        self._wanted: tuple = ()
        self._values: dict | None = None
        self._folder = ""
        self._job: Job | None = None
        self._structures: list[NamedStructure] = []
        self._filling = False
        self.rows: dict[str, Any] = {}
        """The choices of the files in doubt, by path."""
        self._said: dict[str, str] = {}
        self._makeWidgets(ui.previewHolder.layout())
        # Typing goes through many texts: only the last one is looked at.
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(MILLISECONDS_TO_WAIT)
        self._timer.connect("timeout()", self._ask)

    def _makeWidgets(self, layout) -> None:
        self.structuresLabel = qt.QLabel(_("Structures to take:"))
        self.structuresList = qt.QListWidget()
        self.structuresList.toolTip = _(
            "Of those that are checked, the label is made. Drag them into order: where they overlap, the last has the "
            "voxel."
        )
        self.structuresList.setDragDropMode(qt.QAbstractItemView.InternalMove)
        self.structuresList.connect("itemChanged(QListWidgetItem*)", self.onStructure)
        self.structuresList.model().connect("rowsMoved(QModelIndex,int,int,QModelIndex,int)", self.onStructure)
        self.text = qt.QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setFixedHeight(TEXT_HEIGHT)
        # A path is one long word.
        self.text.setWordWrapMode(qt.QTextOption.WrapAtWordBoundaryOrAnywhere)
        self.doubtsLabel = qt.QLabel()
        self.doubtsLabel.wordWrap = True
        self.doubtsArea = qt.QScrollArea()
        self.doubtsArea.setWidgetResizable(True)
        self.doubtsArea.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        for widget in (self.structuresLabel, self.structuresList, self.text, self.doubtsLabel, self.doubtsArea):
            widget.setVisible(False)
            layout.addWidget(widget)

    def release(self) -> None:
        """Ends the process and the timer."""
        self._timer.stop()
        self._timer.disconnect("timeout()", self._ask)
        self.structuresList.model().disconnect("rowsMoved(QModelIndex,int,int,QModelIndex,int)", self.onStructure)
        self.giveWay()

    def giveWay(self) -> None:
        """Ends the look that is under way, such as when the scans are added."""
        self._timer.stop()
        if self._job is not None:
            self._job.removeObserver(self._told)
            self._job.stop()
            self._job = None

    def want(self, values: dict | None) -> None:
        """Says what would be added; the same is looked at once. None: nothing can be added yet.

        Args:
            values: arguments of `HSSLSegmentationLogic.addFolder`.
        """
        wanted = _key(values)
        folder = str(values["folder"]) if values is not None else ""
        if folder != self._folder:
            self._folder = folder
            self._forget()
        self._values = values
        if wanted != self._wanted:
            self._wanted = wanted
            self.giveWay()
            if values is not None and wanted != self._asked:
                self._timer.start()

    def done(self) -> None:
        """Forgets what was shown: it is in the workspace now."""
        self._forget()
        self._asked = self._wanted

    def choices(self) -> dict[str, list[str]]:
        """Returns what was said of the files in doubt, as fields of `hssl.configuration.AddConfig`."""
        found: dict[str, list[str]] = {}
        for path, said in self._said.items():
            if said:
                found.setdefault(said, []).append(path)
        return found

    def _forget(self) -> None:
        self.needs, self._structures, self._said = set(), [], {}
        self._fillStructures()
        self._showDoubts([])
        self.text.setVisible(False)

    def _ask(self) -> None:
        if self._values is None:
            return
        self._asked = self._wanted
        values = {**self._values, "options": {**self._values["options"], "dry_run": True, "check": False}}
        try:
            self._job = self.panel.logic.addFolder(self.panel.workspace, waitForCompletion=False, **values)
        except Exception as error:  # said where the preview would be; a click on Add says it again
            self._show(str(error), True)
            return
        self._job.kind = "preview"
        self._job.addObserver(self._told)
        self._show(_("Looking at the folder…"))

    def _told(self, job: Job, event) -> None:
        if job.isRunning():
            if event is not None and event.event == "progress":
                self._show(_("Looking at the folder… {percent:.0f} %").format(percent=100 * job.progress))
            return
        self._job = None
        if job.state == "done":
            self._shown(job.result)
        elif job.state == "failed":
            self.needs = {job.wayOut} & {*addOptions.TYPED, "labels"}
            self._show("\n".join(text for text in (job.error, job.hint) if text), True)
            self.panel.refreshSoon()

    def _shown(self, result: "AddResult") -> None:
        self.needs = set(result.needs)
        self._show(result.text)
        known = {one.name for one in self._structures}
        if not known >= {one.name for one in result.structures}:
            self._structures = result.structures
        self._fillStructures()
        self._showDoubts(result.in_doubt)
        parameters = self.panel.parameterNode
        if parameters is not None and self._values is not None and not parameters.addTask.strip():
            # What was looked at was looked at for the task of this name.
            self._values["task"] = parameters.addTask = result.task
            self._asked = self._wanted = _key(self._values)
        self.panel.refreshSoon()

    def _show(self, text: str, bad: bool = False) -> None:
        self.text.setPlainText(text)
        self.text.styleSheet = colors.PROBLEM_STYLE if bad else ""
        self.text.setVisible(True)

    # Structures ---------------------------------------------------------------------------------------------------

    def _fillStructures(self) -> None:
        self._filling = True
        chosen = addOptions.names(self.panel.parameterNode.addStructures) if self.panel.parameterNode else []
        order = {name: number for number, name in enumerate(chosen)}
        self.structuresList.clear()
        for one in sorted(self._structures, key=lambda one: order.get(one.name, len(order))):
            count = "" if one.count is None else f"  ({one.count})"
            item = qt.QListWidgetItem(one.name + count)
            item.setData(qt.Qt.UserRole, one.name)
            if one.color:
                pixmap = qt.QPixmap(12, 12)
                pixmap.fill(qt.QColor(*(round(255 * part) for part in one.color)))
                item.setIcon(qt.QIcon(pixmap))
            item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if not chosen or one.name in order else qt.Qt.Unchecked)
            self.structuresList.addItem(item)
        several = len(self._structures) > 1
        self.structuresList.setFixedHeight(8 + ROW_HEIGHT * min(ROWS, max(1, len(self._structures))))
        self.structuresLabel.setVisible(several)
        self.structuresList.setVisible(several)
        self._filling = False

    def onStructure(self, *_changed) -> None:
        if self._filling:
            return
        items = [self.structuresList.item(row) for row in range(self.structuresList.count)]
        taken = [item.data(qt.Qt.UserRole) for item in items if item.checkState() == qt.Qt.Checked]
        every = taken == [one.name for one in self._structures]
        self.panel.parameterNode.addStructures = "" if every else addOptions.asText(taken)

    def shownAsList(self) -> bool:
        """Tells whether the structures are chosen in the list, and need not be typed."""
        return len(self._structures) > 1

    # Files in doubt -----------------------------------------------------------------------------------------------

    def _showDoubts(self, doubts: "list[Doubtful]") -> None:
        content = qt.QWidget()
        layout = qt.QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        self.rows = {one.path: self._row(one, layout) for one in doubts}
        layout.addStretch(1)
        self.doubtsArea.setWidget(content)
        self.doubtsArea.setFixedHeight((PICTURE + 10) * min(DOUBTS, max(1, len(doubts))))
        self.doubtsLabel.text = _("In doubt. Say what they are, or they are not used:")
        self.doubtsLabel.setVisible(bool(doubts))
        self.doubtsArea.setVisible(bool(doubts))

    def _row(self, doubt: "Doubtful", layout):
        row = qt.QWidget()
        row.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Maximum)
        across = qt.QHBoxLayout(row)
        across.setContentsMargins(0, 0, 0, 0)
        if doubt.picture:
            pixmap = qt.QPixmap()
            pixmap.loadFromData(qt.QByteArray(base64.b64decode(doubt.picture)))
            picture = qt.QLabel()
            picture.setPixmap(pixmap.scaled(PICTURE, PICTURE, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation))
            across.addWidget(picture)
        texts = qt.QVBoxLayout()
        across.addLayout(texts, 1)
        label = qt.QLabel(f"{doubt.path.rsplit('/', 1)[-1]}: {doubt.reason}")
        label.setTextFormat(qt.Qt.PlainText)
        label.wordWrap = True
        label.toolTip = wording.literal(doubt.path)
        # A name is one long word, which would make the panel wider.
        label.setMinimumWidth(1)
        label.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Preferred)
        texts.addWidget(label)
        combo = qt.QComboBox()
        combo.addItems([_("not used for now"), _("a scan: use it"), _("no scan: leave it out")])
        combo.setCurrentIndex(CHOICES.index(self._said.get(doubt.path, "")))
        combo.setMinimumContentsLength(8)
        combo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)

        def said(index: int, path: str = doubt.path) -> None:
            self._said[path] = CHOICES[index]

        combo.connect("currentIndexChanged(int)", said)
        texts.addWidget(combo)
        layout.addWidget(row)
        return combo


def _key(values: dict | None) -> tuple:
    return () if values is None else tuple(sorted((name, repr(value)) for name, value in values.items()))
