"""Keeps what was drawn of a scan as its label, while the window stays responsive."""

from collections.abc import Callable, Generator

from slicer.i18n import tr as _

import slicer

from ..refusal import Refusal
from ..scene import annotations, labelling, results
from ..scene import pictures as scenePictures
from ..steps import atOnce, inSteps
from . import asking, classChoice
from .telling import told


class LabelKeeping:
    """One label at a time, wherever in the panel it is asked for.

    Attributes:
        id: of the scan whose label is being kept, "" when none is.

    Args:
        panel: the panel.
    """

    def __init__(self, panel):
        self.panel = panel
        self.id = ""
        self._steps: Generator[None, None, None] | None = None

    def reasonNotTo(self, id: str) -> str:
        """Returns why what is drawn of a scan cannot be kept as its label now, or ""."""
        if self.id:
            return _("The label of {id} is being kept.").format(id=self.id)
        return labelling.reasonNotToKeep(self.panel.catalogue, id)

    def start(self, id: str, whenKept: Callable[[], None]) -> None:
        """Asks which class each segment is, where that is not known, and keeps what is drawn.

        Args:
            id: the scan's.
            whenKept: called at the end, not when it fails.
        """
        catalogue = self.panel.catalogue
        with told(_("The label could not be kept.")):
            volumeNode = scenePictures.shown(catalogue, id)
            if results.of(volumeNode, results.PREVIEW) is not None:
                raise Refusal(_("A preview is shown, which is not in the segments: apply it or discard it first."))
            drawn = labelling.drawn(volumeNode)
            classes = classChoice.ask(drawn, catalogue.task(catalogue.image(id).task), self.panel.widget)
            if classes is None:
                return
            self.id, self._steps = id, (steps := self._keeping(catalogue, id, drawn, classes))
            inSteps(steps, lambda: self._kept(id, whenKept), self._failed, lambda: self._steps is steps)
        self.panel.refresh()

    def _keeping(self, catalogue, id: str, drawn, classes: dict[str, str]) -> Generator[None, None, None]:
        apart = yield from annotations.paintedApart(drawn, scenePictures.shown(catalogue, id))
        # Nobody is asked while scene or application close.
        if self.id and not asking.isWhole(apart):
            self.id = ""
            return
        yield from labelling.keeping(catalogue, id, classes)

    def finish(self) -> None:
        """Does at once what is left to do, such as when scene or application close."""
        if self.id:
            self.id, steps, self._steps = "", self._steps, None
            assert steps is not None
            with told(_("The label could not be kept.")):
                atOnce(steps)

    def _kept(self, id: str, whenKept: Callable[[], None]) -> None:
        isKept, self.id = bool(self.id), ""
        self.panel.forget()
        if isKept:
            slicer.util.showStatusMessage(_("The label of {id} is kept.").format(id=id), 5000)
            whenKept()
        self.panel.refresh()

    def _failed(self, problem: Exception) -> None:
        self.id = ""
        with told(_("The label could not be kept.")):
            raise problem
        self.panel.refresh()
