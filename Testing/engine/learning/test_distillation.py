"""Learning from another network: what a teacher finds, what of a batch it is asked, and what a start knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import hssl.learning.finetuning
from hssl.configuration import Budget, CompareConfig, FinetuneConfig, PretrainConfig
from hssl.errors import InputError, ModelFileError
from hssl.events import Message
from hssl.jobs.compare import compare
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.learning.finetuning import FinetuneLearner
from hssl.learning.losses.distillation import distillation_loss, feature_distillation_loss
from hssl.learning.losses.segmentation import dice_and_cross_entropy
from hssl.models.model_file import load_model
from hssl.models.run_folder import RunFolder, run_path
from hssl.workspace.catalogue import Catalogue
from hssl.workspace.seen import seen_by

QUICK = {"patch_size": 32, "batch_size": 4, "precision": "float32", "device": "cpu", "threads": 1}


def finetuning(workspace: Path, run: str, steps: int, **more) -> FinetuneConfig:
    values = {"workspace": workspace, "task": "brain_mr", "run": run, "budget": Budget(steps=steps), **QUICK}
    return FinetuneConfig.checked({**values, **more})


# The loss --------------------------------------------------------------------------------------------------------


def test_the_loss_is_nothing_where_both_agree_in_their_doubts_and_something_elsewhere():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 8, 8, generator=generator)
    assert distillation_loss(logits, logits.softmax(1), 0.3).item() == pytest.approx(0, abs=1e-5)
    # More certain of the same is another answer.
    assert distillation_loss(2 * logits, logits.softmax(1), 0.3) > 0.05
    logits.requires_grad_()
    teacher = torch.randn(2, 4, 8, 8, generator=generator).softmax(1)
    before = distillation_loss(logits, teacher, 0.3)
    before.backward()
    assert distillation_loss(logits.detach() - 20 * logits.grad, teacher, 0.3) < before


@pytest.mark.parametrize("balance", [0.0, 0.6])
def test_of_a_teacher_without_doubt_it_is_the_loss_of_labels(balance):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 3, 16, 16, generator=generator)
    labels = torch.randint(0, 3, (3, 16, 16), generator=generator)
    certain = F.one_hot(labels, 3).movedim(-1, 1).float()
    expected = sum(dice_and_cross_entropy(logits, labels, balance))
    assert distillation_loss(logits, certain, balance).item() == pytest.approx(expected.item(), abs=1e-3)


def test_a_class_that_neither_finds_counts_as_agreement():
    logits = torch.tensor([20.0, 0.0, -200.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    teacher = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert torch.isfinite(distillation_loss(logits, teacher, 0.6))


# Learning from it ------------------------------------------------------------------------------------------------


def test_half_of_each_batch_is_of_images_without_a_label_and_the_teacher_is_asked_of_all(workspace, monkeypatch):
    finetune(finetuning(workspace, "teacher", 2, network={"in_slices": 5}))
    catalogue = Catalogue.load(workspace)
    labelled = [i.id for i in catalogue.usable("brain_mr", labelled=True)]
    seen, real = [], FinetuneLearner.prepared

    def look(learner, batch):
        prepared = real(learner, batch)
        ids = {learner.kinds[0].unlabelled.volumes[i].id for i in batch.others.volumes}
        seen.append((len(prepared.labels), prepared.images.shape[:2], prepared.teacher, ids, batch))
        return prepared

    monkeypatch.setattr(hssl.learning.finetuning.FinetuneLearner, "prepared", look)
    config = finetuning(workspace, "small", 3, teacher="teacher", cases=labelled[:1], exclude=labelled[2:])
    done = finetune(config)
    description, _ = load_model(done.result.run)
    for count, (images, channels), asked, ids, batch in seen:
        assert (count, images, channels) == (2, 4, 3), "the student sees three of the five slices"
        assert batch.labelled.images.shape[1] == batch.others.images.shape[1] == 5
        assert asked.shape[:2] == (4, description.out_channels)
        assert torch.allclose(asked.sum(1), torch.ones_like(asked.sum(1)), atol=1e-3)
        assert not ids & {labelled[0], *labelled[2:]}
    assert len(seen) >= 3


def test_a_student_comes_nearer_to_its_teacher(workspace):
    cases = [i.id for i in Catalogue.load(workspace).usable("brain_mr", labelled=True)][:1]
    finetune(finetuning(workspace, "teacher", 40, cases=cases, learning_rate=5e-3))
    done = finetune(finetuning(workspace, "small", 40, cases=cases, learning_rate=5e-3, teacher="teacher"))
    told = [row["distillation"] for row in RunFolder(done.result.run).read_metrics()]
    assert len(told) == 8 and np.mean(told[-2:]) < 0.8 * told[0]


def test_the_students_grid_is_the_teachers_and_its_model_knows_whom_the_teacher_has_seen(workspace):
    catalogue = Catalogue.load(workspace)
    labelled = catalogue.usable("brain_mr", labelled=True)
    finetune(finetuning(workspace, "teacher", 1, cases=[labelled[0].id], planes="one"))
    others = [i.id for i in catalogue.usable("brain_mr") if i.id != labelled[1].id]
    config = finetuning(workspace, "small", 1, teacher="teacher", cases=[labelled[1].id], exclude=others)
    student, _ = load_model(finetune(config).result.run)
    teacher, _ = load_model(run_path(workspace, "teacher"))
    assert student.fingerprints == teacher.fingerprints
    assert student.planes["brain_mr"] == (0,), "the teacher knows one plane"
    assert labelled[0].id in [i.id for i in seen_by(student.provenance, labelled)]


def test_volumes_teach_volumes(workspace):
    network = {"spatial_dims": 3, "in_slices": 1}
    finetune(finetuning(workspace, "teacher", 1, network=network, batch_size=1))
    done = finetune(finetuning(workspace, "small", 2, network=network, batch_size=1, teacher="teacher"))
    assert np.isfinite(RunFolder(done.result.run).load_checkpoint()["state"]["sums"]["distillation"])


def test_what_cannot_teach_is_refused_with_the_reason(workspace):
    finetune(finetuning(workspace, "flat", 1))
    finetune(finetuning(workspace, "heart", 1, task="heart_mr"))
    pretrain(PretrainConfig.checked({"workspace": workspace, "run": "pre", "budget": Budget(steps=1), **QUICK}))
    for teacher, changes, reason in (
        ("pre", {}, "segments nothing"),
        ("heart", {}, "and the task has"),
        ("flat", {"network": {"spatial_dims": 3, "in_slices": 1}}, "cannot teach a 3D one"),
    ):
        with pytest.raises(ModelFileError, match=reason):
            finetune(finetuning(workspace, f"by-{teacher}", 1, teacher=teacher, **changes))


def test_a_run_of_an_earlier_version_without_unlabelled_images_goes_on_and_one_with_a_mean_teacher_does_not(workspace):
    config = finetuning(workspace, "old", 2)
    finetune(config)
    path = run_path(workspace, "old") / "config.json"
    written = path.read_text()
    path.write_text(written.replace('"teacher": ""', '"unlabelled": "none"'))
    assert RunFolder(path.parent).read_config() == config
    assert finetune(finetuning(workspace, "old", 3)).result.steps == 3
    path.write_text(written.replace('"teacher": ""', '"unlabelled": "mean-teacher"'))
    with pytest.raises(InputError, match="no configuration of this version"):
        RunFolder(path.parent).read_config()


def test_a_comparison_warns_of_a_teacher_that_has_seen_the_test_cases(workspace):
    labelled = [i.id for i in Catalogue.load(workspace).usable("brain_mr", labelled=True)]
    others = [i.id for i in Catalogue.load(workspace).usable("brain_mr") if i.id != labelled[0]]
    pretrain(
        PretrainConfig.checked(
            {"workspace": workspace, "run": "pre", "tasks": ["heart_mr"], "budget": Budget(steps=1), **QUICK}
        )
    )
    finetune(finetuning(workspace, "teacher", 1, cases=[labelled[0]], exclude=others))
    told = []
    recipe = finetuning(workspace, "", 1, teacher="teacher")
    done = compare(CompareConfig(finetune=recipe, start="pre", case_counts=[1], test=[labelled[0]]), told.append)
    assert done.result.seen_by_start == [labelled[0]]
    assert [e.text for e in told if isinstance(e, Message) and "teacher has seen 1 of the 1" in e.text]


# A pretraining that goes on from a start --------------------------------------------------------------------------


def going_on(workspace: Path, run: str, steps: int, start: str, **more):
    values = {"workspace": workspace, "run": run, "budget": Budget(steps=steps), "start": start, **QUICK}
    return pretrain(PretrainConfig.checked({**values, **more}))


def test_features_are_compared_level_by_level_and_large_maps_count_no_more_than_small_ones():
    generator = torch.Generator().manual_seed(0)
    own = [torch.randn(2, c, s, s, generator=generator) for c, s in ((4, 16), (8, 8))]
    assert feature_distillation_loss(own, own) == 0
    for level in (0, 1):
        other = [values + 0.5 * (n == level) for n, values in enumerate(own)]
        assert feature_distillation_loss(own, other).item() == pytest.approx(0.125, abs=1e-5)


def test_the_starts_features_are_learned_from_the_unchanged_views_and_the_start_stays_as_it_is(workspace):
    going_on(workspace, "first", 3, "scratch")
    done = going_on(workspace, "second", 10, "first", learning_rate=1e-3)
    told = [row["distillation"] for row in RunFolder(done.result.run).read_metrics()]
    assert told[0] > 0 and done.result.losses["distillation"] == pytest.approx(told[-1], rel=1e-4)
    first, second = (RunFolder(run_path(workspace, name)).load_checkpoint() for name in ("first", "second"))
    for name, tensor in first["network"].items():
        assert torch.equal(second["module"][f"teacher.{name}"], tensor), name
    assert any(not torch.equal(second["network"][name], first["network"][name]) for name in first["network"])


def test_features_stay_nearer_to_the_start_with_it(workspace):
    going_on(workspace, "first", 20, "scratch", weights={"reconstruction": 0})
    far = {}
    for weight in (0, 100):
        weights = {"reconstruction": 0, "distillation": weight}
        done = going_on(workspace, f"with {weight}", 15, "first", learning_rate=3e-3, weights=weights)
        networks = [
            load_model(run).network(torch.device("cpu")) for run in (run_path(workspace, "first"), done.result.run)
        ]
        images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            before, after = (network.features(images).decoder for network in networks)
        far[weight] = feature_distillation_loss(after, before).item()
    assert far[100] < 0.5 * far[0]


def test_from_scratch_and_without_a_weight_there_is_no_such_loss(workspace):
    scratch = going_on(workspace, "first", 5, "scratch")
    without = going_on(workspace, "second", 5, "first", weights={"distillation": 0})
    for done in (scratch, without):
        assert "distillation" not in done.result.losses
        assert not any(name.startswith("teacher.") for name in RunFolder(done.result.run).load_checkpoint()["module"])


@pytest.mark.parametrize("restoration", [0.0, 50.0])
def test_an_output_that_has_not_learned_to_restore_begins_at_nothing(workspace, restoration):
    going_on(workspace, "first", 5, "scratch", weights={"reconstruction": restoration})
    done = going_on(workspace, "second", 5, "first", learning_rate=1e-12)
    first = RunFolder(run_path(workspace, "first")).load_checkpoint()["network"]
    second = RunFolder(done.result.run).load_checkpoint()["network"]
    for name in (n for n in first if n.startswith("output_block")):
        expected = first[name] if restoration else torch.zeros_like(first[name])
        assert torch.allclose(second[name], expected, atol=1e-6), name


def test_a_run_that_was_stopped_goes_on_with_the_start_that_it_had(workspace):
    going_on(workspace, "first", 2, "scratch")
    whole = going_on(workspace, "whole", 6, "first")
    stopped = iter([False] * 3 + [True] * 99)
    values = {"workspace": workspace, "run": "parts", "budget": Budget(steps=6), "start": "first", **QUICK}
    assert pretrain(PretrainConfig.checked(values), stop=lambda: next(stopped)).stopped
    parts = pretrain(PretrainConfig.checked(values))
    one, other = (RunFolder(d.result.run).load_checkpoint()["network"] for d in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)
