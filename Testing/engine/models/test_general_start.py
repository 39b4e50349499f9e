"""The start that ships: it is found wherever HSSL is installed, small, licensed, and every training can begin with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hssl.cli import app
from hssl.configuration import Budget, FinetuneConfig, PretrainConfig
from hssl.errors import ConfigurationError
from hssl.jobs.estimate import estimate
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.models import find
from hssl.models.bundle import readme
from hssl.models.find import GENERAL, find_model, general_start
from hssl.models.model_file import load_model, read_description, write_model
from hssl.models.run_folder import RESERVED
from hssl.workspace.catalogue import Catalogue

QUICK = {"patch_size": 32, "batch_size": 4, "precision": "float32", "device": "cpu", "threads": 1}


def test_it_is_small_and_says_what_it_learned_from_and_under_which_licence():
    path = find_model(GENERAL)
    assert path.stat().st_size <= 4_000_000
    description = read_description(path)
    assert description.kind == "pretrained" and description.network.size == "small"
    sources = description.provenance["sources"]
    assert set(sources) == {task.name for task in description.tasks} == set(description.planes)
    assert description.licence == "CC BY-SA 4.0" and not any("GPL" in licence for licence in sources.values())
    assert description.provenance["steps"] > 0 and description.provenance["labels"] > 0
    assert "exclude" not in description.provenance["configuration"]


def test_both_trainings_begin_with_it(workspace):
    task = Catalogue.load(workspace).tasks[0].name
    values = {"workspace": workspace, "start": GENERAL, "budget": Budget(steps=1), **QUICK}
    done = finetune(FinetuneConfig.checked({**values, "task": task, "run": "tuned", "case_count": 1}))
    assert done.result.tensors_loaded > 50
    assert load_model(done.result.run)[0].provenance["start"] == GENERAL
    done = pretrain(PretrainConfig.checked({**values, "run": "more"}))
    started_from = load_model(done.result.run)[0].provenance["started_from"]
    sources = read_description(general_start()).sources
    assert started_from["sources"] == sources
    values = {**values, "start": "more", "task": task, "run": "from_it", "case_count": 1}
    assert finetune(FinetuneConfig.checked(values)).result.tensors_loaded > 50
    for run in ("tuned", "more", "from_it"):
        assert load_model(workspace / "runs" / run)[0].sources == sources
    file = workspace / "from_it.zip"
    exported = CliRunner().invoke(app, ["export", str(workspace / "runs" / "from_it"), str(file)]).output
    told = CliRunner().invoke(app, ["info", str(file)], env={"COLUMNS": "200"}).output
    for name, licence in sources.items():
        assert f"{name}: {licence}" in " ".join(exported.split()) and f"{name}: {licence}" in told
        assert f"- Has learned from {name}: {licence}" in readme(read_description(file))


def test_a_file_whose_origin_is_of_another_form_is_described_all_the_same(tmp_path):
    description, state = load_model(general_start())
    provenance = {"sources": ["a"], "cases": 7, "pretraining": "b", "started_from": {"sources": {"c": 1}}}
    write_model(tmp_path / "m.zip", description.model_copy(update={"provenance": provenance}), state)
    told = CliRunner().invoke(app, ["info", str(tmp_path / "m.zip")])
    assert told.exit_code == 0 and "c: 1" in told.output and "trained on" not in told.output


def test_it_is_found_among_the_installed_files_where_the_module_is_not(tmp_path, monkeypatch):
    there = tmp_path / "share" / "hssl" / find.GENERAL_FILE
    there.parent.mkdir(parents=True)
    there.write_bytes(general_start().read_bytes())

    class File:
        name = find.GENERAL_FILE

        @staticmethod
        def locate() -> Path:
            return there

    monkeypatch.setattr(find, "_RESOURCES", tmp_path / "nowhere")
    monkeypatch.setattr(find, "files", lambda name: [File])
    assert general_start() == there
    there.unlink()
    with pytest.raises(ConfigurationError, match="ships with HSSL"):
        general_start()


def test_the_estimate_is_of_the_network_that_the_start_brings(workspace):
    values = {"workspace": workspace, **QUICK}
    small, large = ({"network": {"size": size}} for size in ("small", "large"))
    wanted = estimate(PretrainConfig.checked({**values, **small})).result.bytes
    found = estimate(PretrainConfig.checked({**values, **large, "start": GENERAL})).result.bytes
    unmoved = estimate(PretrainConfig.checked({**values, **large})).result.bytes
    assert wanted < found < 1.3 * wanted < unmoved  # the start itself is held too
    forgets = {"start": GENERAL, "weights": {"distillation": 0}}
    assert estimate(PretrainConfig.checked({**values, **forgets})).result.bytes == wanted


@pytest.mark.parametrize("name", RESERVED)
def test_no_run_can_be_called_like_a_start(workspace, name):
    with pytest.raises(ConfigurationError, match="what a start is called"):
        pretrain(PretrainConfig.checked({"workspace": workspace, "run": name, "budget": Budget(steps=1), **QUICK}))
