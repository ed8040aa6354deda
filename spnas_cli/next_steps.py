"""The commands that come next, as they can be typed: what a command prints leads to the one after it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.output import printable, verbosity

if TYPE_CHECKING:
    from search.runs.run import SearchRun, TrainRun

HALFWAY = "50%"
DATABASE = Path("spnas.db")


def profile_command(space: Path, device: str) -> str:
    """Measures the layers of a space."""
    return _typed("profile", "--device", device, "--space", space)


def search_command(table: str, data: str, run: str, db: Path = DATABASE) -> str:
    """Searches halfway between the fastest and the slowest network of a table, a target that every table has."""
    return _typed("search", "--table", table, "--data", data, "--target-ms", HALFWAY, *db_words(db), "-o", run)


def evaluate_command(run: str, data: str, seed: int = 0) -> str:
    """Measures the accuracy of what a run left, class by class."""
    return _typed("evaluate", run, "--data", data, *_seed_words(seed))


def export_command(run: str, data: str, seed: int = 0) -> str:
    """Writes the file for the app."""
    return _typed("export", run, "--to", "tflite", "--data", data, *_seed_words(seed))


def next_commands(run: SearchRun | TrainRun) -> list[str]:
    """What is done with a trained network."""
    folder, data, seed = as_argument(str(run.folder.path)), run.config.data, run.config.seed
    return [evaluate_command(folder, data, seed), export_command(folder, data, seed)]


def db_words(db: Path) -> list[str]:
    """The option for a database that is not the default."""
    return [] if db == DATABASE else ["--db", str(db)]


def as_argument(name: str) -> str:
    """A name in a form that no command takes for an option."""
    return f"{os.curdir}{os.sep}{name}" if name.startswith("-") else name


def note_next(*commands: str) -> None:
    """Prints commands on stderr, a line each; nothing after `--quiet`."""
    if verbosity() >= 0:
        click.echo("\nNext: " + "\n      ".join(map(whole, commands)), err=True)


def whole(command: str) -> str:
    """A command as it can be copied; only what no terminal shows is changed."""
    return command if command.isprintable() else printable(command)


def _typed(*words: object) -> str:
    return shlex.join(["spnas", *map(str, words)])


def _seed_words(seed: int) -> list[str]:
    """Which images are held out is decided by the seed of the training."""
    return [f"--seed={seed}"] if seed else []
