"""Export and import of model files as jobs: reading weights takes torch, which Slicer itself need not load."""

from pathlib import Path

from slicer.i18n import tr as _

from .. import settings
from ..refusal import Refusal
from ..workspace import contents as workspaceContents
from .job import Job
from .jobStarter import JobStarter


def exportModel(starter: JobStarter, model: str | Path, file: str | Path, licence: str, overwrite: bool) -> Job:
    """Starts the writing of a model file; see `HSSLSegmentationLogic.exportModel`."""
    arguments = ["export", str(model), str(file), "--json", *(["--overwrite"] if overwrite else [])]
    return starter.start("export", [*arguments, "--licence", licence] if licence else arguments)


def importModel(starter: JobStarter, file: str | Path, workspace: str | Path | None, name: str) -> Job:
    """Starts the check and the copy of a model file; see `HSSLSegmentationLogic.importModel`.

    Raises:
        Refusal: no workspace was named, and none was used before.
    """
    workspace = workspace or settings.value("lastWorkspace")
    if not workspaceContents.isWorkspace(workspace):
        raise Refusal(_("Name the workspace that the model is to be copied into."))
    arguments = ["import", str(file), str(workspace), "--json"]
    return starter.start("import", [*arguments, "--name", name] if name else arguments)
