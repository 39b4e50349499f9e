"""What a source offers to a workspace: candidates for images, each with its label, and what is said of the task."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..imaging.structures import Structure


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a scan is to look at. Paths are absolute."""

    image: str
    """A file, or a folder with DICOM series in it."""
    label: str | None = None
    """A label map, or a folder with a mask for each class; of several files (`parts`) the first."""
    series: str | None = None
    """None for a folder: every series in it."""
    frame: int | None = None
    spacing: tuple[float, float, float] | None = None
    """In mm (x, y, z), of a file that does not say it."""
    structures: tuple[str, ...] = ()
    """Names of the segments to take of a label that names them; none: all of them."""
    name: str = ""
    """Of the case, where the file's name does not tell it."""
    patient: str = ""
    """Whose image it is; "" where nothing tells that it is not the patient's only one."""
    nan_is_background: bool = False
    """Voxels that are NaN are background."""
    parts: tuple[tuple[str, str], ...] = ()
    """The files that are joined into the label, each with the structure that it is the mask of ("": it names its own);
    none where `label` alone is it."""


@dataclass
class Source:
    """The candidates of one folder or dataset, and what it says about the task."""

    name: str
    kind: str
    """Such as "folder", "MSD dataset" or "nnU-Net dataset"."""
    root: str = ""
    """The folder that paths are shown relative to."""
    candidates: list[Candidate] = field(default_factory=list)
    modality: str = ""
    classes: dict[int, str] = field(default_factory=dict)
    ignore_value: int | None = None
    """Value of voxels that nobody labelled."""
    described: dict[str, Structure] = field(default_factory=dict)
    """The segments that labels name, each as the first of them describes it."""
    times_named: Counter[str] = field(default_factory=Counter)
    """How many labels name each of them."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of what cannot even be a candidate."""
    not_read: Counter[str] = field(default_factory=Counter)
    """How many files of each kind (suffix) were passed over."""
    patients_told: bool = False
    """Whether the user has said whose the images are, which wins over what the catalogue says."""
    notes: list[str] = field(default_factory=list)
    """What the user should know of how the source was taken."""
    advised: set[str] = field(default_factory=set)
    """The options that the notes speak of, such as "label_pattern"."""

    def shown(self, path: str) -> str:
        """Returns a path as it is shown: relative to the source where it lies below it."""
        if path == self.root:
            return os.path.basename(path)
        start = self.root + os.sep
        return (path[len(start) :] if path.startswith(start) else path).replace(os.sep, "/")

    def pairs(self, count: int = 3) -> list[str]:
        """Returns the first pairs as `image ← label`; images without a label where there is no pair."""
        labelled = [c for c in self.candidates if c.label is not None]
        lines = []
        for candidate in (labelled or self.candidates)[:count]:
            frame = "" if candidate.frame is None else f" (frame {candidate.frame})"
            label = "no label" if candidate.label is None else self.shown(candidate.label)
            label += "/ (a mask for each class)" if candidate.label and os.path.isdir(candidate.label) else ""
            label = " + ".join(self.shown(path) for path, _ in candidate.parts) or label
            lines.append(f"{self.shown(candidate.image)}{frame} ← {label}")
        return lines


def modality_of(text: str) -> str:
    """Returns "CT" or "MR" for the many ways of writing them, anything else as it is."""
    upper = text.strip().upper()
    if upper in ("CT", "CTA", "CBCT"):
        return "CT"
    if upper.startswith(("MR", "T1", "T2", "FLAIR", "ADC", "DWI", "LGE", "CINE")):
        return "MR"
    return text.strip()
