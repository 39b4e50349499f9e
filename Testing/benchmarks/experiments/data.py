"""The five sources as a workspace, their test cases, and the draws of labelled cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hssl.files import read_json, write_json
from hssl.workspace.catalogue import Catalogue, Image, LabelClass, Task
from hssl.workspace.check import check_workspace
from hssl.workspace.scan import add
from hssl.workspace.sources import find

_CLASSES: dict[str, list[str]] = {
    "msd_hippocampus": ["anterior", "posterior"],
    "hn_ct_openkbp": ["spinal cord", "right parotid", "left parotid", "mandible", "brainstem"],
    "mouse_brain_mr": ["neocortex", *(f"structure {n}" for n in range(2, 8)), "ventricles"],
    "cardiac_cine_scd": ["LV cavity"],
    "em_fib25_neuroproof": ["cell boundary"],
}
_KINDS = {
    "msd_hippocampus": ("MR", "Brain MR"),
    "hn_ct_openkbp": ("CT", "Head and neck CT"),
    "mouse_brain_mr": ("MR", "Brain MR"),
    "cardiac_cine_scd": ("MR", "Cardiac MR"),
    "em_fib25_neuroproof": ("EM", "Electron microscopy"),
}
"""Modality and group of each source."""
SOURCES = tuple(_KINDS)
SPLITS = Path(__file__).parents[1] / "splits.json"
"""Test cases of each source; the hippocampus's, and its 21 and 52 labelled cases, are those of a published table (`split`)."""


def patient_of(task: str, case: str) -> str:
    """Returns whose image a case is: several cardiac phases belong to one patient."""
    return case.split("_")[0] if task == "cardiac_cine_scd" else case


def draw(cases: Sequence[str], count: int, number: int, patient: Callable[[str], str] = str) -> list[str]:
    """Draws labelled cases; a larger count holds the smaller one's cases, as when a user labels more.

    Patients come in an order of chance, each with one image before any has a second one.

    Raises:
        ValueError: there are not so many.
    """
    if count > len(cases):
        raise ValueError(f"{count} of {len(cases)} cases cannot be drawn")
    rng = np.random.default_rng([number, 5])
    of_patient: dict[str, list[str]] = defaultdict(list)
    for case in rng.permutation(sorted(cases)):
        of_patient[patient(str(case))].append(str(case))
    rounds = max(map(len, of_patient.values()))
    return [own[n] for n in range(rounds) for own in of_patient.values() if n < len(own)][:count]


class Data:
    """The workspace of the five sources, with what may be trained on and what is tested on.

    Args:
        folder: with one folder for each source.
        workspace: is made where it is not there yet.
    """

    def __init__(self, folder: Path, workspace: Path):
        if not (workspace / "complete").exists():
            _build(folder, workspace)
            (workspace / "complete").touch()
        self.splits: dict[str, Any] = read_json(SPLITS)
        self.catalogue = Catalogue.load(workspace)
        self.workspace = workspace

    def labelled(self, task: str) -> dict[str, Image]:
        """Returns the usable labelled images of a source by their id."""
        return {i.id: i for i in self.catalogue.usable(task, labelled=True)}

    def test(self, task: str, most: int = 0) -> list[str]:
        """Returns the test cases, or `most` of them, evenly spread over the list.

        Raises:
            ValueError: a test case is not in the catalogue.
        """
        cases: list[str] = self.splits[task]["test"]
        gone = sorted(set(cases) - self.labelled(task).keys())
        if gone:
            raise ValueError(f"test cases without a usable label: {', '.join(gone)}")
        if not most or most >= len(cases):
            return cases
        return [cases[i] for i in np.linspace(0, len(cases) - 1, most).round().astype(int)]

    def unseen(self) -> list[str]:
        """Returns all images that no training may see: the test cases, and every other image of their patients."""
        patients = {(task, patient_of(task, case)) for task in SOURCES for case in self.splits[task]["test"]}
        return sorted(i.id for i in self.catalogue.images if (i.task, patient_of(i.task, i.id)) in patients)

    def pool(self, task: str) -> list[str]:
        """Returns the labelled cases that may be trained on. An image that lies there twice counts once."""
        unseen = set(self.unseen())
        return sorted(case for case in self.labelled(task) if case not in unseen)

    def partly_labelled(self, name: str, task: str, pool: Sequence[str], labelled: Sequence[str]) -> Path:
        """Returns a workspace of some images alone, in which only some of them have their label.

        Args:
            name: of its folder, which lies beside the workspace of all sources and keeps its runs.
            task: whose images these are.
            pool: ids of its images.
            labelled: ids of those that have their label.
        """
        folder = self.workspace.with_name(name)  # as deep in the tree, so that relative paths hold
        folder.mkdir(exist_ok=True)
        (self.workspace / "store").mkdir(exist_ok=True)
        if not (folder / "store").exists():
            (folder / "store").symlink_to(self.workspace / "store", target_is_directory=True)
        values = read_json(self.workspace / "dataset.json")
        images = [i for i in values["images"] if i["task"] == task and i["id"] in pool]
        values["images"] = [i if i["id"] in labelled else {**i, "label": None} for i in images]
        write_json(folder / "dataset.json", values)
        return folder

    def drawn(self, task: str, count: int, number: int) -> list[str]:
        """Returns the labelled cases of a draw."""
        return draw(self.pool(task), count, number, lambda case: patient_of(task, case))


def _build(folder: Path, workspace: Path) -> None:
    if not (workspace / "dataset.json").exists():
        Catalogue.create(workspace, "Five sources")
    for name, (modality, group) in _KINDS.items():
        classes = [LabelClass(value=value, name=text) for value, text in enumerate(_CLASSES[name], 1)]
        add(workspace, find(folder / name), Task(name=name, modality=modality, group=group, classes=classes))
    check_workspace(workspace)
