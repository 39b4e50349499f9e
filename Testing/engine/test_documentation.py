"""What README and docs name is there: links and their anchors, files, commands, options, make targets, Python names."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer

import hssl
from hssl.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(path for path in (ROOT / "Testing").rglob("*.md") if path.name != "LOG.md"),
    ]
)
WORDS_OF_README = 800
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
HSSL = typer.main.get_command(app)
ROOMS = ("hssl", "HSSLSegmentationLib", "SegmentEditorHSSLLib")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def inline(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def lines_of_code(page: Path, *languages: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [line for language, block in BLOCK.findall(text) if language in languages for line in block.splitlines()]


def commands(page: Path) -> list[list[str]]:
    """Returns the command lines of a page, as words."""
    found = []
    for line in [*inline(page), *lines_of_code(page, "", "bash", "sh")]:
        if line.lstrip().startswith(("hssl ", "python ", "make ", "torchrun ")) or "/python " in line:
            found.append(shlex.split(line, comments=True))
    return found


def slug(heading: str) -> str:
    """Returns a heading's anchor, as GitHub makes it."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(text) for text in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_something(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / unquote(path)) if path else page
        assert there.exists(), f"{name(page)} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_exist(page):
    for text in inline(page):
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", text) and "/" in text:
            first = text.split("/")[0]
            folder = ROOT / "HSSLSegmentation" if first in ROOMS else ROOT
            if (folder / first).exists():
                assert (folder / text).exists(), f"{name(page)} names {text}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_files_that_are_named_without_their_whole_path_are_there(page):
    """Of a page below Testing: in its own folder."""
    own = ROOT / "Testing" in page.parents
    folders = [page.parent] if own else [ROOT / "HSSLSegmentation", ROOT / "Testing", ROOT / "tools"]
    there = [f"/{path.as_posix()}" for folder in folders for path in folder.rglob("*.py")]
    for text in inline(page):
        if re.fullmatch(r"[\w/]+\.py", text):
            assert any(path.endswith(f"/{text}") for path in there), f"{name(page)} names {text}"


def command_of(words: list[str]):
    """Returns the click command that words after "hssl" call, or None for a placeholder."""
    found = HSSL
    for word in words:
        if not hasattr(found, "commands"):
            break
        if word.startswith("-"):
            break
        if word.isupper() or word == "…":
            return None
        assert word in found.commands, f"hssl has no command {word!r}"
        found = found.commands[word]
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_of_hssl_and_their_options_exist(page):
    for words in commands(page):
        if "hssl" not in words or words[0] not in ("hssl", "torchrun"):
            continue
        own = words[words.index("hssl") + 1 :]
        command = command_of(own)
        options = {"--help", "-h"} | {o for p in getattr(command, "params", ()) for o in (*p.opts, *p.secondary_opts)}
        for word in own:
            if word.startswith("--") and command is not None:
                assert word.split("=")[0] in options, f"{name(page)}: {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_options_that_are_named_alone_belong_to_some_command(page):
    def every(command) -> set[str]:
        own = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        return own.union(*(every(c) for c in getattr(command, "commands", {}).values()))

    known = every(HSSL) | {"--help"}
    scripts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "Testing").rglob("*.py"))
    for text in inline(page):
        option = text.split()[0].split("=")[0]
        if option.startswith("--"):
            assert option in known or f'"{option}"' in scripts, f"{name(page)} names {text}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_scripts_and_their_options_exist(page):
    for words in commands(page):
        scripts = [word for word in words if word.endswith(".py") and not word.startswith("-")]
        if words[0].rpartition("/")[2] != "python" or not scripts or "pytest" in words:
            continue
        script = ROOT / scripts[0]
        assert script.is_file(), f"{name(page)}: {' '.join(words)}"
        text = script.read_text(encoding="utf-8")
        for word in words:
            if word.startswith("--"):
                assert f'"{word}"' in text, f"{name(page)}: {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tests_that_are_named_exist(page):
    for words in commands(page):
        if "pytest" in words:
            for word in words[words.index("pytest") + 1 :]:
                if "/" in word:
                    assert (ROOT / word).exists(), f"{name(page)}: {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_knows_its_targets(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in commands(page):
        if words[0] == "make":
            named = {word for word in words[1:] if "=" not in word}
            assert named <= targets, f"{name(page)}: {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_that_is_shown_compiles_and_names_what_there_is(page):
    text = page.read_text(encoding="utf-8")
    logic = ROOT / "HSSLSegmentation" / "HSSLSegmentationLib" / "logic.py"
    methods = {n.name for n in ast.walk(ast.parse(logic.read_text(encoding="utf-8"))) if isinstance(n, ast.FunctionDef)}
    for language, block in BLOCK.findall(text):
        if language == "python":
            compile(block, name(page), "exec")
            for method in re.findall(r"\blogic\.(\w+)\(", block):
                assert method in methods, f"{name(page)}: logic.{method}"
    for names in re.findall(r"from hssl import ([\w, ]+)", text):
        for one in filter(None, map(str.strip, names.split(","))):
            assert one in hssl.__all__, f"{name(page)}: {one}"


def test_the_readme_is_one_screen_and_leads_everywhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.split()) <= WORDS_OF_README
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, f"the README does not lead to {page.name}"


def test_the_exit_codes_are_those_of_the_errors():
    from hssl import errors

    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    own = {e.exit_code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.HSSLError)}
    assert told == own | {0, 1, 2, 130} | {v for k, v in vars(errors).items() if k.endswith("_EXIT_CODE")}
