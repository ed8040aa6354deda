"""What Debian's daemon does not do: asking for a key, offering TLS only, keeping silent.

A few packets of adb over TCP, as a phone sends them.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

HEADER = struct.Struct("<6I")


class Peer:
    """The phone's end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def receive(self) -> tuple[bytes, int, int, bytes]:
        command, first, second, length, _, _ = HEADER.unpack(self.exactly(HEADER.size))
        return struct.pack("<I", command), first, second, self.exactly(length)

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        number = struct.unpack("<I", command)[0]
        self.write(HEADER.pack(number, first, second, len(data), sum(data), number ^ 0xFFFFFFFF) + data)

    def write(self, data: bytes) -> None:
        self._connection.sendall(data)

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            block = self._connection.recv(count - len(data))
            if not block:
                raise ConnectionResetError
            data += block
        return data


def offer_tls(peer: Peer) -> None:
    """The port of Wireless debugging."""
    peer.receive()
    peer.send(b"STLS", 0x01000000, 0)
    peer.receive()


def ask_for_key(pressed: bool) -> Callable[[Peer], None]:
    """A phone that does not know the key, and on which somebody presses Allow or nobody does."""

    def behave(peer: Peer) -> None:
        peer.receive()
        while True:
            peer.send(b"AUTH", 1, 0, b"t" * 20)
            command, kind, _, _ = peer.receive()
            assert command == b"AUTH"
            if kind == 3 and pressed:
                peer.send(b"CNXN", 0x01000000, 4096, b"device::\0")
            if kind == 3:
                peer.receive()

    return behave


def keep_silent(peer: Peer) -> None:
    """Something else that listens."""
    while True:
        peer.receive()


def speak_http(peer: Peer) -> None:
    peer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    keep_silent(peer)


@contextlib.contextmanager
def listening(behave: Callable[[Peer], None]) -> Iterator[str]:
    """HOST:PORT of something that behaves so towards each that connects."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                behave(Peer(connection))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
