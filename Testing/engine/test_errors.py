"""Errors: what the engine says fits every door, and each door adds its own name for the way out."""

import ast
from pathlib import Path
from typing import get_args

import pytest

import hssl
from hssl.cli.console import WAYS_OUT
from hssl.errors import OutputError, WayOut
from hssl.events import Failed, from_line, to_line
from hssl.workspace.catalogue import Catalogue

ENGINE = Path(hssl.__file__).parent


def test_no_text_of_the_engine_speaks_the_command_lines_language():
    """The panel shows the same errors; `hssl` names a Python module where nothing but dots follows."""
    found = []
    for path in ENGINE.rglob("*.py"):
        if path.relative_to(ENGINE).parts[0] == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise):
                texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                found += [f"{path.name}: {text}" for text in texts if "--" in text or "`hssl " in text]
    assert not found


def test_no_control_flow_depends_on_a_messages_text():
    found = []
    for path in ENGINE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.In | ast.NotIn) for op in node.ops):
                right = ast.unparse(node.comparators[-1])
                if right.endswith((".reason", ".hint", "str(error)")):
                    found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert not found


def test_the_command_line_has_a_name_for_every_way_out():
    assert WAYS_OUT.keys() == set(get_args(WayOut)) - {""}


def test_the_command_line_adds_its_name_to_the_hint(tmp_path, capsys):
    from hssl.cli.console import run_job

    with pytest.raises(SystemExit) as ended:
        run_job(lambda on_event, stop: Catalogue.load(tmp_path), as_json=False)
    assert ended.value.code == 4
    assert "Create one. (hssl catalogue create)" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_has_an_exit_code_of_its_own():
    failed = Failed.of(OutputError("a.nii.gz", "is there already", "Choose another name.", "overwrite"))
    assert (failed.kind, failed.exit_code, failed.way_out) == ("OutputError", 9, "overwrite")
    assert from_line(to_line(failed)) == failed
