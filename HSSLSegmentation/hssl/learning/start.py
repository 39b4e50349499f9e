"""The start of a training: scratch, or the weights of any run or model file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..configuration import NetworkConfig
from ..events import Message, OnEvent
from ..models.architecture import in_words
from ..models.description import ModelDescription
from ..models.find import find_model
from ..models.model_file import load_model
from ..models.network import EncoderDecoder, LoadReport, load_matching
from ..plural import counted, shortened
from ..preprocessing.fingerprint import Fingerprint, x_first
from ..workspace.catalogue import Catalogue, Task
from ..workspace.seen import contents_seen

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

    def tell_of_network(self, asked: NetworkConfig, on_event: OnEvent) -> None:
        """Warns where a network was asked for, and the start brings another one."""
        own = self.network(asked)
        if asked not in (own, NetworkConfig()):
            text = (
                f"The start brings its own network ({in_words(own)}); the one asked for ({in_words(asked)}) is left out"
            )
            on_event(Message(level="warning", text=text))

    def fingerprint(
        self, catalogue: Catalogue, task: Task, measured: Callable[[], Fingerprint], on_event: OnEvent
    ) -> Fingerprint:
        """Returns the fingerprint under which the start has seen this task, so that resolutions match, else the task's own.

        A task of the same name and modality is the one that the start has seen if it has seen any of its images, or if
        its own fingerprint is like the start's: somebody else's "liver" may be of quite another resolution. The task may
        have been renamed since.

        Args:
            catalogue: has the task's images.
            measured: returns the task's own fingerprint; asked only where it matters.
            on_event: is told where a task of that name is another.
        """
        if self.description is None:
            return measured()
        there = {t.name: t.modality for t in self.description.tasks}
        names = [name for name in (task.name, *reversed(task.formerly)) if there.get(name) == task.modality]
        if not names:
            return measured()
        known = self.description.fingerprints[names[0]]
        contents = [image.content for image in catalogue.usable(task.name) if image.content]
        if contents_seen(self.description.provenance, contents) or known.is_like(own := measured()):
            return known
        seen, has = (x_first(one.spacing) for one in (known, own))
        text = f"{task.name}: what the start has learned under this name are other images, on a grid of {seen} mm"
        on_event(Message(text=f"{text}; the task keeps its own, of {has} mm"))
        return own

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
