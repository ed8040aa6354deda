"""FIFOs, devices, folders, sockets and links without an end, wherever a file is asked for: refused at once as what they are."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from profiling.errors import InputError
from profiling.outside import read_bytes
from search.images.shards import find_shards
from spnas_cli.main import cli

MADE = Path(__file__).parent.parent / "made_before"
WORDS = {
    "fifo": "is a FIFO, not a regular file",
    "device": "is a device, not a regular file",
    "endless": "is a device, not a regular file",
    "socket": "is a socket, not a regular file",
    "loop": "Too many levels of symbolic links",
    "to-fifo": "is a FIFO, not a regular file",
}
NAMES = [*WORDS, "folder"]
# Each with the ending that the command knows its file by.
COMMANDS = {
    "space": (".yaml", ["profile", "--space", "FILE"]),
    "architecture": (".json", ["predict", "FILE", "--table", "pixel1"]),
    "table": (".json", ["table", "show", "FILE"]),
    "table in CSV": (".csv", ["predict", "3x3-3", "--table", "FILE"]),
    "imported table": (".json", ["table", "import", "FILE"]),
    "network": (".pt", ["evaluate", "FILE", "--data", "digits"]),
    "exported network": (".pt", ["export", "FILE", "--to", "onnx"]),
    "model": (".tflite", ["compare", "FILE"]),
    "database": (".db", ["table", "list", "--db", "FILE"]),
    "recipe": (".yaml", ["train", "mobilenet-v2", "--data", "digits", "--recipe", "FILE", "-o", "run"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """Every kind of what is not a file, under every ending."""
    top = tmp_path_factory.mktemp("special")
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(top)  # the name of a socket must be short
        listening.bind("a.socket")
        os.chdir(before)
        for ending in {ending for ending, _ in COMMANDS.values()}:
            os.mkfifo(top / f"fifo{ending}")
            (top / f"to-fifo{ending}").symlink_to(f"fifo{ending}")
            (top / f"device{ending}").symlink_to(os.devnull)
            (top / f"endless{ending}").symlink_to("/dev/zero")
            (top / f"socket{ending}").symlink_to("a.socket")
            (top / f"loop{ending}").symlink_to(f"loop{ending}")
            (top / f"folder{ending}").mkdir()
        yield top


@pytest.fixture(autouse=True)
def no_wait() -> Iterator[None]:
    """What waits for a FIFO waits for ever; here for some seconds, as an error."""

    def late(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", COMMANDS)
def test_what_is_not_a_file_is_refused_as_what_it_is(folder, tmp_path, monkeypatch, what, name):
    monkeypatch.chdir(tmp_path)
    ending, words = COMMANDS[what]
    given = str(folder / f"{name}{ending}")
    result = CliRunner().invoke(cli, [given if word == "FILE" else word for word in words])
    assert result.exit_code == 2, result.output
    assert given in result.stderr
    assert WORDS.get(name, "") in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("Error")]) == 1
    assert "(unexpected; run spnas" not in result.stderr


@pytest.mark.parametrize("file", ["result.json", "config.yaml", "table.json", "command.txt"])
@pytest.mark.parametrize("name", ["fifo", "loop", "endless"])
def test_in_the_folder_of_a_run_too(folder, tmp_path, file, name):
    run = tmp_path / "run"
    run.mkdir()
    for made in ("result.json", "config.yaml", "architecture.json", "table.json"):
        (run / made).write_bytes((MADE / "run" / made).read_bytes())
    (run / file).unlink(missing_ok=True)
    (run / file).symlink_to(folder / f"{name}.yaml")
    result = CliRunner().invoke(cli, ["report", str(run), "-o", str(tmp_path / "report.html"), "--db", str(tmp_path / "none.db")])
    assert result.exit_code == 2, result.output
    # Without a result that is a file, no run has finished there.
    assert "no finished run" in result.stderr if file == "result.json" else str(run / file) in result.stderr
    assert "(unexpected; run spnas" not in result.stderr


def test_bytes_are_counted_while_they_are_read(tmp_path):
    """What the system says of the size of a file need not be so: here it says 0."""
    with pytest.raises(InputError, match=r"larger than 0\.0009"):
        read_bytes(Path("/proc/self/smaps"), 1000)
    with pytest.raises(InputError, match="cannot be the name of a file"):
        read_bytes(tmp_path / "a\0b", 1000)
    with pytest.raises(InputError, match="File name too long"):
        read_bytes(tmp_path / ("x" * 5000), 1000)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("a-{0..999999999}.tar", "stands for 1,000,000,000 shards"),
        ("a" + "{0..9}" * 40 + ".tar", "stands for more than a trillion shards"),
        ("{000000000..999999999}" * 2000 + ".tar", "stands for more than a trillion shards"),
        ("{5..3}.tar", "stands for 0 shards"),
        ("{0..9}{0..9}.tar", "100 of 100 shards are missing"),
        ("{0..0}" * 3000 + ".tar", "1 of 1 shards are missing"),
        ("{0..99999999999999999999}.tar", "1 of 1 shards are missing"),
    ],
)
def test_what_a_pattern_stands_for_is_counted_first(pattern, words):
    with pytest.raises(InputError, match=words):
        find_shards(pattern)
