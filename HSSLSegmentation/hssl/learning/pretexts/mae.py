"""Masked reconstruction of an encoder–decoder (MAE's task without its transformer; cf. Models Genesis, SparK)."""

from __future__ import annotations

from torch import Tensor

from ..losses.reconstruction import masked, reconstruction_loss
from . import register
from .pretext import Pretext, Views, both

SHARE = 0.6


@register("mae")
class MaskedReconstruction(Pretext):
    """The network restores images of which most blocks are hidden."""

    loss_names = ("reconstruction",)
    every_parameter = True

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Returns "reconstruction" and "total"."""
        clean = both(views.clean)
        restored = self.network(masked(clean, [*views.rngs, *views.rngs], SHARE))
        loss = reconstruction_loss(restored, clean)
        return {"reconstruction": loss, "total": loss}
