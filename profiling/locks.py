"""Locks of the operating system: they end with the process that holds them, however that ends, so none is ever stale."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

# For everybody who may measure on this machine, in a folder that all of them can write.
SHARED = 0o666
MOST_WORDS = 200

_held: set[int] = set()


def _let_go() -> None:
    """A forked process would go on holding what its parent held when that is killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def lock(file: Path, in_use: Callable[[str], Exception], *, mode: int | None = None) -> Iterator[None]:
    """Holds a lock while the block runs. The file is made for it, names the holder, and is gone afterwards.

    Args:
        file: in a folder that exists.
        in_use: makes the exception for a lock that another process, or another thread of this one, holds; it is given the words
            of that holder, such as `process 4711 on kenobi since 2026-01-02T03:04:05+00:00`.
        mode: permissions of the file; the usual ones if None.

    Raises:
        OSError: the file cannot be made.
    """
    descriptor = _open(file, in_use, mode)
    try:
        os.ftruncate(descriptor, 0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {now}".encode(), 0)
        yield
    finally:
        # Before it is released: whoever takes it then finds that its file is gone, and makes a new one.
        with suppress(OSError):  # in a folder such as /tmp only the owner may remove a file that somebody left
            file.unlink(missing_ok=True)
        release(descriptor)


def holder(file: Path) -> str | None:
    """Who holds a lock, in its own words; None where nobody does. It only looks, and so keeps nobody from taking the lock."""
    try:
        words = file.read_text(encoding="utf-8", errors="replace")[:MOST_WORDS]
    except OSError:
        return None
    found = re.match(r"process (\d+) on (\S+)", words)
    if found and found[2] == socket.gethostname() and not psutil.pid_exists(int(found[1])):
        return None
    return words or "another process"


def _open(file: Path, in_use: Callable[[str], Exception], mode: int | None) -> int:
    while True:
        descriptor = _made_or_found(file, mode)
        if not try_lock(descriptor):
            holder = os.pread(descriptor, MOST_WORDS, 0).decode(errors="replace")
            release(descriptor)
            raise in_use(holder or "another process")
        if is_file_of(descriptor, file):
            return descriptor
        release(descriptor)


def _made_or_found(file: Path, mode: int | None) -> int:
    # Others may make the file and remove it at any moment, also between the two.
    while True:
        # Apart, as Linux lets nobody open another user's file in /tmp with O_CREAT.
        with suppress(FileNotFoundError):
            return os.open(file, os.O_RDWR | os.O_NOFOLLOW)
        with suppress(FileExistsError):
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            if mode is not None:
                os.fchmod(descriptor, mode)
            return descriptor


def try_lock(descriptor: int) -> bool:
    """Locks an open file until its `release`, unless another descriptor has locked it.

    Raises:
        OSError: there are no locks on this file system.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    _held.add(descriptor)
    return True


def release(descriptor: int) -> None:
    """Closes an open file, which ends the lock on it if it has one."""
    _held.discard(descriptor)
    os.close(descriptor)


def is_file_of(descriptor: int, file: Path) -> bool:
    """Whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
