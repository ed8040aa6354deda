"""A file is whole or as it was before, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from places import PLACES, UNWRITABLE, file_size_limit

from profiling.errors import DiskFullError, InputError
from profiling.files import (
    cannot_write,
    clear_unfinished,
    make_folder,
    require_file,
    require_folder,
    write_bytes,
    write_text,
    written_whole,
)


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


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"


@pytest.fixture(params=[*PLACES])
def bad_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A path that no file can be written to."""
    return PLACES[request.param](tmp_path)


def test_a_place_that_cannot_be_written_is_known_before_the_work_and_stays_as_it_is(bad_place: Path, tmp_path: Path) -> None:
    before = {str(file): file.lstat().st_mtime_ns for file in tmp_path.rglob("*")}
    for work in (require_file, lambda place: write_text(place, "text")):
        with pytest.raises(InputError, match="cannot be written: ") as caught:
            work(bad_place)
        assert caught.value.where == str(bad_place)
        assert caught.value.hint
    with pytest.raises(InputError), written_whole(bad_place):
        pytest.fail("the work has begun")
    assert {str(file): file.lstat().st_mtime_ns for file in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("check", [require_folder, make_folder])
def test_a_folder_that_cannot_be_is_known_too(check: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", UNWRITABLE / "below", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot be written: "):
            check(place)
    check(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir() == (check is make_folder)
    assert not list((tmp_path / "a").rglob("*.*")) if check is make_folder else not (tmp_path / "a").exists()


def test_an_ending_is_asked_for_before_the_work(tmp_path: Path) -> None:
    require_file(tmp_path / "FIGURE.PNG", [".png"])
    for name in ("figure.csv", "figure", ".png", "png"):
        with pytest.raises(InputError, match=r"ends in \.png or \.svg"):
            require_file(tmp_path / name, [".png", ".svg"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_told_apart_from_a_bad_place(error: int, tmp_path: Path) -> None:
    made = cannot_write(OSError(error, os.strerror(error)), tmp_path / "t.csv")
    assert isinstance(made, DiskFullError)
    assert "run the same command again; what was there before is unchanged" in str(made)


def test_what_does_not_fit_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_text(path, "old")
    with file_size_limit(10_000), pytest.raises(DiskFullError, match=r"table\.json: cannot be written: File too large"):
        write_text(path, "new" * 10_000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_text(path, "new" * 10_000)
    assert path.read_text() == "new" * 10_000


HALF = """
import os, pathlib, signal, sys
from profiling.files import written_whole
with written_whole(pathlib.Path(sys.argv[1])) as new:
    new.write_bytes(b'half')
    print(new.name, flush=True)
    if len(sys.argv) > 2:
        sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_processes_left_is_cleared_away_and_what_live_ones_write_is_not(tmp_path: Path) -> None:
    path, other = tmp_path / "table.json", tmp_path / "other.json"
    for target in (path, path, other):
        subprocess.run([sys.executable, "-c", HALF, str(target)], check=False, capture_output=True)
    mine = tmp_path / ".table.notes.json"
    mine.touch()
    assert len(list(tmp_path.iterdir())) == 3, "the second one cleared away what the first one left"
    command = [sys.executable, "-c", HALF, str(path), "wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as live:
        assert live.stdout is not None
        unfinished = tmp_path / live.stdout.readline().strip()
        write_text(path, "new")
        left = {file.name for file in tmp_path.iterdir()}
        assert {path.name, unfinished.name, mine.name} < left
        assert len(left) == 4, "what was left of another file is that file's business"
        clear_unfinished(tmp_path)
        assert set(tmp_path.iterdir()) == {path, unfinished, mine}
    clear_unfinished(tmp_path)
    assert set(tmp_path.iterdir()) == {path, mine}


def test_the_file_is_as_readable_as_any_other_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "grün\n")
    (tmp_path / "other").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert (tmp_path / "file").read_bytes() == "grün\n".encode()
