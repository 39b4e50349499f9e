"""Packages: missing, broken, of another Python; one dialog, and nothing that Slicer ships is ever replaced."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
import tomllib
import types
from pathlib import Path

import pytest
import qt

import slicer
from harness.fake_process import FakeProcess
from harness.fixtures import waitUntil
from HSSLSegmentationLib import installation, settings
from HSSLSegmentationLib.installation import InstallationError, Packages
from HSSLSegmentationLib.jobs.interpreter import InterpreterError
from HSSLSegmentationLib.jobs.jobStarter import JobStarter
from HSSLSegmentationLib.jobs.process import QtProcess

real = importlib.metadata.version
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@pytest.fixture
def absent(monkeypatch):
    """Names of packages that are not installed, as far as anybody can see."""
    names: set[str] = set()

    def version(name):
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    return names


@pytest.fixture
def pip(monkeypatch, absent):
    """What was asked of pip, with the text of the constraints; everything gets installed."""
    asked = []

    def install(arguments):
        constraints = Path(arguments[arguments.index("-c") + 1]).read_text()
        asked.append((arguments, constraints))
        absent.clear()

    monkeypatch.setattr(slicer.util, "pip_install", install)
    return asked


def known(process: FakeProcess, *said: str, exitCode: int = 0, python: str = sys.executable) -> Packages:
    answers: list[Packages] = []
    installation.probe(process, answers.append, python)
    process.say(*said)
    process.end(exitCode)
    return answers[0]


def test_everything_is_there():
    assert installation.missingRequirements() == []
    assert installation.canReadCatalogues()


def test_what_is_missing_is_named_without_importing_anything(absent):
    absent.update({"torch", "monai"})
    installation.forget()
    packages: list[Packages] = []
    installation.probe(FakeProcess(), packages.append)
    assert packages[0].missing == [installation.TORCH, "monai>=1.5.1"]
    assert "torch, monai" in installation.adviceFor(packages[0])


def test_a_broken_torch_is_told_with_its_reason_and_does_not_reach_slicer():
    answer = "HSSL-PROBE " + json.dumps({"python": "3.12", "problem": "OSError: libcudart.so.12 not found"})
    packages = known(FakeProcess(), "some warning", answer)
    assert not packages.ready
    assert "libcudart.so.12" in installation.adviceFor(packages)
    packages = known(FakeProcess(), "Illegal instruction", exitCode=132)
    assert "Illegal instruction" in installation.adviceFor(packages)


def test_a_graphics_card_that_does_not_compute_is_told_and_the_processor_is_used():
    answer = {"torch": "2.7", "device": "cpu", "deviceProblem": "RuntimeError: no kernel image is available"}
    packages = known(FakeProcess(), "HSSL-PROBE " + json.dumps(answer))
    assert packages.ready and packages.device == "cpu"
    assert "no kernel image" in packages.deviceProblem


def test_the_real_python_answers_the_probe():
    answers: list[Packages] = []
    installation.probe(QtProcess(), answers.append, sys.executable)
    waitUntil(lambda: answers, 90)
    assert answers[0].ready, answers[0]
    assert answers[0].torch == real("torch")


def test_another_python_is_told_the_command_to_run_in_it():
    advice = installation.adviceFor(Packages(False, problem="No module named 'torch'"), "/opt/python")
    assert '"/opt/python" -m pip install' in advice and "requirements.txt" in advice
    # All that jobs need comes by that command (Jinja2 with torch), or the check would tell the same again.
    told = advice + installation.REQUIREMENTS_FILE.read_text(encoding="utf-8")
    for requirement in tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]:
        name = re.match(r"[\w-]+", requirement)[0]
        assert name == "Jinja2" or f'"{name}' in told or f"\n{name}>" in told, requirement


def test_one_question_then_the_rest_under_constraints_that_keep_torch_numpy_and_simpleitk(absent, pip, dialogs):
    absent.update({"monai", "rich"})
    dialogs.answer(qt.QMessageBox.Ok)
    with dialogs.interactive():
        assert installation.install()
    assert len(dialogs.shown) == 1
    assert "monai>=1.5.1" in dialogs.shown[0].text
    (arguments, constraints), *others = pip
    assert not others
    assert arguments[2:] == ["monai>=1.5.1", "rich>=13.7"]
    for name in ("torch", "numpy", "SimpleITK"):
        assert f"{name}=={real(name)}\n" in constraints
    assert not os.path.exists(arguments[1])


def test_nothing_is_installed_when_the_user_declines(absent, pip, dialogs):
    absent.add("monai")
    dialogs.answer(qt.QMessageBox.Cancel)
    with dialogs.interactive():
        assert not installation.install()
    assert not pip


def test_torch_comes_through_the_pytorch_extension(absent, pip, monkeypatch):
    asked = []

    class PyTorchUtilsLogic:
        def installTorch(self, **options):
            asked.append(options)
            absent.clear()
            return types.ModuleType("torch")

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    absent.update({"torch"})
    assert installation.install(askFirst=False)
    assert asked == [{"askConfirmation": False, "torchVersionRequirement": ">=2.2,!=2.9.*"}]


def test_without_the_pytorch_extension_the_user_is_told_where_to_get_it(absent, pip, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    absent.add("torch")
    with pytest.raises(InstallationError, match="Extensions Manager"):
        installation.install(askFirst=False)


def test_a_failed_installation_is_told_with_its_reason(absent, monkeypatch):
    def fail(arguments):
        raise RuntimeError("no network")

    absent.add("monai")
    monkeypatch.setattr(slicer.util, "pip_install", fail)
    with pytest.raises(InstallationError, match="no network"):
        installation.install(askFirst=False)


def test_slicers_own_installer_is_used_where_there_is_one(absent, monkeypatch):
    asked = []

    def pip_ensure(requirements, **options):
        asked.append((requirements, options["prompt_install"]))
        absent.clear()

    module = types.ModuleType("slicer.packaging")
    module.pip_ensure = pip_ensure
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    absent.add("monai")
    assert installation.install(askFirst=False)
    assert asked == [(["monai>=1.5.1"], False)]


# Another Python for the jobs ------------------------------------------------------------------------------------


def test_with_another_python_for_the_jobs_slicers_own_needs_only_what_it_reads_them_with(absent, pip):
    absent.update({"torch", "monai", "pydantic"})
    installation.forget()
    settings.setValue("python", sys.executable)
    assert installation.missingRequirements(sys.executable) == [installation.OF_CATALOGUES]
    packages: list[Packages] = []
    installation.probe(FakeProcess(), packages.append, sys.executable)
    assert "pydantic" in installation.adviceFor(packages[0], sys.executable)
    assert installation.install(askFirst=False)
    ((arguments, _constraints),) = pip
    assert "pydantic>=2.7" in arguments and not any("torch" in text or "monai" in text for text in arguments)


def test_a_job_is_refused_with_the_reason_where_slicers_own_python_could_not_read_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "hssl.events")
    monkeypatch.setitem(sys.modules, "pydantic", None)
    started: list[FakeProcess] = []
    starter = JobStarter(lambda: started.append(FakeProcess()) or started[-1])
    settings.setValue("python", sys.executable)
    for start in (lambda: starter.start("demo", ["demo"]), lambda: starter.configured("pretrain", {"workspace": "w"})):
        with pytest.raises(InterpreterError, match="lacks pydantic.*Install packages"):
            start()
    assert not started
