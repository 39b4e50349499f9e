"""What the Segment Editor effect does: rounds, their preview, and when they end."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import qt
from slicer.i18n import tr as _

import slicer
from hssl.errors import HSSLError

from .. import choices, colors
from ..jobs.interpreter import InterpreterError
from ..jobs.process import QtProcess
from ..scene import annotations, movedSegments
from ..scene import segmentations as sceneSegmentations
from ..scene import slices as sceneSlices
from ..scene import volumes as sceneVolumes
from ..scene.volumes import SceneVolumeError
from . import display, worker
from . import models as effectModels
from .draft import Draft
from .editorWatch import EditorWatch
from .options import EffectOptions
from .parameters import LEARN, EffectParameters
from .previewNode import PreviewNode
from .protection import protectedSegments, whatApplyTakes
from .recorder import PaintingRecorder
from .registration import NAME
from .session import EffectSession
from .sliceList import SliceList, learnedSegments

LIVE_DELAY_MS = 700
"""After the last stroke; a slice is finished when nothing was painted for so long."""


class EffectController:
    """The effect of one editor. The preview lives while this effect or another editing tool is active, so that
    corrections can be painted between rounds; it ends with the tool "None", another volume or another segmentation, a
    closed scene, and when the Segment Editor is left. The worker stays for the next volume. A prediction is a draft that
    is corrected by painting on it: with another tool it is applied.

    Slicer calls back in the middle of its own changes of the scene, when no node may be removed: whatever follows from an
    event is done in the next turn of the event loop (`_later`).

    Attributes:
        makeProcess: makes the worker's process; a test can give its own.
        options: the widgets, None until they are built.
        parameters: what the editor's node keeps.
        session: the EffectSession, None as long as there is nothing to learn from or to predict.
        preview: the PreviewNode, None when nothing is shown.

    Args:
        scriptedEffect: Slicer's half of the effect.
    """

    makeProcess = QtProcess

    def __init__(self, scriptedEffect):
        self.scriptedEffect = scriptedEffect
        self.parameters = EffectParameters(scriptedEffect)
        self.options: EffectOptions | None = None
        self.session: EffectSession | None = None
        self.preview: PreviewNode | None = None
        self._watch = EditorWatch(self._sceneChanged)
        self._recorder = PaintingRecorder(self._watch.toolName, self._painted)
        self._slices: SliceList | None = None
        self._shortcut = None
        self._liveTimer = None
        self._isLiveDue = False
        self._isUpdateDue = False
        self._problem = self._done = ""
        self._began = 0.0
        self._shownProposal = None
        self._draft: Draft | None = None

    # What Slicer asks --------------------------------------------------------------------------------------------

    def setDefaults(self):
        self.parameters.setDefaults()
        self._useNode()

    def setUp(self):
        """Builds the widgets."""
        self.options = options = EffectOptions()
        self.scriptedEffect.addOptionsWidget(options.widget)
        self._slices = SliceList(options.slicesList, options.slicesLabel)
        options.installButton.connect("clicked(bool)", self.onInstall)
        options.alignButton.connect("clicked(bool)", self.onAlign)
        options.learnButton.connect("toggled(bool)", self.onMode)
        options.modelCombo.connect("activated(int)", self.onModel)
        options.piecesCombo.connect("activated(int)", self.onOption)
        options.fastCheck.connect("toggled(bool)", self.onOption)
        options.completeButton.connect("clicked(bool)", self.onComplete)
        options.scribblesCheck.connect("toggled(bool)", self.onOption)
        options.liveCheck.connect("toggled(bool)", self.onOption)
        options.slicesList.connect("itemClicked(QListWidgetItem*)", self.onSliceClicked)
        options.slicesList.connect("itemChanged(QListWidgetItem*)", self.onSliceChecked)
        options.nanCheck.connect("toggled(bool)", self.onNan)
        options.startButton.connect("clicked(bool)", self.onStart)
        options.cancelButton.connect("clicked(bool)", self.onCancel)
        options.shownCheck.connect("toggled(bool)", self.onShown)
        options.opacitySlider.connect("valueChanged(double)", self.onOpacity)
        options.nextButton.connect("clicked(bool)", self.onNext)
        options.protectCheck.connect("toggled(bool)", self.onOption)
        options.applyButton.connect("clicked(bool)", self.onApply)
        options.discardButton.connect("clicked(bool)", self.onDiscard)
        slicer.app.connect("paletteChanged(QPalette)", self.onPalette)
        self._liveTimer = qt.QTimer()
        self._liveTimer.setSingleShot(True)
        self._liveTimer.setInterval(LIVE_DELAY_MS)
        self._liveTimer.connect("timeout()", self.onLive)

    def activate(self):
        effectModels.lookAgain()
        self.parameters.offerAnew()
        self._useNode()
        self.show()
        # Once the tool is on the screen: the worker takes seconds to start, which the first round need not wait for.
        self._later(self._prepare)

    def deactivate(self):
        # Which tool comes next is known only afterwards: with another one, corrections are being painted.
        self._later(self._goOnWithAnotherTool)

    def sourceVolumeChanged(self):
        self._useNode()
        self.followLater()

    def startDraft(self, model: str, onChange: Callable[[], None]) -> Draft:
        """Predicts the editor's volume; the preview is a draft of its label, to be applied, corrected or discarded.

        The effect is the active tool of an editor that has a volume and a segmentation.

        Args:
            model: a run's folder or a model file.
            onChange: called when something else has become of the draft.
        """
        self._useNode()
        self._follow()
        self._draft = draft = Draft(onChange, self.onDiscard)
        self.parameters.predictWith(model)
        self._try(self._start)
        if self._problem:
            draft.become("failed", self._problem)
        return draft

    def followLater(self):
        """Brings everything to what the editor and the scene are then."""
        self._later(self._follow)

    def cleanUp(self):
        slicer.app.disconnect("paletteChanged(QPalette)", self.onPalette)
        self._watch.removeObservers()
        self._letGo()
        worker.release(self)

    def _letGo(self):
        """Ends what is under way; nothing of the scene is watched any more."""
        self.endSession()
        self._recorder.watch(None, None)
        if self._liveTimer is not None:
            self._liveTimer.stop()
        self._removeShortcut()

    # What happens in the scene -----------------------------------------------------------------------------------

    def _later(self, action):
        """Does something in the next turn of the event loop, if the effect is still there then."""

        def act():
            if not self._isAlive():
                return
            self._useNode()
            if self._watch.node is None:  # the editor has let go of its node, and with it of the effect's parameters
                self._isUpdateDue = False
                self._letGo()
            else:
                action()

        qt.QTimer.singleShot(0, act)

    def _isAlive(self) -> bool:
        try:
            return self.options is not None and self.scriptedEffect.name == NAME
        except ValueError:  # Slicer has deleted its half of the effect
            return False

    def _useNode(self):
        self._watch.use(self.scriptedEffect.parameterSetNode())

    def _sceneChanged(self):
        if not self._isUpdateDue:
            self._isUpdateDue = True
            self.followLater()

    def _follow(self):
        """Brings recorder, session and widgets to what the editor and the scene are now."""
        self._isUpdateDue = False
        self._record()
        self._endUnlessEditing()
        self._endIfStale()
        self.show()

    def _record(self):
        if self._watch.segmentation() is not None:
            with suppress(SceneVolumeError):  # whoever learns from the segments is told why
                movedSegments.bringAlong(self._watch.segmentation())
        self._recorder.watch(self._watch.segmentation(), self._watch.volume())
        self._watch.followSegmentation()

    def _painted(self, isSlice: bool):
        """After strokes were recorded."""
        if self._done and self.preview is None:
            self._done = ""
        self.show()
        if isSlice and self.parameters.isLive() and self._watch.toolName():
            self._isLiveDue = True
            self._liveTimer.start()

    # What the user does ------------------------------------------------------------------------------------------

    def onPalette(self, *_palette):
        if self._isAlive():
            colors.styleAnew(self.options.hintLabel)

    def onInstall(self):
        slicer.util.selectModule("HSSLSegmentation")

    def onAlign(self):
        for layoutName in slicer.app.layoutManager().sliceViewNames():
            view = slicer.app.layoutManager().sliceWidget(layoutName)
            view.mrmlSliceNode().RotateToVolumePlane(self._watch.volume())
        self.show()

    def onMode(self, checked):
        self._problem = self._done = ""
        self.parameters.offerAnew()
        self.parameters.take(self.options)
        self.show()

    def onOption(self, checked):
        self.parameters.take(self.options)
        self.show()

    def onOpacity(self, value):
        self.parameters.take(self.options)
        if self.preview is not None:
            self.preview.setOpacity(value)

    def onShown(self, checked):
        if self.preview is not None:
            self.preview.setShown(checked)

    def onKeyShown(self):
        if self.preview is not None:
            self.options.shownCheck.checked = not self.options.shownCheck.checked

    def onModel(self, index):
        chosen = choices.value(self.options.modelCombo)
        if chosen == effectModels.OTHER_FILE:
            chosen = qt.QFileDialog.getOpenFileName(
                slicer.util.mainWindow(), _("Model file"), "", _("HSSL models (*.zip)")
            )
        if chosen:
            self.parameters.choose(chosen)
        self.show()

    def onComplete(self):
        def mark():
            view = slicer.app.layoutManager().sliceWidget(self.options.viewCombo.currentText)
            node, volumeNode = self._watch.segmentation(), self._watch.volume()
            plane = sceneSlices.shownPlane(view.mrmlSliceNode(), volumeNode)
            self.scriptedEffect.saveStateForUndo()
            annotations.mark(node, sceneSegmentations.segmentsUnderWork(node), volumeNode, plane)

        self._try(mark)

    def onSliceClicked(self, item):
        sceneSlices.showPlane(SliceList.planeOf(item), self._watch.volume())

    def onSliceChecked(self, item):
        node, isOn = self._watch.segmentation(), item.checkState() == qt.Qt.Checked
        self._try(
            lambda: annotations.switch(node, learnedSegments(node), self._watch.volume(), SliceList.planeOf(item), isOn)
        )

    def onNan(self, checked):
        def openAgain():
            session = self.session
            if session is not None and not session.busy and self.parameters.mode() == LEARN:
                session.prepare(self.parameters.model())

        sceneVolumes.setNanBackground(self._watch.volume(), checked)
        self._try(openAgain)

    def onStart(self):
        self._try(self._start)

    def onLive(self):
        """A slice was finished."""
        if not self._isAlive() or not self._isLiveDue:
            return
        if self.session is not None and self.session.busy:
            return  # tried again when the round has ended
        self._isLiveDue = False
        if self.parameters.isLive() and not self._reasonNotToStart():
            self._try(self._start)

    def onCancel(self):
        if self.session is not None:
            self.session.cancel()

    def onNext(self):
        if self.session is not None and self.session.proposal is not None and self.session.proposal.place is not None:
            sceneSlices.goTo(self.session.proposal.place, self.session.volumeNode)

    def onApply(self):
        self._try(self._apply)

    def onDiscard(self):
        session = self.session
        if session is not None and session.busy and session.phase == "apply":
            return  # it is being written already
        if session is not None:
            session.cancel()
            session.discard()
        self._removePreview()
        self._done = ""
        self._tellDraft("discarded")
        self.show()

    def _try(self, action: Callable[[], None]):
        self._problem = ""
        self._record()
        try:
            with self._recorder.describing():
                action()
        except (SceneVolumeError, InterpreterError, HSSLError, ValueError, OSError) as error:
            logging.warning("HSSL effect: %s", error)
            self._problem = str(error)
        self.show()

    # A round -----------------------------------------------------------------------------------------------------

    def _reasonNotToStart(self) -> str:
        return display.reasonNotToStart(self._watch.volume(), self._watch.segmentation(), self.parameters)

    def _prepare(self):
        isActive = self._watch.toolName() == NAME
        self._record()
        if isActive and self.session is None and self.parameters.mode() == LEARN and not self._reasonNotToStart():
            self._try(lambda: self._withSession(lambda session: session.prepare(self.parameters.model())))
        elif isActive:
            self.show()

    def _start(self):
        def start(session):
            if self.parameters.mode() == LEARN:
                session.learn(
                    self.parameters.model(), self.parameters.scribblesOnly(), self.parameters.largestComponent()
                )
            else:
                session.predict(self.parameters.model(), self.parameters.largestComponent(), self.parameters.isFast())

        self._record()
        self._recorder.flush()
        self._done = ""
        self._began = time.monotonic()
        self._withSession(start)

    def _withSession(self, action: Callable[[EffectSession], None]):
        """Has something done by the session, or by a new one, which does not outlive a failure of its first action."""
        isNew = self.session is None
        if self.session is None:
            worker.use(self)
            self.session = EffectSession(
                self._watch.volume(),
                self._watch.segmentation(),
                self.makeProcess,
                self._sessionChanged,
                self._recorder.describing,
            )
        try:
            action(self.session)
        except Exception:
            if isNew:
                self.endSession()
            raise

    def _sessionChanged(self):
        session = self.session
        if session is None or not self._isAlive():
            return
        if session.problem:
            self._problem = session.problem
        proposal = session.proposal
        if proposal is not None and proposal is not self._shownProposal:
            self._shownProposal = proposal
            self._problem = ""
            self._done = display.summary(proposal, session, time.monotonic() - self._began)
            self._later(self._showPreview)
        elif not session.busy and self.preview is None and proposal is None:
            self._done = session.notice or self._done
            self._tellDraft("failed" if session.problem else "discarded", session.problem)
        self.show()
        if self._isLiveDue and not session.busy:
            self._liveTimer.start()

    def _apply(self):
        session, effect = self.session, self.scriptedEffect
        if session is None or session.proposal is None or session.busy:
            return
        node = session.segmentationNode
        self._record()
        self._recorder.flush()
        if node.GetSegmentation().GetNumberOfSegments() == 0:
            node.SetReferenceImageGeometryParameterFromVolumeNode(session.volumeNode)
        effect.saveStateForUndo()
        modes = slicer.qSlicerSegmentEditorAbstractEffect
        # The editor can have gone on to another segmentation before all is written.
        reference = sceneSegmentations.geometryOf(effect.referenceGeometryImage())

        def modify(segmentId, labelmap, isAdded):
            mode = modes.ModificationModeAdd if isAdded else modes.ModificationModeRemove
            onGrid = sceneSegmentations.onReferenceGrid(labelmap, reference)
            with self._recorder.paused(onGrid):
                effect.modifySegmentByLabelmap(node, segmentId, onGrid, mode)

        isOverlapAllowed = self._watch.node.GetOverwriteMode() == self._watch.node.OverwriteNone
        session.apply(modify, self._protected(), self.parameters.scribblesOnly(), isOverlapAllowed, self._whenApplied)

    def _whenApplied(self):
        with self._recorder.paused():
            pass  # what was written is no painting
        self._shownProposal = None
        self._done = _("Applied. Ctrl+Z takes it back; what you correct now is learned from in the next round.")
        self._tellDraft("applied")
        self._later(self._removePreview)

    def _tellDraft(self, state, reason: str = ""):
        if self._draft is not None:
            self._draft.become(state, reason)

    def _protected(self) -> list[str]:
        return protectedSegments(self._watch.node) if self.parameters.isProtecting() else []

    # The end of a session ----------------------------------------------------------------------------------------

    def endSession(self):
        """Lets go of the volume and removes the preview; never to be called inside an event of the scene."""
        session, self.session = self.session, None
        if session is not None:
            session.end()
            self._tellDraft("discarded")
        self._isLiveDue = False
        self._removePreview()

    def _goOnWithAnotherTool(self):
        self._record()
        self._endUnlessEditing()
        self._endIfStale()
        session = self.session
        if session is None or session.busy or self._watch.toolName() == NAME:
            return
        if session.proposal is None or not session.proposal.isPrediction:
            return
        # Only what is in the segments can be erased or painted on. What would take something away is asked for.
        if self.preview is not None and not whatApplyTakes(self._watch.node, session, self._protected()):
            self._try(self._apply)
            slicer.util.showStatusMessage(_("The prediction was applied, to be corrected. Ctrl+Z takes it back."), 8000)

    def _endUnlessEditing(self):
        if not self._watch.toolName():
            if self.session is not None:
                self.endSession()
            self._done = self._problem = ""

    def _endIfStale(self):
        session = self.session
        if session is not None and not session.isAbout(self._watch.volume(), self._watch.segmentation()):
            self.endSession()
            self._problem = ""
            self._done = _("The volume or the segmentation has changed: the next round starts afresh.")

    # What is shown -----------------------------------------------------------------------------------------------

    def show(self):
        """Brings the widgets to what the effect is now."""
        options, session = self.options, self.session
        if options is None or self._watch.node is None:
            return
        node, volumeNode = self._watch.segmentation(), self._watch.volume()
        reason = self._reasonNotToStart()
        display.showChoices(options, self.parameters, volumeNode, session, reason)
        isApplying = session is not None and session.busy and session.phase == "apply"
        # What is half written is neither painted nor a draft yet.
        if self.parameters.mode() == LEARN and not isApplying:
            self._slices.show(None if reason else node, volumeNode, self.parameters.scribblesOnly())
        unknown = "" if reason or isApplying else self._unknown(node, volumeNode)
        done = "\n".join(filter(None, (unknown, self._done)))
        display.showProgress(options, self.parameters, session, reason, self._problem, done)
        # The editor can have gone on to another scan already, while the session of the last one has yet to be ended.
        isAbout = session is not None and session.isAbout(volumeNode, node)
        hasPreview = isAbout and self.preview is not None and session.proposal is not None
        options.previewFrame.setVisible(hasPreview)
        options.previewFrame.enabled = session is None or not session.busy
        if hasPreview:
            options.nextButton.enabled = session.proposal.place is not None
            options.nextButton.toolTip = (
                _("Shows the place where a correction teaches most.")
                if options.nextButton.enabled
                else _("Nothing is in doubt.")
            )
            takes = "" if session.busy else whatApplyTakes(self._watch.node, session, self._protected())
            options.takesLabel.text = takes
            options.takesLabel.setVisible(bool(takes))
        options.hintLabel.text = display.hint(self.parameters, session, self.preview is not None, reason)

    def _unknown(self, node, volumeNode) -> str:
        """What is no longer known of the segments that are learned from."""
        if self.parameters.mode() != LEARN:
            return ""
        segments = learnedSegments(node)
        try:
            texts = movedSegments.forgotten(node, segments), annotations.notParallel(node, segments, volumeNode)
        except SceneVolumeError as error:
            return str(error)
        return "\n".join(filter(None, texts))

    def _showPreview(self):
        session = self.session
        if session is None or session.proposal is None:
            return
        in3D = sceneSegmentations.isShownIn3D(session.segmentationNode)
        if self.preview is not None and self.preview.node is not None:
            self.preview.show(session.proposal, session.volumeNode, in3D)
        else:
            self.preview = PreviewNode(session.proposal, session.volumeNode, self.parameters.opacity(), in3D)
            self._later(self.options.revealPreview)
        self.preview.setShown(self.options.shownCheck.checked)
        self._addShortcut()
        if session.proposal.isEmpty:
            self._tellDraft("failed", _("the model found nothing."))
        else:
            self._tellDraft("shown")
        self.show()

    def _removePreview(self):
        self._shownProposal = None
        if self.preview is not None:
            self.preview.remove()
            self.preview = None
            self._removeShortcut()
        if self._isAlive():
            self.show()

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
