"""What to label next: suggested scans of a task below the table, opened in the Segment Editor, their labels kept."""

from slicer.i18n import tr as _

import slicer

from .. import choices, colors
from ..refusal import Refusal
from ..scene import labelling
from ..workspace import contents as workspaceContents
from .labelCheck import LabelCheck
from .labelKeeping import LabelKeeping
from .labelLoop import LabelLoop
from .telling import told

SUGGESTED = 5
"""Scans at once."""


class LabelNext:
    """Part of the section Dataset.

    Args:
        panel: the panel.
        holder: the widget to lie in.
        jobView: shows the job.
    """

    def __init__(self, panel, holder, jobView):
        self.panel, self.jobView = panel, jobView
        self.widget = slicer.util.loadUI(panel.resourcePath("UI/LabelNext.ui"))
        self.ui = ui = slicer.util.childWidgetVariables(self.widget)
        holder.layout().addWidget(self.widget)
        self._rows: list = []
        ui.taskCombo.connect("currentIndexChanged(int)", self.onTask)
        ui.suggestButton.connect("clicked(bool)", self.onSuggest)
        ui.suggestionsList.connect("currentRowChanged(int)", self.onChosen)
        ui.suggestionsList.connect("itemDoubleClicked(QListWidgetItem*)", self.onOpen)
        ui.openButton.connect("clicked(bool)", self.onOpen)
        ui.keepButton.connect("clicked(bool)", self.onKeep)
        self.keeping = LabelKeeping(panel)
        self.loop = LabelLoop(panel, ui, jobView, self.task, self.keeping)
        self.check = LabelCheck(panel, ui, jobView, self.task, self.keeping)

    def release(self) -> None:
        """Lets go of what the loop holds, once a label that is being kept is kept."""
        self.keeping.finish()
        self.loop.release()
        self.check.release()

    def sceneCloses(self) -> None:
        """Forgets what is about to vanish, once a label that is being kept is kept."""
        self.keeping.finish()
        self.loop.sceneCloses()
        self.check.sceneCloses()

    def update(self) -> None:
        """Shows what was suggested last, without what has been labelled since."""
        panel, ui, catalogue = self.panel, self.ui, self.panel.catalogue
        tasks, waiting = [], []
        if catalogue is not None:
            # Also those whose scans are all labelled: their labels can be checked.
            tasks = [t.name for t in catalogue.tasks if panel.counts.waiting[t.name] or panel.counts.labelled[t.name]]
            waiting = [name for name in tasks if panel.counts.waiting[name]]
        self.widget.setVisible(bool(tasks))
        if not tasks:
            self._show([])
            return
        wanted = panel.parameterNode.labelNextTask or self.task()
        choices.fill(
            ui.taskCombo, [(name, name) for name in tasks], wanted if wanted in tasks else [*waiting, *tasks][0]
        )
        reason, tip = panel.reasonNotReady(), ""
        if not reason and not panel.counts.waiting[self.task()]:
            reason = _("Every scan of this task has a label.")
        if not reason:
            try:
                model = workspaceContents.modelToSuggestWith(panel.runs, self.task())
                tip = _(
                    "Ranks the scans without a label by what a label would teach: those of which {model} is unsure, "
                    "and those that stand for many unlike the labelled ones."
                ).format(model=model)
            except Refusal as error:
                reason = str(error)
        panel.offer(ui.suggestButton, reason, tip)
        self.loop.update()
        self.check.update()
        self._showKept(catalogue)

    def task(self) -> str:
        """Returns the chosen task."""
        return choices.value(self.ui.taskCombo)

    def chosen(self) -> str:
        """Returns the id of the chosen scan, or ""."""
        row = self.ui.suggestionsList.currentRow
        return self._rows[row].id if 0 <= row < len(self._rows) else ""

    def onTask(self, index: int) -> None:
        self.panel.parameterNode.labelNextTask = self.task()

    def onSuggest(self) -> None:
        panel, task = self.panel, self.task()
        panel.startJob(
            self.jobView,
            lambda: panel.logic.suggest(panel.workspace, task, count=SUGGESTED, waitForCompletion=False),
        )

    def onChosen(self, row: int) -> None:
        self._updateButtons()

    def onOpen(self, *_item) -> None:
        with told(_("The scan could not be opened."), waitCursor=True):
            labelling.open(self.panel.catalogue, self.chosen())
        self._updateButtons()

    def onKeep(self) -> None:
        self.keeping.start(self.chosen(), lambda: None)

    def _showKept(self, catalogue) -> None:
        from hssl.errors import InputError
        from hssl.workspace.suggestions import open_suggestions

        problem, rows = "", []
        try:
            rows = open_suggestions(catalogue, self.task())
        except InputError as error:
            problem = str(error)
        self.ui.problemLabel.styleSheet = colors.PROBLEM_STYLE
        self.ui.problemLabel.text = problem
        self.ui.problemLabel.setVisible(bool(problem))
        self._show(rows)

    def _show(self, rows: list) -> None:
        if rows != self._rows:
            self._rows = rows
            self.ui.suggestionsList.clear()
            for row in rows:
                self.ui.suggestionsList.addItem(_text(row))
            self.ui.suggestionsList.setCurrentRow(0)
        self.ui.listHolder.setVisible(bool(rows))
        self._updateButtons()

    def _updateButtons(self) -> None:
        id = self.chosen()
        self.panel.offer(
            self.ui.openButton,
            "" if id else _("Choose a scan."),
            _("Opens the scan in the Segment Editor, with a segment for each class of the task."),
        )
        reason = self.loop.reasonNotToKeep(id) if id else _("Choose a scan.")
        self.panel.offer(self.ui.keepButton, reason, _("Writes the segments into the workspace as the scan's label."))


def _text(row) -> str:
    text = f"{row.rank}.  {row.id}"
    if row.uncertainty is not None:
        text += "  ·  " + _("{percent:.0f} % unsure").format(percent=100 * row.uncertainty)
    if row.novelty is not None:
        text += "  ·  " + _("{distance:.2f} from the nearest").format(distance=row.novelty)
    return text
