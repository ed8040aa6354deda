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

FOLDER = "/data/local/tmp/spnas-lock"
# The holder renews its lock every few seconds of a run, and gives up when the phone is away for longer than its limit.
STALE_S = 1800
PROBES = {
    "holder": f"cat {FOLDER}/owner",
    "age": f"echo $(( $(date +%s) - $(stat -c %Y {FOLDER}/owner || stat -c %Y {FOLDER}) ))",
}
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
        _held.add(self.owner)
        holder, age_s = self._try()
        if holder != self.owner and _is_stale(holder, age_s):
            # Renamed first: of two that find it stale, only one can move it away.
            connection.shell(f"mv {FOLDER} {FOLDER}-{self.owner[:16]} && rm -r {FOLDER}-{self.owner[:16]}")
            holder, age_s = self._try()
        if holder != self.owner:
            _held.discard(self.owner)
            raise NoDeviceError(
                f"another run is measuring on this phone: {_describe(holder, age_s)}",
                where=connection.serial,
                hint=f"wait for it, or stop it; if it is gone, `adb shell rm -r {FOLDER}`",
            )

    @property
    def renewal(self) -> str:
        """A shell command that renews the lock, and fails when it has another holder."""
        owner = shlex.quote(self.owner)
        return f'read -r holder <{FOLDER}/owner && [ "$holder" = {owner} ] && echo {owner} >{FOLDER}/owner'

    def release(self) -> None:
        """Releases the lock if it is still this one."""
        _held.discard(self.owner)
        self._connection.shell(f"{self.renewal} && rm -r {FOLDER}")

    def _try(self) -> tuple[str, int]:
        """Takes the lock if it is free; who holds it now, and the seconds since that was renewed."""
        take = f"mkdir {FOLDER} && echo {shlex.quote(self.owner)} >{FOLDER}/owner"
        return _read(self._connection.batch({"take": take, **PROBES}))


def in_use(replies: Mapping[str, Reply]) -> str | None:
    """Which other run measures on the phone, in words, from the answers to PROBES; None where none does."""
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


@cache
def _machine() -> str:
    """Tells where process numbers mean the same: on one machine since its start, and there in one container."""
    parts = [str(psutil.boot_time())]
    with contextlib.suppress(OSError):  # not on Linux
        parts = [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def _describe_process(pid: int) -> str:
    """A process of this computer, identified by its start time as well, since numbers are reused."""
    return f"{pid} {psutil.Process(pid).create_time():.2f} {socket.gethostname()}"


def _describe(holder: str, age_s: int) -> str:
    found = re.fullmatch(r"\w+ (\d+) [\d.]+ (.+)", holder)
    return f"{f'process {found[1]} on {found[2]}' if found else 'on an unknown computer'}, active {age_s} s ago"
