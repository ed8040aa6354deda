"""Kills commands at random moments and has the same command go on: is anything lost, done twice, or left behind?

    python tests/interruptions.py [--moments 10] [--seed 0] [--commands profile search train export]

Each command is ended by SIGKILL, SIGINT and SIGTERM, at so many random moments each of its whole duration, which is measured
first; profile after its first measurements. After every end the same command runs to its own end, and the folder is compared with
that of a run that nothing happened to. Prints a line for each command and signal; exit code 1 if anything was found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from tiny import TINY

from latency_db.published import published_table
from latency_db.table import LatencyTable, Row
from latency_db.table_files import write_table
from profiling.host.lock import FOLDER_VARIABLE
from profiling.space import SearchSpace
from profiling.specfile import parse_spec

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
# A process that lost its parent may take a moment to notice.
ENDS_WITHIN_S = 10.0
CTRL_C_WITHIN_S = 10.0
ROUNDS = 2


@dataclass(frozen=True)
class Command:
    """A command that is to be interrupted.

    Attributes:
        words: after `spnas`.
        needs: files and folders that it starts from.
        begun: whether it has come so far that it may be interrupted.
        problems: what is wrong with what it left, beside the folder of a run that nothing happened to.
    """

    words: Sequence[str]
    needs: Sequence[str]
    begun: Callable[[Path], bool]
    problems: Callable[[Path, Path], list[str]]


def measured(folder: Path) -> list[tuple[str, int]]:
    """The measurements in the database, each by model and visit."""
    try:
        with closing(sqlite3.connect(f"file:{folder}/spnas.db?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT model, visit FROM measurements WHERE status = 'ok' ORDER BY id").fetchall()
    except sqlite3.Error:  # not there yet
        return []


def profile_problems(folder: Path, whole: Path) -> list[str]:
    """Visits that are missing or stand twice; a noisy machine may get some more than planned."""
    made, planned = measured(folder), set(measured(whole))
    wrong = [] if len(set(made)) == len(made) else ["a visit stands twice"]
    models = {model for model, _ in planned}
    lacking = [model for model in models if sum(model == other for other, _ in made) < ROUNDS]
    return wrong + [f"visits are missing: {model}" for model in lacking]


def run_problems(folder: Path, whole: Path) -> list[str]:
    """Files that differ in name, metrics or weights."""
    mine, theirs = folder / "run", whole / "run"
    names = [{str(file.relative_to(run)) for file in run.rglob("*")} for run in (mine, theirs)]
    wrong = [] if names[0] == names[1] else [f"files: {sorted(names[0] ^ names[1])}"]
    if (mine / "metrics.csv").read_bytes() != (theirs / "metrics.csv").read_bytes():
        wrong.append("metrics.csv differs")
    one, other = (torch.load(run / "network.pt", weights_only=True)["network"] for run in (mine, theirs))
    if one.keys() != other.keys() or not all(torch.equal(one[name], other[name]) for name in one):
        wrong.append("the weights differ")
    return wrong


def export_problems(folder: Path, whole: Path) -> list[str]:
    """A file that is not the one of a whole run; the date in a converted model may differ."""
    sizes = [(place / "app.tflite").stat().st_size if (place / "app.tflite").exists() else 0 for place in (folder, whole)]
    return [] if abs(sizes[0] - sizes[1]) <= 64 else [f"{sizes[0]} bytes instead of {sizes[1]}"]


TRAINING = ("--data", "digits", "--batch-size", "128", "--resume", "-o", "run")
COMMANDS = {
    "profile": Command(
        ("profile", "--space", "smaller.yaml", "--calibrate", "0", "--rounds", str(ROUNDS), "--runs", "3"),
        ("smaller.yaml",),
        lambda folder: bool(measured(folder)),
        profile_problems,
    ),
    "search": Command(
        ("search", "--table", "table.json", "--runtime-weight", "0.1", "--epochs", "4", *TRAINING),
        ("table.json",),
        lambda folder: True,
        run_problems,
    ),
    "train": Command(
        ("train", "architecture.json", "--epochs", "4", *TRAINING), ("architecture.json",), lambda folder: True, run_problems
    ),
    "export": Command(
        ("export", "network.pt", "--to", "tflite", "--check-images", "100", "-o", "app.tflite"),
        ("network.pt",),
        lambda folder: True,
        export_problems,
    ),
}


def prepare(folder: Path) -> None:
    """What the commands start from: `write_inputs`, and a trained network."""
    folder.mkdir()
    write_inputs(folder)
    train = ["train", "architecture.json", "--data", "digits", "--epochs", "2", "-o", "trained"]
    subprocess.run(spnas(train), cwd=folder, check=True, capture_output=True)
    shutil.copy(folder / "trained" / "network.pt", folder / "network.pt")


def write_inputs(folder: Path) -> None:
    """A space, a table of it that is made up, and an architecture."""
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    # Six models, as each measurement is a process.
    (folder / "smaller.yaml").write_text(TINY.replace("  - {layers: 2, channels: 8}\n", ""), encoding="utf-8")
    space = parse_spec(TINY, SearchSpace, where="tiny.yaml", is_json=False)
    rows = {layer.key: Row(ms=0.01 * number) for number, layer in enumerate(space.layers, start=1)}
    conditions = published_table("pixel1").conditions
    table = LatencyTable(name="tiny", space=space, conditions=conditions, rows=rows, created_at="2026-01-01", source="made up")
    write_table(table, folder / "table.json")
    (folder / "architecture.json").write_text(space.uniform("3x3-3").to_json(), encoding="utf-8")


def spnas(words: Sequence[str]) -> list[str]:
    """A command line, in this Python."""
    return [sys.executable, "-m", "spnas_cli", "-q", *words]


def fresh(folder: Path, start: Path, command: Command) -> Path:
    """A new folder with what the command needs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in command.needs:
        shutil.copy(start / name, folder / name)
    return folder


def begin(command: Command, folder: Path) -> subprocess.Popen[str]:
    """Starts the command."""
    return subprocess.Popen(
        spnas(command.words), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def interrupt(command: Command, folder: Path, sent: signal.Signals, moment_s: float) -> list[str]:
    """Starts the command and ends it; what was wrong with the way it ended."""
    process = begin(command, folder)
    while not command.begun(folder) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(moment_s)
    started = children(process.pid)
    process.send_signal(sent)
    start = time.monotonic()
    _, said = process.communicate()
    took = time.monotonic() - start
    wrong = [] if took < CTRL_C_WITHIN_S else [f"took {took:.0f} s to end"]
    if "Traceback" in said or "Warning" in said or "leaked" in said:
        wrong.append(f"said: {said.strip().splitlines()[-1]}")
    _, alive = psutil.wait_procs(started, timeout=ENDS_WITHIN_S)
    return wrong + [f"left the process {other.pid}" for other in alive]


def children(pid: int) -> list[psutil.Process]:
    """All processes below one."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def leftovers(folder: Path, shared: Path) -> list[str]:
    """Locks and unfinished files."""
    suspicious = [
        file for file in (*folder.rglob("*"), *shared.rglob("*")) if file.name.startswith(".") or file.suffix == ".lock"
    ]
    suspicious += [folder / name for name in ("spnas.db-wal", "spnas.db-shm", "spnas.db-journal") if (folder / name).exists()]
    return [f"left the file {file.name}" for file in suspicious]


def tried(command: Command, folder: Path, whole: Path, sent: signal.Signals, moment_s: float) -> list[str]:
    """Everything that was wrong after one interruption and the same command again."""
    before = set(measured(folder))
    wrong = interrupt(command, folder, sent, moment_s)
    kept = set(measured(folder))
    again = subprocess.run(spnas(command.words), cwd=folder, capture_output=True, text=True, check=False)
    done_before = "the file already exists" in again.stderr and (folder / "app.tflite").exists()
    if again.returncode and not done_before:
        return [*wrong, f"the same command ended with {again.returncode}: {again.stderr.strip()}"]
    # Before the database is looked into, which leaves files of SQLite beside it.
    wrong += leftovers(folder, Path(os.environ[FOLDER_VARIABLE]))
    if not before <= kept <= set(measured(folder)):
        wrong.append("measurements were lost")
    return wrong + command.problems(folder, whole)


def main() -> None:
    """Interrupts the commands, and prints what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    options = parser.parse_args()
    generator = random.Random(options.seed)
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        (top / "locks").mkdir()
        os.environ |= {FOLDER_VARIABLE: str(top / "locks"), "XDG_CACHE_HOME": str(top / "cache"), "OMP_NUM_THREADS": "1"}
        prepare(top / "start")
        for name in options.commands:
            command = COMMANDS[name]
            whole = fresh(top / "whole", top / "start", command)
            begun = time.monotonic()
            subprocess.run(spnas(command.words), cwd=whole, check=True, capture_output=True)
            duration_s = time.monotonic() - begun
            for sent in SIGNALS:
                problems = []
                for _ in range(options.moments):
                    folder = fresh(top / "work", top / "start", command)
                    moment_s = generator.uniform(0, duration_s)
                    problems += [f"{moment_s:.2f} s: {each}" for each in tried(command, folder, whole, sent, moment_s)]
                found[f"{name} {sent.name}"] = problems
                print(
                    f"{name:8} {sent.name:8} {options.moments} moments in {duration_s:.1f} s: {len(problems)} problems",
                    *problems,
                    sep="\n  ",
                )
    if any(found.values()):
        sys.exit(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
