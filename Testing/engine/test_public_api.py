"""What scripts import from `hssl`: it costs nothing until it is used, and every example in the docstrings runs."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import hssl

IN_ORDER = (
    "Catalogue",
    "PretrainConfig",
    "FinetuneConfig",
    "pretrain",
    "finetune",
    "load_model",
    "predict",
    "evaluate",
    "suggest",
    "compare",
    "check_labels",
    "learning_curve",
)
"""Each example uses what those before it have made."""


def test_importing_the_package_loads_nothing_heavy():
    code = "import hssl, sys; print(sorted({'torch', 'monai', 'numpy', 'pydantic', 'SimpleITK'} & {*sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_configurations_and_catalogues_do_not_load_torch():
    code = "import sys; from hssl import Catalogue, PretrainConfig; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_every_public_name_is_there_and_listed():
    assert set(hssl.__all__) == {*IN_ORDER}
    assert set(hssl.__all__) <= {*dir(hssl)}
    for name in hssl.__all__:
        assert getattr(hssl, name).__name__ == name


def test_a_name_that_is_not_there_is_told():
    with pytest.raises(AttributeError, match="'hssl' has no attribute 'train'"):
        hssl.train  # noqa: B018


def test_the_package_tells_that_it_is_typed():
    assert (Path(hssl.__file__).parent / "py.typed").is_file()


def test_the_example_of_every_public_name_runs(workspace: Path):
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(verbose=False)
    told: list[str] = []
    for name in IN_ORDER:
        thing = getattr(hssl, name)
        (example,) = finder.find(thing, name, globs={**sys.modules[thing.__module__].__dict__, "workspace": workspace})
        assert example.examples, f"{name} has no example"
        runner.run(example, out=told.append)
    assert not told, "".join(told)
