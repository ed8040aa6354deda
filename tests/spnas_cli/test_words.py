"""One word for one kind of argument and option in all commands, and a unit wherever there is one."""

from __future__ import annotations

import re
from collections import defaultdict

import click
import pytest
from click.testing import CliRunner
from command_tree import all_commands

from spnas_cli.main import cli

WORDS = {
    "NETWORK", "TABLE", "DEVICE", "RUN", "FILE", "FOLDER", "NAME", "VERSION", "TITLE", "HOST", "PORT", "MASK",
    # Quantities; N is a count of what the option is named after, or a seed.
    "N", "MS", "SECONDS", "PIXELS", "IMAGES", "PERCENT", "%", "POINTS", "MB", "FACTOR", "SHARE", "RATE", "°C", "λ",
    # Two of a kind.
    "FIRST_TABLE", "SECOND_TABLE", "NEW_NAME", "LOW_MS", "HIGH_MS",
    "COMMAND", "ARGS",
}  # fmt: skip
PARAMETERS = [
    (" ".join(path), parameter)
    for path, command in all_commands()
    for parameter in command.params
    if not (isinstance(parameter, click.Option) and (parameter.is_flag or isinstance(parameter.type, click.Choice)))
]


def metavar(command: str, parameter: click.Parameter) -> str:
    return parameter.make_metavar(click.Context(click.Command(command)))


@pytest.mark.parametrize(("command", "parameter"), PARAMETERS, ids=lambda value: getattr(value, "name", value))
def test_every_argument_is_one_of_a_few_words(command, parameter):
    shown = metavar(command, parameter)
    for word in re.findall(r"[^\W\d]+|°C|%", re.sub("random|torchvision", "", shown)):
        assert word in WORDS, f"{command} {parameter.opts}: {shown}"


def test_an_option_of_one_name_takes_the_same_in_all_commands():
    taken = defaultdict(set)
    for command, parameter in PARAMETERS:
        if isinstance(parameter, click.Option):
            taken[parameter.opts[-1]].add(metavar(command, parameter).split(",")[0].rstrip("["))
    # A folder, or a file where there is one; a width, or several of them.
    assert taken.pop("--output") == {"FILE", "FOLDER"}
    assert {name: words for name, words in taken.items() if len(words) > 1} == {}


def test_numbers_with_a_unit_say_it():
    for command, parameter in PARAMETERS:
        if isinstance(parameter.type, click.FloatRange):
            assert metavar(command, parameter) not in ("N", "FLOAT", "NUMBER"), f"{command} {parameter.opts}"


def test_what_an_option_was_called_before_still_works():
    """It is not shown, and takes what the new one takes."""
    words = ("validate", "--table", "no-such-table", "--architecture", "a", "--also", "b")
    assert "there is no table 'no-such-table'" in CliRunner().invoke(cli, words).stderr
    shown = CliRunner().invoke(cli, ["validate", "--help"]).stdout
    assert "--also NETWORK" in shown
    assert "--architecture" not in shown
