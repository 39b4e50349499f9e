"""Makes the effect known to the Segment Editor."""

import slicer

from ..jobs.interpreter import ENGINE_FOLDER

NAME = "HSSL"
"""The effect's identity in scenes and scripts, in every language."""

EFFECT_FILE = ENGINE_FOLDER / "SegmentEditorHSSLLib" / "SegmentEditorHSSLEffect.py"


def register() -> None:
    """Adds the effect to the Segment Editor; called once, when the application has started."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    effect.setPythonSource(EFFECT_FILE.as_posix())
    effect.self().register()


def activate():
    """Makes the effect the active tool of the application's Segment Editor; returns its `EffectController`."""
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    editor.setActiveEffectByName(NAME)
    return editor.activeEffect().self().controller
