"""A workspace of generated scans, and the panel on it with a played process: what tests of sections start from."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

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
