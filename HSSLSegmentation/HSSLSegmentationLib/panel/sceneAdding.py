"""Adds volumes of the scene to the workspace, one after the other, while the window stays responsive."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from ..scene import annotations
from ..scene import cases as sceneCases
from ..scene import volumes as sceneVolumes
from . import asking
from .work import Work


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


class SceneAdding(Work):
    """One addition at a time.

    Attributes:
        outcome: how many volumes were added of an addition that came to no end, "" of any other.
        count, place: how many volumes are being added, and how far that is.
        isStopping: whether it ends after the present volume.

    Args:
        panel: the panel.
    """

    def __init__(self, panel):
        Work.__init__(self, panel, _("The volume could not be added."))
        self.outcome = ""
        self.count = self.place = 0
        self.isStopping = False
        self._whenAdded: Callable[[], None] = lambda: None
        self._known: dict[tuple, tuple[tuple, str]] = {}

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
            whenAdded: called at the end with the ids of the images, not when one cannot be added or it was stopped.
        """
        ids: list[str] = []
        self._whenAdded = lambda: whenAdded(ids)
        self.outcome, self.count, self.place, self.isStopping = "", len(cases), 0, False
        steps = self._adding(self.panel.workspace, cases, task, group, modality, ids)
        self._begin(_("Looking at the volumes…"), steps, self._whenAdded)

    def stop(self) -> None:
        """Ends after the volume that is being added; what was added stays."""
        if self.text and not self.isStopping:
            self.isStopping, self.text = True, _("It is stopped after this volume…")
            self.panel.refresh()

    def sceneCloses(self) -> None:
        """Adds what is left while it is there, and forgets it."""
        if self.finish():
            qt.QTimer.singleShot(0, self._whenAdded)
        self._known.clear()

    def release(self) -> None:
        """Ends what is under way, as when the application closes: the present volume is added."""
        self.isStopping = True
        self.finish()

    def hasAdded(self, volumeNode, segmentationNode, task: str) -> bool:
        """Tells whether this panel has added a volume as it is now, with the label as it is now."""
        return self._added(self.panel.workspace, volumeNode, segmentationNode, task) == (True, True)

    def _adding(
        self, workspace: str, cases: list[SceneCase], task: str, group: str, modality: str, ids: list[str]
    ) -> Generator[None, None, bool]:
        try:
            if not (yield from self._areLabels(workspace, cases, task)):
                return False
            for case in cases:
                if self.isStopping:
                    return False
                self._say(_("{volume} is being added"), case)
                yield
                ids.append((yield from self._entered(workspace, case, task, group, modality)))
                self.place = len(ids)
        finally:
            if 1 < len(cases) > len(ids):
                self.outcome = _("Added {place} of {count} volumes.").format(place=len(ids), count=len(cases))
        return True

    def _areLabels(self, workspace: str, cases: list[SceneCase], task: str) -> Generator[None, None, bool]:
        """Asks, before anything is written, whether labels with gaps are whole, and results that nobody has corrected right."""
        apart: dict[str, int] = {}
        uncorrected: list[str] = []
        for self.place, case in enumerate(cases):
            nodes = case.volumeNode, case.segmentationNode
            if case.segmentationNode is None or self._added(workspace, *nodes, task) == (True, True):
                continue
            self._say(_("The label of {volume} is being looked at"), case)
            yield
            found = yield from annotations.paintedApart(case.segmentationNode, case.volumeNode)
            of = case.segmentationNode.GetName()
            apart |= found if len(cases) == 1 else {f"{of}: {name}": count for name, count in found.items()}
            if (yield from annotations.isUncorrected(case.segmentationNode, case.volumeNode)):
                uncorrected.append(of)
            if self.isStopping:
                return False
        self.place = 0
        return not self._mayAsk() or (asking.isWhole(apart) and asking.areRight(uncorrected))

    def _entered(
        self, workspace: str, case: SceneCase, task: str, group: str, modality: str
    ) -> Generator[None, None, str]:
        volumeNode, segmentationNode = case.volumeNode, case.segmentationNode
        gone = _("{name} was removed from the scene meanwhile.")
        for node in filter(None, (volumeNode, segmentationNode)):
            sceneVolumes.requireInScene(node, gone.format(name=node.GetName()))
        isImage, isLabel = self._added(workspace, volumeNode, segmentationNode, task)
        key = _key(workspace, task, volumeNode, segmentationNode)
        stamp = sceneCases.stampOf(volumeNode, segmentationNode)
        if not isImage:
            id = yield from sceneCases.addingVolume(
                workspace, volumeNode, task, segmentationNode, group, modality, case.classes
            )
        else:
            # It was added as it is now, by this panel: it is no further scan.
            id = self._known[key][1]
            if not isLabel:
                yield from sceneCases.settingLabel(workspace, id, volumeNode, segmentationNode, case.classes)
        self._known[key] = (stamp, id)
        return id

    def _added(self, workspace: str, volumeNode, segmentationNode, task: str) -> tuple[bool, bool]:
        """Tells whether a volume and its label are in the workspace as they are now, since this panel has added them."""
        known = self._known.get(_key(workspace, task, volumeNode, segmentationNode))
        if known is None or not _isIn(workspace, known[1]):
            return False, False
        image, label = sceneCases.stampOf(volumeNode, segmentationNode)
        return known[0][0] == image, known[0] == (image, label)

    def _say(self, what: str, case: SceneCase) -> None:
        text = what.format(volume=case.volumeNode.GetName())
        if self.count > 1:
            text += " " + _("({number} of {count})").format(number=self.place + 1, count=self.count)
        if not self.isStopping:
            self.text = f"{text}…"
        self.panel.refreshSoon()


def _key(workspace: str, task: str, *nodes) -> tuple:
    return (workspace, task, *(None if node is None else node.GetID() for node in nodes))


def _isIn(workspace: str, id: str) -> bool:
    from hssl.workspace.catalogue import Catalogue

    return any(image.id == id for image in Catalogue.load(workspace).images)
