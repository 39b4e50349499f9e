"""A draft of a label: an image of the workspace is opened, and a model fills its segments."""

from pathlib import Path

from slicer.i18n import tr as _

from ..refusal import Refusal
from ..scene import labelling
from ..scene import pictures as scenePictures
from ..workspace import contents as workspaceContents
from ..workspace.edits import SECONDS_TO_WAIT
from . import segmentationJobs
from .job import Job
from .jobStarter import JobStarter


def draft(starter: JobStarter, workspace: str | Path, imageId: str, model: str | Path) -> Job:
    """Starts the draft of an image's label; see `HSSLSegmentationLogic.draft`."""
    from hssl.workspace.catalogue import Catalogue
    from hssl.workspace.review import set_review

    catalogue = Catalogue.load(workspace)
    task = catalogue.image(imageId).task
    chosen = Path(model) if model else None
    if chosen is None:
        chosen = workspaceContents.bestModel(
            workspaceContents.runs(workspace), workspaceContents.models(workspace), task
        )
    if chosen is None:
        raise Refusal(_("There is no model of {task} to make a draft with: fine-tune one first.").format(task=task))
    volumeNode = scenePictures.shown(catalogue, imageId)
    if volumeNode is None or labelling.drawn(volumeNode) is None:
        labelling.open(catalogue, imageId)
        volumeNode = scenePictures.shown(catalogue, imageId)
    job = segmentationJobs.segment(starter, volumeNode, chosen, labelling.drawn(volumeNode), {}, onlyIfEmpty=True)

    def told(job: Job, event) -> None:
        if job.state == "done":
            set_review(workspace, [imageId], "draft", wait=SECONDS_TO_WAIT)

    job.addObserver(told)
    return job
