"""Debian's own adb server, on a port of its own, for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from .machine import free_port


@pytest.fixture(scope="session")
def adb_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where a real adb server listens; skipped where there is no adb, which SPNAS_REQUIRE_PHONE=1 makes a failure."""
    if shutil.which("adb") is None:
        reason = "the adb server needs the program adb (Debian: apt-get install adb)"
        if os.environ.get("SPNAS_REQUIRE_PHONE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    port = free_port()
    environment = os.environ | {"HOME": str(tmp_path_factory.mktemp("adb-home"))}
    # It ends with the tests, also when those are killed.
    guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    command = [*guard, "adb", "-P", str(port), "nodaemon", "server"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 15
    while not listens(port):
        assert server.poll() is None, "the adb server ended"
        assert time.monotonic() < deadline, "the adb server does not listen"
        time.sleep(0.05)
    yield port
    server.kill()
    server.wait()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def adb(port: int, *arguments: str) -> str:
    """Runs the program adb against the server at this port."""
    return subprocess.run(["adb", "-P", str(port), *arguments], capture_output=True, text=True, check=True, timeout=30).stdout
