"""A phone that may disconnect and come back: every call is repeated over a new link, within a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from profiling.adb.link import LinkLostError
from profiling.adb.shell import Reply
from profiling.adb.sync import PushFile
from profiling.adb.transport import TIMEOUT_S, Transport
from profiling.errors import DeviceLostError, NoDeviceError

BACK_OFF_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
# A call that always breaks the link would otherwise be repeated forever.
LOSSES_PER_CALL = 5
Answer = TypeVar("Answer")


class Connection:
    """The connection to one phone, kept alive.

    Args:
        connect: makes a new connection to it.
        limit_s: how long a phone may be away, or may take to start.
        notify: called when the phone disconnects, comes back, or has restarted.
        sleep: waits for some seconds.

    Attributes:
        limit_s: may be changed.
        serial: the phone's own serial number, which identifies it after a reconnect.
        boot_id: changes with every start of the phone.
        boots: how many restarts of the phone were seen.

    Raises:
        NoDeviceError: there is no such phone now, or it does not finish starting.
    """

    def __init__(
        self,
        connect: Callable[[], Transport],
        *,
        limit_s: float,
        notify: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect, self.limit_s, self._notify, self._sleep = connect, limit_s, notify, sleep
        self._transport = connect()
        self.boots = 0
        self._gone: DeviceLostError | None = None
        deadline = time.monotonic() + limit_s
        while True:
            try:
                identity = self._identify()
            except LinkLostError as error:
                raise NoDeviceError(error.problem, where=error.where, hint="plug the phone in again") from error
            if identity["booted"] == "1":
                break
            if time.monotonic() > deadline:
                raise NoDeviceError(
                    "the phone has not finished starting", where=self.description, hint="wait for its home screen"
                )
            notify(f"{self.description}: waiting for the phone to finish starting")
            sleep(2.0)
        self.serial, self.boot_id = identity["serial"], identity["boot_id"]
        if not self.serial:
            raise NoDeviceError("the phone does not report its serial number", where=self.description, hint="check ro.serialno")

    @property
    def description(self) -> str:
        """The connection in words, for messages."""
        return self._transport.description

    @property
    def folder(self) -> str:
        """Where its shell may write files and execute them."""
        return self._transport.folder

    @property
    def properties_command(self) -> str:
        """Prints its properties as `getprop` does."""
        return self._transport.properties

    def shell(self, command: str, timeout_s: float = TIMEOUT_S) -> Reply:
        """Runs a shell command, again after each loss of the link, so the command must be safe to run twice.

        Raises:
            DeviceLostError: the phone does not come back within the limit, or another one came in its place.
        """
        return self._call(lambda transport: transport.shell(command, timeout_s))

    def batch(self, commands: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> dict[str, Reply]:
        """Runs several commands in one round trip; see `shell`."""
        return self._call(lambda transport: transport.batch(commands, timeout_s))

    def push(self, files: Sequence[PushFile]) -> None:
        """Writes files on the phone; see `shell`.

        Raises:
            RefusedFileError: the phone refuses one of them.
        """
        self._call(lambda transport: transport.push(files))

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def _call(self, action: Callable[[Transport], Answer]) -> Answer:
        if self._gone is not None:
            raise self._gone
        for _ in range(LOSSES_PER_CALL):
            try:
                return action(self._transport)
            except LinkLostError as error:
                lost = error
            try:
                self._reconnect(lost)
            except DeviceLostError as error:
                self._gone = error
                raise
        raise DeviceLostError(
            f"the link breaks again and again: {lost.problem}", where=self.serial, hint="try another cable or port"
        )

    def _reconnect(self, lost: LinkLostError) -> None:
        self._notify(f"{self.serial}: {lost.problem}; waiting up to {self.limit_s:g} s for the phone")
        begin, attempt = time.monotonic(), 0
        reason: DeviceLostError | NoDeviceError = lost
        while time.monotonic() - begin < self.limit_s or attempt == 0:
            self._sleep(BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)])
            attempt += 1
            self._transport.close()
            try:
                self._transport = self._connect()
                identity = self._identify()
            except (LinkLostError, NoDeviceError) as error:
                reason = error
                continue
            if identity["booted"] != "1":
                continue
            self._accept(identity)
            return
        raise DeviceLostError(
            f"the phone went away and did not come back within {self.limit_s:g} s; the last attempt says: {reason.problem}",
            where=self.serial,
            hint="plug it in and run the same command again; what was measured is kept",
        ) from reason

    def _accept(self, identity: dict[str, str]) -> None:
        if identity["serial"] != self.serial:
            raise DeviceLostError(
                f"another phone ({identity['serial']}) answers in its place",
                where=self.serial,
                hint="connect the first one and run the same command again",
            )
        if identity["boot_id"] != self.boot_id:
            self.boot_id = identity["boot_id"]
            self.boots += 1
            self._notify(f"{self.serial}: the phone has restarted; continuing")
        else:
            self._notify(f"{self.serial}: the phone is back")

    def _identify(self) -> dict[str, str]:
        return {name: reply.text for name, reply in self._transport.batch(self._transport.identity).items()}
