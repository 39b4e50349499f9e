"""Two segmentations of one volume as outlines in two colours, at the slice on which they differ most."""

import numpy

import slicer

from . import segmentations as sceneSegmentations
from . import slices as sceneSlices

FIRST, SECOND = (0.18, 0.80, 0.34), (0.95, 0.25, 0.75)
"""Colours of the outlines, green and pink: apart from each other also for those who do not tell red from green."""


class Comparison:
    """Shown from its making until `end`; the segments' own colours are not touched.

    Args:
        volumeNode: what both were drawn on.
        first, second: segmentation nodes; the second one is removed at the end.
    """

    def __init__(self, volumeNode, first, second):
        self.first, self._second = first, second
        display = _display(first)
        self._fill = {i: display.GetSegmentOpacity2DFill(i) for i in _ids(first)}
        self._hidden = {i for i in _ids(first) if not display.GetSegmentVisibility(i)}
        _outline(first, FIRST)
        _outline(second, SECOND)
        place = _differs(volumeNode, first, second)
        if place is not None:
            sceneSlices.goTo(place, volumeNode)

    def end(self) -> None:
        """Shows the first segmentation as it was, and removes the second one."""
        if slicer.mrmlScene.IsNodePresent(self.first):
            for segmentId in _ids(self.first):
                _display(self.first).UnsetSegmentOverrideColor(segmentId)
                _display(self.first).SetSegmentOpacity2DFill(segmentId, self._fill.get(segmentId, 1.0))
                _display(self.first).SetSegmentVisibility(segmentId, segmentId not in self._hidden)
        if slicer.mrmlScene.IsNodePresent(self._second):
            slicer.mrmlScene.RemoveNode(self._second)


def _ids(segmentationNode) -> tuple:
    return segmentationNode.GetSegmentation().GetSegmentIDs()


def _display(segmentationNode):
    segmentationNode.CreateDefaultDisplayNodes()
    return segmentationNode.GetDisplayNode()


def _outline(segmentationNode, color: tuple[float, float, float]) -> None:
    display = _display(segmentationNode)
    display.SetVisibility(True)
    for segmentId in _ids(segmentationNode):
        display.SetSegmentVisibility(segmentId, True)
        display.SetSegmentOverrideColor(segmentId, *color)
        display.SetSegmentOpacity2DFill(segmentId, 0.0)


def _differs(volumeNode, first, second) -> tuple[int, int, int] | None:
    """Returns the middle (k, j, i) of the difference on the slice with most of it; None where they are alike."""
    parts = [_parts(node, volumeNode) for node in (first, second)]
    box = sceneSegmentations.around([part for own in parts for part in own.values()])
    names = sorted({name for own in parts for name in own})
    labels = []
    for own in parts:
        found = numpy.zeros([s.stop - s.start for s in box], numpy.uint8)
        for number, name in enumerate(names, 1):
            if name in own:
                found[own[name].within(box)] = number
        labels.append(found)
    apart = labels[0] != labels[1]
    if not apart.any():
        return None
    k = int(apart.sum((1, 2)).argmax())
    j, i = (int(value) for value in numpy.argwhere(apart[k]).mean(0).round())
    return k + box[0].start, j + box[1].start, i + box[2].start


def _parts(segmentationNode, volumeNode) -> dict:
    segmentation = segmentationNode.GetSegmentation()
    parts = {
        segmentation.GetSegment(i).GetName().casefold(): sceneSegmentations.segmentPart(segmentationNode, i, volumeNode)
        for i in _ids(segmentationNode)
    }
    return {name: part for name, part in parts.items() if part.values.size}
