"""What a training can start from, as both sections that train offer it."""

from slicer.i18n import tr as _

from .. import wording
from ..workspace import contents as workspaceContents


def startChoices(runs, modelFiles) -> list[tuple[str, str]]:
    """Returns (start, text): the workspace's pretrainings, the latest first, its models, what ships, and scratch."""
    starts = [(r.name, r.name) for r in reversed(runs) if r.kind == "pretrain" and r.state == "finished"]
    starts += [(str(m.path), _("model {name}").format(name=m.name)) for m in modelFiles if not m.problem]
    starts += [(name, wording.shipped(name)) for name in workspaceContents.shippedStarts()]
    starts.append((workspaceContents.SCRATCH, _("scratch (nothing learned before)")))
    return starts
