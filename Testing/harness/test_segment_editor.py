"""A scripted effect in the hosted Segment Editor: parameters, masking, overwrite mode and undo are the real logic's."""

from __future__ import annotations

import numpy as np
import pytest
import qt

import slicer
from harness import segment_editor, views

SOURCE = '''
import qt, vtk, slicer
import vtk.util.numpy_support as support
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect

class SegmentEditorBoxEffect(AbstractScriptedSegmentEditorEffect):
    """Fills the first `Size` voxels along i with the selected segment."""
    def __init__(self, scriptedEffect):
        scriptedEffect.name = "Box"
        scriptedEffect.title = "Fill a box"
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
    def clone(self):
        import qSlicerSegmentationsEditorEffectsPythonQt as effects
        copy = effects.qSlicerSegmentEditorScriptedEffect(None)
        copy.setPythonSource(__file__.replace("\\\\", "/"))
        return copy
    def helpText(self): return "Fills a box"
    def setMRMLDefaults(self): self.scriptedEffect.setParameterDefault("Size", 3)
    def setupOptionsFrame(self):
        self.size = qt.QSpinBox()
        self.scriptedEffect.addLabeledOptionsWidget("Size:", self.size)
        self.size.connect("valueChanged(int)", self.updateMRMLFromGUI)
    def updateGUIFromMRML(self):
        self.size.blockSignals(True)
        self.size.value = self.scriptedEffect.integerParameter("Size")
        self.size.blockSignals(False)
    def updateMRMLFromGUI(self, *_): self.scriptedEffect.setParameter("Size", self.size.value)
    def activate(self): self.active = True
    def deactivate(self): self.active = False
    def apply(self):
        effect = self.scriptedEffect
        modifier = effect.defaultModifierLabelmap()
        extent = modifier.GetExtent()
        voxels = support.vtk_to_numpy(modifier.GetPointData().GetScalars()).reshape(
            extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
        voxels[:, :, :effect.integerParameter("Size")] = 1
        effect.saveStateForUndo()
        effect.modifySelectedSegmentByLabelmap(modifier, slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeSet)
    def processInteractionEvents(self, callerInteractor, eventId, viewWidget):
        if eventId != vtk.vtkCommand.LeftButtonPressEvent:
            return False
        image = self.scriptedEffect.sourceVolumeImageData()
        self.ijk = self.xyToIjk(callerInteractor.GetEventPosition(), viewWidget, image)
        return True
'''


@pytest.fixture
def editor(tmp_path):
    folder = tmp_path / "SegmentEditorBox"
    folder.mkdir()
    path = folder / "SegmentEditorBoxEffect.py"
    path.write_text(SOURCE, encoding="utf-8")
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    effect.setPythonSource(str(path))
    effect.self().register()
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 6, 10), np.int16), name="CT")
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "labels")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in ("one", "two"):
        segmentation.GetSegmentation().AddEmptySegment(name, name)
    widget = segment_editor.opened(segmentation, volume, "Box")
    yield widget
    widget.setActiveEffect(None)
    widget.setMRMLSegmentEditorNode(None)
    segment_editor._registered.clear()


def count(editor, segment):
    volume = editor.sourceVolumeNode()
    return int(slicer.util.arrayFromSegmentBinaryLabelmap(editor.segmentationNode(), segment, volume).sum())


def test_an_effect_fills_the_selected_segment_and_undo_takes_it_back(editor):
    editor.activeEffect().self().apply()
    assert count(editor, "one") == 3 * 6 * 4
    editor.undo()
    assert count(editor, "one") == 0
    editor.redo()
    assert count(editor, "one") == 3 * 6 * 4


def test_the_overwrite_mode_decides_about_the_neighbour(editor):
    effect, node = editor.activeEffect().self(), editor.mrmlSegmentEditorNode()
    effect.apply()
    editor.setCurrentSegmentID("two")
    effect.scriptedEffect.setParameter("Size", 5)
    node.SetOverwriteMode(node.OverwriteNone)
    effect.apply()
    assert (count(editor, "one"), count(editor, "two")) == (72, 120)
    node.SetOverwriteMode(node.OverwriteAllSegments)
    effect.apply()
    assert (count(editor, "one"), count(editor, "two")) == (0, 120)


def test_masking_keeps_what_is_outside(editor):
    effect, node = editor.activeEffect().self(), editor.mrmlSegmentEditorNode()
    effect.apply()
    editor.setCurrentSegmentID("two")
    effect.scriptedEffect.setParameter("Size", 5)
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    effect.apply()
    assert (count(editor, "one"), count(editor, "two")) == (72, 48)


def test_options_show_the_parameters_and_change_them(editor):
    effect = editor.activeEffect()
    options = effect.self().size
    assert options.value == 3
    options.value = 4
    assert effect.integerParameter("Size") == 4
    assert editor.mrmlSegmentEditorNode().GetAttribute("Box.Size") == "4"
    effect.setParameter("Size", 6)
    assert options.value == 6


def test_leaving_the_effect_deactivates_it(editor):
    effect = editor.activeEffect().self()
    assert effect.active
    editor.setActiveEffectByName("")
    assert not effect.active and editor.activeEffect() is None


def test_a_click_in_a_view_reaches_the_effect(editor):
    slicer.util.setSliceViewerLayers(background=editor.sourceVolumeNode(), fit=True)
    assert editor._interact("Red", "LeftButtonPressEvent", 1, 1)
    assert len(editor.activeEffect().self().ijk) == 3


def test_an_effect_has_no_name_that_slicers_lacks(editor):
    with pytest.raises(AttributeError):
        editor.activeEffect().noSuchMethod()
    with pytest.raises(AttributeError):
        editor.activeEffect().noSuchProperty = 1


def test_a_second_effect_of_the_same_name_is_refused(editor):
    with pytest.raises(ValueError):
        segment_editor._registered[0].self().register()


def test_the_segment_editor_module_opens_with_the_registered_effects(editor):
    slicer.util.selectModule("SegmentEditor")
    module = slicer.util.getModuleWidget("SegmentEditor").editor
    module.setSegmentationNode(editor.segmentationNode())
    module.setSourceVolumeNode(editor.sourceVolumeNode())
    module.setActiveEffectByName("Box")
    module.activeEffect().self().apply()
    assert count(editor, "one") == 72 and slicer.modules.SegmentEditorWidget.editor is module


@pytest.mark.skipif(bool(views.available()), reason=views.available())
def test_a_slice_view_shows_the_volume_and_the_segment(editor, tmp_path):
    volume = editor.sourceVolumeNode()
    slicer.util.arrayFromVolume(volume)[:, :3] = 100
    slicer.util.arrayFromVolumeModified(volume)
    volume.CreateDefaultDisplayNodes()
    editor.activeEffect().self().apply()
    slicer.util.setSliceViewerLayers(background=volume)
    view = views.SliceView("Red", (120, 120))
    view.fit()
    view.save(tmp_path / "red.png")
    image = qt.QImage(str(tmp_path / "red.png"))
    colours = {image.pixel(x, y) for x in range(0, 120, 5) for y in range(0, 120, 5)}
    assert len(colours) >= 3
