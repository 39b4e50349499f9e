"""Adds volumes of the scene to the workspace, one after the other, while the window stays responsive."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from ..scene import annotations
from ..scene import cases as sceneCases
from ..steps import atOnce, inSteps
from . import asking
from .telling import told


@dataclass(frozen=True)
class SceneCase:
    """A volume that is to be added.

    Attributes:
        volumeNode: the volume.
        segmentationNode: its label, None for none.
        classes: as for `HSSLSegmentationLogic.addVolume`.
    """

    volumeNode: Any
    segmentationNode: Any
    classes: dict[str, str]


class SceneAdding:
    """One addition at a time, wherever in the panel it is asked for.

    Attributes:
        text: what is being added, "" when nothing is.

    Args:
        panel: the panel.
    """

    def __init__(self, panel):
        self.panel = panel
        self.text = ""
        self._steps: Generator[None, None, None] | None = None
        self._whenAdded: Callable[[], None] = lambda: None
        self._known: dict[tuple, tuple[tuple, tuple, str]] = {}

    def start(
        self,
        cases: list[SceneCase],
        task: str,
        whenAdded: Callable[[list[str]], None],
        group: str = "",
        modality: str = "",
    ) -> None:
        """Adds volumes.

        Args:
            cases: the volumes, with their labels.
            task, group, modality: as for `HSSLSegmentationLogic.addVolume`.
            whenAdded: called at the end with the ids of the images, not when one cannot be added.
        """
        ids: list[str] = []
        self._steps = steps = self._added(self.panel.workspace, cases, task, group, modality, ids)
        self._whenAdded = lambda: whenAdded(ids)
        inSteps(steps, self._ended, self._failed, lambda: self._steps is steps)

    def finish(self) -> bool:
        """Does at once what is left to do, as when the application closes; returns whether that was something.

        Nobody is told.
        """
        steps, self._steps = self._steps, None
        isLeft, self.text = bool(self.text), ""
        if isLeft and steps is not None:
            with told(_("The volume could not be added.")):
                atOnce(steps)
                self.text = ""
                return True
        return False

    def sceneCloses(self) -> None:
        """Adds what is left while it is there, and forgets it."""
        if self.finish():
            qt.QTimer.singleShot(0, self._whenAdded)
        self._known.clear()

    def _added(
        self, workspace: str, cases: list[SceneCase], task: str, group: str, modality: str, ids: list[str]
    ) -> Generator[None, None, None]:
        for number, case in enumerate(cases, 1):
            self.text = _("{volume} is being added…").format(volume=case.volumeNode.GetName())
            if len(cases) > 1:
                self.text = _("{volume} is being added ({number} of {count})…").format(
                    volume=case.volumeNode.GetName(), number=number, count=len(cases)
                )
            self.panel.refreshSoon()
            yield
            if case.segmentationNode is not None:
                apart = yield from annotations.paintedApart(case.segmentationNode, case.volumeNode)
                # Nobody is asked while scene or application close.
                if self._steps is not None and not asking.isWhole(apart):
                    self._whenAdded = lambda: None
                    return
            key = (
                workspace,
                task,
                *(None if n is None else n.GetID() for n in (case.volumeNode, case.segmentationNode)),
            )
            image, label = sceneCases.stampOf(case.volumeNode, case.segmentationNode)
            known = self._known.get(key)
            if known is None or known[0] != image or not _isIn(workspace, known[2]):
                id = yield from sceneCases.addingVolume(
                    workspace, case.volumeNode, task, case.segmentationNode, group, modality, case.classes
                )
            else:
                # It was added as it is now, by this panel: it is no further scan.
                id = known[2]
                if known[1] != label:
                    yield from sceneCases.settingLabel(
                        workspace, id, case.volumeNode, case.segmentationNode, case.classes
                    )
            self._known[key] = (image, label, id)
            ids.append(id)

    def _ended(self) -> None:
        self.text, self._steps = "", None
        self.panel.forget()
        self._whenAdded()
        self.panel.refresh()

    def _failed(self, problem: Exception) -> None:
        self.text, self._steps = "", None
        self.panel.forget()
        with told(_("The volume could not be added.")):
            raise problem
        self.panel.refresh()


def _isIn(workspace: str, id: str) -> bool:
    from hssl.workspace.catalogue import Catalogue

    return any(image.id == id for image in Catalogue.load(workspace).images)
