"""On which working grid a task is learned from a start that knows a task of its name: the same one, or somebody else's."""

from __future__ import annotations

import pytest
import torch

from hssl.configuration import Budget, FinetuneConfig, NetworkConfig, PretrainConfig
from hssl.events import Message, ignore
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.learning.start import Start
from hssl.models.description import ModelDescription
from hssl.models.model_file import load_model, write_model
from hssl.models.network import build_network
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.workspace.catalogue import Catalogue, Image, Task
from hssl.workspace.seen import SEEN


def fingerprint(*spacing: float, window: tuple[float, float] | None = None) -> Fingerprint:
    values = {"spacing": spacing, "slice_axis": 0, "median_size": (9, 9, 9), "normalisation": "percentiles"}
    if window is not None:
        values |= {"normalisation": "window", "lower": window[0], "upper": window[1], "center": 0.0, "scale": 9.0}
    return Fingerprint(**values)


def description(task: Task, known: Fingerprint, **provenance: object) -> ModelDescription:
    return ModelDescription(
        kind="pretrained", name="m", network=NetworkConfig(in_slices=1), patch_size=(32, 32), tasks=[task],
        fingerprints={task.name: known}, out_channels=1, provenance=provenance,
    )  # fmt: skip


@pytest.fixture
def catalogue(tmp_path) -> Catalogue:
    found = Catalogue.create(tmp_path / "w")
    found.set_task(Task(name="liver", modality="MR"))
    found.set_task(Task(name="bones", modality="CT"))
    for name in ("liver", "bones"):
        ids = [f"{name} {number}" for number in (1, 2)]
        found.add_images([Image(id=id, task=name, image=f"{id}.nii", content=id) for id in ids])
    return found


def chosen(catalogue: Catalogue, known: Fingerprint, own: Fingerprint, name: str = "liver", **provenance: object):
    task, told = catalogue.task(name), []
    start = Start(description(task, known, **provenance), {})
    return start.fingerprint(catalogue, task, lambda: own, told.append), [e.text for e in told]


@pytest.mark.parametrize("where", ["own", "below"])
def test_a_task_whose_images_the_start_has_seen_stays_on_its_grid(catalogue, where):
    known, own, seen = fingerprint(1, 1, 1), fingerprint(5, 0.5, 0.5), {SEEN: {"images": ["liver 2"], "patients": []}}
    assert chosen(catalogue, known, own, **(seen if where == "own" else {"pretraining": seen})) == (known, [])


@pytest.mark.parametrize(
    ("spacing", "is_like"),
    [((1, 1, 1), True), ((1.2, 0.85, 1), True), ((1.3, 1, 1), False), ((1, 1, 0.7), False), ((5, 0.5, 0.5), False)],
)
def test_a_task_of_the_same_name_has_the_start_s_grid_where_its_images_are_like_it(catalogue, spacing, is_like):
    known, own = fingerprint(1, 1, 1), fingerprint(*spacing)
    found, told = chosen(catalogue, known, own, **{SEEN: {"images": ["other"], "patients": []}})
    assert found == (known if is_like else own) and len(told) == (not is_like)
    if not is_like:
        step = f"{spacing[2]:g} × {spacing[1]:g} × {spacing[0]:g} mm"
        assert told[0].startswith("liver: ") and "1 × 1 × 1 mm" in told[0] and step in told[0]


@pytest.mark.parametrize(
    ("window", "is_like"), [((-150, 250), True), ((-160, 240), True), ((-950, 300), False), ((300, 900), False)]
)
def test_a_ct_task_of_the_same_name_has_the_start_s_window_where_its_values_are_like_it(catalogue, window, is_like):
    known, own = fingerprint(2, 1, 1, window=(-150, 250)), fingerprint(2, 1, 1, window=window)
    assert chosen(catalogue, known, own, "bones")[0] == (known if is_like else own)


def test_a_start_that_does_not_tell_lungs_apart_is_not_like_a_task_that_must(catalogue):
    known = fingerprint(2, 1, 1, window=(-150, 250))
    own = known.model_copy(update={"lungs": -950.0})
    assert chosen(catalogue, known, own, "bones")[0] == own
    assert chosen(catalogue, own, own.model_copy(update={"lungs": -930.0}), "bones")[0] == own


def test_a_task_that_was_renamed_is_known_by_its_former_name_and_not_by_another_modality(catalogue):
    known, own = fingerprint(1, 1, 1), fingerprint(1.1, 1, 1)
    start = Start(description(Task(name="former", modality="MR"), known), {})
    for modality, found in (("MR", known), ("CT", own)):
        task = Task(name="liver", modality=modality, formerly=["former"])
        assert start.fingerprint(catalogue, task, lambda: own, ignore) == found


def test_a_task_of_another_name_or_modality_and_one_from_scratch_have_their_own(catalogue):
    own, told = fingerprint(5, 0.5, 0.5), []
    others = [Task(name="lung", modality="MR"), Task(name="liver", modality="CT")]
    starts = [Start(None, {}), *(Start(description(task, fingerprint(1, 1, 1)), {}) for task in others)]
    for start in starts:
        assert start.fingerprint(catalogue, catalogue.task("liver"), lambda: own, told.append) == own
    assert told == []


def test_a_fine_tuning_from_somebody_elses_task_of_the_same_name_is_on_its_own_grid(workspace, tmp_path):
    task = Catalogue.load(workspace).task("brain_mr")
    torch.manual_seed(0)
    made = description(task, fingerprint(7, 0.3, 0.3))
    write_model(tmp_path / "m.zip", made, build_network(made.network, 1).state_dict())
    recipe = {"workspace": workspace, "task": "brain_mr", "budget": Budget(steps=1), "batch_size": 2}
    events: list = []
    done = finetune(FinetuneConfig(**recipe, run="theirs", start=str(tmp_path / "m.zip")), events.append)
    own = load_model(done.result.run).description.own_fingerprint
    assert own.spacing != (7, 0.3, 0.3)
    assert any(isinstance(e, Message) and e.text.startswith("brain_mr: what the start has learned") for e in events)
    again = finetune(FinetuneConfig(**recipe, run="own", start="theirs"))
    assert load_model(again.result.run).description.own_fingerprint == own


@pytest.mark.parametrize(
    ("asked", "told"),
    [({}, False), ({"in_slices": 1}, False), ({"size": "large"}, True), ({"spatial_dims": 3, "in_slices": 1}, True)],
)
def test_a_network_that_was_asked_for_beside_a_start_is_told_to_be_left_out(asked, told):
    events: list = []
    start = Start(description(Task(name="liver"), fingerprint(1, 1, 1)), {})
    start.tell_of_network(NetworkConfig(**asked), events.append)
    Start(None, {}).tell_of_network(NetworkConfig(**asked), events.append)
    assert len(events) == told
    assert all("brings its own network (small, 2D, 1 slice in)" in e.text for e in events)


def test_trainings_tell_of_a_network_that_they_leave_out(workspace):
    common = {
        "workspace": workspace,
        "budget": {"steps": 1},
        "patch_size": 32,
        "batch_size": 4,
        "device": "cpu",
        "start": "general",
    }
    for kind, values in ((PretrainConfig, {}), (FinetuneConfig, {"task": "brain_mr", "case_count": 1})):
        events: list = []
        config = kind.checked({**common, **values, "network": {"size": "large"}})
        (pretrain if kind is PretrainConfig else finetune)(config, events.append)
        assert any("large, 2D, 3 slices in) is left out" in e.text for e in events if isinstance(e, Message))
