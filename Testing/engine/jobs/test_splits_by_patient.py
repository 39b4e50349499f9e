"""Images of one patient stay on one side of every split, and a start that has seen the test images is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hssl.configuration import CompareConfig, FinetuneConfig
from hssl.errors import ConfigurationError
from hssl.jobs.compare import _test_cases
from hssl.jobs.finetune import choose_cases, drawn_by_patient
from hssl.jobs.suggest import _one_of_each_patient
from hssl.workspace.catalogue import Catalogue, Image, LabelClass, Task
from hssl.workspace.seen import contents_seen, labels_seen_by, seen_by, seen_images, without_seen
from hssl.workspace.suggestions import Suggestion


def catalogue(folder: Path, patients: int = 15, frames: int = 2, named: bool = True) -> Catalogue:
    """Labelled images, some frames of each patient."""
    made = Catalogue.create(folder)
    made.set_task(Task(name="t", classes=[LabelClass(value=1, name="a")]))
    made.add_images(
        [
            Image(
                id=f"p{p:02}-f{f}", task="t", image=f"{p}-{f}.nii", label=f"{p}-{f}-l.nii", content=f"{p}-{f}",
                patient=f"patient {p}" if named else "",
            )
            for p in range(patients)
            for f in range(frames)
        ]
    )  # fmt: skip
    return made


def whose(images: list[Image]) -> set[str]:
    return {image.patient for image in images}


def config(folder: Path, **values) -> FinetuneConfig:
    return FinetuneConfig(workspace=folder, task="t", **values)


@pytest.mark.parametrize("seed", range(6))
def test_no_patient_is_both_trained_and_validated_on_nor_left_out_and_trained_on(tmp_path, seed):
    made = catalogue(tmp_path)
    trained, held = choose_cases(made, config(tmp_path, seed=seed, exclude=["p03-f1"]))
    assert not whose(trained) & whose(held)
    assert "patient 3" not in whose([*trained, *held])
    assert len(held) >= 5 and len(trained) + len(held) == 28
    trained, _ = choose_cases(made, config(tmp_path, seed=seed, case_count=3, validation=["p05-f0"]))
    assert len(trained) == 3 and "patient 5" not in whose(trained)


def test_a_case_that_is_named_for_two_things_is_refused_and_one_that_is_named_twice_counts_once(tmp_path):
    made = catalogue(tmp_path)
    for values, text in (
        ({"cases": ["p01-f0"], "validation": ["p02-f0"], "exclude": ["p02-f0"]}, "validated on and left out"),
        ({"cases": ["p01-f0", "p02-f0"], "exclude": ["p02-f0"]}, "trained on and left out"),
        ({"cases": ["p01-f0"], "validation": ["p01-f0"]}, "trained on and validated on"),
    ):
        with pytest.raises(ConfigurationError, match=f"are to be {text} at once"):
            choose_cases(made, config(tmp_path, **values))
    trained, held = choose_cases(made, config(tmp_path, cases=["p01-f0"] * 2, validation=["p02-f0"] * 2))
    assert [i.id for i in trained] == ["p01-f0"] and [i.id for i in held] == ["p02-f0"]


def test_images_without_a_patient_are_drawn_as_they_always_were(tmp_path):
    made = catalogue(tmp_path, named=False)
    ids = sorted(i.id for i in made.images)
    for seed in range(5):
        assert drawn_by_patient(made, ids, seed) == np.random.default_rng(seed).permutation(ids).tolist()


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_comparison_tests_on_patients_that_are_not_trained_on(tmp_path, frames):
    made = catalogue(tmp_path, patients=6, frames=frames)
    recipe = config(tmp_path)
    test = _test_cases(made, CompareConfig(finetune=recipe, start="x", case_counts=[2]))
    assert len(test) >= len(made.images) // 3
    trained, held = choose_cases(made, recipe.model_copy(update={"exclude": [i.id for i in test], "case_count": 2}))
    assert not whose(test) & whose([*trained, *held])
    validated = recipe.model_copy(update={"validation": [test[0].id]})
    assert not whose(test[:1]) & whose(_test_cases(made, CompareConfig(finetune=validated, start="x", case_counts=[1])))
    with pytest.raises(ConfigurationError, match="0 to train on"):
        _test_cases(made, CompareConfig(finetune=recipe, start="x", test=[f"p{p:02}-f0" for p in range(6)]))


def test_patients_of_one_name_in_two_tasks_are_two(tmp_path):
    made = catalogue(tmp_path)
    made.set_task(Task(name="other"))
    made.add_images([Image(id="o", task="other", image="o.nii", patient="patient 1", content="o")])
    assert made.with_patients(["p01-f0"]) == {"p01-f0", "p01-f1"}
    with pytest.raises(ConfigurationError, match="no image with id 'nobody'"):
        made.with_patients(["nobody"])
    provenance = {"seen": seen_images(made, ["p01-f0"])}
    assert [i.id for i in seen_by(provenance, made.images)] == ["p01-f0", "p01-f1"]


def test_what_a_start_has_seen_is_told_through_all_starts_before_it_and_by_content_too(tmp_path):
    made = catalogue(tmp_path / "a", named=False)
    provenance = {
        "seen": {"images": [], "patients": []},
        "pretraining": {"started_from": {"seen": seen_images(made, ["p02-f0"])}},
    }
    elsewhere = Image(id="another name", task="another task", image="x.nii", content="2-0")
    assert [i.id for i in seen_by(provenance, [elsewhere, made.image("p02-f1")])] == ["another name"]
    assert contents_seen(provenance, ["2-0", "2-1"]) == ["2-0"]
    assert seen_by(None, made.images) == seen_by({"images": 12, "catalogue": "x"}, made.images) == []
    assert "seen" not in str(without_seen(provenance))


def test_labels_were_seen_by_trainings_that_learned_from_labels_alone(tmp_path):
    images = catalogue(tmp_path).images
    seen = [seen_images(catalogue(tmp_path / str(n)), [images[2 * n].id]) for n in range(4)]
    provenance = {
        "configuration": {"kind": "finetune"},
        "seen": seen[0],
        "pretraining": {
            "configuration": {"kind": "pretrain", "with_labels": False},
            "seen": seen[1],
            "started_from": {
                "configuration": {"kind": "pretrain", "with_labels": True},
                "seen": seen[2],
                "started_from": {"seen": seen[3]},
            },
        },
    }
    assert [i.id for i in labels_seen_by(provenance, images)] == [
        i.id for i in images if i.patient in {images[0].patient, images[4].patient}
    ]
    taught = {"configuration": {"kind": "pretrain"}, "seen": seen[3], "started_from": {"teacher": provenance}}
    assert labels_seen_by(taught, images) == labels_seen_by(provenance, images)
    assert len(seen_by(provenance, images)) > len(labels_seen_by(provenance, images))
    assert labels_seen_by(None, images) == [] == labels_seen_by({"configuration": "unknown"}, images)


def test_neither_a_patients_name_nor_an_images_can_be_read_from_what_a_model_carries(tmp_path):
    text = str(seen_images(catalogue(tmp_path), ["p01-f0", "p02-f1"]))
    assert "patient 1" not in text and "p01" not in text


def test_of_one_patient_one_image_is_suggested_of_those_without_a_label_first():
    order = [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("b", 2)]
    ranked = [
        Suggestion(id=f"{p}{n}", rank=rank, score=1 / rank, uncertainty=None, novelty=None)
        for rank, (p, n) in enumerate(order, 1)
    ]
    patients = {f"{p}{n}": p for p, n in order}
    for labelled, count, expected in (
        (set(), 9, ["a1", "b1", "c1"]),
        ({"a"}, 9, ["b1", "c1", "a1"]),
        ({"a"}, 2, ["b1", "c1"]),
    ):
        found = _one_of_each_patient(ranked, patients, labelled, count)
        assert [s.id for s in found] == expected and [s.rank for s in found] == list(range(1, len(expected) + 1))
