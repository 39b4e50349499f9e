"""The registry of pretexts: what a network can be pretrained on. One file each, under one training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...errors import ConfigurationError

if TYPE_CHECKING:
    from .pretext import Pretext

_registry: dict[str, type[Pretext]] = {}


def register(name: str) -> Callable[[type[Pretext]], type[Pretext]]:
    """Class decorator: makes a pretext known by its name."""

    def add(pretext: type[Pretext]) -> type[Pretext]:
        _registry[name] = pretext
        return pretext

    return add


def pretext_named(name: str) -> type[Pretext]:
    """Returns the pretext of that name.

    Raises:
        ConfigurationError: there is none; the message lists those there are.
    """
    from . import (  # noqa: F401  (each registers itself)
        barlow,
        clustering,
        glmae,
        hierarchical,
        mae,
        mvmr,
        position,
        simclr,
        vector,
    )

    if name not in _registry:
        raise ConfigurationError(f"no pretext named {name!r}; there are {', '.join(sorted(_registry))}")
    return _registry[name]
