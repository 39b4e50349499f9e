from __future__ import annotations

from dataclasses import astuple, fields, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.imaging.volumes import write_volume
from hssl.workspace.catalogue import Catalogue, Task
from hssl.workspace.grouping import TOLERANCE, Appearance, appearance_of, difference, suggest_groups
from hssl.workspace.scan import scan
from hssl.workspace.sources import find


def body(seed: int, edge: float, spacing: float, air: float = -1000, tissue: float = 40) -> sitk.Image:
    """Draws a ball of tissue in air that fills half of a cube of `edge` mm."""
    generator = np.random.default_rng(seed)
    size = max(int(edge / spacing), 4)
    axes = np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij")
    inside = sum(a**2 for a in axes) < 0.8 + 0.05 * generator.normal()
    values = np.where(inside, tissue, air) + generator.normal(0, abs(tissue) * 0.1, inside.shape)
    image = sitk.GetImageFromArray(values.astype(np.int16))
    image.SetSpacing((spacing,) * 3)
    return image


def textured(seed: int, edge: float, spacing: float) -> sitk.Image:
    generator = np.random.default_rng(seed)
    size = max(int(edge / spacing), 4)
    image = sitk.GetImageFromArray(generator.normal(300, 80, (size,) * 3).astype(np.int16))
    image.SetSpacing((spacing,) * 3)
    return image


@pytest.fixture
def catalogue(tmp_path):
    return Catalogue.create(tmp_path / "workspace")


def fill(catalogue: Catalogue, task: Task, images: list[sitk.Image]) -> None:
    root: Path = catalogue.workspace.parent / "data" / task.name
    for number, image in enumerate(images):
        root.mkdir(parents=True, exist_ok=True)
        write_volume(image, root / f"{task.name}{number}.nrrd")
    catalogue.set_task(task)
    scan(catalogue, find(root).candidates, task.name)


def test_tasks_that_look_alike_are_grouped_and_others_are_not(catalogue):
    fill(catalogue, Task(name="liver", modality="CT"), [body(s, 320, 10) for s in range(3)])
    fill(catalogue, Task(name="spleen", modality="CT"), [body(s + 10, 360, 12) for s in range(3)])
    fill(catalogue, Task(name="tooth", modality="CT"), [body(s + 20, 40, 1.5) for s in range(3)])
    groups = suggest_groups(catalogue)
    assert groups["liver"] == groups["spleen"] != groups["tooth"]
    assert set(groups.values()) == {"CT 1", "CT 2"}
    assert all(t.group == "" for t in catalogue.tasks), "only a suggestion"


def test_another_modality_is_another_group_however_alike_the_images_are(catalogue):
    fill(catalogue, Task(name="a", modality="MR"), [body(1, 300, 10)])
    fill(catalogue, Task(name="b", modality="CT"), [body(2, 300, 10)])
    assert suggest_groups(catalogue) == {"a": "MR", "b": "CT"}


def test_an_unknown_modality_counts_as_ct_when_there_is_air(catalogue):
    fill(catalogue, Task(name="a", modality="CT"), [body(1, 300, 10)])
    fill(catalogue, Task(name="b"), [body(2, 300, 10)])
    fill(catalogue, Task(name="c"), [body(3, 300, 10, air=0, tissue=1040)])
    groups = suggest_groups(catalogue)
    assert groups["a"] == groups["b"] == "CT"
    assert groups["c"] == "c"


def test_a_stated_anatomy_goes_before_the_looks(catalogue):
    fill(catalogue, Task(name="a", modality="MR", anatomy="Heart"), [body(1, 300, 10, 0)])
    fill(catalogue, Task(name="b", modality="MR", anatomy="heart"), [textured(2, 100, 5)])
    fill(catalogue, Task(name="c", modality="MR", anatomy="brain"), [body(3, 300, 10, 0)])
    assert suggest_groups(catalogue) == {"a": "Heart MR", "b": "Heart MR", "c": "brain MR"}


def test_a_group_set_by_hand_is_kept_and_joined_by_what_fits_all_of_it(catalogue):
    fill(catalogue, Task(name="odd", modality="CT", group="mine"), [body(1, 40, 1.5)])
    fill(catalogue, Task(name="pair", modality="CT", group="ours"), [body(2, 300, 10)])
    fill(catalogue, Task(name="free", modality="CT"), [body(3, 320, 10)])
    fill(catalogue, Task(name="other", modality="CT", group="mine"), [body(4, 300, 10)])
    groups = suggest_groups(catalogue)
    assert groups == {"odd": "mine", "other": "mine", "pair": "ours", "free": "ours"}


def test_a_suggested_name_is_none_that_is_taken(catalogue):
    fill(catalogue, Task(name="a", modality="CT", group="CT"), [body(1, 40, 1.5)])
    fill(catalogue, Task(name="b", modality="CT"), [body(2, 300, 10)])
    assert suggest_groups(catalogue) == {"a": "CT", "b": "CT 2"}


def test_a_task_without_a_usable_image_is_left_out_and_told(catalogue):
    fill(catalogue, Task(name="a", modality="CT"), [body(1, 40, 1.5)])
    fill(catalogue, Task(name="b", modality="CT"), [body(2, 40, 1.5)])
    catalogue.set_task(Task(name="c"))
    # The file has become an empty one since it was added.
    sitk.WriteImage(sitk.Image(9, 9, 9, sitk.sitkInt16), str(catalogue.image_path(catalogue.usable("b")[0])))
    events = []
    assert suggest_groups(catalogue, events.append) == {"a": "CT"}
    assert any("constant" in getattr(e, "text", "") for e in events)


def test_contrast_and_brightness_do_not_change_the_appearance():
    image = textured(0, 60, 2)
    brighter = sitk.Cast(image, sitk.sitkFloat32) * 3.7 + 500
    assert difference(appearance_of(image)[0], appearance_of(brighter)[0])[0] < 0.05


def test_a_volume_of_one_slice_has_an_appearance():
    flat = sitk.JoinSeries(textured(0, 60, 2)[:, :, 3])
    look, _ = appearance_of(flat)
    assert look.extent == pytest.approx(np.log2(60), abs=0.1)


def test_an_appearance_is_measured_as_it_says():
    columns = np.repeat([0.0, 2.0, 3.0, 100.0, 0.0, 2.0, 3.0, 100.0], 2)
    image = sitk.GetImageFromArray(np.broadcast_to(columns, (32, 8, 16)).copy())
    image.SetSpacing((0.5, 1.0, 4.0))
    look, darkest = appearance_of(image - 700)
    # Quartiles lie between two of four equal parts, a quarter of a voxel from the edge.
    expected = Appearance(
        extent=(3 + 3 + 7) / 3,
        spacing=-1,
        thickness=3,
        background=1 / 2,
        middle=0.025,
        spread=(3 + 97 / 4 - 3 / 2) / 100,
        roughness=np.log2((2 + 1 + 97 + 100 + 2 + 1 + 97) / 15 / 2 / 100),
    )
    assert astuple(look) == pytest.approx(astuple(expected), abs=1e-5)
    assert darkest == -700


@pytest.mark.parametrize("feature", [f.name for f in fields(Appearance)])
def test_the_feature_that_differs_most_by_its_tolerance_is_told(feature):
    one = Appearance(*range(1, 8))
    alike = replace(one, **{f.name: getattr(one, f.name) - 0.4 * getattr(TOLERANCE, f.name) for f in fields(one)})
    other = replace(alike, **{feature: getattr(one, feature) + 0.5 * getattr(TOLERANCE, feature)})
    assert difference(one, other) == (pytest.approx(0.5), feature)


@pytest.mark.parametrize(("factor", "one"), [(2.0, True), (0.5, True), (2.02, False), (0.49, False)])
def test_volumes_up_to_twice_as_large_look_alike(catalogue, factor, one):
    image = body(1, 256, 8)  # powers of two: the logarithms are whole
    fill(catalogue, Task(name="a", modality="CT"), [image])
    image.SetSpacing([s * factor for s in image.GetSpacing()])
    fill(catalogue, Task(name="b", modality="CT"), [image + 1])
    assert (len(set(suggest_groups(catalogue).values())) == 1) == one


def test_groups_of_one_name_are_numbered_and_one_without_a_name_is_called_as_its_first_task(catalogue):
    for number, edge in enumerate((40, 300)):
        for name, anatomy, modality in (("x", "knee", "MR"), ("y", "", "unknown"), ("z", "knee", "unknown")):
            task = Task(name=f"{name}{number}", modality=modality, anatomy=anatomy + number * (anatomy and " joint"))
            fill(catalogue, task, [body(number, edge, edge / 30, air=0, tissue=1040)])
    assert suggest_groups(catalogue) == {
        "x0": "knee MR",
        "x1": "knee joint MR",
        "y0": "knee",
        "y1": "knee joint",
        "z0": "knee",
        "z1": "knee joint",
    }
