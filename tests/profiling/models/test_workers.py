"""Workers answer calls, die alone, and never outlive their parent. The calls are of the standard library: any process has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from pathlib import Path

import psutil
import pytest
from places import file_size_limit
from waiting import started, until

from profiling.errors import DiskFullError
from profiling.files import write_text
from profiling.models.workers import Workers


@pytest.fixture
def worker() -> Iterator[Workers]:
    """A single one."""
    workers = Workers(1)
    yield workers
    workers.close(now=True)


def test_a_call_gives_its_result_or_raises_what_it_raised(worker: Workers) -> None:
    assert worker.submit(divmod, 7, 2).result() == (3, 1)
    assert worker.submit(int, "ff", base=16).result() == 255
    with pytest.raises(ValueError, match="invalid literal") as caught:
        worker.submit(int, "x").result()
    assert "in main" in "".join(caught.value.__notes__), "where it was raised"
    with pytest.raises(RuntimeError, match="odd"):
        worker.submit(exec, "class Local(Exception): pass\nraise Local('odd')").result()
    assert worker.submit(os.getpid).result() == worker.submit(os.getpid).result() != os.getpid()


def test_an_error_of_ours_comes_back_as_it_is(tmp_path: Path) -> None:
    with file_size_limit(100):  # which its processes inherit
        workers = Workers(1)
        with pytest.raises(DiskFullError, match=r"model\.tflite: cannot be written: File too large; raise the limit"):
            workers.submit(write_text, tmp_path / "model.tflite", "x" * 1000).result()
    workers.close(now=True)
    assert not list(tmp_path.iterdir())


def test_what_a_worker_prints_is_neither_shown_nor_taken_for_an_answer(
    worker: Workers, capfd: pytest.CaptureFixture[str]
) -> None:
    assert worker.submit(os.write, 1, b"noise\n").result() == 6
    assert worker.submit(os.write, 2, b"noise\n").result() == 6
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_worker_that_dies_fails_its_call_alone(worker: Workers) -> None:
    with pytest.raises(BrokenExecutor, match="died"):
        worker.submit(os._exit, 3).result()
    assert worker.submit(divmod, 7, 2).result() == (3, 1)


def test_closing_now_breaks_off_what_runs_and_cancels_what_waits() -> None:
    workers = Workers(1)
    process = workers.submit(os.getpid).result()
    running, waiting = workers.submit(time.sleep, 3600), workers.submit(time.sleep, 3600)
    until(running.running)
    workers.close(now=True)
    assert isinstance(running.exception(), BrokenExecutor)
    with pytest.raises(CancelledError):
        waiting.result()
    assert not psutil.pid_exists(process)


SLEEPING = """
import os, sys, time
from profiling.models.workers import Workers

workers = Workers(1)
try:
    print(workers.submit(os.getpid).result(), flush=True)
    workers.submit(time.sleep, 3600).result()
except KeyboardInterrupt:
    workers.close(now=True)
    print("interrupted", flush=True)
"""


@pytest.fixture
def sleeping() -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A process group that waits for its worker, and the worker."""
    with started([sys.executable, "-c", SLEEPING], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        yield parent, psutil.Process(int(parent.stdout.readline()))


def test_a_worker_ends_in_the_middle_of_a_call_when_its_parent_is_killed(sleeping: tuple) -> None:
    parent, worker = sleeping
    parent.kill()
    worker.wait()


def test_ctrl_c_reaches_the_parent_alone_which_ends_the_worker(sleeping: tuple) -> None:
    parent, worker = sleeping
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.stdout.readline() == "interrupted\n"
    worker.wait()
