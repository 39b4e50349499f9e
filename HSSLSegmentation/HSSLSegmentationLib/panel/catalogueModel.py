"""The catalogue as a Qt item model: a row for each image, problems with their reason, task and group editable."""

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from .. import colors, wording

IMAGE, TASK, GROUP, LABEL, HEALTH, MODALITY, SIZE, SPACING = range(8)


class CatalogueModel:
    """Holds the model of the table and the proxy that sorts and filters it.

    Qt's own item model is used rather than a Python one: sorting and filtering thousands of rows then stay in C++.

    Args:
        edited: called with the image's id, the column (TASK or GROUP) and the new text when the user has edited a cell.
    """

    def __init__(self, edited: Callable[[str, int, str], None]):
        self._edited = edited
        self._filling = False
        self.model = qt.QStandardItemModel()
        self.model.setHorizontalHeaderLabels(
            [_("Image"), _("Task"), _("Group"), _("Status"), _("Health"), _("Modality"), _("Size"), _("Spacing (mm)")]
        )
        self.proxy = qt.QSortFilterProxyModel()
        self.proxy.setSourceModel(self.model)
        self.proxy.setFilterKeyColumn(-1)
        self.proxy.setFilterCaseSensitivity(qt.Qt.CaseInsensitive)
        self.proxy.setSortCaseSensitivity(qt.Qt.CaseInsensitive)
        self.proxy.setSortRole(qt.Qt.UserRole + 1)
        self.model.connect("itemChanged(QStandardItem*)", self._itemChanged)

    def show(self, catalogue) -> None:
        """Shows the images of the catalogue and the files that were refused; None empties the table."""
        self._filling = True
        try:
            self.model.setRowCount(0)
            if catalogue is None:
                return
            groups = {task.name: task.group for task in catalogue.tasks}
            modalities = {task.name: task.modality for task in catalogue.tasks}
            for image in catalogue.images:
                self.model.appendRow(self._row(image, groups[image.task], image.modality or modalities[image.task]))
            for refused in catalogue.refused:
                self.model.appendRow(self._refusedRow(refused))
        finally:
            self._filling = False

    def filter(self, text: str) -> None:
        """Shows only rows that hold the text in some cell."""
        self.proxy.setFilterFixedString(text)

    def imageId(self, proxyIndex) -> str:
        """Returns the id of the image in a row of the table; "" for a file that was refused."""
        row = self.proxy.mapToSource(proxyIndex).row()
        return self.model.item(row, IMAGE).data(qt.Qt.UserRole)

    def rowsOf(self, ids: list[str]) -> list[int]:
        """Returns the rows of these images in the model."""
        wanted = set(ids)
        rows = range(self.model.rowCount()) if wanted else ()
        return [row for row in rows if self.model.item(row, IMAGE).data(qt.Qt.UserRole) in wanted]

    def release(self) -> None:
        """Ends the connection to Qt."""
        self.model.disconnect("itemChanged(QStandardItem*)", self._itemChanged)

    def _row(self, image, group: str, modality: str) -> list:
        from hssl.workspace.review import status_of

        if image.label_problem is not None:
            label, labelTip = _("problem"), image.label_problem
        else:
            label, labelTip = wording.status(status_of(image)), image.label or ""
        labelTip = "\n".join(text for text in (image.remark, labelTip) if text)
        doubt = None if image.confirmed else image.doubt
        health = image.problem or doubt or image.label_problem or _("good")
        size = " × ".join(map(str, image.size)) if image.size else ""
        spacing = " × ".join(f"{value:.3g}" for value in image.spacing) if image.spacing else ""
        voxels = image.size[0] * image.size[1] * image.size[2] if image.size else 0
        cells = [
            self._cell(image.id, tip=image.image),
            self._cell(image.task, editable=True),
            self._cell(group, editable=True),
            self._cell(label, tip=labelTip),
            self._cell(health, tip=health, bad=health != _("good")),
            self._cell(modality),
            self._cell(size, sort=voxels),
            self._cell(spacing, sort=image.spacing[2] if image.spacing else 0.0),
        ]
        cells[IMAGE].setData(image.id, qt.Qt.UserRole)
        return cells

    def _refusedRow(self, refused) -> list:
        cells = [self._cell("") for _column in range(8)]
        cells[IMAGE] = self._cell(refused.path.replace("\\", "/").rsplit("/", 1)[-1], tip=refused.path, bad=True)
        cells[IMAGE].setData("", qt.Qt.UserRole)
        cells[TASK] = self._cell(refused.task)
        cells[HEALTH] = self._cell(refused.reason, tip=refused.reason, bad=True)
        return cells

    @staticmethod
    def _cell(text: str, tip: str = "", sort=None, editable: bool = False, bad: bool = False):
        item = qt.QStandardItem(text)
        item.setEditable(editable)
        item.setData(text if sort is None else sort, qt.Qt.UserRole + 1)
        if tip:
            item.setToolTip(wording.literal(tip))
        if bad:
            item.setForeground(qt.QBrush(qt.QColor(colors.PROBLEM)))
        return item

    def _itemChanged(self, item) -> None:
        if self._filling or item.column() not in (TASK, GROUP):
            return
        id = self.model.item(item.row(), IMAGE).data(qt.Qt.UserRole)
        if id:
            self._edited(id, item.column(), item.text().strip())
