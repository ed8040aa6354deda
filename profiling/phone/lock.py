"""A lock on the phone itself: two computers that measure on it at once would both measure the other's load."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shlex
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import psutil

from profiling.adb.connection import Connection
from profiling.adb.shell import Reply
from profiling.errors import NoDeviceError

# The holder renews its lock every few seconds of a run, and gives up when the phone is away for longer than its limit.
STALE_S = 1800
# Locks of this process: one that it no longer holds was left on a phone that went away before the release.
_held: set[str] = set()


class PhoneLock:
    """Holds the lock from its making to `release`.

    Raises:
        NoDeviceError: another run holds it, which seems to be alive.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.owner = f"{secrets.token_hex(8)}{_machine()} {_describe_process(os.getpid())}"
        self._folder = folder = lock_in(connection.folder)
        _held.add(self.owner)
        holder, age_s = self._try()
        if holder != self.owner and _is_stale(holder, age_s):
            # Renamed first: of two that find it stale, only one can move it away.
            connection.shell(f"mv {folder} {folder}-{self.owner[:16]} && rm -r {folder}-{self.owner[:16]}")
            holder, age_s = self._try()
        if holder != self.owner:
            _held.discard(self.owner)
            raise NoDeviceError(
                f"another run is measuring on this phone: {_describe(holder, age_s)}",
                where=connection.serial,
                hint=f"wait for it, or stop it; if it is gone, remove {folder} there",
            )

    @property
    def renewal(self) -> str:
        """A shell command that renews the lock, and fails when it has another holder."""
        owner = shlex.quote(self.owner)
        return f'read -r holder <{self._folder}/owner && [ "$holder" = {owner} ] && echo {owner} >{self._folder}/owner'

    def release(self) -> None:
        """Releases the lock if it is still this one."""
        _held.discard(self.owner)
        self._connection.shell(f"{self.renewal} && rm -r {self._folder}")

    def _try(self) -> tuple[str, int]:
        """Takes the lock if it is free; who holds it now, and the seconds since that was renewed."""
        take = f"mkdir {self._folder} && echo {shlex.quote(self.owner)} >{self._folder}/owner"
        return _read(self._connection.batch({"take": take, **lock_probes(self._connection.folder)}))


def lock_in(parent: str) -> str:
    """The path of the lock, below the folder of the phone where the shell may write."""
    return f"{parent}/spnas-lock"


def lock_probes(parent: str) -> dict[str, str]:
    """Commands whose output `in_use` reads."""
    folder = lock_in(parent)
    age = f"echo $(( $(date +%s) - $(stat -c %Y {folder}/owner || stat -c %Y {folder}) ))"
    return {"holder": f"cat {folder}/owner", "age": age}


def in_use(replies: Mapping[str, Reply]) -> str | None:
    """Which other run measures on the phone, in words, from the answers to `lock_probes`; None where none does."""
    holder, age_s = _read(replies)
    return _describe(holder, age_s) if holder and not _is_stale(holder, age_s) else None


def _read(replies: Mapping[str, Reply]) -> tuple[str, int]:
    seconds = replies["age"].text.splitlines()[-1:]
    holder = replies["holder"].text if replies["holder"].exit_code == 0 else ""
    return holder, int(seconds[0]) if seconds and seconds[0].lstrip("-").isdecimal() else 0


def _is_stale(holder: str, age_s: int) -> bool:
    # One from the future was made before the clock of the phone was set back.
    if abs(age_s) > STALE_S:
        return True
    found = re.fullmatch(r"\w{16}(?P<machine>\w*) (?P<process>(?P<pid>\d+) [\d.]+ (?P<host>.+))", holder)
    # Only of its own processes can this machine say that they are gone. Two machines or containers may have one name.
    if found is None or found["host"] != socket.gethostname() or found["machine"] not in ("", _machine()):
        return False
    if found["pid"] == str(os.getpid()) and found["process"] == _describe_process(os.getpid()):
        return holder not in _held
    try:
        return found["process"] != _describe_process(int(found["pid"]))
    except psutil.NoSuchProcess:
        return True


def own_boot_id() -> str | None:
    """What a device on which this program runs gives as its boot id; None where this machine has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


@cache
def _machine() -> str:
    """Tells where process numbers mean the same: on one machine since its start, and there in one container."""
    parts = [str(psutil.boot_time())]
    with contextlib.suppress(OSError):  # not on Linux
        parts = [str(own_boot_id()), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def _describe_process(pid: int) -> str:
    """A process of this computer, identified by its start time as well, since numbers are reused."""
    return f"{pid} {psutil.Process(pid).create_time():.2f} {socket.gethostname()}"


def _describe(holder: str, age_s: int) -> str:
    found = re.fullmatch(r"\w+ (\d+) [\d.]+ (.+)", holder)
    return f"{f'process {found[1]} on {found[2]}' if found else 'on an unknown computer'}, active {age_s} s ago"
