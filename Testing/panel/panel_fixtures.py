"""A workspace of generated scans, and the panel on it with a played process: what tests of sections start from."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

import slicer
from harness import loadModule
from harness.fake_process import FakeProcess
from harness.fixtures import settle
from hssl.configuration import FinetuneConfig, PretrainConfig
from hssl.models.run_folder import CONFIG, LAST, RESULT

MODULE = Path(__file__).resolve().parent.parent.parent / "HSSLSegmentation" / "HSSLSegmentation.py"


@pytest.fixture(scope="session")
def generatedWorkspace(tmp_path_factory) -> Path:
    """Made once; tests get copies."""
    from hssl.demo.workspace import sample

    folder = tmp_path_factory.mktemp("generated") / "workspace"
    sample(folder, "tiny")
    return folder


@pytest.fixture
def workspace(generatedWorkspace, tmp_path) -> Path:
    return Path(shutil.copytree(generatedWorkspace, tmp_path / "my scans"))


@pytest.fixture
def widget():
    """The module's widget, as after the user has opened the module."""
    from HSSLSegmentationLib import settings

    settings.setValue("python", sys.executable)
    representation = loadModule(MODULE).widgetRepresentation()
    representation.enter()
    return slicer.util.getModuleWidget("HSSLSegmentation")


@pytest.fixture
def panel(widget, workspace):
    widget.panel.parameterNode.workspace = str(workspace)
    settle()
    return widget.panel


@pytest.fixture
def processes(panel) -> list[FakeProcess]:
    """The processes that the panel starts from now on; none of them is real."""
    made: list[FakeProcess] = []

    def make() -> FakeProcess:
        made.append(FakeProcess())
        return made[-1]

    panel.logic.starter.makeProcess = make
    yield made
    for process in made:
        process.end(0)


def configurationOf(process: FakeProcess) -> dict:
    """Returns the configuration that the process was given."""
    return json.loads(Path(process.argument("--config")).read_text(encoding="utf-8"))


def fakeRun(root: Path, name: str, result: dict | None = None, **config) -> Path:
    """Writes the files of a run that the panel reads: a fine-tuning when it has a task, unfinished without a result."""
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    kind = FinetuneConfig if "task" in config else PretrainConfig
    (folder / CONFIG).write_text(kind.checked({"workspace": root, "run": name, **config}).model_dump_json())
    (folder / LAST).write_bytes(b"")
    if result is not None:
        (folder / RESULT).write_text(json.dumps({"steps": 1, "minutes": 0.5, **result}))
    return folder


def answerPrediction(process: FakeProcess, value: int = 1, uncertainty: bool = False) -> None:
    """Writes what the engine would have predicted, `value` everywhere, and ends the job."""
    configuration = configurationOf(process)
    image = sitk.ReadImage(configuration["inputs"][0])
    output = Path(configuration["output"])
    output.mkdir()
    sitk.WriteImage(sitk.Cast(image * 0 + value, sitk.sitkUInt8), str(output / "volume.nii.gz"))
    entry = {"input": configuration["inputs"][0], "label_map": str(output / "volume.nii.gz")}
    if uncertainty:
        sitk.WriteImage(sitk.Cast(image * 0 + 0.5, sitk.sitkFloat32), str(output / "u.nii.gz"))
        entry["uncertainty"] = str(output / "u.nii.gz")
    process.say({"event": "done", "result": {"outputs": [entry], "failed": []}})
    process.end(0)
    settle()
