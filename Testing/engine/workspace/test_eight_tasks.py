"""The paper's set, as its parts are downloaded: eight tasks in four groups (METHOD: heart and prostate MRI, CT, knee MRI)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from hssl.configuration import AddConfig
from hssl.jobs.add import add
from hssl.workspace.catalogue import Catalogue

SHAPE = (4, 10, 12)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(seed).normal(300, 60, SHAPE).astype(np.int16)
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 2:6, 3:8], mask[1:3, 3:5, 4:6] = 1, 2
    return values, mask


def put(path: Path, *frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [sitk.GetImageFromArray(frame) for frame in frames]
    sitk.WriteImage(images[0] if len(images) == 1 else sitk.JoinSeries(images), str(path))


def msd(root: Path, name: str, modality: dict[str, str], labels: list[str], seed: int) -> None:
    training = []
    for n in range(2):
        file = f"{name.lower()}_{n:03d}.nii.gz"
        values, mask = drawn(seed + n)
        put(root / "imagesTr" / file, *[values - (400 if "CT" in modality.values() else 0)] * len(modality))
        put(root / "labelsTr" / file, np.minimum(mask, len(labels)))
        (root / "imagesTr" / f"._{file}").write_bytes(b"\0\5\x16\7")
        training.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
    classes = {str(v): n for v, n in enumerate(["background", *labels])}
    description = {"name": name, "modality": modality, "labels": classes, "training": training, "test": []}
    (root / "dataset.json").write_text(json.dumps(description))


def acdc(root: Path) -> None:
    for n in (1, 2):
        case = root / "database" / "training" / f"patient{n:03d}"
        frames = [drawn(100 * n + f) for f in range(4)]
        put(case / f"{case.name}_4d.nii.gz", *[values for values, _ in frames])
        for frame in (1, 4):
            put(case / f"{case.name}_frame{frame:02d}.nii.gz", frames[frame - 1][0])
            put(case / f"{case.name}_frame{frame:02d}_gt.nii.gz", frames[frame - 1][1])
        (case / "Info.cfg").write_text("ED: 1\nES: 4\nGroup: DCM\n")


def mms(root: Path) -> None:
    for n, code in enumerate(("A0S9V9", "B3E2W8")):
        frames = [drawn(500 + 10 * n + f) for f in range(3)]
        folder = root / "Training" / "Labeled" / code
        put(folder / f"{code}_sa.nii.gz", *[values for values, _ in frames])
        put(folder / f"{code}_sa_gt.nii.gz", *[mask if f != 1 else mask * 0 for f, (_, mask) in enumerate(frames)])
    table = "index,External code,ED,ES\n0,A0S9V9,0,2\n1,B3E2W8,2,0\n"
    (root / "211230_M&Ms_Dataset_information.csv").write_text(table)


def ski10(root: Path) -> None:
    for n in (1, 2):
        values, mask = drawn(700 + n)
        put(root / "training" / f"image-{n:03d}.mhd", values)
        put(root / "training" / f"labels-{n:03d}.mhd", mask)


def test_the_eight_tasks_in_their_four_groups_can_be_assembled(tmp_path):
    data, workspace = tmp_path / "data", Catalogue.create(tmp_path / "paper").workspace
    msd(data / "Task02_Heart", "Heart", {"0": "MRI"}, ["left atrium"], 10)
    msd(data / "Task03_Liver", "Liver", {"0": "CT"}, ["liver", "cancer"], 20)
    msd(data / "Task05_Prostate", "Prostate", {"0": "T2", "1": "ADC"}, ["PZ", "TZ"], 30)
    msd(data / "Task07_Pancreas", "Pancreas", {"0": "CT"}, ["pancreas", "cancer"], 40)
    msd(data / "Task09_Spleen", "Spleen", {"0": "CT"}, ["spleen"], 50)
    acdc(data / "ACDC")
    mms(data / "MnMs")
    ski10(data / "SKI10")
    knee = {1: "femur", 2: "femoral cartilage", 3: "tibia", 4: "tibial cartilage"}
    for folder, task, group, options in (
        ("Task02_Heart", "heart", "heart MRI", {}),
        ("ACDC", "acdc", "heart MRI", {}),
        ("MnMs", "mms", "heart MRI", {}),
        ("Task03_Liver", "liver", "abdominal CT", {}),
        ("Task07_Pancreas", "pancreas", "abdominal CT", {}),
        ("Task09_Spleen", "spleen", "abdominal CT", {}),
        ("Task05_Prostate", "prostate", "prostate MRI", {"channel": 0}),
        ("SKI10", "knee", "knee MRI", {"modality": "MR", "classes": knee}),
    ):
        add(AddConfig(workspace=workspace, source=data / folder, task=task, group=group, check=True, **options))
    catalogue = Catalogue.load(workspace)
    assert {t.name: (catalogue.group_of(t.name), t.modality) for t in catalogue.tasks} == {
        "heart": ("heart MRI", "MR"),
        "acdc": ("heart MRI", "MR"),
        "mms": ("heart MRI", "MR"),
        "liver": ("abdominal CT", "CT"),
        "pancreas": ("abdominal CT", "CT"),
        "spleen": ("abdominal CT", "CT"),
        "prostate": ("prostate MRI", "MR"),
        "knee": ("knee MRI", "MR"),
    }
    labelled = {t.name: len(catalogue.usable(t.name, labelled=True)) for t in catalogue.tasks}
    assert labelled == {t: 4 if t in ("acdc", "mms") else 2 for t in labelled}
    assert all(i.problem is None and i.label_problem is None and i.doubt is None for i in catalogue.images)
    assert {i.patient for i in catalogue.images if i.task in ("acdc", "mms")} == {
        "patient001",
        "patient002",
        "A0S9V9",
        "B3E2W8",
    }
