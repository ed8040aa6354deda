"""The local adb server, which Android Studio and the program adb start.

It holds USB interfaces, and it alone speaks to phones that are paired over Wi-Fi. Its protocol (AOSP,
packages/modules/adb/SERVICES.TXT): four hexadecimal digits of length, a request, then OKAY or FAIL with a reason.
"""

from __future__ import annotations

import re
import select
import shlex
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from profiling.adb.link import LinkLostError
from profiling.adb.server_address import ServerAddress, server_address
from profiling.errors import NoDeviceError

TIMEOUT_S = 10.0
READY = "device"


class AdbServerError(Exception):
    """The server refuses a request; the message is its own."""


@dataclass(frozen=True)
class ServerDevice:
    """A line of `adb devices -l`.

    Attributes:
        serial: what adb calls it: HOST:PORT or the name of its service for a phone on the network; empty where it has none.
        state: `device` when it is ready; `unauthorized`, `offline`, `recovery`, `sideload`, `no permissions`...
        product: what its maker calls it (adb: its model), with `_` for blanks; empty when the phone has not reported it.
        port: its USB port, such as `usb:1-3`; empty for others, and on Windows.
        transport_id: the number that the server gave it, anew with each connection.
        shares_serial: whether another phone of the server has the same serial number.
    """

    serial: str
    state: str
    product: str
    port: str = ""
    transport_id: str = ""
    shares_serial: bool = False

    @property
    def name(self) -> str:
        """What `--device` takes for this phone and no other: its serial number, or where it is plugged in."""
        if self.serial and not self.shares_serial:
            return self.serial
        return self.port or (f"{_BY_ID}{self.transport_id}" if self.transport_id else _NO_SERIAL)

    def is_called(self, name: str) -> bool:
        """Whether this is a name of it, which another phone may share."""
        return name in (self.serial, self.port, f"{_BY_ID}{self.transport_id}")

    def is_known_as(self, name: str) -> bool:
        """Whether a name is its serial number, or another name of its service, which changes when it connects again."""
        here, there = _SERVICE.fullmatch(self.serial), _SERVICE.fullmatch(name)
        return here is not None and (name == here["serial"] or (there is not None and here["instance"] == there["instance"]))


_BY_ID, _NO_SERIAL = "transport_id:", "(no serial number)"
# A phone with Wireless debugging: adb-SERIAL-RANDOM, with a number where the network knows that name already.
_SERVICE = re.compile(r"(?P<instance>adb-(?P<serial>.+)-[^-]+?)(?: \(\d+\))?(?P<type>\._adb[\w-]*\._tcp\.?)")


class AdbServer:
    """A running adb server. It is never started from here.

    Args:
        address: HOST and PORT; what adb's variables of the environment say by default, see `server_address`.

    Raises:
        InputError: these variables cannot be read.
    """

    def __init__(self, address: tuple[str, int] | None = None) -> None:
        self._address = ServerAddress(*address) if address else server_address()

    @property
    def description(self) -> str:
        """For messages."""
        return f"adb server {self._address}"

    def devices(self) -> list[ServerDevice]:
        """The phones that it knows.

        Raises:
            OSError: no server runs.
            AdbServerError: it does not answer as one.
        """
        with self.request("host:devices-l") as connection:
            lines = _text(connection).splitlines()
        return parse_devices(lines)

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
        connection = self._address.connect(timeout_s)
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

    def __init__(self, server: AdbServer, name: str) -> None:
        self._server, self._name = server, name

    @property
    def description(self) -> str:
        """The connection in words."""
        return f"{self._name} through the {self._server.description}"

    def open(self, service: str, timeout_s: float) -> ServerStream:
        """Opens a service; see `Link`."""
        by_id = self._name.startswith(_BY_ID)
        phone = f"host:transport-id:{self._name.removeprefix(_BY_ID)}" if by_id else f"host:transport:{self._name}"
        with _translated(self.description):
            connection = self._server.request(phone, service, timeout_s=timeout_s)
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


def connect_server(name: str, server: AdbServer) -> ServerLink:
    """The phone that a running adb server knows by this name: see `ServerDevice`, or HOST:PORT.

    Raises:
        NoDeviceError: no server runs, it knows no such phone or several, or that is not ready.
    """
    try:
        if not find_device(name, server.devices()) and (is_service(name) or (":" in name and not is_place(name))):
            server.reconnect(name)
        known = server.devices()
    except OSError as error:
        raise NoDeviceError(
            "no adb server is running", where=server.description, hint="start one with `adb start-server`"
        ) from error
    except AdbServerError as error:
        raise NoDeviceError(f"the adb server answers: {error}", where=server.description, hint="try `adb kill-server`") from error
    device = find_device(name, known)
    if device is None:
        there = ", ".join(f"{shlex.quote(each.name)} ({each.state})" for each in known) or "none"
        raise NoDeviceError("the adb server does not know this phone", where=name, hint=f"it knows: {there}")
    refuse_unready(device)
    return ServerLink(server, device.name)


def find_device(name: str, known: Sequence[ServerDevice]) -> ServerDevice | None:
    """The phone of this name, if there is one.

    Raises:
        NoDeviceError: there are several.
    """
    found = [device for device in known if device.is_called(name)] or [device for device in known if device.is_known_as(name)]
    if len(found) > 1:
        choices = ", ".join(f"{shlex.quote(device.name)} ({device.product or device.state})" for device in found)
        raise NoDeviceError("several phones have this serial number", where=name, hint=f"choose one with --device: {choices}")
    return found[0] if found else None


def is_service(name: str) -> bool:
    """Whether this is a name of Wireless debugging, which an adb server finds on the network."""
    return "._adb" in name


def is_place(name: str) -> bool:
    """Whether this says where a phone is plugged in."""
    return name.startswith(("usb:", _BY_ID))


def refuse_unready(device: ServerDevice) -> None:
    """Raises NoDeviceError, in words, for a phone that the server cannot speak to."""
    if device.state == READY:
        return
    problem, hint = STATES.get(device.state, (f"the adb server reports its state as {device.state!r}", "boot it into Android"))
    raise NoDeviceError(problem, where=device.name, hint=hint)


STATES = {
    "unauthorized": (
        "the phone does not allow this computer to debug it",
        "unlock it and press Allow; if it does not ask, turn USB debugging off and on in Developer options",
    ),
    "authorizing": ("the phone is asking whether to allow this computer", "unlock it and press Allow"),
    "connecting": ("the adb server is still connecting to the phone", "wait a few seconds, or plug the phone in again"),
    "detached": ("the adb server has let go of the phone", "take it back with `adb attach`"),
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


def parse_devices(lines: Sequence[str]) -> list[ServerDevice]:
    """The lines of `adb devices -l`."""
    devices = [_parse_device(line) for line in lines if line.strip()]
    count = Counter(device.serial for device in devices)
    return [replace(device, shares_serial=count[device.serial] > 1) for device in devices]


def _parse_device(line: str) -> ServerDevice:
    """One line: a serial number, in which blanks may stand, a state, of several words for "no permissions", and fields."""
    head, *_ = _FIELDS.split(line, maxsplit=1)
    fields = line[len(head) :]
    found = re.fullmatch(r"(?P<serial>.*?)\s+(?P<state>no permissions\b.*|\S+)\s*", head)
    serial, state = (found["serial"], found["state"]) if found else (head.strip(), "unknown")
    if state.startswith("no permissions"):
        state = "no permissions"
    values = dict(re.findall(r"\s(usb|model|transport_id):(\S+)", fields))
    port = f"usb:{values['usb']}" if "usb" in values else ""
    if serial == _NO_SERIAL or set(serial) == {"?"}:  # as adb before 2017 had it
        serial = ""
    return ServerDevice(serial, state, values.get("model", ""), port, values.get("transport_id", ""))


_FIELDS = re.compile(r"\s+(?=(?:usb|product|model|device|transport_id):)")


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
