"""A model's draft of a label, which is the effect's preview: whoever asked for it is told what became of it."""

from collections.abc import Callable
from typing import Literal

State = Literal["running", "shown", "applied", "discarded", "failed"]


class Draft:
    """What became of a draft.

    Attributes:
        state: "running" until there is a preview, "shown" until it is applied to the segments or discarded; "failed" when
            there never was one.
        reason: why it failed.
        discard: cancels what is being made, or takes the preview away.

    Args:
        onChange: called when one of the first two has changed.
        discard: does what its attribute says.
    """

    def __init__(self, onChange: Callable[[], None], discard: Callable[[], None]):
        self.state: State = "running"
        self.reason = ""
        self.onChange, self.discard = onChange, discard

    def isOpen(self) -> bool:
        """Tells whether it is neither applied nor gone."""
        return self.state in ("running", "shown")

    def become(self, state: State, reason: str = "") -> None:
        """Tells what it is now; what became of one in the end stays so."""
        if self.isOpen() and state != self.state:
            self.state, self.reason = state, reason
            self.onChange()
