"""Finding a model by what a user calls it: a run's name, a run's folder, an imported model's name, or a model file."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigurationError
from .run_folder import BEST, LAST


def find_model(name: str | Path, workspace: Path | None = None) -> Path:
    """Returns the run folder or model file that a name stands for.

    Args:
        name: a path, or the name of a run or model of the workspace.

    Raises:
        ConfigurationError: there is no such thing; the message says where it was looked for.
    """
    tried = [Path(name).expanduser()]
    if workspace is not None:
        tried += [workspace / "runs" / str(name), workspace / "models" / f"{name}.zip"]
    for path in tried:
        if path.is_file() or any((path / c).is_file() for c in (BEST, LAST)):
            return path
    raise ConfigurationError(
        f"{str(name)!r} is neither a run that has trained nor a model file (looked at {', '.join(map(str, tried))})"
    )
