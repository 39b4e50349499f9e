"""Labelling one scan after the other: the next one opens with a draft of the best model, is corrected, kept, or skipped."""

from typing import Any

import qt
from slicer.i18n import tr as _

import slicer

from ..effect import registration as effectRegistration
from ..effect.draft import Draft
from ..refusal import Refusal
from ..scene import labelling
from ..scene import pictures as scenePictures
from ..workspace import contents as workspaceContents
from . import asking
from .labelKeeping import LabelKeeping
from .telling import told

SHORTCUTS = {"nextButton": "Alt+N", "keepNextButton": "Alt+K", "skipButton": "Alt+S"}
"""They work in every module: the drawing happens in the Segment Editor."""


class LabelLoop:
    """Part of *What to label next*.

    Attributes:
        current: id of the scan that is being labelled, "" when none is.

    Args:
        panel: the panel.
        ui: the widgets.
        jobView: shows the fine-tuning.
        task: returns the chosen task.
        keeping: keeps labels.
    """

    def __init__(self, panel, ui, jobView, task, keeping: LabelKeeping):
        self.panel, self.ui, self.jobView, self._task = panel, ui, jobView, task
        self.current = ""
        self._keeping = keeping
        self._unreadable: dict[str, str] = {}
        self._draft: Draft | None = None
        self._said = ""
        self._saidOf: tuple[Any, str] = (None, "")
        self._shortcuts: list = []
        for name, slot in (
            ("nextButton", self.onNext),
            ("keepNextButton", self.onKeepAndNext),
            ("skipButton", self.onSkip),
            ("impossibleButton", self.onImpossible),
            ("discardButton", self.onDiscard),
            ("tuneButton", self.onTune),
        ):
            getattr(ui, name).connect("clicked(bool)", slot)
        window = slicer.util.mainWindow()
        for name, keys in SHORTCUTS.items() if window is not None else ():
            shortcut = qt.QShortcut(qt.QKeySequence(keys), window)
            shortcut.connect("activated()", getattr(ui, name).click)
            self._shortcuts.append(shortcut)

    def release(self) -> None:
        """Lets go of the draft and of the keys."""
        if self._draft is not None:
            self._draft.onChange = lambda: None
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []

    def sceneCloses(self) -> None:
        """Forgets the scan, which is about to vanish."""
        self.current = ""

    def update(self) -> None:
        """Shows how far the labelling is, and what can be done."""
        from hssl.workspace.review import progress

        panel, ui, catalogue = self.panel, self.ui, self.panel.catalogue
        if catalogue is None or not self._task():
            return
        if catalogue.workspace != self._saidOf[0]:
            self.current, self._unreadable = "", {}
        if self.current and self.current not in {image.id for image in catalogue.images}:
            self.current = ""
        if (catalogue.workspace, self._task()) != self._saidOf:
            self._said, self._saidOf = "", (catalogue.workspace, self._task())
        labelled, images = progress(catalogue, self._task())
        ui.loopLabel.text = " ".join(
            text
            for text in (
                _("{labelled} of {images} labelled.").format(labelled=labelled, images=images),
                self.current and _("Now: {id}.").format(id=self.current),
                self._said,
            )
            if text
        )
        reason = "" if panel.counts.waiting[self._task()] else _("Every scan of this task has a label.")
        self._offer(
            "nextButton", reason, _("Opens the next scan in the Segment Editor, with a draft where there is a model.")
        )
        reason = "" if self.current else _("Open the next scan first.")
        drawn = reason or self.reasonNotToKeep(self.current)
        self._offer(
            "keepNextButton",
            drawn,
            _("Keeps the segments as the scan's label, closes the scan, and opens the next one."),
        )
        self._offer("skipButton", reason, _("Leaves the scan for the end."))
        self._offer("impossibleButton", reason, _("The scan cannot be labelled; it is not offered again."))
        ui.discardButton.setVisible(self._draft is not None and self._draft.isOpen())
        ui.discardButton.toolTip = _("Takes the draft away; the segments stay as they are.")
        reason = panel.reasonNotReady()
        if not reason and not panel.counts.labelled[self._task()]:
            reason = _("No scan of this task has a label yet.")
        panel.offer(
            ui.tuneButton,
            reason,
            _("Fine-tunes on all labels so far, from the last model of the task, while you go on labelling."),
        )

    def reasonNotToKeep(self, id: str) -> str:
        """Returns why what is drawn of a scan is not kept as its label now, or ""."""
        if id == self.current and self._draft is not None and self._draft.state == "shown":
            return _("Apply or discard the draft first.")
        return self._keeping.reasonNotTo(id)

    def onNext(self) -> None:
        """Opens the next scan; one that cannot be opened is left out, with its reason, and the one after it opened."""
        from hssl.errors import HSSLError
        from hssl.workspace.review import next_image

        panel, before = self.panel, self.current
        self._takeBackEmptyDraft()
        panel.forget()
        self._said = ""
        with told(_("The next scan could not be opened.")):
            while True:
                left = {*self._unreadable, self.current}
                id = next_image(panel.catalogue, self._task(), left)
                if id is None:
                    self._said = " ".join([_("That was the last one."), *self._unreadable.values()])
                    self._unreadable = {}  # with the next click they are tried again
                    break
                try:
                    labelling.open(panel.catalogue, id)
                except (HSSLError, Refusal) as error:
                    self._said = _("{id} was left out: {reason}").format(id=id, reason=error)
                    self._unreadable[id] = self._said
                    continue
                self.current = id
                if before:
                    self._closeSoon(panel.catalogue, before, ifEmpty=True)
                self._startDraft()
                break
        slicer.util.showStatusMessage(self._said or _("Now: {id}.").format(id=self.current), 5000)
        panel.refresh()

    def onKeepAndNext(self) -> None:
        """Keeps what is drawn as the label, goes on, and closes what was kept."""
        catalogue, kept = self.panel.catalogue, self.current

        def goOn() -> None:
            if self.current == kept:  # else somebody has gone on already
                self.onNext()
            if self.current != kept:
                self._closeSoon(catalogue, kept)

        self._keeping.start(kept, goOn)

    @staticmethod
    def _closeSoon(catalogue, id: str, ifEmpty: bool = False) -> None:
        """Closes a scan when the editor has gone on to the next one; a hundred open scans are more than a computer holds.

        Args:
            ifEmpty: only where nothing is drawn on it.
        """

        def close() -> None:
            volumeNode = scenePictures.shown(catalogue, id)
            drawn = None if volumeNode is None else labelling.drawn(volumeNode)
            if not ifEmpty or drawn is None or labelling.isEmpty(drawn):
                scenePictures.close(catalogue, id)

        qt.QTimer.singleShot(0, close)

    def onSkip(self) -> None:
        """Leaves the scan for the end, and goes on."""
        self._say("skipped", None)

    def onImpossible(self) -> None:
        """Says, with a remark, that the scan cannot be labelled, and goes on."""
        question = _("Why can {id} not be labelled?").format(id=self.current)
        remark = asking.ask(self.panel.widget, _("Cannot be labelled"), question)
        if remark is not None:
            self._say("impossible", remark)

    def onDiscard(self) -> None:
        """Takes the draft away."""
        if self._draft is not None and self._draft.isOpen():
            self._draft.discard()

    def onTune(self) -> None:
        """Fine-tunes on all labels so far, in the background."""
        panel, task = self.panel, self._task()
        start = workspaceContents.bestModel(panel.runs, panel.modelFiles, task) or workspaceContents.BEST
        minutes = panel.parameterNode.fineTuneMinutes or None
        panel.startJob(
            self.jobView, lambda: panel.logic.fineTune(panel.workspace, task, start=str(start), minutes=minutes)
        )

    def _say(self, review: str, remark: str | None) -> None:
        with told(_("The change could not be saved.")):
            self.panel.logic.review(self.panel.workspace, [self.current], review, remark)
            self.onNext()

    def _startDraft(self) -> None:
        panel, id = self.panel, self.current
        self._draft = None
        model = workspaceContents.bestModel(panel.runs, panel.modelFiles, self._task())
        if model is None or not labelling.isEmpty(labelling.drawn(scenePictures.shown(panel.catalogue, id))):
            return
        self._said = _("A draft by {model} is being made…").format(model=model.stem)
        catalogue = panel.catalogue
        self._draft = effectRegistration.activate().startDraft(str(model), lambda: self._draftTold(catalogue, id))
        self._draftTold(catalogue, id)

    def _draftTold(self, catalogue, id: str) -> None:
        draft, panel = self._draft, self.panel
        present = panel.catalogue
        # Another workspace can have been chosen meanwhile, or the scan taken out of it.
        if draft is None or present is None or present.workspace != catalogue.workspace:
            return
        image = next((image for image in present.images if image.id == id), None)
        if image is None:
            return
        if draft.state == "shown":
            self._said = _("This is a draft: apply it, or paint on it, or discard it.")
        elif draft.state == "applied":
            self._said = _("The draft is in the segments: correct it, and keep it.")
            self._review(id, "draft")
        elif draft.state == "failed":
            self._said = _("There is no draft: {reason}").format(reason=draft.reason)
        elif draft.state == "discarded":
            self._said = _("The draft was discarded.")
            if image.review == "draft":
                self._review(id, "")
        panel.forget()
        panel.refreshSoon()

    def _takeBackEmptyDraft(self) -> None:
        """A draft that was undone is none: nothing of it waits to be corrected."""
        catalogue = self.panel.catalogue
        image = next((i for i in catalogue.images if i.id == self.current), None)
        if image is None or image.review != "draft":
            return
        volumeNode = scenePictures.shown(catalogue, image.id)
        drawn = None if volumeNode is None else labelling.drawn(volumeNode)
        if drawn is None or labelling.isEmpty(drawn):
            self._review(image.id, "")

    def _review(self, id: str, review: str) -> None:
        with told(_("The change could not be saved.")):
            self.panel.logic.review(self.panel.workspace, [id], review)

    def _offer(self, name: str, reason: str, tip: str) -> None:
        keys = SHORTCUTS.get(name)
        self.panel.offer(getattr(self.ui, name), reason, f"{tip} ({keys})" if keys else tip)
