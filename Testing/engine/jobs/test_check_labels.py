"""Wrong labels are found: a drawn structure, whose label is spoiled in a few images, by networks that have not seen them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.configuration import CheckLabelsConfig, FinetuneConfig
from hssl.errors import ConfigurationError
from hssl.imaging.volumes import write_volume
from hssl.jobs.check_labels import check_labels
from hssl.workspace import scan, sources
from hssl.workspace.catalogue import Catalogue, LabelClass, Task

TASK, COUNT, SPOILED = "ball", 9, ("c03", "c07")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Bright balls at random places in noise; the labels of two images show a place where there is none."""
    folder = tmp_path_factory.mktemp("balls")
    generator = np.random.default_rng(0)
    k, j, i = np.mgrid[:12, :48, :48]
    for number in range(COUNT):
        centre = generator.integers([4, 14, 14], [8, 34, 34])
        ball = ((k - centre[0]) * 2) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2 < 64
        image = generator.normal(100, 15, ball.shape) + 80 * ball
        name = f"c{number:02}"
        label = np.roll(ball, (0, 17, 17), (0, 1, 2)) if name in SPOILED else ball
        write_volume(sitk.GetImageFromArray(image.astype(np.float32)), folder / "scans" / "images" / f"{name}.nii.gz")
        write_volume(sitk.GetImageFromArray(label.astype(np.uint8)), folder / "scans" / "labels" / f"{name}.nii.gz")
    Catalogue.create(folder / "workspace")
    task = Task(name=TASK, modality="MR", classes=[LabelClass(value=1, name="ball")])
    scan.add(folder / "workspace", sources.find(folder / "scans"), task)
    return folder / "workspace"


def asked(workspace, name: str, folds: int = 3) -> CheckLabelsConfig:
    recipe = FinetuneConfig(workspace=workspace, task=TASK, budget={"steps": 30}, device="cpu", patch_size=32)
    return CheckLabelsConfig(finetune=recipe, folds=folds, name=name)


def test_the_spoiled_labels_come_first_and_no_network_has_seen_the_label_that_it_judges(workspace):
    events: list = []

    def after_the_first_fold() -> bool:
        return any(e.event == "metrics" and any(name.startswith("dice c") for name in e.values) for e in events)

    half = check_labels(asked(workspace, "one"), events.append, after_the_first_fold)
    assert half.stopped and len(half.result["rows"]) == COUNT // 3
    done = check_labels(asked(workspace, "one"))
    rows = done.result["rows"]
    assert len(rows) == COUNT and {row["id"] for row in rows[:2]} == set(SPOILED)
    assert rows[1]["dice"] < 0.5 < rows[2]["dice"]
    for row in rows:
        assert row["id"] not in json.loads((Path(row["run"]) / "config.json").read_text())["cases"]


def test_too_few_patients_for_the_folds_are_told(workspace):
    with pytest.raises(ConfigurationError, match="too few for 13 folds"):
        check_labels(asked(workspace, "many", folds=13))
