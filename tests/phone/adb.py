"""Debian's own adb server, on a port of its own, for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

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
    home = tmp_path_factory.mktemp("adb-home")
    adb(port, "start-server", home=home)
    yield port
    adb(port, "kill-server", home=home)


def adb(port: int, *arguments: str, home: Path | None = None) -> str:
    """Runs the program adb against the server at this port."""
    environment = os.environ | ({"HOME": str(home)} if home else {})
    done = subprocess.run(
        ["adb", "-P", str(port), *arguments], env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout
