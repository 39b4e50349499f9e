"""The list of slices that count as complete, where they can be visited and switched off."""

from collections.abc import Generator

import qt
from slicer.i18n import tr as _

from .. import wording
from ..scene import annotations
from ..scene import segmentations as sceneSegmentations
from ..scene import slices as sceneSlices
from ..scene import volumes as sceneVolumes
from ..scene.annotatedSlices import Plane
from ..scene.volumes import SceneVolumeError
from ..steps import inSteps

AXIS, INDEX = qt.Qt.UserRole, qt.Qt.UserRole + 1
"""What a line knows of its slice."""
MOST_LISTED = 6
"""Lines that the list is high at most."""


class SliceList:
    """Fills the list and the line above it.

    Args:
        listWidget: the list.
        label: says what it lists.
    """

    def __init__(self, listWidget, label):
        self._list, self._label = listWidget, label
        self._stamp: tuple | None = None

    def show(self, segmentationNode, volumeNode, scribblesOnly: bool) -> None:
        """Lists the slices of the segments that are learned from, as soon as they are known; None for a node lists nothing."""
        if segmentationNode is None or volumeNode is None:
            self._stamp = None
            self._fill([], scribblesOnly)
            return
        segments = learnedSegments(segmentationNode)
        stamp = (
            segmentationNode.GetID(), volumeNode.GetID(), scribblesOnly, tuple(segments),
            sceneVolumes.worldMatrix(volumeNode).tobytes(), sceneSegmentations.gridShape(volumeNode),
            annotations.stampOf(segmentationNode, segments),
        )  # fmt: skip
        if self._stamp == stamp:
            return
        self._stamp = stamp
        inSteps(
            self._filled(segmentationNode, segments, volumeNode, scribblesOnly),
            lambda: None,
            lambda problem: self._notFilled(problem, scribblesOnly),
            lambda: self._stamp is stamp and bool(self._list),  # false once Slicer has deleted it
        )

    def _filled(
        self, segmentationNode, segments: dict[str, int], volumeNode, scribblesOnly: bool
    ) -> Generator[None, None, None]:
        known = yield from annotations.knownOf(segmentationNode, segments, volumeNode)
        complete, off = annotations.completeSlices(known, segments, scribblesOnly)
        segmentation = segmentationNode.GetSegmentation()
        present = {i: segmentation.GetSegment(i) for i in segments}
        names = {segments[i]: segment.GetName() for i, segment in present.items() if segment is not None}
        lines = []
        for planes, isOn in (complete, True), (off, False):
            for plane, values in planes.items():
                who = ", ".join(names[value] for value in values if value in names) if len(names) > 1 else ""
                lines.append((plane, isOn, sceneSlices.name(plane, volumeNode) + (f"   {who}" if who else "")))
        self._fill(sorted(lines, key=lambda line: (line[0], not line[1])), scribblesOnly)

    def _notFilled(self, problem: Exception, scribblesOnly: bool) -> None:
        if not isinstance(problem, SceneVolumeError):
            raise problem
        self._fill([], scribblesOnly)

    @staticmethod
    def planeOf(item) -> Plane:
        """Returns the slice that a line of the list stands for."""
        return int(item.data(AXIS)), int(item.data(INDEX))

    def _fill(self, lines: list[tuple[Plane, bool, str]], scribblesOnly: bool) -> None:
        listWidget = self._list
        wasBlocked = listWidget.blockSignals(True)
        listWidget.clear()
        for plane, isOn, text in lines:
            item = qt.QListWidgetItem(text)
            item.setData(AXIS, plane[0])
            item.setData(INDEX, plane[1])
            item.setCheckState(qt.Qt.Checked if isOn else qt.Qt.Unchecked)
            item.setToolTip(wording.literal(text))
            listWidget.addItem(item)
        listWidget.blockSignals(wasBlocked)
        listWidget.setVisible(bool(lines))
        height = listWidget.fontMetrics().height() + 6
        listWidget.setFixedHeight(min(len(lines), MOST_LISTED) * height + 6)
        on = sum(1 for line in lines if line[1])
        if not lines:
            text = ""
        elif scribblesOnly:
            text = _("Complete as you have marked them ({count}):").format(count=on)
        else:
            text = _("Complete slices ({count}); visible segments take part:").format(count=on)
        self._label.text = text
        self._label.setVisible(bool(text))


def learnedSegments(segmentationNode) -> dict[str, int]:
    """Returns the labels of the segments that take part, by id."""
    return {i: n for n, i in enumerate(sceneSegmentations.segmentsUnderWork(segmentationNode), 1)}
