"""Pictures of the Segment Editor effect: `python Testing/panel/effect_screenshots.py --output Resources/Screenshots`.

Slices of a generated scan are painted from its true label; the real worker learns from them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ["QT_SCALE_FACTOR"] = "2"  # pictures that stay sharp on fine screens
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "HSSLSegmentation")]

import harness  # noqa: E402

harness.start()

import numpy as np  # noqa: E402
import SimpleITK as sitk  # noqa: E402

import slicer  # noqa: E402
from harness import pictures, segment_editor, views  # noqa: E402
from harness.fixtures import settle, waitUntil  # noqa: E402
from HSSLSegmentationLib import settings  # noqa: E402
from HSSLSegmentationLib.effect import registration as effectRegistration  # noqa: E402
from HSSLSegmentationLib.scene import volumes as sceneVolumes  # noqa: E402

WIDTH = 400
TASK = "liver_spleen_ct"


def scan(folder: Path) -> tuple[Path, Path]:
    from hssl.demo import scans as demo

    found = demo.generate(folder, labelled=1, unlabelled=0)[TASK]
    return next((found / "images").iterdir()), next((found / "labels").iterdir())


def openEditor(image: Path, label: Path):
    """A scan in the Segment Editor, with three slices of two structures painted."""
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    sceneVolumes.updateFromImage(volume, sitk.ReadImage(str(image)))
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(label)))
    slices = np.flatnonzero((truth > 0).any((1, 2)))
    for value, name in ((1, "Liver"), (2, "Spleen")):
        painted = np.zeros_like(truth)
        for index in slices[[len(slices) // 6, len(slices) // 2, 5 * len(slices) // 6]]:
            painted[index] = truth[index] == value
        segmentId = segmentation.GetSegmentation().AddEmptySegment("", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(painted, segmentation, segmentId, volume)
    effectRegistration.register()
    return segment_editor.opened(segmentation, volume, "HSSL")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    output = parser.parse_args().output
    pictures.prepare()
    with tempfile.TemporaryDirectory(prefix="hssl-") as folder:
        settings.setValue("python", sys.executable)
        editor = openEditor(*scan(Path(folder)))
        effect = editor.activeEffect().self().controller
        try:
            print(pictures.grab(editor, output / "effect-painted.png", WIDTH))
            effect.options.startButton.click()
            waitUntil(lambda: effect.session.phase == "learning" and effect.session.progress > 0.2, 120)
            print(pictures.grab(editor, output / "effect-learning.png", WIDTH))
            waitUntil(lambda: not effect.session.busy, 120)
            settle()
            print(pictures.grab(editor, output / "effect-preview.png", WIDTH))
            effect.options.nextButton.click()
            if not views.available():
                view = views.SliceView("Red")
                view.logic.FitSliceToAll()
                view.save(output / "effect-view.png")
                print(output / "effect-view.png")
            effect.options.applyButton.click()
            effect.options.predictButton.click()
            settle()
            print(pictures.grab(editor, output / "effect-predict.png", WIDTH))
        finally:
            effect.endSession()


if __name__ == "__main__":
    main()
