"""The sample scans in Slicer's module Sample Data: generated on this computer, without a download."""

from pathlib import Path

from slicer.i18n import tr as _

import slicer

from . import installation
from .refusal import Refusal

WORKSPACE_NAME = "HSSL sample workspace"
DOWNLOADS: dict[str, list] = {
    name: [] for name in ("uris", "fileNames", "nodeNames", "loadFiles", "loadFileTypes", "checksums")
}
"""Nothing is downloaded, and Slicer 5.10 wants that as lists of equal length."""

_making: list = []
"""The job that makes the scans, while it runs: a second click must not start a second one."""


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
        **DOWNLOADS,
    )


def generate(source=None):
    """Makes the sample workspace in Slicer's cache folder, unless it is there, and opens it in the module.

    Slicer shows nothing of an error here, so that a reason why there are no scans is displayed.

    Returns:
        The volume node that is shown; None when there are no scans, or their making goes on since an earlier click.
    """
    from .panel.telling import told

    if _making:
        slicer.util.showStatusMessage(_("The sample scans are being made already."), 3000)
        return None
    with told(_("The sample scans could not be made.")):
        if not installation.canReadCatalogues():
            slicer.util.selectModule("HSSLSegmentation")
            raise Refusal(_("Install the packages first (at the top of the panel)."))
        return _opened()
    return None


def _opened():
    """Opens the sample workspace, which is made when it is not there; None when that was cancelled."""
    from hssl.workspace.catalogue import Catalogue

    from . import settings
    from .logic import HSSLSegmentationLogic
    from .scene import pictures as scenePictures
    from .workspace import contents as workspaceContents

    folder = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / WORKSPACE_NAME
    logic = HSSLSegmentationLogic()
    if not workspaceContents.isWorkspace(folder) and not _make(logic, folder):
        return None
    settings.setValue("lastWorkspace", str(folder))
    parameters = logic.getParameterNode()
    parameters.workspace = str(folder)
    catalogue = Catalogue.load(folder)
    volumeNode = scenePictures.show(catalogue, catalogue.usable(labelled=True)[0].id)
    slicer.util.selectModule("HSSLSegmentation")
    slicer.util.showStatusMessage(_("The sample scans are the workspace of HSSL Segmentation now."), 5000)
    return volumeNode


def _make(logic, folder: Path) -> bool:
    """Makes the scans, with a bar that can cancel it; returns whether they are there."""
    job = logic.createSampleWorkspace(folder, waitForCompletion=False)
    _making.append(job)  # at once: the bar handles events, and a second click may be among them
    dialog = slicer.util.createProgressDialog(
        labelText=_("Making sample scans…"), windowTitle=_("HSSL sample scans"), maximum=100, autoClose=False
    )
    dialog.connect("canceled()", job.stop)

    def told(job, event) -> None:
        if job.state == "running" and job.phaseCount:
            dialog.setValue(round(100 * (job.phaseIndex - 1 + job.progress) / job.phaseCount))

    job.addObserver(told)
    try:
        job.wait()
    finally:
        _making.remove(job)
        dialog.disconnect("canceled()", job.stop)
        dialog.close()
        dialog.deleteLater()
    return job.state == "done"
