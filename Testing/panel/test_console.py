"""The console API: every call is there with an example, waits or does not, and raises with the engine's reason."""

from __future__ import annotations

import ast
import inspect
import sys

import numpy
import pytest
from panel_fixtures import MODULE, configurationOf, fakeRun

import slicer
from harness.fake_process import FakeProcess
from hssl.errors import ConfigurationError
from HSSLSegmentationLib.jobs.job import Job, JobError


@pytest.fixture
def logicClass(widget):
    return type(widget.logic)


def public(logicClass):
    own = vars(logicClass).items()
    return {name: method for name, method in own if inspect.isfunction(method) and not name.startswith("_")}


def test_the_calls_that_scripts_rely_on_exist(logicClass):
    calls = public(logicClass)
    training = {"pretrain", "fineTune", "compare", "learningCurve", "checkLabels", "resume", "runs", "estimateMemory"}
    data = {"createWorkspace", "createSampleWorkspace", "addFolder", "addDicom", "addVolume", "images"}
    care = {"checkImages", "suggestGroups", "suggest", "openForLabelling", "setLabel"}
    results = {"segment", "segmentFolder", "evaluate", "exportModel", "importModel", "models"}
    assert training | data | care | results <= calls.keys()


def test_every_call_is_documented_with_an_example_that_is_python(logicClass):
    for name, method in public(logicClass).items():
        text = inspect.getdoc(method)
        assert "Example::" in text, name
        example = inspect.cleandoc(text.split("Example::")[1])
        ast.parse(example)
        assert f"logic.{name}(" in example, name


def test_a_call_that_waits_raises_with_the_jobs_reason(logicClass, workspace):
    class Failing(FakeProcess):
        def start(self, program, arguments, environment):
            super().start(program, arguments, environment)
            self.say({"event": "failed", "kind": "ConfigurationError", "message": "no such thing", "hint": "Do that."})
            self.end(3)

    logic = logicClass(makeProcess=Failing)
    with pytest.raises(JobError, match="no such thing\nDo that.") as caught:
        logic.pretrain(workspace, minutes=1, waitForCompletion=True)
    assert caught.value.job.state == "failed"


def test_a_setting_that_does_not_exist_is_refused_before_anything_starts(logicClass, workspace):
    from hssl.errors import ConfigurationError

    started = []
    logic = logicClass(makeProcess=lambda: started.append(1))
    with pytest.raises(ConfigurationError, match="speed"):
        logic.pretrain(workspace, minutes=1, options={"speed": "fast"})
    assert not started
    with pytest.raises(ValueError, match="no finished pretraining"):
        logic.fineTune(workspace, "brain_mr", start="pretrained", minutes=1)


def test_pretrained_means_the_latest_finished_pretraining(logicClass, workspace):
    process = FakeProcess()
    logic = logicClass(makeProcess=lambda: process)
    fakeRun(workspace, "first", {"steps": 1})
    fakeRun(workspace, "unfinished")
    job = logic.fineTune(workspace, "brain_mr", start="pretrained", caseCount=2, minutes=1)
    assert isinstance(job, Job)
    configuration = configurationOf(process)
    assert (configuration["start"], configuration["case_count"], configuration["run"]) == ("first", 2, "brain_mr")
    process.end(0)


@pytest.mark.parametrize(
    ("call", "budget"),
    [
        ("pretrain", {"minutes": 30.0}),
        ("fineTune", {"minutes": 5.0}),
        ("compare", {"minutes": 5.0}),
        ("learningCurve", {"steps": 200}),
        ("checkLabels", {"steps": 200}),
    ],
)
def test_a_training_of_which_nobody_says_when_it_ends_has_the_engines_own_budget(
    panel, workspace, processes, call, budget
):
    _kind, wanted = JOBS_OF_CALLS[call]
    getattr(panel.logic, call)(workspace, **wanted)
    found = configurationOf(processes[-1])
    assert {k: v for k, v in found.get("finetune", found)["budget"].items() if v is not None} == budget
    processes[-1].end(0)
    getattr(panel.logic, call)(workspace, **wanted, steps=3)
    found = configurationOf(processes[-1])
    assert {k: v for k, v in found.get("finetune", found)["budget"].items() if v is not None} == {"steps": 3}
    processes[-1].end(0)


def test_every_training_but_a_pretraining_starts_from_the_best_there_is(panel, workspace, processes):
    def starts() -> list[str]:
        found = []
        for call in ("fineTune", "compare", "learningCurve", "checkLabels"):
            getattr(panel.logic, call)(workspace, "brain_mr")
            values = configurationOf(processes[-1])
            found.append(values.get("start") or values["finetune"]["start"])
            processes[-1].end(0)
        return found

    assert starts() == ["general"] * 4
    fakeRun(workspace, "night", {"steps": 1})
    assert starts() == ["night"] * 4


def test_a_model_for_import_needs_a_workspace(logicClass, tmp_path):
    logic = logicClass(makeProcess=FakeProcess)
    with pytest.raises(ValueError, match="Name the workspace"):
        logic.importModel(tmp_path / "a.zip")


def test_a_pretraining_cannot_segment(logicClass, workspace):
    run = fakeRun(workspace, "first", {"steps": 1})
    volume = slicer.util.addVolumeFromArray(numpy.zeros((4, 4, 4)), name="CT")
    with pytest.raises(ValueError, match="fine-tune it for a task first"):
        logicClass(makeProcess=FakeProcess).segment(volume, run)


def test_files_import_at_their_top_only_what_every_slicer_has():
    allowed = {*sys.stdlib_module_names, "slicer", "vtk", "numpy", "qt", "ctk", "HSSLSegmentationLib"}
    for path in [MODULE, *(MODULE.parent / "HSSLSegmentationLib").rglob("*.py")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                # The engine's errors and locks are plain Python: no package is needed to read them.
                assert name in ("hssl.errors", "hssl.locks") or name.split(".")[0] in allowed, f"{path.name}: {name}"


JOBS_OF_CALLS = {
    "pretrain": ("pretrain", {}),
    "fineTune": ("finetune", {"task": "brain_mr", "start": "scratch"}),
    "compare": ("compare", {"task": "brain_mr", "start": "p"}),
    "learningCurve": ("learning_curve", {"task": "brain_mr", "start": "p"}),
    "checkLabels": ("check_labels", {"task": "brain_mr", "start": "p"}),
    "suggest": ("suggest", {"task": "brain_mr", "model": "m"}),
    "segmentFolder": ("predict", {"folder": "in", "model": "m", "outputFolder": "out"}),
    "evaluate": ("evaluate", {"predictions": "p", "references": "r", "outputFolder": "out"}),
}
"""Each call that starts a job with a configuration: the job, and arguments that the call wants."""
ARGUMENTS = {
    "kind",
    "workspace",
    "start",
    "run",
    "cases",
    "case_count",
    "seed",
    "network",
    "budget",
    "inputs",
    "finetune",
}
"""Fields that are arguments of the calls, that each trial of a comparison sets, or that hold other fields."""


def another(value):
    """Returns a value that is not the field's, or None where there is none that any field of the kind would take."""
    if value is None:
        return 1
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 16
    if isinstance(value, float):
        return value / 2
    return {"auto": "cpu"}.get(value) if isinstance(value, str) else None


@pytest.mark.parametrize("call", JOBS_OF_CALLS)
def test_every_field_of_a_jobs_configuration_can_be_set_from_the_console(panel, workspace, processes, call):
    """As an argument of its own, or by `options`; so the console can do what the command line can."""
    kind, wanted = JOBS_OF_CALLS[call]
    method = getattr(panel.logic, call)
    if "workspace" in inspect.signature(method).parameters:
        wanted = {"workspace": workspace, **wanted}

    def asked(**options) -> dict:
        method(**wanted, options=options, waitForCompletion=False)
        found = configurationOf(processes[-1])
        processes[-1].end(0)
        return {**found.pop("finetune", {}), **found}

    before = asked()
    changed = {name: another(value) for name, value in before.items() if name not in ARGUMENTS}
    changed = {name: value for name, value in changed.items() if value is not None}
    assert len(changed) >= 3
    for name, value in changed.items():
        try:
            found = asked(**{name: value})[name]
        except ConfigurationError:  # a field that takes only some values; that it was refused shows that it arrived
            continue
        assert found == value, f"{call} cannot set {name} of {kind}"
