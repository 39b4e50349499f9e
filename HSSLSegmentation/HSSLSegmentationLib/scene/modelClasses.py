"""The classes that a model segments, with the names, colours and terminology that segments get."""

from pathlib import Path

from slicer.i18n import tr as _

from ..refusal import Refusal
from .segmentations import SegmentClass


def classesOfModel(model: str | Path) -> list[SegmentClass]:
    """Returns the classes of a model file or of a fine-tuning run of a workspace.

    Raises:
        Refusal: it is neither, or a model that does not segment.
    """
    return [SegmentClass(c.value, c.name, c.color, c.terminology) for c in taskOfModel(model).classes]


def taskOfModel(model: str | Path):
    """Returns the task (`hssl.workspace.catalogue.Task`) that a model segments; see `classesOfModel`."""
    from hssl.models.model_file import read_description
    from hssl.models.run_folder import RunFolder
    from hssl.workspace.catalogue import Catalogue

    model = Path(model)
    if model.is_dir():
        config = RunFolder(model).read_config()
        if config.kind == "pretrain":
            raise Refusal(_("{model} is a pretraining: fine-tune it for a task first.").format(model=model.name))
        return Catalogue.load(model.parent.parent).task(config.task)
    description = read_description(model)
    if description.kind != "segmentation":
        raise Refusal(_("{model} is a pretrained model: fine-tune it for a task first.").format(model=model.name))
    return description.tasks[0]
