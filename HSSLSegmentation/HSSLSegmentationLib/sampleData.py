"""The sample scans in Slicer's module Sample Data: generated on this computer, without a download."""

from slicer.i18n import tr as _

import slicer

WORKSPACE_NAME = "HSSL sample workspace"


def register() -> None:
    """Adds the source to the module Sample Data; called once, when the application has started."""
    if not hasattr(slicer.modules, "sampledata"):
        return
    import SampleData

    from .jobs.interpreter import ENGINE_FOLDER

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="HSSL",
        sampleName="HSSLSampleScans",
        thumbnailFileName=str(ENGINE_FOLDER / "Resources" / "Icons" / "HSSLSampleScans.png"),
        customDownloader=generate,
    )


def generate(source=None):
    """Makes the sample workspace in Slicer's cache folder, unless it is there, and shows one of its scans.

    Returns:
        The volume node that is shown.
    """
    from pathlib import Path

    from . import settings
    from .logic import HSSLSegmentationLogic
    from .scene import pictures as scenePictures
    from .workspace import contents as workspaceContents

    folder = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / WORKSPACE_NAME
    logic = HSSLSegmentationLogic()
    if not workspaceContents.isWorkspace(folder):
        slicer.util.showStatusMessage(_("Making sample scans…"))
        logic.createSampleWorkspace(folder, waitForCompletion=True)
    settings.setValue("lastWorkspace", str(folder))
    parameters = logic.getParameterNode()
    parameters.workspace = str(folder)
    from hssl.workspace.catalogue import Catalogue

    catalogue = Catalogue.load(folder)
    return scenePictures.show(catalogue, catalogue.usable(labelled=True)[0].id)
