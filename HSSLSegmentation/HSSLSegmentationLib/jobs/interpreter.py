"""Which Python runs the jobs, the environment it gets, and the command that starts a job."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

import slicer

from ..refusal import Refusal

ENGINE_FOLDER = Path(__file__).resolve().parents[2]
"""The folder that holds the package `hssl`."""


class InterpreterError(Refusal):
    """No Python for the jobs was found, or the chosen one cannot be run; the message says what to do."""


@dataclass(frozen=True)
class Command:
    """A program with its arguments and the environment to run it in."""

    program: str
    arguments: list[str]
    environment: dict[str, str]


def jobPython(chosen: str = "") -> str:
    """Returns the path of the Python that runs the jobs.

    Args:
        chosen: the user's own Python; empty means Slicer's.

    Raises:
        InterpreterError: there is none, or the chosen file cannot be run.
    """
    if chosen:
        path = Path(chosen).expanduser()
        if not path.is_file() or not os.access(path, os.X_OK):
            raise InterpreterError(
                _(
                    "{path} is not a Python that can be run. Choose another one in Settings, or leave the field empty."
                ).format(path=chosen)
            )
        return str(path)
    found = shutil.which("PythonSlicer")
    if found is None:
        raise InterpreterError(
            _("Slicer's own Python (PythonSlicer) was not found. Choose a Python for the jobs in Settings.")
        )
    return found


def environmentFor(chosen: str = "") -> dict[str, str]:
    """Returns the environment of a job; for a Python that is not Slicer's, what Slicer set for its own is taken out."""
    if chosen:
        environment = dict(slicer.util.startupEnvironment())
        for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONSTARTUP"):
            environment.pop(name, None)
    else:
        environment = dict(os.environ)
    paths = [str(ENGINE_FOLDER), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PYTHONUTF8"] = "1"
    return environment


def requireOwnPackages() -> None:
    """Raises InterpreterError where Slicer's own Python lacks what reads configurations and events, whichever runs the jobs."""
    try:
        import hssl.events  # noqa: F401
    except ModuleNotFoundError as error:
        raise InterpreterError(
            _(
                "Slicer's own Python lacks {name}, which HSSL needs there whichever Python runs the jobs: press Install packages "
                "at the top of the module's panel."
            ).format(name=error.name)
        ) from error


def engineCommand(arguments: list[str], chosen: str = "") -> Command:
    """Returns the command that runs `python -m hssl` with these arguments.

    Raises:
        InterpreterError: there is no Python to run it with, or Slicer's own cannot read what it tells.
    """
    requireOwnPackages()
    return Command(jobPython(chosen), ["-m", "hssl", *arguments], environmentFor(chosen))
