"""A file is whole or as it was before, whatever happens while it is written."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from profiling.files import write_bytes, write_text, written_whole


def test_what_was_written_takes_the_place_of_the_old_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    path.write_text("old")
    with written_whole(path) as new, new.open("w") as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
        assert (new.parent, new.suffix) == (tmp_path, ".csv")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_exception_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_text(path, "old")
    with pytest.raises(TypeError), written_whole(path) as new, new.open("w") as file:
        file.writelines(["half", None])  # type: ignore[list-item]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_process_killed_within_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    write_bytes(path, b"old")
    script = (
        "import os, pathlib, signal\nfrom profiling.files import written_whole\n"
        f"with written_whole(pathlib.Path({str(path)!r})) as new:\n"
        "    new.write_bytes(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_two_writers_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "index"
    with written_whole(path) as first, written_whole(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "missing" / "file"):
        pytest.fail("the work has begun")
    with pytest.raises(IsADirectoryError):
        write_bytes(tmp_path, b"")


def test_links_and_pipes_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    write_text(Path(os.devnull), "nowhere")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_the_file_is_as_readable_as_any_other_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "grün\n")
    (tmp_path / "other").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert (tmp_path / "file").read_bytes() == "grün\n".encode()
