"""Debian's own adb server, on a port of its own, for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .machine import Phone

TRIES = 3


@pytest.fixture(scope="session")
def adb_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where a real adb server listens; skipped where there is no adb, which SPNAS_REQUIRE_PHONE=1 makes a failure."""
    if shutil.which("adb") is None:
        reason = "the adb server needs the program adb (Debian: apt-get install adb)"
        if os.environ.get("SPNAS_REQUIRE_PHONE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    environment = os.environ | {"HOME": str(tmp_path_factory.mktemp("adb-home"))}
    server, port = start_server(environment)
    yield port
    server.kill()
    server.wait()


def start_server(environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """A server and its port. One that ends at once has lost the port to somebody else in the meantime."""
    # It ends with the tests, also when those are killed.
    guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    for _ in range(TRIES):
        port = free_port()
        command = [*guard, "adb", "-P", str(port), "nodaemon", "server"]
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while server.poll() is None:
            if listens(port):
                return server, port
            assert time.monotonic() < deadline, "the adb server does not listen"
            time.sleep(0.05)
    raise AssertionError("the adb server ends as soon as it is started")


def free_port() -> int:
    """A port that nobody listened at just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def adb(port: int, *arguments: str) -> str:
    """Runs the program adb against the server at this port."""
    return subprocess.run(["adb", "-P", str(port), *arguments], capture_output=True, text=True, check=True, timeout=120).stdout


@contextlib.contextmanager
def known_as(name: str, phone: Phone, port: int) -> Iterator[str]:
    """Has the adb server at this port know the phone by a name of any form, as it does those that announce themselves by mDNS.

    Yields the whole name, which is that of a socket.
    """
    with tempfile.TemporaryDirectory(prefix="adb-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(folder) / name)
        listener.bind(path)
        listener.listen()
        threading.Thread(target=_relay, args=(listener, phone.port), daemon=True).start()
        adb(port, "connect", f"localfilesystem:{path}")
        yield f"localfilesystem:{path}"
        listener.shutdown(socket.SHUT_RDWR)
        phone.kill_adbd()  # this server has no other way to disconnect from a socket


def _relay(listener: socket.socket, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=ends, daemon=True).start()


def _copy(reader: socket.socket, writer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := reader.recv(1 << 16):
            writer.sendall(block)
    for end in (reader, writer):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
