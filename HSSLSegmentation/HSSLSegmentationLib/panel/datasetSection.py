"""Section Dataset: the workspace, adding scans, and the table of what it holds."""

import os
from contextlib import suppress

import qt
from slicer.i18n import tr as _

import slicer

from .. import choices, installation, settings, wording
from ..refusal import Refusal
from ..scene import labelling, results
from ..scene import pictures as scenePictures
from ..workspace import contents as workspaceContents
from ..workspace import edits as catalogueEdits
from . import addOptions, asking, catalogueModel, classChoice, taskDialog
from .addPreview import AddPreview
from .catalogueModel import CatalogueModel
from .labelNext import LabelNext
from .sceneAdding import SceneCase
from .telling import told

COLUMNS = (
    (catalogueModel.IMAGE, 100),
    (catalogueModel.LABEL, 82),
    (catalogueModel.HEALTH, 55),
    (catalogueModel.TASK, 80),
    (catalogueModel.GROUP, 80),
    (catalogueModel.MODALITY, 70),
    (catalogueModel.SIZE, 95),
)
"""Order and width, in pixels, of the columns of the table as it opens."""
LABEL_MARGIN = 4
"""Pixels of a label beside its text."""


class DatasetSection:
    """Shows and edits the catalogue of the workspace."""

    def __init__(self, panel):
        self.panel = panel
        self.widget, self.ui = panel.loadSection("Dataset.ui", panel.ui.datasetButton)
        self.jobView = panel.newJobView(self.ui.jobHolder, self._told)
        self.labelNext = LabelNext(panel, self.ui.labelNextHolder, self.jobView)
        self.preview = AddPreview(panel, self.ui)
        self.model = CatalogueModel(self.onEdited)
        self._shown = None
        self._groupsOf = ""
        """The workspace that groups are being suggested for; another may be chosen meanwhile."""
        ui = self.ui
        ui.addedLabel.setVisible(False)
        ui.imagesTable.setModel(self.model.proxy)
        header = ui.imagesTable.horizontalHeader()
        # What one looks for is in sight in a panel of 300 pixels: which scan, its status, and its health.
        for visual, (column, width) in enumerate(COLUMNS):
            header.moveSection(header.visualIndex(column), visual)
            header.resizeSection(column, width)
        # Names of scans differ at their end.
        ui.imagesTable.setTextElideMode(qt.Qt.ElideMiddle)
        ui.imagesTable.sortByColumn(catalogueModel.IMAGE, qt.Qt.AscendingOrder)
        ui.imagesTable.verticalHeader().setDefaultSectionSize(22)
        self._makeActions()
        ui.workspaceEdit.connect("currentPathChanged(QString)", self.onWorkspace)
        ui.createButton.connect("clicked(bool)", self.onCreate)
        ui.fromCombo.connect("currentIndexChanged(int)", self.onFrom)
        ui.folderEdit.connect("currentPathChanged(QString)", self.onFolder)
        ui.labelsEdit.connect("currentPathChanged(QString)", self.onLabels)
        ui.taskCombo.connect("editTextChanged(QString)", self.onTask)
        ui.groupCombo.connect("editTextChanged(QString)", self.onGroup)
        ui.modalityCombo.connect("currentIndexChanged(int)", self.onModality)
        ui.addButton.connect("clicked(bool)", self.onAdd)
        ui.allOptionsCheck.connect("toggled(bool)", self.onAllOptions)
        ui.filterEdit.connect("textChanged(QString)", self.onFilter)
        ui.imagesTable.connect("doubleClicked(QModelIndex)", self.onDoubleClicked)
        ui.imagesTable.selectionModel().connect(
            "selectionChanged(QItemSelection,QItemSelection)", self.onSelectionChanged
        )

    def release(self) -> None:
        self.labelNext.release()
        self.preview.release()
        self.ui.imagesTable.selectionModel().disconnect(
            "selectionChanged(QItemSelection,QItemSelection)", self.onSelectionChanged
        )
        self.ui.imagesTable.setModel(None)
        self.model.release()

    def selectedImages(self) -> list[str]:
        """Returns the ids of the chosen images."""
        indexes = self.ui.imagesTable.selectionModel().selectedRows(catalogueModel.IMAGE)
        return [id for id in (self.model.imageId(index) for index in indexes) if id]

    def update(self) -> None:
        """Shows the state of the parameter node and of the workspace."""
        panel, ui, parameters = self.panel, self.ui, self.panel.parameterNode
        catalogue = panel.catalogue
        if catalogue is not self._shown or catalogue is None:
            if catalogue is None or self._shown is None or self._shown.workspace != catalogue.workspace:
                # Where there are scans already, the table matters more than the form.
                ui.addGroup.collapsed = catalogue is not None and bool(catalogue.images)
            chosen = self.selectedImages()
            self.model.show(catalogue)
            self._select(chosen)
            self._shown = catalogue
            ui.imagesTable.setVisible(catalogue is not None)
        if ui.workspaceEdit.currentPath != parameters.workspace:
            ui.workspaceEdit.setCurrentPath(parameters.workspace)
        known = catalogue is not None
        unpacked = installation.canReadCatalogues()
        ui.createButton.setVisible(not panel.workspace)
        reason = ""
        if not unpacked:
            reason = _("Install the packages first (at the top of the panel).")
        elif not parameters.workspace:
            reason = _("Choose a folder first.")
        panel.offer(ui.createButton, reason, _("Makes the chosen folder a workspace."))
        for widget in (ui.addGroup, ui.tableHolder):
            widget.setVisible(known)
        self._updateForm(catalogue)
        self.labelNext.update()
        count = panel.counts.images if known else 0
        if known:
            labelled = panel.counts.labelled.total()
            tasks, groups = len(catalogue.tasks), len({catalogue.group_of(t.name) for t in catalogue.tasks})
            parts = [
                wording.count(count, _("1 scan"), _("{count} scans")),
                _("{count} labelled").format(count=labelled),
                _("{tasks} in {groups}").format(
                    tasks=wording.count(tasks, _("1 task"), _("{count} tasks")),
                    groups=wording.count(groups, _("1 group"), _("{count} groups")),
                ),
            ]
            if panel.counts.problems:
                parts.append(_("{count} with a problem (see Health)").format(count=panel.counts.problems))
            ui.summaryLabel.text = " · ".join(parts)
        if not unpacked:
            ui.hintLabel.text = _("<b>Next:</b> install the packages, at the top of the panel.")
        elif not parameters.workspace:
            ui.hintLabel.text = _(
                "<b>Next:</b> choose an empty folder as your workspace. No data at hand? Choose "
                "<i>HSSL sample scans</i> in the module Sample Data."
            )
        elif not known and panel.workspace:
            ui.hintLabel.text = wording.literal(panel.catalogueProblem)
        elif not known:
            ui.hintLabel.text = _("<b>Next:</b> press <i>Create a workspace here</i>.")
        elif not count:
            ui.hintLabel.text = _("<b>Next:</b> add scans, with or without labels. Unlabelled ones help, too.")
        elif not labelled:
            ui.hintLabel.text = _("<b>Next:</b> pretrain on these scans, or add some labels: a few are enough.")
        else:
            ui.hintLabel.text = _("<b>Next:</b> check the tasks and groups, then open section 2 and pretrain.")

    def _updateForm(self, catalogue) -> None:
        ui, parameters = self.ui, self.panel.parameterNode
        choices.fill(
            ui.fromCombo,
            [("folder", _("Folder")), ("dicom", _("DICOM folder")), ("scene", _("Scene"))],
            parameters.addFrom,
        )
        scene, labels = parameters.addFrom == "scene", parameters.addFrom == "folder"
        self._updateOptions(scene)
        for widget in (ui.folderLabel, ui.folderEdit):
            widget.setVisible(not scene)
        for widget in (ui.labelsLabel, ui.labelsEdit):
            widget.setVisible(labels)
        for widget in (ui.volumeLabel, ui.volumeSelector, ui.segmentationLabel, ui.segmentationSelector):
            widget.setVisible(scene)
        for edit, path in ((ui.folderEdit, parameters.addFolder), (ui.labelsEdit, parameters.addLabelsFolder)):
            if edit.currentPath != path:
                edit.setCurrentPath(path)
        tasks = [t.name for t in catalogue.tasks] if catalogue is not None else []
        groups = [g.name for g in catalogue.groups] if catalogue is not None else []
        choices.fillTexts(ui.taskCombo, tasks, parameters.addTask)
        choices.fillTexts(ui.groupCombo, groups, parameters.addGroup)
        choices.fill(
            ui.modalityCombo, [(m, m or _("automatic")) for m in taskDialog.MODALITIES], parameters.addModality
        )
        self.panel.offer(
            ui.addButton, self._reasonNotToAdd(), _("Adds the scans to the workspace; the files stay where they are.")
        )

    def _updateOptions(self, scene: bool) -> None:
        """Shows the options that the folder needs, by what was seen of it, and those that are set."""
        ui, parameters = self.ui, self.panel.parameterNode
        every, anyShown = ui.allOptionsCheck.checked, False
        for option, name in addOptions.TYPED.items():
            shown = every or option in self.preview.needs or bool(getattr(parameters, name))
            if option == "structures" and self.preview.shownAsList():
                shown = False
            for widget in (f"{name}Label", f"{name}Edit", f"{name}Check"):
                if hasattr(ui, widget):
                    getattr(ui, widget).setVisible(shown and not scene)
            anyShown = anyShown or shown
        ui.moreWidget.setVisible(anyShown and not scene)
        self._alignLabels()
        ui.allOptionsCheck.setVisible(not scene)
        ui.previewHolder.setVisible(not scene)
        if self.panel.reasonBusy():
            return
        values = None
        ready = not scene and not ui.addGroup.collapsed and not self.panel.ui.datasetButton.collapsed
        if ready and not self.panel.reasonNotReady() and os.path.isdir(parameters.addFolder):
            with suppress(Refusal):  # it is told when the scans are added
                values = self._values()
        self.preview.want(values)

    def _alignLabels(self) -> None:
        """What is seen of the options begins where the fields above begin."""
        grids = (self.ui.addGroup.layout(), self.ui.moreWidget.layout())
        labels = [grid.itemAtPosition(row, 0) for grid in grids for row in range(grid.rowCount())]
        seen = [item.widget() for item in labels if item is not None]
        texts = [label for label in seen if isinstance(label, qt.QLabel) and not label.isHidden()]
        # Of a form that is collapsed, nothing is seen.
        widths = [label.fontMetrics().boundingRect(label.text).width() for label in texts]
        for grid in grids:
            grid.setColumnMinimumWidth(0, max(widths, default=0) + LABEL_MARGIN)

    def _values(self, **options) -> dict:
        """Returns the arguments of `logic.addFolder`, the workspace excepted."""
        parameters = self.panel.parameterNode
        labels = parameters.addLabelsFolder if parameters.addFrom == "folder" else ""
        return {
            "folder": parameters.addFolder,
            "task": parameters.addTask.strip(),
            "group": parameters.addGroup.strip(),
            "modality": parameters.addModality,
            "labelsFolder": labels or None,
            "options": addOptions.values(parameters) | options,
        }

    def onAllOptions(self, shown: bool) -> None:
        self.panel.refreshSoon()

    def _reasonNotToAdd(self) -> str:
        parameters = self.panel.parameterNode
        reason = self.panel.reasonNotReady() if parameters.addFrom != "scene" else ""
        if not reason and parameters.addFrom != "scene" and not os.path.isdir(parameters.addFolder):
            reason = _("Choose a folder that exists.")
        if not reason and parameters.addFrom == "scene" and parameters.addVolume is None:
            reason = _("Choose a volume of the scene.")
        if not reason and not parameters.addTask.strip():
            reason = _("Name the task: what is to be segmented in these scans?")
        return reason

    def _makeActions(self) -> None:
        menu = qt.QMenu(self.ui.actionsButton)
        self.taskAction = menu.addAction(_("Set the task of the chosen scans…"))
        self.editTaskAction = menu.addAction(_("Edit or delete their task…"))
        self.groupAction = menu.addAction(_("Set the group of their tasks…"))
        self.checkAction = menu.addAction(_("Check all scans"))
        self.suggestGroupsAction = menu.addAction(_("Suggest groups"))
        self.showAction = menu.addAction(_("Show in the views"))
        menu.addSeparator()
        self.checkLabelsAction = menu.addAction(_("Look for wrong labels of their task"))
        self.correctAction = menu.addAction(_("Correct the label"))
        self.keepAction = menu.addAction(_("Keep the correction"))
        self.confirmAction = menu.addAction(_("They are scans: use them"))
        self.approveAction = menu.addAction(_("Approve the labels"))
        self.flagAction = menu.addAction(_("Flag the labels…"))
        self.takeBackAction = menu.addAction(_("Take back what was said"))
        menu.addSeparator()
        self.removeAction = menu.addAction(_("Remove from the workspace"))
        self.taskAction.connect("triggered(bool)", self.onSetTask)
        self.editTaskAction.connect("triggered(bool)", self.onEditTask)
        self.groupAction.connect("triggered(bool)", self.onSetGroup)
        self.checkAction.connect("triggered(bool)", self.onCheck)
        self.suggestGroupsAction.connect("triggered(bool)", self.onSuggestGroups)
        self.showAction.connect("triggered(bool)", self.onShow)
        self.checkLabelsAction.connect("triggered(bool)", self.onCheckLabels)
        self.correctAction.connect("triggered(bool)", self.onCorrect)
        self.keepAction.connect("triggered(bool)", self.onKeep)
        self.confirmAction.connect("triggered(bool)", self.onConfirm)
        self.approveAction.connect("triggered(bool)", self.onApprove)
        self.flagAction.connect("triggered(bool)", self.onFlag)
        self.takeBackAction.connect("triggered(bool)", self.onTakeBack)
        self.removeAction.connect("triggered(bool)", self.onRemove)
        menu.connect("aboutToShow()", self.onActions)
        self.ui.actionsButton.setMenu(menu)

    def onActions(self) -> None:
        chosen = bool(self.selectedImages())
        ofChosen = (self.taskAction, self.editTaskAction, self.groupAction, self.showAction, self.removeAction)
        for action in (*ofChosen, self.correctAction, self.approveAction, self.flagAction, self.takeBackAction):
            action.setEnabled(chosen)
        self.keepAction.setEnabled(chosen and not self.labelNext.loop.reasonNotToKeep(self.selectedImages()[0]))
        doubtful = {i.id for i in self.panel.catalogue.images if i.doubt and not i.confirmed} if chosen else set()
        self.confirmAction.setEnabled(bool(doubtful & {*self.selectedImages()}))
        for action in (self.checkAction, self.suggestGroupsAction, self.checkLabelsAction):
            action.setEnabled(not self.panel.reasonNotReady())

    def onWorkspace(self, path: str) -> None:
        parameters = self.panel.parameterNode
        if parameters is None or parameters.workspace == path:
            return
        self.panel.forget()
        parameters.workspace = path
        # What was chosen was of another workspace: the best of this one is chosen anew.
        parameters.pretrainRun = parameters.fineTuneTask = parameters.fineTuneStart = parameters.model = ""
        parameters.labelNextTask = parameters.pretrainStart = ""
        if workspaceContents.isWorkspace(path):
            settings.setValue("lastWorkspace", path)

    def onCreate(self) -> None:
        path = self.panel.parameterNode.workspace
        with told(_("The workspace could not be created.")):
            self.panel.logic.createWorkspace(path)
            settings.setValue("lastWorkspace", path)
        self.panel.forget()
        self.panel.refresh()

    def onFrom(self, index: int) -> None:
        self.panel.parameterNode.addFrom = choices.value(self.ui.fromCombo)

    def onFolder(self, path: str) -> None:
        self.panel.parameterNode.addFolder = path

    def onLabels(self, path: str) -> None:
        self.panel.parameterNode.addLabelsFolder = path

    def onTask(self, text: str) -> None:
        self.panel.parameterNode.addTask = text

    def onGroup(self, text: str) -> None:
        self.panel.parameterNode.addGroup = text

    def onModality(self, index: int) -> None:
        self.panel.parameterNode.addModality = choices.value(self.ui.modalityCombo)

    def onAdd(self) -> None:
        parameters = self.panel.parameterNode
        task, group, modality = parameters.addTask.strip(), parameters.addGroup.strip(), parameters.addModality
        if parameters.addFrom == "scene":
            self._addFromScene(task, group, modality)
            return
        panel = self.panel
        self.preview.giveWay()
        panel.startJob(
            self.jobView,
            lambda: panel.logic.addFolder(
                panel.workspace, waitForCompletion=False, **self._values(**self.preview.choices())
            ),
        )

    def _addFromScene(self, task: str, group: str, modality: str) -> None:
        panel, parameters = self.panel, self.panel.parameterNode
        volume, segmentation = parameters.addVolume, parameters.addSegmentation
        known = next((t for t in panel.catalogue.tasks if t.name == task), None)
        text = _("{id} was added with its label.") if segmentation else _("{id} was added, without a label.")
        self._sayAdded("")
        owner = results.ownerOf(segmentation)
        if owner not in (None, volume) and not asking.isOf(segmentation, volume, owner):
            return
        with told(_("The volume could not be added.")):
            classes = classChoice.ask(segmentation, known, panel.widget)
            if classes is not None:
                case = SceneCase(volume, segmentation, classes)
                panel.adding.start([case], task, lambda ids: self._sayAdded(text.format(id=ids[0])), group, modality)
        panel.refresh()

    def _sayAdded(self, text: str) -> None:
        self.ui.addedLabel.text = text
        self.ui.addedLabel.setVisible(bool(text))

    def _select(self, ids: list[str]) -> None:
        selection, proxy = self.ui.imagesTable.selectionModel(), self.model.proxy
        for row in self.model.rowsOf(ids):
            index = proxy.mapFromSource(self.model.model.index(row, catalogueModel.IMAGE))
            selection.select(index, qt.QItemSelectionModel.Select | qt.QItemSelectionModel.Rows)

    def onFilter(self, text: str) -> None:
        self.model.filter(text)

    def onEdited(self, id: str, column: int, text: str) -> None:
        workspace, catalogue = self.panel.workspace, self.panel.catalogue
        with told(_("The change could not be saved.")):
            if column == catalogueModel.TASK and text:
                catalogueEdits.setTask(workspace, [id], text)
            elif column == catalogueModel.GROUP:
                catalogueEdits.setGroups(workspace, {catalogue.image(id).task: text})
        self._showAgain()

    def onSetTask(self) -> None:
        present = self.panel.catalogue.image(self.selectedImages()[0]).task
        name = asking.ask(self.widget, _("Task"), _("Task of the chosen scans:"), present)
        if name:
            with told(_("The change could not be saved.")):
                catalogueEdits.setTask(self.panel.workspace, self.selectedImages(), name)
            self._showAgain()

    def onEditTask(self) -> None:
        catalogue, panel = self.panel.catalogue, self.panel
        task = catalogue.task(catalogue.image(self.selectedImages()[0]).task)
        images = sum(image.task == task.name for image in catalogue.images)
        with told(_("The task could not be changed.")):
            if taskDialog.edit(panel.workspace, task, images, self.widget):
                self._showAgain()

    def onSetGroup(self) -> None:
        catalogue, ids = self.panel.catalogue, self.selectedImages()
        tasks = sorted({catalogue.image(id).task for id in ids})
        text = _("Group of {tasks}:").format(tasks=", ".join(tasks))
        name = asking.ask(self.widget, _("Group"), text, catalogue.task(tasks[0]).group)
        if name is not None:
            with told(_("The change could not be saved.")):
                catalogueEdits.setGroups(self.panel.workspace, dict.fromkeys(tasks, name))
            self._showAgain()

    def onSuggestGroups(self) -> None:
        panel = self.panel
        self._groupsOf = panel.workspace
        panel.startJob(self.jobView, lambda: panel.logic.suggestGroups(panel.workspace, waitForCompletion=False))

    def onCheck(self) -> None:
        panel = self.panel
        panel.startJob(self.jobView, lambda: panel.logic.checkImages(panel.workspace, waitForCompletion=False))

    def _told(self, job, event) -> None:
        if job.kind == "add" and job.state == "done":
            self.preview.done()
        if job.kind == "add" and job.state == "failed" and job.wayOut in addOptions.TYPED:
            # What the folder needs is asked for where it is told.
            self.preview.needs.add(job.wayOut)
            self.panel.refresh()
            edit = getattr(self.ui, f"{addOptions.TYPED[job.wayOut]}Edit", None)
            if edit is not None:
                edit.setFocus()
        if job.kind == "group" and job.state == "done":
            self._suggested(job)

    def _suggested(self, job) -> None:
        groups = job.result.groups
        lines = "\n".join(f"{task}: {group}" for task, group in groups.items())
        question = _("Put the tasks into these groups?\n\n{lines}").format(lines=lines)
        if slicer.util.confirmOkCancelDisplay(wording.literal(question), windowTitle=_("Suggested groups")):
            with told(_("The change could not be saved.")):
                catalogueEdits.setGroups(self._groupsOf, groups)
        self._showAgain()

    def onRemove(self) -> None:
        ids = self.selectedImages()
        question = wording.count(
            len(ids),
            _("Remove 1 scan from the workspace? Its files stay where they are."),
            _("Remove {count} scans from the workspace? Their files stay where they are."),
        )
        if ids and slicer.util.confirmOkCancelDisplay(question):
            with told(_("The change could not be saved.")):
                catalogueEdits.remove(self.panel.workspace, ids)
            self._showAgain()

    def onCheckLabels(self) -> None:
        panel, chosen = self.panel, self.selectedImages()
        if chosen:
            task = panel.catalogue.image(chosen[0]).task
            panel.startJob(self.jobView, lambda: panel.logic.checkLabels(panel.workspace, task))

    def onCorrect(self) -> None:
        """Opens the first of the chosen scans in the Segment Editor, with its label or with empty segments."""
        with told(_("The scan could not be opened."), waitCursor=True):
            labelling.open(self.panel.catalogue, self.selectedImages()[0])

    def onKeep(self) -> None:
        """What was drawn of the first of the chosen scans becomes its label."""
        self.labelNext.keeping.start(self.selectedImages()[0], self._showAgain)

    def onConfirm(self) -> None:
        with told(_("The change could not be saved.")):
            catalogueEdits.confirm(self.panel.workspace, self.selectedImages())
        self._showAgain()

    def onApprove(self) -> None:
        self._review("approved", None)

    def onFlag(self) -> None:
        remark = asking.ask(self.widget, _("Flag"), _("What is wrong with the labels?"))
        if remark is not None:
            self._review("flagged", remark)

    def onTakeBack(self) -> None:
        self._review("", "")

    def _review(self, status: str, remark: str | None) -> None:
        with told(_("The change could not be saved.")):
            self.panel.logic.review(self.panel.workspace, self.selectedImages(), status, remark)
        self._showAgain()

    def onShow(self) -> None:
        for id in self.selectedImages()[:1]:
            self._showImage(id)

    def onSelectionChanged(self, selected, deselected) -> None:
        parameters = self.panel.parameterNode
        if parameters is not None and parameters.fineTuneCases == "chosen":
            self.panel.refreshSoon()

    def onDoubleClicked(self, index) -> None:
        if index.column() in (catalogueModel.TASK, catalogueModel.GROUP) and self.ui.imagesTable.isPersistentEditorOpen(
            index
        ):
            return
        id = self.model.imageId(index)
        if id:
            self._showImage(id)

    def _showImage(self, id: str) -> None:
        with told(_("The scan could not be shown."), waitCursor=True):
            scenePictures.show(self.panel.catalogue, id)

    def _showAgain(self) -> None:
        self.panel.forget()
        self._shown = None
        self.panel.refresh()
