"""The table of jobs: whole, importable without torch, and the one place from which every door takes a job."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest
from typer.main import get_command

import hssl.jobs
from hssl.cli import app
from hssl.errors import ConfigurationError
from hssl.jobs import JOBS


def test_every_job_has_its_row_and_every_row_its_function_and_command():
    assert {m.name for m in pkgutil.iter_modules(hssl.jobs.__path__)} == set(JOBS)
    for name, job in JOBS.items():
        function = getattr(import_module(f"hssl.jobs.{name}"), name)
        assert inspect.signature(function).parameters["config"].annotation == job.configuration.__name__
        command = get_command(app)
        for word in job.command:
            command = command.commands[word]
        options = {o for p in command.params for o in p.opts}
        assert ("--stop-file" in options) == job.stoppable and {"--config", "--json"} <= options


def test_a_configuration_that_does_not_fit_is_refused_before_the_job_is_imported(tmp_path):
    with pytest.raises(ConfigurationError, match="speed"):
        JOBS["pretrain"].run({"workspace": str(tmp_path), "speed": "fast"})


def test_reading_the_table_takes_no_torch():
    code = "import sys, hssl.jobs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_runner_tells_the_end_once_and_of_several_processes_only_the_first(tmp_path, monkeypatch):
    import json

    from typer.testing import CliRunner

    command = ["sample", "--size", "tiny", "--json"]
    lines = CliRunner().invoke(app, [*command, str(tmp_path / "one")]).stdout.splitlines()
    ends = [n for n, line in enumerate(lines) if json.loads(line)["event"] == "done"]
    assert ends == [len(lines) - 1]
    monkeypatch.setenv("RANK", "1")
    lines = CliRunner().invoke(app, [*command, str(tmp_path / "other")]).stdout.splitlines()
    assert lines and all(json.loads(line)["event"] != "done" for line in lines)
