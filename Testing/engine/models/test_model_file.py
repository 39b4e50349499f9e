"""Model files: the same bits on another machine, a bundle for MONAI, and nothing believed that a stranger wrote."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from hssl.errors import InputError, ModelFileError, OutputError, WorkspaceError
from hssl.files import write_json
from hssl.models.bundle import metadata, readme
from hssl.models.description import ModelDescription
from hssl.models.model_file import (
    describe,
    export_model,
    folder_name,
    install_model,
    load_model,
    read_description,
    read_model,
    write_model,
)
from hssl.models.network import build_network
from hssl.models.run_folder import RunFolder
from hssl.workspace.catalogue import Catalogue

sys.path.insert(0, str(Path(__file__).parents[2] / "robustness"))
import untrusted_models

PERCENTILES = {"spacing": [1, 1, 1], "slice_axis": 0, "normalisation": "percentiles", "median_size": [8, 32, 32]}
WINDOW = PERCENTILES | {"normalisation": "window", "lower": -100, "upper": 300, "center": 40, "scale": 90}


def description(**changes) -> ModelDescription:
    classes = [
        {"value": 3, "name": "anterior", "color": [0.9, 0.1, 0.2], "terminology": "a~b^c~d"},
        {"value": 7, "name": "posterior"},
    ]
    values = {
        "kind": "segmentation",
        "name": "Hippocampe · gauche",
        "network": {"in_slices": 1},
        "patch_size": [32, 32],
        "tasks": [{"name": "hippocampus", "modality": "MR", "anatomy": "brain", "classes": classes}],
        "fingerprints": {"hippocampus": PERCENTILES},
        "out_channels": 3,
        "provenance": {"steps": 12, "seeds": [0], "versions": {"torch": "2"}},
        "figures": {"validation_dice": 0.875},
        "licence": "CC-BY-4.0",
    }
    return ModelDescription.model_validate(values | changes)


def weights(of: ModelDescription, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return build_network(of.network, of.out_channels).state_dict()


VARIANTS = [
    {},
    {"network": {"in_slices": 5, "norm": "group"}},
    {"network": {"in_slices": 1, "norm": "batch"}},
    {"network": {"spatial_dims": 3, "in_slices": 1}, "patch_size": [16, 32, 32]},
    {"kind": "pretrained", "network": {"in_slices": 3}, "out_channels": 3},
]


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "model.zip"
    write_model(path, description(), weights(description()))
    return path


@pytest.fixture
def workspace(tmp_path) -> Path:
    Catalogue.create(tmp_path / "workspace")
    return tmp_path / "workspace"


@pytest.mark.parametrize("changes", VARIANTS)
def test_description_and_every_bit_of_the_weights_survive(tmp_path, changes):
    told = description(**changes)
    state = weights(told)
    write_model(tmp_path / "m.zip", told, state)
    read, tensors = read_model(tmp_path / "m.zip")
    assert read == told == read_description(tmp_path / "m.zip")
    assert set(tensors) == set(state)
    assert all(tensors[n].dtype == t.dtype and torch.equal(tensors[n], t) for n, t in state.items())
    build_network(read.network, read.out_channels).load_state_dict(tensors, strict=True)


def test_the_same_model_gives_the_same_bytes(tmp_path, model):
    write_model(tmp_path / "again.zip", description(), weights(description()))
    assert (tmp_path / "again.zip").read_bytes() == model.read_bytes()
    write_model(tmp_path / "other.zip", description(), weights(description(), seed=1))
    assert (tmp_path / "other.zip").read_bytes() != model.read_bytes()


def test_an_imported_model_computes_the_same_bits_in_another_process(tmp_path, model, workspace):
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(5))
    network = build_network(description().network, 3)
    network.load_state_dict(weights(description()))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        here = network.eval()(images)
    torch.set_num_threads(threads)
    script = (
        "import sys, hashlib, torch; torch.set_num_threads(1)\n"
        "from hssl.models.model_file import install_model, read_model\n"
        "from hssl.models.network import build_network\n"
        "told, state = read_model(install_model(sys.argv[1], sys.argv[2]))\n"
        "network = build_network(told.network, told.out_channels); network.load_state_dict(state)\n"
        "images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(5))\n"
        "with torch.no_grad(): print(hashlib.sha256(network.eval()(images).numpy().tobytes()).hexdigest())\n"
    )
    there = subprocess.run([sys.executable, "-c", script, model, workspace], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == hashlib.sha256(here.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("changes", VARIANTS)
def test_monai_reads_the_bundle_builds_the_network_and_computes_the_same(tmp_path, changes):
    import safetensors.torch
    from monai.bundle import ConfigParser
    from monai.bundle.scripts import verify_net_in_out

    told = description(**changes)
    write_model(tmp_path / "m.zip", told, weights(told))
    with zipfile.ZipFile(tmp_path / "m.zip") as file:
        file.extractall(tmp_path / "bundles")
    bundle = tmp_path / "bundles" / "Hippocampe_gauche"
    parser = ConfigParser()
    parser.read_config(bundle / "configs/inference.json")
    parser.read_meta(bundle / "configs/metadata.json")
    network = parser.get_parsed_content("network_def")
    assert type(network).__module__.startswith("monai.")
    weights_of_bundle = safetensors.torch.load_file(bundle / "models/model.safetensors")
    missing, unexpected = network.load_state_dict(weights_of_bundle, strict=False)
    assert not unexpected and all(name.startswith("skip_layers.") for name in missing)  # second names of the same
    ours = build_network(told.network, told.out_channels)
    ours.load_state_dict(weights(told))
    images = torch.rand(1, told.network.in_slices, *told.patch_size)
    with torch.no_grad():
        assert torch.equal(network.eval()(images), ours.eval()(images))
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs/metadata.json"),
        config_file=str(bundle / "configs/inference.json"),
        device="cpu",
    )


def test_the_metadata_has_what_monais_schema_requires(model):
    with zipfile.ZipFile(model) as file:
        metadata = json.loads(file.read("Hippocampe_gauche/configs/metadata.json"))
    texts = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors")
    assert all(isinstance(metadata[name], str) and metadata[name] for name in (*texts, "copyright"))
    assert isinstance(metadata["required_packages_version"], dict)
    formats = metadata["network_data_format"]
    for tensor in (formats["inputs"]["image"], formats["outputs"]["pred"]):
        assert {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range"} <= set(tensor)
        assert isinstance(tensor["num_channels"], int) and isinstance(tensor["channel_def"], dict)
    assert formats["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "anterior", "2": "posterior"}
    assert metadata["eval_metrics"] == {"validation_dice": 0.875}


def test_licence_and_readme_are_there_for_people(model):
    with zipfile.ZipFile(model) as file:
        assert file.read("Hippocampe_gauche/LICENSE").decode() == "CC-BY-4.0\n"
        readme = file.read("Hippocampe_gauche/docs/README.md").decode()
    assert "| 7 | posterior |" in readme and "validation_dice: 0.875" in readme and "· gauche" in readme


@pytest.mark.parametrize(("with_labels", "said"), [(True, "with the labels of"), (False, "without labels on")])
def test_a_pretrained_models_card_says_whether_labels_were_learned(with_labels, said):
    told = description(kind="pretrained", provenance={"configuration": {"with_labels": with_labels}})
    assert f"pretrained {said}: hippocampus." in readme(told)
    assert f"pretrained {said}: hippocampus." in metadata(told)["description"]


def test_a_class_named_like_an_expression_is_text_for_monai(tmp_path):
    from monai.bundle import ConfigParser

    hostile = f"$__import__('os').mkdir({str(tmp_path / 'canary')!r})"
    task = {"name": hostile, "modality": hostile, "classes": [{"value": 1, "name": hostile}]}
    told = description(
        name=hostile, tasks=[task], fingerprints={hostile: PERCENTILES}, out_channels=2, licence=hostile, figures={}
    )
    write_model(tmp_path / "m.zip", told, weights(told))
    assert read_description(tmp_path / "m.zip") == told
    with zipfile.ZipFile(tmp_path / "m.zip") as file:
        name = next(n for n in file.namelist() if n.endswith("metadata.json"))
        metadata = json.loads(file.read(name))
    parser = ConfigParser({"_meta_": metadata})
    parser.get_parsed_content("_meta_")
    assert not (tmp_path / "canary").exists()


def test_the_description_is_read_without_torch(model):
    script = (
        "import sys; from hssl.models.model_file import read_description; print(read_description(sys.argv[1]).name)\n"
        "assert 'torch' not in sys.modules and 'monai' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, model], check=True)


def test_fields_of_another_program_stay_in_the_catalogue(tmp_path):
    told = description()
    told.tasks[0].model_extra["reviewed_by"] = "somebody"
    told.tasks[0].classes[0].model_extra["shade"] = 3
    write_model(tmp_path / "m.zip", told, weights(told))
    assert read_description(tmp_path / "m.zip") == description()


def test_weights_of_another_network_are_not_written(tmp_path):
    path = tmp_path / "m.zip"
    state = weights(description())
    name, tensor = next(iter(state.items()))
    for wrong, reason in (
        ({n: t for n, t in state.items() if n != name}, "lacks 1 tensor"),
        (state | {"head.weight": torch.zeros(1)}, "no tensor 'head.weight'"),
        (state | {name: tensor.double()}, "type and shape"),
        (state | {name: tensor * float("nan")}, "NaN"),
    ):
        with pytest.raises(ModelFileError, match=reason):
            write_model(path, description(), wrong)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_leaves_the_older_file_and_nothing_else(tmp_path, model, monkeypatch):
    before = model.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OutputError, match="No space left"):
        write_model(model, description(), weights(description(), seed=1))
    assert model.read_bytes() == before and list(tmp_path.iterdir()) == [model]


# Runs --------------------------------------------------------------------------------------------------------------


def run_with(folder: Path, **names: int) -> Path:
    folder.mkdir()
    write_json(folder / "config.json", {"run": folder.name})
    for name, seed in names.items():
        content = {"network": weights(description(), seed), "description": description().model_dump(mode="json")}
        RunFolder(folder).save_checkpoint(content, f"{name}.pt")
    return folder


def test_the_best_checkpoint_is_exported_and_the_last_where_there_is_no_best(tmp_path):
    for names, seed in (({"last": 1, "best": 2}, 2), ({"last": 1}, 1)):
        run = run_with(tmp_path / f"run{seed}", **names)
        told = export_model(run, tmp_path / f"m{seed}.zip", licence="MIT")
        read, tensors = read_model(tmp_path / f"m{seed}.zip")
        assert read == told and told.licence == "MIT"
        expected = weights(description(), seed)
        assert all(torch.equal(tensors[n], t) for n, t in expected.items())
        assert load_model(run)[0] == description()


def test_a_run_without_checkpoint_or_with_a_damaged_one_is_refused_by_name(tmp_path):
    run = run_with(tmp_path / "run")
    with pytest.raises(InputError, match="run: has no checkpoint"):
        export_model(run, tmp_path / "m.zip")
    (run / "last.pt").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InputError, match=r"last\.pt: is not a checkpoint"):
        describe(run)
    RunFolder(run).save_checkpoint({"network": {}, "description": {"kind": "os.system"}})
    with pytest.raises(InputError, match=r"last\.pt: is not a checkpoint: kind"):
        load_model(run)
    assert not (tmp_path / "m.zip").exists()


def test_info_tells_of_a_model_file_and_of_a_run(tmp_path, model):
    told = describe(model)
    assert told.kind == "segmentation" and told.bytes == model.stat().st_size
    assert told.description.tasks[0].classes[1].name == "posterior"
    run = run_with(tmp_path / "run", last=1)
    told = describe(run)
    assert told.checkpoint == "last.pt" and told.config == {"run": "run"} and told.result is None
    for read in (describe, load_model):
        with pytest.raises(ModelFileError, match="is a checkpoint of a run, not a model file") as refused:
            read(run / "last.pt")
        assert str(run) in refused.value.hint
    write_json(run / "result.json", {"steps": 3})
    assert describe(run).result == {"steps": 3}
    json.loads(told.model_dump_json())


# Import ------------------------------------------------------------------------------------------------------------


def test_an_import_is_a_copy_of_the_same_bytes(model, workspace):
    copy = install_model(model, workspace)
    assert copy == workspace / "models" / "Hippocampe_gauche.zip"
    assert copy.read_bytes() == model.read_bytes()
    assert install_model(model, workspace) == copy
    assert install_model(model, workspace, name="mine").name == "mine.zip"


def test_another_model_of_the_same_name_is_not_overwritten(tmp_path, model, workspace):
    copy = install_model(model, workspace)
    before = copy.read_bytes()
    write_model(model, description(), weights(description(), seed=1))
    with pytest.raises(ModelFileError, match="another model named Hippocampe_gauche"):
        install_model(model, workspace)
    assert copy.read_bytes() == before and list(copy.parent.iterdir()) == [copy]


@pytest.mark.parametrize("name", ["../evil", "a/b", "a\\b", ".hidden", "é", "a" * 101])
def test_a_name_that_leaves_the_models_folder_is_refused(model, workspace, name):
    with pytest.raises(ModelFileError, match="is not a name"):
        install_model(model, workspace, name=name)
    assert not (workspace / "models").exists()


def test_importing_into_a_folder_that_is_no_workspace_creates_nothing(tmp_path, model):
    with pytest.raises(WorkspaceError, match="is not a workspace"):
        install_model(model, tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


def test_names_become_plain_folder_names():
    assert [folder_name(n) for n in ("a b/../c", "../../x", "肝", "")] == ["a_b_.._c", "x", "model", "model"]


# Strangers ---------------------------------------------------------------------------------------------------------


def test_a_folder_a_pipe_and_nothing_at_all_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    for path, reason in ((tmp_path / "pipe.zip", "not a file"), (tmp_path / "gone.zip", "No such file")):
        with pytest.raises(ModelFileError, match=reason):
            read_model(path)


def test_a_newer_schema_says_update(tmp_path, model):
    base = untrusted_models.Base(tmp_path)
    path = tmp_path / "newer.zip"
    values = base.json() | {"schema_version": 2, "unheard_of": 1}
    path.write_bytes(base.with_changed("configs/hssl.json", json.dumps(values).encode()))
    with pytest.raises(ModelFileError, match="has schema 2, this version reads up to 1") as caught:
        read_model(path)
    assert caught.value.hint == "Update HSSL."


def test_every_kind_of_hostile_or_damaged_file_is_refused_and_nothing_happens(tmp_path):
    reasons = untrusted_models.campaign(len(untrusted_models.MUTATIONS), seed=20, folder=tmp_path)
    assert all(found for found in reasons.values())


def test_the_campaign_would_notice_code_that_runs_and_files_that_appear(tmp_path, monkeypatch):
    def gullible(path):
        pickle.loads(path.read_bytes())
        raise ModelFileError(path, "refused, but too late")

    monkeypatch.setattr(untrusted_models, "read_description", gullible)
    payload = {"pickle": untrusted_models.MUTATIONS["pickle"]}
    monkeypatch.setattr(untrusted_models, "MUTATIONS", payload)
    monkeypatch.setattr(untrusted_models, "attempt", lambda path, *rest: path.name == "good.zip" or gullible(path))
    with pytest.raises(untrusted_models.Failure, match="seed 3, attempt 0"):
        untrusted_models.campaign(1, seed=3, folder=tmp_path)
    assert (tmp_path / "canary").exists()


def test_half_the_bytes_hold_the_weights_to_three_digits(tmp_path):
    told = description()
    state = weights(told)
    write_model(tmp_path / "whole.zip", told, state)
    write_model(tmp_path / "half.zip", told, state, half=True)
    assert (tmp_path / "half.zip").stat().st_size < 0.6 * (tmp_path / "whole.zip").stat().st_size
    found, tensors = read_model(tmp_path / "half.zip")
    assert found == told and set(tensors) == set(state)
    for name, tensor in tensors.items():
        assert tensor.dtype == state[name].dtype
        assert torch.allclose(tensor, state[name], rtol=1e-3, atol=1e-6)
