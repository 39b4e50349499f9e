"""What voxels say of a file: scans are images, whatever they look like, and masks are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.workspace.catalogue import Catalogue, Task
from hssl.workspace.check import check
from hssl.workspace.content import seen
from hssl.workspace.scan import scan
from hssl.workspace.sources import find

SHAPE = (24, 40, 44)


def volume(array: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(array)


def ball(radius: float = 9, at=(12, 20, 22)) -> np.ndarray:
    distance = sum((axis - c) ** 2 for axis, c in zip(np.indices(SHAPE), at, strict=True))
    return (distance < radius**2).astype(np.uint8)


def scan_of(seed: int = 0, noise: float = 12) -> np.ndarray:
    body = np.where(ball(18) > 0, 40.0, -1000.0) + 120.0 * ball()
    return body + np.random.default_rng(seed).normal(0, noise, SHAPE)


def organs(count: int) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    return ((z // 6) * 100 + (y // 8) * 10 + x // 8).astype(np.int16) % (count + 1)


@pytest.mark.parametrize(
    "array",
    [
        scan_of().astype(np.int16),
        scan_of(noise=1).astype(np.float32),
        np.clip(scan_of() / 8 + 128, 0, 255).astype(np.uint8),
        np.where(ball(18) > 0, np.clip(scan_of() / 4, 0, 255), 0).astype(np.uint8),  # skull-stripped, 8 bits
        (scan_of() * 1e-9).astype(np.float32),
        (scan_of() * 1e9).astype(np.float64),
        np.random.default_rng(0).poisson(3 * ball(18) + 0.2).astype(np.uint16) * 7 % 40,  # counts of a PET
        np.where(ball(3) > 0, scan_of(), 0).astype(np.float32),
    ],
)
def test_scans_are_images(array):
    assert seen(volume(array)).suspicion == ""
    assert seen(volume(array), thorough=True).suspicion == ""


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (ball(), "two values only, 0 and 1"),
        (ball() * 255, "two values only, 0 and 255"),
        (ball().astype(np.float32) * 0.5, "two values only, 0 and 0.5"),
        (ball() + ball(4), "3 different whole values, 0, 1, 2"),
        (organs(30), "31 different whole values, in solid regions"),
        (organs(104).astype(np.float32), "different whole values, in solid regions"),
        (ball(1.1, (1, 20, 22)), "two values only"),  # between the slices of the sample
    ],
)
def test_masks_are_told(array, said):
    found = seen(volume(array))
    assert said in found.suspicion
    assert found.mask


def test_what_is_nearly_nothing_or_out_of_range_is_told():
    almost = np.zeros((40, 64, 64), np.float32)
    almost[20, 30, 30:40] = np.linspace(1.1, 7, 10)
    assert "nearly constant: 99.99 % of its voxels are 0" in seen(volume(almost)).suspicion
    huge = scan_of().astype(np.float32)
    huge[3, 3, 3] = 3e38
    assert "3e+38, more than can be computed with" in seen(volume(huge), thorough=True).suspicion
    holes = np.where(ball(18) > 0, scan_of(), np.nan)
    assert seen(volume(holes)).suspicion == ""


@pytest.fixture
def catalogue(tmp_path) -> Catalogue:
    catalogue = Catalogue.create(tmp_path / "workspace")
    catalogue.set_task(Task(name="t"))
    return catalogue


def write(path: Path, array: np.ndarray, spacing=(1.0, 1.0, 2.0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = volume(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


def test_a_mask_that_nobody_calls_one_is_in_doubt_with_the_image_it_belongs_to(catalogue, tmp_path):
    for seed, case in enumerate(("p1", "p2")):
        write(tmp_path / "data" / case / "scan.nrrd", scan_of(seed).astype(np.int16))
        write(tmp_path / "data" / case / "roi_final_x.nrrd", ball(6 + seed))
    write(tmp_path / "data" / "p2" / "alone.nrrd", ball(), (3.0, 3.0, 3.0))
    (tmp_path / "data" / "p2" / "roi_final_x.nrrd").rename(tmp_path / "data" / "p2" / "x.nrrd")
    source = find(tmp_path / "data", pattern="*/{id}.nrrd")
    scan(catalogue, source.candidates, "t")
    doubts = {i.image.partition("data/")[2]: i.doubt for i in catalogue.images}
    assert doubts == {
        "p1/scan.nrrd": None,
        "p2/scan.nrrd": None,
        "p1/roi_final_x.nrrd": "looks like a mask of scan.nrrd: it has two values only, 0 and 1",
        "p2/alone.nrrd": "looks like a mask: it has two values only, 0 and 1",
        "p2/x.nrrd": "looks like a mask of scan.nrrd: it has two values only, 0 and 1",
    }
    assert [i.image.partition("data/")[2] for i in catalogue.usable()] == ["p1/scan.nrrd", "p2/scan.nrrd"]


def test_a_mask_that_comes_later_is_that_of_an_image_which_was_there_before(catalogue, tmp_path):
    write(tmp_path / "data" / "a.nrrd", scan_of().astype(np.int16))
    scan(catalogue, find(tmp_path / "data").candidates, "t")
    write(tmp_path / "more" / "x.nrrd", ball())
    scan(catalogue, find(tmp_path / "more").candidates, "t")
    assert catalogue.image("x").doubt == "looks like a mask of ../data/a.nrrd: it has two values only, 0 and 1"
    assert catalogue.image("a").doubt is None


def test_masks_and_maps_beside_each_other_are_not_those_of_one_another(catalogue, tmp_path):
    for radius, name in enumerate(("a", "b"), 8):
        write(tmp_path / "data" / f"{name}.nrrd", ball(radius))
    shares = np.random.default_rng(0).random(SHAPE).astype(np.float32) * ball(12)
    for name in ("c", "d"):
        write(tmp_path / "data" / f"{name}.nrrd", shares, (3.0, 3.0, 3.0))
        shares = shares * 0.9
    scan(catalogue, find(tmp_path / "data").candidates, "t")
    mask = "looks like a mask: it has two values only, 0 and 1"
    assert {i.id: i.doubt for i in catalogue.images} == {"a": mask, "b": mask, "c": None, "d": None}
    check(catalogue)
    assert {i.id: i.doubt for i in catalogue.images} == {"a": mask, "b": mask, "c": None, "d": None}


def test_a_check_looks_again_at_what_has_changed(catalogue, tmp_path):
    write(tmp_path / "data" / "a.nrrd", scan_of().astype(np.int16))
    write(tmp_path / "data" / "b.nrrd", scan_of(1).astype(np.int16))
    scan(catalogue, find(tmp_path / "data").candidates, "t")
    write(tmp_path / "data" / "b.nrrd", ball())
    report = check(catalogue)
    assert catalogue.image("b").doubt == "looks like a mask of a.nrrd: it has two values only, 0 and 1"
    assert [one.id for one in report.problems] == ["b"]
    catalogue.confirm_images(["b"])
    assert check(catalogue).problems == []
    assert len(catalogue.usable()) == 2
    write(tmp_path / "data" / "b.nrrd", scan_of(2).astype(np.int16))
    check(catalogue)
    assert catalogue.image("b").doubt is None
