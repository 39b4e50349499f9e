"""Pictures of the panel at two widths: `python Testing/panel/screenshots.py --output Resources/Screenshots`.

Nothing in them is made up: scans are generated, a network is pretrained and fine-tuned, and a scan is segmented by
clicking through the panel, with the real engine in its own process.
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

import slicer  # noqa: E402
from harness import pictures, scripted_module, views  # noqa: E402
from harness.fixtures import waitUntil  # noqa: E402

WIDTHS = (400, 600)


class Tour:
    """One walk through the panel, which leaves a picture at every station."""

    def __init__(self, folder: Path, output: Path, minutes: float):
        self.output, self.minutes = output, minutes
        self.module = harness.loadModule(ROOT / "HSSLSegmentation" / "HSSLSegmentation.py")
        self.widget = slicer.util.getModuleWidget("HSSLSegmentation")
        self.panel = self.widget.panel
        self.workspace = folder / "scans"
        self.widget.logic.createSampleWorkspace(self.workspace)
        self.panel.parameterNode.workspace = str(self.workspace)
        self.panel.refresh()

    def picture(self, name: str) -> None:
        buttons = [
            button
            for key, button in vars(self.panel.ui).items()
            if key.endswith("Button") and hasattr(button, "collapsed")
        ]
        for button in buttons:
            button.collapsed = button.name.lower() != f"{name.lower()}button"
        for width in WIDTHS:
            print(pictures.grab(self.widget.parent, self.output / f"{name}-{width}.png", width), flush=True)

    def run(self, section, picture: str = "", at: float = 0.8) -> None:
        """Click Start and wait for the end; the picture is taken on the way, or else at the end."""
        assert section.ui.startButton.enabled, section.ui.startButton.toolTip
        section.ui.startButton.click()
        job = self.panel.job
        if picture:
            waitUntil(
                lambda: not job.isRunning() or (job.losses and job.progress >= at), 3600, f"{at:.0%} of {job.kind}"
            )
            slicer.app.processEvents()
            self.picture(picture)
        waitUntil(lambda: not job.isRunning(), 3600, f"the end of {job.kind}")
        assert job.state == "done", (job.error, list(job.lastLines))
        slicer.app.processEvents()

    def take(self) -> None:
        panel, parameters = self.panel, self.panel.parameterNode
        self.picture("Dataset")
        parameters.pretrainMinutes = self.minutes
        self.run(panel.pretrain, "Pretrain")
        catalogue = panel.catalogue
        task = max(catalogue.tasks, key=lambda task: len(catalogue.usable(task.name, labelled=True))).name
        parameters.fineTuneTask = task
        parameters.fineTuneStart = next(run.name for run in panel.runs if run.kind == "pretrain")
        parameters.fineTuneCases, parameters.fineTuneCaseCount = "some", 3
        parameters.fineTuneMinutes = self.minutes
        slicer.app.processEvents()
        self.run(panel.fineTune)
        self.picture("FineTune")
        self.segment(catalogue.usable(task, labelled=False)[0].id)
        self.picture("Models")
        self.picture("Settings")

    def segment(self, image: str) -> None:
        from HSSLSegmentationLib.scene import pictures as scenePictures

        parameters = self.panel.parameterNode
        parameters.inputVolume = volume = scenePictures.show(self.panel.catalogue, image)
        self.panel.refresh()
        parameters.model = str(next(run.path for run in self.panel.runs if run.kind == "finetune"))
        self.panel.refresh()
        self.run(self.panel.segment)
        self.picture("Segment")
        if views.available():
            print(f"No picture of the views: {views.available()}")
            return
        view = views.SliceView("Red", (600, 600))
        slicer.util.setSliceViewerLayers(background=volume)
        view.fit()
        view.save(self.output / "Result.png")

    def end(self) -> None:
        scripted_module.unload(self.module)
        slicer.mrmlScene.Clear(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the pretraining and of the fine-tuning")
    arguments = parser.parse_args()
    pictures.prepare()
    with tempfile.TemporaryDirectory(prefix="hssl-") as folder:
        tour = Tour(Path(folder), arguments.output, arguments.minutes)
        try:
            tour.take()
        finally:
            tour.end()


if __name__ == "__main__":
    main()
