"""The command line as a whole: what it loads, what it documents, how it fails."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from command_tree import all_commands

import profiling
from profiling.errors import (
    ConversionError,
    DeviceLostError,
    InputError,
    MeasurementError,
    MissingRowsError,
    NoDeviceError,
    SpnasError,
    StoreError,
    ToolOutputError,
)
from spnas_cli import main
from spnas_cli.main import COMMANDS, cli

HEAVY = ("torch", "tensorflow", "numpy", "pandas")


def test_import_name_profiling_is_ours():
    """Python 3.15 brings a standard-library package of this name; until then ours must be the one that is found."""
    assert Path(profiling.__file__).parent == Path(main.__file__).parent.parent / "profiling"


def test_devices_says_that_usb_cannot_be_looked_at_and_lists_the_others(monkeypatch):
    monkeypatch.setitem(sys.modules, "usb1", None)  # what importing it comes to where libusb is missing
    result = CliRunner().invoke(cli, ["devices", "--json"])
    assert result.exit_code == 0
    assert "host" in [device["name"] for device in json.loads(result.stdout)]
    assert "the library libusb is missing" in result.stderr
    assert "libusb-1.0-0" in result.stderr


@pytest.mark.parametrize("path", [path for path, _ in all_commands()], ids=" ".join)
def test_help_loads_no_heavy_library(path):
    """Asked in a fresh interpreter, since this one has long loaded them."""
    script = (
        "import sys\nfrom spnas_cli.main import cli\n"
        f"cli({[*path, '--help']!r}, standalone_mode=False)\n"
        f"sys.exit(', '.join(m for m in {HEAVY!r} if m in sys.modules) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"loaded {result.stderr}"


@pytest.mark.parametrize(
    ("path", "command"), all_commands(), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_option_has_help_and_every_help_an_example(path, command):
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.name} has no help text"
    assert "  spnas " in (command.help or ""), "the help ends in no runnable example"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("bad"), 2),
        (NoDeviceError("none"), 3),
        (DeviceLostError("gone"), 4),
        (MeasurementError("failed"), 5),
        (ToolOutputError("crash", "failed"), 5),
        (MissingRowsError(("a", "b")), 6),
        (StoreError("corrupt"), 6),
        (ConversionError("no"), 1),
        (SpnasError("other"), 1),
        (ValueError("a slip of ours"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_each_error_becomes_one_line_and_its_exit_code(monkeypatch, error, code):
    @click.command()
    def devices() -> None:
        raise error

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: devices)
    result = CliRunner().invoke(cli, ["devices"])
    assert result.exit_code == code
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    if not isinstance(error, KeyboardInterrupt):
        assert type(CliRunner().invoke(cli, ["--debug", "devices"]).exception) is type(error)


@pytest.mark.parametrize("path", [[], ["table"]], ids=["spnas", "spnas table"])
def test_list_of_commands_is_not_cut_at_80_columns(path):
    listed = CliRunner().invoke(cli, [*path, "--help"], terminal_width=80).stdout.partition("Commands:")[2].splitlines()
    assert len(listed) > 5
    assert [line for line in listed if line.endswith("...")] == []


def test_unknown_command_is_a_usage_error():
    result = CliRunner().invoke(cli, ["profil"])
    assert result.exit_code == 2
    assert "profil" in result.stderr


def test_every_command_is_in_the_readme():
    readme = (Path(main.__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"spnas {name}" in readme
