"""Segment Editor effect "HSSL": learns a volume from a few painted slices, or predicts it with a trained model."""

import html
import logging
import time
from pathlib import Path

import qt
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

import slicer
from HSSLSegmentationLib import colors
from HSSLSegmentationLib.jobs.process import QtProcess

NAME = "HSSL"
LEARN, PREDICT = "learn", "predict"
NOT_CHOSEN = "?"
MANY_SLICES = 40
"""More complete slices than anybody paints: a finished structure takes part by mistake."""
EDIT_INSIDE_SEGMENT = slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
LIVE_DELAY_MS = 700
"""After the last stroke; a slice is finished when nothing was painted for so long."""
MOST_LISTED = 6
"""Lines that the list of slices is high at most."""


class SegmentEditorHSSLEffect(AbstractScriptedSegmentEditorEffect, VTKObservationMixin):
    """What Slicer calls. The preview lives while this effect or another editing tool is active, so that corrections can
    be painted between rounds; it ends with the tool "None", another volume or another segmentation, a closed scene, and
    when the Segment Editor is left. The worker stays for the next volume.

    Slicer calls back in the middle of its own changes of the scene, when no node may be removed: whatever follows from an
    event is done in the next turn of the event loop (`_later`).

    Attributes:
        makeProcess: makes the worker's process; a test can give its own.
        session: the InteractiveSession, None as long as there is nothing to learn from or to predict.
    """

    makeProcess = QtProcess

    def __init__(self, scriptedEffect):
        scriptedEffect.name = NAME  # not translated: it is the effect's identity
        scriptedEffect.title = _("HSSL")
        scriptedEffect.perSegment = False
        # Without a segmentation, Slicer crashes when it makes such an effect active.
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        VTKObservationMixin.__init__(self)
        self.options = None
        self.session = None
        self.preview = None
        self._recorder = None
        self._node = None
        self._shortcut = None
        self._liveTimer = None
        self._isLiveDue = False
        self._problem = ""
        self._done = ""
        self._began = 0.0
        self._offered = None
        self._listed = None
        self._isUpdateDue = False
        self._observedSegmentation = None
        self._shownProposal = None

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
            "<b>Learn:</b> the <b>visible</b> segments take part; hide those that are finished. A slice on which a segment "
            "is painted counts as complete for it (where it is not painted there, it is not), unless <i>Scribbles only</i> "
            "is checked; what a sphere brush paints counts as scribbles. The slices are listed: click one to go there, "
            "uncheck it to leave it out. Look at the preview, go to the most uncertain slice, paint that slice too and "
            "learn again, or let it <i>update while you paint</i>.<br>"
            "<b>Apply</b> writes the preview into the segments; masking, overwrite mode and undo hold, and what you have "
            "painted stays as it is. It is a draft: only the slices that you correct then are learned from. What is "
            "painted and what is a draft is saved with the scene.</html>"
        )

    def setMRMLDefaults(self):
        effect = self.scriptedEffect
        effect.setParameterDefault("Mode", LEARN)
        effect.setParameterDefault("LearnModel", NOT_CHOSEN)
        effect.setParameterDefault("PredictModel", NOT_CHOSEN)
        effect.setParameterDefault("ScribblesOnly", 0)
        effect.setParameterDefault("Live", 0)
        effect.setParameterDefault("Protect", 1)
        effect.setParameterDefault("Opacity", 0.5)
        self._useNode(effect.parameterSetNode())

    def setupOptionsFrame(self):
        from HSSLSegmentationLib.effect.options import EffectOptions

        self.options = options = EffectOptions()
        self.scriptedEffect.addOptionsWidget(options.widget)
        options.installButton.connect("clicked(bool)", self.onInstall)
        options.alignButton.connect("clicked(bool)", self.onAlign)
        options.learnButton.connect("toggled(bool)", self.onMode)
        options.modelCombo.connect("activated(int)", self.onModel)
        options.completeButton.connect("clicked(bool)", self.onComplete)
        options.scribblesCheck.connect("toggled(bool)", self.onOption)
        options.liveCheck.connect("toggled(bool)", self.onOption)
        options.slicesList.connect("itemClicked(QListWidgetItem*)", self.onSliceClicked)
        options.slicesList.connect("itemChanged(QListWidgetItem*)", self.onSliceChecked)
        options.startButton.connect("clicked(bool)", self.onStart)
        options.cancelButton.connect("clicked(bool)", self.onCancel)
        options.shownCheck.connect("toggled(bool)", self.onShown)
        options.opacitySlider.connect("valueChanged(double)", self.onOpacity)
        options.nextButton.connect("clicked(bool)", self.onNext)
        options.protectCheck.connect("toggled(bool)", self.onOption)
        options.applyButton.connect("clicked(bool)", self.onApply)
        options.discardButton.connect("clicked(bool)", self.onDiscard)
        self._liveTimer = qt.QTimer()
        self._liveTimer.setSingleShot(True)
        self._liveTimer.setInterval(LIVE_DELAY_MS)
        self._liveTimer.connect("timeout()", self.onLive)

    def createCursor(self, widget):
        return qt.QCursor(qt.Qt.ArrowCursor)

    def activate(self):
        self._offered = None
        self._useNode(self.scriptedEffect.parameterSetNode())
        self._show()
        # Once the tool is on the screen: the worker takes seconds to start, which the first round need not wait for.
        self._later(self._prepare)

    def deactivate(self):
        # Which tool comes next is known only afterwards: with another one, corrections are being painted.
        self._later(self._endUnlessEditing)

    def sourceVolumeNodeChanged(self):
        self._useNode(self.scriptedEffect.parameterSetNode())
        self._later(self._follow)

    def referenceGeometryChanged(self):
        self._later(self._follow)

    def cleanup(self):
        from HSSLSegmentationLib.effect import worker

        self.removeObservers()
        self._letGo()
        worker.release(self)

    def _letGo(self):
        """Ends what is under way; nothing of the scene is watched any more."""
        self.endSession()
        if self._recorder is not None:
            self._recorder.watch(None, None)
        if self._liveTimer is not None:
            self._liveTimer.stop()
        self._removeShortcut()

    def updateGUIFromMRML(self):
        self._later(self._follow)

    def updateMRMLFromGUI(self):
        effect, options = self.scriptedEffect, self.options
        effect.setParameter("Mode", LEARN if options.learnButton.checked else PREDICT)
        effect.setParameter("ScribblesOnly", int(options.scribblesCheck.checked))
        effect.setParameter("Live", int(options.liveCheck.checked))
        effect.setParameter("Protect", int(options.protectCheck.checked))
        effect.setParameter("Opacity", float(options.opacitySlider.value))

    # What happens in the scene -----------------------------------------------------------------------------------

    def _later(self, action):
        """Does something in the next turn of the event loop, if the effect is still there then."""

        def act():
            if not self._isAlive():
                return
            self._useNode(self.scriptedEffect.parameterSetNode())
            if self._node is None:  # the editor has let go of its node, and with it of the effect's parameters
                self._isUpdateDue = False
                self._letGo()
            else:
                action()

        qt.QTimer.singleShot(0, act)

    def _isAlive(self):
        try:
            return self.options is not None and self.scriptedEffect.name == NAME
        except ValueError:  # Slicer has deleted its half of the effect
            return False

    def _useNode(self, node):
        """Observes the Segment Editor's node, for as long as the editor has it, whatever tool is active."""
        if node is self._node:
            return
        self.removeObservers()
        self._node, self._observedSegmentation = node, None
        if node is None:
            return
        scene = slicer.mrmlScene
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._sceneChanged)
        self.addObserver(scene, scene.NodeRemovedEvent, self._sceneChanged)
        self.addObserver(scene, scene.StartCloseEvent, self._sceneChanged)
        self.addObserver(scene, scene.EndImportEvent, self._sceneOpened)

    def _sceneChanged(self, caller, event):
        if not self._isUpdateDue:
            self._isUpdateDue = True
            self._later(self._follow)

    def _sceneOpened(self, caller, event):
        """A scene that was saved with a tool in use, any tool, makes Slicer 5.10 crash when it is opened: the editor takes
        up the tool before it has a segmentation. This event comes before that."""
        if self._node is not None and self._node.GetActiveEffectName():
            self._node.SetActiveEffectName("")

    def _follow(self):
        """Brings recorder, session and widgets to what the editor and the scene are now."""
        self._isUpdateDue = False
        self._record()
        self._endUnlessEditing()
        self._endIfStale()
        self._show()

    def _record(self):
        from HSSLSegmentationLib.effect.recorder import PaintingRecorder

        if self._recorder is None:
            self._recorder = PaintingRecorder(self._toolName, self._painted)
        self._recorder.watch(self._segmentation(), self._volume())
        self._observeSegmentation()

    def _observeSegmentation(self):
        """So that segments which come, go, or get another name or visibility are noticed."""
        node = self._segmentation()
        if self._observedSegmentation is node:
            return
        old, self._observedSegmentation = self._observedSegmentation, node
        for observed in [] if old is None else [old.GetSegmentation()]:
            self.removeObservers(self._segmentsChanged)
            del observed
        if node is not None:
            segmentation = slicer.vtkSegmentation
            for event in (segmentation.SegmentAdded, segmentation.SegmentRemoved, segmentation.SegmentModified):
                self.addObserver(node.GetSegmentation(), event, self._segmentsChanged)
            self.addObserver(node, slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent, self._segmentsChanged)
            self.addObserver(node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._segmentsChanged)

    def _segmentsChanged(self, caller, event):
        self._sceneChanged(caller, event)

    def _toolName(self):
        return "" if self._node is None else self._node.GetActiveEffectName() or ""

    def _painted(self, isSlice):
        """After strokes were recorded."""
        if self._done and self.preview is None:
            self._done = ""
        self._show()
        if isSlice and self._isLive() and self._toolName():
            self._isLiveDue = True
            self._liveTimer.start()

    # What the user does ------------------------------------------------------------------------------------------

    def onInstall(self):
        slicer.util.selectModule("HSSLSegmentation")

    def onAlign(self):
        for layoutName in slicer.app.layoutManager().sliceViewNames():
            slicer.app.layoutManager().sliceWidget(layoutName).mrmlSliceNode().RotateToVolumePlane(self._volume())
        self._show()

    def onMode(self, checked):
        self._problem = self._done = ""
        self._offered = None
        self.updateMRMLFromGUI()
        self._show()

    def onOption(self, checked):
        self.updateMRMLFromGUI()
        self._show()

    def onOpacity(self, value):
        self.updateMRMLFromGUI()
        if self.preview is not None:
            self.preview.setOpacity(value)

    def onShown(self, checked):
        if self.preview is not None:
            self.preview.setShown(checked)

    def onKeyShown(self):
        if self.preview is not None:
            self.options.shownCheck.checked = not self.options.shownCheck.checked

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
        from dataclasses import replace

        from HSSLSegmentationLib.scene import annotations
        from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
        from HSSLSegmentationLib.scene import slices as sceneSlices

        def mark():
            view = slicer.app.layoutManager().sliceWidget(self.options.viewCombo.currentText)
            plane = sceneSlices.shownPlane(view.mrmlSliceNode(), self._volume())
            node, volumeNode = self._segmentation(), self._volume()
            self.scriptedEffect.saveStateForUndo()
            for segmentId in sceneSegmentations.visibleSegments(node):
                own = annotations.read(node, segmentId, volumeNode)
                marked = replace(own, marked=own.marked | {plane}, off=own.off - {plane})
                annotations.write(node, segmentId, volumeNode, marked)

        self._try(mark)

    def onSliceClicked(self, item):
        from HSSLSegmentationLib.scene import slices as sceneSlices

        sceneSlices.showPlane(self._planeOf(item), self._volume())

    def onSliceChecked(self, item):
        from HSSLSegmentationLib.scene import annotations

        isOn = item.checkState() == qt.Qt.Checked
        self._try(
            lambda: annotations.switch(
                self._segmentation(), self._learning(), self._volume(), self._planeOf(item), isOn
            )
        )

    def onStart(self):
        self._try(self._start)

    def onLive(self):
        """A slice was finished."""
        if not self._isAlive() or not self._isLiveDue:
            return
        if self.session is not None and self.session.busy:
            return  # tried again when the round has ended
        self._isLiveDue = False
        if self._isLive() and not self._reasonNotToStart():
            self._try(self._start)

    def onCancel(self):
        if self.session is not None:
            self.session.cancel()

    def onNext(self):
        from HSSLSegmentationLib.scene import slices as sceneSlices

        if self.session is not None and self.session.proposal is not None and self.session.proposal.place is not None:
            sceneSlices.goTo(self.session.proposal.place, self.session.volumeNode)

    def onApply(self):
        self._try(self._apply)

    def onDiscard(self):
        if self.session is not None:
            self.session.discard()
        self._removePreview()
        self._done = ""
        self._show()

    # A round -----------------------------------------------------------------------------------------------------

    def _prepare(self):
        isActive = self._toolName() == NAME
        self._record()
        if isActive and self.session is None and self._mode() == LEARN and not self._reasonNotToStart():
            self._try(lambda: self._withSession(lambda session: session.prepare(self._model())))
        elif isActive:
            self._show()

    def _start(self):
        def start(session):
            if self._mode() == LEARN:
                session.learn(self._model(), self._scribblesOnly())
            else:
                session.predict(self._model())

        self._record()
        self._recorder.flush()
        self._done = ""
        self._began = time.monotonic()
        self._withSession(start)

    def _withSession(self, action):
        """Has something done by the session, or by a new one, which does not outlive a failure of its first action."""
        from HSSLSegmentationLib.effect import worker
        from HSSLSegmentationLib.effect.session import InteractiveSession

        isNew = self.session is None
        if isNew:
            worker.use(self)
            self.session = InteractiveSession(self._volume(), self._segmentation(), self.makeProcess, self._changed)
        try:
            action(self.session)
        except Exception:
            if isNew:
                self.endSession()
            raise

    def _changed(self):
        session = self.session
        if session is None or not self._isAlive():
            return
        if session.problem:
            self._problem = session.problem
        proposal = session.proposal
        if proposal is not None and proposal is not self._shownProposal:
            self._shownProposal = proposal
            self._problem, self._done = "", self._summary(proposal)
            self._later(self._showPreview)
        elif session.notice and not session.busy and self.preview is None:
            self._done = session.notice
        self._show()
        if self._isLiveDue and not session.busy:
            self._liveTimer.start()

    def _showPreview(self):
        from HSSLSegmentationLib.effect.previewNode import PreviewNode

        session = self.session
        if session is None or session.proposal is None:
            return
        opacity = self.scriptedEffect.doubleParameter("Opacity")
        in3D = self._isShownIn3D()
        if self.preview is not None and self.preview.node is not None:
            self.preview.show(session.proposal, session.volumeNode, in3D)
        else:
            self.preview = PreviewNode(session.proposal, session.volumeNode, opacity, in3D)
        self.preview.setShown(self.options.shownCheck.checked)
        self._addShortcut()
        self._show()

    def _isShownIn3D(self):
        display = self._segmentation().GetDisplayNode()
        surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        return (
            display is not None
            and bool(display.GetVisibility3D())
            and self._segmentation().GetSegmentation().ContainsRepresentation(surface)
        )

    def _summary(self, proposal):
        seconds = _("Ready after {seconds:.1f} s.").format(seconds=time.monotonic() - self._began)
        segmentation = self._segmentation().GetSegmentation()
        parts = []
        for segmentClass, segmentId in zip(proposal.classes, proposal.segmentIds, strict=True):
            segment = segmentation.GetSegment(segmentId) if segmentId else None
            if segment is None:
                parts.append(_("{name} (a new segment)").format(name=segmentClass.name))
            elif segment.GetName() != segmentClass.name:
                parts.append(_("{name} (into {segment})").format(name=segmentClass.name, segment=segment.GetName()))
            else:
                parts.append(segmentClass.name)
        lines = [seconds + " " + ", ".join(parts)]
        if self.session.notice:
            lines.append(self.session.notice)
        annotation = self.session.annotation
        if annotation is not None and len(annotation.planes) > MANY_SLICES:
            lines.append(
                _("{count} slices are many. Hide the segments that are finished, or check Scribbles only.").format(
                    count=len(annotation.planes)
                )
            )
        return "\n".join(lines)

    def _apply(self):
        from HSSLSegmentationLib.scene import segmentations as sceneSegmentations

        session, effect = self.session, self.scriptedEffect
        if session is None or session.proposal is None or session.busy:
            return
        node = session.segmentationNode
        self._record()
        self._recorder.flush()
        if node.GetSegmentation().GetNumberOfSegments() == 0:
            node.SetReferenceImageGeometryParameterFromVolumeNode(session.volumeNode)
        effect.saveStateForUndo()
        protected = self._protected()
        modes = slicer.qSlicerSegmentEditorAbstractEffect

        def modify(segmentId, labelmap, isAdded):
            mode = modes.ModificationModeAdd if isAdded else modes.ModificationModeRemove
            onGrid = sceneSegmentations.onReferenceGrid(labelmap, effect.referenceGeometryImage())
            with self._recorder.paused():
                effect.modifySegmentByLabelmap(node, segmentId, onGrid, mode)

        session.apply(modify, protected, self._scribblesOnly(), self._whenApplied)

    def _whenApplied(self):
        with self._recorder.paused():
            pass  # what was written is no painting
        self._shownProposal = None
        self._done = _("Applied. Ctrl+Z takes it back; what you correct now is learned from in the next round.")
        self._later(self._removePreview)

    def _removePreview(self):
        self._shownProposal = None
        if self.preview is not None:
            self.preview.remove()
            self.preview = None
            self._removeShortcut()
        if self._isAlive():
            self._show()

    def _addShortcut(self):
        window = slicer.util.mainWindow()
        if self._shortcut is None and window is not None:
            self._shortcut = qt.QShortcut(qt.QKeySequence("H"), window)
            self._shortcut.connect("activated()", self.onKeyShown)

    def _removeShortcut(self):
        shortcut, self._shortcut = self._shortcut, None
        if shortcut is not None:
            shortcut.disconnect("activated()", self.onKeyShown)
            shortcut.setParent(None)
            shortcut.deleteLater()

    # The end of a session ----------------------------------------------------------------------------------------

    def endSession(self):
        """Lets go of the volume and removes the preview; never to be called inside an event of the scene."""
        session, self.session = self.session, None
        if session is not None:
            session.end()
        self._isLiveDue = False
        self._removePreview()

    def _endUnlessEditing(self):
        if not self._toolName():
            if self.session is not None:
                self.endSession()
            self._done = self._problem = ""

    def _endIfStale(self):
        session = self.session
        if session is not None and not session.isAbout(self._volume(), self._segmentation()):
            self.endSession()
            self._problem = ""
            self._done = _("The volume or the segmentation has changed: the next round starts afresh.")

    # What is shown -----------------------------------------------------------------------------------------------

    def _show(self):
        from HSSLSegmentationLib.effect import models as effectModels
        from HSSLSegmentationLib.panel import choices, wording

        options, effect, session = self.options, self.scriptedEffect, self.session
        if options is None or self._node is None:
            return
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
        reason = self._reasonNotToStart()
        options.installButton.setVisible(not effectModels.canWork())
        options.alignButton.setVisible(learning and self._isOblique())
        options.completeButton.enabled = bool(views) and not reason
        options.learnFrame.setVisible(learning)
        options.learnFrame.enabled = not (busy and session.phase == "apply")
        self._set(options.scribblesCheck, "checked", self._scribblesOnly())
        self._set(options.liveCheck, "checked", self._isLive())
        self._set(options.protectCheck, "checked", self._isProtecting())
        self._set(options.opacitySlider, "value", effect.doubleParameter("Opacity"))
        if learning:
            self._listSlices()
        options.startButton.text = _("Learn and preview") if learning else _("Predict and preview")
        options.startButton.enabled = not reason and not busy
        options.startButton.toolTip = reason or _("Shows a preview; the segments change only with Apply.")
        options.cancelButton.setVisible(busy and session.phase != "apply")
        options.progressBar.setVisible(busy)
        if busy and session.phase == "start":
            options.progressBar.setRange(0, 0)
            options.progressBar.setFormat("")
        elif busy:
            options.progressBar.setRange(0, 1000)
            options.progressBar.value = round(1000 * session.progress)
            options.progressBar.setFormat(f"{wording.phase(session.phase)} %p%")
        text = self._problem or (_("Starting…") if busy and session.phase == "start" else self._done)
        options.statusLabel.text = text
        options.statusLabel.setStyleSheet(colors.PROBLEM_STYLE if self._problem else "")
        options.statusLabel.setVisible(bool(text))
        hasPreview = self.preview is not None and session is not None and session.proposal is not None
        options.previewFrame.setVisible(hasPreview)
        options.previewFrame.enabled = not busy
        if hasPreview:
            options.nextButton.enabled = session.proposal.place is not None
            takes = self._takes() if not busy else ""
            options.takesLabel.text = takes
            options.takesLabel.setVisible(bool(takes))
        options.hintLabel.text = self._hint(reason)

    def _takes(self):
        """What Apply takes from segments that have no part in the preview."""
        node = self._node
        if node.GetOverwriteMode() == node.OverwriteNone:
            return ""
        protected = self._protected()
        taken = self.session.taken(
            [i for i in self._segmentation().GetSegmentation().GetSegmentIDs() if i not in protected],
            visibleOnly=node.GetOverwriteMode() == node.OverwriteVisibleSegments,
        )
        parts = [_("{count} voxels from {name}").format(count=count, name=name) for name, count in taken.items()]
        return _("Apply takes {parts}.").format(parts=", ".join(parts)) if parts else ""

    def _protected(self):
        """Segments that nothing may be taken from, though the overwrite mode would; not the one that is the mask."""
        from HSSLSegmentationLib.scene import segmentations as sceneSegmentations

        node = self._node
        if not self._isProtecting() or node.GetOverwriteMode() == node.OverwriteNone:
            return []
        mask = node.GetMaskSegmentID() if node.GetMaskMode() == EDIT_INSIDE_SEGMENT else ""
        shown = sceneSegmentations.visibleSegments(self._segmentation())
        visibleOnly = node.GetOverwriteMode() == node.OverwriteVisibleSegments
        finished = sceneSegmentations.finishedSegments(self._segmentation())
        return [i for i in finished if i != mask and (i in shown or not visibleOnly)]

    def _learning(self):
        """The labels of the segments that take part, by id."""
        from HSSLSegmentationLib.scene import segmentations as sceneSegmentations

        return {i: n for n, i in enumerate(sceneSegmentations.visibleSegments(self._segmentation()), 1)}

    def _listSlices(self):
        """Lists the slices that count as complete, where they can be visited and switched off."""
        from HSSLSegmentationLib.scene import annotations
        from HSSLSegmentationLib.scene import slices as sceneSlices
        from HSSLSegmentationLib.scene.volumes import SceneVolumeError

        options, node, volumeNode = self.options, self._segmentation(), self._volume()
        lines = []
        if node is not None and not self._reasonNotToStart():
            segments = self._learning()
            stamp = (
                node.GetID(), volumeNode.GetID(), self._scribblesOnly(), tuple(segments),
                annotations.stampOf(node, segments),
            )  # fmt: skip
            if self._listed == stamp:
                return
            self._listed = stamp
            names = {value: node.GetSegmentation().GetSegment(i).GetName() for i, value in segments.items()}
            try:
                found, _known = annotations.annotationOf(node, segments, volumeNode, self._scribblesOnly())
            except SceneVolumeError:
                found = None
            for planes, isOn in () if found is None else ((found.planes, True), (found.off, False)):
                for plane, values in planes.items():
                    who = ", ".join(names[value] for value in values) if len(names) > 1 else ""
                    lines.append((plane, isOn, sceneSlices.name(plane, volumeNode) + (f"   {who}" if who else "")))
            lines.sort(key=lambda line: (line[0], not line[1]))
        else:
            self._listed = None
        listWidget = options.slicesList
        wasBlocked = listWidget.blockSignals(True)
        listWidget.clear()
        for plane, isOn, text in lines:
            item = qt.QListWidgetItem(text)
            item.setData(qt.Qt.UserRole, f"{plane[0]} {plane[1]}")
            item.setCheckState(qt.Qt.Checked if isOn else qt.Qt.Unchecked)
            item.setToolTip(text)
            listWidget.addItem(item)
        listWidget.blockSignals(wasBlocked)
        listWidget.setVisible(bool(lines))
        height = listWidget.fontMetrics().height() + 6
        listWidget.setFixedHeight(min(len(lines), MOST_LISTED) * height + 6)
        on = sum(1 for line in lines if line[1])
        if not lines:
            text = ""
        elif self._scribblesOnly():
            text = _("Complete as you have marked them ({count}):").format(count=on)
        else:
            text = _("Complete slices ({count}); visible segments take part:").format(count=on)
        options.slicesLabel.text = text
        options.slicesLabel.setVisible(bool(text))

    def _planeOf(self, item):
        axis, index = str(item.data(qt.Qt.UserRole)).split()
        return int(axis), int(index)

    def _isOblique(self):
        from HSSLSegmentationLib.scene import slices as sceneSlices
        from HSSLSegmentationLib.scene import volumes as sceneVolumes

        volumeNode = self._volume()
        return not sceneVolumes.reasonNotUsable(volumeNode) and bool(sceneSlices.obliqueViews(volumeNode))

    def _hint(self, reason):
        if self.session is not None and self.session.busy:
            if self.session.phase == "apply":
                return _("Writing the preview into the segments.")
            return _("Working. You can go on looking and painting meanwhile; what you paint stays.")
        if self.preview is not None and self._mode() == LEARN:
            return _(
                "<b>Next:</b> look at the preview. Where it is wrong, paint that slice right in the segments and learn "
                "again; or apply it and correct it."
            )
        if self.preview is not None:
            return _("<b>Next:</b> look at the preview, then apply or discard it.")
        if reason:
            return _("<b>Next:</b> {reason}").format(reason=html.escape(reason))
        if self._mode() == LEARN:
            return _("<b>Next:</b> paint 3 to 5 slices of each structure, spread over its length, then press Learn.")
        return _("<b>Next:</b> press Predict.")

    def _reasonNotToStart(self):
        from HSSLSegmentationLib.effect import models as effectModels
        from HSSLSegmentationLib.scene import segmentations as sceneSegmentations
        from HSSLSegmentationLib.scene import volumes as sceneVolumes
        from HSSLSegmentationLib.scene.volumes import SceneVolumeError

        if not effectModels.canWork():
            return _("install the Python packages that HSSL needs.")
        if self._segmentation() is None:
            return _("choose a segmentation above.")
        reason = sceneVolumes.reasonNotUsable(self._volume())
        if reason:
            return reason
        try:
            sceneSegmentations.matrixInNode(self._volume(), self._segmentation())
        except SceneVolumeError as error:
            return str(error)
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
        self._record()
        try:
            with self._recorder.describing():
                action()
        except (SceneVolumeError, InterpreterError, HSSLError, ValueError, OSError) as error:
            logging.warning("HSSL effect: %s", error)
            self._problem = str(error)
        self._show()

    # State -------------------------------------------------------------------------------------------------------

    def _volume(self):
        return None if self._node is None else self._node.GetSourceVolumeNode()

    def _segmentation(self):
        return None if self._node is None else self._node.GetSegmentationNode()

    def _mode(self):
        return self.scriptedEffect.parameter("Mode")

    def _scribblesOnly(self):
        return bool(self.scriptedEffect.integerParameter("ScribblesOnly"))

    def _isLive(self):
        return self._mode() == LEARN and bool(self.scriptedEffect.integerParameter("Live"))

    def _isProtecting(self):
        return bool(self.scriptedEffect.integerParameter("Protect"))

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

    def _set(self, widget, name, value):
        wasBlocked = widget.blockSignals(True)
        setattr(widget, name, value)
        widget.blockSignals(wasBlocked)
