"""The phone's network cable: 127.0.0.1:PORT of this machine, joined to port 5555 inside the phone's own network namespace.

Run as `relay.py PORT PID FOLDER`: PORT may be 0 for any that is free, PID is any process of the phone. FOLDER tells whose relay
this is, and the file `port` in it then holds the port.
Stop the process (SIGSTOP) and the link goes silent without closing.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys
from pathlib import Path

CLONE_NEWNET = 0x40000000
BLOCK = 256 * 1024


def enter_network_of(pid: int) -> None:
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(BLOCK):
        writer.write(block)
        await writer.drain()


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        phone_reader, phone_writer = await asyncio.open_connection("127.0.0.1", 5555, limit=BLOCK)
    except OSError:
        writer.transport.abort()
        return
    for end in (writer, phone_writer):
        end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ways = [asyncio.create_task(copy(reader, phone_writer)), asyncio.create_task(copy(phone_reader, writer))]
    _, open_way = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in open_way:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    writer.close()
    phone_writer.close()


async def serve(listener: socket.socket) -> None:
    server = await asyncio.start_server(join, sock=listener, limit=BLOCK)
    async with server:
        await server.serve_forever()


def main(port: int, pid: int, folder: Path) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    (folder / "port").write_text(f"{listener.getsockname()[1]}\n")
    enter_network_of(pid)
    asyncio.run(serve(listener))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    os._exit(0)
