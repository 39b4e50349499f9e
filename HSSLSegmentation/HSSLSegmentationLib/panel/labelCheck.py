"""Are the labels right, and do more of them still help: the doubtful ones with both outlines, and the curve of Dice."""

import html
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

import slicer

from .. import colors, wording
from ..jobs.job import Job
from ..scene import labelling, results
from ..scene import pictures as scenePictures
from ..scene.comparison import FIRST, SECOND, Comparison
from ..workspace import contents as workspaceContents
from .labelKeeping import LabelKeeping
from .telling import told

if TYPE_CHECKING:
    from hssl.results import DoubtfulLabel

FOLDS, FEWEST = 5, 3
"""Parts of the labels that are looked at one after the other; patients with a label that are needed."""
SHOWN = 20
"""Doubtful labels at once."""


class LabelCheck:
    """Part of *What to label next*.

    Args:
        panel: the panel.
        ui: the widgets.
        jobView: shows the jobs.
        task: returns the chosen task.
        keeping: keeps labels.
    """

    def __init__(self, panel, ui, jobView, task, keeping: LabelKeeping):
        self.panel, self.ui, self.jobView, self._task = panel, ui, jobView, task
        self._keeping = keeping
        self._rows: list[DoubtfulLabel] = []
        self._shown: tuple = ()
        self._comparison: Comparison | None = None
        self._job: Job | None = None
        self._compared: Any = None
        ui.checkButton.connect("clicked(bool)", self.onCheck)
        ui.curveButton.connect("clicked(bool)", self.onCurve)
        ui.compareButton.connect("clicked(bool)", self.onCompare)
        ui.endCompareButton.connect("clicked(bool)", self.onEnd)
        ui.keepCorrectionButton.connect("clicked(bool)", self.onKeep)
        ui.doubtsList.connect("currentRowChanged(int)", self.onChosen)
        ui.doubtsList.connect("itemDoubleClicked(QListWidgetItem*)", self.onCompare)

    def release(self) -> None:
        """Ends the comparison."""
        self._forgetJob()
        self.onEnd()

    def sceneCloses(self) -> None:
        """Forgets the nodes, which are about to vanish."""
        self._comparison = None
        self._forgetJob()

    def update(self) -> None:
        """Shows what the last check and the last curve of the task have found."""
        panel, ui, task = self.panel, self.ui, self._task()
        reason = panel.reasonNotReady()
        if not reason and self._patients() < FEWEST:
            reason = _("It takes labelled scans of three patients at least.")
        panel.offer(
            ui.checkButton,
            reason,
            _("Trains on a part of the labels and looks which of the others disagree most, part by part."),
        )
        panel.offer(
            ui.curveButton,
            reason,
            _("Trains on 1, 2, 4, … of the labels and tests on the others: do more labels still help?"),
        )
        check = panel.found(workspaceContents.latestCheck, task)
        curve = panel.found(workspaceContents.latestCurve, task)
        text = wording.learningCurve(curve) if curve is not None and curve.verdict is not None else ""
        ui.curveLabel.text = text
        ui.curveLabel.setVisible(bool(text))
        self._fill([] if check is None else check.rows)
        ui.doubtsHolder.setVisible(bool(self._rows))
        ui.endCompareButton.setVisible(self._comparison is not None)
        ui.legendLabel.setVisible(self._comparison is not None)
        panel.offer(
            ui.compareButton,
            panel.reasonNotReady(),
            _("Opens the scan with its label, and with what a network that has not seen it would draw."),
        )
        self._offerToKeep()

    def _offerToKeep(self) -> None:
        row = self._chosen()
        reason = _("Choose a label.") if row is None else self._keeping.reasonNotTo(row.id)
        self.panel.offer(
            self.ui.keepCorrectionButton,
            reason,
            _("Writes the segments into the workspace as the scan's label. The file of the present one stays."),
        )

    def _chosen(self) -> "DoubtfulLabel | None":
        number = self.ui.doubtsList.currentRow
        return self._rows[number] if 0 <= number < len(self._rows) else None

    def _fill(self, rows: "list[DoubtfulLabel]") -> None:
        known = {image.id: image for image in self.panel.catalogue.images}
        rows = [row for row in rows if row.id in known][:SHOWN]
        shown = tuple((row.id, row.dice, known[row.id].review) for row in rows)
        if shown == self._shown:
            return
        self._rows, self._shown = rows, shown
        self.ui.doubtsList.clear()
        for id, dice, review in shown:
            said = f"  ·  {wording.status(review)}" if review in ("approved", "flagged") else ""
            self.ui.doubtsList.addItem(f"{dice:.2f}   {id}{said}")
        if rows:
            self.ui.doubtsList.setCurrentRow(0)

    def onCheck(self) -> None:
        panel, task = self.panel, self._task()
        folds = min(FOLDS, self._patients())
        panel.startJob(self.jobView, lambda: panel.logic.checkLabels(panel.workspace, task, folds=folds))

    def _patients(self) -> int:
        catalogue = self.panel.catalogue
        return len({catalogue.patient_of(image) for image in catalogue.usable(self._task(), labelled=True)})

    def onCurve(self) -> None:
        panel, task = self.panel, self._task()
        panel.startJob(self.jobView, lambda: panel.logic.learningCurve(panel.workspace, task))

    def onCompare(self, *_item) -> None:
        """Opens the chosen case with its label; the network's outline comes when it is there."""
        panel, row = self.panel, self._chosen()
        if row is None or panel.reasonBusy():
            return
        self.onEnd()
        with told(_("The scan could not be opened."), waitCursor=True):
            labelling.open(panel.catalogue, row.id)
            volumeNode = scenePictures.shown(panel.catalogue, row.id)
            job = panel.startJob(
                self.jobView, lambda: panel.logic.segment(volumeNode, row.run, waitForCompletion=False)
            )
            self._compared = row
            if job is not None:
                self._job = job
                job.addObserver(self._told)
        panel.refresh()

    def onChosen(self, row: int) -> None:
        if self.panel.catalogue is not None:
            self._offerToKeep()

    def onKeep(self) -> None:
        """The label that was corrected takes the place of the one that is in doubt."""
        row = self._chosen()
        if row is not None:
            self._keeping.start(row.id, lambda: None)

    def onEnd(self) -> None:
        """Shows the label alone again."""
        if self._comparison is not None:
            self._comparison.end()
            self._comparison = None
            self.panel.refreshSoon()

    def _told(self, job: Job, event) -> None:
        if job.isRunning() or job is not self._job:
            return
        self._job = None
        if job.state != "done" or job.segmentationNode is None:
            return
        job.writer.release()
        label = labelling.drawn(job.volumeNode)
        if label is None:
            return
        network = job.segmentationNode
        network.SetName(_("{name} by a network that has not seen it").format(name=job.volumeNode.GetName()))
        network.SetSaveWithScene(False)
        # It goes with the comparison: nobody's result is to lie in it.
        network.RemoveNodeReferenceIDs(results.SEGMENTATION)
        with slicer.util.tryWithErrorDisplay(_("The outlines could not be compared.")):
            self._comparison = Comparison(job.volumeNode, label, network)
        dice = ", ".join(
            f"{html.escape(name)} {value:.2f}" for name, value in self._compared.classes.items() if value is not None
        )
        self.ui.legendLabel.text = _(
            "{first} the label &nbsp; {second} a network that has not seen it<br>Dice: {dice}"
        ).format(first=colors.square(FIRST), second=colors.square(SECOND), dice=dice)
        self.panel.refreshSoon()

    def _forgetJob(self) -> None:
        if self._job is not None:
            self._job.removeObserver(self._told)
            self._job = None
