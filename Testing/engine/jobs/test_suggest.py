"""What to label next: coverage by value, uncertainty that empty predictions do not fool, and the job as a whole."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from typer.testing import CliRunner

from hssl.cli import app
from hssl.configuration import Budget, FinetuneConfig, NetworkConfig, PretrainConfig, SuggestConfig
from hssl.errors import ConfigurationError, InputError
from hssl.imaging.volumes import read_volume, write_volume
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.jobs.suggest import suggest
from hssl.learning.acquisition import FeatureSpace, ranked, uncertainty_of
from hssl.models.description import ModelDescription
from hssl.models.inference import Segmenter
from hssl.models.network import build_network
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.workspace.catalogue import Catalogue, LabelClass, Task
from hssl.workspace.scan import add
from hssl.workspace.sources import find
from hssl.workspace.suggestions import open_suggestions, suggestions_path

QUICK = {"patch_size": 32, "batch_size": 4, "precision": "float32", "device": "cpu", "threads": 1}
NONE_LABELLED = np.zeros((0, 1))


def on_a_line(*places: float) -> np.ndarray:
    return np.array(places, float)[:, None]


def order(suggestions) -> list[str]:
    return [s.id for s in suggestions]


@pytest.fixture(scope="module")
def trained(shared_workspace: Path, tmp_path_factory) -> Path:
    """A workspace with a pretraining, a fine-tuning that started from it, and one from scratch."""
    workspace = Path(shutil.copytree(shared_workspace, tmp_path_factory.mktemp("trained") / "workspace"))
    task = Catalogue.load(workspace).tasks[0].name
    pretrain(PretrainConfig.checked({"workspace": workspace, "run": "pre", "budget": Budget(steps=6), **QUICK}))
    for run, start in (("tuned", "pre"), ("alone", "scratch")):
        finetune(
            FinetuneConfig.checked(
                {"workspace": workspace, "run": run, "task": task, "start": start, "budget": Budget(steps=6), **QUICK}
            )
        )
    return workspace


@pytest.fixture
def ready(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "workspace"))


def asking(workspace: Path, model: str, **more) -> SuggestConfig:
    task = Catalogue.load(workspace).tasks[0].name
    return SuggestConfig.checked(
        {"workspace": workspace, "task": task, "model": model, "device": "cpu", "threads": 1, **more}
    )


# The rule --------------------------------------------------------------------------------------------------------


def test_coverage_alone_takes_what_stands_for_most_images_not_covered_yet():
    # Distances are 1 to 10, their median 4, and the reach 2.
    places = (1, 4, 5, 6, 10)
    found = ranked("abcde", on_a_line(*places), on_a_line(0), None, 3)
    covers = lambda a, b: np.exp(-(((a - b) / 2) ** 2))  # noqa: E731
    before = [covers(0, p) for p in places]
    share = np.mean([max(0, covers(5, p) - c) for p, c in zip(places, before, strict=True)])
    assert order(found) == ["c", "e", "a"]
    assert found[0].score == pytest.approx(share, abs=1e-6)
    assert [s.novelty for s in found] == [5, 5, 1]
    assert all(s.uncertainty is None for s in found)


def test_an_odd_image_waits_until_groups_are_covered():
    """K-centre would begin with it."""
    found = ranked("abcdefo", on_a_line(10, 10.5, 11, 20, 20.5, 21, 90), on_a_line(0, 0.5), None, 3)
    assert order(found) == ["e", "b", "o"]


def test_each_suggestion_covers_images_like_it():
    found = ranked(["x1", "x2", "x3", "y"], on_a_line(10, 10.1, 10.2, -5), on_a_line(0), None, 2)
    assert order(found) == ["x2", "y"]


def test_images_count_as_much_as_they_are_uncertain():
    places = on_a_line(5, -5)
    assert order(ranked("ab", places, on_a_line(0), [0.1, 0.3], 1)) == ["b"]
    assert order(ranked("ab", places, on_a_line(0), [0.3, 0.1], 1)) == ["a"]
    found = ranked("ab", places, on_a_line(0), [0.3, 0.1], 1)[0]
    assert found.uncertainty == 0.3 and found.novelty == 5


def test_scores_fall_with_the_rank():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(30, 4))
    found = ranked([str(n) for n in range(30)], features, features[:2] + 3, list(generator.random(30)), 30)
    scores = [s.score for s in found]
    assert scores == sorted(scores, reverse=True) and [s.rank for s in found] == list(range(1, 31))
    assert len(set(order(found))) == 30 and min(scores) >= 0 and max(scores) <= 1


def test_many_images_are_ranked_as_few_are(monkeypatch):
    names, features = [str(n) for n in range(40)], np.random.default_rng(0).normal(size=(40, 4))
    whole = ranked(names, features, features[:1], None, 5)
    module = importlib.import_module("hssl.learning.acquisition")
    reach = module._reach(torch.from_numpy(np.concatenate([features, features[:1]])))
    monkeypatch.setattr(module, "_reach", lambda images: reach)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    assert ranked(names, features, features[:1], None, 5) == whole


def test_with_nothing_labelled_the_most_typical_image_comes_first_and_has_no_novelty():
    found = ranked("abcd", on_a_line(0, 4, 5, 9), NONE_LABELLED, None, 2)
    assert found[0].id == "b" and found[0].novelty is None  # of equal ones the first
    assert found[1].id == "d" and found[1].novelty == 5


def test_images_that_are_all_the_same_are_ranked_without_a_division_by_zero():
    found = ranked("abc", on_a_line(2, 2, 2), on_a_line(2), [0.0, 0.0, 0.0], 3)
    assert order(found) == ["a", "b", "c"] and [s.score for s in found] == [0, 0, 0]
    assert order(ranked("a", on_a_line(2), NONE_LABELLED, None, 3)) == ["a"]


def test_copies_of_a_labelled_image_come_last():
    generator = np.random.default_rng(0)
    same, others = generator.normal(size=(1, 900)), generator.normal(size=(4, 900))
    features = np.concatenate([np.repeat(same, 40, 0), others])
    found = ranked([str(n) for n in range(44)], features, same, None, 6)
    assert set(order(found)[:4]) == {"40", "41", "42", "43"}
    assert [(s.score, s.novelty) for s in found[4:]] == [(0, 0), (0, 0)]


def test_where_a_model_is_sure_of_everything_coverage_decides():
    places = on_a_line(1, 4, 5, 6, 10)
    sure = ranked("abcde", places, on_a_line(0), [0.0] * 5, 5)
    assert order(sure) == order(ranked("abcde", places, on_a_line(0), None, 5))


# Uncertainty -----------------------------------------------------------------------------------------------------


class Played:
    """Gives the probabilities that a test wants, slab by slab as a Segmenter does, in one plane or in two."""

    def __init__(
        self,
        probabilities: torch.Tensor,
        network: NetworkConfig = NetworkConfig(),
        across: torch.Tensor | None = None,
    ):
        self.all, self.across = probabilities, across
        self.planes = (0,) if across is None else (0, 1)
        fingerprint = Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(8, 16, 16))
        classes = [LabelClass(value=c, name=f"class {c}") for c in range(1, len(probabilities))]
        self.description = ModelDescription(
            kind="segmentation",
            name="played",
            network=network,
            patch_size=(32,) * network.spatial_dims,
            tasks=[Task(name="t", classes=classes)],
            fingerprints={"t": fingerprint},
            out_channels=len(probabilities),
        )

    def probabilities(self, array, low, first, last, axis=0):
        if array.shape == self.all.shape[1:]:
            return self.all[:, first:last]
        return self.across.transpose(1, 2)[:, first:last]

    def slices_at_once(self, size):
        return 7


def doubt_of(probabilities: torch.Tensor, *expected: bool, across: torch.Tensor | None = None) -> float:
    array = np.ones(tuple(probabilities.shape[1:]), np.float32)
    array[:, 0, 0] = -1
    return uncertainty_of(Played(probabilities, across=across), array, -1.0, expected)


def certain(*boxes: slice) -> torch.Tensor:
    """Class c in the columns of its box with certainty, background elsewhere; 40 slices, so more than one slab."""
    labels = torch.zeros(40, 16, 16, dtype=torch.long)
    for c, box in enumerate(boxes, 1):
        labels[:, :, box] = c
    return torch.nn.functional.one_hot(labels, len(boxes) + 1).movedim(-1, 0).float()


def test_a_certain_prediction_has_no_uncertainty():
    assert doubt_of(certain(slice(0, 4)), True) == pytest.approx(0, abs=1e-6)


def test_uncertainty_is_one_minus_the_dice_that_the_model_expects():
    doubtful = certain(slice(0, 4))
    doubtful[:, :, :, :4] = torch.tensor([0.2, 0.8])[:, None, None, None]  # found
    doubtful[:, :, :, 4:6] = torch.tensor([0.6, 0.4])[:, None, None, None]  # not found, beside it
    # A row has 4 columns found with 0.8, and 2 others with 0.4: 2 · 3.2 / (3.2 + 0.8 + 4).
    assert doubt_of(doubtful, True) == pytest.approx(1 - 6.4 / 8, abs=1e-6)


def test_an_empty_prediction_of_what_every_label_holds_is_the_greatest_uncertainty():
    nothing = torch.stack([torch.ones(40, 16, 16), torch.zeros(40, 16, 16)])
    assert doubt_of(nothing, True) == 1
    assert doubt_of(nothing, False) == 0


def test_what_need_not_be_there_and_was_nearly_found_is_uncertain():
    nearly = torch.stack([torch.ones(40, 16, 16), torch.zeros(40, 16, 16)])
    nearly[:, 39, 3, 3] = torch.tensor([0.6, 0.4])
    assert doubt_of(nearly, False) == pytest.approx(0.8, abs=1e-6)


def test_a_class_that_is_missed_counts_as_much_as_one_that_is_found():
    one_of_two = torch.cat([certain(slice(0, 4)), torch.zeros(1, 40, 16, 16)])
    assert doubt_of(one_of_two, True, True) == pytest.approx(0.5, abs=1e-6)
    assert doubt_of(one_of_two, True, False) == pytest.approx(0, abs=1e-6)


def test_planes_that_contradict_each_other_are_uncertain_however_sure_each_of_them_is():
    sure, elsewhere = certain(slice(0, 4)), certain(slice(2, 6))
    assert doubt_of(sure, True, across=sure) == pytest.approx(0, abs=1e-3)
    # The mean finds columns 2 and 3 with 1 and, as ties go to background, not the four others with ½: 2 · 2 / (4 + 2).
    assert doubt_of(sure, True, across=elsewhere) == pytest.approx(1 - 4 / 6, abs=1e-3)


def test_the_uncertainty_of_a_real_network_does_not_depend_on_slabs(monkeypatch):
    torch.manual_seed(0)
    played = Played(torch.zeros(3, 1, 1, 1))
    network = build_network(played.description.network, 3)
    segmenter = Segmenter(played.description, network.state_dict(), torch.device("cpu"))
    array = np.random.default_rng(0).normal(size=(20, 24, 24)).astype(np.float16)
    whole = uncertainty_of(segmenter, array, -3.0, [True, True])
    monkeypatch.setattr("hssl.models.plane_mean.SLAB_MEGABYTES", 0.1)  # seven slices
    assert uncertainty_of(segmenter, array, -3.0, [True, True]) == pytest.approx(whole, abs=1e-5)


def test_a_network_of_volumes_is_asked_in_slabs_of_its_patch(monkeypatch):
    monkeypatch.setattr("hssl.models.plane_mean.SLAB_MEGABYTES", 0.1)
    torch.manual_seed(0)
    played = Played(torch.zeros(3, 1, 1, 1), NetworkConfig(spatial_dims=3, in_slices=1))
    segmenter = Segmenter(
        played.description, build_network(played.description.network, 3).state_dict(), torch.device("cpu")
    )
    array = np.random.default_rng(0).normal(size=(40, 32, 32)).astype(np.float16)
    asked = []
    real = segmenter.probabilities
    segmenter.probabilities = lambda array, low, first, last, axis=0: (
        asked.append((first, last)) or real(array, low, first, last, axis)
    )
    assert 0 < uncertainty_of(segmenter, array, -3.0, [True, True]) < 1
    assert asked == [(0, 32), (32, 40)]


# Features --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [2, 3])
def test_another_texture_is_farther_away_than_another_image_of_the_same_texture(dims):
    torch.manual_seed(0)
    config = NetworkConfig(spatial_dims=dims, in_slices=3 if dims == 2 else 1)
    fingerprint = Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(20, 40, 40))
    description = ModelDescription(
        kind="pretrained",
        name="p",
        network=config,
        patch_size=(32,) * dims,
        tasks=[Task(name="t")],
        fingerprints={"t": fingerprint},
        out_channels=config.in_slices,
    )
    space = FeatureSpace(description, build_network(config, config.in_slices).state_dict(), torch.device("cpu"))
    generator = np.random.default_rng(0)
    rough = [generator.normal(size=(20, 40, 40)).astype(np.float16) for _ in range(2)]
    smooth = sitk.GetArrayFromImage(
        sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(rough[0].astype(np.float32)), 3.0)
    )
    smooth = (smooth / smooth.std()).astype(np.float16)
    one, other, far = (space.of(a, float(a.min())) for a in (*rough, smooth))
    assert np.isfinite(one).all() and np.array_equal(one, space.of(rough[0], float(rough[0].min())))
    assert np.linalg.norm(one - far) > 1.5 * np.linalg.norm(one - other)


# The job ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["pre", "tuned", "alone"])
def test_it_works_with_a_pretrained_network_with_a_fine_tuned_one_and_with_both(ready, model):
    events = []
    done = suggest(asking(ready, model), events.append)
    catalogue = Catalogue.load(ready)
    unlabelled = {i.id for i in catalogue.usable(done.result.task, labelled=False)}
    rows = done.result.suggestions
    assert {row.id for row in rows} == unlabelled and [row.rank for row in rows] == [1, 2]
    assert all(row.novelty > 0 for row in rows)
    assert all((row.uncertainty is None) == (model == "pre") for row in rows)
    assert done.result.features.name == ("alone" if model == "alone" else "pre")
    assert {e.event for e in events} <= {"phase", "progress", "message"}
    written = json.loads(suggestions_path(ready, done.result.task).read_text())
    assert written["suggestions"] == [row.model_dump() for row in rows]
    assert done.result.file == suggestions_path(ready, written["task"])


def test_the_same_question_has_exactly_the_same_answer(ready):
    first = suggest(asking(ready, "tuned")).result
    path = first.file
    before = path.read_bytes()
    assert suggest(asking(ready, "tuned")).result == first and path.read_bytes() == before


def test_images_unlike_the_labelled_ones_are_suggested_before_more_of_the_same(ready):
    catalogue = Catalogue.load(ready)
    task = catalogue.tasks[0]
    volume = read_volume(catalogue.image_path(catalogue.usable(task.name, labelled=True)[0]))
    array = sitk.GetArrayFromImage(volume)
    noise = np.random.default_rng(0).integers(-1000, 1000, array.shape).astype(np.int16)
    for kind, values in (("usual", array), ("odd", noise)):
        for n in range(3):
            image = sitk.GetImageFromArray(values + n + 1)
            image.CopyInformation(volume)
            write_volume(image, ready / "more" / f"{kind}_{n}.nii.gz")
    add(ready, find(ready / "more"), task)
    paths = {i.id: i.image for i in Catalogue.load(ready).images}
    assert "odd" in paths[suggest(asking(ready, "pre", count=1)).result.suggestions[0].id]


def test_labelled_and_excluded_images_are_never_suggested(ready):
    catalogue = Catalogue.load(ready)
    task = catalogue.tasks[0].name
    excluded = catalogue.usable(task, labelled=False)[0].id
    done = suggest(asking(ready, "tuned", count=100, exclude=[excluded]))
    assert [row.id for row in done.result.suggestions] == [catalogue.usable(task, labelled=False)[1].id]
    assert done.result.labelled == len(catalogue.usable(task, labelled=True))


def test_nothing_needs_to_be_labelled(ready):
    with Catalogue.editing(ready) as catalogue:
        for image in catalogue.images:
            image.label = None
    rows = suggest(asking(ready, "pre", count=3)).result.suggestions
    assert rows[0].novelty is None and rows[1].novelty > 0


def test_a_task_that_is_labelled_throughout_is_refused(ready):
    catalogue = Catalogue.load(ready)
    ids = [i.id for i in catalogue.usable(catalogue.tasks[0].name, labelled=False)]
    with pytest.raises(ConfigurationError, match="without a label"):
        suggest(asking(ready, "pre", exclude=ids))


def test_a_model_of_another_task_is_refused_by_name(ready):
    other = Catalogue.load(ready).tasks[1].name
    with pytest.raises(ConfigurationError, match=f"not {other!r}"):
        suggest(asking(ready, "tuned").model_copy(update={"task": other}))


def test_a_start_that_is_gone_is_told_and_the_models_own_features_serve(ready):
    shutil.rmtree(ready / "runs" / "pre")
    events = []
    done = suggest(asking(ready, "tuned"), events.append)
    assert done.result.features.name == "tuned"
    assert any(e.event == "message" and "own features" in e.text for e in events)


def test_an_image_that_cannot_be_read_is_left_out_with_the_reason(ready):
    catalogue = Catalogue.load(ready)
    broken, whole = catalogue.usable(catalogue.tasks[0].name, labelled=False)
    catalogue.image_path(broken).write_bytes(b"not an image")
    events = []
    done = suggest(asking(ready, "pre"), events.append)
    assert [row.id for row in done.result.suggestions] == [whole.id]
    assert any(e.event == "message" and e.level == "warning" and broken.image.split("/")[-1] in e.text for e in events)


def test_a_stop_ends_it_before_anything_is_written(ready):
    done = suggest(asking(ready, "tuned"), stop=lambda: True)
    assert done.stopped and not (ready / "suggestions").exists()


def test_what_was_labelled_since_is_no_longer_suggested(ready):
    done = suggest(asking(ready, "tuned"))
    task, ids = done.result.task, [row.id for row in done.result.suggestions]
    assert [s.id for s in open_suggestions(Catalogue.load(ready), task)] == ids
    with Catalogue.editing(ready) as catalogue:
        catalogue.image(ids[0]).label = "label.nii.gz"
    assert [s.id for s in open_suggestions(Catalogue.load(ready), task)] == ids[1:]
    assert open_suggestions(Catalogue.load(ready), Catalogue.load(ready).tasks[1].name) == []


def test_a_damaged_file_of_suggestions_is_told_by_its_name(ready):
    done = suggest(asking(ready, "pre"))
    path = done.result.file
    path.write_text(json.dumps({**done.result.model_dump(mode="json"), "suggestions": [{"id": 3}]}))
    with pytest.raises(InputError, match=path.name):
        open_suggestions(Catalogue.load(ready), done.result.task)


def test_the_command_prints_a_table_and_json(ready):
    task = Catalogue.load(ready).tasks[0].name
    words = ["suggest", str(ready), "--task", task, "--model", "tuned", "--count", "1", "--device", "cpu"]
    shown, lines = (CliRunner().invoke(app, [*words, *more]) for more in ((), ("--json",)))
    assert shown.exit_code == lines.exit_code == 0, shown.output + lines.output
    row = json.loads(lines.stdout.splitlines()[-1])["result"]["suggestions"][0]
    assert row["id"] in shown.stdout and f"{row['score']:.3f}" in shown.stdout
