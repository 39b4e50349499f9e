"""How many images of a catalogue are what: counted once, and asked for at every change of the panel."""

from collections import Counter


class Counts:
    """Numbers of images by task.

    Attributes:
        images: all of them.
        usable: those that can be learned from.
        labelled, waiting: of the usable ones, those with a usable label and those without, by task.
        problems: images or labels that cannot be used, or not until they are confirmed, and files that were refused.
    """

    def __init__(self, catalogue):
        self.images = len(catalogue.images)
        labelled = catalogue.usable(labelled=True)
        waiting = catalogue.usable(labelled=False)
        self.labelled = Counter(image.task for image in labelled)
        self.waiting = Counter(image.task for image in waiting)
        self.usable = len(labelled) + len(waiting)
        broken = sum(
            i.problem is not None or i.label_problem is not None or (i.doubt is not None and not i.confirmed)
            for i in catalogue.images
        )
        self.problems = broken + len(catalogue.refused)
