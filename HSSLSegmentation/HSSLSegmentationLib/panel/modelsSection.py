"""Section Models: the models of the workspace, what is known of them, import and export."""

from pathlib import Path

import qt
from slicer.i18n import tr as _

import slicer

from .. import wording

MODEL, KIND, SEGMENTS, DICE = range(4)
COLUMNS = ((MODEL, 112), (DICE, 48), (SEGMENTS, 100), (KIND, 128))
"""Order and width, in pixels, of the columns of the table as it opens."""


class ModelsSection:
    """Lists runs that can be passed on and imported models."""

    def __init__(self, panel):
        self.panel = panel
        self.widget, self.ui = panel.loadSection("Models.ui", panel.ui.modelsButton)
        self.jobView = panel.newJobView(self.ui.jobHolder, self._told)
        self._entries: list = []
        ui = self.ui
        self.model = qt.QStandardItemModel()
        self.model.setHorizontalHeaderLabels([_("Model"), _("Kind"), _("Segments"), _("Dice")])
        ui.modelsTable.setModel(self.model)
        # Names of runs differ at their end.
        ui.modelsTable.setTextElideMode(qt.Qt.ElideMiddle)
        ui.modelsTable.verticalHeader().setDefaultSectionSize(22)
        header = ui.modelsTable.horizontalHeader()
        # What a model is chosen by is in sight in a panel of 300 pixels.
        for visual, (column, width) in enumerate(COLUMNS):
            header.moveSection(header.visualIndex(column), visual)
            header.resizeSection(column, width)
        ui.modelsTable.selectionModel().connect("selectionChanged(QItemSelection,QItemSelection)", self.onSelection)
        ui.importButton.connect("clicked(bool)", self.onImport)
        ui.exportButton.connect("clicked(bool)", self.onExport)

    def release(self) -> None:
        self.ui.modelsTable.selectionModel().disconnect(
            "selectionChanged(QItemSelection,QItemSelection)", self.onSelection
        )
        self.ui.modelsTable.setModel(None)

    def update(self) -> None:
        """Shows what the workspace holds."""
        panel, ui = self.panel, self.ui
        runs = [r for r in reversed(panel.runs) if r.state in ("finished", "unfinished")]
        own, legs = [r for r in runs if not r.comparison], [r for r in runs if r.comparison]
        entries = [*own, *panel.modelFiles, *legs]
        if entries != self._entries:
            chosen = self.chosen()
            self._entries = entries
            self.model.setRowCount(0)
            for entry in entries:
                self.model.appendRow([self._item(text) for text in self._cells(entry)])
            if entries:
                paths = [entry.path for entry in entries]
                ui.modelsTable.selectRow(paths.index(chosen.path) if chosen is not None and chosen.path in paths else 0)
        ui.modelsTable.setVisible(bool(entries))
        self._updateChosen()
        panel.offer(
            ui.importButton,
            panel.reasonNotReady(),
            _(
                "Adds a model file that someone gave you to this workspace. It is checked first; nothing in it "
                "is executed."
            ),
        )
        if entries:
            ui.hintLabel.text = _("<b>Next:</b> export a model to use it in another workspace or to pass it on.")
        else:
            ui.hintLabel.text = _("<b>Next:</b> fine-tune a model in section 3, or import one that someone gave you.")

    def chosen(self):
        """Returns the chosen run or model, or None."""
        indexes = self.ui.modelsTable.selectionModel().selectedRows(0)
        return self._entries[indexes[0].row()] if indexes else None

    def onSelection(self, selected, deselected) -> None:
        self._updateChosen()

    def onImport(self) -> None:
        panel = self.panel
        file = qt.QFileDialog.getOpenFileName(self.widget, _("Import a model"), "", _("HSSL models (*.zip)"))
        if file:
            panel.startJob(
                self.jobView, lambda: panel.logic.importModel(file, panel.workspace, waitForCompletion=False)
            )

    def onExport(self) -> None:
        panel, entry = self.panel, self.chosen()
        suggestion = str(Path.home() / f"{entry.name}.zip")
        file = qt.QFileDialog.getSaveFileName(self.widget, _("Export the model"), suggestion, _("HSSL models (*.zip)"))
        if file:
            # The dialog has asked whether a file may be replaced, but of no name that it did not see.
            seen = file.lower().endswith(".zip")
            path, licence = file if seen else f"{file}.zip", self.ui.licenceEdit.text.strip()
            panel.startJob(
                self.jobView, lambda: panel.logic.exportModel(entry.path, path, licence, seen, waitForCompletion=False)
            )

    def _told(self, job, event) -> None:
        if job.state == "done":
            slicer.util.showStatusMessage(_("Written: {file}").format(file=job.result.file), 5000)

    def _updateChosen(self) -> None:
        entry = self.chosen()
        self.ui.informationLabel.text = self._information(entry) if entry is not None else ""
        for widget in (self.ui.informationLabel, self.ui.licenceLabel, self.ui.licenceEdit):
            widget.setVisible(entry is not None)
        reason = self.panel.reasonNotReady()
        if not reason and entry is None:
            reason = _("Choose a model in the table.")
        self.panel.offer(
            self.ui.exportButton,
            reason,
            _(
                "Writes the chosen model as one file: weights, structures with their terminology, figures, licence, "
                "origin."
            ),
        )

    @staticmethod
    def _item(text: str):
        item = qt.QStandardItem(text)
        item.setToolTip(wording.literal(text))
        return item

    def _cells(self, entry) -> list[str]:
        if hasattr(entry, "state"):
            kind = _("pretrained") if entry.kind == "pretrain" else _("fine-tuned")
            if entry.comparison:
                kind = _("compared")
            if entry.state == "unfinished":
                kind += " " + _("(unfinished)")
            return [entry.name, kind, entry.task, "" if entry.dice is None else f"{entry.dice:.3f}"]
        if entry.problem:
            return [entry.name, _("cannot be used"), "", ""]
        dice = entry.description.figures.get("validation_dice")
        kind = _("imported, pretrained") if entry.kind == "pretrained" else _("imported")
        tasks = ", ".join(task.name for task in entry.description.tasks)
        return [entry.name, kind, tasks, "" if dice is None else f"{dice:.3f}"]

    def _information(self, entry) -> str:
        if not hasattr(entry, "state"):
            return entry.problem or self._described(entry.description)
        lines = []
        if entry.kind == "finetune":
            catalogue = self.panel.catalogue
            classes: list = next((t.classes for t in catalogue.tasks if t.name == entry.task), [])
            lines.append(_("Structures: {names}").format(names=", ".join(c.name for c in classes)))
            lines.append(_("Started from: {start}").format(start=Path(entry.start).name))
        if entry.result is not None:
            lines.append(_("Learned: {what}").format(what=wording.learned(entry.result)))
        lines.append(str(entry.path))
        return "\n".join(lines)

    @staticmethod
    def _described(description) -> str:
        names = ", ".join(c.name for task in description.tasks for c in task.classes)
        lines = [_("Structures: {names}").format(names=names)] if description.kind == "segmentation" else []
        modalities = ", ".join(sorted({task.modality for task in description.tasks}))
        lines.append(_("Made for: {modalities}").format(modalities=modalities))
        lines += [f"{name.replace('_', ' ')}: {value:.3f}" for name, value in description.figures.items()]
        lines.append(_("Licence: {licence}").format(licence=description.licence or _("not stated")))
        return "\n".join(lines)
