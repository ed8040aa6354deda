"""Locks exclude, name their holder, end with it, and leave nothing."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from profiling.locks import lock

HOLDER = """
import sys, time
from pathlib import Path
from profiling.locks import lock
with lock(Path(sys.argv[1]), RuntimeError):
    print("held", flush=True)
    time.sleep(60)
"""
fork = multiprocessing.get_context("fork")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "place.lock"


def holder(file: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_it_names_its_holder_and_leaves_nothing(file: Path) -> None:
    with lock(file, RuntimeError):
        with pytest.raises(RuntimeError, match=f"^process {os.getpid()} on .* since 20"), lock(file, RuntimeError):
            pytest.fail("held twice")
        assert file.exists()
    assert not file.exists()
    with lock(file, RuntimeError):
        pass


def test_a_killed_holder_holds_nothing(file: Path) -> None:
    process = holder(file)
    with pytest.raises(RuntimeError, match=f"process {process.pid}"), lock(file, RuntimeError):
        pytest.fail("held twice")
    process.kill()
    process.wait()
    assert file.exists()
    with lock(file, RuntimeError):
        pass
    assert not file.exists()


def test_a_forked_process_does_not_go_on_holding_it(file: Path) -> None:
    """As the processes that load images would, for seconds after the training was killed."""
    with lock(file, RuntimeError):
        child = fork.Process(target=time.sleep, args=(60,))
        child.start()
    try:
        with lock(file, RuntimeError):
            pass
    finally:
        child.kill()
        child.join()


def test_of_many_at_once_one_at_a_time_has_it(file: Path) -> None:
    """Each removes the file while others try to take it."""
    inside, most, done = 0, 0, 0
    problems: list[OSError] = []

    def work() -> None:
        nonlocal inside, most, done
        while done < 100 and not problems:
            try:
                with lock(file, RuntimeError):
                    inside += 1
                    most = max(most, inside)
                    time.sleep(0.001)
                    inside -= 1
                    done += 1
            except RuntimeError:
                pass
            except OSError as problem:
                problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, inside, problems) == (1, 0, [])
    assert not file.exists()


def test_a_file_that_is_made_and_removed_while_one_looks_for_it_is_made_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process takes the lock and releases it again, each between two looks."""
    opened, met = os.open, []

    def open_between(path: Path, flags: int, *others: int) -> int:
        if path == file and flags & os.O_EXCL and not met:
            met.append(path)
            file.touch()
            try:
                return opened(path, flags, *others)
            finally:
                file.unlink()
        return opened(path, flags, *others)

    monkeypatch.setattr(os, "open", open_between)
    with lock(file, RuntimeError):
        assert file.exists()
    assert met == [file]


def test_a_link_in_its_place_is_not_followed(file: Path, tmp_path: Path) -> None:
    """In /tmp anybody could have put it there."""
    (tmp_path / "precious").write_text("mine")
    file.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"), lock(file, RuntimeError):
        pytest.fail("held")
    assert (tmp_path / "precious").read_text() == "mine"
