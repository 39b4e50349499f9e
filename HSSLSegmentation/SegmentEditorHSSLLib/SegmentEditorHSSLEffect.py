"""Segment Editor effect "HSSL": learns a volume from a few painted slices, or predicts it with a trained model."""

import logging
import time
from pathlib import Path

import qt
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

import slicer
from HSSLSegmentationLib.jobs.process import QtProcess

NAME = "HSSL"
LEARN, PREDICT = "learn", "predict"
NOT_CHOSEN = "?"
MANY_SLICES = 40
"""More complete slices than anybody paints: a finished structure takes part by mistake."""


class SegmentEditorHSSLEffect(AbstractScriptedSegmentEditorEffect, VTKObservationMixin):
    """What Slicer calls. The worker and the preview live while this effect or another editing tool is active, so that
    corrections can be painted between rounds; they end with the tool "None", another volume or another segmentation,
    a closed scene, and when the Segment Editor is left.

    Attributes:
        makeProcess: makes the worker's process; a test can give its own.
        session: the InteractiveSession, None as long as there is nothing to learn from or to predict.
    """

    makeProcess = QtProcess

    def __init__(self, scriptedEffect):
        scriptedEffect.name = NAME  # not translated: it is the effect's identity
        scriptedEffect.title = _("HSSL")
        scriptedEffect.perSegment = False
        scriptedEffect.requireSegments = False
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        VTKObservationMixin.__init__(self)
        self.options = None
        self.session = None
        self.preview = None
        self._marked = []
        self._markedOn = None
        self._problem = ""
        self._done = ""
        self._began = 0.0
        self._offered = None

    # What Slicer asks --------------------------------------------------------------------------------------------

    def clone(self):
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        copy = effects.qSlicerSegmentEditorScriptedEffect(None)
        copy.setPythonSource(Path(__file__).as_posix())
        return copy

    def icon(self):
        return qt.QIcon(str(Path(__file__).parent.parent / "Resources" / "Icons" / "SegmentEditorHSSLEffect.png"))

    def helpText(self):
        return _(
            "<html>Paint a few slices of one or several structures, in any orientation, and let HSSL fill the rest; "
            "or predict with a model that was fine-tuned in the module HSSL Segmentation.<br>"
            "<b>Learn:</b> the <b>visible</b> segments take part; hide those that are finished. A slice on which "
            "something is painted counts as complete (what is not painted there is background), unless <i>Scribbles "
            "only</i> is checked. Look at the preview, go to the most uncertain slice, paint that slice too, come back and "
            "learn again. After Apply, a slice that is corrected in any way counts as complete in the next round.<br>"
            "<b>Apply</b> writes the preview into the segments; masking, overwrite mode and undo hold.</html>"
        )

    def setMRMLDefaults(self):
        effect = self.scriptedEffect
        effect.setParameterDefault("Mode", LEARN)
        effect.setParameterDefault("LearnModel", NOT_CHOSEN)
        effect.setParameterDefault("PredictModel", NOT_CHOSEN)
        effect.setParameterDefault("ScribblesOnly", 0)
        effect.setParameterDefault("Opacity", 0.5)

    def setupOptionsFrame(self):
        from HSSLSegmentationLib.effect.options import EffectOptions

        self.options = options = EffectOptions()
        self.scriptedEffect.addOptionsWidget(options.widget)
        options.learnButton.connect("toggled(bool)", self.onMode)
        options.modelCombo.connect("activated(int)", self.onModel)
        options.completeButton.connect("clicked(bool)", self.onComplete)
        options.scribblesCheck.connect("toggled(bool)", self.onScribbles)
        options.startButton.connect("clicked(bool)", self.onStart)
        options.cancelButton.connect("clicked(bool)", self.onCancel)
        options.opacitySlider.connect("valueChanged(double)", self.onOpacity)
        options.nextButton.connect("clicked(bool)", self.onNext)
        options.applyButton.connect("clicked(bool)", self.onApply)
        options.discardButton.connect("clicked(bool)", self.onDiscard)

    def createCursor(self, widget):
        return qt.QCursor(qt.Qt.ArrowCursor)

    def activate(self):
        self._offered = None
        self.updateGUIFromMRML()
        # Once the tool is on the screen: the worker takes seconds to start, which the first round need not wait for.
        qt.QTimer.singleShot(0, self._prepare)

    def deactivate(self):
        # Which tool comes next is known only afterwards: with another one, corrections are being painted.
        qt.QTimer.singleShot(0, self._endUnlessEditing)

    def sourceVolumeNodeChanged(self):
        self._endIfStale()

    def referenceGeometryChanged(self):
        self._endIfStale()

    def cleanup(self):
        self.endSession()
        self.removeObservers()

    def updateGUIFromMRML(self):
        if self.options is None or self.scriptedEffect.parameterSetNode() is None:
            return
        self._endIfStale()
        self._show()

    def updateMRMLFromGUI(self):
        effect, options = self.scriptedEffect, self.options
        effect.setParameter("Mode", LEARN if options.learnButton.checked else PREDICT)
        effect.setParameter("ScribblesOnly", int(options.scribblesCheck.checked))
        effect.setParameter("Opacity", float(options.opacitySlider.value))

    # What the user does ------------------------------------------------------------------------------------------

    def onMode(self, checked):
        self._problem = self._done = ""
        self._offered = None
        self.updateMRMLFromGUI()

    def onScribbles(self, checked):
        self.updateMRMLFromGUI()

    def onOpacity(self, value):
        self.updateMRMLFromGUI()
        if self.preview is not None:
            self.preview.setOpacity(value)

    def onModel(self, index):
        from HSSLSegmentationLib.effect import models as effectModels
        from HSSLSegmentationLib.panel import choices

        chosen = choices.value(self.options.modelCombo)
        if chosen == effectModels.OTHER_FILE:
            chosen = qt.QFileDialog.getOpenFileName(
                slicer.util.mainWindow(), _("Model file"), "", _("HSSL models (*.zip)")
            )
            if not chosen:
                self._show()
                return
        self._offered = None
        self.scriptedEffect.setParameter(self._modelParameter(), chosen)
        self._show()

    def onComplete(self):
        from HSSLSegmentationLib.scene import slices as sceneSlices

        def mark():
            self._forgetForeignMarks()
            view = slicer.app.layoutManager().sliceWidget(self.options.viewCombo.currentText)
            plane = sceneSlices.shownPlane(view.mrmlSliceNode(), self._volume())
            if plane in self._marked:
                self._marked.remove(plane)
            else:
                self._marked.append(plane)

        self._try(mark)

    def onStart(self):
        self._try(self._start)

    def onCancel(self):
        if self.session is not None:
            self.session.cancel()

    def onNext(self):
        from HSSLSegmentationLib.scene import slices as sceneSlices

        sceneSlices.goTo(self.session.proposal.place, self.session.volumeNode)

    def onApply(self):
        self._try(self._apply)

    def onDiscard(self):
        self.session.discard()
        self._removePreview()
        self._done = ""
        self._show()

    # A round -----------------------------------------------------------------------------------------------------

    def _prepare(self):
        node = self.scriptedEffect.parameterSetNode()
        isActive = node is not None and node.GetActiveEffectName() == NAME
        if isActive and self.session is None and self._mode() == LEARN and not self._reasonNotToStart():
            self._try(lambda: self._withSession(lambda session: session.prepare(self._model())))

    def _start(self):
        def start(session):
            if self._mode() == LEARN:
                self._forgetForeignMarks()
                session.learn(self._model(), self._scribblesOnly(), self._marked)
            else:
                session.predict(self._model())

        self._done = ""
        self._removePreview()
        self._began = time.monotonic()
        self._withSession(start)

    def _withSession(self, action):
        """Has something done by the session, or by a new one, which does not outlive a failure of its first action."""
        from HSSLSegmentationLib.effect.session import InteractiveSession

        isNew = self.session is None
        if isNew:
            self.session = InteractiveSession(self._volume(), self._segmentation(), self.makeProcess, self._changed)
            for subject, event, method in self._observed():
                self.addObserver(subject, event, method)
        try:
            action(self.session)
        except Exception:
            if isNew:
                self.endSession()
            raise

    def _changed(self):
        from HSSLSegmentationLib.effect.previewNode import PreviewNode

        session = self.session
        if session is None:
            return
        if session.problem:
            self._problem = session.problem
        if session.dead:
            self.endSession()
        elif session.proposal is not None and self.preview is None:
            opacity = self.scriptedEffect.doubleParameter("Opacity")
            self.preview = PreviewNode(session.proposal, session.volumeNode, opacity)
            self._done = self._summary(session.proposal)
        self._show()

    def _summary(self, proposal):
        from HSSLSegmentationLib.scene import slices as sceneSlices

        seconds = _("Ready after {seconds:.1f} s.").format(seconds=time.monotonic() - self._began)
        segmentation = self._segmentation().GetSegmentation()
        parts = []
        for segmentClass, segmentId in zip(proposal.classes, proposal.segmentIds, strict=True):
            if not segmentId:
                parts.append(_("{name} (a new segment)").format(name=segmentClass.name))
            elif segmentation.GetSegment(segmentId).GetName() != segmentClass.name:
                segmentName = segmentation.GetSegment(segmentId).GetName()
                parts.append(_("{name} (into {segment})").format(name=segmentClass.name, segment=segmentName))
            else:
                parts.append(segmentClass.name)
        lines = [seconds + " " + ", ".join(parts)]
        planes = self.session.planes
        if planes:
            lines.append(_("Complete slices: {slices}.").format(slices=sceneSlices.names(planes, self._volume())))
        if len(planes) > MANY_SLICES:
            lines.append(
                _("These are many. Hide the segments that are finished, or check Scribbles only, and learn again.")
            )
        return "\n".join(lines)

    def _apply(self):
        from HSSLSegmentationLib.scene import segmentations as sceneSegmentations

        session, effect = self.session, self.scriptedEffect
        proposal, segmentationNode = session.proposal, session.segmentationNode
        toNode = sceneSegmentations.matrixInNode(session.volumeNode, segmentationNode)
        if segmentationNode.GetSegmentation().GetNumberOfSegments() == 0:
            segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(session.volumeNode)
        effect.saveStateForUndo()
        for segmentClass, segmentId in zip(proposal.classes, proposal.segmentIds, strict=True):
            segmentId = segmentId or sceneSegmentations.addSegment(segmentClass, segmentationNode)
            inside = (proposal.labels == segmentClass.value).astype("uint8")
            labelmap = sceneSegmentations.orientedImage(inside, toNode)
            labelmap = sceneSegmentations.onReferenceGrid(labelmap, effect.referenceGeometryImage())
            modeSet = slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeSet
            effect.modifySegmentByLabelmap(segmentationNode, segmentId, labelmap, modeSet)
        session.applied()
        self._removePreview()
        self._done = _("Applied. Ctrl+Z takes it back; what you correct now is learned from in the next round.")

    def _removePreview(self):
        if self.preview is not None:
            self.preview.remove()
            self.preview = None

    # The end of a session ----------------------------------------------------------------------------------------

    def endSession(self):
        """Ends the worker and removes the preview."""
        session, self.session = self.session, None
        if session is not None:
            session.end()
            self.removeObservers()
        self._removePreview()

    def _observed(self):
        scene = slicer.mrmlScene
        return (
            (scene, scene.StartCloseEvent, self._sceneCloses),
            (scene, scene.NodeRemovedEvent, self._nodeWent),
            (self.scriptedEffect.parameterSetNode(), vtk.vtkCommand.ModifiedEvent, self._editorChanged),
        )

    def _endUnlessEditing(self):
        node = self.scriptedEffect.parameterSetNode()
        if node is None or not node.GetActiveEffectName():
            self.endSession()
            self._done = self._problem = ""

    def _endIfStale(self):
        session = self.session
        if session is not None and not session.isAbout(self._volume(), self._segmentation()):
            self.endSession()
            self._problem = ""
            self._done = _("The volume or the segmentation has changed: the next round starts afresh.")
            self._show()

    def _sceneCloses(self, caller, event):
        self._done = self._problem = ""
        self.endSession()

    def _nodeWent(self, caller, event):
        self._endIfStale()

    def _editorChanged(self, caller, event):
        self._endIfStale()

    # What is shown -----------------------------------------------------------------------------------------------

    def _show(self):
        from HSSLSegmentationLib.panel import choices, wording

        options, effect, session = self.options, self.scriptedEffect, self.session
        learning = self._mode() == LEARN
        busy = session is not None and session.busy
        for button, checked in ((options.learnButton, learning), (options.predictButton, not learning)):
            wasBlocked = button.blockSignals(True)
            button.checked = checked
            button.enabled = not busy
            button.blockSignals(wasBlocked)
        options.modelLabel.text = _("Start from:") if learning else _("Model:")
        choices.fill(options.modelCombo, self._models(), self._model())
        options.modelCombo.enabled = not busy
        layoutManager = slicer.app.layoutManager()  # None in an application without a main window
        views = [] if layoutManager is None else [(name, name) for name in layoutManager.sliceViewNames()]
        choices.fill(options.viewCombo, views, choices.value(options.viewCombo) or "Red")
        options.completeButton.enabled = bool(views)
        options.learnFrame.setVisible(learning)
        options.learnFrame.enabled = not busy
        self._set(options.scribblesCheck, "checked", self._scribblesOnly())
        self._set(options.opacitySlider, "value", effect.doubleParameter("Opacity"))
        options.slicesLabel.text = self._slicesText() if learning and not busy else options.slicesLabel.text
        reason = self._reasonNotToStart()
        options.startButton.text = _("Learn and preview") if learning else _("Predict and preview")
        options.startButton.enabled = not reason and not busy
        options.startButton.toolTip = reason or _("Shows a preview; the segments change only with Apply.")
        options.cancelButton.setVisible(busy)
        options.progressBar.setVisible(busy)
        if busy:
            options.progressBar.value = round(1000 * session.progress)
            options.progressBar.setFormat(f"{wording.phase(session.phase)} %p%")
        text = self._problem or self._done
        options.statusLabel.text = text
        options.statusLabel.setStyleSheet("color: #c0392b;" if self._problem else "")
        options.statusLabel.setVisible(bool(text))
        options.previewFrame.setVisible(self.preview is not None)
        options.hintLabel.text = self._hint(reason)

    def _hint(self, reason):
        if self.session is not None and self.session.busy:
            return _("Working. You can go on looking and painting meanwhile.")
        if self.preview is not None and self._mode() == LEARN:
            return _(
                "<b>Next:</b> look at the preview. Where it is wrong, paint that slice right in the segments and learn "
                "again; or apply it and correct it."
            )
        if self.preview is not None:
            return _("<b>Next:</b> look at the preview, then apply or discard it.")
        if reason:
            return _("<b>Next:</b> {reason}").format(reason=reason)
        if self._mode() == LEARN:
            return _("<b>Next:</b> paint 3 to 5 slices of each structure, spread over its length, then press Learn.")
        return _("<b>Next:</b> press Predict.")

    def _slicesText(self):
        from HSSLSegmentationLib.scene import slices as sceneSlices

        volumeNode = self._volume()
        if volumeNode is None or self._segmentation() is None:
            return ""
        self._forgetForeignMarks()
        marked = sceneSlices.names(self._marked, volumeNode)
        if self._scribblesOnly():
            rule = _("Only what is painted is learned from.")
        else:
            rule = _("Slices with something painted on them count as complete. Visible segments take part.")
        return rule + (" " + _("Marked: {slices}.").format(slices=marked) if marked else "")

    def _reasonNotToStart(self):
        from HSSLSegmentationLib.scene import volumes as sceneVolumes

        if self._segmentation() is None:
            return _("choose a segmentation above.")
        reason = sceneVolumes.reasonNotUsable(self._volume())
        if reason:
            return reason
        if self._mode() == PREDICT and not self._model():
            return _("choose a model: fine-tune one in the module HSSL Segmentation, or pick a file.")
        if self._mode() == LEARN and not self._segmentation().GetSegmentation().GetNumberOfSegments():
            return _("add a segment above and paint it on a few slices.")
        return ""

    def _try(self, action):
        from hssl.errors import HSSLError
        from HSSLSegmentationLib.jobs.interpreter import InterpreterError
        from HSSLSegmentationLib.scene.volumes import SceneVolumeError

        self._problem = ""
        try:
            action()
        except (SceneVolumeError, InterpreterError, HSSLError, ValueError, OSError) as error:
            logging.warning("HSSL effect: %s", error)
            self._problem = str(error)
        self._show()

    # State -------------------------------------------------------------------------------------------------------

    def _volume(self):
        node = self.scriptedEffect.parameterSetNode()
        return None if node is None else node.GetSourceVolumeNode()

    def _segmentation(self):
        node = self.scriptedEffect.parameterSetNode()
        return None if node is None else node.GetSegmentationNode()

    def _mode(self):
        return self.scriptedEffect.parameter("Mode")

    def _scribblesOnly(self):
        return bool(self.scriptedEffect.integerParameter("ScribblesOnly"))

    def _modelParameter(self):
        return "LearnModel" if self._mode() == LEARN else "PredictModel"

    def _models(self):
        from HSSLSegmentationLib.effect import models as effectModels

        if self._offered is None:
            chosen = self.scriptedEffect.parameter(self._modelParameter())
            chosen = "" if chosen == NOT_CHOSEN else chosen
            offer = effectModels.toLearnFrom if self._mode() == LEARN else effectModels.toPredictWith
            self._offered = offer(chosen)
        return self._offered

    def _model(self):
        """The chosen model; as long as none was chosen, the first that is offered."""
        from HSSLSegmentationLib.effect import models as effectModels

        chosen = self.scriptedEffect.parameter(self._modelParameter())
        first = self._models()[0][0]
        return chosen if chosen != NOT_CHOSEN else first if first != effectModels.OTHER_FILE else ""

    def _forgetForeignMarks(self):
        where = (self._volume(), self._segmentation())
        if self._markedOn != where:
            self._marked, self._markedOn = [], where

    def _set(self, widget, name, value):
        wasBlocked = widget.blockSignals(True)
        setattr(widget, name, value)
        widget.blockSignals(wasBlocked)
