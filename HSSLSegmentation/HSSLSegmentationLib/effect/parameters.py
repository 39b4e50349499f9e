"""What a Segment Editor's node keeps of the effect: learning or prediction, the models, and how a result is shown."""

from .. import choices
from . import models as effectModels

LEARN, PREDICT = "learn", "predict"
AUTO, LARGEST, ALL = "auto", "largest", "all"
"""Which pieces of a structure are kept: those that slices or model tell, the largest one, or all."""
NOT_CHOSEN = "?"


class EffectParameters:
    """Reads and writes them through Slicer's half of the effect.

    Args:
        scriptedEffect: that half; its parameters can be used as long as its editor has a node.
    """

    def __init__(self, scriptedEffect):
        self._effect = scriptedEffect
        self._offered: list[tuple[str, str, str]] | None = None

    def setDefaults(self) -> None:
        """Gives each parameter that the node does not have yet its value."""
        effect = self._effect
        effect.setParameterDefault("Mode", LEARN)
        effect.setParameterDefault("LearnModel", NOT_CHOSEN)
        effect.setParameterDefault("PredictModel", NOT_CHOSEN)
        effect.setParameterDefault("ScribblesOnly", 0)
        effect.setParameterDefault("Live", 0)
        effect.setParameterDefault("Pieces", AUTO)
        effect.setParameterDefault("Fast", 0)
        effect.setParameterDefault("Protect", 1)
        effect.setParameterDefault("Opacity", 0.5)

    def take(self, options) -> None:
        """Keeps what the widgets say, the model excepted: of that, see `choose`."""
        effect = self._effect
        effect.setParameter("Mode", LEARN if options.learnButton.checked else PREDICT)
        effect.setParameter("ScribblesOnly", int(options.scribblesCheck.checked))
        effect.setParameter("Live", int(options.liveCheck.checked))
        effect.setParameter("Pieces", choices.value(options.piecesCombo))
        effect.setParameter("Fast", int(options.fastCheck.checked))
        effect.setParameter("Protect", int(options.protectCheck.checked))
        effect.setParameter("Opacity", float(options.opacitySlider.value))

    def mode(self) -> str:
        return self._effect.parameter("Mode")

    def scribblesOnly(self) -> bool:
        return bool(self._effect.integerParameter("ScribblesOnly"))

    def isLive(self) -> bool:
        return self.mode() == LEARN and bool(self._effect.integerParameter("Live"))

    def pieces(self) -> str:
        return self._effect.parameter("Pieces")

    def largestComponent(self) -> bool | None:
        """Returns what `pieces` is for the engine."""
        return {LARGEST: True, ALL: False}.get(self.pieces())

    def isFast(self) -> bool:
        return bool(self._effect.integerParameter("Fast"))

    def isProtecting(self) -> bool:
        return bool(self._effect.integerParameter("Protect"))

    def opacity(self) -> float:
        return self._effect.doubleParameter("Opacity")

    def models(self) -> list[tuple[str, str, str]]:
        """Returns what is offered for the mode, as `choices.fill` takes it; looked up anew after `offerAnew`."""
        if self._offered is None:
            chosen = self._effect.parameter(self._modelParameter())
            chosen = "" if chosen == NOT_CHOSEN else chosen
            offer = effectModels.toLearnFrom if self.mode() == LEARN else effectModels.toPredictWith
            self._offered = offer(chosen)
        return self._offered

    def offerAnew(self) -> None:
        """Has the models looked up again."""
        self._offered = None

    def model(self) -> str:
        """Returns the chosen model; as long as none was chosen, the first that is offered."""
        chosen = self._effect.parameter(self._modelParameter())
        first = self.models()[0][0]
        return chosen if chosen != NOT_CHOSEN else first if first != effectModels.OTHER_FILE else ""

    def predictWith(self, model: str) -> None:
        """Chooses prediction, and its model."""
        self._effect.setParameter("Mode", PREDICT)
        self.choose(model)

    def choose(self, model: str) -> None:
        """Keeps a model for the mode."""
        self._offered = None
        self._effect.setParameter(self._modelParameter(), model)

    def _modelParameter(self) -> str:
        return "LearnModel" if self.mode() == LEARN else "PredictModel"
