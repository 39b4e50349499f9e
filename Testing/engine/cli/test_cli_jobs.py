"""Options of the commands that run jobs: each reaches the field of the configuration that it is for, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from hssl.cli import app
from hssl.cli.options import FIELDS, FIELDS_OF
from hssl.events import Done
from hssl.jobs import JOBS, JobKind
from hssl.results import CheckLabelsResult, DoubtfulLabel, EvaluateResult, Result, Statistics, Summary

COMMANDS = typer.main.get_command(app).commands
NO_SETTINGS = {"config", "json", "stop_file", "help"}
TEXTS = {
    "weight": ["dense=0", "image=2"],
    "level": ["task=3"],
    "planes": ["one"],
    "seeds": ["3", "4"],
    "case_count": ["2"],
    "size": ["medium"],
    "dims": ["3"],
    "unlabelled": ["none"],
}


@pytest.fixture
def asked(monkeypatch):
    """The values that jobs were asked to run with; no job runs."""
    found = []

    def run(self, values, on_event=None, stop=None):
        found.append(values)
        return Done(stopped=True, result=Result())

    monkeypatch.setattr(JobKind, "run", run)
    return found


def run(*words: str) -> int:
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code


def every_option(command) -> tuple[list[str], list[str]]:
    """Returns words that give every option and argument of a command, and the names of those that are settings."""
    words, names = [], []
    for parameter in command.params:
        if parameter.name in NO_SETTINGS:
            continue
        names.append(parameter.name)
        texts = TEXTS.get(parameter.name, ["1"])
        if parameter.param_type_name == "argument":
            words = [*texts, *words]
        elif getattr(parameter, "is_flag", False):
            words.append(parameter.opts[0])
        elif parameter.nargs > 1:
            words += [parameter.opts[0], *(texts * parameter.nargs)]
        else:
            words += [word for text in texts for word in (parameter.opts[0], text)]
    return words, names


def leaves(values: dict, model: type[BaseModel]) -> list[str]:
    """Returns the fields that are set, and fails at one that the configuration does not have."""
    found = []
    for name, value in values.items():
        assert name in model.model_fields, f"{model.__name__} has no {name}"
        inner = model.model_fields[name].annotation
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, BaseModel) and name in NESTED:
            found += leaves(value, inner)
        else:
            found.append(name)
    return found


NESTED = {"budget", "network", "finetune"}


@pytest.mark.parametrize("kind", sorted(k for k in JOBS if k in COMMANDS))
def test_every_option_is_a_field_of_the_configuration(asked, kind):
    words, names = every_option(COMMANDS[kind])
    assert run(kind, *words) == 10
    three_dimensional = "dims" in names
    assert len(leaves(asked[0], JOBS[kind].configuration)) == len(names)
    if three_dimensional:
        assert asked[0]["network"]["spatial_dims"] == 3


@pytest.mark.parametrize("kind", sorted(k for k in JOBS if k in COMMANDS))
def test_what_is_not_given_is_left_to_the_configuration(asked, kind):
    assert run(kind) == 10
    assert asked == [{}]


def test_options_win_over_the_file_and_a_budget_is_one_thing(asked, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"seed": 1, "budget": {"minutes": 5}, "weights": {"image": 2.0, "task": 3.0}}))
    run("pretrain", "five", "--config", str(file), "--seed", "7", "--steps", "9", "--weight", "task=0")
    (values,) = asked
    assert (values["seed"], values["workspace"]) == (7, Path("five"))
    assert values["budget"] == {"steps": 9}
    assert values["weights"] == {"image": 2.0, "task": 0.0}


def test_a_3d_network_takes_volumes_unless_told_otherwise(asked):
    run("finetune", "five", "--task", "t", "--dims", "3")
    run("finetune", "five", "--task", "t", "--dims", "2")
    assert [values["network"] for values in asked] == [{"spatial_dims": 3, "in_slices": 1}, {"spatial_dims": 2}]


def test_ids_come_from_files_too(asked, tmp_path):
    (tmp_path / "ids").write_text("a\nb\n")
    run("finetune", "five", "--case", "c", "--case", f"@{tmp_path / 'ids'}", "--case-count", "3")
    assert asked[0]["cases"] == ["c", "a", "b"] and asked[0]["case_count"] == 3


def test_compare_passes_its_recipe_on(asked):
    run(
        "compare", "five", "--task", "t", "--start", "night", "--case-count", "1", "--case-count", "5", "--minutes", "2"
    )
    assert asked[0] == {
        "finetune": {"workspace": Path("five"), "task": "t", "budget": {"minutes": 2.0}},
        "start": "night",
        "case_counts": [1, 5],
    }


def test_a_malformed_pair_is_told(capfd):
    assert run("pretrain", "five", "--weight", "image") == 3


@pytest.mark.parametrize("command", ["pretrain", "finetune", "compare", "learning-curve", "check-labels"])
def test_the_help_tells_the_budget_that_a_training_has_when_nobody_names_one(command):
    configuration = JOBS[command.replace("-", "_")].configuration
    recipe = configuration.model_fields.get("finetune")
    if recipe is None:
        budget = configuration.model_fields["budget"].default
    else:
        values = {
            "finetune": {"workspace": "five", "task": "t"},
            **({"start": "night"} if command == "compare" else {}),
        }
        budget = configuration.checked(values).finetune.budget
    told = next(p.help for p in COMMANDS[command].params if p.name == "minutes")
    assert (f"{budget.steps} steps" if budget.steps else f"{budget.minutes:.0f}") in told
    assert "--epochs" not in told or "epochs" in {p.name for p in COMMANDS[command].params}


def default_of(kind: str, option: str):
    """Returns what the configuration has where the option is not given, `undefined` where it must be."""
    *folders, field = (FIELDS | FIELDS_OF.get(kind, {})).get(option, option).split(".")
    model = JOBS[kind].configuration
    for folder in folders:
        model = model.model_fields[folder].annotation
    return model.model_fields[field].get_default(call_default_factory=True)


@pytest.mark.parametrize("kind", sorted(k for k in JOBS if k in COMMANDS))
def test_the_help_tells_the_default_of_every_option_that_has_one(kind):
    for parameter in COMMANDS[kind].params:
        if parameter.name in NO_SETTINGS | {"minutes"}:
            continue
        default = default_of(kind, parameter.name)
        told = (parameter.help or "").partition("(default: ")[2]
        if isinstance(default, BaseModel):
            values = default.model_dump()
            assert all(name in told for name in values), parameter.name
            wanted = {f"{value:g}" if isinstance(value, float) else value for value in values.values()}
        elif isinstance(default, bool):
            assert told or not default, parameter.name
            wanted = set()
        elif isinstance(default, list):
            wanted = {str(value) for value in default}
        else:
            wanted = {f"{default:g}" if isinstance(default, float) else str(default)} if default else set()
        if default is not PydanticUndefined:
            assert all(value in told for value in wanted), (kind, parameter.name, default)


def test_a_help_shows_what_its_texts_say_with_their_defaults():
    for command, one in COMMANDS.items():
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "400", "TERM": "dumb"}).output
        for option in getattr(one, "params", []):
            text = getattr(option, "help", None)
            assert text is None or option.hidden or text in shown, (command, option.name, text)


def every_command(command=None, words: tuple[str, ...] = ()):
    command = command or typer.main.get_command(app)
    yield words
    for name, one in getattr(command, "commands", {}).items():
        yield from every_command(one, (*words, name))


@pytest.mark.parametrize("words", list(every_command()), ids=" ".join)
def test_a_help_is_whole_in_80_columns(words):
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERM": "dumb"}).output
    assert shown
    cut = [line for line in shown.splitlines() if "…" in line and "4, …," not in line]
    assert not cut


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("compare five", ["finetune.task: is missing", "start: is missing", "Said by --task, --start."]),
        ("pretrain", ["workspace: is missing", "Said by WORKSPACE."]),
        ("predict", ["Said by INPUTS, --model, --output."]),
        ("finetune five --task t --dims 4 --steps 0", ["Said by --steps, --dims."]),
        ("pretrain five --weight no=1", ["weights.no: is no setting", "Said by --weight."]),
        ("learning-curve five --task t --case-count 0", ["Said by --case-count."]),
    ],
)
def test_a_setting_that_is_wrong_is_told_with_the_option_that_says_it(words, said):
    shown = CliRunner().invoke(app, words.split())
    assert shown.exit_code == 3
    assert all(text in shown.output for text in said), shown.output


def test_an_evaluation_tells_of_how_many_cases_the_distances_are(monkeypatch, tmp_path):
    """A class that was missed counts in the mean Dice, and has no distance."""
    for distances, told in ((7, False), (4, True)):
        of = {what: Statistics(mean=0.5, std=None, median=0.5, count=7) for what in ("dice", "volume_error_ml")}
        of |= {w: Statistics(mean=3, std=None, median=3, count=distances) for w in ("hd95_mm", "asd_mm")}
        done = Done(result=EvaluateResult(summary=Summary(classes={"liver": of}), csv_file=tmp_path))
        monkeypatch.setattr(JobKind, "run", lambda *_, done=done: done)
        shown = CliRunner().invoke(app, ["evaluate"], env={"COLUMNS": "200"}).output
        assert ("with distances" in shown and "│ 4 " in shown) == told == ("and no distance" in shown)


def test_what_a_start_takes_of_memory_is_estimated_too(asked):
    assert run("estimate", "five", "--start", "general") == 10
    assert asked[0]["start"] == "general"


def test_names_with_brackets_are_shown_whole(monkeypatch, tmp_path):
    statistics = Statistics(mean=0.5, std=None, median=0.5, count=1)
    measures = dict.fromkeys(("dice", "hd95_mm", "asd_mm", "volume_error_ml"), statistics)
    evaluated = EvaluateResult(summary=Summary(classes={"kidney [left]": measures}), csv_file=tmp_path)
    doubtful = DoubtfulLabel(id="case[/b]1", fold=1, dice=0.5, run=tmp_path)
    checked = CheckLabelsResult(task="t", folder=tmp_path, rows=[doubtful])
    for command, result, name in (("evaluate", evaluated, "kidney [left]"), ("check-labels", checked, "case[/b]1")):
        monkeypatch.setattr(JobKind, "run", lambda *_, result=result: Done(result=result))
        shown = CliRunner().invoke(app, [command], env={"COLUMNS": "200"})
        assert shown.exception is None and name in shown.output
