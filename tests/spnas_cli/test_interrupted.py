"""Commands that are ended from outside, and commands that meet: nothing is lost or left, and the second one says why it waits.

`tests/interruptions.py` does the same to four commands at ninety more moments than there is time for here.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import interruptions
import psutil
import pytest
from click.testing import CliRunner
from tiny import TINY
from waiting import started, until

from profiling.host.lock import FOLDER_VARIABLE, measuring_here
from search.run_folder import RunFolder
from spnas_cli.main import cli

# More than a person waits for, less than what is running would take.
SOON_S = 20.0


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in with the file of a small space, an empty cache for models and a lock of its own."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tiny.yaml").write_text(TINY, encoding="utf-8")
    (tmp_path / "locks").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "locks"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "work"


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_while_models_are_converted_a_profile_ends_at_once_and_says_so_in_a_line(sent, here):
    command = [sys.executable, "-m", "spnas_cli", "-q", "profile", "--space", "imagenet", "--calibrate", "20"]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until(lambda: process.poll() is not None or children(process))
        workers = children(process)
        time.sleep(0.5)
        process.send_signal(sent)
        start = time.monotonic()
        _, said = process.communicate()
        assert time.monotonic() - start < SOON_S
    assert process.returncode == 130
    assert said.strip().startswith("Interrupted. Finished work is kept")
    assert len(said.strip().splitlines()) == 1, "no warnings of any library"
    assert psutil.wait_procs(workers, timeout=SOON_S)[1] == []
    assert {file.name for file in here.iterdir()} == {"tiny.yaml", "spnas.db"}
    assert not list((here.parent / "locks").iterdir())


def test_two_profiles_on_one_machine_exclude_each_other_whatever_their_databases():
    with measuring_here():
        second = CliRunner().invoke(cli, ["-q", "profile", "--space", "tiny.yaml", "--calibrate", "0", "--db", "other.db"])
        assert second.exit_code == 3, second.stderr
        [line] = second.stderr.splitlines()
        assert line.startswith(f"Error: host: another run is measuring on this machine: process {os.getpid()} on ")
    assert not Path("other.db.lock").exists()


def test_a_lock_that_cannot_be_made_is_a_line_too(monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, "/no/such/folder")
    refused = CliRunner().invoke(cli, ["-q", "profile", "--space", "tiny.yaml", "--calibrate", "0"])
    assert refused.exit_code == 3
    [line] = refused.stderr.splitlines()
    assert "cannot be made: No such file or directory; set SPNAS_LOCK_FOLDER to a folder" in line


@pytest.mark.parametrize(
    "command",
    [
        ("search", "--table", "table.json", "--data", "digits", "--runtime-weight", "0.1", "--resume"),
        ("train", "mobilenet-v2", "--data", "digits", "--resolution", "32", "--resume"),
        ("compare", "mobilenet-v2", "--resolution", "32"),
    ],
    ids=lambda command: command[0],
)
def test_a_folder_that_a_run_is_writing_to_is_refused_in_a_line(command, here):
    interruptions.write_inputs(here)
    folder = RunFolder(here / "run")
    with folder.held():
        folder.write_command(["spnas", *command])
        second = CliRunner().invoke(cli, ["-q", *command, "-o", str(folder.path)])
        assert second.exit_code == 2, second.stderr
        [line] = second.stderr.splitlines()
        assert f"run: another run is writing to this folder: process {os.getpid()} on " in line
    assert [file.name for file in folder.path.iterdir()] == ["command.txt"]


def test_an_ended_training_ends_as_one_that_nothing_happened_to(here):
    (here / "start").mkdir()
    interruptions.write_inputs(here / "start")
    command = interruptions.COMMANDS["train"]
    whole = interruptions.fresh(here / "whole", here / "start", command)
    start = time.monotonic()
    subprocess.run(interruptions.spnas(command.words), cwd=whole, check=True, capture_output=True)
    moment_s = random.Random(5).uniform(0.5, 1) * (time.monotonic() - start)
    folder = interruptions.fresh(here / "once", here / "start", command)
    assert interruptions.tried(command, folder, whole, signal.SIGTERM, moment_s) == []
