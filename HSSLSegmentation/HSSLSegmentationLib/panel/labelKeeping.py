"""Keeps what was drawn of a scan as its label, while the window stays responsive."""

from collections.abc import Callable, Generator

from slicer.i18n import tr as _

import slicer

from ..refusal import Refusal
from ..scene import annotations, labelling, results
from ..scene import pictures as scenePictures
from . import asking, classChoice
from .telling import told
from .work import Work


class LabelKeeping(Work):
    """One label at a time.

    Args:
        panel: the panel.
    """

    def __init__(self, panel):
        Work.__init__(self, panel, _("The label could not be kept."))

    def reasonNotTo(self, id: str) -> str:
        """Returns why what is drawn of a scan cannot be kept as its label now, or ""."""
        return self.text or labelling.reasonNotToKeep(self.panel.catalogue, id)

    def start(self, id: str, whenKept: Callable[[], None]) -> None:
        """Asks which class each segment is, where that is not known, and keeps what is drawn.

        Args:
            id: the scan's.
            whenKept: called at the end, not when it fails.
        """
        catalogue = self.panel.catalogue

        def kept() -> None:
            slicer.util.showStatusMessage(_("The label of {id} is kept.").format(id=id), 5000)
            whenKept()

        with told(self._failure):
            # A button does not know that a node was removed or cloned since.
            reason = labelling.reasonNotToKeep(catalogue, id)
            if reason:
                raise Refusal(reason)
            volumeNode = scenePictures.shown(catalogue, id)
            if results.of(volumeNode, results.PREVIEW) is not None:
                raise Refusal(_("A preview is shown, which is not in the segments: apply it or discard it first."))
            drawn = labelling.drawn(volumeNode)
            if scenePictures.isOutdated(drawn, catalogue, id) and not asking.replaces(catalogue.image(id)):
                return
            classes = classChoice.ask(drawn, catalogue.task(catalogue.image(id).task), self.panel.widget)
            if classes is not None:
                text = _("The label of {id} is being kept.").format(id=id)
                self._begin(text, self._keeping(catalogue, id, drawn, classes), kept)

    def _keeping(self, catalogue, id: str, drawn, classes: dict[str, str]) -> Generator[None, None, bool]:
        apart = yield from annotations.paintedApart(drawn, scenePictures.shown(catalogue, id))
        if self._mayAsk() and not asking.isWhole(apart):
            return False
        yield from labelling.keeping(catalogue, id, classes)
        return True
