"""Jobs that train: exact resume, one process or two, budgets, NaN, and that pretraining and fine-tuning learn."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import hssl.learning.finetuning
import hssl.learning.training
from hssl.configuration import Budget, CompareConfig, FinetuneConfig, PretrainConfig, RunConfig
from hssl.errors import ConfigurationError, LockedError, NumericalError
from hssl.events import Losses, Message, Phase, Progress, Stopped
from hssl.jobs.compare import compare
from hssl.jobs.finetune import choose_cases, finetune
from hssl.jobs.pretrain import pretrain
from hssl.learning import pretexts
from hssl.learning.distributed import Processes
from hssl.learning.losses.segmentation import class_weights
from hssl.learning.patches import batch_size
from hssl.learning.pretexts import pretext_named
from hssl.learning.pretraining import PretrainLearner
from hssl.learning.segmentation import FoundClasses, SegmentationModule
from hssl.learning.start import Start
from hssl.learning.training_run import main_process_first
from hssl.locks import FolderLock
from hssl.models.components import COMPARABLE
from hssl.models.model_file import load_model
from hssl.models.run_folder import LOG, METRICS, RunFolder, all_runs, run_path
from hssl.preprocessing.store import UNLABELLED
from hssl.workspace.catalogue import Catalogue, LabelClass

QUICK = {"patch_size": 32, "batch_size": 4, "precision": "float32", "device": "cpu", "threads": 1}


def pretraining(workspace: Path, run: str, steps: int, **more) -> PretrainConfig:
    return PretrainConfig.checked({"workspace": workspace, "run": run, "budget": Budget(steps=steps), **QUICK, **more})


def finetuning(workspace: Path, run: str, steps: int, **more) -> FinetuneConfig:
    task = Catalogue.load(workspace).tasks[0].name
    return FinetuneConfig.checked(
        {"workspace": workspace, "task": task, "run": run, "budget": Budget(steps=steps), **QUICK, **more}
    )


def teacher(workspace: Path, steps: int = 2, **more) -> str:
    """Returns the name of a run that can teach the first task."""
    finetune(finetuning(workspace, "teacher", steps, **more))
    return "teacher"


def losses(workspace: Path, run: str) -> list[dict[str, float]]:
    rows = RunFolder(run_path(workspace, run)).read_metrics()
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_a_training_goes_on_while_somebody_has_its_table_or_its_log_open(workspace, monkeypatch):
    """Excel and Word keep others from writing on Windows; what waits is written once they are closed."""
    run = run_path(workspace, "watched")
    replace, opened, held = os.replace, open, [True]

    def refuse(*names):
        if held[0] and Path(str(names[-1])) in (run / METRICS, run / LOG):
            raise PermissionError(13, "Access is denied")

    def replacing(*paths):
        refuse(*paths)
        replace(*paths)

    def opening(file, *more, **options):
        refuse(file)
        return opened(file, *more, **options)

    monkeypatch.setattr(os, "replace", replacing)
    monkeypatch.setattr("builtins.open", opening)
    monkeypatch.setattr("hssl.files.time.sleep", lambda seconds: None)
    events: list = []
    done = pretrain(pretraining(workspace, "watched", 10), events.append)
    assert done.result.steps == 10 and not (run / METRICS).exists() and not (run / LOG).exists()
    told = [e.text for e in events if isinstance(e, Message) and "metrics.csv: cannot be written" in e.text]
    assert len(told) == 1 and "The training goes on without it" in told[0]
    held[0] = False
    pretrain(pretraining(workspace, "watched", 15), events.append)
    assert [row["step"] for row in losses(workspace, "watched")] == [5, 10, 15] and (run / LOG).exists()


def stopping_at(step: int):
    """Returns a stop, and an on_event that makes it ask as soon as that step is done."""
    reached = []

    def watch(event):
        if isinstance(event, Progress | Losses) and getattr(event, "phase", "training") == "training":
            reached.extend([True] * (event.step >= step))

    return lambda: bool(reached), watch


@pytest.mark.parametrize("job", ["pretrain", "finetune", "taught"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(workspace, job):
    make, run = (pretraining, pretrain) if job == "pretrain" else (finetuning, finetune)
    more = {"teacher": teacher(workspace)} if job == "taught" else {}
    run(make(workspace, "whole", 20, **more))
    stop, watch = stopping_at(8)
    done = run(make(workspace, "parts", 20, **more), watch, stop)
    assert done.stopped and 0 < done.result.steps < 20
    assert not RunFolder(done.result.run).finished
    done = run(make(workspace, "parts", 20, **more))
    assert not done.stopped and done.result.steps == 20
    assert losses(workspace, "whole") == losses(workspace, "parts")
    whole, parts = (RunFolder(run_path(workspace, r)).load_checkpoint()["network"] for r in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("pretext", ["hssl", "position"])
def test_tasks_that_are_renamed_or_regrouped_between_stop_and_resume_keep_their_heads(workspace, pretext):
    more = {"pretext": pretext, "with_labels": pretext == "hssl"}
    pretrain(pretraining(workspace, "whole", 20, **more))
    pretrain(pretraining(workspace, "parts", 20, **more), *reversed(stopping_at(8)))
    first, *others = sorted(t.name for t in Catalogue.load(workspace).tasks)
    assert others
    with Catalogue.editing(workspace) as catalogue:
        catalogue.rename_task(first, "zzz, the last of all")
        catalogue.set_group(others[0], "another group")
    pretrain(pretraining(workspace, "parts", 20, **more), *reversed(stopping_at(14)))
    with Catalogue.editing(workspace) as catalogue:
        catalogue.rename_task(others[-1], "a, the first of all")
    assert pretrain(pretraining(workspace, "parts", 20, **more)).result.steps == 20
    assert losses(workspace, "whole") == losses(workspace, "parts")
    whole, parts = (RunFolder(run_path(workspace, r)).load_checkpoint() for r in ("whole", "parts"))
    assert all(torch.equal(whole["module"][name], parts["module"][name]) for name in whole["module"])
    assert {t["name"] for t in parts["description"]["tasks"]} == {t.name for t in Catalogue.load(workspace).tasks}


def test_a_run_goes_on_with_the_tasks_that_it_began_with_or_says_why_not(workspace):
    tasks = sorted(t.name for t in Catalogue.load(workspace).tasks)
    config = pretraining(workspace, "run", 20)
    aside = Catalogue.load(workspace).usable(tasks[0])
    with Catalogue.editing(workspace) as catalogue:
        catalogue.remove_images([i.id for i in aside])
    pretrain(config, *reversed(stopping_at(8)))
    with Catalogue.editing(workspace) as catalogue:
        catalogue.add_images(aside)
    seen = []
    stop, watch = stopping_at(12)
    pretrain(config, lambda event: (watch(event), seen.append(event)), stop)
    told = [e.text for e in seen if isinstance(e, Message) and e.level == "warning"]
    assert len(told) == 1 and tasks[0] in told[0]
    with Catalogue.editing(workspace) as catalogue:
        catalogue.remove_images([i.id for i in catalogue.usable(tasks[1])])
    with pytest.raises(ConfigurationError, match=f"no volume to train on of {tasks[1]}"):
        pretrain(config)


@pytest.mark.parametrize("job", ["pretrain", "finetune"])
@pytest.mark.parametrize("change", ["another class", "another value", "another order"])
def test_a_run_whose_tasks_have_other_classes_now_is_not_gone_on_with(workspace, job, change):
    make, run = (pretraining, pretrain) if job == "pretrain" else (finetuning, finetune)
    config = make(workspace, "run", 20, **({"with_labels": True} if job == "pretrain" else {}))
    run(config, *reversed(stopping_at(8)))
    with Catalogue.editing(workspace) as catalogue:
        task = catalogue.tasks[0]
        first, *rest = task.classes
        free = max(c.value for c in task.classes) + 1
        changed = {
            "another class": [first, *rest, LabelClass(value=free, name="other")],
            "another value": [first.model_copy(update={"value": free}), *rest],
            "another order": [*rest, first],
        }
        catalogue.set_task(task.model_copy(update={"classes": changed[change]}))
    with pytest.raises(ConfigurationError, match="have changed since this run began") as caught:
        run(config)
    assert "as its start" in caught.value.hint


@pytest.mark.parametrize("job", ["pretrain", "finetune"])
def test_a_run_that_goes_on_stays_on_its_grid_and_remembers_what_it_has_seen(workspace, job):
    make, run = (pretraining, pretrain) if job == "pretrain" else (finetuning, finetune)
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0].name
    done = run(make(workspace, "run", 20), *reversed(stopping_at(8)))
    before = load_model(done.result.run).description
    images = catalogue.usable(task)
    gone = (catalogue.usable(task, labelled=True) if job == "finetune" else images)[-1]
    coarser = []
    for image in images:
        volume = sitk.ReadImage(str(catalogue.image_path(image)))
        volume.SetSpacing([2 * s for s in volume.GetSpacing()])
        path = workspace / f"coarser-{image.id}.nii.gz"
        sitk.WriteImage(volume, str(path))
        values = {"id": f"coarser-{image.id}", "image": path.name, "label": None, "content": path.name}
        coarser.append(image.model_copy(update=values))
    with Catalogue.editing(workspace) as catalogue:
        catalogue.remove_images([gone.id])
        catalogue.add_images(coarser)
    done = run(make(workspace, "run", 20))
    after = RunFolder(done.result.run).load_checkpoint()["description"]
    assert {name: f.model_dump(mode="json") for name, f in before.fingerprints.items()} == after["fingerprints"]
    assert gone.content and set(before.provenance["seen"]["images"]) <= set(after["provenance"]["seen"]["images"])


def test_a_start_knows_a_task_by_its_former_name(workspace):
    done = pretrain(pretraining(workspace, "run", 2))
    name = Catalogue.load(workspace).tasks[0].name
    with Catalogue.editing(workspace) as catalogue:
        catalogue.rename_task(name, "another name")
    start = Start.named("run", workspace)
    known = load_model(done.result.run).description.fingerprints[name]
    catalogue = Catalogue.load(workspace)
    task = catalogue.task("another name")
    assert start.fingerprint(catalogue, task, lambda: pytest.fail("its images were seen"), pytest.fail) == known


def test_pretraining_lowers_every_loss(workspace):
    seen = []
    pretrain(pretraining(workspace, "run", 60, learning_rate=3e-3, batch_size=8), seen.append)
    values = [e.values for e in seen if isinstance(e, Losses)]
    assert set(values[0]) == {"image", "task", "group", "reconstruction", "dense", "position", "total"}
    for name in ("image", "group", "reconstruction", "dense", "position", "total"):
        assert np.mean([v[name] for v in values[-3:]]) < np.mean([v[name] for v in values[:3]]), name


@pytest.mark.parametrize("off", ["image", "task", "group", "reconstruction", "dense", "position"])
def test_a_loss_of_weight_zero_is_not_computed(workspace, off):
    done = pretrain(pretraining(workspace, "run", 5, weights={off: 0}))
    assert off not in done.result.losses and len(done.result.losses) == 6


OFF = dict.fromkeys(("image", "task", "group", "reconstruction", "dense", "position"), 0)


@pytest.mark.parametrize("changes", [{"weights": OFF}, {"weights": {**OFF, "task": 1}, "tasks": ["brain_mr"]}])
def test_a_pretraining_with_nothing_to_learn_by_is_refused(workspace, changes):
    with pytest.raises(ConfigurationError, match="nothing to learn by"):
        pretrain(pretraining(workspace, "run", 2, **changes))


def test_a_pretraining_can_learn_by_labels_alone(workspace):
    done = pretrain(pretraining(workspace, "run", 5, weights=OFF, with_labels=True))
    assert done.result.losses.keys() == {"segmentation", "total"}


@pytest.mark.parametrize("pretext", ["simclr", "barlow", "mae", "position", "vector", "clustering", "mvmr", "glmae"])
def test_every_pretext_trains_under_the_same_loop(workspace, pretext):
    seen = []
    pretrain(pretraining(workspace, "run", 20, pretext=pretext), seen.append)
    totals = [e.values["total"] for e in seen if isinstance(e, Losses)]
    assert set(seen[-2].values if isinstance(seen[-2], Losses) else {}) <= {*pretext_named(pretext).loss_names, "total"}
    assert totals[-1] < totals[0]


def test_a_pretext_of_ones_own_needs_no_change_of_hssl(workspace, monkeypatch):
    monkeypatch.setattr(pretexts, "_registry", dict(pretexts._registry))

    @pretexts.register("own")
    class Own(pretext_named("simclr")):
        """As in a script that is no part of HSSL."""

    done = pretrain(pretraining(workspace, "run", 5, pretext="own"))
    assert done.result.losses.keys() == {"image", "total"}
    assert load_model(done.result.run).description.kind == "pretrained"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"weights": {"dense": 0, "position": 0, "image": 0}}, True),
        ({"weights": {"reconstruction": 0}}, False),
        ({"network": {"spatial_dims": 3, "in_slices": 1}}, True),
        ({"pretext": "mae"}, True),
        ({"pretext": "simclr"}, False),
        ({"pretext": "vector"}, True),
        ({"pretext": "clustering"}, True),
        ({"pretext": "mvmr"}, False),
        ({"pretext": "glmae"}, True),
    ],
)
def test_pretraining_knows_whether_every_parameter_has_a_gradient(workspace, monkeypatch, changes, expected):
    found = []

    def look(learner, fraction):
        found.append((learner.every_parameter, all(p.grad is not None for p in learner.module.parameters())))

    monkeypatch.setattr(PretrainLearner, "after_step", look)
    pretrain(pretraining(workspace, "run", 2, **changes))
    assert found == [(expected, expected)] * 2


@pytest.mark.parametrize(
    "changes",
    [{}, {"deep_supervision": False}, {"teacher": "teacher"}, {"network": {"spatial_dims": 3, "in_slices": 1}}],
)
def test_every_parameter_has_a_gradient_in_fine_tuning(workspace, monkeypatch, changes):
    found = []
    if "teacher" in changes:
        teacher(workspace)

    def look(learner, fraction):
        found.append(all(p.grad is not None for p in learner.module.parameters()))

    monkeypatch.setattr(hssl.learning.finetuning.FinetuneLearner, "after_step", look)
    finetune(finetuning(workspace, "run", 2, batch_size=2, **changes))
    assert found == [True] * 2


def test_volumes_train_by_the_same_code(workspace):
    network = {"spatial_dims": 3, "in_slices": 1}
    pretrained = pretrain(pretraining(workspace, "pre", 5, network=network, batch_size=2))
    done = finetune(finetuning(workspace, "fine", 5, start="pre", batch_size=1))
    assert done.result.tensors_loaded > 50 and pretrained.result.steps == 5


def test_excluded_images_and_labels_are_never_read_in_pretraining(workspace):
    catalogue = Catalogue.load(workspace)
    gone = catalogue.usable()[0]
    catalogue.image_path(gone).unlink()
    for image in catalogue.images:
        path = catalogue.label_path(image)
        if path is not None:
            path.unlink()
    seen = []
    pretrain(pretraining(workspace, "run", 2, exclude=[gone.id]), seen.append)
    assert not [e for e in seen if isinstance(e, Message) and e.level == "warning"]


def test_the_budget_in_minutes_ends_a_run(workspace):
    seen = []
    done = pretrain(
        pretraining(workspace, "run", 10_000).model_copy(update={"budget": Budget(minutes=0.03)}), seen.append
    )
    assert not done.stopped and 0 < done.result.steps < 10_000
    last = [e for e in seen if isinstance(e, Progress) and e.phase == "training"][-1]
    assert last.fraction == 1 and last.total is None


def test_a_cpu_that_other_programs_use_does_not_choose_the_precision(workspace, monkeypatch):
    """Each pass in bfloat16 has to wait for its turn, and takes less of the CPU than one in float32."""
    forward = SegmentationModule.forward

    def waiting(self, prepared):
        if torch.is_autocast_enabled("cpu"):
            time.sleep(0.6)
        else:
            until = time.process_time() + 0.05
            while time.process_time() < until:
                pass
        return forward(self, prepared)

    monkeypatch.setattr(SegmentationModule, "forward", waiting)
    monkeypatch.setattr(hssl.learning.training, "computes_bf16", lambda device: True)
    done = finetune(finetuning(workspace, "run", 1, precision="auto", device="cpu"))
    assert done.result.precision == "bfloat16"


def test_a_training_without_a_limit_is_refused(workspace):
    with pytest.raises(ConfigurationError, match="needs a limit"):
        pretrain(pretraining(workspace, "run", 1).model_copy(update={"budget": Budget()}))


def test_a_second_process_on_a_run_is_refused(workspace):
    with FolderLock(run_path(workspace, "run")):
        with pytest.raises(LockedError, match="another process"):
            pretrain(pretraining(workspace, "run", 1))


def test_a_run_of_that_name_with_other_settings_is_refused(workspace):
    pretrain(pretraining(workspace, "run", 1))
    with pytest.raises(ConfigurationError, match="another seed"):
        pretrain(pretraining(workspace, "run", 1, seed=1))


def test_a_run_whose_folder_was_renamed_goes_on_under_its_new_name(workspace):
    pretrain(pretraining(workspace, "night", 2))
    (workspace / "runs" / "night").rename(workspace / "runs" / "the good one")
    done = pretrain(pretraining(workspace, "the good one", 3))
    assert done.result.steps == 3 and done.result.run.name == "the good one"


@pytest.mark.parametrize(
    "values",
    [
        *({"seed": -1}, {"seed": 2**64}, {"learning_rate": math.inf}),
        *({"budget": {"minutes": math.inf}}, {"weights": {"task": math.inf}}),
    ],
)
def test_a_number_that_no_training_can_have_is_refused_as_a_setting(workspace, values):
    with pytest.raises(ConfigurationError, match=list(values)[0]):
        PretrainConfig.checked({"workspace": workspace, **values})


@pytest.mark.parametrize("values", [{"case_counts": [0]}, {"case_counts": [-1]}, {"seeds": [-1]}])
def test_a_comparison_of_no_labels_is_refused(workspace, values):
    recipe = {"workspace": workspace, "task": "brain_mr"}
    with pytest.raises(ConfigurationError, match=list(values)[0]):
        CompareConfig.checked({"finetune": recipe, "start": "pre", **values})


def test_a_run_whose_configuration_lacks_what_is_new_within_a_part_goes_on(workspace):
    """As every run does, of a version before a loss was added."""
    done = pretrain(pretraining(workspace, "run", 2))
    file = done.result.run / "config.json"
    values = json.loads(file.read_text())
    del values["weights"]["segmentation"], values["network"]["norm"]
    file.write_text(json.dumps(values))
    assert pretrain(pretraining(workspace, "run", 3)).result.steps == 3
    with pytest.raises(ConfigurationError, match="started with another weights"):
        pretrain(pretraining(workspace, "run", 3, weights={"segmentation": 2}))


def test_nan_stops_with_the_last_good_checkpoint_and_names_the_batch(workspace, monkeypatch):
    pretrain(pretraining(workspace, "run", 5))
    before = RunFolder(run_path(workspace, "run")).load_checkpoint()
    prepared = PretrainLearner.prepared

    def poisoned(self, batch):
        views = prepared(self, batch)
        if batch.samples[0] >= 4 * 7:
            views.changed[0][0] = float("nan")
        return views

    monkeypatch.setattr(PretrainLearner, "prepared", poisoned)
    with pytest.raises(NumericalError, match=r"step 7: .*nan.*last good checkpoint is kept.*batch held") as caught:
        pretrain(pretraining(workspace, "run", 20))
    assert any(i.id in str(caught.value) for i in Catalogue.load(workspace).images)
    kept = RunFolder(run_path(workspace, "run")).load_checkpoint()
    assert kept["state"]["step"] == before["state"]["step"] == 5


def in_two_processes(job: str, config: RunConfig, folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(config.model_dump(mode="json")))
    environment = {**os.environ, "PYTHONPATH": str(Path(hssl.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone",
         "-m", "hssl", job, "--config", str(file), "--json"],
        check=True, env=environment, capture_output=True, timeout=300,
    )  # fmt: skip


def test_two_processes_give_the_curve_of_one_with_the_joint_batch(workspace, tmp_path):
    pretrain(pretraining(workspace, "one", 10, batch_size=8))
    in_two_processes("pretrain", pretraining(workspace, "two", 10, batch_size=8), tmp_path)
    one, two = losses(workspace, "one"), losses(workspace, "two")
    assert len(one) == len(two) == 2
    for a, b in zip(one, two, strict=True):
        for name in ("image", "task", "group", "reconstruction", "dense", "position", "total"):
            assert a[name] == pytest.approx(b[name], rel=2e-3), name


def test_two_processes_begin_with_the_head_of_one(workspace, tmp_path):
    still = {"batch_size": 8, "learning_rate": 1e-12}
    finetune(finetuning(workspace, "one", 1, **still))
    in_two_processes("finetune", finetuning(workspace, "two", 1, **still), tmp_path)
    one, two = (RunFolder(run_path(workspace, r)).load_checkpoint()["network"] for r in ("one", "two"))
    for name in ("output_block.conv.conv.weight", "output_block.conv.conv.bias"):
        assert torch.allclose(one[name], two[name], atol=1e-4), name


def test_a_batch_that_processes_cannot_share_evenly_is_refused_and_the_usual_one_fits():
    device = torch.device("cpu")
    with pytest.raises(ConfigurationError, match="3 processes cannot share a batch of 16"):
        batch_size(device, 2, 16, processes=3)
    assert [batch_size(device, dims, 0, processes) for dims, processes in ((2, 1), (2, 3), (3, 4))] == [16, 18, 4]


@pytest.mark.parametrize("stopped", [set(), {0}, {1}, {0, 1}])
def test_processes_take_turns_and_stop_together(stopped):
    barrier, flags, order = threading.Barrier(2), [False, False], []

    class Two(Processes):
        def wait(self):
            barrier.wait(10)

        def agreed(self, stop, seconds):
            flags[self.rank] = stop
            barrier.wait(10)
            return any(flags), seconds

    def work(rank):
        order.append(rank)
        if rank in stopped:
            raise Stopped
        return rank

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda r: main_process_first(lambda: work(r), Two(r, 2, torch.device("cpu"))), (0, 1)))
    assert order == [0, 1]
    assert found == ([None, None] if stopped else [0, 1])


def test_fine_tuning_learns_and_says_what_was_loaded(workspace):
    pretrain(pretraining(workspace, "pre", 5))
    seen = []
    done = finetune(finetuning(workspace, "fine", 60, start="pre", learning_rate=5e-3), seen.append)
    assert done.result.tensors_loaded == 58 and done.result.tensors_skipped == 2
    assert any("58 tensors loaded" in e.text for e in seen if isinstance(e, Message))
    dice = [e.values["dice"] for e in seen if isinstance(e, Losses)]
    assert dice[-1] < dice[0] - 0.1


def test_pretrained_and_scratch_draw_the_same_cases(workspace):
    catalogue = Catalogue.load(workspace)
    drawn = [
        choose_cases(catalogue, finetuning(workspace, "x", 1, case_count=2, seed=seed, start=start))[0]
        for seed in (0, 0, 1, 2, 3)
        for start in ("scratch", "pre")
    ]
    assert drawn[0] == drawn[1] == drawn[2] == drawn[3]
    assert len({tuple(i.id for i in d) for d in drawn}) > 1


def test_a_case_without_a_usable_label_is_refused_by_name(workspace):
    catalogue = Catalogue.load(workspace)
    bare = next(i for i in catalogue.images if i.label is None and i.task == catalogue.tasks[0].name)
    with pytest.raises(ConfigurationError, match="it has no label"):
        finetune(finetuning(workspace, "x", 1, cases=[bare.id]))
    with pytest.raises(ConfigurationError, match="were asked for"):
        finetune(finetuning(workspace, "x", 1, case_count=1000))


def test_one_labelled_case_is_enough(workspace):
    done = finetune(finetuning(workspace, "one", 3, case_count=1, batch_size=1))
    assert len(done.result.cases) == 1 and done.result.validation_dice is None
    assert (done.result.run / "best.pt").exists()


def test_named_validation_cases_give_a_dice_and_the_best_weights(workspace):
    ids = [i.id for i in Catalogue.load(workspace).usable(Catalogue.load(workspace).tasks[0].name, labelled=True)]
    done = finetune(finetuning(workspace, "v", 12, cases=ids[:1], validation=ids[1:2]))
    assert 0 <= done.result.validation_dice <= 1
    rows = [r for r in losses(workspace, "v") if "validation_dice" in r]
    assert len(rows) == 5
    assert done.result.validation_dice == pytest.approx(max(r["validation_dice"] for r in rows), abs=1e-5)
    description, _ = load_model(done.result.run)
    assert description.figures == {"validation_dice": done.result.validation_dice}


def test_what_a_killed_attempt_left_is_not_the_model_of_another_and_what_a_finished_run_left_stays(workspace):
    catalogue = Catalogue.load(workspace)
    ids = [i.id for i in catalogue.usable(catalogue.tasks[0].name, labelled=True)]
    first = finetuning(workspace, "v", 4, cases=ids[:1], validation=ids[1:2])
    run = finetune(first).result.run
    (run / "last.pt").unlink()
    with pytest.raises(ConfigurationError, match="has come to its end"):
        finetune(first)
    assert load_model(run).description.provenance["validation"] == ids[1:2]
    (run / "result.json").unlink()  # as if it had been killed between a validation and the first checkpoint
    stop, watch = stopping_at(1)
    other = finetuning(workspace, "v", 40, cases=ids[:1], validation=ids[2:3])
    assert finetune(other, watch, stop).stopped
    assert load_model(run).description.provenance["validation"] == ids[2:3]


def test_a_larger_budget_is_validated_on_to_its_own_end(workspace):
    ids = [i.id for i in Catalogue.load(workspace).usable(Catalogue.load(workspace).tasks[0].name, labelled=True)]
    cases = {"cases": ids[:1], "validation": ids[1:2]}
    finetune(finetuning(workspace, "v", 10, **cases))
    first = [r["step"] for r in losses(workspace, "v") if "validation_dice" in r]
    done = finetune(finetuning(workspace, "v", 20, **cases))
    rows = [r for r in losses(workspace, "v") if "validation_dice" in r]
    assert [r["step"] for r in rows] == [*first, 14, 17, 20]
    assert done.result.validation_dice == pytest.approx(max(r["validation_dice"] for r in rows), abs=1e-5)


def test_a_run_goes_on_with_the_cases_that_it_began_with(workspace):
    """Whoever labels more while it stands must not have it validated on what it has learned."""
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0].name
    aside = catalogue.usable(task, labelled=True)[:1]
    with Catalogue.editing(workspace) as catalogue:
        catalogue.remove_images([i.id for i in aside])
    whole = finetune(finetuning(workspace, "whole", 20)).result
    stop, watch = stopping_at(8)
    finetune(finetuning(workspace, "parts", 20), watch, stop)
    with Catalogue.editing(workspace) as catalogue:
        catalogue.add_images(aside)
    assert {i.id for i in choose_cases(catalogue, finetuning(workspace, "x", 1))[0]} > set(whole.cases)
    seen = []
    done = finetune(finetuning(workspace, "parts", 20), seen.append)
    assert (done.result.cases, done.result.validation) == (whole.cases, whole.validation)
    assert losses(workspace, "whole") == losses(workspace, "parts")
    told = [e.text for e in seen if isinstance(e, Message) and e.level == "warning"]
    assert len(told) == 1 and "began" in told[0]
    with Catalogue.editing(workspace) as catalogue:
        catalogue.remove_images(whole.cases[:1])
    seen.clear()
    done = finetune(finetuning(workspace, "parts", 21), seen.append)
    assert done.result.cases == whole.cases[1:]
    assert any(
        f"labels of {whole.cases[0]}, which cannot be used any more" in e.text for e in seen if isinstance(e, Message)
    )


def test_a_class_that_is_only_found_where_nobody_labelled_is_no_error_in_validation(workspace, monkeypatch):
    """An island in what is labelled goes, and what it hung on to lies where nothing is known."""
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0]
    ids = [i.id for i in catalogue.usable(task.name, labelled=True)]
    with Catalogue.editing(workspace) as catalogue:
        catalogue.set_task(task.model_copy(update={"ignore_value": 200}))
    path = catalogue.label_path(catalogue.image(ids[1]))
    image = sitk.ReadImage(str(path))
    array = np.zeros_like(sitk.GetArrayFromImage(image))
    array[:, array.shape[1] // 2 :] = 200
    label = sitk.GetImageFromArray(array)
    label.CopyInformation(image)
    sitk.WriteImage(label, str(path))

    @contextmanager
    def found(segmenter, array, low):
        shares = torch.zeros(1 + len(task.classes), *array.shape)
        shares[0] = 0.5
        shares[1, :, 0, 0] = 1
        shares[1, :, array.shape[1] // 2 + 1 :] = 1
        yield lambda first, last: shares[:, first:last]

    monkeypatch.setattr(hssl.learning.finetuning, "plane_mean", found)
    finetune(finetuning(workspace, "v", 1, cases=ids[:1], validation=ids[1:2]))
    description, _ = load_model(run_path(workspace, "v"))
    assert 1 in description.one_piece_channels and description.figures == {"validation_dice": 1.0}


def test_validation_holds_the_probabilities_of_a_slab_at_once(workspace, monkeypatch):
    """Those of thirteen organs on a whole CT were four gigabytes, of a hundred fourteen."""
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0]
    ids = [i.id for i in catalogue.usable(task.name, labelled=True)]
    asked = []

    @contextmanager
    def found(segmenter, array, low):
        shares = torch.zeros(1 + len(task.classes), *array.shape)
        yield lambda first, last: asked.append((first, last)) or shares[:, first:last]

    monkeypatch.setattr(hssl.learning.finetuning, "plane_mean", found)
    monkeypatch.setattr("hssl.models.plane_mean.SLAB_MEGABYTES", 0.001)
    finetune(finetuning(workspace, "v", 1, cases=ids[:1], validation=ids[1:2]))
    depth = max(asked)[1]
    assert asked[:depth] == [(n, n + 1) for n in range(depth)] and depth > 4


@pytest.mark.parametrize("broken", [False, True])
def test_labels_decide_which_classes_keep_their_largest_component(workspace, broken):
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0]
    image = catalogue.usable(task.name, labelled=True)[0]
    path = catalogue.label_path(image)
    values = [c.value for c in task.classes]
    array = np.zeros_like(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    for number, value in enumerate(values):
        array[:, 4 * number : 4 * number + 3, 2:9] = value
    if broken:
        array[:, 4:7, 14:19] = values[0]  # a second piece of the first class, as large as the first
    label = sitk.GetImageFromArray(array)
    label.CopyInformation(sitk.ReadImage(str(path)))
    sitk.WriteImage(label, str(path))
    events: list = []
    done = finetune(finetuning(workspace, "v", 1, cases=[image.id]), events.append)
    description, _ = load_model(done.result.run)
    assert description.one_piece == tuple(values[1:] if broken else values)
    (text,) = (e.text for e in events if isinstance(e, Message) and e.way_out == "islands")
    names = ", ".join(c.name for c in task.classes[broken:])
    assert text == f"Predictions leave out islands of {names}: one piece in 1 label"


@pytest.mark.parametrize("harms", [False, True])
def test_with_validation_a_class_loses_its_islands_only_where_that_does_not_harm(workspace, monkeypatch, harms):
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0]
    ids = [i.id for i in catalogue.usable(task.name, labelled=True)]
    first = 1

    def kept(channels, which, least):
        assert first in which, "a class of the labels in one piece"
        assert least == COMPARABLE
        return np.where((channels == first) & harms, 0, channels)

    monkeypatch.setattr(hssl.learning.finetuning, "largest_components", kept)
    done = finetune(finetuning(workspace, "v", 12, cases=ids[:1], validation=ids[1:2], learning_rate=5e-3))
    description, _ = load_model(done.result.run)
    rows = [r["validation_dice"] for r in losses(workspace, "v") if "validation_dice" in r]
    assert max(rows) > 0
    assert (first in description.one_piece_channels) is not harms


def test_a_comparison_goes_on_where_it_was_stopped(workspace):
    pretrain(pretraining(workspace, "pre", 5))
    config = CompareConfig(finetune=finetuning(workspace, "", 6), start="pre", name="c", case_counts=[1], seeds=[0, 1])
    stop, watch = stopping_at(6)
    stopped = compare(config, watch, stop)
    assert stopped.stopped and len(stopped.result.rows) < 4
    phases = []
    twice = config.model_copy(update={"case_counts": [1, 1], "seeds": [0, 1, 0]})
    done = compare(twice, lambda e: phases.append(e) if isinstance(e, Phase) else None)
    assert len(done.result.rows) == 4 and len(phases) == 4, "what is asked for twice is tried once"
    by_start = {(r.start, r.seed): r.cases for r in done.result.rows}
    assert by_start[("pretrained", 0)] == by_start[("scratch", 0)]
    folder = done.result.folder
    assert (folder / "comparison.png").stat().st_size > 10_000
    assert len((folder / "comparison.csv").read_text().splitlines()) == 5
    assert len(all_runs(workspace)) == 5
    # Its end comes once more, after a class was renamed and with a trial none of whose test cases had a class.
    kept = json.loads((folder / "comparison.json").read_text())
    kept["rows"][0].update(dice=None, classes={"its former name": None})
    (folder / "comparison.json").write_text(json.dumps(kept))
    compare(config)
    head, first, *_ = (folder / "comparison.csv").read_text().splitlines()
    assert "Dice its former name" in head and len(head.split(",")) == len(first.split(","))


def test_without_a_name_a_stopped_comparison_goes_on_and_one_that_is_done_is_followed_by_another(workspace):
    pretrain(pretraining(workspace, "pre", 2))
    config = CompareConfig(finetune=finetuning(workspace, "", 4), start="pre", case_counts=[1])
    stop, watch = stopping_at(4)
    stopped = compare(config, watch, stop).result
    done = compare(config).result
    assert len(stopped.rows) < 2 == len(done.rows) and stopped.folder == done.folder
    more = config.model_copy(update={"case_counts": [1, 2]})
    assert compare(more, stop=lambda: True).result.folder == done.folder, "the same comparison for more labels"
    begun = compare(config, stop=lambda: True).result
    assert begun.folder.name == f"{done.folder.name}-2" and not begun.rows
    other = config.model_copy(update={"finetune": finetuning(workspace, "", 6)})
    assert compare(other, stop=lambda: True).result.folder.name == f"{done.folder.name}-3"


def test_a_small_class_weighs_more_and_an_absent_one_nothing():
    labels = torch.tensor([[0] * 900 + [2] * 9])
    assert class_weights(labels, 4, 0.0).tolist() == [1, 0, 1, 0]
    weights = class_weights(labels, 4, 0.5)
    assert float(weights[2] / weights[0]) == pytest.approx(10) and weights[[1, 3]].tolist() == [0, 0]


def test_a_class_that_is_not_found_counts_as_much_in_sum_as_a_class_of_all_voxels():
    labels = torch.tensor([[0] * 900 + [1] * 91 + [2] * 9])
    counts = torch.tensor([900.0, 91.0, 9.0])
    as_before = class_weights(labels, 3, 0.5, torch.zeros(3))
    weights = class_weights(labels, 3, 0.5, torch.tensor([0.0, 0.0, 1.0]))
    assert torch.equal(as_before, class_weights(labels, 3, 0.5)) and torch.equal(weights[:2], as_before[:2])
    assert float((weights * counts)[2]) == pytest.approx(1000 * 1000**-0.5)


def test_how_far_a_class_is_found_is_the_dice_of_the_latest_batches_where_there_are_labels():
    labels = torch.tensor([[0] * 6 + [1] * 4 + [2] * 2 + [UNLABELLED] * 4])
    answer = torch.tensor([[0] * 6 + [1] * 2 + [0] * 2 + [1] * 2 + [3] * 4])
    found = FoundClasses(4)
    for _ in range(3):
        found.follow(torch.nn.functional.one_hot(answer, 4).movedim(-1, 1).float(), labels)
    assert found.dice.tolist() == pytest.approx([2 * 6 / 14, 2 * 2 / 8, 0, 1])
    assert found.missing.tolist() == [0, 0, 1, 0]
    for _ in range(100):  # what was long ago does not count
        found.follow(torch.nn.functional.one_hot(labels.where(labels < 4, 0), 4).movedim(-1, 1).float(), labels)
    assert found.dice.tolist() == pytest.approx([1, 1, 1, 1], abs=0.02) and not found.missing.any()
    found.follow(torch.zeros(1, 4, 4), torch.full((1, 4), UNLABELLED))
    assert found.dice.tolist() == pytest.approx([1, 1, 1, 1], abs=0.02)


def test_what_is_not_found_yet_is_remembered_by_a_run_that_goes_on(workspace, monkeypatch):
    monkeypatch.setattr(hssl.learning.finetuning, "HELP_AFTER", 2)
    finetune(finetuning(workspace, "whole", 8))
    stop, watch = stopping_at(4)
    finetune(finetuning(workspace, "parts", 8), watch, stop)
    finetune(finetuning(workspace, "parts", 8))
    assert losses(workspace, "whole") == losses(workspace, "parts")
    monkeypatch.setattr(hssl.learning.finetuning, "HELP_AFTER", 100)
    finetune(finetuning(workspace, "without", 8))
    assert losses(workspace, "whole") != losses(workspace, "without")


def test_what_is_never_found_is_told(workspace):
    seen = []
    finetune(finetuning(workspace, "brief", 2), seen.append)
    finetune(finetuning(workspace, "longer", 60), seen.append)
    told = [e.text for e in seen if isinstance(e, Message) and e.level == "warning"]
    assert len(told) == 1 and told[0].startswith("Hardly found, even in the images that were trained on: "), told


def test_fine_tuning_sees_patches_of_several_sizes_and_ends_unweighted(workspace, monkeypatch):
    sizes, balances, helps = set(), [], []
    forward = SegmentationModule.forward

    def look(module, prepared):
        sizes.add(tuple(prepared.images.shape))
        balances.append(prepared.balance)
        helps.append(prepared.help)
        return forward(module, prepared)

    monkeypatch.setattr(SegmentationModule, "forward", look)
    monkeypatch.setattr(hssl.learning.finetuning, "HELP_AFTER", 5)
    # The generated slices are as small as the smallest patches, so that there would be no larger ones.
    monkeypatch.setattr(
        hssl.learning.finetuning, "larger_patches", lambda patch, shapes, count, fewest: [((64, 48), 2)]
    )
    done = finetune(finetuning(workspace, "run", 20))
    assert sizes == {(4, 3, 32, 32), (2, 3, 64, 48)}
    assert balances[0] == 0.6 and sorted(balances, reverse=True) == balances and balances[-1] < 0.05
    assert not any(helps[:5]) and helps[5] == pytest.approx(0.75) and helps[5:] == sorted(helps[5:], reverse=True)
    assert helps[-1] < 0.1
    assert RunFolder(done.result.run).load_checkpoint()["description"]["patch_size"] == [64, 48]
