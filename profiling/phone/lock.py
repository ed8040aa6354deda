"""A lock on the phone itself: two computers that measure on it at once would both measure the other's load."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import socket
from typing import ClassVar

import psutil

from profiling.adb.connection import Connection
from profiling.errors import NoDeviceError

FOLDER = "/data/local/tmp/spnas-lock"
# The holder renews its lock with every run, and gives up when the phone is away for longer than its limit.
STALE_S = 1800


class PhoneLock:
    """Holds the lock from its making to `release`.

    A lock of this process that it no longer holds was left on a phone that went away before the release.

    Raises:
        NoDeviceError: another run holds it, which seems to be alive.
    """

    _held: ClassVar[set[str]] = set()

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._process = _describe_process(os.getpid())
        self.owner = f"{secrets.token_hex(8)} {self._process}"
        self._held.add(self.owner)
        holder, age_s = self._try()
        if holder != self.owner and self._is_stale(holder, age_s):
            # Renamed first: of two that find it stale, only one can move it away.
            connection.shell(f"mv {FOLDER} {FOLDER}-{self.owner[:16]} && rm -r {FOLDER}-{self.owner[:16]}")
            holder, age_s = self._try()
        if holder != self.owner:
            self._held.discard(self.owner)
            raise NoDeviceError(
                f"another run is measuring on this phone: {_describe(holder)}, active {age_s} s ago",
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
        self._held.discard(self.owner)
        self._connection.shell(f"{self.renewal} && rm -r {FOLDER}")

    def _try(self) -> tuple[str, int]:
        """Takes the lock if it is free; who holds it now, and the seconds since that was renewed."""
        take = f"mkdir {FOLDER} && echo {shlex.quote(self.owner)} >{FOLDER}/owner"
        age = f"echo $(( $(date +%s) - $(stat -c %Y {FOLDER}/owner || stat -c %Y {FOLDER}) ))"
        replies = self._connection.batch({"take": take, "holder": f"cat {FOLDER}/owner", "age": age})
        seconds = replies["age"].text.splitlines()[-1:]
        holder = replies["holder"].text if replies["holder"].exit_code == 0 else ""
        return holder, int(seconds[0]) if seconds and seconds[0].lstrip("-").isdecimal() else 0

    def _is_stale(self, holder: str, age_s: int) -> bool:
        if age_s > STALE_S:
            return True
        process = holder.partition(" ")[2]
        found = re.fullmatch(r"(\d+) [\d.]+ (.+)", process)
        if found is None or found[2] != socket.gethostname():
            return False
        if process == self._process:
            return holder not in self._held
        try:
            return process != _describe_process(int(found[1]))
        except psutil.NoSuchProcess:
            return True


def _describe_process(pid: int) -> str:
    """A process of this computer, identified by its start time as well, since numbers are reused."""
    return f"{pid} {psutil.Process(pid).create_time():.2f} {socket.gethostname()}"


def _describe(holder: str) -> str:
    found = re.fullmatch(r"\w+ (\d+) [\d.]+ (.+)", holder)
    return f"process {found[1]} on {found[2]}" if found else "on an unknown computer"
