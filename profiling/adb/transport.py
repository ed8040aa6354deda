"""Shell commands and files on a phone, over any link."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

from profiling.adb import shell, sync
from profiling.adb.link import Link, LinkLostError
from profiling.adb.shell import Reply
from profiling.adb.sync import PushFile

TIMEOUT_S = 20.0
# Boards often have no serial number. The last of these is made with the first start, and stays.
_SERIAL = """for each in 'getprop ro.serialno' 'getprop ro.boot.serialno' 'settings get secure android_id'; do
    found=$($each 2>/dev/null)
    case $found in ''|unknown|null) ;; *) echo "$found"; break ;; esac
done"""


class Transport:
    """One connection to one phone. Every method raises `LinkLostError` when it breaks or falls silent.

    Attributes:
        folder: where the shell may write files and execute them.
        identity: commands for its serial number, for `1` once it has started, and for what changes with every start.
        properties: a command for its properties, as `getprop` prints them.
    """

    folder: ClassVar[str] = "/data/local/tmp"
    identity: ClassVar[Mapping[str, str]] = {
        "serial": _SERIAL,
        "booted": "getprop sys.boot_completed",
        "boot_id": "cat /proc/sys/kernel/random/boot_id",
    }
    properties: ClassVar[str] = "getprop"

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def description(self) -> str:
        """The connection in words, for messages."""
        return self._link.description

    def shell(self, command: str, timeout_s: float = TIMEOUT_S) -> Reply:
        """Runs a shell command; its exit code is certain.

        Args:
            timeout_s: without any output.
        """
        run = shell.run_v2 if self._sdk >= shell.FIRST_SDK_WITH_V2 else shell.run_marked
        return run(self._link, command, timeout_s)

    def batch(self, commands: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> dict[str, Reply]:
        """Runs several commands, named by words, in one round trip; what each prints on stderr is in its stdout."""
        mark = secrets.token_hex(16)
        replies = shell.split_batch(self.shell(shell.batch_script(commands, mark), timeout_s).stdout, mark)
        if replies.keys() != commands.keys():
            raise LinkLostError("the output of commands on the phone is cut off", where=self.description)
        return replies

    def push(self, files: Sequence[PushFile]) -> None:
        """Writes files on the phone.

        Raises:
            RefusedFileError: the phone refuses one of them.
        """
        if not files:
            return
        stream = self._link.open("sync:", TIMEOUT_S)
        try:
            sync.push(stream, files, TIMEOUT_S)
        finally:
            with contextlib.suppress(LinkLostError):
                stream.close()

    def close(self) -> None:
        """Ends the connection, also one that is broken."""
        with contextlib.suppress(LinkLostError):
            self._link.close()

    @cached_property
    def _sdk(self) -> int:
        """0 if the phone does not report it: the oldest way works everywhere."""
        answer = shell.run_marked(self._link, "getprop ro.build.version.sdk", TIMEOUT_S).text
        return int(answer) if answer.isdecimal() else 0
