"""Segment Editor effect "HSSL": learns a volume from a few painted slices, or predicts it with a trained model.

What Slicer calls by name; what the effect does is in HSSLSegmentationLib/effect.
"""

from pathlib import Path

import qt
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

from HSSLSegmentationLib.effect.registration import NAME


class SegmentEditorHSSLEffect(AbstractScriptedSegmentEditorEffect):
    """Hands on Slicer's calls.

    Attributes:
        controller: the `EffectController`, which does what is asked.
    """

    def __init__(self, scriptedEffect):
        # Imported anew for each editor, so that the developer's Reload shows new code.
        from HSSLSegmentationLib.effect.controller import EffectController

        scriptedEffect.name = NAME
        scriptedEffect.title = _("HSSL")
        scriptedEffect.perSegment = False
        # Without a segmentation, Slicer crashes when it makes such an effect active.
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.controller = EffectController(scriptedEffect)

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
            "<b>Learn:</b> the <b>visible</b> segments take part; hide those that are finished, or set their status to "
            "<i>Completed</i>. A slice on which a segment is painted counts as complete for it (where it is not painted "
            "there, it is not), unless <i>Scribbles only</i> is checked; what a sphere brush paints counts as scribbles. The "
            "slices are listed: click one to go there, uncheck it to leave it out. Look at the preview, go to the most "
            "uncertain slice, paint that slice too and learn again, or let it <i>update while you paint</i>.<br>"
            "<b>Apply</b> writes the preview into the segments; masking, overwrite mode and undo hold, and what you have "
            "painted stays as it is. It is a draft: only the slices that you correct then are learned from. What is "
            "painted and what is a draft is saved with the scene.</html>"
        )

    def createCursor(self, widget):
        return qt.QCursor(qt.Qt.ArrowCursor)

    def setMRMLDefaults(self):
        self.controller.setDefaults()

    def setupOptionsFrame(self):
        self.controller.setUp()

    def activate(self):
        self.controller.activate()

    def deactivate(self):
        self.controller.deactivate()

    def sourceVolumeNodeChanged(self):
        self.controller.sourceVolumeChanged()

    def referenceGeometryChanged(self):
        self.controller.followLater()

    def updateGUIFromMRML(self):
        self.controller.followLater()

    def updateMRMLFromGUI(self):
        self.controller.parameters.take(self.controller.options)

    def cleanup(self):
        self.controller.cleanUp()
