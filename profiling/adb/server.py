"""The local adb server, which Android Studio and the program adb start.

It holds USB interfaces, and it alone speaks to phones that are paired over Wi-Fi. Its protocol (AOSP,
packages/modules/adb/SERVICES.TXT): four hexadecimal digits of length, a request, then OKAY or FAIL with a reason.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from profiling.adb.link import LinkLostError
from profiling.errors import NoDeviceError

TIMEOUT_S = 10.0
READY = "device"


class AdbServerError(Exception):
    """The server refuses a request; the message is its own."""


@dataclass(frozen=True)
class ServerDevice:
    """A line of `adb devices -l`.

    Attributes:
        serial: what adb calls it, HOST:PORT for a phone on the network.
        state: `device` when it is ready; `unauthorized`, `offline`, `recovery`, `sideload`, `no permissions`...
        product: what its maker calls it (adb: its model), with `_` for blanks; empty when the phone has not reported it.
    """

    serial: str
    state: str
    product: str


class AdbServer:
    """A running adb server. It is never started from here.

    Args:
        address: HOST:PORT; ANDROID_ADB_SERVER_ADDRESS and ANDROID_ADB_SERVER_PORT, or 127.0.0.1:5037, by default.
    """

    def __init__(self, address: tuple[str, int] | None = None) -> None:
        environment = os.environ
        self._address = address or (
            environment.get("ANDROID_ADB_SERVER_ADDRESS", "127.0.0.1"),
            int(environment.get("ANDROID_ADB_SERVER_PORT", "5037")),
        )

    @property
    def description(self) -> str:
        """For messages."""
        return f"adb server {self._address[0]}:{self._address[1]}"

    def devices(self) -> list[ServerDevice]:
        """The phones that it knows.

        Raises:
            OSError: no server runs.
            AdbServerError: it does not answer as one.
        """
        with self.request("host:devices-l") as connection:
            lines = _text(connection).splitlines()
        return [_parse_device(line) for line in lines]

    def reconnect(self, serial: str) -> None:
        """Makes it reconnect to a phone on the network, which it forgets when the phone disconnects.

        Raises:
            OSError, AdbServerError: as for `devices`.
        """
        with self.request(f"host:connect:{serial}") as connection:
            _text(connection)

    def request(self, *services: str, timeout_s: float = TIMEOUT_S) -> socket.socket:
        """A connection on which the server has granted these services, one after the other.

        Raises:
            OSError: no server runs, or it went away.
            AdbServerError: it refuses one of them.
        """
        connection = socket.create_connection(self._address, timeout=timeout_s)
        try:
            for service in services:
                data = service.encode()
                connection.sendall(b"%04x%s" % (len(data), data))
                if _exactly(connection, 4) != b"OKAY":
                    raise AdbServerError(_text(connection))
        except BaseException:
            connection.close()
            raise
        return connection


class ServerLink:
    """Keeps the protocol `profiling.adb.link.Link` for one phone of an adb server."""

    def __init__(self, server: AdbServer, serial: str) -> None:
        self._server, self._serial = server, serial

    @property
    def description(self) -> str:
        """The connection in words."""
        return f"{self._serial} through the {self._server.description}"

    def open(self, service: str, timeout_s: float) -> ServerStream:
        """Opens a service; see `Link`."""
        with _translated(self.description):
            connection = self._server.request(f"host:transport:{self._serial}", service, timeout_s=timeout_s)
        return ServerStream(connection, self.description)

    def close(self) -> None:
        """Nothing to do: each stream is a connection of its own."""


class ServerStream:
    """Keeps the protocol `profiling.adb.link.Stream`: once granted, a service is the connection itself."""

    def __init__(self, connection: socket.socket, description: str) -> None:
        self._connection, self._description = connection, description

    def read(self, timeout_s: float) -> bytes:
        """The next bytes; see `Stream`."""
        with _translated(self._description):
            self._connection.settimeout(timeout_s)
            return self._connection.recv(1 << 16)

    def write(self, data: bytes, timeout_s: float) -> None:
        """Sends all of the data; see `Stream`. Ends early when the phone closes the stream: what it had to say can be read."""
        with _translated(self._description):
            self._connection.settimeout(timeout_s)
            try:
                self._connection.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                if not self.has_data():
                    raise

    def has_data(self) -> bool:
        """Whether something arrived, or the stream has ended."""
        return bool(select.select([self._connection], [], [], 0)[0])

    def close(self) -> None:
        """Ends the service."""
        self._connection.close()


def connect_server(serial: str, server: AdbServer) -> ServerLink:
    """The phone that a running adb server knows by this serial number or HOST:PORT.

    Raises:
        NoDeviceError: no server runs, it knows no such phone, or that is not ready.
    """
    try:
        if not any(device.serial == serial for device in server.devices()) and ":" in serial:
            server.reconnect(serial)
        known = {device.serial: device for device in server.devices()}
    except OSError as error:
        raise NoDeviceError(
            "no adb server is running", where=server.description, hint="start one with `adb start-server`"
        ) from error
    except AdbServerError as error:
        raise NoDeviceError(f"the adb server answers: {error}", where=server.description, hint="try `adb kill-server`") from error
    if serial not in known:
        there = ", ".join(f"{device.serial} ({device.state})" for device in known.values()) or "none"
        raise NoDeviceError("the adb server does not know this phone", where=serial, hint=f"it knows: {there}")
    refuse_unready(known[serial])
    return ServerLink(server, serial)


def refuse_unready(device: ServerDevice) -> None:
    """Raises NoDeviceError, in words, for a phone that the server cannot speak to."""
    if device.state == READY:
        return
    problem, hint = STATES.get(device.state, (f"the adb server reports its state as {device.state!r}", "boot it into Android"))
    raise NoDeviceError(problem, where=device.serial, hint=hint)


STATES = {
    "unauthorized": (
        "the phone does not allow this computer to debug it",
        "unlock it and press Allow; if it does not ask, turn USB debugging off and on in Developer options",
    ),
    "authorizing": ("the phone is asking whether to allow this computer", "unlock it and press Allow"),
    "offline": ("the phone is known, but does not answer", "plug it in again, or `adb disconnect` and `adb connect`"),
    "no permissions": ("this user may not open the USB device", "install the udev rules for adb, then plug the phone in again"),
    "recovery": ("the phone is in recovery mode", "reboot it into Android"),
    "sideload": ("the phone is in sideload mode", "reboot it into Android"),
    "bootloader": ("the phone is in its boot loader", "reboot it into Android"),
}


@contextmanager
def _translated(description: str) -> Iterator[None]:
    try:
        yield
    except (OSError, AdbServerError) as error:
        raise LinkLostError(f"the link broke: {error}", where=description) from error


def _parse_device(line: str) -> ServerDevice:
    serial, _, rest = line.partition(" ")
    words = rest.split()
    fields = dict(word.split(":", 1) for word in words if ":" in word)
    state = "no permissions" if rest.strip().startswith("no permissions") else words[0] if words else "unknown"
    return ServerDevice(serial, state, fields.get("model", ""))


def _text(connection: socket.socket) -> str:
    return _exactly(connection, int(_exactly(connection, 4), 16)).decode(errors="replace")


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        block = connection.recv(count - len(data))
        if not block:
            raise ConnectionResetError("the adb server closed the connection")
        data += block
    return data
