"""Finding a model by what a user calls it: a run's name, a run's folder, an imported model's name, or a model file."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from ..errors import ConfigurationError

GENERAL = "general"
"""Name of the start that ships with HSSL."""
GENERAL_FILE = "hssl-general.zip"
_RESOURCES = Path(__file__).resolve().parents[2] / "Resources" / "Models"
"""Where Slicer and a checkout have the models that ship."""


def find_model(name: str | Path, workspace: Path | None = None) -> Path:
    """Returns the run folder or model file that a name stands for.

    Args:
        name: a path, the name of a run or model of the workspace, or "general" for the start that ships.

    Raises:
        ConfigurationError: there is no such thing; the message says where it was looked for.
    """
    from .run_folder import BEST, LAST  # takes pydantic, which a panel without the packages asks about starts without

    if str(name) == GENERAL:
        return general_start()
    tried = [Path(name).expanduser()]
    if workspace is not None:
        tried += [workspace / "runs" / str(name), workspace / "models" / f"{name}.zip"]
    for path in tried:
        if path.is_file() or any((path / c).is_file() for c in (BEST, LAST)):
            return path
    raise ConfigurationError(
        f"{name} is neither a run that has trained nor a model file (looked at {', '.join(map(str, tried))})",
        "" if workspace is not None else "A run is named by its folder, such as WORKSPACE/runs/NAME.",
    )


def general_start() -> Path:
    """Returns the model file of the start that ships: a small network pretrained on several public sources.

    Raises:
        ConfigurationError: this installation has lost it.
    """
    path = _RESOURCES / GENERAL_FILE
    if path.is_file():
        return path
    try:
        installed = [Path(str(f.locate())) for f in files("hssl") or [] if f.name == GENERAL_FILE]
    except PackageNotFoundError:
        installed = []
    for path in installed:
        if path.is_file():
            return path
    raise ConfigurationError(f"{GENERAL_FILE}, the start that ships with HSSL, is not there", "Install HSSL again.")
