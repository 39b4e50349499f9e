"""Brings the effect's widgets to what the effect is now; nothing that acts."""

import html

from slicer.i18n import tr as _

import slicer

from .. import choices, colors, wording
from ..scene import segmentations as sceneSegmentations
from ..scene import slices as sceneSlices
from ..scene import volumes as sceneVolumes
from . import models as effectModels
from .parameters import ALL, AUTO, LARGEST, LEARN, PREDICT, EffectParameters
from .previewNode import Proposal

MANY_SLICES = 40
"""More complete slices than anybody paints: a finished structure takes part by mistake."""


def reasonNotToStart(volumeNode, segmentationNode, parameters: EffectParameters) -> str:
    """Returns what is missing for a round, "" when it can start."""
    if not effectModels.canWork():
        return _("install the Python packages that HSSL needs.")
    if segmentationNode is None:
        return _("choose a segmentation above.")
    reason = sceneVolumes.reasonNotUsable(volumeNode)
    if reason:
        return reason
    reason = sceneSegmentations.reasonNotWritable(segmentationNode, volumeNode)
    if reason:
        return reason
    if parameters.mode() == PREDICT and not parameters.model():
        return _("choose a model: fine-tune one in the module HSSL Segmentation, or pick a file.")
    if parameters.mode() == LEARN and not segmentationNode.GetSegmentation().GetNumberOfSegments():
        return _("add a segment above and paint it on a few slices.")
    if parameters.mode() == LEARN and not sceneSegmentations.segmentsUnderWork(segmentationNode):
        return _("show a segment above that is not completed: hidden and completed ones take no part.")
    return ""


def showChoices(options, parameters: EffectParameters, volumeNode, session, reason: str) -> None:
    """Shows what is chosen, and which of the choices can be made now."""
    learning = parameters.mode() == LEARN
    busy = session is not None and session.busy
    for button, checked in ((options.learnButton, learning), (options.predictButton, not learning)):
        _set(button, "checked", checked)
        button.enabled = not busy
    options.modelLabel.text = _("Start from:") if learning else _("Model:")
    choices.fill(options.modelCombo, parameters.models(), parameters.model())
    options.modelCombo.enabled = not busy
    decides = _("as painted") if learning else _("as the model decides")
    few = _("painted ones only") if learning else _("the largest only")
    pieces = [(AUTO, decides), (LARGEST, few), (ALL, _("all"))]
    choices.fill(options.piecesCombo, pieces, parameters.pieces())
    options.piecesCombo.toolTip = (
        _(
            "Removes stray islands, which hold nothing that you painted. As painted: of those structures that are one piece on "
            "the slices that you paint."
        )
        if learning
        else _(
            "Removes stray islands. As the model decides: of those structures that are one piece in the labels that it "
            "learned from."
        )
    )
    layoutManager = slicer.app.layoutManager()  # None in an application without a main window
    views = [] if layoutManager is None else [(name, name) for name in layoutManager.sliceViewNames()]
    choices.fill(options.viewCombo, views, choices.value(options.viewCombo) or "Red")
    options.installButton.setVisible(not effectModels.canWork())
    options.alignButton.setVisible(learning and _isOblique(volumeNode))
    options.completeButton.enabled = bool(views) and not reason
    options.learnFrame.setVisible(learning)
    options.learnFrame.enabled = not (busy and session.phase == "apply")
    isNanBackground = sceneVolumes.isNanBackground(volumeNode)
    isRefused = session is not None and session.wayOut == "nan_is_background"
    options.nanCheck.setVisible(isNanBackground or isRefused)
    options.nanCheck.enabled = not busy
    _set(options.nanCheck, "checked", isNanBackground)
    options.fastCheck.setVisible(not learning)
    options.fastCheck.enabled = not busy
    _set(options.fastCheck, "checked", parameters.isFast())
    _set(options.scribblesCheck, "checked", parameters.scribblesOnly())
    _set(options.liveCheck, "checked", parameters.isLive())
    _set(options.protectCheck, "checked", parameters.isProtecting())
    _set(options.opacitySlider, "value", parameters.opacity())


def showProgress(options, parameters: EffectParameters, session, reason: str, problem: str, done: str) -> None:
    """Shows how the round goes, or how the last one went."""
    busy = session is not None and session.busy
    options.startButton.text = _("Learn and preview") if parameters.mode() == LEARN else _("Predict and preview")
    options.startButton.enabled = not reason and not busy
    options.startButton.toolTip = wording.literal(reason or _("Shows a preview; the segments change only with Apply."))
    options.cancelButton.setVisible(busy and session.phase != "apply")
    options.cancelButton.enabled = busy and not session.isCancelling
    options.progressBar.setVisible(busy)
    if busy and session.phase == "start":
        options.progressBar.setRange(0, 0)
        options.progressBar.setFormat("")
    elif busy:
        options.progressBar.setRange(0, 1000)
        options.progressBar.value = round(1000 * session.progress)
        options.progressBar.setFormat(f"{wording.phase(session.phase)} %p%")
    if busy and session.isCancelling:
        text = _("Cancelling…")
    else:
        text = problem or (_("Starting…") if busy and session.phase == "start" else done)
    options.statusLabel.text = text
    options.statusLabel.setStyleSheet(colors.PROBLEM_STYLE if problem else "")
    options.statusLabel.setVisible(bool(text))


def hint(parameters: EffectParameters, session, hasPreview: bool, reason: str) -> str:
    """Returns what to do next."""
    if session is not None and session.busy:
        if session.phase == "apply":
            return _("Writing the preview into the segments.")
        return _("Working. You can go on looking and painting meanwhile; what you paint stays.")
    if hasPreview and parameters.mode() == LEARN:
        return _(
            "<b>Next:</b> look at the preview. Where it is wrong, paint that slice right in the segments and learn "
            "again; or apply it and correct it."
        )
    if hasPreview:
        return _(
            "<b>Next:</b> look at the preview, then apply or discard it. Choose Paint or Erase to correct it: it is applied "
            "then."
        )
    if reason:
        return _("<b>Next:</b> {reason}").format(reason=html.escape(reason))
    if parameters.mode() == LEARN:
        return _(
            "<b>Next:</b> paint 3 to 5 slices of each structure, spread over its length, then press Learn and preview."
        )
    return _("<b>Next:</b> press Predict and preview.")


def summary(proposal: Proposal, session, seconds: float) -> str:
    """Returns what a round has brought, and what the user should know of it."""
    segmentation = session.segmentationNode.GetSegmentation()
    parts = []
    for segmentClass, segmentId in zip(proposal.classes, proposal.segmentIds, strict=True):
        segment = segmentation.GetSegment(segmentId) if segmentId else None
        if segment is None:
            parts.append(_("{name} (a new segment)").format(name=segmentClass.name))
        elif segment.GetName() != segmentClass.name:
            parts.append(_("{name} (into {segment})").format(name=segmentClass.name, segment=segment.GetName()))
        else:
            parts.append(segmentClass.name)
    lines = [_("Ready after {seconds:.1f} s.").format(seconds=seconds) + " " + ", ".join(parts)]
    if proposal.isEmpty:
        lines.append(_("Nothing was found."))
    if session.notice:
        lines.append(session.notice)
    annotation = session.annotation
    if annotation is not None and len(annotation.planes) > MANY_SLICES:
        lines.append(
            _(
                "{count} slices are many. Hide or complete the segments that are finished, or check Scribbles only."
            ).format(count=len(annotation.planes))
        )
    return "\n".join(lines)


def _isOblique(volumeNode) -> bool:
    return not sceneVolumes.reasonNotUsable(volumeNode) and bool(sceneSlices.obliqueViews(volumeNode))


def _set(widget, name: str, value) -> None:
    wasBlocked = widget.blockSignals(True)
    setattr(widget, name, value)
    widget.blockSignals(wasBlocked)
