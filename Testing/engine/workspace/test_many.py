"""Eight times as many files take about eight times as long, not sixty-four times."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hssl.imaging.volumes import Header
from hssl.workspace.bids import pair_bids
from hssl.workspace.catalogue import Catalogue, Image, Task
from hssl.workspace.content import Content, Neighbours
from hssl.workspace.pairing import pair
from hssl.workspace.patients import patients_of
from hssl.workspace.places import Place
from hssl.workspace.review import next_image, progress
from hssl.workspace.sources import find

FEW, MANY = 300, 2400
MOST = 3 * MANY / FEW
"""Times as long as few: a third of what going through all of them for each would take."""


def files(count: int, *names: str) -> list[str]:
    return [name.format(number) for number, name in itertools.product(range(count // len(names)), names)]


def places(count: int, *names: str) -> list[Place]:
    return [Place.of(f"/data/{name}", "/data") for name in files(count, *names)]


def seconds(function: Callable[[], object]) -> float:
    spent = []
    for _ in range(2):
        began = time.process_time()
        function()
        spent.append(time.process_time() - began)
    return min(spent)


def in_folders(count: int, _folder: Path) -> Callable[[], object]:
    return lambda: pair(places(count, "images/case{:05d}.nii", "labels/case{:05d}.nii"))


def beside_each_other(count: int, _folder: Path) -> Callable[[], object]:
    return lambda: pair(places(count, "case{:05d}_t1.nii", "case{:05d}_t1_seg.nii"))


def in_folders_of_cases(count: int, _folder: Path) -> Callable[[], object]:
    return lambda: pair(places(count, "p{:05d}/ct.nii", "p{:05d}/tumour_mask.nii"))


def of_bids(count: int, _folder: Path) -> Callable[[], object]:
    return lambda: pair_bids(
        places(count, "sub-{0:05d}/anat/sub-{0:05d}_T1w.nii", "sub-{0:05d}/anat/sub-{0:05d}_dseg.nii")
    )


def of_patients(count: int, _folder: Path) -> Callable[[], object]:
    return lambda: patients_of(places(count, "p{:05d}/ct.nii", "p{:05d}/mr.nii"))


def by_patterns(count: int, folder: Path) -> Callable[[], object]:
    for name in files(count, "ct{:05d}.nii", "m{:05d}_seg.nii"):
        (folder / name).touch()
    return lambda: find(folder, pattern="ct{id}.nii", label_pattern="m{id}_seg.nii")


def by_a_pattern(count: int, folder: Path) -> Callable[[], object]:
    for name in files(count, "ct{:05d}.nii", "ct{:05d}_seg.nii"):
        (folder / name).touch()
    return lambda: find(folder, pattern="ct{id}.nii")


def of_masks(count: int, _folder: Path) -> Callable[[], object]:
    header = Header(Path(), (2, 3, 4), (1, 1, 1), (0, 0, 0), (1.0,) * 9, 1, 3, "")
    mask = Content("it has two values only, 0 and 1", mask=True)

    def told() -> None:
        neighbours = Neighbours()
        for path in files(count // 2, "/data/p{:05d}/scan.nii"):
            neighbours.add(path, header)
        for path in files(count // 2, "/data/p{:05d}/x.nii"):
            assert "mask of scan.nii" in (neighbours.doubt(path, header, mask) or "")

    return told


def of_images(count: int, folder: Path) -> Callable[[], object]:
    catalogue = Catalogue.create(folder / "workspace")
    catalogue.set_task(Task(name="t"))
    catalogue.add_images(
        [Image(id=str(n), task="t", image=f"{n}.nii", label=f"{n}_l.nii" if n % 2 else None) for n in range(count)]
    )

    def told() -> None:
        assert progress(catalogue, "t") == (count // 2, count)
        assert next_image(catalogue, "t") == "0"

    return told


@pytest.mark.parametrize(
    "made",
    [
        in_folders,
        beside_each_other,
        in_folders_of_cases,
        of_bids,
        of_patients,
        by_patterns,
        by_a_pattern,
        of_masks,
        of_images,
    ],
)
def test_time_grows_with_the_files_and_not_with_their_square(made, tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    few, many = made(FEW, tmp_path / "few"), made(MANY, tmp_path / "many")
    assert seconds(many) < MOST * seconds(few)
