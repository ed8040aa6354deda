"""The docs say what the program does: every command and option, every page that is linked, every name in the code."""

import importlib.util
import re
from pathlib import Path

import click
import pytest

from spnas_cli.main import cli

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "tests").rglob("README.md")]
)


def test_every_command_and_option_is_documented_as_it_is():
    spec = importlib.util.spec_from_file_location("commands", ROOT / "docs" / "commands.py")
    commands = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(commands)
    assert commands.PAGE.read_text(encoding="utf-8") == commands.page(), "docs/commands.md is behind: run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_functions_that_a_page_names_are_there(page):
    """`package/module.py` and `package/module.py:function`, wherever they stand in code marks."""
    for file, name in re.findall(
        r"`((?:profiling|latency_db|search|spnas_cli|tests|benchmarks|docs)/[\w/]+\.(?:py|yaml|md|sh))(?::(\w+))?`",
        page.read_text(encoding="utf-8"),
    ):
        assert (ROOT / file).is_file(), file
        if name:
            assert re.search(rf"^(?:class|def) {name}\b|^{name}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), name


def test_command_lines_on_the_pages_are_ones_that_the_program_has():
    for page in PAGES:
        for line in re.findall(r"^(?:\$ |    )?spnas (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            command, words = cli, line.partition("#")[0].split()
            while words and isinstance(command, click.Group) and (below := command.get_command(click.Context(command), words[0])):
                command = below
                words = words[1:]
            known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
            given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert given <= known, f"{page.name}: spnas {line}: {given - known}"
