"""The HTML report, from the files of generated scans and made-up runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.configuration import EvaluateConfig, NetworkConfig, PretrainConfig
from hssl.demo import scans as demo
from hssl.errors import InputError
from hssl.jobs.evaluate import evaluate
from hssl.models.description import ModelDescription
from hssl.models.run_folder import RunFolder
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.reporting.report import Downstream, Picture, write_report
from hssl.workspace.catalogue import Catalogue, Image, Refused

TASK = "heart_mr"


def catalogue_of(workspace: Path, folders: dict[str, Path]) -> Catalogue:
    catalogue = Catalogue.create(workspace, "demo")
    for task in demo.tasks():
        catalogue.set_task(task)
        for path in sorted(folders[task.name].glob("*/*.nii.gz")):
            if path.parent.name != "labels":
                label = path.parent.parent / "labels" / path.name
                image = sitk.ReadImage(str(path))
                catalogue.add_images(
                    [
                        Image(
                            id=path.name.removesuffix(".nii.gz"),
                            task=task.name,
                            image=catalogue.relative(path),
                            label=catalogue.relative(label) if label.exists() else None,
                            size=image.GetSize(),
                            spacing=image.GetSpacing(),
                        )
                    ]
                )
    catalogue.save()
    return catalogue


def metrics(path: Path, columns: list[str], rows: int, rate: float) -> None:
    rng = np.random.default_rng(len(columns))
    lines = [",".join(["step", "seconds", "learning_rate", *columns, "validation_dice"])]
    for i in range(1, rows + 1):
        losses = [f"{(1 + k) * np.exp(-rate * i / rows) + 0.05 * rng.random():.4f}" for k in range(len(columns))]
        dice = f"{0.9 - 0.5 * np.exp(-rate * i / rows):.3f}" if i % 10 == 0 and "dice" in columns else ""
        lines.append(",".join([str(5 * i), str(2.0 * i), "0.001", *losses, dice]))
    path.mkdir(parents=True)
    (path / "metrics.csv").write_text("\n".join(lines) + "\n")


def eroded(path: Path, target: Path, radius: int) -> None:
    label = sitk.ReadImage(str(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.ErodeObjectMorphology(label, [radius, radius, 0], 0, 1), str(target))


def made_up(folder: Path, size: str = "tiny") -> dict:
    """Writes a workspace, runs, predictions, evaluations and a comparison, as a demo leaves them."""
    folders = demo.generate(folder / "data", size=size, labelled=3, unlabelled=1)
    catalogue = catalogue_of(folder / "workspace", folders)
    runs = catalogue.workspace / "runs"
    metrics(runs / "pretrain", ["total", "image", "task", "group", "reconstruction", "dense"], 60, 4)
    config = PretrainConfig(workspace=catalogue.workspace, run="pretrain", exclude=["heart_mr_003"])
    (runs / "pretrain" / "config.json").write_text(config.model_dump_json())
    metrics(runs / "pretrained", ["total", "dice", "cross_entropy"], 40, 5)
    metrics(runs / "scratch", ["total", "dice", "cross_entropy"], 40, 2)
    evaluations, predictions = {}, {}
    for start, erosion in (("scratch", 2), ("pretrained", 1)):
        predictions[start] = folder / start
        for label in (folders[TASK] / "labels").iterdir():
            eroded(label, predictions[start] / label.name, erosion)
        done = evaluate(
            EvaluateConfig(
                predictions=predictions[start], references=folders[TASK] / "labels", output=folder / f"out-{start}"
            )
        )
        evaluations[start] = done.result.json_file
    trials = [
        {
            "start": s,
            "case_count": n,
            "seed": 0,
            "dice": d,
            "classes": {"cavity": d, "wall": None},
            "minutes": 1,
            "run": "",
        }
        for n, pair in ((1, (0.55, 0.4)), (3, (0.8, 0.7)))
        for s, d in zip(("pretrain", "scratch"), pair, strict=True)
    ]
    (folder / "comparison.json").write_text(json.dumps({"rows": trials}))
    cases = sorted((folders[TASK] / "images").iterdir())
    return {
        "workspace": catalogue.workspace,
        "pretraining": runs / "pretrain",
        "downstream": [
            Downstream(
                task=TASK,
                runs={"pretrained": runs / "pretrained", "scratch": runs / "scratch"},
                comparison=folder / "comparison.json",
                evaluations=evaluations,
                pictures=[
                    Picture(
                        image=case,
                        reference=folders[TASK] / "labels" / case.name,
                        predictions={s: p / case.name for s, p in predictions.items()},
                        caption=case.name,
                    )
                    for case in cases[:2]
                ],
            )
        ],
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_up(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, "A demo", introduction=["What was done."], **made)
    return path.read_text(encoding="utf-8")


def test_the_page_needs_no_other_file(page):
    sources = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    assert len(sources) > 10
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in re.sub(r"data:image/[^\"]*", "", page)


def test_every_task_stands_in_the_catalogue_table_with_its_counts(page):
    rows = re.findall(r"<tr><td>(\w+)</td>.*?</tr>", page)
    assert set(rows) >= {t.name for t in demo.tasks()}
    row = next(line for line in page.splitlines() if line.startswith("<tr><td>kidney_ct"))
    assert 'class="n">3</td><td class="n">1</td>' in row and "kidney, aorta" in row


def test_the_verdict_is_the_mean_of_the_evaluations(page, made):
    means = {}
    for start, path in made["downstream"][0].evaluations.items():
        rows = json.loads(path.read_text())["rows"]
        cases = {r["case"] for r in rows}
        means[start] = 100 * np.mean([np.mean([r["dice"] for r in rows if r["case"] == c]) for c in cases])
    assert f"{means['pretrained']:.1f} % pretrained, {means['scratch']:.1f} % from scratch" in page
    assert f"difference of {means['pretrained'] - means['scratch']:+.1f} points" in page


def test_one_seed_is_said_to_be_one_seed(page, made, tmp_path):
    assert "One draw of the labelled cases" in page
    part = made["downstream"][0]
    rows = json.loads(part.comparison.read_text())["rows"]
    (tmp_path / "two.json").write_text(json.dumps({"rows": rows + [{**row, "seed": 1} for row in rows]}))
    changed = Downstream(part.task, part.runs, tmp_path / "two.json", part.evaluations, ())
    write_report(tmp_path / "two.html", "Two seeds", made["workspace"], downstream=[changed])
    assert "One draw of the labelled cases" not in (tmp_path / "two.html").read_text()


def test_a_trial_without_a_dice_has_a_row_and_is_not_the_best(made, tmp_path):
    """None of the test cases had a class, in the label or in what was found."""
    part = made["downstream"][0]
    rows = json.loads(part.comparison.read_text())["rows"]
    rows[0].update(dice=None, classes={"cavity": None, "wall": None})
    (tmp_path / "none.json").write_text(json.dumps({"rows": rows}))
    changed = Downstream(part.task, comparison=tmp_path / "none.json")
    write_report(tmp_path / "none.html", "None", made["workspace"], downstream=[changed])
    text = (tmp_path / "none.html").read_text()
    assert "Dice against the number of labelled cases" in text and ">–</td>" in text


def test_a_pretraining_alone_makes_a_report(made, tmp_path):
    write_report(tmp_path / "alone.html", "Alone", made["workspace"], pretraining=made["pretraining"])
    text = (tmp_path / "alone.html").read_text()
    assert "300 steps in 2.0 minutes" in text and "few labels" not in text
    assert "Kept out as test volumes: 1." in text


@pytest.mark.parametrize("with_labels", [False, True])
def test_the_page_says_whether_labels_were_learned_and_names_the_network_that_there_is(made, tmp_path, with_labels):
    run = tmp_path / "run"
    run.mkdir()
    config = json.loads((made["pretraining"] / "config.json").read_text())
    config |= {"with_labels": with_labels, "tasks": [TASK], "exclude": [], "start": "medium one"}
    (run / "config.json").write_text(json.dumps(config))
    (run / "metrics.csv").write_text((made["pretraining"] / "metrics.csv").read_text())
    description = ModelDescription(
        kind="pretrained",
        name="run",
        network=NetworkConfig(size="medium"),  # which its start brought
        patch_size=(32, 32),
        tasks=[task for task in demo.tasks() if task.name == TASK],
        fingerprints={
            TASK: Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(9, 9, 9))
        },
        out_channels=3,
    )
    RunFolder(run).save_checkpoint({"description": description.model_dump(mode="json"), "network": {}})
    write_report(tmp_path / "r.html", "R", made["workspace"], pretraining=run)
    text = (tmp_path / "r.html").read_text()
    assert ("the labels of 3 of them were learned too" in text) == with_labels == ("of pretraining with labels" in text)
    assert ("the labels were not read" in text) != with_labels != ("of pretraining without labels" in text)
    assert "Medium 2D network" in text


def test_a_pretraining_of_too_few_steps_for_a_curve_makes_a_report_without_it(made, tmp_path):
    run = tmp_path / "short"
    run.mkdir()
    (run / "metrics.csv").write_text("step,seconds,learning_rate,total,validation_dice\n")
    (run / "config.json").write_text((made["pretraining"] / "config.json").read_text())
    (run / "result.json").write_text(json.dumps({"steps": 3, "minutes": 0.5}))
    write_report(tmp_path / "short.html", "Short", made["workspace"], pretraining=run)
    text = (tmp_path / "short.html").read_text()
    assert "3 steps in 0.5 minutes" in text and "Loss curves" not in text


def test_names_cannot_break_the_page(made, tmp_path):
    catalogue = Catalogue.load(made["workspace"])
    catalogue.refused.append(Refused(path="<script>alert(1)</script>", reason="a & b"))
    catalogue.workspace = tmp_path / "other"
    catalogue.workspace.mkdir()
    for image in catalogue.images:
        image.image = str((made["workspace"] / image.image).resolve())
        image.label = None
    catalogue.save()
    write_report(tmp_path / "x.html", "<b>title</b>", catalogue.workspace)
    text = (tmp_path / "x.html").read_text()
    assert "<script>" not in text and "&lt;script&gt;alert(1)" in text and "&lt;b&gt;title" in text


def test_a_missed_class_is_named(made, tmp_path):
    part = made["downstream"][0]
    evaluation = json.loads(part.evaluations["scratch"].read_text())
    evaluation["rows"][0].update(absent="prediction", dice=0.0, hd95_mm=None)
    (tmp_path / "e.json").write_text(json.dumps(evaluation))
    changed = Downstream(part.task, evaluations={"scratch": tmp_path / "e.json"})
    write_report(tmp_path / "missed.html", "Missed", made["workspace"], downstream=[changed])
    assert "was missed altogether" in (tmp_path / "missed.html").read_text()


def test_an_absent_file_is_named(made, tmp_path):
    part = Downstream(TASK, evaluations={"scratch": tmp_path / "nowhere.json"})
    with pytest.raises(InputError, match="nowhere.json"):
        write_report(tmp_path / "r.html", "R", made["workspace"], downstream=[part])
    assert not (tmp_path / "r.html").exists()
