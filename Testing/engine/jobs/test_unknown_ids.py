"""An id that is mistyped is an error in every job: what was to be left out would otherwise be trained on."""

from __future__ import annotations

import pytest

from hssl.configuration import CompareConfig, FinetuneConfig, PretrainConfig, SuggestConfig
from hssl.errors import ConfigurationError
from hssl.jobs.compare import compare
from hssl.jobs.estimate import estimate
from hssl.jobs.finetune import finetune
from hssl.jobs.pretrain import pretrain
from hssl.jobs.suggest import suggest


@pytest.mark.parametrize(
    "job",
    [
        lambda w: pretrain(PretrainConfig(workspace=w, exclude=["case-x"])),
        lambda w: estimate(PretrainConfig(workspace=w, exclude=["case-x"])),
        lambda w: finetune(FinetuneConfig(workspace=w, task="brain_mr", exclude=["case-x"])),
        lambda w: suggest(SuggestConfig(workspace=w, task="brain_mr", model="none", exclude=["case-x"])),
        lambda w: compare(
            CompareConfig(finetune=FinetuneConfig(workspace=w, task="brain_mr", exclude=["case-x"]), start="none")
        ),
        lambda w: compare(
            CompareConfig(finetune=FinetuneConfig(workspace=w, task="brain_mr"), start="none", test=["case-x"])
        ),
    ],
)
def test_an_unknown_id_is_an_error(workspace, job):
    with pytest.raises(ConfigurationError, match="no image to .* with id 'case-x'"):
        job(workspace)


def test_an_unknown_task_is_an_error_of_the_estimate_too(workspace):
    with pytest.raises(ConfigurationError, match="no task named 'none'"):
        estimate(PretrainConfig(workspace=workspace, tasks=["none"]))
