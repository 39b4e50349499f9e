"""The start that ships: it is found wherever HSSL is installed, small, licensed, and every training can begin with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hssl.configuration import Budget, FinetuneConfig, PretrainConfig
from hssl.errors import ConfigurationError
from hssl.jobs.estimate import estimate
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.models import find
from hssl.models.find import GENERAL, find_model, general_start
from hssl.models.model_file import load_model, read_description
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
    assert started_from["sources"] == read_description(general_start()).provenance["sources"]


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
