"""HSSL: hierarchical self-supervised learning for segmentation of medical volumes (Zheng et al., MICCAI 2021).

What scripts need is here, and is imported when it is first asked for: `import hssl` alone loads neither torch nor
pydantic.

    from hssl import PretrainConfig, pretrain
    pretrain(PretrainConfig(workspace="five", run="night", budget={"minutes": 480}))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .configuration import FinetuneConfig, PretrainConfig
    from .jobs.check_labels import check_labels
    from .jobs.compare import compare
    from .jobs.evaluate import evaluate
    from .jobs.finetune import finetune
    from .jobs.learning_curve import learning_curve
    from .jobs.predict import predict
    from .jobs.pretrain import pretrain
    from .jobs.suggest import suggest
    from .models.model_file import load_model
    from .workspace.catalogue import Catalogue

__version__ = "0.1.0"
__all__ = [
    "Catalogue",
    "FinetuneConfig",
    "PretrainConfig",
    "check_labels",
    "compare",
    "evaluate",
    "finetune",
    "learning_curve",
    "load_model",
    "predict",
    "pretrain",
    "suggest",
]

_HOMES = {
    "Catalogue": "workspace.catalogue",
    "FinetuneConfig": "configuration",
    "PretrainConfig": "configuration",
    "load_model": "models.model_file",
} | {
    job: f"jobs.{job}"
    for job in ("check_labels", "compare", "evaluate", "finetune", "learning_curve", "predict", "pretrain", "suggest")
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
