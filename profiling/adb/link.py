"""What every route to a phone provides: a link that opens named services of adbd as byte streams.

USB, TCP and the local adb server differ below this line only. Shell and file transfer are written once, above it.
"""

from __future__ import annotations

from typing import Protocol

from profiling.errors import DeviceLostError


class LinkLostError(DeviceLostError):
    """The link broke or fell silent; the phone may be reached again over a new one."""


class Stream(Protocol):
    """One open service of adbd."""

    def read(self, timeout_s: float) -> bytes:
        """The next bytes that arrive; none at the end of the stream.

        Raises:
            LinkLostError: the link broke, or nothing arrived in time.
        """

    def write(self, data: bytes, timeout_s: float) -> None:
        """Sends all of the data.

        Raises:
            LinkLostError: the link broke, or the phone did not take the data in time.
        """

    def has_data(self) -> bool:
        """Whether `read` would return at once."""

    def close(self) -> None:
        """Ends the service."""


class Link(Protocol):
    """A connection to one phone."""

    @property
    def description(self) -> str:
        """What it runs over, for messages: `USB`, `TCP 192.168.1.5:5555`, `adb server 127.0.0.1:5037`."""

    def open(self, service: str, timeout_s: float) -> Stream:
        """Opens a service such as `shell:ls` or `sync:`.

        Raises:
            LinkLostError: the link broke, or adbd refuses the service.
        """

    def close(self) -> None:
        """Ends the connection."""
