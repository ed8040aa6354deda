"""Every command that writes keeps one rule: bad places are refused before the work, and nothing that exists is lost unasked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from places import PLACES, UNWRITABLE, file_size_limit

from latency_db.figures import is_validation, save_figure
from profiling.space import load_space
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
from spnas_cli.main import cli

# What makes each of them write to one file, and the ending of that. Nothing of it is measured, trained or converted before the
# place is checked: `validate` would otherwise end with exit code 6, as no device here is the one of the table.
FILES = {
    "init": (["digits", "-o"], ".yaml"),
    "table export": (["pixel1", "-o"], ".json"),
    "export": (["network.pt", "--to", "onnx", "-o"], ".onnx"),
    "report": (["--table", "pixel1", "-o"], ".html"),
    "validate": (["--table", "pixel1", "--device", "host", "--figure"], ".png"),
}
# The same for a folder.
FOLDERS = {
    "random": ["--table", "pixel1", "--target-ms", "80", "--networks", "2", "-o"],
    "search": ["--table", "pixel1", "--data", "digits", "--target-ms", "80", "-o"],
    "train": ["network.pt", "--data", "digits", "--init", "random", "-o"],
    "compare": ["single-path-nas", "-o"],
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an untrained network of digits, in which commands run."""
    monkeypatch.chdir(tmp_path)
    space = load_space("digits")
    layers = tuple(layer for _, layer in space.uniform("3x3-3").placed_layers())
    classes = tuple(map(str, range(10)))
    SavedNetwork("untrained", layers, classes, Network(layers, 10).state_dict(), None, "nowhere").save(tmp_path / "network.pt")
    return tmp_path


def spnas(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(cli, ["-q", *command.split(), *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes | int]:
    """All that is there, and what is in it."""
    return {
        str(file.relative_to(folder)): file.read_bytes() if file.is_file() and not file.is_symlink() else file.lstat().st_mode
        for file in folder.rglob("*")
        if file.suffix != ".db"
    }


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, (result.stdout, result.stderr)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "unexpected" not in result.stderr
    for word in words:
        assert word in result.stderr


def commands(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for below in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), below)
            assert found is not None
            yield from commands(found, f"{name} {below}".strip())
    else:
        yield name, command


def test_these_are_all_commands_that_write():
    """An option whose value is a path that need not exist, and is not the database, is a place to write to."""
    writing = {
        (name, parameter.type.dir_okay)
        for name, command in commands(cli)
        for parameter in command.params
        if isinstance(parameter, click.Option) and isinstance(parameter.type, click.Path) and not parameter.type.exists
        if parameter.name != "db"
    }
    assert {name for name, _ in writing} == FILES.keys() | FOLDERS.keys()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", FILES)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(command, place, here):
    arguments, ending = FILES[command]
    path = PLACES[place](here)
    wanted = path.with_suffix(ending)
    if os.path.lexists(path):
        path.rename(wanted)  # links keep their circle: they are found by their other names
    if place == "links in a circle":
        (here / "two.json").unlink()
        (here / "two.json").symlink_to(wanted)
    before = contents(here)
    refused(spnas(command, *arguments, wanted))
    assert contents(here) == before


@pytest.mark.parametrize("command", FILES)
def test_another_ending_is_refused_before_the_work(command, here):
    arguments, ending = FILES[command]
    before = contents(here)
    for name in ("out", "out.txt", "out.csv.gz", f"out{ending}x"):
        refused(spnas(command, *arguments, here / name), f"ends in {ending}")
    assert contents(here) == before


@pytest.mark.parametrize("command", FILES)
def test_a_file_of_somebody_else_stays_without_force(command, here):
    arguments, ending = FILES[command]
    mine = here / f"mine{ending}"
    mine.write_text("mine")
    refused(spnas(command, *arguments, mine), "exists", "--force")
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("command", ["table export", "report"])
def test_a_result_replaces_only_a_view_of_its_kind_and_others_with_force(command, here):
    arguments, ending = FILES[command]
    result = here / f"result{ending}"
    first = spnas(command, *arguments, result)
    assert first.exit_code == 0, first.stderr
    size = result.stat().st_size
    again = spnas(command, *arguments, result)
    assert again.exit_code == (0 if command == "report" else 2), again.stderr
    result.write_text("mine")
    with file_size_limit(2000):
        full = spnas(command, *arguments, result, "--force")
    assert full.exit_code == 1
    assert "cannot be written: File too large" in full.stderr
    assert result.read_text() == "mine"
    assert spnas(command, *arguments, result, "--force").exit_code == 0
    assert abs(result.stat().st_size - size) < 100
    assert not [name for name in contents(here) if name.startswith(".")]


def test_the_figure_of_a_validation_is_known_by_its_mark(here):
    from matplotlib.figure import Figure

    save_figure(Figure(), here / "mine.png")
    assert not is_validation(here / "mine.png")
    save_figure(Figure(), here / "theirs.png", "spnas validate")
    assert is_validation(here / "theirs.png")
    # Taken as a place for the figure; then the table is not of this device.
    assert spnas("validate", "--table", "pixel1", "--device", "host", "--figure", here / "theirs.png").exit_code == 6
    assert spnas("validate", "--table", "pixel1", "--device", "host", "--figure", here / "mine.png", "--force").exit_code == 6


@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(command, here):
    for place in ("below a file", "a pipe", "links in a circle", "a name that is too long"):
        folder = here / place.replace(" ", "-")
        folder.mkdir()
        path = PLACES[place](folder)
        before = contents(here)
        refused(spnas(command, *FOLDERS[command], path))
        assert contents(here) == before
    refused(spnas(command, *FOLDERS[command], UNWRITABLE / "run"))


@pytest.mark.parametrize("command", FOLDERS)
def test_what_is_in_a_folder_of_somebody_else_stays(command, here):
    folder = here / "mine"
    folder.mkdir()
    name = "random-01.json" if command == "random" else "thesis.txt"
    (folder / name).write_text("mine")
    refused(spnas(command, *FOLDERS[command], folder))
    assert contents(folder) == {name: b"mine"}


def test_networks_are_drawn_over_others_with_force_only(here):
    arguments = [*FOLDERS["random"], here / "drawn"]
    assert spnas("random", *arguments).exit_code == 0
    first = contents(here / "drawn")
    refused(spnas("random", *arguments), "random-01.json: the file already exists; add --force")
    (here / "drawn" / "random-01.json").write_text("mine")
    assert spnas("random", *arguments, "--force").exit_code == 0
    assert contents(here / "drawn") == first


def test_a_training_that_finds_no_room_says_so_and_the_same_command_goes_on(here):
    command = ["network.pt", "--data", "digits", "--init", "random", "--epochs", 1, "--batch-size", 512, "--resume", "-o", "run"]
    with file_size_limit(20_000):
        full = spnas("train", *command)
    assert full.exit_code == 1, full.stderr
    [line] = full.stderr.splitlines()
    assert "checkpoint.pt: cannot be written: File too large; raise the limit" in line
    assert "then run the same command again" in line
    assert set(contents(here / "run")) == {"config.yaml", "command.txt"}
    done = spnas("train", *command)
    assert done.exit_code == 0, done.stderr
    assert not [name for name in contents(here / "run") if name.startswith(".")]
