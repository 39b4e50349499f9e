"""A task of the workspace as its user may want it: its name, its modality, its structures, or the task deleted."""

import qt
from slicer.i18n import tr as _

import slicer

from .. import choices, wording
from ..scene import segmentations as sceneSegmentations
from ..scene.segmentations import SegmentClass
from ..workspace import edits as catalogueEdits

MODALITIES = ("", "CT", "MR", "PET", "US", "other")
"""What can be chosen; "" is what the files say, or unknown."""


class TaskDialog(qt.QDialog):
    """The structures are segments of a node of its own, so that Slicer's own table edits name, colour and terminology.

    Args:
        task: the task (`hssl.workspace.catalogue.Task`).
        images: number of its scans.
        parent: the widget that the dialog belongs to.
    """

    def __init__(self, task, images: int, parent):
        qt.QDialog.__init__(self, parent)
        self._task, self._images = task, images
        self.deleted = False
        self.setWindowTitle(_("Task {name}").format(name=task.name))
        layout = qt.QVBoxLayout(self)
        form = qt.QFormLayout()
        layout.addLayout(form)
        self.nameEdit = qt.QLineEdit(task.name)
        form.addRow(_("Name:"), self.nameEdit)
        self.modalityCombo = qt.QComboBox()
        self.modalityCombo.toolTip = _("The kind of scanner. The values of CT are taken as Hounsfield units.")
        known = "" if task.modality == "unknown" else task.modality
        names = dict.fromkeys([*MODALITIES, known])
        choices.fill(self.modalityCombo, [(name, name or _("unknown")) for name in names], known)
        form.addRow(_("Modality:"), self.modalityCombo)
        self._node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentationNode")
        self._node.UnRegister(None)
        self._node.SetName(_("Structures of {name}").format(name=task.name))
        self._node.SetSaveWithScene(False)
        slicer.mrmlScene.AddNode(self._node)
        # The table wants a display node, and the subject hierarchy to know the node.
        self._node.CreateDefaultDisplayNodes()
        self._values = {}
        for c in task.classes:
            segment = SegmentClass(c.value, c.name, c.color, c.terminology)
            self._values[sceneSegmentations.addSegment(segment, self._node)] = c.value
        if task.classes:
            hint = qt.QLabel(_("Structures: double-click a name or a colour to change it."))
            hint.wordWrap = True
            layout.addWidget(hint)
            self.table = slicer.qMRMLSegmentsTableView()
            self.table.setMRMLScene(slicer.mrmlScene)
            self.table.setSegmentationNode(self._node)
            for column in ("visibilityColumnVisible", "opacityColumnVisible", "statusColumnVisible"):
                setattr(self.table, column, False)
            layout.addWidget(self.table)
        # Not in the constructor: PythonQt takes the flags for an orientation there, and there would be no buttons.
        buttons = qt.QDialogButtonBox()
        buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        self.deleteButton = buttons.addButton(_("Delete the task…"), qt.QDialogButtonBox.DestructiveRole)
        buttons.connect("accepted()", self.accept)
        buttons.connect("rejected()", self.reject)
        self.deleteButton.connect("clicked(bool)", self.onDelete)
        layout.addWidget(buttons)

    def onDelete(self) -> None:
        scans = wording.count(self._images, _("1 scan"), _("{count} scans"))
        question = _(
            "Delete the task {name}? It leaves the workspace with its {scans}; files, runs and models stay."
        ).format(name=self._task.name, scans=scans)
        if slicer.util.confirmOkCancelDisplay(wording.literal(question)):
            self.deleted = True
            self.accept()

    def classes(self) -> list[SegmentClass]:
        """Returns the structures as they are in the table."""
        return [sceneSegmentations.asClass(self._node, i, value) for i, value in self._values.items()]

    def release(self) -> None:
        """Takes the node out of the scene again."""
        if self._values and hasattr(self, "table"):
            self.table.setSegmentationNode(None)
        display = self._node.GetDisplayNode()
        # In this order: Slicer crashes when a segmentation goes whose display node has gone before.
        slicer.mrmlScene.RemoveNode(self._node)
        if slicer.mrmlScene.IsNodePresent(display):
            slicer.mrmlScene.RemoveNode(display)


def edit(workspace: str, task, images: int, parent) -> bool:
    """Shows the dialog and saves what was changed; returns whether anything was.

    Raises:
        HSSLError: it could not be saved; nothing was changed.
    """
    dialog = TaskDialog(task, images, parent)
    try:
        if dialog.exec_() != qt.QDialog.Accepted:
            return False
        if dialog.deleted:
            catalogueEdits.removeTask(workspace, task.name)
        else:
            modality = choices.value(dialog.modalityCombo) or "unknown"
            catalogueEdits.editTask(workspace, task.name, dialog.nameEdit.text.strip(), modality, dialog.classes())
        return True
    finally:
        dialog.release()
        dialog.deleteLater()
