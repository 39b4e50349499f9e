"""What was drawn of a scan becomes its label, wherever in the panel it is asked for."""

from slicer.i18n import tr as _

from ..scene import labelling
from ..scene import pictures as scenePictures
from . import classChoice
from .telling import told


def keep(panel, id: str) -> bool:
    """Makes what was drawn of an image its label; asks which class a segment is where its name does not tell.

    Returns:
        Whether it was kept. A reason why it cannot be is displayed; the question may have been declined.
    """
    catalogue = panel.catalogue
    with told(_("The label could not be kept.")):
        drawn = labelling.drawn(scenePictures.shown(catalogue, id))
        classes = classChoice.ask(drawn, catalogue.task(catalogue.image(id).task), panel.widget)
        if classes is not None:
            labelling.keep(catalogue, id, classes)
            return True
    return False
