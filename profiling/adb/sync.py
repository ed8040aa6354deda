"""Sending files by adbd's file service: the same bytes over every link (AOSP, packages/modules/adb/SYNC.TXT)."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from profiling.adb.link import LinkLostError, Stream

BLOCK = 256 * 1024
# adbd refuses longer pieces.
PIECE = 64 * 1024


class RefusedFileError(Exception):
    """adbd could not write a file; the message is its own, such as "No space left on device"."""


@dataclass(frozen=True)
class PushFile:
    """A file for the phone: where it goes, what is in it, and its permissions."""

    remote: str
    content: bytes
    mode: int = 0o644


def push(stream: Stream, files: Sequence[PushFile], timeout_s: float) -> None:
    """Sends files one behind the other, without waiting for the answers in between.

    Raises:
        RefusedFileError: adbd refuses one of them. It is seen at once, not at the end.
        LinkLostError: the link broke.
    """
    reader = _Reader(stream, timeout_s)
    answered = 0
    for block in _in_blocks(_requests(files)):
        stream.write(block, timeout_s)
        while stream.has_data():
            _expect_okay(reader, files[answered])
            answered += 1
    for file in files[answered:]:
        _expect_okay(reader, file)


def _requests(files: Sequence[PushFile]) -> Iterator[bytes]:
    for file in files:
        yield _request(b"SEND", f"{file.remote},{0o100000 | file.mode}".encode())
        for start in range(0, len(file.content), PIECE):
            yield _request(b"DATA", file.content[start : start + PIECE])
        yield b"DONE" + struct.pack("<I", int(time.time()))


def _request(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data


def _in_blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Joins pieces into blocks: each block costs one round trip."""
    block = bytearray()
    for piece in pieces:
        if block and len(block) + len(piece) > BLOCK:
            yield bytes(block)
            block.clear()
        block += piece
    yield bytes(block)


def _expect_okay(reader: _Reader, file: PushFile) -> None:
    name, size = reader.header()
    if name == b"FAIL":
        raise RefusedFileError(f"{file.remote}: {reader.exactly(size).decode(errors='replace')}")


class _Reader:
    """Reads exact numbers of bytes from a stream."""

    def __init__(self, stream: Stream, timeout_s: float) -> None:
        self._stream, self._timeout_s = stream, timeout_s
        self._buffer = bytearray()

    def header(self) -> tuple[bytes, int]:
        name, size = struct.unpack("<4sI", self.exactly(8))
        return name, size

    def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            block = self._stream.read(self._timeout_s)
            if not block:
                raise LinkLostError("the phone ended a file transfer")
            self._buffer += block
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data
