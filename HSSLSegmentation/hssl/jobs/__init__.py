"""One file for each thing a user does, and the table of them that every door reads. Importing it takes no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .. import configuration
from ..configuration import Configuration
from ..events import Done, OnEvent, Stop, ignore, never


@dataclass(frozen=True)
class JobKind:
    """What is known of a job before it runs.

    Attributes:
        name: of the job's module in `hssl.jobs`, and of the function in it.
        configuration: what the function takes.
        stoppable: whether it asks to stop; one that is over in seconds does not.
        under: the group of commands that it belongs to at the command line.
    """

    name: str
    configuration: type[Configuration]
    stoppable: bool = True
    under: str = ""

    @property
    def command(self) -> list[str]:
        """The job's command at the command line, word by word."""
        return [*([self.under] if self.under else []), self.name.replace("_", "-")]

    def run(self, values: dict[str, Any], on_event: OnEvent = ignore, stop: Stop = never) -> Done[Any]:
        """Checks the plain values of a configuration and runs the job with them.

        A job returns its end; whoever runs it tells it.

        Raises:
            ConfigurationError: a name is unknown, or a value does not fit.
            HSSLError: what the job raises.
        """
        checked = self.configuration.checked(values)
        done: Done[Any] = getattr(import_module(f"{__name__}.{self.name}"), self.name)(checked, on_event, stop)
        return done


JOBS = {
    job.name: job
    for job in (
        JobKind("add", configuration.AddConfig, under="catalogue"),
        JobKind("pretrain", configuration.PretrainConfig),
        JobKind("finetune", configuration.FinetuneConfig),
        JobKind("compare", configuration.CompareConfig),
        JobKind("predict", configuration.PredictConfig),
        JobKind("evaluate", configuration.EvaluateConfig),
        JobKind("suggest", configuration.SuggestConfig),
        JobKind("check_labels", configuration.CheckLabelsConfig),
        JobKind("learning_curve", configuration.LearningCurveConfig),
        JobKind("estimate", configuration.PretrainConfig, stoppable=False),
    )
}
"""Each kind of job by its name."""
