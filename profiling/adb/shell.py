"""Shell commands on a phone with a reliable exit code: from shell protocol v2 if the phone has it, else from a random mark."""

from __future__ import annotations

import re
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from profiling.adb.link import Link, LinkLostError, Stream

FIRST_SDK_WITH_V2 = 24


@dataclass(frozen=True)
class Reply:
    """What a command gave. `stderr` is empty where it cannot be separated from `stdout`."""

    stdout: bytes
    stderr: bytes
    exit_code: int

    @property
    def text(self) -> str:
        """What it printed on stdout, without the last line's end."""
        return self.stdout.decode(errors="replace").strip("\r\n")


class Packet(IntEnum):
    """The packets of shell protocol v2 that a phone sends (AOSP, packages/modules/adb/shell_protocol.h)."""

    STDOUT = 1
    STDERR = 2
    EXIT = 3


def packets(blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Splits a stream of shell protocol v2, cut anywhere, into (id, data): one byte id, four bytes length, data."""
    buffer = bytearray()
    for block in blocks:
        buffer += block
        while len(buffer) >= 5:
            kind, length = struct.unpack_from("<BI", buffer)
            if len(buffer) < 5 + length:
                break
            yield kind, bytes(buffer[5 : 5 + length])
            del buffer[: 5 + length]


def run_v2(link: Link, command: str, timeout_s: float) -> Reply:
    """Runs a command by shell protocol v2.

    Args:
        timeout_s: without any output.

    Raises:
        LinkLostError: the link broke, or fell silent, or the stream ended without an exit code, so that its output is cut off.
    """
    output = {Packet.STDOUT: bytearray(), Packet.STDERR: bytearray()}
    stream = link.open(f"shell,v2,raw:{command}", timeout_s)
    try:
        for kind, data in packets(_blocks(stream, timeout_s)):
            if kind == Packet.EXIT:
                return Reply(bytes(output[Packet.STDOUT]), bytes(output[Packet.STDERR]), data[0])
            if kind in output:
                output[Packet(kind)] += data
    finally:
        stream.close()
    raise LinkLostError("the output of a command on the phone is cut off", where=link.description)


def run_marked(link: Link, command: str, timeout_s: float, mark: Callable[[], str] = lambda: secrets.token_hex(16)) -> Reply:
    """Runs a command on any Android: what it prints ends in a mark, random so that no output can look like it, and the exit code.

    Raises:
        LinkLostError: the link broke, or fell silent, or there is no mark, so that the output is cut off.
    """
    end = mark()
    stream = link.open(f"shell:{marked(command, end)}", timeout_s)
    try:
        output = b"".join(_blocks(stream, timeout_s))
    finally:
        stream.close()
    # Before Android 7 the shell runs in a terminal, which puts carriage returns before line ends.
    reply = parse_marked(re.sub(rb"\r+\n", b"\n", output), end)
    if reply is None:
        raise LinkLostError("the output of a command on the phone is cut off", where=link.description)
    return reply


def marked(command: str, mark: str) -> str:
    """A script that runs a command and prints a mark and the exit code behind all that it prints; see `parse_marked`."""
    # In a subshell, so that an `exit` in the command does not skip the mark; on a new line, so that a comment does not either.
    return f'(\n{command}\n) 2>&1; code=$?; echo; echo "{mark}:$code"'


def parse_marked(output: bytes, mark: str) -> Reply | None:
    """What a marked command gave; None where there is no mark at the end, so that the output is cut off."""
    found = re.search(rb"\n%s:(\d+)\n\Z" % mark.encode(), output)
    return Reply(output[: found.start()], b"", int(found[1])) if found else None


def batch_script(commands: Mapping[str, str], mark: str) -> str:
    """One script that runs all of the commands, even if one fails; see `split_batch`."""
    return "\n".join(f'(\n{command}\n) 2>&1; code=$?; echo; echo "{mark} {name} $code"' for name, command in commands.items())


def split_batch(output: bytes, mark: str) -> dict[str, Reply]:
    """What each command of a batch printed, stderr with it, and its exit code."""
    replies, start = {}, 0
    for found in re.finditer(rb"\n%s (\w+) (\d+)\n" % mark.encode(), output):
        replies[found[1].decode()] = Reply(output[start : found.start()], b"", int(found[2]))
        start = found.end()
    return replies


def _blocks(stream: Stream, timeout_s: float) -> Iterator[bytes]:
    while block := stream.read(timeout_s):
        yield block
