"""The Python packages that jobs need: what is there, missing or broken, and their installation in one dialog."""

import functools
import importlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from slicer.i18n import tr as _

import slicer

from . import settings
from .jobs.engineProcess import Lines
from .jobs.interpreter import Command, InterpreterError, environmentFor, jobPython
from .jobs.process import JobProcess
from .refusal import Refusal

REQUIREMENTS_FILE = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"
TORCH = "torch>=2.2,!=2.9.*"
"""2.9 is left out: its 3D convolutions need several times the memory."""
OF_SLICER = ("SimpleITK>=2.4", "numpy>=1.26")
"""What Slicer's own Python has, and another one may lack."""
OF_CATALOGUES = "pydantic>=2.7"
"""What Slicer's own Python reads catalogues, configurations and events with, whichever Python runs the jobs."""
NEVER_REPLACED = ("torch", "torchvision", "numpy", "SimpleITK", "vtk")

_PROBE = """
import json, sys
answer = {"python": sys.version.split()[0]}
try:
    import torch
    answer["torch"] = torch.__version__
    device = "cuda" if torch.cuda.is_available() else "cpu"
    convolve = lambda device: torch.nn.functional.conv2d(
        torch.ones(1, 1, 4, 4, device=device), torch.ones(1, 1, 3, 3, device=device)).cpu()
    convolve("cpu")
    answer["device"] = "cpu"
    if device == "cuda":
        try:
            convolve("cuda")
            answer["device"] = torch.cuda.get_device_name(0)
        except Exception as error:
            answer["deviceProblem"] = f"{type(error).__name__}: {error}".splitlines()[0]
    for name in ("monai", "pydantic", "safetensors", "typer", "SimpleITK", "hssl"):
        __import__(name)
except Exception as error:
    answer["problem"] = f"{type(error).__name__}: {error}".splitlines()[0]
print("HSSL-PROBE " + json.dumps(answer))
"""


class InstallationError(Refusal):
    """The packages could not be installed; the message says why and what to do."""


@dataclass(frozen=True)
class Packages:
    """What the jobs' Python offers.

    Attributes:
        ready: whether jobs can run.
        started: whether there is a Python that could be asked at all.
        missing: requirements that are not met.
        problem: why a package that is there cannot be used; "" when there is no such reason.
        device: on what torch computes: "cpu" or the name of the graphics card.
        deviceProblem: why the graphics card is not used although there is one.
        torch: version of torch.
    """

    ready: bool
    missing: list[str] = field(default_factory=list)
    problem: str = ""
    device: str = ""
    deviceProblem: str = ""
    torch: str = ""
    started: bool = True


def missingRequirements(chosenPython: str = "") -> list[str]:
    """Returns the requirements that Slicer's own Python does not meet; nothing is imported.

    The answer is kept, since it takes a look at a dozen folders and is asked for at every key: see `forget`.

    Args:
        chosenPython: another Python that runs the jobs; Slicer's own then reads catalogues and events alone.
    """
    return [text for text in ([OF_CATALOGUES] if chosenPython else [TORCH, *_requirements()]) if not _isMet(text)]


def forget() -> None:
    """Has the packages looked at again when they are asked for."""
    _isMet.cache_clear()


def canReadCatalogues() -> bool:
    """Tells whether Slicer's own Python has what the catalogue and the events need."""
    return _isMet(OF_CATALOGUES)


def probe(process: JobProcess, whenKnown: Callable[[Packages], None], chosenPython: str = "") -> None:
    """Finds out, in a process of its own, what the jobs' Python can do, and tells it on the main thread.

    A process of its own, because a broken torch can take its process down, and because the answer takes seconds.
    """
    missing = missingRequirements(chosenPython)
    if missing:
        whenKnown(Packages(False, missing))
        return
    try:
        command = Command(jobPython(chosenPython), ["-c", _PROBE], environmentFor(chosenPython))
    except InterpreterError as error:
        whenKnown(Packages(False, problem=str(error), started=False))
        return
    lines, heard = Lines(), []

    def finished(exitCode: int, crashed: bool) -> None:
        heard.extend(lines.end())
        answers = [line[len("HSSL-PROBE ") :] for line in heard if line.startswith("HSSL-PROBE ")]
        if not answers:
            last = next((line for line in reversed(heard) if line.strip()), "")
            whenKnown(Packages(False, problem=last or _("Python ended with code {code}.").format(code=exitCode)))
            return
        answer = json.loads(answers[-1])
        problem = answer.get("problem", "")
        whenKnown(
            Packages(
                not problem,
                [],
                problem,
                answer.get("device", ""),
                answer.get("deviceProblem", ""),
                answer.get("torch", ""),
            )
        )

    process.onOutput = lambda data: heard.extend(lines.feed(data))
    process.onFinished = finished
    process.onFailedToStart = lambda reason: whenKnown(Packages(False, problem=reason, started=False))
    process.start(command.program, command.arguments, command.environment)


def adviceFor(packages: Packages, chosenPython: str = "") -> str:
    """Returns in words what is wrong with the packages and what to do; "" when jobs can run."""
    if packages.ready:
        return ""
    if not packages.started:
        return packages.problem
    if packages.missing:
        return _("HSSL needs some Python packages before its first use: {names}.").format(
            names=", ".join(text.split(">")[0].split(",")[0] for text in packages.missing)
        )
    if chosenPython:
        needed = " ".join(f'"{text}"' for text in (TORCH, *OF_SLICER))
        return _("The chosen Python cannot run HSSL: {problem}. Run this in a terminal:\n{command}").format(
            problem=packages.problem,
            command=f'"{chosenPython}" -m pip install {needed} -r "{REQUIREMENTS_FILE}"',
        )
    return _(
        "The installed packages cannot be used: {problem}. Uninstall PyTorch in the module PyTorch Utils, "
        "restart Slicer, and install again."
    ).format(problem=packages.problem)


def install(askFirst: bool = True) -> bool:
    """Installs what is missing, after one dialog; must be called on the main thread.

    torch comes through the PyTorch extension, which knows the computer's graphics card; everything else under
    constraints that keep torch, NumPy and SimpleITK as they are.

    Returns:
        Whether all is there now; False when the user declined.

    Raises:
        InstallationError: the PyTorch extension is missing, or an installation failed.
    """
    forget()
    chosenPython = settings.value("python")
    missing = missingRequirements(chosenPython)
    if not missing:
        return True
    question = _("HSSL will install these Python packages into Slicer:\n\n{names}").format(names="\n".join(missing))
    if TORCH in missing:
        question += "\n\n" + _("PyTorch is large (0.2 to 3 GB); this happens once and takes some minutes.")
    if askFirst and not slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Install packages for HSSL")):
        return False
    if TORCH in missing:
        _installTorch()
    rest = [text for text in missing if text != TORCH]
    if rest:
        _installUnderConstraints(rest)
    importlib.invalidate_caches()
    forget()
    stillMissing = missingRequirements(chosenPython)
    if stillMissing:
        raise InstallationError(
            _("After the installation these are still missing: {names}.").format(names=", ".join(stillMissing))
        )
    return True


def _installTorch() -> None:
    try:
        import PyTorchUtils
    except ImportError as error:
        raise InstallationError(
            _(
                "The extension PyTorch is needed: install it with View > Extensions Manager, restart Slicer, "
                "and try again."
            )
        ) from error
    try:
        torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
            askConfirmation=False, torchVersionRequirement=TORCH.removeprefix("torch")
        )
    except Exception as error:  # whatever pip or a broken torch raises ends up in one message
        raise InstallationError(_("PyTorch could not be installed: {reason}").format(reason=error)) from error
    if torch is None:
        raise InstallationError(_("PyTorch was not installed."))


def _installUnderConstraints(requirements: list[str]) -> None:
    handle, path = tempfile.mkstemp(prefix="HSSL-constraints-", suffix=".txt")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for name in NEVER_REPLACED:
                try:
                    file.write(f"{name}=={importlib.metadata.version(name)}\n")
                except importlib.metadata.PackageNotFoundError:
                    continue
        try:
            packaging = importlib.import_module("slicer.packaging")
        except ImportError:
            packaging = None
        if hasattr(packaging, "pip_ensure"):
            packaging.pip_ensure(requirements, constraints=path, prompt_install=False, requester="HSSL")
        else:
            slicer.util.pip_install(["-c", path, *requirements])
    except Exception as error:  # pip tells its reasons as CalledProcessError, slicer.packaging as RuntimeError
        raise InstallationError(_("The packages could not be installed: {reason}").format(reason=error)) from error
    finally:
        os.unlink(path)


@functools.cache
def _requirements() -> list[str]:
    lines = REQUIREMENTS_FILE.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


@functools.cache
def _isMet(text: str) -> bool:
    from packaging.requirements import Requirement

    requirement = Requirement(text)
    try:
        return requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False
