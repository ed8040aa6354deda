"""A link over the packets that adbd itself speaks, on USB or TCP: the connection of adb-shell, with streams of our own.

adb-shell 0.4.4 drops what the phone sends while it waits for an acknowledgement, so that an early "no space left" shows as a
timeout, and waits in vain when the phone refuses a service. The streams here see both. They stand on members of adb-shell that
are not public, which is why setup.cfg pins its version.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adb_shell import constants, exceptions
from adb_shell.adb_device import AdbDevice
from adb_shell.adb_message import AdbMessage
from adb_shell.hidden_helpers import _AdbTransactionInfo
from adb_shell.transport.base_transport import BaseTransport

from profiling.adb.keys import load_signers
from profiling.adb.link import LinkLostError
from profiling.errors import NoDeviceError

CONNECT_TIMEOUT_S = 10.0
ALLOW_TIMEOUT_S = 60.0
_STLS = str(int.from_bytes(b"STLS", "little"))
_BROKEN = (
    OSError,
    exceptions.AdbConnectionError,
    exceptions.AdbTimeoutError,
    exceptions.InvalidChecksumError,
    exceptions.InvalidCommandError,
    exceptions.InvalidResponseError,
    exceptions.TcpTimeoutException,
    exceptions.UsbReadFailedError,
    exceptions.UsbWriteFailedError,
)


def connect(
    transport: BaseTransport,
    description: str,
    *,
    notify: Callable[[str], None],
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    allow_timeout_s: float = ALLOW_TIMEOUT_S,
) -> PacketLink:
    """Connects to the adbd behind a transport, with a key when the phone asks for one.

    Args:
        transport: of adb-shell.
        description: what it runs over, for messages.
        notify: called when the user must act on the phone.
        connect_timeout_s: for each answer of the phone.
        allow_timeout_s: for a person to press Allow.

    Raises:
        NoDeviceError: nothing speaks adb there, or the phone does not allow this machine.
    """
    asked: list[bool] = []

    def ask(_: AdbDevice) -> None:
        asked.append(True)
        notify(f"{description}: unlock the phone and press Allow under “Allow USB debugging?” (tick “Always allow”)")

    device = AdbDevice(transport, connect_timeout_s, banner="spnas")
    timeouts = {"transport_timeout_s": connect_timeout_s, "read_timeout_s": connect_timeout_s}
    try:
        try:
            device.connect(**timeouts)
        except exceptions.DeviceAuthError:
            device.connect(load_signers(notify), auth_timeout_s=allow_timeout_s, auth_callback=ask, **timeouts)
    except _BROKEN as error:
        device.close()
        if asked:
            raise NoDeviceError(
                "the phone does not allow this computer to debug it",
                where=description,
                hint="unlock it and press Allow; if it does not ask, turn USB debugging off and on in Developer options",
            ) from error
        raise _no_adbd(error, description) from error
    return PacketLink(device, description)


def _no_adbd(error: Exception, description: str) -> NoDeviceError:
    if isinstance(error, exceptions.InvalidCommandError) and _STLS in str(error):
        problem = "this is the port of Wireless debugging, which takes only encrypted connections"
        hint = "connect it with `adb pair` and `adb connect` and use --via server, or run `adb tcpip 5555` over USB"
    elif isinstance(error, exceptions.InvalidCommandError | exceptions.InvalidChecksumError | exceptions.TcpTimeoutException):
        problem, hint = "the service at this port does not speak adb", "check the port; a phone listens after `adb tcpip 5555`"
    elif isinstance(error, ConnectionRefusedError):
        problem, hint = "nothing listens at this port", "connect the phone by USB once and run `adb tcpip 5555`"
    elif isinstance(error, socket.gaierror):
        problem, hint = "there is no host with this name", "check the address"
    elif isinstance(error, TimeoutError):
        problem, hint = "no answer from this address", "check that the phone is on, and on the same network"
    else:
        problem, hint = f"cannot connect: {str(error) or type(error).__name__}", "check the cable or the network"
    return NoDeviceError(problem, where=description, hint=hint)


@contextmanager
def _translated(description: str) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise LinkLostError(f"the link broke: {str(error) or type(error).__name__}", where=description) from error


class PacketLink:
    """Keeps the protocol `profiling.adb.link.Link` over a connected device of adb-shell."""

    def __init__(self, device: AdbDevice, description: str) -> None:
        self._device = device
        self._description = description

    @property
    def description(self) -> str:
        """The connection in words."""
        return self._description

    def open(self, service: str, timeout_s: float) -> PacketStream:
        """Opens a service; see `Link`."""
        with _translated(self._description):
            return PacketStream(self._device, service, timeout_s, self._description)

    def close(self) -> None:
        """Ends the connection."""
        with _translated(self._description):
            self._device.close()


class PacketStream:
    """Keeps the protocol `profiling.adb.link.Stream`: OPEN, then WRTE each answered by OKAY, then CLSE."""

    def __init__(self, device: AdbDevice, service: str, timeout_s: float, description: str) -> None:
        self._io = device._io_manager
        self._description = description
        self._max_data = device._maxdata
        device._local_id += 1
        self._transaction = _AdbTransactionInfo(device._local_id, None, timeout_s, timeout_s)
        self._arrived = bytearray()
        self._open = True
        self._send(constants.OPEN, service.encode() + b"\0")
        command, remote, _, _ = self._io.read([constants.OKAY, constants.CLSE], self._transaction)
        if command == constants.CLSE:
            raise LinkLostError(f"the phone refuses the service {service.partition(':')[0]}", where=description)
        self._transaction.remote_id = remote

    def read(self, timeout_s: float) -> bytes:
        """The next bytes; see `Stream`."""
        with _translated(self._description):
            while self._open and not self._arrived:
                self._next_packet(timeout_s)
        data = bytes(self._arrived)
        self._arrived.clear()
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        """Sends all of the data; see `Stream`. Ends early when the phone closes the stream: what it had to say can be read."""
        with _translated(self._description):
            for start in range(0, len(data), self._max_data):
                if not self._open:
                    return
                self._send(constants.WRTE, data[start : start + self._max_data])
                while self._open and self._next_packet(timeout_s) != constants.OKAY:
                    pass

    def has_data(self) -> bool:
        """Whether something arrived while data was written, or the stream has ended."""
        return bool(self._arrived) or not self._open

    def close(self) -> None:
        """Ends the service."""
        if self._open:
            self._open = False
            with _translated(self._description):
                self._send(constants.CLSE)

    def _next_packet(self, timeout_s: float) -> bytes:
        """Takes one packet of this stream; gives its command."""
        self._transaction.transport_timeout_s = self._transaction.read_timeout_s = timeout_s
        expected = [constants.OKAY, constants.WRTE, constants.CLSE]
        command, _, _, data = self._io.read(expected, self._transaction, allow_zeros=True)
        if command == constants.WRTE:
            self._arrived += data
            self._send(constants.OKAY)
        elif command == constants.CLSE:
            self._open = False
            self._send(constants.CLSE)
        assert isinstance(command, bytes)
        return command

    def _send(self, command: bytes, data: bytes = b"") -> None:
        self._io.send(AdbMessage(command, self._transaction.local_id, self._transaction.remote_id or 0, data), self._transaction)
