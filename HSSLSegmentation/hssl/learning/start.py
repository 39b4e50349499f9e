"""The start of a training: scratch, or the weights of any run or model file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..configuration import NetworkConfig
from ..models.description import ModelDescription
from ..models.find import find_model
from ..models.model_file import load_model
from ..models.network import EncoderDecoder, LoadReport, load_matching
from ..plural import counted, shortened
from ..preprocessing.fingerprint import Fingerprint
from ..workspace.catalogue import Task

SCRATCH = "scratch"


@dataclass(frozen=True)
class Start:
    """Where the weights come from: description and state of a model, or None for scratch."""

    description: ModelDescription | None
    state: dict[str, Tensor]

    @classmethod
    def named(cls, name: str, workspace: Path) -> Start:
        """Reads the start of that name (see `hssl.models.find.find_model`); "scratch" is none."""
        if name == SCRATCH:
            return cls(None, {})
        return cls(*load_model(find_model(name, workspace)))

    def network(self, otherwise: NetworkConfig) -> NetworkConfig:
        """Returns the start's architecture; scratch takes the one that is given."""
        return otherwise if self.description is None else self.description.network

    def fingerprint(self, task: Task) -> Fingerprint | None:
        """Returns the fingerprint under which the start has seen this task, so that resolutions match.

        The task may have been renamed since.
        """
        if self.description is None:
            return None
        known = {t.name: t.modality for t in self.description.tasks}
        names = [name for name in (task.name, *reversed(task.formerly)) if known.get(name) == task.modality]
        return self.description.fingerprints[names[0]] if names else None

    def load(self, network: EncoderDecoder, same_output: bool) -> LoadReport | None:
        """Takes over all tensors that fit; from scratch none, and None is returned.

        Args:
            same_output: the network's output means what the start's did, so that its head is taken over too.
        """
        if self.description is None:
            return None
        return load_matching(network, self.state, () if same_output else ("output_block",))


def loaded_text(report: LoadReport | None) -> str:
    """Returns how many tensors the start gave, in a sentence."""
    if report is None:
        return "Starting from scratch"
    skipped = report.skipped
    anew = f"{counted(len(skipped), 'starts', 'start')} anew ({shortened(skipped, 4, '; ')})"
    return f"{counted(len(report.loaded), 'tensor')} loaded, {anew}"
