"""Phones on the network: `adb tcpip 5555`, emulators, the test phone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from adb_shell.transport.tcp_transport import TcpTransport

from profiling.adb.packets import CONNECT_TIMEOUT_S, PacketLink, connect
from profiling.errors import InputError

DEFAULT_PORT = 5555


class WholeTcpTransport(TcpTransport):  # type: ignore[misc]
    """The socket of adb-shell without its faults: it does not wait for acknowledgements, writes everything, and sees the end."""

    def connect(self, transport_timeout_s: float) -> None:
        """Connects to the phone."""
        super().connect(transport_timeout_s)
        # Header and payload go out as two writes; without this, the second waits some 40 ms for the acknowledgement of the first.
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def bulk_read(self, numbytes: int, transport_timeout_s: float) -> bytes:
        """Up to `numbytes` bytes, at least one.

        Raises:
            ConnectionResetError: the phone closed the connection.
        """
        data: bytes = super().bulk_read(numbytes, transport_timeout_s)
        if not data:
            raise ConnectionResetError("the phone closed the connection")
        return data

    def bulk_write(self, data: bytes, transport_timeout_s: float) -> int:
        """Sends all of the data."""
        left = memoryview(data)
        while left:
            with contextlib.suppress(BlockingIOError):
                left = left[super().bulk_write(left, transport_timeout_s) :]
        return len(data)


def parse_address(text: str) -> tuple[str, int]:
    """HOST[:PORT], with an IPv6 address in brackets.

    Raises:
        InputError: neither.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError as error:
        raise InputError(f"not an address: {error}", where=text, hint="give HOST:PORT, such as 192.168.1.5:5555") from error
    if not host or parts.netloc != text:
        raise InputError("not an address", where=text, hint="give HOST:PORT, such as 192.168.1.5:5555")
    return host, port


def connect_tcp(
    address: str, *, notify: Callable[[str], None], connect_timeout_s: float = CONNECT_TIMEOUT_S, allow_timeout_s: float = 60.0
) -> PacketLink:
    """Connects to the adbd at HOST[:PORT].

    Raises:
        NoDeviceError: nothing listens there, or nothing that speaks adb, or it does not allow this computer.
        InputError: not an address.
    """
    host, port = parse_address(address)
    return connect(
        WholeTcpTransport(host, port),
        f"TCP {host}:{port}",
        notify=notify,
        connect_timeout_s=connect_timeout_s,
        allow_timeout_s=allow_timeout_s,
    )
