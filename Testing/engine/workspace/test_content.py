"""What voxels say of a file: scans are images, whatever they look like, and masks are not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from hssl.imaging.volumes import Header
from hssl.workspace.catalogue import Catalogue, Task
from hssl.workspace.check import check
from hssl.workspace.content import LARGEST, SOLID, SURELY_FEW, Neighbours, seen
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


def of_values(values, kind=np.float32, seed=0) -> np.ndarray:
    """Noise of these values, each of which is there."""
    drawn = np.random.default_rng(seed).choice(np.array(values, kind), (6, 20, 20))
    drawn.flat[: len(values)] = values
    return drawn


def solid(share: float, values: int) -> np.ndarray:
    """Rows of 101 voxels without background; this share of the neighbours in a row is equal."""
    array = np.empty((2, 11, 101), np.int16)
    for number, row in enumerate(array.reshape(-1, 101)):
        changes = np.zeros(101, int)
        changes[1 + np.arange(round(100 * (1 - share)))] = 1
        row[:] = 1 + (changes.cumsum() + 7 * number) % (values - 1)
    array[:, 0] = 0
    array[:, 0, ::2] = np.arange(51) % values
    return array


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (of_values(range(SURELY_FEW)), f"{SURELY_FEW} different whole values, 0, 1, 2, 3"),
        (of_values(range(SURELY_FEW + 1)), ""),
        (of_values(range(-1, 3)), "4 different whole values, -1, 0, 1, 2"),
        (of_values(range(-2, 2)), ""),
        (of_values([0, 1, 2.5]), ""),
        (of_values([-7, 2.5]), "two values only, -7 and 2.5"),
        (solid(SOLID + 0.01, 30), "30 different whole values, in solid regions"),
        (solid(SOLID - 0.02, 30), ""),
        (of_values([LARGEST * 0.99, 1, -3.5], np.float64), ""),
        (of_values([-LARGEST * 1.01, 1, 3.5], np.float64), "up to 1e+30, more than can be computed with"),
    ],
)
def test_what_is_a_mask_ends_where_it_is_said_to(array, said):
    found = seen(volume(array), thorough=True).suspicion
    assert said in found if said else found == ""


@pytest.mark.parametrize(("others", "nearly"), [(5, True), (6, False)])
@pytest.mark.parametrize("many", [0.25, 7.5])
@pytest.mark.parametrize("values", [3, 4000])
def test_nearly_constant_is_what_has_one_value_in_9995_of_10000_voxels(others, nearly, many, values):
    array = np.full((4, 50, 50), many, np.float32)
    array.flat[np.arange(others) * 1500] = many + 1.5 + np.arange(others) % (values - 1)
    assert ("nearly constant: 99.95 %" in seen(volume(array), thorough=True).suspicion) == nearly


@given(
    low=st.sampled_from([-0.51, -0.5, -0.2, 0.0]),
    high=st.sampled_from([0.009, 0.5, 1.0, 1.5, 1.51]),
    near=st.sampled_from([0.49, 0.5, 0.9]),
    kind=st.sampled_from([np.float32, np.float64]),
)
def test_shares_are_about_0_to_1_and_most_of_them_near_0(low, high, near, kind):
    values = np.linspace(0.012, 0.4, 10_000).clip(max=high).astype(kind)
    values[: round(10_000 * near)] = np.linspace(-0.009, 0.009, round(10_000 * near)).clip(max=high)
    values[-2:] = low, high
    content = seen(volume(np.random.default_rng(0).permutation(values).reshape(4, 50, 50)), thorough=True)
    assert content.share == (low >= -0.5 and 0.01 < high <= 1.5 and near >= 0.5)
    assert content.low == values.min()


def test_whole_numbers_are_no_shares():
    assert not seen(volume(of_values([0, 0, 0, 0, 1], np.int16)), thorough=True).share


@given(st.lists(st.text("ab/", max_size=4), max_size=8), st.text("ab/", max_size=4), st.randoms())
def test_the_nearest_image_is_the_first_of_those_whose_path_begins_most_alike(others, path, order):
    neighbours, placed = Neighbours(), Header(Path(), (2, 3, 4), (1, 1, 1), (0, 0, 0), (1.0,) * 9, 1, 3, "")
    there = sorted(others)
    order.shuffle(others)
    for other in others:
        neighbours.add(other, placed)
        neighbours.add(path + "/of another grid", replace(placed, size=(9, 9, 9)))
    best = max((o for o in there if o != path), key=lambda o: len(os.path.commonprefix([o, path])), default="")
    assert neighbours.nearest(path, placed) == best


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


def test_what_was_checked_before_is_what_a_new_mask_is_one_of_unless_it_is_in_doubt_itself(catalogue, tmp_path):
    for seed, name in enumerate(("a", "b", "bb")):
        write(tmp_path / "data" / f"{name}.nrrd", scan_of(seed).astype(np.int16))
    write(tmp_path / "data" / "bc.nrrd", ball(7))
    scan(catalogue, find(tmp_path / "data").candidates, "t")
    assert check(catalogue).read == 4
    write(tmp_path / "data" / "bd.nrrd", ball(8))
    scan(catalogue, find(tmp_path / "data").candidates, "t")
    assert check(catalogue).read == 1
    assert catalogue.image("bd").doubt == "looks like a mask of b.nrrd: it has two values only, 0 and 1"
